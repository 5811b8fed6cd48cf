//! Replicated tasks onto the chain: what agrees is closed, what is closed is shown to its workers, what they reveal is
//! weighed and settled; what falls short gets further pairs, and who never opened is punished.

use super::{
    Action, Plan, Policy, may_retry, pause_over,
    replicate::is_gathering,
    tally::{self, patience},
};
use crate::{
    store::{pair::Pair, sending::Kind},
    view::{Deal, Round, TaskState, View, Work},
};
use alloy::primitives::B256;
use berth_protocol::{
    DealId, ResultDigest, TaskId, WorkerAddr,
    round::{
        WORD_TASKS,
        closed::MAX_WORDS,
        packed::{MAX_LEFT_OUT, MAX_TABLE},
    },
    task::{Replicated, Task},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

fn replicated(view: &View) -> impl Iterator<Item = &Deal> {
    view.deals.iter().filter(|deal| deal.opened && !deal.terms.is_single())
}

/// Everything about rounds.
pub(super) fn plan(view: &View, policy: &Policy, plan: &mut Plan) {
    close(view, policy, plan);
    show(view, policy, plan);
    for deal in replicated(view) {
        for task in &deal.tasks {
            let Task::Replicated(Replicated::Closed) = task.task else { continue };
            if let Some(digest) = verdict(view, policy, deal, task) {
                plan.actions.push(Action::Weigh { task: task.id, digest });
            } else {
                plan.actions.extend(append(view, policy, deal, task));
            }
        }
        settle(view, policy, deal, plan);
    }
    punish(view, plan);
}

/// A task that can be closed, with the answers that go into its leaf.
struct Closable<'a> {
    deal: &'a Deal,
    task: &'a TaskState,
    seeds: Vec<(WorkerAddr, B256)>,
    commitments: Vec<B256>,
}

fn closable<'a>(view: &View, deal: &'a Deal, task: &'a TaskState) -> Option<Closable<'a>> {
    let is_committed = task.task == Task::Replicated(Replicated::Committed);
    if !is_committed || !tally::gathered(view, deal, task).agrees(deal.terms.trust) {
        return None;
    }
    let fresh = || task.replicas.commitments.iter().filter(|hidden| !hidden.is_spent).map(|hidden| &hidden.answer);
    let seeds = fresh().map(|answer| (answer.worker, answer.seed_hash)).collect();
    Some(Closable { deal, task, seeds, commitments: fresh().map(|answer| answer.commitment).collect() })
}

/// Closes what agrees, of all deals together: when there is enough for a round, when the oldest has waited long enough,
/// or when nothing else is to come.
fn close(view: &View, policy: &Policy, plan: &mut Plan) {
    let mut ready = Vec::new();
    let mut is_urgent = false;
    for deal in replicated(view) {
        let close_by = deal.terms.deadlines().close;
        if view.now > close_by || !may_retry(deal, Kind::Close, view) || deal.is_sending(view, Kind::Decline) {
            continue;
        }
        let found: Vec<_> = deal.tasks.iter().filter_map(|task| closable(view, deal, task)).collect();
        is_urgent |= !found.is_empty() && view.now.plus(u64::from(deal.terms.duration)) > close_by;
        ready.extend(found);
    }
    let Some(oldest_ms) = ready.iter().map(|closable| closable.task.since_ms).min() else { return };
    let more = replicated(view).any(|deal| deal.tasks.iter().any(|task| is_gathering(deal, task)));
    let waited = Duration::from_millis(view.now_ms.saturating_sub(oldest_ms));
    if more && !is_urgent && ready.len() < policy.round_size && waited < policy.round_wait {
        return plan.again(policy.round_wait - waited);
    }
    let tasks = one_round(policy, &ready);
    plan.actions.push(Action::Close { tasks });
}

/// What a round's leaves take at the most as a letter to a worker that has part in all of them: it fits into a frame.
const MAX_LETTER_BYTES: usize = 900_000;
/// What a leaf takes of that: each pair, and besides it a proof of some ten hashes.
const PAIR_BYTES: usize = 180;
const LEAF_BYTES: usize = 900;

