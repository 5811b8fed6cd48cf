//! What goes wrong at people's desks: each a message, a hint, an exit code, and nothing lost.

use berth_chain::{
    anvil::{Anvil, AnvilConfig},
    tool::tool_path,
};
use berth_tests::{
    proxy::Proxy,
    receipt::{Detached, Receipt},
    world::{Background, Displaced, HELD, SCHEDULER, World, until, within},
};
use eyre::{ContextCompat as _, ensure};
use std::{fs, net::TcpListener};

/// A socket at which nobody listens.
const DEAD_ENGINE: &str = "unix:///nowhere/docker.sock";
/// A port of which nobody answers: discard, which no machine serves any more.
const DEAD_NODE: &str = "http://127.0.0.1:9";

/// Everything that is refused before money moves: no balance changes by a wei.
#[tokio::test]
async fn what_a_requester_gets_wrong_is_told_and_costs_nothing() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        no_engine(world).await?;
        money(world).await?;
        keys(world).await?;
        nodes(world).await?;
        let after = world.books().await?;
        ensure!(before.accounts == after.accounts && before.bonds == after.bonds, "money moved");
        ensure!(before.deals.len() + 1 == after.deals.len(), "more deals than the one that was given back");
        expired(world).await
    })
    .await
}

async fn no_engine(world: &World) -> eyre::Result<()> {
    let call = world.run(&[], "true")?.env("DOCKER_HOST", DEAD_ENGINE);
    call.run().await?.require_failure(4, &["Docker engine"])?;
    let call = world.berth(["run", "no-such-image:9", "--", "true"])?;
    call.run().await?.require_failure(3, &["no-such-image:9"])?;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let outcome = world.berth(["run", &digest, "--", "true"])?.run().await?;
    outcome.require_failure(8, &[])
}

async fn money(world: &World) -> eyre::Result<()> {
    let outcome = world.run(&["--max-price", "0.000001"], "true")?.run().await?;
    outcome.require_failure(8, &["no offer fits", "--max-price"])?;

    world.file("password", b"correct horse\n")?;
    let made = world.berth(["wallet", "new", "pauper", "--password-file", "password"])?.run().await?;
    ensure!(made.code == Some(0), "{made}");
    let pauper = ["--account", "pauper", "--password-file", "password"];
    let outcome = world.run(&pauper, "true")?.run().await?;
    outcome.require_failure(4, &["missing", "berth account deposit"])?;
    let outcome = world.berth(["account", "withdraw", "999999999"])?.run().await?;
    outcome.require_failure(4, &["10000", "free", "withdraw at most"])
}

async fn keys(world: &World) -> eyre::Result<()> {
    world.file("wrong", b"battery staple\n")?;
    let outcome = world.run(&["--password-file", "wrong"], "true")?.run().await?;
    outcome.require_failure(8, &["password"])?;
    let outcome = world.run(&["--account", "nobody"], "true")?.run().await?;
    outcome.require_failure(3, &["nobody"])
}

async fn nodes(world: &World) -> eyre::Result<()> {
    let outcome = world.run(&["--rpc", DEAD_NODE], "true")?.run().await?;
    outcome.require_failure(4, &["can't be reached"])?;
    let other = Anvil::start(&AnvilConfig { chain_id: 4_242, ..AnvilConfig::new(tool_path("anvil")?) })?;
    let outcome = world.run(&["--rpc", &other.http_url()], "true")?.run().await?;
    outcome.require_failure(4, &["4242", "31337"])
}

/// Time goes by until all offers are over.
async fn expired(world: &World) -> eyre::Result<()> {
    world.chain.pass_s(400 * 86_400).await?;
    let before = world.books().await?;
    until("the order book has noticed", async || {
        let outcome = world.run(&[], "true")?.run().await?;
        ensure!(outcome.code != Some(0), "expired orders were matched: {outcome}");
        Ok(outcome.require_failure(3, &["not on offer"]).ok())
    })
    .await?;
    ensure!(world.books().await?.accounts == before.accounts, "money moved");
    Ok(())
}

