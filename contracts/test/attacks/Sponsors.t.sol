// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {Consent, Orders, Signatures} from "../../src/types/Orders.sol";
import {Sponsored} from "../support/Sponsored.sol";

/// @notice Attacks on whoever pays for others. In each of them the sponsor pays for what it agreed to, or for nothing.
contract AttacksOnSponsors is Sponsored {
    function test_OneConsentPaysOnce() public {
        // The request has room for three more such matches.
        Orders memory orders = _sponsored(12);
        orders.app.volume = 3;
        Consent memory consent = _consent(orders, 3);
        berth.matchSponsored(orders, _sign(orders), consent);
        orders.app.salt = "fresh";
        _expectRefusal(
            orders,
            consent,
            abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _sponsorship(orders, consent))
        );
        assertEq(_locked(sponsor.addr), 3 * PRICE);
    }

    function test_OneConsentPaysOnceThoughTheSponsorSentAMatchItself() public {
        Orders memory orders = _sponsored(6);
        orders.app.volume = 3;
        Consent memory consent = _consent(orders, 3);
        Signatures memory signatures = _sign(orders);
        vm.prank(sponsor.addr);
        berth.matchOrders(orders, signatures);
        orders.app.salt = "fresh";
        berth.matchSponsored(orders, _sign(orders), consent);
        assertEq(_locked(sponsor.addr), 6 * PRICE);
        orders.app.salt = "fresher";
        _expectRefusal(
            orders, consent, abi.encodeWithSelector(IBerthBase.Berth_OrderConsumed.selector, _digest(orders.request))
        );
    }

    function test_AFrontRunWithAnotherVolumeIsRefused() public {
        // The attacker has seen the sponsored match of five coming, and sends one of two first, with an app order that
        // has no more: the sponsor would pay for a deal that it did not agree to.
        Orders memory orders = _sponsored(5);
        Consent memory consent = _consent(orders, 5);
        Orders memory smaller = _sponsored(5);
        smaller.app.volume = 2;
        _expectRefusal(smaller, consent, abi.encodeWithSelector(IBerthBase.Berth_SponsoredVolume.selector, 2, 5));
        // Another volume in the consent is another consent.
        consent.volume = 2;
        _expectRefusal(smaller, consent, _bad(smaller, consent));
        consent.volume = 5;
        berth.matchSponsored(orders, _sign(orders), consent);
        assertEq(_locked(sponsor.addr), 5 * PRICE);
    }

    function test_AFrontRunWithAnotherPoolOrderIsRefused() public {
        // Of the same pool, but at another share, which the sponsor did not agree to.
        Orders memory orders = _sponsored(1);
        Consent memory consent = _consent(orders, 1);
        orders.pool.operatorShareBps = 10_000;
        _expectRefusal(orders, consent, _bad(orders, consent));
        assertEq(_free(sponsor.addr), RICH);
    }

    function test_AConsentIsForOneRequest() public {
        Orders memory orders = _sponsored(1);
        Consent memory consent = _consent(orders, 1);
        orders.request.salt = "the attacker's";
        _expectRefusal(orders, consent, _bad(orders, consent));
        orders = _sponsored(1);
        orders.request.jobHash = "the attacker's";
        _expectRefusal(orders, consent, _bad(orders, consent));
    }

    function test_AConsentIsOfThePayerThatTheRequestNames() public {
        // The attacker asks at the requester's cost, and signs the sponsorship itself.
        Orders memory orders = _sponsored(1);
        orders.request.payer = poolOwner.addr;
        Consent memory consent = _consent(orders, 1);
        _expectRefusal(orders, consent, _bad(orders, consent));
        // Nobody would pay for what is free; not even that is agreed to in nobody's name.
        orders.request.payer = address(0);
        (orders.app.price, orders.dataset.price, orders.pool.price) = (0, 0, 0);
        consent.signature = new bytes(65);
        _expectRefusal(orders, consent, _bad(orders, consent));
        _expectUnapproved(orders, consent);
    }

    function test_AConsentDoesNotStandInForTheRequestersSignature() public {
        Orders memory orders = _sponsored(1);
        Consent memory consent = _consent(orders, 1);
        Signatures memory signatures = _sign(orders);
        signatures.request = consent.signature;
        vm.expectRevert(
            abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, requester.addr, _digest(orders.request))
        );
        berth.matchSponsored(orders, signatures, consent);
        // Nor does an approval of one digest for another.
        vm.startPrank(sponsor.addr);
        berth.approveOrder(_digest(orders.request));
        berth.approveOrder(_digest(orders.pool));
        vm.stopPrank();
        _expectUnapproved(orders, consent);
    }

    function test_AConsentIsForOneContract() public {
        Orders memory orders = _sponsored(1);
        Consent memory consent = _consent(orders, 1);
        Signatures memory signatures = _sign(orders);
        (, IBerth other) = _deploy(token, assets);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        other.matchSponsored(orders, signatures, consent);
    }

    function test_AFailedMatchDoesNotUseUpAConsent() public {
        // The attacker shows the consent with a match that fails: a consent is spent by a deal alone.
        Orders memory orders = _sponsored(2);
        Consent memory consent = _consent(orders, 2);
        Orders memory unfit = _sponsored(2);
        unfit.app.volume = 1;
        _expectRefusal(unfit, consent, abi.encodeWithSelector(IBerthBase.Berth_SponsoredVolume.selector, 1, 2));
        assertEq(berth.consumed(_sponsorship(orders, consent)), 0);
        berth.matchSponsored(orders, _sign(orders), consent);
    }

    function test_ThePayerIsNotMetBySendingThroughAnother() public {
        // Several calls in one are still the sender's.
        Orders memory orders = _sponsored(1);
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(berth.matchOrders, (orders, _sign(orders)));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_PayerAbsent.selector, sponsor.addr, stranger));
        vm.prank(stranger);
        berth.multicall(calls);
    }

    function _bad(Orders memory orders, Consent memory consent) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IBerthBase.Berth_BadSignature.selector, orders.request.payer, _sponsorship(orders, consent)
        );
    }
}
