//! Letters to workers, written in the transaction of what they tell.

use crate::store::{self, attempt, deal::Deal, task::Row};
use alloy::primitives::{B256, Bytes};
use berth_chain::StoreError;
use berth_protocol::{
    Amount, DealTerms, ResultDigest, Timestamp, WorkerAddr,
    task::{Answer, Replicated, Task},
};
use berth_wire::{deal, worker::Assign, worker::Mail};
use sqlx::SqliteConnection;

/// What a worker's owner is credited for a task (ADR 0001, section 3, money).
pub(crate) fn earned(terms: &DealTerms, digest: ResultDigest) -> Amount {
    let price = Amount::new(terms.poolPrice);
    terms.workers_pot(if digest.is_failure() { price.tenth() } else { price })
}

/// Gives a task to a worker, and notes it as a try.
pub(crate) async fn assign(
    conn: &mut SqliteConnection,
    row: &Row,
    worker: WorkerAddr,
    letter: Assign,
    now: Timestamp,
) -> Result<(), StoreError> {
    let seq = store::mail::put(conn, worker, &Mail::Assign(Box::new(letter))).await?;
    attempt::begin(conn, row.id, worker, seq, now).await
}

/// A deal, with the documents that go to its workers.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) deal: Deal,
    pub(crate) job: String,
    pub(crate) app: String,
    pub(crate) dataset: Option<String>,
}

/// All that a worker needs to run a task.
pub(crate) fn assignment(documents: &Documents, index: u32, signature: Bytes) -> Assign {
    let Documents { deal, job, app, dataset } = documents;
    Assign {
        deal: deal.id.get(),
        terms: deal::DealTerms::from(deal.terms.clone()),
        index,
        job: job.clone(),
        job_hash: deal.job_hash.get(),
        app: deal.app,
        descriptor: app.clone(),
        requester: deal.requester,
        block: deal.block.get(),
        dataset: dataset.clone(),
        beneficiary: deal.beneficiary,
        signature,
        report_by: crate::plan::report_by(&deal.terms).seconds(),
    }
}

/// Tells a worker to stop.
pub(crate) async fn cancel(
    conn: &mut SqliteConnection,
    row: &Row,
    worker: WorkerAddr,
    reason: &str,
) -> Result<(), StoreError> {
    let mail = Mail::Cancel { task: row.id.get(), reason: reason.to_owned() };
    store::mail::put(conn, worker, &mail).await.map(drop)
}

/// Tells everybody whom it concerns that the chain has ended a task. `earners` are those whom it paid, if they are many.
pub(crate) async fn ended(
    conn: &mut SqliteConnection,
    deal: &Deal,
    (before, after): (&Row, Task),
    earners: &[(WorkerAddr, Amount)],
    tx: B256,
) -> Result<(), StoreError> {
    let mut paid = Vec::new();
    if let Task::Settled(Answer { worker, digest }) = after {
        let mail = Mail::Settled {
            task: before.id.get(),
            digest: digest.get(),
            earned: earned(&deal.terms, digest).into(),
            transaction: tx,
        };
        store::mail::put(conn, worker, &mail).await?;
        attempt::end(conn, before.id, worker, attempt::Outcome::Reported, None).await?;
        paid.push(worker);
    }
    if let Task::Replicated(Replicated::Paid(digest)) = after {
        for (worker, earned) in earners {
            let (task, earned) = (before.id.get(), (*earned).into());
            let mail = Mail::Settled { task, digest: digest.get(), earned, transaction: tx };
            store::mail::put(conn, *worker, &mail).await?;
            attempt::end(conn, before.id, *worker, attempt::Outcome::Reported, None).await?;
            paid.push(*worker);
        }
    }
    let reason = match after {
        Task::Settled(_) => "settled to another worker's result",
        Task::Replicated(Replicated::Paid(_)) => "settled without this worker's answer",
        Task::Declined => "given back by the operator",
        Task::Claimed => "claimed after the final deadline",
        Task::Open | Task::Assigned(_) | Task::Reported(_) | Task::Settling(_) | Task::Replicated(_) => "taken back",
    };
    // Whoever has the task, or has answered it, has something in its journal that will never be paid.
    for worker in attempt::concerned(conn, before.id).await? {
        if paid.contains(&worker) {
            continue;
        }
        let mail = Mail::Ended { task: before.id.get(), reason: reason.to_owned() };
        store::mail::put(conn, worker, &mail).await?;
        attempt::end(conn, before.id, worker, attempt::Outcome::Ended, Some(reason)).await?;
    }
    Ok(())
}
