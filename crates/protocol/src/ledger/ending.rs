//! How tasks end: settled, declined, claimed.

use super::{Deal, Event, Ledger, List, Refusal, accounts::amount};
use crate::{
    AccountAddr, Amount, AssetId, DealId, DealTerms, OperatorAddr, ResultDigest, Timestamp,
    domain::{Assignment, SingleResults},
    payout::{self, Payout},
    single::{ENTRY_BYTES, MAX_ENTRIES},
};
use alloy_primitives::{Address, B256, U256, keccak256};

/// How many lists, or declined tasks, one call takes.
pub(super) const MAX_ITEMS: usize = 256;
/// Bytes of a signature: `r ‖ s ‖ v`.
pub(super) const SIGNATURE_BYTES: usize = 65;

impl Ledger {
    pub(super) fn settle_singles(
        &mut self,
        terms: &DealTerms,
        lists: &[List],
        sender: Address,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        if !terms.is_single() {
            return Err(Refusal::NotSingle { trust: terms.trust });
        }
        require_few(lists.len())?;
        let deal = terms.id();
        self.known(deal)?;
        require_until(now, terms.deadlines().settle)?;
        let mut events = Vec::new();
        for list in lists {
            events.extend(self.settle_list(terms, deal, list, sender)?);
        }
        Ok(events)
    }

    fn settle_list(
        &mut self,
        terms: &DealTerms,
        deal: DealId,
        list: &List,
        sender: Address,
    ) -> Result<Option<Event>, Refusal> {
        let length = list.entries.len();
        if length == 0 || !length.is_multiple_of(ENTRY_BYTES) || length > MAX_ENTRIES * ENTRY_BYTES {
            let length = U256::from(length);
            return Err(Refusal::BadListLength { length });
        }
        if list.signer != Some(list.worker.get()) {
            let statement = SingleResults { deal: deal.get(), root: keccak256(&list.entries) };
            return Err(Refusal::BadSignature { signer: list.worker.get(), digest: self.domain.digest(&statement) });
        }
        if sender != terms.operator {
            self.require_assigned(terms, deal, list)?;
        }
        let bond = AssetId::new(terms.pool).and_then(|pool| self.bond_of(pool, list.worker));
        let Some(bond) = bond.filter(|bond| bond.covers(terms)) else {
            return Ok(Some(Event::ListSkipped { deal, worker: list.worker }));
        };
        let mut kept = Vec::new();
        let mut previous = None;
        for entry in list.entries.as_chunks::<ENTRY_BYTES>().0 {
            let (index, digest) = read_entry(terms, entry, previous)?;
            previous = Some(index);
            if self.end(deal, index - terms.first) {
                self.pay(terms, &payout::single(terms, digest, bond.owner), 1);
                self.owe(terms, deal.task(index), digest);
                kept.extend_from_slice(entry);
            }
        }
        Ok((!kept.is_empty()).then_some(Event::SinglesSettled { deal, worker: list.worker, entries: kept }))
    }

    /// Each entry has the operator's word that this worker may run the task.
    fn require_assigned(&self, terms: &DealTerms, deal: DealId, list: &List) -> Result<(), Refusal> {
        let entries = list.entries.as_chunks::<ENTRY_BYTES>().0;
        let needed = entries.len() * SIGNATURE_BYTES;
        if list.assignments.bytes != needed {
            return Err(Refusal::BadAssignmentsLength {
                length: U256::from(list.assignments.bytes),
                needed: U256::from(needed),
            });
        }
        for (place, entry) in entries.iter().enumerate() {
            let signer = list.assignments.signers.get(place).copied().flatten();
            if signer != Some(terms.operator) {
                let assignment = Assignment { task: deal.task(index_of(entry)).get(), worker: list.worker.get() };
                return Err(Refusal::BadSignature { signer: terms.operator, digest: self.domain.digest(&assignment) });
            }
        }
        Ok(())
    }

