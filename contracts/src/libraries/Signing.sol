// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Inquiry} from "./Inquiry.sol";

/// @notice Signatures: by a key itself, as workers and operators sign, and by an account, as orders are signed.
library Signing {
    /// @dev `r, s, v`.
    uint256 internal constant SIGNATURE_BYTES = 65;

    /// @dev `r, vs`: ERC-2098.
    uint256 internal constant SHORT_SIGNATURE_BYTES = 64;

    /// @notice Whether `signature` is the key's own over `digest`: 65 bytes, low s, and never of the zero address.
    function isSignedBy(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        // The third value only tells more about a failure.
        // slither-disable-next-line unused-return
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        // OpenZeppelin gives the zero address only together with a failure, so that zero never equals a signer.
        return failure == ECDSA.RecoverError.NoError && recovered == signer;
    }

    /// @notice Whether `signature` is the account's: its key's own, in 65 or 64 bytes, or, if the account has code, one
    /// that the account itself takes for good (ERC-1271).
    /// @dev The key comes first, so that an account that has delegated to code (EIP-7702) keeps its plain signatures.
    function isVouchedBy(address account, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (signature.length == SHORT_SIGNATURE_BYTES) {
            // The third value only tells more about a failure.
            // slither-disable-next-line unused-return
            (address recovered, ECDSA.RecoverError failure,) =
                ECDSA.tryRecover(digest, bytes32(signature[:32]), bytes32(signature[32:]));
            if (failure == ECDSA.RecoverError.NoError && recovered == account) return true;
        } else if (isSignedBy(account, digest, signature)) {
            return true;
        }
        return account.code.length > 0
            && Inquiry.affirms(
            account, abi.encodeCall(IERC1271.isValidSignature, (digest, signature)), IERC1271.isValidSignature.selector
        );
    }
}
