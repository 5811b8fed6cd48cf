//! A share of the processor for a machine: by the kernel's control groups, of either version, where this user may use
//! them.

use crate::runtime::{RuntimeError, folder_error};
use nix::unistd::{AccessFlags, access};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::process::Command;

const ROOT: &str = "/sys/fs/cgroup";
/// The time in which a group's share is dealt out, in microseconds: the kernel's own choice.
const PERIOD_US: u64 = 100_000;
const CORE_MILLIS: u64 = 1_000;
/// A dead process leaves its group within this.
const LEAVING_TAKES: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Joins the group before anything else is started, so that nothing escapes it: `$1` takes the process, the rest is run.
const ENTER: &str = "if [ -n \"$1\" ]; then echo $$ >\"$1\" || exit 90; fi; shift; exec \"$@\"";

/// A command that runs what is added to it in a group of this name with so much of the processor; in none, if `share` is
/// `None`.
pub(crate) fn command(share: Option<(&str, u32)>) -> Result<Command, RuntimeError> {
    let group = share.map(|(name, cpu_millis)| make(name, cpu_millis)).transpose();
    let group = group.map_err(folder_error("making", Path::new("the machine's control group")))?;
    let mut command = Command::new("sh");
    command.args(["-c", ENTER, "sh"]).arg(group.unwrap_or_default());
    Ok(command)
}

/// How this kernel has its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Two,
}

fn kind() -> Option<(Kind, PathBuf)> {
    let one = Path::new(ROOT).join("cpu");
    if one.join("cpu.cfs_quota_us").exists() || one.join("cgroup.procs").exists() {
        return Some((Kind::One, one));
    }
    let controllers = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).ok()?;
    controllers.split_whitespace().any(|name| name == "cpu").then(|| (Kind::Two, ROOT.into()))
}

/// Whether parts of a core can be given.
pub(crate) fn are_there() -> bool {
    let Some((kind, root)) = kind() else { return false };
    match kind {
        Kind::One => access(&root, AccessFlags::W_OK).is_ok(),
        Kind::Two => {
            // The groups below get the controller from here; asked twice, the kernel does nothing.
            access(&root, AccessFlags::W_OK).is_ok() && fs::write(root.join("cgroup.subtree_control"), "+cpu").is_ok()
        }
    }
}

/// Makes a group that gets so much of the processor, and gives the file that takes the processes.
fn make(name: &str, cpu_millis: u32) -> std::io::Result<PathBuf> {
    let (kind, root) = kind().ok_or_else(|| std::io::Error::other("this kernel has no control groups"))?;
    let group = root.join(name);
    match fs::create_dir(&group) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let quota = u64::from(cpu_millis) * PERIOD_US / CORE_MILLIS;
    match kind {
        Kind::One => {
            fs::write(group.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
            fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
        }
        Kind::Two => fs::write(group.join("cpu.max"), format!("{quota} {PERIOD_US}"))?,
    }
    Ok(group.join("cgroup.procs"))
}

/// Removes a group, once the dead have left it. One that stays is removed by the next sweep.
pub(crate) async fn leave(name: &str) {
    let begun = Instant::now();
    while !remove(name) && begun.elapsed() < LEAVING_TAKES {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Removes a group, and says whether it is gone: not while a dead process in it waits to be noticed.
fn remove(name: &str) -> bool {
    let Some((_, root)) = kind() else { return true };
    let group = root.join(name);
    fs::remove_dir(&group).is_ok() || !group.exists()
}

/// The groups whose names begin so.
pub(crate) fn named(prefix: &str) -> Vec<String> {
    let Some((_, root)) = kind() else { return Vec::new() };
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}
