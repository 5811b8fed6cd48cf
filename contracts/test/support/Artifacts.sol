// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

/// @notice Where the contracts under test come from: the present profile's build or, where BERTH_ARTIFACTS names a
/// folder of artifacts, from there.
/// @dev The optimiser takes minutes over the tests, and is of use for the contracts alone. So `scripts/contracts.sh`
/// builds these as they are deployed, and has tests that were built without it test exactly those.
abstract contract Artifacts is Test {
    function _artifact(string memory name) internal view returns (string memory) {
        string memory folder = vm.envOr("BERTH_ARTIFACTS", string(""));
        if (bytes(folder).length == 0) return string.concat(name, ".sol:", name);
        return string.concat(folder, "/", name, ".sol/", name, ".json");
    }

    function _create(string memory name, bytes memory arguments) internal returns (address) {
        return vm.deployCode(_artifact(name), arguments);
    }
}
