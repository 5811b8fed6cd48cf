//! Does what a plan asks for: the only place with effects. Each action is one guarded transaction, and does nothing if
//! the state has moved on since the snapshot, so that doing one twice, or late, is harmless.

mod answer;
mod call;
mod pay;
pub(crate) mod published;
mod report;
mod round;

#[cfg(test)]
mod tests;

use crate::{
    mailbox::{self, Documents},
    observe,
    plan::Action,
    presence::Presence,
    signals::Signals,
    store::{
        self, Database, Stamp,
        attempt::Outcome,
        deal::Deal,
        sending::{Kind, Sent},
        task::Entry,
    },
};
use berth_chain::{
    BlockRef, StoreError,
    outbox::{self, SenderWatch},
    signer::Signer,
};
use berth_fault::Faults;
use berth_protocol::{
    Class, DealId, ResultDigest, TaskId, WorkerAddr,
    domain::{Assignment, Domain},
    single::SingleList,
    task::{Event, Phase, Replicated, Task},
};
pub(crate) use call::Route;
pub(crate) use report::{Refusal, ReportFailure};
pub(crate) use round::undo;
use sqlx::SqliteConnection;
use std::sync::Arc;
use thiserror::Error;

/// How many assignments go into one transaction: they share its one wait for the disk.
const ASSIGNMENTS_AT_ONCE: usize = 64;

/// An action failed.
#[derive(Debug, Error)]
pub(crate) enum ActError {
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ActError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl ActError {
    /// What to do about it.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
        }
    }
}

/// The scheduler's hands.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) db: Database,
    pub(crate) signer: Signer,
    pub(crate) domain: Domain,
    pub(crate) sender: SenderWatch,
    pub(crate) presence: Arc<Presence>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) faults: Faults,
}

/// The points before and after the transaction by which a task enters a phase.
pub(crate) const fn kill_points(phase: Phase) -> [&'static str; 2] {
    match phase {
        Phase::Open => ["open:before", "open:after"],
        Phase::Assigned => ["assigned:before", "assigned:after"],
        Phase::Reported => ["reported:before", "reported:after"],
        Phase::Committed => ["committed:before", "committed:after"],
        Phase::Closing => ["closing:before", "closing:after"],
        Phase::Closed => ["closed:before", "closed:after"],
        Phase::Revealed => ["revealed:before", "revealed:after"],
        Phase::Settling => ["settling:before", "settling:after"],
        Phase::Settled => ["settled:before", "settled:after"],
        Phase::Declined => ["declined:before", "declined:after"],
        Phase::Claimed => ["claimed:before", "claimed:after"],
    }
}

/// Every point at which a test may have the scheduler killed: `{phase}:before` and `{phase}:after` for each phase of a
/// task.
pub const KILL_POINTS: [&str; Phase::ALL.len() * 2] = {
    let mut points = [""; Phase::ALL.len() * 2];
    let mut at = 0;
    while at < Phase::ALL.len() {
        let [before, after] = kill_points(Phase::ALL[at]);
        points[2 * at] = before;
        points[2 * at + 1] = after;
        at += 1;
    }
    points
};

impl Actor {
    pub(crate) const fn route(&self) -> Route {
        Route { from: self.signer.address(), berth: self.domain.berth }
    }

    fn before(&self, phase: Phase) {
        self.faults.reach(kill_points(phase)[0]);
    }

    /// To be called after the commit.
    pub(crate) fn after(&self, phase: Phase) {
        self.faults.reach(kill_points(phase)[1]);
    }

    /// Does the actions in turn; says whether any of them changed anything.
    pub(crate) async fn run(&self, actions: &[Action], tip: BlockRef) -> Result<bool, ActError> {
        let mut changed = false;
        let mut rest = actions;
        while let Some(action) = rest.first() {
            let count =
                rest.iter().take(ASSIGNMENTS_AT_ONCE).take_while(|a| matches!(a, Action::Assign { .. })).count();
            let (now, later) = rest.split_at(count.max(1));
            rest = later;
            changed |= if count > 0 { self.assign(now, tip).await? } else { self.one(action, tip).await? };
        }
        Ok(changed)
    }

