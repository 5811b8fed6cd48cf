//! What a match makes of four orders: terms, the id that they hash to, deadlines and locked amounts (ADR 0001, section 3).

use crate::{Amount, DealId, TaskId, Timestamp, amount::BPS};
use alloy_primitives::keccak256;
use alloy_sol_types::{SolValue, sol};
use thiserror::Error;

sol! {
    /// The terms of a deal. Whoever is owed keeps them: the contract stores only their hash's counters.
    #[derive(Debug, PartialEq, Eq)]
    struct DealTerms {
        bytes32 request;
        bytes32 pool;
        address appOwner; address datasetOwner; address poolOwner; address operator; address payer; address callback;
        uint128 appPrice; uint128 datasetPrice; uint128 poolPrice; uint128 poolStake; uint128 workerStake;
        uint16 operatorShareBps; uint32 parallel; uint32 duration; uint32 trust;
        uint32 first; uint32 size; uint64 start;
    }
}

/// An index that is not of the deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("task {index} is not of this deal, which has tasks {first} to {last}")]
pub struct OutsideDeal {
    /// The index asked for.
    pub index: u32,
    /// The deal's first index.
    pub first: u32,
    /// The deal's last index.
    pub last: u64,
}

/// The last seconds, all inclusive, of what may still happen to a deal's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// The operator closes, appends, declines until then.
    pub close: Timestamp,
    /// Assigned workers append to tasks never closed until then.
    pub append: Timestamp,
    /// Anyone settles until then; afterwards anyone claims.
    pub settle: Timestamp,
    /// Shares left out are opened until then.
    pub open: Timestamp,
    /// Lies and silence are punished until then.
    pub punish: Timestamp,
}

impl DealTerms {
    /// The deal's id.
    pub fn id(&self) -> DealId {
        DealId::new(keccak256(self.abi_encode()))
    }

    /// Whether `index` is one of its tasks.
    pub const fn has(&self, index: u32) -> bool {
        index >= self.first && index - self.first < self.size
    }

    /// The task at `index`.
    ///
    /// # Errors
    /// [`OutsideDeal`] if the deal has no such index.
    pub fn task(&self, index: u32) -> Result<TaskId, OutsideDeal> {
        if self.has(index) {
            Ok(self.id().task(index))
        } else {
            let last = (u64::from(self.first) + u64::from(self.size)).saturating_sub(1);
            Err(OutsideDeal { index, first: self.first, last })
        }
    }

    /// Its tasks' indexes.
    pub fn indexes(&self) -> impl Iterator<Item = u32> + use<> {
        let (first, size) = (self.first, self.size);
        (0..size).map_while(move |i| first.checked_add(i))
    }

    /// S = T·ceil(size/parallel), in seconds: the time that the pool needs for the whole bag.
    pub fn span_s(&self) -> u64 {
        u64::from(self.duration) * u64::from(self.size.div_ceil(self.parallel.max(1)))
    }

    /// Its deadlines.
    pub fn deadlines(&self) -> Deadlines {
        let after =
            |periods: u64| Timestamp::new(self.start).plus(self.span_s()).plus(periods * u64::from(self.duration));
        Deadlines { close: after(6), append: after(7), settle: after(9), open: after(10), punish: after(12) }
    }

    /// Until when a decline gives the pool's stake back.
    pub fn stake_returns_until(&self) -> Timestamp {
        Timestamp::new(self.start).plus(u64::from(self.duration))
    }

    /// What the payer locked for one task. The match refuses a sum past 2^128.
    pub fn price(&self) -> Amount {
        Amount::new(self.appPrice.saturating_add(self.datasetPrice).saturating_add(self.poolPrice))
    }

    /// The workers' part of an amount of the pool's price; the rest, rounding included, is the pool owner's.
    pub fn workers_pot(&self, of: Amount) -> Amount {
        of.less_bps(self.operatorShareBps.min(BPS))
    }

    /// Whether one worker's word settles a task.
    pub const fn is_single(&self) -> bool {
        self.trust <= 1
    }
}
