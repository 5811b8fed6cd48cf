//! `mailbox` and `mail`: numbered letters to each worker.

use super::{attempt, foreign, signed, unsigned};
use berth_chain::StoreError;
use berth_protocol::WorkerAddr;
use berth_wire::worker::Mail;
use sqlx::SqliteConnection;

const TABLE: &str = "mail";

/// Puts a letter into a worker's mailbox; gives its number.
pub(crate) async fn put(conn: &mut SqliteConnection, worker: WorkerAddr, mail: &Mail) -> Result<u64, StoreError> {
    let body = serde_json::to_string(mail).expect("our letters have string keys and always serialise");
    let (seq,): (i64,) = sqlx::query_as(
        "INSERT INTO mailbox (worker, last_seq, acked_seq) VALUES ($1, 1, 0)
         ON CONFLICT (worker) DO UPDATE SET last_seq = mailbox.last_seq + 1 RETURNING last_seq",
    )
    .bind(worker.get().to_vec())
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query("INSERT INTO mail (worker, seq, body) VALUES ($1, $2, $3)")
        .bind(worker.get().to_vec())
        .bind(seq)
        .bind(body)
        .execute(conn)
        .await?;
    unsigned(TABLE, seq)
}

/// At most `limit` letters after `seq`.
pub(crate) async fn after(
    conn: &mut SqliteConnection,
    worker: WorkerAddr,
    seq: u64,
    limit: u32,
) -> Result<Vec<(u64, Mail)>, StoreError> {
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT seq, body FROM mail WHERE worker = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(worker.get().to_vec())
            .bind(signed(seq))
            .bind(i64::from(limit))
            .fetch_all(conn)
            .await?;
    rows.into_iter()
        .map(|(seq, body)| {
            let mail = serde_json::from_str(&body).map_err(|error| foreign(TABLE, error.to_string()))?;
            Ok((unsigned(TABLE, seq)?, mail))
        })
        .collect()
}

/// Forgets the letters up to `seq`, which the worker has.
pub(crate) async fn ack(conn: &mut SqliteConnection, worker: WorkerAddr, seq: u64) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE mailbox SET acked_seq = $1 WHERE worker = $2 AND acked_seq < $1 AND last_seq >= $1")
        .bind(signed(seq))
        .bind(worker.get().to_vec())
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 1 {
        sqlx::query("DELETE FROM mail WHERE worker = $1 AND seq <= $2")
            .bind(worker.get().to_vec())
            .bind(signed(seq))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Takes up a worker whose journal holds letters up to `seq`. Letters reach a worker without a gap, so where its journal
/// and this database disagree (one of them was lost, and is younger), what waits is numbered anew from where it stands.
pub(crate) async fn resume(conn: &mut SqliteConnection, worker: WorkerAddr, seq: u64) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO mailbox (worker, last_seq, acked_seq) VALUES ($1, 0, 0) ON CONFLICT (worker) DO NOTHING")
        .bind(worker.get().to_vec())
        .execute(&mut *conn)
        .await?;
    let (last, acked): (i64, i64) = sqlx::query_as("SELECT last_seq, acked_seq FROM mailbox WHERE worker = $1")
        .bind(worker.get().to_vec())
        .fetch_one(&mut *conn)
        .await?;
    let known = signed(seq);
    if (acked..=last).contains(&known) {
        return ack(conn, worker, seq).await;
    }
    let shift = known - acked;
    let mut waiting: Vec<i64> = (acked + 1..=last).collect();
    if shift > 0 {
        // From the top, so that no number is taken twice on the way.
        waiting.reverse();
    }
    for old in waiting {
        sqlx::query("UPDATE mail SET seq = seq + $1 WHERE worker = $2 AND seq = $3")
            .bind(shift)
            .bind(worker.get().to_vec())
            .bind(old)
            .execute(&mut *conn)
            .await?;
    }
    attempt::renumber(conn, worker, shift).await?;
    sqlx::query("UPDATE mailbox SET last_seq = $1, acked_seq = $2 WHERE worker = $3")
        .bind(last + shift)
        .bind(known)
        .bind(worker.get().to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

/// Workers that have not acknowledged everything, and the number of their last letter.
pub(crate) async fn waiting(conn: &mut SqliteConnection) -> Result<Vec<(WorkerAddr, u64)>, StoreError> {
    let rows: Vec<(Vec<u8>, i64)> =
        sqlx::query_as("SELECT worker, last_seq FROM mailbox WHERE acked_seq < last_seq").fetch_all(conn).await?;
    rows.into_iter()
        .map(|(worker, seq)| Ok((WorkerAddr::new(super::address(TABLE, &worker)?), unsigned(TABLE, seq)?)))
        .collect()
}
