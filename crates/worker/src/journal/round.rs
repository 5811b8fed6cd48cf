//! The tables of hidden answers: seeds, commitments, and the rounds that the scheduler shows. Functions take a connection;
//! callers own the transaction.

use super::{JournalError, Phase, row, signed, unsigned};
use alloy::primitives::B256;
use berth_chain::BlockNumber;
use berth_protocol::{DealId, ResultDigest, TaskId, WorkerAddr, round};
use berth_wire::worker::Mail;
use rand::{RngCore as _, rngs::OsRng};
use sqlx::{Sqlite, SqlitePool, Transaction};

/// A hidden answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    /// To which task.
    pub task: TaskId,
    /// The task's deal.
    pub deal: DealId,
    /// Its index there.
    pub index: u32,
    /// What the pair says.
    pub commitment: B256,
    /// What it hides.
    pub digest: ResultDigest,
    /// What it is hidden under.
    pub seed: Seed,
}

/// What answers are hidden under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// Its number in the journal.
    pub id: i64,
    /// The seed itself.
    pub seed: B256,
    /// The head of the chain when it was first revealed.
    pub revealed_at: Option<BlockNumber>,
}

/// Something that the scheduler has shown, and that is to be checked against the chain.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The round's root, or the chain's hash.
    pub root: B256,
    /// The mail: `Closed` or `Appended`.
    pub mail: Mail,
}

/// An opened round, or chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The round's root, or the chain's hash.
    pub root: B256,
    /// What opens it.
    pub seed: B256,
    /// What it answers, for tasks that are not over.
    pub answers: Vec<(DealId, u32, ResultDigest)>,
}

/// What a seed is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// All answers until it is revealed.
    Round,
    /// One pair that the worker itself appends.
    Append,
}

impl Use {
    const fn name(self) -> &'static str {
        match self {
            Self::Round => "round",
            Self::Append => "append",
        }
    }
}

type SeedRow = (i64, String, Option<i64>);

fn parsed<T: core::str::FromStr<Err: core::fmt::Display>>(about: &str, text: &str) -> Result<T, JournalError> {
    text.parse().map_err(|error| row::corrupt(about, &error))
}

fn seed_of((id, seed, revealed_at): SeedRow) -> Result<Seed, JournalError> {
    let revealed_at = revealed_at.map(|number| BlockNumber::new(unsigned(number)));
    Ok(Seed { id, seed: parsed("of a seed", &seed)?, revealed_at })
}

/// The seed for answers now: the one that is in use, or a fresh one.
async fn current(tx: &mut Transaction<'_, Sqlite>) -> Result<Seed, JournalError> {
    let found: Option<SeedRow> = sqlx::query_as(
        "SELECT id, seed, revealed_at FROM seeds WHERE use = 'round' AND revealed_at IS NULL ORDER BY id DESC LIMIT 1",
    )
    .fetch_optional(&mut **tx)
    .await?;
    match found {
        Some(row) => seed_of(row),
        None => draw(tx, Use::Round).await,
    }
}

pub(super) async fn draw(tx: &mut Transaction<'_, Sqlite>, of: Use) -> Result<Seed, JournalError> {
    let mut seed = B256::ZERO;
    OsRng.fill_bytes(seed.as_mut_slice());
    let row: SeedRow = sqlx::query_as("INSERT INTO seeds (seed, use) VALUES ($1, $2) RETURNING id, seed, revealed_at")
        .bind(seed.to_string())
        .bind(of.name())
        .fetch_one(&mut **tx)
        .await?;
    seed_of(row)
}

