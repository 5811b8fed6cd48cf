//! What no plan ever does, whatever the view.

use super::{
    Action, plan,
    samples::{actions, assigned, here, set, view},
    why,
};
use crate::{
    presence::Seen,
    samples::{self, DURATION, POLICY, START, capacity, digest, shares, worker},
    store::sending::{Kind, Sent},
    view::{CleanList, Fate, Sending, View},
};
use berth_protocol::{
    Amount, Timestamp, WorkerAddr,
    task::{Answer, Task},
};
use berth_wire::worker::Shares;
use proptest::prelude::*;
use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

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
                    prop_assert!(here.shares().has(&samples::image()));
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
                prop_assert!(running(*address) <= here.capacity().slots as usize);
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
