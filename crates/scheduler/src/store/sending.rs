//! `sending`: our own transactions about a deal, by their key in the outbox.

use super::{foreign, hash, signed, small, unsigned};
use berth_chain::StoreError;
use berth_protocol::{DealId, Timestamp};
use sqlx::SqliteConnection;

const TABLE: &str = "sending";

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Settles tasks.
    Settle,
    /// Gives tasks back.
    Decline,
    /// Ends what is open after the final deadline.
    Claim,
    /// Closes a round; stands under the first of its deals.
    Close,
    /// Adds pairs to a task.
    Append,
    /// Punishes workers that never opened their pairs.
    Punish,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Settle, Self::Decline, Self::Claim, Self::Close, Self::Append, Self::Punish];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Decline => "decline",
            Self::Claim => "claim",
            Self::Close => "close",
            Self::Append => "append",
            Self::Punish => "punish",
        }
    }
}

/// A transaction on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) key: String,
    pub(crate) deal: DealId,
    pub(crate) kind: Kind,
}

/// How often transactions of one kind came to nothing for one deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) deal: DealId,
    pub(crate) kind: Kind,
    pub(crate) count: u32,
    /// When the last one did.
    pub(crate) last: Timestamp,
}

fn kind(name: &str) -> Result<Kind, StoreError> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| foreign(TABLE, name))
}

/// Notes a transaction that goes into the outbox in this database transaction.
pub(crate) async fn insert(conn: &mut SqliteConnection, sent: &Sent) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO sending (key, deal, kind, state) VALUES ($1, $2, $3, 'sent')
         ON CONFLICT (key) DO UPDATE SET state = 'sent', failed_at = NULL",
    )
    .bind(&sent.key)
    .bind(sent.deal.get().to_vec())
    .bind(sent.kind.name())
    .execute(conn)
    .await?;
    Ok(())
}

/// Transactions on their way.
pub(crate) async fn sent(conn: &mut SqliteConnection) -> Result<Vec<Sent>, StoreError> {
    let rows: Vec<(String, Vec<u8>, String)> =
        sqlx::query_as("SELECT key, deal, kind FROM sending WHERE state = 'sent' ORDER BY key").fetch_all(conn).await?;
    rows.into_iter()
        .map(|(key, deal, name)| Ok(Sent { key, deal: DealId::new(hash(TABLE, &deal)?), kind: kind(&name)? }))
        .collect()
}

/// What came to nothing, of deals with something left to do; and punishments, which come after their deals.
pub(crate) async fn failures(conn: &mut SqliteConnection) -> Result<Vec<Failures>, StoreError> {
    let rows: Vec<(Vec<u8>, String, i64, i64)> = sqlx::query_as(
        "SELECT sending.deal, sending.kind, COUNT(*), MAX(sending.failed_at)
         FROM sending JOIN deal ON deal.id = sending.deal
         WHERE sending.state = 'failed' AND (deal.ended = 0 OR sending.kind = 'punish')
         GROUP BY sending.deal, sending.kind",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|(deal, name, count, last)| {
            Ok(Failures {
                deal: DealId::new(hash(TABLE, &deal)?),
                kind: kind(&name)?,
                count: small(TABLE, count)?,
                last: Timestamp::new(unsigned(TABLE, last)?),
            })
        })
        .collect()
}

/// How often transactions of this kind came to nothing for this deal.
pub(crate) async fn count_failed(conn: &mut SqliteConnection, deal: DealId, kind: Kind) -> Result<u32, StoreError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM sending WHERE deal = $1 AND kind = $2 AND state = 'failed'")
            .bind(deal.get().to_vec())
            .bind(kind.name())
            .fetch_one(conn)
            .await?;
    small(TABLE, count)
}

/// Sent, to failed; says whether it was sent.
pub(crate) async fn fail(conn: &mut SqliteConnection, key: &str, at: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE sending SET state = 'failed', failed_at = $1 WHERE key = $2 AND state = 'sent'")
        .bind(signed(at.seconds()))
        .bind(key)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Sent, to done: it did what it should, in a block that stays.
pub(crate) async fn finish(conn: &mut SqliteConnection, key: &str) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE sending SET state = 'done' WHERE key = $1 AND state = 'sent'")
        .bind(key)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
