// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DealTerms, WorkerResults} from "../../src/types/Deals.sol";
import {TaskId} from "../../src/types/Ids.sol";
import {Orders} from "../../src/types/Orders.sol";
import {PuppetReceiver} from "./Receivers.sol";
import {Replicas} from "./Replicas.sol";

/// @notice Deals that name a callback, and results for it.
abstract contract Callbacks is Replicas {
    PuppetReceiver internal receiver;

    function setUp() public virtual override {
        super.setUp();
        receiver = new PuppetReceiver();
    }

    function _callbackDeal(uint32 volume, address callback) internal returns (DealTerms memory) {
        Orders memory orders = _ordersWithoutDataset();
        orders.request.volume = volume;
        orders.request.callback = callback;
        return _matched(orders);
    }

    function _replicatedCallbackDeal(uint32 volume) internal returns (DealTerms memory) {
        Orders memory orders = _replicatedOrders(volume, TRUST, "callback");
        orders.request.callback = address(receiver);
        return _matched(orders);
    }

    function _manifestOf(uint256 index) internal pure returns (bytes32) {
        return keccak256(abi.encode("manifest", index));
    }

    function _bytesOf(uint256 index) internal pure returns (bytes memory) {
        return abi.encode("for the callback", index);
    }

    function _bound(bytes32 manifest, bytes memory result) internal pure returns (bytes32) {
        return keccak256(bytes.concat(manifest, keccak256(result)));
    }

    function _digestOf(uint256 index) internal pure returns (bytes32) {
        return _bound(_manifestOf(index), _bytesOf(index));
    }

    /// @notice The world's worker settles this task, and nothing else of the deal.
    function _settleTo(DealTerms memory terms, uint32 index, bytes32 digest) internal {
        WorkerResults[] memory lists = _lists(worker, terms, _entry(index, digest));
        vm.prank(operator.addr);
        berth.settleSingles(terms, lists);
    }

    /// @notice A deal of one task, settled, whose result waits for `callback`.
    function _due(address callback) internal returns (DealTerms memory terms) {
        terms = _callbackDeal(1, callback);
        _settleTo(terms, 0, _digestOf(0));
    }

    function _deliver(DealTerms memory terms, uint32 index) internal {
        berth.deliver(terms, index, _manifestOf(index), _bytesOf(index));
    }

    function _delivery(DealTerms memory terms, uint32 index) internal view returns (bytes memory) {
        return abi.encodeCall(berth.deliver, (terms, index, _manifestOf(index), _bytesOf(index)));
    }

    function _taskId(DealTerms memory terms, uint32 index) internal pure returns (TaskId) {
        return TaskId.wrap(_task(terms, index));
    }
}
