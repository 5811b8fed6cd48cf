//! One run, from making a machine to judging its end.

use super::{
    VirtualBox,
    error::VirtualBoxError,
    manage::{Manager, value},
    settings,
};
use crate::runtime::{
    Ended, Outcome, Request, RuntimeError,
    guest::{self, ORPHAN_LIVES, Streams, overrun, part},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    fs, io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

/// A killed machine is gone within this, or the system is stuck.
const KILL_TAKES: Duration = Duration::from_secs(30);
/// How much of VirtualBox's complaints, and of a machine's log, is kept.
const COMPLAINT_BYTES: usize = 4 << 10;
/// How often a machine's state is looked at: VirtualBox can stop one without ending it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The states from which a machine does not go on by itself.
const STOPPED: [&str; 4] = ["paused", "gurumeditation", "stuck", "aborted"];

/// Why the worker itself ended a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Time,
    Disk(String),
    Cancelled,
    /// VirtualBox stopped it, in this state.
    Stopped(String),
}

impl VirtualBox {
    /// Runs a job. A machine of an earlier life of this worker is ended: what it said meanwhile is lost.
    pub(super) async fn run_job(&self, request: &Request, cancel: &CancellationToken) -> Result<Outcome, RuntimeError> {
        self.clear_task(request.task, &request.folder).await?;
        let manager = self.manager(request.task, &request.folder);
        fs::create_dir_all(manager.home()).map_err(part(manager.home()))?;
        let ran = async {
            guest::make(request).await?;
            {
                let _alone = self.making.lock().await;
                let system = self.system(&request.image).await?;
                self.create(request, &system, &manager).await?;
                self.settled(&system)?;
            }
            self.run_machine(request, &manager, cancel).await
        };
        let ran = ran.await;
        // The service would end by itself, some seconds after its last command.
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
        let mut child = self.command(request, manager).spawn().map_err(absent)?;
        let stderr = child.stderr.take();
        let attended = self.attend(&mut child, request, manager, cancel, &mut streams);
        let (attended, complaints) = tokio::join!(attended, last_words(stderr));
        let (ending, status) = attended?;
        streams.drain().map_err(part(&output))?;
        let ended = match ending {
            Some(Ending::Time) => Ended::TimedOut,
            Some(Ending::Cancelled) => Ended::Cancelled,
            Some(Ending::Disk(reason)) => Ended::OutputTooLarge(reason),
            Some(Ending::Stopped(state)) => {
                return Err(VirtualBoxError::Stopped { state, said: self.log(request) }.into());
            }
            None => {
                gone_well(status, &complaints)?;
                guest::judge(request, &mut streams).await?
            }
        };
        let (stdout_bytes, stderr_bytes) = streams.bytes();
        Ok(Outcome { ended, wall: begun.elapsed(), output, stdout_bytes, stderr_bytes })
    }

    /// The process that is the machine. If the worker is gone for good, it ends some time after the job's.
    fn command(&self, request: &Request, manager: &Manager<'_>) -> Command {
        let lives = (request.wall + ORPHAN_LIVES).as_secs().to_string();
        let mut command = Command::new("timeout");
        manager.private(&mut command).kill_on_drop(false);
        command.args(["-s", "KILL", &lives]).arg(&self.headless);
        command.args(["--startvm", &self.label(request.task), "--vrde", "off"]);
        command.current_dir(request.folder.machine()).process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Stays with a machine until its end, and brings it about when there is reason to.
    async fn attend(
        &self,
        child: &mut Child,
        request: &Request,
        manager: &Manager<'_>,
        cancel: &CancellationToken,
        streams: &mut Streams,
    ) -> Result<(Option<Ending>, ExitStatus), RuntimeError> {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let label = self.label(request.task);
        let layers = settings::layers(request, &label);
        let ending = tokio::select! {
            status = child.wait() => return Ok((None, status.map_err(failed)?)),
            () = tokio::time::sleep(request.wall) => Ok(Ending::Time),
            () = cancel.cancelled() => Ok(Ending::Cancelled),
            over = overrun(&layers, request.limits.disk_bytes) => Ok(Ending::Disk(over)),
            state = stopped(manager, &label) => Ok(Ending::Stopped(state)),
            listened = streams.listen() => Err(listened),
        };
        if let Some(group) = group {
            // An error means that it has ended by itself in this moment.
            let _ended = killpg(group, Signal::SIGKILL);
        }
        let stuck = |_| RuntimeError::Lost(format!("the system did not end it within {} s", KILL_TAKES.as_secs()));
        let status = tokio::time::timeout(KILL_TAKES, child.wait()).await.map_err(stuck)?.map_err(failed)?;
        match ending {
            Ok(ending) => Ok((Some(ending), status)),
            Err(listened) => {
                Err(part(&request.folder.stdout())(listened.err().unwrap_or_else(|| io::Error::other("closed"))))
            }
        }
    }

    /// The end of what VirtualBox itself says of a machine.
    fn log(&self, request: &Request) -> String {
        let logs = settings::layers(request, &self.label(request.task)).with_file_name("Logs");
        let log = fs::read(logs.join("VBox.log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(COMPLAINT_BYTES)..]).trim().to_owned()
    }
}

fn failed(error: io::Error) -> RuntimeError {
    RuntimeError::Lost(format!("waiting for a machine failed: {error}"))
}

/// Ends when VirtualBox has stopped a machine that should run, with its state; else never.
///
/// # Cancel safety
/// Cancel-safe.
async fn stopped(manager: &Manager<'_>, label: &str) -> String {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // What can't be said now may be in a moment; the machine's process tells of its end.
        let Ok(said) = manager.call("tell a machine's state", ["showvminfo", label, "--machinereadable"]).await else {
            continue;
        };
        if let Some(state) = value(&said, "VMState").filter(|state| STOPPED.contains(state)) {
            return state.to_owned();
        }
    }
}

/// The end of what VirtualBox complains of.
async fn last_words(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut chunk) = (Vec::new(), vec![0; COMPLAINT_BYTES]);
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        kept.drain(..kept.len().saturating_sub(COMPLAINT_BYTES));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// Whether a machine that the worker did not end turned itself off: killed, it was lost; failing, it is VirtualBox's
/// affair.
fn gone_well(status: ExitStatus, complaints: &str) -> Result<(), RuntimeError> {
    if status.signal().is_some() {
        return Err(RuntimeError::Lost("VirtualBox was killed by somebody else".to_owned()));
    }
    if status.success() { Ok(()) } else { Err(VirtualBoxError::of_start(complaints).into()) }
}
