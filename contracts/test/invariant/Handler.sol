// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IBerth} from "../../src/interfaces/IBerth.sol";
import {PermitToken} from "../../src/mocks/PermitToken.sol";
import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {APP, DATASET, POOL, AssetId, DealId} from "../../src/types/Ids.sol";
import {Consent, Orders, Signatures, UNLIMITED} from "../../src/types/Orders.sol";
import {CountingReceiver} from "../support/Receivers.sol";
import {Replicas} from "../support/Replicas.sol";
import {Ledger} from "./Ledger.sol";

/// @notice Makes calls that have to succeed, as anybody, and keeps the ledger by what is logged. `RoundHandler` adds
/// those of replicated tasks.
abstract contract Handler is Replicas {
    uint256 private constant ACTORS = 6;
    uint256 private constant POOLS = 2;

    Ledger public ledger;
    /// @notice What was sent to the contract without a deposit.
    uint256 public sentAlong;
    /// @notice How often free money fell without its holder's call or signature.
    uint256 public violations;
    /// @notice How often a delivery went well that should not have, or the other way round.
    uint256 public wrongDeliveries;
    /// @notice Whom some deals have their results brought to. It counts what it receives, and sometimes fails.
    CountingReceiver public receiver;
    /// @notice How often each entry point was gone into, by name.
    mapping(bytes32 name => uint256) public calls;

    Vm.Wallet[] private _actors;
    AssetId[] private _pools;
    AssetId[] private _apps;
    AssetId[] private _datasets;
    bytes32[] private _orders_;
    mapping(bytes32 order => uint32) private _volumes;
    mapping(bytes32 order => uint32) private _consumedBefore;
    uint256 private _orderSalt;
    /// @dev What results of single workers are made of.
    mapping(bytes32 digest => bytes32) private _origins;

    constructor() {
        Replicas.setUp();
        vm.recordLogs();
        ledger = new Ledger();
        // Whoever is an actor here may be anything: requester, sponsor, owner of assets and of workers, passer-by.
        string[6] memory names = ["ann", "ben", "cat", "dan", "eve", "fay"];
        for (uint256 i = 0; i < ACTORS; i++) {
            _actors.push(vm.createWallet(names[i]));
        }
        for (uint256 i = 0; i < POOLS; i++) {
            _pools.push(_register(POOL, _actors[i].addr, string.concat("pool ", vm.toString(i))));
            _apps.push(_register(APP, _actors[i + 1].addr, string.concat("app ", vm.toString(i))));
            _datasets.push(_register(DATASET, _actors[i + 3].addr, string.concat("dataset ", vm.toString(i))));
        }
        // A fresh contract: the ledger starts with nothing.
        token = PermitToken(_create("PermitToken", ""));
        (recourse, berth) = _deploy(token, assets);
        receiver = new CountingReceiver(address(berth));
        vm.getRecordedLogs();
        for (uint256 i = 0; i < ACTORS; i++) {
            deposit(i, 1e12);
        }
        // Every pool has all workers from the start.
        for (uint256 i = 0; i < POOLS * CREW; i++) {
            bond(i % CREW, i % CREW, i / CREW, 3e6);
        }
    }

    // Accounts.

    function deposit(uint256 who, uint256 amount) public counted("deposit") {
        address actor = _actor(who).addr;
        amount = _bound(amount, 0, 1e15);
        token.mint(actor, amount);
        vm.prank(actor);
        token.approve(address(berth), amount);
        vm.prank(actor);
        berth.deposit(amount);
        _follow(_only(actor));
    }

    function depositFor(uint256 who, uint256 whom, uint256 amount) external counted("depositFor") {
        address actor = _actor(who).addr;
        amount = _bound(amount, 0, 1e15);
        token.mint(actor, amount);
        vm.prank(actor);
        token.approve(address(berth), amount);
        vm.prank(actor);
        berth.depositFor(_actor(whom).addr, amount);
        _follow(_only(actor));
    }

    function depositWithPermit(uint256 who, uint256 amount, bool usedBefore) external counted("depositWithPermit") {
        Vm.Wallet memory actor = _actor(who);
        amount = _bound(amount, 0, 1e15);
        token.mint(actor.addr, amount);
        bytes32 structHash = vm.eip712HashStruct(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
            abi.encode(actor.addr, address(berth), amount, token.nonces(actor.addr), block.timestamp)
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(actor, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
        if (usedBefore) token.permit(actor.addr, address(berth), amount, block.timestamp, v, r, s);
        vm.prank(actor.addr);
        berth.depositWithPermit(amount, block.timestamp, v, r, s);
        _follow(_only(actor.addr));
    }

    function withdraw(uint256 who, uint256 to, uint256 amount) external counted("withdraw") {
        address actor = _actor(who).addr;
        amount = _bound(amount, 0, _free(actor));
        vm.prank(actor);
        berth.withdraw(_actor(to).addr, amount);
        _follow(_only(actor));
    }

    /// @notice Somebody sends tokens to the contract, which are then nobody's.
    function sendAlong(uint256 amount) external counted("sendAlong") {
        amount = _bound(amount, 0, 1e9);
        token.mint(address(berth), amount);
        sentAlong += amount;
    }

    // Orders.

    function raiseEpoch(uint256 who, uint64 by) external counted("raiseEpoch") {
        address actor = _actor(who).addr;
        uint64 epoch = berth.epochOf(actor) + uint64(_bound(by, 1, 3));
        vm.prank(actor);
        berth.raiseEpoch(epoch);
        _follow(_only(actor));
    }

    /// @notice An asset changes hands: from now on its new owner signs and is paid.
    function sell(uint256 which, uint256 to) external counted("sell") {
        AssetId asset = _pools[which / 3 % POOLS];
        if (which % 3 == 0) asset = _apps[which / 3 % _apps.length];
        if (which % 3 == 1) asset = _datasets[which / 3 % _datasets.length];
        address owner = assets.ownerOf(asset.tokenId());
        vm.prank(owner);
        assets.transferFrom(owner, _actor(to).addr, asset.tokenId());
    }

    function matchOrders(uint256 seed, uint32 volume, uint128 price) external counted("matchOrders") {
        Vm.Wallet memory requester_ = _actor(seed >> 8);
        Vm.Wallet memory payer = seed % 3 == 0 ? _actor(seed >> 16) : requester_;
        Orders memory orders = _draw(seed, volume, price);
        (orders.request.requester, orders.request.payer) = (requester_.addr, payer.addr);
        orders.request.epoch = berth.epochOf(requester_.addr);
        Vm.Wallet memory poolOwner_ = _ownerOf(orders.pool.pool);
        orders.app.epoch = berth.epochOf(_ownerOf(orders.app.app).addr);
        orders.pool.epoch = berth.epochOf(poolOwner_.addr);
        if (_hasDataset(orders)) orders.dataset.epoch = berth.epochOf(_ownerOf(orders.dataset.dataset).addr);
        if (!_affordable(orders)) return;
        Signatures memory signatures = _signBy(orders, requester_);

        uint256 rounds = _bound(seed >> 24, 1, 3);
        for (uint256 i = 0; i < rounds; i++) {
            _send(orders, signatures, payer);
            _follow(_two(payer.addr, poolOwner_.addr));
            // Again with another pool order, if the first had less than the request asks for.
            if (berth.consumed(_digest(orders.request)) == orders.request.volume || !_affordable(orders)) break;
            if (berth.consumed(_digest(orders.app)) == orders.app.volume) break;
            if (_hasDataset(orders) && berth.consumed(_digest(orders.dataset)) == orders.dataset.volume) break;
            orders.pool.salt = bytes32(++_orderSalt);
            signatures.pool = _signature(poolOwner_, _digest(orders.pool));
            _note(_digest(orders.pool), orders.pool.volume);
        }
    }

    function _signBy(Orders memory orders, Vm.Wallet memory requester_) private returns (Signatures memory signatures) {
        signatures.app = _signature(_ownerOf(orders.app.app), _digest(orders.app));
        signatures.pool = _signature(_ownerOf(orders.pool.pool), _digest(orders.pool));
        signatures.request = _signature(requester_, _digest(orders.request));
        _note(_digest(orders.app), orders.app.volume);
        _note(_digest(orders.pool), orders.pool.volume);
        _note(_digest(orders.request), orders.request.volume);
        if (!_hasDataset(orders)) return signatures;
        signatures.dataset = _signature(_ownerOf(orders.dataset.dataset), _digest(orders.dataset));
        _note(_digest(orders.dataset), orders.dataset.volume);
    }

    function _hasDataset(Orders memory orders) private pure returns (bool) {
        return AssetId.unwrap(orders.dataset.dataset) != 0;
    }

    /// @notice An order that nobody has matched yet is cancelled, by its signer or by somebody whom it is no business of.
    function cancelOrder(uint256 who, bytes32 order) external counted("cancelOrder") {
        address actor = _actor(who).addr;
        vm.prank(actor);
        berth.cancelOrder(order);
        _follow(_only(actor));
    }

    /// @notice Several calls in one: what goes in goes out again.
    function multicall(uint256 who, uint256 amount) external counted("multicall") {
        address actor = _actor(who).addr;
        amount = _bound(amount, 0, 1e15);
        token.mint(actor, amount);
        vm.prank(actor);
        token.approve(address(berth), amount);
        bytes[] memory calls_ = new bytes[](2);
        calls_[0] = abi.encodeCall(berth.deposit, (amount));
        calls_[1] = abi.encodeCall(berth.withdraw, (actor, amount));
        vm.prank(actor);
        berth.multicall(calls_);
        _follow(_only(actor));
    }

    /// @dev The payer sends the match, or consents to it; at times the request is approved instead of signed.
    function _send(Orders memory orders, Signatures memory signatures, Vm.Wallet memory payer) private {
        bytes32 request = _digest(orders.request);
        // As good as drawn, and the stack is full.
        uint256 seed = uint256(request);
        if (seed % 4 == 1) {
            vm.prank(orders.request.requester);
            berth.approveOrder(request);
            signatures.request = "";
        }
        if (seed % 2 == 0) {
            vm.prank(payer.addr);
            berth.matchOrders(orders, signatures);
            return;
        }
        Consent memory consent = Consent(_sizeOf(orders), uint64(block.timestamp), "");
        bytes32 sponsorship = _typed(
            "Sponsorship(bytes32 request,bytes32 poolOrder,uint32 volume,uint64 expiry)",
            abi.encode(request, _digest(orders.pool), consent.volume, consent.expiry)
        );
        consent.signature = _signature(payer, sponsorship);
        vm.prank(stranger);
        berth.matchSponsored(orders, signatures, consent);
    }

    /// @dev What a match of these orders takes.
    function _sizeOf(Orders memory orders) private view returns (uint32 size) {
        size = orders.request.volume - berth.consumed(_digest(orders.request));
        size = _left(size, _digest(orders.app), orders.app.volume);
        if (_hasDataset(orders)) size = _left(size, _digest(orders.dataset), orders.dataset.volume);
        size = _left(size, _digest(orders.pool), orders.pool.volume);
    }

    function _left(uint32 size, bytes32 order, uint32 volume) private view returns (uint32) {
        if (volume == UNLIMITED) return size;
        uint32 left = volume - berth.consumed(order);
        return left < size ? left : size;
    }

    // Deals.

    function settleSingles(uint256 seed, uint256 picked) external counted("settleSingles") {
        (bool there, DealTerms memory terms) = _someDeal(seed);
        if (!there || terms.trust > 1 || block.timestamp > _after(terms, 9)) return;
        WorkerResults[] memory lists = new WorkerResults[](_bound(seed >> 8, 1, 3));
        bool byOperator = seed % 2 == 0;
        for (uint256 i = 0; i < lists.length; i++) {
            Vm.Wallet memory worker_ = crew[uint256(keccak256(abi.encode(seed, i))) % CREW];
            lists[i] = _someList(terms, worker_, uint256(keccak256(abi.encode(picked, i))), !byOperator);
        }
        vm.prank(byOperator ? terms.operator : stranger);
        berth.settleSingles(terms, lists);
        _follow(_only(address(0)));
    }

    function decline(uint256 seed, uint256 count) external counted("decline") {
        (bool there, DealTerms memory terms) = _someDeal(seed);
        if (!there || block.timestamp > _after(terms, 6)) return;
        uint32[] memory indexes = new uint32[](_bound(count, 0, 4));
        for (uint256 i = 0; i < indexes.length; i++) {
            indexes[i] = terms.first + uint32(uint256(keccak256(abi.encode(seed, i))) % terms.size);
        }
        vm.prank(terms.operator);
        berth.decline(terms, indexes);
        _follow(_only(address(0)));
    }

    function claim(uint256 seed) external counted("claim") {
        (bool there, DealTerms memory terms) = _someDeal(seed);
        if (!there || block.timestamp <= _after(terms, 9)) return;
        if (berth.dealState(_dealId(terms)).open == 0) return;
        vm.prank(stranger);
        berth.claim(terms);
        _follow(_only(address(0)));
    }

    /// @notice Brings one of the last results to its callback, which may be in a bad mood.
    function deliver(uint256 seed) external counted("deliver") {
        uint256 count = ledger.wantedCount();
        if (count == 0) return;
        (bytes32 deal, uint32 index) = ledger.wantedAt(count - 1 - (seed >> 8) % (count < 20 ? count : 20));
        DealTerms memory terms = ledger.termsOf(deal);
        bytes32 due = ledger.due(deal, index);
        bytes32 origin = _originOf(_task(terms, index), due);
        // Some were delivered before, and must not be again.
        bool good = due != 0 && seed % 5 != 0;
        receiver.act(good);
        vm.prank(stranger);
        try berth.deliver(terms, index, origin, abi.encode(origin)) {
            if (!good) wrongDeliveries++;
        } catch {
            if (good) wrongDeliveries++;
            // forge records what was logged before a revert, too.
            vm.getRecordedLogs();
        }
        _follow(_only(address(0)));
    }

    /// @notice Claims whatever is still open, long after every deadline, as anybody.
    function claimAll() external {
        vm.warp(block.timestamp + 10 * 365 days);
        for (uint256 i = 0; i < ledger.dealCount(); i++) {
            (DealId deal, Ledger.Entry memory entry) = ledger.dealAt(i);
            if (berth.dealState(deal).open == 0) continue;
            vm.prank(stranger);
            berth.claim(entry.terms);
            _follow(_only(address(0)));
        }
    }

    // Bonds.

    function bond(uint256 who, uint256 which, uint256 where, uint128 amount) public counted("bond") {
        Vm.Wallet memory worker_ = crew[which % CREW];
        AssetId pool_ = _pools[where % POOLS];
        (address owner,,,,) = berth.bondOf(pool_, worker_.addr);
        if (owner == address(0)) owner = _actor(who).addr;
        amount = uint128(_bound(amount, 0, _free(owner)));
        bytes memory enlistment = _signEnlistment(worker_, pool_, owner);
        vm.prank(owner);
        berth.bond(pool_, worker_.addr, amount, enlistment);
        _follow(_only(owner));
    }

    function unbond(uint256 which, uint256 where, uint128 amount) external counted("unbond") {
        Vm.Wallet memory worker_ = crew[which % CREW];
        AssetId pool_ = _pools[where % POOLS];
        (address owner, uint128 bonded,,,) = berth.bondOf(pool_, worker_.addr);
        if (owner == address(0)) return;
        amount = uint128(_bound(amount, 0, bonded));
        vm.prank(owner);
        berth.unbond(pool_, worker_.addr, amount);
        _follow(_only(owner));
    }

    function withdrawBond(uint256 which, uint256 where) external counted("withdrawBond") {
        Vm.Wallet memory worker_ = crew[which % CREW];
        AssetId pool_ = _pools[where % POOLS];
        (address owner,, uint128 unbonding, uint64 releaseAt,) = berth.bondOf(pool_, worker_.addr);
        if (unbonding == 0 || block.timestamp < releaseAt) return;
        vm.prank(owner);
        berth.withdrawBond(pool_, worker_.addr);
        _follow(_only(owner));
    }

    /// @notice Time passes: mostly a part of a deal's, sometimes more than any deal or bond lasts.
    function warp(uint256 by) external counted("warp") {
        _pass(block.timestamp + (by % 8 == 0 ? 50 days : by % 500));
    }

    /// @dev Before time goes on, whoever watches the chain does what it must.
    function _pass(uint256 time) internal virtual;

    /// @dev Each log that the ledger has taken up.
    function _seen(Vm.Log memory log) internal virtual;

    // What the invariants look at.

    function system() external view returns (IBerth, PermitToken) {
        return (berth, token);
    }

    /// @notice Everybody who may have an account.
    function accounts() public view returns (address[] memory list) {
        list = new address[](ACTORS + CREW + 4);
        for (uint256 i = 0; i < ACTORS; i++) {
            list[i] = _actors[i].addr;
        }
        for (uint256 i = 0; i < CREW; i++) {
            list[ACTORS + i] = crew[i].addr;
        }
        list[ACTORS + CREW] = operator.addr;
        list[ACTORS + CREW + 1] = stranger;
        list[ACTORS + CREW + 2] = address(0);
        list[ACTORS + CREW + 3] = address(berth);
    }

    function bondKeys() external view returns (AssetId[] memory pools, address[] memory workers) {
        workers = new address[](CREW);
        for (uint256 i = 0; i < CREW; i++) {
            workers[i] = crew[i].addr;
        }
        return (_pools, workers);
    }

    /// @notice Whether no order is consumed beyond its volume, or less than before.
    function ordersHold() external returns (bool hold) {
        hold = true;
        for (uint256 i = 0; i < _orders_.length; i++) {
            uint32 consumed = berth.consumed(_orders_[i]);
            uint32 volume = _volumes[_orders_[i]];
            if (consumed < _consumedBefore[_orders_[i]]) hold = false;
            if (consumed > (volume == UNLIMITED ? 0 : volume)) hold = false;
            _consumedBefore[_orders_[i]] = consumed;
        }
    }

    modifier counted(bytes32 name) {
        calls[name]++;
        _;
    }

    /// @dev As of the last call that was followed; nothing else moves money.
    mapping(address account => uint256) private _freeBefore;

    /// @dev Brings the ledger up to date, and looks whose free money fell though it was none of those `willing`.
    function _follow(address[2] memory willing) internal {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].emitter != address(berth)) continue;
            ledger.apply_(logs[i]);
            _seen(logs[i]);
        }
        address[] memory list = accounts();
        for (uint256 i = 0; i < list.length; i++) {
            uint256 now_ = _free(list[i]);
            bool fell = now_ < _freeBefore[list[i]];
            if (fell && list[i] != willing[0] && list[i] != willing[1]) violations++;
            _freeBefore[list[i]] = now_;
        }
    }

    // Draws.

    function _actor(uint256 seed) private view returns (Vm.Wallet memory) {
        return _actors[seed % ACTORS];
    }

    function _ownerOf(AssetId asset) private view returns (Vm.Wallet memory owner) {
        address holder = assets.ownerOf(asset.tokenId());
        for (uint256 i = 0; i < ACTORS; i++) {
            if (_actors[i].addr == holder) return _actors[i];
        }
        revert("nobody owns it");
    }

    function _draw(uint256 seed, uint32 volume, uint128 price) private returns (Orders memory orders) {
        orders = _ordersWithoutDataset();
        _orderSalt++;
        orders.app.app = orders.request.app = _apps[seed % _apps.length];
        orders.pool.pool = _pools[seed / 2 % POOLS];
        orders.request.poolRule = _assetRule(orders.pool.pool);
        (orders.app.salt, orders.pool.salt, orders.request.salt) =
        (bytes32(_orderSalt), bytes32(_orderSalt), bytes32(_orderSalt));
        orders.app.price = price % 1009;
        orders.pool.price = price % 100_003;
        (orders.request.appMaxPrice, orders.request.poolMaxPrice) = (orders.app.price, orders.pool.price);
        orders.pool.poolStake = seed % 5 == 0 ? 0 : uint128(seed >> 32) % 50_021;
        orders.pool.workerStake = seed % 7 == 0 ? 0 : uint128(seed >> 64) % 1e6;
        orders.pool.operatorShareBps = uint16(seed >> 96) % 10_001;
        orders.pool.parallel = uint32(_bound(seed >> 112, 1, 6));
        if (seed % 3 != 1) orders.request.callback = address(receiver);
        // Mostly few, sometimes more than the deal's word has bits for.
        orders.request.volume = uint32(volume % 9 == 0 ? _bound(volume, 190, 460) : _bound(volume, 1, 12));
        if (seed % 4 == 0) orders.pool.volume = uint32(_bound(seed >> 128, 1, 8));
        if (seed % 6 == 0) orders.app.volume = uint32(_bound(seed >> 136, 1, 20));
        if (seed % 3 == 1) _drawDataset(orders, seed, price);
        if (seed % 2 == 0) orders.pool.maxTrust = orders.request.trust = uint32(_bound(seed >> 144, 2, 5));
    }

    function _drawDataset(Orders memory orders, uint256 seed, uint128 price) private view {
        orders.dataset.dataset = orders.request.dataset = _datasets[seed / 4 % _datasets.length];
        orders.dataset.price = orders.request.datasetMaxPrice = price % 2003;
        orders.dataset.volume = seed % 8 == 0 ? uint32(_bound(seed >> 152, 1, 10)) : UNLIMITED;
        orders.dataset.expiry = orders.request.expiry;
        orders.dataset.salt = bytes32(_orderSalt);
    }

    function _affordable(Orders memory orders) private view returns (bool) {
        uint256 price = uint256(orders.app.price) + orders.dataset.price + orders.pool.price;
        address poolOwner_ = assets.ownerOf(orders.pool.pool.tokenId());
        uint256 stake = uint256(orders.pool.poolStake) * orders.request.volume;
        price *= orders.request.volume;
        if (poolOwner_ == orders.request.payer) return _free(poolOwner_) >= price + stake;
        return _free(orders.request.payer) >= price && _free(poolOwner_) >= stake;
    }

    function _note(bytes32 order, uint32 volume) private {
        _orders_.push(order);
        _volumes[order] = volume;
    }

    /// @dev One of the latest deals, as older ones are mostly over.
    function _someDeal(uint256 seed) private view returns (bool, DealTerms memory terms) {
        uint256 count = ledger.dealCount();
        if (count == 0) return (false, terms);
        uint256 back = (seed >> 128) % (count < 6 ? count : 6);
        (, Ledger.Entry memory entry) = ledger.dealAt(count - 1 - back);
        return (true, entry.terms);
    }

    /// @dev Up to eight rising indexes of the deal, some of which may have ended; each fourth result is a failure.
    function _someList(DealTerms memory terms, Vm.Wallet memory worker_, uint256 seed, bool assigned)
        private
        returns (WorkerResults memory list)
    {
        bytes memory entries;
        bytes memory assignments;
        uint32 offset = uint32(seed % terms.size);
        for (uint256 i = 0; i < 8 && offset < terms.size; i++) {
            uint32 index = terms.first + offset;
            bytes32 origin = keccak256(abi.encode(seed, i));
            bytes32 digest = (seed >> i) % 4 == 0 ? bytes32(_bound(seed >> 16, 1, 255)) : _resultFrom(origin);
            _origins[digest] = origin;
            entries = bytes.concat(entries, _entry(index, digest));
            if (assigned) assignments = bytes.concat(assignments, _signAssignment(terms, worker_.addr, index));
            offset += uint32(_bound(uint8(seed >> 8 * (i + 3)), 1, terms.size > 100 ? 90 : 3));
        }
        list = _list(worker_, terms, entries);
        list.assignments = assignments;
    }

    /// @dev The digest of a result whose manifest's hash is `origin`, and which has left `origin` for a callback.
    function _resultFrom(bytes32 origin) internal pure returns (bytes32) {
        return keccak256(abi.encode(origin, keccak256(abi.encode(origin))));
    }

    /// @dev Where a task's result came from; zero if nobody knows.
    function _originOf(bytes32, bytes32 digest) internal view virtual returns (bytes32) {
        return _origins[digest];
    }

    function _only(address one) internal pure returns (address[2] memory) {
        return [one, one];
    }

    function _two(address one, address two) private pure returns (address[2] memory) {
        return [one, two];
    }
}
