// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {DealId} from "../../src/types/Ids.sol";
import {World} from "../support/World.sol";

/// @notice How the two contracts are one: layout, sizes, selectors, and what a direct call to Recourse can do.
contract Shape is World {
    uint256 private constant EIP170 = 24_576;

    function test_WhenDeployedAllFit() public view {
        assertLt(address(berth).code.length, EIP170);
        assertLt(recourse.code.length, EIP170);
        assertLt(address(assets).code.length, EIP170);
    }

    function test_WhenCompiledBothContractsHaveTheRecordedLayout() public view {
        // `scripts/contracts.sh abi` writes what the compiler says of each, `check` compares it again.
        string memory recorded = vm.readFile("snapshots/layout.Berth.txt");
        assertEq(recorded, vm.readFile("snapshots/layout.Recourse.txt"));
        assertEq(vm.split(recorded, "\n").length, 12);
    }

    function test_WhenRecourseWritesItWritesWhereBerthReads() public {
        // Slot 0: accounts, packed (free, locked).
        _deal(1);
        bytes32 word = vm.load(address(berth), keccak256(abi.encode(requester.addr, 0)));
        assertEq(uint128(uint256(word)), _free(requester.addr));
        assertEq(uint256(word) >> 128, _locked(requester.addr));

        // Slot 1: deals, packed (open, claimed, ended, closed). Slot 2: further words, packed (ended, closed).
        DealTerms memory terms = _deal2(300);
        uint32[] memory indexes = new uint32[](3);
        (indexes[0], indexes[1], indexes[2]) = (1, 104, 299);
        vm.prank(operator.addr);
        berth.decline(terms, indexes);
        bytes32 deal = DealId.unwrap(_dealId(terms));
        word = vm.load(address(berth), keccak256(abi.encode(deal, 1)));
        assertEq(uint256(word), 297 | 2 << 40);
        word = vm.load(address(berth), keccak256(abi.encode(1, keccak256(abi.encode(deal, 2)))));
        assertEq(uint256(word), 1);
        word = vm.load(address(berth), keccak256(abi.encode(2, keccak256(abi.encode(deal, 2)))));
        assertEq(uint256(word), 1 << (299 - 208));
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        word = vm.load(address(berth), keccak256(abi.encode(deal, 1)));
        assertEq(uint256(word), 1 << 32 | 2 << 40);

        // Slot 3: consumed volumes.
        word = vm.load(address(berth), keccak256(abi.encode(terms.request, 3)));
        assertEq(uint256(word), 300);

        // Slot 4: epochs.
        vm.prank(stranger);
        berth.raiseEpoch(9);
        word = vm.load(address(berth), keccak256(abi.encode(stranger, 4)));
        assertEq(uint256(word), 9);

        // Slot 5: bonds, two words: (owner, bonded), (unbonding, releaseAt, score).
        vm.prank(workerOwner);
        berth.unbond(pool, worker.addr, 3);
        bytes32 bond = keccak256(abi.encode(worker.addr, keccak256(abi.encode(pool, 5))));
        word = vm.load(address(berth), bond);
        assertEq(address(uint160(uint256(word))), workerOwner);
        assertEq(uint256(word) >> 160, 10 * WORKER_STAKE - 3);
        word = vm.load(address(berth), bytes32(uint256(bond) + 1));
        assertEq(uint96(uint256(word)), 3);
        assertEq(uint256(word) >> 96, block.timestamp + berth.unbondDelay());
    }

    function test_WhenCalledEverySelectorOfTheInterfaceIsAnswered() public {
        string memory whole = _built("IBerth");
        string memory direct = _built("Berth");
        string memory slow = _built("Recourse");
        string[] memory signatures = vm.parseJsonKeys(whole, ".methodIdentifiers");
        assertGt(signatures.length, 25);
        for (uint256 i = 0; i < signatures.length; i++) {
            string memory key = string.concat(".methodIdentifiers['", signatures[i], "']");
            bool here = vm.keyExistsJson(direct, key);
            bool there = vm.keyExistsJson(slow, key);
            // In exactly one of them: a selector in both would be answered by Berth's alone.
            assertTrue(here != there, signatures[i]);
        }
        // And nothing is answered that the interface does not tell of.
        string[] memory here2 = vm.parseJsonKeys(direct, ".methodIdentifiers");
        string[] memory there2 = vm.parseJsonKeys(slow, ".methodIdentifiers");
        assertEq(here2.length + there2.length, signatures.length);
    }

    function test_RevertWhen_TheSelectorIsUnknown() public {
        (bool ok,) = address(berth).call(abi.encodeWithSignature("pause()"));
        assertFalse(ok);
        (ok,) = address(berth).call("");
        assertFalse(ok);
        vm.deal(address(this), 1);
        (ok,) = address(berth).call{value: 1}("");
        assertFalse(ok);
    }

    function test_WhenRecourseIsCalledDirectlyItMovesNothing() public {
        IBerth direct = IBerth(recourse);
        DealTerms memory terms = _deal(3);
        vm.warp(_after(terms, 9) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
        direct.claim(terms);
        vm.warp(terms.start);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
        vm.prank(operator.addr);
        direct.decline(terms, new uint32[](1));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotBondOwner.selector, workerOwner, address(0)));
        vm.prank(workerOwner);
        direct.unbond(pool, worker.addr, 1);
        // Not even with a signature that is good for Berth: the domain is another.
        bytes memory enlistment = _signEnlistment(worker, pool, workerOwner);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        vm.prank(workerOwner);
        direct.bond(pool, worker.addr, 0, enlistment);
        vm.prank(stranger);
        direct.raiseEpoch(5);
        assertEq(berth.epochOf(stranger), 0);
        assertEq(token.balanceOf(recourse), 0);
    }

    function test_WhenAskedTheDomainIsBerths() public view {
        bytes32 expected = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Berth"),
                keccak256("1"),
                block.chainid,
                address(berth)
            )
        );
        assertEq(berth.domainSeparator(), expected);
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        ) = berth.eip712Domain();
        assertEq(fields, hex"0f");
        assertEq(name, "Berth");
        assertEq(version, "1");
        assertEq(chainId, 31_337);
        assertEq(verifyingContract, address(berth));
        assertEq(salt, bytes32(0));
        assertEq(extensions.length, 0);
    }

    function test_WhenNothingIsKnownViewsAnswerZero() public view {
        assertEq(berth.dealState(DealId.wrap("x")).open, 0);
        assertFalse(berth.ended(DealId.wrap("x"), 0));
        assertFalse(berth.ended(DealId.wrap("x"), type(uint256).max));
        assertEq(berth.consumed("x"), 0);
        (address owner,,,,) = berth.bondOf(pool, stranger);
        assertEq(owner, address(0));
    }

    /// @dev The artifact with the compiler's selectors.
    function _built(string memory name) private view returns (string memory) {
        bool lite = keccak256(bytes(vm.envOr("FOUNDRY_PROFILE", string("default")))) == keccak256("lite");
        string memory folder = vm.envOr("BERTH_ARTIFACTS", string(lite ? "out-lite" : "out"));
        return vm.readFile(string.concat(folder, "/", name, ".sol/", name, ".json"));
    }

    function _deal2(uint32 volume) private returns (DealTerms memory) {
        vm.warp(block.timestamp + 1);
        return _deal(volume);
    }
}
