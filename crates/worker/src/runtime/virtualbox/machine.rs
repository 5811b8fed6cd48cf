//! One run, from making a machine to its end.

use super::{
    ENGINE, VirtualBox,
    error::VirtualBoxError,
    manage::{Manager, value},
    settings,
};
use crate::runtime::{
    Outcome, Request, RuntimeError,
    ext4::program,
    guest::{self, COMPLAINT_BYTES, Hypervisor, ORPHAN_LIVES, Streams, cgroup, part},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// How often a machine's state is looked at: VirtualBox can stop one without ending it.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The states from which a machine does not go on by itself.
const STOPPED: [&str; 4] = ["paused", "gurumeditation", "stuck", "aborted"];

/// A machine that runs.
struct Running<'a> {
    manager: &'a Manager<'a>,
    label: &'a str,
    /// What VirtualBox itself says of it.
    log: PathBuf,
}

impl Hypervisor for Running<'_> {
    const NAME: &'static str = ENGINE;

    async fn press(&mut self) {
        // What can't be pressed has ended by itself in this moment, or is ended in another.
        let _pressed = self.manager.call("press a power button", ["controlvm", self.label, "acpipowerbutton"]).await;
    }

    async fn stopped(&self) -> RuntimeError {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let asked = self.manager.call("tell a machine's state", ["showvminfo", self.label, "--machinereadable"]);
            // What can't be said now may be in a moment; the machine's process tells of its end.
            let Ok(said) = asked.await else { continue };
            if let Some(state) = value(&said, "VMState").filter(|state| STOPPED.contains(state)) {
                return VirtualBoxError::Stopped { state: state.to_owned(), said: end_of(&self.log) }.into();
            }
        }
    }

    fn failed(&self, _status: ExitStatus, complaints: &str) -> RuntimeError {
        VirtualBoxError::of_start(complaints).into()
    }
}

impl VirtualBox {
    /// Runs a job. A machine of an earlier life of this worker is ended: what it said meanwhile is lost.
    pub(super) async fn run_job(&self, request: &Request, cancel: &CancellationToken) -> Result<Outcome, RuntimeError> {
        self.clear_task(request.task, &request.folder).await?;
        let manager = self.manager(request.task, &request.folder);
        let ran = async {
            let _service = manager.serve(request.wall).await?;
            guest::make(request).await?;
            {
                let _alone = self.making.lock().await;
                let system = self.system(request).await?;
                self.create(request, &system, &manager).await?;
                self.settled(&system)?;
            }
            self.run_machine(request, &manager, cancel).await
        };
        let ran = ran.await;
        let ended = self.end_service(request.task).await;
        ran.and_then(|outcome| ended.map(|()| outcome))
    }

    /// Starts a machine that was made, and stays with it.
    pub(super) async fn run_machine(
        &self,
        request: &Request,
        manager: &Manager<'_>,
        cancel: &CancellationToken,
    ) -> Result<Outcome, RuntimeError> {
        let (output, begun) = (request.folder.output(), Instant::now());
        fs::create_dir_all(&output).map_err(part(&output))?;
        let mut streams = Streams::open(&request.folder)?;
        let absent = |source| VirtualBoxError::Absent { program: self.headless.clone(), source };
        let mut child = self.command(request, manager)?.spawn().map_err(absent)?;
        let label = self.label(request.task);
        let layer = settings::layers(request, &label);
        let mut running = Running { manager, label: &label, log: layer.with_file_name("Logs").join("VBox.log") };
        let job = guest::Job { request, cancel, layer: &layer };
        let ended = guest::attend(&mut child, &mut running, &job, &mut streams).await?;
        let (stdout_bytes, stderr_bytes) = streams.bytes();
        Ok(Outcome { ended, wall: begun.elapsed(), output, stdout_bytes, stderr_bytes })
    }

    /// The process that is the machine. If the worker is gone for good, it ends some time after the job's.
    fn command(&self, request: &Request, manager: &Manager<'_>) -> Result<Command, RuntimeError> {
        let label = self.label(request.task);
        let mut command = cgroup::command(self.has_groups.then_some((label.as_str(), request.limits.cpu_millis)))?;
        manager.private(&mut command).kill_on_drop(false);
        if self.has_networks && !(request.limits.network && self.share.network) {
            command.args(OWN_NETWORK);
        }
        let lives = (request.wall + ORPHAN_LIVES).as_secs().to_string();
        command.args(["timeout", "-s", "KILL", &lives]).arg(&self.headless);
        command.args(["--startvm", &label, "--vrde", "off"]);
        command.current_dir(request.folder.machine()).process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// Runs what follows it without a network.
const OWN_NETWORK: [&str; 2] = ["unshare", "--net"];

/// Whether programs may be run so here.
pub(super) async fn has_networks() -> bool {
    let [name, net] = OWN_NETWORK;
    program(name, Command::new(name).args([net, "true"])).await.is_ok()
}

/// The end of a log.
fn end_of(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(COMPLAINT_BYTES)..]).trim().to_owned()
}
