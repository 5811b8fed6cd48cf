//! Replicated tasks settled, well or badly.

use super::{
    World,
    rounds::{Leaf, truth},
};
use alloy::primitives::{Address, B256};
use berth_protocol::{
    DealTerms, ResultDigest, WorkerAddr,
    ledger::{Call, Contribution, Signature, TableRow},
    round::{BatchPair, BatchTask, ClosedRound, MAX_PAIRS, Pair, packed::MAX_TABLE},
};
use rand::Rng as _;
use std::collections::BTreeMap;

/// How many faults [`World::settle_from`] knows.
pub(super) const SETTLE_FAULTS: usize = 24;
/// How many faults [`World::settle_one_of`] knows.
pub(super) const ONE_FAULTS: usize = 16;

/// Who does not reveal, by number; or chance says it.
pub(super) type Silent<'a> = Option<&'a [usize]>;

impl World {
    fn is_silent(&mut self, worker: WorkerAddr, silent: Silent<'_>) -> bool {
        match silent {
            Some(silent) => silent.iter().any(|number| self.cast.workers[*number] == worker.get()),
            None => self.rng.gen_bool(0.1),
        }
    }

    pub(super) fn settle_batch(&mut self) -> (Address, Call) {
        let Some((round, place, leaf)) = self.some_leaf(|terms, now| now <= terms.deadlines().settle) else {
            return self.close();
        };
        let deal = leaf.terms.id();
        let all = self.secrets.leaves[&round.root].clone();
        let most = if self.rng.gen_bool(0.1) { all.len() } else { 8 };
        let mut places: Vec<u32> =
            (0..).zip(&all).filter(|(at, of)| *at >= place && of.terms.id() == deal).map(|(at, _)| at).collect();
        places.truncate(most);
        let skipped = self.rng.gen_range(0..places.len() + 1);
        if skipped > 0 && skipped < places.len() {
            places.remove(skipped);
        }
        let fault = self.fault(14, SETTLE_FAULTS);
        self.settle_from(&round, &leaf.terms, &places, None, fault)
    }

    /// Settles the leaves in these places, all of one deal.
    pub(super) fn settle_from(
        &mut self,
        round: &ClosedRound,
        terms: &DealTerms,
        places: &[u32],
        silent: Silent<'_>,
        fault: Option<usize>,
    ) -> (Address, Call) {
        let all = &self.secrets.leaves[&round.root];
        let leaves: Vec<Leaf> = places.iter().map(|place| all[*place as usize].clone()).collect();
        let mut seeds = BTreeMap::new();
        for pair in leaves.iter().flat_map(|leaf| &leaf.pairs) {
            seeds.insert(pair.worker, self.secrets.answers[&pair.commitment].seed);
        }
        let rows: Vec<TableRow> = seeds
            .into_iter()
            .map(|(worker, seed)| {
                let silent = self.is_silent(worker, silent);
                let signature = if silent { Signature::Empty } else { Signature::Of(worker.get()) };
                TableRow { worker, seed, signature }
            })
            .collect();
        let tasks: Vec<BatchTask> = leaves.iter().map(|leaf| self.batch_task(leaf, &rows)).collect();
        let mut batch = Batch {
            sender: self.anyone(),
            terms: terms.clone(),
            round: round.clone(),
            proof: self.secrets.proof(round.root, places),
            rows,
            packed: BatchTask::pack(&tasks),
            tasks,
        };
        if let Some(fault) = fault {
            self.spoil_batch(fault, &mut batch);
        }
        let Batch { sender, terms, round, proof, rows: workers, packed: tasks, .. } = batch;
        (sender, Call::Settle { terms: Box::new(terms), round, workers, tasks, proof })
    }

    fn batch_task(&mut self, leaf: &Leaf, rows: &[TableRow]) -> BatchTask {
        let digest = truth(leaf.terms.id().task(leaf.index));
        let pair = |pair: &Pair| {
            let rank = rows.iter().position(|row| row.worker == pair.worker).expect("each has its row");
            let opens =
                rows[rank].signature != Signature::Empty && self.secrets.answers[&pair.commitment].digest == digest;
            let rank = u8::try_from(rank).expect("few workers");
            BatchPair { rank, hidden: (!opens).then_some(pair.commitment) }
        };
        let pairs = leaf.pairs.iter().map(pair).collect();
        BatchTask { index: leaf.index, digest: ResultDigest::new(digest).expect("not zero"), pairs }
    }

