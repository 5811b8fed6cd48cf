//! An app that is a virtual machine: registered, run by name, paid.

use berth_protocol::Failure;
use berth_tests::{
    binary::Call,
    receipt::Receipt,
    world::{World, within},
};
use berth_wire::announcement::Announcement;
use eyre::{Context as _, ContextCompat as _, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// What scripts/build-vm-image.sh makes: a machine's document, and a disk that boots by itself.
const MACHINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/vm/image/machine.json");
const DISK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/vm/image/disk.qcow2");

/// Has the worker share QEMU with a machine, beside Docker.
async fn share_machine(world: &mut World, file: &str) -> eyre::Result<()> {
    let bytes = std::fs::read(file).wrap_err_with(|| format!("{file}: run scripts/build-vm-image.sh"))?;
    let digest = hex::encode(Sha256::digest(&bytes));
    let image = format!("reference = \"small-linux\"\nfile = {file:?}\ndigest = \"sha256:{digest}\"\n");
    world.share_also(1, &format!("[qemu]\naccel = \"tcg\"\n\n[[qemu.images]]\n{image}")).await
}

/// Processes of machines of any of this world's workers.
fn machines(worker: &str) -> eyre::Result<usize> {
    let processes = std::fs::read_dir("/proc")?.flatten().filter(|entry| entry.path().join("cmdline").is_file());
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    Ok(lines.filter(|line| String::from_utf8_lossy(line).contains(&format!("berth-{worker}-"))).count())
}

#[tokio::test]
async fn an_app_that_is_a_virtual_machine_is_run_and_paid() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        share_machine(world, MACHINE).await?;
        let register = ["app", "register", "small-linux", "--runtime", "qemu", "--disk", MACHINE];
        let paid = ["--price", "0.25", "--account", "owner-1"];
        let app: Value = world.berth(register)?.args(paid).json().await?;
        ensure!(app["descriptor"]["runtime"] == "qemu", "{app}");

        world.file("names.txt", b"b\na\n")?;
        let before = world.books().await?;
        let script = "uname -s; sort /iexec_in/names.txt > /iexec_out/sorted; echo $XWCMDARGS | wc -w";
        let run = world.berth(["run", "small-linux", "--input", "names.txt", "--out", "result"])?;
        let receipt: Receipt = run.args(["--", "sh", "-c", script]).json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        let task = receipt.only()?;
        ensure!(task.verified && task.exit == Some(0), "{receipt:?}");
        ensure!(std::fs::read_to_string(world.folder().join("result/sorted"))? == "a\nb\n");
        let owner = task.paid.iter().find(|paid| paid.roles.iter().any(|role| role == "app owner"));
        ensure!(owner.is_some_and(|paid| paid.amount == "250000000000000000"), "{receipt:?}");

        // What the runtime can't do is refused, for everybody, with the reason.
        let outcome = world.berth(["run", "small-linux", "--pids", "64", "--", "true"])?.before("--json").run().await?;
        let receipt: Receipt = outcome.data()?;
        let task = receipt.only()?;
        ensure!(task.digest == Some(Failure::Refused.digest().get()), "{outcome}");
        ensure!(task.detail.as_deref().wrap_err("no detail")?.contains("processes"), "{outcome}");

        // The same worker runs containers as before.
        world.run(&[], "echo both")?.must().await?;
        world.all_cleared().await?;
        ensure!(machines(&world.address(1)?.to_string())? == 0, "a machine is left");
        ensure!(Path::new(MACHINE).exists());
        Ok(())
    })
    .await
}

