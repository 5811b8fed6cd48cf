//! How a deal's tasks ended, by the chain's own logs, and who was paid what.

use super::request::Matched;
use crate::{chain::Chain, exit::Exit, hint::Failure};
use alloy::{
    primitives::{B256, U256},
    rpc::types::{Filter, Log},
    sol_types::SolEvent as _,
};
use berth_chain::{bindings::berth::IBerth, convert};
use berth_protocol::{
    AccountAddr, Amount, AssetId, DealTerms, ResultDigest, RoundId, WorkerAddr,
    consensus::{share, weight},
    ledger::Event,
    payout::{self, Payout},
    round::{EndedPair, EndedTask, LeftOut, Standing, Verdict},
    single::SingleList,
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
    Settled { digest: ResultDigest, by: By, close: Option<Close> },
    /// Given back by the operator.
    Declined { stake_returned: bool },
    /// Given back after the final deadline.
    Claimed,
}

/// The transaction that closed a task's answers, with so many others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) at: Place,
    pub(super) tasks: u32,
}

/// Whose word settled a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// One worker's.
    One { worker: WorkerAddr, owner: AccountAddr },
    /// That of those that agree.
    Many(Vec<Part>),
}

/// A worker's part in a replicated task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) worker: WorkerAddr,
    pub(crate) owner: AccountAddr,
    /// Whether it opened its answer, and was paid for it.
    pub(crate) standing: Standing,
    /// Its share of the workers' pot.
    pub(super) share: u8,
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
            IBerth::TasksSettled::SIGNATURE_HASH,
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
                    let how = How::Settled { digest: *digest, by: By::One { worker, owner }, close: None };
                    self.0.insert(*index, Ending { how, at });
                }
            }
            Some(Event::TasksSettled { round, tasks, workers, left_out, .. }) => {
                let close = closed(chain, round).await?;
                // The settlement weighs by the scores before it.
                let mut bonds = Vec::with_capacity(workers.len());
                for payee in &workers {
                    let pool = matched.terms.pool;
                    bonds.push(chain.bond_at(pool, payee.worker.get(), block.saturating_sub(1)).await?);
                }
                for task in &tasks {
                    let part = |pair: &EndedPair| {
                        let rank = usize::from(pair.rank);
                        let (payee, (owner, score)) = (workers.get(rank)?, bonds.get(rank)?);
                        Some(Part::of(task, pair, (payee.worker, *owner, *score), &left_out))
                    };
                    let parts = task.pairs.iter().map(part).collect::<Option<Vec<_>>>();
                    let parts = parts.ok_or_else(|| strange("a pair of no worker"))?;
                    let how = How::Settled { digest: task.digest, by: By::Many(parts), close };
                    self.0.insert(task.index, Ending { how, at });
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

    /// The gas of closing each task: its round's, shared by all tasks of the round.
    pub(crate) async fn close_gas(&self, chain: &Chain) -> Result<BTreeMap<u32, u64>, Failure> {
        let mut used: HashMap<B256, u64> = HashMap::new();
        let mut gas = BTreeMap::new();
        for (index, ending) in &self.0 {
            let How::Settled { close: Some(close), .. } = &ending.how else { continue };
            let transaction = close.at.transaction;
            let used = match used.get(&transaction) {
                Some(used) => *used,
                None => *used.entry(transaction).or_insert(chain.receipt(transaction).await?.gas_used),
            };
            gas.insert(*index, used / u64::from(close.tasks.max(1)));
        }
        Ok(gas)
    }
}

/// Where a round was closed; nothing for a task that never was.
async fn closed(chain: &Chain, round: RoundId) -> Result<Option<Close>, Failure> {
    let filter = Filter::new()
        .address(chain.deployment.berth)
        .event_signature(IBerth::RoundClosed::SIGNATURE_HASH)
        .topic1(round.get());
    let logs = chain.logs(filter).await?;
    Ok(logs.last().and_then(|log| {
        let at = Place { transaction: log.transaction_hash?, block: log.block_number? };
        let Ok(Some(Event::RoundClosed { round, .. })) = convert::event(&log.inner) else { return None };
        Some(Close { at, tasks: round.leaves() })
    }))
}

/// A payment that an ending made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paid {
    pub(crate) account: AccountAddr,
    /// What the account is in this deal: an account may be several.
    pub(crate) roles: Vec<&'static str>,
    pub(crate) amount: Amount,
}

