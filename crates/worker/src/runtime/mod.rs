//! What runs jobs. One contract for all runtimes: inputs read-only in, one output folder out, standard input,
//! environment, exit code, standard output and error apart; limits on cpu, memory, processes, disk and time that hold;
//! cancelling; no image ever modified; everything labelled, found and cleared after a crash. What a runtime can't do is a
//! row of its [`Capabilities`], and a job that needs it is refused.

pub mod docker;
mod ext4;
mod guest;
pub mod qemu;
pub mod slurm;
pub mod virtualbox;

use crate::{config::MachineFile, dataset::Dataset, status::Absent};
use berth_chain::Class;
use berth_protocol::TaskId;
pub use berth_wire::descriptor::Runtime as RuntimeKind;
use berth_wire::job::{Image, Limits};
use core::fmt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// How much of standard output and of standard error is kept, from their beginning.
pub const STREAM_BYTES: u64 = 1 << 20;

/// An engine that runs jobs. Every call may be repeated after a crash.
pub trait Runtime: fmt::Debug + Send + Sync {
    /// Which one it is.
    fn kind(&self) -> RuntimeKind;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Runs a trivial job under all confinement and looks whether it holds.
    fn probe(&self) -> BoxFuture<'_, Result<(), RuntimeError>>;

    /// The images that are shared and there, now.
    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, RuntimeError>>;

    /// Images that are declared and were not there when [`Runtime::images`] last looked, and why.
    fn absent(&self) -> Vec<Absent> {
        Vec::new()
    }

    /// Removes everything of this worker's that belongs to none of `held`.
    fn sweep<'a>(&'a self, held: &'a HashSet<TaskId>) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Runs a job to its end, or goes on with the run of an earlier life of this worker. Afterwards its output is in
    /// [`Outcome::output`], until [`Runtime::clear`].
    ///
    /// # Cancel safety
    /// Not cancel-safe: use `cancel`, which ends the job and still comes back with an outcome.
    fn run<'a>(
        &'a self,
        request: &'a Request,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Outcome, RuntimeError>>;

    /// Removes all that a task left: its container or machine, mounts, disks.
    fn clear<'a>(&'a self, task: TaskId, folder: &'a TaskFolder) -> BoxFuture<'a, Result<(), RuntimeError>>;
}

/// Which limits of a job a runtime can keep, and which of them this machine and its owner allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Limiting processes.
    pub pids: bool,
    /// Giving the network when the job asks for it. Withholding it is not optional.
    pub network: bool,
    /// Going on with a run after the worker's own crash. Without it the run is repeated.
    pub resumes: bool,
    /// The most data of the machine's own that a job can be given, in bytes.
    pub most_data_bytes: u64,
    /// The least memory that a job can be given.
    pub least_memory_bytes: u64,
    /// Here: giving a part of a core. Without it whole cores can be given, and no more than asked for.
    pub parts_of_cores: bool,
    /// Here: whether the owner lets jobs of this runtime have the network.
    pub network_allowed: bool,
    /// Here: how long a job may run at the most, if anybody but its deal says so.
    pub longest: Option<Duration>,
}

/// A core, in the unit of a job's limit.
const CORE_MILLIS: u32 = 1_000;

impl Capabilities {
    /// What these limits need and the runtime can't do, anywhere, in words.
    pub fn missing(&self, limits: &Limits) -> Option<String> {
        if limits.memory_bytes < self.least_memory_bytes {
            let least = self.least_memory_bytes;
            return Some(format!("limit memory_bytes is {}; this runtime needs {least}", limits.memory_bytes));
        }
        if limits.network && !self.network {
            return Some("this runtime gives no network".to_owned());
        }
        // A runtime without a limit on processes runs a job in a machine of its own, which the limits on cpu and memory
        // hold in; only a job that asks for fewer than a machine's own is refused.
        (!self.pids && limits.pids < Limits::ALL_PIDS).then(|| {
            format!(
                "this runtime can't limit processes: a job for it asks for {} of them, all of a machine's",
                Limits::ALL_PIDS
            )
        })
    }

    /// What a job of these limits, and of this time, needs and this machine or its owner does not give, in words: another
    /// may.
    pub fn withheld(&self, limits: &Limits, wall: Duration) -> Option<String> {
        if let Some(longest) = self.longest.filter(|longest| wall > *longest) {
            let (wall, longest) = (wall.as_secs(), longest.as_secs());
            return Some(format!("the job may run for {wall} s; here one has {longest} s at the most"));
        }
        if limits.network && !self.network_allowed {
            return Some("the job wants the network, which this worker gives to none".to_owned());
        }
        (!self.parts_of_cores && !limits.cpu_millis.is_multiple_of(CORE_MILLIS))
            .then(|| "the job wants a part of a core, which this machine can't give".to_owned())
    }
}

/// A job to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The task.
    pub task: TaskId,
    /// What it runs in.
    pub image: Image,
    /// The command line after the image's entry point.
    pub args: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Name of the input that becomes standard input.
    pub stdin: Option<String>,
    /// Data that stay where they are, and are read-only beside the inputs.
    pub data: Vec<Data>,
    /// The image as a file, if it was fetched.
    pub file: Option<MachineFile>,
    /// What it may use.
    pub limits: Limits,
    /// How long it may run.
    pub wall: Duration,
    /// Where its files are.
    pub folder: TaskFolder,
}

/// Data of the machine's own, for a job.
#[derive(Debug, Clone)]
pub struct Data {
    /// Its name in the input folder, where something of that name is already, to be covered.
    pub name: String,
    /// What it is.
    pub dataset: Arc<Dataset>,
}

/// A task's own folder on the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFolder(PathBuf);

