// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealSubject, DealTerms} from "../../src/types/Deals.sol";
import {ClosedWord, Contribution, Pair, Round} from "../../src/types/Rounds.sol";
import {Answers, Sealed} from "../support/Replicas.sol";
import {Purses} from "./Purses.sol";

/// @notice What the threat model accepts: each of these attacks works, and here is the most that it costs.
contract BoundsOfWhatIsAccepted is Purses {
    /// @dev Nine workers of the operator's own against an honest one: it loses one stake, and nobody wins it.
    function test_AnOutvotedHonestWorkerLosesOneStakeAndNobodyWinsIt() public {
        (DealTerms memory terms, bytes32 hidden, bytes memory leftOut) = _outvoted(9, "the truth");
        uint256 operators = _free(operator.addr) + _free(poolOwner.addr);
        uint256 others = _earned(0);
        bytes memory word = _signCommitment(9, _task(terms, 0), hidden);
        vm.warp(_after(terms, 10) + 1);
        vm.prank(operator.addr);
        berth.punish(terms, leftOut, _evidence(word));
        assertEq(_bonded(9), 9 * uint256(WORKER_STAKE));
        assertEq(_free(operator.addr) + _free(poolOwner.addr), operators);
        assertEq(_earned(0), others);
        assertEq(others, POT / CREW);
    }

    /// @dev Before the close the operator may leave a commitment out: that costs its worker the pay, and no more.
    function test_AWorkerLeftOutOfTheLeafLosesItsPayAlone() public {
        DealTerms memory terms = _replicated(1);
        Sealed memory round = _seal(terms, _agreed(terms, 1, 3), "round");
        _settleShown(round, _showAll(round));
        assertEq(_earned(3), 0);
        assertEq(_bonded(3), 10 * uint256(WORKER_STAKE));
    }

    function test_ADeclinedTaskCostsItsWorkersOnlyTheirPay() public {
        DealTerms memory terms = _replicated(1);
        vm.warp(_after(terms, 6));
        vm.prank(operator.addr);
        berth.decline(terms, new uint32[](1));
        // And the pool its stake, since it was late.
        assertEq(_free(poolOwner.addr), RICH - POOL_STAKE);
        assertEq(_free(requester.addr), RICH);
        for (uint256 i = 0; i < CREW; i++) {
            assertEq(_bonded(i), 10 * uint256(WORKER_STAKE));
        }
    }

    /// @dev A tag is for the operator alone: with it a small result is guessed, with the commitment it is not.
    function test_OnlyTheOperatorGuessesASmallResultFromItsTag() public {
        DealTerms memory terms = _replicated(1);
        bytes32 task = _task(terms, 0);
        uint256 answer = 256 + 77;
        bytes32 tag = keccak256(abi.encodePacked(task, answer));
        bytes32 hidden = _commitment(task, crew[0].addr, bytes32(answer), _seed("round", 0));
        uint256 byTag = 0;
        uint256 byCommitment = 0;
        for (uint256 guess = 256; guess < 512; guess++) {
            if (keccak256(abi.encodePacked(task, guess)) == tag) byTag = guess;
            if (keccak256(abi.encodePacked(task, crew[0].addr, guess)) == hidden) byCommitment = guess;
        }
        assertEq(byTag, answer);
        assertEq(byCommitment, 0);
    }

    /// @dev Silence in a task that never settles costs the pay only.
    function test_SilenceInATaskThatNeverSettlesKeepsTheBond() public {
        DealTerms memory terms = _replicated(1);
        Sealed memory round = _seal(terms, _agreed(terms, 1, 1), "round");
        bytes32 hidden = _pairs(terms, round.tasks[0], "round")[0].commitment;
        bytes memory leftOut = _leftOutEntry(0, _resultOf(0), crew[0].addr, hidden, 1, 1);
        bytes memory word = _signCommitment(0, _task(terms, 0), hidden);
        vm.warp(_after(terms, 10) + 1);
        berth.claim(terms);
        vm.expectPartialRevert(IBerthBase.Berth_UnknownRecord.selector);
        berth.punish(terms, leftOut, _evidence(word));
        assertEq(_bonded(0), 10 * uint256(WORKER_STAKE));
        assertEq(_earned(0), 0);
    }

    /// @dev Whoever is called in for a tie-break may copy what was revealed: it gets a share only because the leaf
    /// fell short, and no more than one of them.
    function test_WhoIsCalledInForATieBreakMayCopyForOneShare() public {
        DealTerms memory terms = _replicated(1);
        Sealed memory round = _seal(terms, _agreed(terms, 1, 2), "round");
        Pair[] memory leaf = _pairs(terms, round.tasks[0], "round");
        Pair[] memory added = new Pair[](1);
        added[0] = Pair(crew[5].addr, _commitment(_task(terms, 0), crew[5].addr, _resultOf(0), "copied"));
        vm.prank(operator.addr);
        berth.append(terms, 0, round.round, leaf, new bytes32[](0), added);
        Contribution[] memory late = new Contribution[](1);
        bytes32 chain = _chain(_chain(0, leaf), added);
        late[0] = Contribution(crew[5].addr, 0, "copied", _signReveal(5, chain, "copied"));
        Contribution[] memory shown = _contributions(round, 0, _resultOf(0), new bool[](CREW));
        berth.settleOne(terms, 0, _resultOf(0), round.round, shown, new bytes32[](0), late);
        assertEq(_earned(5), POT / 3);
        assertEq(_earned(0), POT / 3);
    }

    /// @dev Each replica of an app that differs from run to run says something else: the payer has all back.
    function test_AnAppThatDiffersFromRunToRunBurnsThePoolsStakeAlone() public {
        DealTerms memory terms = _replicated(1);
        Answers[] memory tasks = _agreed(terms, 1, CREW);
        for (uint256 i = 0; i < CREW; i++) {
            tasks[0].digests[i] = keccak256(abi.encode("run", i));
        }
        Sealed memory round = _seal(terms, tasks, "round");
        for (uint256 i = 0; i < CREW; i++) {
            Contribution[] memory leaf = _contributions(round, 0, tasks[0].digests[i], new bool[](CREW));
            vm.expectPartialRevert(IBerthBase.Berth_TooLittleWeight.selector);
            berth.settleOne(terms, 0, tasks[0].digests[i], round.round, leaf, new bytes32[](0), new Contribution[](0));
        }
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH);
        assertEq(_free(poolOwner.addr), RICH - POOL_STAKE);
        assertEq(_bonded(0), 10 * uint256(WORKER_STAKE));
    }

    /// @dev The chain keeps a hash of the terms only; who has lost them finds them in the match's log.
    function test_TheTermsInTheLogOfTheMatchSufficeToClaim() public {
        vm.recordLogs();
        _replicated(3);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].topics[0] != IBerthBase.DealMatched.selector) continue;
            (DealTerms memory terms,) = abi.decode(logs[i].data, (DealTerms, DealSubject));
            vm.warp(_after(terms, 9) + 1);
            berth.claim(terms);
        }
        assertEq(_free(requester.addr), RICH);
    }

    /// @dev After the operator's death one assigned worker fills a task's places: nobody is paid, nobody is punished.
    function test_WhoFillsATasksPlacesCostsTheOthersOnlyTheirPay() public {
        DealTerms memory terms = _replicated(1);
        bytes32 task = _task(terms, 0);
        bytes memory assignment = _signAssignment(terms, crew[0].addr, 0);
        vm.warp(_after(terms, 7));
        for (uint256 i = 0; i < 64; i++) {
            bytes memory word = _signCommitment(0, task, bytes32(i));
            berth.appendAssigned(terms, 0, crew[0].addr, bytes32(i), assignment, word);
        }
        bytes memory late = _signAssignment(terms, crew[1].addr, 0);
        bytes memory own = _signCommitment(1, task, "own");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        berth.appendAssigned(terms, 0, crew[1].addr, "own", late, own);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH);
        assertEq(_bonded(0) + _bonded(1), 20 * uint256(WORKER_STAKE));
    }

    /// @dev The operator never begins: whoever waits has the price back, at the pool's expense.
    function test_OperatorDeadFromTheStartCostsThePoolAlone() public {
        DealTerms memory terms = _replicated(4);
        Round memory none = Round(0, new ClosedWord[](0));
        vm.warp(_after(terms, 9));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 0));
        berth.settleOne(terms, 0, "made up", none, new Contribution[](0), new bytes32[](0), new Contribution[](0));
        vm.warp(_after(terms, 9) + 1);
        vm.prank(stranger);
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH);
        assertEq(_free(poolOwner.addr), RICH - 4 * uint256(POOL_STAKE));
    }

    /// @dev A lie in a single-worker task is the requester's risk: it pays once, the price that it signed.
    function test_ASingleWorkersFalseResultCostsThePriceOfTheTask() public {
        DealTerms memory terms = _deal(1);
        uint256 before = _free(requester.addr) + _locked(requester.addr);
        _settle(terms, 0, 1);
        assertEq(before - _free(requester.addr), uint256(APP_PRICE) + POOL_PRICE);
        assertEq(_locked(requester.addr), 0);
    }
}
