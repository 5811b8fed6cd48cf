// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IBerthBase} from "./interfaces/IBerthBase.sol";
import {Ended} from "./libraries/Ended.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Packing} from "./libraries/Packing.sol";
import {Rounds} from "./libraries/Rounds.sol";
import {Signing} from "./libraries/Signing.sol";
import {Seat, Weighing} from "./libraries/Weighing.sol";
import {AssetId, DealId, RecordId, RoundId, TaskId} from "./types/Ids.sol";
import {Account, Appends, Bond, Deal, Signer, Stance, Word} from "./types/Storage.sol";
import {DealTerms} from "./types/Deals.sol";
import {Round} from "./types/Rounds.sol";

/// @notice What Berth and Recourse share: the layout of Berth's storage, and the steps that both take on it.
/// @dev Recourse runs on Berth's storage, so both must see one layout: neither declares a variable of its own, and a
/// test pins both layouts to one recording.
abstract contract BerthStorage is IBerthBase {
    /// @notice What of a deal a call has in hand: read once, changed in memory, stored once.
    /// @param open how many tasks have not ended
    /// @param claimed whether the deal was claimed
    /// @param headEnded which of the first 104 tasks have ended
    /// @param headClosed which of these a round has closed
    /// @param word which further word is in hand; zero: none
    /// @param ended which of its 104 tasks have ended
    /// @param closed which of these a round has closed
    struct Progress {
        uint256 open;
        bool claimed;
        uint256 headEnded;
        uint256 headClosed;
        uint256 word;
        uint256 ended;
        uint256 closed;
    }

    /// @dev How many tasks a word keeps: the deal's own, and each further one.
    uint256 internal constant WORD_TASKS = 104;

    /// @dev The most pairs that one task has, leaf and appended ones together.
    uint256 internal constant MAX_PAIRS = 64;

    /// @dev Digests below are failures.
    uint256 internal constant FAILURES = 1 << 8;

    /// @dev In the word of a record: it is there.
    uint256 internal constant RECORDED = 1 << 255;

    /// @dev What follows `index ‖ digest` in the events' lists of tasks that ended: nothing, or pairs, one byte each,
    /// after their number.
    bool internal constant UNPAIRED = false;
    bool internal constant PAIRED = true;

    /// @dev The longest span: a hundred years. It keeps every time that this contract computes below 2^40.
    uint64 private constant MAX_SPAN_CEILING = 3_155_760_000;

    IAssets internal immutable ASSETS;
    uint32 internal immutable MIN_DURATION;
    uint32 internal immutable MAX_DURATION;
    uint64 internal immutable MAX_SPAN;

    /// @dev slot 0
    mapping(address account => Account) internal _accounts;
    /// @dev slot 1
    mapping(DealId deal => Deal) internal _deals;
    /// @dev slot 2; from word 1 on: word 0 is in the deal's own slot
    mapping(DealId deal => mapping(uint256 word => Word)) internal _words;
    /// @dev slot 3
    // Recourse reads what Berth writes.
    // slither-disable-next-line uninitialized-state
    mapping(bytes32 order => uint32) internal _consumed;
    /// @dev slot 4
    // Recourse writes it, by delegatecall.
    // slither-disable-next-line uninitialized-state
    mapping(address signer => Signer) internal _signers;
    /// @dev slot 5
    mapping(AssetId pool => mapping(address worker => Bond)) internal _bonds;
    /// @dev slot 6
    // Recourse reads what Berth writes.
    // slither-disable-next-line uninitialized-state
    mapping(RoundId round => bool) internal _rounds;
    /// @dev slot 7
    mapping(DealId deal => mapping(uint256 index => Appends)) internal _appends;
    /// @dev slot 8; bit 255: there is such a record; bit i: its entry i was opened or punished
    mapping(RecordId record => uint256) internal _records;
    /// @dev slot 9
    // Recourse writes it, by delegatecall.
    // slither-disable-next-line uninitialized-state
    mapping(address signer => mapping(bytes32 order => Stance)) internal _stances;
    /// @dev slot 10; what a task was settled to, as long as its deal's callback waits for it
    mapping(TaskId task => bytes32) internal _due;

    constructor(IAssets assets_, uint32 minDuration, uint32 maxDuration, uint64 maxSpan) {
        require(
            minDuration > 0 && minDuration <= maxDuration && maxDuration <= maxSpan && maxSpan <= MAX_SPAN_CEILING,
            Berth_BadBounds(minDuration, maxDuration, maxSpan)
        );
        require(address(assets_).code.length > 0, Berth_NoContract(address(assets_)));
        ASSETS = assets_;
        MIN_DURATION = minDuration;
        MAX_DURATION = maxDuration;
        MAX_SPAN = maxSpan;
    }

    // Accounts. All free and locked money together is at most what the contract holds, and that was at most
    // 2^128 - 1 at the last deposit: so no sum of it overflows. The arithmetic is checked all the same.

    /// @dev Adds to an account's free money.
    function _credit(address holder, uint256 amount) internal {
        // Nothing is nothing, whoever could make it so.
        // slither-disable-next-line incorrect-equality
        if (amount == 0) return;
        // At most 2^128 - 1: see above.
        // forge-lint: disable-next-line(unsafe-typecast)
        _accounts[holder].free += uint128(amount);
    }

    /// @dev Takes from an account's free money.
    function _debit(address holder, uint256 amount) internal {
        uint128 free = _accounts[holder].free;
        require(free >= amount, Berth_FreeTooSmall(holder, free, amount));
        // Fits, since it is at most `free`.
        // forge-lint: disable-next-line(unsafe-typecast)
        _accounts[holder].free = free - uint128(amount);
    }

    /// @dev Moves free money to locked.
    function _lock(address holder, uint256 amount) internal {
        // As in `_credit`.
        // slither-disable-next-line incorrect-equality
        if (amount == 0) return;
        Account memory held = _accounts[holder];
        require(held.free >= amount, Berth_FreeTooSmall(holder, held.free, amount));
        // Fits, since it is at most `free`.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint128 moved = uint128(amount);
        _accounts[holder] = Account({free: held.free - moved, locked: held.locked + moved});
    }

    /// @dev Takes `amount` from an account's locked money, and gives `back` to its free money.
    function _release(address holder, uint256 amount, uint256 back) internal {
        if (amount == 0 && back == 0) return;
        Account memory held = _accounts[holder];
        // Both are sums of what this account locked or is owed, so at most 2^128 - 1: see above.
        // forge-lint: disable-next-item(unsafe-typecast)
        _accounts[holder] = Account({free: held.free + uint128(back), locked: held.locked - uint128(amount)});
    }

    // Deals.

    /// @dev What is kept of a known deal; its terms are then the ones that were matched.
    function _progressOf(DealId deal) internal view returns (Progress memory progress) {
        Deal memory kept = _deals[deal];
        require(kept.open != 0 || kept.ended != 0 || kept.claimed, Berth_UnknownDeal(deal));
        progress.open = kept.open;
        progress.claimed = kept.claimed;
        progress.headEnded = kept.ended;
        progress.headClosed = kept.closed;
    }

    /// @dev The place of a task in its deal.
    function _offsetOf(DealTerms calldata terms, uint32 index) internal pure returns (uint256) {
        require(terms.holds(index), Berth_IndexOutside(index, terms.first, terms.size));
        return index - terms.first;
    }

    /// @dev Ends a task in memory, by its offset in the deal; false if it had ended before.
    function _end(DealId deal, Progress memory progress, uint256 offset) internal returns (bool) {
        if (offset < WORD_TASKS) {
            uint256 bit = 1 << offset;
            if (progress.headEnded & bit != 0) return false;
            progress.headEnded |= bit;
        } else {
            _take(deal, progress, offset / WORD_TASKS);
            uint256 bit = 1 << (offset % WORD_TASKS);
            if (progress.ended & bit != 0) return false;
            progress.ended |= bit;
        }
        // Each task of the deal ends once and `open` began as their number.
        unchecked {
            progress.open--;
        }
        return true;
    }

    /// @dev Which tasks of a word have ended, and which a round has closed, as of this call.
    function _wordOf(DealId deal, Progress memory progress, uint256 word)
        internal
        returns (uint256 ended_, uint256 closed_)
    {
        if (word == 0) return (progress.headEnded, progress.headClosed);
        _take(deal, progress, word);
        return (progress.ended, progress.closed);
    }

    /// @dev Closes tasks of a word in memory.
    function _shut(DealId deal, Progress memory progress, uint256 word, uint256 bits) internal {
        if (word == 0) {
            progress.headClosed |= bits;
        } else {
            _take(deal, progress, word);
            progress.closed |= bits;
        }
    }

    /// @dev Puts away the further word in hand, and takes another.
    function _take(DealId deal, Progress memory progress, uint256 word) private {
        if (progress.word == word) return;
        _putAway(deal, progress);
        Word memory kept = _words[deal][word];
        (progress.word, progress.ended, progress.closed) = (word, kept.ended, kept.closed);
    }

    function _putAway(DealId deal, Progress memory progress) private {
        if (progress.word == 0) return;
        // Both were read from 104 bits, and got only bits of such.
        // forge-lint: disable-next-item(unsafe-typecast)
        (uint104 ended_, uint104 closed_) = (uint104(progress.ended), uint104(progress.closed));
        _words[deal][progress.word] = Word({ended: ended_, closed: closed_});
    }

    /// @dev Stores what a call has changed of a deal.
    function _store(DealId deal, Progress memory progress) internal {
        _putAway(deal, progress);
        // `open` only fell since it was read from 32 bits; the bits are as in a further word.
        // forge-lint: disable-next-item(unsafe-typecast)
        (uint32 open_, bool claimed, uint104 ended_, uint104 closed_) =
            (uint32(progress.open), progress.claimed, uint104(progress.headEnded), uint104(progress.headClosed));
        // From the stack, it is one write.
        _deals[deal] = Deal({open: open_, claimed: claimed, ended: ended_, closed: closed_});
    }

    /// @dev Whether a task is settled, declined or claimed, and whether a round has closed it.
    function _standing(DealId deal, uint256 offset) internal view returns (bool ended_, bool closed_) {
        Deal memory kept = _deals[deal];
        (uint256 endedBits, uint256 closedBits) = (kept.ended, kept.closed);
        if (offset >= WORD_TASKS) {
            Word memory further = _words[deal][offset / WORD_TASKS];
            (endedBits, closedBits) = (further.ended, further.closed);
        }
        uint256 bit = 1 << (offset % WORD_TASKS);
        return (kept.claimed || endedBits & bit != 0, closedBits & bit != 0);
    }

    /// @dev Pays for tasks that ended, `done` of them with a result and `failed` with a failure: everybody but the
    /// workers, who have had what is missing in `poolPart`.
    function _pay(DealTerms calldata terms, uint256 done, uint256 failed, uint256 poolPart) internal {
        // Prices are below 2^130, counts below 2^32; the fee is a part of the pool's price.
        unchecked {
            uint256 price = terms.price();
            uint256 stake = uint256(terms.poolStake) * (done + failed);
            _release(terms.payer, price * (done + failed), (price - terms.failureFee()) * failed);
            _credit(terms.appOwner, uint256(terms.appPrice) * done);
            _credit(terms.datasetOwner, uint256(terms.datasetPrice) * done);
            _release(terms.poolOwner, stake, stake + poolPart);
        }
    }

    // Rounds.

    /// @dev The id of a round that its operator has closed.
    function _requireRound(address operator, Round calldata round) internal view returns (RoundId id) {
        id = Rounds.idOf(operator, round);
        require(_rounds[id], Berth_UnknownRound(id));
    }

    /// @dev Fills a worker's seat with what counts of its bond now: weight and share by its score, and its owner if the
    /// bond covers the stake. `by` is the deal's last punish time.
    function _weighIn(Seat memory seat, Bond storage kept, uint256 stake, uint256 by) internal view {
        seat.weight = Weighing.weightOf(kept.score);
        seat.share = Weighing.shareOf(seat.weight);
        seat.owner = _owner(kept, stake, by);
    }

    /// @dev Pays the first `count` seats' owners what their workers have earned, and raises the scores; packs both as
    /// the event tells it.
    function _payWorkers(AssetId pool, Seat[] memory seats, uint256 count) internal returns (bytes memory workers) {
        workers = Packing.reserve(count * Packing.WORKER_BYTES);
        mapping(address worker => Bond) storage bonds = _bonds[pool];
        for (uint256 i = 0; i < count; ++i) {
            Seat memory seat = seats[i];
            _credit(seat.owner, seat.paid);
            if (seat.scored > 0) _raise(bonds[seat.worker], seat.scored);
            Packing.pushWorker(workers, seat);
        }
    }

    /// @dev Raises a score, up to the highest there is.
    function _raise(Bond storage kept, uint256 by) internal {
        uint256 score = kept.score + by;
        // The larger is cut off.
        // forge-lint: disable-next-line(unsafe-typecast)
        kept.score = score > type(uint32).max ? type(uint32).max : uint32(score);
    }

    /// @dev Keeps word of the pairs that a settlement left out, if there are any.
    function _record(DealId deal, bytes memory leftOut) internal {
        if (leftOut.length > 0) _records[Packing.recordOf(deal, leftOut)] = RECORDED;
    }

    // Deliveries.

    /// @dev Keeps what tasks were settled to, for the deal's callback, which hears nothing of failures. `tasks` are
    /// those that ended now, as the event tells them.
    function _owe(DealId deal, bytes memory tasks, bool paired) internal {
        uint256 at = 0;
        // Places within a list in memory.
        unchecked {
            while (at < tasks.length) {
                (uint256 index, bytes32 digest, uint256 pairs) = Ended.read(tasks, at);
                if (uint256(digest) >= FAILURES) _due[deal.task(index)] = digest;
                at += Ended.TASK_BYTES + (paired ? 1 + pairs : 0);
            }
        }
    }

    // Bonds.

    /// @dev The owner of a worker whose bond covers the deal; zero if it does not. `by` is the deal's last punish time.
    function _coveringOwner(DealTerms calldata terms, address worker, uint256 by) internal view returns (address) {
        return _owner(_bonds[terms.pool][worker], terms.workerStake, by);
    }

    function _owner(Bond storage kept, uint256 stake, uint256 by) private view returns (address) {
        (address owner, uint256 bonded) = (kept.owner, kept.bonded);
        if (bonded >= stake) return owner;
        // Two bonds of 96 bits.
        unchecked {
            if (kept.releaseAt > by && bonded + kept.unbonding >= stake) return owner;
        }
        return address(0);
    }

    // Signatures.

    function _requireSigned(address signer, bytes32 digest, bytes calldata signature) internal pure {
        require(Signing.isSignedBy(signer, digest, signature), Berth_BadSignature(signer, digest));
    }

    /// @dev Somebody signed this struct for this contract.
    function _requireWord(address signer, bytes32 structHash, bytes calldata signature) internal view {
        _requireSigned(signer, MessageHashUtils.toTypedDataHash(Hashing.domainSeparator(), structHash), signature);
    }
}
