//! `berth worker`, `berth scheduler`, `berth market`.

use super::{Bond, Enlist, Unbond, WithdrawBond};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `berth worker …`
#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Put money behind a worker of a pool
    Bond(Bond),
    /// Start to take money back from behind a worker
    Unbond(Unbond),
    /// Bring released money back into the account
    WithdrawBond(WithdrawBond),
    /// Sign, with a worker's key, who its owner is: for a bond from another machine
    Enlist(Enlist),
    /// Run the worker of this machine
    Run(WorkerRun),
    /// Do what a worker wants done on this node of its cluster
    #[command(hide = true)]
    Step(WorkerStep),
    /// Bond, score and doings of workers
    Status(WorkerStatus),
}

/// `berth worker run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth worker run --config worker.toml --account worker-1")]
pub(crate) struct WorkerRun {
    /// The worker's settings
    #[arg(long, value_name = "FILE", default_value = "worker.toml")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) faulty: Faulty,
}

/// `berth worker step`: what Slurm starts on a node.
#[derive(Debug, Args)]
pub(crate) struct WorkerStep {
    /// Where the worker's order is
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Which order is meant
    #[arg(long, value_name = "RUN")]
    pub(crate) run: String,
    /// What Slurm calls this node
    #[arg(long, value_name = "NODE")]
    pub(crate) node: String,
}

/// `berth worker status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth worker status\n  berth worker status worker-1")]
pub(crate) struct WorkerStatus {
    /// The worker: a name in the keystore or an address; all of the pool if left out
    #[arg(value_name = "WORKER")]
    pub(crate) worker: Option<String>,
    /// The pool: its id or name; needed only where the order book knows several
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<String>,
}

/// `berth scheduler`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth scheduler --config scheduler.toml --account operator")]
pub(crate) struct SchedulerRun {
    /// The scheduler's settings
    #[arg(long, value_name = "FILE", default_value = "scheduler.toml")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) faulty: Faulty,
}

/// `berth market`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth market --config market.toml")]
pub(crate) struct MarketRun {
    /// The order book's settings
    #[arg(long, value_name = "FILE", default_value = "market.toml")]
    pub(crate) config: PathBuf,
}

/// For tests that kill a service.
#[derive(Debug, Args)]
pub(crate) struct Faulty {
    /// Die by SIGKILL at this point
    #[arg(long, hide = true, requires = "kill_marker")]
    pub(crate) kill_at: Option<String>,
    /// File that is made just before; while it is there, the point is passed
    #[arg(long, hide = true, requires = "kill_at")]
    pub(crate) kill_marker: Option<PathBuf>,
}
