// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice One account's money.
/// @dev slot 0: free (16 bytes), locked (16 bytes)
/// @param free what its holder may withdraw, bond, or pay with
/// @param locked what its open deals may still take
struct Account {
    uint128 free;
    uint128 locked;
}

/// @notice What is kept of a deal. A known deal's word is never zero.
/// @dev slot 0: open (4 bytes), claimed (1), ended (13), closed (13), 1 unused
/// @param open how many tasks have not ended
/// @param claimed whether what was open at the final deadline was claimed
/// @param ended bit i: task first + i has ended, for the first 104 tasks
/// @param closed bit i: a round has closed task first + i, for the first 104 tasks
struct Deal {
    uint32 open;
    bool claimed;
    uint104 ended;
    uint104 closed;
}

/// @notice What is kept of 104 further tasks of a deal.
/// @dev slot 0: ended (13 bytes), closed (13), 6 unused
/// @param ended bit b of word w: task first + 104 * w + b has ended
/// @param closed the same: a round has closed it
struct Word {
    uint104 ended;
    uint104 closed;
}

/// @notice What was appended to a task.
/// @dev slot 0: chain; slot 1: pairs (1 byte), 31 unused
/// @param chain the hash of its pairs' chain, those of the leaf included
/// @param pairs how many these are
struct Appends {
    bytes32 chain;
    uint8 pairs;
}

/// @notice One worker's bond in one pool.
/// @dev slot 0: owner (20 bytes), bonded (12); slot 1: unbonding (12), releaseAt (5), score (4), 11 unused
/// @param owner who put it up and is paid; zero: no such worker
/// @param bonded what covers deals
/// @param unbonding what is on its way back to the owner
/// @param releaseAt when that may be withdrawn
/// @param score the worker's record in this pool
struct Bond {
    address owner;
    uint96 bonded;
    uint96 unbonding;
    uint40 releaseAt;
    uint32 score;
}

/// @notice What is kept of an account that signs orders.
/// @dev slot 0: epoch (8 bytes), cancels (1), 23 unused
/// @param epoch orders of an earlier one are cancelled
/// @param cancels whether it has ever cancelled a single order: only then does a match look for that
struct Signer {
    uint64 epoch;
    bool cancels;
}

/// @notice What an account has said on chain of one order.
enum Stance {
    None,
    Approved,
    Cancelled
}
