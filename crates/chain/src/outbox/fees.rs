//! What a transaction offers for its gas (EIP-1559).

/// A transaction's offer per gas, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fees {
    /// The most that is paid, base fee and tip together.
    pub(crate) max_fee: u128,
    /// What goes to the block's builder.
    pub(crate) tip: u128,
}

impl Fees {
    /// An offer that holds through five full blocks in a row, each of which raises the base fee by an eighth.
    pub(crate) fn suggest(base_fee: u128, tip: u128, cap: u128) -> Self {
        let max_fee = base_fee.saturating_mul(2).saturating_add(tip).min(cap);
        Self { max_fee, tip: tip.min(max_fee) }
    }

    /// The offer that replaces `self`: at least an eighth more of both, since nodes refuse less than a tenth.
    /// `None` past the cap.
    pub(crate) fn bump(self, suggested: Self, cap: u128) -> Option<Self> {
        let raise = |fee: u128| fee.saturating_add(fee.div_ceil(8)).saturating_add(1);
        let max_fee = raise(self.max_fee).max(suggested.max_fee);
        let tip = raise(self.tip).max(suggested.tip);
        (max_fee <= cap).then_some(Self { max_fee, tip: tip.min(max_fee) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_offers_an_eighth_more_and_never_passes_the_cap() {
        let first = Fees::suggest(100, 7, 1_000);
        assert_eq!(first, Fees { max_fee: 207, tip: 7 });
        let second = first.bump(first, 1_000).expect("below the cap");
        assert!(second.max_fee * 1000 >= first.max_fee * 1125 && second.tip * 1000 >= first.tip * 1125);
        assert_eq!(first.bump(Fees::suggest(400, 7, 1_000), 1_000).map(|fees| fees.max_fee), Some(807));
        assert_eq!(first.bump(first, 220), None);
        assert_eq!(Fees::suggest(100, 7, 5), Fees { max_fee: 5, tip: 5 });
    }
}
