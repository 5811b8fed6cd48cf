//! Bytes by their sha256: inputs, manifests, files of results, logs. A blob is either there whole, under its right
//! name, and on the disk, or not at all.

pub(crate) mod intake;
pub(crate) mod report;

use berth_protocol::ResultDigest;
use berth_wire::{manifest::Content, units::Sha256};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, path::Path};
use sha2::Digest as _;
use std::{io, path::PathBuf, sync::Arc};
use thiserror::Error;

/// Bytes are gathered to pieces of this size before they are written: network reads bring far smaller ones.
const PIECE_BYTES: usize = 1 << 20;
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
    /// The disk fails.
    #[error("the store of blobs failed")]
    Store(#[from] object_store::Error),
}

/// The store's folder can't be used.
#[derive(Debug, Error)]
#[error("the store's folder {} can't be used", folder.display())]
pub(crate) struct FolderError {
    folder: PathBuf,
    #[source]
    source: Box<dyn core::error::Error + Send + Sync>,
}

/// A folder of blobs.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    store: Arc<LocalFileSystem>,
    max_bytes: u64,
}

fn place(name: Sha256) -> Path {
    let text = name.to_string();
    Path::from(format!("{}/{text}", &text[..2]))
}

/// Where the name of the manifest stands that a digest is bound to.
fn bound_place(digest: ResultDigest) -> Path {
    Path::from(format!("bound/{digest}"))
}

