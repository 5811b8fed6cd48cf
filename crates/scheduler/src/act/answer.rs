//! Takes the answers of workers to replicated tasks: hidden first, opened once their round is closed, delivered last.
//! What is not right is refused by a code of its own, and changes nothing.

use super::{
    Actor, is_going, published,
    report::{ReportFailure, refused},
    stamp,
};
use crate::{
    observe,
    results::{
        Blobs,
        report::{self, ReportError, Shelf},
    },
    store::{self, attempt::Outcome, commitment::Commitment, deal::Deal, pair::Pair, task::Row},
};
use alloy::primitives::{B256, keccak256};
use berth_chain::{BlockRef, signer::recover};
use berth_protocol::{
    DealId, ResultDigest, TaskId, WorkerAddr, domain,
    round::{salt, tag},
    task::{Phase, Replicated, Task},
};
use berth_wire::worker::{Answer, Commit, Deliver, Reveal};
use sqlx::SqliteConnection;

/// A replicated task with its deal.
async fn find(conn: &mut SqliteConnection, deal: B256, index: u32) -> Result<(Deal, Row), ReportFailure> {
    let id = DealId::new(deal);
    let task = id.task(index);
    let deal = store::deal::get(conn, id).await?;
    let deal = deal.ok_or_else(|| refused(task, "unknown-deal", "no such deal is this pool's"))?;
    if deal.terms.is_single() {
        return Err(refused(task, "not-replicated", "the deal asks for one worker's result: report it"));
    }
    if let Err(error) = deal.terms.task(index) {
        return Err(refused(task, "not-of-deal", error.to_string()));
    }
    let row = store::task::get(conn, task).await?;
    let row = row.ok_or_else(|| refused(task, "unknown-task", "the task is not there yet, or not any more"))?;
    Ok((deal, row))
}

impl Actor {
    /// Takes a hidden answer.
    pub(crate) async fn commit(&self, worker: WorkerAddr, commit: &Commit, tip: BlockRef) -> Result<(), ReportFailure> {
        let task = DealId::new(commit.deal).task(commit.index);
        let statement = domain::Commitment { task: task.get(), commitment: commit.commitment };
        let is_signed = recover(self.domain.digest(&statement), &commit.signature) == Some(worker.get());
        let mut tx = self.db.write().await?;
        let (deal, row) = find(&mut tx, commit.deal, commit.index).await?;
        if !is_signed || commit.signature.len() != SIGNATURE_BYTES {
            return Err(refused(task, "bad-signature", "the commitment is not signed by this worker, for this chain"));
        }
        if [commit.commitment, commit.tag, commit.seed_hash].contains(&B256::ZERO) {
            return Err(refused(task, "bad-commitment", "commitment, tag and seed's hash are never zero"));
        }
        if !is_going(row.task) {
            return Err(refused(task, "ended", "the task has ended"));
        }
        if !store::attempt::was_given(&mut tx, task, worker).await? {
            return Err(refused(task, "not-assigned", "the task was never this worker's"));
        }
        let new = Commitment {
            task,
            worker,
            commitment: commit.commitment,
            tag: commit.tag,
            seed_hash: commit.seed_hash,
            signature: commit.signature.to_vec(),
            since_ms: crate::clock::now_ms(),
        };
        if !may_commit(&mut tx, &deal, &row, &new, tip).await? {
            return Ok(());
        }
        store::commitment::put(&mut tx, &new).await?;
        store::attempt::end(&mut tx, task, worker, Outcome::Reported, None).await?;
        store::deal::touch(&mut tx, deal.id).await?;
        tx.commit().await?;
        observe::answer_hidden(task, worker);
        self.signals.wake();
        self.signals.changed();
        Ok(())
    }

    /// Takes what opens a closed round, or a chain.
    pub(crate) async fn reveal(&self, worker: WorkerAddr, reveal: &Reveal) -> Result<(), ReportFailure> {
        let statement = domain::Reveal { root: reveal.root, seed: reveal.seed };
        let is_signed = recover(self.domain.digest(&statement), &reveal.signature) == Some(worker.get());
        let about = reveal.results.first().map(|answer| DealId::new(answer.deal).task(answer.index));
        let no = |code, detail: &str| of_round(about, code, detail);
        let mut tx = self.db.write().await?;
        let pairs = published::closed_pairs(&mut tx, reveal.root, worker).await?;
        if pairs.is_empty() {
            return Err(no("unknown-round", "no round or chain on chain with this root has a pair of this worker"));
        }
        if !is_signed || reveal.signature.len() != SIGNATURE_BYTES {
            return Err(no("bad-signature", "the reveal is not signed by this worker, for this chain"));
        }
        let seed_hash = keccak256(reveal.seed);
        if pairs.iter().any(|pair| pair.seed_hash != seed_hash) {
            return Err(no("bad-seed", "the seed is not the one that the commitments named"));
        }
        let mut opened = Vec::with_capacity(reveal.results.len());
        for answer in &reveal.results {
            opened.push(opens(&pairs, reveal.seed, answer)?);
        }
        let kept = store::reveal::Reveal {
            root: reveal.root,
            worker,
            seed: reveal.seed,
            signature: reveal.signature.to_vec(),
        };
        store::reveal::put(&mut tx, &kept).await?;
        let mut is_news = false;
        for (pair, digest) in opened {
            is_news |= store::pair::open(&mut tx, pair.task, worker, digest).await?;
            is_news |= published::open_alike(&mut tx, pair.task).await?;
            if let Some(row) = store::task::get(&mut tx, pair.task).await? {
                store::deal::touch(&mut tx, row.deal).await?;
            }
        }
        if is_news {
            tx.commit().await?;
            observe::round_revealed(reveal.root, worker);
            self.signals.wake();
            self.signals.changed();
        }
        Ok(())
    }

