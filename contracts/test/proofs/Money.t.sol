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

    /// @dev Above any price or stake here.
    uint128 private constant MOST = 1 << 100;
    /// @dev What payer and pool owner have locked.
    uint128 private constant LOCKED = 1 << 120;

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

    /// @dev A settlement's last step, account by account: the payer's lock falls by the price, owners get theirs, and the
    /// pool's owner its stake and `poolPart`, which is the pool's price less the workers' parts in both settlements.
    /// Batches are sums of this, which fuzzed tests go through.
    function check_AResultMovesItsPriceFromThePayersLock(DealTerms calldata terms, uint128 poolPart) public {
        _assumePrices(terms);
        vm.assume(poolPart <= terms.poolPrice);
        _opened.pay(terms, 1, 0, poolPart);
        assert(_opened.lockedOf(PAYER) == LOCKED - terms.price());
        assert(_opened.freeOf(PAYER) == 0);
    }

    function check_AResultPaysAssetsTheirPrices(DealTerms calldata terms, uint128 poolPart) public {
        _assumePrices(terms);
        vm.assume(poolPart <= terms.poolPrice);
        _opened.pay(terms, 1, 0, poolPart);
        assert(_opened.freeOf(APP_OWNER) == terms.appPrice && _opened.lockedOf(APP_OWNER) == 0);
        assert(_opened.freeOf(DATASET_OWNER) == terms.datasetPrice && _opened.lockedOf(DATASET_OWNER) == 0);
    }

    function check_AResultReturnsTheStakeWithThePoolsPart(DealTerms calldata terms, uint128 poolPart) public {
        _assumePrices(terms);
        vm.assume(poolPart <= terms.poolPrice);
        _opened.pay(terms, 1, 0, poolPart);
        assert(_opened.lockedOf(POOL_OWNER) == LOCKED - terms.poolStake);
        assert(_opened.freeOf(POOL_OWNER) == uint256(terms.poolStake) + poolPart);
    }

    /// @dev The same for a failure: all but the fee goes back to the payer, assets get nothing, and the pool its part.
    function check_AFailureGivesBackAllButTheFee(DealTerms calldata terms, uint128 poolPart) public {
        _assumePrices(terms);
        vm.assume(poolPart <= terms.poolPrice);
        _opened.pay(terms, 0, 1, poolPart);
        assert(_opened.lockedOf(PAYER) == LOCKED - terms.price());
        assert(_opened.freeOf(PAYER) == terms.price() - terms.failureFee());
    }

    function check_AFailurePaysAssetsNothing(DealTerms calldata terms, uint128 poolPart) public {
        _assumePrices(terms);
        vm.assume(poolPart <= terms.poolPrice);
        _opened.pay(terms, 0, 1, poolPart);
        assert(_sumOf(APP_OWNER) == 0 && _sumOf(DATASET_OWNER) == 0);
    }

    function check_AFailureReturnsTheStakeWithThePoolsPart(DealTerms calldata terms, uint128 poolPart) public {
        _assumePrices(terms);
        vm.assume(poolPart <= terms.poolPrice);
        _opened.pay(terms, 0, 1, poolPart);
        assert(_opened.lockedOf(POOL_OWNER) == LOCKED - terms.poolStake);
        assert(_opened.freeOf(POOL_OWNER) == uint256(terms.poolStake) + poolPart);
    }

    /// @dev What the statements above say of each account adds up: with the workers' parts, what left the locks is what
    /// arrived. Sums of five numbers, where the prices are what `check_APriceIsExact` says.
    function check_ThesePaymentsAddUp(
        uint120 app,
        uint120 dataset,
        uint120 pool,
        uint120 stake,
        uint120 parts,
        uint120 fee
    ) public pure {
        uint256 price = uint256(app) + dataset + pool;
        vm.assume(parts <= fee && fee <= pool);
        uint256 left = price + stake;
        // A result: the pool's part is its price less the workers' parts.
        assert(uint256(app) + dataset + (stake + (uint256(pool) - parts)) + parts == left);
        // A failure: it is the fee less the workers' parts.
        assert((price - fee) + (stake + (uint256(fee) - parts)) + parts == left);
    }

    /// @dev As a whole, with random numbers: what the proofs above show in parts.
    function testFuzz_APaymentConserves(DealTerms calldata terms, uint128 parts, bool failed) public {
        DealTerms memory drawn = terms;
        (drawn.payer, drawn.poolOwner, drawn.appOwner, drawn.datasetOwner) =
        (PAYER, POOL_OWNER, APP_OWNER, DATASET_OWNER);
        (drawn.appPrice, drawn.datasetPrice) = (drawn.appPrice % MOST, drawn.datasetPrice % MOST);
        (drawn.poolPrice, drawn.poolStake) = (drawn.poolPrice % MOST, drawn.poolStake % MOST);
        this.payAndAddUp(drawn, parts, failed);
    }

    function payAndAddUp(DealTerms calldata terms, uint256 parts, bool failed) external {
        uint256 paid = failed ? terms.failureFee() : terms.poolPrice;
        parts = bound(parts, 0, paid);
        _opened.putAccount(PAYER, 0, LOCKED);
        _opened.putAccount(POOL_OWNER, 0, LOCKED);
        _opened.pay(terms, failed ? 0 : 1, failed ? 1 : 0, paid - parts);
        uint256 sum = _sumOf(PAYER) + _sumOf(APP_OWNER) + _sumOf(DATASET_OWNER) + _sumOf(POOL_OWNER);
        assertEq(sum + parts, 2 * uint256(LOCKED));
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
        vm.assume(terms.appPrice < MOST && terms.datasetPrice < MOST);
        vm.assume(terms.poolPrice < MOST && terms.poolStake < MOST);
        _opened.putAccount(PAYER, 0, LOCKED);
        _opened.putAccount(POOL_OWNER, 0, LOCKED);
    }

    function _sumOf(address holder) private view returns (uint256) {
        return _opened.freeOf(holder) + _opened.lockedOf(holder);
    }
}
