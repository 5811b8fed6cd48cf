// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Orders, Signatures} from "../../src/types/Orders.sol";
import {World} from "../support/World.sol";

/// @notice A token that answers false where others revert.
contract FalseToken is ERC20("False", "FALSE") {
    bool public refusing;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function refuse() external {
        refusing = true;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return !refusing && super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return !refusing && super.transferFrom(from, to, amount);
    }
}

/// @notice Attacks by whoever has a special part, or would like one: owners, pools, sponsors, tokens.
contract AttacksByThePowerful is World {
    /// @dev What owners of upgradeable markets have.
    function test_NobodyOwnsPausesOrChangesTheContracts() public {
        string[12] memory powers = [
            "owner()",
            "transferOwnership(address)",
            "pause()",
            "upgradeTo(address)",
            "upgradeToAndCall(address,bytes)",
            "diamondCut((address,uint8,bytes4[])[],address,bytes)",
            "setCallbackGas(uint256)",
            "recover()",
            "configure(address)",
            "initialize(address)",
            "importScore(address)",
            "grantRole(bytes32,address)"
        ];
        address[3] memory contracts = [address(berth), recourse, address(assets)];
        for (uint256 i = 0; i < powers.length; i++) {
            for (uint256 j = 0; j < contracts.length; j++) {
                vm.prank(address(this));
                (bool ok,) = contracts[j].call(abi.encodePacked(bytes4(keccak256(bytes(powers[i]))), new bytes(256)));
                assertFalse(ok, powers[i]);
            }
        }
    }

    /// @dev Recourse by itself has no money and knows no deal; nor does it move Berth's.
    function test_RecourseCalledDirectlyMovesNothing() public {
        DealTerms memory terms = _deal(1);
        uint256 held = token.balanceOf(address(berth));
        vm.warp(_after(terms, 9) + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
        IBerth(recourse).claim(terms);
        vm.expectPartialRevert(IBerthBase.Berth_NotBondOwner.selector);
        vm.prank(workerOwner);
        IBerth(recourse).unbond(pool, worker.addr, 1);
        assertEq(token.balanceOf(address(berth)), held);
        assertEq(berth.dealState(_dealId(terms)).open, 1);
    }

    function test_ATokenThatAnswersFalseMovesNothing() public {
        FalseToken bad = new FalseToken();
        (, IBerth other) = _deploy(bad, assets);
        bad.mint(address(this), 100);
        bad.approve(address(other), 100);
        other.deposit(60);
        bad.refuse();
        bytes memory refusal = abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(bad));
        vm.expectRevert(refusal);
        other.deposit(40);
        vm.expectRevert(refusal);
        other.withdraw(address(this), 60);
        (uint256 free,) = other.account(address(this));
        assertEq(free, 60);
    }

    /// @dev The pool sees the match coming, cancels its order and signs a worse one.
    function test_APolicyChangedBeforeTheMatchStaysWithinWhatWasAskedFor() public {
        Orders memory orders = _orders();
        Signatures memory signed = _sign(orders);
        vm.prank(poolOwner.addr);
        berth.raiseEpoch(1);
        vm.expectPartialRevert(IBerthBase.Berth_OrderCancelled.selector);
        berth.matchOrders(orders, signed);
        // With another policy in the order that was signed, the signature is of another order.
        orders.pool.operatorShareBps = 10_000;
        orders.pool.epoch = 1;
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        berth.matchOrders(orders, signed);
        // Signed anew, it costs the requester no more, gives it no less trust, and takes no longer than it asked for.
        orders.pool.price += 1;
        _expectRefused(orders, IBerthBase.Berth_PriceTooHigh.selector);
        orders.pool.price -= 1;
        orders.pool.maxTrust = 0;
        _expectRefused(orders, IBerthBase.Berth_TrustTooHigh.selector);
        orders.pool.maxTrust = 1;
        orders.pool.maxDuration = orders.request.duration - 1;
        _expectRefused(orders, IBerthBase.Berth_DurationOutOfBounds.selector);
    }

    /// @dev The sponsor's lock pays, though the requester has another deal's money locked at the same time.
    function test_ASponsoredDealIsPaidFromTheSponsorsLockAlone() public {
        _fund(sponsor.addr, RICH);
        _deal(3);
        uint256 locked = _locked(requester.addr);
        uint256 free = _free(requester.addr);
        Orders memory orders = _ordersWithoutDataset();
        (orders.request.payer, orders.request.volume) = (sponsor.addr, 2);
        orders.request.salt = "sponsored";
        Signatures memory signed = _sign(orders);
        vm.prank(sponsor.addr);
        berth.matchOrders(orders, signed);
        DealTerms memory terms = _termsOf(orders, 0, 2);
        _settle(terms, 0, 1);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        assertEq(_free(sponsor.addr), RICH - APP_PRICE - POOL_PRICE);
        assertEq(_locked(sponsor.addr), 0);
        assertEq(_locked(requester.addr), locked);
        assertEq(_free(requester.addr), free);
    }

    /// @dev A price without an asset: nobody would be paid it, so nobody locks it.
    function test_ADatasetPriceWithoutADatasetLocksNothing() public {
        Orders memory orders = _ordersWithoutDataset();
        (orders.dataset.price, orders.request.datasetMaxPrice) = (777, 777);
        DealTerms memory terms = _matched(orders);
        assertEq(_locked(requester.addr), uint256(APP_PRICE) + POOL_PRICE);
        _settle(terms, 0, 1);
        assertEq(_locked(requester.addr), 0);
        assertEq(_free(requester.addr), RICH - APP_PRICE - POOL_PRICE);
    }

    /// @dev A bag's clock is as long as its pool needs: a hundred tasks, four at a time, are not all due at once.
    function test_ABigBagHasTheTimeThatItsPoolNeeds() public {
        DealTerms memory terms = _deal(100);
        vm.warp(uint256(terms.start) + (25 + 9) * uint256(T));
        _settle(terms, 99, 1);
        assertTrue(berth.ended(_dealId(terms), 99));
        vm.warp(block.timestamp + 1);
        berth.claim(terms);
    }

    /// @dev A pool that cannot be paid out is none: stake and price are locked before there is a deal.
    function test_APoolWithoutItsStakeMakesNoDeal() public {
        uint256 free = _free(poolOwner.addr);
        vm.prank(poolOwner.addr);
        berth.withdraw(poolOwner.addr, free - POOL_STAKE + 1);
        Orders memory orders = _orders();
        _expectRefused(orders, IBerthBase.Berth_FreeTooSmall.selector);
        assertEq(_locked(requester.addr), 0);
    }

    function _expectRefused(Orders memory orders, bytes4 refusal) private {
        Signatures memory signed = _sign(orders);
        vm.expectPartialRevert(refusal);
        berth.matchOrders(orders, signed);
    }
}
