//! Views for tests of plans.

use super::{Action, plan};
use crate::{
    presence::{Here, Seen},
    samples::{self, POLICY, START, capacity, digest, shares, worker},
    store::bond::Bond,
    view::{CleanList, Deal, Need, Replicas, TaskState, View, Work, Worker},
};
use alloy::primitives::{Address, B256};
use berth_protocol::{
    AccountAddr, Amount, DealTerms, Timestamp, WorkerAddr,
    task::{Answer, Task},
};
use berth_wire::{descriptor::Runtime, worker::Capacity, worker::Shares, worker::Terms};
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn need() -> Need {
    Need {
        runtime: Runtime::Docker,
        image: Some(samples::image()),
        cpu_millis: 1_000,
        memory_bytes: 256 << 20,
        disk_bytes: 64 << 20,
        network: false,
        elsewhere: false,
        sealed: false,
        packages: Vec::new(),
        datasets: Vec::new(),
        elements: None,
    }
}

pub(super) fn here(capacity: Capacity, shares: Shares) -> Seen {
    on_terms(capacity, shares, Terms::default())
}

pub(super) fn on_terms(capacity: Capacity, shares: Shares, terms: Terms) -> Seen {
    Seen::Here(Here { announced: Arc::new(samples::announced(capacity, shares, terms)), holding: None })
}

pub(super) fn bonded(address: WorkerAddr, seen: Seen) -> (WorkerAddr, Worker) {
    let bond = Bond {
        worker: address,
        owner: AccountAddr::new(address.get()),
        bonded: Amount::new(100),
        unbonding: Amount::ZERO,
        release_at: Timestamp::new(0),
        score: 0,
    };
    (address, Worker { bond, seen })
}

/// A view of one deal whose tasks are these, with these workers connected, one slot each.
pub(super) fn view(tasks: &[Task], workers: &[u8]) -> View {
    let workers = workers.iter().map(|n| bonded(worker(*n), here(capacity(1), shares())));
    view_of(samples::terms(u32::try_from(tasks.len()).expect("few")), tasks, workers.collect())
}

/// A view of one deal of these terms, whose tasks stand so, with these workers.
pub(super) fn view_of(terms: DealTerms, tasks: &[Task], workers: BTreeMap<WorkerAddr, Worker>) -> View {
    let deal = terms.id();
    let state = |(index, task): (u32, &Task)| TaskState {
        id: deal.task(index),
        index,
        task: *task,
        since: Timestamp::new(START),
        since_ms: 1_000,
        settlement: matches!(task, Task::Settling(_)).then(|| "sent".to_owned()),
        tries: Vec::new(),
        replicas: Replicas::default(),
    };
    let deal = Deal {
        id: deal,
        seq: 1,
        terms: Arc::new(terms),
        app: B256::with_last_byte(1),
        requester: Address::repeat_byte(0xa6),
        opened: true,
        work: Work::Ready(Arc::new(need())),
        tasks: (0..).zip(tasks).map(state).collect(),
        lists: Vec::new(),
        failures: BTreeMap::new(),
    };
    View {
        now: Timestamp::new(START + 1),
        now_ms: 2_000,
        block: 10,
        rounds: BTreeMap::new(),
        records: Vec::new(),
        deals: vec![deal],
        workers,
        sendings: Vec::new(),
        mail: Vec::new(),
    }
}

pub(super) fn actions(view: &View) -> Vec<Action> {
    plan(view, &POLICY).actions
}

pub(super) fn assigned(view: &View) -> Vec<(u32, WorkerAddr)> {
    let index = |id| view.deals.iter().flat_map(|deal| &deal.tasks).find(|task| task.id == id).map(|task| task.index);
    actions(view)
        .into_iter()
        .filter_map(|action| {
            let Action::Assign { task, worker } = action else { return None };
            index(task).map(|index| (index, worker))
        })
        .collect()
}

pub(super) fn set(view: &mut View, n: u8, change: impl FnOnce(&mut Worker)) {
    change(view.workers.get_mut(&worker(n)).expect("one of the workers"));
}

pub(super) fn reported(n: u8, value: u8) -> Task {
    Task::Reported(Answer { worker: worker(n), digest: digest(value) })
}

pub(super) fn list(n: u8, nth: u32, entries: &[(u32, u8)]) -> CleanList {
    let entries = entries.iter().map(|(index, value)| (*index, digest(*value))).collect();
    CleanList { worker: worker(n), nth, entries }
}
