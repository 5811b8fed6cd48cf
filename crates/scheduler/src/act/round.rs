//! Rounds: what agrees is closed, shown to its workers, weighed and settled.

use super::{ActError, Actor, call, stamp};
use crate::{
    mailbox, observe,
    store::{
        self,
        attempt::Outcome,
        commitment::Commitment,
        deal::Deal,
        pair::Pair,
        sending::Kind,
        task::{Entry, Row},
    },
};
use alloy::primitives::B256;
use berth_chain::{BlockRef, StoreError, call::Shown, outbox};
use berth_protocol::{
    Failure, TaskId, WorkerAddr,
    round::{self, ClosedRound, Closing, WordBits, extend, multiproof},
    task::{Event, Phase, Replicated, Task},
};
use berth_wire::worker::{Appended, Closed, ClosedWord, Leaf, Mail};
use sqlx::SqliteConnection;
use std::collections::{BTreeSet, HashMap};

/// A task that goes into a round.
struct Member {
    row: Row,
    deal: Deal,
    answers: Vec<Commitment>,
}

impl Member {
    /// The pairs of its leaf.
    fn pairs(&self) -> Vec<Pair> {
        chained(&self.row, (0, B256::ZERO), &self.answers, None)
    }
}

/// The pairs that these answers make, after a chain.
fn chained(row: &Row, (first, mut chain): (u32, B256), answers: &[Commitment], append: Option<&str>) -> Vec<Pair> {
    let pair = |(nth, answer): (u32, &Commitment)| {
        let bare = round::Pair { worker: answer.worker, commitment: answer.commitment };
        chain = extend(chain, bare);
        Pair {
            task: row.id,
            nth,
            worker: answer.worker,
            commitment: answer.commitment,
            tag: answer.tag,
            seed_hash: answer.seed_hash,
            signature: answer.signature.clone(),
            chain,
            append: append.map(ToOwned::to_owned),
            appended: None,
            shown_ms: None,
            digest: None,
        }
    };
    (first..).zip(answers).map(pair).collect()
}

fn bare(pairs: &[Pair]) -> Vec<round::Pair> {
    pairs.iter().map(Pair::bare).collect()
}

fn of_leaf(pairs: &[Pair]) -> Vec<Pair> {
    pairs.iter().filter(|pair| pair.append.is_none()).cloned().collect()
}

/// A leaf's hash. The pairs were taken from a table that has each worker once, by rising address, and 64 at the most.
fn leaf_hash(row: &Row, pairs: &[Pair]) -> Result<B256, StoreError> {
    round::leaf(row.deal, row.index, &bare(pairs))
        .map_err(|error| StoreError::Foreign { table: "pair", what: error.to_string() })
}

fn wire_pairs(pairs: &[Pair]) -> Vec<berth_wire::worker::Pair> {
    let wire = |pair: &Pair| berth_wire::worker::Pair { worker: pair.worker.get(), commitment: pair.commitment };
    pairs.iter().map(wire).collect()
}

/// All leaves of a round.
pub(super) struct Leaves {
    pub(super) rows: Vec<(Row, Vec<Pair>)>,
    pub(super) hashes: Vec<B256>,
}

impl Leaves {
    /// `None`: a deal of the round is gone, and its tasks with it.
    pub(super) async fn of(
        conn: &mut SqliteConnection,
        round: &store::round::Round,
    ) -> Result<Option<Self>, StoreError> {
        let (mut rows, mut hashes) = (Vec::new(), Vec::new());
        for (_, task) in store::round::leaves(conn, &round.key).await? {
            let Some(row) = store::task::get(conn, task).await? else { return Ok(None) };
            let pairs = of_leaf(&store::pair::of_task(conn, task).await?);
            hashes.push(leaf_hash(&row, &pairs)?);
            rows.push((row, pairs));
        }
        let is_whole = u32::try_from(rows.len()).is_ok_and(|count| count == round.round.leaves());
        Ok(is_whole.then_some(Self { rows, hashes }))
    }

