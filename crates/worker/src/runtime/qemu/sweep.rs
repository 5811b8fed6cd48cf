//! Clearing up: machines of this worker are known among all processes by the name that they were given.

use super::Qemu;
use crate::runtime::{
    RuntimeError, TaskFolder,
    guest::{cgroup, end_all, processes, remove, remove_unheld, word_after},
};
use berth_protocol::TaskId;
use nix::unistd::Pid;
use std::collections::HashSet;

/// What a process of ours has on its command line before its label.
const NAME: &[u8] = b"-name";

/// The processes of machines whose label is wanted, with their labels.
fn machines(wanted: impl Fn(&str) -> bool) -> Vec<(Pid, String)> {
    processes(|pid| word_after(pid, NAME).filter(|label| wanted(label)))
}

impl Qemu {
    /// Ends a task's machine, and removes what it was made of.
    pub(super) async fn clear_task(&self, task: TaskId, folder: &TaskFolder) -> Result<(), RuntimeError> {
        if !folder.machine().exists() {
            return Ok(());
        }
        let ours = self.label(task);
        end_all(|| machines(|label| label == ours)).await?;
        cgroup::leave(&ours).await;
        remove(folder)
    }

    /// Ends machines and removes folders of tasks that the journal no longer holds.
    pub(super) async fn sweep_all(&self, held: &HashSet<TaskId>) -> Result<(), RuntimeError> {
        let ours = self.label_of_all();
        let task_of = |label: &str| label.strip_prefix(ours.as_str())?.parse::<TaskId>().ok();
        let unheld = |label: &str| task_of(label).is_some_and(|task| !held.contains(&task));
        end_all(|| machines(unheld)).await?;
        for label in cgroup::named(&ours).iter().filter(|label| unheld(label)) {
            cgroup::leave(label).await;
        }
        remove_unheld(&self.tasks, held)
    }
}
