//! Everybody's key, and signatures that are nobody's.

use alloy::{
    primitives::{Address, B256, Bytes, Signature, U256, keccak256, uint},
    signers::{SignerSync as _, local::PrivateKeySigner},
};
use berth_protocol::ledger::Signature as Given;
use std::{cell::Cell, collections::BTreeMap};

/// The order of the curve.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

/// The keys of a market.
#[derive(Default)]
pub(crate) struct Keys {
    keys: BTreeMap<Address, PrivateKeySigner>,
    forged: Cell<usize>,
}

impl Keys {
    /// The address of a name's key.
    pub(crate) fn add(&mut self, name: &str) -> Address {
        let key = PrivateKeySigner::from_bytes(&keccak256(name)).expect("a hash is below the curve's order");
        let address = key.address();
        self.keys.insert(address, key);
        address
    }

    /// The signature over `digest` of `signer`; if that is `None`, one that is nobody's, though whoever should have
    /// signed has the key `wanted`.
    pub(crate) fn sign(&self, signer: Option<Address>, wanted: Address, digest: B256) -> Bytes {
        match signer {
            Some(signer) => self.good(signer, digest).as_bytes().into(),
            None => self.forge(wanted, digest),
        }
    }

    /// As [`Keys::sign`], but always of 65 bytes.
    pub(crate) fn sign_full(&self, signer: Option<Address>, wanted: Address, digest: B256) -> Bytes {
        std::iter::repeat_with(|| self.sign(signer, wanted, digest))
            .find(|signature| signature.len() == 65)
            .expect("most forgeries have the right length")
    }

    /// As [`Keys::sign`], but never without any bytes: those would say that nobody signs at all.
    pub(crate) fn sign_some(&self, signer: Option<Address>, wanted: Address, digest: B256) -> Bytes {
        std::iter::repeat_with(|| self.sign(signer, wanted, digest))
            .find(|signature| !signature.is_empty())
            .expect("most forgeries have bytes")
    }

    /// An order's signature: as [`Keys::sign_some`] or, where nobody needs to sign, no bytes at all; at times in its short
    /// form, which only the signer's own key has.
    pub(crate) fn sign_order(&self, signature: Given, wanted: Address, digest: B256, short: bool) -> Bytes {
        match signature {
            Given::Empty => Bytes::new(),
            Given::Of(signer) if short && signer == wanted => {
                let good = self.good(signer, digest).as_erc2098();
                good.to_vec().into()
            }
            Given::Of(signer) => self.sign_some(Some(signer), wanted, digest),
            Given::Nobodys => self.sign_some(None, wanted, digest),
        }
    }

    fn good(&self, signer: Address, digest: B256) -> Signature {
        let key = self.keys.get(&signer).expect("only people of the market sign");
        key.sign_hash_sync(&digest).expect("a local key signs")
    }

    /// The ways to forge take turns.
    fn forge(&self, wanted: Address, digest: B256) -> Bytes {
        let turn = self.forged.get();
        self.forged.set(turn + 1);
        let wanted = if self.keys.contains_key(&wanted) { wanted } else { self.someone() };
        let good = self.good(wanted, digest);
        let mut bytes = good.as_bytes();
        match turn % 7 {
            0 => return Bytes::new(),
            // Not 64: these may be the short form of the same signature.
            1 => return bytes[..63].to_vec().into(),
            2 => return [&bytes[..], &[0]].concat().into(),
            3 => bytes = [0; 65],
            4 => bytes[64] -= 27,
            // The other point of the same r: a signature of the same key, with a high s.
            5 => bytes = Signature::new(good.r(), ORDER - good.s(), !good.v()).as_bytes(),
            _ => bytes[40] ^= 1,
        }
        bytes.into()
    }

    fn someone(&self) -> Address {
        *self.keys.keys().next().expect("the market has people")
    }
}
