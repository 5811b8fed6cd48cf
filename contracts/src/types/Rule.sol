// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rules} from "../libraries/Rules.sol";

/// @dev Who may stand on the other side of an order: zero is anyone; upper 12 bytes zero is that account; upper 12
/// bytes equal to 1 is a contract to be asked (IRule); anything else is that asset.
type Rule is bytes32;

using Rules for Rule global;
