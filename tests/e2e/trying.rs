//! `berth test`: a job as workers would run it, on the engine here, before anybody is paid.

use berth_tests::{
    binary::Call,
    engine::{Engine, IMAGE},
};
use eyre::ensure;
use serde_json::Value;

/// `berth test` of the tests' image with a shell script, flags before it.
fn trying(engine: &Engine, folder: &std::path::Path, flags: &[&str], script: &str) -> eyre::Result<Call> {
    Ok(Call::new(folder, &engine.host)?.args(["test", IMAGE]).args(flags).args(["--", "sh", "-c", script]))
}

#[tokio::test]
async fn a_job_is_tried_twice_and_what_differs_is_named() -> eyre::Result<()> {
    let (engine, folder) = (Engine::with_image().await?, tempfile::tempdir()?);
    std::fs::write(folder.path().join("names.txt"), "b\na\n")?;
    let call = |flags: &[&str], script: &str| trying(&engine, folder.path(), flags, script);

    // The same task twice: what it is told is the same, and so is its answer.
    let script = "cd /iexec_out; sort /iexec_in/names.txt > sorted; cat sorted; echo $BERTH_TASK_ID > task; \
                  cat /proc/sys/kernel/random/uuid >&2";
    let same = call(&["--twice", "--input", "names.txt"], script)?.run().await?;
    ensure!(same.code == Some(0) && same.stdout == "a\nb\n", "{same}");
    ensure!(same.stderr.contains("the same result") && same.stderr.contains("/iexec_out/sorted"), "{same}");
    ensure!(same.stderr.contains("standard error: differs"), "what does not count is named, too: {same}");

    // Which file, and from which byte on.
    let script =
        "cd /iexec_out; echo kept > same; printf 'at '; printf 'at %s' $(cat /proc/sys/kernel/random/uuid) > other";
    let other = call(&["--twice"], script)?.run().await?;
    ensure!(other.code == Some(7) && other.stderr.contains("two different results"), "{other}");
    ensure!(other.stderr.contains("/iexec_out/other: differs from byte 3"), "{other}");
    ensure!(!other.stderr.contains("/iexec_out/same: "), "{other}");
    ensure!(other.stderr.contains("hint:"), "{other}");
    let document = call(&["--twice"], script)?.before("--json").run().await?;
    let said: Value = serde_json::from_str(&document.stdout)?;
    ensure!(
        said["data"]["same"] == false && said["data"]["runs"].as_array().is_some_and(|runs| runs.len() == 2),
        "{said}"
    );
    let narrowed = call(&["--twice", "--output", "same"], script)?.run().await?;
    ensure!(narrowed.code == Some(0), "what does not count may differ: {narrowed}");

    // As for a worker: confined, and judged by what it leaves.
    let confined = call(&[], "(: > /x) 2>/dev/null || echo refused; ls /sys/class/net")?.must().await?;
    ensure!(confined.stdout == "refused\nlo\n", "{confined}");
    let job = call(&[], "exit 3")?.run().await?;
    ensure!(job.code == Some(7) && job.stderr.contains("exit code 3"), "{job}");
    let odd = call(&[], r#": > "/iexec_out/$(printf 'a\tb')""#)?.run().await?;
    ensure!(odd.code == Some(7) && odd.stderr.contains("has a name"), "{odd}");
    let long = call(&["--timeout", "1s"], "sleep 60")?.run().await?;
    ensure!(long.code == Some(7) && long.stderr.contains("longer than 1 s"), "{long}");
    let absent = Call::new(folder.path(), &engine.host)?.args(["test", "nowhere:none", "--", "true"]).run().await?;
    ensure!(absent.code != Some(0) && absent.stderr.contains("hint:"), "{absent}");
    Ok(())
}
