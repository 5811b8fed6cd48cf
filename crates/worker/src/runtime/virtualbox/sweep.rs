//! Clearing up. A machine's process is known by the label on its command line, and the service behind it by its
//! environment; all else is in the machine's folder, but for the service's socket.

use super::VirtualBox;
use crate::runtime::{RuntimeError, TaskFolder, folder_error};
use berth_protocol::TaskId;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A killed process is gone within this, or the system is stuck.
const KILL_TAKES: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);
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
        // Made before anything else of a machine, and removed last.
        let machine = folder.machine();
        if !machine.exists() {
            return Ok(());
        }
        self.end_service(task).await?;
        for folder in [&folder.output(), &machine] {
            removed(fs::remove_dir_all(folder)).map_err(folder_error("removing", folder))?;
        }
        Ok(())
    }

    /// Ends all processes of a task, and removes what they leave outside its folder.
    pub(super) async fn end_service(&self, task: TaskId) -> Result<(), RuntimeError> {
        let service = self.service(task);
        self.end_all(|of| of == service).await?;
        unlinked(|of| of == service)
    }

    /// Ends machines and removes folders of tasks that the journal no longer holds.
    pub(super) async fn sweep_all(&self, held: &HashSet<TaskId>) -> Result<(), RuntimeError> {
        let ours = self.service_of_all();
        let held_services: HashSet<_> = held.iter().map(|task| self.service(*task)).collect();
        let unheld = |service: &str| service.starts_with(&ours) && !held_services.contains(service);
        self.end_all(unheld).await?;
        unlinked(unheld)?;
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

    /// This worker's processes, with the service that each is of.
    fn processes(&self) -> Vec<(Pid, String)> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let of = |pid: i32| {
            let service = self.machine_of(pid).or_else(|| service_of(pid))?;
            service.starts_with(&self.service_of_all()).then_some((Pid::from_raw(pid), service))
        };
        pids.filter_map(of).collect()
    }

    /// The service of the machine that a process runs, by its command line: another user may not read its environment.
    fn machine_of(&self, pid: i32) -> Option<String> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0).skip_while(|word| *word != NAME);
        let label = String::from_utf8(words.nth(1)?.to_vec()).ok()?;
        let task = label.strip_prefix(&self.label_of_all())?.parse::<TaskId>().ok()?;
        Some(self.service(task))
    }

    /// Kills processes, and waits until they are gone.
    async fn end_all(&self, wanted: impl Fn(&str) -> bool) -> Result<(), RuntimeError> {
        let begun = Instant::now();
        loop {
            let living: Vec<_> = self.processes().into_iter().filter(|(_, service)| wanted(service)).collect();
            if living.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > KILL_TAKES {
                let (pid, service) = &living[0];
                let what = format!("{service} (process {pid})");
                return Err(folder_error("ending", Path::new(&what))(io::Error::other("it does not end")));
            }
            for (pid, _) in living {
                // An error means that it has ended meanwhile.
                let _ended = kill(pid, Signal::SIGKILL);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
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

/// What is not there need not be removed.
fn removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