    async fn one(&self, action: &Action, tip: BlockRef) -> Result<bool, ActError> {
        match action {
            Action::Open(deal) => self.open(*deal, tip).await,
            Action::Assign { .. } => self.assign(core::slice::from_ref(action), tip).await,
            Action::Release { task, worker, outcome } => self.release(*task, *worker, (*outcome, None), tip).await,
            Action::Settle { deal, tasks, lists } => self.settle(*deal, tasks, lists, tip).await,
            Action::Fail { key, reason } => self.fail(key, reason, tip).await,
            Action::Finish { key } => {
                let mut tx = self.db.write().await?;
                let done = store::sending::finish(&mut tx, key).await?;
                tx.commit().await?;
                Ok(done)
            }
            Action::Decline { deal, indexes, reason } => self.decline(*deal, indexes, reason).await,
            Action::Claim(deal) => self.claim(*deal).await,
            Action::Agree(task) => self.step(*task, (Event::Agree, Phase::Committed), tip).await,
            Action::Disagree(task) => self.step(*task, (Event::Disagree, Phase::Assigned), tip).await,
            Action::Ask(task) => self.ask(*task).await,
            Action::Close { tasks } => self.close(tasks, tip).await,
            Action::Show { round } => self.show(round).await,
            Action::ShowAppended { task, worker } => self.show_appended(*task, *worker).await,
            Action::Weigh { task, digest } => self.step(*task, (Event::Weigh(*digest), Phase::Revealed), tip).await,
            Action::Append { task, commitments } => self.append(*task, commitments).await,
            Action::SettleRound { deal, round, tasks } => self.settle_round(*deal, round, tasks, tip).await,
            Action::SettleOne(task) => self.settle_one(*task, tip).await,
            Action::Punish { deal, left_out, entries } => self.punish(*deal, left_out, entries).await,
            Action::Forget(deal) => {
                let mut tx = self.db.write().await?;
                let done = store::left_out::forget(&mut tx, *deal).await?;
                tx.commit().await?;
                Ok(done)
            }
        }
    }

    async fn open(&self, id: DealId, tip: BlockRef) -> Result<bool, ActError> {
        self.before(Phase::Open);
        let mut tx = self.db.write().await?;
        let Some(deal) = store::deal::get(&mut tx, id).await?.filter(|deal| !deal.opened) else { return Ok(false) };
        store::task::create(&mut tx, id, &deal.terms, stamp(tip)).await?;
        store::deal::open(&mut tx, id).await?;
        tx.commit().await?;
        self.after(Phase::Open);
        observe::deal_opened(id, deal.terms.size);
        self.signals.changed();
        Ok(true)
    }

    async fn assign(&self, actions: &[Action], tip: BlockRef) -> Result<bool, ActError> {
        self.before(Phase::Assigned);
        let mut tx = self.db.write().await?;
        let mut told = Vec::new();
        let mut about: Option<Documents> = None;
        for action in actions {
            let Action::Assign { task, worker } = action else { continue };
            let Some(row) = store::task::get(&mut tx, *task).await? else { continue };
            if about.as_ref().is_none_or(|about| about.deal.id != row.deal) {
                about = documents(&mut tx, row.deal).await?;
            }
            let Some(about) = &about else { continue };
            if !takes(&mut tx, &about.deal, &row, *worker, tip).await? {
                continue;
            }
            let statement = Assignment { task: task.get(), worker: worker.get() };
            let signature = self.signer.sign(&self.domain, &statement);
            let letter = mailbox::assignment(about, row.index, signature);
            mailbox::assign(&mut tx, &row, *worker, letter, tip.timestamp).await?;
            store::deal::touch(&mut tx, row.deal).await?;
            told.push((*task, *worker));
        }
        tx.commit().await?;
        self.after(Phase::Assigned);
        for (task, worker) in &told {
            observe::task_assigned(*task, *worker);
            self.presence.ring(*worker);
        }
        self.signals.changed();
        Ok(!told.is_empty())
    }

