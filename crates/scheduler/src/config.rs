//! The scheduler's configuration file: every key is in `example.toml`.

use crate::plan::Policy;
use alloy::primitives::B256;
use berth_chain::{Endpoint, rpc::EndpointError};
use berth_protocol::{AssetId, AssetKind, Class};
use core::{net::SocketAddr, num::NonZeroU64, time::Duration};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

mod results;
pub use results::{Kind as StoreKind, Results, S3, S3Key};

/// The most tasks that a worker's list, and so a settlement of one worker's results, can hold.
const MAX_SETTLE_BATCH: u16 = 256;

/// The most tasks of a round: what its workers are shown of it has to fit into a message.
const MAX_ROUND: u16 = 1_000;

/// What a scheduler needs to know, besides the operator's key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The chain's node: `http://…` or `https://…`, or `ws://…`, whose calls then go to the same address over HTTP.
    pub rpc: String,
    /// Where the node tells of new heads (`ws://…`), if `rpc` does not say so itself.
    #[serde(default)]
    pub rpc_ws: Option<String>,
    /// The file that says where the contracts are.
    pub deployment: PathBuf,
    /// The pool that is served.
    pub pool: B256,
    /// Where to serve; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The database file.
    pub database: PathBuf,
    /// The folder of inputs and results; with an S3 server, of uploads under way alone.
    pub store: PathBuf,
    /// Where inputs and results are kept, and how much of them.
    #[serde(default)]
    pub results: Results,
    /// Tasks in one settlement at the most.
    #[serde(default = "default::settle_batch")]
    pub settle_batch: u16,
    /// How long a result may wait for others to be settled with; 0 settles as soon as nothing of the deal is under way.
    #[serde(default = "default::settle_wait", with = "humantime_serde")]
    pub settle_wait: Duration,
    /// How often workers say that they are there.
    #[serde(default = "default::heartbeat", with = "humantime_serde")]
    pub heartbeat: Duration,
    /// After how many heartbeats missed a worker is lost.
    #[serde(default = "default::missed_heartbeats")]
    pub missed_heartbeats: u32,
    /// For how long a worker whose socket closed keeps its tasks.
    #[serde(default = "default::reconnect_grace", with = "humantime_serde")]
    pub reconnect_grace: Duration,
    /// How long a deal waits for its job and inputs before it is given back.
    #[serde(default = "default::job_wait", with = "humantime_serde")]
    pub job_wait: Duration,
    /// How long a task that no connected worker could run waits for one that can, before it is given back. It is given
    /// back only while the pool gets its stake back, too.
    #[serde(default = "default::unable_wait", with = "humantime_serde")]
    pub unable_wait: Duration,
    /// Replicated tasks in one round at the most.
    #[serde(default = "default::round_size")]
    pub round_size: u16,
    /// How long answers that agree may wait for others to be closed with; 0 closes them at once.
    #[serde(default = "default::round_wait", with = "humantime_serde")]
    pub round_wait: Duration,
    /// Blocks that a close needs, its own included, before its workers are shown it. Workers wait for their own number,
    /// too: once they have revealed, a reorganisation would let others copy.
    #[serde(default = "default::confirmations")]
    pub confirmations: NonZeroU64,
    /// How long the reveals of a closed round are waited for, before it is settled without those that are missing.
    #[serde(default = "default::reveal_wait", with = "humantime_serde")]
    pub reveal_wait: Duration,
    /// How deep a reorganisation of the chain may be and still be undone.
    #[serde(default = "default::finality_depth")]
    pub finality_depth: NonZeroU64,
    /// How often to look for new blocks where the node does not tell.
    #[serde(default = "default::poll", with = "humantime_serde")]
    pub poll: Duration,
    /// The largest blob that is taken.
    #[serde(default = "default::max_blob_bytes")]
    pub max_blob_bytes: u64,
    /// Job documents without a deal that are kept at the most.
    #[serde(default = "default::max_jobs")]
    pub max_jobs: u32,
}

mod default {
    use core::{num::NonZeroU64, time::Duration};

