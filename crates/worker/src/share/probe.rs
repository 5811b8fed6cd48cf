//! Which engines really work.

use crate::{
    assignment::chain,
    config::Config,
    observe,
    runtime::{Runtime, RuntimeError, docker::Docker, qemu::Qemu, virtualbox::VirtualBox},
};
use berth_protocol::WorkerAddr;
use std::{path::Path, sync::Arc};

/// Connects to each engine that the owner shares and has it run a trivial job. What fails is not announced.
///
/// # Errors
/// The first engine's, if none works: a worker that shares nothing gets nothing.
pub(crate) async fn engines(
    config: &Config,
    worker: WorkerAddr,
    tasks: &Path,
) -> Result<Vec<Arc<dyn Runtime>>, RuntimeError> {
    let mut working: Vec<Arc<dyn Runtime>> = Vec::new();
    let mut first = None;
    if let Some(share) = &config.docker {
        let probed = async {
            let docker = Docker::connect(share.clone(), worker, tasks.to_owned()).await?;
            docker.probe().await.map(|()| docker)
        };
        match probed.await {
            Ok(docker) => working.push(Arc::new(docker)),
            Err(error) => {
                observe::share_failed("engine", "docker", &chain(&error));
                first = Some(error);
            }
        }
    }
    if let Some(share) = &config.qemu {
        let probed = async {
            let qemu = Qemu::connect(share.clone(), worker, tasks.to_owned()).await?;
            qemu.probe().await.map(|()| qemu)
        };
        match probed.await {
            Ok(qemu) => working.push(Arc::new(qemu)),
            Err(error) => {
                observe::share_failed("engine", "qemu", &chain(&error));
                first.get_or_insert(error);
            }
        }
    }
    if let Some(share) = &config.virtualbox {
        let probed = async {
            let virtualbox = VirtualBox::connect(share.clone(), worker, tasks.to_owned()).await?;
            virtualbox.probe().await.map(|()| virtualbox)
        };
        match probed.await {
            Ok(virtualbox) => working.push(Arc::new(virtualbox)),
            Err(error) => {
                observe::share_failed("engine", "virtualbox", &format!("{}; {}", chain(&error), error.hint()));
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if working.is_empty() => Err(error),
        Some(_) | None => Ok(working),
    }
}
