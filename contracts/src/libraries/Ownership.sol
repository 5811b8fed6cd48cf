// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "../interfaces/IAssets.sol";
import {AssetId} from "../types/Ids.sol";

/// @notice Reads who owns an asset.
library Ownership {
    /// @notice The owner of an asset, or zero where there is no such asset.
    function ownerOrNone(IAssets assets, AssetId asset) internal view returns (address) {
        // ERC-721 answers a token that does not exist with a revert.
        try assets.ownerOf(asset.tokenId()) returns (address owner) {
            return owner;
        } catch {
            return address(0);
        }
    }
}
