//! `berth wallet`, `account`, `pool`, `app`, and the bonds of `berth worker`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `berth wallet …`
#[derive(Debug, Subcommand)]
pub(crate) enum Wallet {
    /// Make a key, encrypted with a password
    New(WalletNew),
    /// The keys of the keystore
    #[command(after_help = "Examples:\n  berth wallet list\n  berth wallet list --keystore ~/keys")]
    List,
    /// An account's address and its money, in the wallet and in the market
    Show(WalletShow),
    /// To what others encrypt results that only this account is to open
    #[command(
        after_help = "Made of the account's key each time, always the same on a market: there is nothing else to \
        keep. Whoever runs a\njob for the account gives it with --encrypt-to.\n\n\
        Examples:\n  berth wallet recipient\n  berth wallet recipient --account alice\n  \
        berth run busybox --encrypt-to age1… -- date"
    )]
    Recipient,
}

/// `berth wallet new`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth wallet new alice\n  berth wallet new alice --password-file secret.txt")]
pub(crate) struct WalletNew {
    /// What to call it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `berth wallet show`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth wallet show\n  berth wallet show alice")]
pub(crate) struct WalletShow {
    /// A name in the keystore, or an address; the profile's account if left out
    #[arg(value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
}

/// `berth account …`
#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Pay tokens into the market
    Deposit(Deposit),
    /// Take tokens out of the market
    Withdraw(Withdraw),
    /// What an account has in the market: free, and locked in deals
    Show(Show),
    /// Cancel every order that the account has signed so far, whatever it offers or asks for
    #[command(after_help = "Deals that were matched go on. Orders that are signed afterwards are good.\n\n\
        Examples:\n  berth account cancel-orders --account alice")]
    CancelOrders,
    /// Cancel one order, or one sponsorship, by its hash
    #[command(after_help = "Deals that were matched go on. The hash is what publishing an order prints.\n\n\
        Examples:\n  berth account cancel-order 0x4f… --account alice")]
    CancelOrder(OneOrder),
    /// Stand for an order, or a sponsorship, without a signature: on chain, by its hash
    #[command(after_help = "For accounts that can't sign. Compute the hash from the order itself (EIP-712): the \
        contract sees nothing else.\n\nExamples:\n  berth account approve-order 0x4f… --account alice")]
    ApproveOrder(OneOrder),
    /// Sign that this account pays for one match of another's request, whoever sends it
    Sponsor(SponsorArgs),
}

/// `berth account cancel-order`, `berth account approve-order`
#[derive(Debug, Args)]
pub(crate) struct OneOrder {
    /// The order's hash: its EIP-712 digest
    #[arg(value_name = "ORDER")]
    pub(crate) order: String,
}

/// `berth account sponsor`
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is sent. The request must name this account as its payer. A file says what is asked for \
    and what it costs; with the bare hash of a request, --pool-order and --tasks say what it is matched with.\n\n\
    Examples:\n  berth account sponsor request.json --out consent.json --account alice\n  \
    berth account sponsor 0x4f… --pool-order 0x81… --tasks 10 --account alice"
)]
pub(crate) struct SponsorArgs {
    /// What `berth run --payer` wrote, or the request's hash
    #[arg(value_name = "FILE|REQUEST")]
    pub(crate) request: String,
    /// The hash of the pool's order that it is matched with
    #[arg(long, value_name = "ORDER")]
    pub(crate) pool_order: Option<String>,
    /// For a match of exactly so many tasks
    #[arg(long, value_name = "N")]
    pub(crate) tasks: Option<u32>,
    /// How long the word is good
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(crate) expires: String,
    /// Write it to a file, for `berth task match --consent`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `berth account deposit`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth account deposit 12.5")]
pub(crate) struct Deposit {
    /// How much, in tokens
    #[arg(value_name = "TOKENS")]
    pub(crate) amount: String,
    /// Into this account; one's own if left out
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) to: Option<String>,
}

/// `berth account withdraw`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth account withdraw 3\n  berth account withdraw 3 --to 0x52…")]
pub(crate) struct Withdraw {
    /// How much, in tokens
    #[arg(value_name = "TOKENS")]
    pub(crate) amount: String,
    /// To this address; one's own if left out
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Option<String>,
}

/// `berth account show`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth account show\n  berth account show 0x52…")]
pub(crate) struct Show {
    /// A name in the keystore, or an address; the profile's account if left out
    #[arg(value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
}

/// `berth pool …`
#[derive(Debug, Subcommand)]
pub(crate) enum Pool {
    /// Register a pool
    Create(PoolCreate),
    /// Sign a pool's offer, with its policy, and publish it
    Order(Box<PoolOrder>),
    /// A pool: its owner, its offers, its scheduler
    Show(PoolShow),
}

/// `berth pool create`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth pool create \"Basement\" --account alice")]
pub(crate) struct PoolCreate {
    /// What people call it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `berth pool order`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth pool order 0x9a…03 --price 0.2 --operator operator \\\n      \
    --url http://203.0.113.7:8300 --worker-stake 5 --pool-stake 0.1")]
pub(crate) struct PoolOrder {
    /// The pool's id, or its name in the order book
    #[arg(value_name = "POOL")]
    pub(crate) pool: String,
    /// Of a task, in tokens
    #[arg(long, value_name = "TOKENS")]
    pub(crate) price: String,
    /// The key that runs the pool's scheduler: a name in the keystore, or an address
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) operator: String,
    /// The scheduler's URL
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// Tasks in all; without limit if left out
    #[arg(long, value_name = "N")]
    pub(crate) volume: Option<u32>,
    /// Tasks that it runs at one time
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) parallel: u32,
    /// What a worker must have bonded, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "0")]
    pub(crate) worker_stake: String,
    /// What the pool loses for a task that it does not bring home, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "0")]
    pub(crate) pool_stake: String,
    /// The pool owner's share of the price, in per cent
    #[arg(long, value_name = "PERCENT", default_value = "10")]
    pub(crate) operator_share: String,
    /// The shortest duration of a task; the contract's if left out
    #[arg(long, value_name = "DURATION")]
    pub(crate) min_duration: Option<String>,
    /// The longest duration of a task; the contract's if left out
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_duration: Option<String>,
    /// How long the offer is good
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    pub(crate) expires: String,
}

