// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {Hooked} from "../support/Hooked.sol";
import {HookToken, Somebody} from "../support/Tokens.sol";

/// @notice Attacks with several calls in one. Nothing comes of it that its calls alone would not give.
contract AttacksWithMulticalls is Hooked {
    function test_NestedCallsAreStillTheSendersOwn() public {
        // Ever deeper, and in the end a withdrawal of somebody else's money.
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(berth.withdraw, (stranger, 1));
        for (uint256 i = 0; i < 5; i++) {
            bytes[] memory outer = new bytes[](1);
            outer[0] = abi.encodeCall(berth.multicall, (calls));
            calls = outer;
        }
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, stranger, 0, 1));
        vm.prank(stranger);
        berth.multicall(calls);
    }

    function test_NestedCallsPayOnce() public {
        _fund(stranger, 100);
        bytes[] memory twice = new bytes[](2);
        (twice[0], twice[1]) =
        (abi.encodeCall(berth.withdraw, (stranger, 60)), abi.encodeCall(berth.withdraw, (stranger, 60)));
        bytes[] memory outer = new bytes[](1);
        outer[0] = abi.encodeCall(berth.multicall, (twice));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, stranger, 40, 60));
        vm.prank(stranger);
        berth.multicall(outer);
        twice[1] = abi.encodeCall(berth.withdraw, (stranger, 40));
        outer[0] = abi.encodeCall(berth.multicall, (twice));
        vm.prank(stranger);
        berth.multicall(outer);
        assertEq(token.balanceOf(stranger), 100);
        assertEq(_free(stranger), 0);
    }

    function test_NoEtherIsCountedTwice() public {
        // Nothing takes any, so there is nothing to count.
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(berth.token, ());
        calls[1] = calls[0];
        vm.deal(address(this), 1);
        (bool ok,) = address(berth).call{value: 1}(abi.encodeCall(berth.multicall, (calls)));
        assertFalse(ok);
    }

    function test_ADepositReenteredThroughSeveralCallsIsNotCountedTwice() public {
        (HookToken hooks, IBerth other, Somebody thief) = _hooked();
        bytes[] memory inner = new bytes[](1);
        inner[0] = abi.encodeCall(other.deposit, (50));
        bytes memory call_ = abi.encodeCall(other.multicall, (inner));
        hooks.arm(address(thief), abi.encodeCall(Somebody.act, (address(other), call_)));
        inner[0] = abi.encodeCall(other.deposit, (100));
        thief.act(address(other), abi.encodeCall(other.multicall, (inner)));
        _expectLocked(hooks);
        (uint256 free,) = other.account(address(thief));
        assertEq(free, 100);
        assertEq(hooks.balanceOf(address(other)), 100);
    }

    function test_AWithdrawalReenteredThroughSeveralCallsPaysOnce() public {
        (HookToken hooks, IBerth other, Somebody thief) = _hookedWithMoney();
        bytes[] memory inner = new bytes[](1);
        inner[0] = abi.encodeCall(other.withdraw, (address(thief), 100));
        bytes memory call_ = abi.encodeCall(other.multicall, (inner));
        hooks.arm(address(thief), abi.encodeCall(Somebody.act, (address(other), call_)));
        thief.act(address(other), call_);
        _expectPaidOnce(hooks, other, thief);
    }

    function test_TheLockIsOpenAgainForTheNextOfSeveralCalls() public {
        (HookToken hooks, IBerth other, Somebody thief) = _hooked();
        bytes[] memory calls = new bytes[](3);
        calls[0] = abi.encodeCall(other.deposit, (100));
        calls[1] = abi.encodeCall(other.deposit, (50));
        calls[2] = abi.encodeCall(other.withdraw, (address(thief), 30));
        thief.act(address(other), abi.encodeCall(other.multicall, (calls)));
        (uint256 free,) = other.account(address(thief));
        assertEq(free, 120);
        assertEq(hooks.balanceOf(address(other)), 120);
    }

    function test_RecourseCalledDirectlyTakesNobodysMoney() public {
        // It knows no token: whoever is led there loses nothing.
        token.mint(sponsor.addr, 100);
        vm.startPrank(sponsor.addr);
        token.approve(recourse, 100);
        IBerth direct = IBerth(recourse);
        vm.expectRevert();
        direct.deposit(100);
        vm.expectRevert();
        direct.depositFor(stranger, 100);
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(direct.deposit, (100));
        vm.expectRevert();
        direct.multicall(calls);
        vm.stopPrank();
        assertEq(token.balanceOf(sponsor.addr), 100);
    }
}
