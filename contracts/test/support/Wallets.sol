// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A wallet that signs as its key does, and makes whatever call the key's holder wants.
contract Wallet is IERC1271 {
    address private immutable KEY;

    error CallFailed(bytes answer);

    constructor(address key) {
        KEY = key;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view virtual returns (bytes4) {
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(hash, signature);
        bool good = failure == ECDSA.RecoverError.NoError && recovered == KEY;
        return good ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    function act(address called, bytes calldata call_) external returns (bytes memory) {
        (bool ok, bytes memory answer) = called.call(call_);
        require(ok, CallFailed(answer));
        return answer;
    }
}

/// @notice A wallet without ERC-1271: it can only make calls.
contract Treasury {
    error CallFailed(bytes answer);

    function act(address called, bytes calldata call_) external returns (bytes memory) {
        (bool ok, bytes memory answer) = called.call(call_);
        require(ok, CallFailed(answer));
        return answer;
    }
}

/// @notice A wallet that answers as it was told to: with these bytes, as a revert or not, after burning gas or not.
contract OddWallet {
    bytes private _answer;
    bool private _reverts;
    uint256 private _burns;

    function tell(bytes calldata answer, bool reverts_, uint256 burns) external {
        (_answer, _reverts, _burns) = (answer, reverts_, burns);
    }

    function isValidSignature(bytes32, bytes calldata) external view {
        uint256 until = gasleft() > _burns ? gasleft() - _burns : 0;
        while (gasleft() > until) {}
        bytes memory answer = _answer;
        bool reverts_ = _reverts;
        assembly {
            if reverts_ { revert(add(answer, 0x20), mload(answer)) }
            return(add(answer, 0x20), mload(answer))
        }
    }
}

/// @notice A contract that answers everything with so many bytes, the first of them the question's selector.
contract Flood {
    uint256 private immutable BYTES;

    constructor(uint256 bytes_) {
        BYTES = bytes_;
    }

    fallback() external {
        uint256 length = BYTES;
        assembly {
            calldatacopy(0, 0, 4)
            return(0, length)
        }
    }
}

/// @notice A wallet that tries, while it is asked, to make a call of its own, and says yes in any case.
contract BusyWallet is IERC1271 {
    address private _called;
    bytes private _call;
    /// @notice What it tried to remember.
    uint256 public asked;

    function plan(address called, bytes calldata call_) external {
        (_called, _call) = (called, call_);
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        // Disguised as a view, so that the compiler lets it write.
        function() internal view act;
        function() internal hidden = _act;
        assembly {
            act := hidden
        }
        act();
        return IERC1271.isValidSignature.selector;
    }

    function _act() private {
        (bool ok,) = _called.call(_call);
        if (!ok) return;
        asked++;
    }
}