    fn spoil_batch(&mut self, fault: usize, batch: &mut Batch) {
        let last = batch.tasks.len() - 1;
        match fault {
            0 => {
                let single = self.deals().iter().rev().find(|(_, terms)| terms.is_single());
                batch.terms = single.map_or_else(|| batch.terms.clone(), |(_, terms)| terms.clone());
            }
            1 => batch.terms.poolPrice += 1,
            2 => batch.round.root = self.word(),
            3 => {
                batch.round.closed.pop();
            }
            4 => batch.rows = vec![batch.rows[0]; MAX_TABLE + 1],
            5 => batch.rows.extend_from_within(..1),
            6 => batch.rows[0].signature = Signature::Nobodys,
            7 => batch.rows[0].signature = Signature::Of(self.cast.stranger),
            8 => batch.rows[0].worker = WorkerAddr::new(Address::ZERO),
            9 => batch.packed.clear(),
            10 => batch.packed.push(0),
            11 => {
                batch.packed.truncate(38);
                batch.packed[36] = 2;
            }
            12 => batch.repack(|tasks| tasks[last].index = u32::MAX),
            13 => {
                let offset = self.closable(&batch.terms).last().copied();
                let (first, size) = (batch.terms.first, batch.terms.size);
                batch.repack(|tasks| tasks[last].index = first + offset.unwrap_or(size));
            }
            14 => batch.repack(|tasks| tasks.extend_from_within(last..)),
            15 => batch.packed[4..36].fill(0),
            16 => batch.packed[36] = 0,
            17 => batch.packed[36] = 65,
            18 => batch.packed[37] = 0x7f,
            19 => batch.repack(|tasks| tasks[0].pairs.extend_from_within(..1)),
            20 => {
                // Nobody reveals, and still they open.
                batch.rows.iter_mut().for_each(|row| row.signature = Signature::Empty);
                batch.repack(|tasks| tasks[last].pairs.iter_mut().for_each(|pair| pair.hidden = None));
            }
            21 => batch.proof.push(B256::ZERO),
            22 => {
                let other = ResultDigest::new(self.word()).expect("not zero");
                batch.repack(|tasks| tasks[last].digest = other);
            }
            _ => {
                // Fewer pairs than the leaf has, or a pair that hides something else.
                let other = Some(self.word());
                batch.repack(|tasks| tasks[last].pairs[0].hidden = other);
            }
        }
    }

    pub(super) fn settle_one(&mut self) -> (Address, Call) {
        let fault = self.fault(15, ONE_FAULTS);
        let lone: Vec<_> = self.secrets.appended.keys().copied().collect();
        if !lone.is_empty() && self.rng.gen_bool(0.5) {
            let (deal, index) = self.one_of(&lone);
            let terms = self.deals().iter().find(|(id, _)| *id == deal).map(|(_, terms)| terms.clone());
            let terms = terms.expect("what is appended to is known");
            if self.closable(&terms).contains(&(index - terms.first)) {
                return self.settle_one_of(&terms, index, None, None, fault);
            }
        }
        let Some((round, place, leaf)) = self.some_leaf(|terms, now| now <= terms.deadlines().settle) else {
            return self.close();
        };
        self.settle_one_of(&leaf.terms.clone(), leaf.index, Some((round, place, leaf)), None, fault)
    }

