//! `worker.toml`: what a provider shares, and on what terms. `example.toml` holds every key.

mod data;
mod machine;
mod policy;
mod size;

pub use data::{Cache, DatasetFile, Fetch, FetchedSize};
pub use machine::{Accel, MachineFile, QemuShare, VirtualboxShare};
pub use policy::{Idle, ParseWindowError, Policy, Window};
pub use size::{ByteSize, ParseByteSizeError};

use alloy::primitives::B256;
use berth_chain::{Class, Endpoint};
use berth_protocol::{AssetId, AssetKind};
use berth_wire::job::Image;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The pool's scheduler, `http://` or `https://`.
    pub scheduler: String,
    /// The pool's id.
    pub pool: B256,
    /// The encrypted file of the worker's key. Opened by the command line, never by this crate.
    pub key: PathBuf,
    /// Where the worker keeps its journal and works. Nothing else should be in it.
    pub folder: PathBuf,
    /// A node of the deployment's chain, `http://` or `ws://`: best the owner's own, since the worker believes it.
    pub rpc: String,
    /// How many blocks deep a round must be before it is opened; 1 counts the head. A reorg deeper than this would let
    /// others answer once they know.
    #[serde(default = "confirmations")]
    pub confirmations: NonZeroU64,
    /// How often to look whether what is shared is still so, and whether the policy lets tasks in.
    #[serde(default = "look_every", with = "humantime_serde")]
    pub look_every: Duration,
    /// Software that is installed where jobs find it, by name. Neither case nor blanks matter.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What this machine gives in all.
    pub capacity: Capacity,
    /// How long a stop waits for running jobs before it ends them.
    #[serde(default = "drain", with = "humantime_serde")]
    pub drain: Duration,
    /// The Docker engine, if it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerShare>,
    /// QEMU, if it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu: Option<QemuShare>,
    /// VirtualBox, if it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtualbox: Option<VirtualboxShare>,
    /// A Slurm cluster, if it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm: Option<SlurmShare>,
    /// Data that stay here, and that jobs may read.
    #[serde(default)]
    pub datasets: Vec<DatasetFile>,
    /// What is fetched from where others say.
    #[serde(default)]
    pub fetch: Fetch,
    /// What is kept of what was fetched.
    #[serde(default)]
    pub cache: Cache,
    /// Whose jobs to take, and when.
    #[serde(default)]
    pub policy: Policy,
    /// The file that this was read from, which is read again when it changes.
    #[serde(skip)]
    pub source: Option<PathBuf>,
}

/// What the jobs of a worker may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Tasks at one time.
    pub slots: NonZeroU32,
    /// Thousandths of a core.
    pub cpu_millis: NonZeroU32,
    /// Memory.
    pub memory: ByteSize,
    /// Disk for output folders.
    pub disk: ByteSize,
}

/// What is shared of a Docker engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerShare {
    /// The engine's address; without it `DOCKER_HOST`, or else `unix:///var/run/docker.sock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The engine's runtime that jobs run under, by the name that the engine has for it (`runsc` is gVisor's); without it
    /// the engine's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Which of its images.
    #[serde(default)]
    pub images: SharedImages,
    /// Whether a job's image that is absent is fetched from its registry, by digest.
    #[serde(default)]
    pub fetch_images: bool,
    /// How much of what was fetched is kept. What was used longest ago goes first, and never what is in use.
    #[serde(default)]
    pub fetched_size: FetchedSize,
    /// Whether jobs that ask for it get the engine's default network.
    #[serde(default)]
    pub network: bool,
    /// How output folders are kept within their limit.
    #[serde(default)]
    pub quota: Quota,
}

impl DockerShare {
    /// Whether jobs run on a kernel of their own, which answers their system calls: gVisor's.
    pub fn has_own_kernel(&self) -> bool {
        self.runtime.as_deref().is_some_and(|name| name.starts_with("runsc"))
    }
}

/// What is shared of a cluster that Slurm manages, and how its jobs are submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmShare {
    /// Where Slurm's commands are.
    pub commands: PathBuf,
    /// The cluster's `slurm.conf`; without it, where Slurm itself looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conf: Option<PathBuf>,
    /// The partition; without it, the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account that jobs are charged to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// How long a job may wait for its turn.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// `berth` on the nodes; without it, at the path where this one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// A folder on each node's own disk.
    pub scratch: PathBuf,
    /// The nodes' Docker engine.
    pub host: String,
    /// Which of the nodes' images.
    pub images: SharedImages,
    /// Whether a job's image that a node lacks is fetched there, by digest.
    pub fetch_images: bool,
    /// Whether jobs that ask for it get the network of the node's engine.
    pub network: bool,
    /// How output folders are kept within their limit, on the nodes.
    pub quota: Quota,
}

