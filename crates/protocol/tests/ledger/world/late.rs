//! What comes after, or against, a settlement: reveals published, shares opened, workers punished.

use super::World;
use alloy::primitives::{Address, B256};
use berth_protocol::{
    Deadlines, DealTerms, Timestamp, WorkerAddr,
    ledger::Call,
    round::{LeftOut, packed::record_id, salt},
};
use rand::{Rng as _, seq::SliceRandom as _};

/// How many faults [`World::open_from`] and [`World::punish_from`] know.
pub(super) const LATE_FAULTS: usize = 6;

impl World {
    pub(super) fn publish(&mut self) -> (Address, Call) {
        let (root, seed) = (self.word(), self.word());
        let worker = WorkerAddr::new(self.one_of(&self.cast.workers.clone()));
        let signer = match self.fault(16, 2) {
            Some(0) => None,
            Some(_) => Some(self.cast.stranger),
            None => Some(worker.get()),
        };
        (self.anyone(), Call::Publish { root, worker, seed, signer })
    }

    /// Some record, with its deal; mostly one that `wanted` holds for.
    fn some_record(&mut self, wanted: impl Fn(Deadlines, Timestamp) -> bool) -> Option<(DealTerms, Vec<LeftOut>)> {
        let mut all = Vec::new();
        for (deal, entries) in self.secrets.records.iter().rev().take(20) {
            let (_, terms) = self.deals().iter().find(|(id, _)| id == deal).expect("what is settled is known");
            all.push((terms.clone(), entries.clone(), wanted(terms.deadlines(), self.now)));
        }
        let any = self.rng.gen_bool(0.05);
        all.retain(|(.., fits)| any || *fits);
        all.choose(&mut self.rng).map(|(terms, entries, _)| (terms.clone(), entries.clone()))
    }

    pub(super) fn open(&mut self) -> (Address, Call) {
        let in_time = |until: Deadlines, now| now <= until.open;
        let Some((terms, entries)) = self.some_record(in_time) else {
            return self.settle_batch();
        };
        let fault = self.fault(16, LATE_FAULTS);
        self.open_from(&terms, &entries, fault)
    }

    /// Opens whatever opens of a record.
    pub(super) fn open_from(
        &mut self,
        terms: &DealTerms,
        entries: &[LeftOut],
        fault: Option<usize>,
    ) -> (Address, Call) {
        let mut openings = Vec::new();
        for (place, left) in (0..=u8::MAX).zip(entries) {
            let answer = self.secrets.answers.get(&left.commitment);
            if let Some(answer) = answer.filter(|answer| answer.digest == left.digest.get()) {
                openings.push((place, salt(answer.seed, terms.id().task(left.index))));
            }
        }
        let (mut terms, mut packed) = (terms.clone(), LeftOut::pack(entries));
        match fault {
            Some(0) => terms.poolPrice += 1,
            Some(1) => packed[90] ^= 1,
            Some(2) => packed.clear(),
            Some(3) => openings.push((u8::try_from(entries.len()).expect("at most 255"), B256::ZERO)),
            Some(4) => openings.push((255, B256::ZERO)),
            Some(_) => {
                let bits = self.ledger.record_of(record_id(terms.id(), &packed)).unwrap_or_default();
                let untouched = (0..=254).find(|place| !bits.bit(usize::from(*place))).unwrap_or(0);
                openings.insert(0, (untouched, self.word()));
            }
            // Those that were opened before are skipped.
            None if self.rng.gen_bool(0.3) => openings.extend_from_within(..),
            None => {}
        }
        let terms = Box::new(terms);
        (self.anyone(), Call::Open { terms, left_out: packed, openings })
    }

    pub(super) fn punish(&mut self) -> (Address, Call) {
        let in_time = |until: Deadlines, now| now > until.open && now <= until.punish;
        let Some((terms, entries)) = self.some_record(in_time) else {
            return self.settle_batch();
        };
        let fault = self.fault(17, LATE_FAULTS);
        self.punish_from(&terms, &entries, fault)
    }

    /// Punishes whoever is left of a record.
    pub(super) fn punish_from(
        &mut self,
        terms: &DealTerms,
        entries: &[LeftOut],
        fault: Option<usize>,
    ) -> (Address, Call) {
        let mut evidence: Vec<_> =
            (0..=u8::MAX).zip(entries).map(|(place, left)| (place, Some(left.worker.get()))).collect();
        let (mut terms, mut packed) = (terms.clone(), LeftOut::pack(entries));
        let bits = self.ledger.record_of(record_id(terms.id(), &packed)).unwrap_or_default();
        let untouched = (0..entries.len()).find(|place| !bits.bit(*place)).unwrap_or(0);
        match fault {
            Some(0) => terms.poolPrice += 1,
            Some(1) => packed[90] ^= 1,
            Some(2) => packed.clear(),
            Some(3) => evidence.push((u8::try_from(entries.len()).expect("at most 255"), None)),
            Some(4) => evidence[untouched].1 = None,
            Some(_) => evidence[untouched].1 = Some(self.cast.stranger),
            None if self.rng.gen_bool(0.3) => evidence.extend_from_within(..),
            None => {}
        }
        let terms = Box::new(terms);
        (self.anyone(), Call::Punish { terms, left_out: packed, evidence })
    }
}
