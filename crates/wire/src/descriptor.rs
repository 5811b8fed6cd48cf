//! What an asset is: the document that `Assets.register` takes and its event carries.

pub use crate::disk::DiskFormat;
use crate::{
    canonical::{self, NotCanonical},
    job::Image,
    units::{OciDigest, Sha256},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How an app runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// A container of a Docker engine.
    Docker,
    /// A virtual machine under QEMU.
    Qemu,
    /// A virtual machine under VirtualBox.
    Virtualbox,
    /// A job of a Slurm cluster.
    Slurm,
}

impl Runtime {
    /// As descriptors have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Qemu => "qemu",
            Self::Virtualbox => "virtualbox",
            Self::Slurm => "slurm",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Docker, Self::Qemu, Self::Virtualbox, Self::Slurm].into_iter().find(|runtime| runtime.name() == name)
    }

    /// Whether a job has a machine of its own, within which its processes are not counted.
    pub const fn is_machine(self) -> bool {
        match self {
            Self::Qemu | Self::Virtualbox => true,
            Self::Docker | Self::Slurm => false,
        }
    }
}

/// Where an app's image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// The engine (and perhaps the image) is the provider's; the job names its image.
    Shared,
    /// The image is the app's, fetched by digest.
    Distributed,
}

/// The least that a machine must give.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimum {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Output folder.
    pub disk_bytes: u64,
    /// Software that has to be there, by name ([`crate::name`]), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// A virtual machine's disk, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// What a person calls it. Nothing is looked up by it.
    pub name: String,
    /// Its form.
    pub format: DiskFormat,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256.
    pub sha256: Sha256,
    /// Where it may be fetched, if not from the pool's store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Disk {
    /// As workers share it, and as a job under a shared app names it.
    pub fn image(&self) -> Image {
        Image { reference: self.name.clone(), config: Some(OciDigest(self.sha256)), manifest: None }
    }
}

/// What an asset is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Descriptor {
    /// An application.
    App {
        /// Always 1.
        version: u32,
        /// What people call it.
        name: String,
        /// How it runs.
        runtime: Runtime,
        /// Whose image.
        sharing: Sharing,
        /// The image, unless the job names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<Image>,
        /// The disk of a virtual machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disk: Option<Box<Disk>>,
        /// Its default environment.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, String>,
        /// The least that it needs.
        minimum: Minimum,
    },
    /// Data that stay on the machines that share them.
    Dataset {
        /// Always 1.
        version: u32,
        /// What people call it, and its name in a job's input folder.
        name: String,
        /// A file's sha256; of a folder, the sha256 of its [`crate::manifest::Manifest`].
        sha256: Sha256,
        /// How many bytes it has in all.
        size: u64,
    },
    /// A pool of workers.
    Pool {
        /// Always 1.
        version: u32,
        /// What people call it.
        name: String,
    },
}

impl Descriptor {
    /// Its canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_bytes(self)
    }

    /// Reads a descriptor.
    ///
    /// # Errors
    /// [`NotCanonical`] if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotCanonical> {
        canonical::from_bytes(bytes)
    }

    /// What an app runs, unless its job names that: its image, or its disk as one.
    pub fn image(&self) -> Option<Image> {
        match self {
            Self::App { image, disk, .. } => image.clone().or_else(|| disk.as_deref().map(Disk::image)),
            Self::Dataset { .. } | Self::Pool { .. } => None,
        }
    }

    /// How it runs, if it is an app.
    pub const fn runtime(&self) -> Option<Runtime> {
        match self {
            Self::App { runtime, .. } => Some(*runtime),
            Self::Pool { .. } | Self::Dataset { .. } => None,
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::App { name, .. } | Self::Dataset { name, .. } | Self::Pool { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_its_name() {
        for runtime in [Runtime::Docker, Runtime::Qemu, Runtime::Virtualbox, Runtime::Slurm] {
            assert_eq!(serde_json::to_value(runtime).expect("a name"), runtime.name());
            assert_eq!(Runtime::named(runtime.name()), Some(runtime));
        }
        assert_eq!(Runtime::named("Docker"), None);
    }

    #[test]
    fn a_disk_is_part_of_a_descriptor_and_absent_where_there_is_none() {
        let disk =
            Disk { name: "live.iso".into(), format: DiskFormat::Iso, size: 9, sha256: Sha256::of(b"live"), url: None };
        let with = |disk: Option<Disk>| Descriptor::App {
            version: 1,
            name: "vm".into(),
            runtime: Runtime::Virtualbox,
            sharing: Sharing::Distributed,
            image: None,
            disk: disk.map(Box::new),
            env: BTreeMap::new(),
            minimum: Minimum::default(),
        };
        let bytes = with(Some(disk.clone())).to_bytes();
        assert_eq!(Descriptor::from_bytes(&bytes).expect("what we wrote"), with(Some(disk)));
        assert!(String::from_utf8_lossy(&bytes).contains(r#""disk":{"format":"iso","name":"live.iso""#));
        assert!(!String::from_utf8_lossy(&with(None).to_bytes()).contains("disk\":{"));
    }
    #[test]
    fn packages_and_an_address_are_absent_where_there_are_none() {
        let bytes = crate::canonical::to_bytes(&Minimum::default());
        assert_eq!(String::from_utf8_lossy(&bytes), r#"{"cpu_millis":0,"disk_bytes":0,"memory_bytes":0}"#);
        let data = Descriptor::Dataset { version: 1, name: "genome".into(), sha256: Sha256::of(b"acgt"), size: 4 };
        assert_eq!(Descriptor::from_bytes(&data.to_bytes()).expect("what we wrote"), data);
        assert!(data.image().is_none());
    }
}
