//! Every SQL statement of this crate: one file per table. Functions take a connection; callers own the transaction.

pub(crate) mod attempt;
pub(crate) mod cursor;
pub(crate) mod header;
pub(crate) mod identity;
pub(crate) mod outbox;

use crate::{
    Class,
    block::{BlockNumber, BlockRef},
};
use alloy::primitives::{Address, B256};
use berth_protocol::Timestamp;
use sqlx::{
    SqlSafeStr, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
};
use thiserror::Error;

/// The database did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It answers with an error.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// Its tables can't be brought up to date.
    #[error("the database's tables can't be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row holds what this crate never writes.
    #[error("the database's table {table} holds {what}, which Berth never writes")]
    Foreign {
        /// The table.
        table: &'static str,
        /// What is wrong there.
        what: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Database(error) if is_passing(error) => Class::Retry,
            Self::Database(_) | Self::Migrate(_) | Self::Foreign { .. } => Class::Bug,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Database(error) if is_passing(error) => {
                Some("another program may hold the database: end it, and check that the disk is not full")
            }
            Self::Database(_) => None,
            Self::Migrate(_) | Self::Foreign { .. } => {
                Some("this may be another program's database, or one of a later Berth: give another data folder")
            }
        }
    }
}

/// SQLite's primary result codes "busy" and "locked".
const BUSY: [i32; 2] = [5, 6];

fn is_passing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| BUSY.contains(&(code & 0xff)))
        || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::Io(_))
}

/// Creates this crate's tables, or brings them up to date. They and the record of what was applied have names of their
/// own (`chain_…`, `outbox…`), so that the consumer keeps its own migrations in the same database.
///
/// # Errors
/// [`StoreError`]: the database can't be read or written, or belongs to a later version.
pub async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let step = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(vec![
        step(1, "follow", include_str!("../../migrations/0001_follow.sql")),
        step(2, "outbox", include_str!("../../migrations/0002_outbox.sql")),
    ]);
    migrator.dangerous_set_table_name("chain_migrations");
    Ok(migrator.run(pool).await?)
}

/// A number as SQLite keeps it.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("heights, times, gas and nonces stay below 2^63")
}

fn unsigned(table: &'static str, number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Foreign { table, what: number.to_string() })
}

fn hash(table: &'static str, bytes: &[u8]) -> Result<B256, StoreError> {
    B256::try_from(bytes).map_err(|_| StoreError::Foreign { table, what: format!("{} bytes for a hash", bytes.len()) })
}

fn address(table: &'static str, bytes: &[u8]) -> Result<Address, StoreError> {
    Address::try_from(bytes)
        .map_err(|_| StoreError::Foreign { table, what: format!("{} bytes for an address", bytes.len()) })
}

/// A block as its columns `number, hash, timestamp`.
type BlockRow = (i64, Vec<u8>, i64);

fn block(table: &'static str, row: BlockRow) -> Result<BlockRef, StoreError> {
    Ok(BlockRef {
        number: BlockNumber::new(unsigned(table, row.0)?),
        hash: hash(table, &row.1)?,
        timestamp: Timestamp::new(unsigned(table, row.2)?),
    })
}
