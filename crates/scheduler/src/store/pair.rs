//! `pair`: the chain of each task's pairs: those of its leaf, then the appended ones.

use super::{address, foreign, hash, signed, small, unsigned};
use alloy::primitives::B256;
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{DealId, ResultDigest, TaskId, WorkerAddr};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "pair";

/// A worker's hidden answer that a round or an append has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) task: TaskId,
    /// Its place in the task's chain.
    pub(crate) nth: u32,
    pub(crate) worker: WorkerAddr,
    pub(crate) commitment: B256,
    pub(crate) tag: B256,
    pub(crate) seed_hash: B256,
    /// The worker's, over the commitment.
    pub(crate) signature: Vec<u8>,
    /// The chain's hash up to here.
    pub(crate) chain: B256,
    /// The key of the transaction that appends it; `None`: it is of the leaf.
    pub(crate) append: Option<String>,
    /// Where it was appended.
    pub(crate) appended: Option<(B256, BlockNumber)>,
    /// Since when its worker knows that it was appended; wall clock.
    pub(crate) shown_ms: Option<u64>,
    /// What it opened to.
    pub(crate) digest: Option<ResultDigest>,
}

impl Pair {
    /// What the protocol sees of it.
    pub(crate) const fn bare(&self) -> berth_protocol::round::Pair {
        berth_protocol::round::Pair { worker: self.worker, commitment: self.commitment }
    }
}

#[derive(FromRow)]
struct Row {
    task: Vec<u8>,
    nth: i64,
    worker: Vec<u8>,
    commitment: Vec<u8>,
    tag: Vec<u8>,
    seed_hash: Vec<u8>,
    signature: Vec<u8>,
    chain: Vec<u8>,
    append: Option<String>,
    append_tx: Option<Vec<u8>>,
    append_block: Option<i64>,
    shown_ms: Option<i64>,
    digest: Option<Vec<u8>>,
}

impl TryFrom<Row> for Pair {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let appended = match (row.append_tx, row.append_block) {
            (Some(tx), Some(block)) => Some((hash(TABLE, &tx)?, BlockNumber::new(unsigned(TABLE, block)?))),
            _ => None,
        };
        let digest =
            |bytes: Vec<u8>| ResultDigest::new(hash(TABLE, &bytes)?).ok_or_else(|| foreign(TABLE, "no digest"));
        Ok(Self {
            task: TaskId::new(hash(TABLE, &row.task)?),
            nth: small(TABLE, row.nth)?,
            worker: WorkerAddr::new(address(TABLE, &row.worker)?),
            commitment: hash(TABLE, &row.commitment)?,
            tag: hash(TABLE, &row.tag)?,
            seed_hash: hash(TABLE, &row.seed_hash)?,
            signature: row.signature,
            chain: hash(TABLE, &row.chain)?,
            append: row.append,
            appended,
            shown_ms: row.shown_ms.map(|ms| unsigned(TABLE, ms)).transpose()?,
            digest: row.digest.map(digest).transpose()?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT pair.task, pair.nth, pair.worker, pair.commitment, pair.tag, pair.seed_hash, pair.signature, ",
            "pair.chain, pair.append, pair.append_tx, pair.append_block, pair.shown_ms, pair.digest FROM pair ",
            $rest
        )
    };
}

/// Takes a new pair.
pub(crate) async fn insert(conn: &mut SqliteConnection, new: &Pair) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO pair (task, nth, worker, commitment, tag, seed_hash, signature, chain, append)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(new.task.get().to_vec())
    .bind(i64::from(new.nth))
    .bind(new.worker.get().to_vec())
    .bind(new.commitment.to_vec())
    .bind(new.tag.to_vec())
    .bind(new.seed_hash.to_vec())
    .bind(&new.signature)
    .bind(new.chain.to_vec())
    .bind(new.append.as_deref())
    .execute(conn)
    .await?;
    Ok(())
}

/// A task's pairs, in their order.
pub(crate) async fn of_task(conn: &mut SqliteConnection, task: TaskId) -> Result<Vec<Pair>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as(select!("WHERE task = $1 ORDER BY nth")).bind(task.get().to_vec()).fetch_all(conn).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// All pairs of a deal's tasks, by task and place.
pub(crate) async fn of_deal(conn: &mut SqliteConnection, deal: DealId) -> Result<Vec<Pair>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as(select!("JOIN task ON task.id = pair.task WHERE task.deal = $1 ORDER BY pair.task, pair.nth"))
            .bind(deal.get().to_vec())
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// All pairs of tasks that have not ended, by task and place.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<Vec<Pair>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "JOIN task ON task.id = pair.task JOIN deal ON deal.id = task.deal
         WHERE deal.ended = 0 AND task.end_block IS NULL ORDER BY pair.task, pair.nth"
    ))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A worker's pairs in the leaves of a round.
