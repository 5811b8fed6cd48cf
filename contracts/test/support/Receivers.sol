// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IResultReceiver} from "../../src/interfaces/IResultReceiver.sol";

/// @notice Does whatever a test tells it to when it is called.
contract PuppetReceiver is IResultReceiver {
    /// @notice What it does.
    enum Manner {
        Take,
        Revert,
        RevertWithABomb,
        ReturnABomb,
        BurnAllGas,
        CallBack
    }

    Manner private _manner;
    address private _called;
    bytes[] private _calls;

    uint256 public received;
    uint256 public gasGiven;
    bytes32 public id;
    bytes public result;
    /// @notice How many of its own calls went well, and what the last that did not was answered.
    uint256 public succeeded;
    bytes public refusal;

    function act(Manner manner) external {
        _manner = manner;
    }

    /// @notice From now on it makes these calls when it is called.
    function callBack(address called, bytes[] calldata calls) external {
        (_manner, _called) = (Manner.CallBack, called);
        delete _calls;
        for (uint256 i = 0; i < calls.length; i++) {
            _calls.push(calls[i]);
        }
    }

    function receiveResult(bytes32 id_, bytes calldata result_) external {
        uint256 given = gasleft();
        Manner manner = _manner;
        if (manner == Manner.Revert) revert("I am not at home");
        if (manner == Manner.BurnAllGas) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (manner == Manner.RevertWithABomb) {
            assembly {
                revert(0, 1000000)
            }
        }
        (received, gasGiven, id, result) = (received + 1, given, id_, result_);
        if (manner == Manner.ReturnABomb) {
            assembly {
                return(0, 1000000)
            }
        }
        for (uint256 i = 0; manner == Manner.CallBack && i < _calls.length; i++) {
            (bool ok, bytes memory answer) = _called.call(_calls[i]);
            if (ok) succeeded++;
            else refusal = answer;
        }
    }
}

/// @notice Takes the gas that it has for what it can afford: with less than it needs it swallows its failure, and says
/// that all is well.
contract GreedyReceiver is IResultReceiver {
    uint256 private constant WORK = 150_000;

    uint256 public worked;
    uint256 public gaveUp;

    function receiveResult(bytes32, bytes calldata) external {
        try this.work() {
            worked++;
        } catch {
            gaveUp++;
        }
    }

    /// @notice Uses up gas, and fails if there is too little.
    function work() external view {
        uint256 before = gasleft();
        uint256 i = 0;
        while (before - gasleft() < WORK) {
            i++;
        }
    }
}

/// @notice Answers every call, whatever is called.
contract Yes {
    fallback() external {}
}

/// @notice Counts what it receives, by task, and fails when it is told to.
contract CountingReceiver is IResultReceiver {
    address private immutable BERTH;
    bool private _takes = true;

    uint256 public received;
    /// @notice How often a task was delivered that had been before.
    uint256 public twice;
    mapping(bytes32 id => bytes32 origin) public originOf;

    constructor(address berth) {
        BERTH = berth;
    }

    function act(bool takes) external {
        _takes = takes;
    }

    function receiveResult(bytes32 id, bytes calldata result) external {
        require(msg.sender == BERTH && _takes, "not now");
        if (originOf[id] != 0) twice++;
        originOf[id] = abi.decode(result, (bytes32));
        received++;
    }
}
