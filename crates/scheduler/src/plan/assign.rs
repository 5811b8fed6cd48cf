//! Who runs what: open tasks go to workers that can run them, and come back from workers that are gone.

use super::{Action, Obstacle, Plan, Policy, replicate};
use crate::{
    presence::{Here, Seen},
    store::{attempt::Outcome, sending::Kind},
    view::{Deal, Need, TaskState, View, Work, Worker},
};
use berth_protocol::{Timestamp, WorkerAddr, ledger::Bond as LedgerBond, single::MAX_ENTRIES, task::Task};
use berth_wire::worker::Capacity;
use std::{collections::HashMap, time::Duration};

/// A task comes back after so many of its durations: one to run it, and one each to fetch before and to hand over after.
const PATIENCE_DURATIONS: u64 = 3;
/// How often a worker may be lost with one task before the task is taken to be the reason.
const MAX_LOSSES: usize = 3;

/// Until when a result must be here, so that its settlement has a whole duration to be mined; of a replicated task, its
/// hidden answer, so that its close has.
pub(crate) fn report_by(terms: &berth_protocol::DealTerms) -> Timestamp {
    let deadlines = terms.deadlines();
    let last = if terms.is_single() { deadlines.settle } else { deadlines.close };
    Timestamp::new(last.seconds().saturating_sub(u64::from(terms.duration)))
}

/// What a worker has taken on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub(super) tasks: u32,
    pub(super) cpu_millis: u64,
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Load {
    pub(super) fn add(&mut self, need: &Need) {
        self.tasks += 1;
        self.cpu_millis += u64::from(need.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_add(need.memory_bytes);
        self.disk_bytes = self.disk_bytes.saturating_add(need.disk_bytes);
    }

    /// What is too much, if `need` comes on top.
    fn lacks(&self, need: &Need, capacity: &Capacity) -> Option<String> {
        let more =
            |have: u64, wanted: u64, of: u64| (have.saturating_add(wanted) > of).then_some((of - have.min(of), wanted));
        if self.tasks >= capacity.slots {
            return Some(format!("all {} slots are taken", capacity.slots));
        }
        let short = [
            (
                "cpu (thousandths of a core)",
                self.cpu_millis,
                u64::from(need.cpu_millis),
                u64::from(capacity.cpu_millis),
            ),
            ("bytes of memory", self.memory_bytes, need.memory_bytes, capacity.memory_bytes),
            ("bytes of disk", self.disk_bytes, need.disk_bytes, capacity.disk_bytes),
        ];
        short.into_iter().find_map(|(what, have, wanted, of)| {
            more(have, wanted, of).map(|(left, wanted)| format!("{left} {what} are left, and the task needs {wanted}"))
        })
    }
}

pub(super) type Loads = HashMap<WorkerAddr, Load>;

/// What every worker has taken on.
fn loads(view: &View) -> Loads {
    let mut loads = Loads::new();
    for deal in &view.deals {
        let Work::Ready(need) = &deal.work else { continue };
        for task in &deal.tasks {
            for worker in runners(deal, task) {
                loads.entry(worker).or_default().add(need);
            }
        }
    }
    loads
}

/// Who runs a task.
fn runners<'a>(deal: &Deal, task: &'a TaskState) -> impl Iterator<Item = WorkerAddr> + use<'a> {
    let alone = if let Task::Assigned(worker) = task.task { Some(worker) } else { None };
    let is_single = deal.terms.is_single();
    let of_many = task.tries.iter().filter(move |attempt| !is_single && attempt.outcome.is_none());
    alone.into_iter().chain(of_many.map(|attempt| attempt.worker))
}

/// How many entries each worker's list of this deal has, or will have.
fn entries(deal: &Deal) -> HashMap<WorkerAddr, usize> {
    let mut entries = HashMap::new();
    for task in &deal.tasks {
        let held = match task.task {
            Task::Assigned(by) => by,
            Task::Reported(answer) | Task::Settling(answer) => answer.worker,
            Task::Open | Task::Settled(_) | Task::Declined | Task::Claimed | Task::Replicated(_) => continue,
        };
        *entries.entry(held).or_default() += 1;
    }
    entries
}

/// Takes tasks back from workers that are gone, or that take too long.
pub(super) fn releases(view: &View, policy: &Policy, plan: &mut Plan) {
    for deal in &view.deals {
        for task in &deal.tasks {
            for worker in runners(deal, task) {
                let since =
                    task.tries.iter().rev().find(|attempt| attempt.worker == worker).map(|attempt| attempt.since);
                let patience = u64::from(deal.terms.duration).saturating_mul(PATIENCE_DURATIONS);
                let outcome = if view.now > since.unwrap_or(task.since).plus(patience) {
                    Some(Outcome::Late)
                } else {
                    absence(view, policy, task, worker, plan)
                };
                if let Some(outcome) = outcome {
                    plan.actions.push(Action::Release { task: task.id, worker, outcome });
                }
            }
        }
    }
}

