// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rule} from "./Rule.sol";
import {AssetId} from "./Ids.sol";

/// @dev As the volume of an app, dataset or pool order: without limit, and not counted.
uint32 constant UNLIMITED = type(uint32).max;

/// @notice An app's offer, signed by the app's owner. Prices are base units of the token per task.
struct AppOrder {
    AssetId app;
    uint128 price;
    uint32 volume;
    bytes32 tag;
    Rule datasetRule;
    Rule poolRule;
    Rule requesterRule;
    uint64 expiry;
    uint64 epoch;
    bytes32 salt;
}

/// @notice A dataset's offer, signed by the dataset's owner.
struct DatasetOrder {
    AssetId dataset;
    uint128 price;
    uint32 volume;
    bytes32 tag;
    Rule appRule;
    Rule poolRule;
    Rule requesterRule;
    uint64 expiry;
    uint64 epoch;
    bytes32 salt;
}

/// @notice A pool's offer and its whole policy, signed by the pool's owner.
struct PoolOrder {
    AssetId pool;
    uint128 price;
    uint32 volume;
    bytes32 tag;
    address operator;
    uint32 parallel;
    uint128 workerStake;
    uint128 poolStake;
    uint16 operatorShareBps;
    uint32 minDuration;
    uint32 maxDuration;
    uint32 maxTrust;
    Rule appRule;
    Rule datasetRule;
    Rule requesterRule;
    uint64 expiry;
    uint64 epoch;
    bytes32 salt;
}

/// @notice What is asked for, signed by the requester.
struct RequestOrder {
    AssetId app;
    uint128 appMaxPrice;
    AssetId dataset;
    uint128 datasetMaxPrice;
    Rule poolRule;
    uint128 poolMaxPrice;
    address requester;
    address payer;
    address beneficiary;
    address callback;
    bytes32 jobHash;
    uint32 volume;
    bytes32 tag;
    uint32 duration;
    uint32 trust;
    uint64 expiry;
    uint64 epoch;
    bytes32 salt;
}

/// @notice The four orders of a match. A zero `dataset.dataset` means that there is no dataset order.
struct Orders {
    AppOrder app;
    DatasetOrder dataset;
    PoolOrder pool;
    RequestOrder request;
}

/// @notice The signatures of the four orders: 65 or 64 bytes of a key, or whatever a contract that signs takes for good
/// (ERC-1271). An empty one means that the order was approved on chain. The dataset's is not looked at when there is none.
struct Signatures {
    bytes app;
    bytes dataset;
    bytes pool;
    bytes request;
}

/// @notice A sponsor's word that it pays for one match: its signature (as that of an order; empty if it has approved the
/// digest on chain) over Sponsorship(request, poolOrder, volume, expiry), in which `request` and `poolOrder` are the
/// digests of the orders that are matched.
struct Consent {
    uint32 volume;
    uint64 expiry;
    bytes signature;
}