impl Part {
    fn of(
        task: &EndedTask,
        pair: &EndedPair,
        (worker, owner, score): (WorkerAddr, AccountAddr, u32),
        left_out: &[LeftOut],
    ) -> Self {
        let entry = left_out.iter().find(|entry| entry.index == task.index && entry.worker == worker);
        let by_score = u8::try_from(share(weight(score))).unwrap_or(u8::MAX);
        let (standing, share) = match (pair.paid, entry) {
            (true, _) => (Standing::Opened, by_score),
            (false, Some(entry)) => (Standing::LeftOut, entry.share),
            (false, None) => (Standing::Refused, by_score),
        };
        Self { worker, owner, standing, share }
    }

    /// What its owner was credited, where the shares of all come to `total`.
    pub(crate) fn earned(&self, terms: &DealTerms, digest: ResultDigest, total: u16) -> Amount {
        match self.standing {
            Standing::Opened => payout::share(terms, digest, self.share, total),
            Standing::Refused | Standing::LeftOut => Amount::ZERO,
        }
    }

    /// In a word.
    pub(crate) const fn describe(&self) -> &'static str {
        match self.standing {
            Standing::Opened => "agrees",
            Standing::Refused => "unbonded",
            Standing::LeftOut => "left out",
        }
    }
}

impl By {
    /// All that have part in it.
    pub(crate) fn parts(&self) -> &[Part] {
        match self {
            Self::One { .. } => &[],
            Self::Many(parts) => parts,
        }
    }

    /// All shares of the workers' pot together.
    pub(crate) fn shares(&self) -> u16 {
        self.parts().iter().map(|part| u16::from(part.share)).sum()
    }

    /// Who stands for it, in a word.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::One { worker, .. } => worker.get().to_string(),
            Self::Many(parts) => {
                let agree = parts.iter().filter(|part| part.standing == Standing::Opened).count();
                format!("{agree} of {} agree", parts.len())
            }
        }
    }

    fn payout(&self, terms: &DealTerms, digest: ResultDigest) -> Payout {
        match self {
            Self::One { owner, .. } => payout::single(terms, digest, *owner),
            Self::Many(parts) => {
                let pairs: Vec<_> = parts.iter().map(|part| (part.standing, part.share)).collect();
                let total = self.shares();
                // The chain has weighed them; only the shares matter.
                let verdict = Verdict { group: U256::ZERO, dissent: U256::ZERO, accepted: true, pairs, total };
                let owners: Vec<_> = parts.iter().map(|part| Some(part.owner)).collect();
                payout::replicated(terms, digest, &verdict, &owners)
            }
        }
    }

    fn is_owner(&self, account: AccountAddr) -> bool {
        match self {
            Self::One { owner, .. } => *owner == account,
            Self::Many(parts) => parts.iter().any(|part| part.owner == account),
        }
    }
}

impl Ending {
    /// Who was paid what: the protocol's rules applied to the terms on chain.
    pub(crate) fn paid(&self, terms: &DealTerms) -> Vec<Paid> {
        let (payout, by) = match &self.how {
            How::Settled { digest, by, .. } => (by.payout(terms, *digest), Some(by)),
            How::Declined { stake_returned } => {
                // Only whether the stake came back matters of the time, and the log says that.
                let last = terms.stake_returns_until();
                let now = if *stake_returned { last } else { last.plus(1) };
                (payout::declined(terms, now), None)
            }
            How::Claimed => (payout::claimed(terms), None),
        };
        let paid = payout.credits.into_iter();
        paid.map(|(account, amount)| Paid { account, roles: roles(terms, by, account), amount }).collect()
    }
}

fn roles(terms: &DealTerms, by: Option<&By>, account: AccountAddr) -> Vec<&'static str> {
    let all = [
        (account.get() == terms.appOwner, "app owner"),
        (account.get() == terms.datasetOwner, "dataset owner"),
        (by.is_some_and(|by| by.is_owner(account)), "worker's owner"),
        (account.get() == terms.poolOwner, "pool owner"),
        (account.get() == terms.payer, "payer"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, role)| role).collect()
}
