//! `unwanted`: deals that their requester wants back.

use super::{hash, signed};
use berth_chain::StoreError;
use berth_protocol::DealId;
use sqlx::SqliteConnection;
use std::collections::HashSet;

pub(crate) async fn insert(conn: &mut SqliteConnection, deal: DealId, since_ms: u64) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO unwanted (deal, since_ms) VALUES ($1, $2) ON CONFLICT (deal) DO NOTHING")
        .bind(deal.get().to_vec())
        .bind(signed(since_ms))
        .execute(conn)
        .await?;
    Ok(())
}

/// Those of deals that have something left to do.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<HashSet<DealId>, StoreError> {
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT unwanted.deal FROM unwanted JOIN deal ON deal.id = unwanted.deal WHERE deal.ended = 0")
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|(deal,)| Ok(DealId::new(hash("unwanted", &deal)?))).collect()
}
