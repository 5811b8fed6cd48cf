//! A Docker engine of a test's own, to be stopped and started, and filled with what no other test sees.

use crate::{engine::Engine, folder::Folder};
use eyre::{Context as _, ContextCompat as _, eyre};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

/// It starts and stops within seconds, on a busy machine within this.
const PATIENCE: Duration = Duration::from_secs(90);

/// The engine.
#[derive(Debug)]
pub struct Dockerd {
    folder: Folder,
    process: Option<Child>,
    /// Reads what it says, so that it never waits for a reader.
    _reads: JoinSet<()>,
}

impl Dockerd {
    /// Starts one. It serves one socket, and touches no network.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start() -> eyre::Result<Self> {
        let mut own = Self { folder: Folder::new()?, process: None, _reads: JoinSet::new() };
        own.again().await?;
        Ok(own)
    }

    /// Its address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// A client of it, with the tests' image there.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn engine(&self) -> eyre::Result<Engine> {
        Engine::at(self.host()).await
    }

    /// Starts it again, with all that it had.
    ///
    /// # Errors
    /// It does not start.
    pub async fn again(&mut self) -> eyre::Result<()> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut process = Command::new("dockerd")
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false"])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["--host", &self.host()])
            .stdin(Stdio::null())
            .stdout(File::create(at("out"))?)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .wrap_err("dockerd is not installed: scripts/setup.sh")?;
        let mut lines = BufReader::new(process.stderr.take().wrap_err("piped")?).lines();
        self.process = Some(process);
        let listens = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("API listen on") {
                    return Ok(());
                }
            }
            Err(eyre!("dockerd did not start"))
        };
        tokio::time::timeout(PATIENCE, listens).await.wrap_err("dockerd does not listen")??;
        self._reads.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    /// Shuts it down as an operator would, which ends its containers.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(&mut self) -> eyre::Result<()> {
        let mut process = self.process.take().wrap_err("it runs")?;
        let pid = i32::try_from(process.id().wrap_err("it runs")?)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        tokio::time::timeout(PATIENCE, process.wait()).await.wrap_err("dockerd does not end")??;
        Ok(())
    }
}

impl Drop for Dockerd {
    /// For tests that fail: asked to end, it takes its containers and mounts along.
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid
            && kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok()
        {
            // Nobody is left to wait for it but this.
            let begun = Instant::now();
            while matches!(process.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
        }
    }
}
