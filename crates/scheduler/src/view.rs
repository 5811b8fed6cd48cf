//! What planning looks at: one snapshot of the database, of who is connected, and of the chain's time. Nothing in it
//! changes while a plan is made.

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
    DealId, DealTerms, JobHash, ResultDigest, TaskId, Timestamp, WorkerAddr,
    single::{ENTRY_BYTES, SingleList},
    task::Task,
};
use berth_wire::{
    descriptor::{Descriptor, Runtime, Sharing},
    job::{Image, Job},
    manifest::Content,
};
#[cfg(test)]
pub(crate) use replicas::Hidden;
pub(crate) use replicas::{Record, Replicas, Round};
use sqlx::SqliteConnection;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
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

/// Jobs and descriptors that were read once: they never change, since their names are their hashes.
#[derive(Debug, Default)]
pub(crate) struct Library {
    jobs: Mutex<HashMap<JobHash, Arc<Job>>>,
    apps: Mutex<HashMap<B256, Arc<Result<Descriptor, String>>>>,
    /// Jobs that their requesters have put with all inputs, which stay as long as a deal names the job.
    complete: Mutex<HashSet<(JobHash, Address)>>,
}

/// How many parsed jobs are kept.
const LIBRARY_JOBS: usize = 4_096;

impl Library {
    async fn job(&self, conn: &mut SqliteConnection, hash: JobHash) -> Result<Option<Arc<Job>>, StoreError> {
        if let Some(job) = self.jobs.lock().expect("nobody panics with it").get(&hash) {
            return Ok(Some(job.clone()));
        }
        let Some(document) = store::job::document(conn, hash).await? else { return Ok(None) };
        let job = Job::from_bytes(&document)
            .map_err(|error| StoreError::Foreign { table: "job", what: format!("a bad document: {error}") })?;
        let job = Arc::new(job);
        let mut jobs = self.jobs.lock().expect("nobody panics with it");
        if jobs.len() >= LIBRARY_JOBS {
            jobs.clear();
        }
        jobs.insert(hash, job.clone());
        Ok(Some(job))
    }

    async fn app(
        &self,
        conn: &mut SqliteConnection,
        app: B256,
    ) -> Result<Option<Arc<Result<Descriptor, String>>>, StoreError> {
        if let Some(found) = self.apps.lock().expect("nobody panics with it").get(&app) {
            return Ok(Some(found.clone()));
        }
        let Some(text) = store::app::descriptor(conn, app).await? else { return Ok(None) };
        let parsed = Arc::new(Descriptor::from_bytes(text.as_bytes()).map_err(|error| error.to_string()));
        self.apps.lock().expect("nobody panics with it").insert(app, parsed.clone());
        Ok(Some(parsed))
    }

    /// What there is to run for a deal.
    pub(crate) async fn work(&self, conn: &mut SqliteConnection, deal: &Row) -> Result<Work, ViewError> {
        if let Some(reason) = unsupported(deal) {
            return Ok(Work::Impossible(reason.to_owned()));
        }
        let about = (deal.job_hash, deal.requester);
        let is_complete = self.complete.lock().expect("nobody panics with it").contains(&about);
        // Both names are on chain: somebody else's document is not there for this deal.
        let is_own = is_complete || store::job::is_by(conn, deal.job_hash, deal.requester).await?;
        let job = if is_own { self.job(conn, deal.job_hash).await? } else { None };
        let Some(job) = job else {
            return Ok(Work::Missing(format!("the job document {}", deal.job_hash)));
        };
        let Some(app) = self.app(conn, deal.app).await? else {
            return Ok(Work::Impossible(format!("the app {} has no descriptor on this chain", deal.app)));
        };
        let need = match app.as_ref() {
            Ok(descriptor) => need(descriptor, &job),
            Err(error) => Err(format!("the app's descriptor can't be read: {error}")),
        };
        let need = match need {
            Ok(need) => need,
            Err(reason) => return Ok(Work::Impossible(reason)),
        };
        if is_complete {
            return Ok(Work::Ready(Arc::new(need)));
        }
        match missing_input(conn, &job, deal.requester).await? {
            Some(name) => Ok(Work::Missing(format!("the input `{name}`"))),
            None => {
                self.complete.lock().expect("nobody panics with it").insert(about);
                Ok(Work::Ready(Arc::new(need)))
            }
        }
    }
}

/// An input that is not to be fetched elsewhere, and that the requester has not put.
async fn missing_input(
    conn: &mut SqliteConnection,
    job: &Job,
    requester: Address,
) -> Result<Option<String>, StoreError> {
    for input in job.inputs.iter().filter(|input| input.url.is_none()) {
        let content = Content { sha256: input.sha256, size: input.size };
        if !store::holding::has(conn, requester, content).await? {
            return Ok(Some(input.name.clone()));
        }
    }
    Ok(None)
}

/// What this scheduler can't do for anybody.
fn unsupported(deal: &Row) -> Option<&'static str> {
    if !deal.dataset.is_zero() { Some("this pool's workers have no datasets") } else { None }
}

/// What a job under an app asks of a worker.
fn need(app: &Descriptor, job: &Job) -> Result<Need, String> {
    let Descriptor::App { runtime, sharing, minimum, .. } = app else {
        return Err("the deal's app is no app".to_owned());
    };
    let image = match (sharing, app.image(), &job.image) {
        (Sharing::Shared, None, Some(image)) => Some(image.clone()),
        (_, Some(image), None) => Some(image),
        (Sharing::Shared, None, None) => return Err("the app is shared, and the job names no image".to_owned()),
        (_, Some(_), Some(_)) | (Sharing::Distributed, None, Some(_)) => {
            return Err("the app has its own image, and the job names another".to_owned());
        }
        (Sharing::Distributed, None, None) => return Err("the app has no image".to_owned()),
    };
    Ok(Need {
        runtime: *runtime,
        image,
        cpu_millis: job.limits.cpu_millis.max(minimum.cpu_millis),
        memory_bytes: job.limits.memory_bytes.max(minimum.memory_bytes),
        disk_bytes: job.limits.disk_bytes.max(minimum.disk_bytes),
        network: job.limits.network,
        elements: (!job.each.is_empty()).then_some(job.each.len()),
    })
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
