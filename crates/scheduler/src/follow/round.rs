//! What the chain says of rounds: closed, appended to, settled, opened, punished.

use super::{At, Ledger};
use crate::{
    act::{kill_points, published, undo},
    mailbox, observe,
    store::{
        self,
        deal::Deal,
        left_out::Entry as LeftOutEntry,
        reveal::Reveal,
        task::{Entry, Row},
    },
};
use alloy::primitives::{B256, keccak256};
use berth_chain::StoreError;
use berth_protocol::{
    Amount, DealId, OperatorAddr, TaskId, WorkerAddr,
    consensus::{share, weight},
    payout,
    round::{ClosedRound, EndedTask, LeftOut, Payee},
    task::{Event as Change, Phase, Replicated, Task},
};
use sqlx::SqliteConnection;
use std::collections::{BTreeSet, HashMap};

/// What a settlement says.
pub(super) struct Settlement<'a> {
    pub(super) deal: DealId,
    pub(super) tasks: &'a [EndedTask],
    pub(super) workers: &'a [Payee],
    pub(super) left_out: &'a [LeftOut],
}

/// Who has which share of a task, in the order of its pairs.
struct Split {
    worker: WorkerAddr,
    paid: bool,
    due: Amount,
}

impl Ledger {
    pub(super) async fn closed(
        &self,
        conn: &mut SqliteConnection,
        operator: OperatorAddr,
        round: &ClosedRound,
        at: At,
    ) -> Result<(), StoreError> {
        if operator != self.operator {
            return Ok(());
        }
        let ours = store::round::with_root(conn, round.root).await?;
        // A round that came to nothing by our outbox may have been written anew under another key.
        let Some(ours) = ours.into_iter().find(|ours| ours.round.closed == round.closed) else {
            observe::round_unknown(round.root, at.block.number);
            return Ok(());
        };
        self.faults.reach(kill_points(Phase::Closed)[0]);
        store::round::close(conn, &ours.key, (at.tx, at.block.number)).await?;
        let leaves = store::round::leaves(conn, &ours.key).await?;
        let mut deals = BTreeSet::new();
        for (_, task) in &leaves {
            let Some(row) = store::task::get(conn, *task).await? else { continue };
            store::task::apply(conn, &row, Change::Close, Entry { end: None, ..at.entry() }).await?;
            deals.insert(row.deal);
        }
        for deal in deals {
            store::deal::touch(conn, deal).await?;
        }
        observe::round_closed(round.root, leaves.len(), at.block.number);
        self.signals.entering(Phase::Closed, at.block.number);
        Ok(())
    }

    pub(super) async fn appended(
        &self,
        conn: &mut SqliteConnection,
        task: TaskId,
        chain: B256,
        at: At,
    ) -> Result<(), StoreError> {
        let Some(row) = store::task::get(conn, task).await? else { return Ok(()) };
        if store::pair::appended(conn, task, chain, (at.tx, at.block.number)).await? {
            observe::pairs_appended(task, at.block.number);
        }
        store::deal::touch(conn, row.deal).await
    }

    pub(super) async fn rounds_settled(
        &self,
        conn: &mut SqliteConnection,
        settlement: &Settlement<'_>,
        at: At,
    ) -> Result<(), StoreError> {
        let Some(deal) = self.with_tasks(conn, settlement.deal, at).await? else { return Ok(()) };
        self.faults.reach(kill_points(Phase::Settled)[0]);
        // Shares follow from the scores before the settlement.
        let mut splits: Vec<(&EndedTask, Vec<Split>)> = Vec::new();
        for task in settlement.tasks {
            splits.push((task, split(conn, &deal, settlement.workers, task).await?));
        }
        for (task, split) in splits {
            let Some(row) = store::task::get(conn, deal.id.task(task.index)).await? else { continue };
            self.paid(conn, &deal, (&row, task), &split, at).await?;
        }
        for payee in settlement.workers.iter().filter(|payee| payee.scored > 0) {
            self.bond(conn, payee.worker, at, |bond| bond.score = bond.score.saturating_add(payee.scored)).await?;
        }
        for (entry, pair) in (0_u8..).zip(settlement.left_out) {
            let task = deal.id.task(pair.index);
            let kept = LeftOutEntry {
                deal: deal.id,
                record: settlement.left_out.to_vec(),
                entry,
                worker: pair.worker,
                signature: evidence(conn, task, pair).await?,
            };
            store::left_out::insert(conn, &kept, task, at.block.number).await?;
        }
        store::deal::touch(conn, deal.id).await
    }

    /// One task is paid for.
    async fn paid(
        &self,
        conn: &mut SqliteConnection,
        deal: &Deal,
        (row, ended): (&Row, &EndedTask),
        split: &[Split],
        at: At,
    ) -> Result<(), StoreError> {
        let change = Change::Pay(ended.digest);
        let Some(task) = store::task::apply(conn, row, change, at.entry()).await? else { return Ok(()) };
        for of in split {
            let paid = of.paid.then_some(of.due);
            store::payment::put(conn, row.id, of.worker, paid, at.block.number).await?;
        }
        observe::task_ended(row.id, task.phase(), at.tx);
        self.signals.entering(task.phase(), at.block.number);
        let earners: Vec<_> = split.iter().filter(|of| of.paid).map(|of| (of.worker, of.due)).collect();
        mailbox::ended(conn, deal, (row, task), &earners, at.tx).await
    }

