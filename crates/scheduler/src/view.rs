//! What planning looks at: one snapshot of the database, of who is connected, and of the chain's time. Nothing in it
//! changes while a plan is made.

mod library;
mod replicas;

use crate::{
    presence::{Presence, Seen},
    store::{
        self, Database,
        attempt::Outcome,
        bond::Bond,
        deal::Deal as Row,
        sending::{Kind, Sent},
        task::Row as TaskRow,
    },
};
use alloy::primitives::{Address, B256};
use berth_chain::{BlockRef, StoreError, outbox};
use berth_protocol::{
    DealId, DealTerms, ResultDigest, TaskId, Timestamp, WorkerAddr,
    single::{ENTRY_BYTES, SingleList},
    task::Task,
};
use berth_wire::{
    descriptor::Runtime,
    job::{Dataset, Image},
};
pub(crate) use library::Library;
#[cfg(test)]
pub(crate) use replicas::Hidden;
pub(crate) use replicas::{Record, Replicas, Round};
use sqlx::SqliteConnection;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use thiserror::Error;

/// A snapshot can't be taken.
#[derive(Debug, Error)]
pub(crate) enum ViewError {
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ViewError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// All that planning looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The chain's time: that of the last block whose events are in here.
    pub(crate) now: Timestamp,
    /// The wall clock, in milliseconds since 1970. Only for how long something has waited.
    pub(crate) now_ms: u64,
    /// The block of that time.
    pub(crate) block: u64,
    /// Deals with something left to do, the oldest first.
    pub(crate) deals: Vec<Deal>,
    /// Rounds with a task that has not ended, by their key.
    pub(crate) rounds: BTreeMap<String, Round>,
    /// What settlements left out, and nobody has opened.
    pub(crate) records: Vec<Record>,
    /// Everybody who has a bond in this pool.
    pub(crate) workers: BTreeMap<WorkerAddr, Worker>,
    /// Our transactions that are on their way.
    pub(crate) sendings: Vec<Sending>,
    /// Workers that have not acknowledged all their mail, and the number of their last letter.
    pub(crate) mail: Vec<(WorkerAddr, u64)>,
}

/// A deal with something left to do.
#[derive(Debug, Clone)]
pub(crate) struct Deal {
    pub(crate) id: DealId,
    /// As the deal's row has it.
    pub(crate) seq: u64,
    pub(crate) terms: Arc<DealTerms>,
    pub(crate) app: B256,
    pub(crate) requester: Address,
    /// Whether its tasks are there.
    pub(crate) opened: bool,
    pub(crate) work: Work,
    /// By index. Only those that have not ended.
    pub(crate) tasks: Vec<TaskState>,
    /// Signed lists that may be sent: of each entry, either the task has ended, or the worker's answer was checked.
    pub(crate) lists: Vec<CleanList>,
    /// Transactions that came to nothing: how many, and when the last one did.
    pub(crate) failures: BTreeMap<Kind, (u32, Timestamp)>,
}

/// What there is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    /// The requester has not put all of it into the store.
    Missing(String),
    /// No worker can ever run it.
    Impossible(String),
    /// It can be given out.
    Ready(Arc<Need>),
}

/// What a task asks of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) runtime: Runtime,
    pub(crate) image: Option<Image>,
    pub(crate) cpu_millis: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) network: bool,
    /// Whether inputs are to be fetched from elsewhere.
    pub(crate) elsewhere: bool,
    /// Whether its results are for one reader.
    pub(crate) sealed: bool,
    /// Software that has to be there.
    pub(crate) packages: Vec<String>,
    /// Data that have to be there.
    pub(crate) datasets: Vec<Dataset>,
    /// How many elements the bag has; `None`: it is no bag.
    pub(crate) elements: Option<usize>,
}

/// A task that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct TaskState {
    pub(crate) id: TaskId,
    pub(crate) index: u32,
    pub(crate) task: Task,
    pub(crate) since: Timestamp,
    pub(crate) since_ms: u64,
    /// The key of its close or settlement in the outbox, while that is on its way.
    pub(crate) settlement: Option<String>,
    /// Who was given it, in turn.
    pub(crate) tries: Vec<Try>,
    /// What only replicated tasks have.
    pub(crate) replicas: Replicas,
}

