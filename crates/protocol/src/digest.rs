//! What a result is on chain: 32 bytes, of which the lowest 256 values are failures that everybody can guess.

use alloy_primitives::{B256, keccak256};
use core::{fmt, str::FromStr};

/// Why a task has no result. The discriminant is its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Failure {
    /// An input, image or disk could not be fetched, or was not what its digest says.
    FetchFailed = 1,
    /// The job ran out of time.
    TimedOut = 2,
    /// The job asks for what its descriptor or runtime can't give.
    Refused = 3,
    /// The workers' answers agree nowhere.
    NoAgreement = 4,
    /// The job ran out of memory.
    OutOfMemory = 5,
    /// The job's output is larger than its disk limit, or holds what can't be handed over.
    OutputTooLarge = 6,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::FetchFailed, Self::TimedOut, Self::Refused, Self::NoAgreement, Self::OutOfMemory, Self::OutputTooLarge];

    /// Its digest.
    pub fn digest(self) -> ResultDigest {
        ResultDigest(B256::with_last_byte(self as u8))
    }

    /// What a person reads.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::FetchFailed => "an input or image could not be fetched",
            Self::TimedOut => "the job ran out of time",
            Self::Refused => "the job asks for what its app or runtime can't give",
            Self::NoAgreement => "the workers' answers agree nowhere",
            Self::OutOfMemory => "the job ran out of memory",
            Self::OutputTooLarge => "the job's output is too large, or can't be handed over",
        }
    }
}

/// The digest of a result. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultDigest(B256);

impl ResultDigest {
    /// Takes any 32 bytes but zero, which are no result.
    pub fn new(bytes: B256) -> Option<Self> {
        (!bytes.is_zero()).then_some(Self(bytes))
    }

    /// What a task with a callback settles to: `keccak(manifest ‖ keccak(bytes))`, where `manifest` is the digest that
    /// it would settle to without one (ADR 0001, section 5).
    pub fn bound(manifest: B256, bytes: &[u8]) -> Self {
        let both = [manifest, keccak256(bytes)].concat();
        Self::new(keccak256(both)).expect("no bytes are known whose keccak256 is zero")
    }

    /// The bytes.
    pub const fn get(self) -> B256 {
        self.0
    }

    /// Whether it is below 2^8: a failure, known to us or not.
    pub fn is_failure(self) -> bool {
        self.0[..31] == [0; 31]
    }

    /// Which failure it is, if it is one that has a name.
    pub fn failure(self) -> Option<Failure> {
        Failure::ALL.into_iter().find(|failure| failure.digest() == self)
    }
}

impl fmt::Display for ResultDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for ResultDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// The text is not a result digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a result digest: write 0x and 64 hexadecimal digits, not all zero")]
pub struct ParseDigestError(String);

impl FromStr for ResultDigest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        text.parse().ok().and_then(Self::new).ok_or_else(|| ParseDigestError(text.to_owned()))
    }
}
