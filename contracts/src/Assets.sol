// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {APP, POOL, AssetId, AssetIds} from "./types/Ids.sol";

/// @title The registry of assets
contract Assets is ERC721, IAssets {
    uint256 private constant MAX_DESCRIPTOR_BYTES = 8192;

    constructor() ERC721("Berth Assets", "BERTH") {}

    /// @inheritdoc IAssets
    function register(uint8 kind, string calldata descriptor) external returns (AssetId asset) {
        require(kind >= APP && kind <= POOL, Assets_UnknownKind(kind));
        uint256 length = bytes(descriptor).length;
        require(length > 0 && length <= MAX_DESCRIPTOR_BYTES, Assets_BadDescriptorLength(length));
        asset = AssetIds.derive(kind, msg.sender, descriptor);
        require(_ownerOf(asset.tokenId()) == address(0), Assets_AlreadyRegistered(asset));

        // Not _safeMint: a call to the receiver would be the only call out of this contract.
        _mint(msg.sender, asset.tokenId());
        emit AssetRegistered(asset, kind, msg.sender, descriptor);
    }
}
