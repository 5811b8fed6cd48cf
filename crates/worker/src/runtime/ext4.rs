//! File systems in files, and the system's programs that make them.

use super::{RuntimeError, folder_error};
use std::{fs, path::Path};
use tokio::process::Command;

/// Where the system keeps its file system tools: not in every user's PATH.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const INODE_BYTES: u64 = 256;

/// Makes a file that holds an ext4 file system with `bytes` free, or with a folder's files in it.
pub(super) async fn format(image: &Path, bytes: u64, files: Option<&Path>) -> Result<(), RuntimeError> {
    let inodes = inodes(bytes);
    let file = fs::File::create(image).map_err(folder_error("making", image))?;
    file.set_len(file_bytes(bytes, inodes)).map_err(folder_error("making", image))?;
    let inodes = inodes.to_string();
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-I", "256", "-N", &inodes]);
    command.args(["-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"]);
    if let Some(files) = files {
        command.arg("-d").arg(files);
    }
    program("mke2fs", command.arg(image)).await
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

/// Runs a program of the system to its end.
pub(super) async fn program(name: &'static str, command: &mut Command) -> Result<(), RuntimeError> {
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
