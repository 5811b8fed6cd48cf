//! What providers share stays where it is, and jobs come to it: data, packages; what fails its probe is not announced; and
//! the owner's policy, which the worker keeps and the scheduler is told.

use berth_tests::{
    receipt::{Detached, Receipt},
    world::{HELD, World, until, within},
};
use berth_wire::announcement::Announcement;
use berth_worker::status;
use eyre::{ContextCompat as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{fs, path::PathBuf};

/// A folder of data beside the worker, and its digest.
async fn library(world: &World) -> eyre::Result<(PathBuf, String)> {
    let folder = world.folder().join("library");
    fs::create_dir_all(folder.join("shelf"))?;
    fs::write(folder.join("index"), b"two books\n")?;
    fs::write(folder.join("shelf/book"), b"once upon a time\n")?;
    let digest = world.berth(["dataset", "digest", "library"])?.must().await?.stdout.trim().to_owned();
    ensure!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    Ok((folder, digest))
}

/// Has the first worker look often, and adds to its file while it runs.
pub(crate) fn add(world: &World, keys: &str, tables: &str) -> eyre::Result<()> {
    let text = world.worker_config(1)?;
    world.configure_worker(1, &format!("look_every = \"200ms\"\n{keys}\n{text}{tables}"))
}

fn dataset(name: &str, path: &std::path::Path, digest: &str) -> String {
    format!("\n[[datasets]]\nname = {name:?}\npath = {path:?}\ndigest = {digest:?}\n")
}

/// Waits until the scheduler has heard that the first worker shares so many data, and takes tasks or not.
pub(crate) async fn announced(world: &World, datasets: usize, is_open: bool) -> eyre::Result<()> {
    let is = |said: &Announcement| said.shares.datasets.len() == datasets && said.terms.closed.is_none() == is_open;
    world.announced(1, &format!("{datasets} data, open: {is_open}"), is).await
}

/// Waits until the first worker is known to keep a task off for this reason.
pub(crate) async fn waits(world: &World, job: &Detached, words: &str) -> eyre::Result<()> {
    let (task, worker) = (job.tasks[0], world.address(1)?);
    let mut last = String::new();
    let found = until(&format!("it waits: {words}"), async || {
        let why = world.scheduler.task(task).await.map(|view| view.why).unwrap_or_default();
        last = format!("{why:?}");
        Ok(why.iter().any(|why| why.worker == Some(worker) && why.reason.contains(words)).then_some(()))
    })
    .await;
    found.map_err(|error| error.wrap_err(last))
}

/// What a job printed, once it is paid for.
pub(crate) async fn printed(world: &World, job: &Detached, out: &str) -> eyre::Result<String> {
    until("it is settled", async || Ok((world.chain.open_tasks(job.deal).await? == Some(0)).then_some(()))).await?;
    let receipt: Receipt = world.berth(["task", "result", &job.deal.to_string(), "--out", out])?.json().await?;
    receipt.only()?.stdout.clone().wrap_err("it printed nothing")
}

pub(crate) async fn own_status(world: &World) -> eyre::Result<Value> {
    let config = format!(".berth/{}.toml", World::worker_name(1));
    world.berth(["worker", "status", "--config", &config])?.json().await
}

pub(crate) async fn hand(world: &World, word: &str) -> eyre::Result<()> {
    let config = format!(".berth/{}.toml", World::worker_name(1));
    world.berth(["worker", word, "--config", &config])?.must().await?;
    Ok(())
}

#[tokio::test]
async fn jobs_come_to_the_data_and_the_packages_that_they_name() -> eyre::Result<()> {
    within(2, async |world: &mut World| {
        world.be_patient().await?;
        let (folder, digest) = library(world).await?;
        let wrong = format!("sha256:{}", "ab".repeat(32));
        let tables = dataset("Library", &folder, &digest)
            + &dataset("liar", &folder.join("index"), &wrong)
            + &dataset("nowhere", &world.folder().join("nowhere"), &wrong);
        add(world, "packages = [\" Root\", \"GEANT 4\"]", &tables)?;
        announced(world, 1, true).await?;

        // Requesters see it, in the worker's own words; its owner sees why the others are not there.
        let listed: Value = world.berth(["worker", "list"])?.json().await?;
        let worker = world.address(1)?.to_string();
        let all = listed["workers"].as_array().wrap_err("a list")?;
        let own = all.iter().find(|view| view["worker"] == *worker.to_lowercase()).wrap_err("it is listed")?;
        ensure!(own["signed"] == true && own["connected"] == true, "{own}");
        let shares = &own["announced"]["said"]["shares"];
        ensure!(shares["packages"] == serde_json::json!(["geant4", "root"]), "{own}");
        ensure!(shares["datasets"][0]["name"] == "Library" && shares["datasets"][0]["size"] == 27, "{own}");
        let text = world.berth(["worker", "list"])?.must().await?.stdout;
        ensure!(text.contains("geant4, root") && text.contains(&format!("Library@{digest}")), "{text}");
        let status = own_status(world).await?;
        let absent = status["absent"].as_array().wrap_err("a list")?;
        ensure!(absent.len() == 2 && absent.iter().all(|it| it["hint"].as_str().is_some_and(|hint| !hint.is_empty())));
        ensure!(status.to_string().contains("liar") && status.to_string().contains("can't be read"), "{status}");
        world.berth(["xw", "install", "bin"])?.must().await?;
        let workers = world.berth(["--xwformat", "json"])?.by(&world.folder().join("bin/xwworkers")).must().await?;
        ensure!(workers.stdout.contains("geant4,root") && workers.stdout.contains(&format!("Library@{digest}")));

        // It runs where they are, read-only.
        let before = world.books().await?;
        let data = format!("my library={digest}");
        let script =
            "cat \"/iexec_in/$BERTH_DATASET_1/shelf/book\"; echo x > \"/iexec_in/my library/index\" || echo kept";
        for _ in 0..2 {
            let flags = ["--data", &data, "--package", "ROOT", "--package", "geant4"];
            let receipt: Receipt = world.run(&flags, script)?.json().await?;
            let task = receipt.only()?;
            ensure!(task.stdout.as_deref() == Some("once upon a time\nkept\n"), "{receipt:?}");
            ensure!(task.worker == Some(world.address(1)?), "{receipt:?}");
        }
        ensure!(before.total() == world.books().await?.total());
        let submit = world.berth(["docker", "--xwimage", berth_tests::engine::IMAGE, "--xwpackage", "library"])?;
        let submit = submit.args(["--xwneeds", "root", "--", "wc", "-l", "/iexec_in/library/index"]);
        let submitted = submit.by(&world.folder().join("bin/xwsubmit")).must().await?.stdout;
        let fetch = world.berth([submitted.trim(), "--xwwait", "--xwout", "counted"])?;
        fetch.by(&world.folder().join("bin/xwresult")).must().await?;
        ensure!(fs::read_to_string(world.folder().join("counted/stdout.txt"))? == "1 /iexec_in/library/index\n");

        // What nobody has is said, worker by worker.
        let missing: Detached =
            world.run(&["--detach", "--package", "root", "--package", "matlab"], "true")?.json().await?;
        waits(world, &missing, "matlab missing").await?;
        let elsewhere = format!("x={wrong}");
        let absent: Detached = world.run(&["--detach", "--data", &elsewhere], "true")?.json().await?;
        waits(world, &absent, "does not have the dataset x").await?;

        // Data that change are no longer shared, until they are again what their digest says.
        fs::write(folder.join("index"), b"one book\n")?;
        announced(world, 0, true).await?;
        until("its own status says why", async || {
            let status = own_status(world).await?.to_string();
            Ok(status.matches("has the digest sha256:").nth(1).map(drop))
        })
        .await?;
        let late: Detached =
            world.run(&["--detach", "--data", &data], "cat '/iexec_in/my library/index'")?.json().await?;
        waits(world, &late, "does not have the dataset my library").await?;
        fs::write(folder.join("index"), b"two books\n")?;
        announced(world, 1, true).await?;
        ensure!(printed(world, &late, "late").await? == "two books\n");
        world.all_cleared().await
    })
    .await
}

#[tokio::test]
async fn a_dataset_on_offer_is_paid_for_and_used_where_it_is() -> eyre::Result<()> {
    within(2, async |world: &mut World| {
        world.be_patient().await?;
        let (folder, digest) = library(world).await?;
        let register =
            ["dataset", "register", "library", "--path", "library", "--price", "0.25", "--account", "owner-1"];
        let made: Value = world.berth(register)?.json().await?;
        ensure!(made["descriptor"]["sha256"] == *digest.trim_start_matches("sha256:"), "{made}");
        world.berth(register)?.run().await?.require_failure(4, &["before"])?;
        let listed: Value = world.berth(["dataset", "list"])?.json().await?;
        ensure!(listed.to_string().contains(made["dataset"].as_str().wrap_err("an id")?), "{listed}");
        let script = "cat /iexec_in/$IEXEC_DATASET_FILENAME/index";

        // Nobody has it yet: it waits for it.
        let run = world.run(&["--dataset", "library", "--detach"], script)?;
        let before = world.books().await?;
        let early: Detached = run.json().await?;
        waits(world, &early, "does not have the dataset library").await?;
        add(world, "", &dataset("library", &folder, &digest))?;
        ensure!(printed(world, &early, "early").await? == "two books\n");

        let receipt: Receipt = world.run(&["--dataset", "library"], script)?.json().await?;
        let task = receipt.only()?;
        ensure!(task.stdout.as_deref() == Some("two books\n"), "{receipt:?}");
        let owner = task.paid.iter().find(|paid| paid.roles.iter().any(|role| role == "dataset owner"));
        ensure!(owner.is_some_and(|paid| paid.amount == "250000000000000000"), "{receipt:?}");
        ensure!(before.total() == world.books().await?.total());
        world.run(&["--dataset", "no such"], "x")?.run().await?.require_failure(3, &["no such"])?;
        world.all_cleared().await
    })
    .await
}

#[tokio::test]
async fn an_owners_policy_is_kept_and_told() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        world.be_patient().await?;
        let name = World::worker_name(1);
        let folder = world.devnet().join(format!("data/{name}"));
        add(world, "", "")?;
        // Paused: nothing is begun, also not by its next life.
        hand(world, "pause").await?;
        announced(world, 0, false).await?;
        let paused: Detached = world.run(&["--detach"], "echo at last")?.json().await?;
        waits(world, &paused, "its owner has paused it").await?;
        world.kill(&name).await?;
        world.restart(&name, &[])?;
        world.ready().await?;
        waits(world, &paused, "its owner has paused it").await?;
        until("its own status says so", async || {
            let status = own_status(world).await?;
            Ok(status["why_idle"].as_str().is_some_and(|why| why.contains("paused")).then_some(()))
        })
        .await?;
        hand(world, "resume").await?;
        ensure!(printed(world, &paused, "paused").await? == "at last\n");

        // Whom the owner refuses, and what pays too little, is not taken, and that is told.
        let plain = world.worker_config(1)?;
        let policy = |policy: &str| format!("{plain}\n[policy]\n{policy}\n");
        let requester: Value = world.berth(["wallet", "show"])?.json().await?;
        let requester = requester["address"].as_str().wrap_err("an address")?;
        world.configure_worker(1, &policy(&format!("refused_requesters = [{requester:?}]")))?;
        world.announced(1, "whom it refuses", |said| !said.terms.refused_requesters.is_empty()).await?;
        let refused: Detached = world.run(&["--detach"], "echo dear")?.json().await?;
        waits(world, &refused, "takes no jobs of requester").await?;
        world.configure_worker(1, &policy(&format!("min_price = \"{}\"", u128::MAX)))?;
        waits(world, &refused, "takes nothing below").await?;
        // A file that makes no sense changes nothing.
        world.configure_worker(1, &policy("schedule = [\"sometimes\"]"))?;
        waits(world, &refused, "takes nothing below").await?;
        world.configure_worker(1, &plain)?;
        ensure!(printed(world, &refused, "refused").await? == "dear\n");

        // Drained: what runs is finished and handed over, then the worker goes; its next life takes tasks.
        let worker = world.address(1)?;
        let last: Detached = world.run(&["--detach"], "sleep 3; echo finished")?.json().await?;
        world.runs(worker, None).await?;
        hand(world, "drain").await?;
        world.service(&name)?.ended().await?;
        ensure!(status::read(&folder)?.draining);
        ensure!(printed(world, &last, "last").await? == "finished\n");
        let config = format!(".berth/{name}.toml");
        world.berth(["worker", "drain", "--config", &config])?.run().await?.require_failure(4, &["not running"])?;
        world.restart(&name, &[])?;
        world.ready().await?;
        world.run(&[], "echo open again")?.must().await?;
        world.service(&name)?.signal(Signal::SIGHUP);
        world.run(&[], "echo still there")?.must().await?;
        world.all_cleared().await
    })
    .await
}

