//! Data that stay where they are: a file, or a folder with all that is in it, known by a digest. A file's is its sha256. A
//! folder's is the sha256 of the manifest that a result with these files has, so that a result can become a dataset under
//! the digest that the chain knows it by.

use berth_wire::{job::is_component, manifest::Content, manifest::File, manifest::Manifest, units::Sha256};
use nix::unistd::geteuid;
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why data are not shared.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// It is not there, or is not to be read.
    #[error("{0} can't be read")]
    Read(PathBuf, #[source] io::Error),
    /// Neither a file nor a folder.
    #[error("{0} is neither a file nor a folder")]
    Kind(PathBuf),
    /// Jobs could not read it.
    #[error("{0} can't be read by jobs, which are nobody here")]
    Closed(PathBuf),
    /// A name that no manifest has.
    #[error("{0} has a name that is no text, or has control characters")]
    Name(PathBuf),
    /// Nothing in it.
    #[error("the folder {0} has no files in it")]
    Empty(PathBuf),
    /// It was written to while it was read.
    #[error("{0} changed while it was read")]
    Changed(PathBuf),
    /// It is something else.
    #[error("{path} has the digest sha256:{found}, not sha256:{wanted}")]
    Digest {
        /// Where.
        path: PathBuf,
        /// What it is.
        found: Sha256,
        /// What it should be.
        wanted: Sha256,
    },
}

impl DatasetError {
    /// What the owner can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(..) => "put it there, and let the worker's user read it",
            Self::Kind(_) => "links and devices are not shared: put the file itself there",
            Self::Closed(_) => "let everybody read it: chmod -R o+rX",
            Self::Name(_) => "rename it",
            Self::Empty(_) => "put the data into it",
            Self::Changed(_) => "it is read again by itself",
            Self::Digest { .. } => "put the right data there; `berth dataset digest` says what is there now",
        }
    }
}

/// How a file looked when it was read. A file that looks the same is taken to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Within the folder; empty for a file by itself.
    path: String,
    size: u64,
    what: (u64, u64, i64, i64, i64, i64),
}

/// Data that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Where.
    pub path: PathBuf,
    /// What they are known by.
    pub sha256: Sha256,
    /// How many bytes in all.
    pub size: u64,
    seen: Vec<Seen>,
}

impl Dataset {
    /// Reads a file, or a folder whole.
    ///
    /// # Errors
    /// [`DatasetError`], but for `Digest`.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let seen = look(path)?;
        let (sha256, size) = match &*seen {
            [alone] if alone.path.is_empty() => hash(path)?,
            several => {
                let files = several.iter().map(|file| {
                    let (sha256, size) = hash(&path.join(&file.path))?;
                    Ok(File { path: file.path.clone(), sha256, size })
                });
                let files = files.collect::<Result<Vec<_>, DatasetError>>()?;
                let size = files.iter().map(|file| file.size).sum();
                (Sha256(Manifest::new(0, files, Content::of(b"")).digest().get().0), size)
            }
        };
        if look(path)? != seen {
            return Err(DatasetError::Changed(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), sha256, size, seen })
    }

    /// The same, which has to be what its digest says.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub fn checked(path: &Path, wanted: Sha256) -> Result<Self, DatasetError> {
        let read = Self::read(path)?;
        read.is(wanted).map(|()| read)
    }

    /// That it is what it should be.
    ///
    /// # Errors
    /// [`DatasetError::Digest`].
    pub fn is(&self, wanted: Sha256) -> Result<(), DatasetError> {
        if self.sha256 == wanted {
            return Ok(());
        }
        Err(DatasetError::Digest { path: self.path.clone(), found: self.sha256, wanted })
    }

    /// Whether it looks as it did when it was read.
    pub fn is_as_read(&self) -> bool {
        look(&self.path).is_ok_and(|seen| seen == self.seen)
    }

    /// Whether it is a file by itself.
    pub fn is_file(&self) -> bool {
        matches!(&*self.seen, [alone] if alone.path.is_empty())
    }

    /// Its files: where in the folder each is, or nothing for a file by itself.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(|seen| seen.path.as_str())
    }
}

/// What is there, by name.
fn look(path: &Path) -> Result<Vec<Seen>, DatasetError> {
    let mut seen = Vec::new();
    let found = fs::symlink_metadata(path).map_err(|error| DatasetError::Read(path.to_owned(), error))?;
    if found.is_dir() {
        open_to_jobs(path, &found)?;
        folder(path, "", &mut seen)?;
        if seen.is_empty() {
            return Err(DatasetError::Empty(path.to_owned()));
        }
        seen.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        return Ok(seen);
    }
    seen.push(one(path, String::new(), &found)?);
    Ok(seen)
}

