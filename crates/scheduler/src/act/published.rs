//! Reveals that workers published on chain, since their scheduler could not be reached: as good as handed over, but for the
//! results. What such a pair answers is known once another pair of its task with the same tag is open.

use crate::store::{self, pair::Pair};
use alloy::primitives::B256;
use berth_chain::StoreError;
use berth_protocol::{TaskId, WorkerAddr};
use sqlx::SqliteConnection;

/// A worker's pairs that a reveal of this root opens, once they are on chain.
pub(crate) async fn closed_pairs(
    conn: &mut SqliteConnection,
    root: B256,
    worker: WorkerAddr,
) -> Result<Vec<Pair>, StoreError> {
    for round in store::round::with_root(conn, root).await? {
        if round.closed.is_some() {
            return store::pair::in_round(conn, &round.key, worker).await;
        }
    }
    Ok(store::pair::ending(conn, root, worker).await?.into_iter().collect())
}

/// Opens the pairs of a task whose seeds are known and that answer as a pair that is open; says whether there was one.
pub(crate) async fn open_alike(conn: &mut SqliteConnection, task: TaskId) -> Result<bool, StoreError> {
    let pairs = store::pair::of_task(conn, task).await?;
    let of_leaf = store::round::of_task(conn, task).await?.map(|round| round.round.root);
    let mut is_news = false;
    for pair in pairs.iter().filter(|pair| pair.digest.is_none()) {
        let alike = pairs.iter().filter(|other| other.tag == pair.tag).find_map(|other| other.digest);
        let root = if pair.append.is_none() { of_leaf } else { Some(pair.chain) };
        let (Some(digest), Some(root)) = (alike, root) else { continue };
        let reveals = store::reveal::of(conn, root).await?;
        let Some(reveal) = reveals.into_iter().find(|reveal| reveal.worker == pair.worker) else { continue };
        if pair.bare().opens(task, digest, reveal.seed) {
            is_news |= store::pair::open(conn, task, pair.worker, digest).await?;
        }
    }
    Ok(is_news)
}
