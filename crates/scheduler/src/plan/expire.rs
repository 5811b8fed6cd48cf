//! What nobody settled in time goes back to whoever paid.

use super::{Action, Plan, may_retry};
use crate::{store::sending::Kind, view::View};

pub(super) fn plan(view: &View, plan: &mut Plan) {
    for deal in &view.deals {
        let over = view.now > deal.terms.deadlines().settle;
        // Where the tasks were never made, they are all open.
        let open = !deal.opened || !deal.tasks.is_empty();
        if over && open && !deal.is_sending(view, Kind::Claim) && may_retry(deal, Kind::Claim, view) {
            plan.actions.push(Action::Claim(deal.id));
        }
    }
}
