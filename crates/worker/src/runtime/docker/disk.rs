//! Output folders that can't grow past a limit. The engine has no such limit on ordinary file systems.
//!
//! As root, each gets an ext4 file system of its size, in a sparse file, mounted from a loop device: the job sees a full
//! disk. (A tmpfs would do without a file, but its pages count against the job's memory.) Without root, or where loop
//! devices are not allowed, a plain folder is measured while the job runs, and the job is ended once it is past the
//! limit; that no single file is larger is the kernel's to keep (`RLIMIT_FSIZE`).

use super::confine::owner;
use crate::{
    config::Quota,
    runtime::{RuntimeError, TaskFolder, folder_error},
};
use nix::{sys::statvfs::statvfs, unistd::geteuid};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    time::Duration,
};
use tokio::process::Command;

/// Where the system keeps its file system tools: not in every user's PATH.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How often a watched folder is measured: what a job can write in that time is what it can be over its limit.
const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// A disk with less than this left is full: the next block of a file no longer fits.
const FULL_BELOW_BYTES: u64 = 16 << 10;
const INODE_BYTES: u64 = 256;
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
        let inodes = inodes(bytes);
        let file = fs::File::create(&image).map_err(folder_error("making", &image))?;
        file.set_len(file_bytes(bytes, inodes)).map_err(folder_error("making", &image))?;
        let inodes = inodes.to_string();
        let options = ["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-I", "256", "-N", &inodes];
        let features = ["-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"];
        program("mke2fs", Command::new("mke2fs").args(options).args(features).arg(&image)).await?;
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

/// One file for each 16 KiB, within reason.
fn inodes(bytes: u64) -> u64 {
    (1_024 + bytes / (16 << 10)).min(65_536)
}

/// The size of the file in which `bytes` are free after ext4 took its own: inodes, a fiftieth (16 MiB at the most) that
/// it keeps back from everybody, and maps.
fn file_bytes(bytes: u64, inodes: u64) -> u64 {
    let metadata = inodes * INODE_BYTES + (bytes / 50).min(16 << 20) + bytes / 1_000 + (384 << 10);
    (bytes + metadata).next_multiple_of(4_096)
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

async fn program(name: &'static str, command: &mut Command) -> Result<(), RuntimeError> {
    let ran = command.env_clear().env("PATH", PATH).env("LC_ALL", "C").kill_on_drop(true).output().await;
    match ran {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(RuntimeError::Program { program: name, said })
        }
        Err(error) => Err(RuntimeError::Program { program: name, said: error.to_string() }),
    }
}
