// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Reads the lists of tasks that ended, as the events of settlements tell them (ADR 0004).
/// @dev Assembly, since Solidity reads no word at any place of a list in memory. Byte by byte a task would cost some
/// 4,000 gas.
library Ended {
    /// @dev `uint32 index, bytes32 digest`.
    uint256 internal constant TASK_BYTES = 36;

    /// @notice The task at a place of the list, and the byte that follows it.
    function read(bytes memory list, uint256 at) internal pure returns (uint256 index, bytes32 digest, uint256 next) {
        assembly ("memory-safe") {
            let place := add(add(list, 0x20), at)
            index := shr(224, mload(place))
            digest := mload(add(place, 4))
            next := byte(0, mload(add(place, 36)))
        }
    }
}
