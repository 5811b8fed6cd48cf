//! What the chain says, into the tables, and out of them again when its block goes. Runs inside the follower's
//! transaction; what it makes others look at is told after the commit, by the reconciler.

mod round;

#[cfg(test)]
mod tests;

use crate::{
    act::kill_points,
    mailbox, observe,
    signals::Signals,
    store::{
        self, Stamp,
        bond::{Bond, Place},
        deal::Deal,
        reveal::Reveal,
        task::{End, Entry, Row},
    },
};
use alloy::primitives::B256;
use berth_chain::{
    BlockNumber, BlockRef, StoreError,
    convert::entries as entries_of,
    follow::{Block, Event as Seen, Sink, SinkError},
};
use berth_fault::Faults;
use berth_protocol::{
    AccountAddr, Amount, AssetId, AssetKind, DealId, DealTerms, JobHash, OperatorAddr, Timestamp, WorkerAddr,
    ledger::{Event, event::DealSubject},
    task::{Answer, Event as Change, Phase, Task},
};
use round::Settlement;
use sqlx::SqliteConnection;
use std::sync::Arc;

/// Writes what concerns one pool and its operator.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) pool: AssetId,
    pub(crate) operator: OperatorAddr,
    pub(crate) signals: Arc<Signals>,
    pub(crate) faults: Faults,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy)]
struct At {
    block: BlockRef,
    tx: B256,
    log_index: u64,
}

impl At {
    fn entry<'a>(self) -> Entry<'a> {
        let since = Stamp { at: self.block.timestamp, at_ms: crate::clock::now_ms() };
        Entry { end: Some(End { tx: self.tx, block: self.block.number }), ..Entry::at(since) }
    }

    const fn place(self) -> Place {
        Place { block: self.block.number, log_index: self.log_index }
    }
}

impl Sink<Event> for Ledger {
    async fn apply(&mut self, conn: &mut SqliteConnection, blocks: &[Block<Event>]) -> Result<(), SinkError> {
        for block in blocks {
            for event in &block.events {
                let at = At { block: block.at, tx: event.tx, log_index: event.log_index };
                self.take(conn, event, at).await?;
            }
        }
        Ok(())
    }

    async fn unwind(&mut self, conn: &mut SqliteConnection, to: BlockNumber) -> Result<(), SinkError> {
        self.take_back(conn, to).await?;
        Ok(())
    }
}

impl Ledger {
    async fn take(&self, conn: &mut SqliteConnection, event: &Seen<Event>, at: At) -> Result<(), StoreError> {
        match &event.body {
            Event::AssetRegistered { asset, descriptor, .. }
                if matches!(asset.kind(), AssetKind::App | AssetKind::Dataset) =>
            {
                store::app::insert(conn, *asset, descriptor, at.block.number).await
            }
            Event::DealMatched { deal, requester, terms, subject } if self.is_ours(terms) => {
                self.matched(conn, *deal, (*requester, terms, subject), at).await
            }
            Event::SinglesSettled { deal, worker, entries } => self.settled(conn, *deal, *worker, entries, at).await,
            Event::TasksDeclined { deal, indexes, .. } => {
                let is_meant = |row: &Row| indexes.contains(&row.index);
                self.end(conn, *deal, is_meant, Change::Decline, at).await
            }
            Event::DealClaimed { deal, .. } => self.end(conn, *deal, |_| true, Change::Claim, at).await,
            Event::WorkerEnlisted { pool, worker, owner } if *pool == self.pool => {
                self.bond(conn, *worker, at, |bond| bond.owner = *owner).await
            }
            Event::Bonded { pool, worker, amount } if *pool == self.pool => {
                let grow = |bond: &mut Bond| bond.bonded = sum(bond.bonded, *amount);
                self.bond(conn, *worker, at, grow).await
            }
            Event::Unbonded { pool, worker, amount, release_at } if *pool == self.pool => {
                let shrink = |bond: &mut Bond| {
                    bond.bonded = bond.bonded.checked_sub(*amount).unwrap_or_default();
                    bond.unbonding = sum(bond.unbonding, *amount);
                    bond.release_at = *release_at;
                };
                self.bond(conn, *worker, at, shrink).await
            }
            Event::BondWithdrawn { pool, worker, .. } if *pool == self.pool => {
                self.bond(conn, *worker, at, |bond| bond.unbonding = Amount::ZERO).await
            }
            Event::RoundClosed { operator, round, .. } => self.closed(conn, *operator, round, at).await,
            Event::PairsAppended { deal, index, chain, .. } => self.appended(conn, deal.task(*index), *chain, at).await,
            Event::TasksSettled { deal, tasks, workers, left_out, .. } => {
                let settlement = Settlement { deal: *deal, tasks, workers, left_out };
                self.rounds_settled(conn, &settlement, at).await
            }
            Event::ShareOpened { deal, index, worker, paid, scored } => {
                self.share_opened(conn, (deal.task(*index), *worker), (*paid, *scored), at).await
            }
            Event::WorkerPunished { deal, index, worker, slashed, score } => {
                self.punished(conn, (deal.task(*index), *worker), (*slashed, *score), at).await
            }
            Event::RevealPublished { root, worker, seed, signature } => {
                let (root, worker, signature) = (*root, *worker, signature.to_vec());
                self.revealed(conn, &Reveal { root, worker, seed: *seed, signature }).await
            }
            // What a settlement left out stays `Settling` until its transaction is seen to be in the chain; the plan
            // takes it from there.
            Event::ListSkipped { .. }
            | Event::ResultDelivered { .. }
            | Event::AssetRegistered { .. }
            | Event::DealMatched { .. }
            | Event::WorkerEnlisted { .. }
            | Event::Bonded { .. }
            | Event::Unbonded { .. }
            | Event::BondWithdrawn { .. }
            | Event::Deposited { .. }
            | Event::Withdrawn { .. }
            | Event::EpochRaised { .. }
            | Event::OrderApproved { .. }
            | Event::OrderCancelled { .. }
            | Event::DealSponsored { .. }
            | Event::AssetGiven { .. } => Ok(()),
        }
    }

