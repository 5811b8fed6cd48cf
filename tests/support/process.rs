//! A service of a devnet, known by its pid: what started it was another program, or an earlier life of the test.

use crate::binary::Outcome;
use eyre::{Context as _, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::{Child, Command};

/// A process that was sent SIGKILL is gone within milliseconds; one that was asked to stop may drain.
const END_DEADLINE: Duration = Duration::from_secs(40);
/// How often to look whether something has come about that nobody tells of.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running service, with all that is needed to start it anew as it was.
#[derive(Debug)]
pub struct Service {
    pid: Pid,
    command_line: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    /// As whom it is started, if not as whoever runs the tests: user and group.
    user: Option<(u32, u32)>,
    /// Of a restart: whoever starts a process must also reap it.
    child: Option<Child>,
}

impl Service {
    /// Learns how a running process was started.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: i32) -> eyre::Result<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let parts = |name: &str| {
            let bytes = fs::read(proc.join(name)).wrap_err_with(|| format!("there is no process {pid}"))?;
            let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
            Ok::<_, eyre::Report>(parts.map(|part| OsString::from_vec(part.to_vec())).collect::<Vec<_>>())
        };
        let environment = parts("environ")?.into_iter().filter_map(|pair| {
            let pair = pair.into_vec();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            Some((OsString::from_vec(pair[..at].to_vec()), OsString::from_vec(pair[at + 1..].to_vec())))
        });
        Ok(Self {
            pid: Pid::from_raw(pid),
            command_line: parts("cmdline")?,
            environment: environment.collect(),
            folder: fs::read_link(proc.join("cwd"))?,
            user: None,
            child: None,
        })
    }

    /// Its process id.
    pub const fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether the test started it, and not the devnet.
    pub const fn is_child(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // After the name, in brackets: the state. A zombie has ended.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    /// Sends it a signal, if it is still there.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end between the two.
            let _ = kill(self.pid, signal);
        }
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// It stays.
    pub async fn kill(&mut self) -> eyre::Result<()> {
        self.signal(Signal::SIGKILL);
        self.ended().await
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn ended(&mut self) -> eyre::Result<()> {
        if let Some(child) = &mut self.child {
            tokio::time::timeout(END_DEADLINE, child.wait()).await.wrap_err("it does not end")??;
            return Ok(());
        }
        let gone = async {
            while self.is_alive() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(END_DEADLINE, gone).await.wrap_err("it does not end")
    }

    /// Has it be another user's from its next start on.
    pub const fn give_to(&mut self, user: u32, group: u32) {
        self.user = Some((user, group));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command_line[0]);
        command.args(&self.command_line[1..]).env_clear().envs(self.environment.iter().cloned());
        command.current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Runs it as it was started first, but for these variables of its environment, until it ends by itself.
    ///
    /// # Errors
    /// It runs already, can't be started, or does not end.
    pub async fn run_to_end(&self, environment: &[(&str, &str)]) -> eyre::Result<Outcome> {
        ensure!(!self.is_alive(), "process {} still runs", self.pid);
        let mut command = self.command();
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::time::timeout(END_DEADLINE, command.output()).await.wrap_err("it does not end")??;
        Ok(Outcome {
            line: self.command_line.join(OsStr::new(" ")).to_string_lossy().into_owned(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it as it was started first, with further arguments; what it prints goes to the end of a file.
    ///
    /// # Errors
    /// It runs already, or can't be started.
    pub fn restart(&mut self, further: &[OsString], log: &Path) -> eyre::Result<()> {
        ensure!(!self.is_alive(), "process {} still runs", self.pid);
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = self.command();
        command.args(further).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        self.pid = Pid::from_raw(i32::try_from(child.id().unwrap_or_default())?);
        self.child = Some(child);
        Ok(())
    }
}
