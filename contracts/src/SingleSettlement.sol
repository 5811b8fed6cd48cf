// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IBerthDirect} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Packing} from "./libraries/Packing.sol";
import {Signing} from "./libraries/Signing.sol";
import {DealTerms, WorkerResults} from "./types/Deals.sol";
import {DealId} from "./types/Ids.sol";

/// @notice The settlement of tasks that one worker did: from lists that it signed.
abstract contract SingleSettlement is BerthStorage, IBerthDirect {
    /// @notice What a settlement knows before it looks at a list.
    /// @param deal the deal's id
    /// @param domain the domain separator
    /// @param punishing the deal's last punish time
    /// @param fee what a failed task's pool is paid
    /// @param pot what a task's worker is paid
    /// @param failurePot what a failed task's worker is paid
    struct Settlement {
        DealId deal;
        bytes32 domain;
        uint256 punishing;
        uint256 fee;
        uint256 pot;
        uint256 failurePot;
    }

    uint256 private constant MAX_LISTS = 256;
    uint256 private constant MAX_ENTRIES = 256;

    /// @dev `uint32 index, bytes32 digest`.
    uint256 private constant ENTRY_BYTES = 36;
    uint256 private constant INDEX_BYTES = 4;

    /// @inheritdoc IBerthDirect
    function settleSingles(DealTerms calldata terms, WorkerResults[] calldata results) external {
        // Check:
        require(terms.trust <= 1, Berth_NotSingle(terms.trust));
        require(results.length <= MAX_LISTS, Berth_BatchTooLarge(results.length, MAX_LISTS));
        Settlement memory settlement;
        settlement.deal = terms.id();
        Progress memory progress = _progressOf(settlement.deal);
        uint256 settling = terms.settling();
        require(block.timestamp <= settling, Berth_TooLate(settling));
        settlement.domain = Hashing.domainSeparator();
        settlement.punishing = terms.punishing(settling);
        settlement.fee = terms.failureFee();
        settlement.pot = terms.workersPot(terms.poolPrice);
        settlement.failurePot = terms.workersPot(settlement.fee);

        // Effect:
        uint256 open = progress.open;
        uint256 failed = 0;
        for (uint256 i = 0; i < results.length; ++i) {
            failed += _settleList(terms, settlement, progress, results[i]);
        }
        // Every task that ended came off the number of the open ones, and the failed ones are among them.
        unchecked {
            uint256 endedNow = open - progress.open;
            if (endedNow == 0) return;
            _store(settlement.deal, progress);
            uint256 done = endedNow - failed;
            // A pot is a part of its price.
            uint256 poolPart =
                (terms.poolPrice - settlement.pot) * done + (settlement.fee - settlement.failurePot) * failed;
            _pay(terms, done, failed, poolPart);
        }
    }

    /// @dev Ends the tasks of one list in memory, and pays the worker's owner; tells how many of them failed.
    function _settleList(
        DealTerms calldata terms,
        Settlement memory settlement,
        Progress memory progress,
        WorkerResults calldata list
    ) private returns (uint256 failed) {
        bytes calldata entries = list.entries;
        address worker = list.worker;
        require(
            entries.length > 0 && entries.length % ENTRY_BYTES == 0 && entries.length <= MAX_ENTRIES * ENTRY_BYTES,
            Berth_BadListLength(entries.length)
        );
        bytes32 structHash = Hashing.singleResults(settlement.deal, keccak256(entries));
        _requireSigned(worker, MessageHashUtils.toTypedDataHash(settlement.domain, structHash), list.signature);
        if (msg.sender != terms.operator) _requireAssigned(terms, settlement, list);

        address owner = _coveringOwner(terms, worker, settlement.punishing);
        if (owner == address(0)) {
            emit ListSkipped(settlement.deal, worker);
            return 0;
        }
        uint256 open = progress.open;
        bytes memory kept;
        (failed, kept) = _endEntries(terms, settlement.deal, progress, entries);
        // As in `settleSingles`; a pot is below 2^128 and a list has at most 256 entries.
        unchecked {
            uint256 endedNow = open - progress.open;
            if (endedNow == 0) return 0;
            _credit(owner, settlement.pot * (endedNow - failed) + settlement.failurePot * failed);
        }
        emit SinglesSettled(settlement.deal, worker, kept);
        if (terms.callback != address(0)) _owe(settlement.deal, kept, UNPAIRED);
    }

    /// @dev Each entry has the operator's word that this worker may run the task.
    function _requireAssigned(DealTerms calldata terms, Settlement memory settlement, WorkerResults calldata list)
        private
        pure
    {
        // The length is a multiple of ENTRY_BYTES.
        // slither-disable-next-line divide-before-multiply
        uint256 count = list.entries.length / ENTRY_BYTES;
        uint256 needed = count * Signing.SIGNATURE_BYTES;
        require(list.assignments.length == needed, Berth_BadAssignmentsLength(list.assignments.length, needed));
        uint256 at = Packing.placeOf(list.entries);
        for (uint256 i = 0; i < count; i++) {
            bytes32 structHash =
                Hashing.assignment(settlement.deal.task(Packing.indexAt(at + i * ENTRY_BYTES)), list.worker);
            uint256 first = i * Signing.SIGNATURE_BYTES;
            _requireSigned(
                terms.operator,
                MessageHashUtils.toTypedDataHash(settlement.domain, structHash),
                list.assignments[first:first + Signing.SIGNATURE_BYTES]
            );
        }
    }

    /// @dev Ends in memory whatever is open, and copies it, run by run, into `kept`; tells how many of them failed.
    function _endEntries(DealTerms calldata terms, DealId deal, Progress memory progress, bytes calldata entries)
        private
        returns (uint256 failed, bytes memory kept)
    {
        uint256 first = terms.first;
        uint256 size = terms.size;
        uint256 least = 0;
        uint256 run = Packing.placeOf(entries);
        kept = Packing.reserve(entries.length);
        uint256 to = Packing.firstOf(kept);
        // The length is a multiple of ENTRY_BYTES, so that a whole entry is at every `at`. An index below `first`
        // wraps around, to an offset beyond every size.
        unchecked {
            uint256 end = run + entries.length;
            for (uint256 at = run; at < end; at += ENTRY_BYTES) {
                uint256 index = Packing.indexAt(at);
                uint256 digest = uint256(Packing.wordAt(at + INDEX_BYTES));
                require(index >= least, Berth_IndexNotAscending(least - 1, index));
                require(index - first < size, Berth_IndexOutside(index, first, size));
                require(digest != 0, Berth_NoDigest(index));
                least = index + 1;
                if (_end(deal, progress, index - first)) {
                    if (digest < FAILURES) ++failed;
                } else {
                    to = Packing.copy(to, run, at - run);
                    run = at + ENTRY_BYTES;
                }
            }
            Packing.endAt(kept, Packing.copy(to, run, end - run));
        }
    }
}
