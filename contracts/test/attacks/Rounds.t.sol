// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {ClosedWord, Contribution, Evidence, Opening, Pair, Round} from "../../src/types/Rounds.sol";
import {Answers, Replicas, Sealed, Shown} from "../support/Replicas.sol";

/// @notice Each attack on replicated tasks, named; the attacker fails.
contract AttacksOnRounds is Replicas {
    uint256 private constant POT = uint256(POOL_PRICE) * (10_000 - SHARE_BPS) / 10_000;

    // Appends, and one task by itself.

    function test_WhenTheLeafFallsShortAppendedPairsAreWeighedAndPaid() public {
        (Sealed memory round, bytes32 chain) = _short(2);
        Contribution[] memory leaf = _leafOf(round);
        Contribution[] memory more = new Contribution[](1);
        more[0] = _appendedBy(4, round, chain);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLittleWeight.selector, 0, 4, 0, TRUST));
        _settleOne(round, leaf, new Contribution[](0));
        _settleOne(round, leaf, more);
        for (uint256 i = 0; i < 5; i++) {
            assertEq(_earned(i), i == 0 || i == 1 || i == 4 ? POT / 3 : 0);
        }
        assertEq(_free(poolOwner.addr), RICH + POOL_PRICE - 3 * (POT / 3));
    }

    function test_WhenTheLeafSufficesAnAppendIsNotPaid() public {
        (Sealed memory round, bytes32 chain) = _short(3);
        Contribution[] memory more = new Contribution[](1);
        more[0] = _appendedBy(4, round, chain);
        _settleOne(round, _leafOf(round), more);
        assertEq(_earned(4), 0);
        assertEq(_earned(0), POT / 3);
    }

    function test_RevertWhen_AnAppendIsHiddenOrAnotherIsShown() public {
        (Sealed memory round, bytes32 chain) = _short(2);
        Contribution[] memory leaf = _leafOf(round);
        Contribution[] memory more = new Contribution[](1);
        more[0] = Contribution(crew[5].addr, "", "", "");
        vm.expectPartialRevert(IBerthBase.Berth_ChainMismatch.selector);
        _settleOne(round, leaf, more);
        // A reveal of the root opens no pair that came after the close.
        more[0] = _appendedBy(4, round, chain);
        more[0].signature = _signReveal(4, round.round.root, more[0].seed);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        _settleOne(round, leaf, more);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        _settleOne(round, leaf, new Contribution[](63));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 0));
        _settleOne(round, new Contribution[](0), more);
    }

    function test_OneWorkerInLeafAndChainCountsOnce() public {
        DealTerms memory terms = _replicated(1);
        Sealed memory round = _seal(terms, _agreed(terms, 1, 2), "round");
        bytes32 chain = _chain(0, _pairs(terms, round.tasks[0], "round"));
        _append(round, 1);
        Contribution[] memory more = new Contribution[](1);
        more[0] = _appendedBy(1, round, chain);
        Contribution[] memory leaf = _leafOf(round);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLittleWeight.selector, 0, 4, 0, TRUST));
        _settleOne(round, leaf, more);
    }

    function test_OneWorkerTwiceInALeafIsRefused() public {
        Sealed memory round = _sealAgreed(1, 3);
        Shown memory shown = _showAll(round);
        bytes memory twice = abi.encodePacked(uint32(0), _resultOf(0), uint8(3), hex"808080");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadRank.selector, 0, 0));
        berth.settle(round.terms, round.round, shown.workers, twice, shown.proof);
        Contribution[] memory leaf = _leafOf(round);
        leaf[1] = leaf[0];
        vm.expectRevert(
            abi.encodeWithSelector(IBerthBase.Berth_WorkerNotAscending.selector, leaf[0].worker, leaf[0].worker)
        );
        _settleOne(round, leaf, new Contribution[](0));
    }

    function test_OperatorDeadBeforeTheCloseWorkersFinishAlone() public {
        DealTerms memory terms = _replicated(1);
        bytes32[3] memory chains;
        Contribution[] memory appended = new Contribution[](3);
        bytes32 task = _task(terms, 0);
        vm.warp(_after(terms, 6));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, _after(terms, 6)));
        berth.appendAssigned(terms, 0, crew[0].addr, 0, "", "");
        vm.warp(_after(terms, 7));
        for (uint256 i = 0; i < 3; i++) {
            bytes32 seed = _seed("alone", i);
            bytes32 commitment = _commitment(task, crew[i].addr, _resultOf(0), seed);
            bytes memory assignment = _signAssignment(terms, crew[i].addr, 0);
            bytes memory word = _signCommitment(i, task, commitment);
            bytes32 before = i == 0 ? bytes32(0) : chains[i - 1];
            chains[i] = keccak256(abi.encodePacked(before, crew[i].addr, commitment));
            Pair[] memory added = new Pair[](1);
            added[0] = Pair(crew[i].addr, commitment);
            // Nobody takes another's place with a pair of its own making.
            vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
            berth.appendAssigned(terms, 0, crew[i].addr, "guess", assignment, word);
            _expectEvent();
            emit IBerthBase.PairsAppended(_dealId(terms), 0, chains[i], uint8(i + 1), added);
            berth.appendAssigned(terms, 0, crew[i].addr, commitment, assignment, word);
            appended[i] = Contribution(crew[i].addr, 0, seed, _signReveal(i, chains[i], seed));
        }
        Round memory none = Round(0, new ClosedWord[](0));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, _after(terms, 7)));
        berth.settleOne(terms, 0, _resultOf(0), none, new Contribution[](0), new bytes32[](0), appended);
        vm.warp(_after(terms, 7) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, _after(terms, 7)));
        berth.appendAssigned(terms, 0, crew[3].addr, 0, "", "");
        vm.prank(stranger);
        berth.settleOne(terms, 0, _resultOf(0), none, new Contribution[](0), new bytes32[](0), appended);
        assertEq(_earned(2), POT / 3);
        assertTrue(berth.ended(_dealId(terms), 0));
    }

    function test_OperatorDeadAfterTheRevealsAStrangerSettles() public {
        Sealed memory round = _sealAgreed(2, 3);
        Shown memory shown = _showAll(round);
        vm.warp(_after(round.terms, 9));
        vm.prank(stranger);
        berth.settle(round.terms, round.round, shown.workers, shown.tasks, shown.proof);
        assertEq(_earned(0), POT / 3);
    }

    function test_RevertGiven_AClosedTaskIsSettledAsIfItNeverWas() public {
        Sealed memory round = _sealAgreed(1, 3);
        vm.warp(_after(round.terms, 7) + 1);
        Round memory none = Round(0, new ClosedWord[](0));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TaskClosed.selector, 0));
        berth.settleOne(
            round.terms, 0, _resultOf(0), none, new Contribution[](0), new bytes32[](0), new Contribution[](1)
        );
        vm.warp(_after(round.terms, 7));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TaskClosed.selector, 0));
        berth.appendAssigned(round.terms, 0, crew[0].addr, 0, "", "");
    }

    function test_RevertWhen_AnAppendIsNotTheOperatorsInTime() public {
        (Sealed memory round,) = _short(2);
        Pair[] memory added = new Pair[](1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotOperator.selector, stranger, operator.addr));
        vm.prank(stranger);
        berth.append(round.terms, 0, round.round, added, new bytes32[](0), added);
        _expectAppend(round, 0, new Pair[](0), abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 3));
        _expectAppend(round, 0, new Pair[](62), abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        _expectAppend(round, 1, added, abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, 1, 0, 1));
        vm.warp(_after(round.terms, 6) + 1);
        _expectAppend(
            round, 0, added, abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, _after(round.terms, 6))
        );
    }

    function test_RevertGiven_ATaskHasEndedNothingIsAppendedOrSettledAgain() public {
        Sealed memory round = _sealAgreed(1, 3);
        _settleShown(round, _showAll(round));
        _expectAppend(round, 0, new Pair[](1), abi.encodeWithSelector(IBerthBase.Berth_TaskEnded.selector, 0));
        Contribution[] memory leaf = _leafOf(round);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TaskEnded.selector, 0));
        _settleOne(round, leaf, new Contribution[](0));
    }

    // Copies, stuffed rounds and strange ones.

    function test_CopyingACommitmentOpensNothing() public {
        DealTerms memory terms = _replicated(1);
        Pair[] memory pairs = _pairs(terms, _agreed(terms, 1, 3)[0], "round");
        // The copier closes its pair with another's commitment: under its own name no seed opens it.
        pairs[2].commitment = pairs[0].commitment;
        bytes32 root = _only(_leaf(_dealId(terms), 0, _chain(0, pairs)));
        Round memory round = _close(terms, root);
        Contribution[] memory leaf = new Contribution[](3);
        for (uint256 i = 0; i < 3; i++) {
            bytes32 seed = _seed("round", i == 2 ? 0 : i);
            leaf[i] = Contribution(pairs[i].worker, 0, seed, _signReveal(i, root, seed));
        }
        vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
        berth.settleOne(terms, 0, _resultOf(0), round, leaf, new bytes32[](0), new Contribution[](0));
    }

    function test_StuffingARoundInAnothersNameIsNotPunished() public {
        DealTerms memory terms = _replicated(1);
        Answers[] memory tasks = _agreed(terms, 1, 10);
        tasks[0].digests[9] = "never said";
        Sealed memory round = _seal(terms, tasks, "round");
        _settleShown(round, _showAll(round));
        Pair memory stuffed = _pairs(terms, tasks[0], "round")[9];
        bytes memory leftOut = _leftOutEntry(0, _resultOf(0), stuffed.worker, stuffed.commitment, 1, 10);
        vm.warp(_after(terms, 10) + 1);
        bytes memory bySomebody = _signature(operator, _commitmentDigest(_task(terms, 0), stuffed.commitment));
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        berth.punish(terms, leftOut, _evidence(bySomebody));
        // Nor by what the worker signed for another task.
        bytes memory forAnother = _signCommitment(9, _task(terms, 1), stuffed.commitment);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        berth.punish(terms, leftOut, _evidence(forAnother));
    }

    function test_AnothersRoundIsNotOnesOwn() public {
        Sealed memory round = _sealAgreed(1, 3);
        Shown memory shown = _showAll(round);
        DealTerms memory other = _replicated(1, TRUST, "other");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotInRound.selector, 0));
        berth.settle(other, round.round, shown.workers, shown.tasks, shown.proof);
    }

    function test_AClosedTaskCanNotBeHiddenInALaterRound() public {
        Sealed memory round = _sealAgreed(2, 3);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_AlreadyClosed.selector, _dealId(round.terms), 0, 2));
        vm.prank(operator.addr);
        berth.close("later", _closing(round.terms, _words(round.terms, _tail(round.tasks))));
    }

    function test_ARevealOfOneRoundOpensNoOther() public {
        Sealed memory round = _sealAgreed(1, 3);
        Shown memory shown = _showAll(round);
        shown.workers[0].signature = _signReveal(0, "another root", shown.workers[0].seed);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        berth.settle(round.terms, round.round, shown.workers, shown.tasks, shown.proof);
        shown.workers[0].signature = _signReveal(0, round.round.root, shown.workers[0].seed);
        vm.chainId(5);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        berth.settle(round.terms, round.round, shown.workers, shown.tasks, shown.proof);
    }

    function test_DecliningAClosedTaskDoesNothing() public {
        Sealed memory round = _sealAgreed(1, 3);
        vm.recordLogs();
        vm.prank(operator.addr);
        berth.decline(round.terms, new uint32[](1));
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(berth.dealState(_dealId(round.terms)).open, 1);
    }

    function test_SettlingOneTaskFirstStopsNoBatch() public {
        Sealed memory round = _sealAgreed(5, 3);
        Shown memory all = _showAll(round);
        _settleShown(round, _show(round, _only(round, 2), _firstDigests(round), new bool[](CREW)));
        assertEq(berth.dealState(_dealId(round.terms)).open, 4);
        _settleShown(round, all);
        assertEq(berth.dealState(_dealId(round.terms)).open, 0);
    }

    function test_LeavesOfAnotherDepthGiveAnotherRoot() public {
        DealTerms memory terms = _replicated(2);
        Answers[] memory tasks = _agreed(terms, 2, 3);
        bytes32[] memory leaves = _leaves(terms, tasks, "round");
        // The operator closes both tasks under the root of a tree of one leaf.
        bytes32 root = keccak256(abi.encodePacked(uint8(2), uint32(1), leaves[0]));
        vm.prank(operator.addr);
        berth.close(root, _closing(terms, _words(terms, tasks)));
        Sealed memory round = Sealed(terms, _roundOf(terms, _words(terms, tasks), root), tasks, "round");
        Shown memory shown = _show(round, _only(round, 0), _firstDigests(round), new bool[](CREW));
        vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
        _settleShown(round, shown);
        vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
        berth.settle(terms, round.round, shown.workers, shown.tasks, new bytes32[](0));
    }

    function test_HugeTrustAndScoreOverflowNothing() public {
        DealTerms memory terms = _replicated(1, type(uint32).max, "huge");
        for (uint256 i = 0; i < CREW; i++) {
            bytes32 slot = keccak256(abi.encode(crew[i].addr, keccak256(abi.encode(pool, 5))));
            vm.store(address(berth), bytes32(uint256(slot) + 1), bytes32(uint256(type(uint32).max) << 136));
        }
        Sealed memory round = _seal(terms, _agreed(terms, 1, CREW), "round");
        _settleShown(round, _showAll(round));
        assertTrue(berth.ended(_dealId(terms), 0));
        (,,,, uint32 score) = berth.bondOf(pool, crew[0].addr);
        assertEq(score, type(uint32).max);
    }

    function test_SettlingShortOfRevealsSavesNothing() public {
        DealTerms memory terms = _replicated(1);
        Sealed memory round = _seal(terms, _agreed(terms, 1, 10), "round");
        bool[] memory silent = new bool[](CREW);
        silent[9] = true;
        Pair memory last = _pairs(terms, round.tasks[0], "round")[9];
        _settleShown(round, _show(round, _only(round, 0), _firstDigests(round), silent));
        assertEq(_free(poolOwner.addr), RICH + POOL_PRICE - 10 * (POT / 10));
        assertEq(_free(requester.addr), RICH - (APP_PRICE + DATASET_PRICE + POOL_PRICE));
        bytes memory leftOut = _leftOutEntry(0, _resultOf(0), last.worker, last.commitment, 1, 10);
        Opening[] memory openings = new Opening[](1);
        openings[0] = Opening(0, _salt(_seed("round", 9), _task(terms, 0)));
        vm.prank(stranger);
        berth.open(terms, leftOut, openings);
        assertEq(_earned(9), POT / 10);
    }

    // A task of workers 0 to n - 1, to which 4 was appended.

    function _short(uint256 inLeaf) private returns (Sealed memory round, bytes32 chain) {
        DealTerms memory terms = _replicated(1);
        round = _seal(terms, _agreed(terms, 1, inLeaf), "round");
        chain = _chain(0, _pairs(terms, round.tasks[0], "round"));
        _append(round, 4);
    }

    function _append(Sealed memory round, uint256 who) private {
        Pair[] memory leaf = _pairs(round.terms, round.tasks[0], "round");
        Pair[] memory added = new Pair[](1);
        bytes32 seed = _seed("append", who);
        added[0] = Pair(crew[who].addr, _commitment(_task(round.terms, 0), crew[who].addr, _resultOf(0), seed));
        bytes32 chain = _chain(_chain(0, leaf), added);
        Pair[] memory wrong = new Pair[](1);
        wrong[0] = leaf[0];
        vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
        vm.prank(operator.addr);
        berth.append(round.terms, 0, round.round, wrong, new bytes32[](0), added);
        _expectEvent();
        emit IBerthBase.PairsAppended(_dealId(round.terms), 0, chain, uint8(leaf.length + 1), added);
        vm.prank(operator.addr);
        berth.append(round.terms, 0, round.round, leaf, new bytes32[](0), added);
        (bytes32 kept, uint8 pairs) = berth.appendsOf(_dealId(round.terms), 0);
        assertEq(kept, chain);
        assertEq(pairs, leaf.length + 1);
    }

    function _appendedBy(uint256 who, Sealed memory round, bytes32 chain) private returns (Contribution memory) {
        bytes32 seed = _seed("append", who);
        bytes32 commitment = _commitment(_task(round.terms, 0), crew[who].addr, _resultOf(0), seed);
        bytes32 after_ = keccak256(abi.encodePacked(chain, crew[who].addr, commitment));
        return Contribution(crew[who].addr, 0, seed, _signReveal(who, after_, seed));
    }

    function _leafOf(Sealed memory round) private returns (Contribution[] memory) {
        return _contributions(round, 0, _resultOf(0), new bool[](CREW));
    }

    function _settleOne(Sealed memory round, Contribution[] memory leaf, Contribution[] memory appended) private {
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), appended);
    }

    function _expectAppend(Sealed memory round, uint32 index, Pair[] memory added, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.append(round.terms, index, round.round, new Pair[](0), new bytes32[](0), added);
    }

    function _only(bytes32 leaf) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(2), uint32(1), leaf));
    }

    function _close(DealTerms memory terms, bytes32 root) private returns (Round memory) {
        vm.prank(operator.addr);
        berth.close(root, _closing(terms, _words(terms, _agreed(terms, 1, 1))));
        return _roundOf(terms, _words(terms, _agreed(terms, 1, 1)), root);
    }

    function _tail(Answers[] memory tasks) private pure returns (Answers[] memory tail) {
        tail = new Answers[](1);
        tail[0] = tasks[tasks.length - 1];
    }

    function _evidence(bytes memory signature) private pure returns (Evidence[] memory evidence) {
        evidence = new Evidence[](1);
        evidence[0] = Evidence(0, signature);
    }

    function _earned(uint256 who) private view returns (uint256) {
        return _free(crewOwners[who]) - 90 * uint256(WORKER_STAKE);
    }
}