    pub(super) fn place(&self, task: TaskId) -> Option<u32> {
        self.rows.iter().position(|(row, _)| row.id == task).and_then(|place| u32::try_from(place).ok())
    }
}

impl Actor {
    /// Lets an event happen to a replicated task that needs nothing else.
    pub(super) async fn step(
        &self,
        task: TaskId,
        (event, phase): (Event, Phase),
        tip: BlockRef,
    ) -> Result<bool, ActError> {
        self.before(phase);
        let mut tx = self.db.write().await?;
        let Some(row) = store::task::get(&mut tx, task).await? else { return Ok(false) };
        if store::task::apply(&mut tx, &row, event, Entry::at(stamp(tip))).await?.is_none() {
            return Ok(false);
        }
        store::deal::touch(&mut tx, row.deal).await?;
        tx.commit().await?;
        self.after(phase);
        observe::task_stepped(task, phase);
        self.signals.changed();
        Ok(true)
    }

    /// Asks everybody who has answered a task to agree that there is no agreement.
    pub(super) async fn ask(&self, task: TaskId) -> Result<bool, ActError> {
        let mut tx = self.db.write().await?;
        let Some(row) = store::task::get(&mut tx, task).await? else { return Ok(false) };
        let gathers = row.task == Task::Replicated(Replicated::Gathering);
        if !gathers || !store::task::ask(&mut tx, task).await? {
            return Ok(false);
        }
        let digest = Failure::NoAgreement.digest().get();
        for answer in store::commitment::of_task(&mut tx, task).await? {
            store::mail::put(&mut tx, answer.worker, &Mail::Agree { task: task.get(), digest }).await?;
        }
        store::deal::touch(&mut tx, row.deal).await?;
        tx.commit().await?;
        observe::task_disputed(task);
        self.signals.changed();
        Ok(true)
    }

    /// Sends a round.
    pub(super) async fn close(&self, tasks: &[(TaskId, Vec<B256>)], tip: BlockRef) -> Result<bool, ActError> {
        self.before(Phase::Closing);
        let mut tx = self.db.write().await?;
        let members = members(&mut tx, tasks).await?;
        let Some((closed, closings, members)) = composed(members)? else { return Ok(false) };
        let first = members[0].deal.clone();
        let failed = store::sending::count_failed(&mut tx, first.id, Kind::Close).await?;
        let intent = call::close(self.route(), first.id, closed.root, &closings, failed);
        if outbox::outcome(&mut tx, &intent.key).await?.is_some() {
            return Ok(false);
        }
        let key = intent.key.as_str();
        let ids: Vec<TaskId> = members.iter().map(|member| member.row.id).collect();
        store::round::insert(&mut tx, key, &closed, &ids).await?;
        let entry = Entry { settlement: Some(key), ..Entry::at(stamp(tip)) };
        let mut deals = BTreeSet::new();
        for member in &members {
            for pair in member.pairs() {
                store::pair::insert(&mut tx, &pair).await?;
            }
            store::task::apply(&mut tx, &member.row, Event::Send, entry).await?;
            dismiss(&mut tx, &member.row).await?;
            deals.insert(member.deal.id);
        }
        self.send(&mut tx, &first, Kind::Close, &intent).await?;
        for deal in deals {
            store::deal::touch(&mut tx, deal).await?;
        }
        tx.commit().await?;
        self.after(Phase::Closing);
        self.sender.wake();
        observe::round_sent(closed.root, members.len(), key);
        self.signals.changed();
        Ok(true)
    }

