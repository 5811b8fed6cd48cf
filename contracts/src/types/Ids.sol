// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev keccak256(abi.encode(kind, creator, keccak256(descriptor))) with its last byte replaced by the kind; also the
/// token id of the asset. Zero: no asset.
type AssetId is bytes32;

/// @dev keccak256(abi.encode(DealTerms)).
type DealId is bytes32;

/// @dev keccak256(DealId, uint256 index).
type TaskId is bytes32;

/// @dev keccak256(abi.encode(operator, root, ClosedWord[])). Zero: no round.
type RoundId is bytes32;

/// @dev keccak256(DealId, leftOut).
type RecordId is bytes32;

using AssetIds for AssetId global;
using DealIds for DealId global;
using {sameAsset as ==} for AssetId global;

/// @dev The kinds of asset, as the last byte of an AssetId has them.
uint8 constant APP = 1;
uint8 constant DATASET = 2;
uint8 constant POOL = 3;

function sameAsset(AssetId a, AssetId b) pure returns (bool) {
    return AssetId.unwrap(a) == AssetId.unwrap(b);
}

library AssetIds {
    /// @notice The id of the asset that `creator` registers as `kind` with `descriptor`.
    function derive(uint8 kind_, address creator, string calldata descriptor) internal pure returns (AssetId) {
        uint256 hash = uint256(keccak256(abi.encode(kind_, creator, keccak256(bytes(descriptor)))));
        return AssetId.wrap(bytes32((hash & ~uint256(0xff)) | kind_));
    }

    /// @notice The kind that the id itself tells; an id of a kind need not exist.
    function kind(AssetId asset) internal pure returns (uint8) {
        // The last byte is the kind, so everything above is meant to go.
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint8(uint256(AssetId.unwrap(asset)));
    }

    function isNone(AssetId asset) internal pure returns (bool) {
        return AssetId.unwrap(asset) == bytes32(0);
    }

    function tokenId(AssetId asset) internal pure returns (uint256) {
        return uint256(AssetId.unwrap(asset));
    }
}

library DealIds {
    /// @notice The id of one task of a deal; `index` counts over the request, so first <= index < first + size.
    function task(DealId deal, uint256 index) internal pure returns (TaskId) {
        return TaskId.wrap(keccak256(abi.encode(deal, index)));
    }
}