    pub(super) const fn settle_batch() -> u16 {
        100
    }
    pub(super) const fn settle_wait() -> Duration {
        Duration::from_secs(30)
    }
    pub(super) const fn heartbeat() -> Duration {
        Duration::from_secs(2)
    }
    pub(super) const fn missed_heartbeats() -> u32 {
        3
    }
    pub(super) const fn reconnect_grace() -> Duration {
        Duration::from_secs(3)
    }
    pub(super) const fn job_wait() -> Duration {
        Duration::from_secs(600)
    }
    pub(super) const fn unable_wait() -> Duration {
        Duration::from_secs(30)
    }
    pub(super) const fn round_size() -> u16 {
        100
    }
    pub(super) const fn round_wait() -> Duration {
        Duration::from_secs(5)
    }
    pub(super) const fn confirmations() -> NonZeroU64 {
        NonZeroU64::new(3).expect("not zero")
    }
    pub(super) const fn reveal_wait() -> Duration {
        Duration::from_secs(10)
    }
    pub(super) const fn finality_depth() -> NonZeroU64 {
        NonZeroU64::new(64).expect("not zero")
    }
    pub(super) const fn poll() -> Duration {
        Duration::from_millis(500)
    }
    pub(super) const fn max_blob_bytes() -> u64 {
        1 << 30
    }
    pub(super) const fn max_jobs() -> u32 {
        10_000
    }
}

/// A configuration that can't be used.
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
    #[error("{} is no configuration of a scheduler", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("`{key}` {problem}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no key for the S3 server.
    #[error("there is no key for the S3 server: {problem}")]
    Key {
        /// What is wrong. Never what stands in the file.
        problem: String,
    },
    /// A node's URL is none.
    #[error("`{key}` names no node")]
    Node {
        /// Its key.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        source: EndpointError,
    },
}

impl ConfigError {
    /// What to do about it.
    pub const fn class(&self) -> Class {
        Class::Refused
    }

