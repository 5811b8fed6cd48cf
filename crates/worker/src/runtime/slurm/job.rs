//! One task, from its order to its report, seen from the worker.

use super::{
    Slurm,
    cluster::{Job, Needs, State},
    errand::{Claims, Errand, Order, Said, What, Work, small},
};
use crate::{
    clock::now_ms,
    runtime::{Ended, Outcome, Request, RuntimeError, folder_error},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether a report is there: a look at a file.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often Slurm is asked, once for all tasks: it is a server that others need.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// After a job's end its report is seen within this; file systems that are shared are slow to tell.
const LAST_WORDS_TAKE: Duration = Duration::from_secs(5);
/// A job whose end has begun is over within this, or its node is gone.
const ENDING_TAKES: Duration = Duration::from_secs(60);
/// A job that was told to end is gone within this, or its node is.
const STOP_TAKES: Duration = Duration::from_secs(45);
/// What a job takes besides its container's time: fetching an image, copying its output.
pub(super) const MARGIN: Duration = Duration::from_secs(300);
/// What it takes besides its container's memory.
const OVERHEAD_MIB: u64 = 64;

/// What is followed: an order, and the name of its jobs.
#[derive(Clone, Copy)]
struct Trail<'a> {
    name: &'a str,
    task: &'a str,
    errand: &'a Errand,
    order: &'a Order,
    /// After its claim was taken, it is over within this.
    takes: Duration,
    /// Its claim is taken within this.
    waits: Duration,
}

/// When something was first seen, if it is seen still.
#[derive(Debug, Default)]
struct Since(Option<Instant>);

impl Since {
    /// For how long it has been seen.
    fn seen(&mut self, now: bool) -> Option<Duration> {
        self.0 = now.then(|| self.0.unwrap_or_else(Instant::now));
        self.0.map(|since| since.elapsed())
    }
}

impl Slurm {
    /// Runs a task, or goes on with its run.
    pub(super) async fn run_job(&self, request: &Request, cancel: &CancellationToken) -> Result<Outcome, RuntimeError> {
        let errand = Errand::of(&request.folder);
        // Only an earlier run leaves an order.
        if let Some(order) = errand.order() {
            match self.stay(request, &errand, &order, true, cancel).await {
                Err(RuntimeError::Lost(_)) => {}
                ended => return ended,
            }
        }
        if errand.path().exists() {
            self.clear_task(request.task, &request.folder).await?;
        }
        let wall_ms = u64::try_from(request.wall.as_millis()).unwrap_or(u64::MAX);
        let work = Work {
            task: request.task.get(),
            image: request.image.clone(),
            args: request.args.clone(),
            environment: request.environment.clone(),
            stdin: request.stdin.clone(),
            limits: request.limits,
            wall_ms,
        };
        let order = self.order(What::Run(Box::new(work)));
        let output = request.folder.output();
        std::fs::create_dir_all(&output).map_err(folder_error("making", &output))?;
        errand.give(&order, &self.program)?;
        self.stay(request, &errand, &order, false, cancel).await
    }

    fn order(&self, what: What) -> Order {
        Order {
            run: format!("{:016x}", rand::random::<u64>()),
            given_ms: now_ms(),
            worker: self.worker.get(),
            tasks: self.tasks.clone(),
            scratch: self.share.scratch.clone(),
            docker: self.docker(),
            what,
        }
    }

