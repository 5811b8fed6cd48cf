// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {ClosedWord, Contribution, Pair, Reveal, Round} from "../../src/types/Rounds.sol";
import {Answers, Replicas, Sealed, Shown} from "../support/Replicas.sol";

/// @notice Settling one task by itself, and what a batch may hold: each error with its values.
contract SettleOne is Replicas {
    function test_RevertWhen_ThereIsNoSuchTask() public {
        Sealed memory round = _sealAgreed(2, 3);
        Contribution[] memory leaf = _leafOf(round, 0);
        Contribution[] memory none = new Contribution[](0);
        bytes32[] memory proof = _proofOf(round, 0);
        DealTerms memory single = _deal(1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotReplicated.selector, 1));
        berth.settleOne(single, 0, _resultOf(0), round.round, leaf, proof, none);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, 2, 0, 2));
        berth.settleOne(round.terms, 2, _resultOf(0), round.round, leaf, proof, none);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoDigest.selector, 0));
        berth.settleOne(round.terms, 0, 0, round.round, leaf, proof, none);

        uint256 deadline = _after(round.terms, 9);
        vm.warp(deadline + 1);
        _expectRefusal(round, leaf, proof, none, abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, deadline));
        vm.warp(deadline);
        round.terms.size++;
        _expectRefusal(
            round,
            leaf,
            proof,
            none,
            abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(round.terms))
        );
        round.terms.size--;
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, proof, none);
        assertTrue(berth.ended(_dealId(round.terms), 0));
    }

    function test_RevertWhen_TheRoundIsAnotherOrHasNotTheTask() public {
        DealTerms memory terms = _replicated(2);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(1, _turn(0, 3), _resultOf(1));
        Sealed memory round = _seal(terms, tasks, "round");
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(1), new bool[](CREW));
        bytes32[] memory proof = new bytes32[](0);
        _expectRefusal(round, leaf, proof, _none(), abi.encodeWithSelector(IBerthBase.Berth_NotInRound.selector, 0));
        Round memory kept = round.round;
        round.round = Round("other root", kept.closed);
        bytes32 id = keccak256(abi.encode(operator.addr, round.round.root, kept.closed));
        _expectRefusal(round, leaf, proof, _none(), abi.encodeWithSelector(IBerthBase.Berth_UnknownRound.selector, id));
    }

    function test_RevertWhen_ALeafIsNotTheRounds() public {
        Sealed memory round = _sealAgreed(2, 3);
        bytes32[] memory proof = _proofOf(round, 0);
        _expectRefusal(
            round,
            new Contribution[](65),
            proof,
            _none(),
            abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65)
        );
        Contribution[] memory leaf = _leafOf(round, 0);
        (leaf[0], leaf[1]) = (leaf[1], leaf[0]);
        _expectRefusal(
            round,
            leaf,
            proof,
            _none(),
            abi.encodeWithSelector(IBerthBase.Berth_WorkerNotAscending.selector, crew[1].addr, crew[0].addr)
        );
        leaf = _leafOf(round, 0);
        leaf[0].signature = leaf[1].signature;
        bytes32 wanted = _revealDigest(round.round.root, leaf[0].seed);
        _expectRefusal(
            round,
            leaf,
            proof,
            _none(),
            abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[0].addr, wanted)
        );
        // Without a word of its proof, or with one too many, there is no root at all.
        leaf = _leafOf(round, 0);
        bytes memory broken =
            abi.encodeWithSelector(IBerthBase.Berth_RootMismatch.selector, round.round.root, bytes32(0));
        _expectRefusal(round, leaf, new bytes32[](0), _none(), broken);
        _expectRefusal(round, leaf, new bytes32[](2), _none(), broken);
        // With another sibling, or another digest, it is another's.
        _expectMismatch(round, leaf, new bytes32[](1));
        (leaf[2].commitment, leaf[2].signature) = ("another", "");
        _expectMismatch(round, leaf, proof);
    }

    function test_RevertWhen_TheWeightFallsShort() public {
        Sealed memory round = _sealAgreed(2, 4);
        bool[] memory silent = new bool[](CREW);
        silent[2] = true;
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), silent);
        // 8 * 5 is 40; (1 + 8 + 2) * 4 is 44.
        _expectRefusal(
            round,
            leaf,
            _proofOf(round, 0),
            _none(),
            abi.encodeWithSelector(IBerthBase.Berth_TooLittleWeight.selector, 0, 8, 2, TRUST)
        );
    }

    function test_RevertWhen_PairsAreShownThatNobodyAppended() public {
        Sealed memory round = _sealAgreed(2, 3);
        Contribution[] memory leaf = _leafOf(round, 0);
        Contribution[] memory more = new Contribution[](1);
        (more[0].worker, more[0].commitment) = (crew[9].addr, "made up");
        Pair[] memory added = new Pair[](1);
        added[0] = Pair(crew[9].addr, "made up");
        bytes32 shown = _chain(_chain(0, _pairs(round.terms, round.tasks[0], round.name)), added);
        // Even where the leaf suffices.
        _expectRefusal(
            round,
            leaf,
            _proofOf(round, 0),
            more,
            abi.encodeWithSelector(IBerthBase.Berth_ChainMismatch.selector, bytes32(0), shown)
        );
    }

    function test_RevertWhen_ATaskThatWasNeverClosedShowsNoPairs() public {
        DealTerms memory terms = _replicated(1);
        Round memory none = Round(0, new ClosedWord[](0));
        vm.warp(_after(terms, 7));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, _after(terms, 7)));
        berth.settleOne(terms, 0, _resultOf(0), none, _none(), new bytes32[](0), _none());
        vm.warp(_after(terms, 7) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 0));
        berth.settleOne(terms, 0, _resultOf(0), none, _none(), new bytes32[](0), _none());
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        berth.settleOne(terms, 0, _resultOf(0), none, _none(), new bytes32[](0), new Contribution[](65));
    }

    // What a batch may hold.

    function test_RevertWhen_ABatchHas257Tasks() public {
        Sealed memory round = _sealAgreed(257, 3);
        Shown memory shown = _showAll(round);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BatchTooLarge.selector, 257, 256));
        berth.settle(round.terms, round.round, shown.workers, shown.tasks, shown.proof);
        bool[] memory picked = _everyTask(round);
        picked[256] = false;
        _settleShown(round, _show(round, picked, _firstDigests(round), new bool[](CREW)));
        assertEq(berth.dealState(_dealId(round.terms)).open, 1);
    }

    function test_RevertWhen_ABatchLeavesOut256Pairs() public {
        (Sealed memory round, Sealed memory fewer) = (_silentRound(6, "six"), _silentRound(5, "five"));
        Shown memory shown = _show(round, _everyTask(round), _firstDigests(round), _everybody());
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BatchTooLarge.selector, 256, 255));
        berth.settle(round.terms, round.round, shown.workers, shown.tasks, shown.proof);
        // 255 are not too many; and none of the tasks ends.
        _settleShown(fewer, _show(fewer, _everyTask(fewer), _firstDigests(fewer), _everybody()));
        assertEq(berth.dealState(_dealId(fewer.terms)).open, 26);
    }

    function test_WhenATableHas128WorkersItIsSettled() public {
        Sealed memory round = _sealAgreed(1, 3);
        Shown memory shown = _showAll(round);
        Reveal[] memory table = new Reveal[](128);
        for (uint256 i = 0; i < 128; i++) {
            // Those who have no pair come last, and say nothing.
            if (i < 3) table[i] = shown.workers[i];
            else table[i].worker = address(type(uint160).max - 128 + uint160(i));
        }
        berth.settle(round.terms, round.round, table, shown.tasks, shown.proof);
        assertTrue(berth.ended(_dealId(round.terms), 0));
        Reveal[] memory larger = new Reveal[](129);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BatchTooLarge.selector, 129, 128));
        berth.settle(round.terms, round.round, larger, shown.tasks, shown.proof);
    }

    /// @dev 25 tasks of ten pairs, and one of `last`.
    function _silentRound(uint256 last, string memory salt) private returns (Sealed memory) {
        DealTerms memory terms = _replicated(26, TRUST, salt);
        Answers[] memory tasks = _agreed(terms, 26, CREW);
        tasks[25] = _answers(25, _turn(0, last), _resultOf(25));
        return _seal(terms, tasks, salt);
    }

    function _everybody() private pure returns (bool[] memory silent) {
        silent = new bool[](CREW);
        for (uint256 i = 0; i < CREW; i++) {
            silent[i] = true;
        }
    }

    function _none() private pure returns (Contribution[] memory) {
        return new Contribution[](0);
    }

    function _leafOf(Sealed memory round, uint256 task) private returns (Contribution[] memory) {
        return _contributions(round, task, _resultOf(round.tasks[task].index), new bool[](CREW));
    }

    function _proofOf(Sealed memory round, uint256 task) private view returns (bytes32[] memory) {
        return _proof(_leaves(round.terms, round.tasks, round.name), _only(round, task));
    }

    function _expectRefusal(
        Sealed memory round,
        Contribution[] memory leaf,
        bytes32[] memory proof,
        Contribution[] memory appended,
        bytes memory refusal
    ) private {
        vm.expectRevert(refusal);
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, proof, appended);
    }

    function _expectMismatch(Sealed memory round, Contribution[] memory leaf, bytes32[] memory proof) private {
        vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, proof, _none());
    }
}