/// The founding scenario with a virtual machine: registered by the script of old, seen, used, followed, and fetched from.
#[tokio::test]
async fn a_disk_is_registered_listed_submitted_to_followed_and_fetched_from_by_the_tools_of_old() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        share_machine(world, DISK).await?;
        world.berth(["xw", "install", "bin"])?.must().await?;
        let tool = |name: &str, arguments: &[&str]| -> eyre::Result<Call> {
            Ok(world.berth(arguments)?.by(&world.folder().join("bin").join(name)))
        };
        let add = tool("xwaddvbapp.sh", &["--name", "small-vm", "--hda", DISK, "--yes"])?.must().await?;
        let app = add.stdout.trim().rsplit('/').next().wrap_err("an URI ends in a UID")?.to_owned();

        let apps = tool("xwapps", &["small-vm", "--xwformat", "text"])?.must().await?;
        for word in [format!("UID='{app}'"), "TYPE='QEMU'".into(), "disk.qcow2".into()] {
            ensure!(apps.stdout.contains(&word), "no {word}: {apps}");
        }
        world.file("names.txt", b"b\na\n")?;
        let script = "uname -s; sort /iexec_in/names.txt > /iexec_out/sorted; echo said >&2; exit 3";
        let submit = tool("xwsubmit", &["small-vm", "--xwenv", "names.txt", "--", "sh", "-c", script])?.must().await?;
        let job = submit.stdout.trim().rsplit('/').next().wrap_err("an URI ends in a UID")?.to_owned();
        let result = tool("xwresult", &[&job, "--xwwait", "--xwout", "result"])?.must().await?;
        ensure!(result.stdout.contains("STATUS='COMPLETED'") && result.stdout.contains("RETURNCODE='3'"), "{result}");
        let read = |name: &str| std::fs::read_to_string(world.folder().join("result").join(name));
        ensure!((read("stdout.txt")?, read("stderr.txt")?) == ("Linux\n".to_owned(), "said\n".to_owned()));
        ensure!(std::fs::read_dir(world.folder().join("result"))?.count() >= 3, "no output but the streams");
        let works = tool("xwworks", &[&job])?.must().await?;
        ensure!(works.stdout.contains(&format!("UID='{job}', STATUS='COMPLETED'")), "{works}");
        let workers = tool("xwworkers", &[])?.must().await?;
        ensure!(workers.stdout.contains("QEMU"), "{workers}");

        // A job that names an image of its own is told that the app has one, before anything is paid.
        let refused = tool("xwsubmit", &["small-vm", "--xwimage", "sha256:00", "--", "true"])?.run().await?;
        ensure!(refused.code != Some(0) && refused.stderr.contains("image of its own"), "{refused}");
        world.all_cleared().await
    })
    .await
}

/// A disk that the worker does not have is fetched by its sha256, where its owner lets it; without a word of its owner's the
/// task waits, and says so.
#[tokio::test]
async fn an_apps_disk_is_fetched_from_the_pools_store() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        // Nothing boots from it: only that it comes is looked at.
        let disk = vec![0x5a; 1 << 20];
        world.file("blank.raw", &disk)?;
        world.berth(["xw", "install", "bin"])?.must().await?;
        // By the app's owner: whoever else has such bytes in the store is no concern of the app's.
        world.berth(["blank", "blank.raw"])?.by(&world.folder().join("bin/xwsenddata")).must().await?;
        let register = ["app", "register", "blank", "--runtime", "qemu", "--disk", "blank.raw"];
        world.berth(register)?.must().await?;
        let name = World::worker_name(1);
        let cached = world.devnet().join(format!("data/{name}/cache/{}.raw", hex::encode(Sha256::digest(&disk))));
        let table = "[qemu]\naccel = \"tcg\"\nfetch_images = true\n";
        world.configure_worker(1, &format!("{}\n{table}", world.worker_config(1)?))?;
        // Seen while it runs.
        let shares = |said: &Announcement| said.shares.fetches_disks && said.shares.engines.len() == 2;
        world.announced(1, "QEMU", shares).await?;
        let run = world.berth(["run", "blank", "--timeout", "10s"])?.args(["--", "true"]).before("--json");
        let receipt: Receipt = run.run().await?.data()?;
        ensure!(receipt.only()?.digest == Some(Failure::TimedOut.digest().get()), "{receipt:?}");
        ensure!(std::fs::read(cached)? == disk);
        world.all_cleared().await
    })
    .await
}
