// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {Recourse} from "../../src/Recourse.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {DealTerms} from "../../src/types/Deals.sol";
import {DealId} from "../../src/types/Ids.sol";
import {Account, Deal} from "../../src/types/Storage.sol";

/// @notice Recourse on a state of one's choice, with the steps that settlements take on it laid open.
contract Opened is Recourse {
    constructor(IAssets assets_) Recourse(assets_, 1, 1 days, 30 days) {}

    function putAccount(address holder, uint128 free, uint128 locked) external {
        _accounts[holder] = Account(free, locked);
    }

    function putDeal(DealTerms calldata terms, uint32 open, uint104 ended) external {
        _deals[terms.id()] = Deal({open: open, claimed: false, ended: ended, closed: 0});
    }

    function freeOf(address holder) external view returns (uint256) {
        return _accounts[holder].free;
    }

    function lockedOf(address holder) external view returns (uint256) {
        return _accounts[holder].locked;
    }

    function openOf(DealTerms calldata terms) external view returns (uint256) {
        return _deals[terms.id()].open;
    }

    /// @dev The last step of every settlement: `parts` have gone to workers.
    function pay(DealTerms calldata terms, uint256 done, uint256 failed, uint256 poolPart) external {
        _pay(terms, done, failed, poolPart);
    }

    /// @dev Ends a task as all settlements and declines do, from storage to storage.
    function end(DealTerms calldata terms, uint256 offset) external returns (bool ended) {
        DealId deal = terms.id();
        Progress memory progress = _progressOf(deal);
        ended = _end(deal, progress, offset);
        _store(deal, progress);
    }
}

/// @notice Conservation, and once-only endings.
/// @dev The parties are five different accounts; where two of them are one, their moves add up, and the fuzzed tests of
/// whole settlements and the invariants have that.
contract ProofsOfMoney is Test {
    address private constant PAYER = address(0x1001);
    address private constant APP_OWNER = address(0x1002);
    address private constant DATASET_OWNER = address(0x1003);
    address private constant POOL_OWNER = address(0x1004);

    Opened private _opened;

    function setUp() public {
        _opened = new Opened(IAssets(address(this)));
    }

    /// @dev A claim moves all that the open tasks locked: the price goes back, the stake is burnt, and nothing else moves.
    function check_AClaimConserves(DealTerms calldata terms, uint32 open, uint128 free, uint128 locked, uint128 staked)
        public
    {
        _assume(terms);
        vm.assume(open > 0);
        vm.warp(type(uint40).max);
        uint256 price = (uint256(terms.appPrice) + terms.datasetPrice + terms.poolPrice) * open;
        uint256 stake = uint256(terms.poolStake) * open;
        // What a match locked is there, and all money together is below 2^128.
        vm.assume(price <= locked && stake <= staked && price + free < 1 << 128);
        _opened.putAccount(PAYER, free, locked);
        _opened.putAccount(POOL_OWNER, 0, staked);
        _opened.putDeal(terms, open, 0);

        _opened.claim(terms);
        assert(_opened.freeOf(PAYER) == free + price);
        assert(_opened.lockedOf(PAYER) == locked - price);
        assert(_opened.freeOf(POOL_OWNER) == 0);
        assert(_opened.lockedOf(POOL_OWNER) == staked - stake);
        assert(_opened.openOf(terms) == 0);
    }

    /// @dev After a claim there is nothing to claim, and no state in which a second one passes.
    function check_AClaimPassesOnce(DealTerms calldata terms, uint32 open, uint128 locked, uint128 staked) public {
        _assume(terms);
        vm.assume(open > 0);
        vm.warp(type(uint40).max);
        _opened.putAccount(PAYER, 0, locked);
        _opened.putAccount(POOL_OWNER, 0, staked);
        _opened.putDeal(terms, open, 0);
        (bool first,) = address(_opened).call(abi.encodeCall(_opened.claim, (terms)));
        if (!first) return;
        (bool second,) = address(_opened).call(abi.encodeCall(_opened.claim, (terms)));
        assert(!second);
    }

    /// @dev A settlement's last step pays out what it takes from the locks, less the workers' parts: `poolPart` is the
    /// pool's price less these, as both settlements compute it. Batches are sums of this, which fuzzed tests go through.
    function check_AResultsPaymentConserves(DealTerms calldata terms, uint96 parts) public {
        _assumePrices(terms);
        vm.assume(parts <= terms.poolPrice);
        _opened.pay(terms, 1, 0, terms.poolPrice - parts);
        assert(_sum() + parts == 2 << 120);
    }

    /// @dev The same for a failure, which pays a fee and gives the rest back.
    function check_AFailuresPaymentConserves(DealTerms calldata terms, uint96 parts) public {
        _assumePrices(terms);
        uint256 fee = terms.failureFee();
        vm.assume(parts <= fee && fee <= terms.poolPrice);
        _opened.pay(terms, 0, 1, fee - parts);
        assert(_sum() + parts == 2 << 120);
    }

    /// @dev Whatever has ended before, a task ends at most once: the second time says no, and the counter fell by one.
    function check_ATaskEndsOnce(DealTerms calldata terms, uint32 open, uint104 ended, uint32 offset) public {
        vm.assume(open > 0);
        // Where the last open task is beyond the first 104, some of these have ended.
        vm.assume(open > 1 || ended != 0 || offset < 104);
        _opened.putDeal(terms, open, ended);
        bool before = offset < 104 && ended >> offset & 1 != 0;
        bool first = _opened.end(terms, offset);
        assert(first == !before);
        assert(_opened.openOf(terms) == (first ? open - 1 : open));
        assert(!_opened.end(terms, offset));
        assert(_opened.openOf(terms) == (first ? open - 1 : open));
    }

    function _assume(DealTerms calldata terms) private pure {
        vm.assume(terms.payer == PAYER && terms.poolOwner == POOL_OWNER);
        vm.assume(terms.appOwner == APP_OWNER && terms.datasetOwner == DATASET_OWNER);
        vm.assume(terms.parallel > 0 && terms.start < 1 << 34 && terms.duration < 1 << 17 && terms.size < 1 << 16);
    }

    /// @dev Prices that no token has more of, and the money for them.
    function _assumePrices(DealTerms calldata terms) private {
        _assume(terms);
        vm.assume(terms.appPrice < 1 << 100 && terms.datasetPrice < 1 << 100);
        vm.assume(terms.poolPrice < 1 << 100 && terms.poolStake < 1 << 100);
        _opened.putAccount(PAYER, 0, 1 << 120);
        _opened.putAccount(POOL_OWNER, 0, 1 << 120);
    }

    function _sum() private view returns (uint256) {
        return _sumOf(PAYER) + _sumOf(APP_OWNER) + _sumOf(DATASET_OWNER) + _sumOf(POOL_OWNER);
    }

    function _sumOf(address holder) private view returns (uint256) {
        return _opened.freeOf(holder) + _opened.lockedOf(holder);
    }
}
