//! What an idle worker holds in memory: resident, connected, a minute after a job.

use crate::report::{Figure, load};
use berth_tests::world::{World, within};
use eyre::{ContextCompat as _, ensure};
use serde_json::{Map, json};
use std::time::Duration;

/// How long after a job.
const IDLE: Duration = Duration::from_secs(60);
const KIB_PER_MIB: f64 = 1_024.0;

/// Measures and prints it.
pub(crate) async fn measure() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        world.run(&[], "echo ahoy")?.must().await?;
        // Not for synchronisation: the minute is part of what is measured.
        tokio::time::sleep(IDLE).await;
        world.connected(1).await?;
        let pid = world.service(&World::worker_name(1))?.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
            line.and_then(|number| number.trim().parse::<f64>().ok()).wrap_err("the kernel does not say")
        };
        let (resident, anonymous) = (kib("VmRSS:")?, kib("RssAnon:")?);
        ensure!(resident > 0.0, "the worker holds nothing");
        let mib = |kib: f64| (kib / KIB_PER_MIB * 10.0).round() / 10.0;
        let beside =
            Map::from_iter([("anonymous_mib".to_owned(), json!(mib(anonymous))), ("load".to_owned(), json!(load()?))]);
        Figure { bench: "footprint", op: "worker_idle_mib", value: json!(mib(resident)), unit: "MiB", beside }.print()
    })
    .await
}
