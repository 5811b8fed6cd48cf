//! The worker's side of `docs/guest-contract.md`, whatever runs the machine: the disks and pipes that a task's machine is
//! given, what it hands over, and that a shared file is what it is called.

mod attend;
pub(super) mod cgroup;
mod disk;
mod disks;
mod file;
mod judge;
mod output;
mod sector;
mod shared;
mod stream;
mod sweep;

use super::{RuntimeError, folder_error};
use std::path::Path;

pub(super) use attend::{COMPLAINT_BYTES, Hypervisor, Job, attend};
pub(super) use disk::{Form, form};
pub(super) use disks::make;
pub(super) use file::{ImageError, Seen, checked, hashed, look};
pub(super) use sector::{DISK_BYTES as SECTOR_DISK_BYTES, judged as sector_judged, request as sector_request};
pub(super) use shared::{Shared, blocking};
pub(super) use stream::Streams;
pub(super) use sweep::{end_all, processes, remove, remove_unheld, removed, word_after};

/// The serial numbers by which a machine finds its disks.
pub(super) const IN: &str = "berth-in";
pub(super) const OUT: &str = "berth-out";
pub(super) const DISK: &str = "berth-disk";
pub(super) const ROOT: &str = "berth-root";
/// Names within a machine's folder.
pub(super) const INPUT_FILE: &str = "in.img";
pub(super) const DISK_FILE: &str = "disk.img";
pub(super) const OUTPUT_FILE: &str = "out.img";
pub(super) const STDOUT_PIPE: &str = "stdout";
pub(super) const STDERR_PIPE: &str = "stderr";
pub(super) const CONSOLE_PIPE: &str = "console";
/// A small Linux needs about half of it for itself.
pub(super) const LEAST_MEMORY_BYTES: u64 = 96 << 20;
/// Data are copied onto the input disk of each job, which takes a disk its time and its room.
pub(super) const MOST_DATA_BYTES: u64 = 1 << 30;
/// If the worker is gone for good, its machines end so long after their time.
pub(super) const ORPHAN_LIVES: std::time::Duration = std::time::Duration::from_secs(60);

/// Names a part of a machine's folder in errors.
pub(super) fn part<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> RuntimeError + use<'a> {
    folder_error("making", path)
}
