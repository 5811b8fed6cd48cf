//! `berth deploy`.

use clap::Args;
use std::path::PathBuf;

/// `berth deploy`
#[derive(Debug, Args)]
#[command(
    after_help = "The account pays the gas, and owns the shared app `docker`, under which images run. Nothing of the \
    contracts can be\nchanged later: not the token, and not the bounds. Their addresses follow from code, token, bounds \
    and salt alone, whoever\ndeploys; what stands is left as it is, so an interrupted deployment is finished by the same \
    command again.\n\nExamples:\n  \
    berth deploy --rpc https://rpc.example --keystore keys --account alice --token 0xa0…48\n  \
    berth deploy --rpc http://127.0.0.1:8545 --keystore keys --account alice --play-token --dry-run\n  \
    berth deploy --rpc https://rpc.example --deployment contracts/deployments/1.json --verify"
)]
pub(crate) struct Deploy {
    /// The ERC-20 token in which all is paid
    #[arg(long, value_name = "ADDRESS", conflicts_with = "play_token", required_unless_present_any = ["play_token", "verify"])]
    pub(crate) token: Option<String>,
    /// Deploy a token that anyone may mint: on chain 31337 only
    #[arg(long)]
    pub(crate) play_token: bool,
    /// The shortest duration of a task: several times what the chain takes to be final
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub(crate) min_duration: String,
    /// The longest duration of a task
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    pub(crate) max_duration: String,
    /// The longest that a deal's tasks may take together, as many at one time as its pool runs
    #[arg(long, value_name = "DURATION", default_value = "10d")]
    pub(crate) max_span: String,
    /// A word that gives a second market of the same token and bounds addresses of its own
    #[arg(long, value_name = "WORD")]
    pub(crate) salt: Option<String>,
    /// Show what would be done, and what it would cost; send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Deploy nothing: compare the contracts of --deployment, code and constructor's arguments, with this program's
    #[arg(long, conflicts_with_all = ["token", "play_token", "salt", "dry_run", "out", "min_duration", "max_duration", "max_span"])]
    pub(crate) verify: bool,
    /// Where to write the addresses; `contracts/deployments/CHAIN-ID.json` if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
