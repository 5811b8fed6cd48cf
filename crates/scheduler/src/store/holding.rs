//! `holding`: which bytes an account has put into the store itself, or was given by a task that it is party to. No other
//! account's bytes are there for it. A row is written only once the bytes are in the store, and they are not taken from it
//! while there is one.

use super::{hash, signed, unsigned};
use alloy::primitives::{Address, B256};
use berth_chain::StoreError;
use berth_wire::{manifest::Content, units::Sha256};
use sqlx::SqliteConnection;

const TABLE: &str = "holding";

/// An account needs bytes while it lists them, or has put a job that names them.
macro_rules! used {
    () => {
        "(EXISTS (SELECT 1 FROM data WHERE data.owner = holding.account AND data.sha256 = holding.sha256)
          OR EXISTS (SELECT 1 FROM part JOIN job_by ON job_by.job = part.holder
                     WHERE part.sha256 = holding.sha256 AND job_by.account = holding.account))"
    };
}

/// A worker has handed bytes over with a task's result: they stay as long as that does.
macro_rules! handed_over {
    () => {
        "EXISTS (SELECT 1 FROM part JOIN report ON report.task = part.holder
                 WHERE part.sha256 = holding.sha256 AND report.worker = holding.account)"
    };
}

/// An app's disk, put by the owner of the app, while a deal under it has not ended: a worker may yet ask for it. (The
/// owner is the third word of the terms.)
macro_rules! dealt_in {
    () => {
        "EXISTS (SELECT 1 FROM deal JOIN app ON app.id = deal.app
                 WHERE deal.ended = 0 AND substr(deal.terms, 2 * 32 + 13, 20) = holding.account
                     AND CASE WHEN json_valid(app.descriptor) THEN json_extract(app.descriptor, '$.disk.sha256') END
                         = lower(hex(holding.sha256)))"
    };
}

/// Notes that an account has put these bytes.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    account: Address,
    content: Content,
    put_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO holding (account, sha256, size, put_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (account, sha256) DO UPDATE SET put_ms = excluded.put_ms",
    )
    .bind(account.to_vec())
    .bind(content.sha256.0.to_vec())
    .bind(signed(content.size))
    .bind(signed(put_ms))
    .execute(conn)
    .await?;
    Ok(())
}

/// How many bytes those are that an account has put under this name.
pub(crate) async fn size(
    conn: &mut SqliteConnection,
    account: Address,
    sha256: Sha256,
) -> Result<Option<u64>, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT size FROM holding WHERE account = $1 AND sha256 = $2")
        .bind(account.to_vec())
        .bind(sha256.0.to_vec())
        .fetch_optional(conn)
        .await?;
    row.map(|(size,)| unsigned(TABLE, size)).transpose()
}

/// Whether an account has put exactly this.
pub(crate) async fn has(conn: &mut SqliteConnection, account: Address, content: Content) -> Result<bool, StoreError> {
    Ok(size(conn, account, content.sha256).await? == Some(content.size))
}

/// Whether bytes came out of a settled task whose result is for this account.
pub(crate) async fn is_result_for(
    conn: &mut SqliteConnection,
    account: Address,
    sha256: Sha256,
) -> Result<bool, StoreError> {
    // The payer is the seventh word of the terms.
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT 1 FROM part JOIN task ON task.id = part.holder JOIN deal ON deal.id = task.deal
         WHERE part.sha256 = $1 AND task.phase = 'settled'
             AND $2 IN (deal.requester, deal.beneficiary, substr(deal.terms, 6 * 32 + 13, 20)) LIMIT 1",
    )
    .bind(sha256.0.to_vec())
    .bind(account.to_vec())
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Makes bytes that a worker has put a part of its task; those that are a part already need not be put again. `false`: it
/// has not put them.
pub(crate) async fn hand_over(
    conn: &mut SqliteConnection,
    worker: Address,
    task: B256,
    content: Content,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO part (holder, sha256) SELECT $1, sha256 FROM holding WHERE account = $2 AND sha256 = $3 AND size = $4
         ON CONFLICT (holder, sha256) DO NOTHING",
    )
    .bind(task.to_vec())
    .bind(worker.to_vec())
    .bind(content.sha256.0.to_vec())
    .bind(signed(content.size))
    .execute(&mut *conn)
    .await?;
    Ok(done.rows_affected() == 1 || super::data::is_part(conn, task, content.sha256).await?)
}

/// Whether an account still needs what it has put.
pub(crate) async fn is_used(conn: &mut SqliteConnection, account: Address, sha256: Sha256) -> Result<bool, StoreError> {
    let row: Option<(i64,)> =
        sqlx::query_as(concat!("SELECT 1 FROM holding WHERE account = $1 AND sha256 = $2 AND ", used!()))
            .bind(account.to_vec())
            .bind(sha256.0.to_vec())
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

/// How many bytes an account has put that nobody needs.
pub(crate) async fn unused_bytes(conn: &mut SqliteConnection, account: Address) -> Result<u64, StoreError> {
    let (bytes,): (i64,) = sqlx::query_as(concat!(
        "SELECT COALESCE(SUM(size), 0) FROM holding WHERE account = $1 AND NOT ",
        used!(),
        " AND NOT ",
        handed_over!()
    ))
    .bind(account.to_vec())
    .fetch_one(conn)
    .await?;
    unsigned(TABLE, bytes)
}

/// Forgets that an account has put bytes.
pub(crate) async fn forget(conn: &mut SqliteConnection, account: Address, sha256: Sha256) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM holding WHERE account = $1 AND sha256 = $2")
        .bind(account.to_vec())
        .bind(sha256.0.to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

/// What may be forgotten: what was put before these times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// And that its account does not need.
    pub(crate) unused_ms: u64,
    /// And that a result has by now.
    pub(crate) handed_over_ms: u64,
}

/// Forgets what nobody needs any more; gives the names.
pub(crate) async fn drop_unused(conn: &mut SqliteConnection, before: Before) -> Result<Vec<Sha256>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(concat!(
        "DELETE FROM holding WHERE (put_ms < $1 OR (put_ms < $2 AND ",
        handed_over!(),
        ")) AND NOT ",
        used!(),
        " AND NOT ",
        dealt_in!(),
        " RETURNING sha256"
    ))
    .bind(signed(before.unused_ms))
    .bind(signed(before.handed_over_ms))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(name,)| Ok(Sha256(hash(TABLE, &name)?.0))).collect()
}
