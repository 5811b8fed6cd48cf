// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealId} from "../types/Ids.sol";
import {Seat} from "./Weighing.sol";

/// @notice What the loop over a batch's plain tasks has in hand. `Batches` reads it by place: the order is fixed.
/// @param from the index of the first task of the round's word in hand
/// @param rest which of that word's tasks the round closed, after the task before
/// @param ended which of its tasks have ended
/// @param end where the packed tasks end in calldata
/// @param leafAt where the next leaf goes
/// @param leavesEnd where it goes after the last task that a batch may have
/// @param trust the deal's
/// @param pot the workers' part of what a task with a result pays its pool
/// @param done how many tasks ended with a result
/// @param toldAt where the event's next task goes
struct Batch {
    uint256 from;
    uint256 rest;
    uint256 ended;
    uint256 end;
    uint256 leafAt;
    uint256 leavesEnd;
    uint256 trust;
    uint256 pot;
    uint256 done;
    uint256 toldAt;
}

/// @notice The loop over those tasks of a batch that are as nearly all are: the next that the round closed, open, with a
/// result, all pairs opened and covered, and of weight enough (ADR 0003, sections 2 to 5).
/// @dev Assembly, since a round of a hundred tasks is to cost little more than its calldata and its hashes. Whatever is
/// out of the ordinary, or wrong, is left to the caller, which does the same in plain Solidity; so this loop has no errors
/// of its own, and no case but one. Tests compare what comes of it with plain Solidity.
///
/// All of it works at fixed places, from `claim` on its own: what is added up at run time costs thrice.
///
///   0x00 seed ‖ 0x20 task                                                   salt
///   TASK 0 deal ‖ 32 index                                                  task
///   ANSWER 0 task ‖ 32 worker(20) ‖ 52 digest ‖ 84 salt                     commitment
///   CHAIN 0 chain ‖ 32 worker(20) ‖ 52 commitment                           chain
///   CHAIN −37 0x00 ‖ −36 deal ‖ −4 index(4) ‖ 0 chain                       leaf
///
/// A worker whose pairs are opened and covered has three words, each in a list of 128 that its pair's byte, which is its
/// rank plus 0x80, is the place in (so that the lists begin at 0x80 words): who it is, its seed, and its account.
///
///   0x1000 worker(20) ‖ share(7) ‖ weight(5)      zero: no such worker
///   0x2000 seed
///   0x3000 share(2) ‖ scored(14) ‖ paid(16)
library Batches {
    uint256 private constant REST = 0x20;
    uint256 private constant ENDED = 0x40;
    uint256 private constant END = 0x60;
    uint256 private constant LEAF_AT = 0x80;
    uint256 private constant LEAVES_END = 0xa0;
    uint256 private constant TRUST = 0xc0;
    uint256 private constant POT = 0xe0;
    uint256 private constant DONE = 0x100;
    uint256 private constant TOLD_AT = 0x120;

    /// @notice Takes the memory that all of this works in, for a deal.
    /// @dev Reverts where memory was used beyond the first of it, which no call does: it is to come first in one.
    function claim(DealId deal) internal pure {
        assembly ("memory-safe") {
            if gt(mload(0x40), 0xe00) { invalid() }
            mstore(0x40, 0x4000)
            // Nothing is left in the lists of whatever was computed here. Past all calldata there are zeros.
            calldatacopy(0x1000, calldatasize(), 0x1000)
            mstore(0xe00, deal)
            mstore(0xec0, 0)
            mstore(0xedc, deal)
        }
    }

    /// @notice Enters the workers of the table whose pairs may be opened and covered.
    function enter(Seat[] memory table) internal pure {
        assembly ("memory-safe") {
            let seats := add(table, 0x20)
            let last := add(0x1000, shl(5, mload(table)))
            for { let at := 0x1000 } lt(at, last) { at := add(at, 0x20) } {
                let seat := mload(seats)
                seats := add(seats, 0x20)
                if and(mload(add(seat, 0x60)), iszero(iszero(mload(add(seat, 0x20))))) {
                    let share := mload(add(seat, 0xa0))
                    mstore(at, or(or(shl(96, mload(seat)), shl(40, share)), mload(add(seat, 0x80))))
                    mstore(add(at, 0x1000), mload(add(seat, 0x40)))
                    mstore(add(at, 0x2000), shl(240, share))
                }
            }
        }
    }

    /// @notice Adds to the seats what their workers have been paid.
    /// @return parts the sum of it
    function leave(Seat[] memory table) internal pure returns (uint256 parts) {
        assembly ("memory-safe") {
            let seats := add(table, 0x20)
            let last := add(0x1000, shl(5, mload(table)))
            for { let at := 0x1000 } lt(at, last) { at := add(at, 0x20) } {
                let seat := mload(seats)
                seats := add(seats, 0x20)
                if mload(at) {
                    let account := mload(add(at, 0x2000))
                    let paid := and(account, sub(shl(128, 1), 1))
                    parts := add(parts, paid)
                    mstore(add(seat, 0xc0), add(mload(add(seat, 0xc0)), paid))
                    mstore(add(seat, 0xe0), add(mload(add(seat, 0xe0)), and(shr(128, account), 0xffff)))
                }
            }
        }
    }

    /// @notice Ends and pays plain tasks, from `at` of calldata on, as far as they go; notes their leaves, and copies
    /// them for the event.
    /// @return next where the first task begins that is not plain, or the end
    function run(Batch memory batch, uint256 at) internal pure returns (uint256 next) {
        assembly ("memory-safe") {
            next := at
            let rest := mload(add(batch, REST))
            let leafAt := mload(add(batch, LEAF_AT))
            for {} lt(next, mload(add(batch, END))) {} {
                let pair := add(next, 37)
                let until := add(pair, byte(0, calldataload(add(next, 36))))
                let digest := calldataload(add(next, 4))
                let bit := 0
                let group := 0
                {
                    let head := calldataload(next)
                    let index := shr(224, head)
                    bit := shl(sub(index, mload(batch)), 1)
                    // The next of the round's, and open: of no bit at all nothing is less.
                    group := lt(or(xor(bit, and(rest, sub(0, rest))), and(bit, mload(add(batch, ENDED)))), bit)
                    mstore(0xe20, index)
                    mstore(0xefc, head)
                }
                // No product of eight weights, each below 2^31, wraps around.
                group := and(group, lt(until, add(next, 46)))
                group := and(group, iszero(gt(until, mload(add(batch, END)))))
                group := and(group, lt(leafAt, mload(add(batch, LEAVES_END))))
                group := and(group, gt(digest, 0xff))
                if iszero(group) { break }

                mstore(0x20, keccak256(0xe00, 0x40))
                mstore(0xe40, mload(0x20))
                mstore(0xe74, digest)
                mstore(0xf00, 0)
                let tally := 0
                // Ranks rise, and all bytes are above this: else the group is of no weight.
                let previous := 0xfe0
                for {} iszero(eq(pair, until)) { pair := add(pair, 1) } {
                    let place := shl(5, byte(0, calldataload(pair)))
                    mstore(0x00, mload(add(place, 0x1000)))
                    mstore(0xe94, keccak256(0x00, 0x40))
                    mcopy(0xe60, place, 20)
                    let worker := mload(place)
                    mstore(0xf20, worker)
                    mstore(0xf34, keccak256(0xe40, 116))
                    mstore(0xf00, keccak256(0xf00, 84))
                    tally := add(tally, worker)
                    group := mul(group, mul(and(worker, 0xffffffff), gt(place, previous)))
                    previous := place
                }
                // As `Weighing.suffices`, without dissent.
                if lt(group, mload(add(batch, TRUST))) { break }

                mstore(leafAt, keccak256(0xedb, 69))
                leafAt := add(leafAt, 0x20)
                rest := xor(rest, bit)
                {
                    let total := and(shr(40, tally), 0xffff)
                    let pot := mload(add(batch, POT))
                    let scored := shl(128, gt(until, add(next, 38)))
                    for { pair := add(next, 37) } iszero(eq(pair, until)) { pair := add(pair, 1) } {
                        let place := add(shl(5, byte(0, calldataload(pair))), 0x2000)
                        let account := mload(place)
                        mstore(place, add(add(account, scored), div(mul(pot, shr(240, account)), total)))
                    }
                }
                next := until
            }
            let told := mload(add(batch, TOLD_AT))
            calldatacopy(told, at, sub(next, at))
            mstore(add(batch, TOLD_AT), add(told, sub(next, at)))
            mstore(add(batch, DONE), add(mload(add(batch, DONE)), shr(5, sub(leafAt, mload(add(batch, LEAF_AT))))))
            mstore(add(batch, LEAF_AT), leafAt)
            mstore(add(batch, ENDED), or(mload(add(batch, ENDED)), xor(rest, mload(add(batch, REST)))))
            mstore(add(batch, REST), rest)
        }
    }
}
