//! `berth devnet`: a whole market on this machine, with play money.
//!
//! `up` runs these in order: `process` starts the chain, `money` deploys the contracts, makes keys and funds them,
//! registers app and pool and bonds the workers, `process` starts the services; `state` is what is written down of it.

mod money;
mod process;
mod state;

use self::{
    process::{Child, Health},
    state::{Component, State},
};
use crate::{
    args::{Down, Status, Up},
    command::daemon,
    exit::Exit,
    hint::Failure,
    render::{Progress, Report, fields, table},
};
use core::time::Duration;
use serde_json::{Value, json};
use std::path::Path;
use tokio::time::Instant;

/// How long everything may take to be ready. It takes 3 s on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// How often to look whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn up(args: Up) -> Result<Report, Failure> {
    let dir = state::absolute(&args.dir)?;
    if let Some(state) = State::load(&dir)? {
        return again(&dir, state).await;
    }
    state::clear(&dir)?;
    let progress = Progress::new();
    let mut state = State::new(&args);
    let built = build(&dir, &args, &mut state, &progress).await;
    if let Err(failure) = built {
        // What was started must not outlive the failure; its logs stay.
        process::stop_all(&state.components).await;
        drop(process::sweep(&dir, &state.components).await);
        State::forget(&dir)?;
        return Err(failure.hint(format!("the logs are in {}", dir.join("logs").display())));
    }
    drop(progress);
    let report = shown(&dir, &state);
    if args.foreground {
        let stop_asked = daemon::stop_by_signal()?;
        crate::render::err(&String::from_utf8_lossy(&report.data));
        stop_asked.cancelled().await;
        return stop(&dir, &state).await;
    }
    Ok(report)
}

async fn build(dir: &Path, args: &Up, state: &mut State, progress: &Progress) -> Result<(), Failure> {
    progress.step("starting a chain");
    let rpc = process::start_chain(dir, args.block_time, state).await?;
    progress.step("deploying contracts, funding accounts");
    let market = money::found(dir, args, &rpc).await?;
    progress.step("starting the order book and the scheduler");
    let ports = process::ports(2)?;
    state.market = format!("http://127.0.0.1:{}", ports[0]);
    state.scheduler = format!("http://127.0.0.1:{}", ports[1]);
    state.pool = market.pool.to_string();
    process::configure(dir, &market, state)?;
    process::start_services(dir, state)?;
    state.save(dir)?;
    ready(dir, state, "the order book", || process::is_market_ready(&state.market)).await?;
    money::offer(args, &market, state).await?;
    progress.step("starting the workers");
    process::start_workers(dir, args.workers, state)?;
    state.save(dir)?;
    let wanted = u32::from(args.workers);
    ready(dir, state, "the workers", || process::are_workers_ready(&state.scheduler, wanted)).await
}

