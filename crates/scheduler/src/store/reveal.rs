//! `reveal`: what opens workers' pairs.

use super::{address, hash};
use alloy::primitives::B256;
use berth_chain::StoreError;
use berth_protocol::WorkerAddr;
use sqlx::SqliteConnection;

const TABLE: &str = "reveal";

/// A worker's seed under a root, or under the hash of a chain, with its signature over both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reveal {
    pub(crate) root: B256,
    pub(crate) worker: WorkerAddr,
    pub(crate) seed: B256,
    pub(crate) signature: Vec<u8>,
}

/// Keeps a reveal. One that is there stays.
pub(crate) async fn put(conn: &mut SqliteConnection, new: &Reveal) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reveal (root, worker, seed, signature) VALUES ($1, $2, $3, $4)
         ON CONFLICT (root, worker) DO NOTHING",
    )
    .bind(new.root.to_vec())
    .bind(new.worker.get().to_vec())
    .bind(new.seed.to_vec())
    .bind(&new.signature)
    .execute(conn)
    .await?;
    Ok(())
}

/// All reveals of a root.
pub(crate) async fn of(conn: &mut SqliteConnection, root: B256) -> Result<Vec<Reveal>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT worker, seed, signature FROM reveal WHERE root = $1 ORDER BY worker")
            .bind(root.to_vec())
            .fetch_all(conn)
            .await?;
    rows.into_iter()
        .map(|(worker, seed, signature)| {
            let worker = WorkerAddr::new(address(TABLE, &worker)?);
            Ok(Reveal { root, worker, seed: hash(TABLE, &seed)?, signature })
        })
        .collect()
}

/// Whether the seed with this hash is revealed.
pub(crate) async fn is_known(
    conn: &mut SqliteConnection,
    worker: WorkerAddr,
    seed_hash: B256,
) -> Result<bool, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT seed FROM reveal WHERE worker = $1
         AND EXISTS (SELECT 1 FROM pair WHERE pair.worker = $1 AND pair.seed_hash = $2)",
    )
    .bind(worker.get().to_vec())
    .bind(seed_hash.to_vec())
    .fetch_all(conn)
    .await?;
    for (seed,) in rows {
        if alloy::primitives::keccak256(hash(TABLE, &seed)?) == seed_hash {
            return Ok(true);
        }
    }
    Ok(false)
}
