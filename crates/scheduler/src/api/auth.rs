//! Who is asking: EIP-4361 for people, and the tokens that workers get on their socket.

use super::{Api, problem::No};
use crate::{
    clock,
    store::{self, session::Caller},
};
use alloy::primitives::hex;
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION, header::HOST, request::Parts},
};
use berth_chain::StoreError;
use berth_wire::{
    auth::{Challenge, ChallengeRequest, Session, SessionRequest, SignIn},
    units::Sha256,
};
use rand::RngCore as _;
use std::sync::Arc;

/// How long a text may wait for its signature: time to find a hardware wallet.
const CHALLENGE_S: u64 = 10 * 60;
/// How long a session lasts.
const SESSION_S: u64 = 24 * 60 * 60;
/// Texts that wait for their signature at the most; far more than a crowd of people, and a few megabytes.
const MAX_CHALLENGES: u64 = 10_000;

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Gives a text to sign.
pub(super) async fn challenge(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Json(request): Json<ChallengeRequest>,
) -> Result<Json<Challenge>, No> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_plain(host));
    let host = host.ok_or_else(|| No::new(StatusCode::BAD_REQUEST, "no-host", "the call has no Host header"))?;
    let now = clock::now_s();
    let sign_in = SignIn {
        host: host.to_owned(),
        address: request.address,
        chain_id: api.domain.chain_id,
        nonce: hex::encode(&random()[..16]),
        issued_at: clock::rfc3339(now),
    };
    let message = sign_in.message();
    let mut tx = api.db.write().await?;
    if store::session::count_challenges(&mut tx).await? >= MAX_CHALLENGES {
        // Whoever asks for thousands of texts must not keep others from signing theirs.
        store::session::drop_oldest_challenges(&mut tx, MAX_CHALLENGES / 10).await?;
    }
    store::session::challenge(&mut tx, &sign_in.nonce, &message, now + CHALLENGE_S).await?;
    tx.commit().await?;
    Ok(Json(Challenge { message }))
}

/// Hosts as they stand in a sign-in message: nothing that could add a line to it.
fn is_plain(host: &str) -> bool {
    !host.is_empty() && host.len() <= 255 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
}

/// Opens a session for whoever signed the text.
pub(super) async fn session(
    State(api): State<Arc<Api>>,
    Json(request): Json<SessionRequest>,
) -> Result<Json<Session>, No> {
    let refused = |detail: String| No::new(StatusCode::UNAUTHORIZED, "bad-sign-in", detail).hint("ask for a new text");
    let sign_in = SignIn::parse(&request.message).map_err(|error| refused(error.to_string()))?;
    sign_in.verify(&request.signature).map_err(|error| refused(error.to_string()))?;
    let now = clock::now_s();
    let mut tx = api.db.write().await?;
    if !store::session::redeem(&mut tx, &sign_in.nonce, &request.message, now).await? {
        return Err(refused("this text was not given out here, or was used, or is too old".to_owned()));
    }
    let (token, expires) = (hex::encode(random()), now + SESSION_S);
    let name = Sha256::of(token.as_bytes());
    store::session::open(&mut tx, name, Caller::Person(sign_in.address), expires).await?;
    tx.commit().await?;
    Ok(Json(Session { token, expires }))
}

/// Opens a session for a connected worker; gives its token.
pub(super) async fn open_for_worker(api: &Api, worker: Caller, expires: u64) -> Result<String, StoreError> {
    let token = hex::encode(random());
    let mut tx = api.db.write().await?;
    store::session::open(&mut tx, Sha256::of(token.as_bytes()), worker, expires).await?;
    tx.commit().await?;
    Ok(token)
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = No;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, No> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(No::unauthorized)?;
        let mut tx = api.db.read().await?;
        let name = Sha256::of(token.as_bytes());
        store::session::caller(&mut tx, name, clock::now_s()).await?.ok_or_else(No::unauthorized)
    }
}