fn absence(view: &View, policy: &Policy, task: &TaskState, worker: WorkerAddr, plan: &mut Plan) -> Option<Outcome> {
    let mut lost_after = |gone: Duration, patience: Duration| {
        if gone >= patience {
            return Some(Outcome::Lost);
        }
        plan.again(patience - gone);
        None
    };
    // A worker without a bond row: the block with its bond is gone. It may come back as any other worker.
    match &view.workers.get(&worker)?.seen {
        Seen::Left(gone) => lost_after(*gone, policy.reconnect_grace),
        Seen::Never(gone) => lost_after(*gone, policy.silence),
        Seen::Here(Here { holding: Some(holding), .. }) => {
            let last = task.tries.iter().rev().find(|attempt| attempt.worker == worker);
            let received = last.is_some_and(|attempt| attempt.received);
            (received && !holding.contains(&task.id)).then_some(Outcome::Dropped)
        }
        Seen::Here(Here { holding: None, .. }) => None,
    }
}

/// Gives open tasks out: the oldest deal first, each task to the best worker that can take it.
pub(super) fn plan(view: &View, policy: &Policy, plan: &mut Plan) {
    let mut loads = loads(view);
    let mut exposure = replicate::exposure(view);
    let opened = view.deals.iter().filter(|deal| deal.opened && !deal.is_sending(view, Kind::Decline));
    for deal in opened {
        if !deal.terms.is_single() {
            replicate::plan(view, policy, deal, (&mut loads, &mut exposure), plan);
            continue;
        }
        let Work::Ready(need) = &deal.work else { continue };
        let mut entries = entries(deal);
        let mut is_full = false;
        for task in deal.tasks.iter().filter(|task| task.task == Task::Open) {
            // Tasks of a deal that nobody has tried are alike: what nobody takes of one, nobody takes of the next.
            if (is_full && task.tries.is_empty()) || untimely(view, deal, need, task).is_some() {
                continue;
            }
            let able = view.workers.iter().filter_map(|(address, worker)| {
                let held = entries.get(address).copied().unwrap_or_default();
                let load = loads.get(address).copied().unwrap_or_default();
                let here = able(deal, need, task, worker, &load, held).ok()?;
                let fetches = need.image.as_ref().is_some_and(|image| !here.shares().has(image));
                Some((fetches, load.tasks, load.cpu_millis, *address))
            });
            let Some((_, _, _, worker)) = able.min() else {
                is_full |= task.tries.is_empty();
                continue;
            };
            loads.entry(worker).or_default().add(need);
            *entries.entry(worker).or_default() += 1;
            plan.actions.push(Action::Assign { task: task.id, worker });
        }
    }
}

/// What keeps a task from everybody.
pub(super) fn untimely(view: &View, deal: &Deal, need: &Need, task: &TaskState) -> Option<String> {
    if need.elements.is_some_and(|elements| task.index as usize >= elements) {
        return Some("the job has no element for this task".to_owned());
    }
    let by = report_by(&deal.terms);
    let late = view.now.plus(u64::from(deal.terms.duration)) > by;
    late.then(|| format!("a result would come too late: it has to be here by {by}"))
}

/// Whether a worker can take a task; if not, why.
pub(super) fn able<'a>(
    deal: &Deal,
    need: &Need,
    task: &TaskState,
    worker: &'a Worker,
    load: &Load,
    entries: usize,
) -> Result<&'a Here, String> {
    if let Some(why) = closed(worker) {
        return Err(format!("it takes no tasks now: {why}"));
    }
    able_once_open(deal, need, task, worker, load, entries)
}

/// Why a worker takes nothing now, for a while.
fn closed(worker: &Worker) -> Option<&str> {
    if let Seen::Here(here) = &worker.seen { here.terms().closed.as_deref() } else { None }
}

/// Whether a worker that takes nothing now could run the task when it does.
pub(super) fn may_open(view: &View, deal: &Deal, need: &Need, task: &TaskState) -> bool {
    let idle = Load::default();
    let could = |worker: &Worker| able_once_open(deal, need, task, worker, &idle, 0).is_ok();
    view.workers.values().any(|worker| closed(worker).is_some() && could(worker))
}

