// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {POOL, AssetId} from "../../src/types/Ids.sol";
import {Orders} from "../../src/types/Orders.sol";
import {World} from "../support/World.sol";

contract Bonds is World {
    Vm.Wallet private _new;
    uint128 private constant BOND = 10 * WORKER_STAKE;

    function setUp() public override {
        super.setUp();
        _new = vm.createWallet("new worker");
    }

    // bond

    function test_RevertWhen_ThePoolIsNone() public {
        bytes memory enlistment = _signEnlistment(_new, app, workerOwner);
        vm.startPrank(workerOwner);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_WrongKind.selector, app, POOL));
        berth.bond(app, _new.addr, 1, enlistment);
        AssetId nobodys = AssetId.wrap(bytes32(uint256(0xbeef00 + POOL)));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownAsset.selector, nobodys));
        berth.bond(nobodys, _new.addr, 1, enlistment);
    }

    function test_RevertWhen_TheWorkerDidNotSignForThisOwnerAndPool() public {
        AssetId other = _register(POOL, stranger, "other");
        bytes[3] memory wrong = [
            _signEnlistment(_new, pool, stranger),
            _signEnlistment(_new, other, workerOwner),
            _signEnlistment(worker, pool, workerOwner)
        ];
        bytes memory refusal = abi.encodeWithSelector(
            IBerthBase.Berth_BadSignature.selector, _new.addr, _enlistmentDigest(pool, workerOwner)
        );
        for (uint256 i = 0; i < wrong.length; i++) {
            vm.expectRevert(refusal);
            vm.prank(workerOwner);
            berth.bond(pool, _new.addr, 1, wrong[i]);
        }
    }

    function test_RevertWhen_TheWorkerIsTheZeroAddress() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IBerthBase.Berth_BadSignature.selector, address(0), _enlistmentDigest(pool, workerOwner)
            )
        );
        vm.prank(workerOwner);
        berth.bond(pool, address(0), 1, new bytes(65));
    }

    function test_RevertGiven_TheWorkerHasAnotherOwner() public {
        bytes memory enlistment = _signEnlistment(worker, pool, stranger);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotBondOwner.selector, stranger, workerOwner));
        vm.prank(stranger);
        berth.bond(pool, worker.addr, 0, enlistment);
    }

    function test_RevertGiven_TheOwnerHasTooLittleFree() public {
        uint256 free = _free(workerOwner);
        uint128 amount = uint128(free) + 1;
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BondTooLarge.selector, amount + BOND));
        vm.prank(workerOwner);
        berth.bond(pool, worker.addr, amount, "");

        bytes memory enlistment = _signEnlistment(_new, pool, sponsor.addr);
        _fund(sponsor.addr, 9);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, sponsor.addr, 9, 10));
        vm.prank(sponsor.addr);
        berth.bond(pool, _new.addr, 10, enlistment);
    }

    function test_RevertWhen_TheBondIsWiderThanItsSlot() public {
        vm.startPrank(workerOwner);
        berth.unbond(pool, worker.addr, BOND / 2);
        uint128 amount = uint128(type(uint96).max) - BOND;
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BondTooLarge.selector, uint256(type(uint96).max) + 1));
        berth.bond(pool, worker.addr, amount + 1, "");
        berth.bond(pool, worker.addr, amount, "");
        berth.unbond(pool, worker.addr, uint128(type(uint96).max) - BOND / 2);
        (, uint128 bonded, uint128 unbonding,,) = berth.bondOf(pool, worker.addr);
        assertEq(bonded, 0);
        assertEq(unbonding, type(uint96).max);
    }

    function test_WhenFirstBondedTheWorkerIsEnlisted() public {
        bytes memory enlistment = _signEnlistment(_new, pool, workerOwner);
        uint256 free = _free(workerOwner);
        _expectEvent();
        emit IBerthBase.WorkerEnlisted(pool, _new.addr, workerOwner);
        _expectEvent();
        emit IBerthBase.Bonded(pool, _new.addr, 5);
        vm.prank(workerOwner);
        berth.bond(pool, _new.addr, 5, enlistment);
        _expectBond(_new.addr, workerOwner, 5, 0, 0);
        assertEq(_free(workerOwner), free - 5);
    }

    function test_WhenBondedAgainNoSignatureIsNeeded() public {
        _expectEvent();
        emit IBerthBase.Bonded(pool, worker.addr, 7);
        vm.prank(workerOwner);
        berth.bond(pool, worker.addr, 7, "");
        _expectBond(worker.addr, workerOwner, BOND + 7, 0, 0);
    }

    function test_WhenAWorkerServesTwoPoolsItHasTwoBonds() public {
        AssetId other = _register(POOL, stranger, "other");
        bytes memory enlistment = _signEnlistment(worker, other, sponsor.addr);
        vm.prank(sponsor.addr);
        berth.bond(other, worker.addr, 0, enlistment);
        (address owner,,,,) = berth.bondOf(other, worker.addr);
        assertEq(owner, sponsor.addr);
        _expectBond(worker.addr, workerOwner, BOND, 0, 0);
    }

    // unbond

    function test_RevertWhen_AnotherThanTheOwnerUnbonds() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotBondOwner.selector, worker.addr, workerOwner));
        vm.prank(worker.addr);
        berth.unbond(pool, worker.addr, 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotBondOwner.selector, workerOwner, address(0)));
        vm.prank(workerOwner);
        berth.unbond(pool, _new.addr, 0);
    }

    function test_RevertWhen_MoreIsUnbondedThanThereIs() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BondTooSmall.selector, BOND, BOND + 1));
        vm.prank(workerOwner);
        berth.unbond(pool, worker.addr, BOND + 1);
    }

    function test_WhenUnbondedItIsHeldForTheLongestDeal() public {
        uint64 releaseAt = uint64(block.timestamp) + MAX_SPAN + 12 * uint64(MAX_DURATION) + 1;
        _expectEvent();
        emit IBerthBase.Unbonded(pool, worker.addr, 3, releaseAt);
        vm.prank(workerOwner);
        berth.unbond(pool, worker.addr, 3);
        _expectBond(worker.addr, workerOwner, BOND - 3, 3, releaseAt);
    }

    function test_WhenUnbondedAgainAllOfItIsPutOff() public {
        vm.startPrank(workerOwner);
        berth.unbond(pool, worker.addr, 3);
        vm.warp(block.timestamp + 1000);
        berth.unbond(pool, worker.addr, 4);
        _expectBond(worker.addr, workerOwner, BOND - 7, 7, uint64(block.timestamp) + berth.unbondDelay());
    }

    // withdrawBond

    function test_RevertWhen_AnotherThanTheOwnerWithdraws() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotBondOwner.selector, worker.addr, workerOwner));
        vm.prank(worker.addr);
        berth.withdrawBond(pool, worker.addr);
    }

    function test_RevertGiven_NothingIsUnbonding() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingUnbonding.selector, pool, worker.addr));
        vm.prank(workerOwner);
        berth.withdrawBond(pool, worker.addr);
    }

    function test_RevertGiven_TheBondIsNotReleased() public {
        vm.startPrank(workerOwner);
        berth.unbond(pool, worker.addr, 3);
        uint256 releaseAt = block.timestamp + berth.unbondDelay();
        vm.warp(releaseAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BondHeld.selector, releaseAt));
        berth.withdrawBond(pool, worker.addr);
        vm.warp(releaseAt);
        berth.withdrawBond(pool, worker.addr);
    }

    function test_WhenReleasedItIsFree() public {
        uint256 free = _free(workerOwner);
        vm.startPrank(workerOwner);
        berth.unbond(pool, worker.addr, 3);
        vm.warp(block.timestamp + berth.unbondDelay());
        _expectEvent();
        emit IBerthBase.BondWithdrawn(pool, worker.addr, 3);
        berth.withdrawBond(pool, worker.addr);
        assertEq(_free(workerOwner), free + 3);
        (address owner, uint128 bonded, uint128 unbonding,,) = berth.bondOf(pool, worker.addr);
        assertEq(owner, workerOwner);
        assertEq(bonded, BOND - 3);
        assertEq(unbonding, 0);
    }

    // covers

    function test_WhenBondedEnoughItCovers() public {
        DealTerms memory terms = _stakedDeal(BOND);
        assertTrue(berth.covers(terms, worker.addr));
        terms.workerStake++;
        assertFalse(berth.covers(terms, worker.addr));
        assertFalse(berth.covers(terms, _new.addr));
        terms.workerStake = 0;
        assertFalse(berth.covers(terms, _new.addr));
    }

    function test_WhenUnbondingItCoversDealsThatAreOverBeforeTheRelease() public {
        vm.prank(workerOwner);
        berth.unbond(pool, worker.addr, BOND);
        uint256 releaseAt = block.timestamp + berth.unbondDelay();
        DealTerms memory terms = _stakedDeal(BOND);
        assertTrue(berth.covers(terms, worker.addr));

        terms.start = uint64(releaseAt - 12 * T - _span(terms));
        assertEq(_after(terms, 12), releaseAt);
        assertFalse(berth.covers(terms, worker.addr));
        terms.start--;
        assertTrue(berth.covers(terms, worker.addr));
    }

    function test_WhenUnbondedDuringTheLongestDealItCoversToTheLast() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.workerStake = BOND;
        orders.pool.parallel = 1;
        orders.request.duration = MAX_DURATION;
        orders.request.volume = uint32(MAX_SPAN / MAX_DURATION);
        DealTerms memory terms = _matched(orders);
        vm.prank(workerOwner);
        berth.unbond(pool, worker.addr, BOND);
        assertTrue(berth.covers(terms, worker.addr));
        (,,, uint64 releaseAt,) = berth.bondOf(pool, worker.addr);
        assertEq(releaseAt, _after(terms, 12) + 1);
    }

    function _stakedDeal(uint128 stake) private returns (DealTerms memory) {
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.workerStake = stake;
        return _matched(orders);
    }

    function _expectBond(address worker_, address owner, uint128 bonded, uint128 unbonding, uint64 releaseAt)
        private
        view
    {
        (address keptOwner, uint128 keptBonded, uint128 keptUnbonding, uint64 keptRelease, uint32 score) =
            berth.bondOf(pool, worker_);
        assertEq(keptOwner, owner);
        assertEq(keptBonded, bonded);
        assertEq(keptUnbonding, unbonding);
        assertEq(keptRelease, releaseAt);
        assertEq(score, 0);
    }
}
