//! What tests break: databases that a service must refuse, results that are lost, journals that lie.

use super::World;
use alloy::primitives::B256;
use berth_wire::units::Sha256;
use eyre::{ensure, eyre};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A service's database that was moved out of the way, with a wrong one in its place.
#[derive(Debug)]
pub struct Displaced {
    database: PathBuf,
    kept: Vec<(PathBuf, PathBuf)>,
}

impl Displaced {
    /// Puts a file that is no database there.
    ///
    /// # Errors
    /// Files can't be moved.
    pub fn by_garbage(database: &Path) -> eyre::Result<Self> {
        let displaced = Self::new(database)?;
        fs::write(database, b"This file was a shopping list. ".repeat(200))?;
        Ok(displaced)
    }

    /// Puts a database there that says it is of another contract.
    ///
    /// # Errors
    /// Files can't be moved, or the database is none of ours.
    pub async fn by_foreign(database: &Path, statement: &'static str) -> eyre::Result<Self> {
        let displaced = Self::new(database)?;
        for (path, kept) in &displaced.kept {
            fs::copy(kept, path)?;
        }
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let changed = sqlx::query(statement).execute(&mut connection).await?.rows_affected();
        connection.close().await?;
        ensure!(changed == 1, "{} names no contract", database.display());
        Ok(displaced)
    }

    fn new(database: &Path) -> eyre::Result<Self> {
        let name = database.to_string_lossy().into_owned();
        let files = ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{name}{end}")));
        let mut kept = Vec::new();
        for path in files.into_iter().filter(|path| path.exists()) {
            let aside = path.with_added_extension("kept");
            fs::rename(&path, &aside)?;
            kept.push((path, aside));
        }
        ensure!(!kept.is_empty(), "{name} is not there");
        Ok(Self { database: database.to_owned(), kept })
    }

    /// Puts the right one back.
    ///
    /// # Errors
    /// Files can't be moved.
    pub fn restore(self) -> eyre::Result<()> {
        let name = self.database.to_string_lossy().into_owned();
        for end in ["", "-wal", "-shm"] {
            let path = PathBuf::from(format!("{name}{end}"));
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        for (path, aside) in self.kept {
            fs::rename(aside, path)?;
        }
        Ok(())
    }
}

impl World {
    /// Removes something from the pool's store.
    ///
    /// # Errors
    /// It is not there.
    pub fn lose_blob(&self, name: Sha256) -> eyre::Result<()> {
        let name = name.to_string();
        let mut folders = vec![self.devnet().join("data").join("store")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().contains(&name) {
                    return Ok(fs::remove_file(path)?);
                }
            }
        }
        Err(eyre!("the store has no {name}"))
    }

    /// Makes a liar of a worker that has been stopped: what it has computed is another result in its journal.
    ///
    /// # Errors
    /// It has computed nothing, or its journal can't be written.
    pub async fn falsify(&self, n: u16, digest: B256) -> eyre::Result<()> {
        let journal = self.devnet().join("data").join(Self::worker_name(n)).join("journal.db");
        let options = SqliteConnectOptions::new().filename(journal);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let statement = "UPDATE tasks SET digest = $1 WHERE phase = 'computed'";
        let done = sqlx::query(statement).bind(digest.to_string()).execute(&mut connection).await?;
        connection.close().await?;
        ensure!(done.rows_affected() == 1, "it has computed {} tasks", done.rows_affected());
        Ok(())
    }
}
