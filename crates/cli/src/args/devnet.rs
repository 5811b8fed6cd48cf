//! `berth devnet`.

use super::Faulty;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `berth devnet …`
#[derive(Debug, Subcommand)]
pub(crate) enum Devnet {
    /// Start a chain, contracts, an order book, a scheduler and workers; returns when all are ready
    Up(Up),
    /// Stop all of it
    Down(Down),
    /// What runs, and what is dead
    Status(Status),
    /// The order book and the scheduler of a devnet, in one process
    #[command(hide = true)]
    Serve(Serve),
}

/// `berth devnet up`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth devnet up\n  berth devnet up --workers 1 --dir /tmp/market")]
pub(crate) struct Up {
    /// Folder of the devnet: keys, databases, logs, profile.toml
    #[arg(long, value_name = "DIR", default_value = ".berth")]
    pub(crate) dir: PathBuf,
    /// How many workers, each bonded by an owner of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) workers: u16,
    /// Seconds between blocks
    #[arg(long, value_name = "SECONDS", default_value_t = 0.25)]
    pub(crate) block_time: f64,
    /// The pool's price of a task, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "1")]
    pub(crate) price: String,
    /// Stay until Ctrl-C, then stop everything
    #[arg(long)]
    pub(crate) foreground: bool,
}

/// `berth devnet down`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth devnet down\n  berth devnet down --purge")]
pub(crate) struct Down {
    /// Folder of the devnet
    #[arg(long, value_name = "DIR", default_value = ".berth")]
    pub(crate) dir: PathBuf,
    /// Remove the folder too
    #[arg(long)]
    pub(crate) purge: bool,
}

/// `berth devnet status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth devnet status\n  berth --json devnet status")]
pub(crate) struct Status {
    /// Folder of the devnet
    #[arg(long, value_name = "DIR", default_value = ".berth")]
    pub(crate) dir: PathBuf,
}

/// `berth devnet serve`
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The order book's settings
    #[arg(long, value_name = "FILE")]
    pub(crate) market_config: PathBuf,
    /// The scheduler's settings
    #[arg(long, value_name = "FILE")]
    pub(crate) scheduler_config: PathBuf,
    #[command(flatten)]
    pub(crate) faulty: Faulty,
}