fn able_once_open<'a>(
    deal: &Deal,
    need: &Need,
    task: &TaskState,
    worker: &'a Worker,
    load: &Load,
    entries: usize,
) -> Result<&'a Here, String> {
    let Seen::Here(here) = &worker.seen else { return Err("it is not connected".to_owned()) };
    if !covers(worker, &deal.terms) {
        return Err(format!(
            "its bond of {} does not cover the {} that the deal asks for",
            worker.bond.bonded, deal.terms.workerStake
        ));
    }
    if let Some(reason) = tried(task, worker.bond.worker) {
        return Err(reason);
    }
    if let Some(reason) = here.terms().refuse(deal.app, deal.requester, deal.terms.poolPrice) {
        return Err(reason);
    }
    if !here.shares().engines.contains(&need.runtime) {
        return Err(format!("it has no engine for {:?}", need.runtime).to_lowercase());
    }
    if let Some(image) = &need.image
        && !here.shares().has(image)
        && !here.shares().fetches(need.runtime, here.capacity())
    {
        return Err(format!("it does not have the image {}, and fetches none", image.reference));
    }
    let lacking = here.shares().lacking(need.packages.iter().map(String::as_str));
    if !lacking.is_empty() {
        return Err(format!("it does not have the packages that are needed: {} missing", lacking.join(", ")));
    }
    if let Some(absent) = need.datasets.iter().find(|dataset| !here.shares().has_data(dataset.sha256)) {
        return Err(format!("it does not have the dataset {} ({})", absent.name, absent.sha256));
    }
    if need.network && !here.capacity().network {
        return Err("it lets no job use the network".to_owned());
    }
    if need.elsewhere && !here.shares().fetches_inputs {
        return Err("it fetches no inputs from the addresses that a job names".to_owned());
    }
    if entries >= MAX_ENTRIES {
        return Err(format!("it stands for {MAX_ENTRIES} results of this deal that are not settled yet"));
    }
    load.lacks(need, here.capacity()).map_or(Ok(here), Err)
}

/// Whether a worker's bond covers a deal.
pub(super) fn covers(worker: &Worker, terms: &berth_protocol::DealTerms) -> bool {
    let bond = &worker.bond;
    // Cover does not depend on the score.
    let (owner, bonded, unbonding, release_at) = (bond.owner, bond.bonded, bond.unbonding, bond.release_at);
    LedgerBond { owner, bonded, unbonding, release_at, score: 0 }.covers(terms)
}

/// What an earlier try says against another one by the same worker.
fn tried(task: &TaskState, worker: WorkerAddr) -> Option<String> {
    let own = || task.tries.iter().filter(|attempt| attempt.worker == worker);
    let detail = |text: &Option<String>| text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    let bad = own().find_map(|attempt| match attempt.outcome {
        Some(Outcome::Declined) => Some(format!("it does not want this task{}", detail(&attempt.detail))),
        Some(Outcome::Late) => Some("it took too long for this task".to_owned()),
        Some(Outcome::Reported | Outcome::Lost | Outcome::Dropped | Outcome::Ended) | None => None,
    });
    let losses = own().filter(|attempt| matches!(attempt.outcome, Some(Outcome::Lost | Outcome::Dropped))).count();
    bad.or_else(|| (losses >= MAX_LOSSES).then(|| format!("it was lost with this task {losses} times")))
}

/// Whether any worker could run a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prospect {
    /// One that is connected could, once it has room.
    Some,
    /// None of those that are connected.
    None,
    /// None is connected, or those that could take no tasks for a while.
    NobodyHere,
}

/// Whether any connected worker could run the task if it had nothing else to do.
pub(super) fn could_run(view: &View, deal: &Deal, need: &Need, task: &TaskState) -> Prospect {
    if !deal.terms.is_single() {
        return replicate::prospect(view, deal, need, task);
    }
    let mut here = view.workers.values().filter(|worker| matches!(worker.seen, Seen::Here(_))).peekable();
    if here.peek().is_none() {
        return Prospect::NobodyHere;
    }
    let could = here.any(|worker| able(deal, need, task, worker, &Load::default(), 0).is_ok());
    match could {
        true => Prospect::Some,
        false if may_open(view, deal, need, task) => Prospect::NobodyHere,
        false => Prospect::None,
    }
}

/// Why an open task waits, worker by worker.
pub(crate) fn why(view: &View, deal: &Deal, task: &TaskState) -> Vec<Obstacle> {
    let everybody = |reason: String| vec![Obstacle { worker: None, reason }];
    let need = match &deal.work {
        Work::Missing(what) => return everybody(format!("it waits for {what}")),
        Work::Impossible(reason) => return everybody(reason.clone()),
        Work::Ready(need) => need,
    };
    if let Some(reason) = untimely(view, deal, need, task) {
        return everybody(reason);
    }
    if view.workers.is_empty() {
        return everybody("no worker is bonded in this pool".to_owned());
    }
    let (loads, entries) = (loads(view), entries(deal));
    if !deal.terms.is_single() {
        return replicate::why(view, deal, need, task, (&loads, &replicate::exposure(view)));
    }
    view.workers
        .iter()
        .filter_map(|(address, worker)| {
            let load = loads.get(address).copied().unwrap_or_default();
            let held = entries.get(address).copied().unwrap_or_default();
            let reason = able(deal, need, task, worker, &load, held).err()?;
            Some(Obstacle { worker: Some(address.get()), reason })
        })
        .collect()
}
