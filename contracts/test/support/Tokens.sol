// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A token that keeps a hundredth of every transfer.
contract FeeToken is ERC20("Fee", "FEE") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, value);
        super._update(from, to, value - value / 100);
        super._update(from, address(0), value / 100);
    }
}

/// @notice A token that calls somebody back in the middle of every transfer, before it moves anything.
contract HookToken is ERC20("Hook", "HOOK") {
    address private _called;
    bytes private _call;

    /// @notice What the call gave.
    bool public succeeded;
    bytes public answer;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @notice The next transfer makes this call. For the call to come from somebody, `called` has to be its contract.
    function arm(address called, bytes calldata call_) external {
        (_called, _call) = (called, call_);
    }

    function _update(address from, address to, uint256 value) internal override {
        address called = _called;
        if (called != address(0) && from != address(0)) {
            _called = address(0);
            (succeeded, answer) = called.call(_call);
        }
        super._update(from, to, value);
    }
}

/// @notice Somebody with code, who can be asked to make a call in his own name.
contract Somebody {
    function act(address called, bytes calldata call_) external returns (bytes memory) {
        (bool ok, bytes memory answer) = called.call(call_);
        require(ok, string(answer));
        return answer;
    }
}