pub(crate) async fn in_round(
    conn: &mut SqliteConnection,
    round: &str,
    worker: WorkerAddr,
) -> Result<Vec<Pair>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "JOIN leaf ON leaf.task = pair.task WHERE leaf.round = $1 AND pair.worker = $2 AND pair.append IS NULL
         ORDER BY leaf.place"
    ))
    .bind(round)
    .bind(worker.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Everybody with a pair in the leaves of a round.
pub(crate) async fn workers_of_round(conn: &mut SqliteConnection, round: &str) -> Result<Vec<WorkerAddr>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT DISTINCT pair.worker FROM pair JOIN leaf ON leaf.task = pair.task
         WHERE leaf.round = $1 AND pair.append IS NULL ORDER BY pair.worker",
    )
    .bind(round)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(worker,)| address(TABLE, &worker).map(WorkerAddr::new)).collect()
}

/// The worker's appended pair in which this chain ends, once it is on chain.
pub(crate) async fn ending(
    conn: &mut SqliteConnection,
    chain: B256,
    worker: WorkerAddr,
) -> Result<Option<Pair>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as(select!("WHERE chain = $1 AND worker = $2 AND append_tx IS NOT NULL LIMIT 1"))
            .bind(chain.to_vec())
            .bind(worker.get().to_vec())
            .fetch_optional(conn)
            .await?;
    row.map(TryInto::try_into).transpose()
}

/// The pairs of workers' seeds that rounds or appends have taken.
pub(crate) async fn spent(conn: &mut SqliteConnection) -> Result<Vec<(WorkerAddr, B256)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT DISTINCT pair.worker, pair.seed_hash FROM pair
         JOIN commitment ON commitment.worker = pair.worker AND commitment.seed_hash = pair.seed_hash
         JOIN task ON task.id = commitment.task WHERE task.end_block IS NULL",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(worker, seed)| Ok((WorkerAddr::new(address(TABLE, &worker)?), hash(TABLE, &seed)?)))
        .collect()
}

/// Whether a round or an append has taken anything under this seed.
pub(crate) async fn is_spent(
    conn: &mut SqliteConnection,
    worker: WorkerAddr,
    seed_hash: B256,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM pair WHERE worker = $1 AND seed_hash = $2 LIMIT 1")
        .bind(worker.get().to_vec())
        .bind(seed_hash.to_vec())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// Notes what a pair opened to; says whether that is new.
pub(crate) async fn open(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
    digest: ResultDigest,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE pair SET digest = $1 WHERE task = $2 AND worker = $3 AND digest IS NULL")
        .bind(digest.get().to_vec())
        .bind(task.get().to_vec())
        .bind(worker.get().to_vec())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets the pairs of a round's leaves: the round came to nothing.
pub(crate) async fn drop_round(conn: &mut SqliteConnection, round: &str) -> Result<(), StoreError> {
    let statement = "DELETE FROM pair WHERE append IS NULL AND task IN (SELECT task FROM leaf WHERE round = $1)";
    sqlx::query(statement).bind(round).execute(conn).await?;
    Ok(())
}

/// Forgets pairs whose append came to nothing.
pub(crate) async fn drop_append(conn: &mut SqliteConnection, key: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pair WHERE append = $1 AND append_tx IS NULL").bind(key).execute(conn).await?;
    Ok(())
}

/// Notes that a task's chain up to `chain` is on chain; says whether that is new.
pub(crate) async fn appended(
    conn: &mut SqliteConnection,
    task: TaskId,
    chain: B256,
    (tx, block): (B256, BlockNumber),
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE pair SET append_tx = $1, append_block = $2 WHERE task = $3 AND append IS NOT NULL
         AND append_tx IS NULL AND nth <= (SELECT last.nth FROM pair AS last WHERE last.task = $3 AND last.chain = $4)",
    )
    .bind(tx.to_vec())
    .bind(signed(block.get()))
    .bind(task.get().to_vec())
    .bind(chain.to_vec())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that a worker was told of its appended pair; says whether that is new.
pub(crate) async fn show(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
    now_ms: u64,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE pair SET shown_ms = $1 WHERE task = $2 AND worker = $3 AND append_tx IS NOT NULL AND shown_ms IS NULL",
    )
    .bind(signed(now_ms))
    .bind(task.get().to_vec())
    .bind(worker.get().to_vec())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes back what blocks above `block` appended: its transactions are on their way again.
pub(crate) async fn unwind(conn: &mut SqliteConnection, block: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("UPDATE pair SET append_tx = NULL, append_block = NULL, shown_ms = NULL WHERE append_block > $1")
        .bind(signed(block.get()))
        .execute(conn)
        .await?;
    Ok(())
}
