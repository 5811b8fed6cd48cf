//! What a worker must not forget: mail it has taken, tasks and how far they are, results, pay. One SQLite file; whatever
//! is done is done when its transaction is.
//!
//! Commits are not flushed to the disk one by one (`synchronous = NORMAL`): a killed process loses nothing, a power cut
//! may lose the last moments, after which the scheduler, told what the worker holds, gives the task again.

mod facts;
mod mail;
mod phase;
mod round;
mod rounds;
mod row;

use alloy::primitives::B256;
use berth_chain::Class;
use berth_fault::Faults;
use berth_protocol::{AssetId, DealId, ResultDigest, TaskId, WorkerAddr, domain::Domain, single::MAX_ENTRIES};
use berth_wire::{manifest::Content, worker::Mail};
pub use facts::{Append, Fact, Published, Settlement};
pub use phase::{KILL_POINTS, Phase, SEAL_POINTS, UnknownPhase};
pub use round::{Hidden, Opened, Seed, Shown};
pub(crate) use rounds::{chain_of, own};
pub use row::{Computed, Row, Totals};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// SQLite's page cache: the journal is small, and an idle worker should be.
const CACHE_PRAGMA: &str = "-256";
/// Nobody else writes here, so that waiting long means that somebody does.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The journal does not do what it should.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file can't be opened, or is no database.
    #[error("the journal {path} can't be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// It is of another program, or a later version.
    #[error("the journal {path} can't be brought up to date")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The outbox's tables in it can't be brought up to date.
    #[error("the journal {path} can't hold the worker's transactions")]
    Outbox {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: berth_chain::StoreError,
    },
    /// It belongs to another worker, pool, contract or chain.
    #[error("the journal {path} belongs to {found}, not to {wanted}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        wanted: String,
    },
    /// A statement failed.
    #[error("the journal failed")]
    Statement(#[from] sqlx::Error),
    /// A row holds what this program never writes.
    #[error("the journal's row of task {task} makes no sense: {what}")]
    Corrupt {
        /// Which row.
        task: String,
        /// What is wrong.
        what: String,
    },
    /// Mail is missing between what the journal holds and what came.
    #[error("mail {got} came after mail {last}")]
    Gap {
        /// The last that the journal holds.
        last: u64,
        /// What came.
        got: u64,
    },
}

impl JournalError {
    /// What to do about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Foreign { .. } => Class::Refused,
            Self::Statement(_) | Self::Gap { .. } => Class::Retry,
            // What this worker once wrote is not what it finds.
            Self::Open { .. } | Self::Migrate { .. } | Self::Outbox { .. } | Self::Corrupt { .. } => Class::Bug,
        }
    }

    /// What the owner can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Open { .. } => "check that the worker's folder is writable and holds a worker's journal".to_owned(),
            Self::Migrate { .. } | Self::Outbox { .. } | Self::Corrupt { .. } => {
                "it may be another program's or a later Berth's: give another `folder` in worker.toml".to_owned()
            }
            Self::Foreign { .. } => "give each worker a `folder` of its own in worker.toml".to_owned(),
            Self::Statement(_) => {
                "check that the disk is not full and that no other program uses the journal".to_owned()
            }
            Self::Gap { .. } => "the worker reconnects and asks again by itself".to_owned(),
        }
    }
}

/// What came of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It was in the journal already.
    Again,
    /// It changed nothing: what it is about is over, or unknown.
    Nothing,
    /// A task to run.
    Assigned(TaskId),
    /// A result that the scheduler asks for, and that is here.
    Known(TaskId),
    /// A task to stop.
    Stopped(TaskId),
    /// Paid.
    Settled(TaskId),
    /// A round, or a chain, to be checked and opened.
    Shown(B256),
    /// A task whose hidden answer is another one now.
    Agreed(TaskId),
}

/// Whose journal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The worker.
    pub worker: WorkerAddr,
    /// Its pool.
    pub pool: AssetId,
    /// Where its signatures hold.
    pub domain: Domain,
}

/// An open journal.
#[derive(Debug, Clone)]
pub struct Journal {
    pool: SqlitePool,
    faults: Faults,
    worker: WorkerAddr,
}

