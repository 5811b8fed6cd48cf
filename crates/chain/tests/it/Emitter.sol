// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// What the follower's and the outbox's tests talk to.
contract Emitter {
    event Ping(uint256 indexed number, address indexed sender);

    error Emitter_Already(bytes32 key, uint256 count);

    uint256 public next;
    mapping(bytes32 key => uint256) public marks;
    bool public open;

    function ping(uint256 count) external {
        for (uint256 i; i < count; ++i) emit Ping(next++, msg.sender);
    }

    function mark(bytes32 key) external {
        marks[key] += 1;
        emit Ping(uint256(key), msg.sender);
    }

    function unlock() external {
        open = true;
    }

    function enter(bytes32 key) external payable {
        if (!open) revert Emitter_Already(key, marks[key]);
        marks[key] += 1;
    }
}
