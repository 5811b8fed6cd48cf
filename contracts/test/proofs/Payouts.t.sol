// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {DealTerms} from "../../src/types/Deals.sol";

/// @notice What a task pays is at most what it locked: each rounding goes down.
contract ProofsOfPayouts is Test {
    function check_AFeeIsAtMostAPrice(DealTerms calldata terms) public pure {
        assert(terms.failureFee() <= terms.poolPrice);
        assert(terms.price() >= terms.poolPrice);
    }

    /// @dev A price is three numbers of 128 bits: as checked arithmetic has it, too.
    function check_APriceIsExact(DealTerms calldata terms) public pure {
        assert(terms.price() == uint256(terms.appPrice) + terms.datasetPrice + terms.poolPrice);
    }

    function check_ThePotIsAtMostWhatIsPaid(DealTerms calldata terms, uint64 paid) public pure {
        vm.assume(terms.operatorShareBps <= 10_000);
        assert(terms.workersPot(paid) <= paid);
    }

    /// @dev The same for 128 bits, where the solver need not divide: pot * 10,000 <= paid * part.
    function testFuzz_ThePotIsAtMostWhatIsPaid(DealTerms calldata terms, uint128 paid, uint16 bps) public pure {
        vm.assume(terms.operatorShareBps <= 10_000);
        assertLe(terms.workersPot(paid), paid);
        assertLe(terms.workersPot(terms.failureFee()), terms.failureFee());
        assertLe(uint256(bps) * terms.failureFee(), uint256(bps) * terms.poolPrice);
    }

    /// @dev Two pairs' parts, for every pot of 16 bits and every two shares: at most the pot, and at most one short.
    function check_TwoPartsAreAtMostThePot(uint16 pot, uint8 a, uint8 b) public pure {
        vm.assume(a >= 1 && a <= 30 && b >= 1 && b <= 30);
        uint256 total = uint256(a) + b;
        uint256 parts = uint256(pot) * a / total + uint256(pot) * b / total;
        assert(parts <= pot && parts + 1 >= pot);
    }

    /// @dev As many pairs as a task may have, every pot and every share: the parts are at most the pot, and what is lost
    /// by rounding is less than a unit each.
    function testFuzz_AllPartsAreAtMostThePot(uint128 pot, uint8[64] memory shares, uint8 count) public pure {
        uint256 pairs = bound(count, 1, 64);
        uint256 total = 0;
        for (uint256 i = 0; i < pairs; i++) {
            shares[i] = uint8(bound(shares[i], 1, 30));
            total += shares[i];
        }
        uint256 parts = 0;
        for (uint256 i = 0; i < pairs; i++) {
            parts += uint256(pot) * shares[i] / total;
        }
        assertLe(parts, pot);
        assertLt(pot - parts, pairs);
    }
}
