//! Numbers with units, as people write them.

use crate::hint::Failure;
use berth_protocol::{Amount, amount::BPS};
use core::time::Duration;

/// The largest whole number that every JSON reader keeps.
const MAX_JSON: u64 = 1 << 53;

/// `512`, `64K`, `256M`, `2G`: bytes, in powers of 1024.
pub(crate) fn bytes(flag: &str, text: &str) -> Result<u64, Failure> {
    let plain = text.trim_end_matches(['b', 'B', 'i']);
    let digits = plain.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &plain[digits.len()..] {
        "" => Some(0),
        "k" | "K" => Some(10),
        "m" | "M" => Some(20),
        "g" | "G" => Some(30),
        "t" | "T" => Some(40),
        _ => None,
    };
    shift
        .and_then(|shift: u32| Some((digits.parse::<u64>().ok()?, shift)))
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .filter(|size| (1..MAX_JSON).contains(size))
        .ok_or_else(|| Failure::usage("size", format!("{flag}: `{text}` is no size")).hint("write 256M, or 2G"))
}

/// `1`, `0.5`: cores, as thousandths.
pub(crate) fn cpu_millis(text: &str) -> Result<u32, Failure> {
    Amount::parse_tokens(text, 3)
        .and_then(|millis| u32::try_from(millis.units()).ok())
        .filter(|millis| *millis > 0)
        .ok_or_else(|| Failure::usage("cpu", format!("--cpu: `{text}` is no number of cores")).hint("write 1, or 0.5"))
}

/// `90s`, `5m`, `1h 30m`: a duration of whole seconds.
pub(crate) fn seconds(flag: &str, text: &str) -> Result<u32, Failure> {
    duration(flag, text).and_then(|duration| {
        u32::try_from(duration.as_secs())
            .ok()
            .filter(|seconds| *seconds > 0)
            .ok_or_else(|| Failure::usage("duration", format!("{flag}: `{text}` is not between 1 s and 136 years")))
    })
}

/// `250ms`, `90s`, `5m`, `1h 30m`, `30d`.
pub(crate) fn duration(flag: &str, text: &str) -> Result<Duration, Failure> {
    humantime::parse_duration(text).map_err(|_| {
        Failure::usage("duration", format!("{flag}: `{text}` is no duration")).hint("write 90s, 5m, or 1h30m")
    })
}

/// `10`, `2.5`: per cent, as basis points.
pub(crate) fn percent_bps(flag: &str, text: &str) -> Result<u16, Failure> {
    Amount::parse_tokens(text.trim_end_matches('%'), 2)
        .and_then(|bps| u16::try_from(bps.units()).ok())
        .filter(|bps| *bps <= BPS)
        .ok_or_else(|| {
            Failure::usage("percent", format!("{flag}: `{text}` is no share between 0 and 100 per cent"))
                .hint("write 10, or 2.5")
        })
}

/// `1.25` tokens.
pub(crate) fn tokens(what: &str, text: &str, decimals: u8) -> Result<Amount, Failure> {
    Amount::parse_tokens(text, decimals).ok_or_else(|| {
        Failure::usage("amount", format!("{what}: `{text}` is no amount of tokens"))
            .hint(format!("write 12, or 0.25, with at most {decimals} digits after the point"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("--disk", "512"), Ok(512));
        assert_eq!(bytes("--disk", "64K"), Ok(65_536));
        assert_eq!(bytes("--disk", "256M"), Ok(268_435_456));
        assert_eq!(bytes("--disk", "2GiB"), Ok(2_147_483_648));
        for wrong in ["", "0", "M", "1.5G", "-1", "9999999T", "12X"] {
            assert!(bytes("--disk", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cores_durations_and_shares_are_read_as_written() {
        assert_eq!(cpu_millis("0.5"), Ok(500));
        assert!(cpu_millis("0").is_err() && cpu_millis("two").is_err());
        assert_eq!(seconds("--timeout", "1m 30s"), Ok(90));
        assert!(seconds("--timeout", "10ms").is_err() && seconds("--timeout", "5").is_err());
        assert_eq!(percent_bps("--operator-share", "2.5%"), Ok(250));
        assert!(percent_bps("--operator-share", "100.01").is_err());
    }
}
