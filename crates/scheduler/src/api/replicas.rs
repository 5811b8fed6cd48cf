//! Who has which part in a deal's replicated tasks, for people.

use super::problem::No;
use crate::store::{self, deal::Deal, task::Row};
use berth_protocol::{AccountAddr, ResultDigest, TaskId, WorkerAddr};
use berth_wire::scheduler::{Ending, ReplicaState, ReplicaView};
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, HashMap};

type OfTask = BTreeMap<WorkerAddr, ReplicaView>;

/// All parts in a deal's tasks.
#[derive(Debug, Default)]
pub(super) struct Parts {
    closes: HashMap<TaskId, Ending>,
    tasks: HashMap<TaskId, OfTask>,
}

impl Parts {
    /// Reads them; nothing for a deal whose tasks have one worker each.
    pub(super) async fn of(conn: &mut SqliteConnection, deal: &Deal) -> Result<Self, No> {
        let mut parts = Self::default();
        if deal.terms.is_single() {
            return Ok(parts);
        }
        let bonds = store::bond::all(conn).await?.into_iter();
        let owners: HashMap<WorkerAddr, AccountAddr> = bonds.map(|bond| (bond.worker, bond.owner)).collect();
        for (task, transaction, block) in store::round::closes(conn, deal.id).await? {
            parts.closes.insert(task, Ending { transaction, block: block.get() });
        }
        let mut note = |task, worker: WorkerAddr, state, digest: Option<ResultDigest>| {
            let view = ReplicaView {
                worker: worker.get(),
                owner: owners.get(&worker).map(|owner| owner.get()),
                state,
                digest: digest.map(ResultDigest::get),
                agrees: None,
                paid: None,
            };
            parts.tasks.entry(task).or_default().insert(worker, view);
        };
        for (task, worker) in store::commitment::workers_of_deal(conn, deal.id).await? {
            note(task, worker, ReplicaState::Committed, None);
        }
        for (task, worker) in store::attempt::running_of_deal(conn, deal.id).await? {
            note(task, worker, ReplicaState::Running, None);
        }
        for pair in store::pair::of_deal(conn, deal.id).await? {
            let is_closed = pair.appended.is_some() || (pair.append.is_none() && parts.closes.contains_key(&pair.task));
            let state = match pair.digest {
                Some(_) => ReplicaState::Revealed,
                None if is_closed => ReplicaState::Closed,
                None => ReplicaState::Committed,
            };
            note(pair.task, pair.worker, state, pair.digest);
        }
        for (task, worker, paid) in store::payment::of_deal(conn, deal.id).await? {
            let Some(view) = parts.tasks.get_mut(&task).and_then(|of| of.get_mut(&worker)) else { continue };
            view.state = if paid.is_some() { ReplicaState::Paid } else { ReplicaState::LeftOut };
            view.paid = paid.map(Into::into);
        }
        Ok(parts)
    }

    /// Takes those of one task.
    pub(super) fn take(&mut self, row: &Row) -> (Option<Ending>, Vec<ReplicaView>) {
        let settled = store::task::parts(row.task).1.map(ResultDigest::get);
        let replicas = self.tasks.remove(&row.id).unwrap_or_default().into_values().map(|view| {
            let agrees = settled.zip(view.digest).map(|(settled, own)| settled == own);
            ReplicaView { agrees, ..view }
        });
        (self.closes.remove(&row.id), replicas.collect())
    }
}
