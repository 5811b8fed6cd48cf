// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {APP, DATASET} from "../../src/types/Ids.sol";
import {Consent, Orders, Signatures} from "../../src/types/Orders.sol";
import {Answers, Replicas, Sealed, Shown} from "../support/Replicas.sol";

/// @notice What each operation costs, as its receipt would say: every call is a transaction of its own (`isolate`), so
/// the base fee and the calldata are counted, and nothing is warm. Prices are above zero, and accounts in use.
/// forge-config: default.isolate = true
/// forge-config: lite.isolate = true
contract Gas is Replicas {
    /// @dev `docs/benchmarks.md` has what each may cost.
    function setUp() public override {
        super.setUp();
        _fund(appOwner.addr, 1);
        _fund(datasetOwner.addr, 1);
        // Every account has something locked, too, and every asset another owner's token beside it.
        _deal(7);
        // And every worker has a score.
        Sealed memory first = _sealAgreed(7, CREW);
        _settleShown(first, _showAll(first));
        vm.warp(block.timestamp + 1);
    }

    function test_register() public {
        // 300 bytes, as an app's descriptor with image digests has.
        string memory descriptor = string.concat(
            '{"env":{},"image":{"config":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",',
            '"manifest":"sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",',
            '"reference":"render:latest"},"min":{"cpu_millis":1000,"disk_bytes":67108864,"memory_bytes":268435456},',
            '"name":"render","runtime":"docker"}'
        );
        vm.prank(stranger);
        assets.register(APP, descriptor);
        vm.snapshotGasLastCall("register_app");
    }

    function test_deposit() public {
        token.mint(requester.addr, 100);
        vm.prank(requester.addr);
        token.approve(address(berth), 100);
        vm.prank(requester.addr);
        berth.deposit(100);
        vm.snapshotGasLastCall("deposit");
    }

    function test_withdraw() public {
        vm.prank(requester.addr);
        berth.withdraw(stranger, 100);
        vm.snapshotGasLastCall("withdraw");
    }

    function test_match() public {
        _match(_ordersWithoutDataset(), "match_no_dataset");
    }

    function test_matchLimited() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.app.volume = 1000;
        orders.pool.volume = 1000;
        _match(orders, "match_no_dataset_limited_volumes");
    }

    function test_matchStanding() public {
        // Limited offers that were matched before, and a fresh request.
        Orders memory orders = _ordersWithoutDataset();
        orders.app.volume = 1000;
        orders.pool.volume = 1000;
        orders.request.salt = "the one before";
        _matched(orders);
        _match(orders, "match_no_dataset_standing");
    }

    function test_matchSponsored() public {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.salt = "sponsored";
        Consent memory consent = Consent(1, uint64(block.timestamp + 1), "");
        bytes memory members = abi.encode(_digest(orders.request), _digest(orders.pool), consent.volume, consent.expiry);
        consent.signature = _signature(
            requester, _typed("Sponsorship(bytes32 request,bytes32 poolOrder,uint32 volume,uint64 expiry)", members)
        );
        Signatures memory signatures = _sign(orders);
        vm.prank(stranger);
        berth.matchSponsored(orders, signatures, consent);
        vm.snapshotGasLastCall("match_sponsored");
    }

    function test_cancelOne() public {
        vm.prank(requester.addr);
        berth.cancelOrder("order");
        vm.snapshotGasLastCall("cancel_order");
    }

    function test_matchDataset() public {
        _match(_orders(), "match_dataset");
    }

    function test_settleAlone() public {
        DealTerms memory terms = _deal1("alone", 1);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 1));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        vm.snapshotGasLastCall("settle_single_alone");
    }

    function test_settleHundred() public {
        DealTerms memory terms = _deal1("hundred", 100);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 100));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
        vm.snapshotGasLastCall("settle_single_x100");
    }

    function test_settleHundredByAStranger() public {
        DealTerms memory terms = _deal1("hundred", 100);
        WorkerResults[] memory lists = _lists(worker, terms, _entries(0, 100));
        lists[0].assignments = _assignments(terms, worker.addr, 0, 100);
        vm.prank(stranger);
        berth.settleSingles(terms, lists);
        vm.snapshotGasLastCall("settle_single_x100_by_a_stranger");
    }

    function test_claim() public {
        DealTerms memory terms = _deal1("claim", 100);
        vm.warp(_after(terms, 9) + 1);
        vm.prank(stranger);
        berth.claim(terms);
        vm.snapshotGasLastCall("claim");
    }

    function test_decline() public {
        DealTerms memory terms = _deal1("decline", 100);
        uint32[] memory indexes = new uint32[](1);
        vm.prank(operator.addr);
        berth.decline(terms, indexes);
        vm.snapshotGasLastCall("decline_one");
    }

    function test_bond() public {
        vm.prank(workerOwner);
        berth.bond(pool, worker.addr, 100, "");
        vm.snapshotGasLastCall("bond_more");
    }

    function test_roundOfOne() public {
        (uint256 closing, uint256 settling) = _round(1, 3);
        vm.snapshotValue("settle_3_workers_alone_total", closing + settling);
    }

    function test_roundOfAHundred() public {
        (uint256 closing, uint256 settling) = _round(100, 3);
        vm.snapshotValue("close_round_x100", closing);
        vm.snapshotValue("settle_round_3x100_per_task", (closing + settling) / 100);
    }

    function test_roundOfTwoHundred() public {
        (uint256 closing, uint256 settling) = _round(200, 3);
        vm.snapshotValue("settle_round_3x200_per_task", (closing + settling) / 200);
    }

    function test_roundOfAHundredWithFive() public {
        (uint256 closing, uint256 settling) = _round(100, 5);
        vm.snapshotValue("settle_round_5x100_per_task", (closing + settling) / 100);
    }

    /// @dev What it costs to close and to settle a round of all of a deal's tasks.
    function _round(uint32 volume, uint256 each) private returns (uint256 closing, uint256 settling) {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = volume;
        orders.request.trust = orders.pool.maxTrust = TRUST;
        orders.request.salt = keccak256("round");
        DealTerms memory terms = _matched(orders);
        Answers[] memory tasks = _agreed(terms, volume, each);
        for (uint256 i = 0; i < volume; i++) {
            tasks[i] = _answers(uint32(i), _turn(i, each), _resultOf(i));
        }
        Sealed memory sealed_ = _seal(terms, tasks, "round");
        closing = vm.lastCallGas().gasTotalUsed;
        Shown memory shown = _showAll(sealed_);
        vm.prank(operator.addr);
        berth.settle(terms, sealed_.round, shown.workers, shown.tasks, shown.proof);
        settling = vm.lastCallGas().gasTotalUsed;
        assertEq(berth.dealState(_dealId(terms)).open, 0);
    }

    function _deal1(string memory salt, uint32 volume) private returns (DealTerms memory) {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.salt = keccak256(bytes(salt));
        orders.request.volume = volume;
        return _matched(orders);
    }

    function _match(Orders memory orders, string memory name) private {
        orders.request.salt = keccak256(bytes(name));
        Signatures memory signatures = _sign(orders);
        vm.prank(stranger);
        berth.matchOrders(orders, signatures);
        vm.snapshotGasLastCall(name);
    }
}