/// Keeps a core busy for as long as it is there.
struct Spinning(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Spinning {
    fn start() -> Self {
        let goes_on = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let seen = goes_on.clone();
        std::thread::spawn(move || while seen.load(std::sync::atomic::Ordering::Relaxed) {});
        Self(goes_on)
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.0.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test]
async fn hours_and_idleness_keep_tasks_off_and_what_runs_goes_on() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        add(world, "", "")?;
        world.be_patient().await?;
        let config = world.devnet().join(format!("{}.toml", World::worker_name(1)));
        let plain = fs::read_to_string(&config)?;
        let policy = |text: &str| Ok::<_, eyre::Report>(fs::write(&config, format!("{plain}\n[policy]\n{text}\n"))?);
        let closed = async |words: &str| {
            let is = |said: &Announcement| said.terms.closed.as_ref().is_some_and(|why| why.contains(words));
            world.announced(1, &format!("that it is closed: {words}"), is).await
        };
        // Some days from now, so that no midnight opens it. (1970 began on a Thursday.)
        let day = world.chain.head().await?.1.seconds() / 86_400 + 3 + 3;
        let day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::try_from(day % 7)?];
        let other_day = format!("zone = \"UTC\"\nschedule = [\"{day} 00:00-24:00\"]");
        policy(&other_day)?;
        closed("outside its hours").await?;
        let early: Detached = world.run(&["--detach"], "echo in time")?.json().await?;
        waits(world, &early, &format!("it is outside its hours ({day} 00:00-24:00, UTC time)")).await?;
        policy("schedule = [\"daily 00:00-24:00\"]")?;
        ensure!(printed(world, &early, "early").await? == "in time\n");

        // What runs when the hours end goes on to its end, and nothing else is begun.
        let worker = world.address(1)?;
        let last: Detached = world.run(&["--detach"], &format!("{HELD}; echo overtime"))?.json().await?;
        until("its container runs", async || Ok((!world.containers_of(worker).await?.is_empty()).then_some(())))
            .await?;
        policy(&other_day)?;
        closed("outside its hours").await?;
        let late: Detached = world.run(&["--detach"], "echo at last")?.json().await?;
        ensure!(world.letting_go(printed(world, &last, "last")).await? == "overtime\n");
        waits(world, &late, "it is outside its hours").await?;

        // Somebody else needs the machine, or nobody does.
        let spinning = [Spinning::start(), Spinning::start()];
        policy("[policy.idle]\nload_millis = 0\ninput = \"0s\"")?;
        closed("others load its machine").await?;
        waits(world, &late, "others load its machine with more than 0 thousandths of a core").await?;
        drop(spinning);
        policy("[policy.idle]\nload_millis = 4000000\ninput = \"0s\"")?;
        ensure!(printed(world, &late, "late").await? == "at last\n");
        world.all_cleared().await
    })
    .await
}
