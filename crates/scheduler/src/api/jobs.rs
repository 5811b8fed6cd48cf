//! Job documents.

use super::{Api, problem::No};
use crate::{
    clock,
    store::{self, session::Caller},
};
use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use berth_wire::{job::Job, manifest::Content, scheduler::JobAccepted};
use std::sync::Arc;

/// Keeps a job document under its hash.
pub(super) async fn put(State(api): State<Arc<Api>>, caller: Caller, body: Bytes) -> Result<Json<JobAccepted>, No> {
    let job = Job::from_bytes(&body).map_err(|error| {
        No::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-job", error.to_string())
            .hint("a job is canonical JSON (RFC 8785); ADR 0001, section 5, has its members")
    })?;
    let hash = job.hash();
    let (account, mut tx) = (caller.account(), api.db.write().await?);
    let is_known = store::job::is_by(&mut tx, hash, account).await?;
    if !is_known && !store::deal::names_job(&mut tx, hash, account).await? {
        let unused = store::job::count_unused(&mut tx).await?;
        if unused >= u64::from(api.max_jobs) {
            return Err(No::new(StatusCode::SERVICE_UNAVAILABLE, "store-full", "too many jobs wait for their deal")
                .hint("match the deal first, then put the job; or try again later"));
        }
    }
    store::job::insert(&mut tx, hash, &body, account, clock::now_ms()).await?;
    // From here on, what this account has put of them, or is about to, is kept.
    let inputs: Vec<_> = job.inputs.iter().map(|input| input.sha256).collect();
    store::data::hold(&mut tx, hash.get(), &inputs).await?;
    tx.commit().await?;
    let mut missing = Vec::new();
    for input in job.inputs.iter().filter(|input| input.url.is_none()) {
        let content = Content { sha256: input.sha256, size: input.size };
        if !api.intake.has(account, content).await? && !api.intake.take_over(account, content).await? {
            missing.push(content);
        }
    }
    api.signals.wake();
    Ok(Json(JobAccepted { job_hash: hash.get(), missing }))
}
