//! One task's way from assignment to a result in the pool's store: check, fetch, run, digest, upload. Each step starts
//! where the journal says that the last one ended, so that it may be repeated after any crash. A replicated task stops
//! in the middle, with a hidden answer, and goes on once that is opened.

use crate::{
    assignment::{self, Accepted, DeclineCode, Objection, chain},
    cache::Cache,
    config::MachineFile,
    digest::{self, Collected, DigestError, Wanted},
    fetch::{self, FetchError},
    journal::{Computed, Journal, JournalError, Phase, Row},
    live, local, observe,
    runtime::{Data, Ended, Outcome, Request, Runtime, RuntimeError, TaskFolder},
    seal::Form,
    session::Link,
    share::Stock,
    upload::upload_all,
};
use berth_chain::past::Past;
use berth_protocol::{Failure, TaskId};
use berth_wire::{client::ClientError, manifest::Content, worker::Stage};
use nix::sys::statvfs::statvfs;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// A run that the engine lost so often is given back: another machine may do better.
const ATTEMPTS: u32 = 3;
/// An engine that does not answer is waited for this long: a restart takes seconds.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);
/// The time in which most results go up.
const HEAD_START: Duration = Duration::from_millis(250);
/// Pauses between tries: the first, and the longest, to which they double.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Everything that running tasks needs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) journal: Journal,
    pub(crate) stock: watch::Receiver<Arc<Stock>>,
    pub(crate) cache: Cache,
    /// The worker's own node.
    pub(crate) past: Past,
    pub(crate) tasks: PathBuf,
    pub(crate) link: Link,
    /// To wake the watch: the chain may owe something.
    pub(crate) look: Arc<Notify>,
    /// Cancelled before all tasks are, when the worker itself ends.
    pub(crate) stopping: CancellationToken,
}

/// What a step came to.
pub(crate) enum Step<T> {
    /// Go on with this.
    On(T),
    /// There is a result: a failure.
    Failed(Failure, String),
    /// This worker gives it back.
    Declined(DeclineCode, String),
    /// It is over: cancelled here or ended elsewhere.
    Over,
}

impl Bench {
    /// What is shared now.
    pub(crate) fn stock(&self) -> Arc<Stock> {
        self.stock.borrow().clone()
    }

    /// Takes a task as far as it goes. Returns once its result is in the store, or the task is ended.
    pub(crate) async fn advance(&self, row: &Row, cancel: &CancellationToken) -> Result<(), JournalError> {
        let task = row.task;
        let folder = TaskFolder::new(&self.tasks, task);
        let computed = match &row.computed {
            Some(computed) if row.phase == Phase::Computed => computed.clone(),
            Some(_) | None => match self.compute(row, &folder, cancel).await? {
                Some(computed) => computed,
                None => return self.clear(task, &folder).await,
            },
        };
        if row.assign.terms.trust > 1 {
            self.release(task, &folder).await;
            return self.commit(task, &computed, &folder).await;
        }
        let uploading = self.upload(row, &computed, &folder, cancel);
        tokio::pin!(uploading);
        // Clearing up takes the engine a while: a result that goes up at once is not kept waiting for it, and a result
        // that can't go up keeps nothing of the engine's.
        let uploaded = match tokio::time::timeout(HEAD_START, &mut uploading).await {
            Ok(uploaded) => uploaded,
            Err(_) => tokio::join!(uploading, self.release(task, &folder)).0,
        };
        match uploaded? {
            Step::On(()) => {
                if self.journal.enter(task, Phase::Uploaded).await? {
                    self.link.wake();
                }
            }
            Step::Declined(code, detail) => self.decline(task, code, &detail).await?,
            Step::Failed(..) | Step::Over => {}
        }
        self.clear(task, &folder).await
    }