/// As many of these as go into one round: a worker's answers in it are under one seed.
fn one_round(policy: &Policy, ready: &[Closable<'_>]) -> Vec<(TaskId, Vec<B256>)> {
    let mut seeds: HashMap<WorkerAddr, B256> = HashMap::new();
    let mut words: BTreeSet<(DealId, u32)> = BTreeSet::new();
    let mut tasks = Vec::new();
    let mut bytes = 0;
    for closable in ready {
        let word = (closable.deal.id, (closable.task.index - closable.deal.terms.first) / WORD_TASKS);
        let fits = words.contains(&word) || words.len() < MAX_WORDS;
        let is_one = closable.seeds.iter().all(|(worker, seed)| seeds.get(worker).is_none_or(|of| of == seed));
        let with = bytes + LEAF_BYTES + PAIR_BYTES * closable.commitments.len();
        if tasks.len() < policy.round_size && fits && is_one && with <= MAX_LETTER_BYTES {
            bytes = with;
            words.insert(word);
            seeds.extend(closable.seeds.iter().copied());
            tasks.push((closable.task.id, closable.commitments.clone()));
        }
    }
    tasks
}

/// Shows closed rounds, and appended pairs, to their workers once their blocks have their confirmations.
fn show(view: &View, policy: &Policy, plan: &mut Plan) {
    let is_deep = |block: u64| view.block.saturating_add(1) >= block.saturating_add(policy.confirmations);
    for (key, round) in &view.rounds {
        if round.shown_ms.is_none() && round.block.is_some_and(is_deep) {
            plan.actions.push(Action::Show { round: key.clone() });
        }
    }
    for pair in replicated(view).flat_map(|deal| &deal.tasks).flat_map(|task| &task.replicas.pairs) {
        if pair.shown_ms.is_none() && pair.appended.is_some_and(|(_, block)| is_deep(block.get())) {
            plan.actions.push(Action::ShowAppended { task: pair.task, worker: pair.worker });
        }
    }
}

fn round_of<'a>(view: &'a View, task: &TaskState) -> Option<(&'a String, &'a Round)> {
    task.replicas.round.as_ref().and_then(|key| view.rounds.get_key_value(key))
}

/// What a closed task can be settled to: enough has opened to it, and it is here.
fn verdict(view: &View, policy: &Policy, deal: &Deal, task: &TaskState) -> Option<ResultDigest> {
    let digest = tally::opened(view, deal, task, false).or_else(|| {
        // Further pairs count all together, so those that may still open are waited for.
        let waits = |pair: &Pair| {
            pair.append.is_some() && pair.digest.is_none() && patience(view, policy, pair.shown_ms).is_some()
        };
        (!task.replicas.pairs.iter().any(waits)).then(|| tally::opened(view, deal, task, true)).flatten()
    })?;
    // A result that nobody brings is settled at the last moment, for those who have worked.
    let is_last_moment = view.now.plus(u64::from(deal.terms.duration)) > deal.terms.deadlines().settle;
    (digest.is_failure() || task.replicas.delivered.contains(&digest) || is_last_moment).then_some(digest)
}

/// Appends the answers of workers that were called in after the close, once they make up for those that are silent.
fn append(view: &View, policy: &Policy, deal: &Deal, task: &TaskState) -> Option<Action> {
    let (_, round) = round_of(view, task)?;
    if view.now > deal.terms.deadlines().close || !may_retry(deal, Kind::Append, view) {
        return None;
    }
    let is_under_way = task.replicas.pairs.iter().any(|pair| pair.append.is_some() && pair.appended.is_none());
    let tally = tally::closed(view, policy, deal, task, round);
    if is_under_way || round.block.is_none() || !tally.agrees(deal.terms.trust) {
        return None;
    }
    let is_new = |worker: WorkerAddr| !task.replicas.pairs.iter().any(|pair| pair.worker == worker);
    let fresh = task.replicas.commitments.iter().filter(|hidden| !hidden.is_spent && is_new(hidden.answer.worker));
    let commitments: Vec<_> = fresh.map(|hidden| (hidden.answer.worker, hidden.answer.commitment)).collect();
    (!commitments.is_empty()).then_some(Action::Append { task: task.id, commitments })
}

