//! `task`: where each run stands. Every change goes through [`protocol's table`](berth_protocol::task).

use super::{Stamp, address, foreign, hash, signed, small, unsigned};
use alloy::primitives::{Address, B256};
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{
    DealId, DealTerms, ResultDigest, TaskId, Timestamp, WorkerAddr,
    task::{Answer, Event, Phase, Replicated, Task},
};
use berth_wire::worker::Stage;
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "task";

/// The transaction that ended a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) tx: B256,
    pub(crate) block: BlockNumber,
}

/// A task and what is kept about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: TaskId,
    pub(crate) deal: DealId,
    pub(crate) index: u32,
    pub(crate) task: Task,
    pub(crate) stage: Option<Stage>,
    /// Since when it is in its phase.
    pub(crate) since: Stamp,
    /// The key of its close or settlement in the outbox, while that is on its way.
    pub(crate) settlement: Option<String>,
    /// Why its last transaction came to nothing.
    pub(crate) reason: Option<String>,
    /// Whether its workers were asked to agree that there is no agreement.
    pub(crate) asked: bool,
    pub(crate) end: Option<End>,
}

#[derive(FromRow)]
struct Columns {
    id: Vec<u8>,
    deal: Vec<u8>,
    idx: i64,
    replicated: i64,
    phase: String,
    worker: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
    stage: Option<String>,
    since: i64,
    since_ms: i64,
    settlement: Option<String>,
    reason: Option<String>,
    asked: i64,
    end_tx: Option<Vec<u8>>,
    end_block: Option<i64>,
}

impl TryFrom<Columns> for Row {
    type Error = StoreError;

    fn try_from(row: Columns) -> Result<Self, StoreError> {
        let phase: Phase = row.phase.parse().map_err(|_| foreign(TABLE, row.phase.clone()))?;
        let worker = row.worker.as_deref().map(|worker| address(TABLE, worker)).transpose()?;
        let digest = row.digest.as_deref().map(|digest| hash(TABLE, digest)).transpose()?;
        let end = match (row.end_tx, row.end_block) {
            (Some(tx), Some(block)) => {
                Some(End { tx: hash(TABLE, &tx)?, block: BlockNumber::new(unsigned(TABLE, block)?) })
            }
            _ => None,
        };
        Ok(Self {
            id: TaskId::new(hash(TABLE, &row.id)?),
            deal: DealId::new(hash(TABLE, &row.deal)?),
            index: small(TABLE, row.idx)?,
            task: if row.replicated == 0 { state(phase, worker, digest)? } else { replicated(phase, digest)? },
            stage: row.stage.as_deref().map(stage).transpose()?,
            since: Stamp { at: Timestamp::new(unsigned(TABLE, row.since)?), at_ms: unsigned(TABLE, row.since_ms)? },
            settlement: row.settlement,
            reason: row.reason,
            asked: row.asked != 0,
            end,
        })
    }
}

fn state(phase: Phase, worker: Option<Address>, digest: Option<B256>) -> Result<Task, StoreError> {
    let worker = worker.map(WorkerAddr::new).ok_or_else(|| foreign(TABLE, format!("{phase} by nobody")));
    let answer = |worker: WorkerAddr| {
        let digest = digest.and_then(ResultDigest::new).ok_or_else(|| foreign(TABLE, format!("{phase} to nothing")))?;
        Ok::<_, StoreError>(Answer { worker, digest })
    };
    Ok(match phase {
        Phase::Open => Task::Open,
        Phase::Assigned => Task::Assigned(worker?),
        Phase::Reported => Task::Reported(answer(worker?)?),
        Phase::Settling => Task::Settling(answer(worker?)?),
        Phase::Settled => Task::Settled(answer(worker?)?),
        Phase::Declined => Task::Declined,
        Phase::Claimed => Task::Claimed,
        Phase::Committed | Phase::Closing | Phase::Closed | Phase::Revealed => {
            return Err(foreign(TABLE, format!("{phase} by one worker")));
        }
    })
}

