//! What a worker does for itself: opens shares that were left out, publishes reveals, appends and settles when the
//! operator is gone. Every transaction is an intent in the journal, named by what it is for, so that doing it again does
//! nothing; a contract that says that somebody else was first is as good as a success.

use super::{
    WatchError, Watching,
    follow::terms_of,
    plan::{Action, Case, Now, Place},
};
use crate::{
    journal::{Hidden, Phase, Published, Row, own},
    observe,
    reveal::round_of,
};
use alloy::primitives::{B256, Bytes};
use berth_chain::{
    call::{self, Contribution, Opening},
    outbox::{Intent, Key, enqueue},
};
use berth_protocol::{
    DealId, DealTerms, ResultDigest, TaskId, WorkerAddr,
    domain::{Commitment, Reveal},
    round::{ClosedRound, LeftOut, Pair, extend},
};
use berth_wire::worker::Mail;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Workers that could settle the same task go one after another, so that one of them pays for it: each waits this much
/// longer than the one before it.
const AFTER_ANOTHER: Duration = Duration::from_secs(2);

/// A task's pairs with what opens them.
#[derive(Default)]
struct Gathered {
    leaf: Vec<Contribution>,
    appended: Vec<Contribution>,
    round: ClosedRound,
    proof: Vec<B256>,
    /// How many open to this worker's answer.
    opening: usize,
    /// How many of these are of workers before this one.
    before: u32,
}

impl Watching {
    /// Looks after all watched tasks; says whether there are any.
    pub(super) async fn recourse(&mut self, stop: &CancellationToken) -> Result<bool, WatchError> {
        let watched = self.journal.watched().await?;
        if watched.is_empty() {
            if self.journal.cursor().await?.is_some() {
                self.journal.unlearn(None).await?;
            }
            self.settleable.clear();
            return Ok(false);
        }
        self.follow(&watched).await?;
        let head = self.rpc.head().await?.block;
        let now = Now { time: head.timestamp, head: head.number, confirmations: self.confirmations };
        for row in &watched {
            let case = self.case(row, now).await?;
            for action in case.decide(now) {
                self.act(row, &case, action, stop).await?;
            }
        }
        Ok(true)
    }

    async fn case(&self, row: &Row, now: Now) -> Result<Case, WatchError> {
        let terms = terms_of(row);
        let deadlines = terms.deadlines();
        let settlement = self.journal.settlement(row.task).await?;
        let given = self.journal.answers_to(row.task).await?;
        let left_out = settlement.as_ref().and_then(|settlement| entry_of(settlement.left_out.as_ref()?, &given));
        let silent = settlement.is_none() && now.time > deadlines.close;
        let offset = row.assign.index.saturating_sub(terms.first);
        let deal = DealId::new(row.assign.deal);
        let has_ended = settlement.is_none()
            && (silent || matches!(row.phase, Phase::Ended | Phase::Settled))
            && self.reader.has_ended(deal, offset).await?;
        let (mut place, mut own) = (Place::Unshown, given.last().copied());
        if silent && !has_ended {
            (place, own) = self.place(row, deal, offset, &given).await?;
        }
        let is_published = match place {
            Place::Opened(root) | Place::Added(root) | Place::Appended(root) => {
                self.journal.published(root).await?.iter().any(|reveal| reveal.worker == self.worker)
            }
            Place::Unshown | Place::Nowhere => false,
        };
        Ok(Case { deadlines, own, settlement, left_out, has_ended, place, is_published })
    }

