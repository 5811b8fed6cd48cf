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
import {RoundSettlement} from "./RoundSettlement.sol";
import {SingleSettlement} from "./SingleSettlement.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IBerthDirect, IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Offers} from "./libraries/Offers.sol";
import {Ownership} from "./libraries/Ownership.sol";
import {AssetId, DealId, RoundId} from "./types/Ids.sol";
import {Orders, PoolOrder, RequestOrder, Signatures, UNLIMITED} from "./types/Orders.sol";
import {DealSubject, DealTerms} from "./types/Deals.sol";
import {Account, Deal} from "./types/Storage.sol";
import {Deadlines} from "./libraries/Deadlines.sol";
import {Payouts} from "./libraries/Payouts.sol";

/// @title Berth
/// @dev Reentrancy. The token is called in deposits and withdrawals only. Those are under one lock, since a deposit
/// counts what arrives while the token runs. All else may be entered from the token: at that time nothing is half
/// done, for a deposit has changed nothing yet and a withdrawal everything. A match makes staticcalls, in which state
/// can't change. Settlements call nobody. So nothing else needs a lock.
contract Berth is SingleSettlement, RoundSettlement, ReentrancyGuardTransient {
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
        // The token may call back here: nothing has changed yet, and `_deposit` counts under its lock.
        // slither-disable-next-line unused-return,reentrancy-benign,reentrancy-events
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
}
