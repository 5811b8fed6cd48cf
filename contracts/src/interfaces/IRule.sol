// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AssetId} from "../types/Ids.sol";

/// @notice A contract that an order names as its rule for a counterparty.
interface IRule {
    /// @notice Whether this counterparty is admitted. Asked by staticcall at the match.
    /// @param asset the counterparty's asset; zero for a requester, and for a deal without dataset
    /// @param account the asset's owner, or the requester; zero for a deal without dataset
    /// @return this function's own selector if admitted; anything else, or a revert, refuses
    function permits(AssetId asset, address account) external view returns (bytes4);
}
