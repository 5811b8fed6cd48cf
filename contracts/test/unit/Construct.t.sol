// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
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
        _createRecourse(IAssets(stranger), 1, 1, 1);
    }

    function test_RevertWhen_TheTokenHasNoCode() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoContract.selector, stranger));
        _createBerth(IERC20(stranger), assets, recourse, MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }

    function test_RevertWhen_RecourseHasNoCode() public {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NoContract.selector, stranger));
        _createBerth(token, assets, stranger, MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }

    function test_RevertWhen_RecourseHasOtherAssets() public {
        address other = _createRecourse(IAssets(_create("Assets", "")), MIN_DURATION, MAX_DURATION, MAX_SPAN);
        _expectMismatch(other);
    }

    function test_RevertWhen_RecourseHasOtherBounds() public {
        _expectMismatch(_createRecourse(assets, MIN_DURATION + 1, MAX_DURATION, MAX_SPAN));
        _expectMismatch(_createRecourse(assets, MIN_DURATION, MAX_DURATION + 1, MAX_SPAN));
        _expectMismatch(_createRecourse(assets, MIN_DURATION, MAX_DURATION, MAX_SPAN + 1));
    }

    function test_WhenBuiltItTellsItsSettings() public view {
        assertEq(berth.token(), address(token));
        assertEq(berth.assets(), address(assets));
        assertEq(berth.recourse(), recourse);
        (uint32 minDuration, uint32 maxDuration, uint64 maxSpan) = berth.bounds();
        assertEq(minDuration, MIN_DURATION);
        assertEq(maxDuration, MAX_DURATION);
        assertEq(maxSpan, MAX_SPAN);
        assertEq(berth.unbondDelay(), uint256(MAX_SPAN) + 12 * uint256(MAX_DURATION) + 1);
    }

    function test_WhenBuiltWithTheWidestBoundsTheDelayStillFits() public {
        address widest = _createRecourse(assets, 1, uint32(HUNDRED_YEARS), HUNDRED_YEARS);
        assertEq(IBerth(widest).unbondDelay(), 13 * HUNDRED_YEARS + 1);
    }

    function _expectBadBounds(uint32 minDuration, uint32 maxDuration, uint64 maxSpan) private {
        bytes memory refusal =
            abi.encodeWithSelector(IBerthBase.Berth_BadBounds.selector, minDuration, maxDuration, maxSpan);
        vm.expectRevert(refusal);
        _createRecourse(assets, minDuration, maxDuration, maxSpan);
        vm.expectRevert(refusal);
        _createBerth(token, assets, recourse, minDuration, maxDuration, maxSpan);
    }

    function _expectMismatch(address other) private {
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_RecourseMismatch.selector, other));
        _createBerth(token, assets, other, MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }
}
