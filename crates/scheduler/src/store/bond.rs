//! `bond`: what stands behind this pool's workers, change by change.

use super::{address, amount, signed, small, unsigned};
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{AccountAddr, Amount, Timestamp, WorkerAddr};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "bond";

/// A worker's bond in this pool, and its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bond {
    pub(crate) worker: WorkerAddr,
    pub(crate) owner: AccountAddr,
    pub(crate) bonded: Amount,
    pub(crate) unbonding: Amount,
    pub(crate) release_at: Timestamp,
    pub(crate) score: u32,
}

/// Where in the chain a change stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) block: BlockNumber,
    pub(crate) log_index: u64,
}

#[derive(FromRow)]
struct Row {
    worker: Vec<u8>,
    owner: Vec<u8>,
    bonded: String,
    unbonding: String,
    release_at: i64,
    score: i64,
}

impl TryFrom<Row> for Bond {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            worker: WorkerAddr::new(address(TABLE, &row.worker)?),
            owner: AccountAddr::new(address(TABLE, &row.owner)?),
            bonded: amount(TABLE, &row.bonded)?,
            unbonding: amount(TABLE, &row.unbonding)?,
            release_at: Timestamp::new(unsigned(TABLE, row.release_at)?),
            score: small(TABLE, row.score)?,
        })
    }
}

/// Writes the bond as it is from `place` on.
pub(crate) async fn put(conn: &mut SqliteConnection, bond: &Bond, place: Place) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO bond (worker, block, log_index, owner, bonded, unbonding, release_at, score)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(bond.worker.get().to_vec())
    .bind(signed(place.block.get()))
    .bind(signed(place.log_index))
    .bind(bond.owner.get().to_vec())
    .bind(bond.bonded.to_string())
    .bind(bond.unbonding.to_string())
    .bind(signed(bond.release_at.seconds()))
    .bind(i64::from(bond.score))
    .execute(conn)
    .await?;
    Ok(())
}

/// The bond as it is.
pub(crate) async fn of(conn: &mut SqliteConnection, worker: WorkerAddr) -> Result<Option<Bond>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT worker, owner, bonded, unbonding, release_at, score FROM bond
         WHERE worker = $1 ORDER BY block DESC, log_index DESC LIMIT 1",
    )
    .bind(worker.get().to_vec())
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// All bonds as they are, by worker.
pub(crate) async fn all(conn: &mut SqliteConnection) -> Result<Vec<Bond>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT worker, owner, bonded, unbonding, release_at, score FROM bond AS b
         WHERE NOT EXISTS (
             SELECT 1 FROM bond AS later WHERE later.worker = b.worker
             AND (later.block > b.block OR (later.block = b.block AND later.log_index > b.log_index)))
         ORDER BY worker",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(crate) async fn drop_above(conn: &mut SqliteConnection, block: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM bond WHERE block > $1").bind(signed(block.get())).execute(conn).await?;
    Ok(())
}
