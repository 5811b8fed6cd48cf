//! New deals get their tasks; what nobody can ever run is given back.

use super::{Action, Plan, Policy, may_retry};
use crate::{
    store::sending::Kind,
    view::{Deal, View, Work},
};
use berth_protocol::{Timestamp, task::Task};

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
    let patience = Timestamp::new(deal.terms.start).plus(policy.job_wait_s);
    let (from, reason) = match &deal.work {
        Work::Impossible(reason) => (0, reason.clone()),
        Work::Missing(what) if view.now > patience => (0, format!("{what} never came")),
        Work::Missing(_) => return None,
        // Task i of a request gets element i.
        Work::Ready(need) => (need.elements?, "the job has no element for this task".to_owned()),
    };
    if deal.is_sending(view, Kind::Decline) {
        return None;
    }
    let indexes: Vec<u32> = deal
        .tasks
        .iter()
        .filter(|task| task.task == Task::Open && task.index as usize >= from)
        .map(|task| task.index)
        .take(MAX_DECLINED)
        .collect();
    (!indexes.is_empty()).then_some(Action::Decline { deal: deal.id, indexes, reason })
}