impl Default for SlurmShare {
    fn default() -> Self {
        Self {
            commands: "/usr/bin".into(),
            conf: None,
            partition: None,
            account: None,
            qos: None,
            wait: Duration::from_secs(3_600),
            program: None,
            scratch: "/var/tmp".into(),
            host: "unix:///var/run/docker.sock".to_owned(),
            images: SharedImages::All,
            fetch_images: false,
            network: false,
            quota: Quota::Auto,
        }
    }
}

/// Which images of an engine are shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SharedImages {
    /// Every image that is there (`"all"`).
    #[default]
    All,
    /// These, by digest.
    Only(Vec<Image>),
}

/// How the size of an output folder is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quota {
    /// `Filesystem` as root, else `Watched`.
    #[default]
    Auto,
    /// A file system of that size, in a file: the job sees a full disk. Needs root, `mke2fs` and loop devices.
    Filesystem,
    /// A plain folder that is measured while the job runs: a job that goes past its limit is ended a moment later.
    Watched,
}

/// Documents hold no larger numbers exactly.
const MOST_BYTES: u64 = 1 << 53;

/// A time zone by its name.
pub(crate) fn zone(name: &str) -> Result<jiff::tz::TimeZone, jiff::Error> {
    match name {
        policy::LOCAL => Ok(jiff::tz::TimeZone::system()),
        name => jiff::tz::TimeZone::get(name),
    }
}

/// A stop waits this long by default: longer than a short job, shorter than an owner's patience.
const fn drain() -> Duration {
    Duration::from_secs(30)
}

/// Seldom enough to cost nothing, soon enough that few tasks are given out in vain.
const fn look_every() -> Duration {
    Duration::from_secs(5)
}

/// Deeper than the reorgs that a chain like Ethereum sees in years, and less than a minute on it.
const fn confirmations() -> NonZeroU64 {
    NonZeroU64::new(4).expect("not zero")
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ImagesForm {
    Word(String),
    List(Vec<Image>),
}

impl Serialize for SharedImages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => ImagesForm::Word("all".to_owned()),
            Self::Only(images) => ImagesForm::List(images.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedImages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ImagesForm::deserialize(deserializer)? {
            ImagesForm::Word(word) if word == "all" => Ok(Self::All),
            ImagesForm::Word(word) => Err(D::Error::custom(format!(
                "images is `{word}`: write \"all\", or a list of images with their digests"
            ))),
            ImagesForm::List(images) => Ok(Self::Only(images)),
        }
    }
}

