//! How a task's answers weigh, as far as they are known: hidden ones by their tags, which are equal for equal answers.

use super::{Policy, assign::covers};
use crate::{
    presence::Seen,
    view::{Deal, Round, TaskState, View},
};
use alloy::primitives::B256;
use berth_protocol::{
    DealTerms, ResultDigest, WorkerAddr,
    consensus::{accepted, group, weight},
    round::tag,
};
use std::{collections::BTreeMap, time::Duration};

/// Weights by answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    groups: BTreeMap<B256, Vec<u32>>,
    /// Of whoever says nothing that counts.
    dissent: Vec<u32>,
    /// Of workers whose answers are still to come.
    pub(super) pending: Vec<u32>,
}

/// A worker's weight, and whether its bond covers the deal.
pub(super) fn voice(view: &View, terms: &DealTerms, worker: WorkerAddr) -> (u32, bool) {
    view.workers.get(&worker).map_or((weight(0), false), |found| (weight(found.bond.score), covers(found, terms)))
}

impl Tally {
    /// Takes an answer. One whose worker's bond does not cover the deal is dissent.
    fn add(&mut self, tag: B256, (weight, covered): (u32, bool)) {
        if covered {
            self.groups.entry(tag).or_default().push(weight);
        } else {
            self.dissent.push(weight);
        }
    }

    fn wait_for(&mut self, (weight, covered): (u32, bool)) {
        if covered {
            self.pending.push(weight);
        }
    }

    /// The answer that weighs most.
    pub(super) fn best(&self) -> Option<B256> {
        let weights = self.groups.iter().map(|(tag, weights)| (group(weights.iter().copied()), *tag));
        weights.max_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1))).map(|(_, tag)| tag)
    }

    /// Whether this answer is accepted, if `more` agree with it, too.
    pub(super) fn accepts(&self, tag: Option<B256>, more: &[u32], trust: u32) -> bool {
        let own = tag.and_then(|tag| self.groups.get(&tag)).into_iter().flatten();
        let others = self.groups.iter().filter(|(of, _)| Some(**of) != tag).flat_map(|(_, weights)| weights);
        let dissent = group(others.chain(&self.dissent).copied());
        accepted(group(own.chain(more).copied()), dissent, trust)
    }

    /// Whether the answers that are here are enough.
    pub(super) fn agrees(&self, trust: u32) -> bool {
        self.best().is_some_and(|tag| self.accepts(Some(tag), &[], trust))
    }

    /// Whether they are with those to come, if these agree.
    pub(super) fn will_agree(&self, trust: u32) -> bool {
        self.accepts(self.best(), &self.pending, trust)
    }

    /// Whether everybody who has answered would be enough, if all said the same.
    pub(super) fn could_agree(&self, trust: u32) -> bool {
        let all = self.groups.values().flatten().copied();
        accepted(group(all), group(self.dissent.iter().copied()), trust)
    }

    /// Whether anybody has answered.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.dissent.is_empty()
    }
}

fn is_here(view: &View, worker: WorkerAddr) -> bool {
    view.workers.get(&worker).is_some_and(|worker| matches!(worker.seen, Seen::Here(_)))
}

/// Adds what is not in the task's chain: hidden answers, and workers that still run it.
fn add_hidden(view: &View, deal: &Deal, task: &TaskState, tally: &mut Tally) {
    for hidden in &task.replicas.commitments {
        let worker = hidden.answer.worker;
        if task.replicas.pairs.iter().any(|pair| pair.worker == worker) {
            continue;
        }
        let voice = voice(view, &deal.terms, worker);
        if !hidden.is_spent {
            tally.add(hidden.answer.tag, voice);
        } else if is_here(view, worker) {
            tally.wait_for(voice);
        }
    }
    for attempt in task.tries.iter().filter(|attempt| attempt.outcome.is_none()) {
        tally.wait_for(voice(view, &deal.terms, attempt.worker));
    }
}

/// Of a task that no round has taken.
pub(super) fn gathered(view: &View, deal: &Deal, task: &TaskState) -> Tally {
    let mut tally = Tally::default();
    add_hidden(view, deal, task, &mut tally);
    tally
}

/// Of a closed task: what is opened, what still may be, and what may be appended. Whoever was silent for too long is
/// dissent.
pub(super) fn closed(view: &View, policy: &Policy, deal: &Deal, task: &TaskState, round: &Round) -> Tally {
    let mut tally = Tally::default();
    for pair in &task.replicas.pairs {
        let shown_ms = if pair.append.is_some() { pair.shown_ms } else { round.shown_ms };
        let voice = voice(view, &deal.terms, pair.worker);
        if pair.digest.is_some() || patience(view, policy, shown_ms).is_some() {
            tally.add(pair.tag, voice);
        } else {
            tally.dissent.push(voice.0);
        }
    }
    add_hidden(view, deal, task, &mut tally);
    tally
}

/// How long a worker that was told then may still be silent; `None`: no longer.
pub(super) fn patience(view: &View, policy: &Policy, shown_ms: Option<u64>) -> Option<Duration> {
    let Some(shown_ms) = shown_ms else { return Some(policy.reveal_wait) };
    policy.reveal_wait.checked_sub(Duration::from_millis(view.now_ms.saturating_sub(shown_ms))).filter(|d| !d.is_zero())
}

/// What a closed task's opened pairs are enough for, with the appended ones or without.
pub(super) fn opened(view: &View, deal: &Deal, task: &TaskState, with_appended: bool) -> Option<ResultDigest> {
    let mut tally = Tally::default();
    let pairs = || {
        task.replicas.pairs.iter().filter(|pair| pair.append.is_none() || (with_appended && pair.appended.is_some()))
    };
    for pair in pairs() {
        let voice = voice(view, &deal.terms, pair.worker);
        match pair.digest {
            Some(digest) => tally.add(tag(task.id, digest), voice),
            None => tally.dissent.push(voice.0),
        }
    }
    let best = tally.best().filter(|_| tally.agrees(deal.terms.trust))?;
    pairs().filter_map(|pair| pair.digest).find(|digest| tag(task.id, *digest) == best)
}
