//! Docker, through its API. Tested against engines as old as API 1.41 (20.10); the version is negotiated.

mod confine;
mod disk;
mod fetched;
mod image;
mod job;
mod probe;
mod stream;
mod sweep;

use super::{Capabilities, Outcome, Request, Runtime, RuntimeError, RuntimeKind, TaskFolder};
use crate::{
    config::{DockerShare, SharedImages},
    status::Absent,
};
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::job::Image;
use bollard::errors::Error as ApiError;
use disk::Disks;
use fetched::Fetched;
use futures_util::future::BoxFuture;
use image::Known;
use std::{collections::HashSet, path::PathBuf, sync::Mutex};
use tokio_util::sync::CancellationToken;

pub(crate) const ENGINE: &str = "Docker";
/// The engine itself refuses containers with less memory.
pub(super) const LEAST_MEMORY_BYTES: u64 = 6 << 20;
/// What gVisor needs beside a small job: with less its own kernel is ended.
const KERNEL_MEMORY_BYTES: u64 = 64 << 20;

/// Whose a container is. The name is checked as well: containers inherit their image's labels, and an image may claim
/// anything.
const LABEL_WORKER: &str = "berth.worker";
const LABEL_TASK: &str = "berth.task";
/// When its time is over, in milliseconds since 1970: what a restarted worker goes by.
const LABEL_ENDS: &str = "berth.ends-ms";

/// A Docker engine on this machine.
#[derive(Debug)]
pub struct Docker {
    api: bollard::Docker,
    address: String,
    worker: WorkerAddr,
    tasks: PathBuf,
    share: DockerShare,
    disks: Disks,
    known: Known,
    absent: Mutex<Vec<Absent>>,
    fetched: Fetched,
}

impl Docker {
    /// Connects to the engine and agrees on a version. `tasks` is the folder of the tasks' folders, seen by the engine
    /// under the same path.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] if nobody answers.
    pub async fn connect(share: DockerShare, worker: WorkerAddr, tasks: PathBuf) -> Result<Self, RuntimeError> {
        let address = share.host.clone();
        let api = match &address {
            Some(host) => bollard::Docker::connect_with_host(host),
            None => bollard::Docker::connect_with_defaults(),
        };
        let address = address.unwrap_or_else(|| "DOCKER_HOST, or else unix:///var/run/docker.sock".to_owned());
        let unreachable = |source: ApiError| RuntimeError::Unreachable {
            engine: ENGINE,
            address: address.clone(),
            source: Box::new(source),
        };
        let api = api.map_err(unreachable)?.negotiate_version().await.map_err(unreachable)?;
        let disks = Disks::choose(share.quota);
        let fetched = Fetched::open(tasks.with_file_name("fetched-images.json"));
        Ok(Self {
            api,
            address,
            worker,
            tasks,
            share,
            disks,
            known: Known::default(),
            absent: Mutex::default(),
            fetched,
        })
    }

    /// The name of a task's container.
    fn name(&self, task: TaskId) -> String {
        let worker = self.worker.to_string();
        format!("berth-{}-{}", &worker[2..10], &task.to_string()[2..])
    }

    /// Turns the API's errors into ours.
    fn failed<'a>(&'a self, action: &'static str) -> impl Fn(ApiError) -> RuntimeError + use<'a> {
        move |source| {
            let answered = matches!(
                source,
                ApiError::DockerResponseServerError { .. }
                    | ApiError::DockerStreamError { .. }
                    | ApiError::DockerContainerWaitError { .. }
                    | ApiError::JsonDataError { .. }
            );
            let source = Box::new(source);
            if answered {
                RuntimeError::Engine { engine: ENGINE, action, source }
            } else {
                RuntimeError::Unreachable { engine: ENGINE, address: self.address.clone(), source }
            }
        }
    }
}

/// The HTTP status with which the engine answered, if it did.
fn status(error: &ApiError) -> Option<u16> {
    if let ApiError::DockerResponseServerError { status_code, .. } = error { Some(*status_code) } else { None }
}

/// A number as the engine's API takes it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Runtime for Docker {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pids: !self.share.has_own_kernel(),
            network: true,
            resumes: true,
            most_data_bytes: u64::MAX,
            least_memory_bytes: if self.share.has_own_kernel() { KERNEL_MEMORY_BYTES } else { LEAST_MEMORY_BYTES },
            parts_of_cores: true,
            network_allowed: self.share.network,
            longest: None,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(self.probe_confinement())
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, RuntimeError>> {
        Box::pin(async {
            let there = self.list().await?;
            Ok(match &self.share.images {
                SharedImages::All => there,
                SharedImages::Only(declared) => self.declared(declared, &there),
            })
        })
    }

    fn absent(&self) -> Vec<Absent> {
        self.absent.lock().expect("nothing panics under this lock").clone()
    }

    fn sweep<'a>(&'a self, held: &'a HashSet<TaskId>) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async {
            self.sweep_all(held).await?;
            self.tidy_fetched().await
        })
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
