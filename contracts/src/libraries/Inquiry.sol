// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Asks a contract that somebody named in an order, and that may be anything.
library Inquiry {
    /// @dev The most gas that an answer may take: what a wallet of nested signers with a curve of its own needs, and far
    /// below a block. Whoever sends less than that makes only its own call fail.
    uint256 internal constant MOST_GAS = 1_000_000;

    /// @notice Whether the contract answers with exactly one word, which is this selector.
    /// @dev A staticcall, in which nothing can be changed. An address without code, a revert, more gas than the most,
    /// and any other answer are a no. Of the answer no more than one word is copied, however long it is: copying all of
    /// it, as Solidity does, would let it make the asker pay for memory (ADR 0001, section 7).
    function affirms(address asked, bytes memory question, bytes4 selector) internal view returns (bool yes) {
        assembly ("memory-safe") {
            let answered := staticcall(MOST_GAS, asked, add(question, 0x20), mload(question), 0x00, 0x20)
            yes := and(and(answered, eq(returndatasize(), 0x20)), eq(mload(0x00), selector))
        }
    }
}
