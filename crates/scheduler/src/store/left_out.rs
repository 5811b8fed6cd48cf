//! `left_out`: pairs that settlements left out, with our evidence against their workers.

use super::{foreign, hash, signed};
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{DealId, TaskId, WorkerAddr, round::LeftOut};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "left_out";

/// A pair that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) deal: DealId,
    /// All that its settlement left out.
    pub(crate) record: Vec<LeftOut>,
    /// Its place there.
    pub(crate) entry: u8,
    pub(crate) worker: WorkerAddr,
    /// The worker's, over its commitment.
    pub(crate) signature: Option<Vec<u8>>,
}

#[derive(FromRow)]
struct Row {
    deal: Vec<u8>,
    record: Vec<u8>,
    entry: i64,
    worker: Vec<u8>,
    signature: Option<Vec<u8>>,
}

impl TryFrom<Row> for Entry {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            deal: DealId::new(hash(TABLE, &row.deal)?),
            record: LeftOut::parse(&row.record).map_err(|error| foreign(TABLE, error.to_string()))?,
            entry: u8::try_from(row.entry).map_err(|_| foreign(TABLE, row.entry.to_string()))?,
            worker: WorkerAddr::new(super::address(TABLE, &row.worker)?),
            signature: row.signature,
        })
    }
}

/// Takes what a settlement left out. What is there stays.
pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    new: &Entry,
    task: TaskId,
    block: BlockNumber,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO left_out (deal, record, entry, task, worker, block, signature)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(new.deal.get().to_vec())
    .bind(LeftOut::pack(&new.record))
    .bind(i64::from(new.entry))
    .bind(task.get().to_vec())
    .bind(new.worker.get().to_vec())
    .bind(signed(block.get()))
    .bind(new.signature.as_deref())
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a pair was opened or punished.
pub(crate) async fn over(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
    block: BlockNumber,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE left_out SET over_block = $1 WHERE task = $2 AND worker = $3 AND over_block IS NULL")
        .bind(signed(block.get()))
        .bind(task.get().to_vec())
        .bind(worker.get().to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

/// Pairs that are neither opened nor punished, and against whose workers we have evidence, by settlement.
pub(crate) async fn open(conn: &mut SqliteConnection) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT deal, record, entry, worker, signature FROM left_out
         WHERE over_block IS NULL AND signature IS NOT NULL ORDER BY deal, record, entry",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Forgets evidence that is of no use any more.
pub(crate) async fn forget(conn: &mut SqliteConnection, deal: DealId) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE left_out SET signature = NULL WHERE deal = $1 AND signature IS NOT NULL")
        .bind(deal.get().to_vec())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes back what blocks above `block` said.
pub(crate) async fn unwind(conn: &mut SqliteConnection, block: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM left_out WHERE block > $1").bind(signed(block.get())).execute(&mut *conn).await?;
    sqlx::query("UPDATE left_out SET over_block = NULL WHERE over_block > $1")
        .bind(signed(block.get()))
        .execute(conn)
        .await?;
    Ok(())
}
