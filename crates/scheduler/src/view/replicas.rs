//! Of replicated tasks: hidden answers, the rounds that took them, and what was left out.

use crate::store::{
    self,
    commitment::Commitment,
    pair::Pair,
    sending::{self, Kind},
};
use berth_chain::StoreError;
use berth_protocol::{
    DealId, DealTerms, ResultDigest, TaskId, Timestamp, WorkerAddr,
    round::{ClosedRound, LeftOut},
};
use sqlx::SqliteConnection;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// What several workers have answered to a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replicas {
    /// Hidden answers, by worker.
    pub(crate) commitments: Vec<Hidden>,
    /// What a round, and appends, have taken of them, in the order of the task's chain.
    pub(crate) pairs: Vec<Pair>,
    /// The key of its round.
    pub(crate) round: Option<String>,
    /// Results that are in the store, one of each worker's that has handed one in.
    pub(crate) delivered: Vec<ResultDigest>,
    /// Whether its workers were asked to agree that there is no agreement.
    pub(crate) asked: bool,
}

/// A hidden answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) answer: Commitment,
    /// A round or an append has taken others under the same seed: its worker will answer again under a fresh one.
    pub(crate) is_spent: bool,
}

/// A round with a task that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    /// Its root, and what it closes.
    pub(crate) closed: Arc<ClosedRound>,
    /// The block that closed it.
    pub(crate) block: Option<u64>,
    /// Since when its workers know; wall clock.
    pub(crate) shown_ms: Option<u64>,
}

/// What a settlement left out, and nobody has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) deal: DealId,
    pub(crate) terms: Arc<DealTerms>,
    pub(crate) left_out: Vec<LeftOut>,
    /// The entries against whose workers we have evidence.
    pub(crate) entries: Vec<u8>,
    /// Punishments that came to nothing: how many, and when the last one did.
    pub(crate) failures: Option<(u32, Timestamp)>,
}

/// What there is of all replicated tasks that have not ended.
pub(super) async fn all(conn: &mut SqliteConnection) -> Result<HashMap<TaskId, Replicas>, StoreError> {
    let mut all: HashMap<TaskId, Replicas> = HashMap::new();
    let spent: HashSet<(WorkerAddr, _)> = store::pair::spent(conn).await?.into_iter().collect();
    for answer in store::commitment::going(conn).await? {
        let is_spent = spent.contains(&(answer.worker, answer.seed_hash));
        all.entry(answer.task).or_default().commitments.push(Hidden { answer, is_spent });
    }
    for pair in store::pair::going(conn).await? {
        all.entry(pair.task).or_default().pairs.push(pair);
    }
    for (task, round) in store::round::members(conn).await? {
        all.entry(task).or_default().round = Some(round);
    }
    for (task, digest) in store::report::going(conn).await? {
        all.entry(task).or_default().delivered.push(digest);
    }
    Ok(all)
}

pub(super) async fn rounds(conn: &mut SqliteConnection) -> Result<BTreeMap<String, Round>, StoreError> {
    let rows = store::round::going(conn).await?.into_iter();
    let round = |row: store::round::Round| {
        let block = row.closed.map(|(_, block)| block.get());
        (row.key, Round { closed: Arc::new(row.round), block, shown_ms: row.shown_ms })
    };
    Ok(rows.map(round).collect())
}

pub(super) async fn records(conn: &mut SqliteConnection) -> Result<Vec<Record>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    let open = store::left_out::open(conn).await?;
    if open.is_empty() {
        return Ok(records);
    }
    let failures = sending::failures(conn).await?;
    for entry in open {
        if let Some(last) = records.last_mut()
            && last.deal == entry.deal
            && last.left_out == entry.record
        {
            last.entries.push(entry.entry);
            continue;
        }
        let Some(deal) = store::deal::get(conn, entry.deal).await? else { continue };
        let failed = failures.iter().find(|failed| failed.deal == entry.deal && failed.kind == Kind::Punish);
        records.push(Record {
            deal: entry.deal,
            terms: Arc::new(deal.terms),
            left_out: entry.record,
            entries: vec![entry.entry],
            failures: failed.map(|failed| (failed.count, failed.last)),
        });
    }
    Ok(records)
}
