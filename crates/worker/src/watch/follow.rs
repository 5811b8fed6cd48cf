//! Reading what the chain says of the tasks that are watched: every block once, and again from before a reorg.

use super::{WatchError, Watching};
use crate::journal::{Fact, Published, Row, Settlement};
use berth_chain::{BlockNumber, block::BlockRef, past::Told};
use berth_protocol::{
    Amount, DealTerms, TaskId, Timestamp, WorkerAddr,
    ledger::Event,
    round::{EndedTask, LeftOut, Payee},
};
use berth_wire::worker::{Closed, Leaf, Mail};
use std::collections::HashSet;

/// How far to go back when the chain has left the branch that was read: as deep as anybody takes a reorg to be.
const REORG_DEPTH: u64 = 64;

/// What to look for in events. Reveals are kept whatever they open: they are few, since publishing one costs gas.
struct Interest {
    worker: WorkerAddr,
    tasks: HashSet<TaskId>,
}

impl Watching {
    /// Brings the journal's facts up to the head.
    pub(super) async fn follow(&self, watched: &[Row]) -> Result<(), WatchError> {
        let mut at = self.resume(watched).await?;
        let interest = Interest { worker: self.worker, tasks: watched.iter().map(|row| row.task).collect() };
        while let Some(stretch) = self.past.since(at).await? {
            let facts: Vec<_> = stretch.told.iter().flat_map(|told| interest.facts(told)).collect();
            self.journal.learn(&facts, (stretch.last.number, stretch.last.hash)).await?;
            at = stretch.last.number;
        }
        Ok(())
    }

    /// The last block that was read and is still of the chain.
    async fn resume(&self, watched: &[Row]) -> Result<BlockNumber, WatchError> {
        let Some((number, hash)) = self.journal.cursor().await? else {
            let starts = watched.iter().map(|row| row.assign.terms.start);
            let BlockRef { number, hash, .. } =
                self.past.before(Timestamp::new(starts.min().unwrap_or_default())).await?;
            self.journal.learn(&[], (number, hash)).await?;
            return Ok(number);
        };
        if self.rpc.header(number).await?.is_some_and(|header| header.block.hash == hash) {
            return Ok(number);
        }
        let head = self.rpc.head().await?.block.number;
        let back = number.min(head).below(REORG_DEPTH);
        let Some(header) = self.rpc.header(back).await? else { return Ok(number) };
        self.journal.unlearn(Some((back, header.block.hash))).await?;
        Ok(back)
    }

    /// The round that holds a task, and the task's leaf in it, as the scheduler showed them.
    pub(super) async fn leaf_of(&self, row: &Row) -> Result<Option<(Closed, Leaf)>, WatchError> {
        let Some(root) = row.root else { return Ok(None) };
        let Some(Mail::Closed(closed)) = self.journal.shown_at(root).await?.map(|shown| shown.mail) else {
            return Ok(None);
        };
        let (deal, index) = (row.assign.deal, row.assign.index);
        let leaf = closed.leaves.iter().find(|leaf| (leaf.deal, leaf.index) == (deal, index)).cloned();
        Ok(leaf.map(|leaf| (*closed, leaf)))
    }
}

impl Interest {
    /// What an event says of the tasks that are watched.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the node was asked for no other events")]
    fn facts(&self, told: &Told) -> Vec<(BlockNumber, Fact)> {
        let facts = match &told.event {
            Event::TasksSettled { deal, tasks, workers, left_out, .. } => {
                let of = |ended: &EndedTask| {
                    let task = deal.task(ended.index);
                    self.tasks.contains(&task).then(|| self.settled(task, told, ended, workers, left_out))
                };
                tasks.iter().filter_map(of).collect()
            }
            Event::PairsAppended { deal, index, pairs, added, .. } => {
                let first = usize::from(*pairs).saturating_sub(added.len());
                self.watches(deal.task(*index), |task| Fact::Appended(task, first, added.clone()))
            }
            Event::RevealPublished { root, worker, seed, signature } => {
                let reveal = Published { worker: *worker, seed: *seed, signature: signature.clone() };
                vec![Fact::Published(*root, reveal)]
            }
            Event::ShareOpened { deal, index, worker, paid, .. } if *worker == self.worker => {
                self.watches(deal.task(*index), |task| Fact::Opened(task, *paid))
            }
            _ => Vec::new(),
        };
        facts.into_iter().map(|fact| (told.block, fact)).collect()
    }

    fn settled(&self, task: TaskId, told: &Told, ended: &EndedTask, workers: &[Payee], out: &[LeftOut]) -> Fact {
        let rank = workers.iter().position(|payee| payee.worker == self.worker);
        let paid = rank.is_some_and(|rank| ended.pairs.iter().any(|pair| usize::from(pair.rank) == rank && pair.paid));
        let amount = rank.filter(|_| paid).map_or(Amount::ZERO, |rank| workers[rank].paid);
        let entry = out.iter().position(|entry| entry.index == ended.index && entry.worker == self.worker);
        let left_out = entry.and_then(|at| u8::try_from(at).ok()).map(|entry| (LeftOut::pack(out), entry));
        let settlement = Settlement { block: told.block, tx: told.tx, digest: ended.digest, paid, amount, left_out };
        Fact::Settled(task, settlement)
    }

    fn watches(&self, task: TaskId, fact: impl FnOnce(TaskId) -> Fact) -> Vec<Fact> {
        if self.tasks.contains(&task) { vec![fact(task)] } else { Vec::new() }
    }
}

/// A watched task's terms.
pub(super) fn terms_of(row: &Row) -> DealTerms {
    row.assign.terms.clone().into()
}
