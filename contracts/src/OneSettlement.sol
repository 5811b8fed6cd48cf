// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Packing} from "./libraries/Packing.sol";
import {Rounds} from "./libraries/Rounds.sol";
import {Scales, Seat, Weighing} from "./libraries/Weighing.sol";
import {DealTerms} from "./types/Deals.sol";
import {DealId, RoundId} from "./types/Ids.sol";
import {ClosedWord, Contribution, Pair, Round} from "./types/Rounds.sol";
import {Appends} from "./types/Storage.sol";

/// @notice Pairs that are appended to one task, and the settlement of one task with them (ADR 0003).
abstract contract OneSettlement is BerthStorage, IRecourse {
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

    /// @dev In a pair's byte, in the event: it was paid.
    uint256 private constant PAID = 0x80;

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
        // Whether it is there, not where.
        // slither-disable-next-line unused-return
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
        seat.worker = pair.worker;
        _weighIn(seat, _bonds[terms.pool][pair.worker], terms.workerStake, one.punishing);
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
        if (terms.callback != address(0)) _owe(one.deal, task, PAIRED);
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
}
