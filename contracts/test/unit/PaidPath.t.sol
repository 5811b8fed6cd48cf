// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealTerms} from "../../src/types/Deals.sol";
import {World} from "../support/World.sol";

/// @notice The whole way of one task, from orders to withdrawals.
contract PaidPath is World {
    function test_WhenATaskIsSettledEverybodyIsPaidAndWithdraws() public {
        uint256 before = token.balanceOf(address(berth));
        DealTerms memory terms = _matched(_orders());
        uint256 price = APP_PRICE + DATASET_PRICE + POOL_PRICE;
        assertEq(_free(requester.addr), RICH - price);
        assertEq(_locked(requester.addr), price);
        assertEq(_locked(poolOwner.addr), POOL_STAKE);

        _settle(terms, 0, 1);

        uint256 pot = uint256(POOL_PRICE) * (10_000 - SHARE_BPS) / 10_000;
        assertEq(_free(appOwner.addr), APP_PRICE);
        assertEq(_free(datasetOwner.addr), DATASET_PRICE);
        assertEq(_free(workerOwner), RICH - 10 * WORKER_STAKE + pot);
        assertEq(_free(poolOwner.addr), RICH + POOL_PRICE - pot);
        assertEq(_locked(requester.addr), 0);
        assertEq(_locked(poolOwner.addr), 0);
        assertTrue(berth.ended(_dealId(terms), 0));

        vm.prank(appOwner.addr);
        berth.withdraw(appOwner.addr, APP_PRICE);
        assertEq(token.balanceOf(appOwner.addr), APP_PRICE);
        assertEq(token.balanceOf(address(berth)), before - APP_PRICE);
    }
}
