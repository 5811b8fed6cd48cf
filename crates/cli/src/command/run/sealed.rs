//! A sealed result (ADR 0006): downloaded, opened with a key of the user's, and from then on a result like any other.

use super::result::Access;
use crate::{
    exit::Exit,
    hint::Failure,
    intent::Encrypt,
    keys::Keyring,
    scheduler::{patiently, until},
};
use berth_protocol::{ResultDigest, TaskId};
use berth_wire::{
    client::{ClientError, SchedulerClient},
    job::Job,
    manifest::Manifest,
    scheduler::{SealedView, TaskView},
    sealed::{self, Index, OpenError},
    units::Sha256,
};
use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

/// Where a sealed result lies in its folder while it is opened.
const PLACE: &str = ".berth-sealed";
/// What a sealed result is called that stays sealed.
pub(crate) const KEPT_AS: &str = "result.age";

/// Says in a job who alone is to open its result.
pub(super) fn address(job: &mut Job, encrypt: Option<&Encrypt>, keys: Option<&Keyring>) {
    job.recipient = match encrypt {
        Some(Encrypt::To(recipient)) => Some(recipient.clone()),
        Some(Encrypt::ToAccount) => keys.map(Keyring::own),
        None => None,
    };
}

/// That a store takes in one piece what an encrypted job may leave.
pub(super) async fn check_room(client: &SchedulerClient, job: &Job) -> Result<(), Failure> {
    if job.recipient.is_none() {
        return Ok(());
    }
    let (most, limit) = (client.pool().await?.max_blob_bytes, job.limits.disk_bytes);
    if limit <= most {
        return Ok(());
    }
    let message = format!("an encrypted result is one file: this pool's store takes {most} bytes, not {limit}");
    Err(Failure::preflight("store-too-small", message).hint("give less (--disk), or another --pool"))
}

/// An opened result: what lies behind its blobs, and the folder in which they are.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) index: Index,
    blobs: PathBuf,
}

impl Opened {
    /// Where a blob is.
    pub(crate) fn blob(&self, name: Sha256) -> PathBuf {
        self.blobs.join(name.to_string())
    }

    /// The manifest's bytes.
    pub(crate) fn manifest(&self) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.index.manifest.map(|name| self.blob(name));
        path.map(|path| fs::read(&path).map_err(|error| Failure::file(&path, "read", &error))).transpose()
    }
}

/// The sealed files of a settled task; none, if its result is open.
pub(crate) async fn files(
    client: &SchedulerClient,
    task: TaskId,
    digest: ResultDigest,
    view: Option<&TaskView>,
) -> Vec<SealedView> {
    let knows = |view: &TaskView| view.digest == Some(digest.get());
    if let Some(view) = view.filter(|view| knows(view)) {
        return view.sealed.clone();
    }
    let asked = until(async || client.task(task.get()).await, |answer| answer.as_ref().map_or(true, knows)).await;
    // Whoever asks for the result hears what keeps it from being told.
    asked.ok().filter(knows).map(|view| view.sealed).unwrap_or_default()
}

