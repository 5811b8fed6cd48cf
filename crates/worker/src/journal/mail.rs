//! What a mail changes in the journal.

use super::{JournalError, Phase, Received, rounds, row};
use crate::assignment::task_of;
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::worker::{Assign, Mail};
use sqlx::{Sqlite, Transaction};

pub(super) async fn apply(
    tx: &mut Transaction<'_, Sqlite>,
    worker: WorkerAddr,
    mail: &Mail,
) -> Result<Received, JournalError> {
    match mail {
        Mail::Assign(assign) => assigned(tx, assign).await,
        Mail::Cancel { task, reason } => {
            let task = TaskId::new(*task);
            // What was computed is worth reporting; what was reported stays so.
            match row::phase_of(tx, task).await? {
                Some(Phase::Accepted | Phase::Fetched | Phase::Running) => ended(tx, task, reason).await,
                Some(_) | None => Ok(Received::Nothing),
            }
        }
        Mail::Ended { task, reason } => {
            let task = TaskId::new(*task);
            match row::phase_of(tx, task).await? {
                Some(Phase::Ended) | None => Ok(Received::Nothing),
                Some(_) => ended(tx, task, reason).await,
            }
        }
        Mail::Settled { task, digest, earned, transaction } => {
            let task = TaskId::new(*task);
            let moved = row::enter(tx, task, Phase::Settled).await?;
            if !moved {
                return Ok(Received::Nothing);
            }
            sqlx::query(
                "UPDATE tasks SET digest = $2, earned = $3, tx = $4, manifest = NULL, \
                 assign = CASE watched WHEN 1 THEN assign ELSE '' END WHERE task = $1",
            )
            .bind(task.to_string())
            .bind(digest.to_string())
            .bind(earned.0.to_string())
            .bind(transaction.to_string())
            .execute(&mut **tx)
            .await?;
            Ok(Received::Settled(task))
        }
        Mail::Closed(closed) => rounds::shown(tx, closed.root, mail).await,
        Mail::Appended(appended) => rounds::shown(tx, rounds::chain_of(&appended.pairs), mail).await,
        Mail::Agree { task, digest } => rounds::agreed(tx, worker, TaskId::new(*task), *digest).await,
    }
}

async fn assigned(tx: &mut Transaction<'_, Sqlite>, assign: &Assign) -> Result<Received, JournalError> {
    let task = task_of(assign);
    match row::phase_of(tx, task).await? {
        None => {
            row::insert(tx, task, assign).await?;
            Ok(Received::Assigned(task))
        }
        Some(Phase::Ended) => {
            row::insert(tx, task, assign).await?;
            Ok(Received::Assigned(task))
        }
        Some(
            Phase::Uploaded | Phase::Reported | Phase::Committed | Phase::Closed | Phase::Revealed | Phase::Delivered,
        ) => Ok(Received::Known(task)),
        Some(Phase::Accepted | Phase::Fetched | Phase::Running | Phase::Computed) => Ok(Received::Assigned(task)),
        Some(Phase::Settled) => Ok(Received::Nothing),
    }
}

pub(super) async fn ended(
    tx: &mut Transaction<'_, Sqlite>,
    task: TaskId,
    reason: &str,
) -> Result<Received, JournalError> {
    if !row::enter(tx, task, Phase::Ended).await? {
        return Ok(Received::Nothing);
    }
    // What the chain may still owe, it owes by the terms.
    sqlx::query(
        "UPDATE tasks SET reason = $2, decline = NULL, manifest = NULL, \
         assign = CASE watched WHEN 1 THEN assign ELSE '' END WHERE task = $1",
    )
    .bind(task.to_string())
    .bind(reason)
    .execute(&mut **tx)
    .await?;
    Ok(Received::Stopped(task))
}
