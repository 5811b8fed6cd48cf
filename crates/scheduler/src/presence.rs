//! Who is connected, what it can do, and what it holds: all that is known of workers in memory only. What follows from
//! it is written by `act`.

use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::worker::{Announced, Capacity, Shares, Terms};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// A worker's connection, as its socket holds it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    id: u64,
    /// Rings when there may be new mail.
    pub(crate) bell: Arc<Notify>,
    /// Cancelled when the same worker connects anew.
    pub(crate) displaced: CancellationToken,
}

/// What a connected worker said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Here {
    /// What it shares, and on what terms, with its signature.
    pub(crate) announced: Arc<Announced>,
    /// What it said that it holds, in its last two heartbeats, if both came after its last acknowledgement.
    pub(crate) holding: Option<Arc<HashSet<TaskId>>>,
}

impl Here {
    pub(crate) fn capacity(&self) -> &Capacity {
        &self.announced.said.capacity
    }

    pub(crate) fn shares(&self) -> &Shares {
        &self.announced.said.shares
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.announced.said.terms
    }
}

/// Where a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Connected.
    Here(Here),
    /// Its socket closed so long ago.
    Left(Duration),
    /// Nothing was heard of it since this process started, so long ago.
    Never(Duration),
}

#[derive(Debug)]
struct Entry {
    line: Line,
    left: Option<Instant>,
    announced: Arc<Announced>,
    beats: [Arc<HashSet<TaskId>>; 2],
    /// Heartbeats since the last acknowledgement.
    beats_since_ack: u32,
    /// Up to which letter the bell was rung.
    rung: u64,
}

/// Everybody who was connected since this process started.
#[derive(Debug)]
pub(crate) struct Presence {
    started: Instant,
    entries: Mutex<(u64, HashMap<WorkerAddr, Entry>)>,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), entries: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<WorkerAddr, Entry>)> {
        self.entries.lock().expect("nobody panics while holding this lock")
    }

    /// Takes in a worker that has signed in. An older connection of the same worker is displaced: it may be a dead one
    /// that the network has not noticed yet.
    pub(crate) fn arrive(&self, worker: WorkerAddr, announced: Announced, holding: HashSet<TaskId>) -> Line {
        let mut entries = self.lock();
        entries.0 += 1;
        let line = Line { id: entries.0, bell: Arc::new(Notify::new()), displaced: CancellationToken::new() };
        let holding = Arc::new(holding);
        let entry = Entry {
            line: line.clone(),
            left: None,
            announced: Arc::new(announced),
            beats: [holding.clone(), holding],
            beats_since_ack: 0,
            rung: 0,
        };
        if let Some(older) = entries.1.insert(worker, entry) {
            older.line.displaced.cancel();
        }
        line
    }

    fn with(&self, worker: WorkerAddr, line: &Line, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().1.get_mut(&worker).filter(|entry| entry.line.id == line.id) {
            change(entry);
        }
    }

    /// Takes in what a worker says anew of itself. `false`: it says something newer already.
    pub(crate) fn announce(&self, worker: WorkerAddr, line: &Line, announced: Announced) -> bool {
        let mut is_newer = false;
        self.with(worker, line, |entry| {
            is_newer = announced.at_ms >= entry.announced.at_ms;
            if is_newer {
                entry.announced = Arc::new(announced);
            }
        });
        is_newer
    }

    /// Takes in a heartbeat.
    pub(crate) fn beat(&self, worker: WorkerAddr, line: &Line, holding: HashSet<TaskId>) {
        self.with(worker, line, |entry| {
            entry.beats.swap(0, 1);
            entry.beats[1] = Arc::new(holding);
            entry.beats_since_ack = entry.beats_since_ack.saturating_add(1);
        });
    }

    /// To be called before an acknowledgement is written down: heartbeats from before it say nothing about the tasks
    /// that it acknowledges.
    pub(crate) fn acking(&self, worker: WorkerAddr, line: &Line) {
        self.with(worker, line, |entry| entry.beats_since_ack = 0);
    }

    /// The socket is closed.
    pub(crate) fn leave(&self, worker: WorkerAddr, line: &Line, silent_for: Duration) {
        self.with(worker, line, |entry| {
            entry.left = Some(Instant::now().checked_sub(silent_for).unwrap_or_else(Instant::now));
        });
    }

    /// Tells a worker's socket once that there is mail up to `seq`.
    pub(crate) fn ring_up_to(&self, worker: WorkerAddr, seq: u64) {
        if let Some(entry) = self.lock().1.get_mut(&worker).filter(|entry| entry.rung < seq) {
            entry.rung = seq;
            entry.line.bell.notify_one();
        }
    }

    /// Tells a worker's socket that there may be mail.
    pub(crate) fn ring(&self, worker: WorkerAddr) {
        if let Some(entry) = self.lock().1.get(&worker) {
            entry.line.bell.notify_one();
        }
    }

    /// How many are connected.
    pub(crate) fn count(&self) -> usize {
        self.lock().1.values().filter(|entry| entry.left.is_none()).count()
    }

    /// Where everybody is. To be read after the database: see [`Presence::acking`].
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let seen = |entry: &Entry| match entry.left {
            Some(left) => Seen::Left(now.saturating_duration_since(left)),
            None => {
                let both = || Arc::new(entry.beats[0].union(&entry.beats[1]).copied().collect());
                Seen::Here(Here {
                    announced: entry.announced.clone(),
                    holding: (entry.beats_since_ack >= 2).then(both),
                })
            }
        };
        Snapshot {
            up: now.saturating_duration_since(self.started),
            workers: self.lock().1.iter().map(|(worker, entry)| (*worker, seen(entry))).collect(),
        }
    }
}

