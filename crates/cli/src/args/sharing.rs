//! `berth dataset`, and what owners and requesters see of workers.

use super::OfferTerms;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `berth dataset …`
#[derive(Debug, Subcommand)]
pub(crate) enum Dataset {
    /// The digest of a file or a folder: what worker.toml and jobs know it by
    Digest(DatasetDigest),
    /// Register data, and publish an offer of them: the data themselves stay where they are
    Register(DatasetRegister),
    /// Publish an offer of data that are registered
    Order(DatasetOrder),
    /// The data that are on offer
    #[command(after_help = "Examples:\n  berth dataset list\n  berth --json dataset list")]
    List,
}

/// `berth dataset digest`
#[derive(Debug, Args)]
#[command(
    after_help = "A file's digest is its sha256. A folder's is that of a result with the same files, so that a task's \
    result can be shared under the digest that the chain has.\n\nExamples:\n  berth dataset digest genome.fa\n  \
    berth dataset digest data/genome"
)]
pub(crate) struct DatasetDigest {
    /// The file, or the folder
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
}

/// `berth dataset register`
#[derive(Debug, Args)]
#[command(after_help = "Only name, digest and size are registered. Jobs run where a worker shares the data.\n\n\
    Examples:\n  berth dataset register genome --path data/genome --price 0.05\n  berth run busybox --dataset genome -- \
    ls /iexec_in/genome")]
pub(crate) struct DatasetRegister {
    /// What people call it, and its name in a job's input folder
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The file, or the folder
    #[arg(long, value_name = "PATH")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) offer: OfferTerms,
}

/// `berth dataset order`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth dataset order 0x7c…02 --price 0.1")]
pub(crate) struct DatasetOrder {
    /// The dataset's id, or its name in the order book
    #[arg(value_name = "DATASET")]
    pub(crate) dataset: String,
    #[command(flatten)]
    pub(crate) offer: OfferTerms,
}

/// `berth worker list`
#[derive(Debug, Args)]
#[command(after_help = "What a worker shares is in its own signed words, which are checked here.\n\n\
    Examples:\n  berth worker list\n  berth --json worker list --pool basement")]
pub(crate) struct WorkerList {
    /// Only this pool: its id or name; all that are on offer if left out
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<String>,
}

/// `berth worker pause`, `resume`, `drain`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  berth worker pause\n  berth worker resume --config worker.toml\n  berth worker drain"
)]
pub(crate) struct WorkerHand {
    /// The worker's settings
    #[arg(long, value_name = "FILE", default_value = "worker.toml")]
    pub(crate) config: PathBuf,
}