/// One worker's try at a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) worker: WorkerAddr,
    /// When it began, by the chain.
    pub(crate) since: Timestamp,
    /// Whether the worker has acknowledged it.
    pub(crate) received: bool,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) detail: Option<String>,
}

/// A list that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CleanList {
    pub(crate) worker: WorkerAddr,
    pub(crate) nth: u32,
    pub(crate) entries: Vec<(u32, ResultDigest)>,
}

/// A worker with a bond.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) bond: Bond,
    pub(crate) seen: Seen,
}

/// One of our transactions.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(crate) sent: Sent,
    pub(crate) fate: Fate,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is on its way.
    Pending,
    /// It will never do what it should.
    Failed(String),
    /// It is in a block whose events are in this view, but that may still go.
    Mined,
    /// It is in a block that stays.
    Final,
}

impl Deal {
    /// Whether a transaction of this kind is on its way.
    pub(crate) fn is_sending(&self, view: &View, kind: Kind) -> bool {
        view.sendings
            .iter()
            .any(|sending| sending.sent.deal == self.id && sending.sent.kind == kind && sending.fate == Fate::Pending)
    }
}

/// Where snapshots are taken.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) db: Database,
    pub(crate) presence: Arc<Presence>,
    pub(crate) library: Arc<Library>,
}

impl Viewer {
    /// Takes a snapshot. `tip` must have been read before: what is in the database then holds at least its events.
    pub(crate) async fn view(&self, tip: BlockRef) -> Result<View, ViewError> {
        let mut tx = self.db.read().await?;
        let rows = store::deal::going(&mut tx).await?;
        let mut tasks = by_deal(store::task::going(&mut tx).await?);
        let mut tries = tries(&mut tx).await?;
        let mut replicas = replicas::all(&mut tx).await?;
        let mut failures: HashMap<DealId, BTreeMap<Kind, (u32, Timestamp)>> = HashMap::new();
        for failed in store::sending::failures(&mut tx).await? {
            failures.entry(failed.deal).or_default().insert(failed.kind, (failed.count, failed.last));
        }
        let unwanted = store::unwanted::going(&mut tx).await?;
        let mut deals = Vec::with_capacity(rows.len());
        for row in &rows {
            let all = tasks.remove(&row.id).unwrap_or_default();
            let lists = lists(&mut tx, row, &all).await?;
            // While that costs the pool nothing, nobody is given it.
            let is_unwanted = unwanted.contains(&row.id) && tip.timestamp <= row.terms.stake_returns_until();
            let work = match is_unwanted {
                true => Work::Impossible("its requester wants it back".to_owned()),
                false => self.library.work(&mut tx, row).await?,
            };
            let tasks = all.into_iter().filter(|task| !task.task.phase().is_final());
            deals.push(Deal {
                id: row.id,
                seq: row.seq,
                terms: Arc::new(row.terms.clone()),
                app: row.app,
                requester: row.requester,
                opened: row.opened,
                work,
                tasks: tasks.map(|task| state(task, &mut tries, &mut replicas)).collect(),
                lists,
                failures: failures.remove(&row.id).unwrap_or_default(),
            });
        }
        let sendings = sendings(&mut tx, tip).await?;
        let rounds = replicas::rounds(&mut tx).await?;
        let records = replicas::records(&mut tx).await?;
        // Workers matter to deals only.
        let bonds = if rows.is_empty() { Vec::new() } else { store::bond::all(&mut tx).await? };
        let mail = store::mail::waiting(&mut tx).await?;
        tx.commit().await?;
        let presence = self.presence.snapshot();
        let workers = bonds.into_iter().map(|bond| (bond.worker, Worker { bond, seen: presence.of(bond.worker) }));
        Ok(View {
            now: tip.timestamp,
            now_ms: crate::clock::now_ms(),
            block: tip.number.get(),
            deals,
            rounds,
            records,
            workers: workers.collect(),
            sendings,
            mail,
        })
    }
}

