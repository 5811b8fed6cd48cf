//! Is it alive, is it ready, whose is it.

use super::{Api, problem::No};
use axum::{Json, extract::State, http::StatusCode};
use berth_chain::{follow::Health, outbox::SenderHealth};
use berth_wire::scheduler::PoolInfo;
use std::sync::Arc;

pub(super) async fn alive() -> &'static str {
    "ok"
}

/// Ready: what the chain says is known, and what is sent gets through.
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
    match obstacle {
        None => Ok("ready"),
        Some(cause) => Err(No::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", cause)),
    }
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