    /// Takes a task back from a worker.
    pub(crate) async fn release(
        &self,
        task: TaskId,
        worker: WorkerAddr,
        (outcome, detail): (Outcome, Option<&str>),
        tip: BlockRef,
    ) -> Result<bool, ActError> {
        self.before(Phase::Open);
        let mut tx = self.db.write().await?;
        let Some(row) = store::task::get(&mut tx, task).await? else { return Ok(false) };
        let entry = Entry::at(stamp(tip));
        let is_one_of_many = matches!(row.task, Task::Replicated(_));
        if !is_one_of_many && store::task::apply(&mut tx, &row, Event::Release(worker), entry).await?.is_none() {
            return Ok(false);
        }
        if !store::attempt::end(&mut tx, task, worker, outcome, detail).await? && is_one_of_many {
            return Ok(false);
        }
        let reason = match outcome {
            Outcome::Declined => None,
            Outcome::Lost => Some("the scheduler lost sight of the worker"),
            Outcome::Late => Some("it took too long"),
            Outcome::Dropped => Some("the worker no longer has it"),
            Outcome::Reported | Outcome::Ended => Some("it is over"),
        };
        if let Some(reason) = reason {
            mailbox::cancel(&mut tx, &row, worker, reason).await?;
        }
        store::deal::touch(&mut tx, row.deal).await?;
        tx.commit().await?;
        self.after(Phase::Open);
        observe::task_released(task, worker, outcome, detail);
        self.presence.ring(worker);
        self.signals.changed();
        Ok(true)
    }

    async fn settle(
        &self,
        id: DealId,
        tasks: &[TaskId],
        wanted: &[(WorkerAddr, u32)],
        tip: BlockRef,
    ) -> Result<bool, ActError> {
        self.before(Phase::Settling);
        let mut tx = self.db.write().await?;
        let Some(deal) = store::deal::get(&mut tx, id).await? else { return Ok(false) };
        let all = store::task::of_deal(&mut tx, id).await?;
        let mut lists = store::list::of_deal(&mut tx, id).await?;
        lists.retain(|list| wanted.contains(&(list.worker, list.nth)));
        // Of two lists that answer one task, the contract takes the first: that of the worker whose answer counts here.
        lists.sort_by_cached_key(|list| strangers(&deal, &all, list));
        let is_carried = |row: &&store::task::Row| {
            row.task.phase() == Phase::Reported
                && tasks.contains(&row.id)
                && store::task::parts(row.task).0.is_some_and(|worker| lists.iter().any(|list| list.worker == worker))
        };
        let mut rows: Vec<(&store::task::Row, ResultDigest)> = Vec::new();
        for row in all.iter().filter(is_carried) {
            rows.extend(store::task::parts(row.task).1.map(|digest| (row, digest)));
        }
        if rows.is_empty() {
            return Ok(false);
        }
        let failed = store::sending::count_failed(&mut tx, id, Kind::Settle).await?;
        let carried: Vec<_> = rows.iter().map(|(row, digest)| (row.index, *digest)).collect();
        let intent = call::settle(self.route(), (id, &deal.terms), &carried, &lists, failed);
        let key = intent.key.as_str().to_owned();
        let entry = Entry { settlement: Some(&key), ..Entry::at(stamp(tip)) };
        for (row, _) in &rows {
            store::task::apply(&mut tx, row, Event::Send, entry).await?;
        }
        self.send(&mut tx, &deal, Kind::Settle, &intent).await?;
        tx.commit().await?;
        self.after(Phase::Settling);
        self.sender.wake();
        observe::settlement_sent(id, rows.len(), &key);
        self.signals.changed();
        Ok(true)
    }

    /// Writes an intent, and the note by which its outcome is found again.
    async fn send(
        &self,
        conn: &mut SqliteConnection,
        deal: &Deal,
        kind: Kind,
        intent: &outbox::Intent,
    ) -> Result<(), StoreError> {
        outbox::enqueue(conn, intent).await?;
        let sent = Sent { key: intent.key.as_str().to_owned(), deal: deal.id, kind };
        store::sending::insert(conn, &sent).await?;
        store::deal::touch(conn, deal.id).await
    }

    async fn fail(&self, key: &str, reason: &str, tip: BlockRef) -> Result<bool, ActError> {
        self.before(Phase::Reported);
        let mut tx = self.db.write().await?;
        if !store::sending::fail(&mut tx, key, tip.timestamp).await? {
            return Ok(false);
        }
        let entry = Entry { reason: Some(reason), ..Entry::at(stamp(tip)) };
        let rows = store::task::settling_by(&mut tx, key).await?;
        for row in &rows {
            store::task::apply(&mut tx, row, Event::Recall, entry).await?;
            store::deal::touch(&mut tx, row.deal).await?;
        }
        round::undo(&mut tx, key).await?;
        tx.commit().await?;
        self.after(Phase::Reported);
        observe::sending_failed(key, reason);
        self.signals.changed();
        Ok(true)
    }

