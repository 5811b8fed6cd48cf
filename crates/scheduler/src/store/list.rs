//! `list`: workers' signed lists of results, those that a settlement may still need.

use super::{address, small};
use berth_chain::StoreError;
use berth_protocol::{DealId, WorkerAddr};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "list";

/// A worker's signed list, packed. It was checked when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) worker: WorkerAddr,
    /// The later, the higher.
    pub(crate) nth: u32,
    pub(crate) entries: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

#[derive(FromRow)]
struct Row {
    worker: Vec<u8>,
    nth: i64,
    entries: Vec<u8>,
    signature: Vec<u8>,
}

impl TryFrom<Row> for List {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            worker: WorkerAddr::new(address(TABLE, &row.worker)?),
            nth: small(TABLE, row.nth)?,
            entries: row.entries,
            signature: row.signature,
        })
    }
}

/// Keeps a list, unless it is the worker's latest already.
pub(crate) async fn add(
    conn: &mut SqliteConnection,
    deal: DealId,
    worker: WorkerAddr,
    entries: &[u8],
    signature: &[u8],
) -> Result<(), StoreError> {
    let latest = of_worker(conn, deal, worker).await?.into_iter().next_back();
    if latest.as_ref().is_some_and(|latest| latest.entries == entries) {
        return Ok(());
    }
    sqlx::query("INSERT INTO list (deal, worker, nth, entries, signature) VALUES ($1, $2, $3, $4, $5)")
        .bind(deal.get().to_vec())
        .bind(worker.get().to_vec())
        .bind(i64::from(latest.map_or(0, |latest| latest.nth)) + 1)
        .bind(entries)
        .bind(signature)
        .execute(conn)
        .await?;
    Ok(())
}

/// A deal's lists, the latest of each worker last.
pub(crate) async fn of_deal(conn: &mut SqliteConnection, deal: DealId) -> Result<Vec<List>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT worker, nth, entries, signature FROM list WHERE deal = $1 ORDER BY worker, nth")
            .bind(deal.get().to_vec())
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A worker's lists of a deal, the latest last.
pub(crate) async fn of_worker(
    conn: &mut SqliteConnection,
    deal: DealId,
    worker: WorkerAddr,
) -> Result<Vec<List>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT worker, nth, entries, signature FROM list WHERE deal = $1 AND worker = $2 ORDER BY nth")
            .bind(deal.get().to_vec())
            .bind(worker.get().to_vec())
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(crate) async fn delete(
    conn: &mut SqliteConnection,
    deal: DealId,
    worker: WorkerAddr,
    nth: u32,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM list WHERE deal = $1 AND worker = $2 AND nth = $3")
        .bind(deal.get().to_vec())
        .bind(worker.get().to_vec())
        .bind(i64::from(nth))
        .execute(conn)
        .await?;
    Ok(())
}
