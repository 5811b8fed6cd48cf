//! The command line as it is typed. Nothing is checked here but its form; [`crate::intent`] makes sense of it.

mod daemon;
mod deploy;
mod devnet;
mod money;
mod run;
mod sharing;
mod xw;

pub(crate) use daemon::{Faulty, MarketRun, SchedulerRun, Worker, WorkerRun, WorkerStatus, WorkerStep};
pub(crate) use deploy::Deploy;
pub(crate) use devnet::{Devnet, Down, Serve, Status, Up};
pub(crate) use money::{
    Account, App, AppOrder, AppRegister, AppRuntime, Bond, Deposit, Enlist, OfferTerms, OneOrder, Pool, PoolCreate,
    PoolOrder, PoolShow, Show, SponsorArgs, Unbond, Wallet, WalletNew, WalletShow, Withdraw, WithdrawBond,
};
pub(crate) use run::{
    ExitFrom, Limits, Run, Task, TaskDeliver, TaskList, TaskLogs, TaskMatch, TaskResult, TaskShow, Test,
};
pub(crate) use sharing::{Dataset, DatasetDigest, DatasetOrder, DatasetRegister, WorkerHand, WorkerList};
pub(crate) use xw::{Xw, XwInstall};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A marketplace for computing: run jobs on other people's machines, paid and settled on chain.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Examples:\n  berth devnet up\n  berth run busybox -- echo hello\n  berth task list\n  berth devnet down"
)]
pub(crate) struct Berth {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// File with the settings below; flags override it
    #[arg(long, global = true, value_name = "FILE", default_value = ".berth/profile.toml")]
    pub(crate) profile: PathBuf,
    /// The node's URL
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) rpc: Option<String>,
    /// File that says where the contracts are
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) deployment: Option<PathBuf>,
    /// The order book's URL
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) market: Option<String>,
    /// Folder of encrypted keys
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) keystore: Option<PathBuf>,
    /// The account: a name in the keystore, or an address
    #[arg(long, short, global = true, value_name = "NAME|ADDRESS")]
    pub(crate) account: Option<String>,
    /// File with the account's password in its first line; asked for if there is none
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Print one JSON document on stdout, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A whole market on this machine, with play money
    #[command(subcommand)]
    Devnet(Devnet),
    /// Put the contracts on a chain
    Deploy(Deploy),
    /// Keys of one's own, encrypted
    #[command(subcommand)]
    Wallet(Wallet),
    /// Money in the market
    #[command(subcommand)]
    Account(Account),
    /// Pools of workers
    #[command(subcommand)]
    Pool(Pool),
    /// Workers: their bonds, and the machine's service
    #[command(subcommand)]
    Worker(Worker),
    /// Apps that people can run
    #[command(subcommand)]
    App(App),
    /// Data that stay where they are, and that jobs can read there
    #[command(subcommand)]
    Dataset(Dataset),
    /// Run a container image or an app on somebody's machine, and pay for it
    Run(Box<Run>),
    /// Try a job on the Docker engine here, as workers would run it; nothing is paid
    Test(Box<Test>),
    /// Tasks that were paid for
    #[command(subcommand)]
    Task(Task),
    /// Run a pool's scheduler
    Scheduler(SchedulerRun),
    /// Run an order book
    Market(MarketRun),
    /// The tools of XtremWeb-HEP, under their names
    #[command(subcommand)]
    Xw(Xw),
}
