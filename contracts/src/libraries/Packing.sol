// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealId, RecordId} from "../types/Ids.sol";
import {Seat} from "./Weighing.sol";

/// @notice The packed forms of a settlement's event and record (ADR 0003, sections 1 and 5).
/// @dev Assembly, since Solidity neither grows a memory array nor writes less than a word at any place. A push writes up
/// to 31 bytes past the end, which `reserve` has room for.
library Packing {
    /// @dev `address worker, uint128 paid, uint32 scored`.
    uint256 internal constant WORKER_BYTES = 40;

    /// @dev `uint32 index, bytes32 digest, address worker, bytes32 commitment, uint8 share, uint16 total`.
    uint256 internal constant LEFT_OUT_BYTES = 91;

    /// @notice An empty list that may grow to `length` bytes. Memory that is not written to costs nothing.
    function reserve(uint256 length) internal pure returns (bytes memory list) {
        assembly ("memory-safe") {
            list := mload(0x40)
            mstore(list, 0)
            mstore(0x40, add(list, and(add(length, 0x5f), not(0x1f))))
        }
    }

    /// @notice Gives back what a list was reserved and did not need. Nothing that was allocated since
    /// `reserve` may be of use any more.
    function trim(bytes memory list) internal pure {
        assembly ("memory-safe") {
            mstore(0x40, add(list, and(add(mload(list), 0x3f), not(0x1f))))
        }
    }

    /// @notice Where bytes stand in calldata.
    function placeOf(bytes calldata from) internal pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := from.offset
        }
    }

    /// @notice The byte at a place of calldata.
    function byteAt(uint256 place) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := byte(0, calldataload(place))
        }
    }

    /// @notice The 32 bytes from a place of calldata on.
    function wordAt(uint256 place) internal pure returns (bytes32 value) {
        assembly ("memory-safe") {
            value := calldataload(place)
        }
    }

    /// @notice The index that a task or an entry at a place of calldata begins with.
    function indexAt(uint256 place) internal pure returns (uint256 index) {
        assembly ("memory-safe") {
            index := shr(224, calldataload(place))
        }
    }

    /// @notice Where the first byte of a list stands in memory.
    function firstOf(bytes memory list) internal pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := add(list, 0x20)
        }
    }

    function firstOf(bytes32[] memory list) internal pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := add(list, 0x20)
        }
    }

    /// @notice Says where in memory the bytes of a list end that was reserved.
    function endAt(bytes memory list, uint256 place) internal pure {
        assembly ("memory-safe") {
            mstore(list, sub(sub(place, list), 0x20))
        }
    }

    /// @notice Overwrites one byte at a place of memory within a list.
    function put(uint256 place, uint256 value) internal pure {
        assembly ("memory-safe") {
            mstore8(place, value)
        }
    }

    /// @notice Writes one word at a place of memory within a list.
    function putWord(uint256 place, bytes32 value) internal pure {
        assembly ("memory-safe") {
            mstore(place, value)
        }
    }

    /// @notice Copies calldata to a place of memory within a list, and tells where it ends there.
    function copy(uint256 place, uint256 from, uint256 length) internal pure returns (uint256 end) {
        assembly ("memory-safe") {
            calldatacopy(place, from, length)
            end := add(place, length)
        }
    }

    function pushWorker(bytes memory list, Seat memory seat) internal pure {
        // Earned within this call, so within what the contract holds: 128 bits. At most 256 tasks were scored.
        (address worker, uint256 paid, uint256 scored) = (seat.worker, seat.paid, seat.scored);
        assembly ("memory-safe") {
            let held := mload(list)
            let place := add(add(list, 0x20), held)
            mstore(place, shl(96, worker))
            mstore(add(place, 20), or(shl(128, paid), shl(96, scored)))
            mstore(list, add(held, 40))
        }
    }

    function pushLeftOut(
        bytes memory list,
        uint256 index,
        bytes32 digest,
        Seat memory seat,
        bytes32 commitment,
        uint256 total
    ) internal pure {
        (address worker, uint256 share) = (seat.worker, seat.share);
        assembly ("memory-safe") {
            let held := mload(list)
            let place := add(add(list, 0x20), held)
            mstore(place, shl(224, index))
            mstore(add(place, 4), digest)
            mstore(add(place, 36), shl(96, worker))
            mstore(add(place, 56), commitment)
            mstore(add(place, 88), or(shl(248, share), shl(232, total)))
            mstore(list, add(held, 91))
        }
    }

    /// @notice The id of the record of these pairs.
    function recordOf(DealId deal, bytes memory leftOut) internal pure returns (RecordId) {
        return RecordId.wrap(keccak256(abi.encodePacked(deal, leftOut)));
    }
}
