//! `job`: documents that requesters put.

use super::signed;
use alloy::primitives::Address;
use berth_chain::StoreError;
use berth_protocol::JobHash;
use sqlx::SqliteConnection;

/// Keeps a document; says whether it is new.
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
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn document(conn: &mut SqliteConnection, hash: JobHash) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT document FROM job WHERE hash = $1")
        .bind(hash.get().to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|(document,)| document))
}

/// How many documents there are that no deal names.
pub(crate) async fn count_unused(conn: &mut SqliteConnection) -> Result<u64, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM job WHERE NOT EXISTS (SELECT 1 FROM deal WHERE deal.job_hash = job.hash)")
            .fetch_one(conn)
            .await?;
    super::unsigned("job", count)
}

/// Forgets documents that no deal names and that were put before `put_ms`.
pub(crate) async fn drop_unused(conn: &mut SqliteConnection, put_ms: u64) -> Result<u64, StoreError> {
    sqlx::query(
        "DELETE FROM part WHERE holder IN (SELECT hash FROM job WHERE put_ms < $1
             AND NOT EXISTS (SELECT 1 FROM deal WHERE deal.job_hash = job.hash))",
    )
    .bind(signed(put_ms))
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query(
        "DELETE FROM job WHERE put_ms < $1 AND NOT EXISTS (SELECT 1 FROM deal WHERE deal.job_hash = job.hash)",
    )
    .bind(signed(put_ms))
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
