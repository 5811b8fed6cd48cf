//! A task's result: downloaded, and compared with the chain byte for byte before anybody sees it.

use super::{
    ending::{Ending, How},
    sealed::{self, Opened},
    stage::hash,
};
use crate::{
    exit::Exit,
    hint::Failure,
    keys::Keyring,
    scheduler::{patiently, until},
};
use berth_protocol::{ResultDigest, TaskId};
use berth_wire::{
    client::{ClientError, Proven, SchedulerClient},
    manifest::{Content, File, Manifest},
    scheduler::TaskView,
    units::Sha256,
};
use std::path::{Path, PathBuf};

/// Where what the job printed is kept.
const STDOUT: &str = "stdout.txt";
const STDERR: &str = "stderr.txt";

/// How results are got at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    /// Signed in.
    pub(crate) client: &'a SchedulerClient,
    /// What opens sealed ones; `None`: they stay sealed.
    pub(crate) keys: Option<&'a Keyring>,
}

/// Where the parts of a result are.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// In the pool's store, open.
    Store(&'a SchedulerClient),
    /// Here: they came in one sealed file.
    Opened(Opened),
}

impl Source<'_> {
    /// A settled task's manifest, and what it left for the deal's callback: compared with the digest that the chain has.
    async fn proven(&self, task: TaskId, digest: ResultDigest) -> Result<(Manifest, Option<Vec<u8>>), Failure> {
        match self {
            Self::Store(client) => proven(client, task, digest).await,
            Self::Opened(opened) => judged(task, digest, &opened.manifest()?.unwrap_or_default(), None),
        }
    }

    /// Brings a part into a file; gives its size.
    async fn bring(&self, task: TaskId, name: Sha256, into: &Path) -> Result<u64, Failure> {
        match self {
            Self::Store(client) => Ok(patiently(async || client.fetch_blob(task.get(), name, into).await).await?),
            Self::Opened(opened) => {
                let failed = |error: std::io::Error| Failure::file(into, "written", &error);
                // Never a half of it under its name.
                let part = into.with_file_name(format!(".{name}.berth-part"));
                let size = tokio::fs::copy(opened.blob(name), &part).await.map_err(failed)?;
                tokio::fs::rename(&part, into).await.map_err(failed)?;
                Ok(size)
            }
        }
    }

    /// A part in memory: what a job printed.
    pub(crate) async fn read(&self, task: TaskId, content: Option<Content>) -> Result<Vec<u8>, Failure> {
        let Some(content) = content.filter(|content| content.size > 0) else { return Ok(Vec::new()) };
        match self {
            Self::Store(client) => Ok(client.read_blob(task.get(), content.sha256).await?),
            Self::Opened(opened) => {
                let path = opened.blob(content.sha256);
                tokio::fs::read(&path).await.map_err(|error| Failure::file(&path, "read", &error))
            }
        }
    }

    /// What the job printed on standard output.
    pub(crate) fn stdout(&self, view: Option<&TaskView>) -> Option<Content> {
        match self {
            Self::Store(_) => view.and_then(|view| view.stdout),
            Self::Opened(opened) => opened.index.stdout,
        }
    }

    /// And on standard error.
    pub(crate) fn stderr(&self, view: Option<&TaskView>) -> Option<Content> {
        match self {
            Self::Store(_) => view.and_then(|view| view.stderr),
            Self::Opened(opened) => opened.index.stderr,
        }
    }

    fn failed(&self, digest: ResultDigest, view: Option<&TaskView>, stderr: Option<PathBuf>) -> Outcome {
        let (detail, has_partial) = match self {
            Self::Store(_) => (view.and_then(|view| view.detail.clone()), view.is_some_and(|it| it.partial.is_some())),
            Self::Opened(opened) => (opened.index.failure.clone(), opened.index.manifest.is_some()),
        };
        Outcome::Failed { digest, detail, stderr, has_partial }
    }
}

/// What a task brought.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A result, all of whose bytes have the hashes that the chain stands for.
    Verified {
        manifest: Manifest,
        folder: PathBuf,
        stdout: Option<PathBuf>,
        stderr: Option<PathBuf>,
        /// What is for the deal's callback, if it has one.
        callback: Option<Vec<u8>>,
    },
    /// A result that is for somebody else's key, and still sealed; where it is kept.
    Sealed(PathBuf),
    /// A failure that was paid for at a tenth.
    Failed { digest: ResultDigest, detail: Option<String>, stderr: Option<PathBuf>, has_partial: bool },
    /// No result: the price went back.
    GivenBack,
}