/// Where everybody is at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    up: Duration,
    workers: HashMap<WorkerAddr, Seen>,
}

impl Snapshot {
    /// Where a worker is.
    pub(crate) fn of(&self, worker: WorkerAddr) -> Seen {
        self.workers.get(&worker).cloned().unwrap_or(Seen::Never(self.up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use alloy::primitives::{Address, B256};

    fn announced() -> Announced {
        samples::announced(samples::capacity(1), Shares::default(), Terms::default())
    }

    #[tokio::test]
    async fn a_second_connection_displaces_the_first_and_outlives_its_end() {
        let presence = Presence::new();
        let worker = WorkerAddr::new(Address::repeat_byte(1));
        let first = presence.arrive(worker, announced(), HashSet::new());
        let second = presence.arrive(worker, announced(), HashSet::new());
        assert!(first.displaced.is_cancelled() && !second.displaced.is_cancelled());
        presence.leave(worker, &first, Duration::ZERO);
        assert!(matches!(presence.snapshot().of(worker), Seen::Here(_)));
        presence.leave(worker, &second, Duration::ZERO);
        assert!(matches!(presence.snapshot().of(worker), Seen::Left(_)));
        assert_eq!(presence.count(), 0);
    }

    #[tokio::test]
    async fn the_newest_announcement_counts() {
        let presence = Presence::new();
        let worker = WorkerAddr::new(Address::repeat_byte(1));
        let line = presence.arrive(worker, announced(), HashSet::new());
        let slots = || match presence.snapshot().of(worker) {
            Seen::Here(here) => here.capacity().slots,
            Seen::Left(_) | Seen::Never(_) => 0,
        };
        let at = |at_ms, slots| {
            let said = samples::announced(samples::capacity(slots), Shares::default(), Terms::default());
            presence.announce(worker, &line, Announced { at_ms, ..said })
        };
        assert!(at(5, 7) && !at(4, 8));
        assert_eq!(slots(), 7);
    }

    #[tokio::test]
    async fn heartbeats_from_before_an_acknowledgement_say_nothing() {
        let presence = Presence::new();
        let worker = WorkerAddr::new(Address::repeat_byte(1));
        let task = TaskId::new(B256::repeat_byte(7));
        let line = presence.arrive(worker, announced(), HashSet::new());
        let holding = || match presence.snapshot().of(worker) {
            Seen::Here(here) => here.holding,
            Seen::Left(_) | Seen::Never(_) => None,
        };
        presence.beat(worker, &line, HashSet::new());
        presence.beat(worker, &line, HashSet::new());
        assert_eq!(holding().map(|held| held.len()), Some(0));
        presence.acking(worker, &line);
        assert_eq!(holding(), None);
        presence.beat(worker, &line, HashSet::from([task]));
        presence.beat(worker, &line, HashSet::new());
        assert!(holding().is_some_and(|held| held.contains(&task)));
        presence.beat(worker, &line, HashSet::new());
        assert!(holding().is_some_and(|held| held.is_empty()));
    }
}
