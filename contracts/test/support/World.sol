// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Vm} from "forge-std/Vm.sol";
import {IAssets} from "../../src/interfaces/IAssets.sol";
import {IBerth} from "../../src/interfaces/IBerth.sol";
import {PermitToken} from "../../src/mocks/PermitToken.sol";
import {DealSubject, DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {APP, DATASET, POOL, AssetId, DealId, TaskId} from "../../src/types/Ids.sol";
import {
    AppOrder,
    DatasetOrder,
    Orders,
    PoolOrder,
    RequestOrder,
    Signatures,
    UNLIMITED
} from "../../src/types/Orders.sol";
import {Rule} from "../../src/types/Rule.sol";
import {Artifacts} from "./Artifacts.sol";

/// @notice A deployment with one of every party, all of them rich, and orders that match.
/// @dev Everything signed is hashed here by forge's own EIP-712, not by the library under test.
abstract contract World is Artifacts {
    string internal constant APP_ORDER =
        "AppOrder(bytes32 app,uint128 price,uint32 volume,bytes32 tag,bytes32 datasetRule,bytes32 poolRule,bytes32 requesterRule,uint64 expiry,uint64 epoch,bytes32 salt)";
    string internal constant DATASET_ORDER =
        "DatasetOrder(bytes32 dataset,uint128 price,uint32 volume,bytes32 tag,bytes32 appRule,bytes32 poolRule,bytes32 requesterRule,uint64 expiry,uint64 epoch,bytes32 salt)";
    string internal constant POOL_ORDER =
        "PoolOrder(bytes32 pool,uint128 price,uint32 volume,bytes32 tag,address operator,uint32 parallel,uint128 workerStake,uint128 poolStake,uint16 operatorShareBps,uint32 minDuration,uint32 maxDuration,uint32 maxTrust,bytes32 appRule,bytes32 datasetRule,bytes32 requesterRule,uint64 expiry,uint64 epoch,bytes32 salt)";
    string internal constant REQUEST_ORDER =
        "RequestOrder(bytes32 app,uint128 appMaxPrice,bytes32 dataset,uint128 datasetMaxPrice,bytes32 poolRule,uint128 poolMaxPrice,address requester,address payer,address beneficiary,address callback,bytes32 jobHash,uint32 volume,bytes32 tag,uint32 duration,uint32 trust,uint64 expiry,uint64 epoch,bytes32 salt)";
    string internal constant ENLISTMENT = "Enlistment(bytes32 pool,address owner)";
    string internal constant ASSIGNMENT = "Assignment(bytes32 task,address worker)";
    string internal constant SINGLE_RESULTS = "SingleResults(bytes32 deal,bytes32 root)";

    uint32 internal constant MIN_DURATION = 10;
    uint32 internal constant MAX_DURATION = 1 days;
    uint64 internal constant MAX_SPAN = 30 days;

    uint128 internal constant APP_PRICE = 1_003;
    uint128 internal constant DATASET_PRICE = 507;
    uint128 internal constant POOL_PRICE = 100_019;
    uint128 internal constant POOL_STAKE = 30_011;
    uint128 internal constant WORKER_STAKE = 50_021;
    uint16 internal constant SHARE_BPS = 1_111;
    uint32 internal constant T = 100;
    uint32 internal constant PARALLEL = 4;
    uint256 internal constant RICH = 1e30;

    PermitToken internal token;
    IAssets internal assets;
    address internal recourse;
    IBerth internal berth;

    Vm.Wallet internal appOwner;
    Vm.Wallet internal datasetOwner;
    Vm.Wallet internal poolOwner;
    Vm.Wallet internal operator;
    Vm.Wallet internal requester;
    Vm.Wallet internal sponsor;
    Vm.Wallet internal worker;
    address internal workerOwner = makeAddr("worker owner");
    address internal stranger = makeAddr("stranger");

    AssetId internal app;
    AssetId internal dataset;
    AssetId internal pool;

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        appOwner = vm.createWallet("app owner");
        datasetOwner = vm.createWallet("dataset owner");
        poolOwner = vm.createWallet("pool owner");
        operator = vm.createWallet("operator");
        requester = vm.createWallet("requester");
        sponsor = vm.createWallet("sponsor");
        worker = vm.createWallet("worker");

        token = PermitToken(_create("PermitToken", ""));
        assets = IAssets(_create("Assets", ""));
        (recourse, berth) = _deploy(token, assets);
        app = _register(APP, appOwner.addr, '{"name":"app"}');
        dataset = _register(DATASET, datasetOwner.addr, '{"name":"dataset"}');
        pool = _register(POOL, poolOwner.addr, '{"name":"pool"}');
        _fund(requester.addr, RICH);
        _fund(poolOwner.addr, RICH);
        _fund(workerOwner, RICH);
        _enlist(worker, workerOwner, 10 * WORKER_STAKE);
    }

    // The deployment.

    function _deploy(IERC20 token_, IAssets assets_) internal returns (address recourse_, IBerth berth_) {
        recourse_ = _createRecourse(assets_, MIN_DURATION, MAX_DURATION, MAX_SPAN);
        berth_ = IBerth(_createBerth(token_, assets_, recourse_, MIN_DURATION, MAX_DURATION, MAX_SPAN));
    }

    function _createRecourse(IAssets assets_, uint32 minDuration, uint32 maxDuration, uint64 maxSpan)
        internal
        returns (address)
    {
        return _create("Recourse", abi.encode(assets_, minDuration, maxDuration, maxSpan));
    }

    function _createBerth(
        IERC20 token_,
        IAssets assets_,
        address recourse_,
        uint32 minDuration,
        uint32 maxDuration,
        uint64 maxSpan
    ) internal returns (address) {
        return _create("Berth", abi.encode(token_, assets_, recourse_, minDuration, maxDuration, maxSpan));
    }

    function _register(uint8 kind, address creator, string memory descriptor) internal returns (AssetId) {
        vm.prank(creator);
        return assets.register(kind, descriptor);
    }

    function _fund(address holder, uint256 amount) internal {
        token.mint(holder, amount);
        vm.startPrank(holder);
        token.approve(address(berth), amount);
        berth.deposit(amount);
        vm.stopPrank();
    }

    function _enlist(Vm.Wallet memory worker_, address owner, uint128 amount) internal {
        bytes memory enlistment = _signEnlistment(worker_, pool, owner);
        vm.prank(owner);
        berth.bond(pool, worker_.addr, amount, enlistment);
    }

    // Orders.

    /// @notice Four orders that match, for one task.
    function _orders() internal view returns (Orders memory orders) {
        orders = _ordersWithoutDataset();
        orders.dataset = DatasetOrder({
            dataset: dataset,
            price: DATASET_PRICE,
            volume: UNLIMITED,
            tag: bytes32(0),
            appRule: Rule.wrap(bytes32(0)),
            poolRule: Rule.wrap(bytes32(0)),
            requesterRule: Rule.wrap(bytes32(0)),
            expiry: uint64(block.timestamp + 1 days),
            epoch: 0,
            salt: keccak256("dataset order")
        });
        orders.request.dataset = dataset;
        orders.request.datasetMaxPrice = DATASET_PRICE;
    }

    /// @notice Three orders that match, for one task.
    function _ordersWithoutDataset() internal view returns (Orders memory orders) {
        uint64 expiry = uint64(block.timestamp + 1 days);
        orders.app.app = app;
        orders.app.price = APP_PRICE;
        orders.app.volume = UNLIMITED;
        orders.app.expiry = expiry;
        orders.app.salt = keccak256("app order");

        orders.pool.pool = pool;
        orders.pool.price = POOL_PRICE;
        orders.pool.volume = UNLIMITED;
        orders.pool.operator = operator.addr;
        orders.pool.parallel = PARALLEL;
        orders.pool.workerStake = WORKER_STAKE;
        orders.pool.poolStake = POOL_STAKE;
        orders.pool.operatorShareBps = SHARE_BPS;
        orders.pool.minDuration = MIN_DURATION;
        orders.pool.maxDuration = MAX_DURATION;
        orders.pool.maxTrust = 1;
        orders.pool.expiry = expiry;
        orders.pool.salt = keccak256("pool order");

        orders.request.app = app;
        orders.request.appMaxPrice = APP_PRICE;
        orders.request.poolRule = _assetRule(pool);
        orders.request.poolMaxPrice = POOL_PRICE;
        orders.request.requester = requester.addr;
        orders.request.payer = requester.addr;
        orders.request.beneficiary = requester.addr;
        orders.request.jobHash = keccak256("job");
        orders.request.volume = 1;
        orders.request.duration = T;
        orders.request.trust = 1;
        orders.request.expiry = expiry;
        orders.request.salt = keccak256("request order");
    }

    function _sign(Orders memory orders) internal returns (Signatures memory) {
        return _signAs(orders, requester);
    }

    function _signAs(Orders memory orders, Vm.Wallet memory requester_) internal returns (Signatures memory signed) {
        signed.app = _signature(appOwner, _digest(orders.app));
        if (AssetId.unwrap(orders.dataset.dataset) != 0) {
            signed.dataset = _signature(datasetOwner, _digest(orders.dataset));
        }
        signed.pool = _signature(poolOwner, _digest(orders.pool));
        signed.request = _signature(requester_, _digest(orders.request));
    }

    /// @notice Signs and matches fresh orders for `volume` tasks, without dataset.
    function _deal(uint32 volume) internal returns (DealTerms memory) {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = volume;
        return _matched(orders);
    }

    /// @notice Signs and matches these orders, none of which was used before.
    function _matched(Orders memory orders) internal returns (DealTerms memory terms) {
        berth.matchOrders(orders, _sign(orders));
        return _termsOf(orders, 0, orders.request.volume);
    }

    /// @notice The terms that a match of these orders has to have.
    function _termsOf(Orders memory orders, uint32 first, uint32 size) internal view returns (DealTerms memory) {
        bool withDataset = AssetId.unwrap(orders.dataset.dataset) != 0;
        return DealTerms({
            request: _digest(orders.request),
            pool: orders.pool.pool,
            appOwner: appOwner.addr,
            datasetOwner: withDataset ? datasetOwner.addr : address(0),
            poolOwner: poolOwner.addr,
            operator: orders.pool.operator,
            payer: orders.request.payer,
            callback: orders.request.callback,
            appPrice: orders.app.price,
            datasetPrice: withDataset ? orders.dataset.price : 0,
            poolPrice: orders.pool.price,
            poolStake: orders.pool.poolStake,
            workerStake: orders.pool.workerStake,
            operatorShareBps: orders.pool.operatorShareBps,
            parallel: orders.pool.parallel,
            duration: orders.request.duration,
            trust: orders.request.trust,
            first: first,
            size: size,
            start: uint64(block.timestamp)
        });
    }

    function _dealId(DealTerms memory terms) internal pure returns (DealId) {
        return DealId.wrap(keccak256(abi.encode(terms)));
    }

    // Deadlines, as ADR 0001 has them.

    function _span(DealTerms memory terms) internal pure returns (uint256) {
        uint256 waves = terms.size / terms.parallel + (terms.size % terms.parallel == 0 ? 0 : 1);
        return waves * terms.duration;
    }

    function _after(DealTerms memory terms, uint256 durations) internal pure returns (uint256) {
        return terms.start + _span(terms) + durations * terms.duration;
    }

    // Results.

    /// @notice `count` entries from `from` on, each with a digest of its own.
    function _entries(uint32 from, uint32 count) internal pure returns (bytes memory entries) {
        for (uint32 i = 0; i < count; i++) {
            entries = bytes.concat(entries, _entry(from + i));
        }
    }

    function _entry(uint32 index) internal pure returns (bytes memory) {
        return _entry(index, keccak256(abi.encode("result", index)));
    }

    function _entry(uint32 index, bytes32 digest) internal pure returns (bytes memory) {
        return abi.encodePacked(index, digest);
    }

    function _list(Vm.Wallet memory worker_, DealTerms memory terms, bytes memory entries)
        internal
        returns (WorkerResults memory list)
    {
        list.worker = worker_.addr;
        list.entries = entries;
        list.signature = _signature(worker_, _resultsDigest(_dealId(terms), entries));
    }

    function _lists(Vm.Wallet memory worker_, DealTerms memory terms, bytes memory entries)
        internal
        returns (WorkerResults[] memory lists)
    {
        lists = new WorkerResults[](1);
        lists[0] = _list(worker_, terms, entries);
    }

    /// @notice The operator's word for `count` tasks from `from` on.
    function _assignments(DealTerms memory terms, address worker_, uint32 from, uint32 count)
        internal
        returns (bytes memory assignments)
    {
        for (uint32 i = 0; i < count; i++) {
            assignments = bytes.concat(assignments, _signAssignment(terms, worker_, from + i));
        }
    }

    /// @notice The operator settles what the world's worker found for tasks `from` to `from + count - 1`.
    function _settle(DealTerms memory terms, uint32 from, uint32 count) internal {
        WorkerResults[] memory lists = _lists(worker, terms, _entries(from, count));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    // Signatures.

    function _typed(string memory kind, bytes memory members) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", berth.domainSeparator(), vm.eip712HashStruct(kind, members)));
    }

    /// @dev In the order of the parameters: app, dataset, pool, request.
    function _digest(Orders memory orders, uint256 which) internal view returns (bytes32) {
        if (which == 0) return _digest(orders.app);
        if (which == 1) return _digest(orders.dataset);
        if (which == 2) return _digest(orders.pool);
        return _digest(orders.request);
    }

    function _digest(AppOrder memory order) internal view returns (bytes32) {
        return _typed(APP_ORDER, abi.encode(order));
    }

    function _digest(DatasetOrder memory order) internal view returns (bytes32) {
        return _typed(DATASET_ORDER, abi.encode(order));
    }

    function _digest(PoolOrder memory order) internal view returns (bytes32) {
        return _typed(POOL_ORDER, abi.encode(order));
    }

    function _digest(RequestOrder memory order) internal view returns (bytes32) {
        return _typed(REQUEST_ORDER, abi.encode(order));
    }

    function _resultsDigest(DealId deal, bytes memory entries) internal view returns (bytes32) {
        return _typed(SINGLE_RESULTS, abi.encode(deal, keccak256(entries)));
    }

    function _enlistmentDigest(AssetId pool_, address owner) internal view returns (bytes32) {
        return _typed(ENLISTMENT, abi.encode(pool_, owner));
    }

    function _assignmentDigest(DealTerms memory terms, address worker_, uint32 index) internal view returns (bytes32) {
        TaskId task = TaskId.wrap(keccak256(abi.encode(_dealId(terms), uint256(index))));
        return _typed(ASSIGNMENT, abi.encode(task, worker_));
    }

    function _signEnlistment(Vm.Wallet memory worker_, AssetId pool_, address owner) internal returns (bytes memory) {
        return _signature(worker_, _enlistmentDigest(pool_, owner));
    }

    function _signAssignment(DealTerms memory terms, address worker_, uint32 index) internal returns (bytes memory) {
        return _signature(operator, _assignmentDigest(terms, worker_, index));
    }

    function _signature(Vm.Wallet memory signer, bytes32 digest) internal returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer, digest);
        return abi.encodePacked(r, s, v);
    }

    // Rules.

    function _assetRule(AssetId asset) internal pure returns (Rule) {
        return Rule.wrap(AssetId.unwrap(asset));
    }

    function _accountRule(address account) internal pure returns (Rule) {
        return Rule.wrap(bytes32(uint256(uint160(account))));
    }

    function _contractRule(address asked) internal pure returns (Rule) {
        return Rule.wrap(bytes32(uint256(1) << 160 | uint256(uint160(asked))));
    }

    // Balances.

    function _free(address holder) internal view returns (uint256 free) {
        (free,) = berth.account(holder);
    }

    function _locked(address holder) internal view returns (uint256 locked) {
        (, locked) = berth.account(holder);
    }

    /// @notice An event's topic 0 and fields are compared in full.
    function _expectEvent() internal {
        vm.expectEmit(address(berth));
    }
}
