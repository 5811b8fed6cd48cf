//! How one task lives and ends, as its pool's scheduler sees it. The chain's word is final: what it says of a task holds
//! from whatever state, and is taken back only when its block is.
//!
//! | from | event | to |
//! |---|---|---|
//! | Open | Assign(w) | Assigned(w) |
//! | Assigned(w) | Release(w) | Open |
//! | Assigned(w), Open | Report(w, d) | Reported(w, d) |
//! | Reported(w, d) | Send | Settling(w, d) |
//! | Settling(w, d) | Recall | Reported(w, d) |
//! | any that has not ended | Settle(w, d) | Settled(w, d) |
//! | any that has not ended | Decline, Claim | Declined, Claimed |
//! | Settled(w, d) | Unwind | Reported(w, d) |
//! | Declined, Claimed | Unwind | Open |
//!
//! A replicated task has many workers; who they are and what they answer is kept beside it. Of the task itself:
//!
//! | from | event | to |
//! |---|---|---|
//! | Open | Gather | Gathering |
//! | Open, Gathering | Agree | Committed |
//! | Committed, Closed | Disagree | Gathering |
//! | Committed | Send | Closing |
//! | Closing | Recall | Committed |
//! | any that has not ended and is not closed | Close | Closed |
//! | Closed, Revealed, Paying | Reopen | Closing |
//! | Closed | Weigh(d) | Revealed(d) |
//! | Revealed(d) | Send | Paying(d) |
//! | Paying(d) | Recall | Closed |
//! | any that has not ended | Pay(d) | Paid(d) |
//! | Paid(d) | Unwind | Closed |
//!
//! Everything else is refused and changes nothing.

use crate::{ResultDigest, WorkerAddr};
use core::{fmt, str::FromStr};
use thiserror::Error;

/// The name of a task's state: what a database column and a person see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// No worker has it.
    Open,
    /// A worker runs it.
    Assigned,
    /// Its result is here and checked.
    Reported,
    /// Enough hidden answers agree.
    Committed,
    /// The round that closes it is on its way to the chain.
    Closing,
    /// Its hidden answers are on chain.
    Closed,
    /// Enough of them are revealed and agree, and the result is here.
    Revealed,
    /// Its settlement is on its way to the chain.
    Settling,
    /// Paid.
    Settled,
    /// Given back by the operator.
    Declined,
    /// Given back after the final deadline.
    Claimed,
}

impl Phase {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 11] = [
        Self::Open,
        Self::Assigned,
        Self::Reported,
        Self::Committed,
        Self::Closing,
        Self::Closed,
        Self::Revealed,
        Self::Settling,
        Self::Settled,
        Self::Declined,
        Self::Claimed,
    ];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Assigned => "assigned",
            Self::Reported => "reported",
            Self::Committed => "committed",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Revealed => "revealed",
            Self::Settling => "settling",
            Self::Settled => "settled",
            Self::Declined => "declined",
            Self::Claimed => "claimed",
        }
    }

    /// Whether the task has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Settled | Self::Declined | Self::Claimed)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no phase.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no phase of a task")]
pub struct UnknownPhase(String);

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        Self::ALL.into_iter().find(|phase| phase.name() == text).ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}

/// A worker's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whose it is.
    pub worker: WorkerAddr,
    /// What it says.
    pub digest: ResultDigest,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// No worker has it.
    Open,
    /// This worker runs it.
    Assigned(WorkerAddr),
    /// This result is here and checked.
    Reported(Answer),
    /// The settlement of this result is on its way.
    Settling(Answer),
    /// This result was paid for.
    Settled(Answer),
    /// Given back by the operator.
    Declined,
    /// Given back after the final deadline.
    Claimed,
    /// A replicated task that several workers were given.
    Replicated(Replicated),
}

/// Where a task stands that several workers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicated {
    /// Workers run it, and their hidden answers do not yet agree. Its phase is [`Phase::Assigned`].
    Gathering,
    /// Enough hidden answers agree.
    Committed,
    /// The round that closes it is on its way.
    Closing,
    /// The chain says: closed.
    Closed,
    /// This result has the weight, among what is revealed, and is here.
    Revealed(ResultDigest),
    /// The settlement of this result is on its way. Its phase is [`Phase::Settling`].
    Paying(ResultDigest),
    /// This result was paid for. Its phase is [`Phase::Settled`].
    Paid(ResultDigest),
}

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The scheduler gives it to a worker.
    Assign(WorkerAddr),
    /// That worker is lost, refuses, or takes too long.
    Release(WorkerAddr),
    /// A worker that was given it hands in a result, which was checked.
    Report(Answer),
    /// The settlement, or the close, was put into the outbox.
    Send,
    /// It came to nothing.
    Recall,
    /// A replicated task is given to its first worker.
    Gather,
    /// Enough hidden answers agree.
    Agree,
    /// They do no longer; or it turns out that no round ever closed it.
    Disagree,
    /// The chain says: closed.
    Close,
    /// The block that closed it is gone; the transaction is on its way again.
    Reopen,
    /// Enough reveals agree on this result, and it is here.
    Weigh(ResultDigest),
    /// The chain says: settled, to the answer of several.
    Pay(ResultDigest),
    /// The chain says: settled.
    Settle(Answer),
    /// The chain says: declined.
    Decline,
    /// The chain says: claimed.
    Claim,
    /// The block that ended it is gone.
    Unwind,
}

