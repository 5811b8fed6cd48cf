// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IBerthDirect} from "./interfaces/IBerth.sol";
import {Batch, Batches} from "./libraries/Batches.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Packing} from "./libraries/Packing.sol";
import {Rounds} from "./libraries/Rounds.sol";
import {Scales, Seat, Weighing} from "./libraries/Weighing.sol";
import {DealTerms} from "./types/Deals.sol";
import {DealId, RoundId} from "./types/Ids.sol";
import {ClosedWord, Closing, Reveal, Round, WordBits} from "./types/Rounds.sol";
import {Bond} from "./types/Storage.sol";

/// @notice Rounds of replicated tasks: their close, and their settlement in batches (ADR 0003).
abstract contract RoundSettlement is BerthStorage, IBerthDirect {
    /// @notice What the settlement of a batch has in hand.
    /// @param deal the deal's id
    /// @param round the round's id
    /// @param progress the deal's tasks, without what `batch` has ended of the word in hand
    /// @param first the index of the deal's first task
    /// @param size how many tasks the deal has
    /// @param failurePot the workers' part of what a failed task pays its pool
    /// @param start where the packed tasks begin in calldata
    /// @param word which word of the deal's tasks is in hand
    /// @param bits which of its tasks the round closed, from the one on that it was turned to for
    /// @param place where that one's leaf stands in the round
    /// @param turned how many leaves were shown before
    /// @param table the workers
    /// @param places where the leaves shown so far stand, if they were the first after a turn; else zero
    /// @param leaves these leaves
    /// @param pad where pairs are hashed that are not plain
    /// @param scales their weights
    /// @param told the tasks that ended, as the event tells them
    /// @param leftOut the pairs of these that did not open
    /// @param unopened how many pairs of all tasks did not open
    /// @param failed how many tasks ended with a failure
    /// @param parts the sum of all parts of pots that `batch` does not count
    /// @param batch what the loop over plain tasks has in hand
    struct Bulk {
        DealId deal;
        RoundId round;
        Progress progress;
        uint256 first;
        uint256 size;
        uint256 failurePot;
        uint256 start;
        uint256 word;
        uint256 bits;
        uint256 place;
        uint256 turned;
        Seat[] table;
        uint256[] places;
        bytes32[] leaves;
        bytes pad;
        bytes told;
        bytes leftOut;
        uint256 unopened;
        uint256 failed;
        uint256 parts;
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
        bulk.deal = terms.id();
        Batches.claim(bulk.deal);
        _beginBatch(bulk, terms, round);
        bulk.table = _seat(terms, round.root, workers);
        _reserve(bulk, tasks);

        // Effect: in memory, task by task, while its leaf is checked.
        uint256 at = bulk.start;
        do {
            _turnTo(bulk, round.closed, at);
            uint256 next = Batches.run(bulk.batch, at);
            at = next > at ? next : _weigh(bulk, at);
        } while (at < bulk.batch.end);

        // Check:
        require(bulk.unopened <= MAX_LEFT_OUT, Berth_BatchTooLarge(bulk.unopened, MAX_LEFT_OUT));
        bytes32 shown = _rootOf(bulk, round.closed, proof);
        // Zero is what a broken proof gives, also where somebody closed a round with that for its root.
        require(shown != 0 && shown == round.root, Berth_RootMismatch(round.root, shown));

        // Effect:
        if (bulk.batch.done + bulk.failed > 0) _finish(bulk, terms);
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
        bulk.progress = _progressOf(bulk.deal);
        uint256 settling = terms.settling();
        require(block.timestamp <= settling, Berth_TooLate(settling));
        bulk.round = _requireRound(terms.operator, round);
        (bulk.first, bulk.size) = (terms.first, terms.size);
        batch.ended = bulk.progress.headEnded;
        batch.pot = terms.workersPot(terms.poolPrice);
        bulk.failurePot = terms.workersPot(terms.failureFee());
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
        mapping(address worker => Bond) storage bonds = _bonds[terms.pool];
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
            _weighIn(seat, bonds[worker], terms.workerStake, punishing);
            seat.worker = worker;
            if (seat.opens && seat.owner != address(0)) Batches.enter(i, seat);
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
        bulk.pad = Rounds.pad(bulk.deal);
        bulk.told = Packing.reserve(length);
        // A pair that does not open has 33 bytes of the tasks, and 91 there.
        unchecked {
            batch.end = bulk.start + length;
            batch.leafAt = Packing.firstOf(bulk.leaves);
            batch.leavesEnd = batch.leafAt + 32 * MAX_TASKS;
            batch.toldAt = Packing.firstOf(bulk.told);
            bulk.leftOut = Packing.reserve(3 * length);
        }
    }

    /// @dev How many tasks are shown so far.
    function _shown(Bulk memory bulk) private pure returns (uint256) {
        unchecked {
            return (bulk.batch.leafAt - Packing.firstOf(bulk.leaves)) / 32;
        }
    }

    /// @dev Makes the task at `at` the next of the word in hand, if it is not: takes the word of the round that closed it.
    function _turnTo(Bulk memory bulk, ClosedWord[] calldata list, uint256 at) private {
        Batch memory batch = bulk.batch;
        // Places within calldata. An index below the first wraps around, to an offset beyond every size.
        unchecked {
            if (batch.end - at < TASK_BYTES) _refuseLength(bulk);
            uint256 shown = _shown(bulk);
            require(shown < MAX_TASKS, Berth_BatchTooLarge(MAX_TASKS + 1, MAX_TASKS));
            uint256 index = Packing.indexAt(at);
            uint256 offset = index - bulk.first;
            require(offset < bulk.size, Berth_IndexOutside(index, bulk.first, bulk.size));
            // Which word, and then where it begins.
            // slither-disable-next-line divide-before-multiply
            (uint256 word, uint256 bit) = (offset / WORD_TASKS, 1 << (offset % WORD_TASKS));
            if (word == bulk.word && bit == _lowest(batch.rest)) return;
            (uint256 found, uint256 place) = Rounds.find(list, bulk.deal, word, bit);
            require(found < list.length, Berth_NotInRound(index));
            uint256 bits = list[found].bits;
            place += Rounds.count(bits & (bit - 1));
            if (shown > 0 && place < bulk.place + shown - bulk.turned) _refuseOrder(bulk, index);
            if (word != bulk.word) {
                _keepWord(bulk);
                (batch.ended,) = _wordOf(bulk.deal, bulk.progress, word);
                bulk.word = word;
            }
            batch.from = bulk.first + word * WORD_TASKS;
            batch.rest = bulk.bits = bits & ~(bit - 1);
            bulk.place = bulk.places[shown] = place;
            bulk.turned = shown;
        }
    }

    function _lowest(uint256 bits) private pure returns (uint256) {
        unchecked {
            return bits & (~bits + 1);
        }
    }

    /// @dev Tells the deal's tasks what has ended of the word in hand.
    function _keepWord(Bulk memory bulk) private pure {
        if (bulk.word == 0) bulk.progress.headEnded = bulk.batch.ended;
        else bulk.progress.ended = bulk.batch.ended;
    }

    function _refuseLength(Bulk memory bulk) private pure {
        revert Berth_BadTasksLength(bulk.batch.end - bulk.start);
    }

    function _refuseOrder(Bulk memory bulk, uint256 index) private pure {
        // The last that was taken of the word in hand.
        uint256 last = bulk.batch.from + Math.log2(bulk.bits ^ bulk.batch.rest);
        revert Berth_IndexNotAscending(last, index);
    }

    /// @dev Weighs the task at `at`, which is the next of the word in hand, notes its leaf, and ends it if it is open and
    /// those that opened outweigh the others as far as the deal's trust asks; tells where the next task begins.
    function _weigh(Bulk memory bulk, uint256 at) private pure returns (uint256 next) {
        Batch memory batch = bulk.batch;
        Scales memory scales;
        bytes memory pad = bulk.pad;
        // Places within calldata, and counts of what stands there.
        unchecked {
            uint256 index = Packing.indexAt(at);
            bytes32 digest = Packing.wordAt(at + INDEX_BYTES);
            require(digest != 0, Berth_NoDigest(index));
            uint256 pairs = Packing.byteAt(at + TASK_BYTES - 1);
            require(pairs > 0 && pairs <= MAX_PAIRS, Berth_BadPairCount(index, pairs));
            Rounds.begin(pad, bulk.deal, index, digest);
            next = at + TASK_BYTES + pairs;
            if (next > batch.end) _refuseLength(bulk);
            uint256 least = 0;
            for (uint256 pair = next - pairs; pairs > 0; --pairs) {
                uint256 marked = Packing.byteAt(pair++);
                uint256 rank = marked & ~OPENS;
                require(rank >= least && rank < bulk.table.length, Berth_BadRank(index, rank));
                least = rank + 1;
                Seat memory seat = bulk.table[rank];
                bytes32 commitment = 0;
                if (marked == rank) {
                    commitment = Packing.wordAt(next);
                    next += COMMITMENT_BYTES;
                    if (next > batch.end) _refuseLength(bulk);
                    ++bulk.unopened;
                } else {
                    require(seat.opens, Berth_NotRevealed(index, seat.worker));
                    commitment = Rounds.seal(pad, seat.worker, seat.seed);
                }
                Rounds.extend(pad, seat.worker, commitment);
                Weighing.add(scales, seat, marked != rank && seat.owner != address(0));
            }
            Packing.putWord(batch.leafAt, Rounds.leafOf(pad, index));
            batch.leafAt += 32;
            uint256 bit = _lowest(batch.rest);
            batch.rest ^= bit;
            if (batch.ended & bit == 0 && Weighing.suffices(scales, batch.trust)) {
                batch.ended |= bit;
                _share(bulk, scales, at);
            }
        }
    }

    /// @dev Tells of a task that has ended, and shares its pot; keeps what did not open.
    function _share(Bulk memory bulk, Scales memory scales, uint256 at) private pure {
        // Parts are rounded down, so all of a task's are at most its pot, and that is at most its price. What all tasks
        // pay is at most what the deal has locked.
        unchecked {
            (uint256 pot, uint256 scored) = (bulk.batch.pot, scales.opened > 1 ? 1 : 0);
            if (uint256(Packing.wordAt(at + INDEX_BYTES)) < FAILURES) {
                (pot, scored) = (bulk.failurePot, 0);
                ++bulk.failed;
            } else {
                ++bulk.batch.done;
            }
            uint256 pair = at + TASK_BYTES;
            uint256 next = pair + Packing.byteAt(pair - 1);
            bulk.batch.toldAt = Packing.copy(bulk.batch.toldAt, at, next - at);
            for (uint256 end = next; pair < end; ++pair) {
                uint256 marked = Packing.byteAt(pair);
                Seat memory seat = bulk.table[marked & ~OPENS];
                uint256 part = pot * seat.share / scales.total;
                bulk.parts += part;
                if (marked & OPENS == 0) {
                    _leaveOut(bulk, at, seat, next, scales.total);
                    next += COMMITMENT_BYTES;
                } else if (seat.owner != address(0)) {
                    seat.paid += part;
                    seat.scored += scored;
                } else {
                    // In the event, it was not paid.
                    Packing.put(bulk.batch.toldAt - (end - pair), marked & ~OPENS);
                }
            }
        }
    }

    function _leaveOut(Bulk memory bulk, uint256 at, Seat memory seat, uint256 commitment, uint256 total) private pure {
        bytes32 digest = Packing.wordAt(at + INDEX_BYTES);
        Packing.pushLeftOut(bulk.leftOut, Packing.indexAt(at), digest, seat, Packing.wordAt(commitment), total);
    }

    /// @dev The root that the leaves shown give, with the siblings that are missing.
    function _rootOf(Bulk memory bulk, ClosedWord[] calldata list, bytes32[] calldata proof)
        private
        pure
        returns (bytes32)
    {
        (uint256 leaves, uint256 shown) = (Rounds.leavesOf(list), _shown(bulk));
        if (shown < leaves) {
            // The places between two turns are in a row.
            unchecked {
                for (uint256 i = 1; i < shown; ++i) {
                    if (bulk.places[i] == 0) bulk.places[i] = bulk.places[i - 1] + 1;
                }
            }
        }
        return Rounds.rootOf(leaves, shown, bulk.places, bulk.leaves, proof);
    }

    /// @dev Stores and pays out what a batch has come to.
    function _finish(Bulk memory bulk, DealTerms calldata terms) private {
        Batch memory batch = bulk.batch;
        Packing.trim(bulk.leftOut);
        Packing.endAt(bulk.told, batch.toldAt);
        uint256 parts = bulk.parts + Batches.leave(bulk.table);
        (uint256 done, uint256 failed) = (batch.done, bulk.failed);
        uint256 poolPart = 0;
        // Each task that ended was open. The parts of a pot are at most a price.
        unchecked {
            bulk.progress.open -= done + failed;
            poolPart = terms.poolPrice * done + terms.failureFee() * failed - parts;
        }
        _keepWord(bulk);
        _store(bulk.deal, bulk.progress);
        _record(bulk.deal, bulk.leftOut);
        bytes memory workers = _payWorkers(terms.pool, bulk.table, bulk.table.length);
        _pay(terms, done, failed, poolPart);
        emit TasksSettled(bulk.deal, bulk.round, bulk.told, workers, bulk.leftOut);
        if (terms.callback != address(0)) _owe(bulk.deal, bulk.told, PAIRED);
    }
}
