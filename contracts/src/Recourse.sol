// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Ownership} from "./libraries/Ownership.sol";
import {Packing} from "./libraries/Packing.sol";
import {Rounds} from "./libraries/Rounds.sol";
import {Scales, Seat, Weighing} from "./libraries/Weighing.sol";
import {POOL, AssetId, DealId, RecordId, RoundId} from "./types/Ids.sol";
import {DealTerms} from "./types/Deals.sol";
import {ClosedWord, Contribution, Evidence, Opening, Pair, Round} from "./types/Rounds.sol";
import {Appends, Bond} from "./types/Storage.sol";

/// @title The slow path of Berth
/// @notice Runs in Berth's name, by delegatecall. Called directly it acts on its own storage, which says that nobody
/// has anything; it holds no money and calls no token.
/// @dev Nothing here calls out, but for a staticcall to Assets: there is nothing to re-enter from.
contract Recourse is BerthStorage, IRecourse {
    using Ownership for IAssets;

    /// @notice What the settlement of one task has in hand.
    /// @param deal the deal's id
    /// @param progress the deal's tasks
    /// @param index the task's index
    /// @param digest what its pairs open to
    /// @param trust the deal's
    /// @param closed whether a round has closed it
    /// @param round that round, where it is shown; else zero
    /// @param domain the domain separator
    /// @param punishing the deal's last punish time
    /// @param pad where answers and the leaf are hashed
    /// @param seats a seat a pair that may be weighed, by place
    /// @param commitments of these pairs
    /// @param inLeaf how many pairs its leaf has
    /// @param weighable how many pairs have a seat
    /// @param weighed how many were weighed in the end
    /// @param scales their weights
    struct One {
        DealId deal;
        Progress progress;
        uint256 index;
        bytes32 digest;
        uint32 trust;
        bool closed;
        RoundId round;
        bytes32 domain;
        uint256 punishing;
        bytes pad;
        Seat[] seats;
        bytes32[] commitments;
        uint256 inLeaf;
        uint256 weighable;
        uint256 weighed;
        Scales scales;
    }

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

    uint256 private constant MAX_DECLINED = 256;

    /// @dev In a pair's byte, in the event: it was paid.
    uint256 private constant PAID = 0x80;

    constructor(IAssets assets_, uint32 minDuration, uint32 maxDuration, uint64 maxSpan)
        BerthStorage(assets_, minDuration, maxDuration, maxSpan)
    {}

    /// @inheritdoc IRecourse
    function raiseEpoch(uint64 epoch) external {
        uint64 current = _epochs[msg.sender];
        require(epoch > current, Berth_EpochNotRaised(current, epoch));
        _epochs[msg.sender] = epoch;
        emit EpochRaised(msg.sender, epoch);
    }

    /// @inheritdoc IRecourse
    function bond(AssetId pool, address worker, uint128 amount, bytes calldata enlistment) external {
        Bond storage kept = _bonds[pool][worker];
        if (kept.owner == address(0)) _enlist(kept, pool, worker, enlistment);
        require(kept.owner == msg.sender, Berth_NotBondOwner(msg.sender, kept.owner));
        uint256 bonded = uint256(kept.bonded) + amount;
        // Together, so that a release never overflows either.
        require(bonded + kept.unbonding <= type(uint96).max, Berth_BondTooLarge(bonded + kept.unbonding));

        _debit(msg.sender, amount);
        // Checked above.
        // forge-lint: disable-next-line(unsafe-typecast)
        kept.bonded = uint96(bonded);
        emit Bonded(pool, worker, amount);
    }

    /// @inheritdoc IRecourse
    function unbond(AssetId pool, address worker, uint128 amount) external {
        Bond memory kept = _bonds[pool][worker];
        require(kept.owner == msg.sender, Berth_NotBondOwner(msg.sender, kept.owner));
        require(kept.bonded >= amount, Berth_BondTooSmall(kept.bonded, amount));
        uint256 releaseAt = block.timestamp + unbondDelay();

        // `amount` is at most `bonded`; the two together never pass 2^96 - 1 (see `bond`); the delay is below 2^36.
        // forge-lint: disable-next-item(unsafe-typecast)
        (kept.bonded, kept.unbonding, kept.releaseAt) =
        (kept.bonded - uint96(amount), kept.unbonding + uint96(amount), uint40(releaseAt));
        _bonds[pool][worker] = kept;
        // forge-lint: disable-next-line(unsafe-typecast)
        emit Unbonded(pool, worker, amount, uint64(releaseAt));
    }

    /// @inheritdoc IRecourse
    function withdrawBond(AssetId pool, address worker) external {
        Bond storage kept = _bonds[pool][worker];
        require(kept.owner == msg.sender, Berth_NotBondOwner(msg.sender, kept.owner));
        uint128 amount = kept.unbonding;
        require(amount > 0, Berth_NothingUnbonding(pool, worker));
        require(block.timestamp >= kept.releaseAt, Berth_BondHeld(kept.releaseAt));

        kept.unbonding = 0;
        _credit(msg.sender, amount);
        emit BondWithdrawn(pool, worker, amount);
    }

    /// @inheritdoc IRecourse
    function decline(DealTerms calldata terms, uint32[] calldata indexes) external {
        require(msg.sender == terms.operator, Berth_NotOperator(msg.sender, terms.operator));
        require(indexes.length <= MAX_DECLINED, Berth_BatchTooLarge(indexes.length, MAX_DECLINED));
        DealId deal = terms.id();
        Progress memory progress = _progressOf(deal);
        require(block.timestamp <= terms.closing(), Berth_TooLate(terms.closing()));

        uint32[] memory declined = new uint32[](indexes.length);
        uint256 count = 0;
        for (uint256 i = 0; i < indexes.length; i++) {
            uint32 index = indexes[i];
            uint256 offset = _offsetOf(terms, index);
            (, uint256 closed) = _wordOf(deal, progress, offset / WORD_TASKS);
            if (closed >> (offset % WORD_TASKS) & 1 != 0) continue;
            if (_end(deal, progress, offset)) declined[count++] = index;
        }
        if (count == 0) return;

        _store(deal, progress);
        bool stakeReturned = block.timestamp <= terms.freeDecline();
        uint256 price = terms.price() * count;
        uint256 stake = uint256(terms.poolStake) * count;
        _release(terms.payer, price, price);
        _release(terms.poolOwner, stake, stakeReturned ? stake : 0);
        emit TasksDeclined(deal, _shorten(declined, count), stakeReturned);
    }

    /// @inheritdoc IRecourse
    function claim(DealTerms calldata terms) external {
        DealId deal = terms.id();
        Progress memory progress = _progressOf(deal);
        require(progress.open > 0, Berth_NothingOpen(deal));
        require(block.timestamp > terms.settling(), Berth_TooEarly(terms.settling()));

        uint256 tasks = progress.open;
        (progress.open, progress.claimed) = (0, true);
        _store(deal, progress);
        uint256 price = terms.price() * tasks;
        _release(terms.payer, price, price);
        _release(terms.poolOwner, uint256(terms.poolStake) * tasks, 0);
        // Read from 32 bits.
        // forge-lint: disable-next-line(unsafe-typecast)
        emit DealClaimed(deal, uint32(tasks));
    }

    /// @inheritdoc IRecourse
    function append(
        DealTerms calldata terms,
        uint32 index,
        Round calldata round,
        Pair[] calldata leaf,
        bytes32[] calldata proof,
        Pair[] calldata added
    ) external {
        DealId deal = _requireAppendable(terms, index);
        Appends memory kept = _appends[deal][index];
        bytes memory pad = Rounds.pad(deal);
        if (kept.pairs == 0) {
            _requireTaskOf(terms, deal, index, round, leaf.length);
            _chainLeaf(pad, leaf);
            _requireLeaf(pad, terms, index, round, proof);
        } else {
            Rounds.chainFrom(pad, kept.chain);
        }
        uint256 pairs = added.length + (kept.pairs == 0 ? leaf.length : kept.pairs);
        require(added.length > 0 && pairs <= MAX_PAIRS, Berth_BadPairCount(index, pairs));
        for (uint256 i = 0; i < added.length; ++i) {
            Rounds.extend(pad, added[i].worker, added[i].commitment);
        }
        _storeAppends(deal, index, Rounds.chainOf(pad), pairs, added);
    }

    /// @inheritdoc IRecourse
    function appendAssigned(
        DealTerms calldata terms,
        uint32 index,
        address worker,
        bytes32 commitment,
        bytes calldata assignment,
        bytes calldata signature
    ) external {
        DealId deal = terms.id();
        Progress memory progress = _progressOf(deal);
        require(terms.trust > 1, Berth_NotReplicated(terms.trust));
        uint256 offset = _offsetOf(terms, index);
        require(block.timestamp > terms.closing(), Berth_TooEarly(terms.closing()));
        require(block.timestamp <= terms.appending(), Berth_TooLate(terms.appending()));
        require(!_requireOpen(deal, progress, offset, index), Berth_TaskClosed(index));
        Appends memory kept = _appends[deal][index];
        uint256 pairs = uint256(kept.pairs) + 1;
        require(pairs <= MAX_PAIRS, Berth_BadPairCount(index, pairs));
        _requireWord(terms.operator, Hashing.assignment(deal.task(index), worker), assignment);
        _requireWord(worker, Hashing.commitment(deal.task(index), commitment), signature);

        bytes memory pad = Rounds.pad(deal);
        Rounds.chainFrom(pad, kept.chain);
        Rounds.extend(pad, worker, commitment);
        Pair[] memory added = new Pair[](1);
        added[0] = Pair({worker: worker, commitment: commitment});
        _storeAppends(deal, index, Rounds.chainOf(pad), pairs, added);
    }

    /// @inheritdoc IRecourse
    function settleOne(
        DealTerms calldata terms,
        uint32 index,
        bytes32 digest,
        Round calldata round,
        Contribution[] calldata leaf,
        bytes32[] calldata proof,
        Contribution[] calldata appended
    ) external {
        // Check:
        One memory one;
        _beginOne(one, terms, index, digest);
        if (round.closed.length == 0) {
            _requireNeverClosed(one, terms, appended.length);
        } else {
            one.inLeaf = leaf.length;
            one.round = _requireTaskOf(terms, one.deal, index, round, leaf.length);
        }
        _makeSeats(one, one.inLeaf + appended.length);
        if (one.inLeaf > 0) {
            _seatLeaf(one, terms, round.root, leaf);
            _requireLeaf(one.pad, terms, index, round, proof);
        }
        if (appended.length > 0) _seatAppended(one, terms, appended);
        _weigh(one);

        // Effect:
        _finishOne(one, terms);
    }

    /// @inheritdoc IRecourse
    function publish(bytes32 root, address worker, bytes32 seed, bytes calldata signature) external {
        _requireWord(worker, Hashing.reveal(root, seed), signature);
        emit RevealPublished(root, worker, seed, signature);
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

    /// @inheritdoc IRecourse
    function appendsOf(DealId deal, uint32 index) external view returns (bytes32 chain, uint8 pairs) {
        Appends memory kept = _appends[deal][index];
        return (kept.chain, kept.pairs);
    }

    /// @inheritdoc IRecourse
    function recordOf(RecordId record) external view returns (uint256) {
        return _records[record];
    }

    /// @inheritdoc IRecourse
    function bondOf(AssetId pool, address worker)
        external
        view
        returns (address owner, uint128 bonded, uint128 unbonding, uint64 releaseAt, uint32 score)
    {
        Bond memory kept = _bonds[pool][worker];
        return (kept.owner, kept.bonded, kept.unbonding, kept.releaseAt, kept.score);
    }

    /// @inheritdoc IRecourse
    function covers(DealTerms calldata terms, address worker) external view returns (bool) {
        return _coveringOwner(terms, worker, terms.punishing()) != address(0);
    }

    /// @inheritdoc IRecourse
    function assets() external view returns (address) {
        return address(ASSETS);
    }

    /// @inheritdoc IRecourse
    function bounds() external view returns (uint32 minDuration, uint32 maxDuration, uint64 maxSpan) {
        return (MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }

    /// @inheritdoc IRecourse
    function unbondDelay() public view returns (uint64) {
        return MAX_SPAN + 12 * uint64(MAX_DURATION) + 1;
    }

    /// @dev Makes the sender the owner of a worker that has none, by the worker's own word.
    function _enlist(Bond storage kept, AssetId pool, address worker, bytes calldata enlistment) private {
        require(pool.kind() == POOL, Berth_WrongKind(pool, POOL));
        require(ASSETS.ownerOrNone(pool) != address(0), Berth_UnknownAsset(pool));
        bytes32 structHash = Hashing.enlistment(pool, msg.sender);
        _requireSigned(worker, MessageHashUtils.toTypedDataHash(Hashing.domainSeparator(), structHash), enlistment);
        kept.owner = msg.sender;
        emit WorkerEnlisted(pool, worker, msg.sender);
    }

    // Rounds.

    function _offsetOf(DealTerms calldata terms, uint32 index) private pure returns (uint256) {
        require(terms.holds(index), Berth_IndexOutside(index, terms.first, terms.size));
        return index - terms.first;
    }

    /// @dev The task has not ended; tells whether a round has closed it.
    function _requireOpen(DealId deal, Progress memory progress, uint256 offset, uint256 index) private returns (bool) {
        (uint256 ended, uint256 closed) = _wordOf(deal, progress, offset / WORD_TASKS);
        uint256 bit = 1 << (offset % WORD_TASKS);
        require(ended & bit == 0, Berth_TaskEnded(index));
        return closed & bit != 0;
    }

    /// @dev The deal's operator may append to the task now.
    function _requireAppendable(DealTerms calldata terms, uint32 index) private returns (DealId deal) {
        deal = terms.id();
        Progress memory progress = _progressOf(deal);
        require(msg.sender == terms.operator, Berth_NotOperator(msg.sender, terms.operator));
        require(terms.trust > 1, Berth_NotReplicated(terms.trust));
        uint256 offset = _offsetOf(terms, index);
        require(block.timestamp <= terms.closing(), Berth_TooLate(terms.closing()));
        _requireOpen(deal, progress, offset, index);
    }

    /// @dev The operator closed this round, it has the task, and a leaf may have so many pairs.
    function _requireTaskOf(DealTerms calldata terms, DealId deal, uint32 index, Round calldata round, uint256 pairs)
        private
        view
        returns (RoundId id)
    {
        id = _requireRound(terms.operator, round);
        require(_isInRound(round.closed, deal, index - terms.first), Berth_NotInRound(index));
        require(pairs > 0 && pairs <= MAX_PAIRS, Berth_BadPairCount(index, pairs));
    }

    function _chainLeaf(bytes memory pad, Pair[] calldata leaf) private pure {
        address previous = address(0);
        for (uint256 i = 0; i < leaf.length; ++i) {
            address worker = leaf[i].worker;
            require(worker > previous, Berth_WorkerNotAscending(previous, worker));
            previous = worker;
            Rounds.extend(pad, worker, leaf[i].commitment);
        }
    }

    function _isInRound(ClosedWord[] calldata list, DealId deal, uint256 offset) private pure returns (bool) {
        (uint256 found,) = Rounds.find(list, deal, offset / WORD_TASKS, 1 << (offset % WORD_TASKS));
        return found < list.length;
    }

    /// @dev The chain on the pad makes a leaf of the round's root, which closed the task.
    function _requireLeaf(
        bytes memory pad,
        DealTerms calldata terms,
        uint256 index,
        Round calldata round,
        bytes32[] calldata proof
    ) private pure {
        uint256 offset = index - terms.first;
        uint256 bit = 1 << (offset % WORD_TASKS);
        (uint256 found, uint256 before) = Rounds.find(round.closed, terms.id(), offset / WORD_TASKS, bit);
        (uint256[] memory places, bytes32[] memory leaves) = (new uint256[](1), new bytes32[](1));
        places[0] = before + Rounds.count(round.closed[found].bits & (bit - 1));
        leaves[0] = Rounds.leafOf(pad, index);
        bytes32 shown = Rounds.rootOf(Rounds.leavesOf(round.closed), 1, places, leaves, proof);
        // Zero is what a broken proof gives, also where somebody closed a round with that for its root.
        require(shown != 0 && shown == round.root, Berth_RootMismatch(round.root, shown));
    }

    function _storeAppends(DealId deal, uint32 index, bytes32 chain, uint256 pairs, Pair[] memory added) private {
        // At most 64.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint8 count = uint8(pairs);
        _appends[deal][index] = Appends({chain: chain, pairs: count});
        emit PairsAppended(deal, index, chain, count, added);
    }

    /// @dev Somebody signed this struct for this contract.
    function _requireWord(address signer, bytes32 structHash, bytes calldata signature) private view {
        _requireSigned(signer, MessageHashUtils.toTypedDataHash(Hashing.domainSeparator(), structHash), signature);
    }

    // One task.

    /// @dev Checks all but the pairs.
    function _beginOne(One memory one, DealTerms calldata terms, uint32 index, bytes32 digest) private {
        require(terms.trust > 1, Berth_NotReplicated(terms.trust));
        one.deal = terms.id();
        one.progress = _progressOf(one.deal);
        require(block.timestamp <= terms.settling(), Berth_TooLate(terms.settling()));
        uint256 offset = _offsetOf(terms, index);
        require(digest != 0, Berth_NoDigest(index));
        one.closed = _requireOpen(one.deal, one.progress, offset, index);
        one.trust = terms.trust;
        (one.index, one.digest, one.punishing) = (index, digest, terms.punishing());
        one.domain = Hashing.domainSeparator();
        one.pad = Rounds.pad(one.deal);
        Rounds.begin(one.pad, one.deal, index, digest);
    }

    /// @dev No round may come any more, nor any other append, and there are some.
    function _requireNeverClosed(One memory one, DealTerms calldata terms, uint256 appended) private view {
        require(!one.closed, Berth_TaskClosed(one.index));
        require(block.timestamp > terms.appending(), Berth_TooEarly(terms.appending()));
        require(appended > 0, Berth_BadPairCount(one.index, 0));
    }

    /// @dev Room for as many pairs as may count.
    function _makeSeats(One memory one, uint256 pairs) private pure {
        uint256 most = pairs < MAX_PAIRS ? pairs : MAX_PAIRS;
        (one.seats, one.commitments) = (new Seat[](most), new bytes32[](most));
    }

    function _seatLeaf(One memory one, DealTerms calldata terms, bytes32 root, Contribution[] calldata leaf)
        private
        view
    {
        address previous = address(0);
        for (uint256 i = 0; i < leaf.length; ++i) {
            address worker = leaf[i].worker;
            require(worker > previous, Berth_WorkerNotAscending(previous, worker));
            previous = worker;
            _sit(one, terms, leaf[i], _extend(one, leaf[i], root));
        }
    }

    function _seatAppended(One memory one, DealTerms calldata terms, Contribution[] calldata appended) private view {
        uint256 pairs = one.inLeaf + appended.length;
        require(pairs <= MAX_PAIRS, Berth_BadPairCount(one.index, pairs));
        for (uint256 i = 0; i < appended.length; ++i) {
            bytes32 commitment = _extend(one, appended[i], 0);
            if (!_isSeated(one, appended[i].worker)) _sit(one, terms, appended[i], commitment);
        }
        (bytes32 kept, bytes32 shown) = (_appends[one.deal][one.index].chain, Rounds.chainOf(one.pad));
        require(kept == shown, Berth_ChainMismatch(kept, shown));
    }

    /// @dev Adds a pair to the chain, and checks its reveal if it opens: of the root or, if that is zero, of the chain
    /// that ends in it.
    function _extend(One memory one, Contribution calldata pair, bytes32 root)
        private
        pure
        returns (bytes32 commitment)
    {
        bool opens = pair.signature.length > 0;
        commitment = opens ? Rounds.seal(one.pad, pair.worker, pair.seed) : pair.commitment;
        Rounds.extend(one.pad, pair.worker, commitment);
        if (!opens) return commitment;
        bytes32 structHash = Hashing.reveal(root == 0 ? Rounds.chainOf(one.pad) : root, pair.seed);
        _requireSigned(pair.worker, MessageHashUtils.toTypedDataHash(one.domain, structHash), pair.signature);
    }

    function _sit(One memory one, DealTerms calldata terms, Contribution calldata pair, bytes32 commitment)
        private
        view
    {
        Seat memory seat = one.seats[one.weighable];
        seat.opens = pair.signature.length > 0;
        _weighIn(seat, terms, pair.worker, one.punishing);
        one.commitments[one.weighable++] = commitment;
    }

    function _isSeated(One memory one, address worker) private pure returns (bool) {
        for (uint256 i = 0; i < one.weighable; ++i) {
            if (one.seats[i].worker == worker) return true;
        }
        return false;
    }

    /// @dev Weighs the leaf and, if that falls short, all.
    function _weigh(One memory one) private pure {
        Scales memory scales = one.scales;
        uint256 weighed = 0;
        bool enough = false;
        while (!enough && weighed < one.weighable) {
            uint256 until = weighed < one.inLeaf ? one.inLeaf : one.weighable;
            for (; weighed < until; ++weighed) {
                Seat memory seat = one.seats[weighed];
                Weighing.add(scales, seat, seat.opens && seat.owner != address(0));
            }
            enough = Weighing.suffices(scales, one.trust);
        }
        require(enough, Berth_TooLittleWeight(one.index, scales.group, scales.dissent, one.trust));
        one.weighed = weighed;
    }

    /// @dev Ends the task, and pays for it.
    function _finishOne(One memory one, DealTerms calldata terms) private {
        _end(one.deal, one.progress, one.index - terms.first);
        _store(one.deal, one.progress);
        bool failed = uint256(one.digest) < FAILURES;
        uint256 price = failed ? terms.failureFee() : terms.poolPrice;
        (uint256 parts, bytes memory marks, bytes memory leftOut) = _sharePot(one, terms.workersPot(price), !failed);
        _record(one.deal, leftOut);
        bytes memory workers = _payWorkers(terms.pool, one.seats, one.weighed);
        _pay(terms, failed ? 0 : 1, failed ? 1 : 0, price - parts);
        // An index has 32 bits, and there are at most 64 pairs.
        // forge-lint: disable-next-line(unsafe-typecast)
        bytes memory task = abi.encodePacked(uint32(one.index), one.digest, uint8(one.weighed), marks);
        emit TasksSettled(one.deal, one.round, task, workers, leftOut);
    }

    /// @dev Gives each pair that opened its part, in memory; tells the sum of all parts, whether paid or kept back, the
    /// pairs' bytes for the event, and the pairs that did not open.
    function _sharePot(One memory one, uint256 pot, bool scores)
        private
        pure
        returns (uint256 parts, bytes memory marks, bytes memory leftOut)
    {
        marks = new bytes(one.weighed);
        leftOut = Packing.reserve(one.weighed * Packing.LEFT_OUT_BYTES);
        for (uint256 i = 0; i < marks.length; ++i) {
            Seat memory seat = one.seats[i];
            uint256 part = pot * seat.share / one.scales.total;
            parts += part;
            bool paid = seat.opens && seat.owner != address(0);
            if (paid) (seat.paid, seat.scored) = (part, scores && one.scales.opened > 1 ? 1 : 0);
            if (!seat.opens) _leaveOut(leftOut, one, i);
            // A place is below 64.
            // forge-lint: disable-next-line(unsafe-typecast)
            marks[i] = bytes1(uint8(paid ? i | PAID : i));
        }
    }

    function _leaveOut(bytes memory leftOut, One memory one, uint256 i) private pure {
        Packing.pushLeftOut(leftOut, one.index, one.digest, one.seats[i], one.commitments[i], one.scales.total);
    }

    // Records.

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

    function _shorten(uint32[] memory list, uint256 length) private pure returns (uint32[] memory shorter) {
        if (length == list.length) return list;
        shorter = new uint32[](length);
        for (uint256 i = 0; i < length; i++) {
            shorter[i] = list[i];
        }
    }
}
