// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Contribution, Evidence, Opening, Pair} from "../../src/types/Rounds.sol";
import {Answers, Replicas, Sealed, Shown} from "../support/Replicas.sol";

/// @notice Attacks that live on what is known too early, too late, or to the wrong one; the attacker fails.
contract AttacksOnReveals is Replicas {
    uint256 private constant POT = uint256(POOL_PRICE) * (10_000 - SHARE_BPS) / 10_000;
    uint256 private constant LIAR = 9;

    /// @dev Results of 8 bits of which none is a failure: everybody can try them all.
    uint256 private constant LEAST_RESULT = 256;
    uint256 private constant RESULTS = 256;

    /// @dev A seed gives each task a salt of its own, and the salt is what a guess lacks.
    function test_BruteForcingASmallResultMissesTheSeed() public {
        DealTerms memory terms = _replicated(1);
        bytes32 answer = bytes32(LEAST_RESULT + 44);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(0, _turn(0, 3), answer);
        Sealed memory round = _seal(terms, tasks, "round");
        bytes32 hidden = _pairs(terms, tasks[0], "round")[0].commitment;

        // Whatever an attacker knows or holds before the reveal, as seed and as salt.
        bytes32[6] memory known = [
            bytes32(0),
            _seed("round", LIAR),
            _seed("earlier round", 0),
            _task(terms, 0),
            round.round.root,
            bytes32(uint256(uint160(crew[0].addr)))
        ];
        for (uint256 i = 0; i < known.length; i++) {
            assertEq(_bruteForce(terms, hidden, _salt(known[i], _task(terms, 0))), 0);
            assertEq(_bruteForce(terms, hidden, known[i]), 0);
        }
        // The attack itself is sound: with the seed it finds the answer, which is too late by then.
        bytes32 salt = _salt(_seed("round", 0), _task(terms, 0));
        assertEq(_bruteForce(terms, hidden, salt), answer);
    }

    function _bruteForce(DealTerms memory terms, bytes32 hidden, bytes32 salt) private view returns (bytes32) {
        bytes32 task = _task(terms, 0);
        for (uint256 guess = LEAST_RESULT; guess < LEAST_RESULT + RESULTS; guess++) {
            if (keccak256(abi.encodePacked(task, crew[0].addr, guess, salt)) == hidden) return bytes32(guess);
        }
        return 0;
    }

    /// @dev The answer is public, the operator appends whoever likes it: who was there before shares as if alone.
    function test_JoiningAfterARevealEarnsNothing() public {
        Sealed memory round = _sealAgreed(2, 3);
        for (uint256 i = 0; i < 3; i++) {
            bytes32 seed = _seed("round", i);
            berth.publish(round.round.root, crew[i].addr, seed, _signReveal(i, round.round.root, seed));
        }
        Contribution[] memory joined = _join(round);
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), new bool[](CREW));
        bytes32[] memory proof = _proof(_leaves(round.terms, round.tasks, round.name), _only(round, 0));
        uint256 snapshot = vm.snapshotState();
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, proof, joined);
        _expectThreeShared();
        vm.revertToState(snapshot);
        Shown memory shown = _show(round, _only(round, 0), _firstDigests(round), new bool[](CREW));
        _settleShown(round, shown);
        _expectThreeShared();

        // Nor is there a later round for it.
        vm.expectPartialRevert(IBerthBase.Berth_AlreadyClosed.selector);
        vm.prank(operator.addr);
        berth.close("later", _closing(round.terms, _words(round.terms, round.tasks)));
    }

    function _join(Sealed memory round) private returns (Contribution[] memory joined) {
        Pair[] memory leaf = _pairs(round.terms, round.tasks[0], round.name);
        Pair[] memory added = new Pair[](1);
        bytes32 seed = _seed("late", LIAR);
        added[0] = Pair(crew[LIAR].addr, _commitment(_task(round.terms, 0), crew[LIAR].addr, _resultOf(0), seed));
        bytes32[] memory proof = _proof(_leaves(round.terms, round.tasks, round.name), _only(round, 0));
        vm.prank(operator.addr);
        berth.append(round.terms, 0, round.round, leaf, proof, added);
        joined = new Contribution[](1);
        bytes memory word = _signReveal(LIAR, _chain(_chain(0, leaf), added), seed);
        joined[0] = Contribution(crew[LIAR].addr, 0, seed, word);
    }

    function _expectThreeShared() private view {
        assertTrue(berth.ended(_dealId(_termsOf(_replicatedOrders(2, TRUST, "replicated"), 0, 2)), 0));
        for (uint256 i = 0; i < 3; i++) {
            assertEq(_earned(i), POT / 3);
        }
        assertEq(_earned(LIAR), 0);
    }

    /// @dev The operator makes a lie in the name of a worker whose seed of an earlier round is known by now.
    function test_APairForgedWithARevealedSeedHurtsNobody() public {
        DealTerms memory terms = _replicated(2);
        Answers[] memory first = new Answers[](1);
        first[0] = _answers(0, _turn(0, 3), _resultOf(0));
        Sealed memory revealed = _seal(terms, first, "round");
        Shown memory shown = _showAll(revealed);
        _settleShown(revealed, shown);

        // Everybody's seed is that of the first round; worker 0's pair is not its own.
        Answers[] memory second = new Answers[](1);
        second[0] = _answers(1, _turn(0, 10), _resultOf(1));
        second[0].digests[0] = "forged";
        Sealed memory forged = _seal(terms, second, "round");
        Shown memory lie = _showAll(forged);
        lie.workers[0].seed = _seed("round", 0);
        lie.workers[0].signature = shown.workers[0].signature;
        bytes32 wanted = _revealDigest(forged.round.root, lie.workers[0].seed);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[0].addr, wanted));
        _settleShown(forged, lie);

        _settleWithoutTheForged(forged);
        _expectNoEvidence(forged, shown.workers[0].signature);
        bytes32 own = _pairs(terms, first[0], "round")[0].commitment;
        _expectNoEvidence(forged, _signCommitment(0, _task(terms, 0), own));
        assertEq(_bonded(0), 10 * WORKER_STAKE);
    }

    function _settleWithoutTheForged(Sealed memory forged) private {
        bool[] memory silent = new bool[](CREW);
        silent[0] = true;
        bytes32[] memory digests = new bytes32[](1);
        digests[0] = _resultOf(1);
        _settleShown(forged, _show(forged, _everyTask(forged), digests, silent));
        assertTrue(berth.ended(_dealId(forged.terms), 1));
        vm.warp(_after(forged.terms, 10) + 1);
    }

    /// @dev What the worker signed is a reveal, and commitments of its own making.
    function _expectNoEvidence(Sealed memory forged, bytes memory word) private {
        Pair memory pair = _pairs(forged.terms, forged.tasks[0], forged.name)[0];
        bytes memory leftOut = _leftOutEntry(1, _resultOf(1), pair.worker, pair.commitment, 1, 10);
        bytes32 wanted = _commitmentDigest(_task(forged.terms, 1), pair.commitment);
        Evidence[] memory evidence = _evidence(word);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[0].addr, wanted));
        berth.punish(forged.terms, leftOut, evidence);
    }

    /// @dev Who hid garbage, or another answer, and opens once it knows what was settled.
    function test_WaitingForTheSettledDigestBeforeOpeningOpensNothing() public {
        (DealTerms memory terms, Sealed memory round, bytes memory leftOut) = _outvoted();
        bytes32 task = _task(terms, 0);
        bytes32[5] memory salts = [
            _salt(_seed("round", LIAR), task),
            _salt(_seed("round", 0), task),
            _salt(keccak256(abi.encode(_resultOf(0))), task),
            bytes32(0),
            round.round.root
        ];
        for (uint256 i = 0; i < salts.length; i++) {
            Opening[] memory openings = new Opening[](1);
            openings[0] = Opening(0, salts[i]);
            vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WrongSalt.selector, 0));
            vm.prank(crewOwners[LIAR]);
            berth.open(terms, leftOut, openings);
        }
        assertEq(_earned(LIAR), 0);
        vm.warp(_after(terms, 10) + 1);
        bytes32 hidden = _pairs(terms, round.tasks[0], "round")[LIAR].commitment;
        berth.punish(terms, leftOut, _evidence(_signCommitment(LIAR, task, hidden)));
        assertEq(_bonded(LIAR), 9 * WORKER_STAKE);
    }

    /// @dev Slashed stakes and shares that nobody opens are nobody's: not the pool's, not the payer's, not whoever's.
    function test_ProfitingFromASlashOrAForfeitIsNotPossible() public {
        (DealTerms memory terms, Sealed memory round, bytes memory leftOut) = _outvoted();
        uint256[] memory before = _fortunes();
        // To the wei as if all had agreed, for everybody but the one left out.
        assertEq(_free(poolOwner.addr), RICH + POOL_PRICE - 10 * (POT / 10));
        assertEq(_free(requester.addr), RICH - (APP_PRICE + DATASET_PRICE + POOL_PRICE));
        for (uint256 i = 0; i < LIAR; i++) {
            assertEq(_earned(i), POT / 10);
        }
        bytes32 hidden = _pairs(terms, round.tasks[0], "round")[LIAR].commitment;
        bytes memory word = _signCommitment(LIAR, _task(terms, 0), hidden);
        address[3] memory greedy = [operator.addr, poolOwner.addr, stranger];
        vm.warp(_after(terms, 10) + 1);
        for (uint256 i = 0; i < greedy.length; i++) {
            vm.prank(greedy[i]);
            berth.punish(terms, leftOut, _evidence(word));
        }
        assertEq(_bonded(LIAR), 9 * WORKER_STAKE);
        vm.warp(_after(terms, 12) + 365 days);
        assertEq(_fortunes(), before);
        // Nothing is left to be claimed either.
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingOpen.selector, _dealId(terms)));
        berth.claim(terms);
        assertGe(token.balanceOf(address(berth)), _sum(before) + 99 * uint256(WORKER_STAKE) + POT / 10 + WORKER_STAKE);
    }

    /// @dev The leaves were handed out, and nothing else: workers publish, and one of them settles.
    function test_OperatorDeadRightAfterTheCloseWorkersPublishAndSettle() public {
        Sealed memory round = _sealAgreed(1, 3);
        vm.recordLogs();
        for (uint256 i = 0; i < 3; i++) {
            bytes32 seed = _seed("round", i);
            bytes memory word = _signReveal(i, round.round.root, seed);
            vm.prank(crewOwners[i]);
            berth.publish(round.round.root, crew[i].addr, seed, word);
        }
        // All that is needed stands in the logs.
        Vm.Log[] memory logs = vm.getRecordedLogs();
        Contribution[] memory leaf = new Contribution[](3);
        for (uint256 i = 0; i < 3; i++) {
            assertEq(logs[i].topics[1], round.round.root);
            (bytes32 seed, bytes memory word) = abi.decode(logs[i].data, (bytes32, bytes));
            leaf[i] = Contribution(address(uint160(uint256(logs[i].topics[2]))), 0, seed, word);
        }
        vm.warp(_after(round.terms, 9));
        vm.prank(crewOwners[0]);
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
        for (uint256 i = 0; i < 3; i++) {
            assertEq(_earned(i), POT / 3);
        }
    }

    /// @dev The root was closed, and its leaves are known to nobody: the payer has all back, at the pool's expense.
    function test_OperatorDeadBeforeItHandsOutTheLeavesCostsThePoolAlone() public {
        Sealed memory round = _sealAgreed(2, 3);
        vm.warp(_after(round.terms, 9));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, _after(round.terms, 9)));
        berth.claim(round.terms);
        vm.warp(_after(round.terms, 9) + 1);
        vm.prank(stranger);
        berth.claim(round.terms);
        assertEq(_free(requester.addr), RICH);
        assertEq(_free(poolOwner.addr), RICH - 2 * uint256(POOL_STAKE));
        for (uint256 i = 0; i < 3; i++) {
            assertEq(_earned(i), 0);
            assertEq(_bonded(i), 10 * WORKER_STAKE);
        }
    }

    /// @dev One task of ten workers, of whom the last answers otherwise; settled.
    function _outvoted() private returns (DealTerms memory terms, Sealed memory round, bytes memory leftOut) {
        terms = _replicated(1);
        Answers[] memory tasks = _agreed(terms, 1, CREW);
        tasks[0].digests[LIAR] = "lie";
        round = _seal(terms, tasks, "round");
        Pair memory pair = _pairs(terms, tasks[0], "round")[LIAR];
        _settleShown(round, _showAll(round));
        leftOut = _leftOutEntry(0, _resultOf(0), pair.worker, pair.commitment, 1, 10);
    }

    /// @dev What everybody has, bonds aside.
    function _fortunes() private view returns (uint256[] memory list) {
        address[8] memory parties = [
            requester.addr,
            sponsor.addr,
            appOwner.addr,
            datasetOwner.addr,
            poolOwner.addr,
            operator.addr,
            stranger,
            workerOwner
        ];
        list = new uint256[](parties.length + 2 * CREW);
        for (uint256 i = 0; i < parties.length; i++) {
            list[i] = _free(parties[i]) + _locked(parties[i]);
        }
        for (uint256 i = 0; i < CREW; i++) {
            list[parties.length + i] = _free(crewOwners[i]);
            list[parties.length + CREW + i] = _free(crew[i].addr);
        }
    }

    function _sum(uint256[] memory list) private pure returns (uint256 sum) {
        for (uint256 i = 0; i < list.length; i++) {
            sum += list[i];
        }
    }

    function _evidence(bytes memory signature) private pure returns (Evidence[] memory evidence) {
        evidence = new Evidence[](1);
        evidence[0] = Evidence(0, signature);
    }

    function _earned(uint256 who) private view returns (uint256) {
        return _free(crewOwners[who]) - 90 * uint256(WORKER_STAKE);
    }

    function _bonded(uint256 who) private view returns (uint128 bonded) {
        (, bonded,,,) = berth.bondOf(pool, crew[who].addr);
    }
}
