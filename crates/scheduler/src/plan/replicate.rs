//! Which workers answer a replicated task: as many as trust and their records need, each of another bond owner, and
//! more where their answers differ.

use super::{
    Action, Obstacle, Plan, Policy,
    assign::{Load, Loads, Prospect, able, may_open, untimely},
    tally::{self, Tally},
};
use crate::{
    presence::Seen,
    view::{Deal, Need, TaskState, View, Work, Worker},
};
use berth_protocol::{
    AccountAddr, WorkerAddr,
    consensus::weight,
    round::MAX_PAIRS,
    task::{Phase, Replicated, Task},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

/// The stakes behind each worker's answers to tasks that have not ended.
pub(super) type Exposure = HashMap<WorkerAddr, u128>;

/// Everybody who runs a task or has answered it, each once.
fn involved(task: &TaskState) -> HashSet<WorkerAddr> {
    let running = task.tries.iter().filter(|attempt| attempt.outcome.is_none()).map(|attempt| attempt.worker);
    let answered = task.replicas.commitments.iter().map(|hidden| hidden.answer.worker);
    running.chain(answered).chain(task.replicas.pairs.iter().map(|pair| pair.worker)).collect()
}

/// What everybody's answers put at stake.
pub(super) fn exposure(view: &View) -> Exposure {
    let mut exposure = Exposure::new();
    for deal in view.deals.iter().filter(|deal| !deal.terms.is_single()) {
        for worker in deal.tasks.iter().flat_map(involved) {
            let stakes = exposure.entry(worker).or_default();
            *stakes = stakes.saturating_add(deal.terms.workerStake);
        }
    }
    exposure
}

/// Why a worker's bond does not stand for one more answer. It always stands for one.
fn overexposed(worker: &Worker, deal: &Deal, exposure: &Exposure) -> Option<String> {
    let open = exposure.get(&worker.bond.worker).copied().unwrap_or_default();
    let wanted = open.saturating_add(deal.terms.workerStake);
    (open > 0 && wanted > worker.bond.bonded.units()).then(|| {
        format!(
            "its open answers put {open} of its bond of {} at stake, and this one {} more",
            worker.bond.bonded, deal.terms.workerStake
        )
    })
}

/// What is known of a task that needs workers; `None`: it needs none.
fn standing(view: &View, policy: &Policy, deal: &Deal, task: &TaskState) -> Option<Tally> {
    if task.task == Task::Open {
        return Some(tally::gathered(view, deal, task));
    }
    match task.task.replicated()? {
        Replicated::Gathering => (!task.replicas.asked).then(|| tally::gathered(view, deal, task)),
        Replicated::Closed => {
            let round = task.replicas.round.as_ref().and_then(|key| view.rounds.get(key))?;
            round.shown_ms?;
            (view.now <= deal.terms.deadlines().close).then(|| tally::closed(view, policy, deal, task, round))
        }
        Replicated::Committed
        | Replicated::Closing
        | Replicated::Revealed(_)
        | Replicated::Paying(_)
        | Replicated::Paid(_) => None,
    }
}

/// Who could take the task, one of each owner that has no part in it yet: the better, the sooner.
fn candidates<'a>(
    view: &'a View,
    deal: &Deal,
    need: &Need,
    task: &TaskState,
    (loads, exposure): (Option<&Loads>, Option<&Exposure>),
) -> impl Iterator<Item = (WorkerAddr, u32)> + use<'a> {
    let owners: HashSet<AccountAddr> =
        involved(task).iter().filter_map(|worker| view.workers.get(worker)).map(|worker| worker.bond.owner).collect();
    let mut best: BTreeMap<AccountAddr, (bool, Load, WorkerAddr, u32)> = BTreeMap::new();
    for (address, worker) in view.workers.iter().filter(|(_, worker)| !owners.contains(&worker.bond.owner)) {
        let load = loads.and_then(|loads| loads.get(address)).copied().unwrap_or_default();
        let Ok(here) = able(deal, need, task, worker, &load, 0) else { continue };
        if exposure.is_some_and(|exposure| overexposed(worker, deal, exposure).is_some()) {
            continue;
        }
        let fetches = need.image.as_ref().is_some_and(|image| !here.shares().has(image));
        let new = (fetches, load, *address, weight(worker.bond.score));
        let better = |old: &(bool, Load, WorkerAddr, u32)| rank(&new) < rank(old);
        if best.get(&worker.bond.owner).is_none_or(better) {
            best.insert(worker.bond.owner, new);
        }
    }
    let mut found: Vec<_> = best.into_values().collect();
    found.sort_by_key(rank);
    found.into_iter().map(|(_, _, worker, weight)| (worker, weight))
}

