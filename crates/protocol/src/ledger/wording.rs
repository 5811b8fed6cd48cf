//! Words of the contracts as people read them: what is packed into bits, or means something only by its value.

use crate::AssetKind;
use alloy_primitives::{Address, B256};
use core::fmt;

/// What a tag asks for, bit by bit.
pub(super) struct Tag(pub(super) B256);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = (0..256_usize).filter(|bit| self.0[31 - bit / 8] >> (bit % 8) & 1 == 1);
        listed(f, bits, |f, bit| match bit {
            0 => f.write_str("TEE (bit 0)"),
            8 => f.write_str("GPU (bit 8)"),
            other => write!(f, "bit {other}"),
        })
    }
}

/// Tasks of a word, by their places in it.
pub(super) struct Bits(pub(super) u128);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = (0..128_usize).filter(|bit| self.0 >> bit & 1 == 1);
        f.write_str("its tasks in places ")?;
        listed(f, bits, |f, bit| write!(f, "{bit}"))
    }
}

fn listed(
    f: &mut fmt::Formatter<'_>,
    bits: impl Iterator<Item = usize>,
    show: impl Fn(&mut fmt::Formatter<'_>, usize) -> fmt::Result,
) -> fmt::Result {
    let mut bits = bits.peekable();
    if bits.peek().is_none() {
        return f.write_str("none");
    }
    let mut between = "";
    for bit in bits {
        f.write_str(between)?;
        show(f, bit)?;
        between = ", ";
    }
    Ok(())
}

/// An account, where the zero address stands for nobody.
pub(super) struct Whose(pub(super) Address);

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { f.write_str("nobody") } else { fmt::Display::fmt(&self.0, f) }
    }
}

/// The kind of asset that a number stands for.
pub(super) struct Kind(pub(super) u8);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match AssetKind::from_byte(self.0) {
            Some(AssetKind::App) => f.write_str("app"),
            Some(AssetKind::Dataset) => f.write_str("dataset"),
            Some(AssetKind::Pool) => f.write_str("pool"),
            None => write!(f, "kind {}", self.0),
        }
    }
}

/// Who stands on the other side of an order: an asset with its owner, or an account alone.
pub(super) struct Side {
    pub(super) asset: B256,
    pub(super) account: Address,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.asset.is_zero(), self.account.is_zero()) {
            (true, true) => f.write_str("a deal without this asset"),
            (true, false) => write!(f, "{}", self.account),
            (false, _) => write!(f, "asset {} of {}", self.asset, self.account),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_named_by_their_places() {
        let mut tag = B256::ZERO;
        (tag[31], tag[30], tag[0]) = (0b1000_0001, 1, 0x80);
        assert_eq!(Tag(tag).to_string(), "TEE (bit 0), bit 7, GPU (bit 8), bit 255");
        assert_eq!(Tag(B256::ZERO).to_string(), "none");
        assert_eq!(Bits(0b1001).to_string(), "its tasks in places 0, 3");
    }

    #[test]
    fn what_stands_for_nothing_is_said_so() {
        assert_eq!(Whose(Address::ZERO).to_string(), "nobody");
        assert_eq!(Side { asset: B256::ZERO, account: Address::ZERO }.to_string(), "a deal without this asset");
        assert_eq!(Kind(2).to_string(), "dataset");
        assert_eq!(Kind(9).to_string(), "kind 9");
    }
}
