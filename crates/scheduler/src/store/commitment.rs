//! `commitment`: hidden answers, the latest of each worker.

use super::{address, hash, signed, unsigned};
use alloy::primitives::B256;
use berth_chain::StoreError;
use berth_protocol::{DealId, TaskId, WorkerAddr};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "commitment";

/// A worker's hidden answer to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commitment {
    pub(crate) task: TaskId,
    pub(crate) worker: WorkerAddr,
    pub(crate) commitment: B256,
    /// Equal for equal answers.
    pub(crate) tag: B256,
    /// Equal for what one reveal opens.
    pub(crate) seed_hash: B256,
    /// The worker's, over the commitment.
    pub(crate) signature: Vec<u8>,
    /// Since when it is here; wall clock.
    pub(crate) since_ms: u64,
}

#[derive(FromRow)]
struct Row {
    task: Vec<u8>,
    worker: Vec<u8>,
    commitment: Vec<u8>,
    tag: Vec<u8>,
    seed_hash: Vec<u8>,
    signature: Vec<u8>,
    since_ms: i64,
}

impl TryFrom<Row> for Commitment {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            task: TaskId::new(hash(TABLE, &row.task)?),
            worker: WorkerAddr::new(address(TABLE, &row.worker)?),
            commitment: hash(TABLE, &row.commitment)?,
            tag: hash(TABLE, &row.tag)?,
            seed_hash: hash(TABLE, &row.seed_hash)?,
            signature: row.signature,
            since_ms: unsigned(TABLE, row.since_ms)?,
        })
    }
}

/// Keeps a worker's answer; a later one of the same worker takes its place.
pub(crate) async fn put(conn: &mut SqliteConnection, new: &Commitment) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO commitment (task, worker, commitment, tag, seed_hash, signature, since_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (task, worker) DO UPDATE SET commitment = excluded.commitment, tag = excluded.tag,
             seed_hash = excluded.seed_hash, signature = excluded.signature, since_ms = excluded.since_ms",
    )
    .bind(new.task.get().to_vec())
    .bind(new.worker.get().to_vec())
    .bind(new.commitment.to_vec())
    .bind(new.tag.to_vec())
    .bind(new.seed_hash.to_vec())
    .bind(&new.signature)
    .bind(signed(new.since_ms))
    .execute(conn)
    .await?;
    Ok(())
}

/// All answers to a task, by worker.
pub(crate) async fn of_task(conn: &mut SqliteConnection, task: TaskId) -> Result<Vec<Commitment>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT task, worker, commitment, tag, seed_hash, signature, since_ms FROM commitment WHERE task = $1
         ORDER BY worker",
    )
    .bind(task.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A worker's answer to a task.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
) -> Result<Option<Commitment>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT task, worker, commitment, tag, seed_hash, signature, since_ms FROM commitment
         WHERE task = $1 AND worker = $2",
    )
    .bind(task.get().to_vec())
    .bind(worker.get().to_vec())
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// All answers to tasks of deals with something left to do, by task and worker.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<Vec<Commitment>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT commitment.task, commitment.worker, commitment, tag, seed_hash, signature, commitment.since_ms
         FROM commitment JOIN task ON task.id = commitment.task JOIN deal ON deal.id = task.deal
         WHERE deal.ended = 0 AND task.end_block IS NULL ORDER BY commitment.task, commitment.worker",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Everybody who has answered a task of the deal, by task.
pub(crate) async fn workers_of_deal(
    conn: &mut SqliteConnection,
    deal: DealId,
) -> Result<Vec<(TaskId, WorkerAddr)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT commitment.task, commitment.worker FROM commitment JOIN task ON task.id = commitment.task
         WHERE task.deal = $1 ORDER BY commitment.task, commitment.worker",
    )
    .bind(deal.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(task, worker)| Ok((TaskId::new(hash(TABLE, &task)?), WorkerAddr::new(address(TABLE, &worker)?))))
        .collect()
}
