//! One run, from creating its container to judging its end.

use super::{
    ApiError, Docker, ENGINE, LABEL_ENDS, LABEL_TASK, LABEL_WORKER,
    image::Found,
    status,
    stream::{self, Heads},
};
use crate::{
    clock::now_ms,
    runtime::{Ended, Outcome, Request, RuntimeError, folder_error},
};
use bollard::{
    container::AttachContainerResults,
    models::{ContainerInspectResponse, ContainerState},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, EventsOptionsBuilder, KillContainerOptions,
        LogsOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// An image that takes longer to fetch is left to a worker that has it.
const FETCH_TAKES: Duration = Duration::from_secs(600);
/// A killed container is gone within this, or the engine is stuck.
const KILL_TAKES: Duration = Duration::from_secs(30);
/// After the container's end, what it said last is here within this.
const LAST_WORDS_TAKE: Duration = Duration::from_secs(5);
/// The exit code of a container whose process was killed.
const KILLED: i64 = 137;
/// How long the engine may take to hear that a container ran out of memory, after it has heard of its end.
const OOM_TOLD_WITHIN: Duration = Duration::from_secs(1);
/// Exit codes with which the engine says that the command can't be run.
const NOT_STARTED: [i64; 2] = [126, 127];

/// Why the worker itself ended a job.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stopped {
    Time,
    Disk(String),
    Cancelled,
}

impl Docker {
    /// Runs a job, or goes on with its run.
    pub(super) async fn run_job(&self, request: &Request, cancel: &CancellationToken) -> Result<Outcome, RuntimeError> {
        // Only an earlier run leaves this folder.
        if request.folder.output().exists() {
            if let Some(outcome) = self.resume(request, cancel).await? {
                return Ok(outcome);
            }
            self.clear_task(request.task, &request.folder).await?;
        }
        // An image that is not here may have to be fetched.
        let image = tokio::select! {
            found = tokio::time::timeout(FETCH_TAKES, self.image(&request.image)) => {
                found.unwrap_or_else(|_| Err(RuntimeError::NoImage(request.image.reference.clone())))?
            }
            () = cancel.cancelled() => {
                return Ok(outcome(request, Ended::Cancelled, Duration::ZERO, &Heads::default()));
            }
        };
        self.disks.reserve(&request.folder)?;
        let wall_ms = u64::try_from(request.wall.as_millis()).unwrap_or(u64::MAX);
        let ends_ms = now_ms().saturating_add(wall_ms);
        let (disk, created) = tokio::join!(
            self.disks.make(&request.folder, request.limits.disk_bytes),
            self.create(request, &image, ends_ms)
        );
        let (id, ()) = (created?, disk?);
        let stdin = request.stdin.is_some();
        let attach =
            AttachContainerOptionsBuilder::default().stream(true).stdin(stdin).stdout(true).stderr(true).build();
        let attached =
            self.api.attach_container(&id, Some(attach)).await.map_err(self.failed("attach to a container"))?;
        if let Err(error) = self.api.start_container(&id, None).await {
            return self.not_started(request, &id, error).await;
        }
        self.attend(request, cancel, &id, attached).await
    }

    async fn create(&self, request: &Request, image: &Found, ends_ms: u64) -> Result<String, RuntimeError> {
        let body = self.container(request, image.id.clone(), &image.volumes, ends_ms);
        let options = CreateContainerOptionsBuilder::default().name(&self.name(request.task)).build();
        match self.api.create_container(Some(options), body).await {
            Ok(created) => Ok(created.id),
            Err(error) if status(&error) == Some(404) => {
                self.forget_image(&image.id);
                Err(RuntimeError::NoImage(request.image.reference.clone()))
            }
            Err(error) => Err(self.failed("create a container")(error)),
        }
    }

