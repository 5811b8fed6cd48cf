// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealTerms} from "../../src/types/Deals.sol";
import {Contribution, Evidence, Opening, Pair} from "../../src/types/Rounds.sol";
import {Answers, Replicas, Sealed, Shown} from "../support/Replicas.sol";

/// @notice What the crew has won or lost, and the one-line forms of what attackers do.
abstract contract Purses is Replicas {
    uint256 internal constant POT = uint256(POOL_PRICE) * (10_000 - SHARE_BPS) / 10_000;

    /// @notice What a worker's owner has earned since the world began.
    function _earned(uint256 who) internal view returns (uint256) {
        return _free(crewOwners[who]) - 90 * uint256(WORKER_STAKE);
    }

    function _bonded(uint256 who) internal view returns (uint256 bonded) {
        (, bonded,,,) = berth.bondOf(pool, crew[who].addr);
    }

    function _scoreOf(uint256 who) internal view returns (uint256 score) {
        (,,,, score) = berth.bondOf(pool, crew[who].addr);
    }

    /// @dev As if the worker had earned it.
    function _giveScore(uint256 who, uint32 score) internal {
        bytes32 slot = keccak256(abi.encode(crew[who].addr, keccak256(abi.encode(pool, 5))));
        bytes32 second = bytes32(uint256(slot) + 1);
        uint256 kept = uint256(vm.load(address(berth), second)) & (1 << 136) - 1;
        vm.store(address(berth), second, bytes32(kept | uint256(score) << 136));
        assertEq(_scoreOf(who), score);
    }

    function _silent(uint256 who) internal pure returns (bool[] memory silent) {
        silent = new bool[](CREW);
        silent[who] = true;
    }

    function _opening(bytes32 salt) internal pure returns (Opening[] memory openings) {
        openings = new Opening[](1);
        openings[0] = Opening(0, salt);
    }

    function _evidence(bytes memory signature) internal pure returns (Evidence[] memory evidence) {
        evidence = new Evidence[](1);
        evidence[0] = Evidence(0, signature);
    }

    /// @dev One task of ten workers, of whom one answers otherwise; settled, its pair left out.
    function _outvoted(uint256 who, bytes32 answer)
        internal
        returns (DealTerms memory terms, bytes32 hidden, bytes memory leftOut)
    {
        terms = _replicated(1);
        Answers[] memory tasks = _agreed(terms, 1, CREW);
        tasks[0].digests[who] = answer;
        bytes32 result = _resultOf(0);
        Sealed memory round = _seal(terms, tasks, "round");
        Pair memory pair = _pairs(terms, tasks[0], "round")[who];
        bytes32[] memory digests = new bytes32[](1);
        digests[0] = result;
        _settleShown(round, _show(round, _only(round, 0), digests, new bool[](CREW)));
        assertTrue(berth.ended(_dealId(terms), 0));
        hidden = pair.commitment;
        leftOut = _leftOutEntry(0, result, pair.worker, hidden, 1, uint16(CREW));
    }
}
