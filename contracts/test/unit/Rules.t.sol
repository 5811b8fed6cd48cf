// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {APP, AssetId} from "../../src/types/Ids.sol";
import {Orders, Signatures} from "../../src/types/Orders.sol";
import {Rule} from "../../src/types/Rule.sol";
import {BrokenRule, RuleBook, WritingRule, YesMan} from "../support/RuleBook.sol";
import {World} from "../support/World.sol";

/// @notice All ten rules of a match, in all forms.
contract RulesOfAMatch is World {
    AssetId private constant NONE = AssetId.wrap(bytes32(0));

    /// @notice One of the ten rules: whose order has it, and what it is about.
    enum Place {
        AppDataset,
        AppPool,
        AppRequester,
        DatasetApp,
        DatasetPool,
        DatasetRequester,
        PoolApp,
        PoolDataset,
        PoolRequester,
        RequestPool
    }

    function test_RevertWhen_TheRequestTakesAnyPool() public {
        Orders memory orders = _orders();
        orders.request.poolRule = Rule.wrap(bytes32(0));
        Signatures memory signatures = _sign(orders);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_AnyPool.selector, requester.addr));
        berth.matchOrders(orders, signatures);
    }

    function test_WhenARuleNamesAnAccountThatOneAloneIsAdmitted() public {
        for (uint256 i = 0; i <= uint256(type(Place).max); i++) {
            Place place = Place(i);
            (, address account) = _otherSide(place);
            _expectRefused(place, _accountRule(stranger));
            _expectAdmitted(place, _accountRule(account));
        }
    }

    function test_WhenARuleNamesAnAssetThatOneAloneIsAdmitted() public {
        AssetId other = _register(APP, stranger, "other");
        AssetId requesters = _register(APP, requester.addr, "requester's");
        for (uint256 i = 0; i <= uint256(type(Place).max); i++) {
            Place place = Place(i);
            (AssetId asset,) = _otherSide(place);
            _expectRefused(place, _assetRule(other));
            // A rule on a requester asks that the requester own the asset.
            _expectAdmitted(place, _assetRule(_isOfRequester(place) ? requesters : asset));
        }
    }

    function test_WhenARuleNamesAContractItsWordCounts() public {
        for (uint256 i = 0; i <= uint256(type(Place).max); i++) {
            Place place = Place(i);
            RuleBook book = new RuleBook();
            _expectRefused(place, _contractRule(address(book)));
            (AssetId asset, address account) = _otherSide(place);
            book.admit(asset, account);
            _expectAdmitted(place, _contractRule(address(book)));
        }
    }

    function test_RevertWhen_ARuleContractGivesAnythingButItsSelector() public {
        _expectRefused(Place.PoolRequester, _contractRule(address(new BrokenRule())));
        _expectRefused(Place.PoolRequester, _contractRule(address(new YesMan())));
        _expectRefused(Place.PoolRequester, _contractRule(stranger));
        _expectRefused(Place.PoolRequester, _contractRule(address(0)));
    }

    function test_RevertWhen_ARuleContractWrites() public {
        WritingRule writing = new WritingRule();
        _expectRefused(Place.PoolRequester, _contractRule(address(writing)));
        assertEq(writing.asked(), 0);
    }

    function test_RevertWhen_ARuleNamesAnAssetThatNobodyOwns() public {
        _expectRefused(Place.PoolRequester, Rule.wrap(bytes32(uint256(0xdead) << 160)));
        _expectRefused(Place.RequestPool, Rule.wrap(bytes32(uint256(0xdead) << 160)));
    }

    /// @dev The library alone: at a match the signature refuses a requester of zero as well.
    function test_WhenARuleNamesAnAssetThatNobodyOwnsNotEvenNobodyIsAdmitted() public view {
        Rule rule = Rule.wrap(bytes32(uint256(0xdead) << 160));
        assertFalse(rule.admitsRequester(assets, address(0)));
    }

    function test_RevertWhen_ADatasetIsAskedForAndThereIsNone() public {
        Orders memory orders = _ordersWithoutDataset();
        Rule[4] memory rules = [
            _accountRule(datasetOwner.addr),
            _assetRule(dataset),
            _contractRule(address(new RuleBook())),
            // An asset that nobody owns must not pass for the owner zero.
            Rule.wrap(bytes32(uint256(0xdead) << 160))
        ];
        for (uint256 i = 0; i < rules.length; i++) {
            orders.app.datasetRule = rules[i];
            Signatures memory signatures = _sign(orders);
            vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_RuleRefused.selector, rules[i], NONE, address(0)));
            berth.matchOrders(orders, signatures);
        }
    }

    function test_WhenARuleContractAllowsNoDatasetThereMayBeNone() public {
        RuleBook book = new RuleBook();
        book.admit(NONE, address(0));
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.datasetRule = _contractRule(address(book));
        _matched(orders);
    }

    function _expectAdmitted(Place place, Rule rule) private {
        Orders memory orders = _withRule(place, rule);
        Signatures memory signatures = _sign(orders);
        uint256 before = vm.snapshotState();
        berth.matchOrders(orders, signatures);
        vm.revertToState(before);
    }

    function _expectRefused(Place place, Rule rule) private {
        Orders memory orders = _withRule(place, rule);
        Signatures memory signatures = _sign(orders);
        (AssetId asset, address account) = _otherSide(place);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_RuleRefused.selector, rule, asset, account));
        berth.matchOrders(orders, signatures);
    }

    function _withRule(Place place, Rule rule) private view returns (Orders memory orders) {
        orders = _orders();
        if (place == Place.AppDataset) orders.app.datasetRule = rule;
        if (place == Place.AppPool) orders.app.poolRule = rule;
        if (place == Place.AppRequester) orders.app.requesterRule = rule;
        if (place == Place.DatasetApp) orders.dataset.appRule = rule;
        if (place == Place.DatasetPool) orders.dataset.poolRule = rule;
        if (place == Place.DatasetRequester) orders.dataset.requesterRule = rule;
        if (place == Place.PoolApp) orders.pool.appRule = rule;
        if (place == Place.PoolDataset) orders.pool.datasetRule = rule;
        if (place == Place.PoolRequester) orders.pool.requesterRule = rule;
        if (place == Place.RequestPool) orders.request.poolRule = rule;
    }

    function _otherSide(Place place) private view returns (AssetId asset, address account) {
        if (place == Place.DatasetApp || place == Place.PoolApp) return (app, appOwner.addr);
        if (place == Place.AppDataset || place == Place.PoolDataset) return (dataset, datasetOwner.addr);
        if (_isOfRequester(place)) return (NONE, requester.addr);
        return (pool, poolOwner.addr);
    }

    function _isOfRequester(Place place) private pure returns (bool) {
        return place == Place.AppRequester || place == Place.DatasetRequester || place == Place.PoolRequester;
    }
}
