// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {Consent, Orders, Signatures} from "../../src/types/Orders.sol";
import {World} from "./World.sol";

/// @notice A world with a rich sponsor and what it signs.
abstract contract Sponsored is World {
    string internal constant SPONSORSHIP = "Sponsorship(bytes32 request,bytes32 poolOrder,uint32 volume,uint64 expiry)";

    /// @dev What one task of the world's orders costs its payer.
    uint256 internal constant PRICE = APP_PRICE + DATASET_PRICE + POOL_PRICE;

    function setUp() public virtual override {
        super.setUp();
        _fund(sponsor.addr, RICH);
    }

    /// @notice Orders whose payer is the sponsor.
    function _sponsored(uint32 volume) internal view returns (Orders memory orders) {
        orders = _orders();
        orders.request.volume = volume;
        orders.request.payer = sponsor.addr;
    }

    /// @notice The sponsor's word for a match of so many tasks.
    function _consent(Orders memory orders, uint32 volume) internal returns (Consent memory consent) {
        consent.volume = volume;
        consent.expiry = uint64(block.timestamp + 1 hours);
        consent.signature = _signature(sponsor, _sponsorship(orders, consent));
    }

    function _sponsorship(Orders memory orders, Consent memory consent) internal view returns (bytes32) {
        return
            _typed(
                SPONSORSHIP, abi.encode(_digest(orders.request), _digest(orders.pool), consent.volume, consent.expiry)
            );
    }

    function _expectRefusal(Orders memory orders, Consent memory consent, bytes memory refusal) internal {
        Signatures memory signatures = _sign(orders);
        vm.expectRevert(refusal);
        berth.matchSponsored(orders, signatures, consent);
    }

    /// @notice Without a signature the payer has not agreed, unless it approved this very consent.
    function _expectUnapproved(Orders memory orders, Consent memory consent) internal {
        consent.signature = "";
        _expectRefusal(
            orders,
            consent,
            abi.encodeWithSelector(
                IBerthBase.Berth_NotApproved.selector, _sponsorship(orders, consent), orders.request.payer
            )
        );
    }
}
