// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IResultReceiver} from "../interfaces/IResultReceiver.sol";

/// @title A box that keeps results
/// @notice The smallest receiver: it takes what one Berth delivers, and keeps it by task.
/// @dev Warning: it takes the result of any task whose deal names it. A receiver with something to lose also checks
/// that it waits for the task.
contract ResultBox is IResultReceiver {
    address private immutable BERTH;

    /// @notice What was delivered, by task.
    mapping(bytes32 id => bytes) public resultOf;
    /// @notice How many deliveries there were.
    uint256 public received;

    /// @notice Only Berth delivers.
    error ResultBox_NotBerth(address sender);

    constructor(address berth) {
        BERTH = berth;
    }

    /// @inheritdoc IResultReceiver
    function receiveResult(bytes32 id, bytes calldata result) external {
        require(msg.sender == BERTH, ResultBox_NotBerth(msg.sender));
        resultOf[id] = result;
        ++received;
    }
}
