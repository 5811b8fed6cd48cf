//! An app for clusters: registered, run by name on a node, paid; also when its worker dies meanwhile.

use berth_tests::{
    engine::IMAGE,
    receipt::Receipt,
    world::{Background, World, until, within},
};
use eyre::{ContextCompat as _, ensure};
use serde_json::Value;
use std::{io::Write as _, process::Command};

/// The cluster's `slurm.conf`.
#[expect(clippy::disallowed_methods, reason = "where scripts/slurm-cluster.sh says that a cluster runs")]
fn conf() -> eyre::Result<String> {
    std::env::var("SLURM_CONF").ok().wrap_err("no cluster: run the tests by `scripts/slurm-cluster.sh run …`")
}

/// Has the worker share the cluster, beside Docker.
async fn share_cluster(world: &mut World) -> eyre::Result<()> {
    let name = World::worker_name(1);
    let (scratch, host) = (world.folder().join("node"), world.engine.host.clone());
    std::fs::create_dir(&scratch)?;
    let config = world.devnet().join(format!("{name}.toml"));
    let mut config = std::fs::OpenOptions::new().append(true).open(config)?;
    writeln!(config, "\n[slurm]\nconf = {:?}\nscratch = {scratch:?}\nhost = {host:?}", conf()?)?;
    world.service(&name)?.kill().await?;
    world.connected(0).await?;
    world.restart(&name, &[])?;
    world.ready().await
}

/// Names of the jobs that a worker has submitted for tasks.
fn submitted(worker: &str) -> eyre::Result<Vec<String>> {
    let mut squeue = Command::new("squeue");
    let listed = squeue.args(["--noheader", "--states=all", "--format=%j"]).env("SLURM_CONF", conf()?).output()?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let tasks = format!("berth-{worker}-0x").to_lowercase();
    let listed = String::from_utf8_lossy(&listed.stdout);
    Ok(listed.lines().filter(|name| name.to_lowercase().starts_with(&tasks)).map(str::to_owned).collect())
}

#[tokio::test]
async fn an_app_for_clusters_is_run_on_a_node_and_paid_and_outlives_its_worker() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        share_cluster(world).await?;
        let worker = world.address(1)?;
        let register = ["app", "register", "fold", "--runtime", "slurm", "--image", IMAGE];
        let app: Value = world.berth(register)?.args(["--price", "0.25", "--account", "owner-1"]).json().await?;
        ensure!(app["descriptor"]["runtime"] == "slurm", "{app}");

        world.file("names.txt", b"b\na\n")?;
        let before = world.books().await?;
        let script = "sort /iexec_in/names.txt > /iexec_out/sorted; echo said; exit 3";
        let run = world.berth(["run", "fold", "--input", "names.txt", "--out", "result"])?;
        let outcome = run.args(["--", "sh", "-c", script]).before("--json").run().await?;
        let receipt: Receipt = outcome.data()?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        let task = receipt.only()?;
        ensure!(task.verified && task.exit == Some(3), "{receipt:?}");
        ensure!(std::fs::read_to_string(world.folder().join("result/sorted"))? == "a\nb\n");
        let owner = task.paid.iter().find(|paid| paid.roles.iter().any(|role| role == "app owner"));
        ensure!(owner.is_some_and(|paid| paid.amount == "250000000000000000"), "{receipt:?}");
        ensure!(submitted(&worker.to_string())?.len() == 1, "one job of Slurm's for one task");

        // Its worker is killed in the middle: the job goes on, and the next life collects it.
        let script = "echo start >> /iexec_out/starts; sleep 8; echo end";
        let run = world.berth(["run", "fold", "--out", "again"])?.args(["--", "sh", "-c", script]);
        let run = Background::start(run)?;
        until("the job runs", async || Ok((!world.containers_of(worker).await?.is_empty()).then_some(()))).await?;
        let name = World::worker_name(1);
        world.service(&name)?.kill().await?;
        world.restart(&name, &[])?;
        let outcome = run.outcome().await?;
        ensure!(outcome.code == Some(0), "{outcome}");
        ensure!(std::fs::read_to_string(world.folder().join("again/starts"))? == "start\n", "it ran once");
        ensure!(submitted(&worker.to_string())?.len() == 2, "and was submitted once");

        // The same worker runs containers of its own as before.
        world.run(&[], "echo both")?.must().await?;
        world.all_cleared().await?;
        ensure!(
            std::fs::read_dir(world.folder().join("node"))?
                .flatten()
                .all(|node| { std::fs::read_dir(node.path()).is_ok_and(|left| left.count() == 0) })
        );
        Ok(())
    })
    .await
}
