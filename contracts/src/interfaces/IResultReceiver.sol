// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What a contract has to be to receive results: a consumer as ERC-1154 has it.
interface IResultReceiver {
    /// @notice Takes the result of a task whose deal names this contract as its callback.
    /// @dev Called by Berth, at least once the task is settled, with at least 200,000 gas. It succeeds once for each
    /// task; whenever it reverts, nothing has happened, and anybody may try again.
    ///
    /// Warning: check that the sender is Berth, and that `id` is a task that you wait for. Anybody can make a deal that
    /// names this contract, in a pool of his own that answers whatever he likes.
    /// Warning: 200,000 gas is what any sender has to leave you, not what the one at hand could afford. If you need
    /// more, or go on when a call of your own fails, ask for `gasleft()` first and revert where it does not suffice.
    /// @param id the task's id: keccak256(abi.encode(dealId, uint256(index)))
    /// @param result the bytes that the job left for the callback; empty if it left none
    function receiveResult(bytes32 id, bytes calldata result) external;
}
