//! The devnet's processes: each on its own, found again by its id and its start time, ended by that and nothing else.

use super::{
    money::Founded,
    state::{Component, State},
};
use crate::{exit::Exit, hint::Failure, settings::Profile};
use berth_chain::{
    Endpoint, Rpc,
    anvil::{self, AnvilConfig, Mining},
    port,
    signer::keystore,
    tool::tool_path,
};
use berth_protocol::WorkerAddr;
use berth_wire::client::{MarketClient, SchedulerClient};
use berth_worker::{
    config::{Accel, QemuShare},
    runtime::{Runtime as _, RuntimeError, docker::Docker, qemu::Qemu, slurm::Slurm, virtualbox::VirtualBox},
};
use core::time::Duration;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::HashSet,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};
use tokio::time::Instant;

/// How long a process may take to stop in good order: a worker ends its containers meanwhile.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// How long anvil may take to listen.
const CHAIN_DEADLINE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many lines of a dead process's log are shown.
const LAST_WORDS: usize = 6;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Child {
    /// Anvil.
    Chain,
    /// Order book and scheduler.
    Services,
    /// A worker, by its number from 1.
    Worker(u16),
}

/// Whether a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Alive,
    Dead,
}

/// When a process was started, in ticks since the machine was; `None` if there is none, or only its remains.
pub(super) fn born(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold blanks and brackets; what follows its last bracket does not.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    // Field 22 of the line; the third was the state.
    (state != "Z").then(|| fields.nth(18)?.parse().ok()).flatten()
}

/// Starts a process that outlives this one: in a session of its own, with its output in a log.
fn start(dir: &Path, name: &str, child: Child, command: Vec<String>) -> Result<Component, Failure> {
    let mut component = Component { name: name.to_owned(), child, pid: 0, born: 0, command };
    restart(dir, &mut component)?;
    Ok(component)
}

/// Starts a component again, by the same command.
pub(super) fn restart(dir: &Path, component: &mut Component) -> Result<(), Failure> {
    let log = component.log(dir);
    let opened = File::options().create(true).append(true).open(&log);
    let out = opened.map_err(|error| Failure::file(&log, "written", &error))?;
    let err = out.try_clone().map_err(|error| Failure::file(&log, "written", &error))?;
    let (program, arguments) = component.command.split_first().expect("every component has a command");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    let spawned = command
        .spawn()
        .map_err(|error| Failure::new(Exit::Error, "spawn", format!("{program} can't be started")).because(&error))?;
    component.pid = spawned.id();
    // A process that has ended before it is looked at was born at no time: it counts as dead.
    component.born = born(component.pid).unwrap_or(0);
    Ok(())
}

