// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Vm} from "forge-std/Vm.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {Deadlines} from "../../src/libraries/Deadlines.sol";
import {Hashing} from "../../src/libraries/Hashing.sol";
import {Signing} from "../../src/libraries/Signing.sol";
import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {AssetId, AssetIds, DealId, TaskId} from "../../src/types/Ids.sol";
import {AppOrder, DatasetOrder, PoolOrder, RequestOrder} from "../../src/types/Orders.sol";
import {Artifacts} from "../support/Artifacts.sol";

/// @notice The libraries under test, called from outside so that their arguments are calldata.
contract Hashes {
    function appOrder(AppOrder calldata order) external pure returns (bytes32) {
        return Hashing.hash(order);
    }

    function datasetOrder(DatasetOrder calldata order) external pure returns (bytes32) {
        return Hashing.hash(order);
    }

    function poolOrder(PoolOrder calldata order) external pure returns (bytes32) {
        return Hashing.hash(order);
    }

    function requestOrder(RequestOrder calldata order) external pure returns (bytes32) {
        return Hashing.hash(order);
    }

    function enlistment(AssetId pool, address owner) external pure returns (bytes32) {
        return Hashing.enlistment(pool, owner);
    }

    function assignment(TaskId task, address worker) external pure returns (bytes32) {
        return Hashing.assignment(task, worker);
    }

    function singleResults(DealId deal, bytes32 root) external pure returns (bytes32) {
        return Hashing.singleResults(deal, root);
    }

    function assetId(uint8 kind, address creator, string calldata descriptor) external pure returns (AssetId) {
        return AssetIds.derive(kind, creator, descriptor);
    }

    function taskId(DealId deal, uint256 index) external pure returns (TaskId) {
        return deal.task(index);
    }

    function isSignedBy(address signer, bytes32 digest, bytes calldata signature) external pure returns (bool) {
        return Signing.isSignedBy(signer, digest, signature);
    }

    function price(DealTerms calldata terms) external pure returns (uint256) {
        return terms.price();
    }

    function deadlines(DealTerms calldata terms)
        external
        pure
        returns (uint256 span, uint256 freeDecline, uint256 closing, uint256 settling, uint256 punishing)
    {
        return (
            Deadlines.span(terms.duration, terms.size, terms.parallel),
            terms.freeDecline(),
            terms.closing(),
            terms.settling(),
            terms.punishing()
        );
    }
}

