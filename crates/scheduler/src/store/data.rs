//! `data` and `part`: what is listed as somebody's own, what a job names, and what a task brought. Bytes that no task
//! brought and nobody has put may be taken from the store.

use super::{foreign, hash, signed, unsigned};
use alloy::primitives::{Address, B256};
use berth_chain::StoreError;
use berth_wire::units::Sha256;
use sqlx::SqliteConnection;

const TABLE: &str = "data";

/// What somebody has in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) sha256: Sha256,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) put_ms: u64,
}

/// Lists bytes as somebody's own; the same again gives them another name.
pub(crate) async fn put(conn: &mut SqliteConnection, owner: Address, data: &Data) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO data (owner, sha256, name, size, put_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (owner, sha256) DO UPDATE SET name = excluded.name",
    )
    .bind(owner.to_vec())
    .bind(data.sha256.0.to_vec())
    .bind(&data.name)
    .bind(signed(data.size))
    .bind(signed(data.put_ms))
    .execute(conn)
    .await?;
    Ok(())
}

/// What somebody has, the latest first.
pub(crate) async fn of(conn: &mut SqliteConnection, owner: Address) -> Result<Vec<Data>, StoreError> {
    let rows: Vec<(Vec<u8>, String, i64, i64)> =
        sqlx::query_as("SELECT sha256, name, size, put_ms FROM data WHERE owner = $1 ORDER BY put_ms DESC, sha256")
            .bind(owner.to_vec())
            .fetch_all(conn)
            .await?;
    let read = |(sha256, name, size, put_ms): (Vec<u8>, String, i64, i64)| {
        Ok(Data {
            sha256: Sha256(hash(TABLE, &sha256)?.0),
            name,
            size: unsigned(TABLE, size)?,
            put_ms: unsigned(TABLE, put_ms)?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// How much somebody has, in bytes and in number.
pub(crate) async fn total(conn: &mut SqliteConnection, owner: Address) -> Result<(u64, u64), StoreError> {
    let (bytes, count): (i64, i64) =
        sqlx::query_as("SELECT COALESCE(SUM(size), 0), COUNT(*) FROM data WHERE owner = $1")
            .bind(owner.to_vec())
            .fetch_one(conn)
            .await?;
    Ok((unsigned(TABLE, bytes)?, unsigned(TABLE, count)?))
}

/// Takes bytes off somebody's list; says whether they were there.
pub(crate) async fn remove(conn: &mut SqliteConnection, owner: Address, sha256: Sha256) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM data WHERE owner = $1 AND sha256 = $2")
        .bind(owner.to_vec())
        .bind(sha256.0.to_vec())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes what a job names.
pub(crate) async fn hold(conn: &mut SqliteConnection, holder: B256, parts: &[Sha256]) -> Result<(), StoreError> {
    for part in parts {
        sqlx::query("INSERT INTO part (holder, sha256) VALUES ($1, $2) ON CONFLICT (holder, sha256) DO NOTHING")
            .bind(holder.to_vec())
            .bind(part.0.to_vec())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Lets go of all that was kept for a task; gives it.
pub(crate) async fn release(conn: &mut SqliteConnection, holder: B256) -> Result<Vec<Sha256>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as("DELETE FROM part WHERE holder = $1 RETURNING sha256")
        .bind(holder.to_vec())
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(|(part,)| Ok(Sha256(hash("part", &part)?.0))).collect()
}

/// Whether a task brought these bytes, or a job names them.
pub(crate) async fn is_part(conn: &mut SqliteConnection, holder: B256, sha256: Sha256) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM part WHERE holder = $1 AND sha256 = $2")
        .bind(holder.to_vec())
        .bind(sha256.0.to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// Whether these bytes have to stay. That a job names them is not enough: anybody may write one that does.
pub(crate) async fn is_needed(conn: &mut SqliteConnection, sha256: Sha256) -> Result<bool, StoreError> {
    let (needed,): (i64,) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM holding WHERE sha256 = $1) OR EXISTS (SELECT 1 FROM part WHERE sha256 = $1
             AND NOT EXISTS (SELECT 1 FROM job WHERE job.hash = part.holder))",
    )
    .bind(sha256.0.to_vec())
    .fetch_one(conn)
    .await?;
    match needed {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(foreign(TABLE, other.to_string())),
    }
}
