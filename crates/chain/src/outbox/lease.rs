//! One sender per database and account. The lease is a lock on a file, which the system gives up with the process.

use super::OutboxError;
use crate::store::StoreError;
use alloy::primitives::Address;
use sqlx::SqlitePool;
use std::{
    fs::{File, TryLockError},
    path::PathBuf,
};

/// Held while a sender runs.
#[derive(Debug)]
pub(super) struct Lease(#[expect(dead_code, reason = "the lock is held by the open file")] Option<File>);

impl Lease {
    /// Takes the lease of `sender` in the database of `pool`. A database in memory is its process's alone.
    pub(super) async fn take(pool: &SqlitePool, sender: Address) -> Result<Self, OutboxError> {
        let files: Vec<(i64, String, String)> =
            sqlx::query_as("PRAGMA database_list").fetch_all(pool).await.map_err(StoreError::from)?;
        let Some((.., file)) = files.into_iter().find(|(_, name, file)| name == "main" && !file.is_empty()) else {
            return Ok(Self(None));
        };
        let path = PathBuf::from(format!("{file}.{sender:#x}.lock"));
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = opened.map_err(|source| OutboxError::Lock { path: path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self(Some(lock))),
            Err(TryLockError::WouldBlock) => Err(OutboxError::NotAlone { sender, path }),
            Err(TryLockError::Error(source)) => Err(OutboxError::Lock { path, source }),
        }
    }
}
