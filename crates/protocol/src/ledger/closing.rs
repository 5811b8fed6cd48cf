//! Rounds, and what is added to their tasks later (ADR 0003, section 3).

use super::{
    Appends, Event, Ledger, Refusal, Shown,
    ending::{require_inside, require_until},
};
use crate::{
    DealId, DealTerms, OperatorAddr, RoundId, Timestamp,
    domain::{Assignment, Commitment},
    round::{ClosedRound, Closing, MAX_PAIRS, Pair, WordBits, closed::MAX_WORDS, extend, leaf_of_chain, proven_root},
};
use alloy_primitives::{Address, B256, U256};

impl Ledger {
    pub(super) fn close(
        &mut self,
        root: B256,
        deals: &[Closing],
        sender: Address,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let words: usize = deals.iter().map(|closing| closing.words.len()).sum();
        if words == 0 {
            return Err(Refusal::BadBits { deal: DealId::new(B256::ZERO), word: 0, bits: 0 });
        }
        if words > MAX_WORDS {
            return Err(Refusal::BatchTooLarge { items: U256::from(words), max: U256::from(MAX_WORDS) });
        }
        for closing in deals {
            self.close_in(closing, sender, now)?;
        }
        let (round, operator) = (ClosedRound::new(root, deals), OperatorAddr::new(sender));
        let id = round.id(operator);
        self.rounds.insert(id);
        Ok(vec![Event::RoundClosed { id, operator, round }])
    }

    fn close_in(&mut self, closing: &Closing, sender: Address, now: Timestamp) -> Result<(), Refusal> {
        let terms = &closing.terms;
        let deal = terms.id();
        self.known(deal)?;
        require_operator(terms, sender)?;
        require_replicated(terms)?;
        require_until(now, terms.deadlines().close)?;
        let mut previous = None;
        for words in &closing.words {
            let WordBits { word, bits } = *words;
            if previous.is_some_and(|previous| word <= previous) || !words.fits(terms.size) {
                return Err(Refusal::BadBits { deal, word, bits });
            }
            previous = Some(word);
            let (ended, closed) = self.known(deal)?.word(word);
            let taken = bits & (ended | closed);
            if taken != 0 {
                return Err(Refusal::AlreadyClosed { deal, word, bits: taken });
            }
            let kept = self.deals.get_mut(&deal).expect("it is known");
            kept.closed.extend(words.offsets());
        }
        Ok(())
    }

    pub(super) fn append(
        &mut self,
        shown: Shown<'_>,
        index: u32,
        (leaf, added): (&[Pair], &[Pair]),
        sender: Address,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let terms = shown.terms;
        let deal = terms.id();
        self.known(deal)?;
        require_operator(terms, sender)?;
        require_replicated(terms)?;
        require_inside(terms, index)?;
        require_until(now, terms.deadlines().close)?;
        self.require_open(terms, deal, index)?;
        let (before, chain) = if let Some(kept) = self.appends_of(deal, index) {
            (usize::from(kept.pairs), kept.chain)
        } else {
            self.require_in_round(shown, deal, index, leaf.len())?;
            let mut previous = Address::ZERO;
            for pair in leaf {
                previous = require_after(previous, pair.worker.get())?;
            }
            let chain = leaf.iter().copied().fold(B256::ZERO, extend);
            require_leaf(shown, deal, index, chain)?;
            (leaf.len(), chain)
        };
        self.extend_chain(deal, index, (before, chain), added)
    }

    pub(super) fn append_assigned(
        &mut self,
        terms: &DealTerms,
        index: u32,
        pair: Pair,
        (assignment, signer): (Option<Address>, Option<Address>),
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let (deal, deadlines) = (terms.id(), terms.deadlines());
        self.known(deal)?;
        require_replicated(terms)?;
        require_inside(terms, index)?;
        require_after_deadline(now, deadlines.close)?;
        require_until(now, deadlines.append)?;
        if self.require_open(terms, deal, index)? {
            return Err(Refusal::TaskClosed { index });
        }
        let kept = self.appends_of(deal, index);
        let (before, chain) = kept.map_or((0, B256::ZERO), |kept| (usize::from(kept.pairs), kept.chain));
        require_pairs(index, before + 1)?;
        let (task, worker) = (deal.task(index).get(), pair.worker.get());
        if assignment != Some(terms.operator) {
            let digest = self.domain.digest(&Assignment { task, worker });
            return Err(Refusal::BadSignature { signer: terms.operator, digest });
        }
        if signer != Some(worker) {
            let digest = self.domain.digest(&Commitment { task, commitment: pair.commitment });
            return Err(Refusal::BadSignature { signer: worker, digest });
        }
        self.extend_chain(deal, index, (before, chain), &[pair])
    }

