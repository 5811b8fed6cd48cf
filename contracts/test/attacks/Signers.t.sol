// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {Orders, Signatures} from "../../src/types/Orders.sol";
import {BusyWallet, Flood, OddWallet, Wallet} from "../support/Wallets.sol";
import {World} from "../support/World.sol";

/// @notice Attacks by whoever signs orders, and by contracts that do. All that a hostile signer gets is an order of its
/// own that does not match.
contract AttacksOfSigners is World {
    /// @dev A match that is refused after one question costs no more than the question's most, and itself.
    uint256 private constant MOST_REFUSED = 1_200_000;

    function test_ASignerThatBurnsGasBurnsNoMoreThanItsShare() public {
        OddWallet wallet = new OddWallet();
        wallet.tell(abi.encode(IERC1271.isValidSignature.selector), false, type(uint256).max);
        _expectCheapRefusal(address(wallet));
        // What an honest wallet may need is far more than it takes to check a signature.
        wallet.tell(abi.encode(IERC1271.isValidSignature.selector), false, 900_000);
        _expectMatch(address(wallet));
    }

    function test_ASignerThatAnswersWithAFloodIsNotCopied() public {
        // 500,000 bytes are within what it may spend; to copy them would cost as much again.
        _expectCheapRefusal(address(new Flood(500_000)));
        _expectCheapRefusal(address(new Flood(5_000_000)));
        OddWallet wallet = new OddWallet();
        wallet.tell(new bytes(20_000), true, 0);
        _expectCheapRefusal(address(wallet));
    }

    function test_ARuleThatAnswersWithAFloodIsNotCopied() public {
        Orders memory orders = _orders();
        orders.pool.requesterRule = _contractRule(address(new Flood(500_000)));
        Signatures memory signatures = _sign(orders);
        uint256 before = gasleft();
        (bool ok,) = address(berth).call(abi.encodeCall(berth.matchOrders, (orders, signatures)));
        assertFalse(ok);
        assertLt(before - gasleft(), MOST_REFUSED);
    }

    function test_ASignersAnswerIsYesInOneFormOnly() public {
        OddWallet wallet = new OddWallet();
        bytes4 yes = IERC1271.isValidSignature.selector;
        bytes[7] memory answers = [
            bytes(""),
            abi.encodePacked(yes),
            abi.encode(uint32(yes)),
            abi.encode(true),
            abi.encodePacked(yes, bytes28(uint224(1))),
            abi.encode(yes, uint256(0)),
            abi.encode(bytes4(0xffffffff))
        ];
        for (uint256 i = 0; i < answers.length; i++) {
            wallet.tell(answers[i], false, 0);
            _expectCheapRefusal(address(wallet));
        }
        wallet.tell(abi.encode(yes), true, 0);
        _expectCheapRefusal(address(wallet));
        wallet.tell(abi.encode(yes), false, 0);
        _expectMatch(address(wallet));
    }

    function test_ASignerCanDoNothingWhileItIsAsked() public {
        // It would take its money out after the check and before the lock, or cancel, or write anything at all.
        BusyWallet wallet = new BusyWallet();
        _rich(address(wallet));
        bytes[3] memory plans = [
            abi.encodeCall(berth.withdraw, (stranger, RICH)),
            abi.encodeCall(berth.cancelOrder, ("any")),
            abi.encodeCall(berth.raiseEpoch, (1))
        ];
        for (uint256 i = 0; i < plans.length; i++) {
            uint256 before = vm.snapshotState();
            wallet.plan(address(berth), plans[i]);
            Orders memory orders = _requestOf(address(wallet));
            berth.matchOrders(orders, _sign(orders));
            assertEq(_locked(address(wallet)), APP_PRICE + DATASET_PRICE + POOL_PRICE);
            assertEq(berth.epochOf(address(wallet)), 0);
            assertEq(token.balanceOf(stranger), 0);
            assertEq(wallet.asked(), 0);
            vm.revertToState(before);
        }
    }

    function test_ASignerThatRemembersWhatItWasAskedIsRefused() public {
        BusyWallet wallet = new BusyWallet();
        wallet.plan(address(berth), abi.encodeCall(berth.token, ()));
        _expectCheapRefusal(address(wallet));
        assertEq(wallet.asked(), 0);
    }

    function test_AContractsSignatureIsNotAWorkers() public {
        // Workers and operators answer by their own keys, so that nobody can disown evidence: a contract that takes any
        // signature for its own is no worker.
        Wallet wallet = new Wallet(worker.addr);
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        lists[0].worker = address(wallet);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        bytes memory enlistment = _signEnlistment(worker, pool, stranger);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        vm.prank(stranger);
        berth.bond(pool, address(wallet), 0, enlistment);
    }

    function test_AWorkersSignatureIsNotShort() public {
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        lists[0].signature = _short(lists[0].signature);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    function test_ASecondFormOfASignatureIsNotASecondOrder() public {
        // The digest names the order, not the bytes of the signature: 64 bytes in place of 65 get nothing more out of it.
        Orders memory orders = _orders();
        Signatures memory signatures = _sign(orders);
        berth.matchOrders(orders, signatures);
        signatures.request = _short(signatures.request);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders.request)));
        berth.matchOrders(orders, signatures);
        bytes32 digest = _digest(orders.request);
        vm.prank(requester.addr);
        berth.approveOrder(digest);
        signatures.request = "";
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders.request)));
        berth.matchOrders(orders, signatures);
    }

    function test_AZeroSignatureOf64BytesIsNobodys() public {
        Orders memory orders = _orders();
        (orders.request.requester, orders.request.payer) = (address(0), address(0));
        Signatures memory signatures = _sign(orders);
        signatures.request = new bytes(64);
        bytes32 digest = _digest(orders.request);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, address(0), digest));
        berth.matchOrders(orders, signatures);
        signatures.request = "";
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotApproved.selector, digest, address(0)));
        berth.matchOrders(orders, signatures);
    }

    function test_AnApprovalIsNotSoldWithTheAsset() public {
        // The attacker approves an order for next to nothing, sells the app, and matches it at the new owner's cost.
        Vm.Wallet memory buyer = vm.createWallet("buyer");
        Orders memory orders = _orders();
        orders.app.price = 1;
        bytes32 digest = _digest(orders.app);
        vm.prank(appOwner.addr);
        berth.approveOrder(digest);
        vm.prank(appOwner.addr);
        assets.transferFrom(appOwner.addr, buyer.addr, app.tokenId());
        Signatures memory signatures = _sign(orders);
        signatures.app = "";
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotApproved.selector, digest, buyer.addr));
        berth.matchOrders(orders, signatures);
    }

    function test_ACancellationByAnotherStopsNobody() public {
        // The attacker has seen the match coming, and cancels all of its orders in its own name.
        Orders memory orders = _orders();
        vm.startPrank(stranger);
        berth.cancelOrder(_digest(orders.app));
        berth.cancelOrder(_digest(orders.dataset));
        berth.cancelOrder(_digest(orders.pool));
        berth.cancelOrder(_digest(orders.request));
        vm.stopPrank();
        _matched(orders);
    }

    function test_ACancelledOrderIsNotRevivedByItsApproval() public {
        Orders memory orders = _orders();
        bytes32 digest = _digest(orders.request);
        vm.startPrank(requester.addr);
        berth.approveOrder(digest);
        berth.cancelOrder(digest);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_OrderRevoked.selector, digest, requester.addr));
        berth.approveOrder(digest);
        vm.stopPrank();
        Signatures memory signatures = _sign(orders);
        signatures.request = "";
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_OrderRevoked.selector, digest, requester.addr));
        berth.matchOrders(orders, signatures);
    }

    /// @dev A request of this signer is refused, and costs whoever sent the match little.
    function _expectCheapRefusal(address signer) private {
        Orders memory orders = _requestOf(signer);
        Signatures memory signatures = _sign(orders);
        uint256 before = gasleft();
        (bool ok, bytes memory answer) = address(berth).call(abi.encodeCall(berth.matchOrders, (orders, signatures)));
        uint256 used = before - gasleft();
        assertFalse(ok);
        assertEq(
            answer, abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, signer, _digest(orders.request))
        );
        assertLt(used, MOST_REFUSED);
    }

    function _expectMatch(address signer) private {
        _rich(signer);
        Orders memory orders = _requestOf(signer);
        berth.matchOrders(orders, _sign(orders));
    }

    function _rich(address holder) private {
        token.mint(stranger, RICH);
        vm.startPrank(stranger);
        token.approve(address(berth), RICH);
        berth.depositFor(holder, RICH);
        vm.stopPrank();
    }

    function _requestOf(address signer) private view returns (Orders memory orders) {
        orders = _orders();
        (orders.request.requester, orders.request.payer) = (signer, signer);
    }

    /// @dev The same signature in 64 bytes.
    function _short(bytes memory signature) private pure returns (bytes memory) {
        (bytes32 r, uint256 s) = (_word(signature, 0), uint256(_word(signature, 32)));
        return abi.encodePacked(r, s | uint256(uint8(signature[64]) - 27) << 255);
    }

    function _word(bytes memory from, uint256 at) private pure returns (bytes32 word) {
        for (uint256 i = 0; i < 32; i++) {
            word |= bytes32(from[at + i]) >> (8 * i);
        }
    }
}
