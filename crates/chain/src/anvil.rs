//! A local chain: anvil as a child process, for devnets and tests. What is fake about it is told in `anvil/`.

use crate::rpc::{Endpoint, EndpointError};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use thiserror::Error;

/// How long anvil may take to listen. It takes 50 to 70 ms on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// The line by which anvil tells its address.
const LISTENING: &str = "Listening on ";

/// How blocks come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mining {
    /// One each so many seconds. Never anvil's automine, which stalls under bursts.
    Every(f64),
    /// Only when asked (`evm_mine`).
    OnDemand,
}

/// Settings of a local chain.
#[derive(Debug, Clone)]
pub struct AnvilConfig {
    /// The program.
    pub program: PathBuf,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// The chain's id.
    pub chain_id: u64,
    /// How blocks come.
    pub mining: Mining,
    /// The words from which the funded accounts come; anvil's own if `None`.
    pub mnemonic: Option<String>,
    /// Where anvil's output goes; nowhere if `None`.
    pub log: Option<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl AnvilConfig {
    /// The usual local chain: id 31337, a block each 0.25 s, any free port.
    pub const fn new(program: PathBuf) -> Self {
        Self {
            program,
            port: 0,
            chain_id: 31_337,
            mining: Mining::Every(0.25),
            mnemonic: None,
            log: None,
            arguments: Vec::new(),
        }
    }
}

/// The local chain did not start.
#[derive(Debug, Error)]
pub enum AnvilError {
    /// The program can't be run, or its log can't be written.
    #[error("{} can't be started", path.display())]
    Start {
        /// The program or its log.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It ended before it listened, or never listened.
    #[error("anvil does not listen:\n{output}")]
    Silent {
        /// What it printed.
        output: String,
    },
    /// It listens at what is no address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl AnvilError {
    /// What the user can do, where there is something.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Start { .. } => Some("run scripts/setup.sh, which installs the pinned anvil"),
            Self::Silent { .. } => Some("the port may be taken: end what uses it, or give another"),
            Self::Endpoint(_) => None,
        }
    }
}

/// A running local chain. It ends when this is dropped.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    address: String,
}

impl Anvil {
    /// Starts it, and returns once it listens. Blocks the thread for some 60 ms.
    ///
    /// # Errors
    /// [`AnvilError`]: it can't be run, or does not come to listen.
    pub fn start(config: &AnvilConfig) -> Result<Self, AnvilError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| AnvilError::Start { path, source }
        };
        let log = config.log.as_deref();
        let log = log.map(|path| File::create(path).map_err(failed(path))).transpose()?;
        let mut child = command(config).spawn().map_err(failed(&config.program))?;
        let stdout = child.stdout.take().expect("it was asked for");
        let (found, address) = mpsc::sync_channel(1);
        std::thread::spawn(move || drain(stdout, log, &found));
        match address.recv_timeout(START_DEADLINE) {
            Ok(Ok(address)) => Ok(Self { child, address }),
            Ok(Err(output)) => Err(AnvilError::Silent { output: output + &end(child) }),
            Err(_) => Err(AnvilError::Silent { output: end(child) }),
        }
    }

    /// Where it answers, and tells of heads.
    ///
    /// # Errors
    /// [`AnvilError::Endpoint`] if what it printed is no address.
    pub fn endpoint(&self) -> Result<Endpoint, AnvilError> {
        Ok(Endpoint::parse(&format!("ws://{}", self.address))?)
    }

    /// The URL for calls.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program and its arguments, for whoever runs it as a process that outlives this one.
pub fn command_line(config: &AnvilConfig) -> Vec<String> {
    let mut line = vec![config.program.display().to_string()];
    let mut add = |arguments: &[&str]| line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    add(&["--host", "127.0.0.1", "--port", &config.port.to_string()]);
    add(&["--chain-id", &config.chain_id.to_string()]);
    // What the contracts are compiled for: anvil's own default moves with its version.
    add(&["--hardfork", "prague"]);
    // As they come: the default order by fee starves cheap transactions.
    add(&["--order", "fifo"]);
    match config.mining {
        Mining::Every(seconds) => add(&["--block-time", &seconds.to_string()]),
        Mining::OnDemand => add(&["--no-mining"]),
    }
    if let Some(words) = &config.mnemonic {
        add(&["--mnemonic", words]);
    }
    line.extend(config.arguments.iter().cloned());
    line
}

fn command(config: &AnvilConfig) -> Command {
    let mut command = Command::new(&config.program);
    command.args(&command_line(config)[1..]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads anvil's output for as long as it lives, since it stops when nobody does; tells the address once it is there, or
/// at the end what was printed instead.
fn drain(stdout: ChildStdout, mut log: Option<File>, found: &mpsc::SyncSender<Result<String, String>>) {
    let mut before = Some(String::new());
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(log) = &mut log {
            // A full disk must not stop the chain.
            let _ = writeln!(log, "{line}");
        }
        if let Some(address) = line.strip_prefix(LISTENING) {
            before = None;
            let _ = found.try_send(Ok(address.trim().to_owned()));
        } else if let Some(before) = &mut before {
            before.push_str(&line);
            before.push('\n');
        }
    }
    if let Some(before) = before {
        let _ = found.try_send(Err(before));
    }
}

/// Ends the child, and gives what it said about its failure.
fn end(mut child: Child) -> String {
    let _ = child.kill();
    child
        .wait_with_output()
        .map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
