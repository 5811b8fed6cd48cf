//! What the journal does for replicated tasks: hidden answers, and the rounds that open them.

use super::{Hidden, Journal, JournalError, Opened, Phase, Received, Seed, Shown, round, row};
use alloy::primitives::B256;
use berth_chain::BlockNumber;
use berth_protocol::{ResultDigest, TaskId, WorkerAddr, round::Pair, round::extend};
use berth_wire::worker::Mail;
use sqlx::{Sqlite, Transaction};

impl Journal {
    /// Hides a computed task's result under the current seed: [`Phase::Committed`]. `false`: it was ended meanwhile.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn commit(&self, task: TaskId, digest: ResultDigest) -> Result<bool, JournalError> {
        let [before, after] = Phase::Committed.kill_points();
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let moved = round::commit(&mut tx, self.worker, task, digest).await?;
        tx.commit().await?;
        if moved {
            self.faults.reach(after);
        }
        Ok(moved)
    }

    /// Whether a task is settled, ended or unknown.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn is_over(&self, task: TaskId) -> Result<bool, JournalError> {
        let mut tx = self.pool.begin().await?;
        let phase = row::phase_of(&mut tx, task).await?;
        Ok(matches!(phase, None | Some(Phase::Settled | Phase::Ended)))
    }

    /// The hidden answers that stand, of tasks that no round holds: to be told to the scheduler.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn answers(&self) -> Result<Vec<Hidden>, JournalError> {
        round::standing(&self.pool).await
    }

    /// All hidden answers that were ever given to a task, the last last.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn answers_to(&self, task: TaskId) -> Result<Vec<Hidden>, JournalError> {
        round::of_task(&self.pool, task).await
    }

    /// What the scheduler has shown and the chain has not confirmed yet, in the order in which it came.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn shown(&self) -> Result<Vec<Shown>, JournalError> {
        round::shown(&self.pool).await
    }

    /// What the scheduler once showed under a root.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn shown_at(&self, root: B256) -> Result<Option<Shown>, JournalError> {
        round::shown_at(&self.pool, root).await
    }

    /// A checked round holds these tasks: [`Phase::Closed`].
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn close(&self, root: B256, tasks: &[TaskId]) -> Result<(), JournalError> {
        let [before, after] = Phase::Closed.kill_points();
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let mut moved = false;
        for task in tasks {
            moved |= round::close(&mut tx, *task, root).await?;
        }
        tx.commit().await?;
        if moved {
            self.faults.reach(after);
        }
        Ok(())
    }

    /// A root is never opened: what is shown of it, or of the chain, does not hold. Its tasks wait for another. `false`:
    /// that was known.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn refuse(&self, root: B256, reason: &str) -> Result<bool, JournalError> {
        let mut tx = self.pool.begin().await?;
        let refused = round::refuse(&mut tx, self.worker, root, reason).await?;
        tx.commit().await?;
        Ok(refused)
    }

    /// Opens a root for good: [`Phase::Revealed`]. From when this returns, its seed is known to everybody; whatever else
    /// was hidden under it, and is in no round, is hidden anew. `false`: it was opened, or refused, before.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn reveal(
        &self,
        root: B256,
        seed: Seed,
        head: BlockNumber,
        answers: &[(TaskId, ResultDigest)],
    ) -> Result<bool, JournalError> {
        let [before, after] = Phase::Revealed.kill_points();
        self.faults.reach(before);
        let mut tx = self.pool.begin().await?;
        let revealed = round::reveal(&mut tx, root, seed, head, answers).await?;
        if revealed {
            round::renew(&mut tx, self.worker).await?;
        }
        tx.commit().await?;
        if revealed {
            self.faults.reach(after);
        }
        Ok(revealed)
    }

    /// What is opened and not over: to be told to the scheduler.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn opened(&self) -> Result<Vec<Opened>, JournalError> {
        round::opened(&self.pool).await
    }
}

/// The chain's hash that ends in the last of these pairs.
pub(crate) fn chain_of(pairs: &[berth_wire::worker::Pair]) -> B256 {
    pairs.iter().map(own).fold(B256::ZERO, extend)
}

/// A pair, as the protocol has it.
pub(crate) fn own(pair: &berth_wire::worker::Pair) -> Pair {
    Pair { worker: WorkerAddr::new(pair.worker), commitment: pair.commitment }
}

pub(super) async fn shown(tx: &mut Transaction<'_, Sqlite>, root: B256, mail: &Mail) -> Result<Received, JournalError> {
    let news = round::show(tx, root, mail).await?;
    Ok(if news { Received::Shown(root) } else { Received::Nothing })
}

/// The pool asks for another answer: a failure, and for a task whose answer is not open yet.
pub(super) async fn agreed(
    tx: &mut Transaction<'_, Sqlite>,
    worker: WorkerAddr,
    task: TaskId,
    digest: B256,
) -> Result<Received, JournalError> {
    let Some(digest) = ResultDigest::new(digest).filter(|digest| digest.is_failure()) else {
        return Ok(Received::Nothing);
    };
    let closable = matches!(row::phase_of(tx, task).await?, Some(Phase::Computed | Phase::Committed | Phase::Closed));
    if closable && row::is_replicated(tx, task).await? && round::commit(tx, worker, task, digest).await? {
        return Ok(Received::Agreed(task));
    }
    Ok(Received::Nothing)
}