    /// Shows a closed round to its workers.
    pub(super) async fn show(&self, key: &str) -> Result<bool, ActError> {
        let mut tx = self.db.write().await?;
        let Some(round) = store::round::get(&mut tx, key).await? else { return Ok(false) };
        let Some((transaction, _)) = round.closed else { return Ok(false) };
        if !store::round::show(&mut tx, key, crate::clock::now_ms()).await? {
            return Ok(false);
        }
        let Some(all) = Leaves::of(&mut tx, &round).await? else { return Ok(false) };
        let word = |word: &round::ClosedWord| ClosedWord {
            deal: word.deal.get(),
            word: word.word,
            bits: word.bits.to_be_bytes()[3..].try_into().expect("13 of 16 bytes"),
        };
        let words: Vec<ClosedWord> = round.round.closed.iter().map(word).collect();
        for worker in store::pair::workers_of_round(&mut tx, key).await? {
            let own = all.rows.iter().filter(|(_, pairs)| pairs.iter().any(|pair| pair.worker == worker));
            let leaf = |(row, pairs): &(Row, Vec<Pair>)| Leaf {
                deal: row.deal.get(),
                index: row.index,
                pairs: wire_pairs(pairs),
                proof: all.place(row.id).map(|place| multiproof(&all.hashes, &[place])).unwrap_or_default(),
            };
            let leaves = own.map(leaf).collect();
            let closed = Closed { root: round.round.root, closed: words.clone(), transaction, leaves };
            store::mail::put(&mut tx, worker, &Mail::Closed(Box::new(closed))).await?;
        }
        tx.commit().await?;
        observe::round_shown(round.round.root, key);
        self.signals.changed();
        Ok(true)
    }

    /// Shows a worker its appended pair.
    pub(super) async fn show_appended(&self, task: TaskId, worker: WorkerAddr) -> Result<bool, ActError> {
        let mut tx = self.db.write().await?;
        let Some(row) = store::task::get(&mut tx, task).await? else { return Ok(false) };
        if !store::pair::show(&mut tx, task, worker, crate::clock::now_ms()).await? {
            return Ok(false);
        }
        let mut pairs = store::pair::of_task(&mut tx, task).await?;
        let Some(place) = pairs.iter().position(|pair| pair.worker == worker) else { return Ok(false) };
        pairs.truncate(place + 1);
        let Some((transaction, _)) = pairs[place].appended else { return Ok(false) };
        let appended = Appended { deal: row.deal.get(), index: row.index, transaction, pairs: wire_pairs(&pairs) };
        store::mail::put(&mut tx, worker, &Mail::Appended(Box::new(appended))).await?;
        tx.commit().await?;
        self.signals.changed();
        Ok(true)
    }

    /// Sends further pairs of a closed task.
    pub(super) async fn append(&self, task: TaskId, wanted: &[(WorkerAddr, B256)]) -> Result<bool, ActError> {
        let mut tx = self.db.write().await?;
        let Some(row) = store::task::get(&mut tx, task).await? else { return Ok(false) };
        let is_closed = row.task == Task::Replicated(Replicated::Closed);
        let Some(deal) = store::deal::get(&mut tx, row.deal).await?.filter(|_| is_closed) else { return Ok(false) };
        let Some(round) = store::round::of_task(&mut tx, task).await? else { return Ok(false) };
        let Some(all) = Leaves::of(&mut tx, &round).await? else { return Ok(false) };
        let before = store::pair::of_task(&mut tx, task).await?;
        let (Some(place), Some(last)) = (all.place(task), before.last()) else { return Ok(false) };
        let mut answers = Vec::new();
        for answer in store::commitment::of_task(&mut tx, task).await? {
            let is_new = !before.iter().any(|pair| pair.worker == answer.worker);
            if is_new && wanted.contains(&(answer.worker, answer.commitment)) && !is_spent(&mut tx, &answer).await? {
                answers.push(answer);
            }
        }
        if answers.is_empty() || answers.len() != wanted.len() {
            return Ok(false);
        }
        let failed = store::sending::count_failed(&mut tx, deal.id, Kind::Append).await?;
        let added = chained(&row, (last.nth + 1, last.chain), &answers, None);
        let proof = multiproof(&all.hashes, &[place]);
        let shown = Shown { round: &round.round, proof: &proof };
        let pairs = (bare(&of_leaf(&before)), bare(&added));
        let intent = call::append(self.route(), (deal.id, &deal.terms), row.index, shown, (&pairs.0, &pairs.1), failed);
        if outbox::outcome(&mut tx, &intent.key).await?.is_some() {
            return Ok(false);
        }
        for pair in chained(&row, (last.nth + 1, last.chain), &answers, Some(intent.key.as_str())) {
            store::pair::insert(&mut tx, &pair).await?;
        }
        dismiss(&mut tx, &row).await?;
        self.send(&mut tx, &deal, Kind::Append, &intent).await?;
        tx.commit().await?;
        self.sender.wake();
        observe::pairs_sent(task, added.len(), intent.key.as_str());
        self.signals.changed();
        Ok(true)
    }
}