    /// A worker published what opens its pairs: the contract has checked its signature. It stays known if the block goes,
    /// since nobody can unsay it.
    pub(super) async fn revealed(&self, conn: &mut SqliteConnection, reveal: &Reveal) -> Result<(), StoreError> {
        let pairs = published::closed_pairs(conn, reveal.root, reveal.worker).await?;
        let seed_hash = keccak256(reveal.seed);
        if pairs.is_empty() || pairs.iter().any(|pair| pair.seed_hash != seed_hash) {
            return Ok(());
        }
        store::reveal::put(conn, reveal).await?;
        for pair in pairs {
            published::open_alike(conn, pair.task).await?;
            if let Some(row) = store::task::get(conn, pair.task).await? {
                store::deal::touch(conn, row.deal).await?;
            }
        }
        observe::round_revealed(reveal.root, reveal.worker);
        Ok(())
    }

    pub(super) async fn share_opened(
        &self,
        conn: &mut SqliteConnection,
        (task, worker): (TaskId, WorkerAddr),
        (paid, scored): (Amount, bool),
        at: At,
    ) -> Result<(), StoreError> {
        let Some(row) = store::task::get(conn, task).await? else { return Ok(()) };
        store::left_out::over(conn, task, worker, at.block.number).await?;
        store::payment::put(conn, task, worker, Some(paid), at.block.number).await?;
        if scored {
            self.bond(conn, worker, at, |bond| bond.score = bond.score.saturating_add(1)).await?;
        }
        store::deal::touch(conn, row.deal).await
    }

    pub(super) async fn punished(
        &self,
        conn: &mut SqliteConnection,
        (task, worker): (TaskId, WorkerAddr),
        (slashed, score): (Amount, u32),
        at: At,
    ) -> Result<(), StoreError> {
        let Some(row) = store::task::get(conn, task).await? else { return Ok(()) };
        observe::worker_punished(task, worker);
        store::left_out::over(conn, task, worker, at.block.number).await?;
        self.bond(conn, worker, at, |bond| {
            let from_bonded = bond.bonded.min(slashed);
            let rest = slashed.checked_sub(from_bonded).unwrap_or_default();
            bond.bonded = bond.bonded.checked_sub(from_bonded).unwrap_or_default();
            bond.unbonding = bond.unbonding.checked_sub(rest).unwrap_or_default();
            bond.score = score;
        })
        .await?;
        store::deal::touch(conn, row.deal).await
    }

    /// Takes back what blocks above `to` said of rounds; after endings were.
    pub(super) async fn reopen(
        &self,
        conn: &mut SqliteConnection,
        to: berth_chain::BlockNumber,
        entry: Entry<'_>,
    ) -> Result<(), StoreError> {
        store::pair::unwind(conn, to).await?;
        store::payment::drop_above(conn, to).await?;
        store::left_out::unwind(conn, to).await?;
        let orphaned = store::task::orphaned(conn).await?;
        for row in &orphaned {
            store::task::apply(conn, row, Change::Recall, entry).await?;
            store::deal::touch(conn, row.deal).await?;
        }
        for key in orphaned.iter().filter_map(|row| row.settlement.as_deref()) {
            undo(conn, key).await?;
        }
        for key in store::round::unwind(conn, to).await? {
            observe::round_reopened(&key);
            for (_, task) in store::round::leaves(conn, &key).await? {
                let Some(row) = store::task::get(conn, task).await? else { continue };
                let entry = Entry { settlement: Some(&key), ..entry };
                store::task::apply(conn, &row, Change::Reopen, entry).await?;
                store::deal::touch(conn, row.deal).await?;
            }
        }
        Ok(())
    }

    /// A task that has come back stands where its round says: closed, or never closed.
    pub(super) async fn settle_back(
        &self,
        conn: &mut SqliteConnection,
        task: TaskId,
        entry: Entry<'_>,
    ) -> Result<(), StoreError> {
        let Some(row) = store::task::get(conn, task).await? else { return Ok(()) };
        let round = store::round::of_task(conn, task).await?;
        let change = match (row.task, round) {
            (Task::Replicated(Replicated::Closed), None) => Change::Disagree,
            (Task::Open, Some(_)) => Change::Close,
            _ => return Ok(()),
        };
        store::task::apply(conn, &row, change, entry).await.map(drop)
    }
}

/// The shares of a task's pairs.
async fn split(
    conn: &mut SqliteConnection,
    deal: &Deal,
    workers: &[Payee],
    task: &EndedTask,
) -> Result<Vec<Split>, StoreError> {
    let mut shares = Vec::with_capacity(task.pairs.len());
    let mut scores: HashMap<WorkerAddr, u32> = HashMap::new();
    for pair in &task.pairs {
        let Some(payee) = workers.get(usize::from(pair.rank)) else { continue };
        let score = match scores.get(&payee.worker) {
            Some(score) => *score,
            None => store::bond::of(conn, payee.worker).await?.map_or(0, |bond| bond.score),
        };
        scores.insert(payee.worker, score);
        shares.push((payee.worker, pair.paid, u8::try_from(share(weight(score))).unwrap_or(u8::MAX)));
    }
    let total = shares.iter().map(|(_, _, share)| u16::from(*share)).sum();
    let due = |share| payout::share(&deal.terms, task.digest, share, total);
    Ok(shares.into_iter().map(|(worker, paid, share)| Split { worker, paid, due: due(share) }).collect())
}

/// The worker's signature over the commitment that was left out, if we have it.
async fn evidence(
    conn: &mut SqliteConnection,
    task: TaskId,
    left_out: &LeftOut,
) -> Result<Option<Vec<u8>>, StoreError> {
    let pairs = store::pair::of_task(conn, task).await?;
    let own = pairs.into_iter().find(|pair| pair.bare() == left_out.pair());
    Ok(own.map(|pair| pair.signature))
}
