//! A worker that is asked to stop, and what it tells its owner meanwhile.

use berth_tests::{
    receipt::{Detached, Receipt},
    world::{World, until, within},
};
use berth_worker::status::{self, Connection};
use eyre::{ContextCompat as _, ensure};
use nix::sys::signal::Signal;

/// It takes nothing more, lets its job end, hands the result over and goes.
#[tokio::test]
async fn a_stopped_worker_finishes_its_job_and_is_paid() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let name = World::worker_name(1);
        let folder = world.devnet().join(format!("data/{name}"));
        let worker = world.workers().await?.first().wrap_err("one worker")?.worker;
        world.run(&[], "true")?.must().await?;
        let idle = until("its status says that it was paid", async || {
            Ok(status::read(&folder).ok().filter(|status| status.settled == 1))
        })
        .await?;
        ensure!(idle.worker == worker && idle.running.is_empty() && idle.earned.0 > 0, "{idle:?}");
        ensure!(matches!(idle.connection, Connection::Connected { bond, .. } if bond.0 > 0), "{idle:?}");
        ensure!(idle.why_idle().is_some_and(|why| why.contains("nothing for it")), "{idle:?}");

        let detached: Detached = world.run(&["--detach"], "sleep 2; echo finished")?.json().await?;
        world.runs(worker, None).await?;
        world.service(&name)?.signal(Signal::SIGTERM);
        world.service(&name)?.ended().await?;
        ensure!(world.containers_of(worker).await?.is_empty(), "it left a container behind");
        let last = status::read(&folder)?;
        ensure!(last.draining && last.running.is_empty(), "{last:?}");

        until("the task settles without it", async || {
            Ok((world.chain.open_tasks(detached.deal).await? == Some(0)).then_some(()))
        })
        .await?;
        let receipt: Receipt = world.berth(["task", "result", &detached.deal.to_string()])?.json().await?;
        let task = receipt.only()?;
        ensure!(task.stdout.as_deref() == Some("finished\n") && task.worker == Some(worker), "{task:?}");

        // Its next life learns what it was paid.
        world.restart(&name, &[])?;
        until("its status says so", async || Ok(status::read(&folder).ok().filter(|status| status.settled == 2)))
            .await?;
        world.all_cleared().await
    })
    .await
}
