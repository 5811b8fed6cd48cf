//! Which tasks a round closes, and where their leaves stand (ADR 0003, sections 1 and 2).

use crate::{DealId, DealTerms, OperatorAddr, RoundId};
use alloy_primitives::{B256, keccak256};
use alloy_sol_types::SolValue as _;
use std::collections::BTreeMap;

/// How many tasks of a deal stand in one word.
pub const WORD_TASKS: u32 = 104;
/// How many words a round has at the most.
pub const MAX_WORDS: usize = 64;

/// Some tasks of one word of a deal: bit `b` of word `w` is the task of offset `104·w + b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WordBits {
    /// Which word.
    pub word: u32,
    /// Which of its tasks; only the lowest 104 bits mean any.
    pub bits: u128,
}

impl WordBits {
    /// The words that hold the tasks of these offsets, rising.
    pub fn of(offsets: impl IntoIterator<Item = u32>) -> Vec<Self> {
        let mut words = BTreeMap::<u32, u128>::new();
        for offset in offsets {
            *words.entry(offset / WORD_TASKS).or_default() |= 1 << (offset % WORD_TASKS);
        }
        words.into_iter().map(|(word, bits)| Self { word, bits }).collect()
    }

    /// Whether there are bits at all, and all of them are of tasks that a deal of this size has.
    pub const fn fits(self, size: u32) -> bool {
        let before = self.word as u64 * WORD_TASKS as u64;
        if self.bits == 0 || before >= size as u64 {
            return false;
        }
        let left = size as u64 - before;
        let tasks = if left < WORD_TASKS as u64 { left } else { WORD_TASKS as u64 };
        self.bits >> tasks == 0
    }

    /// The offsets of its tasks, rising.
    pub fn offsets(self) -> impl Iterator<Item = u32> {
        let first = u64::from(self.word) * u64::from(WORD_TASKS);
        let offset = move |bit: u32| u32::try_from(first + u64::from(bit)).ok();
        (0..WORD_TASKS).filter(move |bit| self.bits >> bit & 1 == 1).filter_map(offset)
    }
}

/// What a round closes of one deal, as `close` is told: with the deal's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The deal.
    pub terms: DealTerms,
    /// Its tasks, by rising word.
    pub words: Vec<WordBits>,
}

/// Tasks of one word of a deal that a round closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedWord {
    /// The deal.
    pub deal: DealId,
    /// Which word of its tasks.
    pub word: u32,
    /// Which tasks of the word.
    pub bits: u128,
}

impl ClosedWord {
    /// The same without its deal.
    pub const fn word_bits(self) -> WordBits {
        WordBits { word: self.word, bits: self.bits }
    }

    fn has(self, deal: DealId, offset: u32) -> bool {
        self.deal == deal && self.word == offset / WORD_TASKS && self.bits >> (offset % WORD_TASKS) & 1 == 1
    }
}

/// A closed round, as its event tells it and whoever settles from it shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClosedRound {
    /// Its root.
    pub root: B256,
    /// What it closes, in the order of its leaves.
    pub closed: Vec<ClosedWord>,
}

impl ClosedRound {
    /// The round that closes these, in this order, with this root.
    pub fn new(root: B256, deals: &[Closing]) -> Self {
        let words = |closing: &Closing| {
            let deal = closing.terms.id();
            closing.words.clone().into_iter().map(move |WordBits { word, bits }| ClosedWord { deal, word, bits })
        };
        Self { root, closed: deals.iter().flat_map(words).collect() }
    }

    /// Its id: `keccak(abi(operator, root, closed))`.
    pub fn id(&self, operator: OperatorAddr) -> RoundId {
        let closed: Vec<_> = self.closed.iter().map(|of| (of.deal.get(), of.word, of.bits)).collect();
        RoundId::new(keccak256((operator.get(), self.root, closed).abi_encode_params()))
    }

    /// How many leaves it has.
    pub fn leaves(&self) -> u32 {
        self.closed.iter().map(|of| of.bits.count_ones()).sum()
    }

    /// The tasks that it closes, by deal and offset, in the order of their leaves.
    pub fn tasks(&self) -> impl Iterator<Item = (DealId, u32)> + '_ {
        self.closed.iter().flat_map(|of| of.word_bits().offsets().map(|offset| (of.deal, offset)))
    }

    /// The place of a task's leaf, by the task's offset in its deal; `None` if the round did not close it.
    pub fn place(&self, deal: DealId, offset: u32) -> Option<u32> {
        let at = self.closed.iter().position(|of| of.has(deal, offset))?;
        let before: u32 = self.closed[..at].iter().map(|of| of.bits.count_ones()).sum();
        let below = self.closed[at].bits & ((1 << (offset % WORD_TASKS)) - 1);
        Some(before + below.count_ones())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_order_of_the_leaves() {
        let (one, two) = (DealId::new(B256::repeat_byte(1)), DealId::new(B256::repeat_byte(2)));
        let word = |deal, word, bits| ClosedWord { deal, word, bits };
        let closed = vec![word(two, 0, 0b1010), word(one, 1, 1 << 103 | 1), word(two, 1, 1)];
        let round = ClosedRound { root: B256::ZERO, closed };
        let tasks: Vec<_> = round.tasks().collect();
        assert_eq!(tasks, [(two, 1), (two, 3), (one, 104), (one, 207), (two, 104)]);
        assert_eq!(round.leaves(), 5);
        for (place, (deal, offset)) in (0..).zip(tasks) {
            assert_eq!(round.place(deal, offset), Some(place));
        }
        assert_eq!(round.place(one, 1), None);
        assert_eq!(round.place(two, 0), None);
    }

    #[test]
    fn words_hold_the_tasks_of_their_deal_only() {
        let words = WordBits::of([207, 0, 104, 103]);
        assert_eq!(words, [WordBits { word: 0, bits: 1 | 1 << 103 }, WordBits { word: 1, bits: 1 | 1 << 103 }]);
        assert!(words.iter().all(|word| word.fits(208)));
        assert!(!words[1].fits(207));
        assert!(!words[1].fits(104));
        assert!(!WordBits { word: 0, bits: 0 }.fits(9));
        assert!(!WordBits { word: 0, bits: 1 << 104 }.fits(u32::MAX));
        assert!(!WordBits { word: u32::MAX, bits: 1 }.fits(u32::MAX));
    }
}