    /// Takes the result of a revealed task.
    pub(crate) async fn deliver(
        &self,
        blobs: &Blobs,
        worker: WorkerAddr,
        deliver: &Deliver,
    ) -> Result<(), ReportFailure> {
        let task = DealId::new(deliver.deal).task(deliver.index);
        let deal = {
            let mut tx = self.db.read().await?;
            deliverable(&mut tx, worker, deliver).await?
        };
        let handed = report::check_delivery(Shelf { db: &self.db, blobs }, &deal, worker, deliver).await;
        let report::Handed { kept, parts } =
            handed.map_err(|error: ReportError| refused(task, error.code(), observe::chain(&error)))?;
        self.before(Phase::Revealed);
        let mut tx = self.db.write().await?;
        // The task may have ended, or its close may have gone, while the blobs were looked at.
        let deal = deliverable(&mut tx, worker, deliver).await?;
        if store::report::get(&mut tx, task, worker).await?.as_ref() == Some(&kept) {
            return Ok(());
        }
        store::report::put(&mut tx, task, &kept).await?;
        let handed_over = report::hand_over(&mut tx, task, worker, &parts).await;
        handed_over.map_err(|error| refused(task, error.code(), observe::chain(&error)))?;
        store::deal::touch(&mut tx, deal.id).await?;
        tx.commit().await?;
        observe::task_reported(task, worker, kept.digest, kept.wall_ms);
        self.signals.wake();
        self.signals.changed();
        Ok(())
    }
}

/// The length of every signature of the protocol.
const SIGNATURE_BYTES: usize = 65;

fn of_round(task: Option<TaskId>, code: &'static str, detail: &str) -> ReportFailure {
    ReportFailure::Refused(super::Refusal { task: task.map(TaskId::get), code, detail: detail.to_owned() })
}

/// Whether a hidden answer is taken; not if it is here already.
async fn may_commit(
    conn: &mut SqliteConnection,
    deal: &Deal,
    row: &Row,
    new: &Commitment,
    tip: BlockRef,
) -> Result<bool, ReportFailure> {
    let pairs = store::pair::of_task(conn, row.id).await?;
    if let Some(own) = pairs.iter().find(|pair| pair.worker == new.worker) {
        return match own.commitment == new.commitment {
            true => Ok(false),
            false => Err(refused(row.id, "closed", "a round has taken this worker's commitment already")),
        };
    }
    let is_gathering = matches!(row.task, Task::Open | Task::Replicated(Replicated::Gathering | Replicated::Committed));
    let is_running = store::attempt::running(conn, row.id).await?.contains(&new.worker);
    let before = store::commitment::get(conn, row.id, new.worker).await?;
    if !is_gathering && !is_running && before.is_none() {
        return Err(refused(row.id, "closed", "the task is closed without this worker"));
    }
    if stamp(tip).at > deal.terms.deadlines().close {
        return Err(refused(row.id, "too-late", "the deal's close deadline is over"));
    }
    if is_revealed(conn, new).await? {
        return Err(refused(row.id, "seed-revealed", "this seed is revealed: commit under a fresh one"));
    }
    let is_same =
        |old: Commitment| (old.commitment, old.tag, old.seed_hash) == (new.commitment, new.tag, new.seed_hash);
    Ok(!before.is_some_and(is_same))
}

async fn is_revealed(conn: &mut SqliteConnection, new: &Commitment) -> Result<bool, ReportFailure> {
    Ok(store::reveal::is_known(conn, new.worker, new.seed_hash).await?)
}

/// The pair that an answer opens.
fn opens<'a>(pairs: &'a [Pair], seed: B256, answer: &Answer) -> Result<(&'a Pair, ResultDigest), ReportFailure> {
    let task = DealId::new(answer.deal).task(answer.index);
    let pair = pairs.iter().find(|pair| pair.task == task);
    let pair =
        pair.ok_or_else(|| refused(task, "not-in-round", "the round has no pair of this worker for the task"))?;
    let digest = ResultDigest::new(answer.digest).ok_or_else(|| refused(task, "bad-opening", "zero is no result"))?;
    if !pair.bare().opens_by_salt(task, digest, salt(seed, task)) {
        return Err(refused(task, "bad-opening", "the commitment does not open to this digest"));
    }
    if pair.tag != tag(task, digest) {
        return Err(refused(task, "bad-tag", "the tag was not that of this digest"));
    }
    Ok((pair, digest))
}

/// Whether a result is wanted: the worker's pair has opened to it, in a round that is closed. Gives the deal.
async fn deliverable(
    conn: &mut SqliteConnection,
    worker: WorkerAddr,
    deliver: &Deliver,
) -> Result<Deal, ReportFailure> {
    let (deal, row) = find(conn, deliver.deal, deliver.index).await?;
    if !is_going(row.task) && row.task.phase() != Phase::Settled {
        return Err(refused(row.id, "ended", "the task has ended without a result"));
    }
    let pairs = store::pair::of_task(conn, row.id).await?;
    let own = pairs.iter().find(|pair| pair.worker == worker);
    let own = own.ok_or_else(|| refused(row.id, "not-assigned", "no round has an answer of this worker"))?;
    match own.digest {
        None => Err(refused(row.id, "not-revealed", "reveal the round first")),
        Some(digest) if digest.get() != deliver.digest => {
            Err(refused(row.id, "bad-result", format!("this worker has answered {digest}")))
        }
        Some(_) => Ok(deal),
    }
}
