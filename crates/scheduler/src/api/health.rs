//! Is it alive, is it ready, whose is it.

use super::{Api, problem::No};
use crate::observe;
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONNECTION},
    response::Response,
    routing::get,
};
use berth_chain::{follow::Health, outbox::SenderHealth};
use berth_wire::scheduler::PoolInfo;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) async fn alive() -> &'static str {
    "ok"
}

/// Ready: what the chain says is known, what is sent gets through, and the store of results is there.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<&'static str, No> {
    let obstacle = match &*api.follower.borrow() {
        Health::Following => None,
        Health::Starting => Some("the chain is still being read".to_owned()),
        Health::Retrying { cause } => Some(cause.clone()),
    };
    let obstacle = obstacle.or_else(|| match &*api.sender.borrow() {
        SenderHealth::Sending | SenderHealth::Capped => None,
        SenderHealth::Retrying { cause } => Some(cause.clone()),
        SenderHealth::Unfunded { has, needs } => {
            Some(format!("the operator has {has} wei to pay for gas, and needs {needs}"))
        }
        SenderHealth::Declined { message } => Some(message.clone()),
    });
    let obstacle = match obstacle {
        Some(obstacle) => Some(obstacle),
        None => api.blobs.backend().reach().await.err().map(|error| observe::chain(&error)),
    };
    match obstacle {
        None => Ok("ready"),
        Some(cause) => Err(No::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", cause)),
    }
}

/// What is served while the node can't be reached at the start: alive, but not ready.
pub(crate) fn waiting_room(cause: watch::Receiver<String>) -> Router {
    let not_ready = move || {
        let cause = cause.borrow().clone();
        std::future::ready(No::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", cause))
    };
    Router::new()
        .route("/healthz", get(alive))
        .route("/version", get(version))
        .fallback(not_ready)
        .layer(axum::middleware::map_response(hang_up))
}

/// Whoever comes again comes to the open door.
async fn hang_up(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}

pub(super) async fn pool(State(api): State<Arc<Api>>) -> Json<PoolInfo> {
    Json(PoolInfo {
        pool: api.pool,
        operator: api.operator.get(),
        chain_id: api.domain.chain_id,
        berth: api.domain.berth,
        block: api.tip.borrow().number.get(),
        workers: u32::try_from(api.presence.count()).unwrap_or(u32::MAX),
        max_blob_bytes: api.blobs.max_bytes(),
    })
}
