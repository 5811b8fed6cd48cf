// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {ResultBox} from "../../src/mocks/ResultBox.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Contribution, Pair} from "../../src/types/Rounds.sol";
import {Callbacks} from "../support/Callbacks.sol";
import {Yes} from "../support/Receivers.sol";
import {Answers, Sealed} from "../support/Replicas.sol";

contract Deliver is Callbacks {
    function test_RevertGiven_NothingIsDue() public {
        DealTerms memory terms = _callbackDeal(3, address(receiver));
        _expectNothingDue(terms, 0);

        // Settled, but to a failure.
        _settleTo(terms, 1, bytes32(uint256(255)));
        _expectNothingDue(terms, 1);
        assertTrue(berth.ended(_dealId(terms), 1));

        // No such index; other terms.
        _settleTo(terms, 2, _digestOf(2));
        _expectNothingDue(terms, 3);
        terms.callback = stranger;
        _expectNothingDue(terms, 2);
        terms.callback = address(receiver);
        _deliver(terms, 2);

        // Claimed.
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        _expectNothingDue(terms, 0);
    }

    function test_RevertGiven_TheDealNamesNoCallback() public {
        DealTerms memory terms = _callbackDeal(1, address(0));
        _settleTo(terms, 0, _digestOf(0));
        _expectNothingDue(terms, 0);
    }

    function test_RevertGiven_ItWasDelivered() public {
        DealTerms memory terms = _due(address(receiver));
        _deliver(terms, 0);
        _expectNothingDue(terms, 0);
        assertEq(receiver.received(), 1);
    }

    function test_RevertWhen_RecourseIsCalledDirectly() public {
        DealTerms memory terms = _due(address(receiver));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingDue.selector, _taskId(terms, 0)));
        IBerth(recourse).deliver(terms, 0, _manifestOf(0), _bytesOf(0));
    }

    function test_RevertWhen_TheBytesOrTheManifestAreOthers() public {
        DealTerms memory terms = _due(address(receiver));
        bytes memory longer = bytes.concat(_bytesOf(0), hex"00");
        _expectWrong(_digestOf(0), _bound(_manifestOf(0), longer));
        berth.deliver(terms, 0, _manifestOf(0), longer);
        _expectWrong(_digestOf(0), _bound(_manifestOf(0), ""));
        berth.deliver(terms, 0, _manifestOf(0), "");
        _expectWrong(_digestOf(0), _bound(_manifestOf(1), _bytesOf(0)));
        berth.deliver(terms, 0, _manifestOf(1), _bytesOf(0));
        _deliver(terms, 0);
    }

    function test_RevertGiven_TheCallbackIsBerthAssetsOrTheToken() public {
        address[3] memory refused = [address(berth), address(assets), address(token)];
        for (uint256 i = 0; i < refused.length; i++) {
            DealTerms memory terms = _due(refused[i]);
            vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadCallback.selector, refused[i]));
            _deliver(terms, 0);
        }
    }

    function test_RevertGiven_TheCallbackHasNoCode() public {
        DealTerms memory terms = _due(stranger);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoContract.selector, stranger));
        _deliver(terms, 0);
        // It waits until there is some.
        vm.etch(stranger, address(new Yes()).code);
        _deliver(terms, 0);
        _expectNothingDue(terms, 0);
        // A precompiled contract has none, and would say yes to anything.
        terms = _due(address(4));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoContract.selector, address(4)));
        _deliver(terms, 0);
    }

    function test_WhenDeliveredTheCallbackHasTheBytesOnce() public {
        DealTerms memory terms = _callbackDeal(3, address(receiver));
        _settleTo(terms, 1, _digestOf(1));
        assertEq(berth.dueOf(_dealId(terms), 1), _digestOf(1));
        assertEq(berth.dueOf(_dealId(terms), 0), 0);
        uint256 held = token.balanceOf(address(berth));

        _expectEvent();
        emit IBerthBase.ResultDelivered(_dealId(terms), 1, address(receiver));
        vm.prank(stranger);
        _deliver(terms, 1);

        assertEq(receiver.received(), 1);
        assertEq(receiver.id(), _task(terms, 1));
        assertEq(receiver.result(), _bytesOf(1));
        assertEq(berth.dueOf(_dealId(terms), 1), 0);
        assertEq(token.balanceOf(address(berth)), held);
    }

    function test_WhenTheJobLeftNoBytesTheCallbackHasNone() public {
        DealTerms memory terms = _callbackDeal(1, address(receiver));
        _settleTo(terms, 0, _bound(_manifestOf(0), ""));
        berth.deliver(terms, 0, _manifestOf(0), "");
        assertEq(receiver.received(), 1);
        assertEq(receiver.result(), "");
    }

    function test_WhenAllDeadlinesAreOverItIsDeliveredStill() public {
        DealTerms memory terms = _due(address(receiver));
        vm.warp(_after(terms, 9) + 365 days);
        _deliver(terms, 0);
        assertEq(receiver.received(), 1);
    }

    function test_WhenAListIsOfManyTasksEachResultIsDue() public {
        DealTerms memory terms = _callbackDeal(110, address(receiver));
        bytes memory entries;
        // A failure among them, an index beyond the first word, and one that has ended before.
        _settleTo(terms, 2, _digestOf(2));
        uint32[5] memory indexes = [uint32(0), 1, 2, 7, 109];
        for (uint256 i = 0; i < indexes.length; i++) {
            bytes32 digest = indexes[i] == 1 ? bytes32(uint256(3)) : _digestOf(indexes[i] == 2 ? 99 : indexes[i]);
            entries = bytes.concat(entries, _entry(indexes[i], digest));
        }
        vm.startPrank(operator.addr);
        berth.settleSingles(terms, _lists(worker, terms, entries));
        vm.stopPrank();
        _expectNothingDue(terms, 1);
        for (uint256 i = 0; i < indexes.length; i++) {
            if (indexes[i] != 1) _deliver(terms, indexes[i]);
        }
        assertEq(receiver.received(), 4);
    }

    function test_WhenABatchIsSettledEachResultIsDue() public {
        DealTerms memory terms = _replicatedCallbackDeal(110);
        Answers[] memory tasks = new Answers[](4);
        tasks[0] = _answers(0, _turn(0, 3), _digestOf(0));
        tasks[1] = _answers(3, _turn(2, 5), _digestOf(3));
        tasks[2] = _answers(4, _turn(1, 3), bytes32(uint256(2)));
        tasks[3] = _answers(108, _turn(4, 3), _digestOf(108));
        // One of five dissents, so that the task has a commitment in the middle of the batch.
        tasks[1].digests[2] = keccak256("otherwise");
        Sealed memory round = _seal(terms, tasks, "round");
        _settleShown(round, _showAll(round));

        assertEq(berth.dueOf(_dealId(terms), 0), _digestOf(0));
        assertEq(berth.dueOf(_dealId(terms), 1), 0);
        assertEq(berth.dueOf(_dealId(terms), 3), _digestOf(3));
        assertEq(berth.dueOf(_dealId(terms), 4), 0);
        assertEq(berth.dueOf(_dealId(terms), 108), _digestOf(108));
        _deliver(terms, 0);
        _deliver(terms, 3);
        _deliver(terms, 108);
        assertEq(receiver.received(), 3);
    }

    function test_WhenABatchEndsOnlySomeOnlyTheseAreDue() public {
        DealTerms memory terms = _replicatedCallbackDeal(3);
        Answers[] memory tasks = new Answers[](3);
        for (uint32 i = 0; i < 3; i++) {
            tasks[i] = _answers(i, _turn(i, i == 1 ? 2 : 3), _digestOf(i));
        }
        Sealed memory round = _seal(terms, tasks, "round");
        _settleShown(round, _showAll(round));
        assertEq(berth.dueOf(_dealId(terms), 0), _digestOf(0));
        assertEq(berth.dueOf(_dealId(terms), 1), 0);
        assertEq(berth.dueOf(_dealId(terms), 2), _digestOf(2));
        // Settled again, it is due no second time.
        _deliver(terms, 0);
        _settleShown(round, _showAll(round));
        _expectNothingDue(terms, 0);
    }

    function test_WhenATaskIsSettledByItselfItsResultIsDue() public {
        DealTerms memory terms = _replicatedCallbackDeal(2);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(1, _turn(0, 3), _digestOf(1));
        Sealed memory round = _seal(terms, tasks, "round");
        bool[] memory silent = new bool[](CREW);
        Contribution[] memory leaf = _contributions(round, 0, _digestOf(1), silent);
        berth.settleOne(terms, 1, _digestOf(1), round.round, leaf, new bytes32[](0), new Contribution[](0));
        assertEq(berth.dueOf(_dealId(terms), 1), _digestOf(1));
        _deliver(terms, 1);
        assertEq(receiver.received(), 1);
    }

    function test_WhenTheBoxReceivesItKeepsTheBytes() public {
        ResultBox box = new ResultBox(address(berth));
        DealTerms memory terms = _due(address(box));
        vm.expectRevert(abi.encodeWithSelector(ResultBox.ResultBox_NotBerth.selector, address(this)));
        box.receiveResult(_task(terms, 0), "forged");
        _deliver(terms, 0);
        assertEq(box.resultOf(_task(terms, 0)), _bytesOf(0));
        assertEq(box.received(), 1);
    }

    function _expectNothingDue(DealTerms memory terms, uint32 index) private {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingDue.selector, _taskId(terms, index)));
        _deliver(terms, index);
        assertEq(berth.dueOf(_dealId(terms), index), 0);
    }

    function _expectWrong(bytes32 digest, bytes32 shown) private {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WrongResult.selector, digest, shown));
    }
}
