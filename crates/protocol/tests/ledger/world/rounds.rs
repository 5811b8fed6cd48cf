//! What workers hide and operators close, well or badly.

use super::{World, deliveries::bound};
use alloy::primitives::{Address, B256, keccak256};
use berth_protocol::{
    DealId, DealTerms, ResultDigest, TaskId, Timestamp, WorkerAddr,
    ledger::{Call, Event},
    round::{
        self, ClosedRound, Closing, LeftOut, MAX_PAIRS, Pair, WORD_TASKS, WordBits, closed::MAX_WORDS, multiproof,
    },
};
use rand::{Rng as _, seq::SliceRandom as _};
use std::collections::BTreeMap;

/// How many faults [`World::close_of`] knows.
pub(super) const CLOSE_FAULTS: usize = 11;
/// How many faults [`World::append_to`] knows.
pub(super) const APPEND_FAULTS: usize = 13;
/// How many faults [`World::append_assigned_to`] knows.
pub(super) const ASSIGNED_FAULTS: usize = 9;

/// So many tasks of a settlement are remembered for a delivery.
const FEW: usize = 8;

/// What opens a commitment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) digest: B256,
    pub(super) seed: B256,
}

/// A task with its leaf's pairs.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) terms: DealTerms,
    pub(super) index: u32,
    pub(super) pairs: Vec<Pair>,
}

impl Leaf {
    fn hash(&self) -> B256 {
        round::leaf(self.terms.id(), self.index, &self.pairs).expect("the world's leaves are good")
    }
}

/// What everybody together knows.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// By commitment.
    pub(super) answers: BTreeMap<B256, Answer>,
    /// By root, in their order.
    pub(super) leaves: BTreeMap<B256, Vec<Leaf>>,
    pub(super) rounds: Vec<ClosedRound>,
    pub(super) appended: BTreeMap<(DealId, u32), Vec<Pair>>,
    pub(super) records: Vec<(DealId, Vec<LeftOut>)>,
    /// What settled lately, and may be due.
    pub(super) settled: Vec<(DealId, u32)>,
}

impl Secrets {
    pub(super) fn learn(&mut self, event: &Event) {
        if let Event::RoundClosed { round, .. } = event {
            self.rounds.push(round.clone());
        }
        if let Event::PairsAppended { deal, index, added, .. } = event {
            self.appended.entry((*deal, *index)).or_default().extend(added);
        }
        if let Event::SinglesSettled { deal, entries, .. } = event {
            let entries = entries.as_chunks::<36>().0.iter().take(FEW);
            self.settled.extend(entries.map(|e| (*deal, u32::from_be_bytes([e[0], e[1], e[2], e[3]]))));
        }
        if let Event::TasksSettled { deal, tasks, .. } = event {
            self.settled.extend(tasks.iter().take(FEW).map(|task| (*deal, task.index)));
        }
        if let Event::TasksSettled { deal, left_out, .. } = event
            && !left_out.is_empty()
        {
            self.records.push((*deal, left_out.clone()));
        }
    }

    pub(super) fn proof(&self, root: B256, places: &[u32]) -> Vec<B256> {
        let hashes: Vec<_> = self.leaves[&root].iter().map(Leaf::hash).collect();
        multiproof(&hashes, places)
    }
}

/// Who answers a task, and whether it lies.
pub(super) type Plan = Vec<(usize, bool)>;

/// Honest workers, by number.
pub(super) fn honest(workers: &[usize]) -> Plan {
    workers.iter().map(|worker| (*worker, false)).collect()
}

/// What a task's right result is; some fail.
pub(super) fn truth(task: TaskId) -> B256 {
    let hash = keccak256(task.get());
    if hash[0].is_multiple_of(6) { B256::with_last_byte(1 + hash[1] % 6) } else { bound(task).get() }
}

