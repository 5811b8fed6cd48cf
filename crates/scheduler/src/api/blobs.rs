//! Bytes in and out, each only for whom they are.

use super::{Api, problem::No};
use crate::{
    results::{
        BlobError, Found,
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
use berth_wire::{
    descriptor::Descriptor,
    job::Job,
    manifest::Content,
    scheduler::{UPLOAD_LENGTH, UPLOAD_OFFSET},
    units::Sha256,
};
use core::ops::Range;
use object_store::GetRange;
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
    caller: Caller,
    Path(sha256): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, No> {
    let content = Content { sha256: name(&sha256)?, size: length(&headers)? };
    api.intake.put(caller.account(), content, body.into_data_stream()).await?;
    api.signals.wake();
    Ok(StatusCode::NO_CONTENT)
}

/// The length of a body. It is said before, since so much of the account's room is taken.
pub(super) fn length(headers: &HeaderMap) -> Result<u64, No> {
    number(headers, header::CONTENT_LENGTH.as_str()).ok_or_else(|| {
        No::new(StatusCode::LENGTH_REQUIRED, "length-required", "the call has no Content-Length")
            .hint("send the file itself, not a stream of unknown length")
    })
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Goes on with an upload where it stopped.
pub(super) async fn append(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(sha256): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, No> {
    let name = name(&sha256)?;
    let needed = |header: &str| {
        number(&headers, header).ok_or_else(|| {
            No::new(StatusCode::BAD_REQUEST, "bad-upload", format!("the call has no {header}"))
                .hint("HEAD says how many bytes are here (upload-offset); upload-length is the size of the whole")
        })
    };
    let (offset, size) = (needed(UPLOAD_OFFSET)?, needed(UPLOAD_LENGTH)?);
    let content = Content { sha256: name, size };
    let here = api.intake.append(caller.account(), content, offset, body.into_data_stream()).await?;
    if here < size {
        return Ok((StatusCode::ACCEPTED, [(UPLOAD_OFFSET, here.to_string())]).into_response());
    }
    api.signals.wake();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Whether the caller has put a blob that is there. Of those of others it hears as little as of those of nobody.
pub(super) async fn head(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(sha256): Path<String>,
) -> Result<Response, No> {
    let (account, name) = (caller.account(), name(&sha256)?);
    if api.intake.size(account, name).await?.is_some() {
        return Ok(StatusCode::OK.into_response());
    }
    let offset = api.intake.offset(account, name)?;
    Ok((StatusCode::NOT_FOUND, [(UPLOAD_OFFSET, offset.to_string())]).into_response())
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

/// Whose answer a task was settled by, if it was one worker's, and to what.
pub(super) type Settled = (Option<WorkerAddr>, ResultDigest);

/// How a task was settled. Before that, nothing is handed out: its
/// workers are not paid, and others might copy.
pub(super) fn settled(row: &Row) -> Result<Settled, No> {
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

/// A settled task, for one of those that it is done for. `what` he wants is in the refusal of others.
async fn ended_for(
    conn: &mut SqliteConnection,
    task: &str,
    caller: Caller,
    what: &'static str,
) -> Result<(Row, Settled), No> {
    let (deal, row) = find(conn, task).await?;
    if !is_for(&deal, caller.account()) {
        return Err(No::not_yours(what));
    }
    let settled = settled(&row)?;
    Ok((row, settled))
}

/// A settled task's manifest.
pub(super) async fn result(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(task): Path<String>,
    headers: HeaderMap,
) -> Result<Response, No> {
    let mut tx = api.db.read().await?;
    let (row, (_, digest)) = ended_for(&mut tx, &task, caller, "a task's result").await?;
    if digest.is_failure() {
        let reason = digest.failure().map_or("it failed", berth_protocol::Failure::describe);
        return Err(No::new(StatusCode::CONFLICT, "no-result", format!("the task has no result: {reason}"))
            .hint("GET /v1/tasks/{task} names its logs"));
    }
    let name = api.blobs.manifest_of(digest).await?;
    // Anybody may settle a task, on chain, to a digest that he has seen there.
    if !store::data::is_part(&mut tx, row.id.get(), name).await? {
        if !store::report::sealed(&mut tx, row.id, digest).await?.is_empty() {
            return Err(No::new(
                StatusCode::CONFLICT,
                "sealed",
                "the task's result is sealed: it has no open manifest",
            )
            .hint("GET /v1/tasks/{task} names the sealed file"));
        }
        return Err(missing(name));
    }
    tx.commit().await?;
    send(&api, name, &headers).await
}

/// A part of a task's result, one of its logs, or one of its inputs.
pub(super) async fn of_task(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((task, sha256)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, No> {
    let name = name(&sha256)?;
    let mut tx = api.db.read().await?;
    let (deal, row) = find(&mut tx, &task).await?;
    let is_input = is_input(&mut tx, &deal, name).await?;
    let is_its_worker = match caller {
        Caller::Worker(worker) => runs(&mut tx, &row, WorkerAddr::new(worker)).await?,
        Caller::Person(_) => false,
    };
    let is_given = is_its_worker && is_disk(&mut tx, &deal, name).await?;
    if is_given || is_input && (is_its_worker || is_for(&deal, caller.account())) {
        tx.commit().await?;
        return send(&api, name, &headers).await;
    }
    if is_its_worker {
        return Err(missing(name));
    }
    if !is_for(&deal, caller.account()) {
        return Err(No::not_yours("a task's blob"));
    }
    let (worker, digest) = settled(&row)?;
    let unknown = || No::new(StatusCode::NOT_FOUND, "blob-unknown", format!("{name} is no part of this task"));
    if !store::data::is_part(&mut tx, row.id.get(), name).await? {
        return Err(unknown());
    }
    let kept = answer(&mut tx, &row, (worker, digest)).await?;
    let sealed = store::report::sealed(&mut tx, row.id, digest).await?;
    tx.commit().await?;
    if sealed.iter().any(|(_, content)| content.sha256 == name) {
        return send(&api, name, &headers).await;
    }
    let left = kept.as_ref().and_then(|report| report.partial);
    let is_left = match left {
        Some(left) if left.sha256 == name => true,
        Some(left) => names(&api, left.sha256, name).await?,
        None => false,
    };
    let logs = kept.into_iter().flat_map(|report| [report.stdout, report.stderr]).flatten();
    let is_log = logs.into_iter().any(|log| log.sha256 == name);
    if is_log || is_left || is_part(&api, digest, name).await? {
        return send(&api, name, &headers).await;
    }
    Err(unknown())
}

/// Whether the task is this worker's, alone or among others.
async fn runs(conn: &mut SqliteConnection, row: &Row, worker: WorkerAddr) -> Result<bool, No> {
    if row.task.replicated().is_some() {
        return Ok(store::attempt::running(conn, row.id).await?.contains(&worker));
    }
    Ok(row.task == Task::Assigned(worker))
}

/// Whether the deal's job names these bytes, and its requester has put both: the names of either are no secret.
async fn is_input(conn: &mut SqliteConnection, deal: &Deal, name: Sha256) -> Result<bool, No> {
    if !store::job::is_by(conn, deal.job_hash, deal.requester).await? {
        return Ok(false);
    }
    let document = store::job::document(conn, deal.job_hash).await?;
    let job = document.and_then(|document| Job::from_bytes(&document).ok());
    let Some(input) = job.and_then(|job| job.inputs.into_iter().find(|input| input.sha256 == name)) else {
        return Ok(false);
    };
    let content = Content { sha256: input.sha256, size: input.size };
    Ok(store::holding::has(conn, deal.requester, content).await?)
}

/// Whether these bytes are the disk of the deal's app, and the app's owner has put them: a descriptor that names somebody
/// else's bytes opens nothing.
async fn is_disk(conn: &mut SqliteConnection, deal: &Deal, name: Sha256) -> Result<bool, No> {
    let app = store::app::descriptor(conn, deal.app).await?;
    match app.and_then(|text| Descriptor::from_bytes(text.as_bytes()).ok()) {
        Some(Descriptor::App { disk: Some(disk), .. }) if disk.sha256 == name => {
            let content = Content { sha256: disk.sha256, size: disk.size };
            Ok(store::holding::has(conn, deal.terms.appOwner, content).await?)
        }
        Some(Descriptor::App { .. } | Descriptor::Pool { .. } | Descriptor::Dataset { .. }) | None => Ok(false),
    }
}

async fn is_part(api: &Api, digest: ResultDigest, name: Sha256) -> Result<bool, No> {
    if digest.is_failure() {
        return Ok(false);
    }
    let manifest = api.blobs.manifest_of(digest).await?;
    names(api, manifest, name).await
}

/// The report that a settled task was settled by.
async fn answer(
    conn: &mut SqliteConnection,
    row: &Row,
    (worker, digest): Settled,
) -> Result<Option<store::report::Report>, No> {
    Ok(match worker {
        Some(worker) => store::report::get(conn, row.id, worker).await?,
        None => store::report::saying(conn, row.id, digest).await?,
    })
}

/// The manifest of what a settled task left that was stopped before its end.
pub(super) async fn partial(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(task): Path<String>,
    headers: HeaderMap,
) -> Result<Response, No> {
    let mut tx = api.db.read().await?;
    let (row, settled) = ended_for(&mut tx, &task, caller, "what a task left").await?;
    let left = answer(&mut tx, &row, settled).await?.and_then(|report| report.partial);
    let none = || {
        No::new(StatusCode::NOT_FOUND, "no-partial", "the task left nothing that was kept")
            .hint("files are kept of jobs that ran out of time or memory, where they had written some")
    };
    let left = left.ok_or_else(none)?;
    if !store::data::is_part(&mut tx, row.id.get(), left.sha256).await? {
        return Err(none());
    }
    tx.commit().await?;
    send(&api, left.sha256, &headers).await
}

/// Whether a manifest of this store names these bytes.
async fn names(api: &Api, manifest: Sha256, name: Sha256) -> Result<bool, No> {
    match report::read_manifest(&api.blobs, manifest).await {
        Ok(manifest) => Ok(manifest.blobs().any(|part| part.sha256 == name)),
        Err(ReportError::Blob(error @ BlobError::Store(_))) => Err(error.into()),
        // A result that others settled may not be here, or be none: then nothing is a part of it.
        Err(_) => Ok(false),
    }
}

fn missing(name: Sha256) -> No {
    No::new(StatusCode::NOT_FOUND, "blob-missing", format!("{name} is not in this store"))
        .hint("it was removed, or the task was settled without this scheduler: ask the worker's owner")
}

/// Sends a blob, or those of its bytes that `Range` asks for.
pub(super) async fn send(api: &Api, name: Sha256, headers: &HeaderMap) -> Result<Response, No> {
    let mut asked = None;
    if headers.contains_key(header::RANGE) {
        let size = api.blobs.size(name).await?.ok_or_else(|| missing(name))?;
        asked = asked_for(headers, size).map_err(|()| {
            No::new(StatusCode::RANGE_NOT_SATISFIABLE, "bad-range", format!("the blob has {size} bytes"))
                .hint("ask for `bytes=FROM-` or `bytes=FROM-TO` within them, or for all")
        })?;
    }
    let Some(Found { size, range, bytes }) = api.blobs.get(name, asked.clone().map(GetRange::Bounded)).await? else {
        return Err(missing(name));
    };
    let mut response = Body::from_stream(bytes).into_response();
    let length = range.end.saturating_sub(range.start);
    if asked.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let said = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        let said = HeaderValue::from_str(&said).map_err(|_| missing(name))?;
        response.headers_mut().insert(header::CONTENT_RANGE, said);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// One range of a blob of `size` bytes; `None` if all of it is asked for, in words that HTTP lets a server overlook, too.
fn asked_for(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, ()> {
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let Some((from, to)) = asked.and_then(|asked| asked.split_once('-')) else { return Ok(None) };
    let Ok(from) = from.parse::<u64>() else { return Ok(None) };
    let to = match to {
        "" => size,
        to => to.parse::<u64>().map_or(size, |to| to.saturating_add(1).min(size)),
    };
    if from < to { Ok(Some(from..to)) } else { Err(()) }
}
