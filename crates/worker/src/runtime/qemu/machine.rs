//! One run, from making a machine's disks to judging its end.

use super::{ENGINE, PROGRAM, Qemu, command::LAYER_FILE, image::Machine};
use crate::{
    config::Accel,
    runtime::{
        Ended, Outcome, Request, RuntimeError,
        ext4::program,
        guest::{self, Streams, overrun, part},
    },
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    fs, io,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

/// A killed machine is gone within this, or the system is stuck.
const KILL_TAKES: Duration = Duration::from_secs(30);
/// How much of QEMU's complaints is kept.
const COMPLAINT_BYTES: usize = 4 << 10;
/// Why the worker itself ended a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stopped {
    Time,
    Disk(String),
    Cancelled,
}

impl Qemu {
    /// Runs a job. A machine of an earlier life of this worker is ended: what it said meanwhile is lost.
    pub(super) async fn run_job(&self, request: &Request, cancel: &CancellationToken) -> Result<Outcome, RuntimeError> {
        self.clear_task(request.task, &request.folder).await?;
        let machine = self.machine(&request.image, request.file.as_ref()).await?;
        self.run_machine(request, &machine, self.accel, cancel).await
    }

    pub(super) async fn run_machine(
        &self,
        request: &Request,
        machine: &Machine,
        accel: Accel,
        cancel: &CancellationToken,
    ) -> Result<Outcome, RuntimeError> {
        let (output, begun) = (request.folder.output(), Instant::now());
        // Linked files of the inputs must lie in one file system with them.
        guest::make(request).await?;
        layer(request, machine).await?;
        fs::create_dir_all(&output).map_err(part(&output))?;
        let mut streams = Streams::open(&request.folder)?;
        let mut child = self.command(request, machine, accel)?.spawn().map_err(failed("start a machine"))?;
        let stderr = child.stderr.take();
        let attended = attend(&mut child, request, cancel, &mut streams);
        let (attended, complaints) = tokio::join!(attended, last_words(stderr));
        let (stopped, status) = attended?;
        streams.drain().map_err(part(&output))?;
        let ended = match stopped {
            Some(Stopped::Time) => Ended::TimedOut,
            Some(Stopped::Cancelled) => Ended::Cancelled,
            Some(Stopped::Disk(reason)) => Ended::OutputTooLarge(reason),
            None => judge(request, status, &complaints, &mut streams).await?,
        };
        let (stdout_bytes, stderr_bytes) = streams.bytes();
        Ok(Outcome { ended, wall: begun.elapsed(), output, stdout_bytes, stderr_bytes })
    }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> RuntimeError {
    move |source| RuntimeError::Engine { engine: ENGINE, action, source: Box::new(source) }
}

/// Stays with a machine until its end, and brings it about when there is reason to.
async fn attend(
    child: &mut Child,
    request: &Request,
    cancel: &CancellationToken,
    streams: &mut Streams,
) -> Result<(Option<Stopped>, ExitStatus), RuntimeError> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let layer = request.folder.machine().join(LAYER_FILE);
    let stopped = tokio::select! {
        status = child.wait() => return Ok((None, status.map_err(failed("wait for a machine"))?)),
        () = tokio::time::sleep(request.wall) => Ok(Stopped::Time),
        () = cancel.cancelled() => Ok(Stopped::Cancelled),
        over = overrun(&layer, request.limits.disk_bytes) => Ok(Stopped::Disk(over)),
        listened = streams.listen() => Err(listened),
    };
    if let Some(group) = group {
        // An error means that it has ended by itself in this moment.
        let _ended = killpg(group, Signal::SIGKILL);
    }
    let stuck = |_| RuntimeError::Lost(format!("the system did not end it within {} s", KILL_TAKES.as_secs()));
    let status = tokio::time::timeout(KILL_TAKES, child.wait()).await.map_err(stuck)?;
    let status = status.map_err(failed("wait for a machine"))?;
    match stopped {
        Ok(stopped) => Ok((Some(stopped), status)),
        Err(listened) => {
            Err(part(&request.folder.stdout())(listened.err().unwrap_or_else(|| io::Error::other("closed"))))
        }
    }
}

/// The end of what QEMU itself complains of.
async fn last_words(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut chunk) = (Vec::new(), vec![0; COMPLAINT_BYTES]);
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        kept.drain(..kept.len().saturating_sub(COMPLAINT_BYTES));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// What the end of a machine means that the worker did not bring about.
///
/// * Killed: somebody else did it, and the run was lost.
/// * QEMU fails: the engine's affair.
/// * The machine turned itself off: as [`guest::judge`] says.
async fn judge(
    request: &Request,
    status: ExitStatus,
    complaints: &str,
    streams: &mut Streams,
) -> Result<Ended, RuntimeError> {
    if status.signal().is_some() {
        return Err(RuntimeError::Lost(format!("{ENGINE} was killed by somebody else")));
    }
    if !status.success() {
        return Err(RuntimeError::Program { program: PROGRAM, said: format!("{status}: {complaints}") });
    }
    guest::judge(request, streams).await
}

/// Makes the layer over a system disk.
async fn layer(request: &Request, machine: &Machine) -> Result<(), RuntimeError> {
    let Some(disk) = &machine.disk else { return Ok(()) };
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2"]).arg(request.folder.machine().join(LAYER_FILE));
    program("qemu-img", create.arg(disk.bytes.to_string())).await
}
