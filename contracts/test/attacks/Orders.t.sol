// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {AssetId} from "../../src/types/Ids.sol";
import {Orders, Signatures} from "../../src/types/Orders.sol";
import {Rule} from "../../src/types/Rule.sol";
import {World} from "../support/World.sol";

/// @notice Attacks on orders and matches. In each of them the attacker gets nothing.
contract AttacksOnOrders is World {
    uint256 private constant CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    function test_ACancelledOrderIsNotMatched() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        vm.prank(requester.addr);
        berth.raiseEpoch(1);
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(IBerthBase.Berth_OrderCancelled.selector, _digest(orders.request), 0, 1)
        );
    }

    function test_AnExpiredOrderIsNotMatched() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        vm.warp(orders.app.expiry + 1);
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(IBerthBase.Berth_OrderExpired.selector, _digest(orders.app), orders.app.expiry)
        );
    }

    function test_AnOrderIsNeverConsumedBeyondItsVolume() public {
        // The attacker matches one request with a fresh pool order each time, to get more out of it than it says.
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = 10;
        orders.pool.volume = 4;
        uint256 tasks = 0;
        for (uint256 i = 0; i < 3; i++) {
            orders.pool.salt = bytes32(i);
            berth.matchOrders(orders, _sign(orders));
            tasks += i < 2 ? 4 : 2;
            assertEq(_locked(requester.addr), tasks * (APP_PRICE + POOL_PRICE));
        }
        orders.pool.salt = bytes32("one more");
        _expectRefusal(
            orders,
            _sign(orders),
            abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders.request))
        );
    }

    function test_NoOfferIsConsumedBeyondItsVolume() public {
        // The same with fresh requests, to get more out of an offer than its signer meant to give.
        for (uint256 i = 0; i < 3; i++) {
            uint256 before = vm.snapshotState();
            Orders memory orders = _orders();
            orders.request.volume = 3;
            if (i == 0) orders.app.volume = 4;
            if (i == 1) orders.dataset.volume = 4;
            if (i == 2) orders.pool.volume = 4;
            for (uint256 j = 0; j < 2; j++) {
                orders.request.salt = bytes32(j);
                berth.matchOrders(orders, _sign(orders));
            }
            assertEq(_locked(requester.addr), 4 * (APP_PRICE + DATASET_PRICE + POOL_PRICE));
            orders.request.salt = bytes32("one more");
            _expectRefusal(
                orders,
                _sign(orders),
                abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders, i))
            );
            vm.revertToState(before);
        }
    }

    function test_TheSameMatchTwiceIsRefused() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        berth.matchOrders(orders, signatures);
        _expectRefusal(
            orders, signatures, abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders.request))
        );
    }

    function test_OrdersOfAnotherChainAreNotMatched() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        vm.chainId(1);
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, appOwner.addr, _digest(orders.app))
        );
    }

    function test_OrdersOfAnotherContractAreNotMatched() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        (, IBerth other) = _deploy(token, assets);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        other.matchOrders(orders, signatures);
    }

    function test_ARequestThatTakesAnyPoolIsNotMatched() public {
        Orders memory orders = _orders();
        orders.request.poolRule = Rule.wrap(bytes32(0));
        _expectRefusal(orders, _sign(orders), abi.encodeWithSelector(IBerthBase.Berth_AnyPool.selector, requester.addr));
    }

    function test_APoolCantStandInForAnother() public {
        // The attacker has a pool of its own, which the request's rule does not name.
        AssetId own = _register(3, appOwner.addr, "attacker's pool");
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.pool = own;
        Signatures memory signatures = _sign(orders);
        signatures.pool = _signature(appOwner, _digest(orders.pool));
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(IBerthBase.Berth_RuleRefused.selector, orders.request.poolRule, own, appOwner.addr)
        );
    }

    function test_AMalleableSignatureIsRefused() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        bytes32 digest = _digest(orders.request);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(requester, digest);
        bytes32 high = bytes32(CURVE_ORDER - uint256(s));
        signatures.request = abi.encodePacked(r, high, v == 27 ? uint8(28) : uint8(27));
        // It is a signature of the same key, by the curve alone.
        assertEq(ecrecover(digest, v == 27 ? 28 : 27, r, high), requester.addr);
        _expectRefusal(
            orders, signatures, abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, requester.addr, digest)
        );
    }

    function test_TheZeroAddressSignsNothing() public {
        // ecrecover answers zero for garbage: a requester of zero must not pass for that.
        Orders memory orders = _ordersWithoutDataset();
        (orders.request.requester, orders.request.payer) = (address(0), sponsor.addr);
        _fund(sponsor.addr, RICH);
        Signatures memory signatures = _sign(orders);
        bytes memory refusal =
            abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, address(0), _digest(orders.request));
        bytes[3] memory garbage = [
            new bytes(65),
            abi.encodePacked(bytes32(0), bytes32(0), uint8(27)),
            abi.encodePacked(bytes32("r"), bytes32("s"), uint8(99))
        ];
        for (uint256 i = 0; i < garbage.length; i++) {
            signatures.request = garbage[i];
            vm.expectRevert(refusal);
            vm.prank(sponsor.addr);
            berth.matchOrders(orders, signatures);
        }
    }

    function test_ASponsorIsNotDrainedByAFrontRun() public {
        // The sponsor is about to send; the attacker has seen all four orders and sends first.
        _fund(sponsor.addr, RICH);
        Orders memory orders = _orders();
        orders.request.payer = sponsor.addr;
        Signatures memory signatures = _sign(orders);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_PayerAbsent.selector, sponsor.addr, stranger));
        vm.prank(stranger);
        berth.matchOrders(orders, signatures);
        assertEq(_free(sponsor.addr), RICH);
    }

    function test_ASponsoredRequestIsNotTurnedAgainstItsRequester() public {
        // Nor can the attacker make the requester pay what the sponsor was to pay: the payer is in what was signed.
        Orders memory orders = _orders();
        orders.request.payer = sponsor.addr;
        Signatures memory signatures = _sign(orders);
        orders.request.payer = requester.addr;
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, requester.addr, _digest(orders.request))
        );
        assertEq(_free(requester.addr), RICH);
    }

    function test_APoolCantChangeItsPolicyUnderARequest() public {
        // Policy is in the pool's order, and the deal has the policy that was matched: a later order changes no deal.
        DealTerms memory terms = _matched(_orders());
        vm.prank(poolOwner.addr);
        berth.raiseEpoch(1);
        uint256 before = _free(workerOwner);
        _settle(terms, 0, 1);
        assertEq(_free(workerOwner) - before, uint256(POOL_PRICE) * (10_000 - SHARE_BPS) / 10_000);

        // And no deal can claim another policy than it has.
        terms.operatorShareBps = 10_000;
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
        vm.prank(operator.addr);
        berth.decline(terms, new uint32[](1));
    }

    function test_HugeValuesBreakNothing() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.maxTrust = type(uint32).max;
        orders.pool.parallel = type(uint32).max;
        orders.pool.maxDuration = type(uint32).max;
        orders.request.trust = type(uint32).max;
        orders.request.volume = type(uint32).max - 1;
        orders.request.duration = MAX_DURATION;
        orders.request.expiry = type(uint64).max;
        orders.request.epoch = type(uint64).max;
        DealTerms memory terms = _matched(orders);
        uint256 price = uint256(APP_PRICE + POOL_PRICE) * (type(uint32).max - 1);
        assertEq(_locked(requester.addr), price);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH);
    }

    function test_HugePricesAreJustUnaffordable() public {
        Orders memory orders = _orders();
        (orders.app.price, orders.request.appMaxPrice) = (type(uint128).max, type(uint128).max);
        (orders.dataset.price, orders.request.datasetMaxPrice) = (type(uint128).max, type(uint128).max);
        (orders.pool.price, orders.request.poolMaxPrice) = (type(uint128).max, type(uint128).max);
        orders.request.volume = type(uint32).max - 1;
        orders.pool.parallel = type(uint32).max;
        uint256 needed = uint256(type(uint128).max) * 3 * (type(uint32).max - 1);
        _expectRefusal(
            orders,
            _sign(orders),
            abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, requester.addr, RICH, needed)
        );
    }

    function test_AnOrderIsNotSignedByADelegateOfItsSigner() public {
        // An approval as ERC-721 operator moves the token, but signs no orders.
        Vm.Wallet memory attacker = vm.createWallet("attacker");
        vm.prank(poolOwner.addr);
        assets.setApprovalForAll(attacker.addr, true);
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        signatures.pool = _signature(attacker, _digest(orders.pool));
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, poolOwner.addr, _digest(orders.pool))
        );
    }

    function _expectRefusal(Orders memory orders, Signatures memory signatures, bytes memory refusal) private {
        vm.expectRevert(refusal);
        berth.matchOrders(orders, signatures);
    }
}
