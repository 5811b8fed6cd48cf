// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {DealId} from "../../src/types/Ids.sol";
import {Orders} from "../../src/types/Orders.sol";
import {World} from "../support/World.sol";

contract Multicall is World {
    uint256 private constant PRICE = APP_PRICE + DATASET_PRICE + POOL_PRICE;

    function test_WhenDepositedAndMatchedInOneTheDealIsPaidFromTheWallet() public {
        Orders memory orders = _poor();
        token.mint(sponsor.addr, PRICE);
        vm.startPrank(sponsor.addr);
        token.approve(address(berth), PRICE);
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(berth.deposit, (PRICE));
        calls[1] = abi.encodeCall(berth.matchOrders, (orders, _signAs(orders, sponsor)));
        bytes[] memory results = berth.multicall(calls);
        assertEq(results[0].length, 0);
        DealTerms memory terms = _termsOf(orders, 0, 1);
        assertEq(abi.decode(results[1], (bytes32)), DealId.unwrap(_dealId(terms)));
        assertEq(_free(sponsor.addr), 0);
        assertEq(_locked(sponsor.addr), PRICE);
    }

    function test_WhenPermittedAndMatchedInOneNotEvenAnApprovalIsNeeded() public {
        Orders memory orders = _poor();
        token.mint(sponsor.addr, PRICE);
        bytes32 structHash = vm.eip712HashStruct(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
            abi.encode(sponsor.addr, address(berth), PRICE, 0, block.timestamp)
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(sponsor, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(berth.depositWithPermit, (PRICE, block.timestamp, v, r, s));
        calls[1] = abi.encodeCall(berth.matchOrders, (orders, _signAs(orders, sponsor)));
        vm.prank(sponsor.addr);
        berth.multicall(calls);
        assertEq(_locked(sponsor.addr), PRICE);
    }

    function test_RevertWhen_OneCallRevertsAllIsUndone() public {
        token.mint(sponsor.addr, 100);
        vm.startPrank(sponsor.addr);
        token.approve(address(berth), 100);
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(berth.deposit, (100));
        calls[1] = abi.encodeCall(berth.withdraw, (sponsor.addr, 101));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, sponsor.addr, 100, 101));
        berth.multicall(calls);
        assertEq(_free(sponsor.addr), 0);
        assertEq(token.balanceOf(sponsor.addr), 100);
    }

    function test_RevertWhen_ACallIsUnknown() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeWithSignature("pause()");
        vm.expectRevert();
        berth.multicall(calls);
        calls[0] = "";
        vm.expectRevert();
        berth.multicall(calls);
    }

    function test_WhenThereIsNothingToDoNothingHappens() public {
        assertEq(berth.multicall(new bytes[](0)).length, 0);
    }

    function test_WhenCallsAreOfBothContractsBothAnswer() public {
        bytes[] memory calls = new bytes[](3);
        calls[0] = abi.encodeCall(berth.token, ());
        calls[1] = abi.encodeCall(berth.raiseEpoch, (4));
        calls[2] = abi.encodeCall(berth.epochOf, (stranger));
        vm.prank(stranger);
        bytes[] memory results = berth.multicall(calls);
        assertEq(abi.decode(results[0], (address)), address(token));
        assertEq(abi.decode(results[2], (uint64)), 4);
    }

    /// @dev Orders of the sponsor, who has nothing here.
    function _poor() private view returns (Orders memory orders) {
        orders = _orders();
        (orders.request.requester, orders.request.payer) = (sponsor.addr, sponsor.addr);
    }
}
