//! Bringing a task's inputs here, each checked against its hash.

use crate::runtime::{Data, TaskFolder};
use berth_protocol::TaskId;
use berth_wire::{
    client::{ClientError, SchedulerClient},
    job::{Input, Job},
    units::Sha256,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use sha2::Digest as _;
use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Inputs of one task that come at the same time.
const AT_ONCE: usize = 4;

/// An input that is not here.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The store can't be reached, or not now.
    #[error("input `{name}` can't be fetched now")]
    Later {
        /// Which input.
        name: String,
        /// What the client says.
        #[source]
        source: Box<ClientError>,
    },
    /// Nobody will get it: it is not there, or is not what its hash says.
    #[error("input `{name}`: {reason}")]
    Never {
        /// Which input.
        name: String,
        /// Why.
        reason: String,
    },
    /// The task's folder can't be written.
    #[error("{path} can't be written")]
    Folder {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the input folder.
///
/// # Errors
/// [`FetchError::Folder`].
pub fn prepare(folder: &TaskFolder) -> Result<(), FetchError> {
    let into = folder.inputs();
    fs::create_dir_all(&into).map_err(failed(&into))?;
    // Jobs run as nobody, who must read them whatever this process's umask is.
    open_to_all(&into, 0o755)
}

/// Makes the places in the input folder where the machine's own data will be.
///
/// # Errors
/// [`FetchError::Folder`].
pub fn make_places(folder: &TaskFolder, data: &[Data]) -> Result<(), FetchError> {
    for Data { name, dataset } in data {
        let place = folder.inputs().join(name);
        if dataset.is_file() {
            fs::write(&place, b"").map_err(failed(&place))?;
            open_to_all(&place, 0o644)?;
        } else {
            fs::create_dir_all(&place).map_err(failed(&place))?;
            open_to_all(&place, 0o755)?;
        }
    }
    Ok(())
}

/// Fetches all inputs of a job that the pool's store has and that are not here yet. May be repeated.
///
/// # Errors
/// [`FetchError`]: of the first input that fails.
pub async fn fetch(client: &SchedulerClient, task: TaskId, job: &Job, folder: &TaskFolder) -> Result<(), FetchError> {
    prepare(folder)?;
    let into = folder.inputs();
    let inputs: Vec<_> = job
        .inputs
        .iter()
        .filter(|input| input.url.is_none())
        .map(|input| one(client, task, input, into.join(&input.name)).boxed())
        .collect();
    stream::iter(inputs).buffer_unordered(AT_ONCE).try_collect().await
}

async fn one(client: &SchedulerClient, task: TaskId, input: &Input, path: PathBuf) -> Result<(), FetchError> {
    if has(&path, input.sha256).await {
        return Ok(());
    }
    let never = |reason: String| FetchError::Never { name: input.name.clone(), reason };
    let size = match client.fetch_blob(task.get(), input.sha256, &path).await {
        Ok(size) => size,
        Err(ClientError::Refused(problem)) if problem.status == 404 => {
            return Err(never(format!("the pool's store has no {}", input.sha256)));
        }
        Err(error @ ClientError::Corrupt { .. }) => return Err(never(error.to_string())),
        Err(source) => return Err(FetchError::Later { name: input.name.clone(), source: Box::new(source) }),
    };
    if size != input.size {
        return Err(never(format!("it has {size} bytes; the job says {}", input.size)));
    }
    open_to_all(&path, 0o644)
}

/// Whether an input is where the job will find it.
pub(crate) async fn is_here(folder: &TaskFolder, input: &Input) -> bool {
    has(&folder.inputs().join(&input.name), input.sha256).await
}

/// Puts a file that was fetched where the job will find it.
pub(crate) async fn place(from: &Path, folder: &TaskFolder, input: &Input) -> Result<(), FetchError> {
    let path = folder.inputs().join(&input.name);
    tokio::fs::copy(from, &path).await.map_err(failed(&path))?;
    open_to_all(&path, 0o644)
}

async fn has(path: &Path, wanted: Sha256) -> bool {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || hash(&path).is_some_and(|found| found == wanted));
    hashed.await.unwrap_or(false)
}

fn open_to_all(path: &Path, mode: u32) -> Result<(), FetchError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |source| FetchError::Folder { path: path.clone(), source }
}

fn hash(path: &Path) -> Option<Sha256> {
    let mut file = fs::File::open(path).ok()?;
    let mut hash = sha2::Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk).ok()? {
            0 => return Some(Sha256(hash.finalize().into())),
            read => hash.update(&chunk[..read]),
        }
    }
}
