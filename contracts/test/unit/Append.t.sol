// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Pair, Round} from "../../src/types/Rounds.sol";
import {Answers, Replicas, Sealed} from "../support/Replicas.sol";

/// @notice Appending by the operator and by assigned workers: each error with its values.
contract Append is Replicas {
    function test_RevertWhen_ThereIsNoSuchTask() public {
        Sealed memory round = _sealAgreed(2, 3);
        Pair[] memory leaf = _pairs(round.terms, round.tasks[0], round.name);
        DealTerms memory single = _deal(1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotReplicated.selector, 1));
        vm.prank(operator.addr);
        berth.append(single, 0, round.round, leaf, new bytes32[](1), _added(9));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, 2, 0, 2));
        vm.prank(operator.addr);
        berth.append(round.terms, 2, round.round, leaf, new bytes32[](1), _added(9));
        round.terms.size++;
        _expectRefusal(round, leaf, abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(round.terms)));
    }

    function test_RevertWhen_TheRoundIsAnotherOrHasNotTheTask() public {
        DealTerms memory terms = _replicated(2);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(1, _turn(0, 3), _resultOf(1));
        Sealed memory round = _seal(terms, tasks, "round");
        Pair[] memory leaf = _pairs(terms, tasks[0], "round");
        _expectRefusal(round, leaf, abi.encodeWithSelector(IBerthBase.Berth_NotInRound.selector, 0));
        round.round = Round("other root", round.round.closed);
        bytes32 id = keccak256(abi.encode(operator.addr, round.round.root, round.round.closed));
        _expectRefusal(round, leaf, abi.encodeWithSelector(IBerthBase.Berth_UnknownRound.selector, id));
    }

    function test_RevertWhen_ALeafIsNotTheRounds() public {
        Sealed memory round = _sealAgreed(2, 3);
        Pair[] memory leaf = _pairs(round.terms, round.tasks[0], round.name);
        _expectRefusal(round, new Pair[](0), abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 0));
        _expectRefusal(round, new Pair[](65), abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        // The proof of the other task's leaf is missing here.
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_RootMismatch.selector, round.round.root, bytes32(0)));
        vm.prank(operator.addr);
        berth.append(round.terms, 0, round.round, leaf, new bytes32[](0), _added(9));
        leaf[1] = leaf[0];
        _expectRefusal(
            round,
            leaf,
            abi.encodeWithSelector(IBerthBase.Berth_WorkerNotAscending.selector, crew[0].addr, crew[0].addr)
        );
        leaf[0].worker = address(0);
        _expectRefusal(
            round, leaf, abi.encodeWithSelector(IBerthBase.Berth_WorkerNotAscending.selector, address(0), address(0))
        );
    }

    function test_WhenAppendedBeforeNothingOfTheRoundIsLookedAt() public {
        Sealed memory round = _sealAgreed(2, 3);
        Pair[] memory leaf = _pairs(round.terms, round.tasks[0], round.name);
        bytes32[] memory proof = _proof(_leaves(round.terms, round.tasks, round.name), _only(round, 0));
        vm.startPrank(operator.addr);
        berth.append(round.terms, 0, round.round, leaf, proof, _added(4));
        Round memory none;
        berth.append(round.terms, 0, none, new Pair[](0), new bytes32[](0), _added(5));
        (bytes32 chain, uint8 pairs) = berth.appendsOf(_dealId(round.terms), 0);
        assertEq(chain, _chain(_chain(_chain(0, leaf), _added(4)), _added(5)));
        assertEq(pairs, 5);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 5));
        berth.append(round.terms, 0, none, leaf, proof, new Pair[](0));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        berth.append(round.terms, 0, none, leaf, proof, new Pair[](60));
        berth.append(round.terms, 0, none, leaf, proof, new Pair[](59));
        vm.stopPrank();
    }

    function test_RevertWhen_AnAssignedWorkerAppendsToNoSuchTask() public {
        DealTerms memory terms = _replicated(2);
        DealTerms memory single = _deal(1);
        uint32[] memory indexes = new uint32[](1);
        vm.prank(operator.addr);
        berth.decline(terms, indexes);
        vm.warp(_after(terms, 7));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotReplicated.selector, 1));
        berth.appendAssigned(single, 0, crew[0].addr, "commitment", "", "");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, 2, 0, 2));
        berth.appendAssigned(terms, 2, crew[0].addr, "commitment", "", "");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TaskEnded.selector, 0));
        berth.appendAssigned(terms, 0, crew[0].addr, "commitment", "", "");
        terms.size++;
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
        berth.appendAssigned(terms, 1, crew[0].addr, "commitment", "", "");
    }

    function test_RevertWhen_AWorkerIsNotAssignedOrDidNotSay() public {
        DealTerms memory terms = _replicated(1);
        vm.warp(_after(terms, 7));
        bytes memory word = _signCommitment(0, _task(terms, 0), "commitment");
        bytes memory another = _signAssignment(terms, crew[1].addr, 0);
        bytes32 wanted = _assignmentDigest(terms, crew[0].addr, 0);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, operator.addr, wanted));
        berth.appendAssigned(terms, 0, crew[0].addr, "commitment", another, word);
        bytes memory assignment = _signAssignment(terms, crew[0].addr, 0);
        wanted = _commitmentDigest(_task(terms, 0), "other");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[0].addr, wanted));
        berth.appendAssigned(terms, 0, crew[0].addr, "other", assignment, word);
    }

    function test_RevertGiven_64PairsAreThere() public {
        DealTerms memory terms = _replicated(1);
        vm.warp(_after(terms, 7));
        bytes memory word = _signCommitment(0, _task(terms, 0), "commitment");
        bytes memory assignment = _signAssignment(terms, crew[0].addr, 0);
        for (uint256 i = 0; i < 64; i++) {
            berth.appendAssigned(terms, 0, crew[0].addr, "commitment", assignment, word);
        }
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        berth.appendAssigned(terms, 0, crew[0].addr, "commitment", assignment, word);
    }

    function _added(uint256 who) private view returns (Pair[] memory added) {
        added = new Pair[](1);
        added[0] = Pair(crew[who].addr, keccak256(abi.encode("added", who)));
    }

    function _expectRefusal(Sealed memory round, Pair[] memory leaf, bytes memory refusal) private {
        Pair[] memory added = _added(9);
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.append(round.terms, 0, round.round, leaf, new bytes32[](1), added);
    }
}
