//! How the interface says no.

use crate::{
    act::ActError,
    observe,
    results::{BlobError, intake::IntakeError},
    view::ViewError,
};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use berth_chain::StoreError;
use berth_wire::{
    problem::{self, Problem},
    scheduler::UPLOAD_OFFSET,
};

/// A refused call.
#[derive(Debug)]
pub(crate) struct No(Problem);

impl No {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Problem::new(status.as_u16(), code, detail))
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self(self.0.hint(hint))
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not-signed-in", "this call needs a session")
            .hint("sign in: POST /v1/auth/challenge, sign its message, POST /v1/auth/session; sessions end after a day")
    }

    pub(super) fn not_yours(what: &str) -> Self {
        let detail = format!("{what} is only for whoever asked, whoever benefits and whoever pays");
        Self::new(StatusCode::FORBIDDEN, "not-yours", detail).hint("sign in with the account that made the request")
    }

    fn internal(error: &dyn core::error::Error) -> Self {
        observe::request_failed(error);
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the scheduler failed")
            .hint("try again; if it stays so, tell the pool's operator")
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        response
    }
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<sqlx::Error> for No {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<ActError> for No {
    fn from(error: ActError) -> Self {
        Self::internal(&error)
    }
}

impl From<ViewError> for No {
    fn from(error: ViewError) -> Self {
        Self::internal(&error)
    }
}

impl From<IntakeError> for No {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Blob(error) => error.into(),
            IntakeError::Store(error) => error.into(),
            quota @ IntakeError::Quota { .. } => Self::new(StatusCode::CONFLICT, "quota", quota.to_string())
                .hint("match the deals of the jobs that were put, or take unused data away (xwrm); what nothing names goes by itself after a while (`unused_age` of the scheduler)"),
            IntakeError::Offset { at } => Self::new(StatusCode::CONFLICT, "upload-offset", IntakeError::Offset { at }.to_string())
                .hint("HEAD says where to go on"),
            length @ IntakeError::Length { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "upload-length", length.to_string())
                .hint("send the whole file; HEAD says where to go on"),
            IntakeError::Busy => Self::new(StatusCode::CONFLICT, "upload-busy", IntakeError::Busy.to_string())
                .hint("wait for it to end"),
        }
    }
}

impl From<BlobError> for No {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "blob-too-large", error.to_string())
                .hint("GET /v1/pool says how large a blob may be; give the input a URL instead"),
            BlobError::Hash { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "blob-corrupt", error.to_string())
                .hint("the file changed while it was sent, or the network garbled it: try again"),
            BlobError::Broken(_) => Self::new(StatusCode::BAD_REQUEST, "upload-broken", error.to_string()),
            BlobError::Store(_) | BlobError::Staging { .. } => {
                observe::store_failed(&error);
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store-away",
                    "the store of inputs and results does not answer",
                )
                .hint("try again: what was sent is kept; if it stays so, tell the pool's operator")
            }
        }
    }
}

/// Gives our form to what the framework refuses before a handler sees it: bad queries, bad JSON, wrong methods.
pub(super) async fn in_our_form(response: Response) -> Response {
    let status = response.status();
    let is_ours = |kind: &HeaderValue| kind.as_bytes() == problem::CONTENT_TYPE.as_bytes();
    // How far an upload is, is an answer, though there is nothing yet.
    let is_upload = response.headers().contains_key(UPLOAD_OFFSET);
    let is_refusal = (status.is_client_error() || status.is_server_error()) && !is_upload;
    if !is_refusal || response.headers().get(CONTENT_TYPE).is_some_and(is_ours) {
        return response;
    }
    let said = axum::body::to_bytes(response.into_body(), MAX_SAID_BYTES).await.unwrap_or_default();
    let detail = match std::str::from_utf8(&said) {
        Ok(text) if !text.is_empty() => text.to_owned(),
        _ => status.canonical_reason().unwrap_or("refused").to_owned(),
    };
    let code = if status == StatusCode::METHOD_NOT_ALLOWED { "no-such-call" } else { "bad-request" };
    No::new(status, code, detail).into_response()
}

/// The longest explanation of the framework's that is passed on.
const MAX_SAID_BYTES: usize = 4_096;

pub(super) async fn no_such_call() -> No {
    No::new(StatusCode::NOT_FOUND, "no-such-call", "this server has no such call")
}
