//! Takes workers' answers: checked first, then written down in one transaction with the state that follows.

use super::{ActError, Actor, is_going, stamp};
use crate::{
    observe,
    results::{
        Blobs,
        report::{self, Checked, ReportError, Shelf},
    },
    store::{self, attempt::Outcome, deal::Deal, task::Entry, task::Row},
    view::clean_lists,
};
use alloy::primitives::B256;
use berth_chain::{BlockRef, StoreError};
use berth_protocol::{
    DealId, TaskId, WorkerAddr,
    task::{Answer, Event, Phase},
};
use berth_wire::worker::{Report, Stage};
use sqlx::SqliteConnection;
use std::collections::HashSet;
use thiserror::Error;

/// What a worker is told whose message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) task: Option<B256>,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

/// An answer was not written down.
#[derive(Debug, Error)]
pub(crate) enum ReportFailure {
    /// It is not good, or comes too late.
    #[error("{}", .0.detail)]
    Refused(Refusal),
    /// The database fails.
    #[error(transparent)]
    Act(#[from] ActError),
}

impl From<StoreError> for ReportFailure {
    fn from(error: StoreError) -> Self {
        Self::Act(error.into())
    }
}

impl From<sqlx::Error> for ReportFailure {
    fn from(error: sqlx::Error) -> Self {
        Self::Act(error.into())
    }
}

pub(super) fn refused(task: TaskId, code: &'static str, detail: impl Into<String>) -> ReportFailure {
    ReportFailure::Refused(Refusal { task: Some(task.get()), code, detail: detail.into() })
}

impl Actor {
    /// Takes a worker's answer to a task.
    pub(crate) async fn report(
        &self,
        blobs: &Blobs,
        worker: WorkerAddr,
        report: &Report,
        tip: BlockRef,
    ) -> Result<(), ReportFailure> {
        let deal_id = DealId::new(report.deal);
        let task = deal_id.task(report.index);
        let deal = {
            let mut tx = self.db.read().await?;
            store::deal::get(&mut tx, deal_id).await?
        };
        let deal = deal.ok_or_else(|| refused(task, "unknown-task", "no such deal is this pool's"))?;
        let shelf = Shelf { db: &self.db, blobs };
        let checked = report::check(shelf, &self.domain, &deal, worker, report).await;
        let checked = checked.map_err(|error: ReportError| refused(task, error.code(), observe::chain(&error)))?;
        self.before(Phase::Reported);
        let mut tx = self.db.write().await?;
        let row = take(&mut tx, &deal, worker, &checked, tip).await?;
        tx.commit().await?;
        self.after(Phase::Reported);
        if let Taken::First = row {
            let kept = &checked.handed.kept;
            observe::task_reported(task, worker, kept.digest, kept.wall_ms);
            self.signals.wake();
            self.signals.changed();
        }
        match row {
            Taken::First | Taken::Again => Ok(()),
            Taken::Spare => Err(refused(task, "superseded", "another worker has the task, or has answered it")),
            Taken::Over => Err(refused(task, "ended", "the task has ended")),
        }
    }

    /// Notes how a task goes.
    pub(crate) async fn progress(&self, worker: WorkerAddr, task: TaskId, stage: Stage) -> Result<(), ActError> {
        let mut tx = self.db.write().await?;
        let Some(deal) = store::task::set_stage(&mut tx, task, worker, stage).await? else { return Ok(()) };
        store::deal::touch(&mut tx, deal).await?;
        tx.commit().await?;
        self.signals.changed();
        Ok(())
    }

    /// Takes a task back from a worker that does not want it.
    pub(crate) async fn declined(
        &self,
        worker: WorkerAddr,
        task: TaskId,
        (code, detail): (&str, &str),
        tip: BlockRef,
    ) -> Result<(), ActError> {
        let text = format!("{code}: {detail}");
        let cut = text.floor_char_boundary(MAX_DETAIL_BYTES);
        if self.release(task, worker, (Outcome::Declined, Some(&text[..cut])), tip).await? {
            self.signals.wake();
        }
        Ok(())
    }
}

/// The longest reason of a worker that is kept.
const MAX_DETAIL_BYTES: usize = 500;

/// What became of an answer.
enum Taken {
    /// It is the task's answer.
    First,
    /// It was there already.
    Again,
    /// It is kept with its list, but the task is another's.
    Spare,
    /// The task has ended.
    Over,
}

async fn take(
    conn: &mut SqliteConnection,
    deal: &Deal,
    worker: WorkerAddr,
    checked: &Checked,
    tip: BlockRef,
) -> Result<Taken, ReportFailure> {
    let task = deal.id.task(checked.index);
    let missing = || refused(task, "unknown-task", "the task is not there yet, or not any more");
    let row = store::task::get(conn, task).await?.ok_or_else(missing)?;
    if !store::attempt::was_given(conn, task, worker).await? {
        return Err(refused(task, "not-assigned", "the task was never this worker's"));
    }
    if !is_going(row.task) {
        return Ok(Taken::Over);
    }
    let report::Handed { kept, parts } = &checked.handed;
    let answer = Answer { worker, digest: kept.digest };
    let known = store::report::get(conn, task, worker).await?;
    if let Some(known) = known.filter(|known| known.digest != kept.digest) {
        return Err(refused(task, "bad-result", format!("this worker has answered {} before", known.digest)));
    }
    store::report::put(conn, task, kept).await?;
    let handed_over = report::hand_over(conn, task, worker, parts).await;
    handed_over.map_err(|error| refused(task, error.code(), observe::chain(&error)))?;
    store::list::add(conn, deal.id, worker, &checked.list.encode(), &checked.signature).await?;
    prune(conn, deal, worker).await?;
    let entry = Entry::at(stamp(tip));
    if store::task::apply(conn, &row, Event::Report(answer), entry).await?.is_none() {
        return Ok(if is_answer(&row, answer) { Taken::Again } else { Taken::Spare });
    }
    store::attempt::end(conn, task, worker, Outcome::Reported, None).await?;
    store::deal::touch(conn, deal.id).await?;
    Ok(Taken::First)
}

fn is_answer(row: &Row, answer: Answer) -> bool {
    store::task::parts(row.task) == (Some(answer.worker), Some(answer.digest))
}

/// Forgets lists of the worker in whose place a later one can be sent.
async fn prune(conn: &mut SqliteConnection, deal: &Deal, worker: WorkerAddr) -> Result<(), StoreError> {
    if store::list::of_worker(conn, deal.id, worker).await?.len() < 2 {
        return Ok(());
    }
    let tasks = store::task::of_deal(conn, deal.id).await?;
    let clean = clean_lists(conn, deal, &tasks).await?;
    let mut later: HashSet<_> = HashSet::new();
    for list in clean.iter().rev().filter(|list| list.worker == worker) {
        if !later.is_empty() && list.entries.iter().all(|entry| later.contains(entry)) {
            store::list::delete(conn, deal.id, worker, list.nth).await?;
        } else {
            later.extend(list.entries.iter().copied());
        }
    }
    Ok(())
}
