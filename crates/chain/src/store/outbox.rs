//! `outbox`: what is wanted, and how far it is.

use super::{StoreError, address, hash, signed, unsigned};
use crate::{
    block::BlockNumber,
    outbox::{Intent, Key, Mined, Outcome},
};
use alloy::primitives::{Address, B256, Bytes};
use sqlx::{FromRow, SqliteConnection};

const TABLE: &str = "outbox";

/// Writes an intent unless its key is there already; says whether it was written.
pub(crate) async fn insert(conn: &mut SqliteConnection, intent: &Intent) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO outbox (key, sender, target, calldata, value_wei, gas_hint, note, phase)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued') ON CONFLICT (key) DO NOTHING",
    )
    .bind(intent.key.as_str())
    .bind(intent.from.as_slice())
    .bind(intent.to.as_ref().map(|to| to.as_slice()))
    .bind(intent.calldata.as_ref())
    .bind(intent.value_wei.to_string())
    .bind(intent.gas_hint.map(signed))
    .bind(intent.note.as_str())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[derive(FromRow)]
struct WishRow {
    seq: i64,
    key: String,
    sender: Vec<u8>,
    target: Option<Vec<u8>>,
    calldata: Vec<u8>,
    value_wei: String,
    gas_hint: Option<i64>,
    note: String,
    nonce: Option<i64>,
}

/// An intent that has no receipt yet, with its nonce if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) seq: i64,
    pub(crate) intent: Intent,
    pub(crate) nonce: Option<u64>,
}

impl TryFrom<WishRow> for Wish {
    type Error = StoreError;

    fn try_from(row: WishRow) -> Result<Self, StoreError> {
        let value_wei = row.value_wei.parse();
        Ok(Self {
            seq: row.seq,
            intent: Intent {
                key: Key::new(row.key),
                from: address(TABLE, &row.sender)?,
                to: row.target.map(|to| address(TABLE, &to)).transpose()?,
                calldata: row.calldata.into(),
                value_wei: value_wei.map_err(|_| StoreError::Foreign { table: TABLE, what: row.value_wei })?,
                gas_hint: row.gas_hint.map(|gas| unsigned(TABLE, gas)).transpose()?,
                note: row.note,
            },
            nonce: row.nonce.map(|nonce| unsigned(TABLE, nonce)).transpose()?,
        })
    }
}

/// An account's intents without a receipt, the oldest first.
pub(crate) async fn open(conn: &mut SqliteConnection, sender: Address) -> Result<Vec<Wish>, StoreError> {
    let rows: Vec<WishRow> = sqlx::query_as(
        "SELECT seq, key, sender, target, calldata, value_wei, gas_hint, note, nonce FROM outbox
         WHERE sender = $1 AND phase IN ('queued', 'in_flight') ORDER BY seq",
    )
    .bind(sender.as_slice())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Where an intent was mined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) seq: i64,
    pub(crate) block: BlockNumber,
    pub(crate) block_hash: B256,
}

/// An account's intents that are mined and not yet final.
pub(crate) async fn mined(conn: &mut SqliteConnection, sender: Address) -> Result<Vec<Place>, StoreError> {
    let rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT seq, block, block_hash FROM outbox WHERE sender = $1 AND phase = 'mined' ORDER BY block DESC",
    )
    .bind(sender.as_slice())
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(seq, block, block_hash)| {
            Ok(Place { seq, block: BlockNumber::new(unsigned(TABLE, block)?), block_hash: hash(TABLE, &block_hash)? })
        })
        .collect()
}

/// The highest nonce that an account ever used here.
pub(crate) async fn highest_nonce(conn: &mut SqliteConnection, sender: Address) -> Result<Option<u64>, StoreError> {
    let (nonce,): (Option<i64>,) = sqlx::query_as("SELECT max(nonce) FROM outbox WHERE sender = $1")
        .bind(sender.as_slice())
        .fetch_one(conn)
        .await?;
    nonce.map(|nonce| unsigned(TABLE, nonce)).transpose()
}

/// Queued, to in flight under a nonce.
pub(crate) async fn assign(conn: &mut SqliteConnection, seq: i64, nonce: u64) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE outbox SET phase = 'in_flight', nonce = $1 WHERE seq = $2 AND phase = 'queued'")
        .bind(signed(nonce))
        .bind(seq)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A receipt, as far as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) tx_hash: B256,
    pub(crate) block: BlockNumber,
    pub(crate) block_hash: B256,
    pub(crate) gas_used: u64,
    pub(crate) gas_price: u128,
    pub(crate) succeeded: bool,
    /// Why it failed, where the node can still tell.
    pub(crate) revert: Option<Bytes>,
}

/// In flight, to mined.
pub(crate) async fn mine(conn: &mut SqliteConnection, seq: i64, receipt: &Receipt) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE outbox SET phase = 'mined', tx_hash = $1, block = $2, block_hash = $3, gas_used = $4, gas_price = $5,
             succeeded = $6, revert = $7
         WHERE seq = $8 AND phase = 'in_flight'",
    )
    .bind(receipt.tx_hash.as_slice())
    .bind(signed(receipt.block.get()))
    .bind(receipt.block_hash.as_slice())
    .bind(signed(receipt.gas_used))
    .bind(receipt.gas_price.to_string())
    .bind(receipt.succeeded)
    .bind(receipt.revert.as_ref().map(|data| data.as_ref()))
    .bind(seq)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Mined, back to in flight: its block left the chain.
