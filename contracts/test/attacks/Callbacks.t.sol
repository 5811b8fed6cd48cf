// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {Callbacks} from "../support/Callbacks.sol";
import {GreedyReceiver, PuppetReceiver} from "../support/Receivers.sol";

/// @notice Attacks through a callback: by whoever delivers, and by the callback itself.
contract CallbackAttacks is Callbacks {
    uint256 private constant RIGHT = 200_000;

    /// @dev The callback goes on where its own work runs out of gas. A deliverer that leaves it too little would have
    /// the delivery count, and the work undone for ever. PoCo checks this after the call; here it never begins.
    function test_GasGriefingMakesNoDeliveryCount() public {
        GreedyReceiver greedy = new GreedyReceiver();
        DealTerms memory terms = _due(address(greedy));
        bytes memory call_ = _delivery(terms, 0);
        uint256 refused = 0;
        for (uint256 given = 30_000; greedy.worked() == 0; given += 1_000) {
            assertLt(given, 400_000);
            (bool ok,) = address(berth).call{gas: given}(call_);
            assertEq(ok, greedy.worked() == 1);
            assertEq(greedy.gaveUp(), 0);
            assertEq(berth.dueOf(_dealId(terms), 0), ok ? bytes32(0) : _digestOf(0));
            if (!ok) refused++;
        }
        assertGt(refused, 150);
    }

    /// @dev At whatever gas it succeeds, the callback had what it has a right to.
    function testFuzz_TheCallbackHasItsGas(uint256 given) public {
        given = bound(given, 21_000, 3_000_000);
        DealTerms memory terms = _due(address(receiver));
        (bool ok, bytes memory answer) = address(berth).call{gas: given}(_delivery(terms, 0));
        if (ok) {
            // Less what it took to get to the first line.
            assertGe(receiver.gasGiven(), RIGHT - 5_000);
            assertGe(receiver.gasGiven() + 150_000, given - given / 64);
        } else {
            assertEq(receiver.received(), 0);
            assertEq(berth.dueOf(_dealId(terms), 0), _digestOf(0));
            if (answer.length > 0) assertEq(bytes4(answer), IBerthBase.Berth_GasTooLow.selector);
        }
    }

    function test_AJustTooSmallGasIsNamed() public {
        DealTerms memory terms = _due(address(receiver));
        bytes memory call_ = _delivery(terms, 0);
        (bool ok, bytes memory answer) = address(berth).call{gas: 205_000}(call_);
        assertFalse(ok);
        assertEq(bytes4(answer), IBerthBase.Berth_GasTooLow.selector);
        uint256 left;
        uint256 needed;
        assembly {
            left := mload(add(answer, 36))
            needed := mload(add(answer, 68))
        }
        assertLt(left, needed);
        assertEq(needed, 204_174);
    }

    /// @dev A callback that fails, in whatever way, costs only its deliverer's gas: nothing has happened, nobody's pay
    /// is held up, and it is delivered once it behaves.
    function test_ACallbackThatFailsIsTriedAgain() public {
        DealTerms memory terms = _due(address(receiver));
        PuppetReceiver.Manner[3] memory manners =
            [PuppetReceiver.Manner.Revert, PuppetReceiver.Manner.BurnAllGas, PuppetReceiver.Manner.RevertWithABomb];
        for (uint256 i = 0; i < manners.length; i++) {
            receiver.act(manners[i]);
            vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_CallbackFailed.selector, address(receiver)));
            berth.deliver{gas: 1_000_000}(terms, 0, _manifestOf(0), _bytesOf(0));
            assertEq(berth.dueOf(_dealId(terms), 0), _digestOf(0));
        }
        receiver.act(PuppetReceiver.Manner.Take);
        _deliver(terms, 0);
        assertEq(receiver.received(), 1);
    }

    /// @dev A megabyte of answer: its own memory costs the callback some 2.2 million gas. Copying it would cost the
    /// deliverer as much again; nobody copies it.
    function test_AnAnswerOfAMegabyteIsNotCopied() public {
        DealTerms memory terms = _due(address(receiver));
        receiver.act(PuppetReceiver.Manner.ReturnABomb);
        uint256 before = gasleft();
        berth.deliver{gas: 4_000_000}(terms, 0, _manifestOf(0), _bytesOf(0));
        assertLt(before - gasleft(), 2_600_000);
        assertEq(receiver.received(), 1);
    }

    /// @dev From within the callback everything is as it will be after it: no second delivery, no second pay, and no
    /// more than its own money.
    function test_ReenteringGainsNothing() public {
        // The callback is rich, and another task of the same deal is due.
        DealTerms memory terms = _callbackDeal(2, address(receiver));
        bytes memory both = bytes.concat(_entry(0, _digestOf(0)), _entry(1, _digestOf(1)));
        WorkerResults[] memory lists = _lists(worker, terms, both);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        _fund(address(receiver), 1_000);
        uint256 held = token.balanceOf(address(berth));
        uint256 paid = _free(workerOwner);

        bytes[] memory calls = new bytes[](6);
        calls[0] = _delivery(terms, 0);
        calls[1] = abi.encodeCall(berth.settleSingles, (terms, lists));
        calls[2] = abi.encodeCall(berth.claim, (terms));
        calls[3] = abi.encodeCall(berth.withdraw, (address(receiver), 1_001));
        calls[4] = abi.encodeCall(berth.withdraw, (address(receiver), 1_000));
        calls[5] = abi.encodeCall(berth.withdraw, (address(receiver), 1));
        receiver.callBack(address(berth), calls);
        _deliver(terms, 0);

        assertEq(receiver.received(), 1);
        // Its own money it may have.
        assertEq(receiver.succeeded(), 1);
        assertEq(token.balanceOf(address(receiver)), 1_000);
        assertEq(token.balanceOf(address(berth)), held - 1_000);
        assertEq(_free(workerOwner), paid);
        assertEq(berth.dueOf(_dealId(terms), 1), _digestOf(1));
    }

    /// @dev A callback may deliver the deal's other results: each is called once all the same.
    function test_ADeliveryWithinADeliveryIsOneOfEach() public {
        DealTerms memory terms = _callbackDeal(2, address(receiver));
        _settleTo(terms, 0, _digestOf(0));
        _settleTo(terms, 1, _digestOf(1));
        bytes[] memory calls = new bytes[](2);
        (calls[0], calls[1]) = (_delivery(terms, 1), _delivery(terms, 0));
        receiver.callBack(address(berth), calls);
        _deliver(terms, 0);
        assertEq(receiver.received(), 2);
        assertEq(berth.dueOf(_dealId(terms), 0), 0);
        assertEq(berth.dueOf(_dealId(terms), 1), 0);
    }

    /// @dev Whoever chooses callback and bytes has Berth call with them, in Berth's name. The token holds everybody's
    /// money in that name, so it is never called, whatever the bytes say.
    function test_TheTokenIsNeverCalledInBerthsName() public {
        DealTerms memory terms = _callbackDeal(1, address(token));
        bytes memory theft = abi.encodeCall(IERC20.transfer, (stranger, token.balanceOf(address(berth))));
        _settleTo(terms, 0, _bound(0, theft));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadCallback.selector, address(token)));
        berth.deliver(terms, 0, 0, theft);
        assertEq(token.balanceOf(stranger), 0);
    }

    /// @dev A failure that everybody can guess has no manifest that anybody could show for it.
    function test_NoFailureIsDelivered() public {
        DealTerms memory terms = _callbackDeal(255, address(receiver));
        for (uint32 digest = 1; digest < 256; digest++) {
            _settleTo(terms, digest - 1, bytes32(uint256(digest)));
            assertEq(berth.dueOf(_dealId(terms), digest - 1), 0);
        }
    }

    /// @dev Settlement calls nobody: a callback that burns everything does not even hear of it.
    function test_ACallbackCanNotStopASettlement() public {
        receiver.act(PuppetReceiver.Manner.BurnAllGas);
        DealTerms memory terms = _due(address(receiver));
        assertTrue(berth.ended(_dealId(terms), 0));
        assertGt(_free(workerOwner), 0);
    }

    /// @dev One task's bytes, or another deal's, are no result of this one.
    function testFuzz_OnlyTheSettledBytesAreDelivered(bytes32 manifest, bytes calldata result, uint32 index) public {
        DealTerms memory terms = _callbackDeal(2, address(receiver));
        _settleTo(terms, 0, _digestOf(0));
        // Half of the draws are of the task that is due.
        if (index % 2 == 0) index = 0;
        bool right = index == 0 && manifest == _manifestOf(0) && keccak256(result) == keccak256(_bytesOf(0));
        vm.assume(!right);
        vm.expectPartialRevert(
            index == 0 ? IBerthBase.Berth_WrongResult.selector : IBerthBase.Berth_NothingDue.selector
        );
        berth.deliver(terms, index, manifest, result);
        assertEq(receiver.received(), 0);
    }

    /// @dev Whatever was settled with these bytes arrives as they are.
    function testFuzz_WhateverWasSettledArrives(bytes32 manifest, bytes calldata result) public {
        DealTerms memory terms = _callbackDeal(1, address(receiver));
        _settleTo(terms, 0, _bound(manifest, result));
        berth.deliver(terms, 0, manifest, result);
        assertEq(receiver.result(), result);
        assertEq(receiver.id(), _task(terms, 0));
    }
}
