//! The tools of XtremWeb-HEP, under their names, on a real market.

use berth_tests::{
    binary::{Call, Outcome},
    engine::IMAGE,
    world::{World, within},
};
use eyre::{ContextCompat as _, ensure};
use serde_json::Value;
use std::{fs, path::Path};

/// A call of one of the tools.
fn tool<const N: usize>(world: &World, name: &str, arguments: [&str; N]) -> eyre::Result<Call> {
    Ok(world.berth(arguments)?.by(&world.folder().join("bin").join(name)))
}

async fn install(world: &World) -> eyre::Result<()> {
    world.berth(["xw", "install", "bin"])?.must().await?;
    // Again is no harm.
    world.berth(["xw", "install", "bin"])?.must().await?;
    Ok(())
}

/// What `--xwformat json` prints.
async fn rows(call: Call) -> eyre::Result<Vec<Value>> {
    let outcome = call.args(["--xwformat", "json"]).must().await?;
    outcome.data()
}

fn uid(outcome: &Outcome) -> eyre::Result<String> {
    let uri = outcome.stdout.trim();
    ensure!(uri.starts_with("xw://") && !uri.contains('\n'), "not one URI: {outcome}");
    Ok(uri.rsplit('/').next().wrap_err("an URI ends in a UID")?.to_owned())
}

/// The founding scenario: Docker is registered as a shared application, seen, used, followed, and its result fetched.
#[tokio::test]
async fn docker_is_registered_listed_submitted_to_followed_and_fetched_from() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        install(world).await?;
        let add = tool(world, "xwadddocker.sh", ["--name", "shared-docker", "--yes"])?.must().await?;
        let app = uid(&add)?;
        ensure!(add.stderr.contains("Creating Docker application 'shared-docker'"), "{add}");

        let apps = tool(world, "xwapps", ["shared-docker"])?.must().await?;
        for word in [format!("UID='{app}'"), "NAME='shared-docker'".into(), "TYPE='DOCKER'".into()] {
            ensure!(apps.stdout.contains(&word), "no {word}: {apps}");
        }

        world.file("notes of mine.txt", b"one two\n")?;
        let script =
            "printf '%s|' \"$@\"; echo \"$GREETING\"; cat \"/iexec_in/notes of mine.txt\"; echo said >&2; exit 3";
        let submit = tool(world, "xwsubmit", ["shared-docker", "--xwimage", IMAGE, "--xwenv", "notes of mine.txt"])?;
        let submit = submit.args(["--xwenvvar", "GREETING=hello,  you,LAST=x=y", "--xwlabel", "first  job"]);
        let submit = submit.args(["--", "sh", "-c", script, "sh", "two  blanks", "it's", "", "--xwnot", "\"$HOME\""]);
        let submit = submit.must().await?;
        let job = uid(&submit)?;

        let result = tool(world, "xwresult", [&job, "--xwwait"])?.must().await?;
        ensure!(result.stdout.contains("STATUS='COMPLETED'") && result.stdout.contains("RETURNCODE='3'"), "{result}");
        let folder = format!("{}_0_first__job", &job[2..10]);
        let printed = fs::read_to_string(world.folder().join(&folder).join("stdout.txt"))?;
        ensure!(printed == "two  blanks|it's||--xwnot|\"$HOME\"|hello,  you\none two\n", "{printed:?}");
        ensure!(fs::read_to_string(world.folder().join(&folder).join("stderr.txt"))? == "said\n");

        let works = tool(world, "xwworks", [])?.must().await?;
        let line = works.stdout.trim_end_matches('\n');
        ensure!(line.starts_with(&format!(" UID='{job}', STATUS='COMPLETED', COMPLETEDDATE='20")), "{works}");
        ensure!(line.ends_with("', LABEL='first  job'") && !line.contains('\n'), "{works}");
        // By its whole URI, too, under every name, in every format.
        let uri = submit.stdout.trim();
        for (name, format) in [("xwstatus", "text"), ("xwworkscompleted", "csv"), ("xwworks", "xml")] {
            let shown = tool(world, name, [uri, "--xwformat", format])?.must().await?;
            ensure!(shown.stdout.contains(&job) && shown.stdout.contains("COMPLETED"), "{shown}");
        }
        ensure!(tool(world, "xwworkspending", [])?.must().await?.stdout.is_empty());

        // A result is fetched as often as one likes, and overwrites nothing.
        tool(world, "xwresults", [])?.must().await?;
        tool(world, "xwresults", [&job])?.run().await?.require_failure(9, &["is not empty"])?;
        tool(world, "xwresults", [&job, "--xwout", "again"])?.must().await?;
        ensure!(world.folder().join("again/stdout.txt").is_file());

        let workers = rows(tool(world, "xwworkers", [])?).await?;
        let [worker] = &*workers else { eyre::bail!("not one worker: {workers:?}") };
        ensure!(worker["uid"] == world.address(1)?.to_string() && worker["sharedapps"] == "DOCKER", "{worker}");
        Ok(())
    })
    .await
}

