//! Chain time. Nothing here reads a clock.

use core::fmt;

/// Seconds since 1970, as a block's timestamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// So many seconds since 1970.
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// This time, `seconds` later (saturating: a deadline past the end of time never comes).
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
