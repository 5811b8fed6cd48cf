//! Which worker gets a task, when it comes back, and what nobody can run.

use super::{
    Action, plan,
    samples::{actions, assigned, here, need, on_terms, reported, set, view},
    why,
};
use crate::{
    presence::{Here, Seen},
    samples::{DURATION, POLICY, START, announced, capacity, shares, worker},
    store::{
        attempt::Outcome,
        sending::{Kind, Sent},
    },
    view::{Fate, Need, Sending, Try, View, Work},
};
use alloy::primitives::{Address, B256};
use berth_protocol::{Amount, Timestamp, task::Task};
use berth_wire::{
    job::Dataset,
    units::{Decimal, Sha256},
    worker::{Capacity, SharedDataset, Shares, Terms},
};
use std::{collections::HashSet, sync::Arc, time::Duration};

fn reason(view: &View) -> String {
    let deal = &view.deals[0];
    why(view, deal, &deal.tasks[0]).first().map(|obstacle| obstacle.reason.clone()).unwrap_or_default()
}

#[test]
fn a_new_deal_is_opened_and_nothing_else_happens_to_it() {
    let mut view = view(&[], &[1]);
    view.deals[0].opened = false;
    assert_eq!(actions(&view), [Action::Open(view.deals[0].id)]);
}

#[test]
fn tasks_go_to_workers_with_a_free_slot_the_least_loaded_first() {
    let mut view = view(&[Task::Open, Task::Open, Task::Open, Task::Assigned(worker(1))], &[1, 2]);
    set(&mut view, 1, |worker| worker.seen = here(capacity(3), shares()));
    assert_eq!(assigned(&view), [(0, worker(2)), (1, worker(1)), (2, worker(1))]);
}

#[test]
fn a_worker_that_has_the_image_comes_before_one_that_would_fetch_it() {
    let mut view = view(&[Task::Open], &[1, 2]);
    let fetches = Capacity { fetches_images: true, slots: 9, ..capacity(9) };
    let none = Shares { images: Vec::new(), ..shares() };
    set(&mut view, 1, |worker| worker.seen = here(fetches, none.clone()));
    assert_eq!(assigned(&view), [(0, worker(2))]);
    set(&mut view, 2, |worker| worker.seen = Seen::Left(Duration::ZERO));
    assert_eq!(assigned(&view), [(0, worker(1))]);
    set(&mut view, 1, |worker| worker.seen = here(capacity(1), none));
    assert_eq!(assigned(&view), []);
    assert_eq!(reason(&view), "it does not have the image render:latest, and fetches none");
}

fn under(view: &mut View, change: &dyn Fn(&mut Terms)) {
    let mut terms = Terms::default();
    change(&mut terms);
    set(view, 1, |worker| worker.seen = on_terms(capacity(1), shares(), terms.clone()));
}

#[test]
fn a_worker_that_takes_nothing_for_a_while_is_waited_for() {
    let mut view = view(&[Task::Open], &[1]);
    view.now = Timestamp::new(START + POLICY.unable_wait_s);
    let is_given_back = |view: &View| actions(view).iter().any(|action| matches!(action, Action::Decline { .. }));
    under(&mut view, &|terms| terms.closed = Some("paused".to_owned()));
    assert!(!is_given_back(&view), "it could run it when it is open again");
    under(&mut view, &|terms| {
        terms.closed = Some("paused".to_owned());
        terms.apps = vec![B256::ZERO];
    });
    assert!(is_given_back(&view), "its owner would never have it");
}

#[test]
fn data_and_packages_are_found_where_they_are() {
    let mut view = view(&[Task::Open], &[1, 2]);
    let datasets = vec![Dataset { name: "genome".to_owned(), sha256: Sha256([7; 32]) }];
    view.deals[0].work = Work::Ready(Arc::new(Need { datasets, packages: vec!["root".to_owned()], ..need() }));
    assert_eq!(assigned(&view), []);
    let genome = SharedDataset { name: "my genome".to_owned(), sha256: Sha256([7; 32]), size: 9 };
    let packages = vec!["geant4".to_owned(), "root".to_owned()];
    let both = Shares { datasets: vec![genome], packages, ..shares() };
    set(&mut view, 2, |worker| worker.seen = here(capacity(1), both.clone()));
    assert_eq!(assigned(&view), [(0, worker(2))]);
}

