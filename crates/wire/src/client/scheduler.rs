use super::{ClientError, http::CALL_TIMEOUT, http::Http};
use crate::{
    auth::{Challenge, ChallengeRequest, Session, SessionRequest},
    manifest::{MAX_CALLBACK_BYTES, Manifest},
    scheduler::{DataView, DealView, JobAccepted, LivePart, PoolInfo, Removed, TaskView, WorkerView},
    units::Sha256,
    worker::Stream,
};
use alloy::primitives::{Address, B256, Bytes};
use reqwest::Method;
use std::{path::Path, time::Duration};

/// Calls a scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerClient(Http);

/// A result whose bytes give the digest that the chain has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// What the job left for the deal's callback, if it has one.
    pub callback: Option<Vec<u8>>,
}

impl SchedulerClient {
    /// The scheduler at this URL, without a session.
    pub fn new(url: &str) -> Self {
        Self(Http::new(url))
    }

    /// The same with a session's token.
    pub fn with_token(self, token: String) -> Self {
        Self(self.0.with_token(token))
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        self.0.base()
    }

    /// Whose scheduler it is.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn pool(&self) -> Result<PoolInfo, ClientError> {
        self.0.get("/v1/pool").await
    }

    /// Asks for a text to sign.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn challenge(&self, address: Address) -> Result<Challenge, ClientError> {
        self.0.post("/v1/auth/challenge", &ChallengeRequest { address }).await
    }

    /// Signs in with it.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` if the signature is not the account's.
    pub async fn session(&self, message: String, signature: Bytes) -> Result<Session, ClientError> {
        self.0.post("/v1/auth/session", &SessionRequest { message, signature }).await
    }

    /// Puts a job document.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` with what is wrong with the job.
    pub async fn put_job(&self, canonical: Vec<u8>) -> Result<JobAccepted, ClientError> {
        self.0.post_bytes("/v1/jobs", canonical).await
    }

    /// Puts bytes into the store under their hash.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` if they are too large.
    pub async fn put_bytes(&self, bytes: Vec<u8>) -> Result<Sha256, ClientError> {
        let name = Sha256::of(&bytes);
        let request = self.0.request(Method::PUT, &format!("/v1/blobs/{name}")).body(bytes);
        self.0.send(request).await?;
        Ok(name)
    }

    /// Puts a file into the store under its hash, which the caller knows. Streams, and goes on where an upload stopped,
    /// of this call or another, as long as it moves.
    ///
    /// # Errors
    /// [`ClientError`]; `File` if it can't be read; `Refused` with `quota` if the account has too much there unused.
    pub async fn put_file(&self, path: &Path, name: Sha256) -> Result<(), ClientError> {
        self.0.put_file(path, name).await
    }

    /// Puts a file into the store under its hash, which the caller knows, and lists it as one's own. As
    /// [`SchedulerClient::put_file`].
    ///
    /// # Errors
    /// [`ClientError`]; `File` if it can't be read.
    pub async fn put_data(&self, path: &Path, sha256: Sha256, name: &str) -> Result<(), ClientError> {
        self.0.put_file(path, sha256).await?;
        let request = self.0.request(Method::PUT, &format!("/v1/data/{sha256}")).query(&[("name", name)]);
        let request = request.header(reqwest::header::CONTENT_LENGTH, 0).timeout(CALL_TIMEOUT);
        self.0.send(request).await.map(drop)
    }

    /// One's own data.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn data(&self) -> Result<Vec<DataView>, ClientError> {
        self.0.get("/v1/data").await
    }

    /// Fetches one's own data into a file, checking its hash. Goes on where a fetch stopped, of this call
    /// or another, with what it finds as `.FILE.berth-part`.
    ///
    /// # Errors
    /// [`ClientError`]; `Corrupt` if the bytes are others, `File` if they can't be written.
    pub async fn fetch_data(&self, sha256: Sha256, into: &Path) -> Result<u64, ClientError> {
        self.0.fetch_file(&format!("/v1/data/{sha256}"), sha256, into).await
    }

    /// Takes data off one's list.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` if they are not on it.
    pub async fn remove_data(&self, sha256: Sha256) -> Result<Removed, ClientError> {
        self.delete(&format!("/v1/data/{sha256}")).await
    }

    /// Removes a settled task's result from the store.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` if it is not settled, or not one's own.
    pub async fn remove_result(&self, task: B256) -> Result<Removed, ClientError> {
        self.delete(&format!("/v1/tasks/{task}/result")).await
    }

    /// Asks for a deal back that nobody has begun.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` if somebody has begun, or it is too late.
    pub async fn unwant(&self, deal: B256) -> Result<(), ClientError> {
        let request = self.0.request(Method::DELETE, &format!("/v1/deals/{deal}")).timeout(CALL_TIMEOUT);
        self.0.send(request).await.map(drop)
    }

    async fn delete(&self, path: &str) -> Result<Removed, ClientError> {
        let response = self.0.send(self.0.request(Method::DELETE, path).timeout(CALL_TIMEOUT)).await?;
        response.json().await.map_err(|source| self.0.unreachable(source))
    }

    /// Whether the store has it.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn has_blob(&self, name: Sha256) -> Result<bool, ClientError> {
        let request = self.0.request(Method::HEAD, &format!("/v1/blobs/{name}")).timeout(CALL_TIMEOUT);
        let response = request.send().await.map_err(|source| self.0.unreachable(source))?;
        match response.status().as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            status => Err(ClientError::Foreign { url: self.0.base().to_owned(), status }),
        }
    }

    /// A deal; with `since`, waits up to `wait` for its `seq` to pass it.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` with `deal-unknown` while the scheduler has not seen it.
    pub async fn deal(&self, deal: B256, since: Option<u64>, wait: Duration) -> Result<DealView, ClientError> {
        let query = since.map(|seq| format!("?since={seq}&wait_ms={}", wait.as_millis())).unwrap_or_default();
        self.0.get_within(&format!("/v1/deals/{deal}{query}"), CALL_TIMEOUT + wait).await
    }

    /// The latest deals, without their tasks.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn deals(&self, limit: u32) -> Result<Vec<DealView>, ClientError> {
        self.0.get(&format!("/v1/deals?limit={limit}")).await
    }

    /// A task.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn task(&self, task: B256) -> Result<TaskView, ClientError> {
        self.0.get(&format!("/v1/tasks/{task}")).await
    }

    /// What a running task prints on a stream past its first `from` bytes; waits up to `wait` for some.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` if it is not one's own, or replicated.
    pub async fn live(
        &self,
        task: B256,
        (stream, from): (Stream, u64),
        wait: Duration,
    ) -> Result<LivePart, ClientError> {
        let (name, wait_ms) = (stream.name(), wait.as_millis());
        let path = format!("/v1/tasks/{task}/live?stream={name}&from={from}&wait_ms={wait_ms}");
        self.0.get_within(&path, CALL_TIMEOUT + wait).await
    }

    /// The pool's workers.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, ClientError> {
        self.0.get("/v1/workers").await
    }

    /// A settled task's manifest, and what it left for a callback, checked against `digest`.
    ///
    /// # Errors
    /// [`ClientError`]; `Corrupt` if they are others.
    pub async fn manifest(&self, task: B256, digest: B256) -> Result<Proven, ClientError> {
        let request = self.0.request(Method::GET, &format!("/v1/tasks/{task}/result")).timeout(CALL_TIMEOUT);
        let bytes = self.0.send(request).await?.bytes().await.map_err(|source| self.0.unreachable(source))?;
        if Sha256::of(&bytes).0 == digest.0 {
            return Ok(Proven { manifest: bytes.into(), callback: None });
        }
        // Where there is a callback, the digest is bound to its bytes.
        if let Ok(manifest) = Manifest::from_bytes(&bytes)
            && let Some(content) = manifest.callback.filter(|content| content.size <= MAX_CALLBACK_BYTES)
        {
            let callback = self.read_blob(task, content.sha256).await?;
            if manifest.bound(&callback).is_some_and(|bound| bound.get() == digest) {
                return Ok(Proven { manifest: bytes.into(), callback: Some(callback) });
            }
        }
        Err(self.corrupt(digest.to_string()))
    }

    /// The manifest of what a task left that was stopped before its end.
    ///
    /// # Errors
    /// [`ClientError`]; `Corrupt` if it has another hash than `name`.
    pub async fn partial(&self, task: B256, name: Sha256) -> Result<Vec<u8>, ClientError> {
        self.read(&format!("/v1/tasks/{task}/partial"), name).await
    }

    /// Fetches a task's blob into a file, checking its hash. Goes on where a fetch stopped, of this call
    /// or another, with what it finds as `.FILE.berth-part`.
    ///
    /// # Errors
    /// [`ClientError`]; `Corrupt` if the bytes are others, `File` if they can't be written.
    pub async fn fetch_blob(&self, task: B256, name: Sha256, into: &Path) -> Result<u64, ClientError> {
        self.0.fetch_file(&format!("/v1/tasks/{task}/blobs/{name}"), name, into).await
    }

    /// Where a task's blob is, and the token that opens it: for those who fetch it in parts.
    pub fn place_of(&self, task: B256, name: Sha256) -> (String, Option<String>) {
        (format!("{}/v1/tasks/{task}/blobs/{name}", self.0.base()), self.0.token())
    }

    /// A task's blob in memory, its hash checked: for what a job printed.
    ///
    /// # Errors
    /// [`ClientError`]; `Corrupt` if the bytes are others.
    pub async fn read_blob(&self, task: B256, name: Sha256) -> Result<Vec<u8>, ClientError> {
        self.read(&format!("/v1/tasks/{task}/blobs/{name}"), name).await
    }

    async fn read(&self, from: &str, name: Sha256) -> Result<Vec<u8>, ClientError> {
        let request = self.0.request(Method::GET, from);
        let bytes = self.0.send(request).await?.bytes().await.map_err(|source| self.0.unreachable(source))?;
        if Sha256::of(&bytes) == name { Ok(bytes.into()) } else { Err(self.corrupt(name.to_string())) }
    }

    fn corrupt(&self, wanted: String) -> ClientError {
        ClientError::Corrupt { url: self.0.base().to_owned(), wanted }
    }
}