pub(crate) async fn unmine(conn: &mut SqliteConnection, seq: i64) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE outbox SET phase = 'in_flight', tx_hash = NULL, block = NULL, block_hash = NULL, gas_used = NULL,
             gas_price = NULL, succeeded = NULL, revert = NULL
         WHERE seq = $1 AND phase = 'mined'",
    )
    .bind(seq)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Mined, to final: its block can't leave the chain any more.
pub(crate) async fn finish(conn: &mut SqliteConnection, seq: i64) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE outbox SET phase = 'final' WHERE seq = $1 AND phase = 'mined'")
        .bind(seq)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Final, back to in flight: a reorg went deeper than what counts as final. Says whether there was one with this nonce.
pub(crate) async fn revive(conn: &mut SqliteConnection, sender: Address, nonce: u64) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE outbox SET phase = 'in_flight', tx_hash = NULL, block = NULL, block_hash = NULL, gas_used = NULL,
             gas_price = NULL, succeeded = NULL, revert = NULL
         WHERE sender = $1 AND nonce = $2 AND phase = 'final'",
    )
    .bind(sender.as_slice())
    .bind(signed(nonce))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Queued, to refused with the revert's data.
pub(crate) async fn refuse(conn: &mut SqliteConnection, seq: i64, revert: &Bytes) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE outbox SET phase = 'refused', revert = $1 WHERE seq = $2 AND phase = 'queued'")
        .bind(revert.as_ref())
        .bind(seq)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// In flight, back to queued: another transaction has its nonce for good.
pub(crate) async fn requeue(conn: &mut SqliteConnection, seq: i64) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE outbox SET phase = 'queued', nonce = NULL WHERE seq = $1 AND phase = 'in_flight'")
        .bind(seq)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets an intent that has ended for good; its key may then be used again.
pub(crate) async fn forget(conn: &mut SqliteConnection, key: &Key) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM outbox WHERE key = $1 AND phase IN ('final', 'refused')")
        .bind(key.as_str())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The seq of the row with a key.
pub(crate) async fn seq_of(conn: &mut SqliteConnection, key: &Key) -> Result<Option<i64>, StoreError> {
    let row: Option<(i64,)> =
        sqlx::query_as("SELECT seq FROM outbox WHERE key = $1").bind(key.as_str()).fetch_optional(conn).await?;
    Ok(row.map(|(seq,)| seq))
}

#[derive(FromRow)]
struct OutcomeRow {
    seq: i64,
    sender: Vec<u8>,
    target: Option<Vec<u8>>,
    phase: String,
    nonce: Option<i64>,
    tx_hash: Option<Vec<u8>>,
    block: Option<i64>,
    gas_used: Option<i64>,
    gas_price: Option<String>,
    succeeded: Option<bool>,
    revert: Option<Vec<u8>>,
}

/// How far the intent with a key is; `None` if there is none.
pub(crate) async fn outcome(conn: &mut SqliteConnection, key: &Key) -> Result<Option<Outcome>, StoreError> {
    let row: Option<OutcomeRow> = sqlx::query_as(
        "SELECT seq, sender, target, phase, nonce, tx_hash, block, gas_used, gas_price, succeeded, revert
         FROM outbox WHERE key = $1",
    )
    .bind(key.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(match (row.phase.as_str(), row.nonce) {
        ("queued", _) => Outcome::Queued,
        ("refused", _) => Outcome::Refused { revert: row.revert.unwrap_or_default().into() },
        ("in_flight", Some(nonce)) => {
            Outcome::InFlight { nonce: unsigned(TABLE, nonce)?, hashes: super::attempt::hashes(conn, row.seq).await? }
        }
        ("mined" | "final", Some(nonce)) => Outcome::Mined(receipt(row, nonce)?),
        _ => return Err(StoreError::Foreign { table: TABLE, what: row.phase }),
    }))
}

fn receipt(row: OutcomeRow, nonce: i64) -> Result<Mined, StoreError> {
    let foreign = |what: &str| StoreError::Foreign { table: TABLE, what: what.to_owned() };
    let gas_price = row.gas_price.ok_or_else(|| foreign("no gas price"))?;
    let created = match row.target {
        Some(_) => None,
        None => Some(address(TABLE, &row.sender)?.create(unsigned(TABLE, nonce)?)),
    };
    Ok(Mined {
        tx: hash(TABLE, &row.tx_hash.ok_or_else(|| foreign("no transaction"))?)?,
        block: BlockNumber::new(unsigned(TABLE, row.block.ok_or_else(|| foreign("no block"))?)?),
        gas_used: unsigned(TABLE, row.gas_used.ok_or_else(|| foreign("no gas"))?)?,
        gas_price_wei: gas_price.parse().map_err(|_| foreign(&gas_price))?,
        failed: match row.succeeded {
            Some(true) => None,
            Some(false) => Some(row.revert.unwrap_or_default().into()),
            None => return Err(foreign("no status")),
        },
        created,
        is_final: row.phase == "final",
    })
}
