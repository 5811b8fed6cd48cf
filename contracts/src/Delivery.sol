// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {BerthStorage} from "./BerthStorage.sol";
import {IBerthDirect, IRecourse} from "./interfaces/IBerth.sol";
import {IResultReceiver} from "./interfaces/IResultReceiver.sol";
import {DealTerms} from "./types/Deals.sol";
import {DealId, TaskId} from "./types/Ids.sol";

/// @notice The results of tasks whose deals name a callback, brought to it after the settlement (ADR 0004).
/// @dev Reentrancy. The callback is called last: what was due is gone and the event is out, so that whatever it calls
/// here finds a state in which nothing is half done. It can do no more than anybody else, for it calls as itself.
abstract contract Delivery is BerthStorage, IRecourse {
    /// @dev What a callback has at least, whoever delivers.
    uint256 private constant CALLBACK_GAS = 200_000;

    /// @dev What has to be left for that before the call: a 64th stays here (EIP-150), and some for the call itself.
    uint256 private constant GAS_NEEDED = CALLBACK_GAS + CALLBACK_GAS / 63 + 1_000;

    /// @inheritdoc IRecourse
    function deliver(DealTerms calldata terms, uint32 index, bytes32 manifest, bytes calldata result) external {
        // Check:
        DealId deal = terms.id();
        TaskId task = deal.task(index);
        bytes32 digest = _due[task];
        require(digest != 0, Berth_NothingDue(task));
        bytes32 shown = keccak256(abi.encode(manifest, keccak256(result)));
        require(shown == digest, Berth_WrongResult(digest, shown));
        address callback = terms.callback;
        _requireCallable(callback);

        // Effect:
        delete _due[task];
        emit ResultDelivered(deal, index, callback);

        // Interaction:
        bytes memory call_ = abi.encodeCall(IResultReceiver.receiveResult, (TaskId.unwrap(task), result));
        uint256 left = gasleft();
        require(left >= GAS_NEEDED, Berth_GasTooLow(left, GAS_NEEDED));
        // What it returns is not looked at, so its length costs nobody but itself.
        require(LowLevelCall.callNoReturn(callback, call_), Berth_CallbackFailed(callback));
    }

    /// @inheritdoc IRecourse
    function dueOf(DealId deal, uint32 index) external view returns (bytes32) {
        return _due[deal.task(index)];
    }

    /// @dev Berth has money in its token, and is a caller that Assets may come to trust: neither is ever called with
    /// bytes that somebody else chose. Without code, a call would succeed and nobody would have received a thing.
    function _requireCallable(address callback) private view {
        require(
            callback != address(this) && callback != address(ASSETS) && callback != IBerthDirect(address(this)).token(),
            Berth_BadCallback(callback)
        );
        require(callback.code.length > 0, Berth_NoContract(callback));
    }
}
