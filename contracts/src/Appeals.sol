// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BerthStorage} from "./BerthStorage.sol";
import {IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Packing} from "./libraries/Packing.sol";
import {Rounds} from "./libraries/Rounds.sol";
import {DealTerms} from "./types/Deals.sol";
import {DealId, RecordId} from "./types/Ids.sol";
import {Evidence, Opening} from "./types/Rounds.sol";
import {Bond} from "./types/Storage.sol";

/// @notice What becomes of the pairs that a settlement left out: opened, or punished (ADR 0003).
abstract contract Appeals is BerthStorage, IRecourse {
    /// @notice An entry of a record.
    /// @param index the task's index
    /// @param digest what it was settled to
    /// @param worker whose pair was left out
    /// @param commitment the pair's
    /// @param share the worker's
    /// @param total the sum of all shares of the task
    struct LeftOut {
        uint256 index;
        bytes32 digest;
        address worker;
        bytes32 commitment;
        uint256 share;
        uint256 total;
    }

    /// @inheritdoc IRecourse
    function open(DealTerms calldata terms, bytes calldata leftOut, Opening[] calldata openings) external {
        DealId deal = terms.id();
        (RecordId record, uint256 word) = _requireRecord(deal, leftOut);
        require(block.timestamp <= terms.opening(), Berth_TooLate(terms.opening()));
        for (uint256 i = 0; i < openings.length; ++i) {
            uint256 entry = openings[i].entry;
            LeftOut memory left = _entryOf(leftOut, entry);
            if (word >> entry & 1 != 0) continue;
            word |= 1 << entry;
            _openEntry(terms, deal, left, entry, openings[i].salt);
        }
        _records[record] = word;
    }

    /// @inheritdoc IRecourse
    function punish(DealTerms calldata terms, bytes calldata leftOut, Evidence[] calldata evidence) external {
        DealId deal = terms.id();
        (RecordId record, uint256 word) = _requireRecord(deal, leftOut);
        require(block.timestamp > terms.opening(), Berth_TooEarly(terms.opening()));
        require(block.timestamp <= terms.punishing(), Berth_TooLate(terms.punishing()));
        for (uint256 i = 0; i < evidence.length; ++i) {
            uint256 entry = evidence[i].entry;
            LeftOut memory left = _entryOf(leftOut, entry);
            if (word >> entry & 1 != 0) continue;
            word |= 1 << entry;
            _requireWord(left.worker, Hashing.commitment(deal.task(left.index), left.commitment), evidence[i].signature);
            _slash(terms, deal, left);
        }
        _records[record] = word;
    }

    function _requireRecord(DealId deal, bytes calldata leftOut) private view returns (RecordId record, uint256 word) {
        record = Packing.recordOf(deal, leftOut);
        word = _records[record];
        require(word != 0, Berth_UnknownRecord(record));
    }

    function _entryOf(bytes calldata leftOut, uint256 entry) private pure returns (LeftOut memory left) {
        uint256 entries = leftOut.length / Packing.LEFT_OUT_BYTES;
        require(entry < entries, Berth_BadEntry(entry, entries));
        uint256 at = entry * Packing.LEFT_OUT_BYTES;
        left.index = uint32(bytes4(leftOut[at:]));
        left.digest = bytes32(leftOut[at + 4:]);
        left.worker = address(bytes20(leftOut[at + 36:]));
        left.commitment = bytes32(leftOut[at + 56:]);
        left.share = uint8(leftOut[at + 88]);
        left.total = uint16(bytes2(leftOut[at + 89:]));
    }

    /// @dev Pays the owner of a worker that was left out what was kept for it, if its bond covers the deal.
    function _openEntry(DealTerms calldata terms, DealId deal, LeftOut memory left, uint256 entry, bytes32 salt)
        private
    {
        bytes memory pad = Rounds.pad(deal);
        Rounds.begin(pad, deal, left.index, left.digest);
        require(Rounds.sealWithSalt(pad, left.worker, salt) == left.commitment, Berth_WrongSalt(entry));

        bool failed = uint256(left.digest) < FAILURES;
        uint256 part = 0;
        address owner = _coveringOwner(terms, left.worker, terms.punishing());
        bool scored = !failed && owner != address(0);
        if (owner != address(0)) {
            uint256 pot = terms.workersPot(failed ? terms.failureFee() : terms.poolPrice);
            part = pot * left.share / left.total;
            _credit(owner, part);
        }
        if (scored) _raise(_bonds[terms.pool][left.worker], 1);
        // A part of a price, and an index that was packed in 32 bits.
        // forge-lint: disable-next-line(unsafe-typecast)
        emit ShareOpened(deal, uint32(left.index), left.worker, uint128(part), scored);
    }

    /// @dev Burns a worker's stake, from its bond first, and a third of its score.
    function _slash(DealTerms calldata terms, DealId deal, LeftOut memory left) private {
        Bond memory kept = _bonds[terms.pool][left.worker];
        (uint256 bonded, uint256 unbonding) = (kept.bonded, kept.unbonding);
        uint256 slashed = bonded + unbonding < terms.workerStake ? bonded + unbonding : terms.workerStake;
        uint256 fromBonded = slashed < bonded ? slashed : bonded;
        // Each is at most what it was before, or a part of it.
        // forge-lint: disable-next-item(unsafe-typecast)
        (kept.bonded, kept.unbonding, kept.score) =
        (uint96(bonded - fromBonded), uint96(unbonding - (slashed - fromBonded)), uint32(uint256(kept.score) * 2 / 3));
        _bonds[terms.pool][left.worker] = kept;
        // forge-lint: disable-next-line(unsafe-typecast)
        emit WorkerPunished(deal, uint32(left.index), left.worker, uint128(slashed), kept.score);
    }
}