fn replicated(phase: Phase, digest: Option<B256>) -> Result<Task, StoreError> {
    let digest =
        digest.and_then(ResultDigest::new).ok_or_else(|| foreign(TABLE, format!("{phase} by many, to nothing")));
    let state = match phase {
        Phase::Assigned => Replicated::Gathering,
        Phase::Committed => Replicated::Committed,
        Phase::Closing => Replicated::Closing,
        Phase::Closed => Replicated::Closed,
        Phase::Revealed => Replicated::Revealed(digest?),
        Phase::Settling => Replicated::Paying(digest?),
        Phase::Settled => Replicated::Paid(digest?),
        Phase::Open | Phase::Reported | Phase::Declined | Phase::Claimed => {
            return Err(foreign(TABLE, format!("{phase} by many")));
        }
    };
    Ok(Task::Replicated(state))
}

/// The worker and the digest that a state holds.
pub(crate) const fn parts(task: Task) -> (Option<WorkerAddr>, Option<ResultDigest>) {
    match task {
        Task::Open | Task::Declined | Task::Claimed => (None, None),
        Task::Assigned(worker) => (Some(worker), None),
        Task::Reported(answer) | Task::Settling(answer) | Task::Settled(answer) => {
            (Some(answer.worker), Some(answer.digest))
        }
        Task::Replicated(Replicated::Revealed(digest) | Replicated::Paying(digest) | Replicated::Paid(digest)) => {
            (None, Some(digest))
        }
        Task::Replicated(Replicated::Gathering | Replicated::Committed | Replicated::Closing | Replicated::Closed) => {
            (None, None)
        }
    }
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Accepted => "accepted",
        Stage::Fetching => "fetching",
        Stage::Running => "running",
        Stage::Uploading => "uploading",
    }
}

fn stage(name: &str) -> Result<Stage, StoreError> {
    [Stage::Accepted, Stage::Fetching, Stage::Running, Stage::Uploading]
        .into_iter()
        .find(|stage| stage_name(*stage) == name)
        .ok_or_else(|| foreign(TABLE, name))
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT task.id, task.deal, task.idx, task.replicated, task.phase, task.worker, task.digest, task.stage, ",
            "task.since, task.since_ms, task.settlement, task.reason, task.asked, task.end_tx, task.end_block ",
            "FROM task ",
            $rest
        )
    };
}

/// Makes a deal's tasks, each `Open`. Those that are there stay as they are.
pub(crate) async fn create(
    conn: &mut SqliteConnection,
    deal: DealId,
    terms: &DealTerms,
    since: Stamp,
) -> Result<(), StoreError> {
    for index in terms.indexes() {
        sqlx::query(
            "INSERT INTO task (id, deal, idx, replicated, phase, since, since_ms) VALUES ($1, $2, $3, 0, 'open', $4, $5)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(deal.task(index).get().to_vec())
        .bind(deal.get().to_vec())
        .bind(i64::from(index))
        .bind(signed(since.at.seconds()))
        .bind(signed(since.at_ms))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(crate) async fn get(conn: &mut SqliteConnection, id: TaskId) -> Result<Option<Row>, StoreError> {
    let row: Option<Columns> =
        sqlx::query_as(select!("WHERE id = $1")).bind(id.get().to_vec()).fetch_optional(conn).await?;
    row.map(TryInto::try_into).transpose()
}

/// A deal's tasks, by index.
pub(crate) async fn of_deal(conn: &mut SqliteConnection, deal: DealId) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<Columns> =
        sqlx::query_as(select!("WHERE deal = $1 ORDER BY idx")).bind(deal.get().to_vec()).fetch_all(conn).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// All tasks of deals with something left to do, by deal and index.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<Columns> =
        sqlx::query_as(select!("JOIN deal ON deal.id = task.deal WHERE deal.ended = 0 ORDER BY task.deal, task.idx"))
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Tasks that ended in blocks above `block`.
pub(crate) async fn ended_above(conn: &mut SqliteConnection, block: BlockNumber) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<Columns> =
        sqlx::query_as(select!("WHERE end_block > $1")).bind(signed(block.get())).fetch_all(conn).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Tasks whose settlement has this key.
pub(crate) async fn settling_by(conn: &mut SqliteConnection, key: &str) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<Columns> =
        sqlx::query_as(select!("WHERE settlement = $1 ORDER BY idx")).bind(key).fetch_all(conn).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Tasks whose transaction is gone with the deal that it stood under.
pub(crate) async fn orphaned(conn: &mut SqliteConnection) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(select!(
        "WHERE settlement IS NOT NULL AND NOT EXISTS (SELECT 1 FROM sending WHERE sending.key = task.settlement)"
    ))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What is written besides when a task enters a phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) since: Stamp,
    /// With [`Event::Send`] and [`Event::Reopen`]: the key in the outbox.
    pub(crate) settlement: Option<&'a str>,
    /// With [`Event::Recall`] and [`Event::Unwind`]: why.
    pub(crate) reason: Option<&'a str>,
    /// With [`Event::Settle`], [`Event::Decline`] and [`Event::Claim`]: in which transaction.
    pub(crate) end: Option<End>,
}

impl Entry<'_> {
    /// An entry of which only the time matters.
    pub(crate) const fn at(since: Stamp) -> Self {
        Self { since, settlement: None, reason: None, end: None }
    }
}