impl TaskFolder {
    /// The folder of a task, under the folder of all tasks.
    pub fn new(tasks: &Path, task: TaskId) -> Self {
        Self(tasks.join(task.to_string()))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Inputs, by name.
    pub fn inputs(&self) -> PathBuf {
        self.0.join("in")
    }

    /// The file that holds the output's file system, when it has one of its own.
    pub fn disk_image(&self) -> PathBuf {
        self.0.join("disk.img")
    }

    /// What a virtual machine is made of while it runs: its disks and pipes.
    pub fn machine(&self) -> PathBuf {
        self.0.join("machine")
    }

    /// The output folder as the job fills it. It is there from the beginning of a run until it is cleared.
    pub fn output(&self) -> PathBuf {
        self.0.join("out")
    }

    /// What the job said on standard output.
    pub fn stdout(&self) -> PathBuf {
        self.0.join("stdout")
    }

    /// What the job said on standard error.
    pub fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }

    /// There once standard input was handed over whole.
    pub fn stdin_given(&self) -> PathBuf {
        self.0.join("stdin-given")
    }

    /// The result's blobs, by hash.
    pub fn result(&self) -> PathBuf {
        self.0.join("result")
    }

    /// The result in one file, for its recipient.
    pub fn sealed(&self) -> PathBuf {
        self.0.join("sealed")
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// By itself, with this code.
    Exited(i32),
    /// Out of time.
    TimedOut,
    /// Out of memory.
    OutOfMemory,
    /// Out of disk, in words.
    OutputTooLarge(String),
    /// Cancelled.
    Cancelled,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// How long it took.
    pub wall: Duration,
    /// The output folder.
    pub output: PathBuf,
    /// How many bytes the job wrote to standard output; [`STREAM_BYTES`] of them are kept.
    pub stdout_bytes: u64,
    /// The same of standard error.
    pub stderr_bytes: u64,
}

/// A runtime that does not do what it should.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// It does not answer.
    #[error("the {engine} engine at {address} does not answer")]
    Unreachable {
        /// Which.
        engine: &'static str,
        /// Where.
        address: String,
        /// What the network says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers with an error.
    #[error("the {engine} engine failed to {action}")]
    Engine {
        /// Which.
        engine: &'static str,
        /// What it was to do.
        action: &'static str,
        /// What it says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Confinement that was asked for does not hold.
    #[error("the {engine} engine does not confine jobs as it must: {reason}")]
    Unconfined {
        /// Which.
        engine: &'static str,
        /// What was found inside the container.
        reason: String,
    },
    /// The image is not there.
    #[error("image {0} is not there")]
    NoImage(String),
    /// The run was ended from outside, or its exit can't be believed.
    #[error("the run was lost: {0}")]
    Lost(String),
    /// A file of the task can't be made, read or removed.
    #[error("{action} {path} failed")]
    Folder {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A program of the system failed.
    #[error("`{program}` failed: {said}")]
    Program {
        /// Which.
        program: &'static str,
        /// Its standard error.
        said: String,
    },
    /// A shared machine's file is not what it is called.
    #[error("a shared machine's file is not used")]
    Machine {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// VirtualBox's own affair.
    #[error(transparent)]
    VirtualBox(#[from] virtualbox::VirtualBoxError),
}

impl From<guest::ImageError> for RuntimeError {
    fn from(error: guest::ImageError) -> Self {
        Self::Machine { source: Box::new(error) }
    }
}

impl RuntimeError {
    /// What to do about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. }
            | Self::Engine { .. }
            | Self::Lost(_)
            | Self::Folder { .. }
            | Self::Program { .. }
            | Self::Machine { .. }
            | Self::VirtualBox(_) => Class::Retry,
            Self::Unconfined { .. } | Self::NoImage(_) => Class::Refused,
        }
    }

    /// What the owner can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { engine: slurm::ENGINE, .. } | Self::Engine { engine: slurm::ENGINE, .. } => {
                "see that this user may use the cluster (`sinfo`, `squeue --me`), and read the reason: docs/slurm.md"
                    .to_owned()
            }
            Self::Unreachable { engine, address, .. } => format!(
                "start the {engine} engine, or give its address (`host` in worker.toml, or DOCKER_HOST), and see that \
                 this user may use it: `docker -H {address} info`"
            ),
            Self::Engine { engine, .. } => format!("look into the {engine} engine's log"),
            Self::Unconfined { .. } => "update the engine; a worker shares none that it can't confine".to_owned(),
            Self::NoImage(_) => {
                "load the image into the engine, or set `fetch_images = true` in worker.toml".to_owned()
            }
            Self::Lost(_) => "it is run again by itself".to_owned(),
            Self::Folder { .. } => "check that the worker's folder is writable and its disk not full".to_owned(),
            Self::Program { program: program @ ("qemu-img" | "qemu-system-x86_64"), .. } => {
                format!("install `{program}` (Debian: qemu-utils, qemu-system-x86)")
            }
            Self::Program { program: program @ ("sbatch" | "squeue" | "sinfo" | "scancel"), .. } => {
                format!(
                    "install Slurm's `{program}` (Debian: slurm-client), or say where it is: `commands` under [slurm]"
                )
            }
            Self::Program { program, .. } => format!(
                "install `{program}` or, if loop devices are not allowed here, set `quota = \"watched\"` under [docker] \
                 in worker.toml"
            ),
            Self::Machine { .. } => {
                "give the file and sha256 of a disk that stands alone, in the format of its ending".to_owned()
            }
            Self::VirtualBox(error) => error.hint(),
        }
    }
}

/// Names the file that an IO error is about.
pub(crate) fn folder_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(std::io::Error) -> RuntimeError + use<'a> {
    move |source| RuntimeError::Folder { action, path: path.to_owned(), source }
}
