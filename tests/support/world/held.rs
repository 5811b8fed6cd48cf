//! Jobs that run until the test has seen what it wants to see.

use super::{World, until};
use crate::process::LOOK_EVERY;
use alloy::primitives::Address;
use berth_protocol::WorkerAddr;
use std::io::ErrorKind;

/// What a job does that is to run until [`World::letting_go`].
pub const HELD: &str = "while [ ! -e /iexec_in/go ]; do sleep 0.05; done";

impl World {
    /// Waits until a worker runs a job in another container than `but`, and gives the container's name.
    ///
    /// # Errors
    /// It does not come about.
    pub async fn runs(&self, worker: Address, but: Option<&str>) -> eyre::Result<String> {
        until("it runs a job", async || {
            let all = self.engine.jobs_of(&WorkerAddr::new(worker).to_string()).await?;
            Ok(all.into_iter().find(|id| Some(id.as_str()) != but))
        })
        .await
    }

    /// Lets go of all jobs that are [`HELD`] while it waits for an end, also of one that is run again meanwhile.
    ///
    /// # Errors
    /// The end's own, or the engine does not say what runs.
    pub async fn letting_go<T>(&self, end: impl Future<Output = eyre::Result<T>>) -> eyre::Result<T> {
        let letting_go = async {
            loop {
                for (name, worker) in &self.workers {
                    if !self.engine.jobs_of(&WorkerAddr::new(*worker).to_string()).await?.is_empty() {
                        self.let_go(name)?;
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            ended = end => ended,
            failed = letting_go => failed,
        }
    }

    /// Lets go of the jobs of the worker of this name, which has some that run: as long as they do, their folders stay.
    ///
    /// # Errors
    /// Its folder can't be read, or written to.
    pub fn let_go(&self, name: &str) -> eyre::Result<()> {
        let tasks = std::fs::read_dir(self.devnet().join("data").join(name).join("tasks"))?;
        for inputs in tasks.flatten().map(|task| task.path().join("in")) {
            match std::fs::File::create(inputs.join("go")) {
                // Of another task, which has none yet, or is just over.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                made => drop(made?),
            }
        }
        Ok(())
    }
}