#[test]
fn every_condition_that_fails_is_told_worker_by_worker() {
    type Change = fn(&mut View);
    let cases: [(Change, &str); 17] = [
        (|view| view.workers.clear(), "no worker is bonded in this pool"),
        (|view| set(view, 1, |w| w.seen = Seen::Left(Duration::ZERO)), "it is not connected"),
        (
            |view| set(view, 1, |w| w.bond.bonded = Amount::new(99)),
            "its bond of 99 does not cover the 100 that the deal asks for",
        ),
        (|view| set(view, 1, |w| w.seen = here(capacity(1), Shares::default())), "it has no engine for docker"),
        (|view| set(view, 1, |w| w.seen = here(capacity(0), shares())), "all 0 slots are taken"),
        (
            |view| set(view, 1, |w| w.seen = here(Capacity { memory_bytes: 5, ..capacity(1) }, shares())),
            "5 bytes of memory are left, and the task needs 268435456",
        ),
        (
            |view| view.deals[0].work = Work::Ready(Arc::new(Need { network: true, ..need() })),
            "it lets no job use the network",
        ),
        (
            |view| view.deals[0].work = Work::Ready(Arc::new(Need { elsewhere: true, ..need() })),
            "it fetches no inputs from the addresses that a job names",
        ),
        (
            |view| {
                let packages = vec!["geant4".to_owned(), "root".to_owned()];
                view.deals[0].work = Work::Ready(Arc::new(Need { packages, ..need() }));
                let shares = Shares { packages: vec!["root".to_owned()], ..shares() };
                set(view, 1, |w| w.seen = here(capacity(1), shares.clone()));
            },
            "it does not have the packages that are needed: geant4 missing",
        ),
        (
            |view| {
                let datasets = vec![Dataset { name: "genome".to_owned(), sha256: Sha256([7; 32]) }];
                view.deals[0].work = Work::Ready(Arc::new(Need { datasets, ..need() }));
            },
            "it does not have the dataset genome (0707070707070707070707070707070707070707070707070707070707070707)",
        ),
        (|view| under(view, &|terms| terms.closed = Some("paused".to_owned())), "it takes no tasks now: paused"),
        (
            |view| under(view, &|terms| terms.refused_requesters = vec![Address::repeat_byte(0xa6)]),
            "its owner takes no jobs of requester 0xa6a6A6a6a6a6A6A6A6a6A6a6a6a6a6a6a6a6a6A6",
        ),
        (
            |view| under(view, &|terms| terms.apps = vec![B256::ZERO]),
            "its owner takes no jobs of app 0x0000000000000000000000000000000000000000000000000000000000000001",
        ),
        (
            |view| under(view, &|terms| terms.min_price = Decimal(1_001)),
            "its owner takes nothing below 1001 a task, and the pool gets 1000",
        ),
        (|view| view.deals[0].work = Work::Missing("the input `a`".to_owned()), "it waits for the input `a`"),
        (
            |view| view.deals[0].work = Work::Ready(Arc::new(Need { elements: Some(0), ..need() })),
            "the job has no element for this task",
        ),
        (
            |view| view.now = super::report_by(&view.deals[0].terms),
            "a result would come too late: it has to be here by 1900",
        ),
    ];
    for (change, wanted) in cases {
        let mut view = view(&[Task::Open], &[1]);
        assert_eq!(reason(&view), "", "without the change, nothing is in the way");
        change(&mut view);
        assert_eq!(reason(&view), wanted);
        assert_eq!(assigned(&view), [], "{wanted}");
    }
}

#[test]
fn money_on_its_way_back_counts_while_it_is_not_released_before_the_last_punish_time() {
    let mut view = view(&[Task::Open], &[1]);
    let punish = view.deals[0].terms.deadlines().punish;
    set(&mut view, 1, |worker| {
        worker.bond.bonded = Amount::ZERO;
        worker.bond.unbonding = Amount::new(100);
        worker.bond.release_at = punish;
    });
    assert_eq!(assigned(&view), []);
    set(&mut view, 1, |worker| worker.bond.release_at = punish.plus(1));
    assert_eq!(assigned(&view), [(0, worker(1))]);
}

#[test]
fn a_worker_that_declined_or_was_late_does_not_get_the_task_again_but_one_that_was_lost_does() {
    let tried = |outcomes: &[Outcome]| {
        let mut view = view(&[Task::Open], &[1]);
        let attempt = |outcome: &Outcome| Try {
            since: Timestamp::new(START),
            worker: worker(1),
            received: true,
            outcome: Some(*outcome),
            detail: Some("policy: no".to_owned()),
        };
        view.deals[0].tasks[0].tries = outcomes.iter().map(attempt).collect();
        (assigned(&view).len(), reason(&view))
    };
    assert_eq!(tried(&[Outcome::Declined]), (0, "it does not want this task: policy: no".to_owned()));
    assert_eq!(tried(&[Outcome::Late]), (0, "it took too long for this task".to_owned()));
    assert_eq!(tried(&[Outcome::Lost, Outcome::Dropped]).0, 1);
    assert_eq!(tried(&[Outcome::Lost; 3]), (0, "it was lost with this task 3 times".to_owned()));
}

fn released(view: &View) -> Option<Outcome> {
    actions(view)
        .into_iter()
        .find_map(|action| if let Action::Release { outcome, .. } = action { Some(outcome) } else { None })
}

#[test]
fn a_task_comes_back_when_its_worker_is_gone_for_too_long() {
    let mut view = view(&[Task::Assigned(worker(1))], &[1]);
    assert_eq!(released(&view), None);
    for (seen, wanted) in [
        (Seen::Left(Duration::from_millis(2_999)), None),
        (Seen::Left(Duration::from_secs(3)), Some(Outcome::Lost)),
        (Seen::Never(Duration::from_secs(5)), None),
        (Seen::Never(Duration::from_secs(6)), Some(Outcome::Lost)),
    ] {
        set(&mut view, 1, |worker| worker.seen = seen.clone());
        assert_eq!(released(&view), wanted, "{seen:?}");
        let again = plan(&view, &POLICY).again_in;
        assert_eq!(again.is_some(), wanted.is_none(), "the plan says when to look again");
    }
}

