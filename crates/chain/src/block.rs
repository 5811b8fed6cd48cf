//! Blocks, as far as Berth looks at them.

use alloy::primitives::B256;
use berth_protocol::Timestamp;
use core::fmt;

/// The height of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlockNumber(u64);

impl BlockNumber {
    /// The block of that height.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The height.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The block after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The block `depth` below this one, or the first.
    pub const fn below(self, depth: u64) -> Self {
        Self(self.0.saturating_sub(depth))
    }

    /// How many blocks lie between `older` and this one; 0 if it is not older.
    pub const fn since(self, older: Self) -> u64 {
        self.0.saturating_sub(older.0)
    }
}

impl fmt::Display for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One block of one chain: two blocks of one height differ in their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockRef {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: B256,
    /// Its time, which is the chain's time while it is the head.
    pub timestamp: Timestamp,
}

/// A block's header, as far as Berth looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The block itself.
    pub block: BlockRef,
    /// The hash of the block before it.
    pub parent: B256,
    /// The base fee per gas, in wei; 0 where the chain has none.
    pub base_fee_wei: u128,
}
