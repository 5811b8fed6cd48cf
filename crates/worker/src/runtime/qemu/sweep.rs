//! Clearing up: machines of this worker are known among all processes by the name that they were given.

use super::{Qemu, cgroup};
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

/// A killed machine is gone within this, or the system is stuck.
const KILL_TAKES: Duration = Duration::from_secs(10);
/// A dead process leaves its control group within this.
const LEAVING_TAKES: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What a process of ours has on its command line before its label.
const NAME: &[u8] = b"-name";

/// The processes of machines whose label begins so, with their labels.
fn machines(prefix: &str) -> Vec<(Pid, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let label = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0).skip_while(|word| *word != NAME);
        let label = String::from_utf8(words.nth(1)?.to_vec()).ok()?;
        label.starts_with(prefix).then_some((Pid::from_raw(pid), label))
    };
    pids.filter_map(label).collect()
}

impl Qemu {
    /// Ends a task's machine, and removes what it was made of.
    pub(super) async fn clear_task(&self, task: TaskId, folder: &TaskFolder) -> Result<(), RuntimeError> {
        // Made before anything else of a machine, and removed last.
        let machine = folder.machine();
        if !machine.exists() {
            return Ok(());
        }
        let label = self.label(task);
        self.end_all(&label, |_| true).await?;
        ungroup(&label).await;
        let output = folder.output();
        for folder in [&output, &machine] {
            removed(fs::remove_dir_all(folder)).map_err(folder_error("removing", folder))?;
        }
        Ok(())
    }

    /// Ends machines and removes folders of tasks that the journal no longer holds.
    pub(super) async fn sweep_all(&self, held: &HashSet<TaskId>) -> Result<(), RuntimeError> {
        let ours = self.label_of_all();
        let task_of = |label: &str| label.strip_prefix(ours.as_str())?.parse::<TaskId>().ok();
        let unheld = |label: &str| task_of(label).is_some_and(|task| !held.contains(&task));
        self.end_all(&ours, unheld).await?;
        for label in cgroup::named(&ours).iter().filter(|label| unheld(label)) {
            ungroup(label).await;
        }
        let Ok(folders) = fs::read_dir(&self.tasks) else { return Ok(()) };
        let tasks = folders.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<TaskId>().ok());
        for task in tasks.filter(|task| !held.contains(task)) {
            let folder = TaskFolder::new(&self.tasks, task);
            // Other folders are other runtimes'.
            if folder.machine().exists() {
                removed(fs::remove_dir_all(folder.path())).map_err(folder_error("removing", folder.path()))?;
            }
        }
        Ok(())
    }

    /// Kills machines, and waits until they are gone.
    async fn end_all(&self, prefix: &str, wanted: impl Fn(&str) -> bool) -> Result<(), RuntimeError> {
        let begun = Instant::now();
        loop {
            let living: Vec<_> = machines(prefix).into_iter().filter(|(_, label)| wanted(label)).collect();
            if living.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > KILL_TAKES {
                return Err(folder_error("ending", Path::new(prefix))(io::Error::other("it does not end")));
            }
            for (pid, _) in living {
                // An error means that it has ended meanwhile.
                let _ended = kill(pid, Signal::SIGKILL);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Removes a machine's control group, once the dead have left it. One that stays is removed by the next sweep.
async fn ungroup(label: &str) {
    let begun = Instant::now();
    while !cgroup::remove(label) && begun.elapsed() < LEAVING_TAKES {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is not there need not be removed.
fn removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