    /// Where this worker's pair is, and what it hides.
    async fn place(
        &self,
        row: &Row,
        deal: DealId,
        offset: u32,
        given: &[Hidden],
    ) -> Result<(Place, Option<Hidden>), WatchError> {
        let of = |pair: Pair| given.iter().copied().find(|hidden| hidden.commitment == pair.commitment);
        // Whatever the scheduler has said of the task since.
        if let (Some(root), Some(_)) = (row.root, row.answer) {
            let Some((_, leaf)) = self.leaf_of(row).await? else {
                return Ok((Place::Added(root), self.added(root, of).await?));
            };
            let mine = leaf.pairs.iter().map(own).find(|pair| pair.worker == self.worker);
            return Ok((Place::Opened(root), mine.and_then(of)));
        }
        let is_closed = self.reader.is_closed(deal, offset).await?;
        let appended = self.journal.appended(row.task).await?;
        let mut chain = B256::ZERO;
        for (_, pair) in appended.iter().filter(|_| !is_closed) {
            chain = extend(chain, *pair);
            if let Some(hidden) = of(*pair).filter(|_| pair.worker == self.worker) {
                return Ok((Place::Appended(chain), Some(hidden)));
            }
        }
        let place = if is_closed { Place::Unshown } else { Place::Nowhere };
        Ok((place, given.last().copied()))
    }

    /// What the pair hides that ends a chain.
    async fn added(&self, chain: B256, of: impl Fn(Pair) -> Option<Hidden>) -> Result<Option<Hidden>, WatchError> {
        let Some(Mail::Appended(appended)) = self.journal.shown_at(chain).await?.map(|shown| shown.mail) else {
            return Ok(None);
        };
        Ok(appended.pairs.last().map(own).and_then(of))
    }

    async fn act(
        &mut self,
        row: &Row,
        case: &Case,
        action: Action,
        stop: &CancellationToken,
    ) -> Result<(), WatchError> {
        let (task, terms, index) = (row.task, terms_of(row), row.assign.index);
        match action {
            Action::Wait => Ok(()),
            Action::Paid => {
                observe::paid_on_chain(task);
                Ok(self.journal.unwatch(task, case.settlement.as_ref(), "").await?)
            }
            Action::Over(reason) => {
                if !matches!(row.phase, Phase::Settled | Phase::Ended) {
                    observe::unpaid(task, reason);
                    self.board.refusal(task.to_string(), "unpaid", reason);
                }
                self.journal.unwatch(task, None, reason).await?;
                self.news.notify_one();
                Ok(())
            }
            Action::Open { record, entry, salt } => {
                let Ok(left_out) = LeftOut::parse(&record) else { return Ok(()) };
                let calldata = call::open(&terms, &left_out, &[Opening { entry, salt }]);
                self.send(format!("open:{task}"), calldata, "open a share that was left out", stop).await
            }
            Action::Publish(root) => {
                let Some(own) = case.own else { return Ok(()) };
                let head = self.rpc.head().await?.block.number;
                self.journal.publish(own.seed.id, head).await?;
                let seed = own.seed.seed;
                let signature = self.key.sign(&self.domain, &Reveal { root, seed });
                let calldata = call::publish(root, self.worker, seed, signature);
                self.send(format!("publish:{root}"), calldata, "publish a reveal", stop).await
            }
            Action::Append => {
                let Some(answer) = case.own.map(|own| own.digest) else { return Ok(()) };
                let commitment = self.journal.own_append(task, answer).await?;
                let signature = self.key.sign(&self.domain, &Commitment { task: task.get(), commitment });
                let pair = Pair { worker: self.worker, commitment };
                let assignment = row.assign.signature.clone();
                let calldata = call::append_assigned(&terms, index, pair, assignment, signature);
                self.send(format!("append:{task}"), calldata, "append an answer to a task never closed", stop).await
            }
            Action::Settle => self.settle(row, case, &terms, stop).await,
        }
    }

