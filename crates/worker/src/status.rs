//! What a worker says about itself to its owner: one JSON file in its folder, always whole, written whenever something
//! changes. `berth worker status` reads it.

use crate::{clock::now_ms, share::Stock, stance::Stance};
use alloy::primitives::{Address, B256};
use berth_wire::{descriptor::Runtime, units::Decimal, worker::Capacity};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// The file's name in the worker's folder.
pub const FILE: &str = "status.json";
/// So many refusals are remembered.
const REFUSALS: usize = 10;

/// A worker, as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The worker.
    pub worker: Address,
    /// Its pool.
    pub pool: B256,
    /// Its scheduler.
    pub scheduler: String,
    /// Its process. When it is gone, the rest is how it last was.
    pub pid: u32,
    /// When this was written, in milliseconds since 1970.
    pub written_ms: u64,
    /// How it is connected.
    pub connection: Connection,
    /// What it gives in all.
    pub capacity: Capacity,
    /// Engines that passed their probe.
    pub engines: Vec<Runtime>,
    /// Images that are there.
    pub images: usize,
    /// Data that are there, by name.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Software that is there.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What is shared by the owner's file and is not announced, and why.
    #[serde(default)]
    pub absent: Vec<Absent>,
    /// The owner's hand.
    #[serde(default)]
    pub stance: Stance,
    /// Why it takes nothing now, if it takes nothing.
    #[serde(default)]
    pub closed: Option<String>,
    /// Tasks that it holds and has not reported.
    pub running: Vec<Running>,
    /// Tasks that were paid.
    pub settled: u64,
    /// Tasks that ended without pay.
    pub ended: u64,
    /// Results that wait for their settlement.
    pub unsettled: u64,
    /// What was credited to its owner, in base units.
    pub earned: Decimal,
    /// The last tasks that it declined, or messages that were refused.
    pub refusals: VecDeque<Refusal>,
    /// Whether it takes no more tasks because it is being stopped.
    pub draining: bool,
    /// Why it can't look at the chain, or act on it, with what to do about it.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// How a worker is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// Not yet.
    Connecting,
    /// Signed in.
    Connected {
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
        /// Its bond in the pool.
        bond: Decimal,
        /// Its score there.
        score: u32,
    },
    /// The scheduler is not there.
    Disconnected {
        /// What the last attempt said.
        reason: String,
    },
    /// The scheduler turns it away.
    Rejected {
        /// Stable.
        code: String,
        /// For the owner.
        detail: String,
        /// What to do.
        hint: String,
    },
}

/// Something that is shared by the owner's file, and failed its probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// `engine`, `image` or `dataset`.
    pub kind: String,
    /// Which.
    pub name: String,
    /// Why it is not announced.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

impl Absent {
    pub(crate) fn new(kind: &str, name: &str, reason: &str, hint: &str) -> Self {
        let [kind, name, reason, hint] = [kind, name, reason, hint].map(str::to_owned);
        Self { kind, name, reason, hint }
    }
}

/// A task that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Which.
    pub task: B256,
    /// Where it stands ([`crate::journal::Phase`]).
    pub phase: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// Something that was declined or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The task, if it was about one.
    pub task: String,
    /// Stable.
    pub code: String,
    /// In words.
    pub detail: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Status {
    /// A worker that has just begun, with what it shares.
    pub(crate) fn new(stock: &Stock) -> Self {
        let shares = &stock.said.shares;
        Self {
            worker: stock.me.worker.get(),
            pool: stock.me.pool.get(),
            scheduler: stock.config.scheduler.clone(),
            pid: std::process::id(),
            written_ms: 0,
            connection: Connection::Connecting,
            capacity: stock.said.capacity,
            engines: shares.engines.clone(),
            images: shares.images.len(),
            datasets: shares.datasets.iter().map(|dataset| dataset.name.clone()).collect(),
            packages: shares.packages.clone(),
            absent: stock.absent.clone(),
            stance: stock.stance,
            closed: stock.said.terms.closed.clone(),
            running: Vec::new(),
            settled: 0,
            ended: 0,
            unsettled: 0,
            earned: Decimal(0),
            refusals: VecDeque::new(),
            draining: false,
            trouble: None,
        }
    }

    /// Why it runs nothing, in words; `None` if it does run something.
    pub fn why_idle(&self) -> Option<String> {
        if !self.running.is_empty() {
            return None;
        }
        Some(match &self.connection {
            Connection::Connecting => "it has not reached its scheduler yet".to_owned(),
            Connection::Disconnected { reason } => format!("it is not connected: {reason}"),
            Connection::Rejected { detail, hint, .. } => format!("the scheduler turns it away: {detail}; {hint}"),
            Connection::Connected { .. } if self.draining => "it is being stopped".to_owned(),
            Connection::Connected { .. } if self.closed.is_some() => self.closed.clone().unwrap_or_default(),
            Connection::Connected { .. } => match self.refusals.back() {
                Some(last) => format!("the scheduler has nothing for it; it last declined: {}", last.detail),
                None => "the scheduler has nothing for it".to_owned(),
            },
        })
    }
}

/// Reads the status of the worker whose folder this is.
///
/// # Errors
/// The file is not there (the worker never ran), or is none of ours.
pub fn read(folder: &Path) -> io::Result<Status> {
    serde_json::from_slice(&fs::read(folder.join(FILE))?).map_err(io::Error::from)
}

/// The status as it is now.
#[derive(Debug)]
pub(crate) struct Board {
    path: PathBuf,
    status: Mutex<Status>,
}

impl Board {
    pub(crate) fn new(folder: &Path, status: Status) -> Self {
        Self { path: folder.join(FILE), status: Mutex::new(status) }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        change(&mut self.status.lock().expect("nothing panics under this lock"))
    }

    pub(crate) fn connected(&self, bond: u128, score: u32) {
        self.change(|s| s.connection = Connection::Connected { since_ms: now_ms(), bond: Decimal(bond), score });
    }

    pub(crate) fn disconnected(&self, reason: &str) {
        self.change(|s| s.connection = Connection::Disconnected { reason: reason.to_owned() });
    }

    /// Whether this is news.
    pub(crate) fn rejected(&self, code: &str, detail: &str, hint: &str) -> bool {
        let rejected = Connection::Rejected { code: code.to_owned(), detail: detail.to_owned(), hint: hint.to_owned() };
        self.change(|s| std::mem::replace(&mut s.connection, rejected.clone()) != rejected)
    }

    /// Whether this is news.
    pub(crate) fn trouble(&self, trouble: Option<String>) -> bool {
        self.change(|s| std::mem::replace(&mut s.trouble, trouble.clone()) != trouble)
    }

    pub(crate) fn refusal(&self, task: String, code: &str, detail: &str) {
        let refusal = Refusal { task, code: code.to_owned(), detail: detail.to_owned(), at_ms: now_ms() };
        self.change(|s| {
            s.refusals.push_back(refusal);
            while s.refusals.len() > REFUSALS {
                s.refusals.pop_front();
            }
        });
    }

    /// Sets what the journal says and writes the file: the old one is replaced whole.
    pub(crate) fn write(&self, set: impl FnOnce(&mut Status)) -> io::Result<()> {
        let text = self.change(|status| {
            set(status);
            status.written_ms = now_ms();
            serde_json::to_vec_pretty(status)
        })?;
        let part = self.path.with_extension("part");
        fs::write(&part, text)?;
        fs::rename(&part, &self.path)
    }
}
