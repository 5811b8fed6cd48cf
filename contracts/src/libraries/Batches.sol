// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealId} from "../types/Ids.sol";
import {Seat} from "./Weighing.sol";

/// @notice What the loop over a batch's tasks has in hand. `Batches` reads it by place: the order is fixed.
/// @param from the index of the first task of the round's word in hand
/// @param rest which of that word's tasks the round closed, after the task before
/// @param ended which of its tasks have ended
/// @param bit the bit of the task in hand
/// @param place the leaf's place of the task before
/// @param placeAt where the next leaf's place goes
/// @param placesEnd where it goes after the last task that a batch may have
/// @param toLeaf how far from its place the leaf goes
/// @param end where the packed tasks end in calldata
/// @param before where the task before begins
/// @param deal the deal's id
/// @param desks where the list of the table's desks begins: a word each, 128 of them, zero past the table
/// @param desksEnd where the list's used part ends
/// @param leaf where leaves are hashed: 0x00 ‖ deal ‖ uint32 index ‖ chain
/// @param group the product of the weights of the task's pairs that opened and are covered
/// @param dissent the product of the others' weights; 1 if there are none
/// @param total the sum of all their shares
/// @param opened how many opened and are covered
/// @param trust the deal's
/// @param pot the workers' part of what a task pays its pool
/// @param failurePot the same for a failed task
/// @param done how many tasks ended with a result
/// @param failed how many ended with a failure
/// @param parts the sum of all parts of their pots, paid or kept back
/// @param toldAt where the event's next task goes
/// @param unopened how many pairs of all tasks did not open
struct Batch {
    uint256 from;
    uint256 rest;
    uint256 ended;
    uint256 bit;
    uint256 place;
    uint256 placeAt;
    uint256 placesEnd;
    uint256 toLeaf;
    uint256 end;
    uint256 before;
    DealId deal;
    uint256 desks;
    uint256 desksEnd;
    uint256 leaf;
    uint256 group;
    uint256 dissent;
    uint256 total;
    uint256 opened;
    uint256 trust;
    uint256 pot;
    uint256 failurePot;
    uint256 done;
    uint256 failed;
    uint256 parts;
    uint256 toldAt;
    uint256 unopened;
}

