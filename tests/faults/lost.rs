//! A worker's process, its container and its network are lost, each by itself.

use alloy::primitives::Address;
use berth_chain::signer::Signer;
use berth_tests::{
    proxy::Proxy,
    receipt::{Detached, Receipt},
    world::{HELD, SCHEDULER, World, until, within},
};
use berth_wire::units::Sha256;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use eyre::{ContextCompat as _, ensure};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

async fn brought_home(world: &World, detached: &Detached) -> eyre::Result<()> {
    let settles = async || Ok((world.chain.open_tasks(detached.deal).await? == Some(0)).then_some(()));
    world.letting_go(until("the task settles", settles)).await?;
    let deal = detached.deal.to_string();
    let out = format!("result-{}", &deal[2..10]);
    let receipt: Receipt = world.berth(["task", "result", &deal, "--out", &out])?.json().await?;
    let task = receipt.only()?;
    ensure!(task.verified && task.exit == Some(0), "{task:?}");
    ensure!(std::fs::read_to_string(world.folder().join(out).join("stdout.txt"))? == "home\n");
    Ok(())
}

/// Each is lost while a job runs; each time the job comes home, paid once, and nothing of it stays behind.
#[tokio::test]
async fn a_lost_process_container_or_network_costs_nobody_anything() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        let name = World::worker_name(1);
        let worker = world.workers().await?.first().wrap_err("one worker")?.worker;

        // The process: another life of it takes up the container that still runs.
        let (detached, _) = running(world, worker).await?;
        world.kill(&name).await?;
        world.restart(&name, &[])?;
        world.ready().await?;
        brought_home(world, &detached).await?;

        // The container: the worker sees that it was not the job's doing, and runs it again.
        let (detached, container) = running(world, worker).await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        world.engine.docker.remove_container(&container, Some(options)).await?;
        world.runs(worker, Some(&container)).await?;
        brought_home(world, &detached).await?;

        // The network: what was done meanwhile is reported when it is back.
        let proxy = Proxy::to(world.scheduler_address()?).await?;
        world.route_worker(1, proxy.address).await?;
        let (detached, _) = running(world, worker).await?;
        proxy.cut();
        world.connected(0).await?;
        let ended = async || Ok(world.containers_of(worker).await?.is_empty().then_some(()));
        world.letting_go(until("the job has ended", ended)).await?;
        proxy.mend();
        brought_home(world, &detached).await?;

        ensure!(world.books().await?.total() == before.total());
        world.all_cleared().await
    })
    .await
}

/// The task is taken from a worker that was away for too long, and given to the same one when it is back, while the old run
/// is still being ended: that end says nothing about the new one.
#[tokio::test]
async fn a_task_that_comes_back_to_its_worker_is_not_mistaken_for_the_one_that_was_taken_away() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        // However late the worker is back: nobody else could run it.
        world.configure_scheduler("unable_wait = \"5s\"", "unable_wait = \"120s\"").await?;
        let proxy = Proxy::to(world.scheduler_address()?).await?;
        world.route_worker(1, proxy.address).await?;
        let worker = world.address(1)?;
        let (detached, first) = running(world, worker).await?;
        proxy.cut();
        until("the task is taken away", async || {
            let view = world.scheduler.task(detached.tasks[0]).await?;
            Ok((view.phase == "open").then_some(()))
        })
        .await?;
        proxy.mend();
        world.runs(worker, Some(&first)).await?;
        brought_home(world, &detached).await?;
        world.all_cleared().await
    })
    .await
}

/// A job that is held, and its container. It does not end because it is asked to.
async fn running(world: &World, worker: Address) -> eyre::Result<(Detached, String)> {
    let detached: Detached = world.run(&["--detach"], &format!("trap '' TERM; {HELD}; echo home"))?.json().await?;
    let container = world.runs(worker, None).await?;
    Ok((detached, container))
}

/// The scheduler dies when bytes are in its store and nobody's yet: the next one finds them, and they go.
#[tokio::test]
async fn bytes_that_a_scheduler_kept_and_died_are_found_and_removed() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let account = Signer::random();
        let challenge = world.scheduler.challenge(account.address()).await?;
        let signature = account.sign_text(&challenge.message);
        let session = world.scheduler.session(challenge.message, signature).await?;
        let client = world.scheduler.clone().with_token(session.token);
        let own = client.put_bytes(b"kept for somebody".to_vec()).await?;
        let place = |bytes: &[u8]| {
            let name = Sha256::of(bytes).to_string();
            world.devnet().join("data/store").join(&name[..2]).join(&name)
        };
        let (kept, stray) = (place(b"kept for somebody"), place(b"kept for nobody"));

        // Whoever writes to the database keeps others from it: the note whose these bytes are has to wait.
        let database = SqliteConnectOptions::new().filename(world.devnet().join("data/scheduler.db"));
        let mut connection = SqliteConnection::connect_with(&database).await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        let putting = client.put_bytes(b"kept for nobody".to_vec());
        let dying = async {
            until("the bytes are kept", async || Ok(stray.exists().then_some(()))).await?;
            world.service(SCHEDULER)?.kill().await
        };
        let (put, died) = tokio::join!(putting, dying);
        died?;
        ensure!(put.is_err(), "it was noted whose they are");
        sqlx::query("ROLLBACK").execute(&mut connection).await?;
        connection.close().await?;
        ensure!(stray.exists() && kept.exists());
        world.restart(SCHEDULER, &[])?;
        world.ready().await?;
        until("the bytes are gone", async || Ok((!stray.exists()).then_some(()))).await?;
        ensure!(kept.exists() && client.has_blob(own).await?);
        Ok(())
    })
    .await
}
