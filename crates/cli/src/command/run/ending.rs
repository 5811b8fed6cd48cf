//! How a deal's tasks ended, by the chain's own logs, and who was paid what.

use super::request::Matched;
use crate::{chain::Chain, exit::Exit, hint::Failure};
use alloy::{
    primitives::B256,
    rpc::types::{Filter, Log},
    sol_types::SolEvent as _,
};
use berth_chain::{bindings::berth::IBerth, convert};
use berth_protocol::{
    AccountAddr, Amount, AssetId, DealTerms, ResultDigest, WorkerAddr, ledger::Event, payout, single::SingleList,
};
use std::collections::{BTreeMap, HashMap};

/// The transaction that ended a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) transaction: B256,
    pub(crate) block: u64,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// Paid.
    Settled { worker: WorkerAddr, owner: AccountAddr, digest: ResultDigest },
    /// Given back by the operator.
    Declined { stake_returned: bool },
    /// Given back after the final deadline.
    Claimed,
}

/// One task's ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) how: How,
    pub(crate) at: Place,
}

/// All endings of a deal's tasks so far, by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endings(pub(crate) BTreeMap<u32, Ending>);

impl Endings {
    /// Reads them from the chain.
    pub(crate) async fn read(chain: &Chain, matched: &Matched) -> Result<Self, Failure> {
        let events = [
            IBerth::SinglesSettled::SIGNATURE_HASH,
            IBerth::TasksDeclined::SIGNATURE_HASH,
            IBerth::DealClaimed::SIGNATURE_HASH,
        ];
        let filter =
            Filter::new().address(chain.deployment.berth).event_signature(events.to_vec()).topic1(matched.deal.get());
        let logs = chain.logs(filter).await?;
        let mut endings = Self::default();
        let mut owners = HashMap::new();
        for log in &logs {
            endings.take(chain, matched, log, &mut owners).await?;
        }
        Ok(endings)
    }

    async fn take(
        &mut self,
        chain: &Chain,
        matched: &Matched,
        log: &Log,
        owners: &mut HashMap<WorkerAddr, AccountAddr>,
    ) -> Result<(), Failure> {
        let strange = |what: &str| {
            let message = format!("the chain says of deal {} what Berth does not understand: {what}", matched.deal);
            Failure::new(Exit::Error, "chain-log", message)
        };
        let (Some(transaction), Some(block)) = (log.transaction_hash, log.block_number) else {
            return Err(strange("a log without a block"));
        };
        let at = Place { transaction, block };
        match convert::event(&log.inner).map_err(|error| strange(&error.to_string()))? {
            Some(Event::SinglesSettled { worker, entries, .. }) => {
                let list = SingleList::decode(&matched.terms, &entries).map_err(|error| strange(&error.to_string()))?;
                let owner = match owners.get(&worker) {
                    Some(owner) => *owner,
                    None => {
                        let pool = AssetId::new(matched.terms.pool).ok_or_else(|| strange("a pool that is none"))?;
                        let bond = chain.read.bond(pool, worker).await?;
                        let owner = bond.ok_or_else(|| strange("a worker without an owner"))?.owner;
                        *owners.entry(worker).or_insert(owner)
                    }
                };
                for (index, digest) in list.entries() {
                    self.0.insert(*index, Ending { how: How::Settled { worker, owner, digest: *digest }, at });
                }
            }
            Some(Event::TasksDeclined { indexes, stake_returned, .. }) => {
                for index in indexes {
                    self.0.insert(index, Ending { how: How::Declined { stake_returned }, at });
                }
            }
            Some(Event::DealClaimed { .. }) => {
                // A claim ends whatever is open, and comes last.
                for index in matched.terms.indexes() {
                    self.0.entry(index).or_insert(Ending { how: How::Claimed, at });
                }
            }
            // The filter asks for nothing else.
            _ => {}
        }
        Ok(())
    }

    /// Whether every task has ended.
    pub(crate) fn are_complete(&self, terms: &DealTerms) -> bool {
        u32::try_from(self.0.len()).is_ok_and(|count| count == terms.size)
    }

    /// The gas of each task: its transaction's, shared by all tasks of this deal that it ended. A transaction may settle
    /// other deals too; then this deal's share is too large, never too small.
    pub(crate) async fn gas(&self, chain: &Chain) -> Result<BTreeMap<u32, u64>, Failure> {
        let mut by_transaction: BTreeMap<B256, Vec<u32>> = BTreeMap::new();
        for (index, ending) in &self.0 {
            by_transaction.entry(ending.at.transaction).or_default().push(*index);
        }
        let mut gas = BTreeMap::new();
        for (transaction, indexes) in by_transaction {
            let used = chain.receipt(transaction).await?.gas_used;
            for index in &indexes {
                gas.insert(*index, used / indexes.len() as u64);
            }
        }
        Ok(gas)
    }
}

/// A payment that an ending made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paid {
    pub(crate) account: AccountAddr,
    /// What the account is in this deal: an account may be several.
    pub(crate) roles: Vec<&'static str>,
    pub(crate) amount: Amount,
}

impl Ending {
    /// Who was paid what: the protocol's rules applied to the terms on chain.
    pub(crate) fn paid(&self, terms: &DealTerms) -> Vec<Paid> {
        let (payout, owner) = match &self.how {
            How::Settled { owner, digest, .. } => (payout::single(terms, *digest, *owner), Some(*owner)),
            How::Declined { stake_returned } => {
                // Only whether the stake came back matters of the time, and the log says that.
                let last = terms.stake_returns_until();
                let now = if *stake_returned { last } else { last.plus(1) };
                (payout::declined(terms, now), None)
            }
            How::Claimed => (payout::claimed(terms), None),
        };
        let paid = payout.credits.into_iter();
        paid.map(|(account, amount)| Paid { account, roles: roles(terms, owner, account), amount }).collect()
    }
}

fn roles(terms: &DealTerms, owner: Option<AccountAddr>, account: AccountAddr) -> Vec<&'static str> {
    let all = [
        (Some(AccountAddr::new(terms.appOwner)), "app owner"),
        (Some(AccountAddr::new(terms.datasetOwner)), "dataset owner"),
        (owner, "worker's owner"),
        (Some(AccountAddr::new(terms.poolOwner)), "pool owner"),
        (Some(AccountAddr::new(terms.payer)), "payer"),
    ];
    all.into_iter().filter(|(who, _)| *who == Some(account)).map(|(_, role)| role).collect()
}
