// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Deadlines} from "../libraries/Deadlines.sol";
import {Payouts} from "../libraries/Payouts.sol";
import {AssetId, DealId} from "./Ids.sol";

/// @notice Everything that a deal's money follows from. The contract keeps only its hash: whoever is owed keeps the
/// terms and brings them back.
struct DealTerms {
    bytes32 request;
    AssetId pool;
    address appOwner;
    address datasetOwner;
    address poolOwner;
    address operator;
    address payer;
    address callback;
    uint128 appPrice;
    uint128 datasetPrice;
    uint128 poolPrice;
    uint128 poolStake;
    uint128 workerStake;
    uint16 operatorShareBps;
    uint32 parallel;
    uint32 duration;
    uint32 trust;
    uint32 first;
    uint32 size;
    uint64 start;
}

using Deadlines for DealTerms global;
using Payouts for DealTerms global;
using {id, holds} for DealTerms global;

/// @notice The id of the deal with these terms: keccak256(abi.encode(terms)).
/// @dev All members are static, so their encoding is the 20 words as they stand in calldata, and hashing these costs a
/// fifth. Bits that do not belong there give an id that no deal has.
function id(DealTerms calldata terms) pure returns (DealId deal) {
    assembly ("memory-safe") {
        let free := mload(0x40)
        calldatacopy(free, terms, 640)
        deal := keccak256(free, 640)
    }
}

/// @notice The same of terms in memory, where each member has a clean word of its own.
function idInMemory(DealTerms memory terms) pure returns (DealId deal) {
    assembly ("memory-safe") {
        deal := keccak256(terms, 640)
    }
}

/// @notice Whether the deal has a task of this index.
function holds(DealTerms calldata terms, uint32 index) pure returns (bool) {
    return index >= terms.first && uint256(index) - terms.first < terms.size;
}

/// @notice What a deal is about; only in the event, since no money follows from it.
struct DealSubject {
    bytes32 app;
    bytes32 dataset;
    address beneficiary;
    bytes32 tag;
    bytes32 jobHash;
    bytes32 appOrder;
    bytes32 datasetOrder;
    bytes32 poolOrder;
}

/// @notice One worker's list of results of a single-worker deal.
/// @param entries `uint32 index, bytes32 digest`, packed (36 bytes each), indexes strictly ascending
/// @param signature the worker's, over SingleResults(deal, keccak256(entries))
/// @param assignments the operator's signatures (65 bytes each), one for each entry; looked at only when the sender is
/// not the operator itself
struct WorkerResults {
    address worker;
    bytes entries;
    bytes signature;
    bytes assignments;
}
