//! A task's result: downloaded, and compared with the chain byte for byte before anybody sees it.

use super::{
    ending::{Ending, How},
    stage::hash,
};
use crate::{exit::Exit, hint::Failure, scheduler::patiently};
use berth_protocol::{ResultDigest, TaskId};
use berth_wire::{
    client::{ClientError, Proven, SchedulerClient},
    manifest::{Content, File, Manifest},
    scheduler::TaskView,
    units::Sha256,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The chain has settled, so the scheduler will know it as soon as it has read that block: this long it is waited for, and
/// asked this often.
const SCHEDULER_PATIENCE: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Where what the job printed is kept.
const STDOUT: &str = "stdout.txt";
const STDERR: &str = "stderr.txt";

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
    /// A failure that was paid for at a tenth.
    Failed { digest: ResultDigest, detail: Option<String>, stderr: Option<PathBuf>, has_partial: bool },
    /// No result: the price went back.
    GivenBack,
}

/// Fetches a task's result into a folder, and verifies it against the digest that the chain has.
pub(crate) async fn fetch(
    client: &SchedulerClient,
    task: TaskId,
    ending: &Ending,
    view: Option<&TaskView>,
    folder: &Path,
) -> Result<Outcome, Failure> {
    let How::Settled { digest, .. } = &ending.how else { return Ok(Outcome::GivenBack) };
    tokio::fs::create_dir_all(folder).await.map_err(|error| Failure::file(folder, "made", &error))?;
    let stderr = log(client, task, view.and_then(|view| view.stderr), &folder.join(STDERR)).await;
    if digest.is_failure() {
        let detail = view.and_then(|view| view.detail.clone());
        let has_partial = view.is_some_and(|view| view.partial.is_some());
        return Ok(Outcome::Failed { digest: *digest, detail, stderr, has_partial });
    }
    let (manifest, callback) = proven(client, task, *digest).await?;
    for file in &manifest.files {
        let path = file.path.split('/').fold(folder.to_owned(), |path, part| path.join(part));
        let parent = path.parent().unwrap_or(folder);
        tokio::fs::create_dir_all(parent).await.map_err(|error| Failure::file(parent, "made", &error))?;
        file_of(client, task, file, &path).await?;
    }
    let taken = |name: &str| manifest.files.iter().any(|file| file.path == name);
    let stdout = match manifest.stdout {
        Some(content) => {
            let path = folder.join(STDOUT);
            let size = blob(client, task, content.sha256, &path).await?;
            sized("standard output", content.size, size)?;
            Some(path)
        }
        // With files, what the job printed is not part of the digest: a log, kept where no file has its name.
        None if taken(STDOUT) => None,
        None => log(client, task, view.and_then(|view| view.stdout), &folder.join(STDOUT)).await,
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
    let manifest = Manifest::from_bytes(&manifest).map_err(|error| {
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
pub(super) async fn file_of(client: &SchedulerClient, task: TaskId, file: &File, path: &Path) -> Result<(), Failure> {
    let there = {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || hash(&path).ok()).await.expect("hashing files does not panic")
    };
    if there == Some((file.size, file.sha256)) {
        return Ok(());
    }
    let size = blob(client, task, file.sha256, path).await?;
    sized(&file.path, file.size, size)
}

/// A part of a task's result: its manifest was there a moment ago.
async fn blob(client: &SchedulerClient, task: TaskId, name: Sha256, path: &Path) -> Result<u64, ClientError> {
    patiently(async || client.fetch_blob(task.get(), name, path).await).await
}

fn sized(what: &str, wanted: u64, size: u64) -> Result<(), Failure> {
    if size == wanted {
        return Ok(());
    }
    let message = format!("{what} has {size} bytes, and its manifest says {wanted}");
    Err(Failure::new(Exit::Error, "verification", message))
}

/// A log is no result: that it can't be had is no failure.
async fn log(client: &SchedulerClient, task: TaskId, content: Option<Content>, path: &Path) -> Option<PathBuf> {
    let content = content.filter(|content| content.size > 0)?;
    blob(client, task, content.sha256, path).await.ok().map(|_| path.to_owned())
}

/// A settled task's manifest, as soon as its scheduler knows what the chain says.
async fn told(client: &SchedulerClient, task: TaskId, digest: ResultDigest) -> Result<Proven, ClientError> {
    let mut waited = Duration::ZERO;
    loop {
        match patiently(async || client.manifest(task.get(), digest.get()).await).await {
            Err(ClientError::Refused(problem)) if problem.code == "not-settled" && waited < SCHEDULER_PATIENCE => {}
            done => return done,
        }
        tokio::time::sleep(ASK_EVERY).await;
        waited += ASK_EVERY;
    }
}