/// Waits until it is, or a component is dead, or the deadline is over.
async fn ready<F: Future<Output = bool>>(
    dir: &Path,
    state: &State,
    what: &str,
    is: impl Fn() -> F,
) -> Result<(), Failure> {
    let start = Instant::now();
    while !is().await {
        if let Some(dead) = state.components.iter().find(|component| component.health() == Health::Dead) {
            return Err(died(dir, dead));
        }
        if start.elapsed() > READY_DEADLINE {
            let message = format!("{what} did not come up within {} s", READY_DEADLINE.as_secs());
            return Err(Failure::new(Exit::Timeout, "devnet-slow", message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn died(dir: &Path, component: &Component) -> Failure {
    let log = component.log(dir);
    let mut failure = Failure::new(Exit::Error, "devnet-dead", format!("{} has ended", component.name));
    failure.causes.extend(process::last_words(&log));
    failure.hint(format!("its log is {}", log.display()))
}

/// What runs already stays; a service or a worker that died is started again. A dead chain has lost everything.
async fn again(dir: &Path, mut state: State) -> Result<Report, Failure> {
    if state.components.iter().any(|component| component.child == Child::Chain && component.health() == Health::Dead) {
        return Err(Failure::new(
            Exit::Error,
            "devnet-dead",
            "the devnet's chain has ended, and with it all that was on it",
        )
        .hint(format!("`berth devnet down --dir {}`, then up again", dir.display())));
    }
    let dead: Vec<usize> =
        (0..state.components.len()).filter(|at| state.components[*at].health() == Health::Dead).collect();
    for at in &dead {
        process::restart(dir, &mut state.components[*at])?;
    }
    if !dead.is_empty() {
        state.save(dir)?;
        let workers = state.components.iter().filter(|component| matches!(component.child, Child::Worker(_))).count();
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        ready(dir, &state, "the order book", || process::is_market_ready(&state.market)).await?;
        ready(dir, &state, "the workers", || process::are_workers_ready(&state.scheduler, workers)).await?;
    }
    let mut report = shown(dir, &state);
    let restarted: Vec<&str> = dead.iter().map(|at| state.components[*at].name.as_str()).collect();
    report.note = if restarted.is_empty() {
        "It was running already.".to_owned()
    } else {
        format!("Started again: {}.", restarted.join(", "))
    };
    report.json["restarted"] = json!(restarted);
    Ok(report)
}

pub(super) async fn down(args: &Down) -> Result<Report, Failure> {
    let dir = state::absolute(&args.dir)?;
    let report = match State::load(&dir)? {
        Some(state) => stop(&dir, &state).await?,
        None => Report::new(format!("nothing runs in {}", dir.display()), json!({ "stopped": [] })),
    };
    if args.purge {
        state::purge(&dir)?;
    }
    Ok(report)
}

async fn stop(dir: &Path, state: &State) -> Result<Report, Failure> {
    let stopped = process::stop_all(&state.components).await;
    let left = process::sweep(dir, &state.components).await;
    State::forget(dir)?;
    let mut report =
        Report::new(format!("stopped: {}", stopped.join(", ")), json!({ "stopped": stopped, "left": left }));
    report.note = left.iter().map(|left| format!("not cleared: {left}\n")).collect();
    Ok(report)
}

pub(super) async fn status(args: &Status) -> Result<Report, Failure> {
    let dir = state::absolute(&args.dir)?;
    let Some(state) = State::load(&dir)? else {
        return Err(Failure::not_found("devnet-absent", format!("no devnet runs in {}", dir.display()))
            .hint("`berth devnet up` starts one"));
    };
    let mut report = shown(&dir, &state);
    let dead: Vec<&Component> =
        state.components.iter().filter(|component| component.health() == Health::Dead).collect();
    if let Some(first) = dead.first() {
        let mut failure = died(&dir, first);
        for other in &dead[1..] {
            failure.causes.push(format!("{} has ended too", other.name));
        }
        report.failure = Some(failure.hint("`berth devnet up` starts again what can be"));
    }
    Ok(report)
}

fn shown(dir: &Path, state: &State) -> Report {
    let rows: Vec<[String; 4]> = state
        .components
        .iter()
        .map(|component| {
            let health = if component.health() == Health::Alive { "running" } else { "DEAD" };
            [
                component.name.clone(),
                health.to_owned(),
                component.pid.to_string(),
                component.log(dir).display().to_string(),
            ]
        })
        .collect();
    let head = fields(&[
        ("chain", state.rpc.clone()),
        ("order book", state.market.clone()),
        ("scheduler", state.scheduler.clone()),
        ("pool", state.pool.clone()),
        ("profile", dir.join("profile.toml").display().to_string()),
    ]);
    let table = table(["component", "state", "pid", "log"], &rows);
    let components: Vec<Value> = state
        .components
        .iter()
        .map(|component| {
            json!({ "name": component.name, "pid": component.pid, "alive": component.health() == Health::Alive,
                    "log": component.log(dir) })
        })
        .collect();
    let json = json!({
        "dir": dir, "rpc": state.rpc, "market": state.market, "scheduler": state.scheduler, "pool": state.pool,
        "profile": dir.join("profile.toml"), "components": components,
    });
    Report::new(format!("{head}\n{table}"), json)
}
