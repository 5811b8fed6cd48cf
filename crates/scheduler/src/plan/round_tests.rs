//! What the plans decide about replicated tasks.

use super::{
    Action, plan,
    samples::{bonded, here, need, view_of},
    why,
};
use crate::{
    presence::Seen,
    samples::{self, POLICY, START, capacity, digest, shares, worker},
    store::{
        attempt::Outcome,
        commitment::Commitment,
        pair::Pair,
        sending::{Kind, Sent},
    },
    view::{Fate, Hidden, Need, Record, Round, Sending, Try, View, Work},
};
use alloy::primitives::B256;
use berth_protocol::{
    AccountAddr, Amount, DealTerms, Failure, Timestamp, WorkerAddr,
    round::{ClosedRound, LeftOut, tag},
    task::{Replicated, Task},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A view of one deal of trust 5, whose tasks stand so, with these workers of as many owners.
fn view(tasks: &[Task], workers: &[u8]) -> View {
    let terms = DealTerms { trust: 5, ..samples::terms(u32::try_from(tasks.len()).expect("few")) };
    view_of(terms, tasks, workers.iter().map(|n| rich(*n)).collect())
}

fn rich(n: u8) -> (WorkerAddr, crate::view::Worker) {
    let (address, mut worker) = bonded(worker(n), here(capacity(4), shares()));
    worker.bond.bonded = Amount::new(1_000);
    (address, worker)
}

const GATHERING: Task = Task::Replicated(Replicated::Gathering);
const COMMITTED: Task = Task::Replicated(Replicated::Committed);
const CLOSED: Task = Task::Replicated(Replicated::Closed);

fn hidden(view: &View, task: usize, n: u8, value: u8) -> Hidden {
    let id = view.deals[0].tasks[task].id;
    let answer = Commitment {
        task: id,
        worker: worker(n),
        commitment: B256::repeat_byte(n),
        tag: tag(id, digest(value)),
        seed_hash: B256::repeat_byte(n),
        signature: vec![0; 65],
        since_ms: 1_500,
    };
    Hidden { answer, is_spent: false }
}

/// Has workers answer a task so.
fn answer(view: &mut View, task: usize, answers: &[(u8, u8)]) {
    let all = answers.iter().map(|(n, value)| hidden(view, task, *n, *value)).collect();
    view.deals[0].tasks[task].replicas.commitments = all;
}

fn run(view: &mut View, task: usize, n: u8) {
    let since = Timestamp::new(START);
    let attempt = Try { worker: worker(n), since, received: true, outcome: None, detail: None };
    view.deals[0].tasks[task].tries.push(attempt);
}

/// Has a round close a task with these answers; those with a value are opened.
fn close(view: &mut View, task: usize, pairs: &[(u8, Option<u8>)]) {
    let state = &mut view.deals[0].tasks[task];
    state.replicas.round = Some("round".to_owned());
    let pair = |(nth, (n, value)): (u32, &(u8, Option<u8>))| Pair {
        task: state.id,
        nth,
        worker: worker(*n),
        commitment: B256::repeat_byte(*n),
        tag: tag(state.id, digest(value.unwrap_or(5))),
        seed_hash: B256::repeat_byte(*n),
        signature: vec![0; 65],
        chain: B256::repeat_byte(*n),
        append: None,
        appended: None,
        shown_ms: None,
        digest: value.map(digest),
    };
    state.replicas.pairs = (0..).zip(pairs).map(pair).collect();
    let closed = Arc::new(ClosedRound { root: B256::repeat_byte(1), closed: Vec::new() });
    view.rounds.insert("round".to_owned(), Round { closed, block: Some(9), shown_ms: Some(1_900) });
}

fn actions(view: &View) -> Vec<Action> {
    plan(view, &POLICY).actions
}

fn assigned(view: &View) -> Vec<WorkerAddr> {
    let to = |action| if let Action::Assign { worker, .. } = action { Some(worker) } else { None };
    actions(view).into_iter().filter_map(to).collect()
}

#[test]
fn as_many_workers_are_called_in_as_trust_and_their_scores_need_each_of_another_owner() {
    let mut view = view(&[Task::Open], &[1, 2, 3, 4, 5]);
    assert_eq!(assigned(&view), [worker(1), worker(2), worker(3)], "three fresh workers reach 8");
    let owner = AccountAddr::new(worker(1).get());
    view.workers.get_mut(&worker(2)).expect("there").bond.owner = owner;
    assert_eq!(assigned(&view), [worker(1), worker(3), worker(4)], "two of one owner are one");
    view.workers.get_mut(&worker(1)).expect("there").bond.score = 60;
    assert_eq!(assigned(&view), [worker(1)], "one with a record of 60 weighs 19");
}

#[test]
fn what_is_under_way_counts_and_whoever_is_gone_is_replaced() {
    let mut view = view(&[GATHERING], &[1, 2, 3, 4, 5]);
    run(&mut view, 0, 1);
    answer(&mut view, 0, &[(2, 5)]);
    assert_eq!(assigned(&view), [worker(3)]);
    view.workers.get_mut(&worker(1)).expect("there").seen = Seen::Left(Duration::from_secs(4));
    let lost = Action::Release { task: view.deals[0].tasks[0].id, worker: worker(1), outcome: Outcome::Lost };
    assert!(actions(&view).contains(&lost));
    view.deals[0].tasks[0].tries[0].outcome = Some(Outcome::Lost);
    assert_eq!(assigned(&view), [worker(3), worker(4)]);
}

#[test]
fn nobody_begins_what_too_few_owners_are_there_for_and_it_says_so() {
    let view = view(&[Task::Open], &[1, 2]);
    assert_eq!(assigned(&view), []);
    let obstacles = why(&view, &view.deals[0], &view.deals[0].tasks[0]);
    let reason = &obstacles.first().expect("a reason").reason;
    assert!(reason.starts_with("2 of 3 owners needed"), "{reason}");
}

#[test]
fn open_answers_stay_within_the_bond_and_one_is_always_taken() {
    let mut view = view(&[Task::Open, Task::Open, Task::Open], &[1, 2, 3]);
    for worker in view.workers.values_mut() {
        worker.bond.bonded = Amount::new(200);
    }
    assert_eq!(assigned(&view).len(), 6, "two stakes of 100 each");
    answer(&mut view, 0, &[(1, 5), (2, 5), (3, 5)]);
    view.deals[0].tasks[0].task = COMMITTED;
    assert_eq!(assigned(&view).len(), 3, "what is committed counts");
    for worker in view.workers.values_mut() {
        worker.bond.bonded = Amount::new(100);
    }
    assert_eq!(assigned(&view).len(), 0);
    view.workers.get_mut(&worker(1)).expect("there").bond.bonded = Amount::new(99);
    let task = &view.deals[0].tasks[1];
    let told = why(&view, &view.deals[0], task);
    let uncovered = |reason: &str| reason.contains("does not cover");
    assert!(told.iter().any(|told| told.worker == Some(worker(1).get()) && uncovered(&told.reason)), "{told:?}");
}

#[test]
fn answers_that_agree_are_committed_and_those_that_do_not_call_in_more() {
    let mut view = view(&[GATHERING], &[1, 2, 3, 4, 5]);
    let task = view.deals[0].tasks[0].id;
    answer(&mut view, 0, &[(1, 5), (2, 5), (3, 5)]);
    assert_eq!(actions(&view), [Action::Agree(task)]);
    answer(&mut view, 0, &[(1, 5), (2, 6), (3, 5)]);
    assert_eq!(assigned(&view), [worker(4), worker(5)], "four against one");
    view.deals[0].tasks[0].task = COMMITTED;
    assert_eq!(actions(&view), [Action::Disagree(task)]);
    view.deals[0].tasks[0].task = GATHERING;
    answer(&mut view, 0, &[(1, 5), (2, 6), (3, 7), (4, 8), (5, 9)]);
    assert_eq!(actions(&view), []);
    view.now_ms += 20_000;
    assert_eq!(actions(&view), [Action::Ask(task)], "nobody is left");
    view.deals[0].tasks[0].replicas.asked = true;
    assert_eq!(actions(&view), []);
    view.now_ms += 60_000;
    assert!(matches!(&actions(&view)[..], [Action::Decline { .. }]), "nor do they agree on that");
}

#[test]
fn what_all_have_given_up_before_anybody_answered_is_given_back() {
    let mut view = view(&[GATHERING], &[1, 2, 3]);
    (1..=3).for_each(|n| run(&mut view, 0, n));
    view.now = Timestamp::new(START + POLICY.unable_wait_s);
    let declines = |view: &View| actions(view).iter().any(|action| matches!(action, Action::Decline { .. }));
    assert!(!declines(&view), "they are at it");
    let tries = &mut view.deals[0].tasks[0].tries;
    tries.iter_mut().for_each(|attempt| attempt.outcome = Some(Outcome::Declined));
    assert!(declines(&view));
    view.now = Timestamp::new(START + POLICY.unable_wait_s - 1);
    assert!(!declines(&view), "another worker may come");
    view.now = Timestamp::new(START + POLICY.unable_wait_s);
    view.deals[0].tasks[0].tries.iter_mut().for_each(|attempt| attempt.outcome = Some(Outcome::Lost));
    assert!(!declines(&view), "those who were lost may do it yet");
}

#[test]
fn a_round_takes_what_is_ready_and_one_seed_of_each_worker() {
    let mut view = view(&[COMMITTED, COMMITTED, COMMITTED, GATHERING], &[1, 2, 3, 4]);
    for task in 0..3 {
        answer(&mut view, task, &[(1, 5), (2, 5), (3, 5)]);
    }
    run(&mut view, 3, 1);
    run(&mut view, 3, 2);
    run(&mut view, 3, 3);
    view.deals[0].tasks[1].replicas.commitments[0].answer.seed_hash = B256::repeat_byte(9);
    let tasks = |view: &View| {
        let tasks = |action| if let Action::Close { tasks } = action { Some(tasks) } else { None };
        let closed = actions(view).into_iter().find_map(tasks);
        closed.unwrap_or_default().into_iter().map(|(task, _)| task).collect::<Vec<_>>()
    };
    let ids: Vec<_> = view.deals[0].tasks.iter().map(|task| task.id).collect();
    assert_eq!(tasks(&view), [ids[0], ids[2]], "a full round, but for the one under another seed");
    view.deals[0].tasks[2].task = GATHERING;
    view.now_ms = 5_900;
    assert_eq!(tasks(&view), [], "another may come");
    view.now_ms = 6_000;
    assert_eq!(tasks(&view), [ids[0]], "the wait is over");
    view.deals[0].tasks[0].replicas.commitments[0].is_spent = true;
    assert!(!tasks(&view).contains(&ids[0]), "its seed went into another round");
}

#[test]
fn a_closed_round_is_shown_when_it_is_deep_enough() {
    let mut view = view(&[CLOSED], &[1, 2, 3]);
    close(&mut view, 0, &[(1, None), (2, None), (3, None)]);
    view.rounds.get_mut("round").expect("there").shown_ms = None;
    let policy = super::Policy { confirmations: 3, ..POLICY };
    assert_eq!(plan(&view, &policy).actions, []);
    view.block = 11;
    assert_eq!(plan(&view, &policy).actions, [Action::Show { round: "round".to_owned() }]);
}

#[test]
fn what_is_revealed_and_delivered_is_settled_once_all_have_opened_or_the_wait_is_over() {
    let mut view = view(&[CLOSED], &[1, 2, 3, 4, 5]);
    let (deal, task) = (view.deals[0].id, view.deals[0].tasks[0].id);
    close(&mut view, 0, &[(1, Some(5)), (2, Some(5)), (3, Some(5)), (4, Some(5)), (5, None)]);
    assert_eq!(actions(&view), [], "nobody has delivered it");
    view.deals[0].tasks[0].replicas.delivered = vec![digest(5)];
    assert_eq!(actions(&view), [Action::Weigh { task, digest: digest(5) }]);
    view.deals[0].tasks[0].task = Task::Replicated(Replicated::Revealed(digest(5)));
    assert_eq!(actions(&view), [], "the fifth may still open");
    let settled = Action::SettleRound { deal, round: "round".to_owned(), tasks: vec![task] };
    view.now_ms = 11_900;
    assert_eq!(actions(&view), std::slice::from_ref(&settled));
    view.now_ms = 2_000;
    view.deals[0].tasks[0].replicas.pairs[4].digest = Some(digest(6));
    assert_eq!(actions(&view), [settled], "all have opened, one to a lie");
    view.deals[0].failures = BTreeMap::from([(Kind::Settle, (1, view.now))]);
    assert_eq!(actions(&view), [], "it came to nothing a moment ago");
}

#[test]
fn a_sealed_result_is_waited_for_from_each_worker_that_has_it() {
    let mut view = view(&[CLOSED], &[1, 2, 3, 4, 5]);
    view.deals[0].work = Work::Ready(Arc::new(Need { sealed: true, ..need() }));
    let (deal, task) = (view.deals[0].id, view.deals[0].tasks[0].id);
    close(&mut view, 0, &[(1, Some(5)), (2, Some(5)), (3, Some(5)), (4, Some(5)), (5, Some(6))]);
    view.deals[0].tasks[0].task = Task::Replicated(Replicated::Revealed(digest(5)));
    view.deals[0].tasks[0].replicas.delivered = vec![digest(5), digest(5), digest(5), digest(6)];
    assert_eq!(actions(&view), [], "the fourth worker's is not here");
    let settled = Action::SettleRound { deal, round: "round".to_owned(), tasks: vec![task] };
    view.now_ms = 11_900;
    assert_eq!(actions(&view), std::slice::from_ref(&settled), "it had its time");
    view.now_ms = 2_000;
    view.deals[0].tasks[0].replicas.delivered.push(digest(5));
    assert_eq!(actions(&view), [settled]);
}

#[test]
fn a_failure_needs_no_delivery() {
    let mut view = view(&[CLOSED], &[1, 2, 3]);
    close(&mut view, 0, &[(1, Some(5)), (2, Some(5)), (3, Some(5))]);
    let failed = Failure::TimedOut.digest();
    for pair in &mut view.deals[0].tasks[0].replicas.pairs {
        (pair.digest, pair.tag) = (Some(failed), tag(pair.task, failed));
    }
    let task = view.deals[0].tasks[0].id;
    assert_eq!(actions(&view), [Action::Weigh { task, digest: failed }]);
}

#[test]
fn a_task_that_falls_short_after_the_close_gets_further_pairs_until_the_deadline() {
    let mut view = view(&[CLOSED], &[1, 2, 3, 4, 5]);
    let task = view.deals[0].tasks[0].id;
    close(&mut view, 0, &[(1, Some(5)), (2, Some(5)), (3, None)]);
    view.deals[0].tasks[0].replicas.delivered = vec![digest(5)];
    assert_eq!(actions(&view), [], "the third may still open");
    view.now_ms = 12_000;
    assert_eq!(assigned(&view), [worker(4), worker(5)]);
    answer(&mut view, 0, &[(4, 5), (5, 5)]);
    let commitments = vec![(worker(4), B256::repeat_byte(4)), (worker(5), B256::repeat_byte(5))];
    assert_eq!(actions(&view), [Action::Append { task, commitments }]);
    view.now = view.deals[0].terms.deadlines().close.plus(1);
    assert_eq!(actions(&view), [], "the operator appends until the close deadline");
}

#[test]
fn who_never_opened_is_punished_between_the_deadlines_and_only_then() {
    let mut view = view(&[], &[1]);
    let terms = DealTerms { trust: 5, ..samples::terms(1) };
    let left_out = LeftOut {
        index: 0,
        digest: digest(5),
        worker: worker(1),
        commitment: B256::repeat_byte(1),
        share: 1,
        total: 3,
    };
    let (deal, deadlines) = (terms.id(), terms.deadlines());
    view.deals.clear();
    let (left_out, entries) = (vec![left_out], vec![0]);
    view.records = vec![Record {
        deal,
        terms: Arc::new(terms),
        left_out: left_out.clone(),
        entries: entries.clone(),
        failures: None,
    }];
    view.now = deadlines.open;
    assert_eq!(actions(&view), []);
    view.now = deadlines.punish;
    assert_eq!(actions(&view), [Action::Punish { deal, left_out, entries }]);
    view.now = deadlines.punish.plus(1);
    assert_eq!(actions(&view), [Action::Forget(deal)]);
}

#[test]
fn a_close_whose_block_is_gone_is_waited_for() {
    let mut view = view(&[Task::Replicated(Replicated::Closing)], &[1, 2, 3]);
    view.deals[0].tasks[0].settlement = Some("round".to_owned());
    let sent = Sent { key: "round".to_owned(), deal: view.deals[0].id, kind: Kind::Close };
    for fate in [Fate::Pending, Fate::Mined, Fate::Final] {
        view.sendings = vec![Sending { sent: sent.clone(), fate }];
        assert_eq!(actions(&view), [], "the outbox sends it again");
    }
    view.deals[0].tasks[0].settlement = None;
    view.deals[0].tasks[0].task = CLOSED;
    assert_eq!(actions(&view), [Action::Finish { key: "round".to_owned() }]);
}
