//! One run, from making a machine's disks to judging its end.

use super::{
    ENGINE, PROGRAM, Qemu,
    command::{LAYER_FILE, OUTPUT_FILE},
    disks,
    image::{Machine, part},
    output::{self, Said},
    stream::Streams,
};
use crate::{
    config::Accel,
    runtime::{Ended, Outcome, Request, RuntimeError},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    fs, io,
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
};
use tokio_util::sync::CancellationToken;

/// A killed machine is gone within this, or the system is stuck.
const KILL_TAKES: Duration = Duration::from_secs(30);
/// How often the layer over the system disk is measured: what a machine can write in that time is what it can be over.
const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// A layer has this much beyond the job's disk: maps, and what a system writes while it starts.
const LAYER_BEYOND_BYTES: u64 = 64 << 20;
/// The unit in which the system counts what a file takes.
const BLOCK_BYTES: u64 = 512;
/// How much of QEMU's complaints is kept.
const COMPLAINT_BYTES: usize = 4 << 10;
/// The exit code of a machine that ended without any.
const NO_RESULT: i32 = 125;
/// How Linux says that it has no memory for anything.
const OUT_OF_MEMORY: [&str; 2] = ["deadlocked on memory", "Out of memory"];

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
        disks::make(request, machine).await?;
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

/// Ends when a machine has written too much to its system disk, and says by how much; else never.
///
/// # Cancel safety
/// Cancel-safe.
async fn overrun(layer: &Path, bytes: u64) -> String {
    let limit = bytes.saturating_add(LAYER_BEYOND_BYTES);
    loop {
        tokio::time::sleep(MEASURE_EVERY).await;
        let used = fs::metadata(layer).map_or(0, |found| found.blocks() * BLOCK_BYTES);
        if used > limit {
            return format!("the machine wrote {used} bytes to its system disk; the limit is {limit}");
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
/// * The machine turned itself off with a result: that is believed, since a machine can only speak for itself.
/// * It turned itself off without: a result, too, since the same image does the same everywhere; what it last said on its
///   console goes to standard error. A Linux that ran out of memory for everything ends so.
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
    let (file, into) = (request.folder.machine().join(OUTPUT_FILE), request.folder.output());
    let limit = request.limits.disk_bytes;
    match output::said(&file).map_err(part(&file))? {
        Some(Said::OutOfMemory) => Ok(Ended::OutOfMemory),
        Some(Said::Full(code)) => {
            Ok(Ended::OutputTooLarge(format!("exit {code} with the output folder full: its limit is {limit} bytes")))
        }
        Some(Said::Exited(code)) => {
            let unpacking = tokio::task::spawn_blocking(move || output::unpack(&file, &into, limit)).await;
            let unpacked = unpacking.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
            Ok(unpacked.map_or(Ended::Exited(code), Ended::OutputTooLarge))
        }
        None => {
            let words = streams.last_words();
            if OUT_OF_MEMORY.iter().any(|said| words.contains(said)) {
                return Ok(Ended::OutOfMemory);
            }
            let stderr = request.folder.stderr();
            let text = format!("the machine turned itself off without a result; on its console it said:\n{words}\n");
            streams.complain(&text).map_err(part(&stderr))?;
            Ok(Ended::Exited(NO_RESULT))
        }
    }
}
