// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "../interfaces/IAssets.sol";
import {IBerthBase} from "../interfaces/IBerth.sol";
import {APP, DATASET, POOL, AssetId} from "../types/Ids.sol";
import {AppOrder, DatasetOrder, Orders, PoolOrder, RequestOrder, UNLIMITED} from "../types/Orders.sol";
import {Rule} from "../types/Rule.sol";
import {Payouts} from "./Payouts.sol";

/// @notice Whether four orders go together, apart from signatures, volumes and money.
library Offers {
    /// @notice What the orders say of each other: assets, prices, tag, policy.
    function requireFit(Orders calldata orders, uint32 minDuration, uint32 maxDuration) internal pure {
        RequestOrder calldata request = orders.request;
        PoolOrder calldata pool = orders.pool;
        bytes32 needed = orders.app.tag | request.tag;

        _requireAsset(request.app, orders.app.app, APP);
        _requirePrice(orders.app.app, orders.app.price, request.appMaxPrice);
        if (orders.dataset.dataset.isNone()) {
            require(request.dataset.isNone(), IBerthBase.Berth_AssetMismatch(request.dataset, orders.dataset.dataset));
        } else {
            _requireAsset(request.dataset, orders.dataset.dataset, DATASET);
            _requirePrice(orders.dataset.dataset, orders.dataset.price, request.datasetMaxPrice);
            needed |= orders.dataset.tag;
        }
        require(pool.pool.kind() == POOL, IBerthBase.Berth_WrongKind(pool.pool, POOL));
        _requirePrice(pool.pool, pool.price, request.poolMaxPrice);

        require(needed & ~pool.tag == 0, IBerthBase.Berth_TagMissing(needed & ~pool.tag));
        require(request.trust <= pool.maxTrust, IBerthBase.Berth_TrustTooHigh(request.trust, pool.maxTrust));
        _requireDuration(request.duration, pool.minDuration, pool.maxDuration);
        _requireDuration(request.duration, minDuration, maxDuration);
        require(pool.operatorShareBps <= Payouts.WHOLE_BPS, IBerthBase.Berth_ShareTooLarge(pool.operatorShareBps));
        require(pool.parallel > 0, IBerthBase.Berth_NothingParallel(pool.pool));
        require(request.volume > 0 && request.volume != UNLIMITED, IBerthBase.Berth_BadVolume(request.volume));
    }

    /// @notice What the orders say of each other's parties: ten rules.
    function requireRules(
        Orders calldata orders,
        IAssets assets,
        address appOwner,
        address datasetOwner,
        address poolOwner
    ) internal view {
        AppOrder calldata app = orders.app;
        DatasetOrder calldata dataset = orders.dataset;
        PoolOrder calldata pool = orders.pool;
        RequestOrder calldata request = orders.request;

        require(!request.poolRule.isAny(), IBerthBase.Berth_AnyPool(request.requester));
        _requireAdmitted(request.poolRule, pool.pool, poolOwner);
        _requireAdmitted(app.datasetRule, dataset.dataset, datasetOwner);
        _requireAdmitted(app.poolRule, pool.pool, poolOwner);
        _requireRequester(app.requesterRule, assets, request.requester);
        _requireAdmitted(pool.appRule, app.app, appOwner);
        _requireAdmitted(pool.datasetRule, dataset.dataset, datasetOwner);
        _requireRequester(pool.requesterRule, assets, request.requester);
        if (dataset.dataset.isNone()) return;
        _requireAdmitted(dataset.appRule, app.app, appOwner);
        _requireAdmitted(dataset.poolRule, pool.pool, poolOwner);
        _requireRequester(dataset.requesterRule, assets, request.requester);
    }

    function _requireAsset(AssetId asked, AssetId offered, uint8 kind) private pure {
        require(offered.kind() == kind, IBerthBase.Berth_WrongKind(offered, kind));
        require(asked == offered, IBerthBase.Berth_AssetMismatch(asked, offered));
    }

    function _requirePrice(AssetId asset, uint128 price, uint128 maxPrice) private pure {
        require(price <= maxPrice, IBerthBase.Berth_PriceTooHigh(asset, price, maxPrice));
    }

    function _requireDuration(uint32 duration, uint32 min, uint32 max) private pure {
        require(duration >= min && duration <= max, IBerthBase.Berth_DurationOutOfBounds(duration, min, max));
    }

    function _requireAdmitted(Rule rule, AssetId asset, address owner) private view {
        require(rule.admitsAsset(asset, owner), IBerthBase.Berth_RuleRefused(rule, asset, owner));
    }

    function _requireRequester(Rule rule, IAssets assets, address requester) private view {
        require(
            rule.admitsRequester(assets, requester),
            IBerthBase.Berth_RuleRefused(rule, AssetId.wrap(bytes32(0)), requester)
        );
    }
}
