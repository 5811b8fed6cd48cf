// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {IBerth} from "../../src/interfaces/IBerth.sol";
import {PermitToken} from "../../src/mocks/PermitToken.sol";
import {AssetId, DealId} from "../../src/types/Ids.sol";
import {Deal} from "../../src/types/Storage.sol";
import {CountingReceiver} from "../support/Receivers.sol";
import {Handler} from "./Handler.sol";
import {Ledger} from "./Ledger.sol";
import {RoundHandler} from "./RoundHandler.sol";

/// @notice The numbered statements of README.md.
contract Invariants is Test {
    RoundHandler private _handler;
    Ledger private _ledger;
    IBerth private _berth;
    PermitToken private _token;

    function setUp() public {
        _handler = new RoundHandler();
        _ledger = _handler.ledger();
        (_berth, _token) = _handler.system();

        bytes4[] memory selectors = new bytes4[](17);
        selectors[0] = Handler.deposit.selector;
        selectors[1] = Handler.depositFor.selector;
        selectors[2] = Handler.depositWithPermit.selector;
        selectors[3] = Handler.withdraw.selector;
        selectors[4] = Handler.sendAlong.selector;
        selectors[5] = Handler.raiseEpoch.selector;
        selectors[6] = Handler.sell.selector;
        selectors[7] = Handler.matchOrders.selector;
        selectors[8] = Handler.settleSingles.selector;
        selectors[9] = Handler.decline.selector;
        selectors[10] = Handler.claim.selector;
        selectors[11] = Handler.unbond.selector;
        selectors[12] = Handler.withdrawBond.selector;
        selectors[13] = Handler.warp.selector;
        selectors[14] = Handler.cancelOrder.selector;
        selectors[15] = Handler.multicall.selector;
        selectors[16] = Handler.deliver.selector;
        targetSelector(FuzzSelector({addr: address(_handler), selectors: selectors}));
        bytes4[] memory replicated = new bytes4[](10);
        replicated[0] = RoundHandler.close.selector;
        replicated[1] = RoundHandler.append.selector;
        replicated[2] = RoundHandler.appendAssigned.selector;
        replicated[3] = RoundHandler.settle.selector;
        replicated[4] = RoundHandler.settleOne.selector;
        replicated[5] = RoundHandler.settleNeverClosed.selector;
        replicated[6] = RoundHandler.open.selector;
        replicated[7] = RoundHandler.punish.selector;
        replicated[8] = RoundHandler.warpToDeadline.selector;
        replicated[9] = RoundHandler.publish.selector;
        targetSelector(FuzzSelector({addr: address(_handler), selectors: replicated}));
        // What makes deals go on is drawn more often than what surrounds them.
        bytes4[] memory often = new bytes4[](9);
        often[0] = Handler.matchOrders.selector;
        often[1] = Handler.matchOrders.selector;
        often[2] = Handler.settleSingles.selector;
        often[3] = Handler.settleSingles.selector;
        often[4] = Handler.settleSingles.selector;
        often[5] = Handler.bond.selector;
        often[6] = RoundHandler.close.selector;
        often[7] = RoundHandler.settle.selector;
        often[8] = RoundHandler.settleOne.selector;
        targetSelector(FuzzSelector({addr: address(_handler), selectors: often}));
        targetContract(address(_handler));
    }

    function invariant_I1_TheContractHoldsAllThatIsOwed() public view {
        uint256 owed = _owed();
        uint256 held = _token.balanceOf(address(_berth));
        assertGe(held, owed);
        assertEq(held, owed + _ledger.kept() + _ledger.burnt() + _handler.sentAlong());
    }

    function invariant_I2_ADealNeverPaysOutMoreThanItLocked() public view {
        for (uint256 i = 0; i < _ledger.dealCount(); i++) {
            (, Ledger.Entry memory entry) = _ledger.dealAt(i);
            assertEq(entry.paid + entry.returned + entry.burnt + entry.kept + entry.held, entry.locked);
            uint256 price = uint256(entry.terms.appPrice) + entry.terms.datasetPrice + entry.terms.poolPrice;
            assertEq(entry.held, entry.open * (price + entry.terms.poolStake));
        }
    }

    function invariant_I3_ATaskEndsExactlyOnce() public view {
        for (uint256 i = 0; i < _ledger.dealCount(); i++) {
            (DealId deal, Ledger.Entry memory entry) = _ledger.dealAt(i);
            Deal memory kept = _berth.dealState(deal);
            assertEq(kept.open, entry.open);
            assertEq(kept.claimed, entry.claimed);
            // Each task of small deals, and some of each large one's: the rest is in the count.
            uint256 step = entry.terms.size > 20 ? 37 : 1;
            for (uint256 offset = 0; offset < entry.terms.size; offset += step) {
                bool ended = entry.claimed || _ledger.ended(DealId.unwrap(deal), entry.terms.first + offset);
                assertEq(_berth.ended(deal, offset), ended);
                bool closed = _ledger.closed(DealId.unwrap(deal), entry.terms.first + offset);
                assertEq(_berth.closed(deal, offset), closed);
            }
        }
    }

    function invariant_I4_NothingLowersFreeMoneyWithoutItsHolder() public view {
        assertEq(_handler.violations(), 0);
    }

    function invariant_I6_NothingGoesBack() public {
        assertTrue(_handler.ordersHold());
        address[] memory accounts = _handler.accounts();
        for (uint256 i = 0; i < accounts.length; i++) {
            assertEq(_berth.epochOf(accounts[i]), _ledger.epoch(accounts[i]));
        }
    }

    function invariant_I7_TheLogsTellAll() public view {
        address[] memory accounts = _handler.accounts();
        for (uint256 i = 0; i < accounts.length; i++) {
            (uint256 free, uint256 locked) = _berth.account(accounts[i]);
            assertEq(free, _ledger.free(accounts[i]));
            assertEq(locked, _ledger.locked(accounts[i]));
        }
        (AssetId[] memory pools, address[] memory workers) = _handler.bondKeys();
        for (uint256 i = 0; i < pools.length; i++) {
            for (uint256 j = 0; j < workers.length; j++) {
                (address owner, uint128 bonded, uint128 unbonding, uint64 releaseAt, uint32 score) =
                    _berth.bondOf(pools[i], workers[j]);
                (address toldOwner, uint256 toldBonded, uint256 toldUnbonding, uint256 toldRelease, uint256 toldScore) =
                    _ledger.bonds(AssetId.unwrap(pools[i]), workers[j]);
                assertEq(owner, toldOwner);
                assertEq(bonded, toldBonded);
                assertEq(unbonding, toldUnbonding);
                assertEq(releaseAt, toldRelease);
                assertEq(score, toldScore);
            }
        }
    }

    function invariant_I8_APairThatCameLateIsNotWeighedWhereTheLeafSuffices() public view {
        assertEq(_handler.lateWeighed(), 0);
    }

    function invariant_I9_NoHonestWorkersBondFalls() public view {
        assertEq(_handler.honestPunished(), 0);
    }

    function invariant_I10_EachResultIsDeliveredOnceAsItWasSettled() public view {
        assertEq(_handler.wrongDeliveries(), 0);
        CountingReceiver receiver = _handler.receiver();
        assertEq(receiver.received(), _ledger.deliveredTasks());
        assertEq(receiver.twice(), 0);
        uint256 count = _ledger.wantedCount();
        uint256 waiting = 0;
        for (uint256 i = 0; i < count; i++) {
            (bytes32 deal, uint32 index) = _ledger.wantedAt(i);
            bytes32 due = _berth.dueOf(DealId.wrap(deal), index);
            assertEq(due, _ledger.due(deal, index));
            if (due != 0) waiting++;
            bytes32 origin = receiver.originOf(keccak256(abi.encode(deal, uint256(index))));
            assertEq(origin == 0, due != 0);
        }
        assertEq(waiting + receiver.received(), count);
    }

    /// @dev All of them in one campaign: for long runs, where a campaign for each would make every call nine times.
    function invariant_AllHold() public {
        invariant_I1_TheContractHoldsAllThatIsOwed();
        invariant_I2_ADealNeverPaysOutMoreThanItLocked();
        invariant_I3_ATaskEndsExactlyOnce();
        invariant_I4_NothingLowersFreeMoneyWithoutItsHolder();
        invariant_I6_NothingGoesBack();
        invariant_I7_TheLogsTellAll();
        invariant_I8_APairThatCameLateIsNotWeighedWhereTheLeafSuffices();
        invariant_I9_NoHonestWorkersBondFalls();
        invariant_I10_EachResultIsDeliveredOnceAsItWasSettled();
    }

    /// @dev I5, at the end of every run.
    function afterInvariant() public {
        _handler.claimAll();
        address[] memory accounts = _handler.accounts();
        for (uint256 i = 0; i < accounts.length; i++) {
            (, uint256 locked) = _berth.account(accounts[i]);
            assertEq(locked, 0, "I5: money stays locked");
        }
        for (uint256 i = 0; i < _ledger.dealCount(); i++) {
            (, Ledger.Entry memory entry) = _ledger.dealAt(i);
            assertEq(entry.held, 0, "I5: a deal keeps money");
        }
        invariant_I1_TheContractHoldsAllThatIsOwed();
        invariant_I7_TheLogsTellAll();
    }

    /// @dev The draws are of use: with a fixed seed, a run of calls goes into every way in which a task ends.
    function test_TheHandlerReachesEveryEnd() public {
        for (uint256 i = 0; i < 400; i++) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            if (i % 4 == 0) _handler.matchOrders(seed, uint32(seed >> 40), uint128(seed >> 80));
            _handler.settleSingles(seed, seed >> 7);
            if (i % 5 == 0) _handler.decline(seed, seed >> 9);
            if (i % 7 == 0) _handler.claim(seed);
            if (i % 6 == 0) _handler.warp(seed >> 3);
            if (i % 9 == 0) _handler.unbond(seed, seed >> 8, uint128(seed >> 16) % 1000);
            if (i % 13 == 0) _handler.withdrawBond(seed, seed >> 8);
            if (i % 10 == 0) _handler.deposit(seed, seed >> 8);
            _handler.deliver(seed);
        }
        assertGt(_ledger.deliveredTasks(), 50);
        assertGt(_ledger.wantedCount(), _ledger.deliveredTasks());
        invariant_I10_EachResultIsDeliveredOnceAsItWasSettled();
        assertGt(_ledger.settledTasks(), 50);
        assertGt(_ledger.failedTasks(), 20);
        assertGt(_ledger.declinedTasks(), 20);
        assertGt(_ledger.claimedTasks(), 20);
        assertGt(_ledger.burnt(), 0);
        afterInvariant();
    }

    /// @dev The same for what only replicated tasks do.
    function test_TheHandlerReachesEveryTurnOfARound() public {
        // So many calls are more than a test has gas for, where contracts are not optimised.
        vm.pauseGasMetering();
        // Two workers take their bonds back, and don't know when to stop.
        for (uint256 i = 0; i < 4; i++) {
            _handler.unbond(i / 2, i % 2, 3e6);
        }
        _handler.warp(0);
        for (uint256 i = 0; i < 500; i++) {
            uint256 seed = uint256(keccak256(abi.encode("round", i)));
            uint256 picked = uint256(keccak256(abi.encode(seed)));
            if (i % 3 == 0) _handler.matchOrders(seed << 1, uint32(seed >> 40), uint128(seed >> 80));
            if (i % 2 == 0) _handler.close(seed, picked);
            if (i % 3 == 0) _handler.append(seed, picked);
            _handler.appendAssigned(seed, picked);
            if (i % 4 == 0) _handler.settle(seed, picked);
            _handler.settleOne(seed, picked);
            _handler.settleNeverClosed(seed, picked);
            if (i % 7 == 0) _handler.open(seed);
            _handler.punish(seed);
            if (i % 4 == 3) _handler.warpToDeadline(seed);
            if (i % 11 == 0) _handler.claim(seed);
            _handler.deliver(seed);
            if (i % 13 == 0) _handler.unbond(seed, seed >> 8, 1e6);
            if (i % 17 == 0) _handler.bond(seed, seed >> 8, seed >> 16, 1e6);
        }
        assertGt(_ledger.deliveredTasks(), 20, "delivered");
        invariant_I10_EachResultIsDeliveredOnceAsItWasSettled();
        assertGt(_ledger.closedTasks(), 100, "closed");
        assertGt(_ledger.agreedTasks(), 50, "agreed");
        assertGt(_ledger.neverClosedTasks(), 5, "never closed");
        assertGt(_ledger.failedTasks(), 10, "failed");
        assertGt(_ledger.openedShares(), 5, "opened");
        assertGt(_ledger.punishedPairs(), 2, "punished");
        assertGt(_ledger.refusedPairs(), 5, "refused");
        assertGt(_handler.lateNeeded(), 0, "late pairs needed");
        assertGt(_handler.latePassedOver(), 3, "late pairs passed over");
        assertGt(_ledger.kept(), 0, "kept back");
        afterInvariant();
        invariant_I2_ADealNeverPaysOutMoreThanItLocked();
        invariant_I8_APairThatCameLateIsNotWeighedWhereTheLeafSuffices();
        invariant_I9_NoHonestWorkersBondFalls();
    }

    function _owed() private view returns (uint256 owed) {
        address[] memory accounts = _handler.accounts();
        for (uint256 i = 0; i < accounts.length; i++) {
            (uint256 free, uint256 locked) = _berth.account(accounts[i]);
            owed += free + locked;
        }
        (AssetId[] memory pools, address[] memory workers) = _handler.bondKeys();
        for (uint256 i = 0; i < pools.length; i++) {
            for (uint256 j = 0; j < workers.length; j++) {
                (, uint128 bonded, uint128 unbonding,,) = _berth.bondOf(pools[i], workers[j]);
                owed += bonded + unbonding;
            }
        }
    }
}
