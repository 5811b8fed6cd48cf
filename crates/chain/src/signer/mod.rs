//! Keys: what they sign, and how they are kept.

pub mod keystore;

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559},
    eips::eip2718::Encodable2718 as _,
    network::TxSignerSync as _,
    primitives::{Address, B256, Bytes, Signature},
    signers::{SignerSync as _, local::PrivateKeySigner},
    sol_types::SolStruct,
};
use berth_protocol::domain::Domain;
use core::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// A password or another text that nobody may see: `Debug` prints nothing of it, and dropping it wipes it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text is no private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this is no private key: 64 hexadecimal digits, not all zero, make one")]
pub struct NotAKey;

/// A key that signs. Cheap to clone; `Debug` shows its address only.
#[derive(Clone)]
pub struct Signer(PrivateKeySigner);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.address())
    }
}

impl Signer {
    /// A new key.
    pub fn random() -> Self {
        Self(PrivateKeySigner::random())
    }

    /// The key that these hexadecimal digits are.
    ///
    /// # Errors
    /// [`NotAKey`] if they are none.
    pub fn from_hex(digits: &Secret) -> Result<Self, NotAKey> {
        let digits = core::str::from_utf8(digits.bytes()).map_err(|_| NotAKey)?;
        digits.trim().parse().map(Self).map_err(|_| NotAKey)
    }

    pub(crate) fn from_bytes(bytes: &B256) -> Result<Self, NotAKey> {
        PrivateKeySigner::from_bytes(bytes).map(Self).map_err(|_| NotAKey)
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().0)
    }

    /// The key's address.
    pub const fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a struct of the protocol, as EIP-712 has it: 65 bytes `r ‖ s ‖ v`, low s.
    pub fn sign<M: SolStruct>(&self, domain: &Domain, message: &M) -> Bytes {
        self.sign_digest(domain.digest(message))
    }

    /// Signs a digest as it is. Callers know what stands behind it.
    pub fn sign_digest(&self, digest: B256) -> Bytes {
        let signature = self.0.sign_hash_sync(&digest).expect("a key in memory signs every digest");
        signature.as_bytes().into()
    }

    /// Signs a text that a person reads, as `personal_sign` has it (EIP-191).
    pub fn sign_text(&self, text: &str) -> Bytes {
        let signature = self.0.sign_message_sync(text.as_bytes()).expect("a key in memory signs every text");
        signature.as_bytes().into()
    }

    /// Signs a transaction; gives its hash and the bytes to send.
    pub(crate) fn sign_transaction(&self, mut tx: TxEip1559) -> (B256, Vec<u8>) {
        let signature = self.0.sign_transaction_sync(&mut tx).expect("a key in memory signs every transaction");
        let signed = tx.into_signed(signature);
        (*signed.hash(), signed.encoded_2718())
    }
}

/// Who signed a digest; `None` if the signature is none that the contracts take (65 bytes, low s, v of 27 or 28).
pub fn recover(digest: B256, signature: &[u8]) -> Option<Address> {
    if signature.len() != 65 || !matches!(signature[64], 27 | 28) {
        return None;
    }
    let signature = Signature::from_raw(signature).ok()?;
    // High-s twins of a signature recover to the same signer, but the contracts refuse them.
    if signature.normalize_s().is_some() {
        return None;
    }
    signature.recover_address_from_prehash(&digest).ok()
}

/// Who signed an order's digest: as [`recover`], and in the short form of 64 bytes (ERC-2098) too.
pub fn recover_order(digest: B256, signature: &[u8]) -> Option<Address> {
    let Ok(short) = <&[u8; 64]>::try_from(signature) else {
        return recover(digest, signature);
    };
    // The highest bit of s says which of the two points it is.
    let mut whole = [0; 65];
    whole[..64].copy_from_slice(short);
    whole[32] &= 0x7f;
    whole[64] = 27 + (short[32] >> 7);
    recover(digest, &whole)
}

/// Who signed a text by `personal_sign`; `None` as in [`recover`].
pub fn recover_text(text: &str, signature: &[u8]) -> Option<Address> {
    recover(alloy::primitives::eip191_hash_message(text.as_bytes()), signature)
}
