//! From an output folder to a manifest, whose sha256 is the result, and to blobs named by their hashes. Where the deal
//! has a callback, the result is bound to what the job leaves for it in `computed.json` (ADR 0004). The same file may say
//! which of the output counts, as under iExec, unless the job's document does; so does a `consensus.iexec` by being there.
//!
//! Files are copied out of the job's disk while they are hashed: what is handed over is exactly what was hashed, and the
//! disk can go.

use crate::{
    environment::OUT,
    runtime::{Outcome, STREAM_BYTES, TaskFolder},
};
use alloy::hex;
use berth_protocol::ResultDigest;
use berth_wire::{
    job::is_component,
    manifest::{Content, File, MAX_CALLBACK_BYTES, Manifest},
    units::Sha256,
};
use sha2::Digest as _;
use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// More files and folders than this are refused: each is a blob of its own, and a manifest must stay a document.
pub const MAX_FILES: usize = 10_000;
/// The longest path in a manifest. With the folder that the worker keeps the output in it stays below what a system takes.
pub(crate) const MAX_PATH_BYTES: usize = 1_024;
pub(crate) const TOO_LONG: &str = "has too long a path, or is in too deep a folder: 1,024 bytes are taken";
/// How much of a path is told.
pub(crate) const SHOWN_CHARS: usize = 80;
const CHUNK_BYTES: usize = 64 << 10;
/// Where a job says what it leaves for a callback, and what of its output counts.
const COMPUTED: &str = "computed.json";
/// Where a job written for XtremWeb-HEP puts what its workers are to agree on.
const CONSENSUS: &str = "consensus.iexec";
/// As hexadecimal digits the largest bytes for a callback take half of this.
const MAX_COMPUTED_BYTES: u64 = 4 * MAX_CALLBACK_BYTES;

/// An output that is no result.
#[derive(Debug, Error)]
pub enum DigestError {
    /// It holds what can't be handed over, or too much: the job's fault.
    #[error("{0}")]
    Unfit(String),
    /// It can't be read, or copied: this machine's.
    #[error("{path} can't be read or copied")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What of a run's output counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The paths that count; all, if there are none.
    pub outputs: Vec<String>,
    /// Whether the deal has a callback, so that what the job leaves for it counts.
    pub callback: bool,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Its digest: the manifest's, or bound to what the job left for a callback.
    pub digest: ResultDigest,
    /// Its manifest.
    pub manifest: Manifest,
    /// What is kept of standard output.
    pub stdout: Content,
    /// What is kept of standard error.
    pub stderr: Content,
}

/// Reads an ended run's output folder and streams, copies everything that is to be handed over into the result folder.
/// Blocks.
///
/// # Errors
/// [`DigestError::Unfit`] for links, special files, names that no manifest can hold, too many files, more bytes than
/// `limit_bytes`, for a standard output that is the result but was cut, and for a `computed.json` that says something
/// of a callback that can't be read.
pub fn collect(
    exit: i32,
    outcome: &Outcome,
    wanted: &Wanted,
    limit_bytes: u64,
    folder: &TaskFolder,
) -> Result<Collected, DigestError> {
    let into = folder.result();
    let said = computed(&outcome.output)?;
    let named = if wanted.outputs.is_empty() {
        let consensus = || outcome.output.join(CONSENSUS).is_file().then(|| CONSENSUS.to_owned());
        said.deterministic_path()?.or_else(consensus)
    } else {
        None
    };
    let outputs = named.as_ref().map_or(&*wanted.outputs, std::slice::from_ref);
    let files = keep_files(outcome, outputs, limit_bytes, &into)?;
    if let Some(path) = named.filter(|_| files.is_empty()) {
        return unfit(COMPUTED, &format!("says that `{path}` counts, where no file is"));
    }
    let stdout = keep(&folder.stdout(), &into)?;
    let stderr = keep(&folder.stderr(), &into)?;
    if files.is_empty() && outcome.stdout_bytes > STREAM_BYTES {
        let said = outcome.stdout_bytes;
        return Err(DigestError::Unfit(format!(
            "there are no output files, so that standard output is the result; it has {said} bytes, of which \
             {STREAM_BYTES} are kept"
        )));
    }
    let manifest = Manifest::new(exit, files, stdout);
    let (digest, manifest) = if wanted.callback {
        let bytes = said.callback_data()?;
        write(&bytes, &into)?;
        let manifest = manifest.with_callback(&bytes);
        (manifest.bound(&bytes).expect("it was just made of them"), manifest)
    } else {
        (manifest.digest(), manifest)
    };
    Ok(Collected { digest, manifest, stdout, stderr })
}