    /// Hides a result: nothing else of it leaves before its round is opened.
    async fn commit(&self, task: TaskId, computed: &Computed, folder: &TaskFolder) -> Result<(), JournalError> {
        if self.journal.commit(task, computed.digest).await? {
            observe::committed(task);
            self.look.notify_one();
            self.link.wake();
        } else if self.journal.is_over(task).await? {
            self.clear(task, folder).await?;
        }
        Ok(())
    }

    /// Puts an opened result into the pool's store. Returns once it is there, or the task is ended.
    pub(crate) async fn deliver(&self, row: &Row, cancel: &CancellationToken) -> Result<(), JournalError> {
        let (task, folder) = (row.task, TaskFolder::new(&self.tasks, row.task));
        // An answer that the pool asked for is a failure, and has nothing to show.
        let own = row.computed.as_ref().filter(|computed| row.answer == Some(computed.digest));
        let uploaded = match own {
            Some(computed) => self.upload(row, computed, &folder, cancel).await?,
            None => Step::On(()),
        };
        match uploaded {
            Step::On(()) => {}
            // The answer stands, and is paid by the reveal alone.
            Step::Declined(code, detail) => self.link.kept(task, code, &detail),
            Step::Failed(..) | Step::Over => return self.clear(task, &folder).await,
        }
        if self.journal.enter(task, Phase::Delivered).await? {
            self.link.wake();
        }
        self.clear(task, &folder).await
    }

    /// A result, in the journal; `None` if there will be none here.
    async fn compute(
        &self,
        row: &Row,
        folder: &TaskFolder,
        cancel: &CancellationToken,
    ) -> Result<Option<Computed>, JournalError> {
        let task = row.task;
        let step = match assignment::check(&row.assign, &self.stock().standing()) {
            Ok(accepted) => match self.vouch(&row.assign, cancel).await {
                Step::On(()) => self.work(row, accepted, folder, cancel).await?,
                Step::Declined(code, detail) => Step::Declined(code, detail),
                Step::Failed(failure, detail) => Step::Failed(failure, detail),
                Step::Over => Step::Over,
            },
            Err(Objection::Decline(code, detail)) => Step::Declined(code, detail),
            Err(Objection::Failure(failure, detail)) => Step::Failed(failure, detail),
        };
        let computed = match step {
            Step::On(computed) => computed,
            Step::Failed(failure, detail) => failed(failure, detail, None, 0),
            Step::Declined(code, detail) => {
                self.decline(task, code, &detail).await?;
                return Ok(None);
            }
            Step::Over => {
                // Ended by the journal it need not be told; and it may have been assigned anew meanwhile.
                if self.stopping.is_cancelled() {
                    self.decline(task, DeclineCode::Policy, "the worker was stopped").await?;
                }
                return Ok(None);
            }
        };
        if !self.journal.compute(task, &computed).await? {
            return Ok(None);
        }
        if row.assign.terms.trust > 1 {
            // Logs may be shown to others.
            observe::computed(task, &"hidden", computed.wall_ms, None);
        } else {
            // What is for one reader alone stands in no log.
            let failure = computed.failure.as_deref().filter(|_| row.recipient().is_none());
            observe::computed(task, &computed.digest, computed.wall_ms, failure);
        }
        Ok(Some(computed))
    }

    async fn decline(&self, task: TaskId, code: DeclineCode, detail: &str) -> Result<(), JournalError> {
        if self.journal.decline(task, code.name(), detail).await? {
            observe::declined(task, code, detail);
            self.link.declined(task, code, detail);
        }
        Ok(())
    }

