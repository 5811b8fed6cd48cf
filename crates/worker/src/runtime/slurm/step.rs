//! What Slurm starts on a node: takes an order, has the node's own engine do it as this machine's would, and reports.
//!
//! Slurm's end of a job (a `scancel`, its time limit, a node that is taken away) comes as SIGTERM: the container is
//! stopped and cleared, and the run is lost. Whatever comes as SIGKILL leaves the container behind, and a claim that
//! somebody else sees to.

use super::{
    errand::{Claim, Claims, Errand, Holder, Order, Said, What, Work, gone},
    tree,
};
use crate::{
    assignment::chain,
    clock::now_ms,
    runtime::{Ended, Outcome, Request, Runtime as _, RuntimeError, TaskFolder, docker::Docker, folder_error},
};
use berth_protocol::{TaskId, WorkerAddr};
use nix::unistd::geteuid;
use std::{
    convert::Infallible,
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the worker wants this to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A node, as a job of Slurm's finds it.
struct Node<'a> {
    name: &'a str,
    order: &'a Order,
    tasks: PathBuf,
}

/// Does what the order in `folder` says, if it is still `run` and nobody else has taken it. `stop`: Slurm ends the job.
///
/// # Errors
/// [`RuntimeError`], in what could not even be reported.
pub async fn step(folder: &Path, run: &str, node: &str, stop: CancellationToken) -> Result<(), RuntimeError> {
    let errand = Errand::at(folder);
    let order = errand.order().filter(|order| order.run == run && errand.said(run).is_none());
    let Some(order) = order else { return Ok(()) };
    let node = Node {
        name: node,
        order: &order,
        tasks: order.scratch.join(format!("berth-{}", WorkerAddr::new(order.worker))),
    };
    match &order.what {
        What::Run(work) => node.run(&errand, work, &stop).await,
        What::Probe => errand.report(run, said_of(node.look(true).await)),
        What::Images => errand.report(run, said_of(node.look(false).await)),
        What::Clear => errand.report(run, said_of(node.clear().await)),
    }
}

fn said_of(done: Result<Said, RuntimeError>) -> Said {
    match done {
        Ok(said) => said,
        Err(RuntimeError::NoImage(reference)) => Said::NoImage(reference),
        Err(RuntimeError::Unconfined { reason, .. }) => Said::Unconfined(reason),
        Err(RuntimeError::Lost(reason)) => Said::Lost(reason),
        Err(
            error @ (RuntimeError::Unreachable { .. }
            | RuntimeError::Engine { .. }
            | RuntimeError::Folder { .. }
            | RuntimeError::Program { .. }
            | RuntimeError::Machine { .. }
            | RuntimeError::VirtualBox(_)),
        ) => Said::Lost(chain(&error)),
    }
}

