//! Waits until a deal's tasks have ended, and tells meanwhile how they go. What the scheduler says is told; what the chain
//! says decides.

use super::{ending::Endings, request::Matched};
use crate::{chain::Chain, exit::Exit, hint::Failure, render::Progress};
use berth_protocol::task::Phase;
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

/// Waits for the end of all tasks, and gives it.
pub(crate) async fn follow(
    chain: &Chain,
    client: &SchedulerClient,
    matched: &Matched,
    progress: &Progress,
) -> Result<Endings, Failure> {
    let mut seq = None;
    let mut looked = Instant::now();
    loop {
        let answer = client.deal(matched.deal.get(), seq, LONG_POLL).await;
        let mut over = false;
        match &answer {
            Ok(view) => {
                seq = Some(view.seq);
                progress.step(describe(view));
                over = !view.tasks.is_empty() && view.tasks.iter().all(is_over);
            }
            Err(ClientError::Refused(problem)) if problem.status == 404 => sleep(UNKNOWN_PAUSE).await,
            Err(error) if error.is_transient() => {
                progress.step("the scheduler does not answer; looking at the chain");
                sleep(SILENT_PAUSE).await;
            }
            Err(_) => {}
        }
        if let Err(error) = answer
            && !error.is_transient()
            && !matches!(&error, ClientError::Refused(problem) if problem.status == 404)
        {
            return Err(error.into());
        }
        if over || looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            if let Some(endings) = look(chain, matched).await? {
                return Ok(endings);
            }
        }
    }
}

/// The endings, if all tasks have one; a failure once nothing can end them any more but a claim.
async fn look(chain: &Chain, matched: &Matched) -> Result<Option<Endings>, Failure> {
    let endings = match Endings::read(chain, matched).await {
        Ok(endings) => endings,
        // A node that is down now may be back before the deadlines are over.
        Err(failure) if failure.code == "node-unreachable" => return Ok(None),
        Err(failure) => return Err(failure),
    };
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

fn is_over(task: &TaskView) -> bool {
    task.phase.parse::<Phase>().is_ok_and(Phase::is_final)
}

/// One line: where the tasks are.
fn describe(view: &DealView) -> String {
    if let Some(missing) = &view.waiting_for {
        return format!("the scheduler waits for {missing}");
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