/// Lets `event` happen to the task as the caller has seen it. `None`: it does not fit there, or the task is not there
/// any more.
pub(crate) async fn apply(
    conn: &mut SqliteConnection,
    seen: &Row,
    event: Event,
    entry: Entry<'_>,
) -> Result<Option<Task>, StoreError> {
    let Ok(next) = seen.task.apply(event) else { return Ok(None) };
    let (worker, digest) = parts(next);
    let done = sqlx::query(
        "UPDATE task SET phase = $1, worker = $2, digest = $3, stage = NULL, since = $4, since_ms = $5,
             settlement = $6, reason = $7, end_tx = $8, end_block = $9, replicated = $13
         WHERE id = $10 AND phase = $11 AND worker IS NOT DISTINCT FROM $12 AND replicated = $14",
    )
    .bind(next.phase().name())
    .bind(worker.map(|worker| worker.get().to_vec()))
    .bind(digest.map(|digest| digest.get().to_vec()))
    .bind(signed(entry.since.at.seconds()))
    .bind(signed(entry.since.at_ms))
    .bind(entry.settlement)
    .bind(entry.reason)
    .bind(entry.end.map(|end| end.tx.to_vec()))
    .bind(entry.end.map(|end| signed(end.block.get())))
    .bind(seen.id.get().to_vec())
    .bind(seen.task.phase().name())
    .bind(parts(seen.task).0.map(|worker| worker.get().to_vec()))
    .bind(i64::from(is_replicated(next)))
    .bind(i64::from(is_replicated(seen.task)))
    .execute(conn)
    .await?;
    Ok((done.rows_affected() == 1).then_some(next))
}

const fn is_replicated(task: Task) -> bool {
    matches!(task, Task::Replicated(_))
}

/// Notes that the workers of a task were asked to agree that there is no agreement; says whether that is new.
pub(crate) async fn ask(conn: &mut SqliteConnection, id: TaskId) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE task SET asked = 1 WHERE id = $1 AND asked = 0")
        .bind(id.get().to_vec())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes how a task goes on its worker; says whether anything changed.
pub(crate) async fn set_stage(
    conn: &mut SqliteConnection,
    id: TaskId,
    worker: WorkerAddr,
    stage: Stage,
) -> Result<Option<DealId>, StoreError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as(
        "UPDATE task SET stage = $1 WHERE id = $2 AND phase = 'assigned' AND stage IS DISTINCT FROM $1
         AND (worker = $3 OR (replicated = 1 AND EXISTS (
             SELECT 1 FROM attempt WHERE attempt.task = task.id AND attempt.worker = $3 AND outcome IS NULL)))
         RETURNING deal",
    )
    .bind(stage_name(stage))
    .bind(id.get().to_vec())
    .bind(worker.get().to_vec())
    .fetch_optional(conn)
    .await?;
    row.map(|(deal,)| hash(TABLE, &deal).map(DealId::new)).transpose()
}
