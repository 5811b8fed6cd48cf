//! The table of tasks. Functions take a connection; callers own the transaction.

use super::{JournalError, Phase, signed, unsigned};
use crate::clock::now_ms;
use alloy::primitives::B256;
use berth_protocol::{Amount, DealId, ResultDigest, TaskId};
use berth_wire::{job::Job, manifest::Content, sealed::Recipient, units::Sha256, worker::Assign};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqlitePool, Transaction, sqlite::SqliteRow};

/// A task in the journal.
#[derive(Debug, Clone)]
pub struct Row {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub phase: Phase,
    /// What the scheduler sent.
    pub assign: Assign,
    /// The mail that gave the task. One that was taken away and given again is another assignment.
    pub assigned_seq: u64,
    /// Runs that were lost.
    pub attempts: u32,
    /// Its result, from [`Phase::Computed`] on.
    pub computed: Option<Computed>,
    /// When it came to stand there, in milliseconds since 1970.
    pub changed_ms: u64,
    /// The round, or chain, that holds this worker's pair.
    pub root: Option<B256>,
    /// What that pair opened to.
    pub answer: Option<ResultDigest>,
}

impl Row {
    /// Who alone can open the result, if its job says so. A job that can't be read has no result.
    pub fn recipient(&self) -> Option<Recipient> {
        Job::from_bytes(self.assign.job.as_bytes()).ok()?.recipient
    }

    /// The result as the scheduler is told it. Of one that is for a recipient, that is its digest, and the file in which
    /// it is sealed; of a job that never ran also why, since that says nothing of what it would have written.
    pub fn told(&self) -> Option<Computed> {
        let computed = self.computed.clone()?;
        if self.recipient().is_none() || !computed.has_parts() {
            return Some(computed);
        }
        Some(Computed { manifest: None, stdout: None, stderr: None, failure: None, ..computed })
    }
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// Its digest: the manifest's, perhaps bound to bytes for a callback, or a failure.
    pub digest: ResultDigest,
    /// The manifest's bytes; if it failed, of what it had written when it was stopped.
    pub manifest: Option<Vec<u8>>,
    /// What is kept of standard output.
    pub stdout: Option<Content>,
    /// What is kept of standard error.
    pub stderr: Option<Content>,
    /// All of it in one file, for its recipient, once that is made.
    pub sealed: Option<Content>,
    /// How long the job ran.
    pub wall_ms: u64,
    /// Why it failed, in words.
    pub failure: Option<String>,
}

impl Computed {
    /// Whether there is anything to show: not of a job that never ran.
    pub const fn has_parts(&self) -> bool {
        self.manifest.is_some() || self.stdout.is_some() || self.stderr.is_some()
    }

    /// The manifest's sha256, where the digest is another: bound to bytes for a callback, or a failure.
    pub fn bound_manifest(&self) -> Option<B256> {
        let name = B256::new(Sha256::of(self.manifest.as_deref()?).0);
        (name != self.digest.get()).then_some(name)
    }
}

/// What the journal adds up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Tasks that were paid.
    pub settled: u64,
    /// Tasks that ended without pay.
    pub ended: u64,
    /// Results that wait for their settlement.
    pub unsettled: u64,
    /// What was credited to the worker's owner, in base units.
    pub earned: u128,
}

pub(super) fn corrupt(task: &str, what: &impl core::fmt::Display) -> JournalError {
    JournalError::Corrupt { task: task.to_owned(), what: what.to_string() }
}

pub(super) fn task_id(text: &str) -> Result<TaskId, JournalError> {
    text.parse().map_err(|error| corrupt(text, &error))
}

