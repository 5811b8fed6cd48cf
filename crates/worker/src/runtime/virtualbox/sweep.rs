//! Clearing up. A machine's process is known by the label on its command line, and the service behind it by its
//! environment; all else is in the machine's folder, but for the service's socket.

use super::VirtualBox;
use crate::runtime::{
    RuntimeError, TaskFolder, folder_error,
    guest::{cgroup, end_all, processes, remove, remove_unheld, removed, word_after},
};
use berth_protocol::TaskId;
use nix::unistd::Pid;
use std::{collections::HashSet, fs, path::PathBuf};

/// What a machine's process has on its command line before its label.
const NAME: &[u8] = b"--startvm";
/// What a service has in its environment before its name.
const SERVICE: &[u8] = b"VBOX_IPC_SOCKETID=";
/// Where VirtualBox has the sockets of its services, and how they are called.
const SOCKETS: &str = "/tmp";
const SOCKET: (&str, &str) = (".vbox-", "-ipc");

impl VirtualBox {
    /// Ends a task's machine, and removes what it was made of.
    pub(super) async fn clear_task(&self, task: TaskId, folder: &TaskFolder) -> Result<(), RuntimeError> {
        if !folder.machine().exists() {
            return Ok(());
        }
        self.end_service(task).await?;
        cgroup::leave(&self.label(task)).await;
        remove(folder)
    }

    /// Ends all processes of a task, and removes what they leave outside its folder.
    pub(super) async fn end_service(&self, task: TaskId) -> Result<(), RuntimeError> {
        let ours = self.service(task);
        end_all(|| self.services(|service| service == ours)).await?;
        unlinked(|service| service == ours)
    }

    /// Ends machines and removes folders of tasks that the journal no longer holds.
    pub(super) async fn sweep_all(&self, held: &HashSet<TaskId>) -> Result<(), RuntimeError> {
        let ours = self.service_of_all();
        let held_services: HashSet<_> = held.iter().map(|task| self.service(*task)).collect();
        let unheld = |service: &str| service.starts_with(&ours) && !held_services.contains(service);
        end_all(|| self.services(unheld)).await?;
        unlinked(unheld)?;
        let task_of = |label: &str| label.strip_prefix(&self.label_of_all())?.parse::<TaskId>().ok();
        for label in cgroup::named(&self.label_of_all()) {
            if task_of(&label).is_some_and(|task| !held.contains(&task)) {
                cgroup::leave(&label).await;
            }
        }
        remove_unheld(&self.tasks, held)
    }

    /// The processes of wanted services, with the service that each is of.
    fn services(&self, wanted: impl Fn(&str) -> bool) -> Vec<(Pid, String)> {
        processes(|pid| self.machine_of(pid).or_else(|| service_of(pid)).filter(|service| wanted(service)))
    }

    /// The service of the machine that a process runs, by its command line: another user may not read its environment.
    fn machine_of(&self, pid: i32) -> Option<String> {
        let task = word_after(pid, NAME)?.strip_prefix(&self.label_of_all())?.parse::<TaskId>().ok()?;
        Some(self.service(task))
    }
}

/// The service that a process is, or is of, by its environment.
fn service_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let service = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(SERVICE))?;
    String::from_utf8(service.to_vec()).ok()
}

/// Removes the sockets of services that have ended.
fn unlinked(wanted: impl Fn(&str) -> bool) -> Result<(), RuntimeError> {
    for folder in sockets(wanted) {
        removed(fs::remove_dir_all(&folder)).map_err(folder_error("removing", &folder))?;
    }
    Ok(())
}

fn sockets(wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(SOCKETS) else { return Vec::new() };
    let is_wanted = |name: &str| name.strip_prefix(SOCKET.0)?.strip_suffix(SOCKET.1).map(&wanted);
    let wanted = entries.flatten().filter(|entry| entry.file_name().to_str().and_then(is_wanted) == Some(true));
    wanted.map(|entry| entry.path()).collect()
}