    /// Settles one task, closed or not, with all that was appended to it.
    pub(super) fn settle_one_of(
        &mut self,
        terms: &DealTerms,
        index: u32,
        closed: Option<(ClosedRound, u32, Leaf)>,
        silent: Silent<'_>,
        fault: Option<usize>,
    ) -> (Address, Call) {
        let digest = truth(terms.id().task(index));
        let (round, proof, pairs) = closed.map_or_else(Default::default, |(round, place, leaf)| {
            let proof = self.secrets.proof(round.root, &[place]);
            (round, proof, leaf.pairs)
        });
        let added = self.secrets.appended.get(&(terms.id(), index)).cloned().unwrap_or_default();
        let mut one = One {
            terms: terms.clone(),
            index,
            digest,
            round,
            leaf: pairs.iter().map(|pair| self.contribution(*pair, digest, silent)).collect(),
            proof,
            appended: added.iter().map(|pair| self.contribution(*pair, digest, silent)).collect(),
        };
        if let Some(fault) = fault {
            self.spoil_one(fault, &mut one);
        }
        let One { terms, index, digest, round, leaf, proof, appended } = one;
        let terms = Box::new(terms);
        (self.anyone(), Call::SettleOne { terms, index, digest, round, leaf, proof, appended })
    }

    fn contribution(&mut self, pair: Pair, digest: B256, silent: Silent<'_>) -> Contribution {
        let worker = pair.worker;
        let opens = self.secrets.answers.get(&pair.commitment).filter(|answer| answer.digest == digest).copied();
        match opens {
            Some(answer) if !self.is_silent(worker, silent) => {
                let signature = Signature::Of(worker.get());
                Contribution { worker, commitment: B256::ZERO, seed: answer.seed, signature }
            }
            _ => Contribution { worker, commitment: pair.commitment, seed: B256::ZERO, signature: Signature::Empty },
        }
    }

    fn spoil_one(&mut self, fault: usize, one: &mut One) {
        let (other, stranger) = (self.word(), self.cast.stranger);
        let either = if one.leaf.is_empty() { &mut one.appended } else { &mut one.leaf };
        let first = either.first_mut();
        match fault {
            0 => {
                let single = self.deals().iter().rev().find(|(_, terms)| terms.is_single());
                one.terms = single.map_or_else(|| one.terms.clone(), |(_, terms)| terms.clone());
            }
            1 => one.terms.poolPrice += 1,
            2 => one.index = one.terms.first + one.terms.size,
            3 => one.digest = B256::ZERO,
            4 if one.round.closed.is_empty() => one.appended.clear(),
            4 => one.round = ClosedRound::default(),
            5 => one.round.root = other,
            6 => one.leaf.clear(),
            7 => one.leaf = one.leaf.iter().copied().cycle().take(MAX_PAIRS + 1).collect(),
            8 => one.leaf.reverse(),
            9 => change(first, |pair| pair.signature = Signature::Nobodys),
            10 => change(first, |pair| pair.signature = Signature::Of(stranger)),
            11 => one.proof.push(other),
            12 => change(first, |pair| (pair.seed, pair.commitment) = (other, other)),
            13 => change(one.appended.first_mut(), |pair| pair.signature = Signature::Nobodys),
            14 => {
                let lone = Contribution {
                    worker: WorkerAddr::new(self.cast.workers[0]),
                    commitment: other,
                    seed: other,
                    signature: Signature::Empty,
                };
                one.appended.push(lone);
            }
            _ => {
                let offset = self.closable(&one.terms).last().copied();
                one.index = offset.map_or(one.index, |offset| one.terms.first + offset);
            }
        }
    }
}

fn change(pair: Option<&mut Contribution>, change: impl FnOnce(&mut Contribution)) {
    if let Some(pair) = pair {
        change(pair);
    }
}

/// A settlement of many, before it is packed.
struct Batch {
    sender: Address,
    terms: DealTerms,
    round: ClosedRound,
    proof: Vec<B256>,
    rows: Vec<TableRow>,
    tasks: Vec<BatchTask>,
    packed: Vec<u8>,
}

impl Batch {
    fn repack(&mut self, change: impl FnOnce(&mut Vec<BatchTask>)) {
        change(&mut self.tasks);
        self.packed = BatchTask::pack(&self.tasks);
    }
}

/// A settlement of one.
struct One {
    terms: DealTerms,
    index: u32,
    digest: B256,
    round: ClosedRound,
    leaf: Vec<Contribution>,
    proof: Vec<B256>,
    appended: Vec<Contribution>,
}
