// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AssetId, DealId, TaskId} from "../types/Ids.sol";
import {AppOrder, DatasetOrder, PoolOrder, RequestOrder} from "../types/Orders.sol";

/// @notice EIP-712: the domain, and the struct hash of everything that is signed (ADR 0001, sections 1, 2 and 4).
/// @dev All members of all types are value types, whose EIP-712 encoding is their ABI encoding; so hashing a struct is
/// hashing its type hash followed by the struct as it stands. An order is copied so from calldata, as it stands there
/// (ADR 0001, section 7): bits that do not belong into a word give the hash of an order that nobody has signed.
library Hashing {
    string internal constant NAME = "Berth";
    string internal constant VERSION = "1";
    bytes32 private constant NAME_HASH = keccak256("Berth");
    bytes32 private constant VERSION_HASH = keccak256("1");

    bytes32 internal constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant APP_ORDER_TYPE = keccak256(
        "AppOrder(bytes32 app,uint128 price,uint32 volume,bytes32 tag,bytes32 datasetRule,bytes32 poolRule,bytes32 requesterRule,uint64 expiry,uint64 epoch,bytes32 salt)"
    );
    bytes32 internal constant DATASET_ORDER_TYPE = keccak256(
        "DatasetOrder(bytes32 dataset,uint128 price,uint32 volume,bytes32 tag,bytes32 appRule,bytes32 poolRule,bytes32 requesterRule,uint64 expiry,uint64 epoch,bytes32 salt)"
    );
    bytes32 internal constant POOL_ORDER_TYPE = keccak256(
        "PoolOrder(bytes32 pool,uint128 price,uint32 volume,bytes32 tag,address operator,uint32 parallel,uint128 workerStake,uint128 poolStake,uint16 operatorShareBps,uint32 minDuration,uint32 maxDuration,uint32 maxTrust,bytes32 appRule,bytes32 datasetRule,bytes32 requesterRule,uint64 expiry,uint64 epoch,bytes32 salt)"
    );
    bytes32 internal constant REQUEST_ORDER_TYPE = keccak256(
        "RequestOrder(bytes32 app,uint128 appMaxPrice,bytes32 dataset,uint128 datasetMaxPrice,bytes32 poolRule,uint128 poolMaxPrice,address requester,address payer,address beneficiary,address callback,bytes32 jobHash,uint32 volume,bytes32 tag,uint32 duration,uint32 trust,uint64 expiry,uint64 epoch,bytes32 salt)"
    );
    bytes32 internal constant SPONSORSHIP_TYPE =
        keccak256("Sponsorship(bytes32 request,bytes32 poolOrder,uint32 volume,uint64 expiry)");
    bytes32 internal constant ENLISTMENT_TYPE = keccak256("Enlistment(bytes32 pool,address owner)");
    bytes32 internal constant ASSIGNMENT_TYPE = keccak256("Assignment(bytes32 task,address worker)");
    bytes32 internal constant SINGLE_RESULTS_TYPE = keccak256("SingleResults(bytes32 deal,bytes32 root)");
    bytes32 internal constant COMMITMENT_TYPE = keccak256("Commitment(bytes32 task,bytes32 commitment)");
    bytes32 internal constant REVEAL_TYPE = keccak256("Reveal(bytes32 root,bytes32 seed)");

    /// @notice The separator of the contract in whose name this runs: the same for Berth and, under its delegatecall,
    /// for Recourse. Computed each time, so that it follows a chain that splits.
    function domainSeparator() internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    function hash(AppOrder calldata order) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := order
        }
        return _hashWords(APP_ORDER_TYPE, at, 10);
    }

    function hash(DatasetOrder calldata order) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := order
        }
        return _hashWords(DATASET_ORDER_TYPE, at, 10);
    }

    function hash(PoolOrder calldata order) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := order
        }
        return _hashWords(POOL_ORDER_TYPE, at, 18);
    }

    function hash(RequestOrder calldata order) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := order
        }
        return _hashWords(REQUEST_ORDER_TYPE, at, 18);
    }

    /// @notice What a sponsor signs to pay for one match.
    function sponsorship(bytes32 request, bytes32 poolOrder, uint32 volume, uint64 expiry)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(SPONSORSHIP_TYPE, request, poolOrder, volume, expiry));
    }

    function enlistment(AssetId pool, address owner) internal pure returns (bytes32) {
        return keccak256(abi.encode(ENLISTMENT_TYPE, pool, owner));
    }

    function assignment(TaskId task, address worker) internal pure returns (bytes32) {
        return keccak256(abi.encode(ASSIGNMENT_TYPE, task, worker));
    }

    function singleResults(DealId deal, bytes32 root) internal pure returns (bytes32) {
        return keccak256(abi.encode(SINGLE_RESULTS_TYPE, deal, root));
    }

    /// @notice What a worker signs for its hidden answer.
    function commitment(TaskId task, bytes32 hidden) internal pure returns (bytes32) {
        return keccak256(abi.encode(COMMITMENT_TYPE, task, hidden));
    }

    /// @notice What a worker signs to open all of its answers in a round, or the one at the end of a chain.
    function reveal(bytes32 root, bytes32 seed) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVEAL_TYPE, root, seed));
    }

    /// @dev The hash of a type followed by so many words of calldata.
    function _hashWords(bytes32 kind, uint256 at, uint256 words) private pure returns (bytes32 structHash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, kind)
            calldatacopy(add(free, 0x20), at, shl(5, words))
            structHash := keccak256(free, add(shl(5, words), 0x20))
        }
    }
}
