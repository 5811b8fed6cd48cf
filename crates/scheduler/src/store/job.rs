//! `job`: documents that requesters put.

use super::signed;
use alloy::primitives::Address;
use berth_chain::StoreError;
use berth_protocol::JobHash;
use sqlx::SqliteConnection;

/// Keeps a document that this account has put; says whether it is new.
pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    hash: JobHash,
    document: &[u8],
    put_by: Address,
    put_ms: u64,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO job (hash, document, put_by, put_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING",
    )
    .bind(hash.get().to_vec())
    .bind(document)
    .bind(put_by.to_vec())
    .bind(signed(put_ms))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO job_by (job, account, put_ms) VALUES ($1, $2, $3)
         ON CONFLICT (job, account) DO UPDATE SET put_ms = excluded.put_ms",
    )
    .bind(hash.get().to_vec())
    .bind(put_by.to_vec())
    .bind(signed(put_ms))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether this account has put the document itself. Its hash is on chain, for everybody to name.
pub(crate) async fn is_by(conn: &mut SqliteConnection, hash: JobHash, account: Address) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM job_by WHERE job = $1 AND account = $2")
        .bind(hash.get().to_vec())
        .bind(account.to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

pub(crate) async fn document(conn: &mut SqliteConnection, hash: JobHash) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT document FROM job WHERE hash = $1")
        .bind(hash.get().to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|(document,)| document))
}

/// How many documents were put that no deal of who put them names.
pub(crate) async fn count_unused(conn: &mut SqliteConnection) -> Result<u64, StoreError> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM job_by WHERE NOT EXISTS
             (SELECT 1 FROM deal WHERE deal.job_hash = job_by.job AND deal.requester = job_by.account)",
    )
    .fetch_one(conn)
    .await?;
    super::unsigned("job_by", count)
}

/// Forgets documents that no deal of who put them names and that were put before `put_ms`.
pub(crate) async fn drop_unused(conn: &mut SqliteConnection, put_ms: u64) -> Result<u64, StoreError> {
    sqlx::query(
        "DELETE FROM job_by WHERE put_ms < $1 AND NOT EXISTS
             (SELECT 1 FROM deal WHERE deal.job_hash = job_by.job AND deal.requester = job_by.account)",
    )
    .bind(signed(put_ms))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM part WHERE holder IN
             (SELECT hash FROM job WHERE NOT EXISTS (SELECT 1 FROM job_by WHERE job_by.job = job.hash))",
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query("DELETE FROM job WHERE NOT EXISTS (SELECT 1 FROM job_by WHERE job_by.job = job.hash)")
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}
