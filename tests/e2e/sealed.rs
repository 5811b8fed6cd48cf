//! Results that are encrypted to one reader: he opens them, nobody else does, and nothing of them lies anywhere open.

use berth_protocol::Failure;
use berth_tests::{
    receipt::{Detached, Receipt},
    world::{World, until, within},
};
use eyre::{ContextCompat as _, ensure};
use std::{ffi::OsString, fs, path::Path};

/// What the jobs here print and write. They put it together themselves: their command lines are no secret.
const SECRET: &str = "secret-42-word";
const SAY: &str = "s=secret-$((40+2))-word; ";

/// An identity as `age-keygen` writes one, and its recipient.
const IDENTITY: &str = "# created: 2026-11-23T06:00:00Z\n\
    AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33\n";
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

fn has(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|part| part == words.as_bytes())
}

/// Demands that nothing below a folder holds the secret; gives how many files are sealed ones.
fn sealed_below(folder: &Path) -> eyre::Result<usize> {
    let mut sealed = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sealed += sealed_below(&path)?;
            continue;
        }
        let bytes = fs::read(&path)?;
        ensure!(!has(&bytes, SECRET), "{} holds the secret", path.display());
        sealed += usize::from(bytes.starts_with(b"age-encryption.org/v1"));
    }
    Ok(sealed)
}

/// The scheduler's folder and database hold nothing, nor its log.
fn nothing_in_the_pool(world: &World) -> eyre::Result<usize> {
    let data = world.devnet().join("data");
    for entry in fs::read_dir(&data)? {
        let path = entry?.path();
        if path.is_file() {
            ensure!(!has(&fs::read(&path)?, SECRET), "{} holds the secret", path.display());
        }
    }
    sealed_below(&data.join("store"))
}