const fn rank((fetches, load, worker, _): &(bool, Load, WorkerAddr, u32)) -> (bool, u32, u64, WorkerAddr) {
    (*fetches, load.tasks, load.cpu_millis, *worker)
}

/// Calls in workers for a deal's tasks.
pub(super) fn plan(
    view: &View,
    policy: &Policy,
    deal: &Deal,
    (loads, exposure): (&mut Loads, &mut Exposure),
    plan: &mut Plan,
) {
    let Work::Ready(need) = &deal.work else { return };
    for task in &deal.tasks {
        let Some(mut tally) = standing(view, policy, deal, task) else { continue };
        if tally.will_agree(deal.terms.trust) || is_late(view, deal, need, task) {
            continue;
        }
        // What nobody has begun is begun only where enough could come, so that nobody works for nothing.
        let is_fresh = tally.is_empty() && tally.pending.is_empty();
        if is_fresh && !reaches(view, deal, tally.clone(), candidates(view, deal, need, task, (None, Some(exposure)))) {
            continue;
        }
        let room = MAX_PAIRS.saturating_sub(involved(task).len());
        let found: Vec<_> = candidates(view, deal, need, task, (Some(loads), Some(exposure))).take(room).collect();
        for (worker, weight) in found {
            if tally.will_agree(deal.terms.trust) {
                break;
            }
            tally.pending.push(weight);
            loads.entry(worker).or_default().add(need);
            let stakes = exposure.entry(worker).or_default();
            *stakes = stakes.saturating_add(deal.terms.workerStake);
            plan.actions.push(Action::Assign { task: task.id, worker });
        }
    }
}

/// Whether nobody could answer in time: before the close, or, of what is closed, before its end.
fn is_late(view: &View, deal: &Deal, need: &Need, task: &TaskState) -> bool {
    untimely(view, deal, need, task).is_some() || view.now > deal.terms.deadlines().close
}

fn reaches(view: &View, deal: &Deal, mut tally: Tally, more: impl Iterator<Item = (WorkerAddr, u32)>) -> bool {
    let more: Vec<u32> = more.map(|(_, weight)| weight).take(MAX_PAIRS).collect();
    tally.pending.extend(more);
    debug_assert!(view.workers.len() >= tally.pending.len() || !tally.is_empty(), "each has a bond");
    tally.will_agree(deal.terms.trust)
}

/// Whether connected workers of enough owners could run the task if they had nothing else to do.
pub(super) fn prospect(view: &View, deal: &Deal, need: &Need, task: &TaskState) -> Prospect {
    if !view.workers.values().any(|worker| matches!(worker.seen, Seen::Here(_))) {
        return Prospect::NobodyHere;
    }
    let tally = tally::gathered(view, deal, task);
    if tally.will_agree(deal.terms.trust)
        || reaches(view, deal, tally, candidates(view, deal, need, task, (None, None)))
    {
        Prospect::Some
    } else if may_open(view, deal, need, task) {
        Prospect::NobodyHere
    } else {
        Prospect::None
    }
}

/// Tasks whose answers agree are committed; those whose answers no longer do are not. Where nobody is left to ask, those
/// who have answered are asked to agree on that.
pub(super) fn agreements(view: &View, policy: &Policy, plan: &mut Plan) {
    for deal in view.deals.iter().filter(|deal| deal.opened && !deal.terms.is_single()) {
        for task in &deal.tasks {
            let agrees = || tally::gathered(view, deal, task).agrees(deal.terms.trust);
            let gathers = task.task.replicated() == Some(Replicated::Gathering);
            if task.task.replicated() == Some(Replicated::Committed) {
                plan.actions.extend((!agrees()).then_some(Action::Disagree(task.id)));
            } else if (gathers || task.task == Task::Open) && agrees() {
                plan.actions.push(Action::Agree(task.id));
            } else if gathers && is_stuck(view, deal, task) {
                plan.actions.extend(ask(view, policy, deal, task));
            }
        }
    }
}

