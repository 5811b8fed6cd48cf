//! Deals and tasks, as anybody may see them.

use super::{Api, problem::No, replicas::Parts};
use crate::{
    plan,
    store::{self, deal::Deal, report::Report, task::Row},
    view::{View, Work},
};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use berth_protocol::{
    DealId, TaskId, WorkerAddr,
    ids::ParseIdError,
    task::{Phase, Replicated, Task},
};
use berth_wire::{
    manifest::Content,
    scheduler::{DealView, Ending, ReplicaView, SealedView, TaskView, Why},
    worker::failure_code,
};
use serde::Deserialize;
use sqlx::SqliteConnection;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// The longest time that a call waits for a change. Proxies close silent connections after a minute.
const MAX_WAIT_MS: u64 = 55_000;
/// How long an answer waits for the snapshot that explains it. Each change wakes the reconciler, which takes one.
const SNAPSHOT_WAIT: Duration = Duration::from_millis(500);
/// The most deals of one answer.
const MAX_DEALS: u32 = 1_000;

/// Until when a call waits for a change.
pub(super) struct Wait(Instant);

impl Wait {
    pub(super) fn of(ms: u64) -> Self {
        Self(Instant::now() + Duration::from_millis(ms.min(MAX_WAIT_MS)))
    }

    pub(super) const fn until(&self) -> Instant {
        self.0
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    since: Option<u64>,
    #[serde(default)]
    wait_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    #[serde(default = "Limit::usual")]
    limit: u32,
}

impl Limit {
    const fn usual() -> u32 {
        20
    }
}

fn bad_id(error: &ParseIdError) -> No {
    No::new(StatusCode::BAD_REQUEST, "bad-id", error.to_string())
}

/// A deal; waits until its `seq` is past what the caller knows.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Path(deal): Path<String>,
    Query(query): Query<Since>,
) -> Result<Json<DealView>, No> {
    let id: DealId = deal.parse().map_err(|error| bad_id(&error))?;
    let mut changes = api.signals.changes();
    let wait = Wait::of(query.wait_ms);
    loop {
        changes.mark_unchanged();
        let mut tx = api.db.read().await?;
        let deal = store::deal::get(&mut tx, id).await?;
        let is_news = deal.as_ref().is_some_and(|deal| query.since.is_none_or(|since| deal.seq > since));
        // With `since`, a deal that is not there yet is waited for, too.
        let is_over = query.since.is_none() || wait.is_over() || api.stop.is_cancelled();
        match deal {
            Some(deal) if is_news || is_over => {
                let view = snapshot(&api, &deal).await;
                return Ok(Json(whole(&mut tx, &api, &deal, &view).await?));
            }
            None if is_over => return Err(unknown(id)),
            Some(_) | None => drop(tx),
        }
        tokio::select! {
            // The sender lives as long as the interface.
            _ = changes.changed() => {}
            () = sleep_until(wait.until()) => {}
            () = api.stop.cancelled() => {}
        }
    }
}

/// The last snapshot, once it knows as much of the deal as the caller is about to hear.
async fn snapshot(api: &Api, deal: &Deal) -> Arc<View> {
    let mut seen = api.seen.clone();
    let is_new = |view: &Arc<View>| deal.ended || view.deals.iter().any(|d| d.id == deal.id && d.seq >= deal.seq);
    let fresh = timeout(SNAPSHOT_WAIT, seen.wait_for(is_new)).await;
    match fresh {
        Ok(Ok(view)) => view.clone(),
        Ok(Err(_)) | Err(_) => api.seen.borrow().clone(),
    }
}

fn unknown(id: DealId) -> No {
    No::new(StatusCode::NOT_FOUND, "deal-unknown", format!("no deal {id} is this pool's"))
        .hint("a deal that was just matched is known once its block is read; or ask the scheduler of its pool")
}

/// The latest deals, without their tasks.
pub(super) async fn latest(State(api): State<Arc<Api>>, Query(query): Query<Limit>) -> Result<Json<Vec<DealView>>, No> {
    let mut tx = api.db.read().await?;
    let deals = store::deal::latest(&mut tx, query.limit.min(MAX_DEALS)).await?;
    let mut views = Vec::with_capacity(deals.len());
    for deal in &deals {
        views.push(bare(deal, waits(&mut tx, &api, deal).await?));
    }
    Ok(Json(views))
}

/// A task.
pub(super) async fn task(State(api): State<Arc<Api>>, Path(task): Path<String>) -> Result<Json<TaskView>, No> {
    let id: TaskId = task.parse().map_err(|error| bad_id(&error))?;
    let mut tx = api.db.read().await?;
    let unknown = || No::new(StatusCode::NOT_FOUND, "task-unknown", format!("no task {id} is this pool's"));
    let row = store::task::get(&mut tx, id).await?.ok_or_else(unknown)?;
    let attempts = store::attempt::count(&mut tx, id).await?;
    let report = match store::task::parts(row.task) {
        (Some(worker), Some(_)) => store::report::get(&mut tx, id, worker).await?,
        (None, Some(digest)) => store::report::saying(&mut tx, id, digest).await?,
        _ => None,
    };
    let sealed = match store::task::parts(row.task).1 {
        Some(digest) => store::report::sealed(&mut tx, id, digest).await?,
        None => Vec::new(),
    };
    let deal = store::deal::get(&mut tx, row.deal).await?.ok_or_else(unknown)?;
    let mut parts = Parts::of(&mut tx, &deal).await?;
    let view = snapshot(&api, &deal).await;
    let told = task_view(&deal, &row, (attempts, report.as_ref(), parts.take(&row)), &view);
    Ok(Json(TaskView { sealed: sealed.into_iter().map(sealed_view).collect(), ..told }))
}

