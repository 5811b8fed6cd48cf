//! Every SQL statement of the book: one file a table. Functions take a connection; callers own the transaction.

pub(crate) mod fact;
pub(crate) mod job;
pub(crate) mod order;

use berth_chain::Class;
use core::time::Duration;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Marks a database file as an order book ("BrMk"), so that another program's file is not taken for one.
const APPLICATION_ID: i64 = 0x4272_4d6b;
/// How long a write waits for another: the follower's batches are short.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers at one time; writers queue behind each other anyway.
const CONNECTIONS: u32 = 4;
/// SQLite's primary result codes "busy" and "locked".
const BUSY: [i32; 2] = [5, 6];

/// The database did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It can't be opened.
    #[error("the database {} can't be opened", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// It is somebody else's.
    #[error("{} is not an order book's database", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// Its tables can't be brought up to date.
    #[error("the tables of {} can't be brought up to date", path.display())]
    Migrate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("the order book's database failed")]
    Statement(#[from] sqlx::Error),
    /// A row holds what this program never writes.
    #[error("the order book's database holds {what}, which Berth never writes")]
    Row {
        /// What.
        what: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Statement(error) if is_passing(error) => Class::Retry,
            Self::Open { .. } | Self::Foreign { .. } => Class::Refused,
            Self::Migrate { .. } | Self::Statement(_) | Self::Row { .. } => Class::Bug,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } => Some(
                "check that the folder exists, that you may write there, and that the file is an order book's database; \
                 or give another one",
            ),
            Self::Foreign { .. } => Some("give another data folder: this file is left as it is"),
            Self::Migrate { .. } => {
                Some("a later Berth may have written it: use that one, or give another data folder")
            }
            Self::Statement(_) => Some("check that the disk is not full and that no other program holds the database"),
            Self::Row { .. } => None,
        }
    }
}

fn is_passing(error: &sqlx::Error) -> bool {
    if matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) {
        return true;
    }
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| BUSY.contains(&(code & 0xff)))
}

/// Opens the database, creates it if there is none, and brings its tables up to date.
///
/// # Errors
/// [`StoreError`]: unreadable, somebody else's, or of a later version.
pub(crate) async fn open(path: &Path) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What is lost with the power is in the chain, or is published again.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT);
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await.map_err(failed)?;
    let (id, tables): (i64, i64) =
        sqlx::query_as("SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id")
            .fetch_one(&pool)
            .await
            .map_err(failed)?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(foreign(path));
    }
    // A pragma takes no parameters.
    sqlx::query("PRAGMA application_id = 1114787179").execute(&pool).await.map_err(failed)?;
    sqlx::migrate!("./migrations")
        .run(&pool)
        .await
        .map_err(|source| StoreError::Migrate { path: path.to_owned(), source })?;
    Ok(pool)
}

fn foreign(path: &Path) -> StoreError {
    StoreError::Foreign { path: path.to_owned() }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("heights and log indexes stay below 2^63")
}

/// Fixed-width digits, which compare as text as the numbers do.
fn digits20(number: u64) -> String {
    format!("{number:020}")
}

fn digits39(number: u128) -> String {
    format!("{number:039}")
}

fn row(what: impl Into<String>) -> StoreError {
    StoreError::Row { what: what.into() }
}
