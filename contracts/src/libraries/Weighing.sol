// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice A worker in a settlement, in memory only.
/// @param worker who it is
/// @param owner whose bond covers the deal; zero if none does
/// @param seed what its commitments are salted with
/// @param opens whether its reveal is there
/// @param weight what it adds to a group
/// @param share what it adds to the parts that a pot is cut into
/// @param paid what it has earned in this call
/// @param scored in how many tasks its score rises
struct Seat {
    address worker;
    address owner;
    bytes32 seed;
    bool opens;
    uint256 weight;
    uint256 share;
    uint256 paid;
    uint256 scored;
}

/// @notice A task's pairs on the scales, in memory only.
/// @param group the product of the weights of those that opened; zero if none did
/// @param dissent the product of the others' weights; zero if there are none
/// @param total the sum of everybody's shares
/// @param opened how many opened
struct Scales {
    uint256 group;
    uint256 dissent;
    uint256 total;
    uint256 opened;
}

/// @notice Who outweighs whom (ADR 0001, section 3, weights).
/// @dev A weight is below 2^31, a product at most 2^160, trust below 2^32: nothing here can overflow 256 bits.
library Weighing {
    /// @dev Where a product of weights stops.
    uint256 internal constant HEAVIEST = 1 << 160;

    uint256 private constant SCORE_STEP = 3;
    uint256 private constant LEAST_STEPS = 3;

    function weightOf(uint256 score) internal pure returns (uint256) {
        unchecked {
            uint256 steps = score / SCORE_STEP;
            return (steps > LEAST_STEPS ? steps : LEAST_STEPS) - 1;
        }
    }

    /// @notice The part of a pot that goes with a weight: its binary logarithm, rounded down, and at least 1.
    function shareOf(uint256 weight) internal pure returns (uint256) {
        return Math.log2(weight);
    }

    /// @notice Puts one more pair on the scales.
    function add(Scales memory scales, Seat memory seat, bool opened) internal pure {
        unchecked {
            scales.total += seat.share;
            if (opened) {
                scales.group = _times(scales.group, seat.weight);
                ++scales.opened;
            } else {
                scales.dissent = _times(scales.dissent, seat.weight);
            }
        }
    }

    /// @notice Whether those that opened outweigh the others as far as the deal's trust asks.
    function suffices(Scales memory scales, uint256 trust) internal pure returns (bool) {
        unchecked {
            return scales.group * trust > (1 + scales.group + scales.dissent) * (trust - 1);
        }
    }

    /// @dev A product of none is zero, and no weight is.
    function _times(uint256 product, uint256 weight) private pure returns (uint256) {
        unchecked {
            if (product == 0) return weight;
            product *= weight;
            return product < HEAVIEST ? product : HEAVIEST;
        }
    }
}
