//! What the plans decide, case by case, and what they never do.

use super::{Action, Policy, plan, why};
use crate::{
    presence::{Here, Seen},
    samples::{self, DURATION, START, capacity, digest, shares, worker},
    store::{
        attempt::Outcome,
        bond::Bond,
        sending::{Kind, Sent},
    },
    view::{CleanList, Deal, Fate, Need, Replicas, Sending, TaskState, Try, View, Work, Worker},
};
use berth_protocol::{
    AccountAddr, Amount, Timestamp, WorkerAddr,
    task::{Answer, Task},
};
use berth_wire::{descriptor::Runtime, worker::Capacity, worker::Shares};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

pub(super) const POLICY: Policy = Policy {
    settle_batch: 3,
    settle_wait: Duration::from_secs(30),
    reconnect_grace: Duration::from_secs(3),
    silence: Duration::from_secs(6),
    job_wait_s: 60,
    unable_wait_s: 20,
    round_size: 3,
    round_wait: Duration::from_secs(5),
    confirmations: 1,
    reveal_wait: Duration::from_secs(10),
};

pub(super) fn need() -> Need {
    Need {
        runtime: Runtime::Docker,
        image: Some(samples::image()),
        cpu_millis: 1_000,
        memory_bytes: 256 << 20,
        disk_bytes: 64 << 20,
        network: false,
        elements: None,
    }
}

pub(super) fn here(capacity: Capacity, shares: Shares) -> Seen {
    Seen::Here(Here { capacity, shares: Arc::new(shares), holding: None })
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
fn view(tasks: &[Task], workers: &[u8]) -> View {
    let terms = samples::terms(u32::try_from(tasks.len()).expect("few"));
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
        workers: workers.iter().map(|n| bonded(worker(*n), here(capacity(1), shares()))).collect(),
        sendings: Vec::new(),
        mail: Vec::new(),
    }
}

fn actions(view: &View) -> Vec<Action> {
    plan(view, &POLICY).actions
}

fn assigned(view: &View) -> Vec<(u32, WorkerAddr)> {
    let index = |id| view.deals.iter().flat_map(|deal| &deal.tasks).find(|task| task.id == id).map(|task| task.index);
    actions(view)
        .into_iter()
        .filter_map(|action| {
            let Action::Assign { task, worker } = action else { return None };
            index(task).map(|index| (index, worker))
        })
        .collect()
}

fn reason(view: &View) -> String {
    let deal = &view.deals[0];
    why(view, deal, &deal.tasks[0]).first().map(|obstacle| obstacle.reason.clone()).unwrap_or_default()
}

fn set(view: &mut View, n: u8, change: impl FnOnce(&mut Worker)) {
    change(view.workers.get_mut(&worker(n)).expect("one of the workers"));
}

fn reported(n: u8, value: u8) -> Task {
    Task::Reported(Answer { worker: worker(n), digest: digest(value) })
}