/// The page of the scenario, line by line.
#[tokio::test]
async fn the_page_of_the_scenario_does_what_it_says() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        install(world).await?;
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/shared-docker.md");
        let page = fs::read_to_string(page)?;
        let block = page.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```"));
        let script = block.wrap_err("the page has a block of commands")?.0.replace("busybox", IMAGE);
        ensure!(script.lines().count() >= 6, "{script}");
        let script = format!("PATH=$PWD/bin:$PATH\n{script}");
        let outcome = world.berth(["-ec", &script])?.by(Path::new("/bin/sh")).must().await?;
        ensure!(outcome.stdout.ends_with("\nhello  from a shared engine\n"), "{outcome}");
        ensure!(outcome.stdout.contains("LABEL='first job'"), "{outcome}");
        Ok(())
    })
    .await
}

/// An application of one image; the same under the other name, and as XtremWeb-HEP did it since its version 13.
#[tokio::test]
async fn an_image_is_an_application_and_its_digest_is_shown() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        install(world).await?;
        let id = world.engine.docker.inspect_image(IMAGE).await?.id.wrap_err("an image without an id")?;
        tool(world, "xwadddockerapp.sh", ["--name", "boxes", "--image", IMAGE, "--yes", "--price", "0.25"])?
            .must()
            .await?;
        let kept = format!("XWDOCKERIMAGE={IMAGE},MOOD=good, very");
        tool(world, "xwsendapp", ["other", "docker", "--xwenvvar", &kept])?.must().await?;
        let apps = rows(tool(world, "xwapps", ["boxes", "other"])?).await?;
        ensure!(apps.len() == 2 && apps.iter().all(|app| app["imagedigest"] == *id), "{apps:?}");
        ensure!(apps[0]["price"] == "0.25 LOCAL" && apps[1]["envvars"] == "MOOD=good, very", "{apps:?}");

        let said = tool(world, "xwsendwork", ["other", "--xwwait", "sh", "-c", "echo \"$MOOD\" > /iexec_out/mood"])?;
        let said = said.args(["--xwformat", "json"]).must().await?;
        let works: Vec<Value> = said.data()?;
        let path = works[0]["path"].as_str().wrap_err("a folder")?;
        ensure!(fs::read_to_string(world.folder().join(path).join("mood"))? == "good, very\n");

        // A virtual machine is registered by its disk.
        let mut live = vec![0; 0x9000];
        live[0x8001..0x8006].copy_from_slice(b"CD001");
        world.file("live.iso", &live)?;
        world.file("liar.vdi", &live)?;
        tool(world, "xwaddvbapp.sh", ["--livecd", "live.iso", "--yes"])?.must().await?;
        let app = rows(tool(world, "xwapps", ["live"])?).await?;
        ensure!(app[0]["type"] == "VIRTUALBOX" && app[0]["image"] == "live.iso", "{app:?}");
        // No worker of this world runs virtual machines: the job is given back, and says why.
        let job = uid(&tool(world, "xwsubmit", ["live", "--", "x"])?.must().await?)?;
        let result = tool(world, "xwresult", [&job, "--xwwait"])?.run().await?;
        result.require_failure(2, &["has no result"])?;
        let liar = tool(world, "xwaddvbapp.sh", ["--livecd", "liar.vdi", "--yes"])?.run().await?;
        liar.require_failure(8, &["liar.vdi", "named as vdi", "is iso"])?;
        Ok(())
    })
    .await
}

/// Data of one's own: sent, listed, used by a job, downloaded, removed; and nothing goes that somebody needs.
#[tokio::test]
async fn data_are_sent_listed_used_downloaded_and_removed() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        install(world).await?;
        world.file("a book.txt", b"one two three\n")?;
        let sent = tool(world, "xwsenddata", ["book", "a book.txt"])?.must().await?;
        let (uri, data) = (sent.stdout.trim(), uid(&sent)?);
        let listed = rows(tool(world, "xwdatas", [])?).await?;
        ensure!(listed.len() == 1 && listed[0]["uid"] == *data && listed[0]["name"] == "book", "{listed:?}");
        tool(world, "xwdownload", ["book", "--xwout", "fetched/copy"])?.must().await?;
        ensure!(fs::read(world.folder().join("fetched/copy"))? == b"one two three\n");
        let again = tool(world, "xwdownload", [uri, "--xwout", "fetched/copy"])?.run().await?;
        again.require_failure(9, &["nothing is overwritten"])?;

        let submit = tool(world, "xwsubmit", ["docker", "--xwimage", IMAGE, "--xwenv", uri])?;
        let job = uid(&submit.args(["--", "wc", "-w", "/iexec_in/book"]).must().await?)?;
        // The bytes stay while the job needs them.
        let removed = tool(world, "xwrm", ["book"])?.must().await?;
        ensure!(removed.stderr.contains("its bytes stay"), "{removed}");
        ensure!(tool(world, "xwdatas", [])?.must().await?.stdout.is_empty());
        tool(world, "xwdownload", ["book"])?.run().await?.require_failure(11, &["none of your data is `book`"])?;

        let result = tool(world, "xwresult", [&job, "--xwwait", "--xwout", "counted", "--xwerase"])?.must().await?;
        ensure!(fs::read_to_string(world.folder().join("counted/stdout.txt"))? == "3 /iexec_in/book\n", "{result}");
        ensure!(result.stderr.contains("removed from the pool's store"), "{result}");
        let gone = tool(world, "xwresult", [&job, "--xwout", "once-more"])?.run().await?;
        gone.require_failure(11, &["is not in this store"])?;
        tool(world, "xwrm", [&job])?.must().await?;
        tool(world, "xwrm", [])?.run().await?.require_failure(8, &["no URI provided"])?;
        tool(world, "xwrm", ["docker"])?.run().await?.require_failure(7, &["registered on chain, and stays there"])?;
        Ok(())
    })
    .await
}

/// A job that no worker can run says why, worker by worker, and is taken back: its price returns.
#[tokio::test]
async fn a_job_that_waits_says_why_and_is_taken_back() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        install(world).await?;
        let before = world.books().await?;
        let submit = tool(world, "xwsubmit", ["docker", "--xwimage", IMAGE, "--xwmemory", "512G", "true"])?;
        let job = uid(&submit.must().await?)?;
        let worker = world.address(1)?.to_string();
        let waits = loop {
            let works = tool(world, "xwworks", [&job])?.must().await?;
            if works.stdout.contains("STATUS='PENDING'") {
                break works;
            }
            ensure!(works.stdout.contains("STATUS='WAITING'"), "{works}");
        };
        ensure!(waits.stderr.contains(&worker) && waits.stderr.contains("bytes of memory are left"), "{waits}");
        let early = tool(world, "xwresult", [&job])?.run().await?;
        early.require_failure(3, &["is not over"])?;

        tool(world, "xwrm", [&job])?.must().await?;
        let result = tool(world, "xwresult", [&job, "--xwwait"])?.run().await?;
        result.require_failure(2, &["has no result", "its requester wants it back"])?;
        let works = rows(tool(world, "xwworks", ["--xwstatus", "aborted"])?).await?;
        ensure!(works.len() == 1 && works[0]["uid"] == *job, "{works:?}");
        let after = world.books().await?;
        ensure!(before.burnt == after.burnt, "the pool has lost its stake");
        Ok(())
    })
    .await
}

/// What makes no sense is refused with its code of old, the reason, and what to do; nothing is registered or paid.
#[tokio::test]
async fn bad_input_has_its_exit_code_of_old_and_a_hint() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        install(world).await?;
        let before = world.books().await?;
        world.file("start.sh", b"#!/bin/sh\nrm -rf /\n")?;
        world.file("old.conf", b"LOGIN=alice\nPASSWORD=secret\nDISPATCHERS=old.example\n")?;
        let unknown = format!("0x{}", "5c".repeat(32));
        let calls: &[(&str, &[&str], i32, &str)] = &[
            ("xwadddocker.sh", &["--name", "x", "--startsh", "start.sh"], 8, "outside of any sandbox"),
            ("xwadddocker.sh", &["--name", "x", "--dockerfile", "f"], 8, "no worker builds images"),
            ("xwadddocker.sh", &["--yes"], 8, "must provide an application name"),
            ("xwadddocker.sh", &["--name", "x", "--image", "no/such:image", "--yes"], 11, "no/such:image"),
            ("xwadddocker.sh", &["--name", "x"], 1, "nothing was registered"),
            ("xwsendapp", &["x", "DEPLOYABLE"], 8, "bare binary"),
            ("xwsendapp", &["x", "DOCKER", "linux", "amd64", "file"], 8, "linux"),
            ("xwsubmit", &["no-such-app", "x"], 11, "no-such-app"),
            ("xwsubmit", &["docker", "x"], 8, "names no image"),
            ("xwsubmit", &["docker", "--xwexpectedhost", "y"], 8, "--xwexpectedhost is gone"),
            ("xwsubmit", &["docker", "--xwimage", IMAGE, "--xwenv", "no-such-file", "x"], 9, "no-such-file"),
            ("xwsubmit", &["docker", "--xwimage", IMAGE, "--xwmaxprice", "0.001", "x"], 7, "no offer fits"),
            ("xwworks", &[&unknown], 11, "there is no task or deal"),
            ("xwworks", &["--xwformat", "html"], 8, "html is gone"),
            ("xwworks", &["--xwconfig", "old.conf"], 8, "is a configuration of XtremWeb-HEP"),
            ("xwapps", &["no-such-app"], 11, "no-such-app"),
            ("xwchmod", &["755", "x"], 8, "rights are the rules"),
            ("xwtasks", &[], 8, "xwtasks: now: berth task show"),
        ];
        for (name, arguments, code, word) in calls {
            let call = world.berth(*arguments)?.by(&world.folder().join("bin").join(name));
            call.run().await?.require_failure(*code, &[word])?;
        }
        let json = tool(world, "xwworks", ["--xwformat", "json", "x"])?.run().await?.document()?;
        ensure!(json.error.is_some_and(|error| error.exit == 8));
        ensure!(tool(world, "xwversion", ["--xwverbose"])?.must().await?.stdout.starts_with("Current version : "));
        let after = world.books().await?;
        ensure!(before.deals.len() == after.deals.len(), "something was paid for");
        Ok(())
    })
    .await
}
