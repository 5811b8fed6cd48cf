//! Decides: from a snapshot to what is to be done. Pure, without effects, clocks or chance; each part may be run as
//! often as one likes, and what it asks for may be done twice.

mod assign;
mod expire;
mod open;
mod replicate;
mod round;
mod settle;
mod tally;

#[cfg(test)]
mod assign_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod round_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod settle_tests;

use crate::{store::attempt::Outcome, store::sending::Kind, view::View};
use alloy::primitives::{Address, B256};
pub(crate) use assign::{report_by, why};
use berth_protocol::{DealId, ResultDigest, TaskId, Timestamp, WorkerAddr, round::LeftOut};
pub(crate) use settle::unsettled;
use std::time::Duration;

/// The operator's choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Tasks in one settlement at the most.
    pub(crate) settle_batch: usize,
    /// How long a result may wait for others to be settled with.
    pub(crate) settle_wait: Duration,
    /// For how long a worker whose socket closed keeps its tasks.
    pub(crate) reconnect_grace: Duration,
    /// How long a worker may be silent.
    pub(crate) silence: Duration,
    /// How long a deal waits for its job, in the chain's seconds.
    pub(crate) job_wait_s: u64,
    /// How long a task that no connected worker could run waits for one that can, in the chain's seconds.
    pub(crate) unable_wait_s: u64,
    /// Tasks in one round at the most.
    pub(crate) round_size: usize,
    /// How long answers that agree may wait for others to be closed with.
    pub(crate) round_wait: Duration,
    /// Blocks that a close or an append needs, its own included, before workers are shown it.
    pub(crate) confirmations: u64,
    /// How long the reveals of workers that were shown their round are waited for.
    pub(crate) reveal_wait: Duration,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a deal's tasks.
    Open(DealId),
    /// Give a task to a worker.
    Assign {
        /// Which.
        task: TaskId,
        /// To whom.
        worker: WorkerAddr,
    },
    /// Take a task back.
    Release {
        /// Which.
        task: TaskId,
        /// From whom.
        worker: WorkerAddr,
        /// Why.
        outcome: Outcome,
    },
    /// Send a settlement.
    Settle {
        /// Of which deal.
        deal: DealId,
        /// Which tasks, by rising index.
        tasks: Vec<TaskId>,
        /// Which lists: worker and number.
        lists: Vec<(WorkerAddr, u32)>,
    },
    /// One of our transactions came to nothing: what it carried is looked at again.
    Fail {
        /// Its key.
        key: String,
        /// Why.
        reason: String,
    },
    /// One of our transactions did what it should, for good.
    Finish {
        /// Its key.
        key: String,
    },
    /// Give tasks back to whoever paid.
    Decline {
        /// Of which deal.
        deal: DealId,
        /// Which, by rising index.
        indexes: Vec<u32>,
        /// Why.
        reason: String,
    },
    /// End what is open after the final deadline.
    Claim(DealId),
    /// The hidden answers to a task agree.
    Agree(TaskId),
    /// They do no longer.
    Disagree(TaskId),
    /// Ask everybody who has answered a task to agree that there is no agreement.
    Ask(TaskId),
    /// Send a round.
    Close {
        /// Its tasks, with the commitments that go into their leaves.
        tasks: Vec<(TaskId, Vec<B256>)>,
    },
    /// Show a closed round to its workers.
    Show {
        /// Its key.
        round: String,
    },
    /// Show a worker its appended pair.
    ShowAppended {
        /// Of which task.
        task: TaskId,
        /// Whose.
        worker: WorkerAddr,
    },
    /// Enough of a closed task has opened to this.
    Weigh {
        /// Which.
        task: TaskId,
        /// To what.
        digest: ResultDigest,
    },
    /// Send further pairs of a closed task.
    Append {
        /// Which.
        task: TaskId,
        /// Whose, and what.
        commitments: Vec<(WorkerAddr, B256)>,
    },
    /// Send a settlement of a round's tasks.
    SettleRound {
        /// Of which deal.
        deal: DealId,
        /// The round's key.
        round: String,
        /// Which tasks.
        tasks: Vec<TaskId>,
    },
    /// Send a settlement of one task with its appended pairs.
    SettleOne(TaskId),
    /// Send a punishment.
    Punish {
        /// Of which deal.
        deal: DealId,
        /// All that the settlement left out.
        left_out: Vec<LeftOut>,
        /// Which of it.
        entries: Vec<u8>,
    },
    /// Forget evidence that is of no use any more.
    Forget(DealId),
}

/// What is to be done now, and when to look again if nothing else happens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) again_in: Option<Duration>,
}

impl Plan {
    fn again(&mut self, after: Duration) {
        self.again_in = Some(self.again_in.map_or(after, |earlier| earlier.min(after)));
    }
}

/// Decides everything.
pub(crate) fn plan(view: &View, policy: &Policy) -> Plan {
    let mut plan = Plan::default();
    settle::outcomes(view, &mut plan);
    open::plan(view, policy, &mut plan);
    assign::releases(view, policy, &mut plan);
    replicate::agreements(view, policy, &mut plan);
    assign::plan(view, policy, &mut plan);
    round::plan(view, policy, &mut plan);
    settle::plan(view, policy, &mut plan);
    expire::plan(view, &mut plan);
    plan
}

/// Why a task that waits is not given to anybody, worker by worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// Who; `None`: there is nobody at all, or it does not depend on the worker.
    pub(crate) worker: Option<Address>,
    /// The condition that fails.
    pub(crate) reason: String,
}

/// The longest pause after a transaction came to nothing, in the chain's seconds.
const LONGEST_PAUSE_S: u64 = 300;

/// Whether a transaction of this kind may be tried again: each that comes to nothing doubles the pause.
fn may_retry(deal: &crate::view::Deal, kind: Kind, view: &View) -> bool {
    pause_over(deal.failures.get(&kind).copied(), view)
}

/// Whether the pause after so many failures is over.
fn pause_over(failures: Option<(u32, Timestamp)>, view: &View) -> bool {
    failures.is_none_or(|(count, last)| {
        let pause = 1_u64.checked_shl(count).unwrap_or(LONGEST_PAUSE_S).min(LONGEST_PAUSE_S);
        view.now >= last.plus(pause)
    })
}
