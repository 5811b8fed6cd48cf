//! Staying with a machine until its end, and bringing that about when there is reason to.

use super::{judge, part, stream::Streams};
use crate::runtime::{Ended, Request, RuntimeError};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{io, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
};
use tokio_util::sync::CancellationToken;

/// A killed machine is gone within this, or the system is stuck.
const KILL_TAKES: Duration = Duration::from_secs(30);
/// So long, at the most, a machine whose time is over may still take to hand over what its job has written:
/// docs/guest-contract.md. Shorter than [`super::ORPHAN_LIVES`].
const HANDING_OVER_TAKES: Duration = Duration::from_secs(30);
/// How much of a hypervisor's complaints is kept.
pub(crate) const COMPLAINT_BYTES: usize = 4 << 10;

/// What a hypervisor does with a machine that runs, and what it says of it.
pub(crate) trait Hypervisor {
    /// As people call it.
    const NAME: &'static str;

    /// Presses the machine's power button.
    async fn press(&mut self);

    /// Ends when the hypervisor has stopped the machine without ending it, and says so; else never.
    ///
    /// # Cancel safety
    /// Has to be cancel-safe.
    async fn stopped(&self) -> RuntimeError;

    /// Why the machine's process failed, which nobody has killed.
    fn failed(&self, status: ExitStatus, complaints: &str) -> RuntimeError;
}

/// A job in its machine.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) request: &'a Request,
    pub(crate) cancel: &'a CancellationToken,
    /// What is written to the machine's own disk: a file, or a folder's files.
    pub(crate) layer: &'a Path,
}

/// Why the worker itself ends a machine.
#[derive(Debug)]
enum Ending {
    Time,
    Disk(String),
    Cancelled,
    Broken(RuntimeError),
}

/// What came first.
#[derive(Debug)]
enum Came {
    Gone(ExitStatus),
    Over(Ending),
}

/// Stays with a machine's process, the leader of its group, to the end, and says what that means. The output folder then
/// holds what the machine has handed over.
pub(crate) async fn attend<H: Hypervisor>(
    child: &mut Child,
    hypervisor: &mut H,
    job: &Job<'_>,
    streams: &mut Streams,
) -> Result<Ended, RuntimeError> {
    let stderr = child.stderr.take();
    let (came, complaints) = tokio::join!(to_its_end(child, hypervisor, job, streams), last_words(stderr));
    let came = came?;
    streams.drain().map_err(part(&job.request.folder.stdout()))?;
    match came {
        Came::Over(Ending::Time) => {
            judge::keep(job.request).await?;
            Ok(Ended::TimedOut)
        }
        Came::Over(Ending::Disk(reason)) => Ok(Ended::OutputTooLarge(reason)),
        Came::Over(Ending::Cancelled) => Ok(Ended::Cancelled),
        Came::Over(Ending::Broken(error)) => Err(error),
        Came::Gone(status) if status.signal().is_some() => {
            Err(RuntimeError::Lost(format!("{} was killed by somebody else", H::NAME)))
        }
        Came::Gone(status) if !status.success() => Err(hypervisor.failed(status, &complaints)),
        Came::Gone(_) => judge::judge(job.request, streams).await,
    }
}

async fn to_its_end<H: Hypervisor>(
    child: &mut Child,
    hypervisor: &mut H,
    job: &Job<'_>,
    streams: &mut Streams,
) -> Result<Came, RuntimeError> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut came = first(child, hypervisor, job, streams, job.request.wall).await?;
    if let Came::Over(Ending::Time) = came {
        let rest = HANDING_OVER_TAKES.min(job.request.wall / 2);
        // A hypervisor that does not even take this has no time left either.
        let _pressed = tokio::time::timeout(rest, hypervisor.press()).await;
        came = first(child, hypervisor, job, streams, rest).await?;
        if let Came::Gone(_) = came {
            return Ok(Came::Over(Ending::Time));
        }
    }
    if let Came::Over(_) = came {
        if let Some(group) = group {
            // An error means that it has ended by itself in this moment.
            let _ended = killpg(group, Signal::SIGKILL);
        }
        let stuck = |_| RuntimeError::Lost(format!("the system did not end it within {} s", KILL_TAKES.as_secs()));
        tokio::time::timeout(KILL_TAKES, child.wait()).await.map_err(stuck)?.map_err(failed)?;
    }
    Ok(came)
}

/// Waits for a machine's end, or for a reason to bring it about.
async fn first<H: Hypervisor>(
    child: &mut Child,
    hypervisor: &H,
    job: &Job<'_>,
    streams: &mut Streams,
    within: Duration,
) -> Result<Came, RuntimeError> {
    let ending = tokio::select! {
        status = child.wait() => return status.map(Came::Gone).map_err(failed),
        () = tokio::time::sleep(within) => Ending::Time,
        () = job.cancel.cancelled() => Ending::Cancelled,
        over = judge::overrun(job.layer, job.request.limits.disk_bytes) => Ending::Disk(over),
        broken = hypervisor.stopped() => Ending::Broken(broken),
        listened = streams.listen() => {
            let error = listened.err().unwrap_or_else(|| io::Error::other("closed"));
            Ending::Broken(part(&job.request.folder.stdout())(error))
        }
    };
    Ok(Came::Over(ending))
}

fn failed(error: io::Error) -> RuntimeError {
    RuntimeError::Lost(format!("waiting for a machine failed: {error}"))
}

/// The end of what a hypervisor complains of.
async fn last_words(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut chunk) = (Vec::new(), vec![0; COMPLAINT_BYTES]);
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        kept.drain(..kept.len().saturating_sub(COMPLAINT_BYTES));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}
