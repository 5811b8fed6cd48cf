//! An upload under way: a file of this machine to which bytes are added in turn, whatever dies meanwhile. Its length says
//! how far it is; its hash, whether it is what it was said to be.

use berth_wire::units::Sha256;
use bytes::Bytes;
use sha2::Digest as _;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};
use tokio::sync::OwnedMutexGuard;

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A file that grows.
#[derive(Debug)]
pub(super) struct Staged {
    file: File,
    pub(super) path: PathBuf,
    pub(super) len: u64,
    hash: sha2::Sha256,
    /// Nobody else writes to it: kept until the last write is done, also where whoever asked for it has gone.
    _turn: OwnedMutexGuard<()>,
}

/// How much of an upload is here.
pub(super) fn len(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Forgets an upload.
pub(super) fn forget(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Staged {
    /// Opens an upload where it stopped.
    pub(super) async fn open(path: PathBuf, turn: OwnedMutexGuard<()>) -> io::Result<Self> {
        blocking(move || {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
            let (mut hash, mut len, mut chunk) = (sha2::Sha256::new(), 0, vec![0; CHUNK_BYTES]);
            loop {
                match file.read(&mut chunk)? {
                    0 => return Ok(Self { file, path, len, hash, _turn: turn }),
                    read => {
                        hash.update(&chunk[..read]);
                        len += read as u64;
                    }
                }
            }
        })
        .await
    }

    /// Adds bytes.
    pub(super) async fn add(mut self, bytes: Bytes) -> io::Result<Self> {
        blocking(move || {
            self.file.write_all(&bytes)?;
            self.hash.update(&bytes);
            self.len += bytes.len() as u64;
            Ok(self)
        })
        .await
    }

    /// Brings all of it to the disk; gives its hash. The turn goes on.
    pub(super) async fn finish(self) -> io::Result<(Sha256, Self)> {
        blocking(move || {
            self.file.sync_all()?;
            Ok((Sha256(self.hash.clone().finalize().into()), self))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    // A panic in there is one of this program's, and goes on here.
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
