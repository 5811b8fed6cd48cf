//! What VirtualBox says when it does not do what it should, and what to do about it.

use std::path::PathBuf;
use thiserror::Error;

/// VirtualBox, or a disk for it, is not as it must be.
#[derive(Debug, Error)]
pub enum VirtualBoxError {
    /// A program of it is not there.
    #[error("{program} can't be run")]
    Absent {
        /// Which.
        program: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// What was named is not the program.
    #[error("{program} is not VBoxManage itself: asked for its version it says `{said}`")]
    Foreign {
        /// What was named.
        program: PathBuf,
        /// The first line of what it says.
        said: String,
    },
    /// Its version is not known.
    #[error("VirtualBox {0} is too old")]
    Old(String),
    /// Its kernel driver is not there.
    #[error("VirtualBox can start no machine: its kernel driver is not loaded ({0})")]
    NoDriver(String),
    /// Its kernel driver is there and can't be used.
    #[error("VirtualBox can start no machine: its kernel driver does not serve it ({0})")]
    Driver(String),
    /// Another hypervisor has the processor.
    #[error("VirtualBox can start no machine: another hypervisor has the processor ({0})")]
    Taken(String),
    /// The processor can't run machines, or is not allowed to.
    #[error("VirtualBox can start no machine: the processor does not help it ({0})")]
    Processor(String),
    /// A command failed.
    #[error("VirtualBox failed to {action}: {said}")]
    Refused {
        /// What it was to do.
        action: &'static str,
        /// What it says.
        said: String,
    },
    /// It stopped a machine in the middle.
    #[error("VirtualBox stopped a machine in the state `{state}`: {said}")]
    Stopped {
        /// What the machine is.
        state: String,
        /// The end of the machine's log.
        said: String,
    },
}

/// The numbers and names of VirtualBox's own errors: see its `include/VBox/err.h`.
const NO_DRIVER: [&str; 2] = ["-1908", "VERR_VM_DRIVER_NOT_INSTALLED"];
const DRIVER: [&str; 8] = [
    "-1901",
    "-1902",
    "-1909",
    "-1912",
    "VERR_VM_DRIVER_LOAD_ERROR",
    "VERR_VM_DRIVER_OPEN_ERROR",
    "VERR_VM_DRIVER_NOT_ACCESSIBLE",
    "VERR_VM_DRIVER_VERSION_MISMATCH",
];
const TAKEN: [&str; 2] = ["VERR_SVM_IN_USE", "VERR_VMX_IN_VMX_ROOT_MODE"];
const PROCESSOR: [&str; 3] = ["VERR_SVM_", "VERR_VMX_", "VERR_NEM_"];

impl VirtualBoxError {
    /// What a failed start means, from what was said of it.
    pub(super) fn of_start(said: &str) -> Self {
        let line = one_line(said);
        let says = |signs: &[&str]| signs.iter().any(|sign| line.contains(sign));
        if says(&NO_DRIVER) {
            Self::NoDriver(line)
        } else if says(&DRIVER) {
            Self::Driver(line)
        } else if says(&TAKEN) {
            Self::Taken(line)
        } else if says(&PROCESSOR) {
            Self::Processor(line)
        } else {
            Self::Refused { action: "start a machine", said: line }
        }
    }

    /// What the owner can do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Absent { program, .. } => format!(
                "install VirtualBox, or write where {} is as `program` under [virtualbox] in worker.toml",
                program.file_name().unwrap_or_default().display()
            ),
            Self::Foreign { .. } => "name the program itself as `program` under [virtualbox] in worker.toml, such as \
                                     /usr/lib/virtualbox/VBoxManage: the script of that name adds words of its own"
                .to_owned(),
            Self::Old(_) => "install VirtualBox 7 or later".to_owned(),
            Self::NoDriver(_) => "load it: `modprobe vboxdrv`, as root. If there is none, build it for this kernel \
                                  (Debian: install virtualbox-dkms and this kernel's headers; elsewhere run \
                                  /sbin/vboxconfig); with secure boot it must be signed. In a container or a machine \
                                  without modules share QEMU instead: [qemu] in worker.toml"
                .to_owned(),
            Self::Driver(_) => {
                "see that the driver is of the same version as VirtualBox, and that this user may use it \
                                (group vboxusers); `VBoxManage --version` and `modinfo vboxdrv` show both versions"
                    .to_owned()
            }
            Self::Taken(_) => {
                "end the other hypervisor's machines and unload it (`modprobe -r kvm_intel kvm_amd`), or \
                               share QEMU instead: [qemu] in worker.toml"
                    .to_owned()
            }
            Self::Processor(_) => {
                "allow virtualisation (VT-x, AMD-V) in the firmware; inside a virtual machine, let its \
                                   host pass it on"
                    .to_owned()
            }
            Self::Refused { .. } => "try the same with VBoxManage by hand; its log is in the task's folder".to_owned(),
            Self::Stopped { .. } => {
                "look at the machine's log; a full disk of this host stops a machine, too".to_owned()
            }
        }
    }
}

/// What was said, without the names of who said it.
pub(super) fn one_line(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let bare = lines.map(|line| line.strip_prefix("VBoxManage: error: ").unwrap_or(line));
    let bare = bare.map(|line| line.strip_prefix("VBoxHeadless: ").unwrap_or(line));
    bare.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_machines_from_starting_is_told_apart() {
        let name = |said: &str| format!("{:?}", VirtualBoxError::of_start(said));
        for (said, is) in [
            ("VBoxHeadless: Error -1908 in suplibOsInit!\nVBoxHeadless: Kernel driver not installed\n", "NoDriver"),
            ("VBoxHeadless: Error -1909 in suplibOsInit!", "Driver("),
            ("error: AMD-V is being used by another hypervisor (VERR_SVM_IN_USE).", "Taken"),
            ("error: VT-x is disabled in the BIOS (VERR_VMX_MSR_ALL_VMX_DISABLED)", "Processor"),
            ("something else", "Refused"),
        ] {
            assert!(name(said).starts_with(is), "{}", name(said));
            assert!(!VirtualBoxError::of_start(said).hint().is_empty());
        }
        assert!(name("VBoxHeadless: Error -1908 in x!\n\nVBoxHeadless: y").contains("Error -1908 in x!; y"));
    }
}
