//! What the order book is told at start.

use core::net::SocketAddr;
use serde::Deserialize;
use std::path::PathBuf;

/// Settings of the order book: `market.toml`. Relative paths are relative to the current folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen; port 0 for any that is free.
    pub listen: SocketAddr,
    /// The database file.
    pub database: PathBuf,
    /// The node's URL; `ws://…` or `wss://…` where it also tells of new heads.
    pub rpc: String,
    /// The file that says where the contracts are.
    pub deployment: PathBuf,
}
