//! Opening what the scheduler shows: only what holds, only once the chain has it for good.

use super::{WatchError, Watching};
use crate::{
    journal::Shown,
    observe,
    reveal::{Checked, Known, Mismatch, Trace, check_appended, check_closed},
};
use berth_chain::BlockNumber;
use berth_protocol::{
    ledger::Event,
    round::{Pair, extend},
};
use berth_wire::worker::{Leaf, Mail};

/// Where the chain stands with something that was shown.
enum Sight {
    /// Deep enough, at this head.
    Firm(BlockNumber),
    /// Not there, or not deep enough; perhaps no longer.
    Waits,
    /// There, but not what was shown.
    Wrong(Mismatch),
}

impl Watching {
    /// Checks what is shown, and opens it if it may be. Says whether anything still waits for the chain.
    pub(super) async fn confirm(&self) -> Result<bool, WatchError> {
        let mut waits = false;
        for shown in self.journal.shown().await? {
            let checked = match self.check(&shown).await? {
                Ok(checked) => checked,
                Err(mismatch) => {
                    self.refuse(&shown, &mismatch).await?;
                    continue;
                }
            };
            let tasks: Vec<_> = checked.answers.iter().map(|(task, _)| *task).collect();
            self.journal.close(checked.root, &tasks).await?;
            match self.sight(&checked).await? {
                Sight::Firm(head) => {
                    if self.journal.reveal(checked.root, checked.seed, head, &checked.answers).await? {
                        observe::revealed(checked.root, tasks.len());
                    }
                    self.tell.notify_one();
                    self.news.notify_one();
                }
                Sight::Waits => waits = true,
                Sight::Wrong(mismatch) => self.refuse(&shown, &mismatch).await?,
            }
        }
        Ok(waits)
    }

    async fn check(&self, shown: &Shown) -> Result<Result<Checked, Mismatch>, WatchError> {
        Ok(match &shown.mail {
            Mail::Closed(closed) => {
                let mut known = Vec::with_capacity(closed.leaves.len());
                for Leaf { deal, index, .. } in &closed.leaves {
                    known.push(Known::find(&self.journal, *deal, *index).await?);
                }
                check_closed(closed, self.worker, &known)
            }
            Mail::Appended(appended) => {
                let known = Known::find(&self.journal, appended.deal, appended.index).await?;
                check_appended(appended, self.worker, known.as_ref())
            }
            Mail::Assign(_) | Mail::Cancel { .. } | Mail::Agree { .. } | Mail::Settled { .. } | Mail::Ended { .. } => {
                Err(Mismatch::Empty)
            }
        })
    }

    async fn refuse(&self, shown: &Shown, mismatch: &Mismatch) -> Result<(), WatchError> {
        let reason = mismatch.to_string();
        if self.journal.refuse(shown.root, &reason).await? {
            observe::round_refused(shown.root, &reason);
            self.board.refusal(shown.root.to_string(), "round", &format!("a closed round is not opened: {reason}"));
            self.tell.notify_one();
        }
        Ok(())
    }

    /// Looks for what was shown with the worker's own node.
    async fn sight(&self, checked: &Checked) -> Result<Sight, WatchError> {
        let Some(done) = self.past.transaction(checked.transaction).await? else { return Ok(Sight::Waits) };
        if !done.events.iter().any(|event| is_trace(event, checked)) {
            return Ok(Sight::Wrong(Mismatch::Elsewhere));
        }
        let head = self.rpc.head().await?.block.number;
        if head.next().since(done.block) < self.confirmations {
            return Ok(Sight::Waits);
        }
        if let Trace::Round(operator, round) = &checked.trace
            && !self.reader.is_round(round.id(*operator)).await?
        {
            // It has just left the chain.
            return Ok(Sight::Waits);
        }
        let known_since = checked.seed.revealed_at;
        if known_since.is_some_and(|known| known.next().since(done.block) < self.confirmations) {
            return Ok(Sight::Wrong(Mismatch::Stale));
        }
        Ok(Sight::Firm(head))
    }
}

/// Whether this event is what was shown.
fn is_trace(event: &Event, checked: &Checked) -> bool {
    match (&checked.trace, event) {
        (Trace::Round(operator, round), Event::RoundClosed { id, .. }) => *id == round.id(*operator),
        (Trace::Append(deal, index, mine), Event::PairsAppended { deal: of, index: at, chain, added, .. }) => {
            (of, at) == (deal, index) && ends_in(checked, *mine, added, *chain)
        }
        _ => false,
    }
}

/// Whether an append added the worker's pair to the chain that was shown before it.
fn ends_in(checked: &Checked, mine: Pair, added: &[Pair], chain: alloy::primitives::B256) -> bool {
    let Some(at) = added.iter().position(|pair| *pair == mine) else { return false };
    added[at + 1..].iter().copied().fold(checked.root, extend) == chain
}
