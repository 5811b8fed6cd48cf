//! `round` and `leaf`: rounds that we close, and the tasks in them.

use super::{foreign, hash, signed, small, unsigned};
use alloy::primitives::B256;
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{
    DealId, TaskId,
    round::{ClosedRound, ClosedWord},
};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "round";
/// Bytes of one word: deal, number, bits.
const WORD_BYTES: usize = 49;

/// A round that we close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    /// Of its transaction in the outbox.
    pub(crate) key: String,
    /// Its root, and what it closes.
    pub(crate) round: ClosedRound,
    /// Where it was closed.
    pub(crate) closed: Option<(B256, BlockNumber)>,
    /// Since when its workers know; wall clock.
    pub(crate) shown_ms: Option<u64>,
}

#[derive(FromRow)]
struct Row {
    key: String,
    root: Vec<u8>,
    closed: Vec<u8>,
    tx: Option<Vec<u8>>,
    block: Option<i64>,
    shown_ms: Option<i64>,
}

impl TryFrom<Row> for Round {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let closed = match (row.tx, row.block) {
            (Some(tx), Some(block)) => Some((hash(TABLE, &tx)?, BlockNumber::new(unsigned(TABLE, block)?))),
            _ => None,
        };
        let words = row.closed.chunks(WORD_BYTES).map(word).collect::<Result<_, _>>()?;
        Ok(Self {
            key: row.key,
            round: ClosedRound { root: hash(TABLE, &row.root)?, closed: words },
            closed,
            shown_ms: row.shown_ms.map(|ms| unsigned(TABLE, ms)).transpose()?,
        })
    }
}

fn pack(word: &ClosedWord) -> [u8; WORD_BYTES] {
    let mut bytes = [0; WORD_BYTES];
    bytes[..32].copy_from_slice(word.deal.get().as_slice());
    bytes[32..36].copy_from_slice(&word.word.to_be_bytes());
    bytes[36..].copy_from_slice(&word.bits.to_be_bytes()[3..]);
    bytes
}

fn word(bytes: &[u8]) -> Result<ClosedWord, StoreError> {
    let bytes: &[u8; WORD_BYTES] = bytes.try_into().map_err(|_| foreign(TABLE, "half a word"))?;
    let (deal, rest) = bytes.split_at(32);
    let (number, low) = rest.split_at(4);
    let mut bits = [0; 16];
    bits[3..].copy_from_slice(low);
    let number: [u8; 4] = number.try_into().map_err(|_| foreign(TABLE, "no number of a word"))?;
    Ok(ClosedWord {
        deal: DealId::new(hash(TABLE, deal)?),
        word: u32::from_be_bytes(number),
        bits: u128::from_be_bytes(bits),
    })
}

/// Takes a new round, with its tasks in the order of its leaves.
pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    key: &str,
    round: &ClosedRound,
    tasks: &[TaskId],
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO round (key, root, closed) VALUES ($1, $2, $3)")
        .bind(key)
        .bind(round.root.to_vec())
        .bind(round.closed.iter().flat_map(pack).collect::<Vec<u8>>())
        .execute(&mut *conn)
        .await?;
    for (place, task) in (0_i64..).zip(tasks) {
        sqlx::query("INSERT INTO leaf (task, round, place) VALUES ($1, $2, $3)")
            .bind(task.get().to_vec())
            .bind(key)
            .bind(place)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

pub(crate) async fn get(conn: &mut SqliteConnection, key: &str) -> Result<Option<Round>, StoreError> {
    let row: Option<Row> = sqlx::query_as("SELECT key, root, closed, tx, block, shown_ms FROM round WHERE key = $1")
        .bind(key)
        .fetch_optional(conn)
        .await?;
    row.map(TryInto::try_into).transpose()
}

/// The round of a task.
pub(crate) async fn of_task(conn: &mut SqliteConnection, task: TaskId) -> Result<Option<Round>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT key, root, closed, tx, block, shown_ms FROM round JOIN leaf ON leaf.round = round.key
         WHERE leaf.task = $1",
    )
    .bind(task.get().to_vec())
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Rounds with this root.
pub(crate) async fn with_root(conn: &mut SqliteConnection, root: B256) -> Result<Vec<Round>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT key, root, closed, tx, block, shown_ms FROM round WHERE root = $1")
        .bind(root.to_vec())
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Rounds with a task that has not ended.
pub(crate) async fn going(conn: &mut SqliteConnection) -> Result<Vec<Round>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT key, root, closed, tx, block, shown_ms FROM round WHERE EXISTS (
             SELECT 1 FROM leaf JOIN task ON task.id = leaf.task
             WHERE leaf.round = round.key AND task.end_block IS NULL)
         ORDER BY key",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The tasks of a round with their places. Those of a deal that is gone are missing.
pub(crate) async fn leaves(conn: &mut SqliteConnection, key: &str) -> Result<Vec<(u32, TaskId)>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT place, task FROM leaf WHERE round = $1 ORDER BY place")
        .bind(key)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(|(place, task)| Ok((small(TABLE, place)?, TaskId::new(hash(TABLE, &task)?)))).collect()
}

/// Which tasks that have not ended are in which round.
pub(crate) async fn members(conn: &mut SqliteConnection) -> Result<Vec<(TaskId, String)>, StoreError> {
    let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
        "SELECT leaf.task, leaf.round FROM leaf JOIN task ON task.id = leaf.task WHERE task.end_block IS NULL",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|(task, round)| Ok((TaskId::new(hash(TABLE, &task)?), round))).collect()
}

/// Notes where a round was closed.
pub(crate) async fn close(
    conn: &mut SqliteConnection,
    key: &str,
    (tx, block): (B256, BlockNumber),
) -> Result<(), StoreError> {
    sqlx::query("UPDATE round SET tx = $1, block = $2 WHERE key = $3")
        .bind(tx.to_vec())
        .bind(signed(block.get()))
        .bind(key)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes that a closed round's workers were told; says whether that is new.
pub(crate) async fn show(conn: &mut SqliteConnection, key: &str, now_ms: u64) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE round SET shown_ms = $1 WHERE key = $2 AND block IS NOT NULL AND shown_ms IS NULL")
        .bind(signed(now_ms))
        .bind(key)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes back what blocks above `block` closed; gives the rounds' keys.
pub(crate) async fn unwind(conn: &mut SqliteConnection, block: BlockNumber) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> =
        sqlx::query_as("UPDATE round SET tx = NULL, block = NULL, shown_ms = NULL WHERE block > $1 RETURNING key")
            .bind(signed(block.get()))
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Forgets a round that came to nothing.
pub(crate) async fn delete(conn: &mut SqliteConnection, key: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM round WHERE key = $1").bind(key).execute(conn).await?;
    Ok(())
}

/// Where each task of a deal was closed.
pub(crate) async fn closes(
    conn: &mut SqliteConnection,
    deal: DealId,
) -> Result<Vec<(TaskId, B256, BlockNumber)>, StoreError> {
    let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT leaf.task, round.tx, round.block FROM leaf JOIN round ON round.key = leaf.round
         JOIN task ON task.id = leaf.task WHERE task.deal = $1 AND round.block IS NOT NULL",
    )
    .bind(deal.get().to_vec())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(task, tx, block)| {
            let block = BlockNumber::new(unsigned(TABLE, block)?);
            Ok((TaskId::new(hash(TABLE, &task)?), hash(TABLE, &tx)?, block))
        })
        .collect()
}