/// Writes an answer down. The same answer under the same seed is the same.
pub(super) async fn hide(
    tx: &mut Transaction<'_, Sqlite>,
    worker: WorkerAddr,
    task: TaskId,
    digest: ResultDigest,
    seed: Seed,
) -> Result<B256, JournalError> {
    assert!(seed.revealed_at.is_none(), "nothing is hidden under a seed that is known");
    let commitment = round::commitment(task, worker, digest, round::salt(seed.seed, task));
    sqlx::query(
        "INSERT INTO commitments (commitment, task, digest, seed) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(commitment.to_string())
    .bind(task.to_string())
    .bind(digest.to_string())
    .bind(seed.id)
    .execute(&mut **tx)
    .await?;
    Ok(commitment)
}

/// Answers a task under the current seed, and moves it to [`Phase::Committed`].
pub(super) async fn commit(
    tx: &mut Transaction<'_, Sqlite>,
    worker: WorkerAddr,
    task: TaskId,
    digest: ResultDigest,
) -> Result<bool, JournalError> {
    if !row::enter(tx, task, Phase::Committed).await? {
        return Ok(false);
    }
    let seed = current(tx).await?;
    let commitment = hide(tx, worker, task, digest, seed).await?;
    sqlx::query("UPDATE tasks SET commitment = $2, root = NULL, answer = NULL, watched = 1 WHERE task = $1")
        .bind(task.to_string())
        .bind(commitment.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(true)
}

/// Answers anew, under a fresh seed, whatever was answered under one that is known now and is in no round.
pub(super) async fn renew(tx: &mut Transaction<'_, Sqlite>, worker: WorkerAddr) -> Result<(), JournalError> {
    let left: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.task, c.digest FROM tasks t JOIN commitments c ON c.commitment = t.commitment \
         JOIN seeds s ON s.id = c.seed WHERE t.phase = 'committed' AND s.revealed_at IS NOT NULL ORDER BY t.rowid",
    )
    .fetch_all(&mut **tx)
    .await?;
    for (task, digest) in left {
        commit(tx, worker, row::task_id(&task)?, parsed(&task, &digest)?).await?;
    }
    Ok(())
}

const HIDDEN: &str = "SELECT c.task, t.deal, t.idx, c.commitment, c.digest, s.id, s.seed, s.revealed_at \
                      FROM commitments c JOIN tasks t ON t.task = c.task JOIN seeds s ON s.id = c.seed";

type HiddenRow = (String, String, i64, String, String, i64, String, Option<i64>);

fn hidden(row: HiddenRow) -> Result<Hidden, JournalError> {
    let (task, deal, index, commitment, digest, id, seed, revealed_at) = row;
    Ok(Hidden {
        task: row::task_id(&task)?,
        deal: parsed(&task, &deal)?,
        index: u32::try_from(index).map_err(|error| row::corrupt(&task, &error))?,
        commitment: parsed(&task, &commitment)?,
        digest: parsed(&task, &digest)?,
        seed: seed_of((id, seed, revealed_at))?,
    })
}

/// The answers that stand, of tasks that no round holds.
pub(super) async fn standing(pool: &SqlitePool) -> Result<Vec<Hidden>, JournalError> {
    let wanted = format!("{HIDDEN} WHERE t.phase = 'committed' AND c.commitment = t.commitment ORDER BY t.rowid");
    let rows: Vec<HiddenRow> = sqlx::query_as(sqlx::AssertSqlSafe(wanted)).fetch_all(pool).await?;
    rows.into_iter().map(hidden).collect()
}

/// All answers ever given to a task.
pub(super) async fn of_task(pool: &SqlitePool, task: TaskId) -> Result<Vec<Hidden>, JournalError> {
    let wanted = format!("{HIDDEN} WHERE c.task = $1 ORDER BY c.rowid");
    let rows: Vec<HiddenRow> =
        sqlx::query_as(sqlx::AssertSqlSafe(wanted)).bind(task.to_string()).fetch_all(pool).await?;
    rows.into_iter().map(hidden).collect()
}

/// The pair that this worker appends itself to a task: made once.
pub(super) async fn own_append(
    tx: &mut Transaction<'_, Sqlite>,
    worker: WorkerAddr,
    task: TaskId,
    digest: ResultDigest,
) -> Result<B256, JournalError> {
    let found: Option<(String,)> = sqlx::query_as(
        "SELECT commitment FROM commitments c JOIN seeds s ON s.id = c.seed WHERE c.task = $1 AND s.use = 'append'",
    )
    .bind(task.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    if let Some((commitment,)) = found {
        return parsed(&task.to_string(), &commitment);
    }
    let seed = draw(tx, Use::Append).await?;
    hide(tx, worker, task, digest, seed).await
}

/// Keeps what the scheduler shows. `false`: it was opened, or refused for good, before.
pub(super) async fn show(tx: &mut Transaction<'_, Sqlite>, root: B256, mail: &Mail) -> Result<bool, JournalError> {
    let document = serde_json::to_string(mail).expect("a message that came as JSON goes back to JSON");
    let kept = sqlx::query(
        "INSERT INTO shown (root, mail, state) VALUES ($1, $2, 'shown') \
         ON CONFLICT (root) DO UPDATE SET mail = excluded.mail WHERE state = 'shown'",
    )
    .bind(root.to_string())
    .bind(document)
    .execute(&mut **tx)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// What is shown and neither opened nor refused, in the order in which it came.
pub(super) async fn shown(pool: &SqlitePool) -> Result<Vec<Shown>, JournalError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT root, mail FROM shown WHERE state = 'shown' ORDER BY rowid").fetch_all(pool).await?;
    rows.into_iter().map(read_shown).collect()
}

/// What was shown under a root, whatever came of it.
pub(super) async fn shown_at(pool: &SqlitePool, root: B256) -> Result<Option<Shown>, JournalError> {
    let found: Option<(String, String)> = sqlx::query_as("SELECT root, mail FROM shown WHERE root = $1")
        .bind(root.to_string())
        .fetch_optional(pool)
        .await?;
    found.map(read_shown).transpose()
}

fn read_shown((root, mail): (String, String)) -> Result<Shown, JournalError> {
    let wrong = |what: &dyn core::fmt::Display| row::corrupt(&root, &what);
    Ok(Shown {
        root: root.parse().map_err(|error| wrong(&error))?,
        mail: serde_json::from_str(&mail).map_err(|error| wrong(&error))?,
    })
}

/// Notes that a round holds a task.
pub(super) async fn close(tx: &mut Transaction<'_, Sqlite>, task: TaskId, root: B256) -> Result<bool, JournalError> {
    let known: Option<(i64,)> =
        sqlx::query_as("SELECT 1 FROM tasks WHERE task = $1 AND phase = 'closed' AND root = $2")
            .bind(task.to_string())
            .bind(root.to_string())
            .fetch_optional(&mut **tx)
            .await?;
    if known.is_some() {
        return Ok(false);
    }
    if !row::enter(tx, task, Phase::Closed).await? {
        return Ok(false);
    }
    sqlx::query("UPDATE tasks SET root = $2 WHERE task = $1")
        .bind(task.to_string())
        .bind(root.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(true)
}

/// Never opens a root. Its tasks wait for another.
pub(super) async fn refuse(
    tx: &mut Transaction<'_, Sqlite>,
    worker: WorkerAddr,
    root: B256,
    reason: &str,
) -> Result<bool, JournalError> {
    let refused = sqlx::query("UPDATE shown SET state = 'refused', reason = $2 WHERE root = $1 AND state = 'shown'")
        .bind(root.to_string())
        .bind(reason)
        .execute(&mut **tx)
        .await?;
    if refused.rows_affected() == 0 {
        return Ok(false);
    }
    let tasks: Vec<(String,)> = sqlx::query_as("SELECT task FROM tasks WHERE root = $1 AND phase = 'closed'")
        .bind(root.to_string())
        .fetch_all(&mut **tx)
        .await?;
    for (task,) in tasks {
        row::enter(tx, row::task_id(&task)?, Phase::Committed).await?;
    }
    renew(tx, worker).await?;
    Ok(true)
}

/// Notes that a seed is revealed, at a head of the chain, for a root that holds these answers.
pub(super) async fn reveal(
    tx: &mut Transaction<'_, Sqlite>,
    root: B256,
    seed: Seed,
    head: BlockNumber,
    answers: &[(TaskId, ResultDigest)],
) -> Result<bool, JournalError> {
    let revealed = sqlx::query("UPDATE shown SET state = 'revealed', seed = $2 WHERE root = $1 AND state = 'shown'")
        .bind(root.to_string())
        .bind(seed.id)
        .execute(&mut **tx)
        .await?;
    if revealed.rows_affected() == 0 {
        return Ok(false);
    }
    know(tx, seed.id, head).await?;
    for (task, digest) in answers {
        if row::enter(tx, *task, Phase::Revealed).await? {
            sqlx::query("UPDATE tasks SET root = $2, answer = $3 WHERE task = $1")
                .bind(task.to_string())
                .bind(root.to_string())
                .bind(digest.to_string())
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(true)
}

/// From now on a seed counts as known to everybody.
pub(super) async fn know(tx: &mut Transaction<'_, Sqlite>, seed: i64, head: BlockNumber) -> Result<(), JournalError> {
    sqlx::query("UPDATE seeds SET revealed_at = $2 WHERE id = $1 AND revealed_at IS NULL")
        .bind(seed)
        .bind(signed(head.get()))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What is opened, with the answers of tasks that are not over.
pub(super) async fn opened(pool: &SqlitePool) -> Result<Vec<Opened>, JournalError> {
    let rows: Vec<(String, String, String, String, i64, String)> = sqlx::query_as(
        "SELECT t.task, h.root, s.seed, t.deal, t.idx, t.answer FROM shown h JOIN seeds s ON s.id = h.seed \
         JOIN tasks t ON t.root = h.root AND t.phase IN ('revealed', 'delivered') \
         WHERE h.state = 'revealed' ORDER BY h.rowid, t.rowid",
    )
    .fetch_all(pool)
    .await?;
    let mut opened: Vec<Opened> = Vec::new();
    for (task, root, seed, deal, index, answer) in rows {
        let root = parsed(&task, &root)?;
        let index = u32::try_from(index).map_err(|error| row::corrupt(&task, &error))?;
        let answer = (parsed(&task, &deal)?, index, parsed(&task, &answer)?);
        match opened.last_mut().filter(|last| last.root == root) {
            Some(last) => last.answers.push(answer),
            None => opened.push(Opened { root, seed: parsed(&task, &seed)?, answers: vec![answer] }),
        }
    }
    Ok(opened)
}
