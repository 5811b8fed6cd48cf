// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {World} from "../support/World.sol";

contract Withdraw is World {
    function test_RevertWhen_ItIsMoreThanFree() public {
        _fund(sponsor.addr, 10);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, sponsor.addr, 10, 11));
        vm.prank(sponsor.addr);
        berth.withdraw(sponsor.addr, 11);
    }

    function test_RevertWhen_TheAmountIsWiderThanAnAccount() public {
        uint256 amount = uint256(1) << 128;
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, requester.addr, RICH, amount));
        vm.prank(requester.addr);
        berth.withdraw(requester.addr, amount);
    }

    function test_RevertGiven_TheMoneyIsLocked() public {
        _deal(1);
        uint256 free = RICH - APP_PRICE - POOL_PRICE;
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, requester.addr, free, free + 1));
        vm.prank(requester.addr);
        berth.withdraw(requester.addr, free + 1);
    }

    function test_RevertWhen_ItGoesToNobody() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadRecipient.selector, address(0)));
        vm.prank(requester.addr);
        berth.withdraw(address(0), 1);
    }

    function test_RevertWhen_ItGoesToTheContractItself() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadRecipient.selector, address(berth)));
        vm.prank(requester.addr);
        berth.withdraw(address(berth), 1);
    }

    function test_WhenWithdrawnItIsWhereItWasSent() public {
        _expectEvent();
        emit IBerthBase.Withdrawn(requester.addr, stranger, 100);
        vm.prank(requester.addr);
        berth.withdraw(stranger, 100);
        assertEq(token.balanceOf(stranger), 100);
        assertEq(_free(requester.addr), RICH - 100);
    }
}
