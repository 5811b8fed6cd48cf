//! `berth deploy`.

use clap::Args;
use std::path::PathBuf;

/// `berth deploy`
#[derive(Debug, Args)]
#[command(
    after_help = "The account pays the gas, and owns the shared app `docker`, under which images run. Nothing of the \
    contracts can be\nchanged later: not the token, and not the bounds.\n\nExamples:\n  \
    berth deploy --rpc https://rpc.example --keystore keys --account alice --token 0xa0…48\n  \
    berth deploy --rpc http://127.0.0.1:8545 --keystore keys --account alice --play-token"
)]
pub(crate) struct Deploy {
    /// The ERC-20 token in which all is paid
    #[arg(long, value_name = "ADDRESS", conflicts_with = "play_token", required_unless_present = "play_token")]
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
    /// Where to write the addresses; `contracts/deployments/CHAIN-ID.json` if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