fn folder(path: &Path, within: &str, seen: &mut Vec<Seen>) -> Result<(), DatasetError> {
    let failed = |error| DatasetError::Read(path.to_owned(), error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let name = entry.file_name().into_string().ok().filter(|name| is_component(name));
        let name = name.ok_or_else(|| DatasetError::Name(path.clone()))?;
        let within = if within.is_empty() { name } else { format!("{within}/{name}") };
        let found = entry.metadata().map_err(|error| DatasetError::Read(path.clone(), error))?;
        if found.is_dir() {
            open_to_jobs(&path, &found)?;
            folder(&path, &within, seen)?;
        } else {
            seen.push(one(&path, within, &found)?);
        }
    }
    Ok(())
}

fn one(path: &Path, within: String, found: &fs::Metadata) -> Result<Seen, DatasetError> {
    if !found.is_file() {
        return Err(DatasetError::Kind(path.to_owned()));
    }
    open_to_jobs(path, found)?;
    // The time of the last change of anything at all can't be set back, as the time of writing can.
    let times = (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
    let what = (found.dev(), found.ino(), times.0, times.1, times.2, times.3);
    Ok(Seen { path: within, size: found.len(), what })
}

/// Where the worker is root, jobs are somebody else.
fn open_to_jobs(path: &Path, found: &fs::Metadata) -> Result<(), DatasetError> {
    let needed = if found.is_dir() { 0o005 } else { 0o004 };
    let is_open = !geteuid().is_root() || found.mode() & needed == needed;
    if is_open { Ok(()) } else { Err(DatasetError::Closed(path.to_owned())) }
}

fn hash(path: &Path) -> Result<(Sha256, u64), DatasetError> {
    let content = fs::File::open(path).and_then(Content::read);
    let Content { sha256, size } = content.map_err(|error| DatasetError::Read(path.to_owned(), error))?;
    Ok((sha256, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_has_the_digest_of_a_result_with_its_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("data/b")).expect("writable");
        fs::write(at("data/b/c"), b"two").expect("writable");
        fs::write(at("data/a"), b"one").expect("writable");
        let data = Dataset::read(&at("data")).expect("is readable");
        let file =
            |path: &str, bytes: &[u8]| File { path: path.into(), sha256: Sha256::of(bytes), size: bytes.len() as u64 };
        let manifest = Manifest::new(0, vec![file("a", b"one"), file("b/c", b"two")], Content::of(b""));
        assert_eq!((data.sha256.0, data.size, data.is_file()), (manifest.digest().get().0, 6, false));
        assert_eq!(data.files().collect::<Vec<_>>(), ["a", "b/c"]);
        let alone = Dataset::checked(&at("data/a"), Sha256::of(b"one")).expect("is what it should be");
        assert!(alone.is_file() && alone.is_as_read() && data.is_as_read());
        fs::write(at("data/b/d"), b"").expect("writable");
        assert!(alone.is_as_read() && !data.is_as_read(), "a file more");
        fs::write(at("data/a"), b"1ne").expect("writable");
        assert!(!alone.is_as_read(), "the same size, other bytes");
    }

    #[test]
    fn what_is_no_data_or_is_other_data_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("empty")).expect("writable");
        fs::create_dir_all(at("links")).expect("writable");
        fs::write(at("file"), b"x").expect("writable");
        std::os::unix::fs::symlink("/etc/passwd", at("links/passwd")).expect("writable");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("writable");
        let said = |name: &str| {
            let error = Dataset::checked(&at(name), Sha256::of(b"y")).expect_err(name);
            assert!(!error.hint().is_empty());
            error.to_string()
        };
        assert!(said("none").contains("can't be read"));
        if geteuid().is_root() {
            fs::write(at("mine"), b"x").expect("writable");
            fs::set_permissions(at("mine"), fs::Permissions::from_mode(0o600)).expect("mine");
            assert!(said("mine").contains("jobs"));
        }
        assert!(said("empty").contains("no files"));
        assert!(said("links").contains("neither a file nor a folder"));
        assert!(said("link").contains("neither a file nor a folder"));
        assert!(said("file").contains("has the digest sha256:"));
    }
}
