// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IBerthDirect, IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Offers} from "./libraries/Offers.sol";
import {Ownership} from "./libraries/Ownership.sol";
import {Packing} from "./libraries/Packing.sol";
import {Rounds} from "./libraries/Rounds.sol";
import {Signing} from "./libraries/Signing.sol";
import {Scales, Seat, Weighing} from "./libraries/Weighing.sol";
import {AssetId, DealId, RoundId} from "./types/Ids.sol";
import {Orders, PoolOrder, RequestOrder, Signatures, UNLIMITED} from "./types/Orders.sol";
import {DealSubject, DealTerms, WorkerResults} from "./types/Deals.sol";
import {ClosedWord, Closing, Reveal, Round, WordBits} from "./types/Rounds.sol";
import {Account, Deal} from "./types/Storage.sol";
import {Deadlines} from "./libraries/Deadlines.sol";
import {Payouts} from "./libraries/Payouts.sol";

/// @title Berth
/// @dev Reentrancy. The token is called in deposits and withdrawals only. Those are under one lock, since a deposit
/// counts what arrives while the token runs. All else may be entered from the token: at that time nothing is half
/// done, for a deposit has changed nothing yet and a withdrawal everything. A match makes staticcalls, in which state
/// can't change. Settlements call nobody. So nothing else needs a lock.
contract Berth is BerthStorage, ReentrancyGuardTransient, IBerthDirect {
    using SafeERC20 for IERC20;
    using Ownership for IAssets;

    /// @notice The owners of a match's assets; the dataset's is zero when there is none.
    struct Owners {
        address app;
        address dataset;
        address pool;
    }

    /// @notice The EIP-712 digests of a match's orders; the dataset's is zero when there is none.
    struct Digests {
        bytes32 app;
        bytes32 dataset;
        bytes32 pool;
        bytes32 request;
    }

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

    /// @notice What a settlement of a round has in hand.
    /// @param deal the deal's id
    /// @param round the round's id
    /// @param progress the deal's tasks
    /// @param trust the deal's, as it was matched
    /// @param first the index of the deal's first task
    /// @param size how many tasks the deal has
    /// @param poolPrice what a task pays its pool
    /// @param pot the workers' part of it
    /// @param fee what a failed task pays its pool
    /// @param failurePot the workers' part of it
    /// @param table the workers
    /// @param pad where answers and leaves are hashed
    /// @param task the task in hand
    /// @param bits of the word of the round in hand: the tasks that it closed
    /// @param start the offset of its first task
    /// @param before how many leaves the round has before it
    /// @param places where the leaves shown so far stand
    /// @param leaves these leaves
    /// @param shown how many these are
    /// @param unopened how many pairs did not open, so far
    /// @param done how many tasks ended with a result
    /// @param failed how many ended with a failure
    /// @param poolPart what the pool's owner gets
    /// @param ended the tasks that ended, as the event tells them
    /// @param leftOut the pairs of these that did not open
    struct Batch {
        DealId deal;
        RoundId round;
        Progress progress;
        uint256 trust;
        uint256 first;
        uint256 size;
        uint256 poolPrice;
        uint256 pot;
        uint256 fee;
        uint256 failurePot;
        Seat[] table;
        bytes pad;
        Task task;
        uint256 bits;
        uint256 start;
        uint256 before;
        uint256[] places;
        bytes32[] leaves;
        uint256 shown;
        uint256 unopened;
        uint256 done;
        uint256 failed;
        uint256 poolPart;
        bytes ended;
        bytes leftOut;
    }

    /// @notice One task of a batch.
    /// @param index the task's index
    /// @param digest what its pairs open to
    /// @param pairs how many it has
    /// @param at where its pairs' bytes begin
    /// @param next where what comes after them begins
    /// @param scales its pairs' weights
    /// @param pot what its pairs share
    struct Task {
        uint256 index;
        bytes32 digest;
        uint256 pairs;
        uint256 at;
        uint256 next;
        Scales scales;
        uint256 pot;
    }

    uint256 private constant MAX_WORDS = 64;
    uint256 private constant MAX_TABLE = 128;
    uint256 private constant MAX_TASKS = 256;
    uint256 private constant MAX_LEFT_OUT = 255;

    /// @dev `uint32 index, bytes32 digest, uint8 n`.
    uint256 private constant TASK_BYTES = 37;
    uint256 private constant COMMITMENT_BYTES = 32;

    /// @dev In a pair's byte: it opens, or, in the event, it was paid. The rest is its worker's rank.
    uint256 private constant OPENS = 0x80;

    uint256 private constant MAX_LISTS = 256;
    uint256 private constant MAX_ENTRIES = 256;

    /// @dev `uint32 index, bytes32 digest`.
    uint256 private constant ENTRY_BYTES = 36;
    uint256 private constant INDEX_BYTES = 4;

    IERC20 private immutable TOKEN;
    address private immutable RECOURSE;

    constructor(
        IERC20 token_,
        IAssets assets_,
        address recourse_,
        uint32 minDuration,
        uint32 maxDuration,
        uint64 maxSpan
    ) BerthStorage(assets_, minDuration, maxDuration, maxSpan) {
        require(address(token_).code.length > 0, Berth_NoContract(address(token_)));
        require(recourse_.code.length > 0, Berth_NoContract(recourse_));
        (uint32 min, uint32 max, uint64 span) = IRecourse(recourse_).bounds();
        require(
            IRecourse(recourse_).assets() == address(assets_) && min == minDuration && max == maxDuration
                && span == maxSpan,
            Berth_RecourseMismatch(recourse_)
        );
        TOKEN = token_;
        RECOURSE = recourse_;
    }

    /// @notice Everything else is Recourse's.
    // A fallback has no documentation in an interface, and its input is the whole call.
    fallback(bytes calldata input) external returns (bytes memory) {
        return Address.functionDelegateCall(RECOURSE, input);
    }

    /// @inheritdoc IBerthDirect
    function deposit(uint256 amount) external {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IBerthDirect
    function depositFor(address account_, uint256 amount) external {
        require(account_ != address(0), Berth_BadRecipient(account_));
        _deposit(account_, amount);
    }

    /// @inheritdoc IBerthDirect
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // A permit that was shown to the token before fails here, and has left the allowance.
        // slither-disable-next-line unused-return
        try IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IBerthDirect
    function withdraw(address to, uint256 amount) external nonReentrant {
        require(to != address(0) && to != address(this), Berth_BadRecipient(to));
        _debit(msg.sender, amount);
        emit Withdrawn(msg.sender, to, amount);
        TOKEN.safeTransfer(to, amount);
    }

    /// @inheritdoc IBerthDirect
    function matchOrders(Orders calldata orders, Signatures calldata signatures) external returns (DealId deal) {
        // Check:
        RequestOrder calldata request = orders.request;
        Offers.requireFit(orders, MIN_DURATION, MAX_DURATION);
        require(
            request.payer == request.requester || request.payer == msg.sender,
            Berth_PayerAbsent(request.payer, msg.sender)
        );
        Owners memory owners = _ownersOf(orders);
        Offers.requireRules(orders, ASSETS, owners.app, owners.dataset, owners.pool);
        Digests memory digests = _requireAuthorised(orders, signatures, owners);

        // Effect:
        (uint32 first, uint32 size) = _consume(orders, digests);
        uint256 span = Deadlines.span(request.duration, size, orders.pool.parallel);
        require(span <= MAX_SPAN, Berth_SpanTooLong(span, MAX_SPAN));
        DealTerms memory terms = _termsOf(orders, owners, digests.request, first, size);
        // A price is below 2^130, so its product with a size fits.
        unchecked {
            _lock(terms.payer, Payouts.price(terms.appPrice, terms.datasetPrice, terms.poolPrice) * size);
            _lock(terms.poolOwner, uint256(terms.poolStake) * size);
        }
        // No two matches have the same terms: `first` rises with each deal of a request.
        deal = DealId.wrap(keccak256(abi.encode(terms)));
        _deals[deal] = Deal({open: size, claimed: false, ended: 0, closed: 0});

        emit DealMatched(deal, terms.pool, request.requester, terms, _subjectOf(orders, digests));
    }

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
        Batch memory batch;
        _beginBatch(batch, terms, round);
        batch.table = _seat(terms, round.root, workers);
        _reserve(batch, tasks.length);

        // Effect: in memory, task by task, while its leaf is checked.
        uint256 at = 0;
        do {
            at = _settleTask(batch, round.closed, tasks, at);
        } while (at < tasks.length);

        // Check:
        require(batch.unopened <= MAX_LEFT_OUT, Berth_BatchTooLarge(batch.unopened, MAX_LEFT_OUT));
        bytes32 shown = Rounds.rootOf(Rounds.leavesOf(round.closed), batch.shown, batch.places, batch.leaves, proof);
        // Zero is what a broken proof gives, also where somebody closed a round with that for its root.
        require(shown != 0 && shown == round.root, Berth_RootMismatch(round.root, shown));

        // Effect:
        if (batch.done + batch.failed > 0) _finish(batch, terms);
    }

    /// @inheritdoc IBerthDirect
    function account(address holder) external view returns (uint128 free, uint128 locked) {
        Account memory held = _accounts[holder];
        return (held.free, held.locked);
    }

    /// @inheritdoc IBerthDirect
    function dealState(DealId deal) external view returns (Deal memory) {
        return _deals[deal];
    }

    /// @inheritdoc IBerthDirect
    function ended(DealId deal, uint256 offset) external view returns (bool) {
        (bool ended_,) = _standing(deal, offset);
        return ended_;
    }

    /// @inheritdoc IBerthDirect
    function closed(DealId deal, uint256 offset) external view returns (bool) {
        (, bool closed_) = _standing(deal, offset);
        return closed_;
    }

    /// @inheritdoc IBerthDirect
    function isRound(RoundId round) external view returns (bool) {
        return _rounds[round];
    }

    /// @inheritdoc IBerthDirect
    function consumed(bytes32 order) external view returns (uint32) {
        return _consumed[order];
    }

    /// @inheritdoc IBerthDirect
    function epochOf(address signer) external view returns (uint64) {
        return _epochs[signer];
    }

    /// @inheritdoc IBerthDirect
    function domainSeparator() external view returns (bytes32) {
        return Hashing.domainSeparator();
    }

    /// @inheritdoc IERC5267
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        // 0x0f: name, version, chain id and contract are there, a salt is not.
        return (hex"0f", Hashing.NAME, Hashing.VERSION, block.chainid, address(this), bytes32(0), new uint256[](0));
    }

    /// @inheritdoc IBerthDirect
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc IBerthDirect
    function recourse() external view returns (address) {
        return RECOURSE;
    }

    /// @dev Pulls from the sender, and credits what arrived.
    function _deposit(address holder, uint256 amount) private nonReentrant {
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        uint256 held = TOKEN.balanceOf(address(this));
        // Keeps the sum of all accounts and bonds within 128 bits.
        require(held <= type(uint128).max, Berth_HeldTooLarge(held));
        _credit(holder, held - before);
        emit Deposited(holder, msg.sender, held - before);
    }

    /// @dev The owners of the assets of a match, all of which must exist.
    function _ownersOf(Orders calldata orders) private view returns (Owners memory owners) {
        owners.app = _ownerOf(orders.app.app);
        if (!orders.dataset.dataset.isNone()) owners.dataset = _ownerOf(orders.dataset.dataset);
        owners.pool = _ownerOf(orders.pool.pool);
    }

    function _ownerOf(AssetId asset) private view returns (address owner) {
        owner = ASSETS.ownerOrNone(asset);
        require(owner != address(0), Berth_UnknownAsset(asset));
    }

    /// @dev Each order is in time, of its signer's epoch, and signed.
    function _requireAuthorised(Orders calldata orders, Signatures calldata signatures, Owners memory owners)
        private
        view
        returns (Digests memory digests)
    {
        bytes32 domain = Hashing.domainSeparator();
        digests.app = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.app));
        _requireOrder(digests.app, orders.app.expiry, orders.app.epoch, owners.app, signatures.app);
        if (!orders.dataset.dataset.isNone()) {
            digests.dataset = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.dataset));
            _requireOrder(
                digests.dataset, orders.dataset.expiry, orders.dataset.epoch, owners.dataset, signatures.dataset
            );
        }
        digests.pool = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.pool));
        _requireOrder(digests.pool, orders.pool.expiry, orders.pool.epoch, owners.pool, signatures.pool);
        digests.request = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.request));
        _requireOrder(
            digests.request, orders.request.expiry, orders.request.epoch, orders.request.requester, signatures.request
        );
    }

    function _requireOrder(bytes32 digest, uint64 expiry, uint64 epoch, address signer, bytes calldata signature)
        private
        view
    {
        require(block.timestamp <= expiry, Berth_OrderExpired(digest, expiry));
        uint64 current = _epochs[signer];
        require(epoch >= current, Berth_OrderCancelled(digest, epoch, current));
        _requireSigned(signer, digest, signature);
    }

    /// @dev Takes as many tasks as all orders have left: `size`, after the `first` that the request had used.
    function _consume(Orders calldata orders, Digests memory digests) private returns (uint32 first, uint32 size) {
        bool hasDataset = !orders.dataset.dataset.isNone();
        first = _consumed[digests.request];
        size = orders.request.volume - first;
        require(size > 0, Berth_OrderConsumed(digests.request));
        size = _atMost(size, digests.app, orders.app.volume);
        if (hasDataset) size = _atMost(size, digests.dataset, orders.dataset.volume);
        size = _atMost(size, digests.pool, orders.pool.volume);

        _consumed[digests.request] = first + size;
        if (orders.app.volume != UNLIMITED) _consumed[digests.app] += size;
        if (hasDataset && orders.dataset.volume != UNLIMITED) _consumed[digests.dataset] += size;
        if (orders.pool.volume != UNLIMITED) _consumed[digests.pool] += size;
    }

    function _atMost(uint32 size, bytes32 digest, uint32 volume) private view returns (uint32) {
        if (volume == UNLIMITED) return size;
        uint32 left = volume - _consumed[digest];
        require(left > 0, Berth_OrderConsumed(digest));
        return left < size ? left : size;
    }

    function _termsOf(Orders calldata orders, Owners memory owners, bytes32 digest, uint32 first, uint32 size)
        private
        view
        returns (DealTerms memory terms)
    {
        PoolOrder calldata pool = orders.pool;
        RequestOrder calldata request = orders.request;
        terms.request = digest;
        terms.pool = pool.pool;
        terms.appOwner = owners.app;
        terms.datasetOwner = owners.dataset;
        terms.poolOwner = owners.pool;
        terms.operator = pool.operator;
        terms.payer = request.payer;
        terms.callback = request.callback;
        terms.appPrice = orders.app.price;
        // Without a dataset nobody would be paid its price.
        if (!orders.dataset.dataset.isNone()) terms.datasetPrice = orders.dataset.price;
        terms.poolPrice = pool.price;
        terms.poolStake = pool.poolStake;
        terms.workerStake = pool.workerStake;
        terms.operatorShareBps = pool.operatorShareBps;
        terms.parallel = pool.parallel;
        terms.duration = request.duration;
        terms.trust = request.trust;
        terms.first = first;
        terms.size = size;
        terms.start = uint64(block.timestamp);
    }

    function _subjectOf(Orders calldata orders, Digests memory digests)
        private
        pure
        returns (DealSubject memory subject)
    {
        subject.app = AssetId.unwrap(orders.app.app);
        subject.dataset = AssetId.unwrap(orders.dataset.dataset);
        subject.beneficiary = orders.request.beneficiary;
        subject.tag = orders.request.tag;
        subject.jobHash = orders.request.jobHash;
        subject.appOrder = digests.app;
        subject.datasetOrder = digests.dataset;
        subject.poolOrder = digests.pool;
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
    }

    /// @dev Each entry has the operator's word that this worker may run the task.
    function _requireAssigned(DealTerms calldata terms, Settlement memory settlement, WorkerResults calldata list)
        private
        pure
    {
        uint256 count = list.entries.length / ENTRY_BYTES;
        uint256 needed = count * Signing.SIGNATURE_BYTES;
        require(list.assignments.length == needed, Berth_BadAssignmentsLength(list.assignments.length, needed));
        for (uint256 i = 0; i < count; i++) {
            uint256 at = i * ENTRY_BYTES;
            uint32 index = uint32(bytes4(list.entries[at:at + INDEX_BYTES]));
            bytes32 structHash = Hashing.assignment(settlement.deal.task(index), list.worker);
            at = i * Signing.SIGNATURE_BYTES;
            _requireSigned(
                terms.operator,
                MessageHashUtils.toTypedDataHash(settlement.domain, structHash),
                list.assignments[at:at + Signing.SIGNATURE_BYTES]
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
        uint256 next = 0;
        uint256 runStart = 0;
        // The length is a multiple of ENTRY_BYTES, so that a whole entry is at every `at`. An index below `first`
        // wraps around, to an offset beyond every size.
        unchecked {
            for (uint256 at = 0; at < entries.length; at += ENTRY_BYTES) {
                uint256 index = uint32(bytes4(entries[at:]));
                uint256 digest = uint256(bytes32(entries[at + INDEX_BYTES:]));
                uint256 offset = index - first;
                require(index >= next, Berth_IndexNotAscending(next - 1, index));
                require(offset < size, Berth_IndexOutside(index, first, size));
                require(digest != 0, Berth_NoDigest(index));
                next = index + 1;
                if (_end(deal, progress, offset)) {
                    if (digest < FAILURES) ++failed;
                } else {
                    if (runStart < at) kept = bytes.concat(kept, entries[runStart:at]);
                    runStart = at + ENTRY_BYTES;
                }
            }
        }
        if (runStart == 0) return (failed, entries);
        if (runStart < entries.length) kept = bytes.concat(kept, entries[runStart:]);
    }

    // Rounds.

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
    function _beginBatch(Batch memory batch, DealTerms calldata terms, Round calldata round) private view {
        batch.trust = terms.trust;
        require(batch.trust > 1, Berth_NotReplicated(terms.trust));
        DealId deal = terms.id();
        batch.deal = deal;
        batch.progress = _progressOf(deal);
        uint256 settling = terms.settling();
        require(block.timestamp <= settling, Berth_TooLate(settling));
        batch.round = _requireRound(terms.operator, round);
        batch.first = terms.first;
        batch.size = terms.size;
        batch.poolPrice = terms.poolPrice;
        batch.pot = terms.workersPot(batch.poolPrice);
        batch.fee = terms.failureFee();
        batch.failurePot = terms.workersPot(batch.fee);
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
    function _reserve(Batch memory batch, uint256 length) private pure {
        batch.pad = Rounds.pad(batch.deal);
        // At least one, for a list too short for any is refused by its length.
        uint256 most = length / TASK_BYTES + 1;
        if (most > MAX_TASKS) most = MAX_TASKS;
        batch.places = new uint256[](most);
        batch.leaves = new bytes32[](most);
        batch.ended = Packing.reserve(length);
        // A pair that does not open has 33 bytes of the tasks, and 91 there.
        unchecked {
            batch.leftOut = Packing.reserve(3 * length);
        }
    }

    /// @dev Checks and hashes the task at `at`; ends it in memory, and pays for it there, if it can. Gives where the
    /// next begins.
    function _settleTask(Batch memory batch, ClosedWord[] calldata list, bytes calldata tasks, uint256 at)
        private
        returns (uint256)
    {
        // Places within calldata, and counts of what it holds.
        unchecked {
            Task memory task = batch.task;
            require(tasks.length >= at + TASK_BYTES, Berth_BadTasksLength(tasks.length));
            uint256 shown = batch.shown;
            require(shown < MAX_TASKS, Berth_BatchTooLarge(MAX_TASKS + 1, MAX_TASKS));
            uint256 index = uint256(Packing.wordAt(tasks, at)) >> 224;
            batch.places[shown] = _placeOf(batch, list, index);
            task.index = index;
            task.digest = Packing.wordAt(tasks, at + INDEX_BYTES);
            require(task.digest != 0, Berth_NoDigest(index));
            task.pairs = Packing.byteAt(tasks, at + TASK_BYTES - 1);
            // None wraps around.
            require(task.pairs - 1 < MAX_PAIRS, Berth_BadPairCount(index, task.pairs));
            task.at = at + TASK_BYTES;
            task.next = task.at + task.pairs;
            require(tasks.length >= task.next, Berth_BadTasksLength(tasks.length));

            Rounds.begin(batch.pad, batch.deal, index, task.digest);
            _weighPairs(batch, task, tasks);
            batch.leaves[shown] = Rounds.leafOf(batch.pad, index);
            batch.shown = shown + 1;
            if (Weighing.suffices(task.scales, batch.trust) && _end(batch.deal, batch.progress, index - batch.first)) {
                _payTask(batch, task, tasks, at);
            }
            return task.next;
        }
    }

    /// @dev The place of a task's leaf among the round's, which comes after the one before.
    function _placeOf(Batch memory batch, ClosedWord[] calldata list, uint256 index)
        private
        pure
        returns (uint256 place)
    {
        // An index below the first wraps around, to an offset beyond every size.
        unchecked {
            uint256 offset = index - batch.first;
            require(offset < batch.size, Berth_IndexOutside(index, batch.first, batch.size));
            uint256 inWord = offset - batch.start;
            if (inWord >= WORD_TASKS || batch.bits >> inWord & 1 == 0) {
                uint256 word = offset / WORD_TASKS;
                inWord = offset % WORD_TASKS;
                (uint256 found, uint256 before) = Rounds.find(list, batch.deal, word, 1 << inWord);
                require(found < list.length, Berth_NotInRound(index));
                (batch.start, batch.before, batch.bits) = (offset - inWord, before, list[found].bits);
            }
            place = batch.before + Rounds.count(batch.bits & ((1 << inWord) - 1));
            uint256 shown = batch.shown;
            require(shown == 0 || place > batch.places[shown - 1], Berth_IndexNotAscending(batch.task.index, index));
        }
    }

    /// @dev Hashes the pairs of a task into its chain, and puts them on the scales.
    function _weighPairs(Batch memory batch, Task memory task, bytes calldata tasks) private pure {
        Scales memory scales = task.scales;
        (scales.group, scales.dissent, scales.total, scales.opened) = (0, 0, 0, 0);
        uint256 least = 0;
        // Places within calldata, and counts of what it holds.
        unchecked {
            uint256 until = task.next;
            for (uint256 at = task.at; at < until; ++at) {
                uint256 marked = Packing.byteAt(tasks, at);
                uint256 rank = marked & ~OPENS;
                require(rank >= least && rank < batch.table.length, Berth_BadRank(task.index, rank));
                least = rank + 1;
                Seat memory seat = Weighing.at(batch.table, rank);
                bytes32 commitment;
                if (marked & OPENS != 0) {
                    require(seat.opens, Berth_NotRevealed(task.index, seat.worker));
                    commitment = Rounds.seal(batch.pad, seat.worker, seat.seed);
                    Weighing.add(scales, seat, seat.owner != address(0));
                } else {
                    commitment = Packing.wordAt(tasks, task.next);
                    task.next += COMMITMENT_BYTES;
                    require(tasks.length >= task.next, Berth_BadTasksLength(tasks.length));
                    ++batch.unopened;
                    Weighing.add(scales, seat, false);
                }
                Rounds.extend(batch.pad, seat.worker, commitment);
            }
        }
    }

    /// @dev Pays in memory for a task that ended; keeps its pairs' bytes for the event, and what did not open.
    function _payTask(Batch memory batch, Task memory task, bytes calldata tasks, uint256 at) private pure {
        // Parts are rounded down, so all of a task's are at most its pot, and that is at most its price. What all tasks
        // pay is at most what the deal has locked.
        unchecked {
            bool failed = uint256(task.digest) < FAILURES;
            uint256 price;
            if (failed) {
                ++batch.failed;
                (price, task.pot) = (batch.fee, batch.failurePot);
            } else {
                ++batch.done;
                (price, task.pot) = (batch.poolPrice, batch.pot);
            }
            uint256 scored = !failed && task.scales.opened > 1 ? 1 : 0;
            uint256 place = Packing.pushCalldata(batch.ended, tasks, at, TASK_BYTES + task.pairs) + TASK_BYTES;
            task.next = task.at + task.pairs;
            for (uint256 i = 0; i < task.pairs; ++i) {
                uint256 marked = Packing.byteAt(tasks, task.at + i);
                Seat memory seat = Weighing.at(batch.table, marked & ~OPENS);
                uint256 part = task.pot * seat.share / task.scales.total;
                price -= part;
                if (marked & OPENS == 0) {
                    _leaveOut(batch, task, seat, tasks);
                } else if (seat.owner != address(0)) {
                    seat.paid += part;
                    seat.scored += scored;
                } else {
                    Packing.put(place + i, marked & ~OPENS);
                }
            }
            batch.poolPart += price;
        }
    }

    function _leaveOut(Batch memory batch, Task memory task, Seat memory seat, bytes calldata tasks) private pure {
        bytes32 commitment = Packing.wordAt(tasks, task.next);
        Packing.pushLeftOut(batch.leftOut, task.index, task.digest, seat, commitment, task.scales.total);
        // Within calldata.
        unchecked {
            task.next += COMMITMENT_BYTES;
        }
    }

    /// @dev Stores and pays out what a batch has come to.
    function _finish(Batch memory batch, DealTerms calldata terms) private {
        Packing.trim(batch.leftOut);
        _store(batch.deal, batch.progress);
        _record(batch.deal, batch.leftOut);
        bytes memory workers = _payWorkers(terms.pool, batch.table, batch.table.length);
        _pay(terms, batch.done, batch.failed, batch.poolPart);
        emit TasksSettled(batch.deal, batch.round, batch.ended, workers, batch.leftOut);
    }
}
