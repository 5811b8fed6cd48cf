//! What a running job prints, while it prints it.

use super::{Api, blobs, deals::Wait, problem::No};
use crate::{live::Live, results::report::is_sealed, store::session::Caller};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use berth_protocol::{TaskId, WorkerAddr, task::Task};
use berth_wire::{
    scheduler::LivePart,
    worker::{Said, Stream},
};
use serde::Deserialize;
use std::sync::Arc;
use tokio::time::sleep_until;

/// Up to here a task is one worker's word, so that seeing it early helps nobody to copy it.
const MAX_TRUST: u32 = 1;
/// The most of one answer.
const MAX_PART_BYTES: usize = 256 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    stream: Stream,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    wait_ms: u64,
}

/// The next part of a stream; waits for it while the task runs.
pub(super) async fn next(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(task): Path<String>,
    Query(query): Query<From>,
) -> Result<Json<LivePart>, No> {
    let wait = Wait::of(query.wait_ms);
    let (mut news, mut changes) = (api.live.news(), api.signals.changes());
    loop {
        news.mark_unchanged();
        changes.mark_unchanged();
        let mut tx = api.db.read().await?;
        let (deal, row) = blobs::find(&mut tx, &task).await?;
        let is_sealed = is_sealed(&mut tx, deal.job_hash).await?;
        tx.commit().await?;
        if !blobs::is_for(&deal, caller.account()) {
            return Err(No::not_yours("what a task prints"));
        }
        if deal.terms.trust > MAX_TRUST {
            let detail = "what a replicated task prints would give its answer away: it comes with the result";
            return Err(No::new(StatusCode::CONFLICT, "hidden", detail)
                .hint("wait for the task to be settled; a trust of 0 or 1 can be followed"));
        }
        if is_sealed {
            return Err(No::new(StatusCode::CONFLICT, "sealed", "what this task prints is for its recipient alone")
                .hint("it comes with the result, encrypted: wait for the task to be settled"));
        }
        let is_over = !matches!(row.task, Task::Open | Task::Assigned(_));
        let mut bytes = api.live.since(row.id, query.stream, query.from);
        bytes.truncate(MAX_PART_BYTES);
        if !bytes.is_empty() || is_over || wait.is_over() || api.stop.is_cancelled() {
            return Ok(Json(LivePart { from: query.from, is_over: is_over && bytes.is_empty(), bytes: bytes.into() }));
        }
        tokio::select! {
            // Both senders live as long as the interface.
            _ = news.changed() => {}
            _ = changes.changed() => {}
            () = sleep_until(wait.until()) => {}
            () = api.stop.cancelled() => {}
        }
    }
}

/// Takes what a worker says that its job prints, if the job is its own to tell of.
pub(super) async fn take(
    api: &Api,
    live: &Live,
    worker: WorkerAddr,
    (task, said): (TaskId, &Said),
) -> Result<(), berth_chain::StoreError> {
    if !live.knows(task, worker) {
        let mut tx = api.db.read().await?;
        let row = crate::store::task::get(&mut tx, task).await?;
        let Some(row) = row.filter(|row| row.task == Task::Assigned(worker)) else { return Ok(()) };
        let Some(deal) = crate::store::deal::get(&mut tx, row.deal).await? else { return Ok(()) };
        // A worker that says what it should not is not passed on.
        if is_sealed(&mut tx, deal.job_hash).await? {
            return Ok(());
        }
    }
    live.take(task, worker, said);
    Ok(())
}
