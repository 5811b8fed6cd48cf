//! Inputs and disks that are on somebody's server: fetched from there as far as the worker's owner lets it, gone on with
//! after a crash, and never anything else than what the job names.

use crate::sharing::{add, own_status, waits};
use berth_protocol::Failure;
use berth_tests::{
    books::Ending,
    files::FileServer,
    receipt::{Detached, Receipt},
    world::{Background, World, until, within},
};
use berth_wire::units::Sha256;
use eyre::{ContextCompat as _, ensure};
use std::{fs, path::PathBuf};

/// Inputs are fetched, from public addresses alone.
const PUBLIC: &str = "\n[fetch]\ninputs = true\n";
/// And from this machine, too.
const HERE: &str = "\n[fetch]\ninputs = true\nfrom = [\"127.0.0.1/32\"]\n";

fn config(world: &World) -> PathBuf {
    world.devnet().join(format!("{}.toml", World::worker_name(1)))
}

fn cache(world: &World) -> PathBuf {
    world.devnet().join(format!("data/{}/cache", World::worker_name(1)))
}

/// Waits until the scheduler has heard whether the first worker fetches inputs.
async fn fetches(world: &World, inputs: bool) -> eyre::Result<()> {
    world.announced(1, &format!("that it fetches inputs: {inputs}"), |said| said.shares.fetches_inputs == inputs).await
}

/// Bytes that are not the same anywhere.
fn bytes(count: u32) -> Vec<u8> {
    (0..count).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// Waits until so much of a file has come into the first worker's cache.
async fn has_come(world: &World, file: &[u8], bytes: usize) -> eyre::Result<()> {
    let part = cache(world).join(format!("{}.part", Sha256::of(file)));
    until("a part of it has come", async || {
        let len = fs::metadata(&part).map_or(0, |found| found.len());
        Ok((len == u64::try_from(bytes)?).then_some(()))
    })
    .await
}

/// What is in the first worker's cache.
fn cached(world: &World) -> eyre::Result<Vec<(String, Vec<u8>)>> {
    let entries = fs::read_dir(cache(world))?.collect::<Result<Vec<_>, _>>()?;
    entries
        .iter()
        .map(|entry| Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?)))
        .collect()
}

#[tokio::test]
async fn an_input_comes_from_where_the_job_says_as_far_as_the_owner_lets_it() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let server = FileServer::of(b"far away\n".to_vec()).await?;
        let input = format!("book={}", server.url());
        add(world, "", "")?;
        let plain = fs::read_to_string(config(world))?;
        let before = world.books().await?;

        // Shared work only: nothing is fetched, and that is told.
        let job: Detached = world.run(&["--detach", "--input", &input], "cat /iexec_in/book")?.json().await?;
        waits(world, &job, "fetches no inputs from the addresses that a job names").await?;
        // From public addresses alone: the worker connects to nothing here, and says why.
        fs::write(config(world), format!("{plain}{PUBLIC}"))?;
        until("the worker says that it does not ask there", async || {
            Ok(own_status(world).await?.to_string().contains("is at no public address").then_some(()))
        })
        .await?;
        until(
            "the deal is given back",
            async || Ok((world.chain.open_tasks(job.deal).await? == Some(0)).then_some(())),
        )
        .await?;
        ensure!(server.asked() == [0], "only the client has asked: {:?}", server.asked());
        fs::write(config(world), &plain)?;
        fetches(world, false).await?;
        fs::write(config(world), format!("{plain}{HERE}"))?;
        fetches(world, true).await?;

        // Fetched once, and kept.
        for _ in 0..2 {
            let flags = ["--input", &input];
            let receipt: Receipt = world.run(&flags, "cat /iexec_in/book; echo $BERTH_INPUTS")?.json().await?;
            ensure!(receipt.only()?.stdout.as_deref() == Some("far away\n1\n"), "{receipt:?}");
        }
        ensure!(server.asked().len() == 4, "three times by the client, once by the worker: {:?}", server.asked());

        // Other bytes than the job names are no input: a failure.
        server.change(b"somewhere else\n".to_vec());
        let url = format!("book={}?again", server.url());
        let call = world.run(&["--input", &url], "cat /iexec_in/book")?.before("--json");
        ensure!(
            call.run().await?.data::<Receipt>()?.only()?.stdout.as_deref() == Some("far away\n"),
            "it is in the cache"
        );
        let server = FileServer::of(b"one thing\n".to_vec()).await?;
        server.change(b"other thing\n".to_vec());
        let input = format!("book={}", server.url());
        let outcome = world.run(&["--input", &input], "cat /iexec_in/book")?.before("--json").run().await?;
        let receipt: Receipt = outcome.data()?;
        let task = receipt.only()?;
        ensure!(task.digest == Some(Failure::FetchFailed.digest().get()), "{outcome}");
        ensure!(task.detail.as_deref().wrap_err("no detail")?.contains("`book`"), "{outcome}");
        ensure!(cached(world)?.len() == 1, "nothing that is wrong is kept: {:?}", cached(world)?);
        ensure!(before.total() == world.books().await?.total());
        world.all_cleared().await
    })
    .await
}

