//! A test's own folder, of which nothing is left: not even what a worker that was killed had mounted there.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// What all of them begin with. Then comes the test's process id: whoever comes later clears after a test that was killed.
const PREFIX: &str = "berth-test-";

/// A temporary folder. What is mounted in it goes with it.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// Makes one, and clears what tests that were killed have left.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new() -> io::Result<Self> {
        for left in abandoned() {
            unmount_below(&left);
            // Another test may be clearing it at the same time.
            drop(fs::remove_dir_all(left));
        }
        let prefix = format!("{PREFIX}{}-", std::process::id());
        Ok(Self(tempfile::Builder::new().prefix(&prefix).tempdir()?))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where in it something is mounted, what is below others first.
    ///
    /// # Errors
    /// The system does not say.
    pub fn mounts(&self) -> io::Result<Vec<PathBuf>> {
        mounts_below(self.path())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        unmount_below(self.path());
    }
}

fn mounts_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mounts")?;
    let places = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut places: Vec<_> = places.filter(|at| at.starts_with(folder)).collect();
    places.reverse();
    Ok(places)
}

fn unmount_below(folder: &Path) {
    for at in mounts_below(folder).unwrap_or_default() {
        // Lazily: a container that is being killed may still hold it.
        drop(Command::new("umount").arg("-l").arg(at).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// The folders of tests whose processes are gone.
fn abandoned() -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let is_abandoned = |name: &str| {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid.parse::<u32>());
        matches!(pid, Some(Ok(pid)) if !Path::new(&format!("/proc/{pid}")).exists())
    };
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_abandoned)).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_killed_test_goes_with_the_next_one_and_others_stay() -> eyre::Result<()> {
        // No process has this id: it is above what the kernel gives.
        let left = std::env::temp_dir().join(format!("{PREFIX}4194305-left"));
        let other = std::env::temp_dir().join(format!("{PREFIX}others-{}", std::process::id()));
        for folder in [&left, &other] {
            fs::create_dir_all(folder.join("data"))?;
        }
        let folder = Folder::new()?;
        assert!(!left.exists() && other.exists() && folder.path().exists());
        fs::remove_dir_all(other)?;
        Ok(())
    }
}
