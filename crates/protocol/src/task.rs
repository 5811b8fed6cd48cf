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
    pub const ALL: [Self; 7] =
        [Self::Open, Self::Assigned, Self::Reported, Self::Settling, Self::Settled, Self::Declined, Self::Claimed];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Assigned => "assigned",
            Self::Reported => "reported",
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
    /// The settlement was put into the outbox.
    Send,
    /// The settlement came to nothing.
    Recall,
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
        }
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
            Event::Decline if !self.phase().is_final() => Ok(Self::Declined),
            Event::Claim if !self.phase().is_final() => Ok(Self::Claimed),
            Event::Send | Event::Recall | Event::Unwind => match (self, event) {
                (Self::Reported(answer), Event::Send) => Ok(Self::Settling(answer)),
                (Self::Settling(answer), Event::Recall) | (Self::Settled(answer), Event::Unwind) => {
                    Ok(Self::Reported(answer))
                }
                (Self::Declined | Self::Claimed, Event::Unwind) => Ok(Self::Open),
                _ => refused,
            },
            Event::Assign(_)
            | Event::Release(_)
            | Event::Report(_)
            | Event::Settle(_)
            | Event::Decline
            | Event::Claim => refused,
        }
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
    #[test]
    fn every_pair_of_state_and_event_does_what_the_table_says() {
        let answer = answer();
        let (w, other) = (answer.worker, WorkerAddr::new(Address::repeat_byte(9)));
        let (reported, settling, settled) = (Task::Reported(answer), Task::Settling(answer), Task::Settled(answer));
        let states = [Task::Open, Task::Assigned(w), reported, settling, settled, Task::Declined, Task::Claimed];
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
        ];
        for state in [Task::Open, Task::Assigned(w), reported, settling] {
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
