// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {AssetId} from "../types/Ids.sol";

/// @title Apps, datasets and pools, each an ERC-721 token
/// @notice The token id is the AssetId as a number. The owner signs the asset's orders and is paid for them; ownership
/// moves as any ERC-721 token does. There is no administrator, and an asset can be neither changed nor deleted.
interface IAssets is IERC721 {
    /// @notice An asset was registered. Nothing else keeps the descriptor: read it from here.
    event AssetRegistered(AssetId indexed asset, uint8 indexed kind, address indexed creator, string descriptor);

    /// @notice The kind is none of 1 (app), 2 (dataset), 3 (pool).
    error Assets_UnknownKind(uint8 kind);

    /// @notice The descriptor is empty or longer than 8,192 bytes.
    error Assets_BadDescriptorLength(uint256 length);

    /// @notice This creator has registered this very descriptor as this kind before.
    error Assets_AlreadyRegistered(AssetId asset);

    /// @notice Registers an asset and gives it to the sender.
    /// @dev Requires: a known kind; a descriptor of 1 to 8,192 bytes; not registered by this sender before.
    /// Changes: mints the token. Emits: Transfer, AssetRegistered.
    /// Reverts: Assets_UnknownKind, Assets_BadDescriptorLength, Assets_AlreadyRegistered.
    ///
    /// Warning: the descriptor is not parsed. It is meant to be canonical JSON (RFC 8785); one that is not is no use
    /// to anybody.
    /// Warning: the token is minted without asking the receiver, so a contract that registers must be able to move it.
    /// @return asset keccak256(abi.encode(kind, sender, keccak256(descriptor))), its last byte replaced by the kind
    function register(uint8 kind, string calldata descriptor) external returns (AssetId asset);
}