    /// Sees to it that an order is Slurm's, and stays with it until its end.
    async fn stay(
        &self,
        request: &Request,
        errand: &Errand,
        order: &Order,
        known: bool,
        cancel: &CancellationToken,
    ) -> Result<Outcome, RuntimeError> {
        let (name, task) = (self.name(request.task), request.task.to_string());
        let limits = &request.limits;
        let takes = request.wall.saturating_add(MARGIN);
        let needs = Needs {
            cpus: limits.cpu_millis.div_ceil(1_000).max(1),
            memory_mib: limits.memory_bytes.div_ceil(1 << 20) + OVERHEAD_MIB,
            time: takes,
            node: None,
        };
        let trail = Trail { name: &name, task: &task, errand, order, takes, waits: self.share.wait };
        self.submit(&trail, &needs, known).await?;
        let said = tokio::select! {
            said = self.follow(&trail) => said?,
            () = cancel.cancelled() => {
                self.end(&name, &task, errand).await;
                return Ok(outcome(request, Ended::Cancelled, 0, (0, 0)));
            }
        };
        if known {
            crate::observe::resumed(request.task);
        }
        match said {
            Said::Ended { ended, wall_ms, stdout_bytes, stderr_bytes } => {
                Ok(outcome(request, ended, wall_ms, (stdout_bytes, stderr_bytes)))
            }
            Said::NoImage(reference) => Err(RuntimeError::NoImage(reference)),
            Said::Lost(reason) | Said::Unconfined(reason) => Err(RuntimeError::Lost(reason)),
            Said::Images(_) | Said::Cleared => Err(RuntimeError::Lost("its report is another order's".to_owned())),
        }
    }

    /// Has Slurm take an order, unless it has it. `known`: it may.
    async fn submit(&self, trail: &Trail<'_>, needs: &Needs<'_>, known: bool) -> Result<(), RuntimeError> {
        let Trail { errand, order, .. } = trail;
        let (_held, for_command) = errand.lock().await?;
        if known && (errand.said(&order.run).is_some() || self.is_claimed(trail)) {
            return Ok(());
        }
        if known && self.named(trail.name, Instant::now()).await?.next().is_some() {
            return Ok(());
        }
        self.cluster.submit(trail.name, needs, &errand.script(), &errand.log(), for_command).await
    }

    fn is_claimed(&self, trail: &Trail<'_>) -> bool {
        Claims::of(&self.tasks).holder(trail.task, &trail.order.run).is_some()
    }

    /// Jobs of a name, as they were at `since` or later.
    async fn named(&self, name: &str, since: Instant) -> Result<impl Iterator<Item = Job> + use<>, RuntimeError> {
        let (jobs, name): (Arc<Vec<Job>>, _) = (self.cluster.jobs(since).await?, name.to_owned());
        let count = jobs.len();
        Ok((0..count).map(move |index| jobs[index].clone()).filter(move |job| job.name == name))
    }

    /// Waits for an order's report. A controller that is away is waited for: the job needs none.
    async fn follow(&self, trail: &Trail<'_>) -> Result<Said, RuntimeError> {
        let Trail { errand, order, .. } = trail;
        let (mut over, mut ending) = (Since::default(), Since::default());
        let mut asked = Instant::now();
        loop {
            if let Some(said) = errand.said(&order.run) {
                return Ok(said);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            if asked.elapsed() < ASK_EVERY {
                continue;
            }
            let jobs = self.named(trail.name, asked + ASK_EVERY).await.map(Iterator::collect::<Vec<_>>);
            asked = Instant::now();
            let Some(holder) = Claims::of(&self.tasks).holder(trail.task, &order.run) else {
                self.waiting(trail, jobs, &mut over).await?;
                continue;
            };
            let latest_ms = u64::try_from(trail.takes.as_millis()).unwrap_or(u64::MAX).saturating_add(holder.begun_ms);
            if now_ms() > latest_ms {
                return Err(RuntimeError::Lost(format!("node {} does not say what came of it", holder.node)));
            }
            let Ok(jobs) = jobs else { continue };
            if jobs.iter().any(|job| job.state() == State::Running) {
                (over, ending) = Default::default();
                continue;
            }
            let is_ending = jobs.iter().any(|job| job.state() == State::Ending);
            let gone = over.seen(!is_ending).is_some_and(|long| long > LAST_WORDS_TAKE)
                || ending.seen(is_ending).is_some_and(|long| long > ENDING_TAKES);
            if gone && errand.said(&order.run).is_none() {
                let word = jobs.first().map_or("no longer known", |job| job.word.as_str());
                let (node, said) = (&holder.node, errand.last_words());
                return Err(RuntimeError::Lost(format!("Slurm says of its job on node {node}: {word}. {said}")));
            }
        }
    }

    /// What becomes of an order that no job has taken yet.
    async fn waiting(
        &self,
        trail: &Trail<'_>,
        jobs: Result<Vec<Job>, RuntimeError>,
        over: &mut Since,
    ) -> Result<(), RuntimeError> {
        let waited_ms = now_ms().saturating_sub(trail.order.given_ms);
        let too_long = u128::from(waited_ms) > trail.waits.as_millis();
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(error) => return if too_long { Err(error) } else { Ok(()) },
        };
        let lives = jobs.iter().any(|job| job.state() != State::Over);
        if over.seen(!lives).is_some_and(|long| long > LAST_WORDS_TAKE) {
            let word = jobs.first().map_or("no longer known", |job| job.word.as_str());
            let said = trail.errand.last_words();
            return Err(RuntimeError::Lost(format!("Slurm says of its job, which has not begun: {word}. {said}")));
        }
        let Some(job) = jobs.iter().find(|job| job.state() == State::Waiting) else { return Ok(()) };
        if job.is_hopeless() || too_long {
            self.cluster.cancel(&[&job.id]).await?;
            let (reason, waited) = (&job.reason, waited_ms / 1_000);
            return Err(RuntimeError::Lost(format!("Slurm did not start it within {waited} s: {reason}")));
        }
        Ok(())
    }

