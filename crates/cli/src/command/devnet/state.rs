//! What is written down of a running devnet: `devnet.json` in its folder. A process counts by its id and its start time,
//! so that nobody else's process is ever taken for one of ours.

use super::process::{Child, Health, born};
use crate::{args::Up, exit::Exit, hint::Failure};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A running devnet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) rpc: String,
    pub(super) market: String,
    pub(super) scheduler: String,
    pub(super) pool: String,
    pub(super) components: Vec<Component>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) child: Child,
    pub(super) pid: u32,
    /// Its start, in the kernel's ticks.
    pub(super) born: u64,
    /// Its command line, to start it again.
    pub(super) command: Vec<String>,
}

impl Component {
    pub(super) fn health(&self) -> Health {
        if born(self.pid) == Some(self.born) { Health::Alive } else { Health::Dead }
    }

    pub(super) fn log(&self, dir: &Path) -> PathBuf {
        dir.join("logs").join(format!("{}.log", self.name))
    }
}

impl State {
    /// Nothing runs yet.
    pub(super) fn new(args: &Up) -> Self {
        Self {
            rpc: String::new(),
            market: String::new(),
            scheduler: String::new(),
            pool: String::new(),
            components: Vec::with_capacity(2 + usize::from(args.workers)),
        }
    }

    fn file(dir: &Path) -> PathBuf {
        dir.join("devnet.json")
    }

    /// What runs in a folder, if anything was started there and not stopped.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, Failure> {
        let path = Self::file(dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file(&path, "read", &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Failure::new(Exit::Error, "devnet-state", format!("{} is not what a devnet writes", path.display()))
                .because(&error)
                .hint("end its processes by hand, then remove the file")
        })
    }

    /// Writes it down, whole or not at all.
    pub(super) fn save(&self, dir: &Path) -> Result<(), Failure> {
        let path = Self::file(dir);
        let text = serde_json::to_string_pretty(self).expect("texts and numbers are JSON");
        let aside = path.with_extension("new");
        let written = fs::write(&aside, text).and_then(|()| fs::rename(&aside, &path));
        written.map_err(|error| Failure::file(&path, "written", &error))
    }

    /// Nothing runs any more.
    pub(super) fn forget(dir: &Path) -> Result<(), Failure> {
        let path = Self::file(dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::file(&path, "removed", &error)),
            _ => Ok(()),
        }
    }
}

/// Says that a folder is a devnet's, so that nobody else's is ever cleared.
const MARK: &str = ".devnet";
/// What a devnet keeps there and a new one starts without: another chain's tables and results are worth nothing.
const CONTENTS: [&str; 2] = ["logs", "data"];

/// Makes the folder ready for a new devnet: what is left of an earlier one goes, but for keys that are not its own.
pub(super) fn clear(dir: &Path) -> Result<(), Failure> {
    let made = |path: &Path| fs::create_dir_all(path).map_err(|error| Failure::file(path, "made", &error));
    made(dir)?;
    let mark = dir.join(MARK);
    if !mark.exists() {
        let mut entries = fs::read_dir(dir).map_err(|error| Failure::file(dir, "read", &error))?;
        if entries.next().is_some() {
            let message = format!("{} is not empty, and not a devnet's", dir.display());
            return Err(Failure::usage("devnet-folder", message).hint("give --dir another folder"));
        }
        fs::write(&mark, "").map_err(|error| Failure::file(&mark, "written", &error))?;
    }
    for name in CONTENTS {
        let folder = dir.join(name);
        if folder.exists() {
            unmount_below(&folder);
            fs::remove_dir_all(&folder).map_err(|error| Failure::file(&folder, "removed", &error))?;
        }
        made(&folder)?;
    }
    Ok(())
}

/// A worker that was killed leaves the disks of its jobs mounted. It takes them off at its next start; here there is
/// none. Whatever stays is complained about when the folder is removed.
fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(folder)) {
        drop(Command::new("umount").arg(at).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// Removes a devnet's folder, if it is one.
pub(super) fn purge(dir: &Path) -> Result<(), Failure> {
    if dir.join(MARK).exists() {
        unmount_below(dir);
        fs::remove_dir_all(dir).map_err(|error| Failure::file(dir, "removed", &error))?;
    }
    Ok(())
}

/// The folder, from whatever folder its processes look.
pub(super) fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(dir).map_err(|error| Failure::file(dir, "used", &error))
}
