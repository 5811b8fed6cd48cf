// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {Scales, Seat, Weighing} from "../../src/libraries/Weighing.sol";

/// @notice The arithmetic of consensus neither overflows nor wraps around, over its whole range.
/// @dev `check_` are halmos's, for every input; `testFuzz_` go where its solver does not.
contract ProofsOfWeights is Test {
    uint256 private constant HEAVIEST = 1 << 160;

    function check_AWeightIsFrom2ToBelow2To31(uint32 score) public pure {
        uint256 weight = Weighing.weightOf(score);
        assert(weight >= 2);
        assert(weight < 1 << 31);
    }

    function check_AHigherScoreNeverWeighsLess(uint32 lower, uint32 higher) public pure {
        vm.assume(lower <= higher);
        assert(Weighing.weightOf(lower) <= Weighing.weightOf(higher));
    }

    function check_AShareIsTheLogarithmOfItsWeight(uint32 score) public pure {
        uint256 weight = Weighing.weightOf(score);
        uint256 share = Weighing.shareOf(weight);
        assert(share >= 1 && share <= 30);
        assert(weight >> share == 1);
    }

    /// @dev By induction, a product of any number of weights is at most 2^160. Multiplied once more it is below 2^192, by
    /// the widths of both numbers, so nothing overflows. The weight is any that `check_AWeightIsFrom2ToBelow2To31` allows.
    function check_AProductStopsAt2To160(uint256 product, uint256 weight) public pure {
        uint256 exact = _onceMore(product, weight);
        (Scales memory scales, Seat memory seat) = (_scales(product, 0), _seat(weight));
        Weighing.add(scales, seat, true);
        assert(scales.group == (exact < HEAVIEST ? exact : HEAVIEST));
        assert(scales.opened == 1 && scales.dissent == 0);
    }

    function check_DissentStopsAt2To160(uint256 product, uint256 weight) public pure {
        uint256 exact = _onceMore(product, weight);
        (Scales memory scales, Seat memory seat) = (_scales(0, product), _seat(weight));
        Weighing.add(scales, seat, false);
        assert(scales.dissent == (exact < HEAVIEST ? exact : HEAVIEST));
        assert(scales.group == 0 && scales.opened == 0);
    }

    /// @dev The first weight is taken as it is.
    function check_TheFirstWeightIsTaken(uint256 weight, bool opened) public pure {
        vm.assume(weight >= 2 && weight < 1 << 31);
        (Scales memory scales, Seat memory seat) = (_scales(0, 0), _seat(weight));
        Weighing.add(scales, seat, opened);
        assert(scales.group == (opened ? weight : 0) && scales.dissent == (opened ? 0 : weight));
        assert(scales.opened == (opened ? 1 : 0) && scales.total == 1);
    }

    /// @dev The comparison is of exact numbers: written with checked arithmetic it is the same, and never reverts.
    function check_TheComparisonNeverOverflows(uint256 group, uint256 dissent, uint32 trust) public pure {
        vm.assume(group <= HEAVIEST && dissent <= HEAVIEST && trust > 1);
        bool exact = group * trust > (1 + group + dissent) * (trust - 1);
        assert(Weighing.suffices(_scales(group, dissent), trust) == exact);
    }

    /// @dev Nobody's answer is never enough, whatever the trust.
    function check_NoAnswerNeverSuffices(uint256 dissent, uint32 trust) public pure {
        vm.assume(dissent <= HEAVIEST && trust > 1);
        assert(!Weighing.suffices(_scales(0, dissent), trust));
    }

    /// @dev More dissent never helps a group.
    function testFuzz_DissentNeverHelps(uint160 group, uint160 less, uint160 more, uint32 trust) public pure {
        (uint160 least, uint160 most) = less < more ? (less, more) : (more, less);
        vm.assume(trust > 1);
        if (Weighing.suffices(_scales(group, most), trust)) {
            assertTrue(Weighing.suffices(_scales(group, least), trust));
        }
    }

    /// @dev As many pairs as a task may have, any scores: the product is the exact one, or 2^160 where that is more.
    function testFuzz_AProductOf64WeightsIsExactOr2To160(uint32[64] memory scores, uint256 small) public pure {
        Scales memory scales;
        uint256 exact = 1;
        for (uint256 i = 0; i < 64; i++) {
            uint256 weight = Weighing.weightOf(small >> i & 1 == 0 ? scores[i] : scores[i] % 64);
            Weighing.add(scales, _seat(weight), true);
            if (exact < HEAVIEST) exact *= weight;
            if (exact > HEAVIEST) exact = HEAVIEST;
            assertEq(scales.group, exact);
        }
        assertEq(scales.opened, 64);
    }

    function _onceMore(uint256 product, uint256 weight) private pure returns (uint256) {
        vm.assume(product > 0 && product <= HEAVIEST && weight >= 2 && weight < 1 << 31);
        unchecked {
            return product * weight;
        }
    }

    function _scales(uint256 group, uint256 dissent) private pure returns (Scales memory scales) {
        (scales.group, scales.dissent) = (group, dissent);
    }

    function _seat(uint256 weight) private pure returns (Seat memory seat) {
        (seat.weight, seat.share) = (weight, 1);
    }
}
