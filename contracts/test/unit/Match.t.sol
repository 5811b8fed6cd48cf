// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealSubject, DealTerms} from "../../src/types/Deals.sol";
import {APP, DATASET, POOL, AssetId, DealId} from "../../src/types/Ids.sol";
import {Orders, Signatures, UNLIMITED} from "../../src/types/Orders.sol";
import {Rule} from "../../src/types/Rule.sol";
import {Deal} from "../../src/types/Storage.sol";
import {World} from "../support/World.sol";

contract Match is World {
    AssetId private constant NONE = AssetId.wrap(bytes32(0));

    // What the orders say of each other.

    function test_RevertWhen_AnOrderNamesAnAssetOfAnotherKind() public {
        Orders memory orders = _orders();
        (orders.app.app, orders.request.app) = (pool, pool);
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_WrongKind.selector, pool, APP));
        orders = _orders();
        (orders.dataset.dataset, orders.request.dataset) = (app, app);
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_WrongKind.selector, app, DATASET));
        orders = _orders();
        orders.pool.pool = dataset;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_WrongKind.selector, dataset, POOL));
    }

    function test_RevertWhen_TheRequestAsksForAnotherApp() public {
        Orders memory orders = _orders();
        AssetId other = _register(APP, appOwner.addr, "other");
        orders.request.app = other;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_AssetMismatch.selector, other, app));
    }

    function test_RevertWhen_TheRequestAsksForAnotherDatasetOrForNone() public {
        Orders memory orders = _orders();
        AssetId other = _register(DATASET, datasetOwner.addr, "other");
        orders.request.dataset = other;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_AssetMismatch.selector, other, dataset));
        orders.request.dataset = NONE;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_AssetMismatch.selector, NONE, dataset));
    }

    function test_RevertWhen_TheRequestAsksForADatasetAndThereIsNone() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.dataset = dataset;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_AssetMismatch.selector, dataset, NONE));
    }

    function test_RevertWhen_APriceIsAboveItsMaximum() public {
        Orders memory orders = _orders();
        orders.app.price = APP_PRICE + 1;
        _expectRefusal(
            orders, abi.encodeWithSelector(IBerthBase.Berth_PriceTooHigh.selector, app, APP_PRICE + 1, APP_PRICE)
        );
        orders = _orders();
        orders.dataset.price = DATASET_PRICE + 1;
        _expectRefusal(
            orders,
            abi.encodeWithSelector(IBerthBase.Berth_PriceTooHigh.selector, dataset, DATASET_PRICE + 1, DATASET_PRICE)
        );
        orders = _orders();
        orders.pool.price = POOL_PRICE + 1;
        _expectRefusal(
            orders, abi.encodeWithSelector(IBerthBase.Berth_PriceTooHigh.selector, pool, POOL_PRICE + 1, POOL_PRICE)
        );
    }

    function test_RevertWhen_ThePoolLacksATagThatAnybodyNeeds() public {
        bytes32 gpu = bytes32(uint256(1) << 8);
        Orders memory orders = _orders();
        orders.pool.tag = ~gpu;
        orders.app.tag = gpu;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_TagMissing.selector, gpu));
        (orders.app.tag, orders.dataset.tag) = (0, gpu);
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_TagMissing.selector, gpu));
        (orders.dataset.tag, orders.request.tag) = (0, gpu);
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_TagMissing.selector, gpu));
        orders.request.tag = ~gpu;
        _matched(orders);
    }

    function test_RevertWhen_TheRequestAsksForMoreTrustThanThePoolGives() public {
        Orders memory orders = _orders();
        orders.request.trust = 2;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_TrustTooHigh.selector, 2, 1));
    }

    function test_RevertWhen_TheDurationIsOutOfThePoolsBounds() public {
        Orders memory orders = _orders();
        (orders.pool.minDuration, orders.pool.maxDuration) = (T + 1, T + 2);
        _expectRefusal(orders, _badDuration(T, T + 1, T + 2));
        (orders.pool.minDuration, orders.pool.maxDuration) = (T - 2, T - 1);
        _expectRefusal(orders, _badDuration(T, T - 2, T - 1));
    }

    function test_RevertWhen_TheDurationIsOutOfTheContractsBounds() public {
        Orders memory orders = _orders();
        (orders.pool.minDuration, orders.pool.maxDuration) = (0, type(uint32).max);
        orders.request.duration = MIN_DURATION - 1;
        _expectRefusal(orders, _badDuration(MIN_DURATION - 1, MIN_DURATION, MAX_DURATION));
        orders.request.duration = MAX_DURATION + 1;
        _expectRefusal(orders, _badDuration(MAX_DURATION + 1, MIN_DURATION, MAX_DURATION));
    }

    function test_RevertWhen_TheOperatorTakesMoreThanTheWhole() public {
        Orders memory orders = _orders();
        orders.pool.operatorShareBps = 10_001;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_ShareTooLarge.selector, 10_001));
    }

    function test_RevertWhen_ThePoolRunsNothingAtOnce() public {
        Orders memory orders = _orders();
        orders.pool.parallel = 0;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_NothingParallel.selector, pool));
    }

    function test_RevertWhen_TheRequestsVolumeIsZeroOrUnlimited() public {
        Orders memory orders = _orders();
        orders.request.volume = 0;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_BadVolume.selector, 0));
        orders.request.volume = UNLIMITED;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_BadVolume.selector, UNLIMITED));
    }

    function test_RevertWhen_TheDealWouldTakeTooLong() public {
        Orders memory orders = _orders();
        orders.pool.parallel = 1;
        orders.request.volume = uint32(MAX_SPAN / T) + 1;
        uint256 span = uint256(orders.request.volume) * T;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_SpanTooLong.selector, span, MAX_SPAN));
        orders.request.volume--;
        _matched(orders);
    }

    // Who pays.

    function test_RevertWhen_ThePayerIsNeitherRequesterNorSender() public {
        Orders memory orders = _orders();
        orders.request.payer = sponsor.addr;
        _fund(sponsor.addr, RICH);
        _expectRefusal(
            orders, abi.encodeWithSelector(IBerthBase.Berth_PayerAbsent.selector, sponsor.addr, address(this))
        );
    }

    function test_WhenASponsorSendsTheMatchItPays() public {
        Orders memory orders = _orders();
        orders.request.payer = sponsor.addr;
        _fund(sponsor.addr, RICH);
        Signatures memory signatures = _sign(orders);
        vm.prank(sponsor.addr);
        berth.matchOrders(orders, signatures);
        assertEq(_locked(sponsor.addr), APP_PRICE + DATASET_PRICE + POOL_PRICE);
        assertEq(_free(requester.addr), RICH);
        assertEq(_locked(requester.addr), 0);
    }

    function test_RevertGiven_ThePayerHasTooLittle() public {
        vm.prank(requester.addr);
        berth.withdraw(stranger, RICH - 1);
        _expectRefusal(
            _orders(),
            abi.encodeWithSelector(
                IBerthBase.Berth_FreeTooSmall.selector, requester.addr, 1, APP_PRICE + DATASET_PRICE + POOL_PRICE
            )
        );
    }

    function test_RevertGiven_ThePoolsOwnerHasTooLittle() public {
        vm.prank(poolOwner.addr);
        berth.withdraw(stranger, RICH - 2 * POOL_STAKE);
        Orders memory orders = _orders();
        orders.request.volume = 3;
        _expectRefusal(
            orders,
            abi.encodeWithSelector(
                IBerthBase.Berth_FreeTooSmall.selector, poolOwner.addr, 2 * POOL_STAKE, 3 * POOL_STAKE
            )
        );
    }

    // Whose orders they are.

    function test_RevertGiven_AnAssetIsNotRegistered() public {
        Orders memory orders = _orders();
        AssetId nobodys = AssetId.wrap(bytes32(uint256(0xbeef00 + APP)));
        (orders.app.app, orders.request.app) = (nobodys, nobodys);
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_UnknownAsset.selector, nobodys));
        orders = _orders();
        nobodys = AssetId.wrap(bytes32(uint256(0xbeef00 + DATASET)));
        (orders.dataset.dataset, orders.request.dataset) = (nobodys, nobodys);
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_UnknownAsset.selector, nobodys));
        orders = _orders();
        nobodys = AssetId.wrap(bytes32(uint256(0xbeef00 + POOL)));
        orders.pool.pool = nobodys;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_UnknownAsset.selector, nobodys));
    }

    function test_RevertGiven_AnOrderHasExpired() public {
        for (uint256 i = 0; i < 4; i++) {
            Orders memory orders = _orders();
            uint64 past = uint64(block.timestamp - 1);
            if (i == 0) orders.app.expiry = past;
            if (i == 1) orders.dataset.expiry = past;
            if (i == 2) orders.pool.expiry = past;
            if (i == 3) orders.request.expiry = past;
            _expectRefusal(
                orders, abi.encodeWithSelector(IBerthBase.Berth_OrderExpired.selector, _digest(orders, i), past)
            );
        }
    }

    function test_WhenAnOrderExpiresNowItIsStillGood() public {
        Orders memory orders = _orders();
        uint64 expiry = uint64(block.timestamp);
        (orders.app.expiry, orders.dataset.expiry) = (expiry, expiry);
        (orders.pool.expiry, orders.request.expiry) = (expiry, expiry);
        _matched(orders);
    }

    function test_RevertGiven_ASignerLeftTheOrdersEpoch() public {
        address[4] memory signers = [appOwner.addr, datasetOwner.addr, poolOwner.addr, requester.addr];
        for (uint256 i = 0; i < 4; i++) {
            uint256 before = vm.snapshotState();
            vm.prank(signers[i]);
            berth.raiseEpoch(1);
            Orders memory orders = _orders();
            _expectRefusal(
                orders, abi.encodeWithSelector(IBerthBase.Berth_OrderCancelled.selector, _digest(orders, i), 0, 1)
            );
            orders.app.epoch = orders.dataset.epoch = orders.pool.epoch = orders.request.epoch = 1;
            _matched(orders);
            vm.revertToState(before);
        }
    }

    function test_RevertWhen_ASignatureIsOfAnother() public {
        address[4] memory signers = [appOwner.addr, datasetOwner.addr, poolOwner.addr, requester.addr];
        for (uint256 i = 0; i < 4; i++) {
            Orders memory orders = _orders();
            Signatures memory signatures = _sign(orders);
            bytes memory forged = _signature(sponsor, _digest(orders, i));
            if (i == 0) signatures.app = forged;
            if (i == 1) signatures.dataset = forged;
            if (i == 2) signatures.pool = forged;
            if (i == 3) signatures.request = forged;
            vm.expectRevert(
                abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, signers[i], _digest(orders, i))
            );
            berth.matchOrders(orders, signatures);
        }
    }

    function test_RevertGiven_AnAssetWasSoldAfterItsOrderWasSigned() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        vm.prank(appOwner.addr);
        assets.transferFrom(appOwner.addr, stranger, app.tokenId());
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, stranger, _digest(orders.app)));
        berth.matchOrders(orders, signatures);
    }

    // Volumes.

    function test_RevertGiven_AnOrderIsConsumed() public {
        for (uint256 i = 0; i < 4; i++) {
            uint256 before = vm.snapshotState();
            Orders memory orders = _orders();
            orders.request.volume = 10;
            if (i == 0) orders.app.volume = 3;
            if (i == 1) orders.dataset.volume = 3;
            if (i == 2) orders.pool.volume = 3;
            if (i == 3) orders.request.volume = 3;
            Signatures memory signatures = _sign(orders);
            berth.matchOrders(orders, signatures);
            assertEq(berth.consumed(_digest(orders, i)), 3);
            vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders, i)));
            berth.matchOrders(orders, signatures);
            vm.revertToState(before);
        }
    }

    function test_RevertWhen_AnOrdersVolumeIsZero() public {
        Orders memory orders = _orders();
        orders.pool.volume = 0;
        _expectRefusal(orders, abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders.pool)));
    }

    function test_WhenMatchedTheSmallestOfWhatIsLeftIsTaken() public {
        Orders memory orders = _orders();
        orders.app.volume = 5;
        orders.dataset.volume = 4;
        orders.pool.volume = 9;
        orders.request.volume = 7;
        Signatures memory signatures = _sign(orders);
        DealId first = berth.matchOrders(orders, signatures);
        assertEq(DealId.unwrap(first), DealId.unwrap(_dealId(_termsOf(orders, 0, 4))));

        // A second dataset order brings the rest, of which the app has one task left.
        orders.dataset.salt = keccak256("second");
        DealId second = berth.matchOrders(orders, _sign(orders));
        assertEq(DealId.unwrap(second), DealId.unwrap(_dealId(_termsOf(orders, 4, 1))));
        assertEq(berth.consumed(_digest(orders.app)), 5);
        assertEq(berth.consumed(_digest(orders.dataset)), 1);
        assertEq(berth.consumed(_digest(orders.pool)), 5);
        assertEq(berth.consumed(_digest(orders.request)), 5);
    }

    function test_WhenAnOrderIsUnlimitedItIsNotCounted() public {
        Orders memory orders = _orders();
        orders.request.volume = 1000;
        _matched(orders);
        assertEq(berth.consumed(_digest(orders.app)), 0);
        assertEq(berth.consumed(_digest(orders.dataset)), 0);
        assertEq(berth.consumed(_digest(orders.pool)), 0);
        assertEq(berth.consumed(_digest(orders.request)), 1000);
    }

    // What a match does.

    function test_WhenMatchedMoneyIsLockedAndTheEventTellsAll() public {
        Orders memory orders = _orders();
        orders.request.volume = 3;
        orders.request.callback = makeAddr("callback");
        orders.request.beneficiary = makeAddr("beneficiary");
        orders.request.tag = orders.pool.tag = bytes32(uint256(5));
        Signatures memory signatures = _sign(orders);
        DealTerms memory terms = _termsOf(orders, 0, 3);
        DealSubject memory subject = DealSubject({
            app: AssetId.unwrap(app),
            dataset: AssetId.unwrap(dataset),
            beneficiary: orders.request.beneficiary,
            tag: orders.request.tag,
            jobHash: orders.request.jobHash,
            appOrder: _digest(orders.app),
            datasetOrder: _digest(orders.dataset),
            poolOrder: _digest(orders.pool)
        });

        _expectEvent();
        emit IBerthBase.DealMatched(_dealId(terms), pool, requester.addr, terms, subject);
        vm.prank(stranger);
        DealId deal = berth.matchOrders(orders, signatures);

        assertEq(DealId.unwrap(deal), DealId.unwrap(_dealId(terms)));
        uint256 price = 3 * (APP_PRICE + DATASET_PRICE + POOL_PRICE);
        assertEq(_free(requester.addr), RICH - price);
        assertEq(_locked(requester.addr), price);
        assertEq(_free(poolOwner.addr), RICH - 3 * POOL_STAKE);
        assertEq(_locked(poolOwner.addr), 3 * POOL_STAKE);
        Deal memory kept = berth.dealState(deal);
        assertEq(kept.open, 3);
        assertFalse(kept.claimed);
        assertEq(kept.ended, 0);
    }

    function test_WhenThereIsNoDatasetNothingOfItsOrderCounts() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.dataset.price = 1e18;
        orders.dataset.tag = bytes32(type(uint256).max);
        orders.dataset.appRule = Rule.wrap(bytes32(uint256(1)));
        DealTerms memory terms = _matched(orders);
        assertEq(terms.datasetPrice, 0);
        assertEq(_locked(requester.addr), APP_PRICE + POOL_PRICE);
        assertEq(berth.dealState(_dealId(terms)).open, 1);
    }

    function test_WhenOneAccountPlaysEveryPartItsMoneyStaysWhole() public {
        vm.startPrank(poolOwner.addr);
        AssetId own = assets.register(APP, "own app");
        vm.stopPrank();
        Orders memory orders = _ordersWithoutDataset();
        (orders.app.app, orders.request.app) = (own, own);
        (orders.request.requester, orders.request.payer) = (poolOwner.addr, poolOwner.addr);
        Signatures memory signatures;
        signatures.app = _signature(poolOwner, _digest(orders.app));
        signatures.pool = _signature(poolOwner, _digest(orders.pool));
        signatures.request = _signature(poolOwner, _digest(orders.request));
        berth.matchOrders(orders, signatures);
        uint256 locked = APP_PRICE + POOL_PRICE + POOL_STAKE;
        assertEq(_locked(poolOwner.addr), locked);
        assertEq(_free(poolOwner.addr), RICH - locked);
    }

    function test_WhenEverythingIsFreeNothingIsLocked() public {
        Orders memory orders = _orders();
        (orders.app.price, orders.dataset.price, orders.pool.price, orders.pool.poolStake) = (0, 0, 0, 0);
        _matched(orders);
        assertEq(_locked(requester.addr), 0);
        assertEq(_locked(poolOwner.addr), 0);
    }

    function _expectRefusal(Orders memory orders, bytes memory refusal) private {
        Signatures memory signatures = _sign(orders);
        vm.expectRevert(refusal);
        berth.matchOrders(orders, signatures);
    }

    function _badDuration(uint32 duration, uint32 min, uint32 max) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IBerthBase.Berth_DurationOutOfBounds.selector, duration, min, max);
    }
}
