//! What a job prints, while it prints it. It is the word of scheduler and worker: what counts is in the result, which is
//! compared with the chain.

use super::result::Source;
use crate::{hint::Failure, render};
use alloy::primitives::B256;
use berth_protocol::TaskId;
use berth_wire::{
    client::{ClientError, SchedulerClient},
    worker::Stream,
};
use core::time::Duration;
use tokio::time::sleep;

/// How long the scheduler holds an answer back while nothing is printed.
const LONG_POLL: Duration = Duration::from_secs(20);
/// The scheduler hears of a deal a moment after us; then the next question comes after this.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(50);
/// How long to wait before a scheduler that does not answer is asked again.
const SILENT_PAUSE: Duration = Duration::from_millis(500);

/// Why nothing is shown of a job that has a recipient.
pub(crate) const SEALED: &str =
    "what this job prints is encrypted with its result, and comes with it: until then only its stages are shown";

/// How much of each stream was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shown {
    pub(crate) stdout: usize,
    pub(crate) stderr: usize,
}

/// Shows both streams until the task runs no longer. `client` is signed in.
pub(crate) async fn show(client: &SchedulerClient, task: B256) -> Result<Shown, Failure> {
    let (stdout, stderr) =
        tokio::try_join!(follow(client, task, Stream::Stdout), follow(client, task, Stream::Stderr))?;
    Ok(Shown { stdout, stderr })
}

async fn follow(client: &SchedulerClient, task: B256, stream: Stream) -> Result<usize, Failure> {
    let mut shown = 0_usize;
    loop {
        match client.live(task, (stream, shown as u64), LONG_POLL).await {
            Ok(part) => {
                match stream {
                    Stream::Stdout => render::out(&part.bytes),
                    Stream::Stderr => render::err_bytes(&part.bytes),
                }
                shown += part.bytes.len();
                if part.is_over {
                    return Ok(shown);
                }
            }
            Err(ClientError::Refused(problem)) if problem.status == 404 => sleep(UNKNOWN_PAUSE).await,
            Err(ClientError::Refused(problem)) if problem.code == "sealed" => {
                // Said once for both.
                if stream == Stream::Stderr {
                    render::err(SEALED);
                }
                return Ok(0);
            }
            Err(error) if error.is_transient() => sleep(SILENT_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Shows the last words of a task that has ended: what was not told while it ran. They are logs: that they can't be had is
/// no failure. `with_stdout`: unless its standard output is the result, which is shown as such.
pub(crate) async fn show_rest(client: &SchedulerClient, task: TaskId, shown: Shown, with_stdout: bool) {
    let Ok(view) = client.task(task.get()).await else { return };
    let source = Source::Store(client);
    if with_stdout && let Ok(said) = source.read(task, source.stdout(Some(&view))).await {
        render::out(said.get(shown.stdout..).unwrap_or_default());
    }
    if let Ok(said) = source.read(task, source.stderr(Some(&view))).await {
        render::err_bytes(said.get(shown.stderr..).unwrap_or_default());
    }
}

/// That a job may be followed: before anything is paid.
pub(crate) fn check(trust: u32, tasks: u32, json: bool) -> Result<(), Failure> {
    let refused = |message: &str, hint: &str| Err(Failure::usage("follow", message).hint(hint));
    if trust > 1 {
        return refused(
            "--follow: what a replicated task prints would give its answer away before it is opened",
            "leave --follow out: its output comes with the result; or give --trust 1",
        );
    }
    if tasks != 1 {
        return refused(
            "--follow: there are several tasks, and their lines would mix",
            "leave --follow out, and follow one: `berth task logs DEAL:INDEX --follow`",
        );
    }
    if json {
        return refused("--follow prints what comes; --json prints one document", "give one of the two");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_followed_is_refused_with_what_to_do() {
        assert!(check(0, 1, false).is_ok() && check(1, 1, false).is_ok());
        for (trust, tasks, json) in [(2, 1, false), (1, 2, false), (1, 1, true)] {
            let failure = check(trust, tasks, json).expect_err("refused");
            assert!(!failure.hints.is_empty(), "{failure}");
        }
    }
}