/// Puts a task in, or starts one anew that had ended.
pub(super) async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    task: TaskId,
    assign: &Assign,
) -> Result<(), JournalError> {
    let document = serde_json::to_string(assign).expect("a message that came as JSON goes back to JSON");
    sqlx::query("DELETE FROM tasks WHERE task = $1 AND phase = 'ended'")
        .bind(task.to_string())
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO tasks (task, deal, idx, phase, assign, changed_ms, assigned_seq) \
         VALUES ($1, $2, $3, 'accepted', $4, $5, (SELECT last_seq FROM identity))",
    )
    .bind(task.to_string())
    .bind(assign.deal.to_string())
    .bind(i64::from(assign.index))
    .bind(document)
    .bind(signed(now_ms()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn phase_of(tx: &mut Transaction<'_, Sqlite>, task: TaskId) -> Result<Option<Phase>, JournalError> {
    let found: Option<(String,)> = sqlx::query_as("SELECT phase FROM tasks WHERE task = $1")
        .bind(task.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    found.map(|(phase,)| phase.parse().map_err(|error| corrupt(&task.to_string(), &error))).transpose()
}

/// Moves a task, if it stands where the move may start.
pub(super) async fn enter(tx: &mut Transaction<'_, Sqlite>, task: TaskId, phase: Phase) -> Result<bool, JournalError> {
    let from: Vec<Phase> = Phase::ALL.into_iter().filter(|from| phase.follows(*from)).collect();
    let mut query = QueryBuilder::<Sqlite>::new("UPDATE tasks SET phase = ");
    query.push_bind(phase.name()).push(", changed_ms = ").push_bind(signed(now_ms()));
    query.push(" WHERE task = ").push_bind(task.to_string()).push(" AND phase IN (");
    let mut list = query.separated(", ");
    for phase in from {
        list.push_bind(phase.name());
    }
    query.push(")");
    Ok(query.build().execute(&mut **tx).await?.rows_affected() == 1)
}

pub(super) async fn write_result(
    tx: &mut Transaction<'_, Sqlite>,
    task: TaskId,
    result: &Computed,
) -> Result<(), JournalError> {
    sqlx::query(
        "UPDATE tasks SET digest = $2, manifest = $3, stdout_sha256 = $4, stdout_bytes = $5, stderr_sha256 = $6, \
         stderr_bytes = $7, wall_ms = $8, failure = $9, sealed_sha256 = $10, sealed_bytes = $11 WHERE task = $1",
    )
    .bind(task.to_string())
    .bind(result.digest.to_string())
    .bind(result.manifest.as_deref())
    .bind(result.stdout.map(|content| content.sha256.to_string()))
    .bind(result.stdout.map(|content| signed(content.size)))
    .bind(result.stderr.map(|content| content.sha256.to_string()))
    .bind(result.stderr.map(|content| signed(content.size)))
    .bind(signed(result.wall_ms))
    .bind(result.failure.as_deref())
    .bind(result.sealed.map(|content| content.sha256.to_string()))
    .bind(result.sealed.map(|content| signed(content.size)))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes in which file a result is sealed, as long as that is still to be handed over.
pub(super) async fn seal(
    tx: &mut Transaction<'_, Sqlite>,
    task: TaskId,
    content: Content,
) -> Result<bool, JournalError> {
    let done = sqlx::query(
        "UPDATE tasks SET sealed_sha256 = $2, sealed_bytes = $3 WHERE task = $1 AND phase IN ('computed', 'revealed')",
    )
    .bind(task.to_string())
    .bind(content.sha256.to_string())
    .bind(signed(content.size))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn list(pool: &SqlitePool, phases: &[Phase]) -> Result<Vec<Row>, JournalError> {
    let mut query = standing(QueryBuilder::new("SELECT * FROM tasks"), phases);
    query.build().fetch_all(pool).await?.iter().map(read).collect()
}

pub(super) async fn find(pool: &SqlitePool, task: TaskId) -> Result<Option<Row>, JournalError> {
    let found = sqlx::query("SELECT * FROM tasks WHERE task = $1 AND assign <> ''")
        .bind(task.to_string())
        .fetch_optional(pool)
        .await?;
    found.as_ref().map(read).transpose()
}

/// Tasks for which the chain may still owe something.
pub(super) async fn watched(pool: &SqlitePool) -> Result<Vec<Row>, JournalError> {
    let rows = sqlx::query("SELECT * FROM tasks WHERE watched = 1 ORDER BY rowid").fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn tasks(pool: &SqlitePool, phases: &[Phase]) -> Result<Vec<TaskId>, JournalError> {
    let mut query = standing(QueryBuilder::new("SELECT task FROM tasks"), phases);
    let rows: Vec<(String,)> = query.build_query_as().fetch_all(pool).await?;
    rows.iter().map(|(task,)| task_id(task)).collect()
}

fn standing(mut query: QueryBuilder<Sqlite>, phases: &[Phase]) -> QueryBuilder<Sqlite> {
    query.push(" WHERE phase IN (");
    let mut list = query.separated(", ");
    for phase in phases {
        list.push_bind(phase.name());
    }
    query.push(") ORDER BY rowid");
    query
}

fn read(row: &SqliteRow) -> Result<Row, JournalError> {
    let text: String = row.try_get("task")?;
    let wrong = |what: &dyn core::fmt::Display| corrupt(&text, &what);
    let phase: String = row.try_get("phase")?;
    let assign: String = row.try_get("assign")?;
    let digest: Option<String> = row.try_get("digest")?;
    let content = |sha256: &str, bytes: &str| -> Result<Option<Content>, JournalError> {
        let (name, size): (Option<String>, Option<i64>) = (row.try_get(sha256)?, row.try_get(bytes)?);
        let Some((name, size)) = name.zip(size) else { return Ok(None) };
        let sha256: Sha256 = name.parse().map_err(|error| wrong(&error))?;
        Ok(Some(Content { sha256, size: unsigned(size) }))
    };
    let parsed = |column: &str| row.try_get::<Option<String>, _>(column);
    let computed = match digest {
        Some(digest) => Some(Computed {
            digest: digest.parse().map_err(|error| wrong(&error))?,
            manifest: row.try_get("manifest")?,
            stdout: content("stdout_sha256", "stdout_bytes")?,
            stderr: content("stderr_sha256", "stderr_bytes")?,
            sealed: content("sealed_sha256", "sealed_bytes")?,
            wall_ms: unsigned(row.try_get::<Option<i64>, _>("wall_ms")?.unwrap_or(0)),
            failure: row.try_get("failure")?,
        }),
        None => None,
    };
    Ok(Row {
        task: task_id(&text)?,
        phase: phase.parse().map_err(|error| wrong(&error))?,
        assign: serde_json::from_str(&assign).map_err(|error| wrong(&error))?,
        assigned_seq: unsigned(row.try_get("assigned_seq")?),
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        computed,
        changed_ms: unsigned(row.try_get("changed_ms")?),
        root: parsed("root")?.map(|text| text.parse()).transpose().map_err(|error| wrong(&error))?,
        answer: parsed("answer")?.map(|text| text.parse()).transpose().map_err(|error| wrong(&error))?,
    })
}

pub(super) async fn unsettled(
    pool: &SqlitePool,
    deal: DealId,
    index: u32,
    most: usize,
) -> Result<Vec<(u32, ResultDigest)>, JournalError> {
    let rows: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT task, idx, digest FROM tasks WHERE deal = $1 AND phase IN ('uploaded', 'reported') \
         ORDER BY idx = $2 DESC, changed_ms DESC LIMIT $3",
    )
    .bind(deal.to_string())
    .bind(i64::from(index))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    let entry = |(task, index, digest): (String, i64, String)| {
        let index = u32::try_from(index).map_err(|error| corrupt(&task, &error))?;
        Ok((index, digest.parse().map_err(|error| corrupt(&task, &error))?))
    };
    let mut entries: Vec<_> = rows.into_iter().map(entry).collect::<Result<_, JournalError>>()?;
    entries.sort_unstable_by_key(|(index, _)| *index);
    Ok(entries)
}

pub(super) async fn totals(pool: &SqlitePool) -> Result<Totals, JournalError> {
    let counted: Vec<(String, i64)> =
        sqlx::query_as("SELECT phase, count(*) FROM tasks GROUP BY phase").fetch_all(pool).await?;
    let count = |phases: &[Phase]| {
        let of =
            |(name, count): &(String, i64)| phases.iter().any(|phase| phase.name() == name).then(|| unsigned(*count));
        counted.iter().filter_map(of).sum()
    };
    let earned: Vec<(String, String)> =
        sqlx::query_as("SELECT task, earned FROM tasks WHERE earned IS NOT NULL").fetch_all(pool).await?;
    // Amounts are text: their sum may be past what SQLite adds exactly.
    let sum = earned.into_iter().try_fold(0_u128, |sum, (task, earned)| {
        let earned: u128 = earned.parse().map_err(|error| corrupt(&task, &error))?;
        Ok::<_, JournalError>(sum.saturating_add(earned))
    })?;
    Ok(Totals {
        settled: count(&[Phase::Settled]),
        ended: count(&[Phase::Ended]),
        unsettled: count(&[
            Phase::Uploaded,
            Phase::Reported,
            Phase::Committed,
            Phase::Closed,
            Phase::Revealed,
            Phase::Delivered,
        ]),
        earned: Amount::new(sum).units(),
    })
}

/// Whether more than one worker answers a task.
pub(super) async fn is_replicated(tx: &mut Transaction<'_, Sqlite>, task: TaskId) -> Result<bool, JournalError> {
    let text = task.to_string();
    let (assign,): (String,) =
        sqlx::query_as("SELECT assign FROM tasks WHERE task = $1").bind(&text).fetch_one(&mut **tx).await?;
    let assign: Assign = serde_json::from_str(&assign).map_err(|error| corrupt(&text, &error))?;
    Ok(assign.terms.trust > 1)
}
