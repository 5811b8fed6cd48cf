//! `deal`: what was agreed.

use super::{address, foreign, hash, signed, unsigned};
use alloy::{
    primitives::{Address, B256},
    sol_types::SolValue as _,
};
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{DealId, DealTerms, JobHash};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "deal";

/// A deal of this pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deal {
    pub(crate) id: DealId,
    pub(crate) terms: DealTerms,
    pub(crate) app: B256,
    pub(crate) dataset: B256,
    pub(crate) requester: Address,
    pub(crate) beneficiary: Address,
    pub(crate) job_hash: JobHash,
    pub(crate) block: BlockNumber,
    pub(crate) log_index: u64,
    /// Rises with each change of the deal or its tasks.
    pub(crate) seq: u64,
    /// Whether its tasks are there.
    pub(crate) opened: bool,
    /// Whether each of them has ended.
    pub(crate) ended: bool,
    /// Why we gave tasks of it back.
    pub(crate) given_up: Option<String>,
}

#[derive(FromRow)]
struct Row {
    id: Vec<u8>,
    terms: Vec<u8>,
    app: Vec<u8>,
    dataset: Vec<u8>,
    requester: Vec<u8>,
    beneficiary: Vec<u8>,
    job_hash: Vec<u8>,
    block: i64,
    log_index: i64,
    seq: i64,
    opened: i64,
    ended: i64,
    given_up: Option<String>,
}

impl TryFrom<Row> for Deal {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let terms = DealTerms::abi_decode(&row.terms).map_err(|error| foreign(TABLE, error.to_string()))?;
        let id = DealId::new(hash(TABLE, &row.id)?);
        if terms.id() != id {
            return Err(foreign(TABLE, format!("other terms than {id}'s")));
        }
        Ok(Self {
            id,
            terms,
            app: hash(TABLE, &row.app)?,
            dataset: hash(TABLE, &row.dataset)?,
            requester: address(TABLE, &row.requester)?,
            beneficiary: address(TABLE, &row.beneficiary)?,
            job_hash: JobHash::new(hash(TABLE, &row.job_hash)?),
            block: BlockNumber::new(unsigned(TABLE, row.block)?),
            log_index: unsigned(TABLE, row.log_index)?,
            seq: unsigned(TABLE, row.seq)?,
            opened: row.opened != 0,
            ended: row.ended != 0,
            given_up: row.given_up,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, terms, app, dataset, requester, beneficiary, job_hash, block, log_index, seq, opened, ended, ",
            "given_up ",
            "FROM deal ",
            $rest
        )
    };
}

/// Takes a new deal. One that is there already stays as it is.
pub(crate) async fn insert(conn: &mut SqliteConnection, deal: &Deal) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deal (id, terms, app, dataset, requester, beneficiary, job_hash, block, log_index, seq, opened, ended)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO NOTHING",
    )
    .bind(deal.id.get().to_vec())
    .bind(deal.terms.abi_encode())
    .bind(deal.app.to_vec())
    .bind(deal.dataset.to_vec())
    .bind(deal.requester.to_vec())
    .bind(deal.beneficiary.to_vec())
    .bind(deal.job_hash.get().to_vec())
    .bind(signed(deal.block.get()))
    .bind(signed(deal.log_index))
    .bind(signed(deal.seq))
    .bind(i64::from(deal.opened))
    .bind(i64::from(deal.ended))
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn get(conn: &mut SqliteConnection, id: DealId) -> Result<Option<Deal>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as(select!("WHERE id = $1")).bind(id.get().to_vec()).fetch_optional(conn).await?;
    row.map(TryInto::try_into).transpose()
}

/// Deals with something left to do, the oldest first.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<Vec<Deal>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(select!("WHERE ended = 0 ORDER BY block, log_index")).fetch_all(conn).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The latest deals, the latest first.
pub(crate) async fn latest(conn: &mut SqliteConnection, limit: u32) -> Result<Vec<Deal>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(select!("ORDER BY block DESC, log_index DESC LIMIT $1"))
        .bind(i64::from(limit))
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Deals of blocks above `block`.
pub(crate) async fn above(conn: &mut SqliteConnection, block: BlockNumber) -> Result<Vec<Deal>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(select!("WHERE block > $1")).bind(signed(block.get())).fetch_all(conn).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Forgets a deal with all that hangs on it.
pub(crate) async fn delete(conn: &mut SqliteConnection, id: DealId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM deal WHERE id = $1").bind(id.get().to_vec()).execute(conn).await?;
    Ok(())
}

/// Says that the tasks are there; whether they were not before.
pub(crate) async fn open(conn: &mut SqliteConnection, id: DealId) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE deal SET opened = 1, seq = seq + 1 WHERE id = $1 AND opened = 0")
        .bind(id.get().to_vec())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes why tasks are given back.
pub(crate) async fn give_up(conn: &mut SqliteConnection, id: DealId, reason: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE deal SET given_up = $1 WHERE id = $2")
        .bind(reason)
        .bind(id.get().to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

/// Raises `seq`, and writes down whether each task has ended. To be called in every transaction that changes a deal's
/// tasks.
pub(crate) async fn touch(conn: &mut SqliteConnection, id: DealId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deal SET seq = seq + 1, ended = CASE WHEN opened = 1 AND NOT EXISTS (
             SELECT 1 FROM task WHERE task.deal = deal.id AND phase NOT IN ('settled', 'declined', 'claimed'))
             THEN 1 ELSE 0 END
         WHERE id = $1",
    )
    .bind(id.get().to_vec())
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether any deal that this account asked for names the job.
pub(crate) async fn names_job(
    conn: &mut SqliteConnection,
    job: JobHash,
    requester: Address,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM deal WHERE job_hash = $1 AND requester = $2 LIMIT 1")
        .bind(job.get().to_vec())
        .bind(requester.to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}
