// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Vm} from "forge-std/Vm.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {FeeToken} from "../support/Tokens.sol";
import {World} from "../support/World.sol";

contract Deposit is World {
    uint256 private constant AMOUNT = 12_345;

    function setUp() public override {
        super.setUp();
        token.mint(sponsor.addr, AMOUNT);
    }

    // deposit

    function test_RevertGiven_NoAllowance() public {
        vm.expectRevert(_noAllowance());
        vm.prank(sponsor.addr);
        berth.deposit(AMOUNT);
    }

    function test_RevertWhen_TheContractWouldHoldMoreThan128Bits() public {
        uint256 held = token.balanceOf(address(berth));
        uint256 amount = type(uint128).max - held + 1;
        token.mint(stranger, amount);
        vm.startPrank(stranger);
        token.approve(address(berth), amount);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_HeldTooLarge.selector, held + amount));
        berth.deposit(amount);

        berth.deposit(amount - 1);
        assertEq(_free(stranger), amount - 1);
    }

    function test_WhenDepositedItIsFree() public {
        vm.startPrank(sponsor.addr);
        token.approve(address(berth), AMOUNT);
        _expectEvent();
        emit IBerthBase.Deposited(sponsor.addr, sponsor.addr, AMOUNT);
        berth.deposit(AMOUNT);
        assertEq(_free(sponsor.addr), AMOUNT);
        assertEq(_locked(sponsor.addr), 0);
        assertEq(token.balanceOf(sponsor.addr), 0);
    }

    function test_WhenTheTokenKeepsAFeeWhatArrivedIsFree() public {
        FeeToken fees = new FeeToken();
        (, IBerth other) = _deploy(fees, assets);
        fees.mint(stranger, 10_000);
        vm.startPrank(stranger);
        fees.approve(address(other), 10_000);
        vm.expectEmit(address(other));
        emit IBerthBase.Deposited(stranger, stranger, 9_900);
        other.deposit(10_000);
        (uint256 free,) = other.account(stranger);
        assertEq(free, 9_900);
        assertEq(fees.balanceOf(address(other)), 9_900);
    }

    // depositFor

    function test_RevertWhen_DepositedForNobody() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadRecipient.selector, address(0)));
        berth.depositFor(address(0), AMOUNT);
    }

    function test_WhenDepositedForAnotherTheSenderPays() public {
        vm.startPrank(sponsor.addr);
        token.approve(address(berth), AMOUNT);
        _expectEvent();
        emit IBerthBase.Deposited(stranger, sponsor.addr, AMOUNT);
        berth.depositFor(stranger, AMOUNT);
        assertEq(_free(stranger), AMOUNT);
        assertEq(_free(sponsor.addr), 0);
        assertEq(token.balanceOf(sponsor.addr), 0);
    }

    // depositWithPermit

    function test_RevertGiven_TheTokenRefusesThePermitAndThereIsNoAllowance() public {
        vm.expectRevert(_noAllowance());
        vm.prank(sponsor.addr);
        berth.depositWithPermit(AMOUNT, block.timestamp, 27, bytes32(uint256(1)), bytes32(uint256(1)));
    }

    function test_RevertWhen_ThePermitIsOfAnother() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(sponsor, AMOUNT);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(berth), 0, AMOUNT)
        );
        vm.prank(stranger);
        berth.depositWithPermit(AMOUNT, block.timestamp, v, r, s);
    }

    function test_WhenPermittedNoApprovalIsNeeded() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(sponsor, AMOUNT);
        _expectEvent();
        emit IBerthBase.Deposited(sponsor.addr, sponsor.addr, AMOUNT);
        vm.prank(sponsor.addr);
        berth.depositWithPermit(AMOUNT, block.timestamp, v, r, s);
        assertEq(_free(sponsor.addr), AMOUNT);
        assertEq(token.allowance(sponsor.addr, address(berth)), 0);
    }

    function _permit(Vm.Wallet memory holder, uint256 amount) private returns (uint8, bytes32, bytes32) {
        bytes32 structHash = vm.eip712HashStruct(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
            abi.encode(holder.addr, address(berth), amount, token.nonces(holder.addr), block.timestamp)
        );
        return vm.sign(holder, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function _noAllowance() private view returns (bytes memory) {
        return abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(berth), 0, AMOUNT);
    }
}