    fn is_ours(&self, terms: &DealTerms) -> bool {
        terms.pool == self.pool.get() && terms.operator == self.operator.get()
    }

    async fn matched(
        &self,
        conn: &mut SqliteConnection,
        id: DealId,
        (requester, terms, subject): (AccountAddr, &DealTerms, &DealSubject),
        at: At,
    ) -> Result<(), StoreError> {
        let deal = Deal {
            id,
            terms: terms.clone(),
            app: subject.app,
            dataset: subject.dataset,
            requester: requester.get(),
            beneficiary: subject.beneficiary,
            job_hash: JobHash::new(subject.jobHash),
            block: at.block.number,
            log_index: at.log_index,
            seq: 1,
            opened: false,
            ended: false,
            given_up: None,
        };
        observe::deal_seen(id, at.block.number);
        store::deal::insert(conn, &deal).await
    }

    async fn settled(
        &self,
        conn: &mut SqliteConnection,
        id: DealId,
        worker: WorkerAddr,
        entries: &[u8],
        at: At,
    ) -> Result<(), StoreError> {
        let Some(deal) = self.with_tasks(conn, id, at).await? else { return Ok(()) };
        let entries = entries_of(entries)
            .map_err(|error| StoreError::Foreign { table: "chain_cursor", what: error.to_string() })?;
        self.faults.reach(kill_points(Phase::Settled)[0]);
        for (index, digest) in entries {
            let change = Change::Settle(Answer { worker, digest });
            if let Some(row) = store::task::get(conn, id.task(index)).await? {
                self.change(conn, &deal, &row, change, at).await?;
            }
        }
        store::deal::touch(conn, id).await
    }

    async fn end(
        &self,
        conn: &mut SqliteConnection,
        id: DealId,
        is_meant: impl Fn(&Row) -> bool + Send,
        change: Change,
        at: At,
    ) -> Result<(), StoreError> {
        let Some(deal) = self.with_tasks(conn, id, at).await? else { return Ok(()) };
        let phase = if matches!(change, Change::Claim) { Phase::Claimed } else { Phase::Declined };
        self.faults.reach(kill_points(phase)[0]);
        for row in store::task::of_deal(conn, id).await?.iter().filter(|row| is_meant(row)) {
            self.change(conn, &deal, row, change, at).await?;
        }
        store::deal::touch(conn, id).await
    }

    /// One of our deals. If the chain ends its tasks before they were made here, they are made first.
    async fn with_tasks(&self, conn: &mut SqliteConnection, id: DealId, at: At) -> Result<Option<Deal>, StoreError> {
        let Some(deal) = store::deal::get(conn, id).await? else { return Ok(None) };
        if !deal.opened {
            store::task::create(conn, id, &deal.terms, at.entry().since).await?;
            store::deal::open(conn, id).await?;
        }
        Ok(Some(deal))
    }

    async fn change(
        &self,
        conn: &mut SqliteConnection,
        deal: &Deal,
        row: &Row,
        change: Change,
        at: At,
    ) -> Result<(), StoreError> {
        let Some(task) = store::task::apply(conn, row, change, at.entry()).await? else { return Ok(()) };
        observe::task_ended(row.id, task.phase(), at.tx);
        self.signals.entering(task.phase(), at.block.number);
        mailbox::ended(conn, deal, (row, task), &[], at.tx).await
    }

    async fn bond(
        &self,
        conn: &mut SqliteConnection,
        worker: WorkerAddr,
        at: At,
        change: impl FnOnce(&mut Bond) + Send,
    ) -> Result<(), StoreError> {
        let mut bond = store::bond::of(conn, worker).await?.unwrap_or(Bond {
            worker,
            owner: AccountAddr::new(alloy::primitives::Address::ZERO),
            bonded: Amount::ZERO,
            unbonding: Amount::ZERO,
            release_at: Timestamp::new(0),
            score: 0,
        });
        change(&mut bond);
        store::bond::put(conn, &bond, at.place()).await
    }

    async fn take_back(&self, conn: &mut SqliteConnection, to: BlockNumber) -> Result<(), StoreError> {
        for deal in store::deal::above(conn, to).await? {
            observe::deal_gone(deal.id, deal.block);
            for row in store::task::of_deal(conn, deal.id).await? {
                mailbox::ended(conn, &deal, (&row, Task::Open), &[], B256::ZERO).await?;
            }
            store::deal::delete(conn, deal.id).await?;
        }
        let now = Stamp { at: Timestamp::new(0), at_ms: crate::clock::now_ms() };
        for row in store::task::ended_above(conn, to).await? {
            let entry = Entry { reason: Some("the block that settled it has left the chain"), ..Entry::at(now) };
            store::task::apply(conn, &row, Change::Unwind, entry).await?;
            self.settle_back(conn, row.id, entry).await?;
            observe::task_revived(row.id, row.task.phase());
            store::deal::touch(conn, row.deal).await?;
        }
        self.reopen(conn, to, Entry::at(now)).await?;
        store::bond::drop_above(conn, to).await?;
        store::app::drop_above(conn, to).await
    }
}

fn sum(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).expect("the contract holds less than 2^128 in all")
}
