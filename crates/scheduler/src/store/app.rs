//! `app`: what is registered.

use super::signed;
use alloy::primitives::B256;
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::AssetId;
use sqlx::SqliteConnection;

pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    app: AssetId,
    descriptor: &str,
    block: BlockNumber,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO app (id, descriptor, block) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
        .bind(app.get().to_vec())
        .bind(descriptor)
        .bind(signed(block.get()))
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn descriptor(conn: &mut SqliteConnection, app: B256) -> Result<Option<String>, StoreError> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT descriptor FROM app WHERE id = $1").bind(app.to_vec()).fetch_optional(conn).await?;
    Ok(row.map(|(descriptor,)| descriptor))
}

pub(crate) async fn drop_above(conn: &mut SqliteConnection, block: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM app WHERE block > $1").bind(signed(block.get())).execute(conn).await?;
    Ok(())
}