/// Whoever serves an address could give some workers what they ask for and others not, and have these punished for their
/// answer: where several answer, none gives one.
#[tokio::test]
async fn no_worker_stakes_its_bond_on_what_a_strangers_server_says() -> eyre::Result<()> {
    within(3, async |world: &mut World| {
        for n in 1..=3 {
            let path = world.devnet().join(format!("{}.toml", World::worker_name(n)));
            fs::write(&path, fs::read_to_string(&path)? + HERE)?;
        }
        until("all fetch inputs", async || {
            let workers = world.workers().await?;
            let fetches = |said: &berth_wire::worker::Announced| said.said.shares.fetches_inputs;
            Ok((workers.iter().filter(|view| view.announced.as_ref().is_some_and(fetches)).count() == 3).then_some(()))
        })
        .await?;
        let server = FileServer::of(b"one thing\n".to_vec()).await?;
        let input = format!("book={}", server.url());
        let flags = ["--trust", "5", "--input", &input];
        let receipt: Receipt = world.run(&flags, "cat /iexec_in/book")?.json().await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("one thing\n"), "{receipt:?}");

        let server = FileServer::of(b"one thing or other\n".to_vec()).await?;
        server.change(b"other thing\n".to_vec());
        let input = format!("book={}", server.url());
        let flags = ["--trust", "5", "--input", &input];
        let outcome = world.run(&flags, "cat /iexec_in/book")?.before("--json").run().await?;
        ensure!(outcome.code == Some(8), "{outcome}");
        let books = world.books().await?;
        let endings = books.deals.values().flat_map(|deal| deal.endings.values());
        ensure!(endings.filter(|(ending, _)| matches!(ending, Ending::Declined)).count() == 1, "{:?}", books.deals);
        world.all_cleared().await
    })
    .await
}

#[tokio::test]
async fn a_worker_killed_while_an_input_comes_goes_on_with_it() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        add(world, "", HERE)?;
        fetches(world, true).await?;
        let file = bytes(500_000);
        let server = FileServer::of(file.clone()).await?;
        let input = format!("numbers={}", server.url());
        crate::sharing::hand(world, "pause").await?;
        world.announced(1, "that it is paused", |said| said.terms.closed.is_some()).await?;
        let script = "wc -c < /iexec_in/numbers";
        let job: Detached = world.run(&["--detach", "--input", &input], script)?.json().await?;
        server.speak(1_000_000);
        crate::sharing::hand(world, "resume").await?;
        has_come(world, &file, 1_000_000).await?;
        let name = World::worker_name(1);
        world.service(&name)?.kill().await?;
        world.connected(0).await?;
        server.speak(usize::MAX);
        world.restart(&name, &[])?;
        world.ready().await?;
        ensure!(crate::sharing::printed(world, &job, "counted").await?.trim() == "2000000");
        ensure!(server.asked() == [0, 0, 1_000_000], "it goes on where it was: {:?}", server.asked());
        ensure!(cached(world)? == [(format!("{}.input", Sha256::of(&file)), file)], "only what is whole is left");
        world.all_cleared().await
    })
    .await
}

#[tokio::test]
async fn an_apps_disk_comes_from_its_address_also_to_a_worker_that_was_killed_meanwhile() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        // Nothing boots from it: only that it comes is looked at.
        let disk = bytes(1 << 18);
        world.file("blank.raw", &disk)?;
        let server = FileServer::of(disk.clone()).await?;
        let url = server.url();
        let register = ["app", "register", "blank", "--runtime", "qemu", "--disk", "blank.raw", "--disk-url", &url];
        world.berth(register)?.must().await?;
        let qemu = "\n[qemu]\naccel = \"tcg\"\nfetch_images = true\n";
        add(world, "", qemu)?;
        world.announced(1, "QEMU", |said| said.shares.fetches_disks && said.shares.engines.len() == 2).await?;
        let run = || Ok::<_, eyre::Report>(world.berth(["run", "blank", "--timeout", "10s"])?.args(["--", "true"]));

        // What only this machine reaches is asked for by nobody who says so.
        let outcome = run()?.before("--json").run().await?;
        ensure!(outcome.code == Some(8), "{outcome}");
        ensure!(own_status(world).await?.to_string().contains("is at no public address"));
        ensure!(server.asked().is_empty(), "{:?}", server.asked());

        let opened = fs::read_to_string(config(world))? + HERE;
        fs::write(config(world), opened)?;
        fetches(world, true).await?;
        server.speak(300_000);
        let running = Background::start(run()?.before("--json"))?;
        has_come(world, &disk, 300_000).await?;
        let name = World::worker_name(1);
        world.service(&name)?.kill().await?;
        world.connected(0).await?;
        server.speak(usize::MAX);
        world.restart(&name, &[])?;
        world.ready().await?;
        let receipt: Receipt = running.outcome().await?.data()?;
        ensure!(receipt.only()?.digest == Some(Failure::TimedOut.digest().get()), "{receipt:?}");
        ensure!(server.asked() == [0, 300_000], "it goes on where it was: {:?}", server.asked());
        ensure!(cached(world)? == [(format!("{}.raw", Sha256::of(&disk)), disk)], "only what is whole is left");
        world.all_cleared().await
    })
    .await
}
