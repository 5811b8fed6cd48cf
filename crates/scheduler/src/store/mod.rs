//! Every SQL statement of the scheduler: one file a table. Functions take a connection; callers own the transaction.
//!
//! One connection writes and several read, so that writers queue here and not in SQLite's busy loop, which sleeps.

pub(crate) mod app;
pub(crate) mod attempt;
pub(crate) mod bond;
pub(crate) mod commitment;
pub(crate) mod data;
pub(crate) mod deal;
pub(crate) mod holding;
pub(crate) mod job;
pub(crate) mod left_out;
pub(crate) mod list;
pub(crate) mod mail;
pub(crate) mod pair;
pub(crate) mod payment;
pub(crate) mod report;
pub(crate) mod reveal;
pub(crate) mod round;
pub(crate) mod sending;
pub(crate) mod session;
pub(crate) mod task;
pub(crate) mod unwanted;
pub(crate) mod upload;

#[cfg(test)]
mod round_tests;
#[cfg(test)]
mod tests;

use alloy::primitives::{Address, B256};
use berth_chain::StoreError;
use berth_protocol::{Amount, AssetId, Timestamp};
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

/// Marks a database file as a scheduler's ("BrSc"), so that another program's file is not taken for one.
const APPLICATION_ID: i64 = 0x4272_5363;
/// How long a writer waits for another one. Transactions take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers at one time: a few more than there are cores, since most of a read is waiting.
const READERS: u32 = 4;
/// Connections of the chain adapter: the follower and the outbox, each of which may read while it writes.
const CHAIN_CONNECTIONS: u32 = 4;

/// The scheduler's database file.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    reads: SqlitePool,
    writes: SqlitePool,
    chain: SqlitePool,
}

impl Database {
    /// Opens the file, or makes it, and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Money follows from these rows: they survive a loss of power, too.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections);
        let writes = pool(1).connect_with(options.clone()).await?;
        mark(&writes).await?;
        sqlx::migrate!("./migrations").run(&writes).await?;
        berth_chain::migrate(&writes).await?;
        let reads = pool(READERS).connect_with(options.clone()).await?;
        let chain = pool(CHAIN_CONNECTIONS).connect_with(options).await?;
        Ok(Self { reads, writes, chain })
    }

    /// A snapshot to read from.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.reads.begin().await?)
    }

    /// The one transaction that may write.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writes.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// What the chain adapter works with.
    pub(crate) const fn chain(&self) -> &SqlitePool {
        &self.chain
    }

    /// Whose database this is; `pool`'s, if it was nobody's.
    pub(crate) async fn claim(&self, pool: AssetId) -> Result<AssetId, StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO pool_identity (one, pool) VALUES (1, $1) ON CONFLICT (one) DO NOTHING")
            .bind(pool.get().to_vec())
            .execute(&mut *tx)
            .await?;
        let (owner,): (Vec<u8>,) = sqlx::query_as("SELECT pool FROM pool_identity").fetch_one(&mut *tx).await?;
        tx.commit().await?;
        let foreign = || StoreError::Foreign { table: "pool_identity", what: "no pool".to_owned() };
        AssetId::new(hash("pool_identity", &owner)?).ok_or_else(foreign)
    }

    /// Closes all connections, which folds the log into the file.
    pub(crate) async fn close(&self) {
        self.reads.close().await;
        self.chain.close().await;
        self.writes.close().await;
    }
}

/// Marks a fresh file as a scheduler's, and refuses, untouched, one that is another program's.
async fn mark(pool: &SqlitePool) -> Result<(), StoreError> {
    let (id, tables): (i64, i64) =
        sqlx::query_as("SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id")
            .fetch_one(pool)
            .await?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(foreign("sqlite_master", "another program's tables"));
    }
    // A pragma takes no parameters.
    sqlx::query("PRAGMA application_id = 1114788707").execute(pool).await?;
    Ok(())
}

/// When something happened: by the chain, whose time deadlines are compared with, and by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) at: Timestamp,
    pub(crate) at_ms: u64,
}

fn foreign(table: &'static str, what: impl Into<String>) -> StoreError {
    StoreError::Foreign { table, what: what.into() }
}

/// A number as SQLite keeps it. Larger ones (a deadline at the end of time) become the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(table: &'static str, number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| foreign(table, number.to_string()))
}

fn small(table: &'static str, number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| foreign(table, number.to_string()))
}

fn hash(table: &'static str, bytes: &[u8]) -> Result<B256, StoreError> {
    B256::try_from(bytes).map_err(|_| foreign(table, format!("{} bytes for a hash", bytes.len())))
}

fn address(table: &'static str, bytes: &[u8]) -> Result<Address, StoreError> {
    Address::try_from(bytes).map_err(|_| foreign(table, format!("{} bytes for an address", bytes.len())))
}

fn amount(table: &'static str, text: &str) -> Result<Amount, StoreError> {
    text.parse().map(Amount::new).map_err(|_| foreign(table, text))
}
