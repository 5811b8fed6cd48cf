//! What is written down of a running devnet: `devnet.json` in its folder. A process counts by its id and its start time,
//! so that nobody else's process is ever taken for one of ours.

use super::process::{Child, Health, born};
use crate::{args::Up, exit::Exit, hint::Failure};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
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

/// The folder, from whatever folder its processes look.
pub(super) fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(dir).map_err(|error| Failure::file(dir, "used", &error))
}
