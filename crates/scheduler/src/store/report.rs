//! `report`: checked answers of workers, whether they came first or not.

use super::{address, foreign, hash, signed, unsigned};
use berth_chain::StoreError;
use berth_protocol::{DealId, ResultDigest, TaskId, WorkerAddr};
use berth_wire::{manifest::Content, units::Sha256};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "report";

/// A worker's checked answer to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) worker: WorkerAddr,
    pub(crate) digest: ResultDigest,
    pub(crate) stdout: Option<Content>,
    pub(crate) stderr: Option<Content>,
    /// All of it in one file, for its recipient.
    pub(crate) sealed: Option<Content>,
    pub(crate) wall_ms: u64,
    /// Why it failed, in words.
    pub(crate) failure: Option<String>,
    /// The manifest of what it left when it was stopped.
    pub(crate) partial: Option<Content>,
}

#[derive(FromRow)]
struct Row {
    idx: i64,
    worker: Vec<u8>,
    digest: Vec<u8>,
    stdout: Option<Vec<u8>>,
    stdout_size: Option<i64>,
    stderr: Option<Vec<u8>>,
    stderr_size: Option<i64>,
    sealed: Option<Vec<u8>>,
    sealed_size: Option<i64>,
    wall_ms: i64,
    failure: Option<String>,
    partial: Option<Vec<u8>>,
    partial_size: Option<i64>,
}

fn content(name: Option<Vec<u8>>, size: Option<i64>) -> Result<Option<Content>, StoreError> {
    let (Some(name), Some(size)) = (name, size) else { return Ok(None) };
    Ok(Some(Content { sha256: Sha256(hash(TABLE, &name)?.0), size: unsigned(TABLE, size)? }))
}

impl TryFrom<Row> for Report {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            worker: WorkerAddr::new(address(TABLE, &row.worker)?),
            digest: ResultDigest::new(hash(TABLE, &row.digest)?).ok_or_else(|| foreign(TABLE, "no digest"))?,
            stdout: content(row.stdout, row.stdout_size)?,
            stderr: content(row.stderr, row.stderr_size)?,
            sealed: content(row.sealed, row.sealed_size)?,
            wall_ms: unsigned(TABLE, row.wall_ms)?,
            failure: row.failure,
            partial: content(row.partial, row.partial_size)?,
        })
    }
}

/// Keeps a worker's answer; a later one of the same worker takes its place.
pub(crate) async fn put(conn: &mut SqliteConnection, task: TaskId, report: &Report) -> Result<(), StoreError> {
    let name = |content: &Option<Content>| content.map(|content| content.sha256.0.to_vec());
    let size = |content: &Option<Content>| content.map(|content| signed(content.size));
    sqlx::query(
        "INSERT INTO report (task, worker, digest, stdout, stdout_size, stderr, stderr_size, wall_ms, failure,
             partial, partial_size, sealed, sealed_size)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (task, worker) DO UPDATE SET digest = excluded.digest, stdout = excluded.stdout,
             stdout_size = excluded.stdout_size, stderr = excluded.stderr, stderr_size = excluded.stderr_size,
             wall_ms = excluded.wall_ms, failure = excluded.failure, partial = excluded.partial,
             partial_size = excluded.partial_size, sealed = excluded.sealed, sealed_size = excluded.sealed_size",
    )
    .bind(task.get().to_vec())
    .bind(report.worker.get().to_vec())
    .bind(report.digest.get().to_vec())
    .bind(name(&report.stdout))
    .bind(size(&report.stdout))
    .bind(name(&report.stderr))
    .bind(size(&report.stderr))
    .bind(signed(report.wall_ms))
    .bind(report.failure.as_deref())
    .bind(name(&report.partial))
    .bind(size(&report.partial))
    .bind(name(&report.sealed))
    .bind(size(&report.sealed))
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn get(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
) -> Result<Option<Report>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT task.idx, report.worker, report.digest, stdout, stdout_size, stderr, stderr_size, wall_ms, failure,
             partial, partial_size, sealed, sealed_size
         FROM report JOIN task ON task.id = report.task WHERE report.task = $1 AND report.worker = $2",
    )
    .bind(task.get().to_vec())
    .bind(worker.get().to_vec())
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Somebody's checked answer to a task that says this.
pub(crate) async fn saying(
    conn: &mut SqliteConnection,
    task: TaskId,
    digest: ResultDigest,
) -> Result<Option<Report>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT task.idx, report.worker, report.digest, stdout, stdout_size, stderr, stderr_size, wall_ms, failure,
             partial, partial_size, sealed, sealed_size
         FROM report JOIN task ON task.id = report.task WHERE report.task = $1 AND report.digest = $2
         ORDER BY report.worker LIMIT 1",
    )
    .bind(task.get().to_vec())
    .bind(digest.get().to_vec())
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The sealed results of those who said this, by worker.
pub(crate) async fn sealed(
    conn: &mut SqliteConnection,
    task: TaskId,
    digest: ResultDigest,
) -> Result<Vec<(WorkerAddr, Content)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT worker, sealed, sealed_size FROM report WHERE task = $1 AND digest = $2 AND sealed IS NOT NULL
         ORDER BY worker",
    )
    .bind(task.get().to_vec())
    .bind(digest.get().to_vec())
    .fetch_all(conn)
    .await?;
    let read = |(worker, name, size): (Vec<u8>, Vec<u8>, i64)| {
        let content = Content { sha256: Sha256(hash(TABLE, &name)?.0), size: unsigned(TABLE, size)? };
        Ok((WorkerAddr::new(address(TABLE, &worker)?), content))
    };
    rows.into_iter().map(read).collect()
}

/// All answers to a deal's tasks, by index.
pub(crate) async fn of_deal(conn: &mut SqliteConnection, deal: DealId) -> Result<Vec<(u32, Report)>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT task.idx, report.worker, report.digest, stdout, stdout_size, stderr, stderr_size, wall_ms, failure,
             partial, partial_size, sealed, sealed_size
         FROM report JOIN task ON task.id = report.task WHERE task.deal = $1 ORDER BY task.idx",
    )
    .bind(deal.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| Ok((super::small(TABLE, row.idx)?, row.try_into()?))).collect()
}

/// Results of replicated tasks that have not ended, each as often as workers have handed it in.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<Vec<(TaskId, ResultDigest)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT report.task, report.digest FROM report JOIN task ON task.id = report.task
         WHERE task.replicated = 1 AND task.end_block IS NULL ORDER BY report.task, report.digest",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(task, digest)| {
            let digest = ResultDigest::new(hash(TABLE, &digest)?).ok_or_else(|| foreign(TABLE, "no digest"))?;
            Ok((TaskId::new(hash(TABLE, &task)?), digest))
        })
        .collect()
}
