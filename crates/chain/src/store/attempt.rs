//! `outbox_attempt`: every signed form of an intent.

use super::{StoreError, hash, signed, unsigned};
use crate::{block::BlockNumber, outbox::fees::Fees};
use alloy::primitives::{Address, B256};
use sqlx::SqliteConnection;
use std::collections::HashMap;

const TABLE: &str = "outbox_attempt";

/// A signed form of an intent.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) tx_hash: B256,
    pub(crate) raw: Vec<u8>,
    pub(crate) gas_limit: u64,
    pub(crate) fees: Fees,
    /// The head when it was last given to the node.
    pub(crate) sent: BlockNumber,
}

pub(crate) async fn add(conn: &mut SqliteConnection, seq: i64, attempt: &Attempt) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox_attempt (tx_hash, seq, raw, gas_limit, max_fee, tip, sent_block)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(attempt.tx_hash.as_slice())
    .bind(seq)
    .bind(attempt.raw.as_slice())
    .bind(signed(attempt.gas_limit))
    .bind(attempt.fees.max_fee.to_string())
    .bind(attempt.fees.tip.to_string())
    .bind(signed(attempt.sent.get()))
    .execute(conn)
    .await?;
    Ok(())
}

/// The attempts of an account's intents in flight, by the intent, the first first.
pub(crate) async fn in_flight(
    conn: &mut SqliteConnection,
    sender: Address,
) -> Result<HashMap<i64, Vec<Attempt>>, StoreError> {
    type Row = (i64, Vec<u8>, Vec<u8>, i64, String, String, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT a.seq, a.tx_hash, a.raw, a.gas_limit, a.max_fee, a.tip, a.sent_block
         FROM outbox_attempt a JOIN outbox o ON o.seq = a.seq
         WHERE o.sender = $1 AND o.phase = 'in_flight' ORDER BY a.rowid",
    )
    .bind(sender.as_slice())
    .fetch_all(conn)
    .await?;
    let mut attempts: HashMap<i64, Vec<Attempt>> = HashMap::new();
    for (seq, tx_hash, raw, gas_limit, max_fee, tip, sent) in rows {
        let attempt = Attempt {
            tx_hash: hash(TABLE, &tx_hash)?,
            raw,
            gas_limit: unsigned(TABLE, gas_limit)?,
            fees: Fees { max_fee: wei(&max_fee)?, tip: wei(&tip)? },
            sent: BlockNumber::new(unsigned(TABLE, sent)?),
        };
        attempts.entry(seq).or_default().push(attempt);
    }
    Ok(attempts)
}

/// The hashes of an intent's attempts, the first first.
pub(crate) async fn hashes(conn: &mut SqliteConnection, seq: i64) -> Result<Vec<B256>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT tx_hash FROM outbox_attempt WHERE seq = $1 ORDER BY rowid")
        .bind(seq)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|(bytes,)| hash(TABLE, bytes)).collect()
}

/// Notes that an attempt was given to the node once more.
pub(crate) async fn resent(conn: &mut SqliteConnection, tx: B256, at: BlockNumber) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox_attempt SET sent_block = $1 WHERE tx_hash = $2")
        .bind(signed(at.get()))
        .bind(tx.as_slice())
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets the attempts of an intent, none of which can be mined any more.
pub(crate) async fn drop_of(conn: &mut SqliteConnection, seq: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox_attempt WHERE seq = $1").bind(seq).execute(conn).await?;
    Ok(())
}

fn wei(text: &str) -> Result<u128, StoreError> {
    text.parse().map_err(|_| StoreError::Foreign { table: TABLE, what: text.to_owned() })
}
