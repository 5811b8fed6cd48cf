//! What can still be done after, or against, a settlement: reveals told to everybody, shares opened late, lies and
//! silence punished (ADR 0003, section 3).

use super::{Event, Ledger, Refusal, closing::require_after_deadline, ending::require_until};
use crate::{
    Amount, DealId, DealTerms, RecordId, Timestamp, WorkerAddr,
    domain::{Commitment, Reveal},
    payout,
    round::{
        LeftOut,
        packed::{LEFT_OUT_BYTES, record_id},
    },
};
use alloy_primitives::{Address, B256, Bytes, U256};

impl Ledger {
    /// The event's signature stays empty: whose it is, is all that is known of it here.
    pub(super) fn publish(
        &self,
        root: B256,
        worker: WorkerAddr,
        seed: B256,
        signer: Option<Address>,
    ) -> Result<Vec<Event>, Refusal> {
        if signer != Some(worker.get()) {
            let digest = self.domain.digest(&Reveal { root, seed });
            return Err(Refusal::BadSignature { signer: worker.get(), digest });
        }
        Ok(vec![Event::RevealPublished { root, worker, seed, signature: Bytes::new() }])
    }

    pub(super) fn open(
        &mut self,
        terms: &DealTerms,
        left_out: &[u8],
        openings: &[(u8, B256)],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let deal = terms.id();
        let (record, entries) = self.require_record(deal, left_out)?;
        require_until(now, terms.deadlines().open)?;
        let mut events = Vec::new();
        for (place, salt) in openings {
            let left = entry(&entries, *place)?;
            if self.tick(record, *place) {
                events.push(self.open_entry(terms, deal, left, (*place, *salt))?);
            }
        }
        Ok(events)
    }

    /// Pays the owner of a worker that was left out what was kept for it, if its bond covers the deal.
    fn open_entry(
        &mut self,
        terms: &DealTerms,
        deal: DealId,
        left: &LeftOut,
        (place, salt): (u8, B256),
    ) -> Result<Event, Refusal> {
        let LeftOut { index, digest, worker, .. } = *left;
        if !left.pair().opens_by_salt(deal.task(index), digest, salt) {
            return Err(Refusal::WrongSalt { entry: U256::from(place) });
        }
        let due = payout::share(terms, digest, left.share, left.total);
        self.take_back(due);
        let (owner, _) = self.standing_of(terms, worker);
        let (paid, scored) = if let Some(owner) = owner {
            self.credit(owner, due);
            (due, !digest.is_failure())
        } else {
            self.burn(due);
            (Amount::ZERO, false)
        };
        self.raise_score(terms.pool, worker, u32::from(scored));
        Ok(Event::ShareOpened { deal, index, worker, paid, scored })
    }

    pub(super) fn punish(
        &mut self,
        terms: &DealTerms,
        left_out: &[u8],
        evidence: &[(u8, Option<Address>)],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let deal = terms.id();
        let (record, entries) = self.require_record(deal, left_out)?;
        require_after_deadline(now, terms.deadlines().open)?;
        require_until(now, terms.deadlines().punish)?;
        let mut events = Vec::new();
        for (place, signer) in evidence {
            let left = entry(&entries, *place)?;
            if !self.tick(record, *place) {
                continue;
            }
            let LeftOut { index, digest, worker, commitment, .. } = *left;
            if *signer != Some(worker.get()) {
                let digest = self.domain.digest(&Commitment { task: deal.task(index).get(), commitment });
                return Err(Refusal::BadSignature { signer: worker.get(), digest });
            }
            let due = payout::share(terms, digest, left.share, left.total);
            self.take_back(due);
            self.burn(due);
            let (slashed, score) = self.slash(terms, worker);
            events.push(Event::WorkerPunished { deal, index, worker, slashed, score });
        }
        Ok(events)
    }

    fn require_record(&self, deal: DealId, left_out: &[u8]) -> Result<(RecordId, Vec<LeftOut>), Refusal> {
        let record = record_id(deal, left_out);
        if self.record_of(record).is_none() {
            return Err(Refusal::UnknownRecord { record });
        }
        assert!(left_out.len().is_multiple_of(LEFT_OUT_BYTES), "a settlement packed it");
        Ok((record, LeftOut::parse(left_out).expect("a settlement packed it")))
    }

    /// Marks an entry as opened or punished; false if it was before.
    fn tick(&mut self, record: RecordId, place: u8) -> bool {
        let bits = self.records.get_mut(&record).expect("it is known");
        let fresh = !bits.bit(usize::from(place));
        bits.set_bit(usize::from(place), true);
        fresh
    }
}

fn entry(entries: &[LeftOut], place: u8) -> Result<&LeftOut, Refusal> {
    let (entry, count) = (U256::from(place), U256::from(entries.len()));
    entries.get(usize::from(place)).ok_or(Refusal::BadEntry { entry, entries: count })
}