    /// A command that can't be run is the job's affair; everything else is the engine's.
    async fn not_started(&self, request: &Request, id: &str, error: ApiError) -> Result<Outcome, RuntimeError> {
        let state = self.state(id).await?;
        let code = state.exit_code.filter(|code| NOT_STARTED.contains(code));
        let Some(code) = code.and_then(|code| i32::try_from(code).ok()) else {
            return Err(self.failed("start a container")(error));
        };
        let mut heads = Heads::default();
        heads.stderr.take(state.error.unwrap_or_default().as_bytes());
        heads.write(&request.folder).await?;
        Ok(outcome(request, Ended::Exited(code), Duration::ZERO, &heads))
    }

    /// Stays with a started container until its end.
    async fn attend(
        &self,
        request: &Request,
        cancel: &CancellationToken,
        id: &str,
        attached: AttachContainerResults,
    ) -> Result<Outcome, RuntimeError> {
        let started = Instant::now();
        let since_ms = now_ms();
        let mut heads = Heads::default();
        let stdin = request.stdin.as_ref().map(|name| request.folder.inputs().join(name));
        let given = request.folder.stdin_given();
        let streams = async {
            let listening = stream::listen(attached.output, &mut heads, &request.folder);
            let feeding = stream::feed(attached.input, stdin.as_deref(), &given);
            tokio::pin!(listening, feeding);
            // The streams end with the container; a job may end without reading its input.
            tokio::select! {
                listened = &mut listening => return listened,
                fed = &mut feeding => fed?,
            }
            listening.await
        };
        let (streamed, waited) = self.until_end(request.wall, request, cancel, id, streams).await;
        let wall = started.elapsed();
        let stopped = waited?;
        streamed?;
        heads.write(&request.folder).await?;
        let ended = self.judge(request, id, stopped, since_ms, false).await?;
        Ok(outcome(request, ended, wall, &heads))
    }

    /// Waits for the container's end, and for its streams' shortly after.
    async fn until_end(
        &self,
        left: Duration,
        request: &Request,
        cancel: &CancellationToken,
        id: &str,
        streams: impl Future<Output = Result<(), RuntimeError>>,
    ) -> (Result<(), RuntimeError>, Result<Option<Stopped>, RuntimeError>) {
        tokio::pin!(streams);
        let end = self.end(left, request, cancel, id);
        tokio::pin!(end);
        tokio::select! {
            streamed = &mut streams => (streamed, end.await),
            ended = &mut end => {
                let late = || RuntimeError::Lost("its output did not end with it".to_owned());
                let streamed = tokio::time::timeout(LAST_WORDS_TAKE, streams).await;
                (streamed.unwrap_or_else(|_| Err(late())), ended)
            }
        }
    }

    /// Waits for the container's end, and brings it about when there is reason to.
    async fn end(
        &self,
        left: Duration,
        request: &Request,
        cancel: &CancellationToken,
        id: &str,
    ) -> Result<Option<Stopped>, RuntimeError> {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut waiting = Box::pin(self.api.wait_container(id, Some(options)));
        let stopped = tokio::select! {
            ended = waiting.next() => return self.ended(ended).map(|()| None),
            () = tokio::time::sleep(left) => Stopped::Time,
            () = cancel.cancelled() => Stopped::Cancelled,
            over = self.disks.overrun(&request.folder, request.limits.disk_bytes) => Stopped::Disk(over),
        };
        match self.api.kill_container(id, None::<KillContainerOptions>).await {
            Ok(()) => {}
            // It ended by itself in this moment.
            Err(error) if matches!(status(&error), Some(404 | 409)) => {}
            Err(error) => return Err(self.failed("kill a container")(error)),
        }
        let stuck = |_| RuntimeError::Lost(format!("{ENGINE} did not end it within {} s", KILL_TAKES.as_secs()));
        let ended = tokio::time::timeout(KILL_TAKES, waiting.next()).await.map_err(stuck)?;
        self.ended(ended).map(|()| Some(stopped))
    }