impl World {
    /// Some replicated deal, mostly one with open tasks that `wanted` holds for.
    pub(super) fn some_replicated(&mut self, wanted: impl Fn(&DealTerms, Timestamp) -> bool) -> DealTerms {
        let terms = self.some_deal(|terms, now| !terms.is_single() && wanted(terms, now));
        let other = self.deals().iter().rev().find(|(_, terms)| !terms.is_single());
        match other {
            Some((_, other)) if terms.is_single() => other.clone(),
            _ => terms,
        }
    }

    /// Hides a worker's answer.
    pub(super) fn hide(&mut self, task: TaskId, worker: Address, digest: B256, seed: B256) -> Pair {
        let worker = WorkerAddr::new(worker);
        let result = ResultDigest::new(digest).expect("no answer is zero");
        let commitment = round::commitment(task, worker, result, round::salt(seed, task));
        self.secrets.answers.insert(commitment, Answer { digest, seed });
        Pair { worker, commitment }
    }

    fn lie(worker: Address) -> B256 {
        keccak256(worker)
    }

    /// Answers of some workers, by a plan of who lies, or as it comes. One seed for each worker.
    fn answers(&mut self, task: TaskId, plan: Option<&Plan>, seeds: &mut BTreeMap<Address, B256>) -> Vec<Pair> {
        let plan = plan.cloned().unwrap_or_else(|| {
            let mut plan: Plan = (0..self.cast.workers.len()).map(|i| (i, self.rng.gen_bool(0.12))).collect();
            plan.shuffle(&mut self.rng);
            plan.truncate(self.rng.gen_range(1..=6));
            plan
        });
        let mut pairs: Vec<_> = plan
            .into_iter()
            .map(|(worker, lies)| {
                let worker = self.cast.workers[worker];
                let fresh = self.word();
                let seed = *seeds.entry(worker).or_insert(fresh);
                let digest = if lies { Self::lie(worker) } else { truth(task) };
                self.hide(task, worker, digest, seed)
            })
            .collect();
        pairs.sort_by_key(|pair| pair.worker);
        pairs
    }

    /// A pair of a worker under a seed of its own.
    pub(super) fn lone_pair(&mut self, task: TaskId, worker: Address, lies: bool) -> Pair {
        let seed = self.word();
        let digest = if lies { Self::lie(worker) } else { truth(task) };
        self.hide(task, worker, digest, seed)
    }

    /// Tasks that may still be closed, by offset.
    pub(super) fn closable(&self, terms: &DealTerms) -> Vec<u32> {
        let Some(deal) = self.ledger.deal(terms.id()) else {
            return vec![0];
        };
        (0..terms.size).filter(|offset| !deal.has_ended(*offset) && !deal.closed.contains(offset)).collect()
    }

    pub(super) fn close(&mut self) -> (Address, Call) {
        let in_time = |terms: &DealTerms| !terms.is_single() && self.now <= terms.deadlines().close;
        let possible = self.deals.iter().rev().take(20).any(|(_, t)| in_time(t) && !self.closable(t).is_empty());
        if !possible && self.rng.gen_bool(0.9) {
            return self.match_orders();
        }
        let first = self.some_replicated(|terms, now| now <= terms.deadlines().close);
        let operator = first.operator;
        let mut deals = vec![first];
        if self.rng.gen_bool(0.4) {
            let other = self.some_replicated(|terms, now| now <= terms.deadlines().close && terms.operator == operator);
            if other.operator == operator && other.id() != deals[0].id() {
                deals.push(other);
            }
        }
        let chosen = deals
            .into_iter()
            .map(|terms| {
                let mut offsets = self.closable(&terms);
                let start = self.rng.gen_range(0..=offsets.len() / 2);
                offsets.drain(..start);
                let most = if self.rng.gen_bool(0.1) { 130 } else { 9 };
                offsets.truncate(self.rng.gen_range(1..=most));
                (terms, offsets)
            })
            .collect();
        let fault = self.fault(11, CLOSE_FAULTS);
        self.close_of(chosen, None, fault)
    }

