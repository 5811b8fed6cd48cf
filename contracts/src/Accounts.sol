// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IBerthDirect, IRecourse} from "./interfaces/IBerth.sol";
import {Account} from "./types/Storage.sol";

/// @notice Money in and out, and several calls as one.
/// @dev Reentrancy. The token is called in deposits and withdrawals only. Those are under one lock, since a deposit
/// counts what arrives while the token runs. All else may be entered from the token: at that time nothing is half
/// done, for a deposit has changed nothing yet and a withdrawal everything. The lock is taken by each of several calls
/// on its own, and a call that comes from the token, alone or among several, meets it.
abstract contract Accounts is BerthStorage, IRecourse, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @inheritdoc IRecourse
    function deposit(uint256 amount) external {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IRecourse
    function depositFor(address account_, uint256 amount) external {
        require(account_ != address(0), Berth_BadRecipient(account_));
        _deposit(account_, amount);
    }

    /// @inheritdoc IRecourse
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // A permit that was shown to the token before fails here, and has left the allowance.
        // The token may call back here: nothing has changed yet, and `_deposit` counts under its lock.
        // slither-disable-next-line unused-return,reentrancy-benign,reentrancy-events
        try IERC20Permit(address(_token())).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IRecourse
    function withdraw(address to, uint256 amount) external nonReentrant {
        require(to != address(0) && to != address(this), Berth_BadRecipient(to));
        _debit(msg.sender, amount);
        emit Withdrawn(msg.sender, to, amount);
        _token().safeTransfer(to, amount);
    }

    /// @inheritdoc IRecourse
    function multicall(bytes[] calldata calls) external returns (bytes[] memory results) {
        results = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            // Of this contract on itself: the sender stays who it is, no call can bring ether, and each does what it
            // would do alone.
            // slither-disable-next-line delegatecall-loop,calls-loop
            results[i] = Address.functionDelegateCall(address(this), calls[i]);
        }
    }

    /// @inheritdoc IRecourse
    function account(address holder) external view returns (uint128 free, uint128 locked) {
        Account memory held = _accounts[holder];
        return (held.free, held.locked);
    }

    /// @dev Pulls from the sender, and credits what arrived.
    function _deposit(address holder, uint256 amount) private nonReentrant {
        IERC20 token = _token();
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 held = token.balanceOf(address(this));
        // Keeps the sum of all accounts and bonds within 128 bits.
        require(held <= type(uint128).max, Berth_HeldTooLarge(held));
        _credit(holder, held - before);
        emit Deposited(holder, msg.sender, held - before);
    }

    /// @dev The token is Berth's to name, in whose name this runs. Called directly there is nobody to ask, so nobody
    /// ever loses money to Recourse itself.
    function _token() private view returns (IERC20) {
        return IERC20(IBerthDirect(address(this)).token());
    }
}
