//! `upload`: bytes that an account has begun to put. How many of them are here, their file says.

use super::{address, hash, signed, unsigned};
use alloy::primitives::Address;
use berth_chain::StoreError;
use berth_wire::{manifest::Content, units::Sha256};
use sqlx::SqliteConnection;

const TABLE: &str = "upload";

/// Notes that an upload begins, or goes on.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    account: Address,
    content: Content,
    now_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO upload (account, sha256, size, moved_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (account, sha256) DO UPDATE SET size = excluded.size, moved_ms = excluded.moved_ms",
    )
    .bind(account.to_vec())
    .bind(content.sha256.0.to_vec())
    .bind(signed(content.size))
    .bind(signed(now_ms))
    .execute(conn)
    .await?;
    Ok(())
}

/// It is over.
pub(crate) async fn remove(conn: &mut SqliteConnection, account: Address, name: Sha256) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM upload WHERE account = $1 AND sha256 = $2")
        .bind(account.to_vec())
        .bind(name.0.to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

/// How many bytes an account's uploads will have, besides this one.
pub(crate) async fn bytes(conn: &mut SqliteConnection, account: Address, besides: Sha256) -> Result<u64, StoreError> {
    let (bytes,): (i64,) =
        sqlx::query_as("SELECT COALESCE(SUM(size), 0) FROM upload WHERE account = $1 AND sha256 <> $2")
            .bind(account.to_vec())
            .bind(besides.0.to_vec())
            .fetch_one(conn)
            .await?;
    unsigned(TABLE, bytes)
}

/// Forgets uploads with which nobody has gone on since `moved_ms`.
pub(crate) async fn drop_old(conn: &mut SqliteConnection, moved_ms: u64) -> Result<Vec<(Address, Sha256)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("DELETE FROM upload WHERE moved_ms < $1 RETURNING account, sha256")
            .bind(signed(moved_ms))
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|(account, name)| Ok((address(TABLE, &account)?, Sha256(hash(TABLE, &name)?.0)))).collect()
}
