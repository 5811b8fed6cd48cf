//! `attempt`: who was given a task, in turn, and how that went.

use super::{address, foreign, hash, signed, small, unsigned};
use berth_chain::StoreError;
use berth_protocol::{DealId, TaskId, Timestamp, WorkerAddr};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "attempt";

/// How a worker's try at a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// With a result.
    Reported,
    /// The worker does not want it.
    Declined,
    /// The worker was gone.
    Lost,
    /// The worker took too long.
    Late,
    /// The worker is there, but knows nothing of it any more.
    Dropped,
    /// The task ended otherwise.
    Ended,
}

impl Outcome {
    const ALL: [Self; 6] = [Self::Reported, Self::Declined, Self::Lost, Self::Late, Self::Dropped, Self::Ended];

    const fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Declined => "declined",
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Dropped => "dropped",
            Self::Ended => "ended",
        }
    }
}

/// One worker's try at a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) task: TaskId,
    pub(crate) worker: WorkerAddr,
    /// Whether the worker has the letter that gave it the task.
    pub(crate) received: bool,
    /// When it began, by the chain.
    pub(crate) since: Timestamp,
    /// `None`: it goes on.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) detail: Option<String>,
}

#[derive(FromRow)]
struct Row {
    task: Vec<u8>,
    worker: Vec<u8>,
    mail_seq: i64,
    since: i64,
    acked_seq: Option<i64>,
    outcome: Option<String>,
    detail: Option<String>,
}

impl TryFrom<Row> for Attempt {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let outcome = |name: String| {
            Outcome::ALL.into_iter().find(|outcome| outcome.name() == name).ok_or_else(|| foreign(TABLE, name))
        };
        Ok(Self {
            task: TaskId::new(hash(TABLE, &row.task)?),
            worker: WorkerAddr::new(address(TABLE, &row.worker)?),
            received: row.acked_seq.is_some_and(|acked| row.mail_seq <= acked),
            since: Timestamp::new(unsigned(TABLE, row.since)?),
            outcome: row.outcome.map(outcome).transpose()?,
            detail: row.detail,
        })
    }
}

/// Notes that the letter `mail_seq` gives the worker the task.
pub(crate) async fn begin(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
    mail_seq: u64,
    since: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO attempt (task, nth, worker, mail_seq, since)
         SELECT $1, COALESCE(MAX(nth), 0) + 1, $2, $3, $4 FROM attempt WHERE task = $1",
    )
    .bind(task.get().to_vec())
    .bind(worker.get().to_vec())
    .bind(signed(mail_seq))
    .bind(signed(since.seconds()))
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes how the try that goes on ended; says whether there was one.
pub(crate) async fn end(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
    outcome: Outcome,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE attempt SET outcome = $1, detail = $2 WHERE task = $3 AND worker = $4 AND outcome IS NULL")
            .bind(outcome.name())
            .bind(detail)
            .bind(task.get().to_vec())
            .bind(worker.get().to_vec())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// Workers whose try at the task goes on.
pub(crate) async fn running(conn: &mut SqliteConnection, task: TaskId) -> Result<Vec<WorkerAddr>, StoreError> {
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT worker FROM attempt WHERE task = $1 AND outcome IS NULL ORDER BY nth")
            .bind(task.get().to_vec())
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|(worker,)| address(TABLE, &worker).map(WorkerAddr::new)).collect()
}

/// Whether the worker was ever given the task.
pub(crate) async fn was_given(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM attempt WHERE task = $1 AND worker = $2 LIMIT 1")
        .bind(task.get().to_vec())
        .bind(worker.get().to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// How often a task was given to a worker.
pub(crate) async fn count(conn: &mut SqliteConnection, task: TaskId) -> Result<u32, StoreError> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM attempt WHERE task = $1")
        .bind(task.get().to_vec())
        .fetch_one(conn)
        .await?;
    small(TABLE, count)
}

/// How often each task of a deal was given to a worker.
pub(crate) async fn counts(conn: &mut SqliteConnection, deal: DealId) -> Result<Vec<(TaskId, u32)>, StoreError> {
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "SELECT attempt.task, COUNT(*) FROM attempt JOIN task ON task.id = attempt.task WHERE task.deal = $1
         GROUP BY attempt.task",
    )
    .bind(deal.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(task, count)| Ok((TaskId::new(hash(TABLE, &task)?), small(TABLE, count)?))).collect()
}

/// Everybody whose try at a task of the deal goes on, by task.
pub(crate) async fn running_of_deal(
    conn: &mut SqliteConnection,
    deal: DealId,
) -> Result<Vec<(TaskId, WorkerAddr)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT attempt.task, attempt.worker FROM attempt JOIN task ON task.id = attempt.task
         WHERE task.deal = $1 AND outcome IS NULL ORDER BY attempt.task, attempt.worker",
    )
    .bind(deal.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(task, worker)| Ok((TaskId::new(hash(TABLE, &task)?), WorkerAddr::new(address(TABLE, &worker)?))))
        .collect()
}

/// All tries at tasks that have not ended, by task and turn.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<Vec<Attempt>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT attempt.task, attempt.worker, attempt.mail_seq, attempt.since, mailbox.acked_seq,
             attempt.outcome, attempt.detail
         FROM attempt JOIN task ON task.id = attempt.task JOIN deal ON deal.id = task.deal
         LEFT JOIN mailbox ON mailbox.worker = attempt.worker
         WHERE deal.ended = 0 AND (task.phase IN ('open', 'assigned') OR task.replicated = 1)
         ORDER BY attempt.task, attempt.nth",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Moves the letters' numbers of a worker's attempts with its mailbox.
pub(crate) async fn renumber(conn: &mut SqliteConnection, worker: WorkerAddr, by: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE attempt SET mail_seq = mail_seq + $1 WHERE worker = $2")
        .bind(by)
        .bind(worker.get().to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

#[cfg(test)]
pub(crate) async fn of_task(conn: &mut SqliteConnection, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT attempt.task, attempt.worker, attempt.mail_seq, attempt.since, mailbox.acked_seq,
             attempt.outcome, attempt.detail
         FROM attempt LEFT JOIN mailbox ON mailbox.worker = attempt.worker WHERE task = $1 ORDER BY nth",
    )
    .bind(task.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Workers that have the task, or have answered it.
pub(crate) async fn concerned(conn: &mut SqliteConnection, task: TaskId) -> Result<Vec<WorkerAddr>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT worker FROM attempt WHERE task = $1 AND outcome IS NULL
         UNION SELECT worker FROM report WHERE task = $1 UNION SELECT worker FROM commitment WHERE task = $1
         UNION SELECT worker FROM pair WHERE task = $1 ORDER BY worker",
    )
    .bind(task.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(worker,)| address(TABLE, &worker).map(WorkerAddr::new)).collect()
}