    /// Settles a task, as soon as there is more to show than the last time, and after the workers before this one.
    async fn settle(
        &mut self,
        row: &Row,
        case: &Case,
        terms: &DealTerms,
        stop: &CancellationToken,
    ) -> Result<(), WatchError> {
        let Some(hidden) = case.own else { return Ok(()) };
        let gathered = self.gather(row, case.place, hidden).await?;
        if gathered.opening == 0 {
            return Ok(());
        }
        let since = *self.settleable.entry((row.task, gathered.opening)).or_insert_with(Instant::now);
        if since.elapsed() < AFTER_ANOTHER * gathered.before {
            return Ok(());
        }
        let shown = call::Shown { round: &gathered.round, proof: &gathered.proof };
        let what = (row.assign.index, hidden.digest);
        let calldata = call::settle_one(terms, what, shown, &gathered.leaf, &gathered.appended);
        let key = format!("settle:{}:{}", row.task, gathered.opening);
        self.send(key, calldata, "settle a task that the operator does not", stop).await
    }

    /// All pairs of a task, with the reveals that are on chain, and this worker's own.
    async fn gather(&self, row: &Row, place: Place, hidden: Hidden) -> Result<Gathered, WatchError> {
        let mut gathered = Gathered::default();
        let mut chain = B256::ZERO;
        if let (Place::Opened(root), Some((closed, leaf))) = (place, self.leaf_of(row).await?) {
            let reveals = self.journal.published(root).await?;
            for pair in leaf.pairs.iter().map(own) {
                chain = extend(chain, pair);
                let opened = self.open(row.task, pair, hidden, root, &reveals);
                gathered.count(pair.worker, self.worker, &opened);
                gathered.leaf.push(opened);
            }
            gathered.round = round_of(&closed);
            gathered.proof = leaf.proof;
        }
        for (_, pair) in self.journal.appended(row.task).await? {
            chain = extend(chain, pair);
            let reveals = self.journal.published(chain).await?;
            let opened = self.open(row.task, pair, hidden, chain, &reveals);
            gathered.count(pair.worker, self.worker, &opened);
            gathered.appended.push(opened);
        }
        Ok(gathered)
    }

    /// A pair, opened to this worker's answer if there is a reveal that does so.
    fn open(&self, task: TaskId, pair: Pair, hidden: Hidden, root: B256, reveals: &[Published]) -> Contribution {
        let digest: ResultDigest = hidden.digest;
        let own = pair.worker == self.worker && pair.commitment == hidden.commitment;
        let mine = own.then(|| {
            let seed = hidden.seed.seed;
            (seed, self.key.sign(&self.domain, &Reveal { root, seed }))
        });
        let theirs = || {
            let opens = |reveal: &&Published| reveal.worker == pair.worker && pair.opens(task, digest, reveal.seed);
            reveals.iter().find(opens).map(|reveal| (reveal.seed, reveal.signature.clone()))
        };
        let (seed, signature) = mine.or_else(theirs).unwrap_or_default();
        Contribution { worker: pair.worker, commitment: pair.commitment, seed, signature }
    }

    /// Wants a transaction, unless it was wanted before.
    async fn send(
        &mut self,
        key: String,
        calldata: Bytes,
        note: &'static str,
        stop: &CancellationToken,
    ) -> Result<(), WatchError> {
        let sender = self.sender(stop).await?;
        let intent = Intent::call(Key::new(key), self.worker.get(), self.deployment.berth, calldata, note);
        let mut connection = self.journal.pool().acquire().await.map_err(berth_chain::StoreError::from)?;
        if enqueue(&mut connection, &intent).await? {
            observe::recourse(intent.key.as_str(), note);
        }
        drop(connection);
        sender.wake();
        Ok(())
    }
}

impl Gathered {
    fn count(&mut self, of: WorkerAddr, me: WorkerAddr, contribution: &Contribution) {
        if contribution.signature.is_empty() {
            return;
        }
        self.opening += 1;
        self.before += u32::from(of < me);
    }
}

/// What the entry of a record hides, if it is one of these answers.
fn entry_of((record, entry): &(Vec<u8>, u8), given: &[Hidden]) -> Option<Hidden> {
    let entry = *LeftOut::parse(record).ok()?.get(usize::from(*entry))?;
    given.iter().copied().find(|hidden| hidden.commitment == entry.commitment)
}
