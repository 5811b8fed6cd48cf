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
/// result, of at most eight pairs, all of them opened and covered, and of weight enough (ADR 0003, sections 2 to 5).
/// @dev Assembly, since a round of a hundred tasks is to cost little more than its calldata and its hashes. Whatever is
/// out of the ordinary, or wrong, is left to the caller, which does the same in plain Solidity; so this loop has no errors
/// of its own, and no case but one. Tests compare what comes of it with plain Solidity.
///
/// All of it works at fixed places, from `claim` on its own: what is added up at run time costs thrice.
///
///   0x00 seed ‖ 0x20 task                                              salt
///   0xc00 deal ‖ 0xc20 index                                           task
///   0xc40 task ‖ 0xc60 worker(20) ‖ 0xc74 digest ‖ 0xc94 salt          commitment
///   0xd00 chain ‖ 0xd20 worker(20) ‖ 0xd34 commitment                  chain
///   0xcdb 0x00 ‖ 0xcdc deal ‖ 0xcfc index(4) ‖ 0xd00 chain             leaf
///   0xd60 what a `Batch` has ‖ 0xe60 where the task's pairs end
///
/// A worker whose pairs are opened and covered has three words, each in a list of 128. A pair's byte, which is its
/// worker's rank plus 0x80, times 32 is the place of the first.
///
///   0x1000 worker(20) ‖ share(7) ‖ weight(5)      zero: no such worker
///   0x2000 seed
///   0x3000 share(2) ‖ scored(14) ‖ paid(16)
///
/// The optimiser computes again, at each use, whatever it can from what it has at hand; it keeps what was loaded from
/// memory, or is assigned in a loop. It also keeps a zero that a variable begins with, in place of every other zero.
library Batches {
    uint256 private constant REST = 0x20;
    uint256 private constant ENDED = 0x40;
    uint256 private constant LEAF_AT = 0x80;
    uint256 private constant DONE = 0x100;
    uint256 private constant TOLD_AT = 0x120;

    /// @notice Takes the memory that all of this works in, for a deal.
    /// @dev Reverts where memory was used beyond the first of it, which no call does: it is to come first in one.
    function claim(DealId deal) internal pure {
        assembly ("memory-safe") {
            if gt(mload(0x40), 0xc00) { invalid() }
            mstore(0x40, 0x4000)
            // Nothing is left in the lists of whatever was computed here. Past all calldata there are zeros.
            calldatacopy(0x1000, calldatasize(), 0x1000)
            mstore(0xc00, deal)
            mstore(0xcc0, 0)
            mstore(0xcdc, deal)
        }
    }

    /// @notice Enters a worker of the table, whose pairs may be opened and are covered.
    function enter(uint256 rank, Seat memory seat) internal pure {
        (address worker, bytes32 seed, uint256 weight, uint256 share) =
            (seat.worker, seat.seed, seat.weight, seat.share);
        assembly ("memory-safe") {
            let place := add(0x1000, shl(5, rank))
            mstore(place, or(or(shl(96, worker), shl(40, share)), weight))
            mstore(add(place, 0x1000), seed)
            mstore(add(place, 0x2000), shl(240, share))
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
            mcopy(0xd60, batch, 0x100)
            next := at
            for {} lt(next, mload(0xdc0)) {} {
                mstore(0xcfc, calldataload(next))
                mstore(0xc20, shr(224, mload(0xcfc)))
                mstore(0xc74, calldataload(add(next, 4)))
                mstore(0xe60, add(add(next, 37), byte(0, calldataload(add(next, 36)))))
                mstore(0xe80, shl(sub(mload(0xc20), mload(0xd60)), 1))
                // The next of the round's, and open: than no bit at all nothing is less.
                let group :=
                    lt(
                        or(xor(mload(0xe80), and(mload(0xd80), sub(0, mload(0xd80)))), and(mload(0xe80), mload(0xda0))),
                        mload(0xe80)
                    )
                // No product of eight weights, each below 2^31, wraps around.
                group := and(group, lt(mload(0xe60), add(next, 46)))
                group := and(group, iszero(gt(mload(0xe60), mload(0xdc0))))
                group := and(group, lt(mload(0xde0), mload(0xe00)))
                if iszero(and(group, gt(mload(0xc74), 0xff))) { break }

                mstore(0xea0, keccak256(0xc00, 0x40))
                mstore(0xc40, mload(0xea0))
                mstore(0xd00, 0)
                let tally := group
                let pair := add(next, 37)
                mstore(0xf00, 0xfe0)
                let place := and(shr(243, calldataload(pair)), 0x1fe0)
                for {} gt(place, mload(0xf00)) {} {
                    mstore(0xf00, place)
                    mstore(0xe80, mload(add(place, 0x1000)))
                    mstore(0xc94, keccak256(0xe80, 0x40))
                    mcopy(0xc60, place, 20)
                    let worker := mload(place)
                    mstore(0xd20, worker)
                    mstore(0xd34, keccak256(0xc40, 116))
                    mstore(0xd00, keccak256(0xd00, 84))
                    group := mul(group, and(worker, 0xffffffff))
                    tally := add(tally, worker)
                    pair := add(pair, 1)
                    place := and(shr(243, calldataload(pair)), 0x1fe0)
                }
                // As `Weighing.suffices`, without dissent.
                if lt(mul(group, eq(pair, mload(0xe60))), mload(0xe20)) { break }

                mstore(mload(0xde0), keccak256(0xcdb, 69))
                mstore(0xde0, add(mload(0xde0), 0x20))
                mstore(0xd80, and(mload(0xd80), sub(mload(0xd80), 1)))
                // One pair alone raises no score.
                mstore(0xe80, shl(128, gt(pair, add(next, 38))))
                mstore(0xea0, and(shr(40, tally), 0xffff))
                next := add(next, 37)
                place := and(shr(243, calldataload(next)), 0x1fe0)
                for {} lt(next, pair) {} {
                    let account := mload(add(place, 0x2000))
                    let part := div(mul(mload(0xe40), shr(240, account)), mload(0xea0))
                    mstore(add(place, 0x2000), add(add(account, mload(0xe80)), part))
                    next := add(next, 1)
                    place := and(shr(243, calldataload(next)), 0x1fe0)
                }
            }
            let rest := mload(0xd80)
            let leafAt := mload(0xde0)
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