/// Starts anvil at any free port, and waits until it answers.
pub(super) async fn start_chain(dir: &Path, block_time: f64, state: &mut State) -> Result<Rpc, Failure> {
    if !(0.05..=60.0).contains(&block_time) {
        return Err(Failure::usage("block-time", format!("--block-time {block_time}: between 0.05 and 60 s")));
    }
    let mut config = AnvilConfig::new(tool_path("anvil")?);
    config.port = ports(1)?[0];
    config.mining = Mining::Every(block_time);
    let command = anvil::command_line(&config);
    state.components.push(start(dir, "chain", Child::Chain, command)?);
    state.rpc = format!("ws://127.0.0.1:{}", config.port);
    state.save(dir)?;
    let rpc = Rpc::new(Endpoint::parse(&state.rpc)?)?;
    let begun = Instant::now();
    while rpc.chain_id().await.is_err() {
        let chain = &state.components[0];
        if chain.health() == Health::Dead || begun.elapsed() > CHAIN_DEADLINE {
            let mut failure = Failure::new(Exit::Preflight, "anvil", "anvil does not listen");
            failure.causes.extend(last_words(&chain.log(dir)));
            return Err(failure.hint("run scripts/setup.sh, which installs the pinned anvil"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(rpc)
}

/// Ports at which services can be started again.
pub(super) fn ports(count: usize) -> Result<Vec<u16>, Failure> {
    port::free(count).map_err(|error| Failure::new(Exit::Error, "port", "no free port can be had").because(&error))
}

/// Writes the services' configurations and the profile.
pub(super) fn configure(dir: &Path, market: &Founded, state: &State) -> Result<(), Failure> {
    let listen = |url: &str| url.trim_start_matches("http://").to_owned();
    write_toml(
        &dir.join("market.toml"),
        &json!({
            "listen": listen(&state.market), "database": "data/market.db", "rpc": state.rpc, "deployment": "deployment.json",
        }),
    )?;
    write_toml(
        &dir.join("scheduler.toml"),
        &json!({
            "listen": listen(&state.scheduler), "database": "data/scheduler.db", "store": "data/store", "rpc": state.rpc,
            "deployment": "deployment.json", "pool": market.pool.to_string(), "settle_wait": "20s",
            // All workers that there will be are there, or back at once: what none of them can do, nobody will.
            "unable_wait": "5s",
            "round_wait": "2s", "confirmations": 1, "reveal_wait": "1s",
        }),
    )?;
    for number in 1..=market.workers {
        write_toml(
            &dir.join(format!("worker-{number}.toml")),
            &json!({
                "scheduler": state.scheduler, "pool": market.pool.to_string(),
                "key": format!("keys/worker-{number}.json"), "folder": format!("data/worker-{number}"),
                "rpc": state.rpc, "confirmations": 1, "drain": "5s",
                "capacity": { "slots": 2, "cpu_millis": 2_000, "memory": "1 GiB", "disk": "2 GiB" },
                "docker": { "images": "all", "network": true },
            }),
        )?;
    }
    let profile = Profile {
        rpc: Some(state.rpc.clone()),
        deployment: Some("deployment.json".into()),
        market: Some(state.market.clone()),
        keystore: Some("keys".into()),
        account: Some("requester".into()),
        password_file: Some("password.txt".into()),
        docker_app: Some(market.app.to_string()),
    };
    write_toml(&dir.join("profile.toml"), &profile)
}

fn write_toml(path: &Path, document: &impl Serialize) -> Result<(), Failure> {
    let text = toml::to_string(document).expect("texts, numbers and tables are TOML");
    fs::write(path, text).map_err(|error| Failure::file(path, "written", &error))
}

/// This program, with the devnet's profile.
fn berth(dir: &Path, arguments: &[&str]) -> Result<Vec<String>, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Error, "spawn", "this program can't find itself").because(&error))?;
    let profile = dir.join("profile.toml");
    let mut command = vec![program.display().to_string(), "--profile".to_owned(), profile.display().to_string()];
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Ok(command)
}

/// Starts order book and scheduler.
pub(super) fn start_services(dir: &Path, state: &mut State) -> Result<(), Failure> {
    let (market, scheduler) =
        (dir.join("market.toml").display().to_string(), dir.join("scheduler.toml").display().to_string());
    let arguments =
        ["devnet", "serve", "--account", "operator", "--market-config", &market, "--scheduler-config", &scheduler];
    let command = berth(dir, &arguments)?;
    state.components.push(start(dir, "services", Child::Services, command)?);
    Ok(())
}

/// Starts the workers, each as a process of its own.
pub(super) fn start_workers(dir: &Path, count: u16, state: &mut State) -> Result<(), Failure> {
    for number in 1..=count {
        let config = dir.join(format!("worker-{number}.toml")).display().to_string();
        let command = berth(dir, &["worker", "run", "--config", &config])?;
        state.components.push(start(dir, &format!("worker-{number}"), Child::Worker(number), command)?);
    }
    Ok(())
}

pub(super) async fn is_market_ready(url: &str) -> bool {
    MarketClient::new(url).info().await.is_ok()
}

pub(super) async fn are_workers_ready(url: &str, count: u32) -> bool {
    SchedulerClient::new(url).pool().await.is_ok_and(|info| info.workers >= count)
}

/// The end of a log, for the one who asks why.
pub(super) fn last_words(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Stops all: workers first, so that they can say goodbye to their scheduler; the chain last. Gives the names of those
/// that were alive.
pub(super) async fn stop_all(components: &[Component]) -> Vec<String> {
    let mut stopped = Vec::new();
    let is_worker = |component: &&Component| matches!(component.child, Child::Worker(_));
    let workers: Vec<&Component> = components.iter().filter(is_worker).collect();
    let services: Vec<&Component> = components.iter().filter(|c| c.child == Child::Services).collect();
    let chain: Vec<&Component> = components.iter().filter(|c| c.child == Child::Chain).collect();
    for group in [workers, services, chain] {
        let alive: Vec<&Component> = group.into_iter().filter(|c| c.health() == Health::Alive).collect();
        for component in &alive {
            signal(component, Signal::SIGTERM);
        }
        let begun = Instant::now();
        while alive.iter().any(|c| c.health() == Health::Alive) && begun.elapsed() < STOP_DEADLINE {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        for component in alive.iter().filter(|c| c.health() == Health::Alive) {
            signal(component, Signal::SIGKILL);
        }
        stopped.extend(alive.iter().map(|component| component.name.clone()));
    }
    stopped
}

/// Clears what a worker that was killed has left in its engine: containers, disks. Gives what could not be cleared, and
/// why.
pub(super) async fn sweep(dir: &Path, components: &[Component]) -> Vec<String> {
    let mut left = Vec::new();
    for component in components {
        let Child::Worker(number) = component.child else { continue };
        if let Err(failure) = sweep_one(dir, number).await {
            left.push(format!("{}: {}", component.name, failure.message));
        }
    }
    left
}

async fn sweep_one(dir: &Path, number: u16) -> Result<(), Failure> {
    let config = berth_worker::Config::load(&dir.join(format!("worker-{number}.toml")))?;
    let Some(worker) = keystore::address(&config.key)?.map(WorkerAddr::new) else { return Ok(()) };
    let failed = |error: RuntimeError| Failure::new(Exit::Error, "sweep", error.to_string());
    let tasks = config.folder.join("tasks");
    if let Some(share) = config.qemu {
        // Nothing is run: what would run it need not be found out.
        let share = QemuShare { accel: Accel::Tcg, ..share };
        let qemu = Qemu::connect(share, worker, tasks.clone()).await.map_err(failed)?;
        qemu.sweep(&HashSet::new()).await.map_err(failed)?;
    }
    if let Some(share) = config.slurm {
        let slurm = Slurm::connect(share, worker, tasks.clone()).await.map_err(failed)?;
        slurm.sweep(&HashSet::new()).await.map_err(failed)?;
    }
    if let Some(share) = config.virtualbox {
        let virtualbox = VirtualBox::connect(share, worker, tasks.clone()).await.map_err(failed)?;
        virtualbox.sweep(&HashSet::new()).await.map_err(failed)?;
    }
    let Some(share) = config.docker else { return Ok(()) };
    let docker = Docker::connect(share, worker, tasks).await.map_err(failed)?;
    docker.sweep(&HashSet::new()).await.map_err(failed)
}

fn signal(component: &Component, signal: Signal) {
    if let Ok(pid) = i32::try_from(component.pid) {
        // An error means that it has ended meanwhile.
        let _ended = kill(Pid::from_raw(pid), signal);
    }
}
