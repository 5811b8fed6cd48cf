//! The manifest (ADR 0001, section 5; ADR 0004): what came out of a run. Its sha256 is the result's digest or, for a deal
//! with a callback, what the digest is made of.

use crate::{
    canonical::{self, NotCanonical},
    units::Sha256,
};
use alloy::primitives::B256;
use berth_protocol::ResultDigest;
use serde::{Deserialize, Serialize};

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// The most bytes that a job may leave for a callback: nodes take transactions of up to twice as many.
pub const MAX_CALLBACK_BYTES: u64 = 64 << 10;

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always 1.
    pub version: u32,
    /// The job's exit code.
    pub exit: i32,
    /// The output files, sorted by the bytes of their paths.
    pub files: Vec<File>,
    /// Standard output, exactly when there are no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Content>,
    /// What the job left for the deal's callback, exactly when the deal has one: possibly no bytes at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Content>,
}

/// An output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative to the output folder, with `/`.
    pub path: String,
    /// Its sha256.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// Bytes, by their hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Their sha256.
    pub sha256: Sha256,
    /// Their number.
    pub size: u64,
}

impl Content {
    /// What a reader gives, to its end, a piece at a time.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(mut from: impl std::io::Read) -> std::io::Result<Self> {
        use sha2::Digest as _;
        let (mut hash, mut size, mut piece) = (sha2::Sha256::new(), 0, vec![0; PIECE_BYTES]);
        loop {
            match from.read(&mut piece)? {
                0 => return Ok(Self { sha256: Sha256(hash.finalize().into()), size }),
                read => {
                    hash.update(&piece[..read]);
                    size += read as u64;
                }
            }
        }
    }

    /// These bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::of(bytes), size: bytes.len() as u64 }
    }
}

impl Manifest {
    /// Sorts the files and leaves standard output out where there are some.
    pub fn new(exit: i32, mut files: Vec<File>, stdout: Content) -> Self {
        files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        let stdout = files.is_empty().then_some(stdout);
        Self { version: 1, exit, files, stdout, callback: None }
    }

    /// What the job left for the callback is part of it.
    pub fn with_callback(self, bytes: &[u8]) -> Self {
        Self { callback: Some(Content::of(bytes)), ..self }
    }

    /// The result's digest where it is bound to what the job left for a callback (ADR 0004); `None` if these are not the
    /// bytes that the manifest names.
    pub fn bound(&self, bytes: &[u8]) -> Option<ResultDigest> {
        (self.callback == Some(Content::of(bytes))).then(|| ResultDigest::bound(self.digest().get(), bytes))
    }

    /// Its sha256: the result's digest where there is no callback.
    pub fn digest(&self) -> ResultDigest {
        ResultDigest::new(B256::new(canonical::hash(self).0)).expect("no document is known whose sha256 is zero")
    }

    /// Its canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_bytes(self)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`NotCanonical`] if it is none, if a path leaves the folder or stands twice or out of order, or if standard
    /// output is there beside files or absent without.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotCanonical> {
        let manifest: Self = canonical::from_bytes(bytes)?;
        let sorted = manifest.files.windows(2).all(|pair| pair[0].path.as_bytes() < pair[1].path.as_bytes());
        let inside = manifest.files.iter().all(|file| file.path.split('/').all(crate::job::is_component));
        let stdout = manifest.stdout.is_some() == manifest.files.is_empty();
        if manifest.version == 1 && sorted && inside && stdout { Ok(manifest) } else { Err(NotCanonical::Form) }
    }

    /// Every blob that it names.
    pub fn blobs(&self) -> impl Iterator<Item = Content> + '_ {
        self.files
            .iter()
            .map(|file| Content { sha256: file.sha256, size: file.size })
            .chain(self.stdout)
            .chain(self.callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_read_to_its_end_over_many_pieces() {
        let bytes = vec![7; 2 * PIECE_BYTES + 1];
        assert_eq!(Content::read(&bytes[..]).expect("memory"), Content::of(&bytes));
        assert_eq!(Content::read(std::io::empty()).expect("nothing"), Content::of(b""));
        let torn = std::io::Read::chain(&b"seven"[..], Torn);
        assert_eq!(Content::read(torn).map_err(|error| error.kind()), Err(std::io::ErrorKind::BrokenPipe));
    }

    /// A reader that fails.
    struct Torn;

    impl std::io::Read for Torn {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_manifest_sorts_its_files_and_drops_stdout_beside_them() {
        let file = |path: &str| File { path: path.into(), sha256: Sha256::of(b""), size: 0 };
        let manifest = Manifest::new(0, vec![file("b"), file("a/c")], Content::of(b"hello"));
        assert_eq!(manifest.files[0].path, "a/c");
        assert_eq!(manifest.stdout, None);
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).expect("what we wrote"), manifest);
        assert!(Manifest::new(0, vec![], Content::of(b"hello")).stdout.is_some());
        let called = manifest.clone().with_callback(b"42");
        assert_eq!(Manifest::from_bytes(&called.to_bytes()).expect("what we wrote"), called);
        assert_eq!(called.bound(b"42"), Some(ResultDigest::bound(called.digest().get(), b"42")));
        assert_eq!((called.bound(b"43"), manifest.bound(b"")), (None, None));
        let escape = Manifest::new(0, vec![file("../x")], Content::of(b""));
        assert!(Manifest::from_bytes(&escape.to_bytes()).is_err());
    }
}
