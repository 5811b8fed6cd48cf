// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {World} from "../support/World.sol";

contract Epoch is World {
    function test_RevertWhen_TheEpochDoesNotRise() public {
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_EpochNotRaised.selector, 0, 0));
        berth.raiseEpoch(0);
        berth.raiseEpoch(7);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_EpochNotRaised.selector, 7, 7));
        berth.raiseEpoch(7);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_EpochNotRaised.selector, 7, 6));
        berth.raiseEpoch(6);
    }

    function test_WhenRaisedItIsTheSendersAlone() public {
        _expectEvent();
        emit IBerthBase.EpochRaised(stranger, type(uint64).max);
        vm.prank(stranger);
        berth.raiseEpoch(type(uint64).max);
        assertEq(berth.epochOf(stranger), type(uint64).max);
        assertEq(berth.epochOf(requester.addr), 0);
    }
}
