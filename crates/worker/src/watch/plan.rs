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
    Open { record: Vec<u8>, entry: u8, salt: B256 },
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
            Place::Nowhere => {
                vec![Action::Over("no round closed it, and nobody appended this worker's answer in time")]
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Seed;
    use berth_protocol::{Amount, DealId, ResultDigest, TaskId};

    const TASK: TaskId = TaskId::new(B256::repeat_byte(4));
    const ROOT: B256 = B256::repeat_byte(6);

    fn digest(byte: u8) -> ResultDigest {
        ResultDigest::new(B256::repeat_byte(byte)).expect("not zero")
    }

    fn hidden() -> Hidden {
        let seed = Seed { id: 1, seed: B256::repeat_byte(7), revealed_at: None };
        let (deal, commitment) = (DealId::new(B256::ZERO), B256::repeat_byte(8));
        Hidden { task: TASK, deal, index: 0, commitment, digest: digest(1), seed }
    }

    fn case(place: Place) -> Case {
        let at = Timestamp::new;
        let deadlines = Deadlines { close: at(60), append: at(70), settle: at(90), open: at(100), punish: at(120) };
        Case {
            deadlines,
            own: Some(hidden()),
            settlement: None,
            left_out: None,
            has_ended: false,
            place,
            is_published: false,
        }
    }

    fn settled(to: u8, paid: bool, is_left_out: bool) -> Case {
        let settlement = Settlement {
            block: BlockNumber::new(10),
            tx: B256::ZERO,
            digest: digest(to),
            paid,
            amount: Amount::ZERO,
            left_out: is_left_out.then(|| (vec![1], 2)),
        };
        let left_out = is_left_out.then(hidden);
        Case { settlement: Some(settlement), left_out, ..case(Place::Unshown) }
    }

    fn at(time: u64, head: u64) -> Now {
        Now { time: Timestamp::new(time), head: BlockNumber::new(head), confirmations: 2 }
    }

    #[test]
    fn nothing_is_done_while_the_operator_has_time() {
        for place in [Place::Opened(ROOT), Place::Added(ROOT), Place::Unshown, Place::Nowhere, Place::Appended(ROOT)] {
            assert_eq!(case(place).decide(at(60, 50)), [Action::Wait], "{place:?}");
        }
    }

    #[test]
    fn an_opened_round_is_published_once_and_settled() {
        assert_eq!(case(Place::Opened(ROOT)).decide(at(61, 50)), [Action::Publish(ROOT), Action::Settle]);
        let published = Case { is_published: true, ..case(Place::Opened(ROOT)) };
        assert_eq!(published.decide(at(90, 50)), [Action::Settle]);
        assert_eq!(published.decide(at(91, 50)), [Action::Over("nobody settled it in time")]);
        assert_eq!(case(Place::Added(ROOT)).decide(at(61, 50)), [Action::Publish(ROOT)]);
        assert_eq!(case(Place::Unshown).decide(at(61, 50)), [Action::Wait], "it does not know its leaf");
    }

    #[test]
    fn a_task_never_closed_is_appended_to_and_opened_only_after_that() {
        assert_eq!(case(Place::Nowhere).decide(at(61, 50)), [Action::Append]);
        assert_eq!(case(Place::Nowhere).decide(at(70, 50)), [Action::Append]);
        assert!(matches!(case(Place::Nowhere).decide(at(71, 50))[..], [Action::Over(_)]));
        assert_eq!(case(Place::Appended(ROOT)).decide(at(70, 50)), [Action::Wait]);
        assert_eq!(case(Place::Appended(ROOT)).decide(at(71, 50)), [Action::Publish(ROOT), Action::Settle]);
        let given_back = Case { has_ended: true, ..case(Place::Nowhere) };
        assert!(matches!(given_back.decide(at(61, 50))[..], [Action::Over(_)]));
    }

    #[test]
    fn what_was_paid_is_over_once_it_is_deep_enough() {
        assert_eq!(settled(1, true, false).decide(at(10, 10)), [Action::Wait]);
        assert_eq!(settled(1, true, false).decide(at(10, 11)), [Action::Paid]);
    }

    #[test]
    fn a_share_that_was_left_out_is_opened_until_its_deadline() {
        let salt = round::salt(hidden().seed.seed, TASK);
        let open = Action::Open { record: vec![1], entry: 2, salt };
        assert_eq!(settled(1, false, true).decide(at(10, 10)), std::slice::from_ref(&open));
        assert_eq!(settled(1, false, true).decide(at(100, 10)), [open]);
        assert_eq!(settled(1, false, true).decide(at(101, 10)), [Action::Over("its share was not opened in time")]);
        assert_eq!(settled(2, false, true).decide(at(10, 10)), [Action::Wait], "a reorg may undo it");
        let other = Action::Over("it was settled to another result than this worker's");
        assert_eq!(settled(2, false, true).decide(at(10, 11)), [other]);
        let without = Action::Over("it was settled without this worker's answer");
        assert_eq!(settled(1, false, false).decide(at(10, 11)), [without]);
    }
}
