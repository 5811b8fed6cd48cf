//! Clearing up what machines leave: their processes, known by a label, and their folders.

use crate::runtime::{RuntimeError, TaskFolder, folder_error};
use berth_protocol::TaskId;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::HashSet,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// A killed process is gone within this, or the system is stuck.
const KILL_TAKES: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Kills the processes that `living` finds, each with its label, and waits until it finds none.
pub(crate) async fn end_all(living: impl Fn() -> Vec<(Pid, String)>) -> Result<(), RuntimeError> {
    let begun = Instant::now();
    loop {
        let found = living();
        let Some((pid, label)) = found.first() else { return Ok(()) };
        if begun.elapsed() > KILL_TAKES {
            let what = format!("{label} (process {pid})");
            return Err(folder_error("ending", Path::new(&what))(io::Error::other("it does not end")));
        }
        for (pid, _) in found {
            // An error means that it has ended meanwhile.
            let _ended = kill(pid, Signal::SIGKILL);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The processes of this system, each with the label that `label` finds for it.
pub(crate) fn processes(label: impl Fn(i32) -> Option<String>) -> Vec<(Pid, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((Pid::from_raw(pid), label(pid)?))).collect()
}

/// The word that follows another on a process' command line.
pub(crate) fn word_after(pid: i32, before: &[u8]) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).skip_while(|word| *word != before);
    String::from_utf8(words.nth(1)?.to_vec()).ok()
}

/// Removes a machine and its output from its task's folder. What it was made of is made first, and removed last.
pub(crate) fn remove(folder: &TaskFolder) -> Result<(), RuntimeError> {
    for folder in [&folder.output(), &folder.machine()] {
        removed(fs::remove_dir_all(folder)).map_err(folder_error("removing", folder))?;
    }
    Ok(())
}

/// Removes the folders of tasks that had a machine and that nobody holds. Other folders are other runtimes'.
pub(crate) fn remove_unheld(tasks: &Path, held: &HashSet<TaskId>) -> Result<(), RuntimeError> {
    let Ok(folders) = fs::read_dir(tasks) else { return Ok(()) };
    let found = folders.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<TaskId>().ok());
    for task in found.filter(|task| !held.contains(task)) {
        let folder = TaskFolder::new(tasks, task);
        if folder.machine().exists() {
            removed(fs::remove_dir_all(folder.path())).map_err(folder_error("removing", folder.path()))?;
        }
    }
    Ok(())
}

/// What is not there need not be removed.
pub(crate) fn removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
