// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealTerms} from "../types/Deals.sol";

/// @notice A deal's clock. All deadlines are inclusive, and all follow from the terms.
/// @dev Every factor is at most 64 bits wide and there are at most 32 bits of them on top, so nothing here can
/// overflow 256 bits.
library Deadlines {
    /// @notice The time that `size` tasks need, `parallel` at once.
    /// @dev Assumes parallel > 0, which every matched deal has.
    function span(uint32 duration, uint32 size, uint32 parallel) internal pure returns (uint256) {
        unchecked {
            // Whole waves, the last one as long as the others.
            // slither-disable-next-line divide-before-multiply
            return uint256(duration) * ((uint256(size) + parallel - 1) / parallel);
        }
    }

    /// @notice Until when a declined task's stake returns.
    function freeDecline(DealTerms calldata terms) internal pure returns (uint256) {
        unchecked {
            return uint256(terms.start) + terms.duration;
        }
    }

    /// @notice Until when the operator closes, appends and declines.
    function closing(DealTerms calldata terms) internal pure returns (uint256) {
        return _after(terms, 6);
    }

    /// @notice Until when assigned workers append to tasks that were never closed.
    function appending(DealTerms calldata terms) internal pure returns (uint256) {
        return _after(terms, 7);
    }

    /// @notice Until when anyone settles; afterwards anyone claims.
    function settling(DealTerms calldata terms) internal pure returns (uint256) {
        return _after(terms, 9);
    }

    /// @notice Until when shares that were left out are opened.
    function opening(DealTerms calldata terms) internal pure returns (uint256) {
        return _after(terms, 10);
    }

    /// @notice Until when lies and silence are punished, so until when a bond must stay.
    function punishing(DealTerms calldata terms) internal pure returns (uint256) {
        return punishing(terms, settling(terms));
    }

    /// @notice As `punishing`, for whoever has computed `settling` already.
    function punishing(DealTerms calldata terms, uint256 settlingEnds) internal pure returns (uint256) {
        unchecked {
            return settlingEnds + 3 * uint256(terms.duration);
        }
    }

    function _after(DealTerms calldata terms, uint256 durations) private pure returns (uint256) {
        unchecked {
            return terms.start + span(terms.duration, terms.size, terms.parallel) + durations * uint256(terms.duration);
        }
    }
}
