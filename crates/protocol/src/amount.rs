//! Money, in base units of the settlement token. All arithmetic is checked; each division says who gains.

use core::fmt;

/// An amount of the settlement token, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// Ten thousand basis points are the whole.
pub const BPS: u16 = 10_000;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many base units.
    pub const fn new(units: u128) -> Self {
        Self(units)
    }

    /// The base units.
    pub const fn units(self) -> u128 {
        self.0
    }

    /// The sum, or `None` past 2^128.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` below zero.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// `count` times this, or `None` past 2^128.
    pub const fn checked_mul(self, count: u32) -> Option<Self> {
        match self.0.checked_mul(count as u128) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }

    /// What is left of this after `bps` basis points of it are taken off, rounded down: whoever takes gains.
    /// Computed in two parts, so that it can't overflow.
    pub const fn less_bps(self, bps: u16) -> Self {
        let kept = (BPS - if bps > BPS { BPS } else { bps }) as u128;
        let whole = self.0 / BPS as u128;
        let rest = self.0 % BPS as u128;
        Self(whole * kept + rest * kept / BPS as u128)
    }

    /// A tenth of this, rounded down: the payer gains.
    pub const fn tenth(self) -> Self {
        Self(self.0 / 10)
    }

    /// `part/whole` of this, rounded down. `whole` must not be zero, and `part` at most `whole`; both stay below 2^32,
    /// so that the product is split as in [`Amount::less_bps`].
    pub const fn fraction(self, part: u32, whole: u32) -> Self {
        let (part, whole) = (part as u128, whole as u128);
        Self((self.0 / whole) * part + (self.0 % whole) * part / whole)
    }

    /// This amount in tokens of `decimals` decimals, without trailing zeros: `1.25`.
    pub fn in_tokens(self, decimals: u8) -> String {
        let digits = format!("{:0>width$}", self.0, width = usize::from(decimals) + 1);
        let (whole, part) = digits.split_at(digits.len() - usize::from(decimals));
        let part = part.trim_end_matches('0');
        if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
    }

    /// Reads `1.25` tokens of `decimals` decimals; `None` if it is no such number, too fine or too large.
    pub fn parse_tokens(text: &str, decimals: u8) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > usize::from(decimals) {
            return None;
        }
        format!("{whole}{part:0<width$}", width = usize::from(decimals)).parse().ok().map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_print_and_parse_back() {
        for (units, decimals, text) in [(0, 18, "0"), (1, 9, "0.000000001"), (1_250, 3, "1.25"), (7, 0, "7")] {
            assert_eq!(Amount::new(units).in_tokens(decimals), text);
            assert_eq!(Amount::parse_tokens(text, decimals), Some(Amount::new(units)));
        }
        for bad in ["", ".5", "1.2345", "-1", "1e3", "1,5", "999999999999999999999999999999999999999"] {
            assert_eq!(Amount::parse_tokens(bad, 3), None, "{bad}");
        }
    }

    #[test]
    fn shares_round_down_and_never_overflow() {
        assert_eq!(Amount::new(999).less_bps(1), Amount::new(998));
        assert_eq!(Amount::new(u128::MAX).less_bps(0), Amount::new(u128::MAX));
        assert_eq!(Amount::new(5).less_bps(BPS), Amount::ZERO);
        assert_eq!(Amount::new(10).fraction(1, 3), Amount::new(3));
        assert_eq!(Amount::new(u128::MAX).fraction(7, 7), Amount::new(u128::MAX));
    }
}
