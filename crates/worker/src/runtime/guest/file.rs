//! That a shared file is what it is called, by its sha256.

use berth_wire::{manifest::Content, units::Sha256};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// How a file looked when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    file: PathBuf,
    what: (u64, u64, u64, i64, i64),
}

/// Why a machine's file is not used.
#[derive(Debug, Error)]
pub(crate) enum ImageError {
    #[error("{0} can't be read")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{file} has the sha256 {found}, not {wanted}")]
    Hash { file: PathBuf, found: Sha256, wanted: Sha256 },
    #[error("{file} has no ending that tells what it is: {}", endings.join(", "))]
    Unknown { file: PathBuf, endings: Vec<String> },
    #[error("{file} is no {format} disk: {reason}")]
    Format { file: PathBuf, format: &'static str, reason: String },
    #[error("{0} is no machine's document")]
    Document(PathBuf, #[source] serde_json::Error),
    #[error("{0} is a machine's document of another version, or names files outside its folder")]
    Foreign(PathBuf),
}

/// How a file looks.
pub(crate) fn look(file: &Path) -> Result<Seen, ImageError> {
    let found = fs::metadata(file).map_err(|error| ImageError::Read(file.to_owned(), error))?;
    let what = (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec());
    Ok(Seen { file: file.to_owned(), what })
}

/// Whether a file looks as it did.
pub(crate) fn same(seen: &Seen) -> bool {
    look(&seen.file).ok().as_ref() == Some(seen)
}

/// A file that has this sha256.
pub(crate) fn checked(file: &Path, wanted: Sha256) -> Result<Seen, ImageError> {
    let seen = look(file)?;
    let found = hashed(file)?;
    if found == wanted { Ok(seen) } else { Err(ImageError::Hash { file: file.to_owned(), found, wanted }) }
}

/// A file's sha256.
pub(crate) fn hashed(file: &Path) -> Result<Sha256, ImageError> {
    let content = fs::File::open(file).and_then(Content::read);
    content.map(|content| content.sha256).map_err(|error| ImageError::Read(file.to_owned(), error))
}