impl Journal {
    /// Opens or creates the journal at `path`.
    ///
    /// # Errors
    /// [`JournalError`]: unreadable, another program's, another worker's.
    pub async fn open(path: &Path, identity: Identity, faults: Faults) -> Result<Self, JournalError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", CACHE_PRAGMA)
            .statement_cache_capacity(32);
        let open = |source| JournalError::Open { path: path.to_owned(), source };
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(open)?;
        let migrate = |source| JournalError::Migrate { path: path.to_owned(), source };
        sqlx::migrate!("./migrations").run(&pool).await.map_err(migrate)?;
        berth_chain::migrate(&pool).await.map_err(|source| JournalError::Outbox { path: path.to_owned(), source })?;
        let journal = Self { pool, faults, worker: identity.worker };
        journal.claim(path, identity).await?;
        Ok(journal)
    }

    async fn claim(&self, path: &Path, identity: Identity) -> Result<(), JournalError> {
        let Identity { worker, pool, domain } = identity;
        let chain_id = signed(domain.chain_id);
        sqlx::query("INSERT INTO identity (one, worker, pool, berth, chain_id) VALUES (1, $1, $2, $3, $4) ON CONFLICT DO NOTHING")
            .bind(worker.to_string())
            .bind(pool.to_string())
            .bind(domain.berth.to_string())
            .bind(chain_id)
            .execute(&self.pool)
            .await?;
        let found: (String, String, String, i64) =
            sqlx::query_as("SELECT worker, pool, berth, chain_id FROM identity").fetch_one(&self.pool).await?;
        let wanted = (worker.to_string(), pool.to_string(), domain.berth.to_string(), chain_id);
        if found == wanted {
            return Ok(());
        }
        let words = |(worker, pool, berth, chain): (String, String, String, i64)| {
            format!("worker {worker} of pool {pool} (contract {berth}, chain {chain})")
        };
        Err(JournalError::Foreign { path: path.to_owned(), found: words(found), wanted: words(wanted) })
    }

    /// The last mail that is in here.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn last_seq(&self) -> Result<u64, JournalError> {
        let (seq,): (i64,) = sqlx::query_as("SELECT last_seq FROM identity").fetch_one(&self.pool).await?;
        Ok(unsigned(seq))
    }

    /// Takes a mail in. When this returns, it may be acknowledged.
    ///
    /// # Errors
    /// [`JournalError::Gap`] if mail is missing before it; [`JournalError::Statement`].
    pub async fn receive(&self, seq: u64, mail: &Mail) -> Result<Received, JournalError> {
        let phase = match mail {
            Mail::Assign(_) => Some(Phase::Accepted),
            Mail::Settled { .. } => Some(Phase::Settled),
            Mail::Cancel { .. } | Mail::Ended { .. } => Some(Phase::Ended),
            Mail::Agree { .. } => Some(Phase::Committed),
            // Nothing moves before it is checked.
            Mail::Closed(_) | Mail::Appended(_) => None,
        };
        let [before, after] = phase.map_or(["", ""], Phase::kill_points);
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let (last,): (i64,) = sqlx::query_as("SELECT last_seq FROM identity").fetch_one(&mut *tx).await?;
        let last = unsigned(last);
        if seq <= last {
            return Ok(Received::Again);
        }
        if seq != last + 1 {
            return Err(JournalError::Gap { last, got: seq });
        }
        sqlx::query("UPDATE identity SET last_seq = $1").bind(signed(seq)).execute(&mut *tx).await?;
        let received = mail::apply(&mut tx, self.worker, mail).await?;
        tx.commit().await?;
        self.faults.reach(after);
        Ok(received)
    }

    /// Moves a task on. `false`: it stands where it can't be moved from (it was ended or settled meanwhile).
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn enter(&self, task: TaskId, phase: Phase) -> Result<bool, JournalError> {
        let [before, after] = phase.kill_points();
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let moved = row::enter(&mut tx, task, phase).await?;
        tx.commit().await?;
        if moved {
            self.faults.reach(after);
        }
        Ok(moved)
    }

    /// Keeps a result, and moves the task to [`Phase::Computed`]. `false`: the task was ended meanwhile.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn compute(&self, task: TaskId, result: &Computed) -> Result<bool, JournalError> {
        let [before, after] = Phase::Computed.kill_points();
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        // The table takes no computed task without its result.
        row::write_result(&mut tx, task, result).await?;
        let moved = row::enter(&mut tx, task, Phase::Computed).await?;
        if moved {
            tx.commit().await?;
        }
        if moved {
            self.faults.reach(after);
        }
        Ok(moved)
    }

    /// Notes in which file a result is sealed, before anybody is told of it: sealing it again would make another file.
    /// `false`: it is not to be handed over any more.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn seal(&self, task: TaskId, content: Content) -> Result<bool, JournalError> {
        let [before, after] = SEAL_POINTS;
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let noted = row::seal(&mut tx, task, content).await?;
        tx.commit().await?;
        if noted {
            self.faults.reach(after);
        }
        Ok(noted)
    }

    /// Gives a task back: ended here, and to be told to the scheduler.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn decline(&self, task: TaskId, code: &str, detail: &str) -> Result<bool, JournalError> {
        let [before, after] = Phase::Ended.kill_points();
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let moved = row::enter(&mut tx, task, Phase::Ended).await?;
        if moved {
            sqlx::query("UPDATE tasks SET decline = $2, reason = $3 WHERE task = $1")
                .bind(task.to_string())
                .bind(code)
                .bind(detail)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        if moved {
            self.faults.reach(after);
        }
        Ok(moved)
    }

    /// Ends a task of which the scheduler says, on being told its result, that it is over. `false`: there was nothing to
    /// end, or it was paid.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn end(&self, task: TaskId, reason: &str) -> Result<bool, JournalError> {
        let [before, after] = Phase::Ended.kill_points();
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let received = match row::phase_of(&mut tx, task).await? {
            Some(Phase::Ended) | None => Received::Nothing,
            Some(_) => mail::ended(&mut tx, task, reason).await?,
        };
        tx.commit().await?;
        let moved = matches!(received, Received::Stopped(_));
        if moved {
            self.faults.reach(after);
        }
        Ok(moved)
    }

    /// Declines that the scheduler was not told: task, code, detail.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn declined(&self) -> Result<Vec<(TaskId, String, String)>, JournalError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT task, decline, coalesce(reason, '') FROM tasks WHERE decline IS NOT NULL")
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|(task, code, detail)| Ok((row::task_id(&task)?, code, detail))).collect()
    }

    /// The scheduler was told that a task was declined.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn decline_told(&self, task: TaskId) -> Result<(), JournalError> {
        sqlx::query("UPDATE tasks SET decline = NULL WHERE task = $1")
            .bind(task.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Counts a run that was lost, and says how many there were.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn lost(&self, task: TaskId) -> Result<u32, JournalError> {
        let (attempts,): (i64,) =
            sqlx::query_as("UPDATE tasks SET attempts = attempts + 1 WHERE task = $1 RETURNING attempts")
                .bind(task.to_string())
                .fetch_one(&self.pool)
                .await?;
        Ok(u32::try_from(attempts).unwrap_or(u32::MAX))
    }

    /// Tasks that are not reported yet and have something left to do, the oldest first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn open_tasks(&self) -> Result<Vec<Row>, JournalError> {
        self.rows(&[Phase::Accepted, Phase::Fetched, Phase::Running, Phase::Computed]).await
    }

    /// Tasks of these phases, in the order in which they came.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn rows(&self, phases: &[Phase]) -> Result<Vec<Row>, JournalError> {
        row::list(&self.pool, phases).await
    }

    /// A task, unless it is over or unknown.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn row(&self, task: TaskId) -> Result<Option<Row>, JournalError> {
        row::find(&self.pool, task).await
    }

    /// The database, for the outbox's tables.
    pub(crate) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// The tasks of these phases, in the order in which they came.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn tasks(&self, phases: &[Phase]) -> Result<Vec<TaskId>, JournalError> {
        row::tasks(&self.pool, phases).await
    }

    /// Gives up a result that nobody will pay for any more.
    ///
    /// # Errors
    /// [`JournalError::Statement`].
    pub async fn give_up(&self, task: TaskId, reason: &str) -> Result<(), JournalError> {
        let mut tx = self.pool.begin().await?;
        mail::ended(&mut tx, task, reason).await?;
        Ok(tx.commit().await?)
    }

    /// The results of a deal that stand in the worker's list: `task`'s own, and the latest of all others that are in the
    /// pool's store and not settled.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn list_of(&self, deal: DealId, index: u32) -> Result<Vec<(u32, ResultDigest)>, JournalError> {
        row::unsettled(&self.pool, deal, index, MAX_ENTRIES).await
    }

    /// How many tasks stand where, and what was earned.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn totals(&self) -> Result<Totals, JournalError> {
        row::totals(&self.pool).await
    }
}

/// A number as SQLite keeps it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("sequence numbers, sizes, times and chain ids stay below 2^63")
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
