// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {DealId, RecordId, RoundId} from "../../src/types/Ids.sol";
import {Orders} from "../../src/types/Orders.sol";
import {
    ClosedWord,
    Closing,
    Contribution,
    Evidence,
    Opening,
    Pair,
    Reveal,
    Round,
    WordBits
} from "../../src/types/Rounds.sol";
import {Answers, Replicas, Sealed, Shown} from "../support/Replicas.sol";

/// @notice Closing, and settling in bulk: each error with its values, each event in full.
contract Rounds_ is Replicas {
    uint256 private constant POT = uint256(POOL_PRICE) * (10_000 - SHARE_BPS) / 10_000;
    uint256 private constant FEE = POOL_PRICE / 10;

    // close

    function test_RevertWhen_ARoundIsNotOnesOwnDealInTime() public {
        DealTerms memory terms = _replicated(3);
        WordBits[] memory words = _word(0, 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotOperator.selector, stranger, operator.addr));
        vm.prank(stranger);
        berth.close("root", _closing(terms, words));

        DealTerms memory single = _deal(1);
        _expectClose(single, words, abi.encodeWithSelector(IBerthBase.Berth_NotReplicated.selector, 1));
        uint256 deadline = _after(terms, 6);
        vm.warp(deadline + 1);
        _expectClose(terms, words, abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, deadline));
        terms.size++;
        _expectClose(terms, words, abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
    }

    function test_RevertWhen_BitsAreNoTasksOfTheDeal() public {
        DealTerms memory terms = _replicated(106);
        _expectBadBits(terms, _word(0, 0), 0, 0);
        _expectBadBits(terms, _word(1, 4), 1, 4);
        _expectBadBits(terms, _word(2, 1), 2, 1);
        WordBits[] memory words = new WordBits[](2);
        (words[0], words[1]) = (WordBits(1, 1), WordBits(0, 1));
        _expectBadBits(terms, words, 0, 1);
        words[1] = WordBits(1, 2);
        _expectBadBits(terms, words, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadBits.selector, bytes32(0), 0, 0));
        vm.prank(operator.addr);
        berth.close("root", new Closing[](0));
        _expectClose(terms, new WordBits[](65), abi.encodeWithSelector(IBerthBase.Berth_BatchTooLarge.selector, 65, 64));
    }

    function test_RevertGiven_TasksAreClosedOrHaveEnded() public {
        DealTerms memory terms = _replicated(106);
        uint32[] memory indexes = new uint32[](1);
        indexes[0] = 1;
        vm.startPrank(operator.addr);
        berth.decline(terms, indexes);
        berth.close("root", _closing(terms, _word(0, 4)));
        vm.stopPrank();
        _expectClose(
            terms, _word(0, 15), abi.encodeWithSelector(IBerthBase.Berth_AlreadyClosed.selector, _dealId(terms), 0, 6)
        );
        // In one call, too.
        Closing[] memory deals = new Closing[](2);
        deals[0] = deals[1] = Closing(terms, _word(1, 2));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_AlreadyClosed.selector, _dealId(terms), 1, 2));
        vm.prank(operator.addr);
        berth.close("root", deals);
    }

    function test_WhenClosedARoundIsKnownAndItsTasksAreClosed() public {
        DealTerms memory terms = _replicated(106);
        WordBits[] memory words = new WordBits[](2);
        (words[0], words[1]) = (WordBits(0, 5), WordBits(1, 2));
        Round memory round = _roundOf(terms, words, "root");
        RoundId id = RoundId.wrap(keccak256(abi.encode(operator.addr, round.root, round.closed)));
        assertFalse(berth.isRound(id));
        _expectEvent();
        emit IBerthBase.RoundClosed(id, operator.addr, "root", round.closed);
        vm.prank(operator.addr);
        assertEq(RoundId.unwrap(berth.close("root", _closing(terms, words))), RoundId.unwrap(id));
        assertTrue(berth.isRound(id));
        DealId deal = _dealId(terms);
        for (uint256 offset = 0; offset < 106; offset++) {
            assertEq(berth.closed(deal, offset), offset == 0 || offset == 2 || offset == 105);
            assertFalse(berth.ended(deal, offset));
        }
        assertEq(berth.dealState(deal).closed, 5);
    }

    // settle

    function test_WhenAllAgreeAllArePaidAndScored() public {
        Sealed memory round = _sealAgreed(2, 3);
        Shown memory shown = _showAll(round);
        uint256 part = POT / 3;
        _expectEvent();
        emit IBerthBase.TasksSettled(
            _dealId(round.terms),
            _id(round),
            abi.encodePacked(
                uint32(0), _resultOf(0), uint8(3), hex"808182", uint32(1), _resultOf(1), uint8(3), hex"838485"
            ),
            bytes.concat(
                _row(0, part, 1),
                _row(1, part, 1),
                _row(2, part, 1),
                _row(3, part, 1),
                _row(4, part, 1),
                _row(5, part, 1)
            ),
            ""
        );
        _settleShown(round, shown);
        for (uint256 i = 0; i < 6; i++) {
            assertEq(_earned(i), part);
            assertEq(_score(i), 1);
        }
        assertEq(_free(appOwner.addr), 2 * APP_PRICE);
        assertEq(_free(datasetOwner.addr), 2 * DATASET_PRICE);
        assertEq(_free(poolOwner.addr), RICH + 2 * (POOL_PRICE - 3 * part));
        assertEq(_locked(poolOwner.addr), 0);
        assertEq(_locked(requester.addr), 0);
        assertEq(berth.dealState(_dealId(round.terms)).open, 0);
        vm.recordLogs();
        _settleShown(round, shown);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_WhenTasksHaveAnyNumberOfPairsAllArePaidAlike() public {
        // For a trust of 2 one pair is enough; nine are more than the loop over plain tasks takes.
        DealTerms memory terms = _replicated(4, 2, "mixed");
        Answers[] memory tasks = new Answers[](4);
        uint256[4] memory each = [uint256(1), 9, 8, 2];
        for (uint256 i = 0; i < 4; i++) {
            tasks[i] = _answers(uint32(i), _turn(0, each[i]), _resultOf(i));
        }
        Sealed memory round = _seal(terms, tasks, "round");
        _settleShown(round, _showAll(round));
        assertEq(berth.dealState(_dealId(terms)).open, 0);
        assertEq(_earned(0), POT + POT / 9 + POT / 8 + POT / 2);
        assertEq(_earned(1), POT / 9 + POT / 8 + POT / 2);
        assertEq(_earned(8), POT / 9);
        // One alone raises no score.
        assertEq(_score(0), 3);
        assertEq(_score(8), 1);
    }

    function test_WhenIndexesAreHighTheyAreTakenForNoPairs() public {
        // After a task's pairs comes the next one's index, whose first byte is here as a pair's.
        Orders memory orders = _ordersWithoutDataset();
        (orders.app.price, orders.pool.price, orders.pool.poolStake) = (0, 0, 0);
        orders.request.trust = orders.pool.maxTrust = TRUST;
        orders.pool.parallel = type(uint32).max;
        (orders.request.volume, orders.pool.volume) = (0x90000003, 0x90000000);
        berth.matchOrders(orders, _sign(orders));
        (orders.pool.price, orders.pool.salt) = (POOL_PRICE, keccak256("second"));
        berth.matchOrders(orders, _sign(orders));
        DealTerms memory terms = _termsOf(orders, 0x90000000, 3);
        Sealed memory round = _seal(terms, _agreed(terms, 3, 3), "round");
        _settleShown(round, _showAll(round));
        assertEq(berth.dealState(_dealId(terms)).open, 0);
        for (uint256 i = 0; i < 9; i++) {
            assertEq(_earned(i), POT / 3);
            assertEq(_score(i), 1);
        }
    }

    function test_WhenOneLiesAndOneIsSilentTheirSharesAreKeptBack() public {
        (DealTerms memory terms, bytes memory leftOut) = _quarrel();
        assertEq(berth.recordOf(RecordId.wrap(_recordId(terms, leftOut))), 1 << 255);
        assertEq(_free(poolOwner.addr), RICH + POOL_PRICE - 10 * (POT / 10));
        assertEq(_earned(2), 0);
        assertEq(_earned(7), 0);
    }

    function test_WhenLeftOutAPairIsOpenedOnceUntilTheDeadline() public {
        (DealTerms memory terms, bytes memory leftOut) = _quarrel();
        bytes32 salt = _salt(_seed("round", 7), _task(terms, 0));
        Opening[] memory openings = new Opening[](2);
        openings[0] = openings[1] = Opening(1, salt);
        vm.warp(_after(terms, 10));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WrongSalt.selector, 0));
        berth.open(terms, leftOut, _opening(0, salt));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadEntry.selector, 2, 2));
        berth.open(terms, leftOut, _opening(2, 0));
        bytes memory other = bytes.concat(leftOut, "x");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownRecord.selector, _recordId(terms, other)));
        berth.open(terms, other, openings);
        _expectEvent();
        emit IBerthBase.ShareOpened(_dealId(terms), 0, crew[7].addr, uint128(POT / 10), true);
        vm.recordLogs();
        berth.open(terms, leftOut, openings);
        assertEq(vm.getRecordedLogs().length, 1);
        assertEq(_earned(7), POT / 10);
        assertEq(_score(7), 1);
        assertEq(berth.recordOf(RecordId.wrap(_recordId(terms, leftOut))), 1 << 255 | 2);
        vm.warp(_after(terms, 10) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, _after(terms, 10)));
        berth.open(terms, leftOut, openings);
        // Whoever opened is not punished.
        vm.recordLogs();
        berth.punish(terms, leftOut, _evidence(1, ""));
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_WhenNotOpenedASignedPairIsPunishedOnceInTheWindow() public {
        (DealTerms memory terms, bytes memory leftOut) = _quarrel();
        bytes32 task = _task(terms, 0);
        bytes32 commitment = _commitment(task, crew[2].addr, "lie", _seed("round", 2));
        Evidence[] memory evidence = _evidence(0, _signCommitment(2, task, commitment));
        vm.warp(_after(terms, 10));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, _after(terms, 10)));
        berth.punish(terms, leftOut, evidence);
        vm.warp(_after(terms, 10) + 1);
        bytes32 wanted = _commitmentDigest(task, commitment);
        Evidence[] memory forged = _evidence(0, _signature(operator, wanted));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[2].addr, wanted));
        berth.punish(terms, leftOut, forged);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadEntry.selector, 9, 2));
        berth.punish(terms, leftOut, _evidence(9, ""));
        _expectEvent();
        emit IBerthBase.WorkerPunished(_dealId(terms), 0, crew[2].addr, WORKER_STAKE, 0);
        berth.punish(terms, leftOut, evidence);
        vm.recordLogs();
        berth.punish(terms, leftOut, evidence);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(_bonded(2), 9 * WORKER_STAKE);
        vm.warp(_after(terms, 12) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, _after(terms, 12)));
        berth.punish(terms, leftOut, evidence);
    }

    /// @dev One task of ten workers: 2 lies, 7 is silent; settled, with its event in full.
    function _quarrel() private returns (DealTerms memory terms, bytes memory leftOut) {
        terms = _replicated(1);
        Answers[] memory tasks = _agreed(terms, 1, 10);
        tasks[0].digests[2] = "lie";
        Sealed memory round = _seal(terms, tasks, "round");
        bool[] memory silent = new bool[](CREW);
        silent[7] = true;
        Pair[] memory pairs = _pairs(terms, tasks[0], "round");
        leftOut = bytes.concat(
            _leftOutEntry(0, _resultOf(0), pairs[2].worker, pairs[2].commitment, 1, 10),
            _leftOutEntry(0, _resultOf(0), pairs[7].worker, pairs[7].commitment, 1, 10)
        );
        Shown memory shown = _show(round, _everyTask(round), _firstDigests(round), silent);
        bytes memory rows;
        for (uint256 i = 0; i < CREW; i++) {
            rows = bytes.concat(rows, i == 2 || i == 7 ? _row(i, 0, 0) : _row(i, POT / 10, 1));
        }
        bytes memory ended = abi.encodePacked(uint32(0), _resultOf(0), uint8(10), hex"80810283848586078889");
        _expectEvent();
        emit IBerthBase.TasksSettled(_dealId(terms), _id(round), ended, rows, leftOut);
        _settleShown(round, shown);
    }

    function test_WhenATaskFailedAFeeIsSharedAndNobodyScores() public {
        DealTerms memory terms = _replicated(1);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(0, _turn(0, 4), bytes32(uint256(1)));
        Sealed memory round = _seal(terms, tasks, "round");
        _settleShown(round, _showAll(round));
        uint256 pot = FEE * (10_000 - SHARE_BPS) / 10_000;
        assertEq(_earned(3), pot / 4);
        assertEq(_score(3), 0);
        assertEq(_free(requester.addr), RICH - FEE);
        assertEq(_free(poolOwner.addr), RICH + FEE - 4 * (pot / 4));
        assertEq(_free(appOwner.addr), 0);
    }

    function test_WhenABondDoesNotCoverThePairIsRefused() public {
        Sealed memory round = _sealAgreed(1, 8);
        vm.prank(crewOwners[1]);
        berth.unbond(pool, crew[1].addr, 10 * WORKER_STAKE);
        vm.warp(block.timestamp + 1);
        // Unbonding, but not released before the last punish time: it counts.
        Shown memory shown = _showAll(round);
        uint256 snapshot = vm.snapshotState();
        _settleShown(round, shown);
        assertEq(_earned(1), POT / 8);
        vm.revertToState(snapshot);

        // Slashed below the stake: it does not.
        bytes32 slot = keccak256(abi.encode(crew[1].addr, keccak256(abi.encode(pool, 5))));
        vm.store(address(berth), bytes32(uint256(slot) + 1), bytes32(uint256(5) | (block.timestamp + 1e9) << 96));
        _expectEvent();
        bytes memory rows;
        for (uint256 i = 0; i < 8; i++) {
            rows = bytes.concat(rows, i == 1 ? _row(1, 0, 0) : _row(i, POT / 8, 1));
        }
        emit IBerthBase.TasksSettled(
            _dealId(round.terms),
            _id(round),
            abi.encodePacked(uint32(0), _resultOf(0), uint8(8), hex"8001828384858687"),
            rows,
            ""
        );
        _settleShown(round, shown);
        assertEq(_earned(1), 0);
    }

    function test_WhenPairsFallShortNothingHappens() public {
        Sealed memory round = _sealAgreed(2, 3);
        bool[] memory silent = new bool[](CREW);
        silent[0] = silent[1] = true;
        Shown memory shown = _show(round, _only(round, 0), _firstDigests(round), silent);
        vm.recordLogs();
        _settleShown(round, shown);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(berth.dealState(_dealId(round.terms)).open, 2);
    }

    function test_RevertWhen_ABatchIsNotOfThisRound() public {
        Sealed memory round = _sealAgreed(4, 3);
        Shown memory shown = _showAll(round);
        DealTerms memory single = _deal(1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotReplicated.selector, 1));
        berth.settle(single, round.round, shown.workers, shown.tasks, shown.proof);

        Round memory wrong = Round("other root", round.round.closed);
        bytes32 id = keccak256(abi.encode(operator.addr, wrong.root, wrong.closed));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownRound.selector, id));
        berth.settle(round.terms, wrong, shown.workers, shown.tasks, shown.proof);

        _expectRefusal(round, shown.workers, "", _badLength(0));
        bytes memory cut = _slice(shown.tasks, shown.tasks.length - 1);
        _expectRefusal(round, shown.workers, cut, _badLength(cut.length));
        bytes memory one = abi.encodePacked(uint32(0), _resultOf(0), uint8(1));
        _expectRefusal(round, shown.workers, one, _badLength(37));
        _expectRefusal(round, shown.workers, bytes.concat(one, hex"00"), _badLength(38));
        _expectRefusal(
            round,
            shown.workers,
            bytes.concat(one, hex"80"),
            abi.encodeWithSelector(IBerthBase.Berth_RootMismatch.selector, round.round.root, bytes32(0))
        );
        one = abi.encodePacked(uint32(4), _resultOf(0), uint8(1), hex"80");
        _expectRefusal(
            round, shown.workers, one, abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, 4, 0, 4)
        );
        one = abi.encodePacked(uint32(0), bytes32(0), uint8(1), hex"80");
        _expectRefusal(round, shown.workers, one, abi.encodeWithSelector(IBerthBase.Berth_NoDigest.selector, 0));
        one = abi.encodePacked(uint32(0), _resultOf(0), uint8(0));
        _expectRefusal(round, shown.workers, one, abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 0));
        one = abi.encodePacked(uint32(0), _resultOf(0), uint8(65));
        _expectRefusal(round, shown.workers, one, abi.encodeWithSelector(IBerthBase.Berth_BadPairCount.selector, 0, 65));
        one = abi.encodePacked(uint32(0), _resultOf(0), uint8(2), hex"8080");
        _expectRefusal(round, shown.workers, one, abi.encodeWithSelector(IBerthBase.Berth_BadRank.selector, 0, 0));
        one = abi.encodePacked(uint32(0), _resultOf(0), uint8(1), hex"ff");
        _expectRefusal(round, shown.workers, one, abi.encodeWithSelector(IBerthBase.Berth_BadRank.selector, 0, 127));
        bytes memory twice = bytes.concat(shown.tasks, _slice(shown.tasks, 40));
        _expectRefusal(
            round, shown.workers, twice, abi.encodeWithSelector(IBerthBase.Berth_IndexNotAscending.selector, 3, 0)
        );
        shown.workers[1].signature = "";
        _expectRefusal(
            round,
            shown.workers,
            shown.tasks,
            abi.encodeWithSelector(IBerthBase.Berth_NotRevealed.selector, 0, crew[1].addr)
        );
        shown.workers[1].signature = shown.workers[0].signature;
        _expectRefusal(
            round,
            shown.workers,
            shown.tasks,
            abi.encodeWithSelector(
                IBerthBase.Berth_BadSignature.selector,
                crew[1].addr,
                _revealDigest(round.round.root, shown.workers[1].seed)
            )
        );
        shown.workers[1].worker = crew[0].addr;
        _expectRefusal(
            round,
            shown.workers,
            shown.tasks,
            abi.encodeWithSelector(IBerthBase.Berth_WorkerNotAscending.selector, crew[0].addr, crew[0].addr)
        );
        _expectRefusal(
            round,
            new Reveal[](129),
            shown.tasks,
            abi.encodeWithSelector(IBerthBase.Berth_BatchTooLarge.selector, 129, 128)
        );
        uint256 deadline = _after(round.terms, 9);
        vm.warp(deadline + 1);
        _expectRefusal(
            round, shown.workers, shown.tasks, abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, deadline)
        );
    }

    function test_RevertWhen_ATaskIsNotInTheRound() public {
        DealTerms memory terms = _replicated(3);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(1, _turn(0, 3), _resultOf(1));
        Sealed memory round = _seal(terms, tasks, "round");
        Shown memory shown = _showAll(round);
        bytes memory packed = abi.encodePacked(uint32(0), _resultOf(0), uint8(3), hex"808182");
        _expectRefusal(round, shown.workers, packed, abi.encodeWithSelector(IBerthBase.Berth_NotInRound.selector, 0));
        _settleShown(round, shown);
        assertTrue(berth.ended(_dealId(terms), 1));
    }

    // publish

    function test_WhenPublishedARevealIsTold() public {
        bytes memory signature = _signReveal(0, "root", "seed");
        _expectEvent();
        emit IBerthBase.RevealPublished("root", crew[0].addr, "seed", signature);
        berth.publish("root", crew[0].addr, "seed", signature);
        vm.expectRevert(
            abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, crew[0].addr, _revealDigest("root", "other"))
        );
        berth.publish("root", crew[0].addr, "other", signature);
    }

    // Any round, any subset, any proof.

    function testFuzz_WhenAnySubsetIsShownItsRootIsTheReferences(uint256 seed, uint8 count) public {
        uint32 size = uint32(_bound(count, 1, 230));
        DealTerms memory terms = _replicated(size);
        Answers[] memory all = new Answers[](size);
        uint256 closed = 0;
        for (uint32 i = 0; i < size; i++) {
            uint256 draw = uint256(keccak256(abi.encode(seed, i)));
            if (draw % 5 == 0 && i + 1 < size) continue;
            all[closed++] = _answers(i, _turn(draw >> 8, 1 + (draw >> 16) % CREW), _resultOf(i));
        }
        Answers[] memory tasks = new Answers[](closed);
        for (uint256 i = 0; i < closed; i++) {
            tasks[i] = all[i];
        }
        Sealed memory round = _seal(terms, tasks, "round");
        bool[] memory picked = new bool[](closed);
        uint256 shown = 0;
        for (uint256 i = 0; i < closed; i++) {
            picked[i] = uint256(keccak256(abi.encode(seed, "pick", i))) % 3 != 0;
            if (picked[i]) shown++;
        }
        if (shown == 0) (picked[0], shown) = (true, 1);
        bool[] memory silent = new bool[](CREW);
        silent[seed % CREW] = seed % 3 == 0;
        uint256 before = _total();
        _settleShown(round, _show(round, picked, _firstDigests(round), silent));
        // Not a wei more than what was locked: what is missing is kept back for whoever was silent.
        assertLe(_total(), before);
        if (seed % 3 != 0) assertGe(_total() + uint256(size) * 300, before);
        for (uint256 i = 0; i < closed; i++) {
            uint256 offset = tasks[i].index;
            if (!picked[i]) assertFalse(berth.ended(_dealId(terms), offset));
            // Two agreeing workers have weight 4: 4 * 5 > 5 * 4 does not hold. Three do.
            if (picked[i] && seed % 3 != 0) assertEq(berth.ended(_dealId(terms), offset), tasks[i].who.length > 2);
        }
    }

    function _total() private view returns (uint256 total) {
        address[5] memory parties = [requester.addr, poolOwner.addr, appOwner.addr, datasetOwner.addr, workerOwner];
        for (uint256 i = 0; i < 5; i++) {
            total += _free(parties[i]) + _locked(parties[i]);
        }
        for (uint256 i = 0; i < CREW; i++) {
            total += _free(crewOwners[i]);
        }
    }

    function _row(uint256 who, uint256 paid, uint256 scored) private view returns (bytes memory) {
        return abi.encodePacked(crew[who].addr, uint128(paid), uint32(scored));
    }

    function _id(Sealed memory round) private pure returns (RoundId) {
        return RoundId.wrap(keccak256(abi.encode(round.terms.operator, round.round.root, round.round.closed)));
    }

    function _earned(uint256 who) private view returns (uint256) {
        return _free(crewOwners[who]) - 90 * uint256(WORKER_STAKE);
    }

    function _score(uint256 who) private view returns (uint32 score) {
        (,,,, score) = berth.bondOf(pool, crew[who].addr);
    }

    function _bonded(uint256 who) private view returns (uint128 bonded) {
        (, bonded,,,) = berth.bondOf(pool, crew[who].addr);
    }

    function _word(uint32 word, uint104 bits) private pure returns (WordBits[] memory words) {
        words = new WordBits[](1);
        words[0] = WordBits(word, bits);
    }

    function _opening(uint8 entry, bytes32 salt) private pure returns (Opening[] memory openings) {
        openings = new Opening[](1);
        openings[0] = Opening(entry, salt);
    }

    function _evidence(uint8 entry, bytes memory signature) private pure returns (Evidence[] memory evidence) {
        evidence = new Evidence[](1);
        evidence[0] = Evidence(entry, signature);
    }

    function _slice(bytes memory from, uint256 length) private pure returns (bytes memory slice) {
        slice = new bytes(length);
        for (uint256 i = 0; i < length; i++) {
            slice[i] = from[i];
        }
    }

    function _badLength(uint256 length) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IBerthBase.Berth_BadTasksLength.selector, length);
    }

    function _expectClose(DealTerms memory terms, WordBits[] memory words, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.close("root", _closing(terms, words));
    }

    function _expectBadBits(DealTerms memory terms, WordBits[] memory words, uint32 word, uint104 bits) private {
        _expectClose(
            terms, words, abi.encodeWithSelector(IBerthBase.Berth_BadBits.selector, _dealId(terms), word, bits)
        );
    }

    function _expectRefusal(Sealed memory round, Reveal[] memory workers, bytes memory tasks, bytes memory refusal)
        private
    {
        vm.expectRevert(refusal);
        berth.settle(round.terms, round.round, workers, tasks, new bytes32[](0));
    }
}
