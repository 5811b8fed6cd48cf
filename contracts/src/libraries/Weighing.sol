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

    // The pairs of a packed task. Assembly: at three pairs a task these two loops are most of what a batch does for each
    // of its tasks; in Solidity they cost three times as much. Tests compare them with `settleOne`, which does without.

    /// @notice Hashes pairs into the chain of `pad` (as `Rounds` lays it out), and puts them on the scales, which are
    /// empty before. All places are absolute, in calldata.
    /// @param at where the pairs' bytes begin
    /// @param until where these end, and the commitments of those that do not open begin
    /// @param end where the packed tasks end
    /// @return rest where the commitments end
    /// @return stopped `until`, or the place of the first byte that can't be: an unknown or falling rank, a pair that
    /// opens without a reveal, a commitment beyond `end`
    function walk(bytes memory pad, Seat[] memory table, Scales memory scales, uint256 at, uint256 until, uint256 end)
        internal
        pure
        returns (uint256 rest, uint256 stopped)
    {
        assembly ("memory-safe") {
            rest := until
            pad := add(pad, 0x20)
            let least := 0
            for {} lt(at, until) { at := add(at, 1) } {
                let seat := and(byte(0, calldataload(at)), 0x7f)
                if or(lt(seat, least), iszero(lt(seat, mload(table)))) { break }
                least := add(seat, 1)
                seat := mload(add(add(table, 0x20), shl(5, seat)))
                mstore(add(pad, 192), shl(96, mload(seat)))
                // The dissenting group, until the pair has opened and is covered.
                let group := add(scales, 0x20)
                switch shr(255, calldataload(at))
                case 1 {
                    if iszero(mload(add(seat, 0x60))) { break }
                    // As `Rounds.seal`.
                    mstore(pad, mload(add(seat, 0x40)))
                    mstore(add(pad, 116), keccak256(pad, 64))
                    mstore(add(pad, 52), or(shl(160, mload(add(pad, 32))), mload(seat)))
                    mstore(add(pad, 212), keccak256(add(pad, 32), 116))
                    if mload(add(seat, 0x20)) {
                        group := scales
                        mstore(add(scales, 0x60), add(mload(add(scales, 0x60)), 1))
                    }
                }
                default {
                    mstore(add(pad, 212), calldataload(rest))
                    rest := add(rest, 0x20)
                    if gt(rest, end) { break }
                }
                // As `Rounds.extend`.
                mstore(add(pad, 160), keccak256(add(pad, 160), 84))
                // As `add`.
                mstore(add(scales, 0x40), add(mload(add(scales, 0x40)), mload(add(seat, 0xa0))))
                let product := mload(group)
                switch product
                case 0 { product := mload(add(seat, 0x80)) }
                default {
                    product := mul(product, mload(add(seat, 0x80)))
                    if gt(product, HEAVIEST) { product := HEAVIEST }
                }
                mstore(group, product)
            }
            stopped := at
        }
    }

    /// @notice Shares a pot among pairs that all opened and are all covered; gives the sum of the parts.
    /// @param at where the pairs' bytes begin, in calldata
    /// @param until where they end
    function share(Seat[] memory table, uint256 at, uint256 until, uint256 pot, uint256 total, uint256 scored)
        internal
        pure
        returns (uint256 parts)
    {
        assembly ("memory-safe") {
            for {} lt(at, until) { at := add(at, 1) } {
                let seat := mload(add(add(table, 0x20), shl(5, and(byte(0, calldataload(at)), 0x7f))))
                let part := div(mul(pot, mload(add(seat, 0xa0))), total)
                parts := add(parts, part)
                mstore(add(seat, 0xc0), add(mload(add(seat, 0xc0)), part))
                mstore(add(seat, 0xe0), add(mload(add(seat, 0xe0)), scored))
            }
        }
    }
}
