//! Whether what opens outweighs what does not, and who has which share (ADR 0003, section 4).

use super::MAX_PAIRS;
use crate::consensus::{accepted, group, share, weight};
use alloy_primitives::U256;

/// What counts of one pair that is weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// Whether it opens to the digest in question, by a reveal of its worker.
    pub opens: bool,
    /// Whether its worker's bond covers the deal.
    pub covered: bool,
    /// Its worker's score in the pool.
    pub score: u32,
}

/// How a pair stands after the weighing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It opens, and is paid.
    Opened,
    /// It opens, but its worker's bond does not cover the deal: dissent, never paid, and no evidence against it.
    Refused,
    /// It does not open: dissent; its share is kept back until it does.
    LeftOut,
}

impl Voice {
    /// How it stands.
    pub const fn standing(self) -> Standing {
        match (self.opens, self.covered) {
            (true, true) => Standing::Opened,
            (true, false) => Standing::Refused,
            (false, _) => Standing::LeftOut,
        }
    }
}

/// What the weighing of a task's pairs comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The weight of those that opened.
    pub group: U256,
    /// The weight of all others.
    pub dissent: U256,
    /// Whether the task ends.
    pub accepted: bool,
    /// How each pair stands, and its share, in the pairs' order.
    pub pairs: Vec<(Standing, u8)>,
    /// The sum of all shares.
    pub total: u16,
}

impl Verdict {
    /// Whether those that opened gain a point: only where there are at least two, and never for a failure.
    pub fn scores(&self, is_failure: bool) -> bool {
        !is_failure && self.pairs.iter().filter(|(standing, _)| *standing == Standing::Opened).count() >= 2
    }
}

/// Weighs a task's pairs: at most 64, each of another worker.
pub fn weigh(trust: u32, voices: &[Voice]) -> Verdict {
    assert!(voices.len() <= MAX_PAIRS, "a task has at most {MAX_PAIRS} pairs");
    let weights = |agreeing: bool| {
        let side = voices.iter().filter(move |voice| (voice.standing() == Standing::Opened) == agreeing);
        group(side.map(|voice| weight(voice.score)))
    };
    let (agreeing, dissent) = (weights(true), weights(false));
    let share = |voice: &Voice| u8::try_from(share(weight(voice.score))).expect("a logarithm of 32 bits");
    let pairs: Vec<_> = voices.iter().map(|voice| (voice.standing(), share(voice))).collect();
    let total = pairs.iter().map(|(_, share)| u16::from(*share)).sum();
    Verdict { group: agreeing, dissent, accepted: accepted(agreeing, dissent, trust), pairs, total }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HONEST: Voice = Voice { opens: true, covered: true, score: 0 };
    const SILENT: Voice = Voice { opens: false, covered: true, score: 0 };
    const POOR: Voice = Voice { opens: true, covered: false, score: 0 };

    #[test]
    fn three_agree_at_trust_five_and_not_against_a_liar() {
        assert!(weigh(5, &[HONEST; 3]).accepted);
        assert!(!weigh(5, &[HONEST, HONEST, HONEST, SILENT]).accepted);
        let four = weigh(5, &[HONEST, HONEST, SILENT, HONEST, HONEST]);
        assert!(four.accepted);
        assert_eq!((four.group, four.dissent, four.total), (U256::from(16), U256::from(2), 5));
        assert_eq!(four.pairs[2], (Standing::LeftOut, 1));
    }

    #[test]
    fn a_pair_without_bond_is_dissent_and_nobody_alone_gains_a_point() {
        let verdict = weigh(2, &[HONEST, POOR]);
        assert_eq!((verdict.group, verdict.dissent, verdict.accepted), (U256::from(2), U256::from(2), false));
        let alone = weigh(2, &[Voice { score: 60, ..HONEST }, POOR]);
        assert!(alone.accepted && !alone.scores(false));
        assert_eq!(alone.pairs, [(Standing::Opened, 4), (Standing::Refused, 1)]);
        assert!(weigh(2, &[HONEST; 2]).scores(false));
        assert!(!weigh(2, &[HONEST; 2]).scores(true));
    }
}
