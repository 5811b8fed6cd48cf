//! Names of things. Each has a type of its own, so that no call can confuse a deal with a task.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue as _;
use core::{fmt, str::FromStr};
use thiserror::Error;

/// A text is not the id that it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {expected}: write 0x and {digits} hexadecimal digits")]
pub struct ParseIdError {
    text: String,
    expected: &'static str,
    digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Takes the bytes as they are.
            pub const fn new(inner: $inner) -> Self {
                Self(inner)
            }

            /// The bytes.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.parse().map(Self).map_err(|_| ParseIdError {
                    text: text.to_owned(),
                    expected: $what,
                    digits: size_of::<$inner>() * 2,
                })
            }
        }
    };
}

id!(
    /// A deal: `keccak(abi(DealTerms))`.
    DealId, B256, "a deal id"
);
id!(
    /// A task: `keccak(deal ‖ uint256 index)`.
    TaskId, B256, "a task id"
);
id!(
    /// A closed round: `keccak(abi(operator, root, closed))` (see [`crate::round`]).
    RoundId, B256, "a round id"
);
id!(
    /// What a settlement keeps of the pairs that it left out: `keccak(deal ‖ leftOut)`.
    RecordId, B256, "a record id"
);
id!(
    /// The EIP-712 digest of a signed order.
    OrderHash, B256, "an order hash"
);
id!(
    /// The sha256 of a canonical job document.
    JobHash, B256, "a job hash"
);
id!(
    /// The key on a worker's machine.
    WorkerAddr, Address, "a worker's address"
);
id!(
    /// An account of `Berth`: whoever holds, pays or earns money there.
    AccountAddr, Address, "an account's address"
);
id!(
    /// The key that runs a pool's scheduler.
    OperatorAddr, Address, "an operator's address"
);

/// What an asset is. The discriminant is the last byte of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AssetKind {
    /// An application.
    App = 1,
    /// A dataset.
    Dataset = 2,
    /// A pool of workers.
    Pool = 3,
}

impl AssetKind {
    /// The kind whose discriminant is `byte`.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::App),
            2 => Some(Self::Dataset),
            3 => Some(Self::Pool),
            _ => None,
        }
    }
}

/// An asset: an app, a dataset or a pool. Also its ERC-721 token id. Its last byte says its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId(B256);

impl AssetId {
    /// Takes an id whose last byte names a kind; `None` for any other.
    pub fn new(id: B256) -> Option<Self> {
        AssetKind::from_byte(id[31]).map(|_| Self(id))
    }

    /// The id that `Assets.register` gives (ADR 0001, section 2).
    pub fn derive(kind: AssetKind, creator: Address, descriptor: &[u8]) -> Self {
        let mut id = keccak256((U256::from(kind as u8), creator, keccak256(descriptor)).abi_encode());
        id[31] = kind as u8;
        Self(id)
    }

    /// The bytes.
    pub const fn get(self) -> B256 {
        self.0
    }

    /// What it is.
    pub fn kind(self) -> AssetKind {
        AssetKind::from_byte(self.0[31]).expect("the constructors admit no other last byte")
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for AssetId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().ok().and_then(Self::new).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "an asset's id (it ends in 01, 02 or 03)",
            digits: 64,
        })
    }
}

impl DealId {
    /// The task of this deal at `index`. Whether the index belongs to the deal is [`crate::DealTerms::task`]'s to say.
    pub fn task(self, index: u32) -> TaskId {
        let mut bytes = [0_u8; 64];
        bytes[..32].copy_from_slice(self.0.as_slice());
        bytes[60..].copy_from_slice(&index.to_be_bytes());
        TaskId(keccak256(bytes))
    }
}