/// Downloads what is sealed into a folder, and opens it there. Each worker that gave the same answer has sealed it anew:
/// the first that opens to that answer is good.
pub(crate) async fn open(
    client: &SchedulerClient,
    (task, digest): (TaskId, ResultDigest),
    keys: &Keyring,
    files: &[SealedView],
    folder: &Path,
) -> Result<Opened, Failure> {
    let place = folder.join(PLACE);
    let made = fs::create_dir_all(&place);
    made.map_err(|error| Failure::file(&place, "made", &error))?;
    let mut failure = Failure::not_found("sealed-missing", format!("task {task} has no sealed result"));
    for file in files {
        let path = place.join(format!("{}.age", file.content.sha256));
        if !path.exists() {
            match patiently(async || client.fetch_blob(task.get(), file.content.sha256, &path).await).await {
                Ok(_) => {}
                // Another worker's may be there.
                Err(error @ (ClientError::Refused(_) | ClientError::Corrupt { .. })) => {
                    failure = error.into();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let (keys, blobs) = (keys.clone(), place.join("opened"));
        let opened = tokio::task::spawn_blocking(move || unseal(&path, &keys, blobs)).await;
        let refused = match opened.expect("opening a file does not panic") {
            Ok(opened) if is_answer(&opened, digest) => return Ok(opened),
            Ok(_) => wrong(task, file, ": it opens, and is not what the chain says that the task came to"),
            Err(Refused::Here(failure)) => return Err(failure),
            Err(Refused::Sealed(OpenError::NotForUs)) => not_for_us(task),
            Err(Refused::Sealed(error)) => wrong(task, file, "").because(&error),
        };
        failure = refused.hint(format!("the encrypted file is kept in {}", place.display()));
    }
    Err(failure)
}

/// Whether an opened result is the one that the chain knows. A failure's digest says nothing of what is sealed.
fn is_answer(opened: &Opened, digest: ResultDigest) -> bool {
    digest.is_failure() || opened.index.manifest.is_some_and(|name| name.0 == digest.get().0)
}

/// That no file of a result lies where it is opened: it would go with that.
pub(super) fn check_names(manifest: &Manifest) -> Result<(), Failure> {
    match manifest.files.iter().find(|file| file.path.split('/').next() == Some(PLACE)) {
        None => Ok(()),
        Some(file) => Err(Failure::new(Exit::Error, "name-taken", format!("the result has a file {}", file.path))
            .hint(format!("Berth opens results in {PLACE}: unpack the encrypted file there by age and tar"))),
    }
}

enum Refused {
    /// Something is wrong on this machine.
    Here(Failure),
    Sealed(OpenError),
}

fn unseal(path: &Path, keys: &Keyring, blobs: PathBuf) -> Result<Opened, Refused> {
    let here = |path: &Path, verb: &str, error: &std::io::Error| Refused::Here(Failure::file(path, verb, error));
    if blobs.exists() {
        // An earlier call did not come to its end.
        fs::remove_dir_all(&blobs).map_err(|error| here(&blobs, "removed", &error))?;
    }
    fs::create_dir(&blobs).map_err(|error| here(&blobs, "made", &error))?;
    let file = File::open(path).map_err(|error| here(path, "read", &error))?;
    match sealed::open(BufReader::new(file), keys.identities(), &blobs) {
        Ok(index) => Ok(Opened { index, blobs }),
        Err(OpenError::Disk { path, source }) => Err(here(&path, "used", &source)),
        Err(error) => Err(Refused::Sealed(error)),
    }
}

fn not_for_us(task: TaskId) -> Failure {
    let message = format!("the result of task {task} is encrypted to another key than yours");
    Failure::new(Exit::Refused, "wrong-key", message)
        .hint("with the file of the key that it is for: `berth task result TASK --identity FILE`")
        .hint("or as the account whose key that is: `berth wallet recipient --account NAME` shows it")
}

fn wrong(task: TaskId, file: &SealedView, why: &str) -> Failure {
    let message = format!("worker {} sealed the result of task {task} wrongly{why}", file.worker);
    Failure::new(Exit::Error, "verification", message)
        .hint("nobody but you can see that: tell the pool's owner, and show the file")
        .hint("where several workers gave the answer, another may have handed in a good one by now: try again")
        .hint("ask for several workers next time: --trust 5")
}

/// Removes what opening a result has left in its folder.
pub(crate) fn forget(folder: &Path) -> Result<(), Failure> {
    let place = folder.join(PLACE);
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file(&place, "removed", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Downloads a sealed result, and leaves it sealed.
pub(crate) async fn keep(
    access: Access<'_>,
    task: TaskId,
    files: &[SealedView],
    folder: &Path,
) -> Result<Option<PathBuf>, Failure> {
    let Some(first) = files.first() else { return Ok(None) };
    let path = folder.join(KEPT_AS);
    patiently(async || access.client.fetch_blob(task.get(), first.content.sha256, &path).await).await?;
    Ok(Some(path))
}
