// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Packing} from "../../src/libraries/Packing.sol";
import {Rounds} from "../../src/libraries/Rounds.sol";
import {Scales, Seat, Weighing} from "../../src/libraries/Weighing.sol";
import {DealId, RecordId, RoundId, TaskId} from "../../src/types/Ids.sol";
import {ClosedWord, Round} from "../../src/types/Rounds.sol";
import {Test} from "forge-std/Test.sol";

/// @notice An answer, and what it hides behind.
struct Hidden {
    DealId deal;
    uint256 index;
    address worker;
    bytes32 digest;
    bytes32 seed;
    bytes32 salt;
}

/// @notice The libraries under test, called from outside so that their arguments are calldata.
contract RoundHashes {
    function roundId(address operator, Round calldata round) external pure returns (RoundId) {
        return Rounds.idOf(operator, round);
    }

    function leaves(Round calldata round) external pure returns (uint256) {
        return Rounds.leavesOf(round.closed);
    }

    function place(Round calldata round, DealId deal, uint256 offset) external pure returns (uint256) {
        uint256 bit = 1 << (offset % 104);
        (uint256 found, uint256 before) = Rounds.find(round.closed, deal, offset / 104, bit);
        return before + Rounds.count(round.closed[found].bits & (bit - 1));
    }

    function root(uint256 count, uint256[] memory places, bytes32[] memory shown, bytes32[] calldata proof)
        external
        pure
        returns (bytes32)
    {
        return Rounds.rootOf(count, places.length, places, shown, proof);
    }

    function commitment(Hidden memory hidden) external pure returns (TaskId task, bytes32 bySeed, bytes32 bySalt) {
        bytes memory pad = Rounds.pad(hidden.deal);
        task = hidden.deal.task(hidden.index);
        Rounds.begin(pad, hidden.deal, hidden.index, hidden.digest);
        bySeed = Rounds.seal(pad, hidden.worker, hidden.seed);
        bySalt = Rounds.sealWithSalt(pad, hidden.worker, hidden.salt);
    }

    function leaf(DealId deal, uint256 index, address[] memory workers, bytes32[] memory commitments)
        external
        pure
        returns (bytes32 chain, bytes32 hash)
    {
        bytes memory pad = Rounds.pad(deal);
        Rounds.begin(pad, deal, index, bytes32(0));
        for (uint256 i = 0; i < workers.length; i++) {
            Rounds.extend(pad, workers[i], commitments[i]);
        }
        return (Rounds.chainOf(pad), Rounds.leafOf(pad, index));
    }

    function recordId(DealId deal, bytes memory leftOut) external pure returns (RecordId) {
        return Packing.recordOf(deal, leftOut);
    }
}

