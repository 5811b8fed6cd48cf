// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {APP, AssetId} from "../../src/types/Ids.sol";
import {Orders, Signatures} from "../../src/types/Orders.sol";
import {Stance} from "../../src/types/Storage.sol";
import {Treasury, Wallet} from "../support/Wallets.sol";
import {World} from "../support/World.sol";

/// @notice The forms in which an order may be vouched for, and how that is taken back.
contract OrderSignatures is World {
    uint256 private constant CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    // Keys: 65 and 64 bytes.

    function test_WhenAllSignaturesHave64BytesTheOrdersMatch() public {
        Orders memory orders = _orders();
        Signatures memory signatures = Signatures({
            app: _short(appOwner, _digest(orders.app)),
            dataset: _short(datasetOwner, _digest(orders.dataset)),
            pool: _short(poolOwner, _digest(orders.pool)),
            request: _short(requester, _digest(orders.request))
        });
        assertEq(signatures.pool.length, 64);
        berth.matchOrders(orders, signatures);
        assertEq(_locked(requester.addr), APP_PRICE + DATASET_PRICE + POOL_PRICE);
    }

    function test_RevertWhen_A64ByteSignatureIsOfAnother() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        signatures.request = _short(sponsor, _digest(orders.request));
        _expectRefusal(orders, signatures, _bad(requester.addr, _digest(orders.request)));
    }

    function test_RevertWhen_ASignatureHasAnyOtherLength() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        bytes memory whole = bytes.concat(signatures.request, new bytes(36));
        for (uint256 length = 1; length <= whole.length; length++) {
            // The first 64 bytes of a signature may happen to be its short form.
            if (length == 65 || length == 64) continue;
            bytes memory part = new bytes(length);
            for (uint256 i = 0; i < length; i++) {
                part[i] = whole[i];
            }
            signatures.request = part;
            _expectRefusal(orders, signatures, _bad(requester.addr, _digest(orders.request)));
        }
    }

    function test_WhenItsAccountHasDelegatedToCodeAPlainSignatureStaysGood() public {
        // EIP-7702: the account now has code, which knows of no signatures at all.
        vm.signAndAttachDelegation(address(new Treasury()), requester.privateKey);
        assertGt(requester.addr.code.length, 0);
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        signatures.request = _short(requester, _digest(orders.request));
        berth.matchOrders(orders, signatures);
        orders.request.salt = "another";
        berth.matchOrders(orders, _sign(orders));
    }

    function test_WhenItsAccountHasDelegatedToAWalletThatMayVouchToo() public {
        Vm.Wallet memory device = vm.createWallet("device");
        vm.signAndAttachDelegation(address(new Wallet(device.addr)), requester.privateKey);
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        signatures.request = _signature(device, _digest(orders.request));
        berth.matchOrders(orders, signatures);
    }

    // Contracts: ERC-1271.

    function test_WhenContractsOwnEverythingTheyVouchForTheirOrders() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        _hand(app, appOwner);
        _hand(dataset, datasetOwner);
        Wallet owner = _hand(pool, poolOwner);
        _fund(address(owner), RICH);
        Wallet asking = new Wallet(requester.addr);
        _fund(address(asking), RICH);
        (orders.request.requester, orders.request.payer) = (address(asking), address(asking));
        signatures.request = _signature(requester, _digest(orders.request));
        berth.matchOrders(orders, signatures);
        assertEq(_locked(address(owner)), POOL_STAKE);
        assertEq(_locked(address(asking)), APP_PRICE + DATASET_PRICE + POOL_PRICE);
    }

    function test_RevertGiven_AContractDoesNotVouch() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        Wallet owner = _hand(app, appOwner);
        signatures.app = _signature(sponsor, _digest(orders.app));
        _expectRefusal(orders, signatures, _bad(address(owner), _digest(orders.app)));
    }

    function test_RevertGiven_AContractKnowsOfNoSignatures() public {
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        Treasury treasury = new Treasury();
        vm.prank(appOwner.addr);
        assets.transferFrom(appOwner.addr, address(treasury), app.tokenId());
        _expectRefusal(orders, signatures, _bad(address(treasury), _digest(orders.app)));
    }

    // Approval on chain.

    function test_WhenAllAreApprovedNoneNeedsASignature() public {
        Orders memory orders = _orders();
        _approve(appOwner.addr, _digest(orders.app));
        _approve(datasetOwner.addr, _digest(orders.dataset));
        _approve(poolOwner.addr, _digest(orders.pool));
        _approve(requester.addr, _digest(orders.request));
        Signatures memory none;
        berth.matchOrders(orders, none);
        assertEq(_locked(poolOwner.addr), POOL_STAKE);
    }

    function test_WhenApprovedTheEventAndTheViewTellIt() public {
        bytes32 digest = keccak256("order");
        assertEq(uint8(berth.stanceOf(stranger, digest)), uint8(Stance.None));
        _expectEvent();
        emit IBerthBase.OrderApproved(stranger, digest);
        _approve(stranger, digest);
        assertEq(uint8(berth.stanceOf(stranger, digest)), uint8(Stance.Approved));
        assertEq(uint8(berth.stanceOf(requester.addr, digest)), uint8(Stance.None));
    }

    function test_RevertWhen_AnOrderIsNeitherSignedNorApproved() public {
        Orders memory orders = _orders();
        bytes32[4] memory digests = _digests(orders);
        for (uint256 i = 0; i < 4; i++) {
            Signatures memory signatures = _without(_sign(orders), i);
            // Somebody else's approval is nobody's.
            _approve(stranger, digests[i]);
            _expectRefusal(
                orders,
                signatures,
                abi.encodeWithSelector(IBerthBase.Berth_NotApproved.selector, digests[i], _signerOf(i))
            );
        }
    }

    function test_RevertGiven_OnlyAFormerOwnerApproved() public {
        Orders memory orders = _orders();
        bytes32 digest = _digest(orders.app);
        _approve(appOwner.addr, digest);
        Signatures memory signatures = _without(_sign(orders), 0);
        vm.prank(appOwner.addr);
        assets.transferFrom(appOwner.addr, stranger, app.tokenId());
        _expectRefusal(
            orders, signatures, abi.encodeWithSelector(IBerthBase.Berth_NotApproved.selector, digest, stranger)
        );
        _approve(stranger, digest);
        berth.matchOrders(orders, signatures);
    }

    function test_WhenApprovedExpiryEpochAndVolumeStillCount() public {
        Orders memory orders = _orders();
        bytes32 digest = _digest(orders.request);
        _approve(requester.addr, digest);
        Signatures memory signatures = _without(_sign(orders), 3);
        uint256 before = vm.snapshotState();
        vm.prank(requester.addr);
        berth.raiseEpoch(1);
        _expectRefusal(
            orders, signatures, abi.encodeWithSelector(IBerthBase.Berth_OrderCancelled.selector, digest, 0, 1)
        );
        vm.revertToState(before);
        berth.matchOrders(orders, signatures);
        _expectRefusal(orders, signatures, abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, digest));
        vm.warp(orders.request.expiry + 1);
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(
                IBerthBase.Berth_OrderExpired.selector, _digest(orders.app), uint256(orders.app.expiry)
            )
        );
    }

    // Cancelling one.

    function test_RevertGiven_ItsSignerCancelledTheOrder() public {
        Orders memory orders = _orders();
        bytes32[4] memory digests = _digests(orders);
        Signatures memory signatures = _sign(orders);
        for (uint256 i = 0; i < 4; i++) {
            uint256 before = vm.snapshotState();
            _approve(_signerOf(i), digests[i]);
            _expectEvent();
            emit IBerthBase.OrderCancelled(_signerOf(i), digests[i]);
            _cancel(_signerOf(i), digests[i]);
            bytes memory refusal =
                abi.encodeWithSelector(IBerthBase.Berth_OrderRevoked.selector, digests[i], _signerOf(i));
            _expectRefusal(orders, signatures, refusal);
            // Nor by what was approved before.
            _expectRefusal(orders, _without(signatures, i), refusal);
            vm.expectRevert(refusal);
            _approve(_signerOf(i), digests[i]);
            vm.revertToState(before);
        }
        berth.matchOrders(orders, signatures);
    }

    function test_WhenOneIsCancelledTheSignersOthersStayGood() public {
        Orders memory orders = _orders();
        _cancel(requester.addr, _digest(orders.request));
        assertEq(uint8(berth.stanceOf(requester.addr, _digest(orders.request))), uint8(Stance.Cancelled));
        orders.request.salt = "another";
        berth.matchOrders(orders, _sign(orders));
        orders.request.salt = "one more";
        _approve(requester.addr, _digest(orders.request));
        berth.matchOrders(orders, _without(_sign(orders), 3));
    }

    function test_WhenAStrangerCancelsNothingOfAnothersChanges() public {
        Orders memory orders = _orders();
        bytes32[4] memory digests = _digests(orders);
        for (uint256 i = 0; i < 4; i++) {
            _cancel(stranger, digests[i]);
        }
        _matched(orders);
    }

    function test_WhenAnAssetIsSoldTheNextOwnerIsNotBoundByWhatWasCancelled() public {
        Orders memory orders = _orders();
        _cancel(appOwner.addr, _digest(orders.app));
        Vm.Wallet memory buyer = vm.createWallet("buyer");
        vm.prank(appOwner.addr);
        assets.transferFrom(appOwner.addr, buyer.addr, app.tokenId());
        Signatures memory signatures = _sign(orders);
        signatures.app = _signature(buyer, _digest(orders.app));
        berth.matchOrders(orders, signatures);
    }

    function test_WhenAnOrderIsCancelledAndTheEpochRaisedBothHold() public {
        Orders memory orders = _orders();
        orders.request.epoch = 5;
        Signatures memory signatures = _sign(orders);
        _cancel(requester.addr, _digest(orders.request));
        vm.prank(requester.addr);
        berth.raiseEpoch(3);
        assertEq(berth.epochOf(requester.addr), 3);
        _expectRefusal(
            orders,
            signatures,
            abi.encodeWithSelector(IBerthBase.Berth_OrderRevoked.selector, _digest(orders.request), requester.addr)
        );
        _cancel(requester.addr, "another");
        assertEq(berth.epochOf(requester.addr), 3);
    }

    // The view.

    function test_WhenAskedWhetherAnOrderIsSignedTheMatchsRuleAnswers() public {
        Orders memory orders = _orders();
        bytes32 digest = _digest(orders.request);
        assertTrue(berth.isOrderSigned(requester.addr, digest, _signature(requester, digest)));
        assertTrue(berth.isOrderSigned(requester.addr, digest, _short(requester, digest)));
        assertFalse(berth.isOrderSigned(requester.addr, digest, _signature(sponsor, digest)));
        assertFalse(berth.isOrderSigned(requester.addr, digest, ""));
        assertFalse(berth.isOrderSigned(address(0), digest, new bytes(65)));
        assertFalse(berth.isOrderSigned(address(0), digest, new bytes(64)));
        assertFalse(berth.isOrderSigned(address(0), digest, ""));
        Wallet wallet = new Wallet(requester.addr);
        assertTrue(berth.isOrderSigned(address(wallet), digest, _signature(requester, digest)));
        _approve(requester.addr, digest);
        assertTrue(berth.isOrderSigned(requester.addr, digest, ""));
        _cancel(requester.addr, digest);
        assertFalse(berth.isOrderSigned(requester.addr, digest, ""));
        assertFalse(berth.isOrderSigned(requester.addr, digest, _signature(requester, digest)));
    }

    // Any signature.

    function testFuzz_BothFormsOfASignatureAreOne(uint256 key, bytes32 digest) public {
        Vm.Wallet memory signer = vm.createWallet(bound(key, 1, CURVE_ORDER - 1));
        assertTrue(berth.isOrderSigned(signer.addr, digest, _signature(signer, digest)));
        assertTrue(berth.isOrderSigned(signer.addr, digest, _short(signer, digest)));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer, digest);
        bytes32 high = bytes32(CURVE_ORDER - uint256(s));
        uint8 other = v == 27 ? 28 : 27;
        assertFalse(berth.isOrderSigned(signer.addr, digest, abi.encodePacked(r, high, other)));
        assertFalse(berth.isOrderSigned(signer.addr, digest, abi.encodePacked(r, s, other)));
        // Without the bit of the point it is the short form of the even one.
        assertEq(berth.isOrderSigned(signer.addr, digest, abi.encodePacked(r, s)), v == 27);
    }

    function testFuzz_GarbageIsNobodysSignature(address signer, bytes32 digest, bytes calldata garbage) public view {
        vm.assume(signer.code.length == 0);
        assertFalse(berth.isOrderSigned(signer, digest, garbage));
    }

    function testFuzz_NobodyApprovesOrCancelsForAnother(address one, address two, bytes32 digest, bool cancels) public {
        vm.assume(one != two);
        if (cancels) _cancel(one, digest);
        else _approve(one, digest);
        assertEq(uint8(berth.stanceOf(two, digest)), uint8(Stance.None));
        assertFalse(berth.isOrderSigned(two, digest, ""));
        assertEq(berth.isOrderSigned(one, digest, ""), !cancels);
    }

    function _approve(address account, bytes32 digest) private {
        vm.prank(account);
        berth.approveOrder(digest);
    }

    function _cancel(address account, bytes32 digest) private {
        vm.prank(account);
        berth.cancelOrder(digest);
    }

    /// @dev Gives an asset to a new wallet that its owner has the key of.
    function _hand(AssetId asset, Vm.Wallet memory owner) private returns (Wallet wallet) {
        wallet = new Wallet(owner.addr);
        vm.prank(owner.addr);
        assets.transferFrom(owner.addr, address(wallet), asset.tokenId());
    }

    function _short(Vm.Wallet memory signer, bytes32 digest) private returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer, digest);
        return abi.encodePacked(r, uint256(s) | uint256(v - 27) << 255);
    }

    function _digests(Orders memory orders) private view returns (bytes32[4] memory) {
        return [_digest(orders.app), _digest(orders.dataset), _digest(orders.pool), _digest(orders.request)];
    }

    function _signerOf(uint256 which) private view returns (address) {
        return [appOwner.addr, datasetOwner.addr, poolOwner.addr, requester.addr][which];
    }

    function _without(Signatures memory signatures, uint256 which) private pure returns (Signatures memory fewer) {
        fewer = Signatures(signatures.app, signatures.dataset, signatures.pool, signatures.request);
        if (which == 0) fewer.app = "";
        if (which == 1) fewer.dataset = "";
        if (which == 2) fewer.pool = "";
        if (which == 3) fewer.request = "";
    }

    function _bad(address signer, bytes32 digest) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, signer, digest);
    }

    function _expectRefusal(Orders memory orders, Signatures memory signatures, bytes memory refusal) private {
        vm.expectRevert(refusal);
        berth.matchOrders(orders, signatures);
    }
}
