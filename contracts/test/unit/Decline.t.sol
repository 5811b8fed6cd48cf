// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Orders} from "../../src/types/Orders.sol";
import {World} from "../support/World.sol";

contract Decline is World {
    uint256 private constant PRICE = APP_PRICE + POOL_PRICE;

    function test_RevertWhen_TheSenderIsNotTheOperator() public {
        DealTerms memory terms = _deal(1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotOperator.selector, poolOwner.addr, operator.addr));
        vm.prank(poolOwner.addr);
        berth.decline(terms, _indexes(0));
    }

    function test_RevertGiven_TheDealIsUnknown() public {
        DealTerms memory terms = _deal(1);
        terms.poolStake--;
        _expectRefusal(
            terms, _indexes(0), abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms))
        );
    }

    function test_RevertGiven_TheCloseDeadlineIsOver() public {
        DealTerms memory terms = _deal(1);
        uint256 deadline = _after(terms, 6);
        vm.warp(deadline + 1);
        _expectRefusal(terms, _indexes(0), abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, deadline));
        vm.warp(deadline);
        _decline(terms, _indexes(0));
        assertTrue(berth.ended(_dealId(terms), 0));
    }

    function test_RevertWhen_ThereAreTooManyIndexes() public {
        DealTerms memory terms = _deal(1);
        _expectRefusal(
            terms, new uint32[](257), abi.encodeWithSelector(IBerthBase.Berth_BatchTooLarge.selector, 257, 256)
        );
    }

    function test_RevertWhen_AnIndexIsOutsideTheDeal() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = 4;
        orders.pool.volume = 2;
        berth.matchOrders(orders, _sign(orders));
        orders.pool.salt = keccak256("second");
        berth.matchOrders(orders, _sign(orders));
        DealTerms memory terms = _termsOf(orders, 2, 2);
        uint32[3] memory outside = [uint32(1), 4, type(uint32).max];
        for (uint256 i = 0; i < outside.length; i++) {
            _expectRefusal(
                terms,
                _indexes(outside[i]),
                abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, outside[i], 2, 2)
            );
        }
    }

    function test_WhenDeclinedInTimeBothAreWhole() public {
        DealTerms memory terms = _deal(3);
        vm.warp(terms.start + T);
        _expectEvent();
        emit IBerthBase.TasksDeclined(_dealId(terms), _indexes(2, 0), true);
        _decline(terms, _indexes(2, 0));
        assertEq(_locked(requester.addr), PRICE);
        assertEq(_free(requester.addr), RICH - PRICE);
        assertEq(_locked(poolOwner.addr), POOL_STAKE);
        assertEq(_free(poolOwner.addr), RICH - POOL_STAKE);
        assertEq(berth.dealState(_dealId(terms)).open, 1);
    }

    function test_WhenDeclinedLateTheStakeIsBurnt() public {
        DealTerms memory terms = _deal(3);
        vm.warp(terms.start + T + 1);
        _expectEvent();
        emit IBerthBase.TasksDeclined(_dealId(terms), _indexes(2, 0), false);
        _decline(terms, _indexes(2, 0));
        assertEq(_free(requester.addr), RICH - PRICE);
        assertEq(_locked(poolOwner.addr), POOL_STAKE);
        assertEq(_free(poolOwner.addr), RICH - 3 * POOL_STAKE);
    }

    function test_WhenATaskHasEndedOrIsNamedTwiceItIsSkipped() public {
        DealTerms memory terms = _deal(3);
        _settle(terms, 0, 1);
        uint32[] memory indexes = new uint32[](4);
        (indexes[0], indexes[1], indexes[2], indexes[3]) = (0, 1, 1, 2);
        _expectEvent();
        emit IBerthBase.TasksDeclined(_dealId(terms), _indexes(1, 2), true);
        _decline(terms, indexes);
        assertEq(_locked(requester.addr), 0);
        assertEq(_free(requester.addr), RICH - PRICE);
    }

    function test_WhenNothingIsOpenNothingHappens() public {
        DealTerms memory terms = _deal(1);
        _settle(terms, 0, 1);
        vm.recordLogs();
        _decline(terms, _indexes(0));
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_WhenADealIsLongTasksBeyondItsWordAreDeclinedToo() public {
        DealTerms memory terms = _deal(500);
        _decline(terms, _indexes(499, 104));
        assertTrue(berth.ended(_dealId(terms), 104));
        assertTrue(berth.ended(_dealId(terms), 499));
        assertFalse(berth.ended(_dealId(terms), 105));
        assertEq(berth.dealState(_dealId(terms)).open, 498);
    }

    function test_WhenADealIsReplicatedItsTasksAreDeclinedAsWell() public {
        Orders memory orders = _ordersWithoutDataset();
        (orders.pool.maxTrust, orders.request.trust) = (100, 100);
        DealTerms memory terms = _matched(orders);
        _decline(terms, _indexes(0));
        assertEq(_free(requester.addr), RICH);
    }

    function _decline(DealTerms memory terms, uint32[] memory indexes) private {
        vm.prank(operator.addr);
        berth.decline(terms, indexes);
    }

    function _expectRefusal(DealTerms memory terms, uint32[] memory indexes, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.decline(terms, indexes);
    }

    function _indexes(uint32 only) private pure returns (uint32[] memory indexes) {
        indexes = new uint32[](1);
        indexes[0] = only;
    }

    function _indexes(uint32 first, uint32 second) private pure returns (uint32[] memory indexes) {
        indexes = new uint32[](2);
        (indexes[0], indexes[1]) = (first, second);
    }
}
