// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IRecourse} from "./interfaces/IBerth.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {Ownership} from "./libraries/Ownership.sol";
import {POOL, AssetId, DealId} from "./types/Ids.sol";
import {DealTerms} from "./types/Deals.sol";
import {Bond} from "./types/Storage.sol";

/// @title The slow path of Berth
/// @notice Runs in Berth's name, by delegatecall. Called directly it acts on its own storage, which says that nobody
/// has anything; it holds no money and calls no token.
/// @dev Nothing here calls out, but for a staticcall to Assets: there is nothing to re-enter from.
contract Recourse is BerthStorage, IRecourse {
    using Ownership for IAssets;

    uint256 private constant MAX_DECLINED = 256;

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
        DealId deal = _calledDeal();
        Progress memory progress = _progressOf(deal);
        require(block.timestamp <= terms.closing(), Berth_TooLate(terms.closing()));

        uint32[] memory declined = new uint32[](indexes.length);
        uint256 count = 0;
        for (uint256 i = 0; i < indexes.length; i++) {
            uint32 index = indexes[i];
            require(terms.holds(index), Berth_IndexOutside(index, terms.first, terms.size));
            if (_end(deal, progress, index - terms.first)) declined[count++] = index;
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
        DealId deal = _calledDeal();
        Progress memory progress = _progressOf(deal);
        require(progress.open > 0, Berth_NothingOpen(deal));
        require(block.timestamp > terms.settling(), Berth_TooEarly(terms.settling()));

        uint256 open = progress.open;
        (progress.open, progress.claimed) = (0, true);
        _store(deal, progress);
        uint256 price = terms.price() * open;
        _release(terms.payer, price, price);
        _release(terms.poolOwner, uint256(terms.poolStake) * open, 0);
        // Read from 32 bits.
        // forge-lint: disable-next-line(unsafe-typecast)
        emit DealClaimed(deal, uint32(open));
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

    function _shorten(uint32[] memory list, uint256 length) private pure returns (uint32[] memory shorter) {
        if (length == list.length) return list;
        shorter = new uint32[](length);
        for (uint256 i = 0; i < length; i++) {
            shorter[i] = list[i];
        }
    }
}
