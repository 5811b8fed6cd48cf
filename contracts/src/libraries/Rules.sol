// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "../interfaces/IAssets.sol";
import {IRule} from "../interfaces/IRule.sol";
import {AssetId} from "../types/Ids.sol";
import {Rule} from "../types/Rule.sol";
import {Inquiry} from "./Inquiry.sol";
import {Ownership} from "./Ownership.sol";

/// @notice The four forms of a rule and what each admits.
library Rules {
    using Ownership for IAssets;

    /// @dev What the upper 12 bytes say.
    uint256 private constant ACCOUNT = 0;
    uint256 private constant CONTRACT = 1;

    function isAny(Rule rule) internal pure returns (bool) {
        return Rule.unwrap(rule) == bytes32(0);
    }

    /// @notice Whether the rule admits an asset with its owner; (0, 0) stands for a deal without dataset.
    function admitsAsset(Rule rule, AssetId asset, address owner) internal view returns (bool) {
        if (rule.isAny()) return true;
        (uint256 form, address named) = _parts(rule);
        if (form == ACCOUNT) return named == owner;
        if (form == CONTRACT) return _permits(named, asset, owner);
        return Rule.unwrap(rule) == AssetId.unwrap(asset);
    }

    /// @notice Whether the rule admits a requester; an asset rule asks that the requester own the asset.
    function admitsRequester(Rule rule, IAssets assets, address requester) internal view returns (bool) {
        if (rule.isAny()) return true;
        (uint256 form, address named) = _parts(rule);
        if (form == ACCOUNT) return named == requester;
        if (form == CONTRACT) return _permits(named, AssetId.wrap(bytes32(0)), requester);
        return requester != address(0) && assets.ownerOrNone(AssetId.wrap(Rule.unwrap(rule))) == requester;
    }

    function _parts(Rule rule) private pure returns (uint256 form, address named) {
        uint256 word = uint256(Rule.unwrap(rule));
        form = word >> 160;
        // The lower 20 bytes are the address, so everything above is meant to go.
        // forge-lint: disable-next-line(unsafe-typecast)
        named = address(uint160(word));
    }

    /// @dev An address without code, a revert or a wrong answer all refuse, and none of them can change state.
    function _permits(address asked, AssetId asset, address account) private view returns (bool) {
        return Inquiry.affirms(asked, abi.encodeCall(IRule.permits, (asset, account)), IRule.permits.selector);
    }
}
