// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Accounts} from "./Accounts.sol";
import {Appeals} from "./Appeals.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {Bonds} from "./Bonds.sol";
import {Delivery} from "./Delivery.sol";
import {OneSettlement} from "./OneSettlement.sol";
import {OrderStances} from "./OrderStances.sol";
import {IAssets} from "./interfaces/IAssets.sol";
import {IRecourse} from "./interfaces/IBerth.sol";
import {DealId, RecordId} from "./types/Ids.sol";
import {DealTerms} from "./types/Deals.sol";
import {Appends} from "./types/Storage.sol";

/// @title All of Berth that needs not be fast
/// @notice Runs in Berth's name, by delegatecall. Called directly it acts on its own storage, which says that nobody
/// has anything; it holds no money, and knows no token that it could call.
/// @dev Nothing here calls out, but for `Accounts` and the callback at the very end of a delivery, where it is argued why
/// there is nothing to gain from re-entering, and staticcalls.
contract Recourse is Accounts, OrderStances, Bonds, OneSettlement, Appeals, Delivery {
    uint256 private constant MAX_DECLINED = 256;

    constructor(IAssets assets_, uint32 minDuration, uint32 maxDuration, uint64 maxSpan)
        BerthStorage(assets_, minDuration, maxDuration, maxSpan)
    {}

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
            (, uint256 closed_) = _wordOf(deal, progress, offset / WORD_TASKS);
            if (closed_ >> (offset % WORD_TASKS) & 1 != 0) continue;
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
    function appendsOf(DealId deal, uint32 index) external view returns (bytes32 chain, uint8 pairs) {
        Appends memory kept = _appends[deal][index];
        return (kept.chain, kept.pairs);
    }

    /// @inheritdoc IRecourse
    function recordOf(RecordId record) external view returns (uint256) {
        return _records[record];
    }

    /// @inheritdoc IRecourse
    function assets() external view returns (address) {
        return address(ASSETS);
    }

    /// @inheritdoc IRecourse
    function bounds() external view returns (uint32 minDuration, uint32 maxDuration, uint64 maxSpan) {
        return (MIN_DURATION, MAX_DURATION, MAX_SPAN);
    }

    function _shorten(uint32[] memory list, uint256 length) private pure returns (uint32[] memory shorter) {
        if (length == list.length) return list;
        shorter = new uint32[](length);
        for (uint256 i = 0; i < length; i++) {
            shorter[i] = list[i];
        }
    }
}
