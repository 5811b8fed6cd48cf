//! When results are settled, and deals claimed.

use super::{
    Action, plan,
    samples::{actions, list, reported, set, view},
};
use crate::{
    samples::{self, POLICY, digest, worker},
    store::sending::{Kind, Sent},
    view::{Fate, Sending, View},
};
use berth_protocol::{
    Amount, WorkerAddr,
    task::{Answer, Task},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A settlement: the tasks' indexes, and the lists.
type Settlement = (Vec<u32>, Vec<(WorkerAddr, u32)>);

fn settled(view: &View) -> Vec<Settlement> {
    let all = &view.deals[0].tasks;
    let index = |id| all.iter().find(|task| task.id == id).expect("of the deal").index;
    actions(view)
        .into_iter()
        .filter_map(|action| {
            let Action::Settle { tasks, lists, .. } = action else { return None };
            Some((tasks.into_iter().map(index).collect(), lists))
        })
        .collect()
}

#[test]
fn a_settlement_goes_out_when_all_is_in_or_a_batch_is_full_or_the_wait_is_over() {
    let mut view = view(&[reported(1, 5), reported(2, 6), Task::Assigned(worker(1))], &[1, 2]);
    view.deals[0].lists = vec![list(1, 1, &[(0, 5)]), list(2, 4, &[(1, 6)])];
    assert_eq!(settled(&view), [], "a third is to come");
    assert_eq!(plan(&view, &POLICY).again_in, Some(Duration::from_secs(29)));
    let both = (vec![0, 1], vec![(worker(1), 1), (worker(2), 4)]);
    view.now_ms = 31_000;
    assert_eq!(settled(&view), std::slice::from_ref(&both), "the wait is over");
    let sent = Sent { key: "s".to_owned(), deal: view.deals[0].id, kind: Kind::Settle };
    view.sendings = vec![Sending { sent, fate: Fate::Pending }];
    assert_eq!(settled(&view), [], "what is under way makes room for a bigger one");
    view.deals[0].tasks.pop();
    assert_eq!(settled(&view), [both], "all is in");
    view.now_ms = 2_000;
    view.deals[0].tasks =
        self::view(&[reported(1, 5), reported(1, 6), reported(1, 7), Task::Open], &[]).deals[0].tasks.clone();
    view.deals[0].lists = vec![list(1, 1, &[(0, 5), (1, 6), (2, 7)])];
    view.deals[0].terms = Arc::new(samples::terms(4));
    assert_eq!(settled(&view).len(), 1, "a batch is full");
}

#[test]
fn only_lists_that_may_be_sent_and_whose_bond_covers_are_sent() {
    let mut view = view(&[reported(1, 5)], &[1]);
    assert_eq!(settled(&view), [], "no list");
    view.deals[0].lists = vec![list(1, 1, &[(0, 6)])];
    assert_eq!(settled(&view), [], "a list that says something else");
    view.deals[0].lists = vec![list(1, 1, &[(0, 5)]), list(1, 3, &[(0, 5)])];
    assert_eq!(settled(&view), [(vec![0], vec![(worker(1), 3)])], "the latest");
    set(&mut view, 1, |worker| worker.bond.bonded = Amount::new(99));
    assert_eq!(settled(&view), [], "the contract would leave it out");
    set(&mut view, 1, |worker| worker.bond.bonded = Amount::new(100));
    view.now = view.deals[0].terms.deadlines().settle.plus(1);
    assert_eq!(settled(&view), [], "too late");
}

#[test]
fn what_came_to_nothing_is_recalled_and_tried_again_after_a_pause_that_grows() {
    let mut view = view(&[Task::Settling(Answer { worker: worker(1), digest: digest(5) })], &[1]);
    let id = view.deals[0].id;
    let sent = Sent { key: "sent".to_owned(), deal: id, kind: Kind::Settle };
    let with = |view: &mut View, fate: Fate| {
        view.sendings = vec![Sending { sent: sent.clone(), fate }];
        actions(view)
    };
    assert_eq!(with(&mut view, Fate::Pending), []);
    let failed = |reason: &str| [Action::Fail { key: "sent".to_owned(), reason: reason.to_owned() }];
    assert_eq!(with(&mut view, Fate::Failed("no".to_owned())), failed("no"));
    let short = "the contract left it out: the worker's bond did not cover the deal";
    assert_eq!(with(&mut view, Fate::Mined), failed(short), "mined, but the task is still open");
    view.deals[0].tasks[0].task = reported(1, 5);
    view.deals[0].tasks[0].settlement = None;
    assert_eq!(with(&mut view, Fate::Final), [Action::Finish { key: "sent".to_owned() }]);
    view.sendings.clear();
    view.deals[0].lists = vec![list(1, 1, &[(0, 5)])];
    for (count, pause) in [(1, 2), (3, 8), (30, 300), (200, 300)] {
        view.deals[0].failures = BTreeMap::from([(Kind::Settle, (count, view.now))]);
        let at = |seconds: u64| View { now: view.now.plus(seconds), ..view.clone() };
        assert_eq!(settled(&at(pause - 1)).len(), 0);
        assert_eq!(settled(&at(pause)).len(), 1);
    }
}

#[test]
fn a_deal_is_claimed_once_after_its_final_deadline() {
    let mut view = view(&[Task::Open, reported(1, 5), Task::Assigned(worker(2))], &[1, 2]);
    let id = view.deals[0].id;
    let claims = |view: &View| actions(view).into_iter().filter(|action| *action == Action::Claim(id)).count();
    view.now = view.deals[0].terms.deadlines().settle;
    assert_eq!(claims(&view), 0, "the deadline is inclusive");
    view.now = view.now.plus(1);
    assert_eq!(claims(&view), 1);
    let sent = Sent { key: "c".to_owned(), deal: id, kind: Kind::Claim };
    view.sendings = vec![Sending { sent, fate: Fate::Pending }];
    assert_eq!(claims(&view), 0);
}
