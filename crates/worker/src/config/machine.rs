//! What is shared of hypervisors: virtual machines.

use berth_wire::{job::Image, units::OciDigest};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is shared of QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QemuShare {
    /// What runs the machines' code.
    #[serde(default)]
    pub accel: Accel,
    /// Whether jobs that ask for it get a network: QEMU's own, which reaches whatever this machine reaches, its loopback
    /// included.
    #[serde(default)]
    pub network: bool,
    /// Whether an app's disk that is absent is fetched, by its sha256.
    #[serde(default)]
    pub fetch_images: bool,
    /// The machines that are here. Without `fetch_images` nothing else is ever run.
    #[serde(default)]
    pub images: Vec<MachineFile>,
}

/// What is shared of VirtualBox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualboxShare {
    /// VBoxManage itself, not a script of that name. VBoxHeadless is beside it.
    #[serde(default = "vbox_manage")]
    pub program: PathBuf,
    /// Whether jobs that ask for it get a network: VirtualBox's own (NAT), which reaches whatever this machine reaches, but
    /// for its loopback.
    #[serde(default)]
    pub network: bool,
    /// The machines that jobs may run. Nothing else is ever run.
    #[serde(default)]
    pub images: Vec<MachineFile>,
}

/// Where its packages put it, on Linux.
fn vbox_manage() -> PathBuf {
    "/usr/lib/virtualbox/VBoxManage".into()
}

/// A virtual machine that is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineFile {
    /// What people call it.
    pub reference: String,
    /// For QEMU a disk (`.qcow2`, `.vdi`, `.raw`, `.img`), or a machine's document (`.json`); for VirtualBox a disk (`.vdi`,
    /// `.vmdk`, `.vhd`), or a live CD (`.iso`).
    pub file: PathBuf,
    /// The file's sha256: what jobs know it by.
    pub digest: OciDigest,
}

impl MachineFile {
    /// As jobs name it.
    pub fn image(&self) -> Image {
        Image { reference: self.reference.clone(), config: Some(self.digest), manifest: None }
    }
}

/// What runs a virtual machine's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The processor, where a machine is seen to boot on it, else QEMU itself.
    #[default]
    Auto,
    /// The processor (`/dev/kvm`).
    Kvm,
    /// QEMU itself: everywhere, and many times slower.
    Tcg,
}
