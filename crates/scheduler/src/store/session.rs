//! `challenge` and `session`: who may ask for what. Tokens are kept by their sha256 only.

use super::{address, foreign, signed};
use alloy::primitives::Address;
use berth_chain::StoreError;
use berth_wire::units::Sha256;
use sqlx::SqliteConnection;

/// Who stands behind a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Whoever signed in as this account.
    Person(Address),
    /// A worker, connected now or a short while ago.
    Worker(Address),
}

impl Caller {
    pub(crate) const fn account(self) -> Address {
        match self {
            Self::Person(account) | Self::Worker(account) => account,
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Person(_) => "person",
            Self::Worker(_) => "worker",
        }
    }
}

pub(crate) async fn challenge(
    conn: &mut SqliteConnection,
    nonce: &str,
    message: &str,
    expires: u64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO challenge (nonce, message, expires) VALUES ($1, $2, $3)")
        .bind(nonce)
        .bind(message)
        .bind(signed(expires))
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the challenge away, if it is there: each is good once.
pub(crate) async fn redeem(
    conn: &mut SqliteConnection,
    nonce: &str,
    message: &str,
    now: u64,
) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM challenge WHERE nonce = $1 AND message = $2 AND expires >= $3")
        .bind(nonce)
        .bind(message)
        .bind(signed(now))
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn open(
    conn: &mut SqliteConnection,
    token: Sha256,
    caller: Caller,
    expires: u64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO session (token, account, kind, expires) VALUES ($1, $2, $3, $4)")
        .bind(token.0.to_vec())
        .bind(caller.account().to_vec())
        .bind(caller.kind())
        .bind(signed(expires))
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn caller(conn: &mut SqliteConnection, token: Sha256, now: u64) -> Result<Option<Caller>, StoreError> {
    let row: Option<(Vec<u8>, String)> =
        sqlx::query_as("SELECT account, kind FROM session WHERE token = $1 AND expires >= $2")
            .bind(token.0.to_vec())
            .bind(signed(now))
            .fetch_optional(conn)
            .await?;
    row.map(|(account, kind)| {
        let account = address("session", &account)?;
        match kind.as_str() {
            "person" => Ok(Caller::Person(account)),
            "worker" => Ok(Caller::Worker(account)),
            _ => Err(foreign("session", kind)),
        }
    })
    .transpose()
}

/// How many challenges wait for their signature.
pub(crate) async fn count_challenges(conn: &mut SqliteConnection) -> Result<u64, StoreError> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM challenge").fetch_one(conn).await?;
    super::unsigned("challenge", count)
}

/// Forgets the challenges that were given out first.
pub(crate) async fn drop_oldest_challenges(conn: &mut SqliteConnection, count: u64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM challenge WHERE nonce IN (SELECT nonce FROM challenge ORDER BY expires, nonce LIMIT $1)")
        .bind(signed(count))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets what is over.
pub(crate) async fn drop_expired(conn: &mut SqliteConnection, now: u64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM challenge WHERE expires < $1").bind(signed(now)).execute(&mut *conn).await?;
    sqlx::query("DELETE FROM session WHERE expires < $1").bind(signed(now)).execute(conn).await?;
    Ok(())
}