    fn ended<T>(&self, waited: Option<Result<T, ApiError>>) -> Result<(), RuntimeError> {
        match waited {
            Some(Ok(_) | Err(ApiError::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => Err(self.failed("wait for a container")(error)),
            None => Err(RuntimeError::Lost("the engine went away".to_owned())),
        }
    }

    /// What the end of a container means.
    ///
    /// The exit code alone does not tell: 137 is out of memory, out of time, a kill from outside and `exit 137`.
    /// * An end that the worker brought about is what the worker wanted.
    /// * A kill that the worker did not send means that the run was lost, whatever the code: an engine that is shut down
    ///   ends its containers politely, and a job may then leave half an output and exit 0.
    /// * `OOMKilled` with exit 0: a child died of it, and the job lives with that.
    /// * A non-zero exit over a full disk is put down to the disk: settled as a result it would cost the requester the
    ///   whole price for half an output, and the reason would be lost.
    async fn judge(
        &self,
        request: &Request,
        id: &str,
        stopped: Option<Stopped>,
        since_ms: u64,
        resumed: bool,
    ) -> Result<Ended, RuntimeError> {
        match stopped {
            Some(Stopped::Time) => return Ok(Ended::TimedOut),
            Some(Stopped::Disk(reason)) => return Ok(Ended::OutputTooLarge(reason)),
            Some(Stopped::Cancelled) => return Ok(Ended::Cancelled),
            None => {}
        }
        let (state, seen) = self.ending(id, since_ms).await?;
        if seen.killed {
            return Err(RuntimeError::Lost("its container was killed by somebody else".to_owned()));
        }
        // An engine forgets its events when it restarts, and ends its containers.
        if resumed && !seen.died {
            return Err(RuntimeError::Lost("the engine was restarted under it".to_owned()));
        }
        let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
        let Some(code) = code else { return Err(RuntimeError::Lost("the engine knows no exit code".to_owned())) };
        if code == 0 {
            return Ok(Ended::Exited(0));
        }
        if state.oom_killed == Some(true) || seen.out_of_memory {
            return Ok(Ended::OutOfMemory);
        }
        if self.disks.is_full(&request.folder, request.limits.disk_bytes) {
            let limit = request.limits.disk_bytes;
            return Ok(Ended::OutputTooLarge(format!(
                "exit {code} with the output folder full: its limit is {limit} bytes"
            )));
        }
        Ok(Ended::Exited(code))
    }

    /// What the engine knows of an ended container. That a process died and that memory ran out reach it by two ways, at
    /// times in the wrong order: for a job that was killed, by nobody that is known, the engine's next words are awaited.
    async fn ending(&self, id: &str, since_ms: u64) -> Result<(ContainerState, Seen), RuntimeError> {
        let (state, seen) = tokio::join!(self.state(id), self.events(id, since_ms, Duration::ZERO));
        let (state, mut seen) = (state?, seen?);
        let explained = seen.killed || seen.out_of_memory || state.oom_killed == Some(true);
        if state.exit_code == Some(KILLED) && !explained {
            seen = self.events(id, since_ms, OOM_TOLD_WITHIN).await?;
        }
        Ok((state, seen))
    }

    async fn state(&self, id: &str) -> Result<ContainerState, RuntimeError> {
        match self.api.inspect_container(id, None).await {
            Ok(found) => Ok(found.state.unwrap_or_default()),
            Err(error) if status(&error) == Some(404) => {
                Err(RuntimeError::Lost("its container was removed by somebody else".to_owned()))
            }
            Err(error) => Err(self.failed("inspect a container")(error)),
        }
    }

    /// What the engine remembers of a container's end; and what it adds within `longer`, unless it explains it at once.
    async fn events(&self, id: &str, since_ms: u64, longer: Duration) -> Result<Seen, RuntimeError> {
        let filters = HashMap::from([("container", vec![id]), ("event", vec!["kill", "die", "oom"])]);
        let until_ms = now_ms() + 1 + u64::try_from(longer.as_millis()).unwrap_or(u64::MAX);
        let (since, until) = (seconds(since_ms.saturating_sub(1_000)), seconds(until_ms));
        let options = EventsOptionsBuilder::default().since(&since).until(&until).filters(&filters).build();
        let mut events = std::pin::pin!(self.api.events(Some(options)));
        let mut seen = Seen::default();
        while let Some(event) = events.try_next().await.map_err(self.failed("list its events"))? {
            match event.action.as_deref() {
                Some("kill") => seen.killed = true,
                Some("die") => seen.died = true,
                Some("oom") => seen.out_of_memory = true,
                Some(_) | None => {}
            }
            if !longer.is_zero() && (seen.killed || seen.out_of_memory) {
                break;
            }
        }
        Ok(seen)
    }

    /// Goes on with a run of an earlier life of this worker: `None` if there is nothing to go on with.
    async fn resume(&self, request: &Request, cancel: &CancellationToken) -> Result<Option<Outcome>, RuntimeError> {
        let found = match self.api.inspect_container(&self.name(request.task), None).await {
            Ok(found) => found,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(self.failed("inspect a container")(error)),
        };
        let Some(earlier) = self.earlier(request, &found) else { return Ok(None) };
        let resumed = Instant::now();
        let stopped = self.end(earlier.left, request, cancel, &earlier.id).await?;
        let logs = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let mut heads = Heads::default();
        heads.catch_up(Box::pin(self.api.logs(&earlier.id, Some(logs)))).await;
        if heads.may_differ() {
            return Ok(None);
        }
        heads.write(&request.folder).await?;
        let ended = match self.judge(request, &earlier.id, stopped, earlier.started_ms, true).await {
            Ok(ended) => ended,
            Err(RuntimeError::Lost(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let before = Duration::from_millis(now_ms().saturating_sub(earlier.started_ms));
        crate::observe::resumed(request.task);
        Ok(Some(outcome(request, ended, before.max(resumed.elapsed()), &heads)))
    }

    /// Whether a container is this task's, was started, and was told all that it is to know.
    fn earlier(&self, request: &Request, found: &ContainerInspectResponse) -> Option<Earlier> {
        let labels = found.config.as_ref()?.labels.as_ref()?;
        let state = found.state.as_ref()?;
        let ours = labels.get(LABEL_WORKER) == Some(&self.worker.to_string())
            && labels.get(LABEL_TASK) == Some(&request.task.to_string());
        // A container that was never started has the year 1 here.
        let started = state.started_at.as_ref().is_some_and(|at| !at.starts_with("0001-"));
        let told = request.stdin.is_none() || request.folder.stdin_given().exists();
        let ends_ms: u64 = labels.get(LABEL_ENDS)?.parse().ok()?;
        let wall_ms = u64::try_from(request.wall.as_millis()).unwrap_or(u64::MAX);
        (ours && started && told).then(|| Earlier {
            id: found.id.clone().unwrap_or_default(),
            left: Duration::from_millis(ends_ms.saturating_sub(now_ms())),
            started_ms: ends_ms.saturating_sub(wall_ms),
        })
    }

    /// Removes a task's container and disk.
    pub(super) async fn clear_task(
        &self,
        task: berth_protocol::TaskId,
        folder: &crate::runtime::TaskFolder,
    ) -> Result<(), RuntimeError> {
        self.remove(&self.name(task)).await?;
        super::disk::remove(folder).await?;
        let given = folder.stdin_given();
        match std::fs::remove_file(&given) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(folder_error("removing", &given)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// What the engine remembers of a container.
#[derive(Debug, Default)]
struct Seen {
    killed: bool,
    died: bool,
    out_of_memory: bool,
}

/// A run of an earlier life of this worker.
struct Earlier {
    id: String,
    left: Duration,
    started_ms: u64,
}

/// A time as the engine's event filter takes it.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

fn outcome(request: &Request, ended: Ended, wall: Duration, heads: &Heads) -> Outcome {
    let (stdout_bytes, stderr_bytes) = (heads.stdout.bytes, heads.stderr.bytes);
    Outcome { ended, wall, output: request.folder.output(), stdout_bytes, stderr_bytes }
}
