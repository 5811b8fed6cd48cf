//! Bytes in and out, each only for whom they are.

use super::{Api, problem::No};
use crate::{
    results::{
        BlobError,
        report::{self, ReportError},
    },
    store::{self, deal::Deal, session::Caller, task::Row},
};
use alloy::primitives::Address;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use berth_protocol::{
    ResultDigest, TaskId, WorkerAddr,
    task::{Answer, Replicated, Task},
};
use berth_wire::{descriptor::Descriptor, job::Job, units::Sha256};
use sqlx::SqliteConnection;
use std::sync::Arc;

pub(super) fn name(text: &str) -> Result<Sha256, No> {
    text.parse().map_err(|error: berth_wire::units::ParseSha256Error| {
        No::new(StatusCode::BAD_REQUEST, "bad-name", error.to_string())
    })
}

/// Puts a blob.
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    _: Caller,
    Path(sha256): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, No> {
    let name = name(&sha256)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > api.blobs.max_bytes()) {
        return Err(BlobError::TooLarge { max: api.blobs.max_bytes() }.into());
    }
    api.blobs.put(name, body.into_data_stream()).await?;
    api.signals.wake();
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a blob is there.
pub(super) async fn head(State(api): State<Arc<Api>>, _: Caller, Path(sha256): Path<String>) -> Result<StatusCode, No> {
    let found = api.blobs.size(name(&sha256)?).await?;
    Ok(if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND })
}

/// A task with its deal.
pub(super) async fn find(conn: &mut SqliteConnection, task: &str) -> Result<(Deal, Row), No> {
    let id: TaskId = task.parse().map_err(|error: berth_protocol::ids::ParseIdError| {
        No::new(StatusCode::BAD_REQUEST, "bad-id", error.to_string())
    })?;
    let unknown = || No::new(StatusCode::NOT_FOUND, "task-unknown", format!("no task {id} is this pool's"));
    let row = store::task::get(conn, id).await?.ok_or_else(unknown)?;
    let deal = store::deal::get(conn, row.deal).await?.ok_or_else(unknown)?;
    Ok((deal, row))
}

/// Whether the account is one of those that a deal's results are for.
pub(super) fn is_for(deal: &Deal, account: Address) -> bool {
    [deal.requester, deal.beneficiary, deal.terms.payer].contains(&account)
}

/// What a task was settled to, and by whose answer, if it was one worker's. Before that, nothing is handed out: its
/// workers are not paid, and others might copy.
pub(super) fn settled(row: &Row) -> Result<(Option<WorkerAddr>, ResultDigest), No> {
    let phase = row.task.phase();
    if let Task::Settled(Answer { worker, digest }) = row.task {
        return Ok((Some(worker), digest));
    }
    if let Some(Replicated::Paid(digest)) = row.task.replicated() {
        return Ok((None, digest));
    }
    Err(No::new(StatusCode::CONFLICT, "not-settled", format!("the task is {phase}, not settled"))
        .hint("results are handed out once the chain has paid for them: wait for the task to be settled"))
}

/// A settled task's manifest.
pub(super) async fn result(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(task): Path<String>,
) -> Result<Response, No> {
    let mut tx = api.db.read().await?;
    let (deal, row) = find(&mut tx, &task).await?;
    tx.commit().await?;
    if !is_for(&deal, caller.account()) {
        return Err(No::not_yours("a task's result"));
    }
    let (_, digest) = settled(&row)?;
    if digest.is_failure() {
        let reason = digest.failure().map_or("it failed", berth_protocol::Failure::describe);
        return Err(No::new(StatusCode::CONFLICT, "no-result", format!("the task has no result: {reason}"))
            .hint("GET /v1/tasks/{task} names its logs"));
    }
    let name = api.blobs.manifest_of(digest).await?;
    send(&api, name).await
}

/// A part of a task's result, one of its logs, or one of its inputs.
pub(super) async fn of_task(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((task, sha256)): Path<(String, String)>,
) -> Result<Response, No> {
    let name = name(&sha256)?;
    let mut tx = api.db.read().await?;
    let (deal, row) = find(&mut tx, &task).await?;
    let is_input = is_input(&mut tx, &deal, name).await?;
    let is_its_worker = match caller {
        Caller::Worker(worker) => runs(&mut tx, &row, WorkerAddr::new(worker)).await?,
        Caller::Person(_) => false,
    };
    if is_input && (is_its_worker || is_for(&deal, caller.account())) {
        tx.commit().await?;
        return send(&api, name).await;
    }
    if !is_for(&deal, caller.account()) {
        return Err(No::not_yours("a task's blob"));
    }
    let (worker, digest) = settled(&row)?;
    let kept = match worker {
        Some(worker) => store::report::get(&mut tx, row.id, worker).await?,
        None => store::report::saying(&mut tx, row.id, digest).await?,
    };
    tx.commit().await?;
    let logs = kept.into_iter().flat_map(|report| [report.stdout, report.stderr]).flatten();
    let is_log = logs.into_iter().any(|log| log.sha256 == name);
    if is_log || is_part(&api, digest, name).await? {
        return send(&api, name).await;
    }
    Err(No::new(StatusCode::NOT_FOUND, "blob-unknown", format!("{name} is no part of this task")))
}

/// Whether the task is this worker's, alone or among others.
async fn runs(conn: &mut SqliteConnection, row: &Row, worker: WorkerAddr) -> Result<bool, No> {
    if row.task.replicated().is_some() {
        return Ok(store::attempt::running(conn, row.id).await?.contains(&worker));
    }
    Ok(row.task == Task::Assigned(worker))
}

async fn is_input(conn: &mut SqliteConnection, deal: &Deal, name: Sha256) -> Result<bool, No> {
    let document = store::job::document(conn, deal.job_hash).await?;
    let job = document.and_then(|document| Job::from_bytes(&document).ok());
    if job.is_some_and(|job| job.inputs.iter().any(|input| input.sha256 == name)) {
        return Ok(true);
    }
    // The disk of an app is the same for all of its tasks.
    let app = store::app::descriptor(conn, deal.app).await?;
    let app = app.and_then(|text| Descriptor::from_bytes(text.as_bytes()).ok());
    Ok(matches!(app, Some(Descriptor::App { disk: Some(disk), .. }) if disk.sha256 == name))
}

async fn is_part(api: &Api, digest: ResultDigest, name: Sha256) -> Result<bool, No> {
    if digest.is_failure() {
        return Ok(false);
    }
    match report::manifest(&api.blobs, digest).await {
        Ok(manifest) => Ok(manifest.blobs().any(|part| part.sha256 == name)),
        Err(ReportError::Blob(error @ BlobError::Store(_))) => Err(error.into()),
        // A result that others settled may not be here, or be none: then nothing is a part of it.
        Err(_) => Ok(false),
    }
}

pub(super) async fn send(api: &Api, name: Sha256) -> Result<Response, No> {
    let Some((size, bytes)) = api.blobs.get(name).await? else {
        return Err(No::new(StatusCode::NOT_FOUND, "blob-missing", format!("{name} is not in this store"))
            .hint("it was removed, or the task was settled without this scheduler: ask the worker's owner"));
    };
    let mut response = Body::from_stream(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    Ok(response)
}