/// @notice The loop over the packed tasks of a batch (ADR 0003, sections 2 to 5).
/// @dev Assembly, since a round of a hundred tasks is to cost little more than its calldata and its hashes: each field of
/// calldata is read once, nothing is allocated, and whatever is out of the ordinary is left to the caller. Tests compare
/// what comes of it with plain Solidity.
///
/// A desk is what the loop needs of one worker, and where its pairs are hashed:
///
///   0 seed ‖ 32 task ‖ 64 worker(20) ‖ 84 digest ‖ 116 salt     salt and commitment
///   160 chain ‖ 192 worker(20) ‖ 212 commitment                 chain
///   256 standing: 0 without a reveal, 1 with one, 2 if its bond covers the deal, too
///   288 weight, 320 share, 352 what it is paid and, from bit 128 on, in how many tasks its score rises
///
/// The optimiser computes again, at each use, whatever is a sum of what it has at hand; it keeps what was loaded from
/// memory, or is assigned in a loop or under a condition. Hence the list of desks, and the counts of pairs to go.
library Batches {
    uint256 private constant DESK_BYTES = 384;

    uint256 private constant REST = 0x20;
    uint256 private constant ENDED = 0x40;
    uint256 private constant BIT = 0x60;
    uint256 private constant PLACE = 0x80;
    uint256 private constant PLACE_AT = 0xa0;
    uint256 private constant PLACES_END = 0xc0;
    uint256 private constant TO_LEAF = 0xe0;
    uint256 private constant END = 0x100;
    uint256 private constant BEFORE = 0x120;
    uint256 private constant DEAL = 0x140;
    uint256 private constant DESKS = 0x160;
    uint256 private constant DESKS_END = 0x180;
    uint256 private constant LEAF = 0x1a0;
    uint256 private constant GROUP = 0x1c0;
    uint256 private constant DISSENT = 0x1e0;
    uint256 private constant TOTAL = 0x200;
    uint256 private constant OPENED = 0x220;
    uint256 private constant TRUST = 0x240;
    uint256 private constant POT = 0x260;
    uint256 private constant DONE = 0x2a0;
    uint256 private constant PARTS = 0x2e0;
    uint256 private constant TOLD_AT = 0x300;
    uint256 private constant UNOPENED = 0x320;

    /// @notice Sets up a desk for each seat, and what leaves are hashed in.
    function furnish(Batch memory batch, Seat[] memory table) internal pure {
        uint256 count = table.length;
        assembly ("memory-safe") {
            let leaf := mload(0x40)
            mstore(add(batch, LEAF), leaf)
            mstore(leaf, 0)
            mstore(add(leaf, 1), mload(add(batch, DEAL)))
            let desks := add(leaf, 0x60)
            let last := add(desks, shl(5, count))
            mstore(add(batch, DESKS), desks)
            mstore(add(batch, DESKS_END), last)
            let desk := add(desks, 0x1000)
            // Past all calldata there are zeros.
            calldatacopy(desks, calldatasize(), 0x1000)
            mstore(0x40, add(desk, mul(count, DESK_BYTES)))
            let seats := add(table, 0x20)
            for {} lt(desks, last) { desks := add(desks, 0x20) } {
                mstore(desks, desk)
                let seat := mload(seats)
                seats := add(seats, 0x20)
                let worker := shl(96, mload(seat))
                let opens := mload(add(seat, 0x60))
                mstore(desk, mload(add(seat, 0x40)))
                mstore(add(desk, 64), worker)
                mstore(add(desk, 192), worker)
                mstore(add(desk, 256), add(opens, and(opens, iszero(iszero(mload(add(seat, 0x20)))))))
                mstore(add(desk, 288), mload(add(seat, 0x80)))
                mstore(add(desk, 320), mload(add(seat, 0xa0)))
                mstore(add(desk, 352), 0)
                desk := add(desk, DESK_BYTES)
            }
        }
    }

    /// @notice Adds to the seats what the loop has paid at their desks.
    function clear(Batch memory batch, Seat[] memory table) internal pure {
        assembly ("memory-safe") {
            let desks := mload(add(batch, DESKS))
            let last := mload(add(batch, DESKS_END))
            let seats := add(table, 0x20)
            for {} lt(desks, last) { desks := add(desks, 0x20) } {
                let seat := mload(seats)
                seats := add(seats, 0x20)
                let earned := mload(add(mload(desks), 352))
                mstore(add(seat, 0xc0), add(mload(add(seat, 0xc0)), and(earned, sub(shl(128, 1), 1))))
                mstore(add(seat, 0xe0), add(mload(add(seat, 0xe0)), shr(128, earned)))
            }
        }
    }

    /// @notice Hashes the task at `at` of calldata, notes its leaf with its place, and puts its pairs on the scales.
    /// @return next where the next task begins; zero, and nothing has happened, if this one is not the next of the word
    /// in hand, or anything is wrong with it
    function weigh(Batch memory batch, uint256 at) internal pure returns (uint256 next) {
        assembly ("memory-safe") {
            let until := byte(31, calldataload(add(at, 5)))
            next := lt(sub(until, 1), 64)
            until := add(add(at, 37), until)
            {
                let offset := sub(shr(224, calldataload(at)), mload(batch))
                let rest := mload(add(batch, REST))
                next := and(next, and(lt(offset, 104), eq(shl(offset, 1), and(rest, sub(0, rest)))))
            }
            // Of 0 pairs one less is more than any. `until` is beyond the end also where the task's head is.
            next := and(next, iszero(gt(until, mload(add(batch, END)))))
            next := and(next, lt(mload(add(batch, PLACE_AT)), mload(add(batch, PLACES_END))))
            next := and(next, iszero(iszero(calldataload(add(at, 4)))))
            if next {
                // The task's id, and the digest, wait in scratch space.
                mstore(0x00, mload(add(batch, DEAL)))
                mstore(0x20, shr(224, calldataload(at)))
                mstore(0x00, keccak256(0x00, 0x40))
                mstore(0x20, calldataload(add(at, 4)))
                mstore(add(batch, DISSENT), 1)
                next := until
                let chain := 0
                let group := 1
                let tally := 0
                let pair := add(at, 37)
                let left := sub(until, pair)
                let desks := mload(add(batch, DESKS))
                let previous := 0
                for {} left { left := sub(left, 1) } {
                    let desk := mload(add(desks, shl(5, and(byte(0, calldataload(pair)), 0x7f))))
                    // Desks rise as ranks do; past the table there are none.
                    if iszero(gt(desk, previous)) { break }
                    previous := desk
                    let standing := 0
                    switch shr(255, calldataload(pair))
                    case 0 {
                        mstore(add(desk, 212), calldataload(next))
                        next := add(next, 0x20)
                        if gt(next, mload(add(batch, END))) { break }
                    }
                    default {
                        standing := mload(add(desk, 256))
                        if iszero(standing) { break }
                        mstore(add(desk, 32), mload(0x00))
                        mstore(add(desk, 84), mload(0x20))
                        mstore(add(desk, 116), keccak256(desk, 64))
                        mstore(add(desk, 212), keccak256(add(desk, 32), 116))
                    }
                    mstore(add(desk, 160), chain)
                    chain := keccak256(add(desk, 160), 84)
                    tally := add(tally, mload(add(desk, 320)))
                    // A weight is below 2^31, and a product stops at 2^160 (`Weighing.HEAVIEST`).
                    switch standing
                    case 2 {
                        tally := add(tally, 0x100000000000000000000000000000000)
                        group := mul(group, mload(add(desk, 288)))
                        if shr(160, group) { group := shl(160, 1) }
                    }
                    default {
                        mstore(add(batch, DISSENT), mul(mload(add(batch, DISSENT)), mload(add(desk, 288))))
                        if shr(160, mload(add(batch, DISSENT))) { mstore(add(batch, DISSENT), shl(160, 1)) }
                    }
                    pair := add(pair, 1)
                }
                switch left
                case 0 {
                    mstore(add(batch, GROUP), group)
                    mstore(add(batch, TOTAL), and(tally, 0xffffffffffffffffffffffffffffffff))
                    mstore(add(batch, OPENED), shr(128, tally))
                    mstore(add(batch, BEFORE), at)
                    if gt(next, until) {
                        mstore(add(batch, UNOPENED), add(mload(add(batch, UNOPENED)), shr(5, sub(next, until))))
                    }
                    {
                        let rest := mload(add(batch, REST))
                        mstore(add(batch, BIT), and(rest, sub(0, rest)))
                        mstore(add(batch, REST), and(rest, sub(rest, 1)))
                    }
                    {
                        let leaf := mload(add(batch, LEAF))
                        // The chain overwrites all but the index.
                        mstore(add(leaf, 33), calldataload(at))
                        mstore(add(leaf, 37), chain)
                        chain := keccak256(leaf, 69)
                    }
                    let placeAt := mload(add(batch, PLACE_AT))
                    mstore(add(placeAt, mload(add(batch, TO_LEAF))), chain)
                    mstore(add(batch, PLACE_AT), add(placeAt, 0x20))
                    chain := add(mload(add(batch, PLACE)), 1)
                    mstore(add(batch, PLACE), chain)
                    mstore(placeAt, chain)
                }
                default { next := 0 }
            }
        }
    }

    /// @notice Ends the task at `at`, which `weigh` has in hand, if it is open and those that opened outweigh the others
    /// as far as the deal's trust asks; copies it for the event. Shares its pot, unless some pair is not paid.
    /// @return partly whether the task has ended, and its pot is still to be shared
    function end(Batch memory batch, uint256 at) internal pure returns (bool partly) {
        assembly ("memory-safe") {
            let pairs := byte(31, calldataload(add(at, 5)))
            let opened := mload(add(batch, OPENED))
            partly := lt(opened, pairs)
            let ends := 0
            {
                let trust := mload(add(batch, TRUST))
                // As `Weighing.suffices`, where a product of none is zero.
                let group := mul(mload(add(batch, GROUP)), iszero(iszero(opened)))
                let others := add(add(group, 1), mul(mload(add(batch, DISSENT)), partly))
                let bit := mload(add(batch, BIT))
                let ended := mload(add(batch, ENDED))
                if gt(mul(group, trust), mul(others, sub(trust, 1))) { ends := iszero(and(ended, bit)) }
                if ends { mstore(add(batch, ENDED), or(ended, bit)) }
            }
            if iszero(ends) { partly := 0 }
            if ends {
                {
                    let told := mload(add(batch, TOLD_AT))
                    calldatacopy(told, at, add(pairs, 37))
                    mstore(add(batch, TOLD_AT), add(told, add(pairs, 37)))
                }
                let slot := batch
                let scored := 0
                switch lt(calldataload(add(at, 4)), 0x100)
                case 0 { if gt(opened, 1) { scored := shl(128, 1) } }
                // What is kept of failures comes after what is kept of results.
                default { slot := add(batch, 0x20) }
                mstore(add(slot, DONE), add(mload(add(slot, DONE)), 1))
                if iszero(partly) {
                    let pot := mload(add(slot, POT))
                    let total := mload(add(batch, TOTAL))
                    let parts := mload(add(batch, PARTS))
                    let desks := mload(add(batch, DESKS))
                    at := add(at, 37)
                    for { let left := pairs } left { left := sub(left, 1) } {
                        let desk := mload(add(desks, shl(5, and(byte(0, calldataload(at)), 0x7f))))
                        at := add(at, 1)
                        let part := div(mul(pot, mload(add(desk, 320))), total)
                        parts := add(parts, part)
                        mstore(add(desk, 352), add(mload(add(desk, 352)), add(part, scored)))
                    }
                    mstore(add(batch, PARTS), parts)
                }
            }
        }
    }
}
