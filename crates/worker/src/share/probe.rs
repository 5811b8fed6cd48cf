//! Which engines really work.

use crate::{
    config::Config,
    runtime::{Runtime, RuntimeError, RuntimeKind, docker::Docker, qemu::Qemu, slurm::Slurm, virtualbox::VirtualBox},
};
use berth_protocol::WorkerAddr;
use std::{path::Path, sync::Arc};

/// Engines that work, and why others don't.
pub(crate) type Engines = (Vec<Arc<dyn Runtime>>, Vec<(RuntimeKind, RuntimeError)>);

/// Connects to each engine that the owner shares and that is not among `here`, and has it run a trivial job.
pub(crate) async fn engines(config: &Config, worker: WorkerAddr, tasks: &Path, here: &[RuntimeKind]) -> Engines {
    let (mut working, mut failed): Engines = (Vec::new(), Vec::new());
    if let Some(share) = config.docker.as_ref().filter(|_| !here.contains(&RuntimeKind::Docker)) {
        let probed = async {
            let docker = Docker::connect(share.clone(), worker, tasks.to_owned()).await?;
            docker.probe().await.map(|()| docker)
        };
        match probed.await {
            Ok(docker) => working.push(Arc::new(docker)),
            Err(error) => failed.push((RuntimeKind::Docker, error)),
        }
    }
    if let Some(share) = config.qemu.as_ref().filter(|_| !here.contains(&RuntimeKind::Qemu)) {
        let probed = async {
            let qemu = Qemu::connect(share.clone(), worker, tasks.to_owned()).await?;
            qemu.probe().await.map(|()| qemu)
        };
        match probed.await {
            Ok(qemu) => working.push(Arc::new(qemu)),
            Err(error) => failed.push((RuntimeKind::Qemu, error)),
        }
    }
    if let Some(share) = config.slurm.as_ref().filter(|_| !here.contains(&RuntimeKind::Slurm)) {
        let probed = async {
            let slurm = Slurm::connect(share.clone(), worker, tasks.to_owned()).await?;
            slurm.probe().await.map(|()| slurm)
        };
        match probed.await {
            Ok(slurm) => working.push(Arc::new(slurm)),
            Err(error) => failed.push((RuntimeKind::Slurm, error)),
        }
    }
    if let Some(share) = config.virtualbox.as_ref().filter(|_| !here.contains(&RuntimeKind::Virtualbox)) {
        let probed = async {
            let virtualbox = VirtualBox::connect(share.clone(), worker, tasks.to_owned()).await?;
            virtualbox.probe().await.map(|()| virtualbox)
        };
        match probed.await {
            Ok(virtualbox) => working.push(Arc::new(virtualbox)),
            Err(error) => failed.push((RuntimeKind::Virtualbox, error)),
        }
    }
    (working, failed)
}
