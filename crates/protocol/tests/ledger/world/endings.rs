//! How tasks end, or are meant to.

use super::{World, deliveries::bound};
use alloy::primitives::{Address, B256};
use berth_protocol::{
    AssetId, DealId, DealTerms, Timestamp, WorkerAddr,
    ledger::{Assignments, Call, List},
};
use rand::{Rng as _, seq::SliceRandom as _};
use std::collections::BTreeSet;

impl World {
    /// Some deal, mostly one with open tasks that `wanted` holds for.
    pub(super) fn some_deal(&mut self, wanted: impl Fn(&DealTerms, Timestamp) -> bool) -> DealTerms {
        let open = |deal: DealId| self.ledger.deal(deal).is_some_and(|deal| deal.open > 0);
        let fitting: Vec<_> =
            self.deals.iter().filter(|(deal, terms)| open(*deal) && wanted(terms, self.now)).collect();
        let any = self.rng.gen_bool(0.1) || fitting.is_empty();
        let chosen = if any { self.deals.choose(&mut self.rng) } else { fitting.choose(&mut self.rng).copied() };
        chosen.map_or_else(|| self.no_deal(), |(_, terms)| terms.clone())
    }

    /// Terms that nobody ever matched.
    fn no_deal(&self) -> DealTerms {
        DealTerms {
            request: B256::ZERO,
            pool: self.assets.pools[0],
            appOwner: self.cast.app_owners[0],
            datasetOwner: Address::ZERO,
            poolOwner: self.cast.pool_owners[0],
            operator: self.cast.operators[0],
            payer: self.cast.requesters[0],
            callback: Address::ZERO,
            appPrice: 1,
            datasetPrice: 0,
            poolPrice: 1,
            poolStake: 1,
            workerStake: 0,
            operatorShareBps: 0,
            parallel: 1,
            duration: 20,
            trust: 1,
            first: 0,
            size: 3,
            start: self.now.seconds(),
        }
    }

    /// Some of the deal's indexes, ascending, at most `most`.
    fn some_indexes(&mut self, terms: &DealTerms, most: u32) -> Vec<u32> {
        let count = self.rng.gen_range(1..=terms.size.min(most));
        let start = self.rng.gen_range(0..=terms.size - count);
        let mut chosen: BTreeSet<_> = (start..start + count).collect();
        for _ in 0..self.rng.gen_range(0..3) {
            let offset = self.rng.gen_range(0..terms.size);
            chosen.remove(&offset);
        }
        chosen.insert(start);
        chosen.into_iter().map(|offset| terms.first + offset).collect()
    }

    fn some_worker(&mut self, terms: &DealTerms) -> Address {
        let covering: Vec<_> = self
            .ledger
            .bonds()
            .filter(|((pool, _), bond)| Some(*pool) == AssetId::new(terms.pool) && bond.covers(terms))
            .map(|((_, worker), _)| worker.get())
            .collect();
        match covering.choose(&mut self.rng) {
            Some(worker) if self.rng.gen_bool(0.9) => *worker,
            _ => self.one_of(&self.cast.workers.clone()),
        }
    }

    pub(super) fn digest(&mut self) -> B256 {
        if self.rng.gen_bool(0.25) {
            B256::with_last_byte(self.one_of(&[1, 2, 4, 255]))
        } else if self.rng.gen_bool(0.1) {
            // The lowest digest that is no failure.
            let mut lowest = B256::ZERO;
            lowest[30] = 1;
            lowest
        } else {
            self.word()
        }
    }

    fn list(&mut self, terms: &DealTerms, most: u32) -> List {
        let worker = self.some_worker(terms);
        let indexes = self.some_indexes(terms, most);
        let entries = indexes
            .iter()
            .flat_map(|index| {
                let digest = if self.rng.gen_bool(0.5) { bound(terms.id().task(*index)).get() } else { self.digest() };
                index.to_be_bytes().into_iter().chain(digest.0)
            })
            .collect();
        List {
            worker: WorkerAddr::new(worker),
            entries,
            signer: Some(worker),
            assignments: Assignments { bytes: indexes.len() * 65, signers: vec![Some(terms.operator); indexes.len()] },
        }
    }

