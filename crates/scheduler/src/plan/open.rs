//! New deals get their tasks; what nobody can run is given back.

use super::{
    Action, Plan, Policy,
    assign::{Prospect, could_run},
    may_retry, replicate,
};
use crate::{
    store::sending::Kind,
    view::{Deal, TaskState, View, Work},
};
use berth_protocol::{
    Timestamp,
    task::{Replicated, Task},
};

/// The most tasks that one transaction gives back (`IRecourse.decline`).
const MAX_DECLINED: usize = 256;

pub(super) fn plan(view: &View, policy: &Policy, plan: &mut Plan) {
    for deal in &view.deals {
        if !deal.opened {
            plan.actions.push(Action::Open(deal.id));
        } else if view.now <= deal.terms.deadlines().close && may_retry(deal, Kind::Decline, view) {
            plan.actions.extend(decline(view, policy, deal));
        }
    }
}

fn decline(view: &View, policy: &Policy, deal: &Deal) -> Option<Action> {
    if deal.is_sending(view, Kind::Decline) {
        return None;
    }
    let mut untried = None;
    let mut reason = |task: &TaskState| match task.task.replicated() {
        None if task.task == Task::Open => hopeless(view, policy, deal, task, &mut untried),
        Some(Replicated::Gathering) => {
            replicate::hopeless(view, policy, deal, task).or_else(|| deserted(view, policy, deal, task))
        }
        _ => None,
    };
    let hopeless = deal.tasks.iter().filter_map(|task| reason(task).map(|reason| (task.index, reason)));
    let (indexes, reasons): (Vec<u32>, Vec<String>) = hopeless.take(MAX_DECLINED).unzip();
    reasons.into_iter().next().map(|reason| Action::Decline { deal: deal.id, indexes, reason })
}

/// Why an open task is given back. `untried` keeps what is the same for all tasks that nobody has tried.
fn hopeless(
    view: &View,
    policy: &Policy,
    deal: &Deal,
    task: &TaskState,
    untried: &mut Option<Prospect>,
) -> Option<String> {
    let patience = Timestamp::new(deal.terms.start).plus(policy.job_wait_s);
    let need = match &deal.work {
        Work::Impossible(reason) => return Some(reason.clone()),
        Work::Missing(what) => return (view.now > patience).then(|| format!("{what} never came")),
        Work::Ready(need) => need,
    };
    // Task i of a request gets element i.
    if need.elements.is_some_and(|elements| task.index as usize >= elements) {
        return Some("the job has no element for this task".to_owned());
    }
    let prospect = if task.tries.is_empty() {
        *untried.get_or_insert_with(|| could_run(view, deal, need, task))
    } else {
        could_run(view, deal, need, task)
    };
    unable(view, policy, deal, task, prospect)
}

/// The same of a task that was begun, and that all have given up who were given it.
fn deserted(view: &View, policy: &Policy, deal: &Deal, task: &TaskState) -> Option<String> {
    let Work::Ready(need) = &deal.work else { return None };
    let prospect = replicate::is_deserted(view, deal, task).then(|| replicate::prospect(view, deal, need, task))?;
    unable(view, policy, deal, task, prospect)
}

/// What no worker here can run is given back while that gives the pool's stake back, too. Where workers are connected,
/// and none of them could run it even if it were idle, that is after a short patience; where none is, at the last moment.
fn unable(view: &View, policy: &Policy, deal: &Deal, task: &TaskState, prospect: Prospect) -> Option<String> {
    // A fifth of the time is left for the transaction.
    let last_moment_s = u64::from(deal.terms.duration) * 4 / 5;
    let patience_s = match prospect {
        Prospect::Some => return None,
        Prospect::None => policy.unable_wait_s.min(last_moment_s),
        Prospect::NobodyHere => last_moment_s,
    };
    let is_over = view.now >= task.since.plus(patience_s) && view.now <= deal.terms.stake_returns_until();
    is_over.then(|| "no worker of this pool can run it".to_owned())
}
