//! The HTTP interface: [`berth_wire::market`]'s table.

use crate::{
    book::{Book, BookError},
    observe,
    store::order::{After, Wanted},
};
use alloy::primitives::B256;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query as UrlQuery, State, rejection::JsonRejection, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use berth_chain::Class;
use berth_protocol::{JobHash, OrderHash};
use berth_wire::{
    market::{Info, Listed, Page, Publication, Published, PublishedJob, Query},
    problem::{CONTENT_TYPE, Problem},
};
use core::time::Duration;
use std::sync::Arc;
use tower_http::timeout::TimeoutLayer;

/// The largest body: a job of some thousand elements. Inputs go into the pool's store, not here.
const MAX_BODY_BYTES: usize = 1 << 20;
/// A call that takes longer is given up: the longest waits for the follower to reach the head.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// Orders a page, unless asked for fewer.
const MAX_PAGE: u32 = 200;

/// The routes.
pub(crate) fn router(book: Arc<Book>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/version", get(async || Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))))
        .route("/v1/info", get(info))
        .route("/v1/orders", post(publish).get(list))
        .route("/v1/orders/{hash}", get(order))
        .route("/v1/jobs", post(publish_job))
        .route("/v1/jobs/{hash}", get(job))
        .fallback(async || No(Problem::new(404, "no-such-call", "there is no such call here")))
        .method_not_allowed_fallback(async || No(Problem::new(405, "no-such-method", "this call has another method")))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, CALL_DEADLINE))
        .with_state(book)
}

/// A refusal on its way out.
struct No(Problem);

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], Json(self.0)).into_response()
    }
}

impl From<BookError> for No {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Refused(refusal) => Self(refusal.problem()),
            BookError::Store(error) => {
                observe::call_failed(&error);
                let status = if error.class() == Class::Retry { 503 } else { 500 };
                Self(Problem::new(status, "database", "the order book's database failed").hint("try again later"))
            }
        }
    }
}

fn bad(code: &str, detail: impl Into<String>) -> No {
    No(Problem::new(400, code, detail))
}

fn missing(what: &str) -> No {
    No(Problem::new(404, "not-found", format!("this order book has no such {what}")))
}

async fn ready(State(book): State<Arc<Book>>) -> Result<&'static str, No> {
    if book.is_following() {
        Ok("ready")
    } else {
        Err(No(Problem::new(503, "behind", "the order book does not follow the chain at the moment")
            .hint("check the node, and see this program's log")))
    }
}

async fn info(State(book): State<Arc<Book>>) -> Json<Info> {
    Json(book.info())
}

async fn publish(
    State(book): State<Arc<Book>>,
    body: Result<Json<Publication>, JsonRejection>,
) -> Result<Json<Published>, No> {
    let Json(publication) = body.map_err(|error| bad("order-form", error.body_text()))?;
    let hash = book.publish(&publication).await?;
    Ok(Json(Published { hash: hash.get() }))
}

async fn list(State(book): State<Arc<Book>>, query: Result<UrlQuery<Query>, QueryRejection>) -> Result<Json<Page>, No> {
    let UrlQuery(query) = query.map_err(|error| bad("query-form", error.body_text()))?;
    if let Some(kind) = &query.kind
        && !["app", "dataset", "pool", "request"].contains(&kind.as_str())
    {
        return Err(bad("query-kind", format!("`{kind}` is no kind of order: app, dataset, pool or request")));
    }
    let after = match &query.cursor {
        Some(text) => {
            Some(read_cursor(text).ok_or_else(|| bad("query-cursor", format!("`{text}` is no cursor of ours")))?)
        }
        None => None,
    };
    let limit = query.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let wanted = Wanted { kind: query.kind, asset: query.asset, owner: query.owner, after, limit };
    let orders = book.list(&wanted).await?;
    let full = u32::try_from(orders.len()).is_ok_and(|count| count == limit);
    let cursor = orders.last().filter(|_| full).map(write_cursor);
    Ok(Json(Page { orders, cursor }))
}

fn write_cursor(last: &Listed) -> String {
    format!("{}-{}", last.order.order.price().0, last.hash)
}

fn read_cursor(text: &str) -> Option<After> {
    let (price, hash) = text.split_once('-')?;
    Some(After { price: price.parse().ok()?, hash: hash.parse().ok()? })
}

async fn order(State(book): State<Arc<Book>>, Path(hash): Path<String>) -> Result<Json<Listed>, No> {
    let hash: B256 = hash.parse().map_err(|_| bad("hash-form", format!("`{hash}` is no order hash")))?;
    Ok(Json(book.order(OrderHash::new(hash)).await?.ok_or_else(|| missing("order"))?))
}

async fn publish_job(State(book): State<Arc<Book>>, body: Bytes) -> Result<Json<PublishedJob>, No> {
    let job = berth_wire::job::Job::from_bytes(&body)
        .map_err(|error| No(Problem::new(422, "job-form", error.to_string()).hint("correct the job document")))?;
    let hash = job.hash();
    book.put_job(hash, &body).await?;
    Ok(Json(PublishedJob { job_hash: hash.get() }))
}

async fn job(State(book): State<Arc<Book>>, Path(hash): Path<String>) -> Result<Response, No> {
    let hash: B256 = hash.parse().map_err(|_| bad("hash-form", format!("`{hash}` is no job hash")))?;
    let document = book.job(JobHash::new(hash)).await?.ok_or_else(|| missing("job"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}