#[tokio::test]
async fn an_encrypted_result_is_opened_by_its_account_and_lies_open_nowhere() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        let script =
            format!("{SAY} echo $s; echo no-$s >&2; mkdir /iexec_out/d; echo $s | tee /iexec_out/a > /iexec_out/d/b");
        let receipt: Receipt = world.run(&["--encrypt", "--out", "got"], &script)?.json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        let task = receipt.only()?;
        ensure!(task.verified && task.exit == Some(0), "{receipt:?}");
        for file in ["a", "d/b", "stdout.txt"] {
            ensure!(fs::read_to_string(world.folder().join("got").join(file))? == format!("{SECRET}\n"), "{file}");
        }
        ensure!(fs::read_to_string(world.folder().join("got/stderr.txt"))? == format!("no-{SECRET}\n"));
        let left: Vec<_> = fs::read_dir(world.folder().join("got"))?.flatten().map(|entry| entry.file_name()).collect();
        ensure!(left.len() == 4, "{left:?}");
        ensure!(nothing_in_the_pool(world)? == 1, "one sealed file");
        let id = task.task.to_string();
        let view = world.scheduler.task(task.task).await?;
        ensure!(view.sealed.len() == 1 && view.stdout.is_none() && view.stderr.is_none() && view.detail.is_none());

        let logs = world.berth(["task", "logs", &id])?.must().await?;
        ensure!(logs.stdout == format!("{SECRET}\n") && logs.stderr.contains(&format!("no-{SECRET}")), "{logs}");
        let again = world.berth(["task", "result", &id, "--out", "again"])?.must().await?;
        ensure!(again.stdout.contains("again/d/b"), "{again}");
        world
            .berth(["task", "result", &id, "--out", "stolen", "--account", "worker-1"])?
            .run()
            .await?
            .require_failure(8, &["only for"])?;

        // Standard output alone, as the result; with the tools of old.
        let detached: Detached = world.run(&["--encrypt", "--detach"], &format!("{SAY} echo $s"))?.json().await?;
        let shown = world.berth(["task", "result", &detached.deal.to_string()])?.must().await?;
        ensure!(shown.stdout == format!("{SECRET}\n") && shown.stderr.contains("all hashes are those of the chain"));
        world.berth(["xw", "install", "bin"])?.must().await?;
        let old = world.berth([&format!("{}:0", detached.deal), "--xwout", "old"])?;
        old.by(&world.folder().join("bin/xwresult")).must().await?;
        ensure!(fs::read_to_string(world.folder().join("old/stdout.txt"))? == format!("{SECRET}\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_encrypted_to_another_key_is_opened_by_that_key_only() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        world.file("key.txt", IDENTITY.as_bytes())?;
        let script = format!("{SAY} echo $s");
        let outcome =
            world.run(&["--encrypt-to", RECIPIENT, "--out", "kept"], &script)?.before("--json").must().await?;
        let receipt: Receipt = outcome.data()?;
        let task = receipt.only()?.task.to_string();
        ensure!(!receipt.only()?.verified, "{outcome}");
        let kept = fs::read(world.folder().join("kept/result.age"))?;
        ensure!(kept.starts_with(b"age-encryption.org/v1") && !has(&kept, SECRET));
        ensure!(nothing_in_the_pool(world)? == 1);

        // The account itself has another key; whoever has it, has to be a party of the task.
        let refused = world.berth(["task", "result", &task, "--out", "opened"])?.run().await?;
        refused.require_failure(8, &["encrypted to another key", "--identity FILE", "opened/.berth-sealed"])?;
        let logs = world.berth(["task", "logs", &task])?.run().await?;
        logs.require_failure(8, &["encrypted to another key"])?;
        // The download is there already.
        let opened = world.berth(["task", "result", &task, "--out", "opened", "--identity", "key.txt"])?.must().await?;
        ensure!(opened.stdout == format!("{SECRET}\n"), "{opened}");
        ensure!(fs::read_dir(world.folder().join("opened"))?.count() == 1, "its standard output, and nothing else");
        let at_once = world.run(&["--encrypt-to", RECIPIENT, "--identity", "key.txt"], &script)?.must().await?;
        ensure!(at_once.stdout == format!("{SECRET}\n"), "{at_once}");

        // Between two accounts: one says to what, the other encrypts to that.
        let theirs = world.berth(["wallet", "recipient", "--account", "worker-1"])?.must().await?.stdout;
        let own = world.berth(["wallet", "recipient"])?.must().await?.stdout;
        ensure!(theirs.starts_with("age1") && theirs != own, "{theirs} {own}");
        ensure!(world.berth(["wallet", "recipient"])?.must().await?.stdout == own, "always the same");
        let dry = world.run(&["--encrypt", "--dry-run"], "true")?.must().await?;
        ensure!(dry.stdout.contains(own.trim()), "{dry}");

        let refusals: [(&[&str], &[&str]); 4] = [
            (&["--encrypt-to", "age1nobody"], &["no key to encrypt to", "berth wallet recipient"]),
            (&["--encrypt", "--encrypt-to", RECIPIENT], &["cannot be used with"]),
            (&["--encrypt", "--callback", "0x00000000000000000000000000000000000000aa"], &["stand on chain"]),
            (&["--encrypt-to", RECIPIENT, "--identity", "profile.toml"], &["profile.toml"]),
        ];
        for (flags, words) in refusals {
            let refused = world.run(flags, "true")?.run().await?;
            ensure!(refused.code != Some(0) && words.iter().all(|word| refused.stderr.contains(word)), "{refused}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_an_encrypted_job_left_that_was_stopped_is_for_its_account_alone_and_so_are_the_reasons()
-> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let script = format!("{SAY} mkdir /iexec_out/d; echo $s > /iexec_out/d/half; echo $s; exec sleep 60");
        let outcome = world.run(&["--encrypt", "--timeout", "3s", "--follow"], &script)?.run().await?;
        outcome.require_failure(7, &["what this job prints is encrypted", "ran longer than 3 s", "--partial"])?;
        ensure!(!outcome.stdout.contains(SECRET));
        let deal = world.scheduler.deals(1).await?.pop().wrap_err("a deal")?.deal;
        let view = world.scheduler.deal(deal, None, std::time::Duration::ZERO).await?.tasks.remove(0);
        ensure!(view.digest == Some(Failure::TimedOut.digest().get()) && view.partial.is_none(), "{view:?}");
        ensure!(!view.detail.wrap_err("in general words")?.contains("3 s"), "its own words are sealed");
        ensure!(nothing_in_the_pool(world)? == 1);
        let task = view.task.to_string();
        let partial = world.berth(["task", "result", &task, "--partial", "--out", "left"])?.must().await?;
        ensure!(partial.stderr.contains("not part of the agreed digest"), "{partial}");
        ensure!(fs::read_to_string(world.folder().join("left/d/half"))? == format!("{SECRET}\n"));
        ensure!(fs::read_dir(world.folder().join("left"))?.count() == 1);
        let logs = world.berth(["task", "logs", &task, "--follow"])?.must().await?;
        ensure!(logs.stdout == format!("{SECRET}\n"), "{logs}");

        // A reason may quote what the job has written: here the name of a file.
        let script = format!("{SAY} ln -s /etc/passwd /iexec_out/$s");
        let outcome = world.run(&["--encrypt"], &script)?.run().await?;
        outcome.require_failure(7, &[SECRET, "is a link"])?;
        ensure!(nothing_in_the_pool(world)? == 2);
        // One that never ran has nothing to hide, and says why.
        let outcome = world.run(&["--encrypt", "--memory", "1"], "true")?.run().await?;
        ensure!(outcome.code != Some(0), "{outcome}");
        Ok(())
    })
    .await
}

/// Each of the workers seals the same result in a file of its own: any that opens to what the chain says is good.
#[tokio::test]
async fn several_workers_seal_one_result_each_for_itself() -> eyre::Result<()> {
    within(3, async |world: &mut World| {
        world.configure_scheduler("reveal_wait = \"1s\"", "reveal_wait = \"60s\"").await?;
        let before = world.books().await?;
        let script = format!("{SAY} echo $s > /iexec_out/a; echo $s");
        let receipt: Receipt = world.run(&["--encrypt", "--trust", "5", "--out", "got"], &script)?.json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        ensure!(fs::read_to_string(world.folder().join("got/a"))? == format!("{SECRET}\n"));
        let task = receipt.only()?.task;
        let sealed = world.scheduler.task(task).await?.sealed;
        let names: std::collections::BTreeSet<_> = sealed.iter().map(|view| view.content.sha256).collect();
        ensure!(names.len() == 3, "encryption is never twice the same: {sealed:?}");
        ensure!(nothing_in_the_pool(world)? == 3);

        // One is enough, whichever it is; without any it is said what is missing.
        let again = ["task", "result", &task.to_string(), "--out", "again"].map(str::to_owned);
        for (gone, file) in sealed.iter().enumerate() {
            world.berth(&again)?.must().await?;
            ensure!(fs::read_to_string(world.folder().join("again/a"))? == format!("{SECRET}\n"), "{gone} are gone");
            fs::remove_dir_all(world.folder().join("again"))?;
            world.lose_blob(file.content.sha256)?;
        }
        let none = world.berth(&again)?.run().await?;
        none.require_failure(3, &["is not in this store"])?;
        Ok(())
    })
    .await
}

/// A worker that answers the chain one thing and seals another is found out by the reader, and by nobody else.
#[tokio::test]
async fn a_worker_that_seals_something_else_is_named_by_the_reader() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let marker = world.folder().join("killed");
        let further: [OsString; 4] =
            ["--kill-at".into(), "computed:after".into(), "--kill-marker".into(), marker.clone().into_os_string()];
        let worker = World::worker_name(1);
        world.service(&worker)?.kill().await?;
        world.restart(&worker, &further)?;
        world.ready().await?;
        let detached: Detached = world.run(&["--encrypt", "--detach"], &format!("{SAY} echo $s"))?.json().await?;
        until("the worker is killed", async || Ok(marker.exists().then_some(()))).await?;
        world.service(&worker)?.ended().await?;
        world.falsify(1, alloy::primitives::B256::repeat_byte(0x11)).await?;
        world.restart(&worker, &further)?;
        let task = detached.tasks[0].to_string();
        let refused = world.berth(["task", "result", &task, "--out", "got"])?.run().await?;
        refused.require_failure(1, &["sealed the result", "not what the chain says", "--trust 5", ".berth-sealed"])?;
        ensure!(!refused.stdout.contains(SECRET) && !world.folder().join("got/stdout.txt").exists(), "{refused}");
        Ok(())
    })
    .await
}