/// `berth pool show`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth pool show\n  berth pool show 0x9a…03")]
pub(crate) struct PoolShow {
    /// The pool's id, or its name in the order book; the only one there if left out
    #[arg(value_name = "POOL")]
    pub(crate) pool: Option<String>,
}

/// `berth app …`
#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// Register an app, and publish an offer of it
    Register(AppRegister),
    /// Publish an offer of an app that is registered
    Order(AppOrder),
    /// The apps that are on offer
    #[command(after_help = "Examples:\n  berth app list\n  berth --json app list")]
    List,
}

/// `berth app register`
#[derive(Debug, Args)]
#[command(
    after_help = "Without --image the app is shared: each job names its own image, which the worker's engine has.\n\n\
    Examples:\n  berth app register wordfreq --image wordfreq:latest --price 0.01\n  berth app register docker\n  \
    berth app register small-linux --runtime qemu --disk machine.json\n  \
    berth app register fold --runtime slurm --image fold@sha256:…\n  \
    berth app register old-linux --runtime virtualbox --disk disk.vdi"
)]
pub(crate) struct AppRegister {
    /// What people call it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its image: of the local Docker engine, or by digest
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// A virtual machine's disk (QEMU: .qcow2, .vdi, .raw, .img; VirtualBox: .vdi, .vmdk, .vhd, .iso), or its document
    /// (QEMU: .json); the sha256 of the file counts
    #[arg(long, value_name = "FILE")]
    pub(crate) disk: Option<PathBuf>,
    /// Where workers may fetch the disk, by HTTP; from the pool's store if left out
    #[arg(long, value_name = "URL", requires = "disk")]
    pub(crate) disk_url: Option<String>,
    /// Software that the worker has to have, by name; once for each
    #[arg(long, value_name = "NAME")]
    pub(crate) package: Vec<String>,
    /// How it runs
    #[arg(long, value_enum, default_value_t = AppRuntime::Docker, value_name = "RUNTIME")]
    pub(crate) runtime: AppRuntime,
    #[command(flatten)]
    pub(crate) offer: OfferTerms,
}

/// How an app runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AppRuntime {
    /// In a container.
    Docker,
    /// In a virtual machine under QEMU.
    Qemu,
    /// In a container on a node of a Slurm cluster.
    Slurm,
    /// In a virtual machine under VirtualBox.
    Virtualbox,
}

/// `berth app order`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth app order 0x9a…01 --price 0.01 --account alice")]
pub(crate) struct AppOrder {
    /// The app's id, or its name in the order book
    #[arg(value_name = "APP")]
    pub(crate) app: String,
    #[command(flatten)]
    pub(crate) offer: OfferTerms,
}

/// The terms of an app's or a dataset's offer.
#[derive(Debug, Args)]
pub(crate) struct OfferTerms {
    /// Of a task, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "0")]
    pub(crate) price: String,
    /// Tasks in all; without limit if left out
    #[arg(long, value_name = "N")]
    pub(crate) volume: Option<u32>,
    /// How long the offer is good
    #[arg(long, value_name = "DURATION", default_value = "365d")]
    pub(crate) expires: String,
}

/// `berth worker bond`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth worker bond 5 --worker worker-1 --account alice\n  \
    berth worker bond 5 --worker 0x52… --enlistment 0x9c…   (signed by `berth worker enlist` on its machine)")]
pub(crate) struct Bond {
    /// How much more, in tokens
    #[arg(value_name = "TOKENS")]
    pub(crate) amount: String,
    /// The worker: a name in the keystore, or an address
    #[arg(long, value_name = "WORKER")]
    pub(crate) worker: String,
    /// The pool: its id or name; needed only where the order book knows several
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<String>,
    /// The worker's signature that names its owner, for the first bond of a key that is not in the keystore
    #[arg(long, value_name = "SIGNATURE")]
    pub(crate) enlistment: Option<String>,
    /// File with the password of the worker's key; the account's if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) worker_password_file: Option<PathBuf>,
}

/// `berth worker unbond`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth worker unbond 5 --worker worker-1 --account alice")]
pub(crate) struct Unbond {
    /// How much, in tokens
    #[arg(value_name = "TOKENS")]
    pub(crate) amount: String,
    /// The worker: a name in the keystore, or an address
    #[arg(long, value_name = "WORKER")]
    pub(crate) worker: String,
    /// The pool: its id or name; needed only where the order book knows several
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<String>,
}

/// `berth worker withdraw-bond`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth worker withdraw-bond --worker worker-1 --account alice")]
pub(crate) struct WithdrawBond {
    /// The worker: a name in the keystore, or an address
    #[arg(long, value_name = "WORKER")]
    pub(crate) worker: String,
    /// The pool: its id or name; needed only where the order book knows several
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<String>,
}

/// `berth worker enlist`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth worker enlist --account worker-1 --owner 0x52… --pool 0x9a…03")]
pub(crate) struct Enlist {
    /// Who bonds for it, and earns: for ever
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) owner: String,
    /// The pool: its id or name; needed only where the order book knows several
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<String>,
}