    /// What the user can do, where there is something.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => Some("give the path of the scheduler's configuration file"),
            Self::Form { .. } => Some("compare it with crates/scheduler/example.toml, which has every key"),
            Self::Value { .. } => None,
            Self::Key { .. } => Some(
                "give `credentials` under `[results.s3]` a file with access_key_id and secret_access_key, or set \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            Self::Node { source, .. } => Some(source.hint()),
        }
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with the first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let form = |source| ConfigError::Form { path: path.to_owned(), source: Box::new(source) };
        let mut config: Self = toml::from_str(&text).map_err(form)?;
        if let Some(folder) = path.parent() {
            for own in [&mut config.deployment, &mut config.database, &mut config.store] {
                *own = folder.join(&own);
            }
            if let Some(s3) = &mut config.results.s3 {
                s3.unlock(folder)?;
            }
        }
        config.check()?;
        Ok(config)
    }

    /// Checks what the types don't.
    ///
    /// # Errors
    /// [`ConfigError`] with the first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.to_owned() });
        if !(1..=MAX_SETTLE_BATCH).contains(&self.settle_batch) {
            return wrong("settle_batch", "has to be between 1 and 256, the most entries of a worker's list");
        }
        if self.heartbeat < Duration::from_millis(100) || self.heartbeat > Duration::from_secs(60) {
            return wrong("heartbeat", "has to be between 100ms and 60s");
        }
        if self.missed_heartbeats == 0 {
            return wrong("missed_heartbeats", "has to be at least 1");
        }
        if !(1..=MAX_ROUND).contains(&self.round_size) {
            return wrong("round_size", "has to be between 1 and 1000");
        }
        if self.poll.is_zero() {
            return wrong("poll", "has to be above 0s");
        }
        if self.max_blob_bytes == 0 {
            return wrong("max_blob_bytes", "has to be above 0");
        }
        self.results.check()?;
        self.pool_id()?;
        self.endpoint().map(drop)
    }

    /// The pool that is served.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if it is another kind of asset.
    pub fn pool_id(&self) -> Result<AssetId, ConfigError> {
        AssetId::new(self.pool).filter(|pool| pool.kind() == AssetKind::Pool).ok_or_else(|| ConfigError::Value {
            key: "pool",
            problem: format!("{} is no pool: a pool's id ends in 03", self.pool),
        })
    }

    /// The chain's node.
    ///
    /// # Errors
    /// [`ConfigError::Node`] if it has no URL.
    pub fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let endpoint = Endpoint::parse(&self.rpc).map_err(|source| ConfigError::Node { key: "rpc", source })?;
        match &self.rpc_ws {
            Some(heads) => endpoint.with_heads_at(heads).map_err(|source| ConfigError::Node { key: "rpc_ws", source }),
            None => Ok(endpoint),
        }
    }

    /// How long a worker may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.heartbeat.saturating_mul(self.missed_heartbeats)
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            settle_batch: usize::from(self.settle_batch),
            settle_wait: self.settle_wait,
            reconnect_grace: self.reconnect_grace,
            silence: self.silence(),
            job_wait_s: self.job_wait.as_secs(),
            unable_wait_s: self.unable_wait.as_secs(),
            round_size: usize::from(self.round_size),
            round_wait: self.round_wait,
            confirmations: self.confirmations.get(),
            reveal_wait: self.reveal_wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> toml::Table {
        include_str!("../example.toml").parse().expect("the example is TOML")
    }

    fn read(table: &toml::Table) -> Result<Config, toml::de::Error> {
        toml::from_str(&table.to_string())
    }

    #[test]
    fn the_example_has_every_key_and_is_good() {
        let config = read(&example()).expect("the example is a configuration");
        config.check().expect("the example is good");
        let minimal: toml::Table = example()
            .into_iter()
            .filter(|(key, _)| ["rpc", "deployment", "pool", "listen", "database", "store"].contains(&key.as_str()))
            .collect();
        let defaults = read(&minimal).expect("the rest has defaults");
        assert_eq!(Config { rpc_ws: config.rpc_ws.clone(), ..defaults }, config, "the example shows the defaults");
        assert!(config.rpc_ws.is_some(), "the example has every key");
    }

    #[test]
    fn an_s3_server_needs_a_key_which_nobody_is_shown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = include_str!("../example.toml").replace("store = \"folder\"", "store = \"s3\"");
        let path = folder.path().join("scheduler.toml");
        std::fs::write(&path, &text).expect("writable");
        let error = Config::load(&path).expect_err("no server");
        assert!(error.to_string().contains("`results.s3`"), "{error}");
        // What the example shows as a comment, for once in force.
        let (before, server) = text.split_once("#[results.s3]").expect("the example shows it");
        let server = server.replace("\n#", "\n");
        std::fs::write(&path, format!("{before}[results.s3]{server}")).expect("writable");
        let key = folder.path().join("s3-key.toml");
        let error = Config::load(&path).expect_err("no key");
        assert!(error.hint().is_some_and(|hint| hint.contains("AWS_SECRET_ACCESS_KEY")), "{error}");
        std::fs::write(&key, "access_key_id = \"me\"\nsecret_access = \"hush\"\n").expect("writable");
        let error = Config::load(&path).expect_err("no secret");
        assert!(!format!("{error:?} {error}").contains("hush"));
        std::fs::write(&key, "access_key_id = \"me\"\nsecret_access_key = \"hush\"\n").expect("writable");
        let config = Config::load(&path).expect("whole");
        let s3 = config.results.s3().expect("a server");
        assert_eq!(
            (s3.bucket.as_str(), s3.region.as_deref(), s3.prefix.as_str()),
            ("berth", Some("us-east-1"), "pools")
        );
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        let with = |key: &str, value: toml::Value| {
            let mut table = example();
            table.insert(key.to_owned(), value);
            read(&table)
        };
        assert!(with("settle_batches", 3.into()).is_err());
        for (key, value) in [
            ("settle_batch", toml::Value::from(257)),
            ("heartbeat", "1ms".into()),
            ("missed_heartbeats", 0.into()),
            ("round_size", 1_001.into()),
            ("poll", "0s".into()),
            ("max_blob_bytes", 0.into()),
            ("pool", format!("0x{}01", "00".repeat(31)).into()),
            ("rpc", "localhost".into()),
            ("rpc_ws", "http://127.0.0.1:8545".into()),
        ] {
            let config = with(key, value).expect("of the right form");
            let error = config.check().expect_err(key);
            assert!(error.to_string().contains(&format!("`{key}`")), "{error}");
        }
    }
}
