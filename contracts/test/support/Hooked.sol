// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IBerth} from "../../src/interfaces/IBerth.sol";
import {HookToken, Somebody} from "./Tokens.sol";
import {World} from "./World.sol";

/// @notice A world in which one may deploy with a token that calls back in the middle of a transfer.
abstract contract Hooked is World {
    /// @notice A deployment whose token calls back, and somebody with 1,000 of it and an allowance.
    function _hooked() internal returns (HookToken hooks, IBerth other, Somebody thief) {
        hooks = new HookToken();
        (, other) = _deploy(hooks, assets);
        thief = new Somebody();
        hooks.mint(address(thief), 1000);
        thief.act(address(hooks), abi.encodeCall(hooks.approve, (address(other), type(uint256).max)));
    }

    /// @notice The same with money to steal: 100 that are the thief's own, and 900 of a stranger.
    function _hookedWithMoney() internal returns (HookToken hooks, IBerth other, Somebody thief) {
        (hooks, other, thief) = _hooked();
        thief.act(address(other), abi.encodeCall(other.deposit, (100)));
        hooks.mint(stranger, 900);
        vm.startPrank(stranger);
        hooks.approve(address(other), 900);
        other.deposit(900);
        vm.stopPrank();
    }

    /// @notice The call that the token made met the lock. Somebody hands on as a string what it reverted with.
    function _expectLocked(HookToken hooks) internal view {
        assertFalse(hooks.succeeded());
        bytes memory reason = abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        assertEq(hooks.answer(), abi.encodeWithSignature("Error(string)", string(reason)));
    }

    /// @notice The thief took its own 100 out once, and the stranger's money is where it was.
    function _expectPaidOnce(HookToken hooks, IBerth other, Somebody thief) internal view {
        _expectLocked(hooks);
        assertEq(hooks.balanceOf(address(thief)), 1000);
        assertEq(hooks.balanceOf(address(other)), 900);
    }
}
