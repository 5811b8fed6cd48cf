//! What was fetched, by its sha256: virtual machines' disks, and inputs that are elsewhere. Fetching goes on where it broke
//! off, also after a crash; only what is whole and has its hash gets its name, and one at a time fetches it. When there
//! is too much, what was used longest ago goes first, and never what is in use. When a file was used is the time of its
//! last writing, which is set at each use.

use crate::{
    clock::now_ms,
    reach::{Barred, CONNECT_TAKES, Reach, SILENCE},
};
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
    /// This worker does not ask there.
    #[error("{0} is not asked")]
    Barred(String, #[source] Barred),
    /// What comes is something else.
    #[error("{0} has other bytes than its sha256 says")]
    Corrupt(String),
    /// The cache's folder can't be used.
    #[error("{0} can't be used")]
    Folder(PathBuf, #[source] io::Error),
}

/// Where a file comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The pool's store, which the worker's owner has chosen.
    Store {
        /// The file's address there.
        url: String,
        /// A bearer token for it.
        token: Option<String>,
    },
    /// An address that somebody else gave.
    Elsewhere {
        /// The address.
        url: String,
        /// Which addresses are asked.
        reach: Reach,
    },
}

impl Source {
    fn url(&self) -> &str {
        match self {
            Self::Store { url, .. } | Self::Elsewhere { url, .. } => url,
        }
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
    used: Arc<Mutex<InUse>>,
    /// For the pool's store.
    client: reqwest::Client,
}

type InUse = HashMap<PathBuf, Use>;

/// Who uses a file.
#[derive(Debug, Default)]
struct Use {
    holders: usize,
    /// Whoever looks whether it is here, and fetches it.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// What it will have in the end, while it comes.
    promised: u64,
}

/// A file of the cache, kept there as long as this is.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    used: Arc<Mutex<InUse>>,
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
        if let Some(by) = used.get_mut(&self.path) {
            by.holders -= 1;
            if by.holders == 0 {
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
        let held = self.hold(self.path(wanted));
        let turn = self
            .used
            .lock()
            .expect("nothing panics under this lock")
            .entry(held.path.clone())
            .or_default()
            .turn
            .clone();
        // Two who wrote the same file at one time would spoil it, one of them after it was found whole.
        let _turn = turn.lock().await;
        if self.is_whole(held.path().to_owned(), wanted.sha256).await {
            touch(held.path());
            return Ok(held);
        }
        let part = held.path().with_extension(PART);
        let _part = self.hold(part.clone());
        self.make_room(wanted.size, most, &part)?;
        let mut fetched = self.fetch(&part, wanted, source).await;
        if fetched.is_ok() && !self.is_whole(part.clone(), wanted.sha256).await {
            fetched = Err(CacheError::Corrupt(source.url().to_owned()));
        }
        if let Err(CacheError::Corrupt(_)) = &fetched {
            // Going on with these bytes would never end well.
            fs::remove_file(&part).map_err(failed(&part))?;
        }
        fetched?;
        fs::rename(&part, held.path()).map_err(failed(&part))?;
        touch(held.path());
        Ok(held)
    }

    /// How much of a file has come so far, if it is not here.
    pub(crate) fn came(&self, wanted: &Wanted) -> u64 {
        fs::metadata(self.path(wanted).with_extension(PART)).map_or(0, |found| found.len())
    }

    fn path(&self, wanted: &Wanted) -> PathBuf {
        self.folder.join(format!("{}.{}", wanted.sha256, wanted.ending))
    }

    fn hold(&self, path: PathBuf) -> Held {
        self.used.lock().expect("nothing panics under this lock").entry(path.clone()).or_default().holders += 1;
        Held { path, used: self.used.clone() }
    }

    async fn is_whole(&self, path: PathBuf, wanted: Sha256) -> bool {
        let hashed = tokio::task::spawn_blocking(move || hash(&path).is_ok_and(|found| found == wanted));
        hashed.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Goes on where an earlier try broke off.
    async fn fetch(&self, part: &Path, wanted: &Wanted, source: &Source) -> Result<(), CacheError> {
        let later = |why: String| CacheError::Later(source.url().to_owned(), why);
        let barred = |barred: Barred| CacheError::Barred(source.url().to_owned(), barred);
        let failed_request = |error: reqwest::Error| match Barred::behind(&error) {
            Some(why) => barred(why),
            None => later(error.without_url().to_string()),
        };
        let have = fs::metadata(part).map_or(0, |found| found.len());
        if have >= wanted.size {
            // There is nothing to ask for, of an empty file from the beginning.
            return fs::File::options().append(true).create(true).open(part).map(drop).map_err(failed(part));
        }
        let mut request = match source {
            Source::Store { url, token: Some(token) } => self.client.get(url).bearer_auth(token),
            Source::Store { url, token: None } => self.client.get(url),
            Source::Elsewhere { url, reach } => reach.client().get(reach.read(url).map_err(barred)?),
        };
        if have > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={have}-"));
        }
        let answer = request.send().await.map_err(failed_request)?;
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
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    // The next try begins where this one ends.
                    file.flush().await.map_err(failed(part))?;
                    return Err(later(error.without_url().to_string()));
                }
            };
            left = left.checked_sub(chunk.len() as u64).ok_or_else(|| CacheError::Corrupt(source.url().to_owned()))?;
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
        let mut used = self.used.lock().expect("nothing panics under this lock");
        // What others fetch now will need its room, too.
        let here = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
        let others = used.iter().filter(|(path, _)| *path != part);
        let coming = others.map(|(path, by)| by.promised.saturating_sub(here(path))).fold(0, u64::saturating_add);
        let mut all = files.iter().map(|(_, size, _)| *size).fold(coming, u64::saturating_add);
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
        if size > room {
            return Err(CacheError::NoRoom { size, room });
        }
        used.entry(part.to_owned()).or_default().promised = size;
        Ok(())
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
