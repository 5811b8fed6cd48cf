//! `kill -9` of scheduler and worker in every phase that a task has, by the code's own list of them.

use berth_protocol::task::Phase as TaskPhase;
use berth_tests::{
    books::{Books, Ending},
    receipt::{Detached, Receipt},
    world::{Background, HELD, SCHEDULER, World, until, within},
};
use berth_worker::journal::Phase as WorkerPhase;
use eyre::{ContextCompat as _, WrapErr as _, ensure};
use nix::sys::signal::Signal;
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// A point is reached in one of these ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Road {
    /// By a job that goes well.
    Done,
    /// By a job that several workers answer.
    Agreed,
    /// By a job whose result is encrypted, which one worker answers.
    Sealed,
    /// By one that several answer.
    SealedByAll,
    /// By a job that no worker can do.
    Declined,
    /// By a deal whose final deadline passes.
    Claimed,
    /// By a task that goes to another worker.
    Moved,
}

/// The road to each phase of the scheduler's: a new phase does not compile without one.
const fn road_of_task(phase: TaskPhase) -> Road {
    match phase {
        TaskPhase::Open | TaskPhase::Assigned | TaskPhase::Reported | TaskPhase::Settling | TaskPhase::Settled => {
            Road::Done
        }
        TaskPhase::Committed | TaskPhase::Closing | TaskPhase::Closed | TaskPhase::Revealed => Road::Agreed,
        TaskPhase::Declined => Road::Declined,
        TaskPhase::Claimed => Road::Claimed,
    }
}

/// The road to each phase of the worker's.
const fn road_of_worker(phase: WorkerPhase) -> Road {
    match phase {
        WorkerPhase::Accepted
        | WorkerPhase::Fetched
        | WorkerPhase::Running
        | WorkerPhase::Computed
        | WorkerPhase::Uploaded
        | WorkerPhase::Reported
        | WorkerPhase::Settled => Road::Done,
        WorkerPhase::Committed | WorkerPhase::Closed | WorkerPhase::Revealed | WorkerPhase::Delivered => Road::Agreed,
        WorkerPhase::Ended => Road::Moved,
    }
}

/// Every phase must have both of its points in the service's own list, and the list nothing else.
fn points<P: core::fmt::Display + Copy>(
    phases: &[P],
    listed: &[impl AsRef<str>],
    road: impl Fn(P) -> Road,
) -> eyre::Result<Vec<(String, Road)>> {
    let both = |phase: &P| ["before", "after"].map(|moment| (format!("{phase}:{moment}"), road(*phase)));
    let wanted: Vec<_> = phases.iter().flat_map(both).collect();
    for (point, _) in &wanted {
        ensure!(listed.iter().any(|known| known.as_ref() == point), "there is no kill point {point}");
    }
    ensure!(listed.len() == wanted.len(), "{} kill points, {} are known here", listed.len(), wanted.len());
    Ok(wanted)
}

/// Kills the scheduler at every point that is reached by one of these roads.
async fn kill_scheduler(roads: &[Road], workers: u16) -> eyre::Result<()> {
    let points = points(&TaskPhase::ALL, &berth_scheduler::KILL_POINTS, road_of_task)?;
    kill_at(points.iter().filter(|(_, road)| roads.contains(road)), workers, SCHEDULER).await
}

/// The same of a worker, among so many.
async fn kill_worker(roads: &[Road], workers: u16) -> eyre::Result<()> {
    let points = points(&WorkerPhase::ALL, &berth_worker::KILL_POINTS, road_of_worker)?;
    kill_at(points.iter().filter(|(_, road)| roads.contains(road)), workers, &World::worker_name(1)).await
}