/// @notice The contracts hash and weigh as the protocol crate does (contracts/test/vectors/protocol.json).
contract RoundVectorsTest is Test {
    RoundHashes private _hashes;
    string private _file;

    function setUp() public {
        _hashes = new RoundHashes();
        _file = "test/vectors/protocol.json";
    }

    function test_HiddenAnswersAreTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        DealId deal = DealId.wrap(_word(vectors, ".leaves[0]", ".deal"));
        for (uint256 i = 0; i < _count(vectors, ".hidden", ".seed"); i++) {
            _expectHidden(vectors, _at(".hidden", i), deal, 3 + i);
        }
    }

    function test_LeavesAreTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        for (uint256 i = 0; i < _count(vectors, ".leaves", ".leaf"); i++) {
            string memory at = _at(".leaves", i);
            (bytes32 chain, bytes32 leaf) = _hashes.leaf(
                DealId.wrap(_word(vectors, at, ".deal")),
                _uint(vectors, at, ".index"),
                vm.parseJsonAddressArray(vectors, string.concat(at, ".workers")),
                vm.parseJsonBytes32Array(vectors, string.concat(at, ".commitments"))
            );
            assertEq(chain, _word(vectors, at, ".chain"));
            assertEq(leaf, _word(vectors, at, ".leaf"));
        }
    }

    function test_RoundsAreTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        for (uint256 i = 0; i < _count(vectors, ".rounds", ".round"); i++) {
            string memory at = _at(".rounds", i);
            Round memory round = _round(vectors, at);
            address operator = vm.parseJsonAddress(vectors, string.concat(at, ".operator"));
            assertEq(RoundId.unwrap(_hashes.roundId(operator, round)), _word(vectors, at, ".round"));
            bytes32[] memory deals = vm.parseJsonBytes32Array(vectors, string.concat(at, ".leafDeals"));
            uint256[] memory offsets = vm.parseJsonUintArray(vectors, string.concat(at, ".leafOffsets"));
            assertEq(_hashes.leaves(round), deals.length);
            for (uint256 j = 0; j < deals.length; j++) {
                assertEq(_hashes.place(round, DealId.wrap(deals[j]), offsets[j]), j);
            }
        }
    }

    function test_ProofsAreTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        for (uint256 i = 0; i < _count(vectors, ".proofs", ".root"); i++) {
            string memory at = _at(".proofs", i);
            uint256 count = _uint(vectors, at, ".count");
            uint256[] memory places = vm.parseJsonUintArray(vectors, string.concat(at, ".places"));
            bytes32[] memory leaves = vm.parseJsonBytes32Array(vectors, string.concat(at, ".leaves"));
            bytes32[] memory proof = vm.parseJsonBytes32Array(vectors, string.concat(at, ".proof"));
            assertEq(_hashes.root(count, places, leaves, proof), _word(vectors, at, ".root"));
            assertEq(_hashes.root(count, places, leaves, new bytes32[](proof.length + 1)), bytes32(0));
        }
    }

    function test_RecordsAreTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        for (uint256 i = 0; i < _count(vectors, ".settlements", ".record"); i++) {
            string memory at = _at(".settlements", i);
            bytes memory leftOut = vm.parseJsonBytes(vectors, string.concat(at, ".leftOut"));
            assertEq(leftOut.length % Packing.LEFT_OUT_BYTES, 0);
            RecordId record = _hashes.recordId(DealId.wrap(_word(vectors, at, ".deal")), leftOut);
            assertEq(RecordId.unwrap(record), _word(vectors, at, ".record"));
        }
    }

    function test_WeightsAreTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        uint256[] memory scores = vm.parseJsonUintArray(vectors, ".weights.score");
        uint256[] memory weights = vm.parseJsonUintArray(vectors, ".weights.weight");
        uint256[] memory shares = vm.parseJsonUintArray(vectors, ".weights.share");
        for (uint256 i = 0; i < scores.length; i++) {
            assertEq(Weighing.weightOf(scores[i]), weights[i]);
            assertEq(Weighing.shareOf(weights[i]), shares[i]);
        }
    }

    function test_GroupsAreTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        for (uint256 i = 0; i < _count(vectors, ".groups", ".group"); i++) {
            string memory at = _at(".groups", i);
            uint256[] memory weights = vm.parseJsonUintArray(vectors, string.concat(at, ".weights"));
            Scales memory scales;
            for (uint256 j = 0; j < weights.length; j++) {
                Seat memory seat;
                seat.weight = weights[j];
                Weighing.add(scales, seat, true);
                Weighing.add(scales, seat, false);
            }
            assertEq(scales.group, _uint(vectors, at, ".group"));
            assertEq(scales.dissent, scales.group);
            assertEq(scales.opened, weights.length);
        }
    }

    function test_AcceptanceIsTheVectors() public view {
        string memory vectors = vm.readFile(_file);
        uint256[] memory groups = vm.parseJsonUintArray(vectors, ".acceptance.group");
        uint256[] memory dissents = vm.parseJsonUintArray(vectors, ".acceptance.dissent");
        uint256[] memory trusts = vm.parseJsonUintArray(vectors, ".acceptance.trust");
        bool[] memory accepted = vm.parseJsonBoolArray(vectors, ".acceptance.accepted");
        for (uint256 i = 0; i < groups.length; i++) {
            // Trust 0 and 1 have no rounds.
            if (trusts[i] < 2) continue;
            Scales memory scales;
            (scales.group, scales.dissent) = (groups[i], dissents[i]);
            assertEq(Weighing.suffices(scales, trusts[i]), accepted[i]);
        }
    }

    function _expectHidden(string memory vectors, string memory at, DealId deal, uint256 index) private view {
        Hidden memory hidden = Hidden({
            deal: deal,
            index: index,
            worker: vm.parseJsonAddress(vectors, string.concat(at, ".worker")),
            digest: _word(vectors, at, ".digest"),
            seed: _word(vectors, at, ".seed"),
            salt: _word(vectors, at, ".salt")
        });
        (TaskId task, bytes32 bySeed, bytes32 bySalt) = _hashes.commitment(hidden);
        assertEq(TaskId.unwrap(task), _word(vectors, at, ".task"));
        assertEq(bySeed, _word(vectors, at, ".commitment"));
        assertEq(bySalt, bySeed);
    }

    function _round(string memory vectors, string memory at) private pure returns (Round memory round) {
        bytes32[] memory deals = vm.parseJsonBytes32Array(vectors, string.concat(at, ".deals"));
        uint256[] memory words = vm.parseJsonUintArray(vectors, string.concat(at, ".words"));
        uint256[] memory bits = vm.parseJsonUintArray(vectors, string.concat(at, ".bits"));
        round.root = _word(vectors, at, ".root");
        round.closed = new ClosedWord[](deals.length);
        for (uint256 i = 0; i < deals.length; i++) {
            round.closed[i] = ClosedWord(DealId.wrap(deals[i]), uint32(words[i]), uint104(bits[i]));
        }
    }

    function _count(string memory vectors, string memory list, string memory member)
        private
        view
        returns (uint256 count)
    {
        while (vm.keyExistsJson(vectors, string.concat(_at(list, count), member))) count++;
        assertGt(count, 0);
    }

    function _at(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(index), "]");
    }

    function _word(string memory vectors, string memory at, string memory member) private pure returns (bytes32) {
        return vm.parseJsonBytes32(vectors, string.concat(at, member));
    }

    function _uint(string memory vectors, string memory at, string memory member) private pure returns (uint256) {
        return vm.parseJsonUint(vectors, string.concat(at, member));
    }
}
