//! Commands to VirtualBox. Each task has a VirtualBox of its own: settings and registry in the machine's folder, and a
//! service process that no other task talks to. So nothing is ever registered with the owner's VirtualBox, no task meets
//! another's disks, and what is removed is a folder.

use super::{
    VirtualBox,
    error::{VirtualBoxError, one_line},
    settings::inner,
};
use crate::runtime::{RuntimeError, TaskFolder, guest::part};
use berth_protocol::TaskId;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
};

/// A command is done within this, on a busy machine too.
const COMMAND_TAKES: Duration = Duration::from_secs(300);
/// If the worker is gone for good, a service ends so long after its job's time. That begins later than the service: other
/// tasks' machines may be made first.
const ORPHAN_SERVES: Duration = Duration::from_secs(3_600);
/// What a service says on the pipe that it is given for that, when it serves.
const READY: &[u8] = b"READY";
/// Of a worker's address and of a task's id so much stands in the name of a task's service: the path of its socket is
/// limited to 108 bytes.
const SHORT_CHARS: usize = 16;
/// Where a machine's folder has the settings and registry of its VirtualBox.
const HOME: &str = "home";
/// What VirtualBox calls its settings there.
const SETTINGS: &str = "VirtualBox.xml";

/// The VirtualBox of one task.
#[derive(Debug)]
pub(super) struct Manager<'a> {
    program: &'a Path,
    home: PathBuf,
    service: String,
}

/// The service program, beside VBoxManage.
pub(super) const SERVICE: &str = "VBoxSVC";

fn short(text: &str) -> &str {
    let digits = text.trim_start_matches("0x");
    digits.get(..SHORT_CHARS).unwrap_or(digits)
}

impl VirtualBox {
    /// By which the service of a task is known: in the environment of its process, and in its socket's name.
    pub(super) fn service(&self, task: TaskId) -> String {
        format!("{}{}", self.service_of_all(), short(&task.to_string()))
    }

    pub(super) fn service_of_all(&self) -> String {
        format!("berth-{}-", short(&self.worker.to_string()))
    }

    pub(super) fn manager(&self, task: TaskId, folder: &TaskFolder) -> Manager<'_> {
        Manager { program: &self.share.program, home: folder.machine().join(HOME), service: self.service(task) }
    }
}

impl Manager<'_> {
    /// Settings of its own, and nothing of the worker's environment.
    pub(super) fn private<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), ("LC_ALL", "C")])
            .env("HOME", &self.home)
            .env("VBOX_USER_HOME", &self.home)
            .env("VBOX_IPC_SOCKETID", &self.service)
            .stdin(Stdio::null())
            .kill_on_drop(true)
    }

    /// Starts the service of a job that may run so long, which then serves until it is ended. One that VirtualBox starts
    /// by itself ends when nobody has called it for some seconds: on a busy machine between two calls.
    pub(super) async fn serve(&self, wall: Duration) -> Result<Child, RuntimeError> {
        fs::create_dir_all(&self.home).map_err(part(&self.home))?;
        let settings = self.home.join(SETTINGS);
        fs::write(&settings, inner()).map_err(part(&settings))?;
        let mut command = Command::new("timeout");
        self.private(&mut command).kill_on_drop(false).process_group(0);
        let lives = (wall + ORPHAN_SERVES).as_secs().to_string();
        command.args(["-s", "KILL", &lives]).arg(self.program.with_file_name(SERVICE));
        command.args(["--inherit-startup-pipe", "1"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let absent = |source| VirtualBoxError::Absent { program: self.program.with_file_name(SERVICE), source };
        let mut service = command.spawn().map_err(absent)?;
        let mut said = [0; READY.len()];
        if let Some(pipe) = &mut service.stdout {
            // One that ends, or says nothing in time, has said what is not expected.
            let _said = tokio::time::timeout(COMMAND_TAKES, pipe.read_exact(&mut said)).await;
        }
        if said == READY {
            return Ok(service);
        }
        let said = "it does not serve; its log is in the task's folder".to_owned();
        Err(VirtualBoxError::Refused { action: "start its service", said }.into())
    }

    /// Runs one command to its end, and gives what it says.
    pub(super) async fn call<A: AsRef<OsStr>>(
        &self,
        action: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String, RuntimeError> {
        let mut command = Command::new(self.program);
        let ran = tokio::time::timeout(COMMAND_TAKES, self.private(&mut command).args(arguments).output()).await;
        let refused = |said: String| RuntimeError::from(VirtualBoxError::Refused { action, said });
        let ran = ran.map_err(|_| refused(format!("it gave no answer within {} s", COMMAND_TAKES.as_secs())))?;
        let output = ran.map_err(|source| VirtualBoxError::Absent { program: self.program.to_owned(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(refused(one_line(&String::from_utf8_lossy(&output.stderr))))
    }
}

/// A value of what `showvminfo --machinereadable` says.
pub(super) fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let text = "name=\"a\"\nVMState=\"running\"\nVMStateChangeTime=\"x\"\nmemory=128\n";
        assert_eq!(value(text, "VMState"), Some("running"));
        assert_eq!(value(text, "memory"), Some("128"));
        assert_eq!(value(text, "VM"), None);
    }
}