    /// Fetches and runs.
    async fn work(
        &self,
        row: &Row,
        accepted: Accepted,
        folder: &TaskFolder,
        cancel: &CancellationToken,
    ) -> Result<Step<Computed>, JournalError> {
        let task = row.task;
        let stock = self.stock();
        let Some(runtime) = stock.runtimes.iter().find(|runtime| runtime.kind() == accepted.runtime) else {
            return Ok(Step::Declined(DeclineCode::Engine, "its engine is gone".to_owned()));
        };
        let data = match local::data(&stock, &accepted).await {
            Ok(data) => data,
            Err(detail) => return Ok(Step::Declined(DeclineCode::NoData, detail)),
        };
        let held = match self.disk(&stock, &accepted, cancel).await {
            Step::On(held) => held,
            Step::Failed(failure, detail) => return Ok(Step::Failed(failure, detail)),
            Step::Declined(code, detail) => return Ok(Step::Declined(code, detail)),
            Step::Over => return Ok(Step::Over),
        };
        let file = held.as_ref().zip(accepted.image.config).map(|(held, digest)| {
            let (reference, file) = (accepted.image.reference.clone(), held.path().to_owned());
            MachineFile { reference, file, digest }
        });
        let Accepted { image, job, args, environment, wall, .. } = accepted;
        if row.phase < Phase::Running {
            let free = statvfs(&self.tasks).map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
            // What is sealed is there twice.
            let copies = if job.recipient.is_some() { 2 } else { 1 };
            if free.is_ok_and(|free| free < job.limits.disk_bytes.saturating_mul(copies)) {
                let detail = "the disk of this worker has less space left than the job may use".to_owned();
                return Ok(Step::Declined(DeclineCode::NoRoom, detail));
            }
            self.link.progress(task, Stage::Fetching);
            let fetched = match self.fetch(task, (&job, &data), folder, cancel).await {
                Step::On(()) => self.inputs(&stock, row, &job, folder, cancel).await,
                other @ (Step::Failed(..) | Step::Declined(..) | Step::Over) => other,
            };
            match fetched {
                Step::On(()) => {}
                Step::Failed(failure, detail) => return Ok(Step::Failed(failure, detail)),
                Step::Declined(code, detail) => return Ok(Step::Declined(code, detail)),
                Step::Over => return Ok(Step::Over),
            }
            let fetched = row.phase == Phase::Fetched || self.journal.enter(task, Phase::Fetched).await?;
            if !fetched || !self.journal.enter(task, Phase::Running).await? {
                return Ok(Step::Over);
            }
        }
        self.link.progress(task, Stage::Running);
        let wanted = Wanted { outputs: job.outputs, callback: !row.assign.terms.callback.is_zero() };
        let (stdin, limits) = (job.stdin, job.limits);
        let request =
            Request { task, image, args, environment, stdin, data, file, limits, wall, folder: folder.clone() };
        let running = self.run(runtime.as_ref(), &request, &wanted, cancel);
        // Of a replicated task nothing is told before its answers are opened, and of one for a recipient nothing at all.
        if row.assign.terms.trust > 1 || job.recipient.is_some() {
            return running.await;
        }
        tokio::select! {
            ran = running => ran,
            never = live::tell(&self.link, task, folder) => match never {},
        }
    }