    /// A round of these tasks, answered by this plan.
    pub(super) fn close_of(
        &mut self,
        chosen: Vec<(DealTerms, Vec<u32>)>,
        plan: Option<&Plan>,
        fault: Option<usize>,
    ) -> (Address, Call) {
        let mut sender = chosen[0].0.operator;
        let (mut leaves, mut deals, mut seeds) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (terms, offsets) in chosen {
            for offset in &offsets {
                let index = terms.first + offset;
                let pairs = self.answers(terms.id().task(index), plan, &mut seeds);
                leaves.push(Leaf { terms: terms.clone(), index, pairs });
            }
            deals.push(Closing { words: WordBits::of(offsets), terms });
        }
        let hashes: Vec<_> = leaves.iter().map(Leaf::hash).collect();
        let mut root = round::root(&hashes).unwrap_or_default();
        if fault.is_some() {
            // The root is not looked at, and the good one may still come.
            root = self.word();
        } else {
            self.secrets.leaves.insert(root, leaves);
        }
        if let Some(fault) = fault {
            self.spoil_close(fault, &mut deals, &mut sender);
        }
        (sender, Call::Close { root, deals })
    }

    fn spoil_close(&mut self, fault: usize, deals: &mut Vec<Closing>, sender: &mut Address) {
        let single = self.deals().iter().rev().find(|(_, terms)| terms.is_single()).map(|(_, terms)| terms.clone());
        let last = deals.len() - 1;
        let size = deals[last].terms.size;
        let spoilt = &mut deals[last];
        match fault {
            0 => *sender = self.cast.stranger,
            1 => spoilt.terms.poolPrice += 1,
            2 => {
                if let Some(terms) = single {
                    *sender = terms.operator;
                    *deals = vec![Closing { terms, words: vec![WordBits { word: 0, bits: 1 }] }];
                }
            }
            3 => spoilt.words.push(WordBits { word: size / WORD_TASKS + 1, bits: 0 }),
            4 => spoilt.words = vec![WordBits { word: size / WORD_TASKS, bits: 1 << (size % WORD_TASKS) }],
            5 => spoilt.words.extend_from_within(spoilt.words.len().saturating_sub(1)..),
            6 => deals.push(deals[last].clone()),
            7 => deals.clear(),
            8 => spoilt.words = vec![WordBits { word: 0, bits: 1 }; MAX_WORDS + 1],
            9 => spoilt.words.push(WordBits { word: u32::MAX, bits: 1 }),
            _ => spoilt.words = vec![WordBits { word: size.div_ceil(WORD_TASKS), bits: 1 }],
        }
    }

    /// Some leaf of a closed round, mostly of a task that `wanted` holds for.
    pub(super) fn some_leaf(
        &mut self,
        wanted: impl Fn(&DealTerms, Timestamp) -> bool,
    ) -> Option<(ClosedRound, u32, Leaf)> {
        let open = |leaf: &Leaf| {
            let deal = self.ledger.deal(leaf.terms.id()).expect("what is closed is known");
            !deal.has_ended(leaf.index - leaf.terms.first) && wanted(&leaf.terms, self.now)
        };
        let mut all = Vec::new();
        for round in self.secrets.rounds.iter().rev() {
            // A round whose root is nobody's has no leaves.
            for (place, leaf) in (0..).zip(self.secrets.leaves.get(&round.root).into_iter().flatten()) {
                all.push((round, place, leaf, open(leaf)));
            }
        }
        let fitting: Vec<_> = all.iter().filter(|leaf| leaf.3).collect();
        // Others are only refused, so they are not worth many calls.
        let any = self.rng.gen_bool(0.05);
        let chosen = if any { all.choose(&mut self.rng) } else { fitting.choose(&mut self.rng).copied() };
        chosen.map(|(round, place, leaf, _)| ((*round).clone(), *place, (*leaf).clone()))
    }

