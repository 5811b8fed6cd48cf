//! Times. What is due on chain is compared with the chain's time only; the machine's clock is for everything else, and is
//! read here and nowhere else.

use crate::block::BlockRef;
use berth_protocol::Timestamp;
use core::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// A source of the time. Tests have their own.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineClock;

impl Clock for MachineClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp::new(since.map_or(0, |since| since.as_secs()))
    }
}

/// The chain's time: that of the block up to which a follower's tables are written. What is due by it is due in every
/// later block too.
#[derive(Debug, Clone)]
pub struct ChainClock(watch::Receiver<BlockRef>);

impl ChainClock {
    /// The clock of a follower ([`crate::follow::Watch::tip`]).
    pub const fn new(tip: watch::Receiver<BlockRef>) -> Self {
        Self(tip)
    }
}

impl Clock for ChainClock {
    fn now(&self) -> Timestamp {
        self.0.borrow().timestamp
    }
}