#[test]
fn a_task_comes_back_from_a_worker_that_does_not_hold_it_or_takes_too_long() {
    let mut view = view(&[Task::Assigned(worker(1))], &[1]);
    let held = |tasks: HashSet<_>| {
        let announced = Arc::new(announced(capacity(1), shares(), Terms::default()));
        Seen::Here(Here { announced, holding: Some(Arc::new(tasks)) })
    };
    let id = view.deals[0].tasks[0].id;
    let attempt =
        |received| Try { worker: worker(1), since: Timestamp::new(START), received, outcome: None, detail: None };
    view.deals[0].tasks[0].tries = vec![attempt(false)];
    set(&mut view, 1, |worker| worker.seen = held(HashSet::new()));
    assert_eq!(released(&view), None, "the worker may not have heard of it yet");
    view.deals[0].tasks[0].tries = vec![attempt(true)];
    assert_eq!(released(&view), Some(Outcome::Dropped));
    set(&mut view, 1, |worker| worker.seen = held(HashSet::from([id])));
    assert_eq!(released(&view), None);
    view.now = Timestamp::new(START + 3 * u64::from(DURATION));
    assert_eq!(released(&view), None);
    view.now = view.now.plus(1);
    assert_eq!(released(&view), Some(Outcome::Late));
}

#[test]
fn a_worker_never_stands_for_more_results_than_its_list_can_hold() {
    let mut tasks = vec![reported(1, 5); 255];
    tasks.extend([Task::Open, Task::Open]);
    let mut view = view(&tasks, &[1]);
    set(&mut view, 1, |worker| worker.seen = here(capacity(9), shares()));
    assert_eq!(assigned(&view), [(255, worker(1))]);
}

#[test]
fn what_nobody_can_run_is_given_back_in_pieces() {
    let mut view = view(&vec![Task::Open; 300], &[1]);
    let id = view.deals[0].id;
    let declined = |view: &View| {
        actions(view).into_iter().find_map(|action| {
            let Action::Decline { deal, indexes, reason } = action else { return None };
            (deal == id).then_some((indexes.len(), reason))
        })
    };
    view.deals[0].work = Work::Impossible("no way".to_owned());
    assert_eq!(declined(&view), Some((256, "no way".to_owned())));
    view.deals[0].work = Work::Missing("the job document".to_owned());
    assert_eq!(declined(&view), None, "the requester has time");
    view.now = Timestamp::new(START + POLICY.job_wait_s + 1);
    assert_eq!(declined(&view), Some((256, "the job document never came".to_owned())));
    view.now = view.deals[0].terms.deadlines().close.plus(1);
    assert_eq!(declined(&view), None, "the contract takes no decline any more");
    view.now = Timestamp::new(START);
    view.deals[0].work = Work::Ready(Arc::new(Need { elements: Some(299), ..need() }));
    assert_eq!(declined(&view), Some((1, "the job has no element for this task".to_owned())));
    let sent = Sent { key: "d".to_owned(), deal: id, kind: Kind::Decline };
    view.sendings = vec![Sending { sent, fate: Fate::Pending }];
    assert_eq!(declined(&view), None, "it is on its way");
    assert_eq!(assigned(&view), [], "what is being given back is not given out");
}

#[test]
fn what_no_worker_here_could_run_is_given_back_while_the_stake_comes_back() {
    let declined = |view: &View| actions(view).iter().filter(|a| matches!(a, Action::Decline { .. })).count();
    let at = |view: &mut View, after: u64| {
        view.now = Timestamp::new(START + after);
        declined(view)
    };
    let mut view = view(&[Task::Open], &[1, 2]);
    set(&mut view, 2, |worker| worker.seen = Seen::Left(Duration::ZERO));
    assert_eq!(at(&mut view, 99), 0, "one could");
    set(&mut view, 1, |worker| worker.seen = here(Capacity { memory_bytes: 5, ..capacity(1) }, shares()));
    assert_eq!(at(&mut view, 19), 0, "another may come");
    assert_eq!(at(&mut view, 20), 1);
    assert_eq!(at(&mut view, 100), 1);
    assert_eq!(at(&mut view, 101), 0, "the stake would be burnt now as in a claim, and somebody may still come");
    set(&mut view, 1, |worker| worker.seen = Seen::Left(Duration::ZERO));
    assert_eq!(at(&mut view, 79), 0, "nobody is here, but somebody may come back");
    assert_eq!(at(&mut view, 80), 1);
    let busy = self::view(&[Task::Assigned(worker(1)), Task::Open], &[1]);
    assert_eq!(declined(&View { now: Timestamp::new(START + 99), ..busy }), 0, "a busy worker will have time");
}