    fn extend_chain(
        &mut self,
        deal: DealId,
        index: u32,
        (before, chain): (usize, B256),
        added: &[Pair],
    ) -> Result<Vec<Event>, Refusal> {
        let all = before + added.len();
        if added.is_empty() {
            return Err(Refusal::BadPairCount { index, pairs: U256::from(all) });
        }
        require_pairs(index, all)?;
        let chain = added.iter().copied().fold(chain, extend);
        let pairs = u8::try_from(all).expect("at most 64");
        self.appends.insert((deal, index), Appends { chain, pairs });
        Ok(vec![Event::PairsAppended { deal, index, chain, pairs, added: added.to_vec() }])
    }

    /// The task has not ended; tells whether a round has closed it.
    pub(super) fn require_open(&self, terms: &DealTerms, deal: DealId, index: u32) -> Result<bool, Refusal> {
        let (kept, offset) = (self.known(deal)?, index - terms.first);
        // As the contract, it looks at the task's bit alone: after a claim nobody gets here.
        if kept.ended.contains(&offset) {
            return Err(Refusal::TaskEnded { index });
        }
        Ok(kept.closed.contains(&offset))
    }

    /// The deal's operator closed this round.
    pub(super) fn require_round(&self, shown: Shown<'_>) -> Result<RoundId, Refusal> {
        let round = shown.round.id(OperatorAddr::new(shown.terms.operator));
        if self.is_round(round) { Ok(round) } else { Err(Refusal::UnknownRound { round }) }
    }

    /// The deal's operator closed this round with the task in it, and a leaf may have so many pairs.
    pub(super) fn require_in_round(
        &self,
        shown: Shown<'_>,
        deal: DealId,
        index: u32,
        pairs: usize,
    ) -> Result<RoundId, Refusal> {
        let round = self.require_round(shown)?;
        if shown.round.place(deal, index - shown.terms.first).is_none() {
            return Err(Refusal::NotInRound { index });
        }
        require_pairs(index, pairs)?;
        Ok(round)
    }
}

/// A task has 1 to 64 pairs.
pub(super) fn require_pairs(index: u32, pairs: usize) -> Result<(), Refusal> {
    if (1..=MAX_PAIRS).contains(&pairs) {
        return Ok(());
    }
    Err(Refusal::BadPairCount { index, pairs: U256::from(pairs) })
}

/// Workers rise; gives the one that the next has to come after.
pub(super) fn require_after(previous: Address, worker: Address) -> Result<Address, Refusal> {
    if worker > previous { Ok(worker) } else { Err(Refusal::WorkerNotAscending { previous, worker }) }
}

/// A leaf of this chain is the round's, in the task's place.
pub(super) fn require_leaf(shown: Shown<'_>, deal: DealId, index: u32, chain: B256) -> Result<(), Refusal> {
    let place = shown.round.place(deal, index - shown.terms.first).expect("the task is in the round");
    require_root(shown, &[(place, leaf_of_chain(deal, index, chain))])
}

/// These leaves are the round's, in these places.
pub(super) fn require_root(shown: Shown<'_>, leaves: &[(u32, B256)]) -> Result<(), Refusal> {
    let root = shown.round.root;
    let proven = proven_root(shown.round.leaves(), leaves, shown.proof);
    if proven == Some(root) {
        return Ok(());
    }
    // A proof that is too short or too long shows no root at all.
    Err(Refusal::RootMismatch { root, shown: proven.unwrap_or_default() })
}

pub(super) fn require_replicated(terms: &DealTerms) -> Result<(), Refusal> {
    if terms.is_single() { Err(Refusal::NotReplicated { trust: terms.trust }) } else { Ok(()) }
}

pub(super) fn require_after_deadline(now: Timestamp, deadline: Timestamp) -> Result<(), Refusal> {
    if now > deadline { Ok(()) } else { Err(Refusal::TooEarly { deadline }) }
}

fn require_operator(terms: &DealTerms, sender: Address) -> Result<(), Refusal> {
    if sender == terms.operator {
        return Ok(());
    }
    Err(Refusal::NotOperator { sender, operator: OperatorAddr::new(terms.operator) })
}