/// What came of a round that was never closed: its tasks are as before.
pub(crate) async fn undo(conn: &mut SqliteConnection, key: &str) -> Result<(), StoreError> {
    store::pair::drop_append(conn, key).await?;
    let Some(round) = store::round::get(conn, key).await?.filter(|round| round.closed.is_none()) else {
        return Ok(());
    };
    // Also those of tasks that have ended meanwhile: their seeds are not spent by a round that never was.
    store::pair::drop_round(conn, &round.key).await?;
    store::round::delete(conn, &round.key).await
}

/// Sends home whoever still runs a task whose answers are enough.
async fn dismiss(conn: &mut SqliteConnection, row: &Row) -> Result<(), StoreError> {
    for worker in store::attempt::running(conn, row.id).await? {
        let reason = "other answers were enough";
        store::attempt::end(conn, row.id, worker, Outcome::Ended, Some(reason)).await?;
        mailbox::cancel(conn, row, worker, reason).await?;
    }
    Ok(())
}

async fn is_spent(conn: &mut SqliteConnection, answer: &Commitment) -> Result<bool, StoreError> {
    store::pair::is_spent(conn, answer.worker, answer.seed_hash).await
}

/// Those of the tasks that are still as the plan has seen them.
async fn members(conn: &mut SqliteConnection, tasks: &[(TaskId, Vec<B256>)]) -> Result<Vec<Member>, StoreError> {
    let mut seeds: HashMap<WorkerAddr, B256> = HashMap::new();
    let mut members = Vec::new();
    for (task, wanted) in tasks {
        let Some(row) = store::task::get(conn, *task).await? else { continue };
        if row.task != Task::Replicated(Replicated::Committed) {
            continue;
        }
        let Some(deal) = store::deal::get(conn, row.deal).await? else { continue };
        let mut answers = store::commitment::of_task(conn, *task).await?;
        answers.retain(|answer| wanted.contains(&answer.commitment));
        let mut is_good = !answers.is_empty() && answers.len() == wanted.len();
        for answer in &answers {
            is_good &= seeds.get(&answer.worker).is_none_or(|seed| *seed == answer.seed_hash);
            is_good &= !is_spent(conn, answer).await?;
        }
        if is_good {
            seeds.extend(answers.iter().map(|answer| (answer.worker, answer.seed_hash)));
            members.push(Member { row, deal, answers });
        }
    }
    Ok(members)
}

/// A round, what it closes deal by deal, and its tasks in the order of its leaves.
type Composed = (ClosedRound, Vec<Closing>, Vec<Member>);

/// A round of these tasks, which are brought into the order of its leaves.
fn composed(mut members: Vec<Member>) -> Result<Option<Composed>, StoreError> {
    members.sort_by_key(|member| (member.deal.block, member.deal.log_index, member.row.index));
    let mut closings: Vec<Closing> = Vec::new();
    let mut leaves = Vec::with_capacity(members.len());
    for group in members.chunk_by(|one, next| one.deal.id == next.deal.id) {
        let terms = &group[0].deal.terms;
        let words = WordBits::of(group.iter().map(|member| member.row.index - terms.first));
        closings.push(Closing { terms: terms.clone(), words });
        for member in group {
            leaves.push(leaf_hash(&member.row, &member.pairs())?);
        }
    }
    let root = round::root(&leaves);
    Ok(root.map(|root| (ClosedRound::new(root, &closings), closings, members)))
}
