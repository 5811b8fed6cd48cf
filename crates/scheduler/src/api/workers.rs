//! The pool's workers.

use super::Api;
use super::problem::No;
use crate::presence::Seen;
use axum::{Json, extract::State};
use berth_protocol::WorkerAddr;
use berth_wire::scheduler::WorkerView;
use std::{collections::HashMap, sync::Arc};

/// Everybody who is bonded in the pool.
pub(super) async fn all(State(api): State<Arc<Api>>) -> Result<Json<Vec<WorkerView>>, No> {
    let mut tx = api.db.read().await?;
    let bonds = crate::store::bond::all(&mut tx).await?;
    let tries = crate::store::attempt::going(&mut tx).await?;
    tx.commit().await?;
    let mut running: HashMap<WorkerAddr, u32> = HashMap::new();
    for attempt in tries.iter().filter(|attempt| attempt.outcome.is_none()) {
        *running.entry(attempt.worker).or_default() += 1;
    }
    let presence = api.presence.snapshot();
    let view = |bond: crate::store::bond::Bond| {
        let here = match presence.of(bond.worker) {
            Seen::Here(here) => Some(here),
            Seen::Left(_) | Seen::Never(_) => None,
        };
        WorkerView {
            worker: bond.worker.get(),
            owner: bond.owner.get(),
            bonded: bond.bonded.into(),
            score: bond.score,
            connected: here.is_some(),
            announced: here.map(|here| (*here.announced).clone()),
            running: running.get(&bond.worker).copied().unwrap_or_default(),
        }
    };
    Ok(Json(bonds.into_iter().map(view).collect()))
}
