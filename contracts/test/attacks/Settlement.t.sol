// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerth, IBerthBase} from "../../src/interfaces/IBerth.sol";
import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {POOL, AssetId} from "../../src/types/Ids.sol";
import {Orders} from "../../src/types/Orders.sol";
import {World} from "../support/World.sol";

/// @notice Attacks on settlement, decline, claim and bonds. In each of them the attacker gets nothing.
contract AttacksOnSettlement is World {
    function test_OneListIsNotGoodForTwoDeals() public {
        // Two deals of one request, so that even the job is the same.
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = 2;
        orders.pool.volume = 1;
        berth.matchOrders(orders, _sign(orders));
        DealTerms memory first = _termsOf(orders, 0, 1);
        orders.pool.salt = keccak256("second");
        berth.matchOrders(orders, _sign(orders));
        DealTerms memory second = _termsOf(orders, 1, 1);

        WorkerResults[] memory lists = _lists(worker, first, _entry(1));
        vm.expectRevert(
            abi.encodeWithSelector(
                IBerthBase.Berth_BadSignature.selector, worker.addr, _resultsDigest(_dealId(second), _entry(1))
            )
        );
        vm.prank(operator.addr);
        berth.settleSingles(second, lists);
    }

    function test_ListsAndAssignmentsOfAnotherChainAreNotGood() public {
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        lists[0].assignments = _assignments(terms, worker.addr, 0, 1);
        vm.chainId(1);
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        // The worker signs again, for the chain that it is on; the stranger still has the operator's old word.
        lists[0].signature = _list(worker, terms, lists[0].entries).signature;
        vm.expectRevert(
            abi.encodeWithSelector(
                IBerthBase.Berth_BadSignature.selector, operator.addr, _assignmentDigest(terms, worker.addr, 0)
            )
        );
        vm.prank(stranger);
        berth.settleSingles(terms, lists);
    }

    function test_TermsOfAnotherContractAreUnknown() public {
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        (, IBerth other) = _deploy(token, assets);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_UnknownDeal.selector, _dealId(terms)));
        vm.prank(operator.addr);
        other.settleSingles(terms, lists);
    }

    function test_AWorkersListDoesNotPayAnother() public {
        // A bonded worker shows another's list as its own.
        Vm.Wallet memory thief = vm.createWallet("thief");
        _enlist(thief, workerOwner, WORKER_STAKE);
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        lists[0].worker = thief.addr;
        vm.expectPartialRevert(IBerthBase.Berth_BadSignature.selector);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    function test_AWorkerWithoutAssignmentIsNotPaid() public {
        // It guessed the result, and sends it itself.
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_BadAssignmentsLength.selector, 0, 65));
        vm.prank(worker.addr);
        berth.settleSingles(terms, lists);
    }

    function test_AnAssignmentOfAnotherDealIsNotGood() public {
        Orders memory orders = _ordersWithoutDataset();
        DealTerms memory first = _matched(orders);
        orders.request.salt = keccak256("second");
        DealTerms memory second = _matched(orders);
        WorkerResults[] memory lists = _lists(worker, second, _entries(0, 1));
        lists[0].assignments = _assignments(first, worker.addr, 0, 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IBerthBase.Berth_BadSignature.selector, operator.addr, _assignmentDigest(second, worker.addr, 0)
            )
        );
        vm.prank(stranger);
        berth.settleSingles(second, lists);
    }

    function test_AnIndexOutsideTheDealIsRefusedEverywhere() public {
        DealTerms memory terms = _deal(2);
        WorkerResults[] memory lists = _lists(worker, terms, _entry(2));
        bytes memory refusal = abi.encodeWithSelector(IBerthBase.Berth_IndexOutside.selector, 2, 0, 2);
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        uint32[] memory indexes = new uint32[](1);
        indexes[0] = 2;
        vm.expectRevert(refusal);
        vm.prank(operator.addr);
        berth.decline(terms, indexes);
    }

    function test_ASearcherDoesNotStopABatchBySettlingAPartFirst() public {
        DealTerms memory terms = _deal(3);
        WorkerResults[] memory batch = _lists(worker, terms, _entries(0, 3));
        WorkerResults[] memory part = _lists(worker, terms, _entries(1, 1));
        part[0].assignments = _assignments(terms, worker.addr, 1, 1);
        vm.prank(stranger);
        berth.settleSingles(terms, part);

        vm.prank(operator.addr);
        berth.settleSingles(terms, batch);
        assertEq(berth.dealState(_dealId(terms)).open, 0);
        assertEq(_free(appOwner.addr), 3 * APP_PRICE);
        assertEq(_locked(requester.addr), 0);
    }

    function test_AWorkerDoesNotStopABatchByUnbonding() public {
        Vm.Wallet memory leaver = vm.createWallet("leaver");
        _fund(stranger, WORKER_STAKE);
        _enlist(leaver, stranger, WORKER_STAKE);
        DealTerms memory terms = _deal(2);
        // It cannot take its bond away from a deal that was matched while it counted. It can before a later one ends.
        vm.prank(stranger);
        berth.unbond(pool, leaver.addr, WORKER_STAKE);
        (,,, uint64 releaseAt,) = berth.bondOf(pool, leaver.addr);
        assertGt(releaseAt, _after(terms, 12));
        vm.warp(releaseAt - 100);
        Orders memory orders = _ordersWithoutDataset();
        orders.request.salt = keccak256("late");
        orders.request.volume = 2;
        DealTerms memory late = _matched(orders);
        WorkerResults[] memory lists = new WorkerResults[](2);
        lists[0] = _list(leaver, late, _entries(0, 1));
        lists[1] = _list(worker, late, _entries(1, 1));
        uint256 before = _free(stranger);
        vm.prank(operator.addr);
        berth.settleSingles(late, lists);
        assertFalse(berth.ended(_dealId(late), 0));
        assertTrue(berth.ended(_dealId(late), 1));
        assertEq(_free(stranger), before);
    }

    function test_AnUnderBondedWorkerIsNotPaid() public {
        Vm.Wallet memory poor = vm.createWallet("poor");
        _enlist(poor, workerOwner, WORKER_STAKE - 1);
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(poor, terms, _entries(0, 1));
        uint256 before = _free(workerOwner);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertEq(_free(workerOwner), before);
        assertFalse(berth.ended(_dealId(terms), 0));
    }

    function test_ABondInOnePoolDoesNotCoverInAnother() public {
        // A pool of one's own asks for no stake worth the name.
        Vm.Wallet memory elsewhere = vm.createWallet("elsewhere");
        AssetId own = _register(POOL, stranger, "attacker's pool");
        _fund(stranger, WORKER_STAKE);
        bytes memory enlistment = _signEnlistment(elsewhere, own, stranger);
        vm.prank(stranger);
        berth.bond(own, elsewhere.addr, WORKER_STAKE, enlistment);
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(elsewhere, terms, _entries(0, 1));
        _expectEvent();
        emit IBerthBase.ListSkipped(_dealId(terms), elsewhere.addr);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    function test_AStolenWorkerKeyTakesNoBond() public {
        // Whoever has the machine has the worker's key: money goes to the owner, and only the owner moves the bond.
        vm.startPrank(worker.addr);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotBondOwner.selector, worker.addr, workerOwner));
        berth.unbond(pool, worker.addr, 1);
        bytes memory enlistment = _signEnlistment(worker, pool, worker.addr);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NotBondOwner.selector, worker.addr, workerOwner));
        berth.bond(pool, worker.addr, 0, enlistment);
        vm.stopPrank();
        _settle(_deal(1), 0, 1);
        assertEq(_free(worker.addr), 0);
    }

    function test_NobodyMakesHimselfAnothersOwner() public {
        Vm.Wallet memory fresh = vm.createWallet("fresh");
        bytes memory enlistment = _signEnlistment(fresh, pool, workerOwner);
        // The attacker saw the signature in the mempool.
        vm.expectRevert(
            abi.encodeWithSelector(
                IBerthBase.Berth_BadSignature.selector, fresh.addr, _enlistmentDigest(pool, stranger)
            )
        );
        vm.prank(stranger);
        berth.bond(pool, fresh.addr, 0, enlistment);
    }

    function test_ALoneTaskRaisesNoScore() public {
        _settle(_deal(50), 0, 50);
        (,,,, uint32 score) = berth.bondOf(pool, worker.addr);
        assertEq(score, 0);
    }

    function test_DecliningAtTheLastMomentCostsTheStake() public {
        DealTerms memory terms = _deal(1);
        vm.warp(_after(terms, 6));
        vm.prank(operator.addr);
        berth.decline(terms, new uint32[](1));
        assertEq(_free(requester.addr), RICH);
        assertEq(_free(poolOwner.addr), RICH - POOL_STAKE);
        assertEq(_locked(poolOwner.addr), 0);
    }

    function test_AnOperatorDoesNotDeclineWhatIsSettled() public {
        // The work is done and handed to a stranger, who settles; the operator wants its stake and the price back.
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        lists[0].assignments = _assignments(terms, worker.addr, 0, 1);
        vm.prank(stranger);
        berth.settleSingles(terms, lists);
        uint256 payer = _free(requester.addr);
        vm.prank(operator.addr);
        berth.decline(terms, new uint32[](1));
        assertEq(_free(requester.addr), payer);
    }

    function test_ClaimAndSettleDoNotMeetAtTheFinalDeadline() public {
        DealTerms memory terms = _deal(2);
        WorkerResults[] memory first = _lists(worker, terms, _entries(0, 1));
        WorkerResults[] memory second = _lists(worker, terms, _entries(0, 2));
        uint256 deadline = _after(terms, 9);
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooEarly.selector, deadline));
        berth.claim(terms);
        vm.prank(operator.addr);
        berth.settleSingles(terms, first);

        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_TooLate.selector, deadline));
        vm.prank(operator.addr);
        berth.settleSingles(terms, second);
        berth.claim(terms);
        assertEq(_free(requester.addr), RICH - (APP_PRICE + POOL_PRICE));
        assertEq(_locked(requester.addr), 0);
    }

    function test_AClaimPaysOnlyOnce() public {
        DealTerms memory terms = _deal(2);
        vm.warp(_after(terms, 9) + 1);
        berth.claim(terms);
        vm.expectRevert(abi.encodeWithSelector(IBerthBase.Berth_NothingOpen.selector, _dealId(terms)));
        berth.claim(terms);
        vm.expectPartialRevert(IBerthBase.Berth_TooLate.selector);
        vm.prank(operator.addr);
        berth.decline(terms, new uint32[](1));
        assertEq(_free(requester.addr), RICH);
    }

    function test_AFailureOnPurposePaysAPoolLessThanWorkingDoes() public {
        // Agreeing on a guessed failure is worth a tenth of the price, and nothing to the app.
        DealTerms memory terms = _deal(1);
        WorkerResults[] memory lists = _lists(worker, terms, _entry(0, bytes32(uint256(3))));
        uint256 before = _free(workerOwner) + _free(poolOwner.addr) + _locked(poolOwner.addr);
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        assertEq(_free(workerOwner) + _free(poolOwner.addr) - before, POOL_PRICE / 10);
        assertEq(_free(appOwner.addr), 0);
    }

    function test_TermsThatAreNotCleanAreNotThoseOfTheDeal() public {
        // The id is the hash of the call's own words: a word with bits above its type must not pass for the deal.
        DealTerms memory terms = _deal(1);
        bytes memory call = abi.encodeCall(berth.claim, (terms));
        vm.warp(_after(terms, 9) + 1);
        for (uint256 word = 2; word < 20; word++) {
            bytes memory dirty = bytes.concat(call);
            dirty[4 + 32 * word] = 0x01;
            (bool ok,) = address(berth).call(dirty);
            assertFalse(ok);
        }
        // More calldata than the terms need is no harm.
        (bool whole,) = address(berth).call(bytes.concat(call, hex"01"));
        assertTrue(whole);
    }
}
