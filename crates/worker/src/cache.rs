//! What was fetched, by its sha256: virtual machines' disks. Fetching goes on where it broke off, also after a crash; only
//! what is whole and has its hash gets its name. When there is too much, what was used longest ago goes first, and never
//! what is in use. When a file was used is the time of its last writing, which is set at each use.

use crate::clock::now_ms;
use berth_wire::{manifest::Content, units::Sha256};
use futures_util::StreamExt as _;
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;

/// The ending of what is not whole yet.
const PART: &str = "part";
/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT_TAKES: Duration = Duration::from_secs(10);

/// Why a file is not here.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Larger than the whole cache, or than what is not in use leaves.
    #[error("it has {size} bytes, and the cache has room for {room}")]
    NoRoom {
        /// Its size.
        size: u64,
        /// What can be had.
        room: u64,
    },
    /// The server is not there, or not now.
    #[error("{0} can't be fetched now: {1}")]
    Later(String, String),
    /// What comes is something else.
    #[error("{0} has other bytes than its sha256 says")]
    Corrupt(String),
    /// The cache's folder can't be used.
    #[error("{0} can't be used")]
    Folder(PathBuf, #[source] io::Error),
}

/// Where a file comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// An `http://` or `https://` address.
    pub url: String,
    /// A bearer token for it.
    pub token: Option<String>,
}

impl From<(String, Option<String>)> for Source {
    fn from((url, token): (String, Option<String>)) -> Self {
        Self { url, token }
    }
}

/// A file to have.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its sha256.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// The ending of its name here, which tells what it is.
    pub ending: String,
}

/// A folder of fetched files.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    used: Arc<Mutex<HashMap<PathBuf, usize>>>,
    client: reqwest::Client,
}

/// A file of the cache, kept there as long as this is.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    used: Arc<Mutex<HashMap<PathBuf, usize>>>,
}

impl Held {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut used = self.used.lock().expect("nothing panics under this lock");
        if let Some(count) = used.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                used.remove(&self.path);
            }
        }
    }
}

impl Cache {
    /// The cache in this folder.
    ///
    /// # Errors
    /// [`CacheError::Folder`].
    pub fn open(folder: PathBuf) -> Result<Self, CacheError> {
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let client = reqwest::Client::builder().connect_timeout(CONNECT_TAKES).read_timeout(SILENCE).build();
        let client = client.expect("a client with the built-in roots and no special settings always builds");
        Ok(Self { folder, used: Arc::default(), client })
    }

    /// A file, fetched if it is not here, within a cache of this size. What is here is hashed again.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn have(&self, wanted: &Wanted, most: u64, source: &Source) -> Result<Held, CacheError> {
        let held = self.hold(self.folder.join(format!("{}.{}", wanted.sha256, wanted.ending)));
        if self.is_whole(held.path().to_owned(), wanted.sha256).await {
            touch(held.path());
            return Ok(held);
        }
        let part = held.path().with_extension(PART);
        let _part = self.hold(part.clone());
        self.make_room(wanted.size, most, &part)?;
        self.fetch(&part, wanted, source).await?;
        if !self.is_whole(part.clone(), wanted.sha256).await {
            // Going on with these bytes would never end well.
            fs::remove_file(&part).map_err(failed(&part))?;
            return Err(CacheError::Corrupt(source.url.clone()));
        }
        fs::rename(&part, held.path()).map_err(failed(&part))?;
        touch(held.path());
        Ok(held)
    }

    fn hold(&self, path: PathBuf) -> Held {
        *self.used.lock().expect("nothing panics under this lock").entry(path.clone()).or_default() += 1;
        Held { path, used: self.used.clone() }
    }

    async fn is_whole(&self, path: PathBuf, wanted: Sha256) -> bool {
        let hashed = tokio::task::spawn_blocking(move || hash(&path).is_ok_and(|found| found == wanted));
        hashed.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Goes on where an earlier try broke off.
    async fn fetch(&self, part: &Path, wanted: &Wanted, source: &Source) -> Result<(), CacheError> {
        let later = |why: String| CacheError::Later(source.url.clone(), why);
        let have = fs::metadata(part).map_or(0, |found| found.len());
        if have >= wanted.size {
            return Ok(());
        }
        let mut request = self.client.get(&source.url);
        if let Some(token) = &source.token {
            request = request.bearer_auth(token);
        }
        if have > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={have}-"));
        }
        let answer = request.send().await.map_err(|error| later(error.without_url().to_string()))?;
        let is_rest = answer.status() == reqwest::StatusCode::PARTIAL_CONTENT;
        if !answer.status().is_success() {
            return Err(later(format!("the answer is {}", answer.status())));
        }
        let mut open = tokio::fs::OpenOptions::new();
        // A server that knows no ranges begins at the beginning.
        let open = if is_rest && have > 0 { open.append(true) } else { open.write(true).truncate(true).create(true) };
        let mut file = open.open(part).await.map_err(failed(part))?;
        let mut left = if is_rest { wanted.size - have } else { wanted.size };
        let mut body = answer.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| later(error.without_url().to_string()))?;
            left = left.checked_sub(chunk.len() as u64).ok_or_else(|| CacheError::Corrupt(source.url.clone()))?;
            file.write_all(&chunk).await.map_err(failed(part))?;
        }
        file.sync_all().await.map_err(failed(part))?;
        if left == 0 { Ok(()) } else { Err(later(format!("{left} bytes are missing"))) }
    }

    /// Removes what was used longest ago until there is room.
    fn make_room(&self, size: u64, most: u64, part: &Path) -> Result<(), CacheError> {
        let entries = fs::read_dir(&self.folder).map_err(failed(&self.folder))?.flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let found = entry.metadata().ok()?;
                (entry.path() != part).then(|| (found.modified().unwrap_or(UNIX_EPOCH), found.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut all: u64 = files.iter().map(|(_, size, _)| size).sum();
        let used = self.used.lock().expect("nothing panics under this lock");
        for (_, bytes, path) in files {
            if all.saturating_add(size) <= most {
                break;
            }
            if !used.contains_key(&path) {
                fs::remove_file(&path).map_err(failed(&path))?;
                all -= bytes;
            }
        }
        let room = most.saturating_sub(all);
        if size <= room { Ok(()) } else { Err(CacheError::NoRoom { size, room }) }
    }
}

/// Notes that a file is used now.
fn touch(path: &Path) {
    let now = UNIX_EPOCH + Duration::from_millis(now_ms());
    // The order in which files go is all that suffers.
    drop(fs::File::options().append(true).open(path).and_then(|file| file.set_modified(now)));
}

fn hash(path: &Path) -> io::Result<Sha256> {
    Ok(Content::read(fs::File::open(path)?)?.sha256)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::Folder(path.clone(), source)
}
