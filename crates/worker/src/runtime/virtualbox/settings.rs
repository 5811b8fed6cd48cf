//! What a machine is, and everything that is withheld from it.

use super::{VirtualBox, image::System, manage::Manager};
use crate::runtime::{
    Request, RuntimeError,
    guest::{CONSOLE_PIPE, DISK, DISK_FILE, IN, INPUT_FILE, OUT, OUTPUT_FILE, ROOT, STDERR_PIPE, STDOUT_PIPE, part},
};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// Where a machine's folder has what VirtualBox keeps of it.
const MACHINES: &str = "machines";
/// Its only controller: the one that every system knows, and VirtualBox's firmware boots from.
const CONTROLLER: &str = "disks";
const MIB: u64 = 1 << 20;
const CORE_MILLIS: u32 = 1_000;
const SECTOR_BYTES: u64 = 512;
/// Ports and interrupts of the serial ports. The third has one of its own: old interrupts can't be shared.
const SERIAL: [(&str, &str, &str); 3] =
    [("0x3F8", "4", CONSOLE_PIPE), ("0x2F8", "3", STDOUT_PIPE), ("0x3E8", "10", STDERR_PIPE)];
/// A disk's place, as VirtualBox counts and as it calls it in a machine's inner settings.
const PLACES: [(&str, &str, &str); 4] = [
    ("0", "0", "PrimaryMaster"),
    ("0", "1", "PrimarySlave"),
    ("1", "0", "SecondaryMaster"),
    ("1", "1", "SecondarySlave"),
];

/// Where VirtualBox puts what a machine writes to disks that must stay as they are.
pub(super) fn layers(request: &Request, label: &str) -> PathBuf {
    request.folder.machine().join(MACHINES).join(label).join("Snapshots")
}

/// What VirtualBox has no command for, as its settings for all machines, of which there will be one: the disks' serial
/// numbers, and that a machine which restarts itself ends.
pub(super) fn inner() -> String {
    let serials = PLACES
        .iter()
        .zip([ROOT, IN, OUT, DISK])
        .map(|((.., place), serial)| (format!("Devices/piix3ide/0/Config/{place}/SerialNumber"), serial));
    let items = serials.chain([("PowerOffInsteadOfReset".to_owned(), "1")]);
    let items: String =
        items.map(|(key, value)| format!("<ExtraDataItem name=\"VBoxInternal/{key}\" value=\"{value}\"/>\n")).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<VirtualBox xmlns=\"http://www.virtualbox.org/\" version=\"1.12-linux\">\n<Global>\n\
         <ExtraData>\n{items}</ExtraData>\n</Global>\n</VirtualBox>\n"
    )
}

impl VirtualBox {
    /// Makes a machine, from first to last.
    pub(super) async fn create(
        &self,
        request: &Request,
        system: &System,
        manager: &Manager<'_>,
    ) -> Result<(), RuntimeError> {
        let (folder, label) = (request.folder.machine(), self.label(request.task));
        let machines = folder.join(MACHINES).display().to_string();
        let create = ["createvm", "--name", &label, "--ostype", "Linux_64", "--register", "--basefolder", &machines];
        manager.call("make a machine", create).await?;
        manager.call("set up a machine", self.settings(request, &label, system)).await?;
        let add = ["storagectl", &label, "--name", CONTROLLER, "--add", "ide", "--controller", "PIIX4"];
        manager.call("set up a machine's disks", add.into_iter().chain(["--hostiocache", "on"])).await?;
        let attached = attach(&label, &system.file, if system.is_cd { Medium::Cd } else { Medium::Kept }, 0);
        manager.call("attach a machine's own disk", attached).await?;
        let disks = [(INPUT_FILE, Medium::Kept), (OUTPUT_FILE, Medium::Own), (DISK_FILE, Medium::Own)];
        for (place, (file, medium)) in disks.into_iter().enumerate() {
            let described = described(&folder.join(file))?;
            manager.call("attach a machine's disk", attach(&label, &described, medium, place + 1)).await?;
        }
        Ok(())
    }

    fn settings(&self, request: &Request, label: &str, system: &System) -> Vec<String> {
        let limits = &request.limits;
        let cpus = limits.cpu_millis.div_ceil(CORE_MILLIS).max(1);
        // Per cent, of each processor.
        let cap = (limits.cpu_millis / (cpus * CORE_MILLIS / 100)).clamp(1, 100);
        let mut words = vec!["modifyvm".to_owned(), label.to_owned()];
        let mut set = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        set("memory", (limits.memory_bytes / MIB).to_string());
        set("cpus", cpus.to_string());
        set("cpu-execution-cap", cap.to_string());
        set("boot1", if system.is_cd { "dvd" } else { "disk" }.to_owned());
        // Nothing that a job does not need.
        let none = [("audio-driver", "none"), ("graphicscontroller", "none"), ("vrde", "off"), ("mouse", "ps2")];
        let usb = [("usb-ohci", "off"), ("usb-ehci", "off"), ("usb-xhci", "off")];
        let boot = [("firmware", "bios"), ("bios-boot-menu", "disabled"), ("boot2", "none"), ("boot3", "none")];
        let rest = [("boot4", "none"), ("clipboard-mode", "disabled"), ("drag-and-drop", "disabled"), ("ioapic", "on")];
        let ends = [("rtc-use-utc", "on"), ("triple-fault-reset", "on")];
        for (name, value) in none.into_iter().chain(usb).chain(boot).chain(rest).chain(ends) {
            set(name, value.to_owned());
        }
        if limits.network && self.share.network {
            for (name, value) in [("nic1", "nat"), ("nic-type1", "virtio"), ("nat-localhostreachable1", "off")] {
                set(name, value.to_owned());
            }
        } else {
            set("nic1", "none".to_owned());
        }
        let folder = request.folder.machine();
        for (number, (port, interrupt, pipe)) in (1..).zip(SERIAL) {
            words.extend([format!("--uart{number}"), port.to_owned(), interrupt.to_owned()]);
            let pipe = folder.join(pipe).display().to_string();
            words.extend([format!("--uart-mode{number}"), "file".to_owned(), pipe]);
        }
        words
    }
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    /// As a disk that never changes: what is written to it goes to a difference, which is thrown away.
    Kept,
    /// As the machine's own.
    Own,
    /// As a CD.
    Cd,
}

fn attach(label: &str, file: &Path, medium: Medium, place: usize) -> Vec<std::ffi::OsString> {
    let (port, device, _) = PLACES.get(place).copied().unwrap_or(PLACES[0]);
    let mut words = vec!["storageattach", label, "--storagectl", CONTROLLER, "--port", port, "--device", device];
    words.extend(match medium {
        Medium::Kept => &["--type", "hdd", "--mtype", "immutable"][..],
        Medium::Own => &["--type", "hdd", "--mtype", "normal"][..],
        Medium::Cd => &["--type", "dvddrive"][..],
    });
    words.push("--medium");
    words.into_iter().map(OsStr::new).chain([file.as_os_str()]).map(OsStr::to_owned).collect()
}

/// Makes a bare file a disk that VirtualBox takes as it is: by a description beside it.
pub(super) fn described(bare: &Path) -> Result<PathBuf, RuntimeError> {
    let description = bare.with_extension("vmdk");
    let bytes = fs::metadata(bare).map_err(part(bare))?.len();
    let (sectors, name) = (bytes / SECTOR_BYTES, bare.file_name().unwrap_or_default().display());
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
         RW {sectors} FLAT \"{name}\" 0\nddb.adapterType=\"ide\"\n"
    );
    fs::write(&description, text).map_err(part(&description))?;
    Ok(description)
}
