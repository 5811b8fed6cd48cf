//! The EIP-712 domain, and what is signed in it besides orders (ADR 0001, sections 1 and 4).

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};
use std::borrow::Cow;

sol! {
    /// A worker key names its owner in a pool, once and for ever.
    #[derive(Debug, PartialEq, Eq)]
    struct Enlistment { bytes32 pool; address owner; }
    /// The operator lets a worker run a task.
    #[derive(Debug, PartialEq, Eq)]
    struct Assignment { bytes32 task; address worker; }
    /// A worker stands for its results in a single-worker deal.
    #[derive(Debug, PartialEq, Eq)]
    struct SingleResults { bytes32 deal; bytes32 root; }
    /// A worker stands for its hidden answer.
    #[derive(Debug, PartialEq, Eq)]
    struct Commitment { bytes32 task; bytes32 commitment; }
    /// A worker opens its commitments of a closed round.
    #[derive(Debug, PartialEq, Eq)]
    struct Reveal { bytes32 root; bytes32 seed; }
    /// A worker signs in at a scheduler.
    #[derive(Debug, PartialEq, Eq)]
    struct Session { bytes32 pool; address operator; bytes32 nonce; uint64 expiry; }
    /// A worker stands for what it says that it shares: the sha256 of that, and when it was so, in milliseconds.
    #[derive(Debug, PartialEq, Eq)]
    struct Announcement { bytes32 pool; uint64 at; bytes32 content; }
    /// What an account's key for encrypted results is made of (ADR 0006). Whoever has the signature opens them.
    #[derive(Debug, PartialEq, Eq)]
    struct ResultKey { string purpose; address account; }
}

impl ResultKey {
    /// What a wallet shows before it signs.
    pub const PURPOSE: &str =
        "This signature is the key to your encrypted results. Sign it only in Berth's own programs.";

    /// The one of an account.
    pub fn of(account: Address) -> Self {
        Self { purpose: Self::PURPOSE.to_owned(), account }
    }
}

/// Where signatures hold: one `Berth` contract on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Domain {
    /// The chain's id.
    pub chain_id: u64,
    /// The address of `Berth`.
    pub berth: Address,
}

impl Domain {
    /// The digest that is signed for `message` here.
    pub fn digest<M: SolStruct>(&self, message: &M) -> B256 {
        message.eip712_signing_hash(&self.eip712())
    }

    /// The domain as EIP-712 has it.
    pub const fn eip712(&self) -> Eip712Domain {
        Eip712Domain {
            name: Some(Cow::Borrowed("Berth")),
            version: Some(Cow::Borrowed("1")),
            chain_id: Some(U256::from_limbs([self.chain_id, 0, 0, 0])),
            verifying_contract: Some(self.berth),
            salt: None,
        }
    }

    /// `hashStruct` of the domain itself.
    pub fn separator(&self) -> B256 {
        self.eip712().separator()
    }
}
