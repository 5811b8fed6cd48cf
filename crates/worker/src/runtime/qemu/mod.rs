//! Virtual machines, by QEMU: one for each task, made for it and gone after it. `docs/guest-contract.md` is what a machine
//! must do inside.
//!
//! Nothing is shared with the host but disks and pipes: a read-only disk with the inputs, an empty one for the output
//! folder, one for the finished output, which this program reads as bytes and never mounts; the streams come through two
//! pipes. The system disk is never written to: changes go to a layer that is thrown away.

mod command;
mod image;
mod machine;
mod probe;
mod sweep;

use super::{
    Capabilities, Outcome, Request, Runtime, RuntimeError, RuntimeKind, TaskFolder,
    guest::{LEAST_MEMORY_BYTES, MOST_DATA_BYTES, Shared, cgroup},
};
use crate::{
    config::{Accel, QemuShare},
    status::Absent,
};
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::job::Image;
use futures_util::future::BoxFuture;
use image::Machine;
use std::{collections::HashSet, path::PathBuf};
use tokio_util::sync::CancellationToken;

pub(crate) const ENGINE: &str = "QEMU";
/// The program for machines with this machine's own kind of processor. (Others would be run by QEMU's own means, always.)
const PROGRAM: &str = "qemu-system-x86_64";

/// QEMU on this machine.
#[derive(Debug)]
pub struct Qemu {
    worker: WorkerAddr,
    tasks: PathBuf,
    share: QemuShare,
    accel: Accel,
    parts_of_cores: bool,
    shared: Shared<Machine>,
}

impl Qemu {
    /// Looks for QEMU, and for what it can use. `tasks` is the folder of the tasks' folders.
    ///
    /// # Errors
    /// [`RuntimeError::Program`] if it is not installed.
    pub async fn connect(share: QemuShare, worker: WorkerAddr, tasks: PathBuf) -> Result<Self, RuntimeError> {
        super::ext4::program("qemu-img", tokio::process::Command::new("qemu-img").arg("--version")).await?;
        super::ext4::program(PROGRAM, tokio::process::Command::new(PROGRAM).arg("--version")).await?;
        let parts_of_cores = cgroup::are_there();
        let accel = Accel::Tcg;
        let shared = Shared::new(share.images.clone(), image::read);
        let mut qemu = Self { worker, tasks, share, accel, parts_of_cores, shared };
        qemu.accel = match qemu.share.accel {
            Accel::Auto if qemu.boots_by_kvm().await => Accel::Kvm,
            Accel::Auto => Accel::Tcg,
            chosen @ (Accel::Kvm | Accel::Tcg) => chosen,
        };
        Ok(qemu)
    }

    /// What runs the machines' code here: never [`Accel::Auto`].
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// By which a task's machine is known among the processes of this system.
    fn label(&self, task: TaskId) -> String {
        format!("{}{task}", self.label_of_all())
    }

    fn label_of_all(&self) -> String {
        format!("berth-{}-", self.worker)
    }
}

impl Runtime for Qemu {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Qemu
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pids: false,
            network: true,
            resumes: false,
            most_data_bytes: MOST_DATA_BYTES,
            least_memory_bytes: LEAST_MEMORY_BYTES,
            parts_of_cores: self.parts_of_cores,
            network_allowed: self.share.network,
            longest: None,
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(self.probe_boot(self.accel))
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
