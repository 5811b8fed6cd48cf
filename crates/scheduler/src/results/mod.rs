//! Bytes by their sha256: inputs, manifests, files of results, logs. A blob is either there whole, under its right
//! name, and on the disk (or with the S3 server), or not at all.

mod backend;
pub(crate) mod intake;
pub(crate) mod report;
mod staged;
pub(crate) mod strays;

use berth_protocol::ResultDigest;
use berth_wire::{manifest::Content, units::Sha256};
use bytes::Bytes;
use core::ops::Range;
use futures_util::{StreamExt as _, TryStreamExt as _, future, stream::BoxStream};
use object_store::{GetOptions, GetRange, ObjectStoreExt as _, PutMode, PutPayload, WriteMultipart, path::Path};
use std::{io, path::PathBuf};
use thiserror::Error;
use tokio::io::AsyncReadExt as _;

pub(crate) use backend::Backend;
pub use backend::ResultsError;

/// Bytes go to an S3 server in parts of this size, its least being 5 MiB; what is smaller goes at once.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at the same time.
const PARTS_AT_ONCE: usize = 3;
/// The largest manifest: some hundred thousand files.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// A blob can't be kept or given.
#[derive(Debug, Error)]
pub(crate) enum BlobError {
    /// Larger than this store takes.
    #[error("the blob is larger than the {max} bytes that this store takes")]
    TooLarge {
        /// The most.
        max: u64,
    },
    /// The bytes have another hash than their name.
    #[error("these bytes are {found}, not {wanted}")]
    Hash {
        /// Their name.
        wanted: Sha256,
        /// Their hash.
        found: Sha256,
    },
    /// The sender broke off.
    #[error("the upload broke off")]
    Broken(#[source] Box<dyn core::error::Error + Send + Sync>),
    /// The store fails.
    #[error("the store of blobs failed")]
    Store(#[from] object_store::Error),
    /// The disk fails.
    #[error("uploads can't be gathered in {}", folder.display())]
    Staging {
        /// Where.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Blobs by their names.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    backend: Backend,
    max_bytes: u64,
}

/// Bytes of a blob, from the store.
pub(crate) struct Found {
    /// Of the whole blob.
    pub(crate) size: u64,
    /// Which of its bytes these are.
    pub(crate) range: Range<u64>,
    pub(crate) bytes: BoxStream<'static, Result<Bytes, object_store::Error>>,
}

fn place(name: Sha256) -> Path {
    let text = name.to_string();
    Path::from(format!("{}/{text}", &text[..2]))
}

/// The blob that is in this place, if it is one's.
fn name_at(found: &Path) -> Option<Sha256> {
    let name = found.filename()?.parse().ok()?;
    (place(name) == *found).then_some(name)
}

/// Where the name of the manifest stands that a digest is bound to.
fn bound_place(digest: ResultDigest) -> Path {
    Path::from(format!("bound/{digest}"))
}

impl Blobs {
    pub(crate) const fn new(backend: Backend, max_bytes: u64) -> Self {
        Self { backend, max_bytes }
    }

    /// The same in a folder.
    #[cfg(test)]
    pub(crate) fn open(folder: &std::path::Path, max_bytes: u64) -> Result<Self, ResultsError> {
        Ok(Self::new(Backend::folder(folder)?, max_bytes))
    }

    pub(crate) const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Where it is kept.
    pub(crate) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The names of all that are there.
    fn names(&self) -> BoxStream<'static, Result<Sha256, BlobError>> {
        let listed = self.backend.store.list(None).map_err(BlobError::from);
        listed.try_filter_map(|found| future::ok(name_at(&found.location))).boxed()
    }

    /// The size of a blob that is there.
    pub(crate) async fn size(&self, name: Sha256) -> Result<Option<u64>, BlobError> {
        match self.backend.store.head(&place(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether exactly this is there.
    pub(crate) async fn has(&self, content: Content) -> Result<bool, BlobError> {
        Ok(self.size(content.sha256).await? == Some(content.size))
    }

    /// Keeps bytes whose sha256 is `name`, as the caller knows. Those that are there stay.
    async fn keep(&self, name: Sha256, bytes: Bytes) -> Result<(), BlobError> {
        match self.backend.store.put_opts(&place(name), bytes.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a file of the staging folder whose sha256 is `name`, as the caller knows. The file may be gone afterwards.
    async fn keep_file(&self, name: Sha256, file: &std::path::Path, size: u64) -> Result<(), BlobError> {
        if self.has(Content { sha256: name, size }).await? {
            return Ok(());
        }
        if self.backend.is_folder() {
            let file = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let from = Path::from(format!("{}/{file}", backend::STAGING));
            return Ok(self.backend.store.rename(&from, &place(name)).await?);
        }
        let staging = |source| self.staging(source);
        let mut file = tokio::fs::File::open(file).await.map_err(staging)?;
        if size <= PART_BYTES as u64 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.map_err(staging)?;
            return self.keep(name, bytes.into()).await;
        }
        let upload = self.backend.store.put_multipart(&place(name)).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let sent = self.send_parts(&mut file, &mut writer).await;
        match sent {
            Ok(()) => Ok(writer.finish().await.map(drop)?),
            Err(error) => {
                // What counts is the first error. Parts that stay behind are the server's to clear.
                drop(writer.abort().await);
                Err(error)
            }
        }
    }

    async fn send_parts(&self, file: &mut tokio::fs::File, writer: &mut WriteMultipart) -> Result<(), BlobError> {
        let mut chunk = vec![0; 1 << 20];
        loop {
            writer.wait_for_capacity(PARTS_AT_ONCE).await?;
            match file.read(&mut chunk).await.map_err(|source| self.staging(source))? {
                0 => return Ok(()),
                read => writer.write(&chunk[..read]),
            }
        }
    }

    fn staging(&self, source: io::Error) -> BlobError {
        BlobError::Staging { folder: self.backend.staging.clone(), source }
    }

    /// Removes a blob, if it is there.
    pub(crate) async fn remove(&self, name: Sha256) -> Result<(), BlobError> {
        match self.backend.store.delete(&place(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes of a blob, if it is there: all of them, or those of `range`, which must begin within it.
    pub(crate) async fn get(&self, name: Sha256, range: Option<GetRange>) -> Result<Option<Found>, BlobError> {
        let options = GetOptions { range, ..GetOptions::default() };
        match self.backend.store.get_opts(&place(name), options).await {
            Ok(found) => {
                Ok(Some(Found { size: found.meta.size, range: found.range.clone(), bytes: found.into_stream() }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps which manifest a digest is bound to, where it is none's sha256. The caller has checked that it is so.
    pub(crate) async fn bind(&self, digest: ResultDigest, manifest: Sha256) -> Result<(), BlobError> {
        let name = PutPayload::from(manifest.to_string().into_bytes());
        self.backend.store.put(&bound_place(digest), name).await?;
        Ok(())
    }

    /// The manifest that makes a digest: the one that it is bound to, else the one whose sha256 it is.
    pub(crate) async fn manifest_of(&self, digest: ResultDigest) -> Result<Sha256, BlobError> {
        let own = Sha256(digest.get().0);
        match self.backend.store.get(&bound_place(digest)).await {
            Ok(found) => {
                let name = found.bytes().await?;
                Ok(str::from_utf8(&name).ok().and_then(|name| name.parse().ok()).unwrap_or(own))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(own),
            Err(error) => Err(error.into()),
        }
    }

    /// A small blob's bytes, if it is there.
    pub(crate) async fn read(&self, name: Sha256, max: u64) -> Result<Option<Bytes>, BlobError> {
        match self.backend.store.get(&place(name)).await {
            Ok(found) if found.meta.size > max => Err(BlobError::TooLarge { max }),
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
