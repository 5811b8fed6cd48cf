// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Assets} from "../../src/Assets.sol";
import {Berth} from "../../src/Berth.sol";
import {Recourse} from "../../src/Recourse.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {World} from "../support/World.sol";

contract Construct is World {
    uint64 private constant HUNDRED_YEARS = 3_155_760_000;

    function test_RevertWhen_TheShortestDurationIsZero() public {
        _expectBadBounds(0, 1, 1);
    }

    function test_RevertWhen_TheShortestDurationIsAboveTheLongest() public {
        _expectBadBounds(3, 2, 4);
    }

    function test_RevertWhen_TheLongestDurationIsAboveTheSpan() public {
        _expectBadBounds(1, 3, 2);
    }

    function test_RevertWhen_TheSpanIsOverAHundredYears() public {
        _expectBadBounds(1, 1, HUNDRED_YEARS + 1);
    }

    function test_RevertWhen_AssetsHasNoCode() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoContract.selector, stranger));
        new Recourse(IAssets(stranger), 1, 1, 1);
    }

    function test_RevertWhen_TheTokenHasNoCode() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoContract.selector, stranger));
        new Berth(IERC20(stranger), assets, address(recourse), MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }

    function test_RevertWhen_RecourseHasNoCode() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoContract.selector, stranger));
        new Berth(token, assets, stranger, MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }

    function test_RevertWhen_RecourseHasOtherAssets() public {
        Recourse other = new Recourse(new Assets(), MIN_DURATION, MAX_DURATION, MAX_SPAN);
        _expectMismatch(other);
    }

    function test_RevertWhen_RecourseHasOtherBounds() public {
        _expectMismatch(new Recourse(assets, MIN_DURATION + 1, MAX_DURATION, MAX_SPAN));
        _expectMismatch(new Recourse(assets, MIN_DURATION, MAX_DURATION + 1, MAX_SPAN));
        _expectMismatch(new Recourse(assets, MIN_DURATION, MAX_DURATION, MAX_SPAN + 1));
    }

    function test_WhenBuiltItTellsItsSettings() public view {
        assertEq(berth.token(), address(token));
        assertEq(berth.assets(), address(assets));
        assertEq(berth.recourse(), address(recourse));
        (uint32 minDuration, uint32 maxDuration, uint64 maxSpan) = berth.bounds();
        assertEq(minDuration, MIN_DURATION);
        assertEq(maxDuration, MAX_DURATION);
        assertEq(maxSpan, MAX_SPAN);
        assertEq(berth.unbondDelay(), uint256(MAX_SPAN) + 12 * uint256(MAX_DURATION) + 1);
    }

    function test_WhenBuiltWithTheWidestBoundsTheDelayStillFits() public {
        Recourse widest = new Recourse(assets, 1, uint32(HUNDRED_YEARS), HUNDRED_YEARS);
        assertEq(widest.unbondDelay(), 13 * HUNDRED_YEARS + 1);
    }

    function _expectBadBounds(uint32 minDuration, uint32 maxDuration, uint64 maxSpan) private {
        bytes memory refusal =
            abi.encodeWithSelector(IBerthBase.Berth_BadBounds.selector, minDuration, maxDuration, maxSpan);
        vm.expectRevert(refusal);
        new Recourse(assets, minDuration, maxDuration, maxSpan);
        vm.expectRevert(refusal);
        new Berth(token, assets, address(recourse), minDuration, maxDuration, maxSpan);
    }

    function _expectMismatch(Recourse other) private {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_RecourseMismatch.selector, address(other)));
        new Berth(token, assets, address(other), MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }
}
