//! A cluster, by Slurm: each task becomes a job of it, which runs the task's container on whatever node it is given.
//!
//! On the node it is `berth` again that runs the container, by the very code that a worker on that node would run it by
//! (`step`, under Slurm's batch job): Slurm's own limits bind no container, and its `scancel` stops none. What the two
//! have to say to each other they say through files in the task's folder, which lies on a file system that all nodes
//! share: an order there, a report back. Slurm is asked how its jobs are, by name, and may be away meanwhile.

mod cluster;
mod errand;
mod job;
mod step;
mod sweep;
mod tree;

use super::{Capabilities, Outcome, Request, Runtime, RuntimeError, RuntimeKind, TaskFolder};
use crate::{
    clock::now_ms,
    config::{DockerShare, SlurmShare},
};
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::job::Image;
use cluster::Cluster;
use errand::{Said, What};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

pub use step::step;

pub(crate) const ENGINE: &str = "Slurm";
/// What a node is found out by has begun and ended within this, or the cluster is too busy to be shared.
const PROBE_TAKES: Duration = Duration::from_secs(120);
/// What a probe has shown is believed for this long, also by the next life of a worker: one that was killed is back before
/// its pool gives its tasks to others.
const PROBE_KEEPS: Duration = Duration::from_secs(600);
/// What nodes have is asked again after this.
const IMAGES_KEEP: Duration = Duration::from_secs(600);
/// Everything of this runtime's that belongs to no single task, below the folder of tasks.
const COMMON: &str = "slurm";
const PROBED: &str = "probed.json";

/// A Slurm cluster, as one of its users has it.
#[derive(Debug)]
pub struct Slurm {
    worker: WorkerAddr,
    tasks: PathBuf,
    share: SlurmShare,
    program: PathBuf,
    cluster: Cluster,
    images: Mutex<Option<(Instant, Vec<Image>)>>,
    /// How long the partition lets a job run, if it sets a limit.
    longest: Mutex<Option<Duration>>,
}

/// What a probe has shown, for the next life.
#[derive(Debug, Serialize, Deserialize)]
struct Probed {
    at_ms: u64,
    share: SlurmShare,
    images: Vec<Image>,
}

impl Slurm {
    /// Asks the cluster whether it is there. `tasks` is the folder of the tasks' folders, which all nodes see under the
    /// same path.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] if nobody answers, [`RuntimeError::Program`] if Slurm's commands are not installed.
    pub async fn connect(share: SlurmShare, worker: WorkerAddr, tasks: PathBuf) -> Result<Self, RuntimeError> {
        let program = match &share.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(super::folder_error("finding", Path::new("this program")))?,
        };
        let cluster = Cluster::new(&share);
        let (images, longest) = (Mutex::default(), Mutex::default());
        let slurm = Self { worker, tasks, share, program, cluster, images, longest };
        slurm.cluster.jobs(Instant::now()).await?;
        slurm.ask_longest().await?;
        Ok(slurm)
    }

    async fn ask_longest(&self) -> Result<(), RuntimeError> {
        let longest = self.cluster.longest().await?;
        *self.longest.lock().expect("nothing panics under this lock") = longest;
        Ok(())
    }

    /// The name of a task's job: whoever looks at the queue sees whose it is.
    fn name(&self, task: TaskId) -> String {
        format!("{}{task}", self.name_of_all())
    }

    fn name_of_all(&self) -> String {
        format!("berth-{}-", self.worker)
    }

    /// Where all that belongs to no single task lies.
    fn common(&self) -> PathBuf {
        self.tasks.join(COMMON)
    }

    /// What of a node's engine is shared: the same words as for this machine's own.
    fn docker(&self) -> DockerShare {
        DockerShare {
            host: Some(self.share.host.clone()),
            runtime: None,
            images: self.share.images.clone(),
            fetch_images: self.share.fetch_images,
            // What nodes fetch is the cluster's affair.
            fetched_size: crate::config::FetchedSize::default(),
            network: self.share.network,
            quota: self.share.quota,
        }
    }

    /// The images that a probe has found, if it was passed not long ago with the same settings.
    fn probed(&self) -> Option<Vec<Image>> {
        let probed: Probed = errand::read(&self.common().join(PROBED))?;
        let is_fresh = u128::from(now_ms().saturating_sub(probed.at_ms)) < PROBE_KEEPS.as_millis();
        (is_fresh && probed.share == self.share).then_some(probed.images)
    }

    fn keep_images(&self, images: Vec<Image>) {
        *self.images.lock().expect("nothing panics under this lock") = Some((Instant::now(), images));
    }

    /// Has some node say what it has, and, for a probe, whether its engine confines jobs.
    async fn look(&self, what: What) -> Result<Vec<Image>, RuntimeError> {
        let engine_failed = |reason: String| RuntimeError::Engine {
            engine: ENGINE,
            action: "run a trivial job",
            source: reason.into(),
        };
        let images = match self.errand(what, None, PROBE_TAKES).await? {
            Said::Images(images) => images,
            Said::Unconfined(reason) => return Err(RuntimeError::Unconfined { engine: ENGINE, reason }),
            Said::Lost(reason) => return Err(engine_failed(reason)),
            Said::Ended { .. } | Said::NoImage(_) | Said::Cleared => {
                return Err(engine_failed("it answered another question".to_owned()));
            }
        };
        self.ask_longest().await?;
        self.keep_images(images.clone());
        Ok(images)
    }
}

impl Runtime for Slurm {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Slurm
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pids: true,
            network: true,
            resumes: true,
            most_data_bytes: 0,
            least_memory_bytes: super::docker::LEAST_MEMORY_BYTES,
            parts_of_cores: true,
            network_allowed: self.share.network,
            longest: self
                .longest
                .lock()
                .expect("nothing panics under this lock")
                .map(|longest| longest.saturating_sub(job::MARGIN)),
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async {
            if let Some(images) = self.probed() {
                self.keep_images(images);
                return Ok(());
            }
            let images = self.look(What::Probe).await?;
            let probed = Probed { at_ms: now_ms(), share: self.share.clone(), images };
            errand::write(&self.common().join(PROBED), &probed)
        })
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, RuntimeError>> {
        Box::pin(async {
            let known = self.images.lock().expect("nothing panics under this lock").clone();
            match known {
                Some((at, images)) if at.elapsed() < IMAGES_KEEP => Ok(images),
                Some(_) | None => self.look(What::Images).await,
            }
        })
    }

    fn sweep<'a>(&'a self, held: &'a HashSet<TaskId>) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.sweep_all(held))
    }

    fn run<'a>(
        &'a self,
        request: &'a Request,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Outcome, RuntimeError>> {
        Box::pin(self.run_job(request, cancel))
    }

    fn clear<'a>(&'a self, task: TaskId, folder: &'a TaskFolder) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(self.clear_task(task, folder))
    }
}