/// @notice The vectors that the protocol crate writes (`protocol.json`), checked by the contracts' own code.
contract GoldenVectors is Artifacts {
    string private constant DEAL_TERMS =
        "DealTerms(bytes32 request,bytes32 pool,address appOwner,address datasetOwner,address poolOwner,address operator,address payer,address callback,uint128 appPrice,uint128 datasetPrice,uint128 poolPrice,uint128 poolStake,uint128 workerStake,uint16 operatorShareBps,uint32 parallel,uint32 duration,uint32 trust,uint32 first,uint32 size,uint64 start)";

    Hashes private _hashes;
    IBerth private _berth;
    bytes32 private _domain;

    function setUp() public {
        string memory vectors = _read();
        _hashes = new Hashes();
        vm.chainId(vm.parseJsonUint(vectors, ".domain.chainId"));
        _domain = vm.parseJsonBytes32(vectors, ".domain.separator");

        // The vectors' domain is that of a contract at a certain address.
        address at = vm.parseJsonAddress(vectors, ".domain.verifyingContract");
        address assets = _create("Assets", "");
        address recourse = _create("Recourse", abi.encode(assets, 1, 1 days, 30 days));
        address token = _create("PermitToken", "");
        deployCodeTo(_artifact("Berth"), abi.encode(token, assets, recourse, 1, 1 days, 30 days), at);
        _berth = IBerth(at);
    }

    function test_TheDomainIsTheVectors() public view {
        assertEq(_berth.domainSeparator(), _domain);
    }

    function test_AssetIdsAreTheVectors() public view {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".assets", ".id");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".assets", i);
            AssetId asset = _hashes.assetId(
                uint8(_uint(vectors, at, ".kind")),
                vm.parseJsonAddress(vectors, string.concat(at, ".creator")),
                string(vm.parseJsonBytes(vectors, string.concat(at, ".descriptor")))
            );
            assertEq(AssetId.unwrap(asset), _word(vectors, at, ".id"));
        }
    }

    function test_AppOrdersAreTheVectors() public view {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".appOrders", ".digest");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".appOrders", i);
            _expectStatement(
                vectors, at, Hashing.APP_ORDER_TYPE, _hashes.appOrder(abi.decode(_message(vectors, at), (AppOrder)))
            );
        }
    }

    function test_DatasetOrdersAreTheVectors() public view {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".datasetOrders", ".digest");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".datasetOrders", i);
            _expectStatement(
                vectors,
                at,
                Hashing.DATASET_ORDER_TYPE,
                _hashes.datasetOrder(abi.decode(_message(vectors, at), (DatasetOrder)))
            );
        }
    }

    function test_PoolOrdersAreTheVectors() public view {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".poolOrders", ".digest");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".poolOrders", i);
            _expectStatement(
                vectors, at, Hashing.POOL_ORDER_TYPE, _hashes.poolOrder(abi.decode(_message(vectors, at), (PoolOrder)))
            );
        }
    }

    function test_RequestOrdersAreTheVectors() public view {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".requestOrders", ".digest");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".requestOrders", i);
            _expectStatement(
                vectors,
                at,
                Hashing.REQUEST_ORDER_TYPE,
                _hashes.requestOrder(abi.decode(_message(vectors, at), (RequestOrder)))
            );
        }
    }

    function test_StatementsAreTheVectors() public view {
        string memory vectors = _read();
        string memory at = ".statements.enlistment";
        (address owner, AssetId pool) = (
            vm.parseJsonAddress(vectors, string.concat(at, ".message.owner")),
            AssetId.wrap(_word(vectors, at, ".message.pool"))
        );
        _expectStatement(vectors, at, Hashing.ENLISTMENT_TYPE, _hashes.enlistment(pool, owner));

        at = ".statements.assignment";
        address worker = vm.parseJsonAddress(vectors, string.concat(at, ".message.worker"));
        _expectStatement(
            vectors,
            at,
            Hashing.ASSIGNMENT_TYPE,
            _hashes.assignment(TaskId.wrap(_word(vectors, at, ".message.task")), worker)
        );

        at = ".statements.singleResults";
        _expectStatement(
            vectors,
            at,
            Hashing.SINGLE_RESULTS_TYPE,
            _hashes.singleResults(DealId.wrap(_word(vectors, at, ".message.deal")), _word(vectors, at, ".message.root"))
        );
    }

    function test_DealsAreTheVectors() public view {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".deals", ".id");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".deals", i);
            DealTerms memory terms = _terms(vectors, at);
            bytes memory encoded = abi.encode(terms);
            assertEq(encoded, vm.parseJsonBytes(vectors, string.concat(at, ".encoded")));
            assertEq(keccak256(encoded), _word(vectors, at, ".id"));
            assertEq(_hashes.price(terms), _uint(vectors, at, ".price"));
            (uint256 span, uint256 freeDecline, uint256 closing, uint256 settling, uint256 punishing) =
                _hashes.deadlines(terms);
            assertEq(span, _uint(vectors, at, ".span"));
            assertEq(freeDecline, _uint(vectors, at, ".stakeReturnsUntil"));
            assertEq(closing, _uint(vectors, at, ".close"));
            assertEq(settling, _uint(vectors, at, ".settle"));
            assertEq(punishing, _uint(vectors, at, ".punish"));
        }
    }

    function test_TasksAreTheVectors() public view {
        string memory vectors = _read();
        bytes32[] memory deals = vm.parseJsonBytes32Array(vectors, ".tasks.deal");
        uint256[] memory indexes = vm.parseJsonUintArray(vectors, ".tasks.index");
        bytes32[] memory ids = vm.parseJsonBytes32Array(vectors, ".tasks.id");
        assertGt(ids.length, 0);
        for (uint256 i = 0; i < ids.length; i++) {
            assertEq(TaskId.unwrap(_hashes.taskId(DealId.wrap(deals[i]), indexes[i])), ids[i]);
        }
    }

    /// @dev The lists are settled by the contract: signature, format and order are then what it takes them to be.
    function test_ListsAreTheVectors() public {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".lists", ".deal");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".lists", i);
            DealTerms memory terms = _terms(vectors, at);
            WorkerResults[] memory lists = new WorkerResults[](1);
            lists[0].entries = vm.parseJsonBytes(vectors, string.concat(at, ".entries"));
            lists[0].signature = vm.parseJsonBytes(vectors, string.concat(at, ".statement.signature"));
            lists[0].worker = vm.parseJsonAddress(vectors, string.concat(at, ".statement.signer"));
            assertEq(keccak256(lists[0].entries), _word(vectors, at, ".root"));
            if (terms.trust > 1) continue;
            _put(terms, terms.size, lists[0].worker, makeAddr("worker owner"));
            vm.warp(terms.start);
            vm.expectEmit(address(_berth));
            emit IBerthBase.SinglesSettled(DealId.wrap(_word(vectors, at, ".deal")), lists[0].worker, lists[0].entries);
            vm.prank(terms.operator);
            _berth.settleSingles(terms, lists);
        }
    }

    /// @dev Every way in which a task ends is gone by the contract, and moves what the crate says.
    function test_PayoutsAreTheVectors() public {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".payouts", ".deal");
        uint256 gone = 0;
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".payouts", i);
            DealTerms memory terms = _terms(vectors, at);
            string memory way = vm.parseJsonString(vectors, string.concat(at, ".way"));
            bool byResult = _same(way, "settled") || _same(way, "failed");
            if (byResult && terms.trust > 1) continue;
            gone++;
            uint256 before = vm.snapshotState();
            _expectPayouts(vectors, at, terms, way);
            vm.revertToState(before);
        }
        assertGe(gone, 6);
    }

    function _expectPayouts(string memory vectors, string memory at, DealTerms memory terms, string memory way)
        private
    {
        Vm.Wallet memory worker = _wallet(vectors, "worker");
        address workerOwner = vm.parseJsonAddress(vectors, string.concat(at, ".workerOwner"));
        // One task is open, which ends now: for a claim ends all that are.
        _put(terms, 1, worker.addr, workerOwner);
        vm.warp(_uint(vectors, at, ".now"));
        if (_same(way, "declined")) {
            uint32[] memory indexes = new uint32[](1);
            indexes[0] = terms.first;
            vm.prank(terms.operator);
            _berth.decline(terms, indexes);
        } else if (_same(way, "claimed")) {
            _berth.claim(terms);
        } else {
            WorkerResults[] memory lists = new WorkerResults[](1);
            lists[0].worker = worker.addr;
            lists[0].entries = abi.encodePacked(terms.first, _word(vectors, at, ".digest"));
            bytes32 structHash =
                _hashes.singleResults(DealId.wrap(keccak256(abi.encode(terms))), keccak256(lists[0].entries));
            (uint8 v, bytes32 r, bytes32 s) =
                vm.sign(worker, keccak256(abi.encodePacked(hex"1901", _domain, structHash)));
            lists[0].signature = abi.encodePacked(r, s, v);
            vm.prank(terms.operator);
            _berth.settleSingles(terms, lists);
        }

        uint256 returned = _uint(vectors, at, ".stakeReturned");
        assertEq(returned + _uint(vectors, at, ".stakeBurnt"), terms.poolStake);
        address[] memory accounts = vm.parseJsonAddressArray(vectors, string.concat(at, ".accounts"));
        uint256[] memory amounts = vm.parseJsonUintArray(vectors, string.concat(at, ".amounts"));
        uint256 told = 0;
        for (uint256 i = 0; i < accounts.length; i++) {
            (uint256 free, uint256 locked) = _berth.account(accounts[i]);
            assertEq(free, amounts[i] + (accounts[i] == terms.poolOwner ? returned : 0), way);
            assertEq(locked, 0, way);
            told += amounts[i];
        }
        assertEq(told, _hashes.price(terms));
        (uint256 poolFree,) = _berth.account(terms.poolOwner);
        assertGe(poolFree, returned);
    }

    /// @dev Puts a deal into the contract, as if it had been matched and all but `open` of its first 104 tasks had
    /// ended; its parties have nothing else, and the worker is bonded.
    function _put(DealTerms memory terms, uint256 open, address worker, address workerOwner) private {
        bytes32 deal = keccak256(abi.encode(terms));
        uint256 ended = open == terms.size ? 0 : (1 << terms.size) - (1 << open);
        _store(keccak256(abi.encode(deal, 1)), open | ended << 40);
        _lock(terms.payer, _hashes.price(terms) * open);
        _lock(terms.poolOwner, uint256(terms.poolStake) * open);
        bytes32 bond = keccak256(abi.encode(worker, keccak256(abi.encode(terms.pool, 5))));
        _store(bond, uint256(terms.workerStake) << 160 | uint256(uint160(workerOwner)));
    }

    function _lock(address holder, uint256 amount) private {
        _store(keccak256(abi.encode(holder, 0)), amount << 128);
    }

    function _store(bytes32 slot, uint256 word) private {
        vm.store(address(_berth), slot, bytes32(word));
    }

    function _expectStatement(string memory vectors, string memory at, bytes32 typeHash, bytes32 structHash)
        private
        view
    {
        assertEq(typeHash, keccak256(bytes(vm.parseJsonString(vectors, string.concat(at, ".type")))));
        assertEq(typeHash, _word(vectors, at, ".typeHash"));
        assertEq(structHash, _word(vectors, at, ".structHash"));
        bytes32 digest = MessageHashUtils.toTypedDataHash(_domain, structHash);
        assertEq(digest, _word(vectors, at, ".digest"));
        address signer = vm.parseJsonAddress(vectors, string.concat(at, ".signer"));
        bytes memory signature = vm.parseJsonBytes(vectors, string.concat(at, ".signature"));
        assertTrue(_hashes.isSignedBy(signer, digest, signature));
        assertFalse(_hashes.isSignedBy(signer, structHash, signature));
    }

    function _wallet(string memory vectors, string memory name) private returns (Vm.Wallet memory) {
        string[] memory names = vm.parseJsonStringArray(vectors, ".keys.name");
        bytes32[] memory secrets = vm.parseJsonBytes32Array(vectors, ".keys.secret");
        for (uint256 i = 0; i < names.length; i++) {
            if (_same(names[i], name)) return vm.createWallet(uint256(secrets[i]));
        }
        revert("no such key");
    }

    function _terms(string memory vectors, string memory at) private view returns (DealTerms memory) {
        return abi.decode(vm.parseJsonType(vectors, string.concat(at, ".terms"), DEAL_TERMS), (DealTerms));
    }

    /// @dev The message, by the type that the vector itself names.
    function test_CallbackDigestsAreTheVectors() public view {
        string memory vectors = _read();
        uint256 count = _count(vectors, ".callbacks", ".digest");
        for (uint256 i = 0; i < count; i++) {
            string memory at = _at(".callbacks", i);
            bytes memory result = vm.parseJsonBytes(vectors, string.concat(at, ".result"));
            // As `deliver` has it.
            bytes32 digest = keccak256(abi.encode(_word(vectors, at, ".manifest"), keccak256(result)));
            assertEq(digest, _word(vectors, at, ".digest"));
        }
    }

    function _message(string memory vectors, string memory at) private view returns (bytes memory) {
        string memory kind = vm.parseJsonString(vectors, string.concat(at, ".type"));
        return vm.parseJsonType(vectors, string.concat(at, ".message"), kind);
    }

    function _count(string memory vectors, string memory list, string memory member)
        private
        view
        returns (uint256 count)
    {
        while (vm.keyExistsJson(vectors, string.concat(_at(list, count), member))) count++;
        assertGt(count, 0);
    }

    /// @dev In memory once a test: a hundred kilobytes take their time in storage.
    function _read() private view returns (string memory) {
        return vm.readFile("test/vectors/protocol.json");
    }

    function _at(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(index), "]");
    }

    function _word(string memory vectors, string memory at, string memory member) private view returns (bytes32) {
        return vm.parseJsonBytes32(vectors, string.concat(at, member));
    }

    function _uint(string memory vectors, string memory at, string memory member) private view returns (uint256) {
        return vm.parseJsonUint(vectors, string.concat(at, member));
    }

    function _same(string memory a, string memory b) private pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }
}
