//! What is to be done for a task whose scheduler is silent, or left it out: decided from what the chain says, at the time
//! of its head, and from nothing else.

use crate::journal::{Hidden, Settlement};
use alloy::primitives::B256;
use berth_chain::BlockNumber;
use berth_protocol::{Timestamp, deal::Deadlines, round};

/// A watched task, as journal and chain have it.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) deadlines: Deadlines,
    /// The pair that counts: the one in a leaf or a chain, else the last that was given.
    pub(super) own: Option<Hidden>,
    pub(super) settlement: Option<Settlement>,
    /// The answer that a left-out entry of the settlement's record hides, if it is this worker's.
    pub(super) left_out: Option<Hidden>,
    /// Whether the chain says that it has ended; asked only where there may be no settlement.
    pub(super) has_ended: bool,
    pub(super) place: Place,
    /// Whether this worker's own reveal of that place is on chain.
    pub(super) is_published: bool,
}

/// Where this worker's pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a closed round that this worker has opened.
    Opened(B256),
    /// In a chain that the operator added it to, and that this worker has opened. The leaf before it is not known here.
    Added(B256),
    /// In no round that it was shown, though the task is closed.
    Unshown,
    /// In none: the task was never closed.
    Nowhere,
    /// In the chain that assigned workers made themselves.
    Appended(B256),
}

/// The chain's moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) time: Timestamp,
    pub(super) head: BlockNumber,
    pub(super) confirmations: u64,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Look again later.
    Wait,
    /// It was paid.
    Paid,
    /// It is over, unpaid.
    Over(&'static str),
    /// Open the pair that the settlement left out.
    Open {
        record: Vec<u8>,
        entry: u8,
        salt: B256,
    },
    /// Put this worker's reveal on chain.
    Publish(B256),
    /// Append this worker's pair.
    Append,
    /// Settle, if what is on chain suffices.
    Settle,
}

impl Case {
    /// What is to be done now; each is fine to be done again.
    pub(super) fn decide(&self, now: Now) -> Vec<Action> {
        if let Some(settlement) = &self.settlement {
            return vec![self.after(settlement, now)];
        }
        let Deadlines { close, append, settle, .. } = self.deadlines;
        if self.has_ended {
            return vec![Action::Over("the chain says that it was given back, or claimed")];
        }
        if now.time > settle {
            return vec![Action::Over("nobody settled it in time")];
        }
        if now.time <= close || self.own.is_none() {
            return vec![Action::Wait];
        }
        match self.place {
            Place::Opened(root) => self.show(root),
            Place::Added(root) if !self.is_published => vec![Action::Publish(root)],
            Place::Added(_) | Place::Unshown => vec![Action::Wait],
            Place::Nowhere if now.time <= append => vec![Action::Append],
            Place::Nowhere => vec![Action::Over("no round closed it, and nobody appended this worker's answer in time")],
            // Nothing opens before the time to append is over: who comes after could copy.
            Place::Appended(_) if now.time <= append => vec![Action::Wait],
            Place::Appended(chain) => self.show(chain),
        }
    }

    fn show(&self, root: B256) -> Vec<Action> {
        if self.is_published { vec![Action::Settle] } else { vec![Action::Publish(root), Action::Settle] }
    }

    /// What to do about a settlement.
    fn after(&self, settlement: &Settlement, now: Now) -> Action {
        let firm = now.head.next().since(settlement.block) >= now.confirmations;
        if settlement.paid {
            return if firm { Action::Paid } else { Action::Wait };
        }
        match (&settlement.left_out, self.left_out) {
            (Some((record, entry)), Some(hidden)) if hidden.digest == settlement.digest => {
                if now.time > self.deadlines.open {
                    return Action::Over("its share was not opened in time");
                }
                let salt = round::salt(hidden.seed.seed, hidden.task);
                Action::Open { record: record.clone(), entry: *entry, salt }
            }
            _ if !firm => Action::Wait,
            (Some(_), _) => Action::Over("it was settled to another result than this worker's"),
            (None, _) => Action::Over("it was settled without this worker's answer"),
        }
    }
}