impl Node<'_> {
    /// The node's engine, with a folder that is this worker's only.
    async fn docker(&self) -> Result<Docker, RuntimeError> {
        let made = fs::DirBuilder::new().mode(0o700).create(&self.tasks);
        let found = made.or_else(|_| {
            fs::symlink_metadata(&self.tasks).and_then(|found| {
                // A folder that all may write to may hold another's of this name.
                let ours = found.is_dir() && found.uid() == geteuid().as_raw();
                ours.then_some(()).ok_or_else(|| std::io::Error::other("it is another user's"))
            })
        });
        found.map_err(folder_error("making", &self.tasks))?;
        Docker::connect(self.order.docker.clone(), WorkerAddr::new(self.order.worker), self.tasks.clone()).await
    }

    async fn look(&self, probe: bool) -> Result<Said, RuntimeError> {
        let docker = self.docker().await?;
        if probe {
            docker.probe().await?;
        }
        Ok(Said::Images(docker.images().await?))
    }

    async fn clear(&self) -> Result<Said, RuntimeError> {
        self.clear_abandoned(&self.docker().await?).await.map(|()| Said::Cleared)
    }

    /// Clears what jobs of this worker that died on this node have left.
    async fn clear_abandoned(&self, docker: &Docker) -> Result<(), RuntimeError> {
        let claims = Claims::of(&self.order.tasks);
        for (task, run, holder) in claims.all() {
            let here = holder.is_some_and(|holder| holder.node == self.name);
            let Some(id) = task.parse::<TaskId>().ok().filter(|_| here) else { continue };
            if let Some(claim) = claims.abandoned(&task, &run) {
                self.clear_task(docker, id).await?;
                claim.release()?;
            }
        }
        Ok(())
    }

    async fn clear_task(&self, docker: &Docker, task: TaskId) -> Result<(), RuntimeError> {
        let folder = TaskFolder::new(&self.tasks, task);
        docker.clear(task, &folder).await?;
        gone(fs::remove_dir_all(folder.path())).map_err(folder_error("removing", folder.path()))
    }

    /// Runs a task, and clears up after it. The worker need not wait for that to have the report.
    async fn run(&self, errand: &Errand, work: &Work, stop: &CancellationToken) -> Result<(), RuntimeError> {
        let (claims, task) = (Claims::of(&self.order.tasks), TaskId::new(work.task));
        let holder = Holder { node: self.name.to_owned(), begun_ms: now_ms() };
        let Some(claim) = claims.take(&task.to_string(), &self.order.run, &holder)? else { return Ok(()) };
        let docker = match self.docker().await {
            Ok(docker) => docker,
            Err(error) => {
                errand.report(&self.order.run, said_of(Err(error)))?;
                return claim.release();
            }
        };
        let said = said_of(self.run_here(errand, work, &docker, stop).await);
        let reported = errand.report(&self.order.run, said);
        self.leave(&docker, task, claim).await?;
        reported
    }

    async fn leave(&self, docker: &Docker, task: TaskId, claim: Claim) -> Result<(), RuntimeError> {
        self.clear_task(docker, task).await?;
        claim.release()
    }

    async fn run_here(
        &self,
        errand: &Errand,
        work: &Work,
        docker: &Docker,
        stop: &CancellationToken,
    ) -> Result<Said, RuntimeError> {
        if let Err(error) = self.clear_abandoned(docker).await {
            crate::observe::node_not_cleared(self.name, &chain(&error));
        }
        let task = TaskId::new(work.task);
        let shared = TaskFolder::new(&self.order.tasks, task);
        let folder = TaskFolder::new(&self.tasks, task);
        self.clear_task(docker, task).await?;
        fs::create_dir_all(folder.path()).map_err(folder_error("making", folder.path()))?;
        // Inputs are read, and streams are written, where the worker sees them; the output's disk is the node's own.
        let seen = [
            (shared.inputs(), folder.inputs()),
            (shared.stdout(), folder.stdout()),
            (shared.stderr(), folder.stderr()),
        ];
        for (there, here) in &seen {
            symlink(there, here).map_err(folder_error("making", here))?;
        }
        let request = Request {
            task,
            image: work.image.clone(),
            args: work.args.clone(),
            environment: work.environment.clone(),
            stdin: work.stdin.clone(),
            // A cluster's nodes have no data of this machine's.
            data: Vec::new(),
            file: None,
            limits: work.limits,
            wall: Duration::from_millis(work.wall_ms),
            folder: folder.clone(),
        };
        let cancel = stop.child_token();
        let told = async {
            while !errand.is_stopped() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            cancel.cancel();
            std::future::pending::<Infallible>().await
        };
        let outcome = tokio::select! {
            outcome = docker.run(&request, &cancel) => outcome?,
            never = told => match never {},
        };
        if outcome.ended == Ended::Cancelled {
            return Ok(Said::Lost("its job was cancelled, by Slurm or by one of its users".to_owned()));
        }
        hand_over(outcome, folder, shared).await
    }
}

/// Copies the output to where the worker sees them.
async fn hand_over(outcome: Outcome, from: TaskFolder, to: TaskFolder) -> Result<Said, RuntimeError> {
    let copy = move || {
        match tree::copy(&from.output(), &to.output()) {
            // A job can nest folders deeper than any path reaches.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidFilename => {
                Ok(Some("a path in the output folder is too long".to_owned()))
            }
            copied => copied.map(|()| None).map_err(folder_error("copying", &from.output())),
        }
    };
    // A panic in there is one of this program's, and goes on here.
    let copied = tokio::task::spawn_blocking(copy).await;
    let unfit = copied.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    let Outcome { ended, wall, stdout_bytes, stderr_bytes, .. } = outcome;
    let ended = unfit.map_or(ended, Ended::OutputTooLarge);
    let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
    Ok(Said::Ended { ended, wall_ms, stdout_bytes, stderr_bytes })
}
