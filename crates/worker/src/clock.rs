//! The one place that reads this machine's clock. Jobs are timed by the monotonic clock; this one only dates journal
//! rows and sessions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place; deadlines of jobs go by the monotonic clock")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).expect("584 million years are not over")
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1_000
}