    async fn decline(&self, id: DealId, indexes: &[u32], reason: &str) -> Result<bool, ActError> {
        let mut tx = self.db.write().await?;
        let Some(deal) = store::deal::get(&mut tx, id).await? else { return Ok(false) };
        let failed = store::sending::count_failed(&mut tx, id, Kind::Decline).await?;
        let intent = call::decline(self.route(), (id, &deal.terms), indexes, failed);
        if outbox::outcome(&mut tx, &intent.key).await?.is_some() {
            return Ok(false);
        }
        store::deal::give_up(&mut tx, id, reason).await?;
        self.send(&mut tx, &deal, Kind::Decline, &intent).await?;
        tx.commit().await?;
        self.sender.wake();
        observe::tasks_given_back(id, indexes.len(), reason);
        self.signals.changed();
        Ok(true)
    }

    async fn claim(&self, id: DealId) -> Result<bool, ActError> {
        let mut tx = self.db.write().await?;
        let Some(deal) = store::deal::get(&mut tx, id).await?.filter(|deal| !deal.ended) else { return Ok(false) };
        let failed = store::sending::count_failed(&mut tx, id, Kind::Claim).await?;
        let intent = call::claim(self.route(), (id, &deal.terms), failed);
        if outbox::outcome(&mut tx, &intent.key).await?.is_some() {
            return Ok(false);
        }
        self.send(&mut tx, &deal, Kind::Claim, &intent).await?;
        tx.commit().await?;
        self.sender.wake();
        observe::deal_expired(id);
        self.signals.changed();
        Ok(true)
    }
}

/// Chain time and wall time of what happens now.
pub(crate) fn stamp(tip: BlockRef) -> Stamp {
    Stamp { at: tip.timestamp, at_ms: crate::clock::now_ms() }
}

/// Gives a task to a worker, if it is still to be given.
async fn takes(
    conn: &mut SqliteConnection,
    deal: &Deal,
    row: &store::task::Row,
    worker: WorkerAddr,
    tip: BlockRef,
) -> Result<bool, StoreError> {
    let entry = Entry::at(stamp(tip));
    if deal.terms.is_single() {
        return Ok(store::task::apply(conn, row, Event::Assign(worker), entry).await?.is_some());
    }
    if store::attempt::running(conn, row.id).await?.contains(&worker) {
        return Ok(false);
    }
    if row.task == Task::Open {
        return Ok(store::task::apply(conn, row, Event::Gather, entry).await?.is_some());
    }
    Ok(matches!(row.task.replicated(), Some(Replicated::Gathering | Replicated::Closed)))
}

/// A deal, and the documents that go to its workers, if all are there.
async fn documents(conn: &mut SqliteConnection, id: DealId) -> Result<Option<Documents>, StoreError> {
    let Some(deal) = store::deal::get(conn, id).await? else { return Ok(None) };
    let job = store::job::document(conn, deal.job_hash).await?.and_then(|bytes| String::from_utf8(bytes).ok());
    let app = store::app::descriptor(conn, deal.app).await?;
    let dataset = store::app::descriptor(conn, deal.dataset).await?;
    if dataset.is_none() && !deal.dataset.is_zero() {
        return Ok(None);
    }
    Ok(job.zip(app).map(|(job, app)| Documents { deal, job, app, dataset }))
}

/// How many entries of a list answer a task that is another worker's.
fn strangers(deal: &Deal, tasks: &[store::task::Row], list: &store::list::List) -> usize {
    let entries = SingleList::decode(&deal.terms, &list.entries);
    let is_anothers = |index: u32| {
        let row = tasks.iter().find(|row| row.index == index);
        row.and_then(|row| store::task::parts(row.task).0).is_some_and(|worker| worker != list.worker)
    };
    entries.map_or(0, |entries| entries.entries().iter().filter(|(index, _)| is_anothers(*index)).count())
}

/// Whether a task is one that may still be answered.
const fn is_going(task: Task) -> bool {
    !task.phase().is_final()
}