/// The node goes away in the middle: the client says so and how to go on, and the result is there afterwards.
#[tokio::test]
async fn a_node_that_goes_away_in_the_middle_loses_nothing() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        let proxy = Proxy::to(world.node_address()?).await?;
        let rpc = format!("http://{}", proxy.address);
        let running = Background::start(world.run(&["--rpc", &rpc], &format!("{HELD}; echo kept"))?)?;
        running.says("running on").await?;
        let worker = world.address(1)?;
        world.runs(worker, None).await?;
        proxy.cut();
        let outcome = running.outcome().await?;
        outcome.require_failure(4, &["can't be reached", "berth task result"])?;
        let books = world.books().await?;
        let deal = *books.deals.keys().find(|deal| !before.deals.contains_key(*deal)).wrap_err("no deal")?;
        let settles = async || Ok((world.chain.open_tasks(deal).await? == Some(0)).then_some(()));
        world.letting_go(until("it settles all the same", settles)).await?;
        let receipt: Receipt = world.berth(["task", "result", &deal.to_string()])?.json().await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("kept\n"), "{receipt:?}");
        ensure!(world.books().await?.total() == before.total());
        Ok(())
    })
    .await
}

/// What an operator or a machine's owner gets wrong ends the service with a reason, and does no harm to what is there.
#[tokio::test]
async fn what_a_service_finds_wrong_at_its_start_ends_it_with_a_hint() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let worker = World::worker_name(1);
        let before: Detached = world.run(&["--detach"], "true")?.json().await?;
        until("it settles", async || Ok((world.chain.open_tasks(before.deal).await? == Some(0)).then_some(()))).await?;

        // A port that another program has.
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let at = taken.local_addr()?.to_string();
        world.kill(SCHEDULER).await?;
        let config = world.devnet().join("scheduler.toml");
        let kept = fs::read_to_string(&config)?;
        let listen = world.scheduler_address()?.to_string();
        fs::write(&config, kept.replace(&listen, &at))?;
        world.start_to_fail(SCHEDULER, &[]).await?.require_failure(4, &[&at])?;
        fs::write(&config, &kept)?;

        // A database that is none, and one of another market; of the scheduler, and of the order book.
        for name in ["scheduler.db", "market.db"] {
            let database = world.devnet().join("data").join(name);
            let displaced = Displaced::by_garbage(&database)?;
            world.start_to_fail(SCHEDULER, &[]).await?.require_failure(1, &[name])?;
            displaced.restore()?;
            let foreign = "UPDATE chain_identity SET contract = zeroblob(20)";
            let displaced = Displaced::by_foreign(&database, foreign).await?;
            world.start_to_fail(SCHEDULER, &[]).await?.require_failure(8, &["another"])?;
            displaced.restore()?;
        }
        world.restart(SCHEDULER, &[])?;
        world.ready().await?;

        // The same of a worker, and one without an engine.
        world.kill(&worker).await?;
        let asked = world.run(&["--dry-run"], "true")?.must().await?;
        ensure!(asked.stderr.contains("no worker of this pool is connected"), "{asked}");
        let journal = world.devnet().join(format!("data/{worker}/journal.db"));
        let displaced = Displaced::by_garbage(&journal)?;
        world.start_to_fail(&worker, &[]).await?.require_failure(1, &["journal.db"])?;
        displaced.restore()?;
        let displaced = Displaced::by_foreign(&journal, "UPDATE identity SET berth = '0x1'").await?;
        world.start_to_fail(&worker, &[]).await?.require_failure(8, &["journal.db"])?;
        displaced.restore()?;
        let outcome = world.start_to_fail(&worker, &[("DOCKER_HOST", DEAD_ENGINE)]).await?;
        outcome.require_failure(4, &["Docker"])?;

        // After all that, everything is as it was.
        world.restart(&worker, &[])?;
        world.ready().await?;
        let receipt: Receipt = world.run(&[], "echo unharmed")?.json().await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("unharmed\n"), "{receipt:?}");
        Ok(())
    })
    .await
}
