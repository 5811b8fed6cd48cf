//! `job`: published job documents.

use super::StoreError;
use berth_protocol::JobHash;
use sqlx::SqliteConnection;

pub(crate) async fn put(conn: &mut SqliteConnection, hash: JobHash, document: &[u8]) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO job (hash, document) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(hash.get().to_vec())
        .bind(document)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn get(conn: &mut SqliteConnection, hash: JobHash) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT document FROM job WHERE hash = $1")
        .bind(hash.get().to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|(document,)| document))
}
