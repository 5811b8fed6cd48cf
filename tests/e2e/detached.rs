//! Jobs that nobody waits for at once, and what can be asked about them.

use berth_tests::{
    receipt::{Detached, Receipt},
    world::{HELD, World, until, within},
};
use eyre::{ContextCompat as _, ensure};
use serde_json::Value;

#[tokio::test]
async fn a_detached_job_can_be_asked_about_and_fetched_later() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let script = "echo out; echo err >&2; echo kept > /iexec_out/file";
        let before = world.books().await?;
        let detached: Detached = world.run(&["--detach"], script)?.json().await?;
        let (deal, task) = (detached.deal.to_string(), detached.tasks[0].to_string());
        ensure!(world.chain.open_tasks(detached.deal).await?.is_some(), "the deal is not on chain");
        until("the task settles", async || Ok((world.chain.open_tasks(detached.deal).await? == Some(0)).then_some(())))
            .await?;
        let receipt: Receipt = world.berth(["task", "result", &deal, "--out", "later"])?.json().await?;
        ensure!(std::fs::read_to_string(world.folder().join("later/file"))? == "kept\n");
        let after = world.books().await?;
        ensure!(after.total() == before.total() && after.deals[&receipt.deal].endings.len() == 1);

        let shown: Value = world.berth(["task", "show", &task])?.json().await?;
        ensure!(shown.to_string().contains("settled"), "{shown}");
        let short = world.berth(["task", "show", &format!("{deal}:0")])?.must().await?;
        ensure!(short.stdout.contains("settled"), "{short}");
        let logs = world.berth(["task", "logs", &task])?.must().await?;
        ensure!(logs.stdout == "out\n" && logs.stderr.contains("err"), "{logs}");
        let listed: Value = world.berth(["task", "list"])?.json().await?;
        ensure!(listed.to_string().contains(&deal), "{listed}");

        // Results overwrite nothing.
        let again = world.berth(["task", "result", &deal, "--out", "later"])?.run().await?;
        again.require_failure(2, &["not empty"])?;
        let unknown = format!("0x{}", "12".repeat(32));
        let absent = world.berth(["task", "show", &unknown])?.run().await?;
        ensure!(absent.code == Some(3), "{absent}");
        Ok(())
    })
    .await
}

/// A worker is lost in the middle of a job: the other one does it, and only that one is paid.
#[tokio::test]
async fn a_lost_workers_task_goes_to_another_at_once() -> eyre::Result<()> {
    within(2, async |world: &mut World| {
        let before = world.books().await?;
        let detached: Detached = world.run(&["--detach"], &format!("{HELD}; echo done"))?.json().await?;
        let task = detached.tasks[0];
        let first = until("a worker has the task", async || {
            let view = world.scheduler.task(task).await.ok();
            Ok(view.filter(|view| view.stage.is_some()).and_then(|view| view.worker))
        })
        .await?;
        let name = world.name_of_worker(first)?;
        world.runs(first, None).await?;
        world.kill(&name).await?;
        let other = world.workers().await?.iter().map(|view| view.worker).find(|worker| *worker != first);
        world.runs(other.wrap_err("two workers")?, None).await?;
        let settled = until("the task settles", async || {
            let view = world.scheduler.task(task).await?;
            Ok((view.phase == "settled").then_some(view))
        });
        let settled = world.letting_go(settled).await?;
        ensure!(settled.worker.wrap_err("somebody did it")? != first, "the lost worker is paid");
        ensure!(settled.attempts == 2, "{settled:?}");
        let receipt: Receipt = world.berth(["task", "result", &detached.deal.to_string()])?.json().await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("done\n"), "{receipt:?}");
        ensure!(world.books().await?.total() == before.total());
        // It comes back, is told that its task is gone, and clears up.
        world.restart(&name, &[])?;
        world.connected(2).await?;
        world.cleared(first).await
    })
    .await
}
