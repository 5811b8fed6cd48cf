//! An app for clusters: registered, run by name on a node, paid; also when its worker dies meanwhile.

use crate::cluster::Cluster;
use alloy::primitives::Address;
use berth_tests::{
    engine::IMAGE,
    receipt::Receipt,
    world::{Background, HELD, World, within},
};
use eyre::{ContextCompat as _, ensure};
use serde_json::Value;
use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

/// The cluster's `slurm.conf`.
#[expect(clippy::disallowed_methods, reason = "where scripts/slurm-cluster.sh says that a cluster runs")]
fn shared() -> eyre::Result<PathBuf> {
    std::env::var_os("SLURM_CONF")
        .map(PathBuf::from)
        .wrap_err("no cluster: run the tests by `scripts/slurm-cluster.sh run …`")
}

/// Has the worker share a cluster, beside Docker.
async fn share_cluster(world: &mut World, conf: &Path) -> eyre::Result<()> {
    let (scratch, host) = (world.folder().join("node"), world.engine.host.clone());
    std::fs::create_dir(&scratch)?;
    // As a node's own folder for what is temporary.
    std::fs::set_permissions(&scratch, Permissions::from_mode(0o1777))?;
    world.share_also(1, &format!("[slurm]\nconf = {conf:?}\nscratch = {scratch:?}\nhost = {host:?}\n")).await
}

/// Whose the jobs are that a worker has submitted for tasks.
fn submitted(conf: &Path, worker: Address) -> eyre::Result<Vec<String>> {
    let mut squeue = Command::new("squeue");
    let listed = squeue.args(["--noheader", "--states=all", "--format=%j %u"]).env("SLURM_CONF", conf).output()?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let tasks = format!("berth-{worker}-0x").to_lowercase();
    let listed = String::from_utf8_lossy(&listed.stdout).to_lowercase();
    let jobs = listed.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| name.starts_with(&tasks));
    Ok(jobs.map(|(_, user)| user.to_owned()).collect())
}

#[tokio::test]
async fn an_app_for_clusters_is_run_on_a_node_and_paid_and_outlives_its_worker() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let conf = shared()?;
        world.be_patient().await?;
        share_cluster(world, &conf).await?;
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
        ensure!(submitted(&conf, worker)?.len() == 1, "one job of Slurm's for one task");

        // Its worker is killed in the middle: the job goes on, and the next life collects it.
        let script = format!("echo start >> /iexec_out/starts; {HELD}; echo end");
        let run = world.berth(["run", "fold", "--out", "again"])?.args(["--", "sh", "-c", &script]);
        let run = Background::start(run)?;
        world.runs(worker, None).await?;
        let name = World::worker_name(1);
        world.kill(&name).await?;
        world.restart(&name, &[])?;
        world.ready().await?;
        let outcome = world.letting_go(run.outcome()).await?;
        ensure!(outcome.code == Some(0), "{outcome}");
        ensure!(std::fs::read_to_string(world.folder().join("again/starts"))? == "start\n", "it ran once");
        ensure!(submitted(&conf, worker)?.len() == 2, "and was submitted once");

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

/// A user that every Debian has, and who has no rights.
const GAMES: u32 = 5;

/// On a cluster that takes no jobs of root's: root's worker says so to its owner; an ordinary user's shares it, and its
/// jobs are that user's.
#[tokio::test]
async fn an_ordinary_users_jobs_are_run_where_roots_are_not() -> eyre::Result<()> {
    let cluster = Cluster::start(&["DisableRootJobs=YES"]);
    within(1, async |world: &mut World| {
        share_cluster(world, &cluster.conf()).await?;
        let config = format!(".berth/{}.toml", World::worker_name(1));
        let status: Value = world.berth(["worker", "status", "--config", &config])?.json().await?;
        let absent = status["absent"].as_array().wrap_err("a list")?;
        ensure!(absent.len() == 1 && absent[0].to_string().contains("Invalid user id"), "{status}");

        // Whoever may use a node's engine is in its group.
        let socket = world.engine.host.strip_prefix("unix://").wrap_err("an engine of this machine")?;
        world.give_worker(1, GAMES, std::fs::metadata(socket)?.gid()).await?;
        world.announced(1, "Slurm", |said| said.shares.engines.len() == 2).await?;
        let register = ["app", "register", "fold", "--runtime", "slurm", "--image", IMAGE];
        world.berth(register)?.must().await?;
        let run = world.berth(["run", "fold", "--out", "result"])?;
        let run = run.args(["--", "sh", "-c", "echo kept > /iexec_out/file"]);
        let receipt: Receipt = run.json().await?;
        ensure!(receipt.only()?.verified && receipt.only()?.exit == Some(0), "{receipt:?}");
        ensure!(std::fs::read_to_string(world.folder().join("result/file"))? == "kept\n");
        ensure!(submitted(&cluster.conf(), world.address(1)?)? == ["games"]);
        world.all_cleared().await
    })
    .await
}