/// Whether all that opened to a task's result have handed it in, where each makes a sealed one of its own: whether it is any
/// good is seen by the reader alone, who may need another's.
fn is_handed_in(deal: &Deal, task: &TaskState, digest: ResultDigest) -> bool {
    let is_sealed = matches!(&deal.work, Work::Ready(need) if need.sealed);
    let replicas = &task.replicas;
    let opened = replicas.pairs.iter().filter(|pair| pair.digest == Some(digest)).count();
    let delivered = replicas.delivered.iter().filter(|delivered| **delivered == digest).count();
    !is_sealed || digest.is_failure() || delivered >= opened
}

/// Settles a deal's weighed tasks, round by round: at once where everybody has opened and handed in what it must, else after
/// a wait, so that all who are honest are paid in the batch.
fn settle(view: &View, policy: &Policy, deal: &Deal, plan: &mut Plan) {
    if view.now > deal.terms.deadlines().settle || !may_retry(deal, Kind::Settle, view) {
        return;
    }
    let mut rounds: BTreeMap<&String, (&Round, Vec<&TaskState>)> = BTreeMap::new();
    for task in &deal.tasks {
        if let Some((key, round)) = round_of(view, task) {
            rounds.entry(key).or_insert_with(|| (round, Vec::new())).1.push(task);
        }
    }
    for (key, (round, tasks)) in rounds {
        let ready: Vec<&TaskState> = tasks.iter().filter(|task| task.task.weighed().is_some()).copied().collect();
        if ready.is_empty() {
            continue;
        }
        let is_open = |task: &&TaskState| {
            let mut leaf = task.replicas.pairs.iter().filter(|pair| pair.append.is_none());
            let weighed = task.task.weighed().is_some_and(|digest| is_handed_in(deal, task, digest));
            weighed && leaf.all(|pair| pair.digest.is_some())
        };
        let is_over = |task: &&TaskState| task.settlement.is_some();
        if !tasks.iter().all(|task| is_open(task) || is_over(task))
            && let Some(left) = patience(view, policy, round.shown_ms)
        {
            plan.again(left);
            continue;
        }
        let (alone, with_appended): (Vec<&TaskState>, Vec<&TaskState>) =
            ready.iter().partition(|task| tally::opened(view, deal, task, false).is_some());
        for tasks in batches(policy, &alone) {
            plan.actions.push(Action::SettleRound { deal: deal.id, round: key.clone(), tasks });
        }
        plan.actions.extend(with_appended.iter().map(|task| Action::SettleOne(task.id)));
    }
}

/// Batches within the contract's bounds.
fn batches(policy: &Policy, tasks: &[&TaskState]) -> Vec<Vec<TaskId>> {
    let mut batches: Vec<Vec<TaskId>> = Vec::new();
    let (mut workers, mut shut) = (BTreeSet::new(), 0);
    for task in tasks {
        let leaf = || task.replicas.pairs.iter().filter(|pair| pair.append.is_none());
        let own: BTreeSet<WorkerAddr> = leaf().map(|pair| pair.worker).collect();
        let own_shut = leaf().filter(|pair| Some(pair.digest) != task.task.weighed().map(Some)).count();
        let with: BTreeSet<WorkerAddr> = workers.union(&own).copied().collect();
        let is_full = batches.last().is_none_or(|batch| batch.len() >= policy.settle_batch);
        if is_full || with.len() > MAX_TABLE || shut + own_shut > MAX_LEFT_OUT {
            batches.push(Vec::new());
            (workers, shut) = (own, own_shut);
        } else {
            (workers, shut) = (with, shut + own_shut);
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(task.id);
        }
    }
    batches
}

/// Punishes whoever never opened what a settlement left out.
fn punish(view: &View, plan: &mut Plan) {
    let mut forgotten = BTreeSet::new();
    for record in &view.records {
        let deadlines = record.terms.deadlines();
        let is_sending = view.sendings.iter().any(|s| s.sent.deal == record.deal && s.sent.kind == Kind::Punish);
        if view.now > deadlines.punish {
            if forgotten.insert(record.deal) {
                plan.actions.push(Action::Forget(record.deal));
            }
        } else if view.now > deadlines.open && !is_sending && pause_over(record.failures, view) {
            plan.actions.push(Action::Punish {
                deal: record.deal,
                left_out: record.left_out.clone(),
                entries: record.entries.clone(),
            });
        }
    }
}
