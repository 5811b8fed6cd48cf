// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {DealId} from "../../src/types/Ids.sol";
import {Consent, Orders, Signatures} from "../../src/types/Orders.sol";
import {Wallet} from "../support/Wallets.sol";
import {Sponsored} from "../support/Sponsored.sol";

/// @notice A match that another pays for: sent by the payer, or with its consent.
contract Sponsor is Sponsored {
    function test_WhenThePayerSendsNoConsentIsNeeded() public {
        Orders memory orders = _sponsored(2);
        Signatures memory signatures = _sign(orders);
        vm.prank(sponsor.addr);
        berth.matchOrders(orders, signatures);
        assertEq(_locked(sponsor.addr), 2 * PRICE);
        assertEq(_locked(requester.addr), 0);
    }

    function test_RevertGiven_ThePayerIsAbsent() public {
        Orders memory orders = _sponsored(1);
        Signatures memory signatures = _sign(orders);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_PayerAbsent.selector, sponsor.addr, stranger));
        vm.prank(stranger);
        berth.matchOrders(orders, signatures);
    }

    function test_WhenThePayerHasConsentedAnybodySends() public {
        Orders memory orders = _sponsored(3);
        Consent memory consent = _consent(orders, 3);
        bytes32 digest = _sponsorship(orders, consent);
        DealTerms memory terms = _termsOf(orders, 0, 3);
        Signatures memory signatures = _sign(orders);

        _expectEvent();
        emit IBerthBase.DealSponsored(_dealId(terms), sponsor.addr, digest);
        vm.prank(stranger);
        DealId deal = berth.matchSponsored(orders, signatures, consent);
        assertEq(DealId.unwrap(deal), DealId.unwrap(_dealId(terms)));
        assertEq(_locked(sponsor.addr), 3 * PRICE);
        assertEq(_free(sponsor.addr), RICH - 3 * PRICE);
        assertEq(_locked(requester.addr), 0);
        assertEq(berth.consumed(digest), 3);
    }

    function test_WhenTheDealIsClaimedTheSponsorIsPaidBack() public {
        Orders memory orders = _sponsored(3);
        berth.matchSponsored(orders, _sign(orders), _consent(orders, 3));
        DealTerms memory terms = _termsOf(orders, 0, 3);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        assertEq(_free(sponsor.addr), RICH);
        assertEq(_free(requester.addr), RICH);
    }

    function test_WhenASponsorIsAContractItVouchesOrApproves() public {
        Wallet wallet = new Wallet(sponsor.addr);
        _fund(address(wallet), RICH);
        Orders memory orders = _sponsored(1);
        orders.request.payer = address(wallet);
        berth.matchSponsored(orders, _sign(orders), _consent(orders, 1));

        orders.request.salt = "another";
        Consent memory consent = _consent(orders, 1);
        wallet.act(address(berth), abi.encodeCall(berth.approveOrder, (_sponsorship(orders, consent))));
        consent.signature = "";
        berth.matchSponsored(orders, _sign(orders), consent);
        assertEq(_locked(address(wallet)), 2 * PRICE);
    }

    function test_WhenARequesterConsentsToItsOwnRequestItPays() public {
        Orders memory orders = _orders();
        Consent memory consent = _consent(orders, 1);
        consent.signature = _signature(requester, _sponsorship(orders, consent));
        berth.matchSponsored(orders, _sign(orders), consent);
        assertEq(_locked(requester.addr), PRICE);
    }

    function test_RevertWhen_TheConsentIsOver() public {
        Orders memory orders = _sponsored(1);
        Consent memory consent = _consent(orders, 1);
        consent.expiry = uint64(block.timestamp) - 1;
        bytes32 digest = _sponsorship(orders, consent);
        consent.signature = _signature(sponsor, digest);
        _expectRefusal(
            orders, consent, abi.encodeWithSelector(IBerthBase.Berth_OrderExpired.selector, digest, consent.expiry)
        );
        consent.expiry = uint64(block.timestamp);
        consent.signature = _signature(sponsor, _sponsorship(orders, consent));
        berth.matchSponsored(orders, _sign(orders), consent);
    }

    function test_RevertGiven_TheSponsorCancelledItsConsent() public {
        Orders memory orders = _sponsored(1);
        Consent memory consent = _consent(orders, 1);
        bytes32 digest = _sponsorship(orders, consent);
        vm.prank(sponsor.addr);
        berth.cancelOrder(digest);
        _expectRefusal(
            orders, consent, abi.encodeWithSelector(IBerthBase.Berth_OrderRevoked.selector, digest, sponsor.addr)
        );
    }

    function test_RevertGiven_TheSponsorNeitherSignedNorApproved() public {
        Orders memory orders = _sponsored(1);
        _expectUnapproved(orders, _consent(orders, 1));
    }

    function test_RevertGiven_TheSponsorCannotPay() public {
        Orders memory orders = _sponsored(1);
        Consent memory consent = _consent(orders, 1);
        vm.prank(sponsor.addr);
        berth.withdraw(sponsor.addr, RICH - PRICE + 1);
        _expectRefusal(
            orders,
            consent,
            abi.encodeWithSelector(IBerthBase.Berth_FreeTooSmall.selector, sponsor.addr, PRICE - 1, PRICE)
        );
    }

    function testFuzz_AConsentIsForExactlyItsVolume(uint32 volume, uint32 agreed) public {
        volume = uint32(bound(volume, 1, 100));
        agreed = uint32(bound(agreed, 0, 200));
        Orders memory orders = _sponsored(volume);
        Consent memory consent = _consent(orders, agreed);
        if (agreed == volume) {
            berth.matchSponsored(orders, _sign(orders), consent);
            assertEq(_locked(sponsor.addr), volume * PRICE);
        } else {
            _expectRefusal(
                orders, consent, abi.encodeWithSelector(IBerthBase.Berth_SponsoredVolume.selector, volume, agreed)
            );
        }
    }
}