fn by_deal(rows: Vec<TaskRow>) -> HashMap<DealId, Vec<TaskRow>> {
    let mut deals: HashMap<DealId, Vec<TaskRow>> = HashMap::new();
    for row in rows {
        deals.entry(row.deal).or_default().push(row);
    }
    deals
}

async fn tries(conn: &mut SqliteConnection) -> Result<HashMap<TaskId, Vec<Try>>, StoreError> {
    let mut tries: HashMap<TaskId, Vec<Try>> = HashMap::new();
    for attempt in store::attempt::going(conn).await? {
        tries.entry(attempt.task).or_default().push(Try {
            worker: attempt.worker,
            since: attempt.since,
            received: attempt.received,
            outcome: attempt.outcome,
            detail: attempt.detail,
        });
    }
    Ok(tries)
}

fn state(row: TaskRow, tries: &mut HashMap<TaskId, Vec<Try>>, replicas: &mut HashMap<TaskId, Replicas>) -> TaskState {
    TaskState {
        replicas: Replicas { asked: row.asked, ..replicas.remove(&row.id).unwrap_or_default() },
        id: row.id,
        index: row.index,
        task: row.task,
        since: row.since.at,
        since_ms: row.since.at_ms,
        settlement: row.settlement,
        tries: tries.remove(&row.id).unwrap_or_default(),
    }
}

/// The lists of a deal that may be sent, if some task waits for one.
async fn lists(conn: &mut SqliteConnection, deal: &Row, tasks: &[TaskRow]) -> Result<Vec<CleanList>, StoreError> {
    if !tasks.iter().any(|task| matches!(task.task, Task::Reported(_))) {
        return Ok(Vec::new());
    }
    clean_lists(conn, deal, tasks).await
}

/// The lists of a deal that may be sent.
pub(crate) async fn clean_lists(
    conn: &mut SqliteConnection,
    deal: &Row,
    tasks: &[TaskRow],
) -> Result<Vec<CleanList>, StoreError> {
    let ended: HashSet<u32> = tasks.iter().filter(|task| task.task.phase().is_final()).map(|task| task.index).collect();
    let checked: HashSet<(u32, WorkerAddr, ResultDigest)> = store::report::of_deal(conn, deal.id)
        .await?
        .into_iter()
        .map(|(index, report)| (index, report.worker, report.digest))
        .collect();
    let mut lists = Vec::new();
    for list in store::list::of_deal(conn, deal.id).await? {
        let entries = SingleList::decode(&deal.terms, &list.entries).map_err(|error| StoreError::Foreign {
            table: "list",
            what: format!("a list of {} entries that is none: {error}", list.entries.len() / ENTRY_BYTES),
        })?;
        let clean = entries
            .entries()
            .iter()
            .all(|(index, digest)| ended.contains(index) || checked.contains(&(*index, list.worker, *digest)));
        if clean {
            lists.push(CleanList { worker: list.worker, nth: list.nth, entries: entries.entries().to_vec() });
        }
    }
    Ok(lists)
}

async fn sendings(conn: &mut SqliteConnection, tip: BlockRef) -> Result<Vec<Sending>, StoreError> {
    let mut sendings = Vec::new();
    for sent in store::sending::sent(conn).await? {
        let outcome = outbox::outcome(conn, &outbox::Key::new(&sent.key)).await?;
        sendings.push(Sending { fate: fate(outcome, tip), sent });
    }
    Ok(sendings)
}

fn fate(outcome: Option<outbox::Outcome>, tip: BlockRef) -> Fate {
    let refused = |revert: &[u8]| Fate::Failed(berth_chain::refusal::Revert::decode(revert).to_string());
    match outcome {
        None => Fate::Failed("it is not in the outbox any more".to_owned()),
        Some(outbox::Outcome::Queued | outbox::Outcome::InFlight { .. }) => Fate::Pending,
        Some(outbox::Outcome::Refused { revert }) => refused(&revert),
        Some(outbox::Outcome::Mined(mined)) => match mined.failed {
            Some(revert) => refused(&revert),
            None if mined.block > tip.number => Fate::Pending,
            None if mined.is_final => Fate::Final,
            None => Fate::Mined,
        },
    }
}