fn list(n: u8, nth: u32, entries: &[(u32, u8)]) -> CleanList {
    let entries = entries.iter().map(|(index, value)| (*index, digest(*value))).collect();
    CleanList { worker: worker(n), nth, entries }
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

#[test]
fn every_condition_that_fails_is_told_worker_by_worker() {
    type Change = fn(&mut View);
    let cases: [(Change, &str); 10] = [
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
        Seen::Here(Here { capacity: capacity(1), shares: Arc::new(shares()), holding: Some(Arc::new(tasks)) })
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

fn any_task() -> impl Strategy<Value = Task> {
    let answer = (1_u8..5, 1_u8..4).prop_map(|(n, value)| Answer { worker: worker(n), digest: digest(value) });
    prop_oneof![
        3 => Just(Task::Open),
        2 => (1_u8..5).prop_map(|n| Task::Assigned(worker(n))),
        3 => answer.clone().prop_map(Task::Reported),
        1 => answer.prop_map(Task::Settling),
    ]
}

prop_compose! {
    fn any_view()(
        tasks in proptest::collection::vec(any_task(), 1..24),
        slots in proptest::collection::vec((0_u32..4, 0_u128..200, any::<bool>(), any::<bool>()), 4),
        clean in any::<bool>(),
        after in 0_u64..1_200,
        pending in any::<bool>(),
    ) -> View {
        let mut view = view(&tasks, &[1, 2, 3, 4]);
        for (n, (slots, bond, connected, has_image)) in (1..).zip(slots) {
            set(&mut view, n, |worker| {
                worker.bond.bonded = Amount::new(bond);
                let shares = if has_image { shares() } else { Shares { images: Vec::new(), ..shares() } };
                worker.seen = if connected { here(capacity(slots), shares) } else { Seen::Left(Duration::from_secs(1)) };
            });
        }
        if clean {
            let of = |n: u8| {
                let own = (0..).zip(&tasks).filter_map(|(index, task)| {
                    let Task::Reported(answer) = task else { return None };
                    (answer.worker == worker(n)).then_some((index, answer.digest))
                });
                CleanList { worker: worker(n), nth: 1, entries: own.collect() }
            };
            view.deals[0].lists = (1..5).map(of).filter(|list| !list.entries.is_empty()).collect();
        }
        view.now = Timestamp::new(START + after);
        if pending {
            let sent = Sent { key: "sent".to_owned(), deal: view.deals[0].id, kind: Kind::Settle };
            view.sendings = vec![Sending { sent, fate: Fate::Pending }];
        }
        view
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever the state, a plan asks only for what the state allows, and for each task at most one thing.
    #[test]
    fn a_plan_asks_for_nothing_that_the_state_refuses(view in any_view()) {
        let deal = &view.deals[0];
        let find = |id| deal.tasks.iter().find(|task| task.id == id).expect("a task of the deal");
        let mut touched = BTreeSet::new();
        for action in actions(&view) {
            match action {
                Action::Assign { task, worker } => {
                    prop_assert_eq!(find(task).task, Task::Open);
                    prop_assert!(touched.insert(task));
                    let chosen = &view.workers[&worker];
                    prop_assert!(chosen.bond.bonded.units() >= deal.terms.workerStake);
                    let Seen::Here(here) = &chosen.seen else { panic!("only connected workers get tasks") };
                    prop_assert!(here.shares.has(&samples::image()));
                    prop_assert!(view.now.plus(u64::from(DURATION)) <= super::report_by(&deal.terms));
                }
                Action::Release { task, worker, .. } => {
                    prop_assert_eq!(find(task).task, Task::Assigned(worker));
                    prop_assert!(touched.insert(task));
                }
                Action::Settle { tasks, lists, .. } => {
                    prop_assert!(tasks.len() <= POLICY.settle_batch);
                    prop_assert!(view.now <= deal.terms.deadlines().settle);
                    for id in tasks {
                        let Task::Reported(answer) = find(id).task else { panic!("only reported tasks are settled") };
                        prop_assert!(touched.insert(id), "a task is in one settlement only");
                        prop_assert!(lists.iter().any(|(worker, _)| *worker == answer.worker));
                    }
                }
                Action::Claim(_) => prop_assert!(view.now > deal.terms.deadlines().settle),
                Action::Decline { indexes, .. } => {
                    prop_assert!(view.now <= deal.terms.stake_returns_until());
                    for index in indexes {
                        prop_assert_eq!(deal.tasks[index as usize].task, Task::Open);
                        prop_assert!(touched.insert(deal.tasks[index as usize].id));
                    }
                }
                other @ (Action::Open(_)
                | Action::Fail { .. }
                | Action::Finish { .. }
                | Action::Agree(_)
                | Action::Disagree(_)
                | Action::Ask(_)
                | Action::Close { .. }
                | Action::Show { .. }
                | Action::ShowAppended { .. }
                | Action::Weigh { .. }
                | Action::Append { .. }
                | Action::SettleRound { .. }
                | Action::SettleOne(_)
                | Action::Punish { .. }
                | Action::Forget(_)) => panic!("nothing calls for {other:?}"),
            }
        }
        let running = |worker: WorkerAddr| {
            let assigned = deal.tasks.iter().filter(|task| task.task == Task::Assigned(worker)).count();
            assigned + assigned_to(&view, worker)
        };
        for (address, worker) in &view.workers {
            if let Seen::Here(here) = &worker.seen
                && assigned_to(&view, *address) > 0
            {
                prop_assert!(running(*address) <= here.capacity.slots as usize);
            }
        }
    }

    /// Nothing waits that a free worker could take.
    #[test]
    fn no_task_waits_beside_a_worker_that_could_take_it(view in any_view()) {
        let given: HashSet<u32> = assigned(&view).into_iter().map(|(index, _)| index).collect();
        let mut after = view.clone();
        for (index, worker) in assigned(&view) {
            after.deals[0].tasks[index as usize].task = Task::Assigned(worker);
        }
        for task in after.deals[0].tasks.iter().filter(|task| task.task == Task::Open) {
            prop_assert!(!given.contains(&task.index));
            let obstacles = why(&after, &after.deals[0], task);
            let told: HashSet<_> = obstacles.iter().filter_map(|obstacle| obstacle.worker).collect();
            let everybody = obstacles.iter().any(|obstacle| obstacle.worker.is_none());
            prop_assert!(everybody || after.workers.keys().all(|worker| told.contains(&worker.get())));
        }
    }

    /// The same view gives the same plan.
    #[test]
    fn a_plan_depends_on_nothing_but_the_view(view in any_view()) {
        prop_assert_eq!(plan(&view, &POLICY), plan(&view.clone(), &POLICY));
    }
}

fn assigned_to(view: &View, worker: WorkerAddr) -> usize {
    assigned(view).iter().filter(|(_, to)| *to == worker).count()
}
