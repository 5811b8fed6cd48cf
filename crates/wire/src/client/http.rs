//! What all calls share: one connection pool, deadlines, problems.

use crate::problem::Problem;
use reqwest::{Method, RequestBuilder, Response};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use thiserror::Error;

/// A short call that takes longer than this is lost.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A blob that stands still for this long is lost.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A call that failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answered.
    #[error("no answer from {url}")]
    Unreachable {
        /// The server.
        url: String,
        /// What the network says.
        #[source]
        source: reqwest::Error,
    },
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The server's answer is none of ours.
    #[error("{url} answered what no Berth server answers (status {status})")]
    Foreign {
        /// The server.
        url: String,
        /// Its HTTP status.
        status: u16,
    },
    /// Bytes whose hash is not the one asked for.
    #[error("{url} sent bytes with another hash than {wanted}")]
    Corrupt {
        /// The server.
        url: String,
        /// The hash asked for.
        wanted: String,
    },
    /// A file could not be read or written.
    #[error("{path} could not be read or written")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => problem.status >= 500 || problem.status == 429,
            Self::Foreign { .. } | Self::Corrupt { .. } | Self::File { .. } => false,
        }
    }
}

/// A server's base address, and a session there.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl core::fmt::Debug for Http {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Http {
    pub(super) fn new(base: &str) -> Self {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .expect("a client with the built-in roots and no special settings always builds");
        Self { client, base: base.trim_end_matches('/').to_owned(), token: None }
    }

    pub(super) fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn token(&self) -> Option<String> {
        self.token.clone()
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(super) fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.base.clone(), source: source.without_url() }
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let foreign = || ClientError::Foreign { url: self.base.clone(), status: status.as_u16() };
        let problem: Problem = response.json().await.map_err(|_| foreign())?;
        Err(problem.into())
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        response.json().await.map_err(|_| ClientError::Foreign { url: self.base.clone(), status })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.get_within(path, CALL_TIMEOUT).await
    }

    pub(super) async fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path).timeout(timeout)).await
    }

    pub(super) async fn query<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path).query(query).timeout(CALL_TIMEOUT)).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, path).json(body).timeout(CALL_TIMEOUT)).await
    }

    pub(super) async fn post_bytes<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, path).body(body).timeout(CALL_TIMEOUT)).await
    }
}
