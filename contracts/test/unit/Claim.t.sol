// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Orders, UNLIMITED} from "../../src/types/Orders.sol";
import {Deal} from "../../src/types/Storage.sol";
import {World} from "../support/World.sol";

contract Claim is World {
    uint256 private constant PRICE = APP_PRICE + POOL_PRICE;

    function test_RevertGiven_TheDealIsUnknown() public {
        DealTerms memory terms = _deal(1);
        terms.start--;
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
        berth.claim(terms);
    }

    function test_RevertGiven_TheFinalDeadlineIsNotOver() public {
        DealTerms memory terms = _deal(5);
        uint256 deadline = _after(terms, 9);
        assertEq(deadline, terms.start + 2 * T + 9 * T);
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, deadline));
        berth.claim(terms);
        vm.warp(deadline + 1);
        berth.claim(terms);
    }

    function test_RevertGiven_EveryTaskHasEnded() public {
        DealTerms memory terms = _deal(2);
        _settle(terms, 0, 2);
        vm.warp(_after(terms, 9) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingOpen.selector, _dealId(terms)));
        berth.claim(terms);
    }

    function test_RevertGiven_ItWasClaimed() public {
        DealTerms memory terms = _deal(2);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingOpen.selector, _dealId(terms)));
        berth.claim(terms);
    }

    function test_WhenClaimedThePayerIsWholeAndTheStakeIsBurnt() public {
        DealTerms memory terms = _deal(300);
        _settle(terms, 0, 1);
        _settle(terms, 250, 2);
        vm.warp(_after(terms, 9) + 1);
        uint256 held = token.balanceOf(address(berth));
        uint256 poolFree = _free(poolOwner.addr);

        _expectEvent();
        emit IBerthBase.DealClaimed(_dealId(terms), 297);
        vm.prank(stranger);
        berth.claim(terms);

        assertEq(_free(requester.addr), RICH - 3 * PRICE);
        assertEq(_locked(requester.addr), 0);
        assertEq(_free(poolOwner.addr), poolFree);
        assertEq(_locked(poolOwner.addr), 0);
        assertEq(token.balanceOf(address(berth)), held);
        assertEq(_free(stranger), 0);
        Deal memory kept = berth.dealState(_dealId(terms));
        assertEq(kept.open, 0);
        assertTrue(kept.claimed);
        assertEq(kept.ended, 1);
        assertTrue(berth.ended(_dealId(terms), 1));
        assertTrue(berth.ended(_dealId(terms), 299));
    }

    function test_WhenADealIsReplicatedItIsClaimedAsWell() public {
        Orders memory orders = _ordersWithoutDataset();
        (orders.pool.maxTrust, orders.request.trust) = (100, 100);
        DealTerms memory terms = _matched(orders);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH);
    }

    /// @dev Whatever its size, a claim reads and writes the deal's word and two accounts: the cost is that of one task.
    function test_WhenADealHasAsManyTasksAsCanBeItCostsNoMoreToClaim() public {
        uint256 alone = _claimGas(1, 0);
        assertApproxEqAbs(_claimGas(104, 1), alone, 200);
        assertApproxEqAbs(_claimGas(105, 2), alone, 200);
        assertApproxEqAbs(_claimGas(100_000, 3), alone, 200);
        assertApproxEqAbs(_claimGas(UNLIMITED - 1, 4), alone, 200);
    }

    function test_WhenTheLargestDealIsClaimedAllOfItGoesBack() public {
        DealTerms memory terms = _large(UNLIMITED - 1, 0);
        uint256 stake = uint256(POOL_STAKE) * (UNLIMITED - 1);
        assertEq(_locked(requester.addr), PRICE * (UNLIMITED - 1));
        assertEq(_locked(poolOwner.addr), stake);
        // Some end before: at both ends, and beyond the first word.
        _settle(terms, 0, 1);
        _settle(terms, 104, 2);
        _settle(terms, UNLIMITED - 2, 1);
        uint32[] memory indexes = new uint32[](1);
        indexes[0] = 1_000_000_000;
        vm.prank(operator.addr);
        berth.decline(terms, indexes);

        vm.warp(_after(terms, 9) + 1);
        _expectEvent();
        emit IBerthBase.DealClaimed(_dealId(terms), UNLIMITED - 1 - 5);
        vm.prank(stranger);
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH - 4 * PRICE);
        assertEq(_locked(requester.addr), 0);
        assertEq(_locked(poolOwner.addr), 0);
        assertTrue(berth.ended(_dealId(terms), UNLIMITED / 2));
        // Nothing of it is left to settle, to decline or to claim.
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingOpen.selector, _dealId(terms)));
        berth.claim(terms);
    }

    /// @dev A deal that a pool runs all at once: with a smaller `parallel`, so many tasks take longer than any deal may.
    function _large(uint32 volume, uint256 salt) private returns (DealTerms memory) {
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.parallel = type(uint32).max;
        orders.request.volume = volume;
        orders.request.salt = bytes32(salt);
        orders.pool.salt = bytes32(salt);
        return _matched(orders);
    }

    /// @dev Another deal of the same parties is open all the while, so that no balance becomes zero.
    function _claimGas(uint32 volume, uint256 salt) private returns (uint256 used) {
        uint256 snapshot = vm.snapshotState();
        DealTerms memory terms = _large(volume, salt);
        vm.warp(_after(terms, 9) + 1);
        _large(1, salt + 100);
        vm.cool(address(berth));
        used = gasleft();
        berth.claim(terms);
        used -= gasleft();
        vm.revertToState(snapshot);
    }
}