    pub(super) fn decline(
        &mut self,
        terms: &DealTerms,
        indexes: &[u32],
        sender: Address,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        if sender != terms.operator {
            return Err(Refusal::NotOperator { sender, operator: OperatorAddr::new(terms.operator) });
        }
        require_few(indexes.len())?;
        let deal = terms.id();
        self.known(deal)?;
        require_until(now, terms.deadlines().close)?;
        let payout = payout::declined(terms, now);
        let mut declined = Vec::new();
        for index in indexes.iter().copied() {
            require_inside(terms, index)?;
            let offset = index - terms.first;
            // What is closed waits for its settlement, or for the claim.
            if !self.known(deal)?.closed.contains(&offset) && self.end(deal, offset) {
                self.pay(terms, &payout, 1);
                declined.push(index);
            }
        }
        if declined.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Event::TasksDeclined { deal, indexes: declined, stake_returned: now <= terms.stake_returns_until() }])
    }

    pub(super) fn claim(&mut self, terms: &DealTerms, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let deal = terms.id();
        let tasks = self.known(deal)?.open;
        if tasks == 0 {
            return Err(Refusal::NothingOpen { deal });
        }
        let deadline = terms.deadlines().settle;
        if now <= deadline {
            return Err(Refusal::TooEarly { deadline });
        }
        let payout = payout::claimed(terms);
        self.pay(terms, &payout, tasks);
        let kept = self.deals.get_mut(&deal).expect("it is known");
        (kept.open, kept.claimed) = (0, true);
        Ok(vec![Event::DealClaimed { deal, tasks }])
    }

    pub(super) fn known(&self, deal: DealId) -> Result<&Deal, Refusal> {
        self.deals.get(&deal).ok_or(Refusal::UnknownDeal { deal })
    }

    /// Ends a task; false if it had ended before.
    pub(super) fn end(&mut self, deal: DealId, offset: u32) -> bool {
        let kept = self.deals.get_mut(&deal).expect("it is known");
        let now = !kept.has_ended(offset) && kept.ended.insert(offset);
        kept.open -= u32::from(now);
        now
    }

    /// Moves what so many tasks had locked, which all ended in this way.
    pub(super) fn pay(&mut self, terms: &DealTerms, payout: &Payout, tasks: u32) {
        let all = |one: Amount| one.checked_mul(tasks).expect("the deal locked as much for all its tasks");
        let pool_owner = AccountAddr::new(terms.poolOwner);
        self.unlock(AccountAddr::new(terms.payer), all(terms.price()));
        self.unlock(pool_owner, all(Amount::new(terms.poolStake)));
        for (account, amount) in &payout.credits {
            self.credit(*account, all(*amount));
        }
        self.credit(pool_owner, all(payout.stake_returned));
        self.keep_back(all(payout.kept_back));
        self.burn(all(payout.burnt));
        self.burn(all(payout.stake_burnt));
        let credited = payout.credits.iter().map(|(_, amount)| *amount);
        let out: U256 = credited.chain([payout.kept_back, payout.burnt]).map(|part| U256::from(part.units())).sum();
        assert_eq!(amount(out), terms.price(), "what a task locked leaves it, no more and no less");
    }
}

fn require_few(items: usize) -> Result<(), Refusal> {
    if items > MAX_ITEMS {
        return Err(Refusal::BatchTooLarge { items: U256::from(items), max: U256::from(MAX_ITEMS) });
    }
    Ok(())
}

pub(super) fn require_until(now: Timestamp, deadline: Timestamp) -> Result<(), Refusal> {
    if now > deadline {
        return Err(Refusal::TooLate { deadline });
    }
    Ok(())
}

pub(super) fn require_inside(terms: &DealTerms, index: u32) -> Result<(), Refusal> {
    if terms.has(index) {
        return Ok(());
    }
    Err(Refusal::IndexOutside { index, first: terms.first, size: terms.size })
}

fn index_of(entry: &[u8; ENTRY_BYTES]) -> u32 {
    u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]])
}

/// Reads an entry, in the contract's order of checks.
fn read_entry(
    terms: &DealTerms,
    entry: &[u8; ENTRY_BYTES],
    previous: Option<u32>,
) -> Result<(u32, ResultDigest), Refusal> {
    let index = index_of(entry);
    if let Some(previous) = previous.filter(|previous| index <= *previous) {
        return Err(Refusal::IndexNotAscending { previous, index });
    }
    require_inside(terms, index)?;
    let digest = ResultDigest::new(B256::from_slice(&entry[4..])).ok_or(Refusal::NoDigest { index })?;
    Ok((index, digest))
}