/// An event that does not fit the task's state; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a task that is {phase} takes no {event:?}")]
pub struct Refusal {
    /// Where the task stands.
    pub phase: Phase,
    /// What did not fit.
    pub event: Event,
}

impl Task {
    /// The name of its state.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Open => Phase::Open,
            Self::Assigned(_) => Phase::Assigned,
            Self::Reported(_) => Phase::Reported,
            Self::Settling(_) => Phase::Settling,
            Self::Settled(_) => Phase::Settled,
            Self::Declined => Phase::Declined,
            Self::Claimed => Phase::Claimed,
            Self::Replicated(state) => state.phase(),
        }
    }

    /// Where it stands, if several workers answer it.
    pub const fn replicated(self) -> Option<Replicated> {
        if let Self::Replicated(state) = self { Some(state) } else { None }
    }

    /// The result that has the weight among what is revealed, and is not on its way yet.
    pub const fn weighed(self) -> Option<ResultDigest> {
        if let Self::Replicated(Replicated::Revealed(digest)) = self { Some(digest) } else { None }
    }

    /// The task after what happens to replicated tasks.
    fn together(self, event: Event) -> Result<Self, Refusal> {
        let next = self.replicated().and_then(|state| state.apply(event));
        next.map(Self::Replicated).ok_or(Refusal { phase: self.phase(), event })
    }

    /// Whether the chain has closed it, and not ended it.
    const fn is_closed(self) -> bool {
        matches!(self, Self::Replicated(Replicated::Closed | Replicated::Revealed(_) | Replicated::Paying(_)))
    }

    /// The task after `event`.
    ///
    /// # Errors
    /// [`Refusal`] if the event does not fit the state.
    pub fn apply(self, event: Event) -> Result<Self, Refusal> {
        let refused = Err(Refusal { phase: self.phase(), event });
        match event {
            Event::Assign(worker) if self == Self::Open => Ok(Self::Assigned(worker)),
            Event::Release(worker) if self == Self::Assigned(worker) => Ok(Self::Open),
            Event::Report(answer) if self == Self::Open || self == Self::Assigned(answer.worker) => {
                Ok(Self::Reported(answer))
            }
            Event::Settle(answer) if !self.phase().is_final() => Ok(Self::Settled(answer)),
            Event::Pay(digest) if !self.phase().is_final() => Ok(Self::Replicated(Replicated::Paid(digest))),
            Event::Close if !self.phase().is_final() && !self.is_closed() => Ok(Self::Replicated(Replicated::Closed)),
            Event::Decline if !self.phase().is_final() => Ok(Self::Declined),
            Event::Claim if !self.phase().is_final() => Ok(Self::Claimed),
            Event::Send | Event::Recall | Event::Unwind => match (self, event) {
                (Self::Reported(answer), Event::Send) => Ok(Self::Settling(answer)),
                (Self::Settling(answer), Event::Recall) | (Self::Settled(answer), Event::Unwind) => {
                    Ok(Self::Reported(answer))
                }
                (Self::Declined | Self::Claimed, Event::Unwind) => Ok(Self::Open),
                _ => self.together(event),
            },
            Event::Gather if self == Self::Open => Ok(Self::Replicated(Replicated::Gathering)),
            Event::Agree if self == Self::Open => Ok(Self::Replicated(Replicated::Committed)),
            Event::Gather | Event::Agree | Event::Disagree | Event::Reopen | Event::Weigh(_) => self.together(event),
            Event::Assign(_)
            | Event::Release(_)
            | Event::Report(_)
            | Event::Settle(_)
            | Event::Pay(_)
            | Event::Close
            | Event::Decline
            | Event::Claim => refused,
        }
    }
}

