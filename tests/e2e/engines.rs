//! Engines that come and go under a worker, images that come while it runs, from a person's hand or from a registry, and
//! an engine that two workers share.

use crate::sharing::{add, own_status, printed, waits};
use berth_protocol::WorkerAddr;
use berth_tests::{
    dockerd::Dockerd,
    engine::{IMAGE, image},
    receipt::{Detached, Receipt},
    registry::Registry,
    world::{HELD, World, until, within},
};
use bollard::{
    auth::DockerCredentials,
    query_parameters::{PushImageOptions, RemoveImageOptions},
};
use eyre::{ContextCompat as _, ensure};
use futures_util::TryStreamExt as _;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// A world of one worker that shares an engine of its own, and what its file said before.
async fn with_own_engine(test: impl AsyncFnOnce(&mut World, &mut Dockerd) -> eyre::Result<()>) -> eyre::Result<()> {
    let mut own = Dockerd::start().await?;
    within(1, async |world: &mut World| {
        let plain = fs::read_to_string(config(world))?;
        // What no other engine has.
        let (mark, archive) = image("berth-tests/own:1", &["MARK=own"])?;
        own.engine().await?.load(archive).await?;
        world.be_patient().await?;
        add(world, "", "")?;
        world.configure_worker(
            1,
            &world.worker_config(1)?.replace("[docker]", &format!("[docker]\nhost = {:?}", own.host())),
        )?;
        world.announced(1, "the images of its own engine", |said| has(said, &mark)).await?;
        let tested = test(world, &mut own).await;
        // Its engine may be gone when the world ends.
        fs::write(config(world), plain)?;
        tested
    })
    .await?;
    own.stop().await
}

fn config(world: &World) -> PathBuf {
    world.devnet().join(format!("{}.toml", World::worker_name(1)))
}

fn has(said: &berth_wire::announcement::Announcement, id: &str) -> bool {
    said.shares.images.iter().any(|image| image.config.is_some_and(|config| config.to_string() == id))
}

async fn run_detached(world: &World, image: &str, args: &[&str]) -> eyre::Result<Detached> {
    world.berth(["run", image, "--detach", "--"])?.args(args).json().await
}

#[tokio::test]
async fn an_engine_that_goes_and_comes_back_is_told_of_and_loses_no_job() -> eyre::Result<()> {
    with_own_engine(async |world: &mut World, own: &mut Dockerd| {
        let engine = own.engine().await?;
        // Gone: nothing of it is shared, its owner is told why, and what wants it waits.
        own.stop().await?;
        world
            .announced(1, "no engine and no image", |said| {
                said.shares.engines.is_empty() && said.shares.images.is_empty()
            })
            .await?;
        until("its own status says why", async || {
            Ok(own_status(world).await?["absent"].to_string().contains("does not answer").then_some(()))
        })
        .await?;
        let early = run_detached(world, IMAGE, &["echo", "back"]).await?;
        waits(world, &early, "it has no engine for docker").await?;
        own.again().await?;
        ensure!(printed(world, &early, "early").await? == "back\n");

        // An image that somebody puts there is shared from then on, and what waited for it runs.
        let (id, archive) = image("berth-tests/late:1", &["MARK=late"])?;
        let late = run_detached(world, &id, &["sh", "-c", "echo $MARK"]).await?;
        waits(world, &late, "it does not have the image").await?;
        engine.load(archive).await?;
        ensure!(printed(world, &late, "late").await? == "late\n");

        // Gone in the middle of a job: the job is run again, and comes home once.
        let before = world.books().await?;
        let lost = run_detached(world, IMAGE, &["sh", "-c", &format!("{HELD}; echo home")]).await?;
        let worker = WorkerAddr::new(world.address(1)?).to_string();
        until("its container runs", async || Ok((!engine.containers_of(&worker).await?.is_empty()).then_some(())))
            .await?;
        own.stop().await?;
        own.again().await?;
        until("it is run again, and settled", async || {
            let runs = engine.jobs_of(&worker).await.is_ok_and(|all| !all.is_empty());
            if runs {
                world.let_go(&World::worker_name(1))?;
            }
            Ok((world.chain.open_tasks(lost.deal).await? == Some(0)).then_some(()))
        })
        .await?;
        ensure!(printed(world, &lost, "lost").await? == "home\n");
        ensure!(before.total() == world.books().await?.total());
        until("nothing of it is left", async || Ok(engine.containers_of(&worker).await?.is_empty().then_some(()))).await
    })
    .await
}

/// Puts an image into a registry and takes it out of the engine; gives its name there, with its digest.
async fn pushed(own: &Dockerd, registry: &Registry, name: &str, mark: &str) -> eyre::Result<String> {
    let docker = own.engine().await?.docker;
    let reference = format!("{}/{name}", registry.place);
    let (_, archive) = image(&format!("{reference}:1"), &[&format!("MARK={mark}")])?;
    own.engine().await?.load(archive).await?;
    let options = PushImageOptions { tag: Some("1".to_owned()), ..Default::default() };
    let pushing = docker.push_image(&reference, Some(options), Some(DockerCredentials::default()));
    pushing.try_collect::<Vec<_>>().await?;
    let digests = docker.inspect_image(&format!("{reference}:1")).await?.repo_digests.unwrap_or_default();
    for named in [format!("{reference}:1"), digests.first().wrap_err("a digest")?.clone()] {
        // The second name may have gone with the first.
        drop(docker.remove_image(&named, None::<RemoveImageOptions>, None).await);
    }
    ensure!(docker.inspect_image(&format!("{reference}:1")).await.is_err(), "it is still there");
    Ok(digests[0].clone())
}

