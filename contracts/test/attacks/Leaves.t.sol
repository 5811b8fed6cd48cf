// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Orders} from "../../src/types/Orders.sol";
import {Contribution, Pair, Reveal, Round, WordBits} from "../../src/types/Rounds.sol";
import {Answers, Sealed, Shown} from "../support/Replicas.sol";
import {Purses} from "./Purses.sol";

/// @notice Attacks on what a round's root stands for, and on the signatures that open it; the attacker fails.
contract AttacksOnLeaves is Purses {
    /// @dev The operator shows one leaf to the honest, and keeps another for the same task.
    function test_TwoLeavesForOneTaskGiveAnotherRoot() public {
        DealTerms memory terms = _replicated(1);
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = _leaf(_dealId(terms), 0, _chain(0, _pairs(terms, _agreed(terms, 1, 3)[0], "shown")));
        leaves[1] = _leaf(_dealId(terms), 0, _chain(0, _pairs(terms, _agreed(terms, 1, 4)[0], "kept")));
        bytes32 root = _root(leaves);
        WordBits[] memory words = _words(terms, _agreed(terms, 1, 1));
        vm.prank(operator.addr);
        berth.close(root, _closing(terms, words));

        for (uint256 i = 0; i < 2; i++) {
            string memory name = i == 0 ? "shown" : "kept";
            Sealed memory round = Sealed(terms, _roundOf(terms, words, root), _agreed(terms, 1, 3 + i), name);
            Shown memory shown = _show(round, _only(round, 0), _firstDigests(round), new bool[](CREW));
            bool[] memory known = new bool[](2);
            known[i] = true;
            shown.proof = _proof(leaves, known);
            vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
            _settleShown(round, shown);
        }
        assertEq(_earned(0), 0);
    }

    function test_ATaskShownTwiceInABatchIsRefused() public {
        Sealed memory round = _sealAgreed(2, 3);
        Shown memory shown = _show(round, _only(round, 0), _firstDigests(round), new bool[](CREW));
        shown.tasks = bytes.concat(shown.tasks, shown.tasks);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_IndexNotAscending.selector, 0, 0));
        _settleShown(round, shown);
    }

    /// @dev A task was closed; the operator puts another leaf of it under the root of a round of other tasks.
    function test_ALeafHiddenUnderALaterRootIsNotInItsRound() public {
        DealTerms memory terms = _replicated(2);
        Answers[] memory tasks = _agreed(terms, 2, 3);
        Answers[] memory one = new Answers[](1);
        one[0] = tasks[0];
        Sealed memory first = _seal(terms, one, "first");
        // The second round closes task 1 alone; its root has a leaf of task 0 in that place.
        Pair[] memory pairs = _pairs(terms, tasks[0], "hidden");
        bytes32[] memory leaves = new bytes32[](1);
        leaves[0] = _leaf(_dealId(terms), 0, _chain(0, pairs));
        Answers[] memory other = new Answers[](1);
        other[0] = tasks[1];
        bytes32 root = _root(leaves);
        WordBits[] memory words = _words(terms, other);
        vm.prank(operator.addr);
        berth.close(root, _closing(terms, words));

        Sealed memory second = Sealed(terms, _roundOf(terms, words, root), one, "hidden");
        Shown memory shown = _show(second, _only(second, 0), _firstDigests(second), new bool[](CREW));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotInRound.selector, 0));
        _settleShown(second, shown);
        Contribution[] memory leaf = _contributions(second, 0, _resultOf(0), new bool[](CREW));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotInRound.selector, 0));
        berth.settleOne(terms, 0, _resultOf(0), second.round, leaf, new bytes32[](0), new Contribution[](0));
        // Nor as the task whose place it took: the index is part of the leaf.
        shown.tasks = bytes.concat(bytes4(uint32(1)), _from(shown.tasks, 4));
        vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
        _settleShown(second, shown);
        _settleShown(first, _showAll(first));
        assertEq(_earned(0), POT / 3);
    }

    /// @dev An operator closes the victim's root over a deal of its own, and shows it as the victim's round.
    function test_AnotherOperatorsRootIsNoRoundOfTheDeal() public {
        DealTerms memory victim = _replicated(1);
        Answers[] memory tasks = _agreed(victim, 1, 3);
        WordBits[] memory words = _words(victim, tasks);
        bytes32 root = _root(_leaves(victim, tasks, "round"));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotOperator.selector, stranger, operator.addr));
        vm.prank(stranger);
        berth.close(root, _closing(victim, words));

        Orders memory orders = _replicatedOrders(1, TRUST, "own");
        orders.pool.operator = stranger;
        DealTerms memory own = _matched(orders);
        vm.prank(stranger);
        berth.close(root, _closing(own, words));
        Round[2] memory rounds = [_roundOf(victim, words, root), _roundOf(own, words, root)];
        for (uint256 i = 0; i < 2; i++) {
            Shown memory shown = _showAll(Sealed(victim, rounds[i], tasks, "round"));
            vm.expectPartialRevert(IBerthBase.Berth_UnknownRound.selector);
            berth.settle(victim, rounds[i], shown.workers, shown.tasks, shown.proof);
        }
    }

    /// @dev What was committed is what is paid for: there is no result beside the digest.
    function test_AnotherDigestThanWasCommittedMissesTheRoot() public {
        Sealed memory round = _sealAgreed(1, 3);
        bytes32[] memory digests = new bytes32[](1);
        digests[0] = "what the settler likes";
        round.tasks[0].digests[0] = round.tasks[0].digests[1] = round.tasks[0].digests[2] = digests[0];
        Shown memory shown = _show(round, _only(round, 0), digests, new bool[](CREW));
        vm.expectPartialRevert(IBerthBase.Berth_RootMismatch.selector);
        _settleShown(round, shown);
    }

    function test_AProofThatIsTooShortOrTooLongIsRefused() public {
        Sealed memory round = _sealAgreed(3, 3);
        for (uint256 task = 0; task < 3; task++) {
            Shown memory shown = _show(round, _only(round, task), _firstDigests(round), new bool[](CREW));
            bytes32[] memory proof = shown.proof;
            bytes memory refusal =
                abi.encodeWithSelector(IBerthBase.Berth_RootMismatch.selector, round.round.root, bytes32(0));
            shown.proof = new bytes32[](0);
            vm.expectRevert(refusal);
            _settleShown(round, shown);
            shown.proof = new bytes32[](proof.length + 1);
            for (uint256 i = 0; i < proof.length; i++) {
                shown.proof[i] = proof[i];
            }
            vm.expectRevert(refusal);
            _settleShown(round, shown);
        }
        assertEq(berth.dealState(_dealId(round.terms)).open, 3);
    }

    /// @dev A broken proof gives zero: whoever closes a round under a root of zero has not closed it for every proof.
    function test_ARoundWhoseRootIsZeroSettlesNothing() public {
        DealTerms memory terms = _replicated(2);
        Answers[] memory tasks = _agreed(terms, 2, 3);
        WordBits[] memory words = _words(terms, tasks);
        vm.prank(operator.addr);
        berth.close(0, _closing(terms, words));
        Sealed memory round = Sealed(terms, _roundOf(terms, words, 0), tasks, "round");
        Shown memory shown = _show(round, _only(round, 0), _firstDigests(round), new bool[](CREW));
        shown.proof = new bytes32[](0);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_RootMismatch.selector, 0, 0));
        _settleShown(round, shown);
        bool[] memory silent = new bool[](CREW);
        (silent[0], silent[1], silent[2]) = (true, true, true);
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), silent);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_RootMismatch.selector, 0, 0));
        berth.settleOne(terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
    }

    function test_AnIndexOutsideAReplicatedDealIsRefusedEverywhere() public {
        Sealed memory round = _sealAgreed(2, 3);
        bytes memory refusal = abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, 2, 0, 2);
        Shown memory shown = _showAll(round);
        shown.tasks = bytes.concat(bytes4(uint32(2)), _from(shown.tasks, 4));
        vm.expectRevert(refusal);
        _settleShown(round, shown);
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), new bool[](CREW));
        vm.expectRevert(refusal);
        berth.settleOne(round.terms, 2, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
        Pair[] memory added = new Pair[](1);
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.append(round.terms, 2, round.round, added, new bytes32[](0), added);
        WordBits[] memory words = new WordBits[](1);
        words[0] = WordBits(0, 4);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadBits.selector, _dealId(round.terms), 0, 4));
        vm.prank(operator.addr);
        berth.close("root", _closing(round.terms, words));
        vm.warp(_after(round.terms, 7));
        vm.expectRevert(refusal);
        berth.appendAssigned(round.terms, 2, crew[0].addr, 0, "", "");
    }

    // Signatures of workers.

    function test_ARevealForAnotherContractOpensNothing() public {
        Sealed memory round = _sealAgreed(1, 3);
        Shown memory shown = _showAll(round);
        IBerth here = berth;
        (, berth) = _deploy(token, assets);
        bytes memory elsewhere = _signReveal(0, round.round.root, shown.workers[0].seed);
        berth = here;
        shown.workers[0].signature = elsewhere;
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        _settleShown(round, shown);
    }

    /// @dev Seeds become known; what they open is the worker's to say.
    function test_ASeedWithoutItsWorkersWordOpensNoPair() public {
        Sealed memory round = _sealAgreed(1, 3);
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), new bool[](CREW));
        leaf[0].signature = leaf[1].signature;
        bytes32 digest = _revealDigest(round.round.root, leaf[0].seed);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[0].addr, digest));
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
    }

    function test_AMalleableRevealIsRefused() public {
        Sealed memory round = _sealAgreed(1, 3);
        Shown memory shown = _showAll(round);
        bytes32 digest = _revealDigest(round.round.root, shown.workers[0].seed);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(crew[0], digest);
        bytes32 high = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
        assertEq(ecrecover(digest, 55 - v, r, high), crew[0].addr);
        shown.workers[0].signature = abi.encodePacked(r, high, 55 - v);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[0].addr, digest));
        _settleShown(round, shown);
    }

    /// @dev A pair of nobody, with a signature that recovers to nobody.
    function test_TheZeroAddressRevealsNothing() public {
        DealTerms memory terms = _replicated(1);
        Pair[] memory pairs = new Pair[](1);
        pairs[0] = Pair(address(0), _commitment(_task(terms, 0), address(0), _resultOf(0), "seed"));
        bytes32[] memory leaves = new bytes32[](1);
        leaves[0] = _leaf(_dealId(terms), 0, _chain(0, pairs));
        WordBits[] memory words = _words(terms, _agreed(terms, 1, 1));
        bytes32 root = _root(leaves);
        vm.prank(operator.addr);
        berth.close(root, _closing(terms, words));
        Contribution[] memory leaf = new Contribution[](1);
        leaf[0] = Contribution(address(0), 0, "seed", new bytes(65));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WorkerNotAscending.selector, address(0), address(0)));
        berth.settleOne(
            terms, 0, _resultOf(0), _roundOf(terms, words, root), leaf, new bytes32[](0), new Contribution[](0)
        );
        Reveal[] memory table = new Reveal[](1);
        table[0] = Reveal(address(0), "seed", new bytes(65));
        bytes memory packed = abi.encodePacked(uint32(0), _resultOf(0), uint8(1), hex"80");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WorkerNotAscending.selector, address(0), address(0)));
        berth.settle(terms, _roundOf(terms, words, root), table, packed, new bytes32[](0));
        // Appended pairs need not rise; there it is the signature that nobody can give.
        vm.warp(_after(terms, 7));
        bytes memory assignment = _signAssignment(terms, address(0), 1);
        vm.expectPartialRevert(IBerthBase.Berth_TaskClosed.selector);
        berth.appendAssigned(terms, 0, address(0), pairs[0].commitment, assignment, new bytes(65));
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        berth.publish(root, address(0), "seed", new bytes(65));
    }

    /// @dev A worker's signed commitment, and the operator's assignment, are for one task each.
    function test_WordsForAnotherTaskAppendNothing() public {
        DealTerms memory terms = _replicated(2);
        bytes32 hidden = _commitment(_task(terms, 0), crew[0].addr, _resultOf(0), "seed");
        vm.warp(_after(terms, 7));
        bytes memory assignment = _signAssignment(terms, crew[0].addr, 0);
        bytes memory other = _signAssignment(terms, crew[0].addr, 1);
        bytes memory word = _signCommitment(0, _task(terms, 0), hidden);
        bytes memory elsewhere = _signCommitment(0, _task(terms, 1), hidden);
        _expectNoAppend(terms, operator.addr, other, word, hidden);
        _expectNoAppend(terms, crew[0].addr, assignment, elsewhere, hidden);
        // Nor is the one the other.
        _expectNoAppend(terms, operator.addr, word, word, hidden);
        _expectNoAppend(terms, crew[0].addr, assignment, assignment, hidden);
        berth.appendAssigned(terms, 0, crew[0].addr, hidden, assignment, word);
    }

    function _expectNoAppend(
        DealTerms memory terms,
        address missing,
        bytes memory assignment,
        bytes memory word,
        bytes32 hidden
    ) private {
        bytes32 digest = missing == operator.addr
            ? _assignmentDigest(terms, crew[0].addr, 0)
            : _commitmentDigest(_task(terms, 0), hidden);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, missing, digest));
        berth.appendAssigned(terms, 0, crew[0].addr, hidden, assignment, word);
    }

    function _from(bytes memory list, uint256 start) private pure returns (bytes memory rest) {
        rest = new bytes(list.length - start);
        for (uint256 i = 0; i < rest.length; i++) {
            rest[i] = list[start + i];
        }
    }
}
