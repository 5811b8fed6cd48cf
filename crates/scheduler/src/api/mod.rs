//! The HTTP interface of [`berth_wire::scheduler`], call for call. Who may ask for what is decided here and nowhere
//! else; what changes anything goes through `act`.

mod auth;
mod blobs;
mod data;
mod deals;
mod health;
mod jobs;
mod live;
mod problem;
mod replicas;
mod socket;
mod workers;

use crate::{
    act::Actor,
    live::Live,
    presence::Presence,
    results::{Blobs, intake::Intake},
    signals::Signals,
    store::Database,
    view::Library,
    view::View,
};
use alloy::primitives::B256;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post, put},
};
use berth_chain::{BlockRef, follow::Health, outbox::SenderHealth};
use berth_protocol::{OperatorAddr, domain::Domain};
use core::time::Duration;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use health::waiting_room;

/// The longest JSON document besides jobs.
const MAX_JSON_BYTES: usize = 16 << 10;
/// The longest job document: as text in a letter it is at most twice as long, which fits into a frame.
const MAX_JOB_BYTES: usize = 384 << 10;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) db: Database,
    pub(crate) blobs: Blobs,
    pub(crate) intake: Arc<Intake>,
    pub(crate) library: Arc<Library>,
    pub(crate) actor: Arc<Actor>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) live: Live,
    pub(crate) signals: Arc<Signals>,
    pub(crate) seen: watch::Receiver<Arc<View>>,
    pub(crate) tip: watch::Receiver<BlockRef>,
    pub(crate) follower: watch::Receiver<Health>,
    pub(crate) sender: watch::Receiver<SenderHealth>,
    pub(crate) stop: CancellationToken,
    pub(crate) pool: B256,
    pub(crate) operator: OperatorAddr,
    pub(crate) domain: Domain,
    pub(crate) heartbeat: Duration,
    pub(crate) silence: Duration,
    pub(crate) max_jobs: u32,
}

/// All routes.
pub(crate) fn routes(api: Arc<Api>) -> Router {
    let blob = put(blobs::put).patch(blobs::append).head(blobs::head).layer(DefaultBodyLimit::disable());
    let data = put(data::put).get(data::get).delete(data::remove).layer(DefaultBodyLimit::disable());
    let job = post(jobs::put).layer(DefaultBodyLimit::max(MAX_JOB_BYTES));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/version", get(health::version))
        .route("/v1/pool", get(health::pool))
        .route("/v1/auth/challenge", post(auth::challenge))
        .route("/v1/auth/session", post(auth::session))
        .route("/v1/deals", get(deals::latest))
        .route("/v1/deals/{deal}", get(deals::one).delete(data::unwant))
        .route("/v1/tasks/{task}", get(deals::task))
        .route("/v1/tasks/{task}/live", get(live::next))
        .route("/v1/tasks/{task}/result", get(blobs::result).delete(data::remove_result))
        .route("/v1/tasks/{task}/partial", get(blobs::partial))
        .route("/v1/tasks/{task}/blobs/{sha256}", get(blobs::of_task))
        .route("/v1/data", get(data::list))
        .route("/v1/workers", get(workers::all))
        .route("/v1/worker", get(socket::connect))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .route("/v1/jobs", job)
        .route("/v1/blobs/{sha256}", blob)
        .route("/v1/data/{sha256}", data)
        .fallback(problem::no_such_call)
        .layer(axum::middleware::map_response(problem::in_our_form))
        .with_state(api)
}
