//! The real program, run as a user runs it.

use berth_chain::tool::tool_path;
use eyre::{Context as _, ContextCompat as _, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::{Child, Command};

/// No command of a test takes this long; one that does hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where cargo has put `berth`: beside this program, or, for a test, one folder up.
///
/// # Errors
/// It is not there: tests are built by themselves without it.
pub fn berth_path() -> eyre::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join("berth")).find(|path| path.is_file());
    found.wrap_err("there is no `berth` beside the tests: run `cargo build --workspace --all-targets` first")
}

/// A call of `berth` that is being put together. It sees nothing of this process's environment but the search path and
/// the Docker engine.
#[derive(Debug, Clone)]
pub struct Call {
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line, for complaints.
    pub line: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// What `--json` prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of its form.
    pub schema: u32,
    /// Whether the command did what it was to do.
    pub ok: bool,
    /// What it tells.
    pub data: Option<Value>,
    /// What went wrong.
    pub error: Option<Complaint>,
}

/// A failure, for machines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complaint {
    /// Stable.
    pub code: String,
    /// The exit code.
    pub exit: i32,
    /// What failed.
    pub message: String,
    /// Why.
    pub causes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
}

impl Call {
    /// A call from `folder`, with the engine at `docker_host`.
    ///
    /// # Errors
    /// There is no `berth`.
    pub fn new(folder: &Path, docker_host: &str) -> eyre::Result<Self> {
        let environment = vec![
            ("PATH".into(), search_path()?),
            ("HOME".into(), folder.into()),
            ("DOCKER_HOST".into(), docker_host.into()),
        ];
        Ok(Self { program: berth_path()?, arguments: Vec::new(), folder: folder.to_owned(), environment })
    }

    /// With further arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// With a flag before all that there is, which may hold a command line of the job's own.
    #[must_use]
    pub fn before(&self, flag: &str) -> Self {
        let mut call = self.clone();
        call.arguments.insert(0, flag.into());
        call
    }

    /// The same through a link to `berth`, under whose name it is another tool.
    #[must_use]
    pub fn by(mut self, link: &Path) -> Self {
        self.program = link.to_owned();
        self
    }

    /// With an environment variable set, or set otherwise.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != key);
        self.environment.push((key.into(), value.into()));
        self
    }

    /// The command itself.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.folder).env_clear().stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts it; its output goes nowhere, and it is killed when the child is dropped.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(&self) -> eyre::Result<Child> {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        Ok(command.spawn()?)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It can't be started, or does not end.
    pub async fn run(&self) -> eyre::Result<Outcome> {
        self.run_saying(None).await
    }

    /// The same, with standard error in a file, that can be read meanwhile.
    pub(crate) async fn run_saying(&self, file: Option<&Path>) -> eyre::Result<Outcome> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(file) = file {
            command.stderr(File::create(file)?);
        }
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let line = format!("{name} {}", self.arguments.join(OsStr::new(" ")).to_string_lossy());
        let output = tokio::time::timeout(DEADLINE, command.spawn()?.wait_with_output()).await;
        let output = output.wrap_err_with(|| format!("`{line}` does not end"))??;
        let stderr = match file {
            Some(file) => std::fs::read(file)?,
            None => output.stderr,
        };
        Ok(Outcome {
            line,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Runs it, and demands that it does what it should.
    ///
    /// # Errors
    /// As [`Call::run`], and any exit code but 0.
    pub async fn must(&self) -> eyre::Result<Outcome> {
        let outcome = self.run().await?;
        ensure!(outcome.code == Some(0), "{outcome}");
        Ok(outcome)
    }

    /// Runs it, and reads the document that it prints.
    ///
    /// # Errors
    /// As [`Call::must`], and standard output that is no such document.
    pub async fn json<T: DeserializeOwned>(&self) -> eyre::Result<T> {
        self.before("--json").must().await?.data()
    }
}

impl Outcome {
    /// The document that `--json` prints on standard output, and nothing beside it.
    ///
    /// # Errors
    /// It is none.
    pub fn document(&self) -> eyre::Result<Document> {
        let document: Document =
            serde_json::from_str(&self.stdout).wrap_err_with(|| format!("not one JSON document: {self}"))?;
        ensure!(document.ok == (self.code == Some(0)), "the document and the exit code disagree: {self}");
        Ok(document)
    }

    /// What the document tells.
    ///
    /// # Errors
    /// As [`Outcome::document`], and data of another form.
    pub fn data<T: DeserializeOwned>(&self) -> eyre::Result<T> {
        let data = self.document()?.data.unwrap_or_default();
        serde_json::from_value(data).wrap_err_with(|| format!("not the data expected: {self}"))
    }

    /// Demands a failure as users should see it: its exit code, all these words in its message, and a hint.
    ///
    /// # Errors
    /// Something of it is missing.
    pub fn require_failure(&self, code: i32, words: &[&str]) -> eyre::Result<()> {
        ensure!(self.code == Some(code), "exit code {code} was expected: {self}");
        for word in words {
            ensure!(self.stderr.contains(word), "`{word}` is not in the message: {self}");
        }
        ensure!(self.stderr.contains("\n\nhint: "), "there is no hint: {self}");
        Ok(())
    }
}

impl core::fmt::Display for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "`{line}` ended with {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// The path of this process, with the pinned anvil before it: the folder that tests run in has none of its own.
#[expect(clippy::disallowed_methods, reason = "PATH is no setting of ours: it is where programs are")]
fn search_path() -> eyre::Result<OsString> {
    let anvil = tool_path("anvil").wrap_err("run scripts/setup.sh")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = anvil.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}
