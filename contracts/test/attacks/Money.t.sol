// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {Hooked} from "../support/Hooked.sol";
import {HookToken, Somebody} from "../support/Tokens.sol";

/// @notice Attacks on accounts and on the token. In each of them the attacker gets nothing.
contract AttacksOnMoney is Hooked {
    function test_AStrayAllowanceIsNotDepositedByAnother() public {
        // Whoever leaves an allowance open finds its money where it was: only the sender's own is ever pulled.
        token.mint(sponsor.addr, 100);
        vm.prank(sponsor.addr);
        token.approve(address(berth), type(uint256).max);
        bytes memory refusal =
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(berth), 0, 100);
        vm.startPrank(stranger);
        vm.expectRevert(refusal);
        berth.deposit(100);
        vm.expectRevert(refusal);
        berth.depositFor(sponsor.addr, 100);
        vm.expectRevert(refusal);
        berth.depositWithPermit(100, block.timestamp, 27, bytes32("r"), bytes32("s"));
        assertEq(token.balanceOf(sponsor.addr), 100);
    }

    function test_APermitFromTheMempoolHelpsNobodyButItsSigner() public {
        token.mint(sponsor.addr, 100);
        bytes32 structHash = vm.eip712HashStruct(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
            abi.encode(sponsor.addr, address(berth), 100, 0, block.timestamp)
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(sponsor, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));

        // The attacker tries to deposit with it, and then just uses it up.
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(berth), 0, 100)
        );
        vm.prank(stranger);
        berth.depositWithPermit(100, block.timestamp, v, r, s);
        vm.prank(stranger);
        token.permit(sponsor.addr, address(berth), 100, block.timestamp, v, r, s);

        vm.prank(sponsor.addr);
        berth.depositWithPermit(100, block.timestamp, v, r, s);
        assertEq(_free(sponsor.addr), 100);
    }

    function test_ADepositReenteredFromTheTokenIsNotCountedTwice() public {
        (HookToken hooks, IBerth other, Somebody thief) = _hooked();
        // In the middle of a deposit of 100 the attacker deposits 50: the outer one would count 150.
        hooks.arm(address(thief), abi.encodeCall(Somebody.act, (address(other), abi.encodeCall(other.deposit, (50)))));
        thief.act(address(other), abi.encodeCall(other.deposit, (100)));
        _expectLocked(hooks);
        (uint256 free,) = other.account(address(thief));
        assertEq(free, 100);
        assertEq(hooks.balanceOf(address(other)), 100);
    }

    function test_AWithdrawalReenteredFromTheTokenPaysOnce() public {
        (HookToken hooks, IBerth other, Somebody thief) = _hookedWithMoney();
        bytes memory withdrawal = abi.encodeCall(other.withdraw, (address(thief), 100));
        hooks.arm(address(thief), abi.encodeCall(Somebody.act, (address(other), withdrawal)));
        thief.act(address(other), withdrawal);
        _expectPaidOnce(hooks, other, thief);
    }

    function test_AWithdrawalInADepositCountsNothingTwice() public {
        (HookToken hooks, IBerth other, Somebody thief) = _hooked();
        thief.act(address(other), abi.encodeCall(other.deposit, (100)));
        bytes memory withdrawal = abi.encodeCall(other.withdraw, (address(thief), 100));
        hooks.arm(address(thief), abi.encodeCall(Somebody.act, (address(other), withdrawal)));
        thief.act(address(other), abi.encodeCall(other.deposit, (10)));
        _expectLocked(hooks);
        (uint256 free,) = other.account(address(thief));
        assertEq(free, 110);
        assertEq(hooks.balanceOf(address(other)), 110);
    }

    function test_WhatMayBeEnteredFromTheTokenMovesNoMoreThanOutsideOfIt() public {
        // The slow path is open during a deposit, and sees accounts as they were before it.
        (HookToken hooks, IBerth other, Somebody thief) = _hooked();
        hooks.arm(address(thief), abi.encodeCall(Somebody.act, (address(other), abi.encodeCall(other.raiseEpoch, (1)))));
        thief.act(address(other), abi.encodeCall(other.deposit, (100)));
        assertTrue(hooks.succeeded());
        assertEq(other.epochOf(address(thief)), 1);
        (uint256 free,) = other.account(address(thief));
        assertEq(free, 100);
    }

    function test_WhatIsLockedOrBondedIsNotWithdrawn() public {
        DealTerms memory terms = _deal(1);
        uint256 free = _free(requester.addr);
        vm.startPrank(requester.addr);
        vm.expectPartialRevert(IBerthBase.Berth_FreeTooSmall.selector);
        berth.withdraw(requester.addr, free + 1);
        vm.stopPrank();
        uint256 ownerFree = _free(workerOwner);
        vm.prank(workerOwner);
        vm.expectPartialRevert(IBerthBase.Berth_FreeTooSmall.selector);
        berth.withdraw(workerOwner, ownerFree + 1);
        _settle(terms, 0, 1);
    }

    function test_WhatIsBurntIsNobodys() public {
        DealTerms memory terms = _deal(3);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        // Everybody takes out everything that is his; the stakes stay.
        address[3] memory holders = [requester.addr, poolOwner.addr, workerOwner];
        for (uint256 i = 0; i < holders.length; i++) {
            uint256 free = _free(holders[i]);
            vm.prank(holders[i]);
            berth.withdraw(holders[i], free);
        }
        assertEq(token.balanceOf(address(berth)), 3 * POOL_STAKE + 10 * WORKER_STAKE);
    }

    function test_TokensThatWereSentAlongAreNobodys() public {
        token.mint(address(berth), 1000);
        assertEq(_free(address(berth)), 0);
        token.mint(stranger, 10);
        vm.startPrank(stranger);
        token.approve(address(berth), 10);
        berth.deposit(10);
        assertEq(_free(stranger), 10);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, stranger, 10, 11));
        berth.withdraw(stranger, 11);
    }
}
