//! Output folders that can't grow past a limit. The engine has no such limit on ordinary file systems.
//!
//! As root, each gets an ext4 file system of its size, in a sparse file, mounted from a loop device: the job sees a full
//! disk. (A tmpfs would do without a file, but its pages count against the job's memory.) Without root, or where loop
//! devices are not allowed, a plain folder is measured while the job runs, and the job is ended once it is past the
//! limit; that no single file is larger is the kernel's to keep (`RLIMIT_FSIZE`).

use super::confine::owner;
use crate::{
    config::Quota,
    runtime::{
        RuntimeError, TaskFolder,
        ext4::{self, program},
        folder_error,
    },
};
use nix::{sys::statvfs::statvfs, unistd::geteuid};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    time::Duration,
};
use tokio::process::Command;

/// How often a watched folder is measured: what a job can write in that time is what it can be over its limit.
const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// A disk with less than this left is full: the next block of a file no longer fits.
const FULL_BELOW_BYTES: u64 = 16 << 10;
/// The unit in which the system counts what a file takes.
const BLOCK_BYTES: u64 = 512;

/// How output folders are kept small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disks {
    Filesystem,
    Watched,
}

impl Disks {
    pub(super) fn choose(quota: Quota) -> Self {
        match quota {
            Quota::Filesystem => Self::Filesystem,
            Quota::Watched => Self::Watched,
            Quota::Auto if geteuid().is_root() => Self::Filesystem,
            Quota::Auto => Self::Watched,
        }
    }

    pub(super) fn is_watched(self) -> bool {
        self == Self::Watched
    }

    /// Makes the output folder, so that the container can be created while [`Disks::make`] mounts something there.
    pub(super) fn reserve(self, folder: &TaskFolder) -> Result<(), RuntimeError> {
        let output = folder.output();
        fs::create_dir_all(&output).map_err(folder_error("making", &output))?;
        if self == Self::Watched { own(&output) } else { Ok(()) }
    }

    /// Makes the file system, if the output gets one. Before the container starts.
    pub(super) async fn make(self, folder: &TaskFolder, bytes: u64) -> Result<(), RuntimeError> {
        if self == Self::Watched {
            return Ok(());
        }
        let (image, output) = (folder.disk_image(), folder.output());
        ext4::format(&image, bytes, None).await?;
        program("mount", Command::new("mount").args(["-o", "loop,nosuid,nodev,noatime"]).arg(&image).arg(&output))
            .await?;
        // What is in the output folder is the job's, and this would not be.
        let recovered = output.join("lost+found");
        fs::remove_dir(&recovered).map_err(folder_error("removing", &recovered))?;
        own(&output)
    }

    /// Ends when the output folder is past its limit, and says by how much; else never.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn overrun(self, folder: &TaskFolder, bytes: u64) -> String {
        if self == Self::Filesystem {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(MEASURE_EVERY).await;
            let used = measure(&folder.output());
            if used > bytes {
                return format!("the output folder holds {used} bytes; its limit is {bytes}");
            }
        }
    }

    /// Whether nothing more fits.
    pub(super) fn is_full(self, folder: &TaskFolder, bytes: u64) -> bool {
        // The file system is a little larger than the limit, never smaller, so that both count.
        let filled = measure(&folder.output()).saturating_add(FULL_BELOW_BYTES) > bytes;
        filled
            || (self == Self::Filesystem
                && statvfs(&folder.output()).is_ok_and(|disk| {
                    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
                    free < FULL_BELOW_BYTES || disk.files_free() == 0
                }))
    }
}

/// Unmounts and removes a task's output disk, whatever kind it is.
pub(super) async fn remove(folder: &TaskFolder) -> Result<(), RuntimeError> {
    let (output, image) = (folder.output(), folder.disk_image());
    while is_mounted(&output) {
        program("umount", Command::new("umount").arg(&output)).await?;
    }
    for path in [output, image] {
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        removed.map_err(folder_error("removing", &path))?;
    }
    Ok(())
}

/// Whether something is mounted exactly here.
fn is_mounted(path: &Path) -> bool {
    let Ok(table) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    // The fifth field is the mount point; blanks in it are written in octal.
    let wanted = path.display().to_string().replace(' ', "\\040");
    table.lines().any(|line| line.split(' ').nth(4) == Some(wanted.as_str()))
}

fn own(folder: &Path) -> Result<(), RuntimeError> {
    let (user, group) = owner();
    let set = || {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        chown(folder, Some(user), Some(group))
    };
    set().map_err(folder_error("giving away", folder))
}

/// What a folder takes of the disk. What can't be read counts as nothing: the job may be removing it.
fn measure(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => measure(&entry.path()) + found.blocks() * BLOCK_BYTES,
        Ok(found) => found.blocks() * BLOCK_BYTES,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