/// What a deal waits for, and why it can't be run at all.
#[derive(Debug, Default)]
struct Waits {
    waiting_for: Option<String>,
    impossible: Option<String>,
}

async fn waits(conn: &mut SqliteConnection, api: &Api, deal: &Deal) -> Result<Waits, No> {
    if deal.ended {
        return Ok(Waits::default());
    }
    Ok(match api.library.work(conn, deal).await? {
        Work::Ready(_) => Waits::default(),
        Work::Missing(what) => Waits { waiting_for: Some(what), impossible: None },
        Work::Impossible(reason) => {
            Waits { waiting_for: Some(format!("nothing: no worker can run it ({reason})")), impossible: Some(reason) }
        }
    })
}

fn bare(deal: &Deal, waits: Waits) -> DealView {
    DealView {
        seq: deal.seq,
        deal: deal.id.get(),
        terms: deal.terms.clone().into(),
        app: deal.app,
        requester: deal.requester,
        job_hash: deal.job_hash.get(),
        waiting_for: waits.waiting_for,
        impossible: waits.impossible,
        tasks: Vec::new(),
    }
}

async fn whole(conn: &mut SqliteConnection, api: &Api, deal: &Deal, view: &View) -> Result<DealView, No> {
    let attempts: HashMap<TaskId, u32> = store::attempt::counts(conn, deal.id).await?.into_iter().collect();
    let reports = store::report::of_deal(conn, deal.id).await?;
    let tasks = store::task::of_deal(conn, deal.id).await?;
    let waits = waits(conn, api, deal).await?;
    let answer = |row: &Row| {
        let (worker, digest) = store::task::parts(row.task);
        let is_meant = |report: &Report| match worker {
            Some(worker) => report.worker == worker,
            None => Some(report.digest) == digest,
        };
        reports.iter().find(|(index, report)| *index == row.index && is_meant(report)).map(|(_, report)| report)
    };
    let mut parts = Parts::of(conn, deal).await?;
    let count = |row: &Row| attempts.get(&row.id).copied().unwrap_or_default();
    let sealed = |row: &Row| {
        let digest = store::task::parts(row.task).1;
        let alike = reports.iter().filter(|(index, report)| *index == row.index && Some(report.digest) == digest);
        alike.filter_map(|(_, report)| Some(sealed_view((report.worker, report.sealed?)))).collect()
    };
    let told = |row: &Row| {
        let told = task_view(deal, row, (count(row), answer(row), parts.take(row)), view);
        TaskView { sealed: sealed(row), ..told }
    };
    let tasks = tasks.iter().map(told).collect();
    Ok(DealView { tasks, ..bare(deal, waits) })
}

fn sealed_view((worker, content): (WorkerAddr, Content)) -> SealedView {
    SealedView { worker: worker.get(), content }
}

fn task_view(
    deal: &Deal,
    row: &Row,
    (attempts, report, (close, replicas)): (u32, Option<&Report>, (Option<Ending>, Vec<ReplicaView>)),
    view: &View,
) -> TaskView {
    let (worker, digest) = store::task::parts(row.task);
    let report = report.filter(|report| Some(report.digest) == digest);
    let failure = digest.and_then(berth_protocol::ResultDigest::failure);
    let detail = match failure {
        Some(failure) => {
            let told = report.and_then(|report| report.failure.clone());
            Some(told.unwrap_or_else(|| failure.describe().to_owned()))
        }
        None => deal.given_up.clone().filter(|_| row.task.phase() == Phase::Declined),
    };
    TaskView {
        task: row.id.get(),
        deal: row.deal.get(),
        index: row.index,
        phase: row.task.phase().name().to_owned(),
        stage: row.stage,
        worker: worker.map(berth_protocol::WorkerAddr::get),
        digest: digest.map(berth_protocol::ResultDigest::get),
        failure: failure.map(|failure| failure_code(failure).to_owned()),
        detail,
        stdout: report.and_then(|report| report.stdout),
        stderr: report.and_then(|report| report.stderr),
        partial: report.and_then(|report| report.partial),
        sealed: Vec::new(),
        wall_ms: report.map(|report| report.wall_ms),
        ending: row.end.map(|end| Ending { transaction: end.tx, block: end.block.get() }),
        close,
        replicas,
        attempts,
        why: why(row, view),
    }
}

/// Why a task waits, as far as the last snapshot knows.
fn why(row: &Row, view: &View) -> Vec<Why> {
    let phase = row.task.phase();
    let is_gathering = row.task == Task::Replicated(Replicated::Gathering);
    if !matches!(phase, Phase::Open | Phase::Reported) && !is_gathering {
        return Vec::new();
    }
    let Some(deal) = view.deals.iter().find(|deal| deal.id == row.deal) else { return Vec::new() };
    let Some(task) = deal.tasks.iter().find(|task| task.id == row.id) else { return Vec::new() };
    if phase != Phase::Reported {
        let obstacles = plan::why(view, deal, task);
        return obstacles
            .into_iter()
            .map(|obstacle| Why { worker: obstacle.worker, reason: obstacle.reason })
            .collect();
    }
    let worker = store::task::parts(row.task).0.map(berth_protocol::WorkerAddr::get);
    let reasons = plan::unsettled(view, deal, task).into_iter().chain(row.reason.clone());
    reasons.map(|reason| Why { worker, reason }).collect()
}
