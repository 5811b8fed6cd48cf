//! Who is woken by what. Nothing here carries data: whoever wakes looks for itself.

use berth_chain::BlockNumber;
use berth_protocol::task::Phase;
use std::{collections::BTreeMap, sync::Mutex};
use tokio::sync::{Notify, watch};

/// Wakes reconciler and long polls.
#[derive(Debug)]
pub(crate) struct Signals {
    wake: Notify,
    changes: watch::Sender<u64>,
    /// Phases that tasks entered by what the follower wrote, and the block of that. They are true once the follower's
    /// tip is past it.
    entered: Mutex<BTreeMap<Phase, BlockNumber>>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self { wake: Notify::new(), changes: watch::Sender::new(0), entered: Mutex::default() }
    }

    /// Makes the reconciler look.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for [`Signals::wake`].
    ///
    /// # Cancel safety
    /// Safe: a wake that nobody waited for is kept.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Tells long polls that some deal has changed.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Watches for changes of deals.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Notes in the follower's transaction that a task enters a phase.
    pub(crate) fn entering(&self, phase: Phase, block: BlockNumber) {
        self.entered.lock().expect("nobody panics while holding this lock").insert(phase, block);
    }

    /// Takes the phases that tasks have entered up to `tip`, which is committed.
    pub(crate) fn take_entered(&self, tip: BlockNumber) -> Vec<Phase> {
        let mut entered = self.entered.lock().expect("nobody panics while holding this lock");
        let done: Vec<Phase> = entered.iter().filter(|(_, block)| **block <= tip).map(|(phase, _)| *phase).collect();
        entered.retain(|phase, _| !done.contains(phase));
        done
    }
}
