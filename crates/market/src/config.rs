//! What the order book is told at start.

use berth_chain::Class;
use core::net::SocketAddr;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Settings of the order book: `market.toml`. Relative paths are relative to the folder that it is in.
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

/// A file is no configuration of an order book.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{} can't be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is not of this form.
    #[error("{} is no configuration of an order book", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl ConfigError {
    /// What to do about it.
    pub const fn class(&self) -> Class {
        Class::Refused
    }

    /// What the user can do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "give the path of the order book's configuration file (--config FILE)",
            Self::Form { .. } => "crates/market/example.toml has every setting",
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] if it can't be read, or is of another form.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Form { path: path.to_owned(), source: Box::new(source) })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        // Joining an absolute path gives that path.
        config.database = folder.join(&config.database);
        config.deployment = folder.join(&config.deployment);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let config = Config::load(&folder.join("example.toml")).expect("the example is whole");
        assert_eq!(config.database, folder.join("market.db"));
    }
}