/// Fetches a task's result into a folder, and verifies it against the digest that the chain has.
pub(crate) async fn fetch(
    access: Access<'_>,
    task: TaskId,
    ending: &Ending,
    view: Option<&TaskView>,
    folder: &Path,
) -> Result<Outcome, Failure> {
    let How::Settled { digest, .. } = &ending.how else { return Ok(Outcome::GivenBack) };
    tokio::fs::create_dir_all(folder).await.map_err(|error| Failure::file(folder, "made", &error))?;
    let files = sealed::files(access.client, task, *digest, view).await;
    let source = match (&*files, access.keys) {
        ([], _) => Source::Store(access.client),
        (files, Some(keys)) => Source::Opened(sealed::open(access.client, (task, *digest), keys, files, folder).await?),
        (files, None) => {
            let kept = sealed::keep(access, task, files, folder).await?;
            match kept.filter(|_| !digest.is_failure()) {
                Some(path) => return Ok(Outcome::Sealed(path)),
                None => Source::Store(access.client),
            }
        }
    };
    let outcome = brought(&source, (task, *digest), view, folder).await?;
    sealed::forget(folder)?;
    Ok(outcome)
}

/// Brings the parts of a result to their places.
async fn brought(
    source: &Source<'_>,
    (task, digest): (TaskId, ResultDigest),
    view: Option<&TaskView>,
    folder: &Path,
) -> Result<Outcome, Failure> {
    let stderr = log(source, task, source.stderr(view), &folder.join(STDERR)).await;
    if digest.is_failure() {
        return Ok(source.failed(digest, view, stderr));
    }
    let (manifest, callback) = source.proven(task, digest).await?;
    if matches!(source, Source::Opened(_)) {
        sealed::check_names(&manifest)?;
    }
    for file in &manifest.files {
        let path = file.path.split('/').fold(folder.to_owned(), |path, part| path.join(part));
        let parent = path.parent().unwrap_or(folder);
        tokio::fs::create_dir_all(parent).await.map_err(|error| Failure::file(parent, "made", &error))?;
        file_of(source, task, file, &path).await?;
    }
    let taken = |name: &str| manifest.files.iter().any(|file| file.path == name);
    let stdout = match manifest.stdout {
        Some(content) => {
            let path = folder.join(STDOUT);
            let size = source.bring(task, content.sha256, &path).await?;
            sized("standard output", content.size, size)?;
            Some(path)
        }
        // With files, what the job printed is not part of the digest: a log, kept where no file has its name.
        None if taken(STDOUT) => None,
        None => log(source, task, source.stdout(view), &folder.join(STDOUT)).await,
    };
    Ok(Outcome::Verified { manifest, folder: folder.to_owned(), stdout, stderr, callback })
}

/// A settled task's manifest, and what it left for the deal's callback, which together give the digest that the chain
/// has.
pub(crate) async fn proven(
    client: &SchedulerClient,
    task: TaskId,
    digest: ResultDigest,
) -> Result<(Manifest, Option<Vec<u8>>), Failure> {
    // The client compares the bytes with the digest.
    let Proven { manifest, callback } = told(client, task, digest).await?;
    judged(task, digest, &manifest, callback)
}

/// Compares a manifest, and what is for the deal's callback, with the digest that the chain has.
fn judged(
    task: TaskId,
    digest: ResultDigest,
    manifest: &[u8],
    callback: Option<Vec<u8>>,
) -> Result<(Manifest, Option<Vec<u8>>), Failure> {
    let manifest = Manifest::from_bytes(manifest).map_err(|error| {
        let message = format!("the result of task {task} has the right hash, but is no manifest");
        Failure::new(Exit::Error, "verification", message)
            .because(&error)
            .hint("its worker made it so, and was paid: tell the pool's owner")
    })?;
    let found = callback.as_ref().map_or_else(|| Some(manifest.digest()), |bytes| manifest.bound(bytes));
    if found == Some(digest) {
        return Ok((manifest, callback));
    }
    let message = format!("the result of task {task} is not the {digest} that the chain says");
    Err(Failure::new(Exit::Error, "verification", message).hint("nothing of it was kept"))
}

/// Fetches a file of a result, unless it came before the download was stopped.
pub(super) async fn file_of(source: &Source<'_>, task: TaskId, file: &File, path: &Path) -> Result<(), Failure> {
    let there = {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || hash(&path).ok()).await.expect("hashing files does not panic")
    };
    if there == Some((file.size, file.sha256)) {
        return Ok(());
    }
    let size = source.bring(task, file.sha256, path).await?;
    sized(&file.path, file.size, size)
}

fn sized(what: &str, wanted: u64, size: u64) -> Result<(), Failure> {
    if size == wanted {
        return Ok(());
    }
    let message = format!("{what} has {size} bytes, and its manifest says {wanted}");
    Err(Failure::new(Exit::Error, "verification", message))
}

/// A log is no result: that it can't be had is no failure.
async fn log(source: &Source<'_>, task: TaskId, content: Option<Content>, path: &Path) -> Option<PathBuf> {
    let content = content.filter(|content| content.size > 0)?;
    source.bring(task, content.sha256, path).await.ok().map(|_| path.to_owned())
}

/// A settled task's manifest, as soon as its scheduler knows what the chain says.
async fn told(client: &SchedulerClient, task: TaskId, digest: ResultDigest) -> Result<Proven, ClientError> {
    let knows = |answer: &Result<Proven, ClientError>| match answer {
        Err(ClientError::Refused(problem)) => problem.code != "not-settled",
        Ok(_) | Err(_) => true,
    };
    until(async || client.manifest(task.get(), digest.get()).await, knows).await
}
