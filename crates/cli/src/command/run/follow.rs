//! Waits until a deal's tasks have ended, and tells meanwhile how they go. What the scheduler says is told; what the chain
//! says decides.

use super::{ending::Endings, request::Matched};
use crate::{chain::Chain, exit::Exit, hint::Failure, render::Progress};
use berth_protocol::{DealId, task::Phase};
use berth_wire::{
    client::{ClientError, SchedulerClient},
    scheduler::{DealView, TaskView},
    worker::Stage,
};
use core::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the scheduler holds an answer back while nothing changes.
const LONG_POLL: Duration = Duration::from_secs(20);
/// The scheduler hears of a deal a moment after us; then the next question comes after this.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(30);
/// How long to wait before a scheduler that does not answer is asked again.
const SILENT_PAUSE: Duration = Duration::from_millis(500);
/// How often to look at the chain while the scheduler does not help.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For how long a node may be away before there is no more waiting for it: long enough for it to be restarted.
const NODE_PATIENCE: Duration = Duration::from_secs(15);

/// Waits for the end of all tasks, and gives it.
pub(crate) async fn follow(
    chain: &Chain,
    client: &SchedulerClient,
    matched: &Matched,
    progress: &Progress,
) -> Result<Endings, Failure> {
    let mut told = Told { seq: None, over: false };
    let mut looked = Instant::now();
    let mut answered = Instant::now();
    loop {
        if !told.over {
            told.ask(client, matched, progress).await?;
        }
        if !told.over && looked.elapsed() < LOOK_EVERY {
            continue;
        }
        looked = Instant::now();
        match look(chain, matched).await {
            Ok(Some(endings)) => return Ok(endings),
            Ok(None) => {
                answered = Instant::now();
                // The scheduler's node may be ahead of ours.
                sleep(UNKNOWN_PAUSE).await;
            }
            Err(failure) if is_away(&failure) && answered.elapsed() < NODE_PATIENCE => {
                progress.step("the node does not answer; trying again");
                sleep(SILENT_PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Waits until a task has ended, by the scheduler's word.
pub(crate) async fn until_over(client: &SchedulerClient, deal: DealId, index: u32) -> Result<(), Failure> {
    let mut seq = None;
    loop {
        match client.deal(deal.get(), seq, LONG_POLL).await {
            Ok(view) => {
                seq = Some(view.seq);
                if view.tasks.iter().any(|task| task.index == index && is_over(task)) {
                    return Ok(());
                }
            }
            Err(ClientError::Refused(problem)) if problem.status == 404 => sleep(UNKNOWN_PAUSE).await,
            Err(error) if error.is_transient() => sleep(SILENT_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the scheduler has told so far.
struct Told {
    seq: Option<u64>,
    /// All tasks have ended, by its word.
    over: bool,
}

impl Told {
    /// Waits for news of the deal, for a while.
    async fn ask(&mut self, client: &SchedulerClient, matched: &Matched, progress: &Progress) -> Result<(), Failure> {
        match client.deal(matched.deal.get(), self.seq, LONG_POLL).await {
            Ok(view) => {
                self.seq = Some(view.seq);
                self.over = !view.tasks.is_empty() && view.tasks.iter().all(is_over);
                progress.step(describe(&view));
            }
            Err(ClientError::Refused(problem)) if problem.status == 404 => sleep(UNKNOWN_PAUSE).await,
            Err(error) if error.is_transient() => {
                progress.step("the scheduler does not answer; looking at the chain");
                sleep(SILENT_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// The endings, if all tasks have one; a failure once nothing can end them any more but a claim.
async fn look(chain: &Chain, matched: &Matched) -> Result<Option<Endings>, Failure> {
    let endings = Endings::read(chain, matched).await?;
    if endings.are_complete(&matched.terms) {
        return Ok(Some(endings));
    }
    let (now, deadline) = (chain.read.chain_time().await?, matched.terms.deadlines().settle);
    if now <= deadline {
        return Ok(None);
    }
    let message = format!("deal {} is not settled, and its final deadline is over", matched.deal);
    Err(Failure::new(Exit::Timeout, "deal-expired", message)
        .hint("the price comes back as soon as anybody claims the deal; pools' schedulers do")
        .hint("`berth account show` shows when it is back"))
}

/// A node that is down now may be back before the deadlines are over.
fn is_away(failure: &Failure) -> bool {
    matches!(&*failure.code, "node-unreachable" | "node-slow")
}

fn is_over(task: &TaskView) -> bool {
    task.phase.parse::<Phase>().is_ok_and(Phase::is_final)
}

/// One line: where the tasks are.
fn describe(view: &DealView) -> String {
    if let Some(missing) = &view.waiting_for {
        return format!("the scheduler waits for {missing}");
    }
    if view.tasks.is_empty() {
        return "the scheduler has the deal".to_owned();
    }
    if let [task] = &*view.tasks {
        let stage = match task.stage {
            Some(Stage::Accepted) => "accepted",
            Some(Stage::Fetching) => "fetching",
            Some(Stage::Running) => "running",
            Some(Stage::Uploading) => "uploading",
            None => "assigned",
        };
        return match (&*task.phase, task.worker) {
            ("open", _) => match &*task.why {
                [] => "waiting for a worker".to_owned(),
                [why, ..] => format!("waiting for a worker: {}", why.reason),
            },
            ("assigned", Some(worker)) => format!("{stage} on {worker}"),
            ("reported", _) => "the result is there".to_owned(),
            ("settling", _) => "settling".to_owned(),
            (phase, _) => phase.to_owned(),
        };
    }
    let count = |phase: Phase| view.tasks.iter().filter(|task| task.phase == phase.name()).count();
    let counts = Phase::ALL.into_iter().filter(|phase| count(*phase) > 0);
    let counts: Vec<String> = counts.map(|phase| format!("{} {phase}", count(phase))).collect();
    format!("{} tasks: {}", view.tasks.len(), counts.join(", "))
}
