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

    /// As people read it: `2027-01-15 08:00:00 UTC`.
    pub const fn utc(self) -> Utc {
        Utc(self)
    }
}

/// A time as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc(Timestamp);

const DAY_S: u64 = 86_400;
/// The first second of the year 10000: what comes later is meant to be never.
const NEVER_S: u64 = 253_402_300_800;

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.seconds();
        if seconds >= NEVER_S {
            return f.write_str("the end of time");
        }
        let (year, month, day) = date(seconds / DAY_S);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// The date so many days after the beginning of 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_800_000_000, "2027-01-15 08:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (NEVER_S - 1, "9999-12-31 23:59:59 UTC"),
            (u64::MAX, "the end of time"),
        ] {
            assert_eq!(Timestamp::new(seconds).utc().to_string(), text);
        }
    }
}
