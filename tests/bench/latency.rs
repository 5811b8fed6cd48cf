//! What a paid job takes beyond the same `docker run`: pairs of both in turn, so that whatever else the machine does meets
//! both alike.

use crate::report::{Figure, load};
use berth_tests::{
    engine::IMAGE,
    world::{World, within},
};
use eyre::ensure;
use futures_util::future::try_join_all;
use serde_json::{Map, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::process::Command;

/// Pairs measured, after one that is not.
const PAIRS: usize = 24;
/// What the job says, so that its result can be checked each time.
pub(crate) const WORD: &str = "ahoy";

/// What is asked for, and how many workers then answer.
struct Ask {
    op: &'static str,
    workers: u16,
    options: &'static [&'static str],
}

const ASKS: [Ask; 2] = [
    Ask { op: "overhead_1_worker_s", workers: 1, options: &[] },
    Ask { op: "overhead_3_workers_s", workers: 3, options: &["--trust", "5"] },
];

/// Measures and prints it.
pub(crate) async fn measure() -> eyre::Result<()> {
    for ask in &ASKS {
        measure_one(ask).await?;
    }
    Ok(())
}

async fn measure_one(ask: &Ask) -> eyre::Result<()> {
    within(ask.workers, async |world: &mut World| {
        let mut pairs = Vec::new();
        for pair in 0..=PAIRS {
            // Each comes first in every other pair.
            let (paid, plain) = if pair % 2 == 0 {
                let paid = paid(world, ask).await?;
                (paid, plain_at_once(world, ask).await?)
            } else {
                let plain = plain_at_once(world, ask).await?;
                (paid(world, ask).await?, plain)
            };
            if pair > 0 {
                pairs.push((paid, plain));
            }
        }
        let overheads = pairs.iter().map(|(paid, plain)| paid.as_secs_f64() - plain.as_secs_f64()).collect();
        let beside = Map::from_iter([
            ("pairs".to_owned(), json!(PAIRS)),
            ("paid_s".to_owned(), json!(median(pairs.iter().map(|pair| pair.0.as_secs_f64()).collect()))),
            ("docker_run_s".to_owned(), json!(median(pairs.iter().map(|pair| pair.1.as_secs_f64()).collect()))),
            ("load".to_owned(), json!(load()?)),
        ]);
        let value = json!(median(overheads));
        Figure { bench: "latency", op: ask.op, value, unit: "s", beside }.print()
    })
    .await
}

/// From the command to the verified receipt.
async fn paid(world: &World, ask: &Ask) -> eyre::Result<Duration> {
    let call = world.run(ask.options, &format!("echo {WORD}"))?;
    let began = Instant::now();
    let outcome = call.must().await?;
    let took = began.elapsed();
    ensure!(outcome.stdout == format!("{WORD}\n") && outcome.stderr.contains("verified"), "{outcome}");
    Ok(took)
}

/// As many containers at once as workers answer: until the last has ended.
async fn plain_at_once(world: &World, ask: &Ask) -> eyre::Result<Duration> {
    let began = Instant::now();
    try_join_all((0..ask.workers).map(|_| plain(world))).await?;
    Ok(began.elapsed())
}

/// The same container, confined as a worker confines it, by Docker's own client.
async fn plain(world: &World) -> eyre::Result<()> {
    plain_in(world.folder(), &world.engine.host).await.map(drop)
}

/// The same with its folders in another, and how long it took.
pub(crate) async fn plain_in(folder: &Path, host: &str) -> eyre::Result<Duration> {
    let began = Instant::now();
    let (inputs, outputs) = (folder.join("plain-in"), folder.join("plain-out"));
    for folder in [&inputs, &outputs] {
        std::fs::create_dir_all(folder)?;
    }
    let mounts = [format!("{}:/iexec_in:ro", inputs.display()), format!("{}:/iexec_out", outputs.display())];
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", host).kill_on_drop(true);
    command.args([
        "run",
        "--rm",
        "--init",
        "--network",
        "none",
        "--read-only",
        "--user",
        "65534:65534",
        "--ipc",
        "none",
    ]);
    command.args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "65", "--cpus", "1"]);
    command.args(["--memory", "256m", "--memory-swap", "256m", "--ulimit", "nofile=1024", "--ulimit", "core=0"]);
    command.args(["--tmpfs", "/tmp:size=64m,mode=1777,nosuid,nodev,noexec"]);
    command.args(["--tmpfs", "/iexec:size=64m,mode=0700,uid=65534,gid=65534,nosuid,nodev,exec", "-w", "/iexec"]);
    command.args(["--log-driver", "local", "-v", &mounts[0], "-v", &mounts[1]]);
    command.args([IMAGE, "sh", "-c", &format!("echo {WORD}")]);
    let output = command.output().await?;
    ensure!(output.stdout == format!("{WORD}\n").as_bytes(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(began.elapsed())
}

/// To the millisecond.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(((low + high) / 2.0 * 1_000.0).round() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