impl Blobs {
    /// Opens the folder, or makes it, and clears what a crash left half-written.
    pub(crate) fn open(folder: &std::path::Path, max_bytes: u64) -> Result<Self, FolderError> {
        let failed = |source| FolderError { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|error| failed(error.into()))?;
        clear_staged(folder).map_err(|error| failed(error.into()))?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(error.into()))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)), max_bytes })
    }

    pub(crate) const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The size of a blob that is there.
    pub(crate) async fn size(&self, name: Sha256) -> Result<Option<u64>, BlobError> {
        match self.store.head(&place(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether exactly this is there.
    pub(crate) async fn has(&self, content: Content) -> Result<bool, BlobError> {
        Ok(self.size(content.sha256).await? == Some(content.size))
    }

    /// Takes bytes whose sha256 is said to be `name`; gives their number. One that is there already is read to its end,
    /// hashed and forgotten: a sender that has begun wants to finish.
    pub(crate) async fn put<E>(
        &self,
        name: Sha256,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<u64, BlobError>
    where
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let mut bytes = std::pin::pin!(bytes.map_err(|error| BlobError::Broken(error.into())));
        if self.size(name).await?.is_some() {
            let (mut hash, mut size) = (sha2::Sha256::new(), 0_u64);
            while let Some(piece) = bytes.next().await {
                let piece = piece?;
                size = self.grown(size, &piece)?;
                hash.update(&piece);
            }
            let found = Sha256(hash.finalize().into());
            return if found == name { Ok(size) } else { Err(BlobError::Hash { wanted: name, found }) };
        }
        let mut upload = self.store.put_multipart(&place(name)).await?;
        let written = self.write(name, &mut upload, bytes).await;
        match written {
            Ok(size) => {
                upload.complete().await?;
                Ok(size)
            }
            Err(error) => {
                // What counts is the first error. A piece that stays behind is cleared at the next start.
                drop(upload.abort().await);
                Err(error)
            }
        }
    }

    fn grown(&self, size: u64, piece: &Bytes) -> Result<u64, BlobError> {
        let size = size.saturating_add(piece.len() as u64);
        if size > self.max_bytes { Err(BlobError::TooLarge { max: self.max_bytes }) } else { Ok(size) }
    }

    async fn write(
        &self,
        name: Sha256,
        upload: &mut Box<dyn MultipartUpload>,
        mut bytes: impl Stream<Item = Result<Bytes, BlobError>> + Unpin,
    ) -> Result<u64, BlobError> {
        let (mut hash, mut size, mut piece) = (sha2::Sha256::new(), 0, Vec::new());
        while let Some(more) = bytes.next().await {
            let more = more?;
            size = self.grown(size, &more)?;
            hash.update(&more);
            piece.extend_from_slice(&more);
            if piece.len() >= PIECE_BYTES {
                upload.put_part(PutPayload::from(std::mem::take(&mut piece))).await?;
            }
        }
        let found = Sha256(hash.finalize().into());
        if found != name {
            return Err(BlobError::Hash { wanted: name, found });
        }
        upload.put_part(PutPayload::from(piece)).await?;
        Ok(size)
    }

    /// Removes a blob, if it is there.
    pub(crate) async fn remove(&self, name: Sha256) -> Result<(), BlobError> {
        match self.store.delete(&place(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A blob's size and bytes, if it is there.
    pub(crate) async fn get(
        &self,
        name: Sha256,
    ) -> Result<Option<(u64, BoxStream<'static, Result<Bytes, object_store::Error>>)>, BlobError> {
        match self.store.get(&place(name)).await {
            Ok(found) => Ok(Some((found.meta.size, found.into_stream()))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps which manifest a digest is bound to, where it is none's sha256. The caller has checked that it is so.
    pub(crate) async fn bind(&self, digest: ResultDigest, manifest: Sha256) -> Result<(), BlobError> {
        let name = PutPayload::from(manifest.to_string().into_bytes());
        self.store.put(&bound_place(digest), name).await?;
        Ok(())
    }

    /// The manifest that makes a digest: the one that it is bound to, else the one whose sha256 it is.
    pub(crate) async fn manifest_of(&self, digest: ResultDigest) -> Result<Sha256, BlobError> {
        let own = Sha256(digest.get().0);
        match self.store.get(&bound_place(digest)).await {
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
        match self.store.get(&place(name)).await {
            Ok(found) if found.meta.size > max => Err(BlobError::TooLarge { max }),
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Removes what uploads that a crash broke off have left: the file store stages them as `name#number`.
fn clear_staged(folder: &std::path::Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear_staged(&entry.path())?;
        } else if entry.file_name().to_string_lossy().contains('#') {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn pieces(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
        let all: Vec<_> = bytes.chunks(3).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(all)
    }

    fn files(folder: &std::path::Path) -> usize {
        std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| if path.is_dir() { files(&path) } else { 1 })
            .sum()
    }

    #[tokio::test]
    async fn a_blob_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let blobs = Blobs::open(folder.path(), 16).expect("opens");
        let name = Sha256::of(b"hello world");
        assert_eq!(blobs.size(name).await.expect("works"), None);

        let wrong = blobs.put(name, pieces(b"hello w0rld")).await;
        assert!(matches!(wrong, Err(BlobError::Hash { found, .. }) if found == Sha256::of(b"hello w0rld")));
        let long = blobs.put(name, pieces(b"much longer than sixteen bytes")).await;
        assert!(matches!(long, Err(BlobError::TooLarge { max: 16 })));
        let broken = stream::iter([Ok(Bytes::from_static(b"hello")), Err(io::Error::other("gone"))]);
        assert!(matches!(blobs.put(name, broken).await, Err(BlobError::Broken(_))));
        assert_eq!(files(folder.path()), 0, "nothing half-written stays");

        assert_eq!(blobs.put(name, pieces(b"hello world")).await.expect("right"), 11);
        assert!(blobs.has(Content { sha256: name, size: 11 }).await.expect("works"));
        assert!(!blobs.has(Content { sha256: name, size: 12 }).await.expect("works"));
        assert_eq!(blobs.put(name, pieces(b"hello world")).await.expect("a second time"), 11);
        assert_eq!(blobs.read(name, 64).await.expect("works").as_deref(), Some(&b"hello world"[..]));
        assert!(matches!(blobs.read(name, 5).await, Err(BlobError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn an_empty_blob_is_a_blob() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let blobs = Blobs::open(folder.path(), 16).expect("opens");
        let name = Sha256::of(b"");
        assert_eq!(blobs.put(name, pieces(b"")).await.expect("right"), 0);
        assert_eq!(blobs.size(name).await.expect("works"), Some(0));
    }

    #[tokio::test]
    async fn a_digest_leads_to_the_manifest_that_it_is_bound_to_or_is_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let blobs = Blobs::open(folder.path(), 16).expect("opens");
        let manifest = Sha256::of(b"a manifest");
        let digest = ResultDigest::bound(manifest.0.into(), b"42");
        assert_eq!(blobs.manifest_of(digest).await.expect("works"), Sha256(digest.get().0));
        blobs.bind(digest, manifest).await.expect("works");
        blobs.bind(digest, manifest).await.expect("a second time");
        let blobs = Blobs::open(folder.path(), 16).expect("opens again");
        assert_eq!(blobs.manifest_of(digest).await.expect("works"), manifest);
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_cleared_at_the_start() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let blobs = Blobs::open(folder.path(), 16).expect("opens");
        let name = Sha256::of(b"whole");
        blobs.put(name, pieces(b"whole")).await.expect("right");
        let staged = folder.path().join("ab");
        std::fs::create_dir_all(&staged).expect("a folder");
        std::fs::write(staged.join("abcd#1"), b"ha").expect("writable");
        let blobs = Blobs::open(folder.path(), 16).expect("opens again");
        assert_eq!(files(folder.path()), 1);
        assert_eq!(blobs.size(name).await.expect("works"), Some(5));
    }
}
