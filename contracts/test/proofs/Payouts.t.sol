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

    /// @dev paid * share <= paid * 10,000, and so for their quotients by 10,000: a line of arithmetic that no solver here
    /// gets through at 128 bits, nor at 64.
    function testFuzz_ThePotIsAtMostWhatIsPaid(DealTerms calldata terms, uint128 paid, uint16 bps) public pure {
        vm.assume(terms.operatorShareBps <= 10_000);
        assertLe(terms.workersPot(paid), paid);
        assertLe(terms.workersPot(terms.failureFee()), terms.failureFee());
        assertLe(uint256(bps) * terms.failureFee(), uint256(bps) * terms.poolPrice);
    }

    /// @dev Two pairs' parts, whatever the pot and the shares: at most the pot, and at most one short. With
    /// pot = k * total + rest, each part is k times its share, and the part that it has of the rest; so the rests, which
    /// are fewer than 60, stand for all pots. All of them are gone through.
    function test_TwoPartsAreAtMostThePot() public pure {
        for (uint256 a = 1; a <= 30; a++) {
            for (uint256 b = a; b <= 30; b++) {
                uint256 total = a + b;
                for (uint256 rest = 0; rest < total; rest++) {
                    uint256 parts = rest * a / total + rest * b / total;
                    assert(parts <= rest && parts + 1 >= rest);
                }
            }
        }
    }

    /// @dev The step from the rests to all pots: what a part is of a pot with `k` totals more.
    function testFuzz_APartOfWholeTotalsIsWhole(uint112 k, uint8 share, uint16 total, uint16 rest) public pure {
        total = uint16(bound(total, 1, 64 * 30));
        (share, rest) = (uint8(bound(share, 1, 30)), uint16(bound(rest, 0, total - 1)));
        uint256 pot = uint256(k) * total + rest;
        assertEq(pot * share / total, uint256(k) * share + uint256(rest) * share / total);
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
