// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IBerthDirect} from "./interfaces/IBerth.sol";
import {Batch, Batches} from "./libraries/Batches.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Packing} from "./libraries/Packing.sol";
import {Rounds} from "./libraries/Rounds.sol";
import {Seat} from "./libraries/Weighing.sol";
import {DealTerms} from "./types/Deals.sol";
import {DealId, RoundId} from "./types/Ids.sol";
import {ClosedWord, Closing, Reveal, Round, WordBits} from "./types/Rounds.sol";

/// @notice Rounds of replicated tasks: their close, and their settlement in batches (ADR 0003).
abstract contract RoundSettlement is BerthStorage, IBerthDirect {
    /// @notice What the settlement of a batch has in hand.
    /// @param round the round's id
    /// @param progress the deal's tasks, without what `batch` has ended of the word in hand
    /// @param first the index of the deal's first task
    /// @param size how many tasks the deal has
    /// @param start where the packed tasks begin in calldata
    /// @param word which word of the deal's tasks is in hand
    /// @param table the workers
    /// @param places where the leaves shown so far stand
    /// @param leaves these leaves
    /// @param told the tasks that ended, as the event tells them
    /// @param leftOut the pairs of these that did not open
    /// @param batch what the loop has in hand
    struct Bulk {
        RoundId round;
        Progress progress;
        uint256 first;
        uint256 size;
        uint256 start;
        uint256 word;
        Seat[] table;
        uint256[] places;
        bytes32[] leaves;
        bytes told;
        bytes leftOut;
        Batch batch;
    }

    uint256 private constant MAX_WORDS = 64;
    uint256 private constant MAX_TABLE = 128;
    uint256 private constant MAX_TASKS = 256;
    uint256 private constant MAX_LEFT_OUT = 255;

    /// @dev `uint32 index, bytes32 digest, uint8 n`.
    uint256 private constant TASK_BYTES = 37;
    uint256 private constant INDEX_BYTES = 4;
    uint256 private constant COMMITMENT_BYTES = 32;

    /// @dev In a pair's byte: it opens, or, in the event, it was paid. The rest is its worker's rank.
    uint256 private constant OPENS = 0x80;

    /// @inheritdoc IBerthDirect
    function close(bytes32 root, Closing[] calldata deals) external returns (RoundId round) {
        uint256 words = 0;
        for (uint256 i = 0; i < deals.length; ++i) {
            words += deals[i].words.length;
        }
        require(words > 0, Berth_BadBits(DealId.wrap(0), 0, 0));
        require(words <= MAX_WORDS, Berth_BatchTooLarge(words, MAX_WORDS));

        ClosedWord[] memory list = new ClosedWord[](words);
        uint256 listed = 0;
        for (uint256 i = 0; i < deals.length; ++i) {
            listed = _closeIn(deals[i].terms, deals[i].words, list, listed);
        }
        round = RoundId.wrap(keccak256(abi.encode(msg.sender, root, list)));
        _rounds[round] = true;
        emit RoundClosed(round, msg.sender, root, list);
    }

    /// @inheritdoc IBerthDirect
    function settle(
        DealTerms calldata terms,
        Round calldata round,
        Reveal[] calldata workers,
        bytes calldata tasks,
        bytes32[] calldata proof
    ) external {
        // Check:
        Bulk memory bulk;
        _beginBatch(bulk, terms, round);
        bulk.table = _seat(terms, round.root, workers);
        _reserve(bulk, tasks);

        // Effect: in memory, task by task, while its leaf is checked.
        Batch memory batch = bulk.batch;
        uint256 at = bulk.start;
        do {
            uint256 next = Batches.weigh(batch, at);
            if (next == 0) {
                _turnTo(bulk, round.closed, at);
                next = Batches.weigh(batch, at);
                if (next == 0) _refuse(bulk, at);
            }
            if (Batches.end(batch, at)) _paySome(bulk, at);
            at = next;
        } while (at < batch.end);

        // Check:
        require(batch.unopened <= MAX_LEFT_OUT, Berth_BatchTooLarge(batch.unopened, MAX_LEFT_OUT));
        bytes32 shown = Rounds.rootOf(Rounds.leavesOf(round.closed), _shown(bulk), bulk.places, bulk.leaves, proof);
        // Zero is what a broken proof gives, also where somebody closed a round with that for its root.
        require(shown != 0 && shown == round.root, Berth_RootMismatch(round.root, shown));

        // Effect:
        if (batch.done + batch.failed > 0) _finish(bulk, terms);
    }

    /// @dev Closes tasks of one deal, and adds its words to the round's from `listed` on; gives how many it has then.
    function _closeIn(DealTerms calldata terms, WordBits[] calldata words, ClosedWord[] memory list, uint256 listed)
        private
        returns (uint256)
    {
        DealId deal = terms.id();
        Progress memory progress = _progressOf(deal);
        require(msg.sender == terms.operator, Berth_NotOperator(msg.sender, terms.operator));
        require(terms.trust > 1, Berth_NotReplicated(terms.trust));
        uint256 closing = terms.closing();
        require(block.timestamp <= closing, Berth_TooLate(closing));

        uint256 least = 0;
        for (uint256 i = 0; i < words.length; ++i) {
            (uint32 word, uint104 bits) = (words[i].word, words[i].bits);
            require(word >= least && bits != 0 && _isWithin(word, bits, terms.size), Berth_BadBits(deal, word, bits));
            least = uint256(word) + 1;
            _closeWord(deal, progress, word, bits);
            list[listed++] = ClosedWord(deal, word, bits);
        }
        _store(deal, progress);
        return listed;
    }

    /// @dev Whether a deal of `size` tasks has all of a word's.
    function _isWithin(uint256 word, uint256 bits, uint256 size) private pure returns (bool) {
        // A word number has 32 bits.
        unchecked {
            uint256 start = word * WORD_TASKS;
            if (start >= size) return false;
            return size - start >= WORD_TASKS || bits >> (size - start) == 0;
        }
    }

    function _closeWord(DealId deal, Progress memory progress, uint32 word, uint104 bits) private {
        (uint256 ended_, uint256 closed_) = _wordOf(deal, progress, word);
        // Bits of `bits`.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint104 taken = uint104((ended_ | closed_) & bits);
        require(taken == 0, Berth_AlreadyClosed(deal, word, taken));
        _shut(deal, progress, word, bits);
    }

    /// @dev Checks all that concerns the batch as a whole, and reads what its tasks need of the terms.
    function _beginBatch(Bulk memory bulk, DealTerms calldata terms, Round calldata round) private view {
        Batch memory batch = bulk.batch;
        batch.trust = terms.trust;
        require(batch.trust > 1, Berth_NotReplicated(terms.trust));
        batch.deal = terms.id();
        bulk.progress = _progressOf(batch.deal);
        uint256 settling = terms.settling();
        require(block.timestamp <= settling, Berth_TooLate(settling));
        bulk.round = _requireRound(terms.operator, round);
        (bulk.first, bulk.size) = (terms.first, terms.size);
        batch.ended = bulk.progress.headEnded;
        batch.pot = terms.workersPot(terms.poolPrice);
        batch.failurePot = terms.workersPot(terms.failureFee());
    }

    /// @dev Seats the workers: each by its reveal, if it has one, its bond and its score.
    function _seat(DealTerms calldata terms, bytes32 root, Reveal[] calldata workers)
        private
        view
        returns (Seat[] memory table)
    {
        require(workers.length <= MAX_TABLE, Berth_BatchTooLarge(workers.length, MAX_TABLE));
        table = new Seat[](workers.length);
        bytes32 domain = Hashing.domainSeparator();
        uint256 punishing = terms.punishing();
        address previous = address(0);
        for (uint256 i = 0; i < workers.length; ++i) {
            Reveal calldata reveal = workers[i];
            address worker = reveal.worker;
            require(worker > previous, Berth_WorkerNotAscending(previous, worker));
            previous = worker;
            Seat memory seat = table[i];
            if (reveal.signature.length > 0) {
                bytes32 structHash = Hashing.reveal(root, reveal.seed);
                _requireSigned(worker, MessageHashUtils.toTypedDataHash(domain, structHash), reveal.signature);
                (seat.seed, seat.opens) = (reveal.seed, true);
            }
            _weighIn(seat, terms, worker, punishing);
        }
    }

    /// @dev Makes room for what `length` bytes of tasks may give. `leftOut` is last, and trimmed in the end.
    function _reserve(Bulk memory bulk, bytes calldata tasks) private pure {
        uint256 length = tasks.length;
        Batch memory batch = bulk.batch;
        bulk.start = Packing.placeOf(tasks);
        // At least one, for a list too short for any is refused by its length.
        uint256 most = length / TASK_BYTES + 1;
        if (most > MAX_TASKS) most = MAX_TASKS;
        bulk.places = new uint256[](most);
        bulk.leaves = new bytes32[](most);
        Batches.furnish(batch, bulk.table);
        bulk.told = Packing.reserve(length);
        // A pair that does not open has 33 bytes of the tasks, and 91 there.
        unchecked {
            batch.end = bulk.start + length;
            batch.placeAt = Packing.firstOf(bulk.places);
            batch.placesEnd = batch.placeAt + 32 * MAX_TASKS;
            batch.toLeaf = Packing.firstOf(bulk.leaves) - batch.placeAt;
            batch.toldAt = Packing.firstOf(bulk.told);
            bulk.leftOut = Packing.reserve(3 * length);
        }
    }

    /// @dev How many tasks are shown so far.
    function _shown(Bulk memory bulk) private pure returns (uint256) {
        unchecked {
            return (bulk.batch.placeAt - Packing.firstOf(bulk.places)) / 32;
        }
    }

    /// @dev Makes the task at `at` the next of the word in hand: takes the word of the round that closed it.
    function _turnTo(Bulk memory bulk, ClosedWord[] calldata list, uint256 at) private {
        Batch memory batch = bulk.batch;
        // Places within calldata. An index below the first wraps around, to an offset beyond every size.
        unchecked {
            if (batch.end - at < TASK_BYTES) _refuseLength(bulk);
            uint256 shown = _shown(bulk);
            require(shown < MAX_TASKS, Berth_BatchTooLarge(MAX_TASKS + 1, MAX_TASKS));
            uint256 index = _indexAt(at);
            uint256 offset = index - bulk.first;
            require(offset < bulk.size, Berth_IndexOutside(index, bulk.first, bulk.size));
            // Which word, and then where it begins.
            // slither-disable-next-line divide-before-multiply
            (uint256 word, uint256 bit) = (offset / WORD_TASKS, 1 << (offset % WORD_TASKS));
            (uint256 found, uint256 before) = Rounds.find(list, batch.deal, word, bit);
            require(found < list.length, Berth_NotInRound(index));
            uint256 bits = list[found].bits;
            uint256 place = before + Rounds.count(bits & (bit - 1));
            require(shown == 0 || place > batch.place, Berth_IndexNotAscending(_indexAt(batch.before), index));
            if (word != bulk.word) {
                _keepWord(bulk);
                (batch.ended,) = _wordOf(batch.deal, bulk.progress, word);
                bulk.word = word;
            }
            batch.from = bulk.first + word * WORD_TASKS;
            batch.rest = bits & ~(bit - 1);
            batch.place = place - 1;
        }
    }

    /// @dev Tells the deal's tasks what has ended of the word in hand.
    function _keepWord(Bulk memory bulk) private pure {
        if (bulk.word == 0) bulk.progress.headEnded = bulk.batch.ended;
        else bulk.progress.ended = bulk.batch.ended;
    }

    function _indexAt(uint256 at) private pure returns (uint256) {
        return uint256(Packing.wordAt(at)) >> 224;
    }

    function _refuseLength(Bulk memory bulk) private pure {
        revert Berth_BadTasksLength(bulk.batch.end - bulk.start);
    }

    /// @dev Says what is wrong with the task at `at`, which is the next of the word in hand.
    function _refuse(Bulk memory bulk, uint256 at) private pure {
        // Places within calldata.
        unchecked {
            uint256 index = _indexAt(at);
            require(Packing.wordAt(at + INDEX_BYTES) != 0, Berth_NoDigest(index));
            uint256 pairs = Packing.byteAt(at + TASK_BYTES - 1);
            require(pairs > 0 && pairs <= MAX_PAIRS, Berth_BadPairCount(index, pairs));
            at += TASK_BYTES;
            uint256 rest = at + pairs;
            uint256 least = 0;
            for (; pairs > 0 && rest <= bulk.batch.end; --pairs) {
                uint256 marked = Packing.byteAt(at++);
                uint256 rank = marked & ~OPENS;
                require(rank >= least && rank < bulk.table.length, Berth_BadRank(index, rank));
                least = rank + 1;
                if (marked == rank) rest += COMMITMENT_BYTES;
                else require(bulk.table[rank].opens, Berth_NotRevealed(index, bulk.table[rank].worker));
            }
            _refuseLength(bulk);
        }
    }

    /// @dev Shares the pot of a task that has ended, and of which not all is paid; keeps what did not open.
    function _paySome(Bulk memory bulk, uint256 at) private pure {
        // Parts are rounded down, so all of a task's are at most its pot, and that is at most its price. What all tasks
        // pay is at most what the deal has locked.
        unchecked {
            Batch memory batch = bulk.batch;
            bool failed = uint256(Packing.wordAt(at + INDEX_BYTES)) < FAILURES;
            uint256 pot = failed ? batch.failurePot : batch.pot;
            uint256 scored = !failed && batch.opened > 1 ? 1 : 0;
            uint256 pairs = Packing.byteAt(at + TASK_BYTES - 1);
            uint256 next = at + TASK_BYTES + pairs;
            for (uint256 i = 0; i < pairs; ++i) {
                uint256 marked = Packing.byteAt(at + TASK_BYTES + i);
                Seat memory seat = bulk.table[marked & ~OPENS];
                uint256 part = pot * seat.share / batch.total;
                batch.parts += part;
                if (marked & OPENS == 0) {
                    _leaveOut(bulk, at, seat, Packing.wordAt(next));
                    next += COMMITMENT_BYTES;
                } else if (seat.owner != address(0)) {
                    seat.paid += part;
                    seat.scored += scored;
                } else {
                    // The pairs' bytes are the last that the loop copied for the event.
                    Packing.put(batch.toldAt - pairs + i, marked & ~OPENS);
                }
            }
        }
    }

    function _leaveOut(Bulk memory bulk, uint256 at, Seat memory seat, bytes32 commitment) private pure {
        bytes32 digest = Packing.wordAt(at + INDEX_BYTES);
        Packing.pushLeftOut(bulk.leftOut, _indexAt(at), digest, seat, commitment, bulk.batch.total);
    }

    /// @dev Stores and pays out what a batch has come to.
    function _finish(Bulk memory bulk, DealTerms calldata terms) private {
        Batch memory batch = bulk.batch;
        Packing.trim(bulk.leftOut);
        Packing.endAt(bulk.told, batch.toldAt);
        Batches.clear(batch, bulk.table);
        (uint256 done, uint256 failed) = (batch.done, batch.failed);
        uint256 poolPart = 0;
        // Each task that ended was open. The parts of a pot are at most a price.
        unchecked {
            bulk.progress.open -= done + failed;
            poolPart = terms.poolPrice * done + terms.failureFee() * failed - batch.parts;
        }
        _keepWord(bulk);
        _store(batch.deal, bulk.progress);
        _record(batch.deal, bulk.leftOut);
        bytes memory workers = _payWorkers(terms.pool, bulk.table, bulk.table.length);
        _pay(terms, done, failed, poolPart);
        emit TasksSettled(batch.deal, bulk.round, bulk.told, workers, bulk.leftOut);
    }
}
