// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealTerms} from "./Deals.sol";
import {DealId} from "./Ids.sol";

/// @notice Some of 104 tasks of a deal: bit b of word w is the task of offset 104 * w + b.
struct WordBits {
    uint32 word;
    uint104 bits;
}

/// @notice What a round closes of one deal.
/// @param words with rising word numbers
struct Closing {
    DealTerms terms;
    WordBits[] words;
}

/// @notice As `WordBits`, of a deal named by its id.
struct ClosedWord {
    DealId deal;
    uint32 word;
    uint104 bits;
}

/// @notice A closed round, as its event tells it. Its id is keccak256(abi.encode(operator, root, closed)).
struct Round {
    bytes32 root;
    ClosedWord[] closed;
}

/// @notice A worker's hidden answer.
struct Pair {
    address worker;
    bytes32 commitment;
}

/// @notice A worker in the table of a batch.
/// @param seed what its commitments of this round are salted with
/// @param signature the worker's, over Reveal(root, seed); empty if it opens nothing
struct Reveal {
    address worker;
    bytes32 seed;
    bytes signature;
}

/// @notice A pair in the settlement of one task.
/// @param commitment looked at only if the pair does not open
/// @param seed what the commitment is salted with
/// @param signature the worker's, over Reveal(root, seed) for a pair of the leaf, over Reveal(chain, seed) for an
/// appended one, with the chain hash that ends in it; empty if it does not open
struct Contribution {
    address worker;
    bytes32 commitment;
    bytes32 seed;
    bytes signature;
}

/// @notice What opens a pair that a settlement left out.
/// @param entry its place in the record
/// @param salt keccak256(seed, task)
struct Opening {
    uint8 entry;
    bytes32 salt;
}

/// @notice What shows that a worker made a pair that nobody opened.
/// @param entry its place in the record
/// @param signature the worker's, over Commitment(task, commitment)
struct Evidence {
    uint8 entry;
    bytes signature;
}