/// A configuration that can't be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path} can't be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It is no `worker.toml`.
    #[error("{path} is no worker configuration")]
    Form {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key's value makes no sense.
    #[error("{key}: {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// The owner must change the file.
    pub const fn class(&self) -> Class {
        Class::Refused
    }

    /// What the owner can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } => format!("write {}; the project's example.toml shows every key", path.display()),
            Self::Form { .. } => "compare it with the project's example.toml, which holds every key".to_owned(),
            Self::Value { key, .. } => format!("mend `{key}` in worker.toml"),
        }
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at its own folder.
    ///
    /// # Errors
    /// [`ConfigError`] with what is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Form { path: path.to_owned(), source: Box::new(source) })?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.key = base.join(&config.key);
        config.folder = base.join(&config.folder);
        for image in config.qemu.iter_mut().flat_map(|qemu| &mut qemu.images) {
            image.file = base.join(&image.file);
        }
        for dataset in &mut config.datasets {
            dataset.path = base.join(&dataset.path);
        }
        config.source = Some(path.to_owned());
        for image in config.virtualbox.iter_mut().flat_map(|virtualbox| &mut virtualbox.images) {
            image.file = base.join(&image.file);
        }
        config.check()?;
        Ok(config)
    }

    /// Checks what the types don't.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        if !["http://", "https://"].iter().any(|scheme| self.scheduler.starts_with(scheme)) {
            return wrong("scheduler", "a URL that starts with http:// or https:// is needed");
        }
        if AssetId::new(self.pool).is_none_or(|id| id.kind() != AssetKind::Pool) {
            return wrong("pool", "this is not a pool's id (it ends in 03)");
        }
        if let Err(error) = Endpoint::parse(&self.rpc) {
            return wrong("rpc", &format!("{error}; {}", error.hint()));
        }
        if self.capacity.memory.0 == 0 || self.capacity.disk.0 == 0 {
            return wrong("capacity", "memory and disk must be more than nothing");
        }
        if self.docker.is_none() && self.qemu.is_none() && self.slurm.is_none() && self.virtualbox.is_none() {
            return wrong(
                "docker",
                "nothing is shared; write [docker] to share the Docker engine, [qemu] or [virtualbox] to share virtual \
                 machines, [slurm] a cluster",
            );
        }
        if self.look_every.is_zero() {
            return wrong("look_every", "it must be more than no time at all");
        }
        if self.capacity.memory.0 > MOST_BYTES || self.capacity.disk.0 > MOST_BYTES {
            return wrong("capacity", "no machine has so much memory or disk");
        }
        if let Some(dataset) = self.datasets.iter().find(|dataset| dataset.name.trim().is_empty()) {
            return wrong("datasets", &format!("{} has no name", dataset.path.display()));
        }
        if let Err(error) = zone(&self.policy.zone) {
            return wrong("policy.zone", &format!("`{}` is no time zone: {error}", self.policy.zone));
        }
        let nameless = |images: &SharedImages| match images {
            SharedImages::All => false,
            SharedImages::Only(images) => images.iter().any(|image| image.config.is_none() && image.manifest.is_none()),
        };
        if self.docker.as_ref().is_some_and(|docker| nameless(&docker.images)) {
            return wrong("docker.images", "each image needs `config` or `manifest`, its digest");
        }
        if let Some(slurm) = &self.slurm {
            if nameless(&slurm.images) {
                return wrong("slurm.images", "each image needs `config` or `manifest`, its digest");
            }
            let paths = [&slurm.commands, &slurm.scratch].into_iter().chain(&slurm.conf).chain(&slurm.program);
            if paths.into_iter().any(|path| !path.is_absolute()) {
                return wrong(
                    "slurm",
                    "`commands`, `conf`, `program` and `scratch` are whole paths: jobs start elsewhere",
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../example.toml");

    #[test]
    fn the_example_is_a_good_configuration_with_every_key() {
        let config: Config = toml::from_str(EXAMPLE).expect("the example parses");
        config.check().expect("the example is sound");
        let written = toml::to_string(&config).expect("a configuration serialises");
        assert_eq!(toml::from_str::<Config>(&written).expect("what we wrote"), config);
        let keys = |text: &str| {
            let is_key = |c: char| c.is_ascii_lowercase() || c == '_';
            let mut keys: Vec<_> = text
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(key, _)| key.trim().to_owned())
                .filter(|key| key.chars().all(is_key))
                .collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&written), keys(EXAMPLE), "every key of the type is in the example, and no other");
    }

    #[test]
    fn an_unknown_key_and_a_size_without_unit_are_refused() {
        let with = |from: &str, to: &str| toml::from_str::<Config>(&EXAMPLE.replace(from, to));
        assert!(with("slots = ", "slot = ").is_err());
        assert!(with("\"1 GiB\"", "1024").is_err());
        for text in ["", "1", "MiB", "1.5 GiB", "-1 B", "99999999999 GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
        assert_eq!("64MiB".parse(), Ok(ByteSize(64 << 20)));
        assert_eq!(ByteSize(3 << 19).to_string(), "1536 KiB");
    }

    #[test]
    fn what_makes_no_sense_names_its_key() {
        let config: Config = toml::from_str(EXAMPLE).expect("the example parses");
        let key = |change: &dyn Fn(&mut Config)| {
            let mut config = config.clone();
            change(&mut config);
            match config.check() {
                Err(ConfigError::Value { key, .. }) => key,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(key(&|c| c.scheduler = "ftp://x".into()), "scheduler");
        assert_eq!(key(&|c| c.pool = B256::ZERO), "pool");
        assert_eq!(key(&|c| c.rpc = "localhost".into()), "rpc");
        assert_eq!(key(&|c| (c.docker, c.qemu, c.slurm, c.virtualbox) = (None, None, None, None)), "docker");
        assert_eq!(key(&|c| c.slurm.iter_mut().for_each(|slurm| slurm.scratch = "tmp".into())), "slurm");
        assert_eq!(key(&|c| c.capacity.memory = ByteSize(0)), "capacity");
        assert_eq!(key(&|c| c.look_every = Duration::ZERO), "look_every");
        assert_eq!(key(&|c| c.policy.zone = "Nowhere/Land".into()), "policy.zone");
        assert_eq!(key(&|c| c.datasets[0].name = " ".into()), "datasets");
        let bare = Image { reference: "x".into(), config: None, manifest: None };
        let share = DockerShare { images: SharedImages::Only(vec![bare]), ..DockerShare::default() };
        assert_eq!(key(&|c| c.docker = Some(share.clone())), "docker.images");
    }
}
