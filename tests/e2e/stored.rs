//! Inputs and results in a store that is elsewhere, and that somebody else would like to read.

use crate::seaweed::Seaweed;
use berth_chain::signer::Signer;
use berth_tests::{
    receipt::Receipt,
    world::{World, within},
};
use berth_wire::{client::ClientError, manifest::Content, units::Sha256};
use eyre::{ContextCompat as _, ensure};
use std::fs;

/// A paid job whose inputs and results are in a bucket; the same commands, the same books.
#[tokio::test]
async fn a_paid_job_keeps_its_inputs_and_results_on_an_s3_server() -> eyre::Result<()> {
    let s3 = Seaweed::start().await?;
    within(1, async |world: &mut World| {
        let config = world.devnet().join("scheduler.toml");
        let results = s3.results();
        let server = results.s3.wrap_err("a server")?;
        fs::write(
            world.devnet().join("s3-key.toml"),
            format!(
                "access_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
                crate::seaweed::KEY,
                crate::seaweed::SECRET
            ),
        )?;
        let text = fs::read_to_string(&config)?;
        let (endpoint, bucket) = (server.endpoint, server.bucket);
        fs::write(
            &config,
            format!(
                "{text}\n[results]\nstore = \"s3\"\n[results.s3]\nendpoint = \"{endpoint}\"\nbucket = \"{bucket}\"\n\
                 credentials = \"s3-key.toml\"\n"
            ),
        )?;
        world.kill("services").await?;
        world.restart("services", &[])?;
        world.ready().await?;

        let book: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let path = world.file("book.bin", &book)?;
        let flags = ["--input", &path.to_string_lossy(), "--out", "result", "--disk", "64M"];
        let before = world.books().await?;
        let receipt: Receipt = world.run(&flags, "cp /iexec_in/book.bin /iexec_out/copy.bin")?.json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        ensure!(fs::read(world.folder().join("result/copy.bin"))? == book, "another book");
        ensure!(!world.folder().join("result/.berth-unfinished").exists());
        ensure!(world.lose_blob(Sha256::of(&book)).is_err(), "it is on this machine, too");

        // Who knows what the chain says of it knows no more.
        let thief = Signer::random();
        let challenge = world.scheduler.challenge(thief.address()).await?;
        let signature = thief.sign_text(&challenge.message);
        let session = world.scheduler.session(challenge.message, signature).await?;
        let client = world.scheduler.clone().with_token(session.token);
        let (task, digest) = (receipt.only()?.task, receipt.only()?.digest.wrap_err("a digest")?);
        let content = Content::of(&book);
        for name in [content.sha256, Sha256(digest.0)] {
            ensure!(!client.has_blob(name).await?, "{name} is there for anybody");
            let stolen = client.fetch_blob(task, name, &world.folder().join("stolen")).await;
            ensure!(matches!(stolen, Err(ClientError::Refused(problem)) if problem.status == 403), "{name}");
        }
        let stolen = client.manifest(task, digest).await;
        ensure!(matches!(stolen, Err(ClientError::Refused(problem)) if problem.status == 403));
        Ok(())
    })
    .await
}

/// A download that was killed goes on in its folder; another's folder is left alone.
#[tokio::test]
async fn what_a_stopped_job_had_written_can_be_fetched_and_is_told_from_a_result() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let script = "mkdir /iexec_out/deep && echo half > /iexec_out/deep/half && echo said && exec sleep 60";
        let outcome = world.run(&["--timeout", "3s"], script)?.before("--json").run().await?;
        ensure!(outcome.code == Some(7), "{outcome}");
        let receipt: Receipt = outcome.data()?;
        let task = receipt.only()?.task.to_string();
        let error = outcome.document()?.error.wrap_err("it failed")?;
        ensure!(error.hints.iter().any(|hint| hint.contains("--partial")), "{outcome}");

        let fetch = ["task", "result", &task, "--partial", "--out", "left"];
        let fetched = world.berth(fetch)?.must().await?;
        ensure!(fetched.stderr.contains("not part of the agreed digest"), "{fetched}");
        ensure!(fs::read_to_string(world.folder().join("left/deep/half"))? == "half\n");
        ensure!(world.berth(fetch)?.run().await?.code == Some(2), "a folder with something in it");
        // As a download that was killed leaves it.
        fs::write(world.folder().join("left/.berth-unfinished"), receipt.deal.to_string())?;
        fs::remove_file(world.folder().join("left/deep/half"))?;
        fs::write(world.folder().join("left/deep/.half.berth-part"), "ha")?;
        world.berth(fetch)?.must().await?;
        ensure!(fs::read_to_string(world.folder().join("left/deep/half"))? == "half\n");
        ensure!(fs::read_dir(world.folder().join("left/deep"))?.count() == 1);

        let whole: Receipt = world.run(&[], "echo whole")?.json().await?;
        let none = world.berth(["task", "result", &whole.only()?.task.to_string(), "--partial"])?.run().await?;
        none.require_failure(3, &["left nothing that was kept"])
    })
    .await
}
