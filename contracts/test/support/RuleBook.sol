// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRule} from "../../src/interfaces/IRule.sol";
import {AssetId} from "../../src/types/Ids.sol";

/// @notice A rule that admits what it was told to.
contract RuleBook is IRule {
    mapping(AssetId asset => mapping(address account => bool)) private _admitted;

    function admit(AssetId asset, address account) external {
        _admitted[asset][account] = true;
    }

    function permits(AssetId asset, address account) external view returns (bytes4) {
        return _admitted[asset][account] ? IRule.permits.selector : bytes4(0);
    }
}

/// @notice A rule that reverts.
contract BrokenRule is IRule {
    error Broken();

    function permits(AssetId, address) external pure returns (bytes4) {
        revert Broken();
    }
}

/// @notice A contract that answers `true` to whatever it is asked, which is not what a rule answers.
contract YesMan {
    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(true);
    }
}

/// @notice A rule that tries to change something while it is asked.
contract WritingRule {
    uint256 public asked;

    function permits(AssetId, address) external returns (bytes4) {
        asked++;
        return IRule.permits.selector;
    }
}