/// Copies the output files that count into the result folder.
fn keep_files(outcome: &Outcome, outputs: &[String], limit_bytes: u64, into: &Path) -> Result<Vec<File>, DigestError> {
    fs::create_dir_all(into).map_err(at(into))?;
    let mut found = walk(&outcome.output, outputs)?;
    found.sort();
    let bytes = found.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
    if bytes > limit_bytes {
        return Err(DigestError::Unfit(format!("the output files hold {bytes} bytes; their limit is {limit_bytes}")));
    }
    let mut files = Vec::with_capacity(found.len());
    for (path, _) in found {
        let content = keep(&outcome.output.join(&path), into)?;
        files.push(File { path, sha256: content.sha256, size: content.size });
    }
    Ok(files)
}

/// The exit code of what was killed, as shells have it.
const KILLED: i32 = 137;

/// What a run had written that was stopped before its end, by the same rules and within the same limits as a result; `None`
/// if that is nothing. Blocks.
///
/// # Errors
/// As [`collect`].
pub fn collect_partial(
    outcome: &Outcome,
    wanted: &Wanted,
    limit_bytes: u64,
    folder: &TaskFolder,
) -> Result<Option<Manifest>, DigestError> {
    let files = keep_files(outcome, &wanted.outputs, limit_bytes, &folder.result())?;
    // What it printed is kept as its logs.
    let none = Content { sha256: Sha256::of(b""), size: 0 };
    Ok((!files.is_empty()).then(|| Manifest::new(KILLED, files, none)))
}

/// What a job says in its `computed.json`.
enum Said {
    /// There is no such file.
    Nothing,
    /// It can't be read; why.
    Unreadable(&'static str),
    Object(serde_json::Map<String, serde_json::Value>),
}

fn computed(output: &Path) -> Result<Said, DigestError> {
    let path = output.join(COMPUTED);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Said::Nothing),
        Err(error) => return Err(at(&path)(error)),
        Ok(meta) if !meta.is_file() => return Ok(Said::Unreadable("is not a file")),
        Ok(meta) if meta.len() > MAX_COMPUTED_BYTES => return Ok(Said::Unreadable("is too large to be read")),
        Ok(_) => {}
    }
    let text = fs::read(&path).map_err(at(&path))?;
    Ok(match serde_json::from_slice(&text) {
        Ok(serde_json::Value::Object(said)) => Said::Object(said),
        Ok(_) | Err(_) => Said::Unreadable("is no JSON object"),
    })
}

impl Said {
    /// What it left for the callback: `callback-data`, in hexadecimal digits after `0x`, as iExec has it. A job that wrote
    /// no such file, or nothing of a callback into it, leaves no bytes.
    fn callback_data(&self) -> Result<Vec<u8>, DigestError> {
        let said = match self {
            Self::Nothing => return Ok(Vec::new()),
            Self::Unreadable(why) => return unfit(COMPUTED, why),
            Self::Object(said) => said,
        };
        let bytes = match said.get("callback-data") {
            None => return Ok(Vec::new()),
            Some(serde_json::Value::String(text)) => {
                text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok())
            }
            Some(_) => None,
        };
        let Some(bytes) = bytes else {
            return unfit(COMPUTED, "has a `callback-data` that is not 0x and hexadecimal digits");
        };
        if bytes.len() as u64 > MAX_CALLBACK_BYTES {
            let said = bytes.len();
            let what = format!("has a `callback-data` of {said} bytes, of which {MAX_CALLBACK_BYTES} may be");
            return unfit(COMPUTED, &what);
        }
        Ok(bytes)
    }

    /// The only path that counts, if it names one: `deterministic-output-path`, below the output folder, as iExec has it.
    /// A file that can't be read is an output like any other.
    fn deterministic_path(&self) -> Result<Option<String>, DigestError> {
        let Self::Object(said) = self else { return Ok(None) };
        let Some(named) = said.get("deterministic-output-path") else { return Ok(None) };
        let below =
            named.as_str().and_then(|text| format!("{text}/").strip_prefix(&format!("{OUT}/")).map(str::to_owned));
        match below.as_deref().map(|below| below.trim_matches('/')) {
            Some("") => Ok(None),
            Some(path) if path.split('/').all(is_component) => Ok(Some(path.to_owned())),
            Some(_) | None => unfit(COMPUTED, &format!("has a `deterministic-output-path` that is not below {OUT}")),
        }
    }
}