async fn kill_at(points: impl Iterator<Item = &(String, Road)>, workers: u16, service: &str) -> eyre::Result<()> {
    within(workers, async |world: &mut World| {
        for (point, road) in points {
            let killed = Killed { world, service: service.to_owned(), point };
            killed.along(*road).await.wrap_err_with(|| format!("killed at {point}"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_scheduler_killed_on_the_way_to_a_settlement_settles_each_task_once() -> eyre::Result<()> {
    kill_scheduler(&[Road::Done], 1).await
}

#[tokio::test]
async fn a_scheduler_killed_on_the_way_to_a_refund_refunds_each_task_once() -> eyre::Result<()> {
    kill_scheduler(&[Road::Declined, Road::Claimed], 1).await
}

#[tokio::test]
async fn a_worker_killed_while_it_has_a_task_is_paid_for_it_once() -> eyre::Result<()> {
    kill_worker(&[Road::Done], 1).await
}

#[tokio::test]
async fn a_worker_killed_while_its_task_is_taken_away_forgets_it() -> eyre::Result<()> {
    kill_worker(&[Road::Moved], 2).await
}

#[tokio::test]
async fn a_scheduler_killed_while_several_workers_answer_pays_all_of_them_once() -> eyre::Result<()> {
    kill_scheduler(&[Road::Agreed], 3).await
}

#[tokio::test]
async fn a_worker_killed_between_its_answer_and_its_result_answers_once_and_is_paid() -> eyre::Result<()> {
    kill_worker(&[Road::Agreed], 3).await
}

/// Around the note of the sealed file, and in each phase that has to do with that.
async fn kill_while_sealing(road: Road, phases: &[WorkerPhase], workers: u16) -> eyre::Result<()> {
    let phases = phases.iter().flat_map(|phase| ["before", "after"].map(|moment| format!("{phase}:{moment}")));
    let points: Vec<_> =
        berth_worker::SEAL_POINTS.map(str::to_owned).into_iter().chain(phases).map(|point| (point, road)).collect();
    kill_at(points.iter(), workers, &World::worker_name(1)).await
}

#[tokio::test]
async fn a_worker_killed_while_it_seals_a_result_is_paid_for_one_that_opens() -> eyre::Result<()> {
    kill_while_sealing(Road::Sealed, &[WorkerPhase::Computed, WorkerPhase::Uploaded, WorkerPhase::Reported], 1).await
}

#[tokio::test]
async fn a_worker_killed_while_it_seals_what_several_agree_on_hands_in_one_that_opens() -> eyre::Result<()> {
    kill_while_sealing(Road::SealedByAll, &[WorkerPhase::Revealed, WorkerPhase::Delivered], 3).await
}

/// A service that dies at a point, and comes back with the same arguments.
struct Killed<'a> {
    world: &'a mut World,
    service: String,
    point: &'a str,
}

impl Killed<'_> {
    async fn along(mut self, road: Road) -> eyre::Result<()> {
        let before = self.world.books().await?;
        match road {
            Road::Done => self.done(&[]).await?,
            Road::Agreed => self.done(&["--trust", "5"]).await?,
            Road::Sealed => self.done(&["--encrypt"]).await?,
            Road::SealedByAll => self.done(&["--encrypt", "--trust", "5"]).await?,
            Road::Declined => self.declined().await?,
            Road::Claimed => self.claimed().await?,
            Road::Moved => self.moved().await?,
        }
        // The audit has each task of each deal end at most once, and every account add up.
        let after = self.world.books().await?;
        ensure!(after.total() == before.total(), "{} were lost", before.total().abs_diff(after.total()));
        let open = after.deals.values().filter(|deal| deal.endings.len() < deal.terms.indexes().count()).count();
        ensure!(open == 0, "{open} deals have not ended");
        self.agree(&after).await?;
        self.world.all_cleared().await
    }

    /// Scheduler and workers know of every task what the chain says, and nothing else.
    async fn agree(&self, books: &Books) -> eyre::Result<()> {
        for (id, deal) in &books.deals {
            let view = self.world.scheduler.deal(*id, None, Duration::ZERO).await?;
            for task in &view.tasks {
                let (ending, _) = deal.endings.get(&task.index).wrap_err("a task that did not end")?;
                let wanted = match ending {
                    Ending::Settled { .. } | Ending::Agreed { .. } => TaskPhase::Settled,
                    Ending::Declined => TaskPhase::Declined,
                    Ending::Claimed => TaskPhase::Claimed,
                };
                ensure!(task.phase == wanted.name(), "task {} is {}, not {wanted}", task.task, task.phase);
            }
            ensure!(
                view.tasks.len() == deal.endings.len(),
                "the scheduler has {} tasks of deal {id}",
                view.tasks.len()
            );
        }
        until("no worker has anything open", async || Ok((self.world.open_in_journals().await? == 0).then_some(())))
            .await
    }

    fn marker(&self) -> PathBuf {
        self.world.folder().join(format!("{}-{}", self.service, self.point.replace(':', "-")))
    }

    /// Starts the service anew, to die at the point.
    async fn arm(&mut self) -> eyre::Result<()> {
        let service = self.service.clone();
        self.world.kill(&service).await?;
        self.start().await
    }

    async fn start(&mut self) -> eyre::Result<()> {
        let marker = self.marker();
        let further: [OsString; 4] =
            ["--kill-at".into(), self.point.into(), "--kill-marker".into(), marker.into_os_string()];
        self.world.restart(&self.service, &further)?;
        self.world.ready().await
    }

    /// Waits for its death at the point, and starts it again with the same arguments.
    async fn die_and_rise(&mut self) -> eyre::Result<()> {
        let marker = self.marker();
        until(&format!("{} reaches {}", self.service, self.point), async || Ok(marker.exists().then_some(()))).await?;
        self.world.service(&self.service)?.ended().await?;
        self.start().await
    }

    async fn done(&mut self, options: &[&str]) -> eyre::Result<()> {
        self.arm().await?;
        let before = self.world.books().await?;
        let call = self.world.run(options, "echo $BERTH_TASK_INDEX; sleep 0.2; echo done")?;
        let running = Background::start(call.before("--json"))?;
        self.die_and_rise().await?;
        let outcome = running.outcome().await?;
        ensure!(outcome.code == Some(0), "{outcome}");
        let receipt: Receipt = outcome.data()?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("0\ndone\n"), "{outcome}");
        receipt.require_true(&self.world.chain, &before, &self.world.books().await?).await
    }

    async fn declined(&mut self) -> eyre::Result<()> {
        self.arm().await?;
        let running = Background::start(self.world.run(&["--memory", "512G"], "true")?.before("--json"))?;
        self.die_and_rise().await?;
        let outcome = running.outcome().await?;
        ensure!(outcome.code == Some(8), "{outcome}");
        Ok(())
    }

    async fn claimed(&mut self) -> eyre::Result<()> {
        let worker = World::worker_name(1);
        self.world.kill(&worker).await?;
        // Nothing but the deadline ends it.
        self.world.be_patient().await?;
        self.arm().await?;
        let detached: Detached = self.world.run(&["--detach", "--timeout", "3s"], "true")?.json().await?;
        let terms = self.world.books().await?.deals.remove(&detached.deal).wrap_err("no deal")?.terms;
        let (_, now) = self.world.chain.head().await?;
        self.world.chain.pass_s(terms.deadlines().settle.seconds().saturating_sub(now.seconds()) + 1).await?;
        self.die_and_rise().await?;
        until("the deal is claimed", async || {
            Ok((self.world.chain.open_tasks(detached.deal).await? == Some(0)).then_some(()))
        })
        .await?;
        self.world.restart(&worker, &[])?;
        self.world.ready().await
    }

    /// The worker is stopped while it has the task, until another has done it; then it is told.
    async fn moved(&mut self) -> eyre::Result<()> {
        let other = World::worker_name(2);
        self.world.kill(&other).await?;
        self.arm().await?;
        let detached: Detached = self.world.run(&["--detach"], &format!("{HELD}; echo moved"))?.json().await?;
        let (first, second) = (self.world.address(1)?, self.world.address(2)?);
        self.world.runs(first, None).await?;
        self.world.service(&self.service)?.signal(Signal::SIGSTOP);
        self.world.restart(&other, &[])?;
        self.world.runs(second, None).await?;
        let done = async || Ok((self.world.chain.open_tasks(detached.deal).await? == Some(0)).then_some(()));
        self.world.letting_go(until("the other worker has done it", done)).await?;
        self.world.service(&self.service)?.signal(Signal::SIGCONT);
        self.die_and_rise().await
    }
}
