// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Orders} from "../../src/types/Orders.sol";
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
}
