//! What is revealed is settled; who never opened its pair is punished.

use super::{ActError, Actor, call, round::Leaves, stamp};
use crate::{
    observe,
    store::{
        self,
        deal::Deal,
        pair::Pair,
        sending::Kind,
        task::{Entry, Row},
    },
};
use alloy::primitives::{B256, Bytes};
use berth_chain::{
    BlockRef, StoreError,
    call::{Contribution, Shown, TableRow},
    outbox,
};
use berth_protocol::{
    DealId, ResultDigest, TaskId, WorkerAddr,
    round::{BatchPair, BatchTask, LeftOut, multiproof},
    task::{Event, Phase},
};
use sqlx::SqliteConnection;
use std::collections::{BTreeSet, HashMap};

impl Actor {
    /// Sends a settlement of a round's tasks.
    pub(super) async fn settle_round(
        &self,
        id: DealId,
        key: &str,
        tasks: &[TaskId],
        tip: BlockRef,
    ) -> Result<bool, ActError> {
        self.before(Phase::Settling);
        let mut tx = self.db.write().await?;
        let Some(deal) = store::deal::get(&mut tx, id).await? else { return Ok(false) };
        let Some(round) = store::round::get(&mut tx, key).await? else { return Ok(false) };
        let Some(all) = Leaves::of(&mut tx, &round).await? else { return Ok(false) };
        let is_meant = |row: &Row| row.deal == id && tasks.contains(&row.id);
        let chosen: Vec<_> = (0..)
            .zip(&all.rows)
            .filter_map(|(place, (row, pairs))| {
                let digest = row.task.weighed().filter(|_| is_meant(row))?;
                Some(Chosen { place, row, pairs, digest })
            })
            .collect();
        if chosen.is_empty() {
            return Ok(false);
        }
        let reveals = reveals(&mut tx, round.round.root).await?;
        let (table, batch) = packed(&chosen, &reveals);
        let places: Vec<u32> = chosen.iter().map(|chosen| chosen.place).collect();
        let proof = multiproof(&all.hashes, &places);
        let shown = Shown { round: &round.round, proof: &proof };
        let failed = store::sending::count_failed(&mut tx, id, Kind::Settle).await?;
        let intent = call::settle_round(self.route(), (id, &deal.terms), shown, (&table, &batch), failed);
        let rows: Vec<&Row> = chosen.iter().map(|chosen| chosen.row).collect();
        if !self.pay(&mut tx, (&deal, &rows), &intent, tip).await? {
            return Ok(false);
        }
        tx.commit().await?;
        self.after(Phase::Settling);
        self.sender.wake();
        observe::settlement_sent(id, rows.len(), intent.key.as_str());
        self.signals.changed();
        Ok(true)
    }

    /// Sends a settlement of one task with its appended pairs.
    pub(super) async fn settle_one(&self, task: TaskId, tip: BlockRef) -> Result<bool, ActError> {
        self.before(Phase::Settling);
        let mut tx = self.db.write().await?;
        let Some(row) = store::task::get(&mut tx, task).await? else { return Ok(false) };
        let Some(digest) = row.task.weighed() else { return Ok(false) };
        let Some(deal) = store::deal::get(&mut tx, row.deal).await? else { return Ok(false) };
        let Some(round) = store::round::of_task(&mut tx, task).await? else { return Ok(false) };
        let Some(all) = Leaves::of(&mut tx, &round).await? else { return Ok(false) };
        let Some(place) = all.place(task) else { return Ok(false) };
        let (mut leaf, mut appended) = (Vec::new(), Vec::new());
        for pair in store::pair::of_task(&mut tx, task).await? {
            let is_of_leaf = pair.append.is_none();
            let root = if is_of_leaf { round.round.root } else { pair.chain };
            let reveal = reveals(&mut tx, root).await?.remove(&pair.worker).filter(|_| pair.digest == Some(digest));
            let contribution = contribution(&pair, reveal);
            if is_of_leaf {
                leaf.push(contribution);
            } else if pair.appended.is_some() {
                appended.push(contribution);
            }
        }
        let proof = multiproof(&all.hashes, &[place]);
        let shown = Shown { round: &round.round, proof: &proof };
        let failed = store::sending::count_failed(&mut tx, deal.id, Kind::Settle).await?;
        let about = (deal.id, &deal.terms);
        let intent = call::settle_one(self.route(), about, (row.index, digest), shown, (&leaf, &appended), failed);
        if !self.pay(&mut tx, (&deal, &[&row]), &intent, tip).await? {
            return Ok(false);
        }
        tx.commit().await?;
        self.after(Phase::Settling);
        self.sender.wake();
        observe::settlement_sent(deal.id, 1, intent.key.as_str());
        self.signals.changed();
        Ok(true)
    }