/// How often a registry was asked for an image's manifest, once all that it has answered is noted.
async fn manifests_asked(registry: &Registry) -> eyre::Result<usize> {
    let before = registry.asked("\"GET /v2/ ");
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(30)).build()?;
    client.get(format!("http://{}/v2/", registry.place)).send().await?.error_for_status()?;
    until("the registry has noted it", async || Ok((registry.asked("\"GET /v2/ ") > before).then_some(()))).await?;
    Ok(registry.asked("\"GET /v2/") - registry.asked("\"GET /v2/ "))
}

#[tokio::test]
async fn an_image_comes_from_its_registry_by_digest_where_the_owner_lets_it_and_from_nowhere_else() -> eyre::Result<()>
{
    let registry = Registry::start().await?;
    with_own_engine(async |world: &mut World, own: &mut Dockerd| {
        let here = pushed(own, &registry, "render", "fetched").await?;
        let show = ["sh", "-c", "echo $MARK"];
        let asked = manifests_asked(&registry).await?;

        // Shared work only: nothing is fetched.
        let job = run_detached(world, &here, &show).await?;
        waits(world, &job, "it does not have the image").await?;
        ensure!(manifests_asked(&registry).await? == asked, "a worker that shares what it has has fetched");
        // From public addresses alone: the engine is not told to ask here.
        let fetching = |to: &str| {
            world.configure_worker(1, &world.worker_config(1)?.replace("[docker]", &format!("[docker]{to}")))
        };
        fetching("\nfetch_images = true")?;
        until("the worker says that it does not ask there", async || {
            Ok(own_status(world).await?.to_string().contains("is at no public address").then_some(()))
        })
        .await?;
        ensure!(manifests_asked(&registry).await? == asked, "the registry was asked");
        let opened = fs::read_to_string(config(world))? + "\n[fetch]\ninputs = true\nfrom = [\"127.0.0.1\"]\n";
        fs::write(config(world), opened)?;
        world.announced(1, "that it fetches", |said| said.shares.fetches_inputs).await?;

        // By digest, and run; a second time it is there.
        for _ in 0..2 {
            let receipt: Receipt = world.berth(["run", &here, "--"])?.args(show).json().await?;
            ensure!(receipt.only()?.stdout.as_deref() == Some("fetched\n"), "{receipt:?}");
        }
        let asked = manifests_asked(&registry).await? - asked;
        ensure!((1..=3).contains(&asked), "it was fetched {asked} times");
        // A digest that the registry does not have is fetched from nowhere.
        let (name, _) = here.split_once('@').wrap_err("a digest")?;
        let job = run_detached(world, &format!("{name}@sha256:{}", "ab".repeat(32)), &show).await?;
        waits(world, &job, "is not in the engine").await?;
        // There is room for none: what was used long ago goes, and comes again when it is wanted.
        fetching("\nfetched_size = \"1 B\"")?;
        let name = World::worker_name(1);
        world.service(&name)?.kill().await?;
        world.connected(0).await?;
        let notes = world.devnet().join(format!("data/{name}/fetched-images.json"));
        let used: BTreeMap<String, u64> = serde_json::from_slice(&fs::read(&notes)?)?;
        ensure!(used.contains_key(&here), "{used:?}");
        fs::write(&notes, serde_json::to_vec(&used.keys().map(|name| (name, 1)).collect::<BTreeMap<_, _>>())?)?;
        world.restart(&name, &[])?;
        world.ready().await?;
        let docker = own.engine().await?.docker;
        until("it is gone", async || Ok(docker.inspect_image(&here).await.is_err().then_some(()))).await?;
        let receipt: Receipt = world.berth(["run", &here, "--"])?.args(show).json().await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("fetched\n"), "{receipt:?}");
        ensure!(docker.inspect_image(IMAGE).await.is_ok(), "what it did not fetch stays");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_workers_share_an_engine_and_touch_nothing_of_each_other() -> eyre::Result<()> {
    within(2, async |world: &mut World| {
        let workers = [world.address(1)?, world.address(2)?];
        let script = format!("{HELD}; echo done $BERTH_TASK_INDEX");
        let bag: Detached = world.run(&["--detach", "--each", "0..4"], &script)?.json().await?;
        let kept = until("all tasks run, on both", async || {
            let (one, other) = (world.containers_of(workers[0]).await?, world.containers_of(workers[1]).await?);
            Ok((one.len() == 2 && other.len() == 2).then_some(other))
        })
        .await?;
        // One dies, and clears up after itself alone.
        let name = World::worker_name(1);
        world.kill(&name).await?;
        world.restart(&name, &[])?;
        world.ready().await?;
        let there = world.containers_of(workers[1]).await?;
        ensure!(kept.iter().all(|id| there.contains(id)), "{kept:?} of the other worker, now {there:?}");
        let settled =
            until("it is settled", async || Ok((world.chain.open_tasks(bag.deal).await? == Some(0)).then_some(())));
        world.letting_go(settled).await?;
        let receipt: Receipt = world.berth(["task", "result", &bag.deal.to_string(), "--out", "bag"])?.json().await?;
        ensure!(receipt.tasks.len() == 4 && receipt.tasks.iter().all(|task| task.exit == Some(0)), "{receipt:?}");
        let by = |worker| receipt.tasks.iter().filter(|task| task.worker == Some(worker)).count();
        ensure!(by(workers[1]) >= 2, "{receipt:?}");
        world.all_cleared().await
    })
    .await
}
