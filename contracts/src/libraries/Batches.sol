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
/// All of it works at fixed places, from `claim` on its own, for what is added up at run time costs thrice; and what the
/// loop over pairs changes stands there where that is cheaper than the shuffling of a full stack. What is hashed:
///
///   DEAL deal ‖ INDEX index                                                           task
///   SEED seed ‖ TASK task                                                             salt
///   ANSWER task ‖ ANSWER_WORKER worker(20) ‖ DIGEST digest ‖ SALT salt                commitment
///   CHAIN chain ‖ CHAIN_WORKER worker(20) ‖ COMMITMENT commitment                     chain
///   LEAF 0x00 ‖ deal ‖ HEAD index(4) ‖ CHAIN chain                                    leaf
///
/// A worker whose pairs are opened and covered has three words, each in a list of 128. A pair's byte, which is its
/// worker's rank plus 0x80, times 32 is the place of the first; so that list begins at 0x80 words.
///
///   WORKERS worker(20) ‖ share(7) ‖ weight(5)      zero: no such worker
///   TO_SEED further: seed
///   TO_ACCOUNT further: share(2) ‖ scored(14) ‖ paid(16)
///
/// The optimiser computes again, at each use, whatever it can from what it has at hand; it keeps what was loaded from
/// memory, or is assigned in a loop. Hence `place`, and what is loaded twice.
library Batches {
    uint256 private constant DEAL = 0xc00;
    uint256 private constant INDEX = 0xc20;
    uint256 private constant ANSWER = 0xc40;
    uint256 private constant ANSWER_WORKER = 0xc60;
    uint256 private constant DIGEST = 0xc74;
    uint256 private constant SALT = 0xc94;
    uint256 private constant LEAF = 0xcdb;
    uint256 private constant HEAD = 0xcfc;
    uint256 private constant CHAIN = 0xd00;
    uint256 private constant CHAIN_WORKER = 0xd20;
    uint256 private constant COMMITMENT = 0xd34;

    /// @dev The first eight words of a `Batch`, from the first on.
    uint256 private constant FROM = 0xd60;
    uint256 private constant REST = 0xd80;
    uint256 private constant ENDED = 0xda0;
    uint256 private constant END = 0xdc0;
    uint256 private constant LEAF_AT = 0xde0;
    uint256 private constant LEAVES_END = 0xe00;
    uint256 private constant TRUST = 0xe20;
    uint256 private constant POT = 0xe40;

    /// @dev Of the task in hand: where its pairs end, its bit, the place of its last pair, what each pair raises a score
    /// by, and the sum of their shares.
    uint256 private constant UNTIL = 0xe60;
    uint256 private constant SEED = 0xe80;
    uint256 private constant TASK = 0xea0;
    uint256 private constant BIT = 0xec0;
    uint256 private constant PREVIOUS = 0xee0;
    uint256 private constant SCORED = 0xf00;
    uint256 private constant TOTAL = 0xf20;

    uint256 private constant WORKERS = 0x1000;
    uint256 private constant TO_SEED = 0x1000;
    uint256 private constant TO_ACCOUNT = 0x2000;

    /// @dev In a `Batch`.
    uint256 private constant DONE = 0x100;
    uint256 private constant TOLD_AT = 0x120;

    /// @notice Takes the memory that all of this works in, for a deal.
    /// @dev Reverts where memory was used beyond the first of it, which no call does: it is to come first in one.
    function claim(DealId deal) internal pure {
        assembly ("memory-safe") {
            if gt(mload(0x40), DEAL) { invalid() }
            mstore(0x40, 0x4000)
            // Nothing is left among the workers of whatever was computed here. Past all calldata there are zeros.
            calldatacopy(WORKERS, calldatasize(), 0x1000)
            mstore(DEAL, deal)
            mstore8(LEAF, 0)
            mstore(add(LEAF, 1), deal)
        }
    }

    /// @notice Enters a worker of the table, whose pairs may be opened and are covered.
    function enter(uint256 rank, Seat memory seat) internal pure {
        (address worker, bytes32 seed, uint256 weight, uint256 share) =
            (seat.worker, seat.seed, seat.weight, seat.share);
        assembly ("memory-safe") {
            let place := add(WORKERS, shl(5, rank))
            mstore(place, or(or(shl(96, worker), shl(40, share)), weight))
            mstore(add(place, TO_SEED), seed)
            mstore(add(place, TO_ACCOUNT), shl(240, share))
        }
    }

    /// @notice Adds to the seats what their workers have been paid.
    /// @return parts the sum of it
    function leave(Seat[] memory table) internal pure returns (uint256 parts) {
        assembly ("memory-safe") {
            let seats := add(table, 0x20)
            let last := add(WORKERS, shl(5, mload(table)))
            for { let at := WORKERS } lt(at, last) { at := add(at, 0x20) } {
                let seat := mload(seats)
                seats := add(seats, 0x20)
                if mload(at) {
                    let account := mload(add(at, TO_ACCOUNT))
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
            mcopy(FROM, batch, 0x100)
            next := at
            for {} lt(next, mload(END)) {} {
                mstore(HEAD, calldataload(next))
                mstore(INDEX, shr(224, mload(HEAD)))
                mstore(DIGEST, calldataload(add(next, 4)))
                mstore(UNTIL, add(add(next, 37), byte(0, calldataload(add(next, 36)))))
                mstore(BIT, shl(sub(mload(INDEX), mload(FROM)), 1))
                // One bit, that of the next task of the round's, and not ended: than no bit at all nothing is less.
                let group :=
                    lt(
                        or(xor(mload(BIT), and(mload(REST), sub(0, mload(REST)))), and(mload(BIT), mload(ENDED))),
                        mload(BIT)
                    )
                // No product of eight weights, each below 2^31, wraps around.
                group := and(group, lt(mload(UNTIL), add(next, 46)))
                group := and(group, iszero(gt(mload(UNTIL), mload(END))))
                group := and(group, lt(mload(LEAF_AT), mload(LEAVES_END)))
                if iszero(and(group, gt(mload(DIGEST), 0xff))) { break }

                mstore(TASK, keccak256(DEAL, 0x40))
                mstore(ANSWER, mload(TASK))
                mstore(CHAIN, 0)
                // It begins with 1, which is in none of the shares.
                let tally := group
                let pair := add(next, 37)
                // Ranks rise, and are marked as opened: all bytes are above 0x7f. After the pairs comes the next task's
                // index, which is small, or zeros; if it happens to rise, too, the task is not plain.
                mstore(PREVIOUS, 0xfe0)
                let place := and(shr(243, calldataload(pair)), 0x1fe0)
                for {} gt(place, mload(PREVIOUS)) {} {
                    mstore(PREVIOUS, place)
                    mstore(SEED, mload(add(place, TO_SEED)))
                    mstore(SALT, keccak256(SEED, 0x40))
                    mcopy(ANSWER_WORKER, place, 20)
                    let worker := mload(place)
                    mstore(CHAIN_WORKER, worker)
                    mstore(COMMITMENT, keccak256(ANSWER, 116))
                    mstore(CHAIN, keccak256(CHAIN, 84))
                    group := mul(group, and(worker, 0xffffffff))
                    tally := add(tally, worker)
                    pair := add(pair, 1)
                    place := and(shr(243, calldataload(pair)), 0x1fe0)
                }
                // As `Weighing.suffices`, without dissent.
                if lt(mul(group, eq(pair, mload(UNTIL))), mload(TRUST)) { break }

                mstore(mload(LEAF_AT), keccak256(LEAF, 69))
                mstore(LEAF_AT, add(mload(LEAF_AT), 0x20))
                mstore(REST, and(mload(REST), sub(mload(REST), 1)))
                // One pair alone raises no score.
                mstore(SCORED, shl(128, gt(pair, add(next, 38))))
                mstore(TOTAL, and(shr(40, tally), 0xffff))
                next := add(next, 37)
                place := and(shr(243, calldataload(next)), 0x1fe0)
                for {} lt(next, pair) {} {
                    let account := mload(add(place, TO_ACCOUNT))
                    let part := div(mul(mload(POT), shr(240, account)), mload(TOTAL))
                    mstore(add(place, TO_ACCOUNT), add(add(account, mload(SCORED)), part))
                    next := add(next, 1)
                    place := and(shr(243, calldataload(next)), 0x1fe0)
                }
            }
            let told := mload(add(batch, TOLD_AT))
            calldatacopy(told, at, sub(next, at))
            mstore(add(batch, TOLD_AT), add(told, sub(next, at)))
            {
                // Each task has noted one leaf, and taken one bit off: of those that are open.
                let leaves := sub(mload(LEAF_AT), mload(add(batch, sub(LEAF_AT, FROM))))
                mstore(add(batch, DONE), add(mload(add(batch, DONE)), shr(5, leaves)))
                let bits := xor(mload(REST), mload(add(batch, sub(REST, FROM))))
                mstore(add(batch, sub(ENDED, FROM)), or(mload(ENDED), bits))
            }
            mstore(add(batch, sub(REST, FROM)), mload(REST))
            mstore(add(batch, sub(LEAF_AT, FROM)), mload(LEAF_AT))
        }
    }
}
