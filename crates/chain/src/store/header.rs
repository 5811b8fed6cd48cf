//! `chain_header`: the last blocks behind the cursor.

use super::{BlockRow, StoreError, block, signed};
use crate::block::{BlockNumber, BlockRef};
use sqlx::SqliteConnection;

pub(crate) async fn put(conn: &mut SqliteConnection, at: BlockRef) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO chain_header (number, hash, timestamp) VALUES ($1, $2, $3)")
        .bind(signed(at.number.get()))
        .bind(at.hash.as_slice())
        .bind(signed(at.timestamp.seconds()))
        .execute(conn)
        .await?;
    Ok(())
}

/// The kept blocks up to `number`, the highest first.
pub(crate) async fn up_to(conn: &mut SqliteConnection, number: BlockNumber) -> Result<Vec<BlockRef>, StoreError> {
    let rows: Vec<BlockRow> =
        sqlx::query_as("SELECT number, hash, timestamp FROM chain_header WHERE number <= $1 ORDER BY number DESC")
            .bind(signed(number.get()))
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|row| block("chain_header", row)).collect()
}

/// Forgets the blocks above `number`, which are of a branch that was left.
pub(crate) async fn drop_above(conn: &mut SqliteConnection, number: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM chain_header WHERE number > $1").bind(signed(number.get())).execute(conn).await?;
    Ok(())
}

/// Forgets the blocks below `number`, which are final.
pub(crate) async fn drop_below(conn: &mut SqliteConnection, number: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM chain_header WHERE number < $1").bind(signed(number.get())).execute(conn).await?;
    Ok(())
}
