//! Jobs that go wrong, and are paid for all the same: in full for what they did, a tenth for a failure.

use berth_protocol::Failure;
use berth_tests::{
    receipt::Receipt,
    world::{World, within},
};
use eyre::ensure;

/// Each way of failing says what it was, costs what the rules say, and leaves the worker fit for the next.
#[tokio::test]
async fn a_failing_job_says_why_and_costs_what_the_rules_say() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        exit_codes(world).await?;
        let hog = "exec dd if=/dev/zero of=/dev/null bs=150M count=1";
        failure(world, &["--memory", "16M"], hog, Failure::OutOfMemory).await?;
        failure(world, &["--timeout", "3s"], "sleep 60", Failure::TimedOut).await?;
        let full = "head -c 20000000 /dev/zero > /iexec_out/big";
        failure(world, &["--disk", "8M"], full, Failure::OutputTooLarge).await?;
        failure(world, &[], "ln -s /etc/passwd /iexec_out/link", Failure::OutputTooLarge).await?;
        processes(world).await?;
        let receipt: Receipt = world.run(&[], "echo well")?.json().await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("well\n"), "{receipt:?}");
        Ok(())
    })
    .await
}

/// A job's own exit code is a result: verified, paid in full, and told.
async fn exit_codes(world: &mut World) -> eyre::Result<()> {
    let before = world.books().await?;
    let call = world.run(&["--out", "failed"], "echo partly > /iexec_out/part; echo oh no >&2; exit 3")?;
    let outcome = call.before("--json").run().await?;
    ensure!(outcome.code == Some(7), "{outcome}");
    let receipt: Receipt = outcome.data()?;
    receipt.require_true(&world.chain, &before, &world.books().await?).await?;
    ensure!(receipt.only()?.exit == Some(3) && receipt.only()?.verified, "{outcome}");
    let error = outcome.document()?.error;
    ensure!(error.is_some_and(|error| error.code == "job-exit" && error.message.contains('3')), "{outcome}");
    ensure!(std::fs::read_to_string(world.folder().join("failed/part"))? == "partly\n");

    let outcome = world.run(&["--exit-code", "task"], "exit 42")?.run().await?;
    outcome.require_failure(42, &["exit code 42"])
}

async fn failure(world: &mut World, flags: &[&str], script: &str, wanted: Failure) -> eyre::Result<()> {
    let before = world.books().await?;
    let outcome = world.run(flags, script)?.before("--json").run().await?;
    ensure!(outcome.code == Some(7), "{wanted:?}: {outcome}");
    let receipt: Receipt = outcome.data()?;
    receipt.require_true(&world.chain, &before, &world.books().await?).await?;
    let task = receipt.only()?;
    ensure!(task.digest == Some(wanted.digest().get()), "{wanted:?}: {outcome}");
    let error = outcome.document()?.error;
    let says =
        |error: &berth_tests::binary::Complaint| error.message.contains(wanted.describe()) && !error.hints.is_empty();
    ensure!(error.as_ref().is_some_and(says), "{wanted:?}: {outcome}");
    Ok(())
}

/// Past its limit a job can't fork; what it makes of that is its own.
async fn processes(world: &mut World) -> eyre::Result<()> {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all > /iexec_out/started; wait";
    let outcome = world.run(&["--pids", "6"], script)?.before("--json").run().await?;
    ensure!(outcome.code == Some(7), "{outcome}");
    let receipt: Receipt = outcome.data()?;
    ensure!(receipt.only()?.exit.is_some_and(|exit| exit != 0), "{outcome}");
    Ok(())
}
