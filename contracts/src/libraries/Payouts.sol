// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealTerms} from "../types/Deals.sol";

/// @notice What a task's end moves, in base units of the token.
/// @dev Sums are of at most 2^128 * 2^34, products with a count of tasks below 2^32: nothing can overflow 256 bits.
library Payouts {
    /// @dev Shares are in hundredths of a percent.
    uint256 internal constant WHOLE_BPS = 10_000;

    /// @dev A failure pays one part in so many of the pool's price.
    uint256 internal constant FAILURE_PART = 10;

    /// @notice What the payer locks for one task.
    function price(uint128 appPrice, uint128 datasetPrice, uint128 poolPrice) internal pure returns (uint256) {
        unchecked {
            return uint256(appPrice) + datasetPrice + poolPrice;
        }
    }

    /// @notice What the payer locked for one task of this deal.
    function price(DealTerms calldata terms) internal pure returns (uint256) {
        return price(terms.appPrice, terms.datasetPrice, terms.poolPrice);
    }

    /// @notice The fee of a failed task. Rounds down, for the payer.
    function failureFee(DealTerms calldata terms) internal pure returns (uint256) {
        unchecked {
            return terms.poolPrice / FAILURE_PART;
        }
    }

    /// @notice The workers' part of what a task pays its pool. Rounds down, for the pool's owner.
    /// @dev Assumes operatorShareBps <= 10,000, which every matched deal has.
    function workersPot(DealTerms calldata terms, uint256 paid) internal pure returns (uint256) {
        unchecked {
            return paid * (WHOLE_BPS - terms.operatorShareBps) / WHOLE_BPS;
        }
    }
}