/// Keeps bytes under their hash.
fn write(bytes: &[u8], into: &Path) -> Result<(), DigestError> {
    let name = into.join(Sha256::of(bytes).to_string());
    fs::write(&name, bytes).map_err(at(&name))
}

/// Keeps both streams of a run that failed.
///
/// # Errors
/// [`DigestError::Io`].
pub fn collect_streams(folder: &TaskFolder) -> Result<(Content, Content), DigestError> {
    let into = folder.result();
    fs::create_dir_all(&into).map_err(at(&into))?;
    Ok((keep(&folder.stdout(), &into)?, keep(&folder.stderr(), &into)?))
}

fn at(path: &Path) -> impl Fn(io::Error) -> DigestError + use<> {
    let path = path.to_owned();
    move |source| DigestError::Io { path: path.clone(), source }
}

fn unfit<T>(path: &str, what: &str) -> Result<T, DigestError> {
    let shown: String = path.chars().take(SHOWN_CHARS).collect();
    let more = if shown.len() < path.len() { "…" } else { "" };
    Err(DigestError::Unfit(format!("output `{}{more}` {what}", shown.escape_debug())))
}

/// The regular files of a folder that count, with their sizes.
fn walk(root: &Path, outputs: &[String]) -> Result<Vec<(String, u64)>, DigestError> {
    let counts = |path: &str| {
        outputs.is_empty()
            || outputs
                .iter()
                .any(|wanted| path.strip_prefix(wanted.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/')))
    };
    let leads = |path: &str| outputs.iter().any(|wanted| wanted.strip_prefix(path).is_some_and(|r| r.starts_with('/')));
    let (mut found, mut seen) = (Vec::new(), 0);
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let here = root.join(&folder);
        for entry in fs::read_dir(&here).map_err(at(&here))? {
            let entry = entry.map_err(at(&here))?;
            let name = entry.file_name();
            let lossy = name.to_string_lossy();
            let path = if folder.is_empty() { lossy.to_string() } else { format!("{folder}/{lossy}") };
            if !counts(&path) && !leads(&path) {
                continue;
            }
            if !name.to_str().is_some_and(is_component) {
                return unfit(&path, "has a name that is not plain text");
            }
            if path.len() > MAX_PATH_BYTES {
                return unfit(&path, TOO_LONG);
            }
            let kind = entry.metadata().map_err(at(&entry.path()))?;
            let is = kind.file_type();
            if is.is_dir() {
                folders.push(path);
            } else if !counts(&path) {
                // A file where the job's `outputs` expect a folder: it is not what was asked for.
            } else if is.is_file() {
                found.push((path, kind.len()));
            } else if is.is_symlink() {
                return unfit(&path, "is a link; put the file itself there");
            } else {
                let special = if is.is_fifo() {
                    "a pipe"
                } else if is.is_socket() {
                    "a socket"
                } else {
                    "a device"
                };
                return unfit(&path, &format!("is {special}, not a file"));
            }
            seen += 1;
            if seen > MAX_FILES {
                return Err(DigestError::Unfit(format!("there are more than {MAX_FILES} output files and folders")));
            }
        }
    }
    Ok(found)
}

/// Copies a file under its hash. One that is not there is empty: a stream of a job that never started.
fn keep(from: &Path, into: &Path) -> Result<Content, DigestError> {
    let part = into.join("part");
    let mut target = fs::File::create(&part).map_err(at(&part))?;
    let (mut hash, mut size) = (sha2::Sha256::new(), 0_u64);
    match fs::File::open(from) {
        Ok(mut file) => {
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let read = file.read(&mut chunk).map_err(at(from))?;
                if read == 0 {
                    break;
                }
                hash.update(&chunk[..read]);
                target.write_all(&chunk[..read]).map_err(at(&part))?;
                size += read as u64;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(from)(error)),
    }
    let sha256 = Sha256(hash.finalize().into());
    let name = into.join(sha256.to_string());
    fs::rename(&part, &name).map_err(at(&name))?;
    Ok(Content { sha256, size })
}