    /// Writes the settlement of these tasks, unless it was written before.
    async fn pay(
        &self,
        conn: &mut SqliteConnection,
        (deal, rows): (&Deal, &[&Row]),
        intent: &outbox::Intent,
        tip: BlockRef,
    ) -> Result<bool, StoreError> {
        if outbox::outcome(conn, &intent.key).await?.is_some() {
            return Ok(false);
        }
        let entry = Entry { settlement: Some(intent.key.as_str()), ..Entry::at(stamp(tip)) };
        for row in rows {
            store::task::apply(conn, row, Event::Send, entry).await?;
        }
        self.send(conn, deal, Kind::Settle, intent).await?;
        Ok(true)
    }

    /// Sends a punishment.
    pub(super) async fn punish(&self, id: DealId, left_out: &[LeftOut], entries: &[u8]) -> Result<bool, ActError> {
        let mut tx = self.db.write().await?;
        let Some(deal) = store::deal::get(&mut tx, id).await? else { return Ok(false) };
        let open = store::left_out::open(&mut tx).await?;
        let is_meant = |entry: &store::left_out::Entry| {
            entry.deal == id && entry.record == left_out && entries.contains(&entry.entry)
        };
        let evidence: Vec<(u8, Bytes)> = open
            .into_iter()
            .filter(is_meant)
            .filter_map(|entry| Some((entry.entry, entry.signature?.into())))
            .collect();
        let failed = store::sending::count_failed(&mut tx, id, Kind::Punish).await?;
        let intent = call::punish(self.route(), (id, &deal.terms), left_out, &evidence, failed);
        if evidence.is_empty() || outbox::outcome(&mut tx, &intent.key).await?.is_some() {
            return Ok(false);
        }
        self.send(&mut tx, &deal, Kind::Punish, &intent).await?;
        tx.commit().await?;
        self.sender.wake();
        observe::punishment_sent(id, evidence.len(), intent.key.as_str());
        Ok(true)
    }
}

/// A task of a batch.
struct Chosen<'a> {
    place: u32,
    row: &'a Row,
    pairs: &'a [Pair],
    digest: ResultDigest,
}

type Reveals = HashMap<WorkerAddr, store::reveal::Reveal>;

async fn reveals(conn: &mut SqliteConnection, root: B256) -> Result<Reveals, StoreError> {
    Ok(store::reveal::of(conn, root).await?.into_iter().map(|reveal| (reveal.worker, reveal)).collect())
}

/// The table of a batch, and its tasks by the ranks of that table.
fn packed(chosen: &[Chosen<'_>], reveals: &Reveals) -> (Vec<TableRow>, Vec<BatchTask>) {
    let opens = |pair: &Pair, digest| pair.digest == Some(digest) && reveals.contains_key(&pair.worker);
    let workers: BTreeSet<WorkerAddr> = chosen.iter().flat_map(|chosen| chosen.pairs).map(|pair| pair.worker).collect();
    let row = |worker: &WorkerAddr| {
        let has =
            |chosen: &Chosen<'_>| chosen.pairs.iter().any(|pair| pair.worker == *worker && opens(pair, chosen.digest));
        let reveal = reveals.get(worker).filter(|_| chosen.iter().any(has));
        TableRow {
            worker: *worker,
            seed: reveal.map(|reveal| reveal.seed).unwrap_or_default(),
            signature: reveal.map(|reveal| reveal.signature.clone().into()).unwrap_or_default(),
        }
    };
    let table = workers.iter().map(row).collect();
    let rank = |worker: WorkerAddr| {
        let place = workers.iter().position(|of| *of == worker).expect("the table has every worker of the batch");
        u8::try_from(place).expect("the plan keeps a batch to 128 workers")
    };
    let pair = |pair: &Pair, digest| BatchPair {
        rank: rank(pair.worker),
        hidden: (!opens(pair, digest)).then_some(pair.commitment),
    };
    let task = |chosen: &Chosen<'_>| BatchTask {
        index: chosen.row.index,
        digest: chosen.digest,
        pairs: chosen.pairs.iter().map(|of| pair(of, chosen.digest)).collect(),
    };
    (table, chosen.iter().map(task).collect())
}

fn contribution(pair: &Pair, reveal: Option<store::reveal::Reveal>) -> Contribution {
    let (seed, signature) = reveal.map(|reveal| (reveal.seed, reveal.signature.into())).unwrap_or_default();
    Contribution { worker: pair.worker, commitment: pair.commitment, seed, signature }
}
