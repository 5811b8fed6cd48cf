//! Files on their way to a store and from it. A connection may break, and server or client may die and come back: a
//! transfer goes on where it stopped, and is verified by its hash at the end. These are the only calls that try again.

use super::{
    ClientError,
    http::{CALL_TIMEOUT, CONNECT_TIMEOUT, Http, READ_TIMEOUT},
};
use crate::{
    manifest::Content,
    scheduler::{UPLOAD_LENGTH, UPLOAD_OFFSET},
    units::Sha256,
};
use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode, header};
use sha2::Digest as _;
use std::{
    io::{self, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    time::sleep,
};

/// What is no larger than this goes in one call.
const SMALL_BYTES: u64 = 1 << 20;
/// How long a transfer that has begun is tried again while nothing of it moves: a server is restarted in less.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses between tries: the first, and the longest, to which they double.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How much of a file is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// How long to go on.
struct Patience {
    /// Whether anything has moved: who has not even begun is told at once.
    begun: bool,
    waited: Duration,
    pause: Duration,
}

impl Patience {
    const fn new() -> Self {
        Self { begun: false, waited: Duration::ZERO, pause: FIRST_PAUSE }
    }

    const fn moved(&mut self) {
        *self = Self { begun: true, ..Self::new() };
    }

    /// Waits before the next try, if the error may pass.
    async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        let is_of_upload = |code: &str| ["upload-offset", "upload-busy"].contains(&code);
        let may_pass = match &error {
            ClientError::Refused(problem) => error.is_transient() || is_of_upload(&problem.code),
            ClientError::Unreachable { .. } => true,
            ClientError::Foreign { .. } | ClientError::Corrupt { .. } | ClientError::File { .. } => false,
        };
        if !self.begun || !may_pass || self.waited >= PATIENCE {
            return Err(error);
        }
        sleep(self.pause).await;
        self.waited += self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ClientError + use<> {
    let path = path.display().to_string();
    move |source| ClientError::File { path: path.clone(), source }
}

/// How much of an upload is there.
enum There {
    All,
    Part(u64),
}

impl Http {
    /// Puts a file under its hash, which the caller knows.
    pub(super) async fn put_file(&self, path: &Path, name: Sha256) -> Result<(), ClientError> {
        let failed = failed(path);
        let mut file = File::open(path).await.map_err(&failed)?;
        let size = file.metadata().await.map_err(&failed)?.len();
        if size <= SMALL_BYTES {
            let request = self.request(Method::PUT, &format!("/v1/blobs/{name}"));
            let request = request.header(header::CONTENT_LENGTH, size).body(reqwest::Body::from(file));
            return self.send(request).await.map(drop);
        }
        let (mut patience, mut best) = (Patience::new(), None);
        loop {
            let error = match self.there(name).await {
                Ok(There::All) => return Ok(()),
                Ok(There::Part(at)) => {
                    if best.is_none_or(|best| at > best) {
                        best = Some(at);
                        patience = Patience { begun: patience.begun, ..Patience::new() };
                    }
                    // Without any bytes first: what is refused is refused before they are on their way.
                    match self.append(name, (at, size), reqwest::Body::from("")).await {
                        Ok(true) => return Ok(()),
                        Ok(false) => {
                            patience.begun = true;
                            file.seek(SeekFrom::Start(at)).await.map_err(&failed)?;
                            let rest = file.try_clone().await.map_err(&failed)?;
                            match self.append(name, (at, size), reqwest::Body::from(rest)).await {
                                Ok(true) => return Ok(()),
                                // The file has become shorter.
                                Ok(false) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
                                Err(error) => error,
                            }
                        }
                        Err(error) => {
                            // The server was there a moment ago.
                            patience.begun = true;
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            patience.after(error).await?;
        }
    }

    async fn there(&self, name: Sha256) -> Result<There, ClientError> {
        let request = self.request(Method::HEAD, &format!("/v1/blobs/{name}")).timeout(CALL_TIMEOUT);
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let offset = response.headers().get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
        match (response.status(), offset) {
            (StatusCode::OK, _) => Ok(There::All),
            (StatusCode::NOT_FOUND, offset) => Ok(There::Part(offset.unwrap_or(0))),
            // An answer to HEAD has no body: the same question by GET has none to ask for.
            (status, _) => Err(self.told(status)),
        }
    }

    /// An answer without words.
    fn told(&self, status: StatusCode) -> ClientError {
        match status {
            StatusCode::UNAUTHORIZED => {
                crate::problem::Problem::new(status.as_u16(), "not-signed-in", "this call needs a session").into()
            }
            status if status.is_server_error() => {
                crate::problem::Problem::new(status.as_u16(), "store-away", "the server does not answer now").into()
            }
            status => ClientError::Foreign { url: self.base().to_owned(), status: status.as_u16() },
        }
    }

    /// Sends bytes from `at` on; says whether that was all.
    async fn append(&self, name: Sha256, (at, size): (u64, u64), body: reqwest::Body) -> Result<bool, ClientError> {
        let length = if body.as_bytes().is_some() { 0 } else { size - at.min(size) };
        let request = self.request(Method::PATCH, &format!("/v1/blobs/{name}"));
        let request = request.header(UPLOAD_OFFSET, at).header(UPLOAD_LENGTH, size);
        let response = self.send(request.header(header::CONTENT_LENGTH, length).body(body)).await?;
        Ok(response.status() == StatusCode::NO_CONTENT)
    }

    /// Fetches bytes of that name into a file; gives their number. What has come stays beside it, as
    /// `.FILE.berth-part`, until all is there: the next call goes on with it.
    pub(super) async fn fetch_file(&self, from: &str, name: Sha256, into: &Path) -> Result<u64, ClientError> {
        let part = part_of(into);
        let mut got = Got::open(&part).await.map_err(failed(&part))?;
        let (mut patience, mut is_of_before) = (Patience::new(), got.len > 0);
        loop {
            let before = got.len;
            let done = self.fetch_rest(from, &mut got, &part).await;
            if got.len != before {
                patience.moved();
            }
            match done {
                Ok(()) if got.hash.clone().finalize()[..] == name.0 => {
                    tokio::fs::rename(&part, into).await.map_err(failed(into))?;
                    return Ok(got.len);
                }
                // What was there from before may have been of something else.
                Ok(()) if is_of_before => {
                    is_of_before = false;
                    got.clear().await.map_err(failed(&part))?;
                }
                Ok(()) => {
                    drop(tokio::fs::remove_file(&part).await);
                    return Err(ClientError::Corrupt { url: self.base().to_owned(), wanted: name.to_string() });
                }
                Err(error) => {
                    let given_up = patience.after(error).await;
                    if given_up.is_err() && got.len == 0 {
                        drop(tokio::fs::remove_file(&part).await);
                    }
                    given_up?;
                }
            }
        }
    }

    async fn fetch_rest(&self, from: &str, got: &mut Got, part: &Path) -> Result<(), ClientError> {
        let mut request = self.request(Method::GET, from);
        if got.len > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", got.len));
        }
        let response = match self.send(request).await {
            // All of it is there, or more: its hash says which.
            Err(ClientError::Refused(problem)) if got.len > 0 && problem.status == 416 => return Ok(()),
            response => response?,
        };
        let failed = failed(part);
        if response.status() != StatusCode::PARTIAL_CONTENT {
            got.clear().await.map_err(&failed)?;
        }
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => got.add(&chunk).await.map_err(&failed)?,
                Err(source) => {
                    got.file.flush().await.map_err(&failed)?;
                    return Err(self.unreachable(source));
                }
            }
        }
        got.file.flush().await.map_err(failed)
    }
}

/// Size and sha256 of what is at an address now. Nothing of it is kept.
///
/// # Errors
/// What the network says, or the server's status.
pub async fn measure(url: &str) -> Result<Content, reqwest::Error> {
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()?;
    let mut body = client.get(url).send().await?.error_for_status()?.bytes_stream();
    let (mut hash, mut size) = (sha2::Sha256::new(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        hash.update(&chunk);
        size += chunk.len() as u64;
    }
    Ok(Content { sha256: Sha256(hash.finalize().into()), size })
}

/// Where what has come of a file is kept.
fn part_of(into: &Path) -> PathBuf {
    // No name that anybody gives a file of his own: it may be cleared.
    let mut name = std::ffi::OsString::from(".");
    name.push(into.file_name().unwrap_or_default());
    name.push(".berth-part");
    into.with_file_name(name)
}

/// What has come of a file.
struct Got {
    file: File,
    len: u64,
    hash: sha2::Sha256,
}

impl Got {
    async fn open(part: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(part).await?;
        let (mut hash, mut len, mut chunk) = (sha2::Sha256::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            match file.read(&mut chunk).await? {
                0 => return Ok(Self { file, len, hash }),
                read => {
                    hash.update(&chunk[..read]);
                    len += read as u64;
                }
            }
        }
    }

    async fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    async fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0).await?;
        (self.len, self.hash) = (0, sha2::Sha256::new());
        Ok(())
    }
}
