// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Play money for a local chain
/// @notice An ERC-20 with ERC-2612 permits that anybody can mint without limit. It can't be deployed to any chain but
/// a local one.
contract PermitToken is ERC20, ERC20Permit {
    uint256 private constant LOCAL_CHAIN = 31_337;

    /// @notice This is not a local chain.
    error PermitToken_NotLocal(uint256 chainId);

    constructor() ERC20("Local Credit", "LOCAL") ERC20Permit("Local Credit") {
        require(block.chainid == LOCAL_CHAIN, PermitToken_NotLocal(block.chainid));
    }

    /// @notice Mints, for anybody who asks.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