impl Replicated {
    /// The name of its state.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Gathering => Phase::Assigned,
            Self::Committed => Phase::Committed,
            Self::Closing => Phase::Closing,
            Self::Closed => Phase::Closed,
            Self::Revealed(_) => Phase::Revealed,
            Self::Paying(_) => Phase::Settling,
            Self::Paid(_) => Phase::Settled,
        }
    }

    /// The state after what happens to replicated tasks only.
    const fn apply(self, event: Event) -> Option<Self> {
        Some(match (self, event) {
            (Self::Gathering, Event::Agree) | (Self::Closing, Event::Recall) => Self::Committed,
            (Self::Committed | Self::Closed, Event::Disagree) => Self::Gathering,
            (Self::Committed, Event::Send) | (Self::Closed | Self::Revealed(_) | Self::Paying(_), Event::Reopen) => {
                Self::Closing
            }
            (Self::Closed, Event::Weigh(digest)) => Self::Revealed(digest),
            (Self::Revealed(digest), Event::Send) => Self::Paying(digest),
            (Self::Paying(_), Event::Recall) | (Self::Paid(_), Event::Unwind) => Self::Closed,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};

    fn answer() -> Answer {
        Answer {
            worker: WorkerAddr::new(Address::repeat_byte(1)),
            digest: ResultDigest::new(B256::repeat_byte(2)).expect("not zero"),
        }
    }

    /// The table of the module's doc, every cell: what is not listed is refused.
    #[expect(clippy::too_many_lines, reason = "a table, row by row")]
    #[test]
    fn every_pair_of_state_and_event_does_what_the_table_says() {
        let answer = answer();
        let (w, other) = (answer.worker, WorkerAddr::new(Address::repeat_byte(9)));
        let (reported, settling, settled) = (Task::Reported(answer), Task::Settling(answer), Task::Settled(answer));
        let r = Task::Replicated;
        let d = answer.digest;
        let (gathering, committed, closing) =
            (r(Replicated::Gathering), r(Replicated::Committed), r(Replicated::Closing));
        let (closed, revealed) = (r(Replicated::Closed), r(Replicated::Revealed(d)));
        let (paying, paid) = (r(Replicated::Paying(d)), r(Replicated::Paid(d)));
        let going = [
            Task::Open,
            Task::Assigned(w),
            reported,
            settling,
            gathering,
            committed,
            closing,
            closed,
            revealed,
            paying,
        ];
        let states: Vec<Task> = going.into_iter().chain([settled, paid, Task::Declined, Task::Claimed]).collect();
        let events = [
            Event::Assign(w),
            Event::Release(w),
            Event::Release(other),
            Event::Report(answer),
            Event::Report(Answer { worker: other, ..answer }),
            Event::Send,
            Event::Recall,
            Event::Settle(answer),
            Event::Decline,
            Event::Claim,
            Event::Unwind,
            Event::Gather,
            Event::Agree,
            Event::Disagree,
            Event::Close,
            Event::Reopen,
            Event::Weigh(d),
            Event::Pay(d),
        ];
        let mut allowed = vec![
            (Task::Open, Event::Assign(w), Task::Assigned(w)),
            (Task::Assigned(w), Event::Release(w), Task::Open),
            (Task::Assigned(w), Event::Report(answer), reported),
            (Task::Open, Event::Report(answer), reported),
            (Task::Open, events[4], Task::Reported(Answer { worker: other, ..answer })),
            (reported, Event::Send, settling),
            (settling, Event::Recall, reported),
            (settled, Event::Unwind, reported),
            (Task::Declined, Event::Unwind, Task::Open),
            (Task::Claimed, Event::Unwind, Task::Open),
            (Task::Open, Event::Gather, gathering),
            (Task::Open, Event::Agree, committed),
            (gathering, Event::Agree, committed),
            (committed, Event::Disagree, gathering),
            (closed, Event::Disagree, gathering),
            (committed, Event::Send, closing),
            (closing, Event::Recall, committed),
            (closed, Event::Weigh(d), revealed),
            (revealed, Event::Send, paying),
            (paying, Event::Recall, closed),
            (paid, Event::Unwind, closed),
        ];
        for state in [closed, revealed, paying] {
            allowed.push((state, Event::Reopen, closing));
        }
        for state in going {
            if ![closed, revealed, paying].contains(&state) {
                allowed.push((state, Event::Close, closed));
            }
            allowed.push((state, Event::Pay(d), paid));
            allowed.push((state, Event::Settle(answer), settled));
            allowed.push((state, Event::Decline, Task::Declined));
            allowed.push((state, Event::Claim, Task::Claimed));
        }
        for state in states {
            for event in events {
                let wanted = allowed.iter().find(|(s, e, _)| *s == state && *e == event).map(|(_, _, to)| *to);
                assert_eq!(state.apply(event).ok(), wanted, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn phases_survive_their_names() {
        for phase in Phase::ALL {
            assert_eq!(phase.name().parse(), Ok(phase));
        }
        assert_eq!("done".parse::<Phase>(), Err(UnknownPhase("done".to_owned())));
    }
}
