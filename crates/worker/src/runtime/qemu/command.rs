//! The command line of a machine, and everything that is withheld from it.

use super::{PROGRAM, Qemu, image::Machine};
use crate::{
    config::Accel,
    runtime::{
        Request, RuntimeError,
        guest::{
            CONSOLE_PIPE, DISK, DISK_FILE, IN, INPUT_FILE, ORPHAN_LIVES, OUT, OUTPUT_FILE, ROOT, STDERR_PIPE,
            STDOUT_PIPE, cgroup,
        },
    },
};
use berth_wire::disk::DiskFormat;
use nix::unistd::geteuid;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::process::Command;

/// Nobody, on every system.
const NOBODY: &str = "65534:65534";
/// Code that QEMU has translated is kept in this much memory; by default it would be a gigabyte.
const TRANSLATED_MIB: u32 = 64;
const MIB: u64 = 1 << 20;
const CORE_MILLIS: u32 = 1_000;
/// What is written to the system disk, in the machine's folder.
pub(super) const LAYER_FILE: &str = "layer.qcow2";

impl Qemu {
    /// The whole command.
    pub(super) fn command(&self, request: &Request, machine: &Machine, accel: Accel) -> Result<Command, RuntimeError> {
        let folder = request.folder.machine();
        let label = self.label(request.task);
        let share = self.parts_of_cores.then_some((label.as_str(), request.limits.cpu_millis));
        let mut command = cgroup::command(share)?;
        let lives = (request.wall + ORPHAN_LIVES).as_secs().to_string();
        command.args(["timeout", "-s", "KILL", &lives, PROGRAM]);
        command.args(["-name", &label]);
        self.confine(&mut command, request);
        resources(&mut command, request, accel);
        disks(&mut command, machine);
        pipes(&mut command);
        command.current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    /// No device that a job does not need, and QEMU's own sandbox: no new programs, no privileges, no priorities.
    fn confine(&self, command: &mut Command, request: &Request) {
        let bare = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"];
        // It hears this worker alone, and on its standard input.
        command.args(bare).args(["-qmp", "stdio"]);
        // As root QEMU opens its files, and goes on as nobody, without a capability and with no way to gain one: it may
        // start no program. The sandbox's own ban on changing users would forbid that step, and is for everybody else.
        let privileges = if geteuid().is_root() {
            command.args(["-runas", NOBODY]);
            "allow"
        } else {
            "deny"
        };
        let sandbox = format!("on,obsolete=deny,elevateprivileges={privileges},spawn=deny,resourcecontrol=deny");
        command.args(["-sandbox", &sandbox]);
        if request.limits.network && self.share.network {
            command.args(["-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="]);
        } else {
            command.args(["-nic", "none"]);
        }
    }
}

fn resources(command: &mut Command, request: &Request, accel: Accel) {
    let limits = &request.limits;
    let cores = limits.cpu_millis.div_ceil(CORE_MILLIS).to_string();
    let memory = (limits.memory_bytes / MIB).to_string();
    command.args(["-machine", "q35,vmport=off", "-smp", &cores, "-m", &memory]);
    match accel {
        Accel::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
        // Never both by way of `kvm:tcg`: a KVM that starts and then hangs would be taken.
        Accel::Tcg | Accel::Auto => {
            command.args(["-accel", &format!("tcg,thread=multi,tb-size={TRANSLATED_MIB}"), "-cpu", "max"])
        }
    };
}

fn disks(command: &mut Command, machine: &Machine) {
    if let Some(kernel) = &machine.kernel {
        command.arg("-kernel").arg(&kernel.file).arg("-initrd").arg(&kernel.initrd).args(["-append", &kernel.append]);
    }
    let mut node = |node: &Value| {
        command.args(["-blockdev", &node.to_string()]);
    };
    if let Some(disk) = &machine.disk {
        let file = json!({"driver": "file", "filename": disk.file});
        let mut base = json!({"driver": disk.form.format.name(), "node-name": "base", "read-only": true, "file": file});
        if disk.form.format == DiskFormat::Qcow2 {
            // Whatever its header says.
            base["backing"] = Value::Null;
        }
        node(&base);
        let file = json!({"driver": "file", "filename": LAYER_FILE});
        node(&json!({"driver": "qcow2", "node-name": "root", "file": file, "backing": "base"}));
    }
    for (name, file, read_only) in [("in", INPUT_FILE, true), ("out", OUTPUT_FILE, false), ("disk", DISK_FILE, false)] {
        let file = json!({"driver": "file", "filename": file});
        node(&json!({"driver": "raw", "node-name": name, "read-only": read_only, "file": file}));
    }
    let root = machine.disk.is_some().then_some(("root", ROOT));
    for (node, serial) in root.into_iter().chain([("in", IN), ("out", OUT), ("disk", DISK)]) {
        let first = if node == "root" && machine.kernel.is_none() { ",bootindex=0" } else { "" };
        command.args(["-device", &format!("virtio-blk-pci,drive={node},serial={serial}{first}")]);
    }
}

/// The job's streams, and the machine's console.
fn pipes(command: &mut Command) {
    for name in [STDOUT_PIPE, STDERR_PIPE, CONSOLE_PIPE] {
        command.args(["-chardev", &format!("file,id={name},path={name}")]);
    }
    command.args(["-serial", &format!("chardev:{CONSOLE_PIPE}"), "-device", "virtio-serial-pci"]);
    for name in [STDOUT_PIPE, STDERR_PIPE] {
        command.args(["-device", &format!("virtserialport,chardev={name},name=berth.{name}")]);
    }
}