/// Whether answers differ, nobody's is to come, and nobody else can be called in.
fn is_stuck(view: &View, deal: &Deal, task: &TaskState) -> bool {
    let Work::Ready(need) = &deal.work else { return false };
    let tally = tally::gathered(view, deal, task);
    tally.pending.is_empty() && !tally.is_empty() && prospect(view, deal, need, task) != Prospect::Some
}

/// Whether nobody has answered, and nobody is at it.
pub(super) fn is_deserted(view: &View, deal: &Deal, task: &TaskState) -> bool {
    let tally = tally::gathered(view, deal, task);
    tally.pending.is_empty() && tally.is_empty()
}

/// How long ago the last answer came.
fn waited(view: &View, task: &TaskState) -> Duration {
    let last = task.replicas.commitments.iter().map(|hidden| hidden.answer.since_ms).max().unwrap_or(task.since_ms);
    Duration::from_millis(view.now_ms.saturating_sub(last))
}

fn ask(view: &View, policy: &Policy, deal: &Deal, task: &TaskState) -> Option<Action> {
    let could = tally::gathered(view, deal, task).could_agree(deal.terms.trust);
    let patience = Duration::from_secs(policy.unable_wait_s);
    (could && !task.replicas.asked && waited(view, task) >= patience).then_some(Action::Ask(task.id))
}

/// Why a task whose answers differ is given back.
pub(super) fn hopeless(view: &View, policy: &Policy, deal: &Deal, task: &TaskState) -> Option<String> {
    if !is_stuck(view, deal, task) {
        return None;
    }
    // Those who were asked have time to agree.
    let is_asked = task.replicas.asked || tally::gathered(view, deal, task).could_agree(deal.terms.trust);
    let patience = Duration::from_secs(policy.unable_wait_s) * if is_asked { 3 } else { 1 };
    let over = waited(view, task) >= patience;
    over.then(|| "its workers do not agree, and there is no further one to call in".to_owned())
}

/// Why a task waits: how many owners there are of those that it needs, and what keeps each worker from it.
pub(super) fn why(
    view: &View,
    deal: &Deal,
    need: &Need,
    task: &TaskState,
    (loads, exposure): (&Loads, &Exposure),
) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let tally = tally::gathered(view, deal, task);
    let there: Vec<u32> =
        candidates(view, deal, need, task, (None, Some(exposure))).map(|(_, weight)| weight).collect();
    let have = involved(task).len() + there.len();
    let mut more = [tally.pending.clone(), there].concat();
    let mut needed = have;
    while !tally.accepts(tally.best(), &more, deal.terms.trust) && needed < MAX_PAIRS {
        more.push(weight(0));
        needed += 1;
    }
    if needed > have {
        let reason = format!("{have} of {needed} owners needed: its answers come from workers of distinct bond owners");
        obstacles.push(Obstacle { worker: None, reason });
    }
    let involved = involved(task);
    for (address, worker) in &view.workers {
        let same =
            involved.iter().find(|other| view.workers.get(*other).is_some_and(|o| o.bond.owner == worker.bond.owner));
        let load = loads.get(address).copied().unwrap_or_default();
        let reason = match same {
            Some(other) if other == address => continue,
            Some(other) => Some(format!("its owner's worker {} has part in this task", other.get())),
            None => able(deal, need, task, worker, &load, 0).err().or_else(|| overexposed(worker, deal, exposure)),
        };
        obstacles.extend(reason.map(|reason| Obstacle { worker: Some(address.get()), reason }));
    }
    obstacles
}

/// Whether a task still gathers answers.
pub(super) fn is_gathering(deal: &Deal, task: &TaskState) -> bool {
    !deal.terms.is_single() && matches!(task.task.phase(), Phase::Open | Phase::Assigned)
}
