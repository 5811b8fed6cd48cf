//! Virtual machines, by VirtualBox: one for each task, made for it and gone after it. `docs/guest-contract.md` is what a
//! machine must do inside; it is the same as under QEMU, but for the kind of its disks and the way of its words.
//!
//! Everything goes through VBoxManage, but for the machine itself: VBoxHeadless runs it, as a process of this worker's
//! that lives as long as the machine does. Nothing is shared with the host but disks and serial ports.

mod error;
mod image;
mod machine;
mod manage;
mod probe;
mod settings;
mod sweep;

use super::{
    Capabilities, Outcome, Request, Runtime, RuntimeError, RuntimeKind, TaskFolder,
    guest::{LEAST_MEMORY_BYTES, MOST_DATA_BYTES, Shared, cgroup},
};
use crate::{config::VirtualboxShare, status::Absent};
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::job::Image;
pub use error::VirtualBoxError;
use futures_util::future::BoxFuture;
use image::Disk;
use std::{collections::HashSet, path::PathBuf};
use tokio_util::sync::CancellationToken;

const ENGINE: &str = "VirtualBox";
/// The first version whose commands these are.
const LEAST_VERSION: u32 = 7;

/// VirtualBox on this machine.
#[derive(Debug)]
pub struct VirtualBox {
    worker: WorkerAddr,
    tasks: PathBuf,
    share: VirtualboxShare,
    /// The program that runs a machine, beside VBoxManage.
    headless: PathBuf,
    /// Where the disks are that VirtualBox works on.
    copies: PathBuf,
    /// Whether a machine's process gets a control group of its own, and can be left without a network.
    has_groups: bool,
    has_networks: bool,
    /// Held while a machine is made.
    making: tokio::sync::Mutex<()>,
    shared: Shared<Disk>,
}

impl VirtualBox {
    /// Looks for VirtualBox. `tasks` is the folder of the tasks' folders; beside it the copies of disks are kept.
    ///
    /// # Errors
    /// [`RuntimeError::VirtualBox`] if it is not installed, or is not what it must be.
    pub async fn connect(share: VirtualboxShare, worker: WorkerAddr, tasks: PathBuf) -> Result<Self, RuntimeError> {
        let headless = share.program.with_file_name("VBoxHeadless");
        let copies = tasks.with_file_name("virtualbox");
        let shared = Shared::new(share.images.clone(), image::read);
        let making = tokio::sync::Mutex::default();
        let (has_groups, has_networks) = (cgroup::are_there(), machine::has_networks().await);
        let virtualbox = Self { worker, tasks, share, headless, copies, has_groups, has_networks, making, shared };
        virtualbox.look().await?;
        virtualbox.remove_copies()?;
        Ok(virtualbox)
    }

    /// By which a task's machine is known to VirtualBox, and among the processes of this system.
    fn label(&self, task: TaskId) -> String {
        format!("{}{task}", self.label_of_all())
    }

    fn label_of_all(&self) -> String {
        format!("berth-{}-", self.worker)
    }
}

impl Runtime for VirtualBox {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Virtualbox
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pids: false,
            network: true,
            resumes: false,
            most_data_bytes: MOST_DATA_BYTES,
            least_memory_bytes: LEAST_MEMORY_BYTES,
            parts_of_cores: true,
            network_allowed: self.share.network,
            longest: None,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(self.probe_boot())
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, RuntimeError>> {
        Box::pin(async { Ok(self.shared.images().await) })
    }

    fn absent(&self) -> Vec<Absent> {
        self.shared.absent()
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
