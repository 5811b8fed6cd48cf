// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {Hashing} from "../../src/libraries/Hashing.sol";
import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {APP, POOL, AssetId, DealId} from "../../src/types/Ids.sol";
import {AppOrder, DatasetOrder, Orders, PoolOrder, RequestOrder, UNLIMITED} from "../../src/types/Orders.sol";
import {World} from "../support/World.sol";

/// @notice Statements about any values, each call on its own; sequences of calls are in ../invariant.
contract Fuzz is World {
    function testFuzz_HashesAreForgesOwn(
        AppOrder calldata app_,
        DatasetOrder calldata dataset_,
        PoolOrder calldata pool_,
        RequestOrder calldata request_
    ) public pure {
        assertEq(Hashing.hash(app_), vm.eip712HashStruct(APP_ORDER, abi.encode(app_)));
        assertEq(Hashing.hash(dataset_), vm.eip712HashStruct(DATASET_ORDER, abi.encode(dataset_)));
        assertEq(Hashing.hash(pool_), vm.eip712HashStruct(POOL_ORDER, abi.encode(pool_)));
        assertEq(Hashing.hash(request_), vm.eip712HashStruct(REQUEST_ORDER, abi.encode(request_)));
    }

    function testFuzz_DepositAndWithdrawalAreExact(uint128 paidIn, uint128 takenOut) public {
        uint256 held = token.balanceOf(address(berth));
        paidIn = uint128(bound(paidIn, 0, type(uint128).max - held));
        takenOut = uint128(bound(takenOut, 0, paidIn));
        _fund(stranger, paidIn);
        vm.prank(stranger);
        berth.withdraw(stranger, takenOut);
        assertEq(_free(stranger), paidIn - takenOut);
        assertEq(token.balanceOf(stranger), takenOut);
    }

    function testFuzz_AMatchTakesTheSmallestOfWhatIsLeft(uint32[4] memory volumes, uint32 usedBefore) public {
        Orders memory orders = _orders();
        // Free of charge, so that volumes are bounded by nothing else.
        (orders.app.price, orders.dataset.price, orders.pool.price, orders.pool.poolStake) = (0, 0, 0, 0);
        orders.pool.parallel = type(uint32).max;
        for (uint256 i = 0; i < 4; i++) {
            if (volumes[i] == 0) volumes[i] = 1;
        }
        orders.request.volume = volumes[3] == UNLIMITED ? 1 : volumes[3];
        // Another request may have used a part of the three offers.
        orders.app.volume = orders.dataset.volume = orders.pool.volume = UNLIMITED;
        (orders.app.volume, orders.dataset.volume, orders.pool.volume) = (volumes[0], volumes[1], volumes[2]);
        uint32 smallest = _least(_least(volumes[0], volumes[1]), volumes[2]);
        usedBefore = uint32(bound(usedBefore, 0, smallest - 1));
        if (usedBefore > 0) {
            Orders memory other = _orders();
            (other.app, other.dataset, other.pool) = (orders.app, orders.dataset, orders.pool);
            other.request.volume = usedBefore;
            other.request.salt = keccak256("other");
            berth.matchOrders(other, _sign(other));
        }

        uint32 size = orders.request.volume;
        for (uint256 i = 0; i < 3; i++) {
            if (volumes[i] != UNLIMITED) size = _least(size, volumes[i] - usedBefore);
        }
        DealId deal = berth.matchOrders(orders, _sign(orders));
        assertEq(DealId.unwrap(deal), DealId.unwrap(_dealId(_termsOf(orders, 0, size))));
        assertEq(berth.dealState(deal).open, size);
        assertEq(berth.consumed(_digest(orders.request)), size);
        assertEq(berth.consumed(_digest(orders.app)), volumes[0] == UNLIMITED ? 0 : usedBefore + size);
        assertEq(berth.consumed(_digest(orders.pool)), volumes[2] == UNLIMITED ? 0 : usedBefore + size);
    }

    /// @dev Any prices and shares, any mix of results: everything that was locked goes to somebody, by the formulas.
    function testFuzz_ASettlementPaysExactlyWhatWasLocked(
        uint96[4] memory prices,
        uint16 shareBps,
        uint8 tasks,
        uint256 failures
    ) public {
        Orders memory orders = _orders();
        tasks = uint8(bound(tasks, 1, 20));
        orders.request.volume = tasks;
        (orders.app.price, orders.dataset.price, orders.pool.price) = (prices[0], prices[1], prices[2]);
        (orders.request.appMaxPrice, orders.request.datasetMaxPrice) = (prices[0], prices[1]);
        orders.request.poolMaxPrice = prices[2];
        orders.pool.poolStake = prices[3];
        orders.pool.operatorShareBps = uint16(bound(shareBps, 0, 10_000));
        _fund(requester.addr, uint256(type(uint96).max) * 60);
        _fund(poolOwner.addr, uint256(type(uint96).max) * 20);
        uint256[5] memory before = _balances();
        DealTerms memory terms = _matched(orders);

        uint256 failed = _settleSome(terms, failures);

        _expectMoved(before, prices, orders.pool.operatorShareBps, tasks - failed, failed);
    }

    /// @dev Any set of tasks settled first, and then a list of all: the second event has exactly the others, in order.
    function testFuzz_AListSettlesExactlyWhatIsOpen(uint256 early, uint16 start, uint8 length) public {
        DealTerms memory terms = _deal(1000);
        uint32 from = uint32(bound(start, 0, 900));
        uint32 count = uint32(bound(length, 1, 64));
        bytes memory first;
        bytes memory rest;
        for (uint32 i = 0; i < count; i++) {
            if (early >> i & 1 == 1) first = bytes.concat(first, _entry(from + i));
            else rest = bytes.concat(rest, _entry(from + i));
        }
        vm.startPrank(operator.addr);
        if (first.length > 0) berth.settleSingles(terms, _lists(worker, terms, first));
        vm.stopPrank();
        WorkerResults[] memory lists = _lists(worker, terms, _entries(from, count));
        vm.recordLogs();
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);

        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, rest.length > 0 ? 1 : 0);
        if (rest.length > 0) assertEq(abi.decode(logs[0].data, (bytes)), rest);
        assertEq(berth.dealState(_dealId(terms)).open, 1000 - count);
        assertEq(_free(appOwner.addr), uint256(APP_PRICE) * count);
        for (uint32 i = from < 70 ? 0 : from - 70; i < from + count + 70 && i < 1000; i++) {
            assertEq(berth.ended(_dealId(terms), i), i >= from && i < from + count);
        }
    }

    function testFuzz_AnythingButAWholeListIsRefused(bytes memory entries) public {
        DealTerms memory terms = _deal(3);
        WorkerResults[] memory lists = _lists(worker, terms, entries);
        vm.assume(!_isGood(entries, 3));
        vm.prank(operator.addr);
        (bool ok,) = address(berth).call(abi.encodeCall(berth.settleSingles, (terms, lists)));
        assertFalse(ok);
    }

    function testFuzz_AChangedTermIsAnotherDeal(uint256 word, uint256 bit) public {
        DealTerms memory terms = _deal(2);
        bytes memory call = abi.encodeCall(berth.claim, (terms));
        uint256 at = 4 + bound(word, 0, 19) * 32 + bound(bit, 0, 255) / 8;
        call[at] = call[at] ^ bytes1(uint8(1 << bit % 8));
        vm.warp(type(uint40).max);
        (bool ok,) = address(berth).call(call);
        assertFalse(ok);
    }

    function testFuzz_ADealIsClaimedExactlyOnceItIsOver(uint32 parallel, uint32 duration, uint32 size, uint64 late)
        public
    {
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.parallel = uint32(bound(parallel, 1, type(uint32).max));
        orders.request.duration = uint32(bound(duration, MIN_DURATION, MAX_DURATION));
        orders.request.volume = uint32(bound(size, 1, 1e6));
        DealTerms memory terms = _termsOf(orders, 0, orders.request.volume);
        vm.assume(_span(terms) <= MAX_SPAN);
        terms = _matched(orders);
        uint256 deadline = _after(terms, 9);
        vm.warp(bound(late, block.timestamp, deadline));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, deadline));
        berth.claim(terms);
        vm.warp(deadline + bound(late, 1, type(uint64).max));
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH);
        assertEq(_locked(poolOwner.addr), 0);
    }

    function testFuzz_ABondCoversWhatItSays(uint96 bonded, uint96 unbonding, uint128 stake, uint40 start) public {
        bonded = uint96(bound(bonded, 0, type(uint96).max - 1e12));
        unbonding = uint96(bound(unbonding, 0, bonded));
        stake = uint128(bound(stake, 0, 2 * uint256(bonded)));
        Vm.Wallet memory fresh = vm.createWallet("fresh");
        _fund(stranger, bonded);
        _enlist(fresh, stranger, bonded);
        vm.prank(stranger);
        berth.unbond(pool, fresh.addr, unbonding);
        (,,, uint64 releaseAt,) = berth.bondOf(pool, fresh.addr);
        Orders memory orders = _ordersWithoutDataset();
        DealTerms memory terms = _termsOf(orders, 0, 1);
        terms.workerStake = stake;
        terms.start = uint64(bound(start, block.timestamp, block.timestamp + 90 days));
        uint256 counted = bonded - unbonding + (releaseAt > _after(terms, 12) ? unbonding : 0);
        assertEq(berth.covers(terms, fresh.addr), counted >= stake);
    }

    function testFuzz_AnIdTellsItsKind(string calldata descriptor, address creator, uint8 kind) public {
        vm.assume(bytes(descriptor).length > 0 && bytes(descriptor).length <= 8192 && creator != address(0));
        kind = uint8(bound(kind, APP, POOL));
        AssetId asset = _register(kind, creator, descriptor);
        assertEq(asset.kind(), kind);
        assertEq(assets.ownerOf(asset.tokenId()), creator);
    }

    /// @dev Settles every task of a deal, as a failure where the mask says so; tells how many that were.
    function _settleSome(DealTerms memory terms, uint256 failures) private returns (uint256 failed) {
        bytes memory entries;
        for (uint32 i = 0; i < terms.size; i++) {
            bool fails = failures >> i & 1 == 1;
            if (fails) failed++;
            entries = bytes.concat(entries, fails ? _entry(i, bytes32(uint256(i) + 1)) : _entry(i));
        }
        WorkerResults[] memory lists = _lists(worker, terms, entries);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    function _expectMoved(
        uint256[5] memory before,
        uint96[4] memory prices,
        uint16 shareBps,
        uint256 done,
        uint256 failed
    ) private view {
        uint256[5] memory afterwards = _balances();
        uint256 fee = uint256(prices[2]) / 10;
        uint256 price = uint256(prices[0]) + prices[1] + prices[2];
        uint256 pot = _pot(prices[2], shareBps) * done + _pot(fee, shareBps) * failed;
        assertEq(before[0] - afterwards[0], price * done + fee * failed, "payer");
        assertEq(afterwards[1] - before[1], prices[0] * done, "app owner");
        assertEq(afterwards[2] - before[2], prices[1] * done, "dataset owner");
        assertEq(afterwards[3] - before[3], prices[2] * done + fee * failed - pot, "pool owner");
        assertEq(afterwards[4] - before[4], pot, "worker's owner");
        assertEq(_locked(requester.addr), 0);
        assertEq(_locked(poolOwner.addr), 0);
    }

    function _balances() private view returns (uint256[5] memory) {
        return [
            _free(requester.addr),
            _free(appOwner.addr),
            _free(datasetOwner.addr),
            _free(poolOwner.addr),
            _free(workerOwner)
        ];
    }

    function _isGood(bytes memory entries, uint32 size) private pure returns (bool) {
        if (entries.length == 0 || entries.length % 36 != 0 || entries.length > 36 * uint256(size)) return false;
        // A random list of whole entries that rises within three tasks: rather look away than be wrong.
        return true;
    }

    function _least(uint32 a, uint32 b) private pure returns (uint32) {
        return a < b ? a : b;
    }

    function _pot(uint256 paid, uint256 shareBps) private pure returns (uint256) {
        return paid * (10_000 - shareBps) / 10_000;
    }
}
