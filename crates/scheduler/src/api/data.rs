//! What a requester keeps in the store, and what may be removed: one's own data, one's results, and deals that wait.

use super::{
    Api,
    blobs::{find, is_for, length, name, send, settled},
    problem::No,
};
use crate::{
    clock,
    store::{
        self,
        data::Data,
        session::Caller,
        task::{Row, of_deal},
    },
};
use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use berth_protocol::{DealId, ids::ParseIdError, task::Task};
use berth_wire::{
    manifest::Content,
    scheduler::{DataView, Removed},
    units::Sha256,
};
use serde::Deserialize;
use sqlx::SqliteConnection;
use std::sync::Arc;

/// How many data an account may list: each is a row, and its bytes are on this disk.
const MAX_DATA: u64 = 1_000;
/// The longest name.
const MAX_NAME_BYTES: usize = 255;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Called {
    name: String,
}

/// One's own data.
pub(super) async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Vec<DataView>>, No> {
    let mut tx = api.db.read().await?;
    let found = store::data::of(&mut tx, caller.account()).await?;
    let view = |data: Data| DataView { sha256: data.sha256, name: data.name, size: data.size, put_ms: data.put_ms };
    Ok(Json(found.into_iter().map(view).collect()))
}

/// Takes bytes, and lists them. All of them are sent and hashed even if they are there: who only knows the hash of
/// somebody else's bytes must not come to list, and read, them.
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(sha256): Path<String>,
    Query(called): Query<Called>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, No> {
    let sha256 = name(&sha256)?;
    if called.name.is_empty() || called.name.len() > MAX_NAME_BYTES || called.name.chars().any(char::is_control) {
        return Err(No::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-name", "the name of data is a line of text")
            .hint(format!("give a name of at most {MAX_NAME_BYTES} bytes")));
    }
    let account = caller.account();
    let (_, count) = store::data::total(&mut *api.db.read().await?, account).await?;
    if count >= MAX_DATA {
        let detail = format!("{account} lists {count} data, which are the most");
        return Err(No::new(StatusCode::CONFLICT, "too-many-data", detail)
            .hint("remove some: xwrm, or DELETE /v1/data/{sha256}"));
    }
    let length = length(&headers)?;
    // Who has put them already, in pieces, only lists them.
    let put = if length == 0 { api.intake.size(account, sha256).await? } else { None };
    let size = put.unwrap_or(length);
    if put.is_none() {
        api.intake.put(account, Content { sha256, size }, body.into_data_stream()).await?;
    }
    let mut tx = api.db.write().await?;
    // Whoever removed it meanwhile, in another call of the same account, did so before this transaction.
    if store::holding::size(&mut tx, account, sha256).await? != Some(size) {
        return Err(No::new(StatusCode::CONFLICT, "data-removed", format!("{sha256} was removed just now"))
            .hint("send it again"));
    }
    let data = Data { sha256, name: called.name, size, put_ms: clock::now_ms() };
    store::data::put(&mut tx, account, &data).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn own(conn: &mut SqliteConnection, caller: Caller, sha256: Sha256) -> Result<(), No> {
    let found = store::data::of(conn, caller.account()).await?;
    if found.iter().any(|data| data.sha256 == sha256) {
        return Ok(());
    }
    let detail = format!("{sha256} is not among the data of {}", caller.account());
    Err(No::new(StatusCode::NOT_FOUND, "data-unknown", detail).hint("GET /v1/data lists them"))
}

/// The bytes of one's own data.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(sha256): Path<String>,
    headers: HeaderMap,
) -> Result<Response, No> {
    let sha256 = name(&sha256)?;
    let mut tx = api.db.read().await?;
    own(&mut tx, caller, sha256).await?;
    tx.commit().await?;
    send(&api, sha256, &headers).await
}

/// Takes data off one's list; their bytes go when nobody else needs them.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(sha256): Path<String>,
) -> Result<Json<Removed>, No> {
    let sha256 = name(&sha256)?;
    let mut tx = api.db.write().await?;
    own(&mut tx, caller, sha256).await?;
    store::data::remove(&mut tx, caller.account(), sha256).await?;
    let is_used = store::holding::is_used(&mut tx, caller.account(), sha256).await?;
    if !is_used {
        store::holding::forget(&mut tx, caller.account(), sha256).await?;
    }
    tx.commit().await?;
    api.intake.clear(&[sha256]).await?;
    // Whether others have the same bytes is not for the caller to know.
    Ok(Json(Removed { removed: u32::from(!is_used), kept: u32::from(is_used) }))
}

/// Removes a settled task's result from the store. What the chain has of it stays there.
pub(super) async fn remove_result(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(task): Path<String>,
) -> Result<Json<Removed>, No> {
    let mut tx = api.db.write().await?;
    let (deal, row) = find(&mut tx, &task).await?;
    if !is_for(&deal, caller.account()) {
        return Err(No::not_yours("a task's result"));
    }
    settled(&row)?;
    let parts = store::data::release(&mut tx, row.id.get()).await?;
    if parts.is_empty() {
        return Err(No::new(StatusCode::NOT_FOUND, "no-result", "nothing of this task's result is in the store")
            .hint("it was removed before; its digest and its payments are on chain, for ever"));
    }
    let mut removed = Removed { removed: 0, kept: 0 };
    for part in &parts {
        let is_own = store::holding::size(&mut tx, caller.account(), *part).await?.is_some()
            || store::holding::is_result_for(&mut tx, caller.account(), *part).await?;
        *(if is_own { &mut removed.kept } else { &mut removed.removed }) += 1;
    }
    tx.commit().await?;
    api.intake.clear(&parts).await?;
    Ok(Json(removed))
}

/// Takes note that a requester wants a deal back that nobody has begun: it is declined, and the price returns.
pub(super) async fn unwant(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(deal): Path<String>,
) -> Result<StatusCode, No> {
    let id: DealId =
        deal.parse().map_err(|error: ParseIdError| No::new(StatusCode::BAD_REQUEST, "bad-id", error.to_string()))?;
    let mut tx = api.db.write().await?;
    let deal = store::deal::get(&mut tx, id).await?;
    let deal =
        deal.ok_or_else(|| No::new(StatusCode::NOT_FOUND, "deal-unknown", format!("no deal {id} is this pool's")))?;
    if ![deal.requester, deal.terms.payer].contains(&caller.account()) {
        return Err(No::not_yours("a deal's cancellation"));
    }
    let tasks = of_deal(&mut tx, id).await?;
    let is_begun = |row: &&Row| !matches!(row.task, Task::Open);
    if let Some(row) = tasks.iter().find(is_begun) {
        let phase = row.task.phase();
        let detail =
            format!("task {} of the deal is {phase}: a deal is taken back whole, before anybody begins", row.index);
        return Err(No::new(StatusCode::CONFLICT, "begun", detail)
            .hint("a worker that has the task is paid for it; what is on chain can't be taken back"));
    }
    let (until, now) = (deal.terms.stake_returns_until(), api.tip.borrow().timestamp);
    if now > until {
        let detail = format!("the pool would lose its stake since {until}, and now it is {now}");
        return Err(No::new(StatusCode::CONFLICT, "too-late", detail)
            .hint("the price comes back by itself if nobody does it in time"));
    }
    store::unwanted::insert(&mut tx, id, clock::now_ms()).await?;
    store::deal::touch(&mut tx, id).await?;
    tx.commit().await?;
    api.signals.wake();
    Ok(StatusCode::ACCEPTED)
}
