// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {POOL, AssetId} from "../../src/types/Ids.sol";
import {Orders, Signatures} from "../../src/types/Orders.sol";
import {Contribution, Evidence, Pair, Round} from "../../src/types/Rounds.sol";
import {Answers, Sealed, Shown} from "../support/Replicas.sol";
import {Purses} from "./Purses.sol";

/// @notice Attacks for scores, for shares of others and on bonds; the attacker fails.
contract AttacksOnScores is Purses {
    uint256 private constant LIAR = 9;

    /// @dev Tasks of price zero, dealt to oneself, in a pool of one's own, by workers that one bonded with nothing.
    function test_AScoreFromAnOwnPoolIsWorthNothingElsewhere() public {
        Vm.Wallet memory attacker = vm.createWallet("attacker");
        AssetId home = pool;
        Vm.Wallet memory honest = poolOwner;
        AssetId own = _register(POOL, attacker.addr, "attacker's pool");
        (pool, poolOwner) = (own, attacker);
        for (uint256 i = 0; i < 3; i++) {
            _enlist(crew[i], crewOwners[i], 0);
        }
        Orders memory orders = _replicatedOrders(60, 4, "self-dealt");
        (orders.pool.price, orders.pool.poolStake, orders.pool.workerStake) = (0, 0, 0);
        orders.pool.parallel = 60;
        DealTerms memory terms = _matched(orders);
        Sealed memory round = _seal(terms, _agreed(terms, 60, 3), "round");
        vm.prank(stranger);
        Shown memory shown = _showAll(round);
        _settleShown(round, shown);
        uint256 scores = 0;
        for (uint256 i = 0; i < CREW; i++) {
            (,,,, uint32 score) = berth.bondOf(own, crew[i].addr);
            scores += score;
        }
        assertGt(scores, 17);

        // In the victim's pool, these three weigh what fresh workers weigh: one alone does not meet trust 5.
        (pool, poolOwner) = (home, honest);
        assertEq(_scoreOf(0), 0);
        DealTerms memory victim = _replicated(1);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(0, _turn(0, 1), "sold");
        Sealed memory alone = _seal(victim, tasks, "alone");
        Contribution[] memory leaf = _contributions(alone, 0, "sold", new bool[](CREW));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLittleWeight.selector, 0, 2, 0, TRUST));
        berth.settleOne(victim, 0, "sold", alone.round, leaf, new bytes32[](0), new Contribution[](0));
    }

    /// @dev A task of one replica raises no score, replicated or not.
    function test_AReplicatedTaskOfOneRaisesNoScore() public {
        DealTerms memory terms = _replicated(1, 2, "one");
        Sealed memory round = _seal(terms, _agreed(terms, 1, 1), "round");
        Shown memory shown = _showAll(round);
        // Weight 2 does not outweigh at trust 2 by itself: 2 * 2 > (1 + 2) * 1.
        _settleShown(round, shown);
        assertTrue(berth.ended(_dealId(terms), 0));
        assertEq(_scoreOf(0), 0);
    }

    function test_AgreeingOnAGuessedFailureEarnsATenthAndNoScore() public {
        DealTerms memory terms = _replicated(1);
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(0, _turn(0, 3), bytes32(uint256(2)));
        Sealed memory round = _seal(terms, tasks, "round");
        _settleShown(round, _showAll(round));
        uint256 fee = uint256(POOL_PRICE) / 10;
        uint256 part = fee * (10_000 - SHARE_BPS) / 10_000 / 3;
        for (uint256 i = 0; i < 3; i++) {
            assertEq(_earned(i), part);
            assertEq(_scoreOf(i), 0);
        }
        assertEq(_free(requester.addr), RICH - fee);
        assertEq(_free(appOwner.addr), 0);
    }

    /// @dev Nor does it by being left out, and opened afterwards.
    function test_AGuessedFailureThatIsOpenedAfterwardsRaisesNoScore() public {
        DealTerms memory terms = _replicated(1);
        bytes32 failure = bytes32(uint256(2));
        Answers[] memory tasks = new Answers[](1);
        tasks[0] = _answers(0, _turn(0, CREW), failure);
        Sealed memory round = _seal(terms, tasks, "round");
        Contribution[] memory leaf = _contributions(round, 0, failure, _silent(4));
        berth.settleOne(terms, 0, failure, round.round, leaf, new bytes32[](0), new Contribution[](0));
        bytes memory leftOut = _leftOutEntry(0, failure, crew[4].addr, leaf[4].commitment, 1, uint16(CREW));
        berth.open(terms, leftOut, _opening(_salt(_seed("round", 4), _task(terms, 0))));
        assertEq(_earned(4), uint256(POOL_PRICE) / 10 * (10_000 - SHARE_BPS) / 10_000 / CREW);
        assertEq(_scoreOf(4), 0);
    }

    /// @dev A worker that hid what nobody can name weighs as dissent, is not paid, and pays for it if it signed it.
    function test_GarbageThatNobodyCanNameEarnsNothingAndIsPunished() public {
        DealTerms memory terms = _replicated(1);
        _settleWithGarbage(terms);
        assertEq(_earned(LIAR), 0);
        assertEq(_earned(0), POT / CREW);

        bytes memory leftOut = _leftOutEntry(0, _resultOf(0), crew[LIAR].addr, "garbage", 1, uint16(CREW));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WrongSalt.selector, 0));
        berth.open(terms, leftOut, _opening("garbage"));
        vm.warp(_after(terms, 10) + 1);
        bytes memory word = _signCommitment(LIAR, _task(terms, 0), "garbage");
        berth.punish(terms, leftOut, _evidence(word));
        assertEq(_bonded(LIAR), 9 * uint256(WORKER_STAKE));
    }

    function _settleWithGarbage(DealTerms memory terms) private {
        Answers[] memory tasks = _agreed(terms, 1, CREW);
        Pair[] memory pairs = _pairs(terms, tasks[0], "round");
        pairs[LIAR].commitment = "garbage";
        bytes32[] memory leaves = new bytes32[](1);
        leaves[0] = _leaf(_dealId(terms), 0, _chain(0, pairs));
        Sealed memory round = Sealed(terms, _roundOf(terms, _words(terms, tasks), _root(leaves)), tasks, "round");
        vm.prank(operator.addr);
        berth.close(round.round.root, _closing(terms, _words(terms, tasks)));
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), _silent(LIAR));
        leaf[LIAR].commitment = "garbage";
        berth.settleOne(terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
    }

    /// @dev `settleOne` leaves an honest reveal out: as much is kept back for it as in a batch, and its salt opens it.
    function test_SettlingOneTaskShortOfAnHonestRevealSavesNothing() public {
        DealTerms memory terms = _replicated(1);
        Sealed memory round = _seal(terms, _agreed(terms, 1, CREW), "round");
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), _silent(4));
        vm.prank(poolOwner.addr);
        berth.settleOne(terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
        assertEq(_free(poolOwner.addr), RICH + POOL_PRICE - CREW * (POT / CREW));
        assertEq(_free(requester.addr), RICH - (APP_PRICE + DATASET_PRICE + POOL_PRICE));
        bytes memory leftOut = _leftOutEntry(0, _resultOf(0), crew[4].addr, leaf[4].commitment, 1, uint16(CREW));
        vm.warp(_after(terms, 10));
        vm.prank(stranger);
        berth.open(terms, leftOut, _opening(_salt(_seed("round", 4), _task(terms, 0))));
        assertEq(_earned(4), POT / CREW);
        // Opened, it can be opened no more, nor punished.
        berth.open(terms, leftOut, _opening(_salt(_seed("round", 4), _task(terms, 0))));
        assertEq(_earned(4), POT / CREW);
        vm.warp(_after(terms, 10) + 1);
        berth.punish(terms, leftOut, _evidence(_signCommitment(4, _task(terms, 0), leaf[4].commitment)));
        assertEq(_bonded(4), 10 * uint256(WORKER_STAKE));
    }

    /// @dev What was opened in time can't be made a lie by whoever holds its signature; nobody opens for another.
    function test_AnotherOpensWithItsOwnSaltInVain() public {
        (DealTerms memory terms,, bytes memory leftOut) = _outvoted(LIAR, "lie");
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WrongSalt.selector, 0));
        vm.prank(crewOwners[0]);
        berth.open(terms, leftOut, _opening(_salt(_seed("round", 0), _task(terms, 0))));
        // A record of one's own making is unknown.
        bytes32 hidden = _commitment(_task(terms, 0), crew[0].addr, _resultOf(0), _seed("round", 0));
        bytes memory forged = _leftOutEntry(0, _resultOf(0), crew[0].addr, hidden, 255, 1);
        vm.expectPartialRevert(IBerthBase.Berth_UnknownRecord.selector);
        berth.open(terms, forged, _opening(_salt(_seed("round", 0), _task(terms, 0))));
        assertEq(_earned(0), POT / CREW);
    }

    function test_PunishingTwiceTakesOneStake() public {
        (DealTerms memory terms, bytes32 hidden, bytes memory leftOut) = _outvoted(LIAR, "lie");
        bytes memory word = _signCommitment(LIAR, _task(terms, 0), hidden);
        vm.warp(_after(terms, 10) + 1);
        Evidence[] memory twice = new Evidence[](2);
        twice[0] = twice[1] = Evidence(0, word);
        berth.punish(terms, leftOut, twice);
        berth.punish(terms, leftOut, _evidence(word));
        assertEq(_bonded(LIAR), 9 * uint256(WORKER_STAKE));
        vm.warp(_after(terms, 12) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, _after(terms, 12)));
        berth.punish(terms, leftOut, _evidence(word));
    }

    /// @dev Nor before the time to open is over: an honest worker that was left out has all of it.
    function test_PunishingBeforeTheOpenDeadlineIsRefused() public {
        (DealTerms memory terms, bytes32 hidden, bytes memory leftOut) = _outvoted(LIAR, "lie");
        bytes memory word = _signCommitment(LIAR, _task(terms, 0), hidden);
        vm.warp(_after(terms, 10));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, _after(terms, 10)));
        berth.punish(terms, leftOut, _evidence(word));
    }

    /// @dev The liar takes its whole bond back as soon as it has lied.
    function test_UnbondingAfterALieDoesNotSaveTheStake() public {
        (DealTerms memory terms, bytes32 hidden, bytes memory leftOut) = _outvoted(LIAR, "lie");
        vm.prank(crewOwners[LIAR]);
        berth.unbond(pool, crew[LIAR].addr, 10 * WORKER_STAKE);
        vm.warp(_after(terms, 10) + 1);
        vm.expectPartialRevert(IBerthBase.Berth_BondHeld.selector);
        vm.prank(crewOwners[LIAR]);
        berth.withdrawBond(pool, crew[LIAR].addr);
        berth.punish(terms, leftOut, _evidence(_signCommitment(LIAR, _task(terms, 0), hidden)));
        (, uint128 bonded, uint128 unbonding, uint64 releaseAt,) = berth.bondOf(pool, crew[LIAR].addr);
        assertEq(bonded, 0);
        assertEq(unbonding, 9 * WORKER_STAKE);
        assertGt(releaseAt, _after(terms, 12));
    }

    /// @dev A worker on its way out, whose bond is back before the last punish time, weighs against, and is not paid.
    function test_AnUnbondingContributorIsDissent() public {
        vm.prank(crewOwners[0]);
        berth.unbond(pool, crew[0].addr, 10 * WORKER_STAKE);
        (,,, uint64 releaseAt,) = berth.bondOf(pool, crew[0].addr);
        vm.warp(releaseAt - 5 * T);
        DealTerms memory terms = _replicated(1, 2, "late");
        Sealed memory round = _seal(terms, _agreed(terms, 1, 2), "round");
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), new bool[](CREW));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLittleWeight.selector, 0, 2, 2, 2));
        berth.settleOne(terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
        assertFalse(berth.covers(terms, crew[0].addr));
    }

    /// @dev Products of weights stop at 2^160 on either side: neither wraps around to nothing, as 2^270 would.
    function test_DissentOfTheHighestScoresIsNotForgotten() public {
        DealTerms memory terms = _replicated(1, 2, "heavy");
        uint256 weight = 1 << 30;
        for (uint256 i = 0; i < CREW; i++) {
            _giveScore(i, uint32(3 * (weight + 1)));
        }
        // Nine of them against one.
        Answers[] memory tasks = _agreed(terms, 1, CREW);
        for (uint256 i = 1; i < CREW; i++) {
            tasks[0].digests[i] = "other";
        }
        Sealed memory round = _seal(terms, tasks, "round");
        _expectHeavyDissent(round, weight);
        // In a batch it is passed over.
        Shown memory shown = _showAll(round);
        _settleShown(round, shown);
        assertFalse(berth.ended(_dealId(terms), 0));
        // The other way round, the nine have it.
        bytes32[] memory digests = new bytes32[](1);
        digests[0] = "other";
        shown = _show(round, _only(round, 0), digests, new bool[](CREW));
        _settleShown(round, shown);
        assertTrue(berth.ended(_dealId(terms), 0));
    }

    function _expectHeavyDissent(Sealed memory round, uint256 weight) private {
        Contribution[] memory leaf = _contributions(round, 0, _resultOf(0), new bool[](CREW));
        vm.expectRevert(
            abi.encodeWithSelector(IBerthBase.Berth_TooLittleWeight.selector, 0, weight, uint256(1) << 160, 2)
        );
        berth.settleOne(round.terms, 0, _resultOf(0), round.round, leaf, new bytes32[](0), new Contribution[](0));
    }
}