    pub(super) fn append(&mut self) -> (Address, Call) {
        let Some((round, place, leaf)) = self.some_leaf(|terms, now| now <= terms.deadlines().close) else {
            return self.close();
        };
        let added = (0..self.rng.gen_range(1..4))
            .map(|_| {
                let (worker, lies) = (self.one_of(&self.cast.workers.clone()), self.rng.gen_bool(0.1));
                self.lone_pair(leaf.terms.id().task(leaf.index), worker, lies)
            })
            .collect();
        let fault = self.fault(12, APPEND_FAULTS);
        self.append_to((round, place), &leaf, added, fault)
    }

    /// The operator adds pairs to a closed task.
    pub(super) fn append_to(
        &mut self,
        (mut round, place): (ClosedRound, u32),
        leaf: &Leaf,
        mut added: Vec<Pair>,
        fault: Option<usize>,
    ) -> (Address, Call) {
        let mut proof = self.secrets.proof(round.root, &[place]);
        let (mut terms, mut index, mut pairs) = (leaf.terms.clone(), leaf.index, leaf.pairs.clone());
        let mut sender = terms.operator;
        match fault {
            Some(0) => sender = self.cast.stranger,
            Some(1) => terms.poolPrice += 1,
            Some(2) => {
                let single = self.deals().iter().rev().find(|(_, terms)| terms.is_single());
                terms = single.map_or(terms, |(_, terms)| terms.clone());
                sender = terms.operator;
            }
            Some(3) => index = terms.first + terms.size,
            Some(4) => round.root = self.word(),
            Some(5) => {
                let offset = self.closable(&terms).last().copied();
                index = offset.map_or(index, |offset| terms.first + offset);
            }
            Some(6) => pairs.clear(),
            Some(7) => pairs = vec![pairs[0]; MAX_PAIRS + 1],
            Some(8) => pairs.extend_from_within(..1),
            Some(9) => proof.push(B256::ZERO),
            Some(10) => pairs[0].commitment = self.word(),
            Some(11) => added.clear(),
            Some(_) => added = vec![pairs[0]; MAX_PAIRS],
            None => {}
        }
        let terms = Box::new(terms);
        (sender, Call::Append { terms, index, round, leaf: pairs, proof, added })
    }

    pub(super) fn append_assigned(&mut self) -> (Address, Call) {
        let terms = self.some_replicated(|terms, now| now > terms.deadlines().close && now <= terms.deadlines().append);
        let offset = self.closable(&terms).first().copied().unwrap_or(0);
        let worker = self.one_of(&self.cast.workers.clone());
        let pair = self.lone_pair(terms.id().task(terms.first + offset), worker, false);
        let fault = self.fault(13, ASSIGNED_FAULTS);
        self.append_assigned_to(terms, offset, pair, fault)
    }

    /// A worker adds its pair itself.
    pub(super) fn append_assigned_to(
        &mut self,
        mut terms: DealTerms,
        offset: u32,
        pair: Pair,
        fault: Option<usize>,
    ) -> (Address, Call) {
        let (mut assignment, mut signer) = (Some(terms.operator), Some(pair.worker.get()));
        let mut index = terms.first + offset;
        match fault {
            Some(0) => terms.poolPrice += 1,
            Some(1) => {
                let single = self.deals().iter().rev().find(|(_, terms)| terms.is_single());
                terms = single.map_or(terms, |(_, terms)| terms.clone());
            }
            Some(2) => index = terms.first + terms.size,
            Some(3) => index = u32::MAX,
            Some(4) => assignment = None,
            Some(5) => assignment = Some(self.cast.stranger),
            Some(6) => signer = None,
            Some(7) => signer = Some(terms.operator),
            Some(_) => (assignment, signer) = (None, None),
            None => {}
        }
        let terms = Box::new(terms);
        (self.anyone(), Call::AppendAssigned { terms, index, pair, assignment, signer })
    }
}