    async fn fetch(
        &self,
        task: TaskId,
        (job, data): (&berth_wire::job::Job, &[Data]),
        folder: &TaskFolder,
        cancel: &CancellationToken,
    ) -> Step<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let fetched = if job.inputs.iter().all(|input| input.url.is_some()) {
                fetch::prepare(folder)
            } else {
                let Some(client) = self.link.client(cancel).await else { return Step::Over };
                fetch::fetch(&client, task, job, folder).await
            };
            match fetched.and_then(|()| fetch::make_places(folder, data)) {
                Ok(()) => return Step::On(()),
                Err(error @ FetchError::Never { .. }) => return Step::Failed(Failure::FetchFailed, error.to_string()),
                Err(error @ FetchError::Folder { .. }) => return Step::Declined(DeclineCode::NoRoom, chain(&error)),
                Err(error @ FetchError::Later { .. }) => observe::retried(task, "fetch", &chain(&error)),
            }
            if rest(&mut pause, cancel).await.is_none() {
                return Step::Over;
            }
        }
    }

    /// Runs a job until a run counts.
    async fn run(
        &self,
        runtime: &dyn Runtime,
        request: &Request,
        wanted: &Wanted,
        cancel: &CancellationToken,
    ) -> Result<Step<Computed>, JournalError> {
        let task = request.task;
        let mut pause = FIRST_PAUSE;
        let mut silent_since = None;
        loop {
            let reason = match runtime.run(request, cancel).await {
                Ok(outcome) => match collect(&outcome, wanted.clone(), request).await {
                    Ok(step) => return Ok(step),
                    Err(error) => chain(&error),
                },
                Err(RuntimeError::NoImage(reference)) => {
                    let detail = format!("image {reference} is not in the engine");
                    return Ok(Step::Declined(DeclineCode::NoImage, detail));
                }
                Err(error @ RuntimeError::Unreachable { .. })
                    if silent_since.get_or_insert_with(Instant::now).elapsed() < ENGINE_PATIENCE =>
                {
                    observe::retried(task, "run", &chain(&error));
                    if rest(&mut pause, cancel).await.is_none() {
                        return Ok(Step::Over);
                    }
                    continue;
                }
                Err(error) => chain(&error),
            };
            silent_since = None;
            let attempts = self.journal.lost(task).await?;
            observe::run_lost(task, attempts, &reason);
            if attempts >= ATTEMPTS {
                return Ok(Step::Declined(DeclineCode::Engine, reason));
            }
            if rest(&mut pause, cancel).await.is_none() {
                return Ok(Step::Over);
            }
        }
    }

    /// Puts everything that a result names into the pool's store.
    async fn upload(
        &self,
        row: &Row,
        computed: &Computed,
        folder: &TaskFolder,
        cancel: &CancellationToken,
    ) -> Result<Step<()>, JournalError> {
        let task = row.task;
        self.link.progress(task, Stage::Uploading);
        let form = match self.seal(row, computed, folder).await? {
            Step::On(form) => form,
            Step::Failed(failure, detail) => return Ok(Step::Failed(failure, detail)),
            Step::Declined(code, detail) => return Ok(Step::Declined(code, detail)),
            Step::Over => return Ok(Step::Over),
        };
        Ok(self.put(task, (computed, form), folder, cancel).await)
    }

    async fn put(
        &self,
        task: TaskId,
        (computed, form): (&Computed, Form),
        folder: &TaskFolder,
        cancel: &CancellationToken,
    ) -> Step<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(client) = self.link.client(cancel).await else { return Step::Over };
            let error = match upload_all(&client, computed, form, folder).await {
                Ok(()) => return Step::On(()),
                Err(error) => error,
            };
            match &error {
                ClientError::File { .. } => {
                    return Step::Declined(DeclineCode::Engine, format!("its result was lost: {}", chain(&error)));
                }
                ClientError::Refused(problem) if problem.status == 413 => {
                    return Step::Declined(DeclineCode::Policy, format!("the pool's store refuses it: {problem}"));
                }
                ClientError::Refused(_)
                | ClientError::Unreachable { .. }
                | ClientError::Foreign { .. }
                | ClientError::Corrupt { .. } => observe::retried(task, "upload", &chain(&error)),
            }
            if rest(&mut pause, cancel).await.is_none() {
                return Step::Over;
            }
        }
    }

    /// Frees what the runtime holds for a task.
    async fn release(&self, task: TaskId, folder: &TaskFolder) {
        for runtime in &self.stock().runtimes {
            if let Err(error) = runtime.clear(task, folder).await {
                observe::clearing_failed(task, &chain(&error));
            }
        }
    }

    /// Removes what is left of tasks that ended while their answer waited for its round.
    pub(crate) async fn tidy(&self, held: &[Phase], at_work: impl Fn(TaskId) -> bool) -> Result<(), JournalError> {
        let Ok(entries) = std::fs::read_dir(&self.tasks) else { return Ok(()) };
        let tasks = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<TaskId>().ok());
        let idle: Vec<TaskId> = tasks.filter(|task| !at_work(*task)).collect();
        if idle.is_empty() {
            return Ok(());
        }
        let held = self.journal.tasks(held).await?;
        for task in idle.into_iter().filter(|task| !held.contains(task)) {
            self.clear(task, &TaskFolder::new(&self.tasks, task)).await?;
        }
        Ok(())
    }

    /// Removes all of a task but its row.
    async fn clear(&self, task: TaskId, folder: &TaskFolder) -> Result<(), JournalError> {
        if !folder.path().exists() {
            return Ok(());
        }
        self.release(task, folder).await;
        if let Err(error) = tokio::fs::remove_dir_all(folder.path()).await {
            observe::clearing_failed(task, &error.to_string());
        }
        Ok(())
    }
}

