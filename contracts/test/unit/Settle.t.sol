// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {DealId} from "../../src/types/Ids.sol";
import {Orders} from "../../src/types/Orders.sol";
import {Deal} from "../../src/types/Storage.sol";
import {World} from "../support/World.sol";

contract Settle is World {
    bytes32 private constant FETCH_FAILED = bytes32(uint256(1));

    // What the sender could have checked in its own calldata.

    function test_RevertGiven_TheDealIsReplicated() public {
        Orders memory orders = _orders();
        (orders.pool.maxTrust, orders.request.trust) = (2, 2);
        DealTerms memory terms = _matched(orders);
        _expectRefusal(
            terms, _lists(worker, terms, _entries(0, 1)), abi.encodeWithSelector(IBerthBase.Berth_NotSingle.selector, 2)
        );
    }

    function test_RevertGiven_TheDealIsUnknown() public {
        DealTerms memory terms = _deal(1);
        terms.appPrice++;
        _expectRefusal(
            terms,
            _lists(worker, terms, _entries(0, 1)),
            abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms))
        );
    }

    function test_RevertGiven_TheFinalDeadlineIsOver() public {
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        uint256 deadline = _after(terms, 9);
        vm.warp(deadline + 1);
        _expectRefusal(terms, lists, abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, deadline));
        vm.warp(deadline);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertTrue(berth.ended(_dealId(terms), 0));
    }

    function test_RevertWhen_ThereAreTooManyLists() public {
        DealTerms memory terms = _deal(1);
        _expectRefusal(
            terms, new WorkerResults[](257), abi.encodeWithSelector(IBerthBase.Berth_BatchTooLarge.selector, 257, 256)
        );
    }

    function test_RevertWhen_AListHasNoWholeEntries() public {
        DealTerms memory terms = _deal(300);
        _expectBadLength(terms, "");
        _expectBadLength(terms, new bytes(35));
        _expectBadLength(terms, bytes.concat(_entry(0), hex"00"));
        _expectBadLength(terms, _entries(0, 257));
    }

    function test_RevertWhen_TheWorkerDidNotSignTheList() public {
        DealTerms memory terms = _deal(2);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        lists[0].entries = _entry(0, FETCH_FAILED);
        _expectRefusal(terms, lists, _badSignature(worker.addr, _resultsDigest(_dealId(terms), lists[0].entries)));
        lists = _lists(operator, terms, _entries(0, 1));
        lists[0].worker = worker.addr;
        _expectRefusal(terms, lists, _badSignature(worker.addr, _resultsDigest(_dealId(terms), lists[0].entries)));
    }

    function test_RevertWhen_AnIndexIsOutsideTheDeal() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = 5;
        orders.pool.volume = 2;
        berth.matchOrders(orders, _sign(orders));
        orders.pool.salt = keccak256("second");
        berth.matchOrders(orders, _sign(orders));
        DealTerms memory terms = _termsOf(orders, 2, 2);

        _expectOutside(terms, 1);
        _expectOutside(terms, 4);
        _expectOutside(terms, type(uint32).max);
        _settle(terms, 2, 2);
    }

    function test_RevertWhen_IndexesDoNotRise() public {
        DealTerms memory terms = _deal(3);
        _expectRefusal(
            terms,
            _lists(worker, terms, bytes.concat(_entry(1), _entry(1))),
            abi.encodeWithSelector(IBerthBase.Berth_IndexNotAscending.selector, 1, 1)
        );
        _expectRefusal(
            terms,
            _lists(worker, terms, bytes.concat(_entry(1), _entry(0))),
            abi.encodeWithSelector(IBerthBase.Berth_IndexNotAscending.selector, 1, 0)
        );
    }

    function test_RevertWhen_ADigestIsZero() public {
        DealTerms memory terms = _deal(1);
        _expectRefusal(
            terms,
            _lists(worker, terms, _entry(0, bytes32(0))),
            abi.encodeWithSelector(IBerthBase.Berth_NoDigest.selector, 0)
        );
    }

    function test_RevertWhen_AStrangerBringsNoAssignments() public {
        DealTerms memory terms = _deal(2);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 2));
        bytes memory one = _signAssignment(terms, worker.addr, 0);
        bytes[3] memory wrong = [bytes(""), one, bytes.concat(one, one, one)];
        for (uint256 i = 0; i < wrong.length; i++) {
            lists[0].assignments = wrong[i];
            vm.expectRevert(
                abi.encodeWithSelector(IBerthBase.Berth_BadAssignmentsLength.selector, wrong[i].length, 130)
            );
            vm.prank(stranger);
            berth.settleSingles(terms, lists);
        }
    }

    function test_RevertWhen_AnAssignmentIsNotTheOperatorsForThisTaskAndWorker() public {
        DealTerms memory terms = _deal(2);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(1, 1));
        bytes[3] memory wrong = [
            _signAssignment(terms, worker.addr, 0),
            _signAssignment(terms, stranger, 1),
            _signature(sponsor, _assignmentDigest(terms, worker.addr, 1))
        ];
        for (uint256 i = 0; i < wrong.length; i++) {
            lists[0].assignments = wrong[i];
            vm.expectRevert(_badSignature(operator.addr, _assignmentDigest(terms, worker.addr, 1)));
            vm.prank(stranger);
            berth.settleSingles(terms, lists);
        }
    }

    // What may have changed since it looked.

    function test_WhenAWorkersBondDoesNotCoverItsListIsSkipped() public {
        Vm.Wallet memory poor = vm.createWallet("poor");
        _enlist(poor, workerOwner, WORKER_STAKE - 1);
        DealTerms memory terms = _deal(2);
        WorkerResults[] memory lists = new WorkerResults[](3);
        lists[0] = _list(poor, terms, _entries(0, 2));
        lists[1] = _list(vm.createWallet("unknown"), terms, _entries(0, 2));
        lists[2] = _list(worker, terms, _entries(0, 1));

        _expectEvent();
        emit IBerthBase.ListSkipped(_dealId(terms), poor.addr);
        _expectEvent();
        emit IBerthBase.ListSkipped(_dealId(terms), lists[1].worker);
        _expectEvent();
        emit IBerthBase.SinglesSettled(_dealId(terms), worker.addr, _entries(0, 1));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertTrue(berth.ended(_dealId(terms), 0));
        assertFalse(berth.ended(_dealId(terms), 1));
    }

    function test_WhenAPoolAsksForNoStakeItsWorkersStillNeedAnOwner() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.workerStake = 0;
        orders.request.volume = 2;
        DealTerms memory terms = _matched(orders);
        Vm.Wallet memory poor = vm.createWallet("poor");
        WorkerResults[] memory lists = _lists(poor, terms, _entries(0, 1));
        _expectEvent();
        emit IBerthBase.ListSkipped(_dealId(terms), poor.addr);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);

        _enlist(poor, workerOwner, 0);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertTrue(berth.ended(_dealId(terms), 0));
    }

    function test_WhenAnEntrysTaskHasEndedItIsSkipped() public {
        DealTerms memory terms = _deal(8);
        DealId deal = _dealId(terms);
        // 2, 3 and 6 first, so that the whole list falls into three runs.
        bytes memory early = bytes.concat(_entries(2, 2), _entries(6, 1));
        WorkerResults[] memory lists = _lists(worker, terms, early);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertEq(berth.dealState(deal).open, 5);

        lists = _lists(worker, terms, _entries(0, 8));
        _expectEvent();
        emit IBerthBase.SinglesSettled(deal, worker.addr, bytes.concat(_entries(0, 2), _entries(4, 2), _entries(7, 1)));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertEq(berth.dealState(deal).open, 0);
        assertEq(_free(appOwner.addr), 8 * APP_PRICE);
    }

    function test_WhenOnlyTheEndOfAListIsNewTheRestIsLeftOut() public {
        DealTerms memory terms = _deal(4);
        _settle(terms, 0, 3);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 4));
        _expectEvent();
        emit IBerthBase.SinglesSettled(_dealId(terms), worker.addr, _entries(3, 1));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    function test_WhenEverythingHasEndedNothingHappens() public {
        DealTerms memory terms = _deal(2);
        _settle(terms, 0, 2);
        uint256 free = _free(workerOwner);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 2));
        vm.recordLogs();
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(_free(workerOwner), free);
    }

    function test_WhenTwoListsOfABatchAnswerOneTaskTheFirstIsPaid() public {
        Vm.Wallet memory second = vm.createWallet("second");
        _enlist(second, stranger, 0);
        _fund(stranger, WORKER_STAKE);
        vm.prank(stranger);
        berth.bond(pool, second.addr, WORKER_STAKE, "");
        DealTerms memory terms = _deal(2);
        WorkerResults[] memory lists = new WorkerResults[](2);
        lists[0] = _list(worker, terms, _entries(0, 1));
        lists[1] = _list(second, terms, _entries(0, 2));
        uint256 before = _free(workerOwner);
        _expectEvent();
        emit IBerthBase.SinglesSettled(_dealId(terms), worker.addr, _entries(0, 1));
        _expectEvent();
        emit IBerthBase.SinglesSettled(_dealId(terms), second.addr, _entries(1, 1));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertEq(_free(workerOwner) - before, _pot(POOL_PRICE));
        assertEq(_free(stranger), _pot(POOL_PRICE));
    }

    function test_WhenThereIsNoListNothingHappens() public {
        DealTerms memory terms = _deal(1);
        berth.settleSingles(terms, new WorkerResults[](0));
        assertEq(berth.dealState(_dealId(terms)).open, 1);
    }

    // Who gets what.

    function test_WhenAStrangerBringsAssignmentsItSettles() public {
        DealTerms memory terms = _deal(3);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 3));
        lists[0].assignments = _assignments(terms, worker.addr, 0, 3);
        uint256 before = _free(workerOwner);
        vm.prank(stranger);
        berth.settleSingles(terms, lists);
        assertEq(_free(workerOwner) - before, 3 * _pot(POOL_PRICE));
    }

    function test_WhenTheOperatorSendsItsAssignmentsAreNotLookedAt() public {
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        lists[0].assignments = "garbage";
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertTrue(berth.ended(_dealId(terms), 0));
    }

    function test_WhenATaskFailedOnlyAFeeIsPaid() public {
        Orders memory orders = _orders();
        orders.request.volume = 3;
        DealTerms memory terms = _matched(orders);
        uint256 before = _free(workerOwner);
        bytes memory entries =
            bytes.concat(_entry(0, FETCH_FAILED), _entry(1, bytes32(uint256(255))), _entry(2, bytes32(uint256(256))));
        WorkerResults[] memory lists = _lists(worker, terms, entries);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);

        uint256 fee = POOL_PRICE / 10;
        assertEq(_free(workerOwner) - before, 2 * _pot(fee) + _pot(POOL_PRICE));
        assertEq(_free(appOwner.addr), APP_PRICE);
        assertEq(_free(datasetOwner.addr), DATASET_PRICE);
        assertEq(_free(poolOwner.addr), RICH + 2 * (fee - _pot(fee)) + POOL_PRICE - _pot(POOL_PRICE));
        assertEq(_free(requester.addr), RICH - 2 * fee - (APP_PRICE + DATASET_PRICE + POOL_PRICE));
        assertEq(_locked(requester.addr), 0);
        assertEq(_locked(poolOwner.addr), 0);
    }

    function test_WhenTheOperatorTakesAllTheWorkerGetsNothing() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.pool.operatorShareBps = 10_000;
        uint256 before = _free(workerOwner);
        _settle(_matched(orders), 0, 1);
        assertEq(_free(workerOwner), before);
        assertEq(_free(poolOwner.addr), RICH + POOL_PRICE);
    }

    function test_WhenADealIsLongEveryTaskEndsOnce() public {
        // 104 tasks fit into the deal's word, and into each further one.
        DealTerms memory terms = _deal(800);
        DealId deal = _dealId(terms);
        uint32[7] memory indexes = [uint32(0), 103, 104, 207, 208, 311, 312];
        bytes memory entries;
        for (uint256 i = 0; i < indexes.length; i++) {
            entries = bytes.concat(entries, _entry(indexes[i]));
        }
        WorkerResults[] memory lists = _lists(worker, terms, entries);
        vm.startPrank(operator.addr);
        berth.settleSingles(terms, lists);
        for (uint256 i = 0; i < indexes.length; i++) {
            assertTrue(berth.ended(deal, indexes[i]));
            assertFalse(berth.ended(deal, indexes[i] + (indexes[i] % 2 == 0 ? 1 : 0) + 100));
        }
        Deal memory kept = berth.dealState(deal);
        assertEq(kept.open, 800 - 7);
        assertEq(kept.ended, uint104(1) | uint104(1) << 103);

        // Two lists of one batch, back and forth over the words, one of them settled already.
        vm.stopPrank();
        lists = new WorkerResults[](2);
        lists[0] = _list(worker, terms, _entries(600, 200));
        lists[1] = _list(worker, terms, _entries(150, 256));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertEq(berth.dealState(deal).open, 800 - 7 - 200 - 252);
        assertEq(_free(appOwner.addr), (7 + 200 + 252) * APP_PRICE);
        for (uint32 i = 0; i < 800; i++) {
            bool listed = i == 0 || i == 103 || i == 104 || (i >= 600) || (i >= 150 && i < 406);
            assertEq(berth.ended(deal, i), listed);
        }
    }

    function test_WhenADealDoesNotBeginWithTaskZeroItsOffsetsDo() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = 5;
        orders.pool.volume = 3;
        berth.matchOrders(orders, _sign(orders));
        orders.pool.salt = keccak256("second");
        berth.matchOrders(orders, _sign(orders));
        DealTerms memory terms = _termsOf(orders, 3, 2);
        _settle(terms, 4, 1);
        assertFalse(berth.ended(_dealId(terms), 0));
        assertTrue(berth.ended(_dealId(terms), 1));
    }

    function _expectRefusal(DealTerms memory terms, WorkerResults[] memory lists, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    function _expectBadLength(DealTerms memory terms, bytes memory entries) private {
        _expectRefusal(
            terms,
            _lists(worker, terms, entries),
            abi.encodeWithSelector(IBerthBase.Berth_BadListLength.selector, entries.length)
        );
    }

    function _expectOutside(DealTerms memory terms, uint32 index) private {
        _expectRefusal(
            terms,
            _lists(worker, terms, _entry(index)),
            abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, index, terms.first, terms.size)
        );
    }

    function _badSignature(address signer, bytes32 digest) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IBerthBase.Berth_BadSignature.selector, signer, digest);
    }

    function _pot(uint256 paid) private pure returns (uint256) {
        return paid * (10_000 - SHARE_BPS) / 10_000;
    }
}
