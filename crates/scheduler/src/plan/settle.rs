//! Results onto the chain, as many at once as it pays to wait for.

use super::{Action, Plan, Policy, assign::covers, may_retry};
use crate::{
    store::sending::Kind,
    view::{CleanList, Deal, Fate, Sending, TaskState, View},
};
use berth_protocol::{
    TaskId, WorkerAddr,
    task::{Answer, Task},
};
use std::{collections::BTreeSet, time::Duration};

/// The most lists of one transaction (`IBerthDirect.settleSingles`).
const MAX_LISTS: usize = 256;

/// Looks at what became of our transactions.
pub(super) fn outcomes(view: &View, plan: &mut Plan) {
    for sending in &view.sendings {
        let key = sending.sent.key.clone();
        match &sending.fate {
            Fate::Pending => {}
            // A close takes all of its tasks or none: while they are not closed here, its block is gone, and the outbox
            // is about to notice and to send it again.
            Fate::Mined | Fate::Final if sending.sent.kind == Kind::Close && is_short(view, sending) => {}
            Fate::Failed(reason) => plan.actions.push(Action::Fail { key, reason: reason.clone() }),
            // Its events are in the view, and there is a task that it did not end: its list was left out.
            Fate::Mined | Fate::Final if is_short(view, sending) => {
                let is_single = |deal: &&Deal| deal.id == sending.sent.deal && deal.terms.is_single();
                let reason = if view.deals.iter().any(|deal| is_single(&deal)) {
                    "the contract left it out: the worker's bond did not cover the deal"
                } else {
                    "the contract left it out: by the scores and bonds at that time it fell short"
                };
                let reason = reason.to_owned();
                plan.actions.push(Action::Fail { key, reason });
            }
            Fate::Mined => {}
            Fate::Final => plan.actions.push(Action::Finish { key }),
        }
    }
}

/// Whether a settlement whose events are in the view has not ended a task that is still said to be in it.
fn is_short(view: &View, sending: &Sending) -> bool {
    let deals = view.deals.iter().filter(|deal| deal.id == sending.sent.deal);
    deals.flat_map(|deal| &deal.tasks).any(|task| task.settlement.as_ref() == Some(&sending.sent.key))
}

/// Settles what is reported.
pub(super) fn plan(view: &View, policy: &Policy, plan: &mut Plan) {
    for deal in view.deals.iter().filter(|deal| deal.terms.is_single()) {
        if view.now > deal.terms.deadlines().settle || !may_retry(deal, Kind::Settle, view) {
            continue;
        }
        let ready: Vec<Ready<'_>> = deal.tasks.iter().filter_map(|task| ready(view, deal, task)).collect();
        let Some(oldest_ms) = ready.iter().map(|ready| ready.task.since_ms).min() else { continue };
        if !is_time(view, policy, deal, &ready, oldest_ms, plan) {
            continue;
        }
        for batch in ready.chunks(policy.settle_batch.max(1)) {
            plan.actions.extend(settlement(deal, batch));
        }
    }
}

/// A reported task, and the list to settle it with.
struct Ready<'a> {
    task: &'a TaskState,
    list: &'a CleanList,
}

fn ready<'a>(view: &View, deal: &'a Deal, task: &'a TaskState) -> Option<Ready<'a>> {
    let Task::Reported(Answer { worker, digest }) = task.task else { return None };
    // A list of a worker whose bond does not cover the deal is left out by the contract.
    view.workers.get(&worker).filter(|worker| covers(worker, &deal.terms))?;
    let has = |list: &&CleanList| list.worker == worker && list.entries.contains(&(task.index, digest));
    deal.lists.iter().filter(has).max_by_key(|list| list.nth).map(|list| Ready { task, list })
}

/// Why a reported task can't be settled, if it can't.
pub(crate) fn unsettled(view: &View, deal: &Deal, task: &TaskState) -> Option<String> {
    let Task::Reported(Answer { worker, .. }) = task.task else { return None };
    if view.workers.get(&worker).is_none_or(|worker| !covers(worker, &deal.terms)) {
        return Some("its worker's bond does not cover the deal any more".to_owned());
    }
    ready(view, deal, task).is_none().then(|| "its worker's list has results that are still to come".to_owned())
}

/// Whether to send now what is ready: when nothing else of the deal will come, when a batch is full, or when the oldest
/// has waited long enough and nothing of the deal is under way, since what is under way will make room for a bigger one.
fn is_time(view: &View, policy: &Policy, deal: &Deal, ready: &[Ready<'_>], oldest_ms: u64, plan: &mut Plan) -> bool {
    let all_in = !deal.tasks.iter().any(|task| matches!(task.task, Task::Open | Task::Assigned(_)));
    if all_in || ready.len() >= policy.settle_batch {
        return true;
    }
    let waited = Duration::from_millis(view.now_ms.saturating_sub(oldest_ms));
    if waited < policy.settle_wait {
        plan.again(policy.settle_wait - waited);
        return false;
    }
    !deal.is_sending(view, Kind::Settle)
}

fn settlement(deal: &Deal, batch: &[Ready<'_>]) -> Option<Action> {
    let lists: BTreeSet<(WorkerAddr, u32)> = batch.iter().map(|ready| (ready.list.worker, ready.list.nth)).collect();
    let lists: Vec<_> = lists.into_iter().take(MAX_LISTS).collect();
    let carried = |ready: &&Ready<'_>| lists.contains(&(ready.list.worker, ready.list.nth));
    let tasks: Vec<TaskId> = batch.iter().filter(carried).map(|ready| ready.task.id).collect();
    (!tasks.is_empty()).then_some(Action::Settle { deal: deal.id, tasks, lists })
}
