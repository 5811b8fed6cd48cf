// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BerthStorage} from "./BerthStorage.sol";
import {IRecourse} from "./interfaces/IBerth.sol";
import {Stance} from "./types/Storage.sol";

/// @notice What accounts say on chain of their orders: that they approve one, cancel one, or cancel all earlier ones.
/// @dev All of it is kept by the account that says it, and a match looks at the account that has to sign: so nobody can
/// say anything of another's orders, and what the former owner of an asset said does not count for the next.
abstract contract OrderStances is BerthStorage, IRecourse {
    /// @inheritdoc IRecourse
    function approveOrder(bytes32 order) external {
        require(_stances[msg.sender][order] != Stance.Cancelled, Berth_OrderRevoked(order, msg.sender));
        _stances[msg.sender][order] = Stance.Approved;
        emit OrderApproved(msg.sender, order);
    }

    /// @inheritdoc IRecourse
    function cancelOrder(bytes32 order) external {
        _stances[msg.sender][order] = Stance.Cancelled;
        _signers[msg.sender].cancels = true;
        emit OrderCancelled(msg.sender, order);
    }

    /// @inheritdoc IRecourse
    function raiseEpoch(uint64 epoch) external {
        uint64 current = _signers[msg.sender].epoch;
        require(epoch > current, Berth_EpochNotRaised(current, epoch));
        _signers[msg.sender].epoch = epoch;
        emit EpochRaised(msg.sender, epoch);
    }

    /// @inheritdoc IRecourse
    function consumed(bytes32 order) external view returns (uint32) {
        return _consumed[order];
    }

    /// @inheritdoc IRecourse
    function epochOf(address signer) external view returns (uint64) {
        return _signers[signer].epoch;
    }

    /// @inheritdoc IRecourse
    function stanceOf(address signer, bytes32 order) external view returns (Stance) {
        return _stances[signer][order];
    }
}
