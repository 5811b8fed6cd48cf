// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice Signatures by a key itself.
library Signing {
    /// @dev `r, s, v`.
    uint256 internal constant SIGNATURE_BYTES = 65;

    /// @notice Whether `signature` is the key's own over `digest`: 65 bytes, low s, and never of the zero address.
    function isSignedBy(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        // The third value only tells more about a failure.
        // slither-disable-next-line unused-return
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        // OpenZeppelin gives the zero address only together with a failure, so that zero never equals a signer.
        return failure == ECDSA.RecoverError.NoError && recovered == signer;
    }
}
