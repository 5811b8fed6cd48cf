//! Where a task stands on its worker.
//!
//! | from | what happens | to |
//! |---|---|---|
//! | (nothing), Ended | assigned | Accepted |
//! | Accepted | inputs are here | Fetched |
//! | Fetched | handed to the runtime | Running |
//! | Running | result kept, or failed | Computed |
//! | Accepted, Fetched, Running | failed | Computed |
//! | Computed | result is in the pool's store | Uploaded |
//! | Uploaded, Reported | told to the scheduler | Reported |
//! | Computed, Closed | (replicated) hidden answer is here | Committed |
//! | Committed, Closed | its leaf in a closed round holds that answer | Closed |
//! | Committed, Closed | the chain has the round, deep enough: opened for good | Revealed |
//! | Revealed | result is in the pool's store | Delivered |
//! | any but Settled | the chain paid | Settled |
//! | any but Settled, Ended | declined, cancelled, ended without pay | Ended |
//!
//! Uploaded and Reported results stand in the list that the worker signs until they are settled or ended. A replicated
//! task goes by Committed, Closed, Revealed and Delivered instead, and nothing but the hidden answer leaves the worker
//! before Revealed.

use core::{fmt, str::FromStr};

/// The name of a task's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// In the journal.
    Accepted,
    /// Its inputs are here.
    Fetched,
    /// The runtime has it.
    Running,
    /// Its result, or failure, is here.
    Computed,
    /// The pool's store has it.
    Uploaded,
    /// The scheduler was told.
    Reported,
    /// Its hidden answer is here, to be told until a round closes it.
    Committed,
    /// A round holds the answer; the chain is to confirm it.
    Closed,
    /// The round is opened: anybody may know the answer.
    Revealed,
    /// The pool's store has what was revealed.
    Delivered,
    /// Paid.
    Settled,
    /// Over without pay.
    Ended,
}

impl Phase {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 12] = [
        Self::Accepted,
        Self::Fetched,
        Self::Running,
        Self::Computed,
        Self::Uploaded,
        Self::Reported,
        Self::Committed,
        Self::Closed,
        Self::Revealed,
        Self::Delivered,
        Self::Settled,
        Self::Ended,
    ];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Fetched => "fetched",
            Self::Running => "running",
            Self::Computed => "computed",
            Self::Uploaded => "uploaded",
            Self::Reported => "reported",
            Self::Committed => "committed",
            Self::Closed => "closed",
            Self::Revealed => "revealed",
            Self::Delivered => "delivered",
            Self::Settled => "settled",
            Self::Ended => "ended",
        }
    }

    /// The points just before and just after the transaction that enters it.
    pub const fn kill_points(self) -> [&'static str; 2] {
        match self {
            Self::Accepted => ["accepted:before", "accepted:after"],
            Self::Fetched => ["fetched:before", "fetched:after"],
            Self::Running => ["running:before", "running:after"],
            Self::Computed => ["computed:before", "computed:after"],
            Self::Uploaded => ["uploaded:before", "uploaded:after"],
            Self::Reported => ["reported:before", "reported:after"],
            Self::Committed => ["committed:before", "committed:after"],
            Self::Closed => ["closed:before", "closed:after"],
            Self::Revealed => ["revealed:before", "revealed:after"],
            Self::Delivered => ["delivered:before", "delivered:after"],
            Self::Settled => ["settled:before", "settled:after"],
            Self::Ended => ["ended:before", "ended:after"],
        }
    }

    /// Whether the worker still has something to do before it can report.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Accepted | Self::Fetched | Self::Running | Self::Computed)
    }

    /// Whether this phase may follow that one.
    pub const fn follows(self, from: Self) -> bool {
        match self {
            Self::Accepted => matches!(from, Self::Ended),
            Self::Fetched => matches!(from, Self::Accepted),
            Self::Running => matches!(from, Self::Fetched),
            Self::Computed => matches!(from, Self::Accepted | Self::Fetched | Self::Running),
            Self::Uploaded => matches!(from, Self::Computed),
            Self::Reported => matches!(from, Self::Uploaded | Self::Reported),
            Self::Committed => matches!(from, Self::Computed | Self::Committed | Self::Closed),
            Self::Closed => matches!(from, Self::Committed | Self::Closed),
            Self::Revealed => matches!(from, Self::Committed | Self::Closed),
            Self::Delivered => matches!(from, Self::Revealed),
            Self::Settled => !matches!(from, Self::Settled),
            Self::Ended => !matches!(from, Self::Settled | Self::Ended),
        }
    }
}

/// Every point at which a test may have a worker killed: `{phase}:before` and `{phase}:after` for each phase.
pub const KILL_POINTS: [&str; Phase::ALL.len() * 2] = {
    let mut points = [""; Phase::ALL.len() * 2];
    let mut at = 0;
    while at < Phase::ALL.len() {
        let [before, after] = Phase::ALL[at].kill_points();
        points[2 * at] = before;
        points[2 * at + 1] = after;
        at += 1;
    }
    points
};

/// The same for the note of the file in which a result is sealed: no phase, since a task of one worker comes to it on its
/// way to Uploaded, and a replicated one on its way to Delivered.
pub const SEAL_POINTS: [&str; 2] = ["sealed:before", "sealed:after"];

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no phase of a task on a worker")]
pub struct UnknownPhase(String);

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        Self::ALL.into_iter().find(|phase| phase.name() == text).ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_its_name_and_its_two_kill_points() {
        for phase in Phase::ALL {
            assert_eq!(phase.name().parse(), Ok(phase));
            for moment in ["before", "after"] {
                assert!(KILL_POINTS.contains(&format!("{phase}:{moment}").as_str()), "{phase}:{moment}");
            }
        }
        assert_eq!(KILL_POINTS.len(), 24);
    }

    #[test]
    fn a_task_goes_forward_and_what_is_paid_stays_paid() {
        let allowed: Vec<(Phase, Phase)> = Phase::ALL
            .into_iter()
            .flat_map(|from| Phase::ALL.into_iter().filter(move |to| to.follows(from)).map(move |to| (from, to)))
            .collect();
        for (from, to) in &allowed {
            assert!(
                from <= to
                    || (*from, *to) == (Phase::Ended, Phase::Accepted)
                    // A round that is not opened after all.
                    || (*from, *to) == (Phase::Closed, Phase::Committed)
                    || *to == Phase::Settled,
                "{from} {to}"
            );
        }
        assert!(!allowed.iter().any(|(from, _)| *from == Phase::Settled));
        assert!(allowed.contains(&(Phase::Ended, Phase::Settled)), "the chain's word counts from everywhere");
    }
}