    pub(super) fn settle(&mut self) -> (Address, Call) {
        let mut terms = self.some_deal(|terms, now| terms.is_single() && now <= terms.deadlines().settle);
        let by_operator = self.rng.gen_bool(0.6);
        // Long lists with assignments are rare, since each entry needs a signature.
        let most = if by_operator || self.rng.gen_bool(0.05) { 256 } else { 9 };
        let mut lists: Vec<_> = (0..self.rng.gen_range(1..4)).map(|_| self.list(&terms, most)).collect();
        let mut sender = self.anyone();
        if by_operator {
            sender = terms.operator;
            for list in &mut lists {
                list.assignments = Assignments::default();
            }
        }
        if let Some(fault) = self.fault(8, 15) {
            match fault {
                0 => terms.trust = 2,
                1 => terms.poolPrice += 1,
                2 => {
                    let mut one = lists.swap_remove(0);
                    one.entries.truncate(36);
                    lists = vec![one; 257];
                }
                3 => lists.clear(),
                8 | 9 => {
                    (sender, lists) = (self.cast.stranger, vec![self.list(&terms, 9)]);
                    self.spoil_list(fault, &terms, &mut lists[0]);
                }
                _ => {
                    let last = lists.len() - 1;
                    self.spoil_list(fault, &terms, &mut lists[last]);
                }
            }
        }
        let terms = Box::new(terms);
        (sender, Call::SettleSingles { terms, lists })
    }

    fn spoil_list(&mut self, fault: usize, terms: &DealTerms, list: &mut List) {
        let last = list.entries.len() - 36;
        let set = |entries: &mut Vec<u8>, at: usize, index: u32| {
            entries[at..at + 4].copy_from_slice(&index.to_be_bytes());
        };
        match fault {
            4 => list.entries.clear(),
            5 => list.entries.truncate(last + 35),
            6 => list.entries = vec![1; 257 * 36],
            7 => list.signer = self.one_of(&[None, Some(self.cast.stranger)]),
            8 => list.assignments.bytes -= self.one_of(&[1, 65]),
            9 => {
                let other = self.one_of(&[None, Some(self.cast.stranger)]);
                let place = list.assignments.signers.len() - 1;
                list.assignments.signers[place] = other;
            }
            10 => set(&mut list.entries, last, terms.first + terms.size),
            11 => set(&mut list.entries, last, u32::MAX),
            12 => set(&mut list.entries, 0, terms.first.saturating_sub(1)),
            13 => {
                list.entries.extend_from_within(last..);
                list.assignments.bytes += 65;
                let operator = Some(terms.operator);
                list.assignments.signers.push(operator);
            }
            _ => list.entries[last + 4..].fill(0),
        }
    }

    pub(super) fn decline(&mut self) -> (Address, Call) {
        let mut terms = self.some_deal(|terms, now| now <= terms.deadlines().close);
        let mut indexes = self.some_indexes(&terms, 6);
        indexes.shuffle(&mut self.rng);
        if self.rng.gen_bool(0.2) {
            indexes.push(indexes[0]);
        }
        let mut sender = terms.operator;
        match self.fault(9, 6) {
            Some(0) => sender = self.cast.stranger,
            Some(1) => terms.poolPrice += 1,
            Some(2) => indexes = vec![terms.first; 257],
            Some(3) => indexes.push(terms.first + terms.size),
            Some(4) => indexes.push(u32::MAX),
            Some(_) => indexes.clear(),
            None => {}
        }
        let terms = Box::new(terms);
        (sender, Call::Decline { terms, indexes })
    }

    pub(super) fn claim(&mut self) -> (Address, Call) {
        let mut terms = self.some_deal(|terms, now| now > terms.deadlines().settle);
        if self.fault(10, 1).is_some() {
            terms.poolPrice += 1;
        }
        let terms = Box::new(terms);
        (self.anyone(), Call::Claim { terms })
    }
}