/// Waits before the next try, longer each time. `None`: cancelled.
pub(crate) async fn rest(pause: &mut Duration, cancel: &CancellationToken) -> Option<()> {
    let this = *pause;
    *pause = (this * 2).min(LONGEST_PAUSE);
    tokio::select! {
        () = cancel.cancelled() => None,
        () = tokio::time::sleep(this) => Some(()),
    }
}

fn failed(failure: Failure, detail: String, streams: Option<(Content, Content)>, wall_ms: u64) -> Computed {
    let (stdout, stderr) = streams.unzip();
    Computed { digest: failure.digest(), manifest: None, stdout, stderr, sealed: None, wall_ms, failure: Some(detail) }
}

/// Makes a result of an ended run.
async fn collect(outcome: &Outcome, wanted: Wanted, request: &Request) -> Result<Step<Computed>, DigestError> {
    let (ended, limits) = (outcome.ended.clone(), request.limits);
    let wall_ms = u64::try_from(outcome.wall.as_millis()).unwrap_or(u64::MAX);
    let (outcome, folder) = (outcome.clone(), request.folder.clone());
    let wall_s = request.wall.as_secs();
    let blocking = move || -> Result<Step<Computed>, DigestError> {
        let fail = |failure, detail: String| {
            let streams = digest::collect_streams(&folder)?;
            Ok(Step::On(failed(failure, detail, Some(streams), wall_ms)))
        };
        let stopped = |failure, detail: String| {
            let streams = digest::collect_streams(&folder)?;
            // Whoever stopped in the middle of its work may leave what is no output: that is no reason to run it again.
            let (left, detail) = match digest::collect_partial(&outcome, &wanted, limits.disk_bytes, &folder) {
                Ok(left) => (left, detail),
                Err(error) => (None, format!("{detail}; the files that it left are not kept: {}", chain(&error))),
            };
            let manifest = left.map(|left| left.to_bytes());
            Ok(Step::On(Computed { manifest, ..failed(failure, detail, Some(streams), wall_ms) }))
        };
        match ended {
            Ended::Cancelled => Ok(Step::Over),
            Ended::TimedOut => stopped(Failure::TimedOut, format!("the job ran longer than {wall_s} s")),
            Ended::OutOfMemory => {
                let detail = format!("the job needs more than {} bytes of memory", limits.memory_bytes);
                stopped(Failure::OutOfMemory, detail)
            }
            Ended::OutputTooLarge(reason) => fail(Failure::OutputTooLarge, reason),
            Ended::Exited(code) => match digest::collect(code, &outcome, &wanted, limits.disk_bytes, &folder) {
                Ok(collected) => Ok(Step::On(result(&collected, wall_ms))),
                Err(DigestError::Unfit(reason)) => fail(Failure::OutputTooLarge, reason),
                Err(error) => Err(error),
            },
        }
    };
    // A panic in there is one of this program's, and goes on here.
    tokio::task::spawn_blocking(blocking).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn result(collected: &Collected, wall_ms: u64) -> Computed {
    let Collected { digest, manifest, stdout, stderr } = collected;
    let said = |content: &Content| (content.size > 0).then_some(*content);
    Computed {
        digest: *digest,
        manifest: Some(manifest.to_bytes()),
        stdout: said(stdout),
        stderr: said(stderr),
        sealed: None,
        wall_ms,
        failure: None,
    }
}
