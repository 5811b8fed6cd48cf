//! `chain_cursor`: how far the consumer's tables go.

use super::{BlockRow, StoreError, block, signed};
use crate::block::BlockRef;
use sqlx::SqliteConnection;

pub(crate) async fn read(conn: &mut SqliteConnection) -> Result<Option<BlockRef>, StoreError> {
    let row: Option<BlockRow> =
        sqlx::query_as("SELECT number, hash, timestamp FROM chain_cursor").fetch_optional(conn).await?;
    row.map(|row| block("chain_cursor", row)).transpose()
}

pub(crate) async fn start(conn: &mut SqliteConnection, at: BlockRef) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO chain_cursor (one, number, hash, timestamp) VALUES (1, $1, $2, $3)")
        .bind(signed(at.number.get()))
        .bind(at.hash.as_slice())
        .bind(signed(at.timestamp.seconds()))
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves the cursor if it still stands where its reader saw it; says whether it did.
pub(crate) async fn advance(conn: &mut SqliteConnection, from: BlockRef, to: BlockRef) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE chain_cursor SET number = $1, hash = $2, timestamp = $3 WHERE number = $4 AND hash = $5")
            .bind(signed(to.number.get()))
            .bind(to.hash.as_slice())
            .bind(signed(to.timestamp.seconds()))
            .bind(signed(from.number.get()))
            .bind(from.hash.as_slice())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}
