// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {RoundSettlement} from "./RoundSettlement.sol";
import {SingleSettlement} from "./SingleSettlement.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IBerthDirect, IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Offers} from "./libraries/Offers.sol";
import {Ownership} from "./libraries/Ownership.sol";
import {Signing} from "./libraries/Signing.sol";
import {AssetId, DealId, RoundId} from "./types/Ids.sol";
import {Consent, Orders, PoolOrder, RequestOrder, Signatures, UNLIMITED} from "./types/Orders.sol";
import {DealSubject, DealTerms, idInMemory} from "./types/Deals.sol";
import {Deal, Signer, Stance} from "./types/Storage.sol";
import {Deadlines} from "./libraries/Deadlines.sol";
import {Payouts} from "./libraries/Payouts.sol";

/// @title Berth
/// @dev Reentrancy. A match makes staticcalls, in which state can't change. Settlements call nobody. Everything else is
/// Recourse's, and argued there. So nothing here needs a lock.
contract Berth is SingleSettlement, RoundSettlement {
    using Ownership for IAssets;

    /// @dev What has no epoch counts as of the last one.
    uint64 private constant ANY_EPOCH = type(uint64).max;

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
    function matchOrders(Orders calldata orders, Signatures calldata signatures) external returns (DealId deal) {
        RequestOrder calldata request = orders.request;
        require(
            request.payer == request.requester || request.payer == msg.sender,
            Berth_PayerAbsent(request.payer, msg.sender)
        );
        (deal,,) = _match(orders, signatures);
    }

    /// @inheritdoc IBerthDirect
    function matchSponsored(Orders calldata orders, Signatures calldata signatures, Consent calldata consent)
        external
        returns (DealId deal)
    {
        DealTerms memory terms;
        DealSubject memory subject;
        (deal, terms, subject) = _match(orders, signatures);
        bytes32 sponsorship = MessageHashUtils.toTypedDataHash(
            Hashing.domainSeparator(),
            Hashing.sponsorship(terms.request, subject.poolOrder, consent.volume, consent.expiry)
        );
        _requireOrder(sponsorship, consent.expiry, ANY_EPOCH, terms.payer, consent.signature);
        require(_consumed[sponsorship] == 0, Berth_OrderConsumed(sponsorship));
        require(terms.size == consent.volume, Berth_SponsoredVolume(terms.size, consent.volume));
        _consumed[sponsorship] = terms.size;
        emit DealSponsored(deal, terms.payer, sponsorship);
    }

    /// @inheritdoc IBerthDirect
    function isOrderSigned(address signer, bytes32 order, bytes calldata signature) external view returns (bool) {
        return _stances[signer][order] != Stance.Cancelled && _isSigned(signer, order, signature);
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

    /// @dev Makes the deal, whoever pays.
    function _match(Orders calldata orders, Signatures calldata signatures)
        private
        returns (DealId deal, DealTerms memory terms, DealSubject memory subject)
    {
        // Check:
        Offers.requireFit(orders, MIN_DURATION, MAX_DURATION);
        _nameOwners(terms, orders);
        Offers.requireRules(orders, ASSETS, terms.appOwner, terms.datasetOwner, terms.poolOwner);
        _requireAuthorised(orders, signatures, terms, subject);

        // Effect:
        _consume(orders, terms, subject);
        uint256 span = Deadlines.span(orders.request.duration, terms.size, orders.pool.parallel);
        require(span <= MAX_SPAN, Berth_SpanTooLong(span, MAX_SPAN));
        _fill(orders, terms, subject);
        // A price is below 2^130, so its product with a size fits.
        unchecked {
            _lock(terms.payer, Payouts.price(terms.appPrice, terms.datasetPrice, terms.poolPrice) * terms.size);
            _lock(terms.poolOwner, uint256(terms.poolStake) * terms.size);
        }
        // No two matches have the same terms: `first` rises with each deal of a request.
        deal = idInMemory(terms);
        _deals[deal] = Deal({open: terms.size, claimed: false, ended: 0, closed: 0});

        emit DealMatched(deal, terms.pool, orders.request.requester, terms, subject);
    }

    /// @dev The owners of the assets of a match, all of which must exist.
    function _nameOwners(DealTerms memory terms, Orders calldata orders) private view {
        terms.appOwner = _ownerOf(orders.app.app);
        if (!orders.dataset.dataset.isNone()) terms.datasetOwner = _ownerOf(orders.dataset.dataset);
        terms.poolOwner = _ownerOf(orders.pool.pool);
    }

    function _ownerOf(AssetId asset) private view returns (address owner) {
        owner = ASSETS.ownerOrNone(asset);
        require(owner != address(0), Berth_UnknownAsset(asset));
    }

    /// @dev Each order is in time, of its signer's epoch, not cancelled, and signed. Names the digests.
    function _requireAuthorised(
        Orders calldata orders,
        Signatures calldata signatures,
        DealTerms memory terms,
        DealSubject memory subject
    ) private view {
        bytes32 domain = Hashing.domainSeparator();
        subject.appOrder = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.app));
        _requireOrder(subject.appOrder, orders.app.expiry, orders.app.epoch, terms.appOwner, signatures.app);
        if (!orders.dataset.dataset.isNone()) {
            subject.datasetOrder = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.dataset));
            _requireOrder(
                subject.datasetOrder,
                orders.dataset.expiry,
                orders.dataset.epoch,
                terms.datasetOwner,
                signatures.dataset
            );
        }
        subject.poolOrder = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.pool));
        _requireOrder(subject.poolOrder, orders.pool.expiry, orders.pool.epoch, terms.poolOwner, signatures.pool);
        terms.request = MessageHashUtils.toTypedDataHash(domain, Hashing.hash(orders.request));
        _requireOrder(
            terms.request, orders.request.expiry, orders.request.epoch, orders.request.requester, signatures.request
        );
    }

    function _requireOrder(bytes32 digest, uint64 expiry, uint64 epoch, address signer, bytes calldata signature)
        private
        view
    {
        require(block.timestamp <= expiry, Berth_OrderExpired(digest, expiry));
        Signer memory kept = _signers[signer];
        require(epoch >= kept.epoch, Berth_OrderCancelled(digest, epoch, kept.epoch));
        require(!kept.cancels || _stances[signer][digest] != Stance.Cancelled, Berth_OrderRevoked(digest, signer));
        if (_isSigned(signer, digest, signature)) return;
        require(signature.length > 0, Berth_NotApproved(digest, signer));
        revert Berth_BadSignature(signer, digest);
    }

    /// @dev Whether an account has signed, or, where there is no signature, approved what has this digest.
    function _isSigned(address signer, bytes32 digest, bytes calldata signature) private view returns (bool) {
        if (signature.length == 0) return _stances[signer][digest] == Stance.Approved;
        return Signing.isVouchedBy(signer, digest, signature);
    }

    /// @dev Takes as many tasks as all orders have left: `size`, after the `first` that the request had used.
    function _consume(Orders calldata orders, DealTerms memory terms, DealSubject memory subject) private {
        uint32 first = _consumed[terms.request];
        uint32 size = orders.request.volume - first;
        require(size > 0, Berth_OrderConsumed(terms.request));
        uint32 usedOfApp = 0;
        uint32 usedOfDataset = 0;
        uint32 usedOfPool = 0;
        // Without a dataset nothing of its order is looked at.
        uint32 datasetVolume = orders.dataset.dataset.isNone() ? UNLIMITED : orders.dataset.volume;
        (size, usedOfApp) = _atMost(size, subject.appOrder, orders.app.volume);
        (size, usedOfDataset) = _atMost(size, subject.datasetOrder, datasetVolume);
        (size, usedOfPool) = _atMost(size, subject.poolOrder, orders.pool.volume);

        (terms.first, terms.size) = (first, size);
        // Each is at most its order's volume, since the size is at most what was left.
        unchecked {
            _consumed[terms.request] = first + size;
            if (orders.app.volume != UNLIMITED) _consumed[subject.appOrder] = usedOfApp + size;
            if (datasetVolume != UNLIMITED) _consumed[subject.datasetOrder] = usedOfDataset + size;
            if (orders.pool.volume != UNLIMITED) _consumed[subject.poolOrder] = usedOfPool + size;
        }
    }

    /// @dev The lesser of a size and of what is left of an order, and what is used of it.
    function _atMost(uint32 size, bytes32 digest, uint32 volume) private view returns (uint32, uint32 used) {
        if (volume == UNLIMITED) return (size, 0);
        used = _consumed[digest];
        uint32 left = volume - used;
        require(left > 0, Berth_OrderConsumed(digest));
        return (left < size ? left : size, used);
    }

    /// @dev What stands in the orders.
    function _fill(Orders calldata orders, DealTerms memory terms, DealSubject memory subject) private view {
        PoolOrder calldata pool = orders.pool;
        RequestOrder calldata request = orders.request;
        terms.pool = pool.pool;
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
        terms.start = uint64(block.timestamp);
        subject.app = AssetId.unwrap(orders.app.app);
        subject.dataset = AssetId.unwrap(orders.dataset.dataset);
        subject.beneficiary = request.beneficiary;
        subject.tag = request.tag;
        subject.jobHash = request.jobHash;
    }
}