    /// Ends an order's jobs, and waits until they have cleared up after themselves. What they leave is for a sweep.
    pub(super) async fn end(&self, name: &str, task: &str, errand: &Errand) {
        errand.stop();
        let begun = Instant::now();
        let mut told: Vec<String> = Vec::new();
        while begun.elapsed() < STOP_TAKES {
            let claimed = Claims::of(&self.tasks).all().iter().any(|(of, _, _)| of == task);
            // Without a controller only what has begun can be ended.
            let Ok(jobs) = self.named(name, Instant::now()).await else {
                if !claimed {
                    return;
                }
                tokio::time::sleep(ASK_EVERY).await;
                continue;
            };
            let living: Vec<Job> = jobs.filter(|job| job.state() != State::Over).collect();
            if living.is_empty() {
                return;
            }
            let untold: Vec<&str> =
                living.iter().map(|job| job.id.as_str()).filter(|id| !told.iter().any(|t| t == id)).collect();
            if self.cluster.cancel(&untold).await.is_ok() {
                told.extend(untold.into_iter().map(str::to_owned));
            }
            if !claimed && living.iter().all(|job| job.state() == State::Ending) {
                return;
            }
            tokio::time::sleep(4 * LOOK_EVERY).await;
        }
    }

    /// Has a node do something that is no task.
    pub(super) async fn errand(&self, what: What, node: Option<&str>, takes: Duration) -> Result<Said, RuntimeError> {
        let order = self.order(what);
        let name = format!("{}errand-{}", self.name_of_all(), order.run);
        let errand = Errand::at(&self.common().join(&order.run));
        errand.give(&order, &self.program)?;
        let trail = Trail { name: &name, task: "errand", errand: &errand, order: &order, takes, waits: takes };
        let said = async {
            self.submit(&trail, &small(node), false).await?;
            self.follow(&trail).await
        };
        let said = match tokio::time::timeout(takes, said).await {
            Ok(said) => said,
            Err(_) => Err(RuntimeError::Lost(format!("it is not done within {} s", takes.as_secs()))),
        };
        if said.is_err() {
            self.end(&name, "errand", &errand).await;
        }
        errand.remove()?;
        said
    }
}

fn outcome(request: &Request, ended: Ended, wall_ms: u64, (stdout_bytes, stderr_bytes): (u64, u64)) -> Outcome {
    Outcome { ended, wall: Duration::from_millis(wall_ms), output: request.folder.output(), stdout_bytes, stderr_bytes }
}
