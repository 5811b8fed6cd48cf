//! What stands behind workers.

use super::{Bond, Event, Ledger, Refusal, accounts::amount};
use crate::{
    AccountAddr, Amount, AssetId, AssetKind, DealTerms, Timestamp, WorkerAddr, consensus::slashed_score,
    domain::Enlistment,
};
use alloy_primitives::{Address, B256, U256};

/// One worker's bond holds at most 2^96 - 1, bonded and unbonding together.
pub(super) const MAX_BOND: u128 = (1 << 96) - 1;

impl Ledger {
    pub(super) fn bond(
        &mut self,
        sender: Address,
        (pool, worker): (B256, WorkerAddr),
        more: u128,
        enlistment: Option<Address>,
    ) -> Result<Vec<Event>, Refusal> {
        let mut events = Vec::new();
        let known = AssetId::new(pool).and_then(|pool| self.bond_of(pool, worker));
        let (pool, mut kept) = match (AssetId::new(pool), known) {
            (Some(pool), Some(kept)) => (pool, kept),
            _ => self.enlist(sender, (pool, worker), enlistment, &mut events)?,
        };
        require_owner(sender, Some(kept))?;
        let bonded = U256::from(kept.bonded.units()) + U256::from(more);
        let bond = bonded + U256::from(kept.unbonding.units());
        if bond > U256::from(MAX_BOND) {
            return Err(Refusal::BondTooLarge { bond });
        }
        let added = self.debit(kept.owner, U256::from(more))?;
        kept.bonded = amount(bonded);
        self.bonds.insert((pool, worker), kept);
        events.push(Event::Bonded { pool, worker, amount: added });
        Ok(events)
    }

    /// Makes the sender the owner of a worker that has none.
    fn enlist(
        &self,
        sender: Address,
        (pool, worker): (B256, WorkerAddr),
        enlistment: Option<Address>,
        events: &mut Vec<Event>,
    ) -> Result<(AssetId, Bond), Refusal> {
        let id = AssetId::new(pool)
            .filter(|pool| pool.kind() == AssetKind::Pool)
            .ok_or(Refusal::WrongKind { asset: pool, wanted: AssetKind::Pool as u8 })?;
        if self.owner_of(pool).is_none() {
            return Err(Refusal::UnknownAsset { asset: pool });
        }
        if enlistment != Some(worker.get()) {
            let owner = sender;
            return Err(Refusal::BadSignature {
                signer: worker.get(),
                digest: self.domain.digest(&Enlistment { pool, owner }),
            });
        }
        let owner = AccountAddr::new(sender);
        events.push(Event::WorkerEnlisted { pool: id, worker, owner });
        let (none, release_at) = (Amount::ZERO, Timestamp::new(0));
        let fresh = Bond { owner, bonded: none, unbonding: none, release_at, score: 0 };
        Ok((id, fresh))
    }

    pub(super) fn unbond(
        &mut self,
        sender: Address,
        (pool, worker): (B256, WorkerAddr),
        less: u128,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let (pool, mut kept) = self.owned(sender, (pool, worker))?;
        let (bonded, less) = (kept.bonded, Amount::new(less));
        kept.bonded = bonded
            .checked_sub(less)
            .ok_or(Refusal::BondTooSmall { bonded: U256::from(bonded.units()), needed: U256::from(less.units()) })?;
        kept.unbonding = kept.unbonding.checked_add(less).expect("both together are at most 2^96 - 1");
        kept.release_at = now.plus(self.bounds.unbond_delay_s());
        self.bonds.insert((pool, worker), kept);
        Ok(vec![Event::Unbonded { pool, worker, amount: less, release_at: kept.release_at }])
    }

    pub(super) fn withdraw_bond(
        &mut self,
        sender: Address,
        (pool, worker): (B256, WorkerAddr),
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let (pool, mut kept) = self.owned(sender, (pool, worker))?;
        if kept.unbonding == Amount::ZERO {
            return Err(Refusal::NothingUnbonding { pool: pool.get(), worker });
        }
        if now < kept.release_at {
            return Err(Refusal::BondHeld { release_at: kept.release_at });
        }
        let amount = kept.unbonding;
        kept.unbonding = Amount::ZERO;
        self.bonds.insert((pool, worker), kept);
        self.credit(kept.owner, amount);
        Ok(vec![Event::BondWithdrawn { pool, worker, amount }])
    }

    /// The owner of a worker whose bond covers the deal, if it does, and the worker's score.
    pub(super) fn standing_of(&self, terms: &DealTerms, worker: WorkerAddr) -> (Option<AccountAddr>, u32) {
        let bond = AssetId::new(terms.pool).and_then(|pool| self.bond_of(pool, worker));
        let owner = bond.filter(|bond| bond.covers(terms)).map(|bond| bond.owner);
        (owner, bond.map_or(0, |bond| bond.score))
    }

    /// A worker's score rises, up to the highest that there is.
    pub(super) fn raise_score(&mut self, pool: B256, worker: WorkerAddr, by: u32) {
        let kept = AssetId::new(pool).and_then(|pool| self.bonds.get_mut(&(pool, worker)));
        if let Some(bond) = kept {
            bond.score = bond.score.saturating_add(by);
        }
    }

    /// Burns a worker's stake, from what covers deals first, and a third of its score; gives what was burnt, and what
    /// is left of the score.
    pub(super) fn slash(&mut self, terms: &DealTerms, worker: WorkerAddr) -> (Amount, u32) {
        let kept = AssetId::new(terms.pool).and_then(|pool| self.bonds.get_mut(&(pool, worker)));
        let Some(bond) = kept else {
            return (Amount::ZERO, 0);
        };
        let (bonded, unbonding) = (bond.bonded.units(), bond.unbonding.units());
        let slashed = (bonded + unbonding).min(terms.workerStake);
        let first = slashed.min(bonded);
        (bond.bonded, bond.unbonding) = (Amount::new(bonded - first), Amount::new(unbonding - (slashed - first)));
        bond.score = slashed_score(bond.score);
        let score = bond.score;
        self.burn(Amount::new(slashed));
        (Amount::new(slashed), score)
    }

    /// The sender's own bond for a worker.
    fn owned(&self, sender: Address, (pool, worker): (B256, WorkerAddr)) -> Result<(AssetId, Bond), Refusal> {
        let found = AssetId::new(pool).and_then(|pool| self.bond_of(pool, worker).map(|bond| (pool, bond)));
        require_owner(sender, found.map(|(_, bond)| bond))?;
        found.ok_or(Refusal::NotBondOwner { sender, owner: Address::ZERO })
    }
}

fn require_owner(sender: Address, bond: Option<Bond>) -> Result<(), Refusal> {
    let owner = bond.map_or(Address::ZERO, |bond| bond.owner.get());
    if owner == sender { Ok(()) } else { Err(Refusal::NotBondOwner { sender, owner }) }
}
