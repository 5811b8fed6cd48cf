//! Replicated tasks at their bounds: every fault of every call, and every deadline from both sides.

use super::{
    Act, Step, World,
    late::LATE_FAULTS,
    rounds::{APPEND_FAULTS, ASSIGNED_FAULTS, CLOSE_FAULTS, Leaf, Plan, honest},
    scenes::{STAKE, T, bad, good},
    settlements::{ONE_FAULTS, SETTLE_FAULTS},
};
use alloy::primitives::{Address, B256};
use berth_protocol::{
    AssetId, DealTerms, WorkerAddr,
    ledger::Call,
    round::{ClosedRound, Closing, LeftOut, WordBits},
};

/// All scenes, act by act.
pub(super) fn acts() -> Vec<Act> {
    [bonds(), closed_by_operator(), deadlines(), without_operator(), without_root(), large()].concat()
}

/// Refused once for each fault; then the same without one.
fn faults(count: usize, act: Act) -> Vec<Act> {
    vec![act; count + 1]
}

/// Everybody works in the first pool.
fn bonds() -> Vec<Act> {
    vec![|world| world.bonds_next(); 6]
}

/// One deal of trust 5, from its close to its last punishment. Workers 0 to 3 agree on most tasks; of the others, task
/// 10 has a liar, task 11 has one and falls short until two are appended.
fn closed_by_operator() -> Vec<Act> {
    [
        vec![(|world| world.matches_replicated(14, 14)) as Act],
        faults(CLOSE_FAULTS, spoiled_close),
        vec![
            |world| world.closes(&[10], &vec![(0, false), (1, false), (2, true), (3, false), (4, false), (5, false)]),
            |world| world.closes(&[11], &vec![(1, false), (2, true), (3, false), (5, false)]),
            |world| world.closes(&[12], &honest(&[0, 1, 2, 3, 4, 5])),
            |world| world.closes_again(),
        ],
        faults(APPEND_FAULTS, spoiled_append),
        vec![|world| world.appends_more(11)],
        faults(SETTLE_FAULTS, spoiled_settle),
        faults(ONE_FAULTS, spoiled_settle_one),
        leaves(),
        late(),
    ]
    .concat()
}

/// One leaf at a time.
fn leaves() -> Vec<Act> {
    vec![
        // Four honest ones suffice against one who lies, and who is left out.
        |world| world.settles_leaf(10, &[]),
        // Four of whom one falls silent don't, whether in bulk or alone.
        |world| {
            let (round, place, leaf) = world.leaf_of(3);
            let (sender, call) = world.settle_from(&round, &leaf.terms, &[place], Some(&[2]), None);
            good(world, sender, call)
        },
        |world| world.settles_one(3, &[2]).refused(),
        |world| world.settles_one(3, &[]),
        |world| world.settles_one(3, &[]).refused(),
        // In a batch, what has ended is skipped.
        |world| {
            let (round, _, leaf) = world.leaf_of(0);
            let (sender, call) = world.settle_from(&round, &leaf.terms, &[0, 1, 3, 6], Some(&[]), None);
            good(world, sender, call)
        },
        // What is closed can't be declined, and is skipped.
        |world| world.declines(7),
    ]
}

/// What was left out is opened, then punished, to the last second.
fn late() -> Vec<Act> {
    [
        // Two of six are silent; one of them is shown again after the settlement.
        vec![(|world| world.settles_leaf(12, &[4])) as Act],
        faults(LATE_FAULTS, spoiled_open),
        vec![|world| {
            let (terms, entries) = world.record();
            world.at(terms.deadlines().open.seconds());
            let (sender, call) = world.punish_from(&terms, &entries, None);
            bad(world, sender, call)
        }],
        vec![|world| {
            let (terms, entries) = world.record();
            world.at(terms.deadlines().open.seconds() + 1);
            let (sender, call) = world.open_from(&terms, &entries, None);
            bad(world, sender, call)
        }],
        vec![|world| {
            world.secrets.records.rotate_right(1);
            world.claims()
        }],
        faults(LATE_FAULTS, spoiled_punish),
        vec![
            |world| {
                let (terms, entries) = world.record();
                world.at(terms.deadlines().punish.seconds());
                let (sender, call) = world.punish_from(&terms, &entries, None);
                good(world, sender, call)
            },
            |world| {
                let (terms, entries) = world.record();
                world.at(terms.deadlines().punish.seconds() + 1);
                let (sender, call) = world.punish_from(&terms, &entries, None);
                bad(world, sender, call)
            },
        ],
    ]
    .concat()
}

/// The first ten tasks, which four answer.
fn spoiled_close(world: &mut World) -> Step {
    let chosen = vec![(world.last(0), (0..10).collect())];
    let fault = world.next_fault(CLOSE_FAULTS);
    let (sender, call) = world.close_of(chosen, Some(&honest(&[0, 1, 2, 3])), fault);
    world.refused_for(fault, sender, call)
}

/// Two more for a task that falls short; one is there already.
fn spoiled_append(world: &mut World) -> Step {
    let (round, place, leaf) = world.leaf_of(11);
    let task = leaf.terms.id().task(leaf.index);
    let added =
        vec![world.lone_pair(task, world.cast.workers[4], false), world.lone_pair(task, world.cast.workers[0], false)];
    let fault = world.next_fault(APPEND_FAULTS);
    let (sender, call) = world.append_to((round, place), &leaf, added, fault);
    world.refused_for(fault, sender, call)
}

/// Some of the first ten, in bulk.
fn spoiled_settle(world: &mut World) -> Step {
    let (round, _, leaf) = world.leaf_of(0);
    let fault = world.next_fault(SETTLE_FAULTS);
    let (sender, call) = world.settle_from(&round, &leaf.terms, &[1, 2, 4, 5, 9], Some(&[]), fault);
    world.refused_for(fault, sender, call)
}

/// The task that fell short, with what was appended.
fn spoiled_settle_one(world: &mut World) -> Step {
    let closed = world.leaf_of(11);
    let fault = world.next_fault(ONE_FAULTS);
    let (terms, index) = (closed.2.terms.clone(), closed.2.index);
    let (sender, call) = world.settle_one_of(&terms, index, Some(closed), Some(&[]), fault);
    world.refused_for(fault, sender, call)
}

/// The last record's entries that open.
fn spoiled_open(world: &mut World) -> Step {
    let fault = world.next_fault(LATE_FAULTS);
    let (terms, entries) = world.record();
    let (sender, call) = world.open_from(&terms, &entries, fault);
    world.refused_for(fault, sender, call)
}

/// The last record's entries that nobody opened.
fn spoiled_punish(world: &mut World) -> Step {
    let fault = world.next_fault(LATE_FAULTS);
    let (terms, entries) = world.record();
    let (sender, call) = world.punish_from(&terms, &entries, fault);
    world.refused_for(fault, sender, call)
}

/// The last second of each call, and the one after it.
fn deadlines() -> Vec<Act> {
    vec![
        |world| world.matches_replicated(3, 3),
        |world| {
            world.at(world.last(0).deadlines().close.seconds() - 2);
            world.closes(&[0], &honest(&[0, 1, 2, 3]))
        },
        |world| world.appends_alone(0),
        |world| {
            let terms = world.last(0);
            let call = world.closing_of(&terms, &[1]);
            world.at(terms.deadlines().close.seconds());
            good(world, terms.operator, call)
        },
        |world| {
            let terms = world.last(0);
            world.at(terms.deadlines().close.seconds() + 1);
            let call = world.closing_of(&terms, &[2]);
            bad(world, terms.operator, call)
        },
        |world| world.appends_alone(0).refused(),
        |world| {
            world.at(world.last(0).deadlines().settle.seconds());
            world.settles_one(0, &[])
        },
        |world| {
            world.at(world.last(0).deadlines().settle.seconds() + 1);
            let (round, place, leaf) = world.leaf_of(0);
            let (sender, call) = world.settle_from(&round, &leaf.terms, &[place], Some(&[]), None);
            bad(world, sender, call)
        },
        |world| world.settles_one(0, &[]).refused(),
        |world| world.claims(),
    ]
}

/// The operator is gone before the close: workers append themselves, and settle.
fn without_operator() -> Vec<Act> {
    let appended: Act = |world| {
        let terms = world.last(0);
        let pair = world.lone_pair(terms.id().task(0), world.cast.workers[0], false);
        let fault = world.next_fault(ASSIGNED_FAULTS);
        let (sender, call) = world.append_assigned_to(terms, 0, pair, fault);
        world.refused_for(fault, sender, call)
    };
    let settle_one: Act = |world| {
        // Those faults which only a leaf can have are none here.
        const FAULTS: [usize; 10] = [0, 1, 2, 3, 4, 9, 10, 12, 13, 14];
        let fault = world.next_fault(FAULTS.len()).map(|number| FAULTS[number]);
        let (sender, call) = world.settle_one_of(&world.last(0), 0, None, Some(&[]), fault);
        world.refused_for(fault, sender, call)
    };
    [
        vec![(|world| world.matches_replicated(3, 3)) as Act, |world| world.closes(&[2], &honest(&[0, 1]))],
        vec![|world| {
            let terms = world.last(0);
            world.at(terms.deadlines().close.seconds());
            world.appends_itself(0, 0, false).refused()
        }],
        vec![|world| {
            let terms = world.last(0);
            world.at(terms.deadlines().close.seconds() + 1);
            world.appends_itself(2, 0, false).refused()
        }],
        faults(ASSIGNED_FAULTS, appended),
        vec![
            |world| world.appends_itself(0, 1, false),
            // A worker's second pair is walked and never weighed.
            |world| world.appends_itself(0, 0, true),
            |world| world.appends_itself(0, 2, true),
            |world| world.appends_itself(0, 3, false),
            |world| world.appends_itself(0, 4, false),
            |world| world.appends_itself(1, 0, true),
            |world| {
                world.at(world.last(0).deadlines().append.seconds() - 1);
                world.settles_lone(0, &[]).refused()
            },
            |world| world.appends_itself(0, 5, false),
            |world| world.appends_itself(1, 5, false).refused(),
        ],
        faults(10, settle_one),
        vec![|world| world.settles_lone(0, &[]).refused(), |world| world.settles_lone(1, &[]).refused()],
        vec![|world| {
            let (terms, entries) = world.record();
            let (sender, call) = world.open_from(&terms, &entries, None);
            good(world, sender, call)
        }],
    ]
    .concat()
}

/// A round of root zero: no proof, however wrong, shows a root of zero.
fn without_root() -> Vec<Act> {
    vec![
        |world| world.matches_replicated(2, 2),
        |world| {
            let terms = world.last(0);
            let deals = vec![Closing { words: WordBits::of([0]), terms: terms.clone() }];
            good(world, terms.operator, Call::Close { root: B256::ZERO, deals })
        },
        |world| {
            let (terms, round, leaf) = world.rootless();
            world.secrets.leaves.insert(B256::ZERO, vec![leaf]);
            let (sender, call) = world.settle_from(&round, &terms, &[0], Some(&[]), Some(21));
            world.secrets.leaves.remove(&B256::ZERO);
            bad(world, sender, call)
        },
        |world| {
            let (terms, round, leaf) = world.rootless();
            world.secrets.leaves.insert(B256::ZERO, vec![leaf.clone()]);
            let index = leaf.index;
            let (sender, call) =
                world.settle_one_of(&terms, index, Some((round, 0, leaf)), Some(&[0, 1, 2, 3, 4, 5]), Some(11));
            world.secrets.leaves.remove(&B256::ZERO);
            bad(world, sender, call)
        },
        |world| {
            let (_, round, leaf) = world.rootless();
            world.secrets.leaves.insert(B256::ZERO, vec![leaf.clone()]);
            let pair = leaf.pairs[0];
            let (sender, call) = world.append_to((round, 0), &leaf, vec![pair], Some(9));
            world.secrets.leaves.remove(&B256::ZERO);
            bad(world, sender, call)
        },
    ]
}

/// As many words, tasks and left-out pairs as a call takes, and one more.
fn large() -> Vec<Act> {
    vec![
        |world| {
            world.matches(|orders| {
                (orders.pool.epoch, orders.pool.parallel, orders.request.volume) = (7, 300, 600);
                (orders.pool.maxTrust, orders.request.trust) = (5, 2);
            })
        },
        |world| world.closes(&(0..260).collect::<Vec<_>>(), &honest(&[0, 1])),
        |world| world.closes(&(300..364).collect::<Vec<_>>(), &honest(&[0, 1, 2, 3])),
        |world| world.closes(&(400..485).collect::<Vec<_>>(), &honest(&[0, 1, 2])),
        |world| world.settles_many(0..257, &[]).refused(),
        |world| world.settles_many(2..258, &[]),
        |world| world.settles_many(260..324, &[0, 1, 2, 3]).refused(),
        |world| world.settles_many(324..409, &[0, 1, 2]),
        // Two of whom have weight by now, against one.
        |world| world.settles_many(324..409, &[2]),
        |world| {
            let (terms, entries) = world.record();
            let (sender, call) = world.open_from(&terms, &entries, None);
            good(world, sender, call)
        },
    ]
}

impl World {
    /// The number of a scene's next fault; none at its end.
    fn next_fault(&mut self, faults: usize) -> Option<usize> {
        let fault = self.scene_fault;
        self.scene_fault = (fault + 1) % (faults + 1);
        (fault < faults).then_some(fault)
    }

    fn refused_for(&self, fault: Option<usize>, sender: Address, call: Call) -> Step {
        if fault.is_some() { bad(self, sender, call) } else { good(self, sender, call) }
    }

    /// Bonds for one worker after the other, who belong to two owners.
    fn bonds_next(&mut self) -> Step {
        self.bonds_for(self.assets.pools[0], 5 * STAKE)
    }

    /// The same for both pools, and for more than any deal asks.
    pub(super) fn bonds_well(&mut self) -> Step {
        let bonded = self.ledger.bonds().count();
        let pool = self.assets.pools[bonded / self.cast.workers.len()];
        self.bonds_for(pool, 300 * STAKE)
    }

    fn bonds_for(&mut self, pool: B256, amount: u128) -> Step {
        let number = self.scene_fault;
        self.scene_fault = (number + 1) % self.cast.workers.len();
        let worker = WorkerAddr::new(self.cast.workers[number]);
        let known = AssetId::new(pool).and_then(|pool| self.ledger.bond_of(pool, worker));
        let owner = known.map_or(self.cast.bond_owners[number % 2], |bond| bond.owner.get());
        good(self, owner, Call::Bond { pool, worker, amount, enlistment: Some(worker.get()) })
    }

    fn matches_replicated(&mut self, volume: u32, parallel: u32) -> Step {
        self.matches(|orders| {
            (orders.pool.epoch, orders.pool.parallel, orders.request.volume) = (7, parallel, volume);
            (orders.pool.maxTrust, orders.request.trust) = (5, 5);
            orders.request.duration = u32::try_from(T).expect("a duration has 32 bits");
        })
    }

    /// The last deal's operator closes these tasks.
    fn closes(&mut self, offsets: &[u32], plan: &Plan) -> Step {
        let chosen = vec![(self.last(0), offsets.to_vec())];
        let (sender, call) = self.close_of(chosen, Some(plan), None);
        good(self, sender, call)
    }

    fn closing_of(&mut self, terms: &DealTerms, offsets: &[u32]) -> Call {
        let chosen = vec![(terms.clone(), offsets.to_vec())];
        self.close_of(chosen, Some(&honest(&[0, 1, 2])), None).1
    }

    /// One task anew, and one that is closed.
    fn closes_again(&mut self) -> Step {
        let terms = self.last(0);
        let call = self.closing_of(&terms, &[13, 12]);
        bad(self, terms.operator, call)
    }

    /// The closed leaf of the last deal's task at this offset.
    fn leaf_of(&self, offset: u32) -> (ClosedRound, u32, Leaf) {
        let terms = self.last(0);
        let found = self.secrets.rounds.iter().rev().find_map(|round| {
            let place = round.place(terms.id(), offset)?;
            let leaf = self.secrets.leaves[&round.root][place as usize].clone();
            Some((round.clone(), place, leaf))
        });
        found.expect("the scene has closed it")
    }

    /// A later append goes on from the chain that is kept.
    fn appends_more(&mut self, offset: u32) -> Step {
        let (_, _, leaf) = self.leaf_of(offset);
        let (terms, index) = (Box::new(leaf.terms.clone()), leaf.index);
        let added = vec![self.lone_pair(terms.id().task(index), self.cast.workers[2], false)];
        let (round, leaf, proof) = (ClosedRound::default(), Vec::new(), Vec::new());
        good(self, terms.operator, Call::Append { terms, index, round, leaf, proof, added })
    }

    fn appends_alone(&mut self, offset: u32) -> Step {
        let (round, place, leaf) = self.leaf_of(offset);
        let task = leaf.terms.id().task(leaf.index);
        let added = vec![self.lone_pair(task, self.cast.workers[5], false)];
        let (sender, call) = self.append_to((round, place), &leaf, added, None);
        good(self, sender, call)
    }

    fn appends_itself(&mut self, offset: u32, worker: usize, lies: bool) -> Step {
        let terms = self.last(0);
        let pair = self.lone_pair(terms.id().task(terms.first + offset), self.cast.workers[worker], lies);
        let (sender, call) = self.append_assigned_to(terms, offset, pair, None);
        good(self, sender, call)
    }

    fn settles_leaf(&mut self, offset: u32, silent: &[usize]) -> Step {
        let (round, place, leaf) = self.leaf_of(offset);
        let (sender, call) = self.settle_from(&round, &leaf.terms, &[place], Some(silent), None);
        good(self, sender, call)
    }

    fn settles_one(&mut self, offset: u32, silent: &[usize]) -> Step {
        let closed = self.leaf_of(offset);
        let (terms, index) = (closed.2.terms.clone(), closed.2.index);
        let (sender, call) = self.settle_one_of(&terms, index, Some(closed), Some(silent), None);
        good(self, sender, call)
    }

    fn settles_lone(&mut self, offset: u32, silent: &[usize]) -> Step {
        let terms = self.last(0);
        let (sender, call) = self.settle_one_of(&terms, terms.first + offset, None, Some(silent), None);
        good(self, sender, call)
    }

    /// Settles leaves of the last deal's rounds in the order of their closing.
    fn settles_many(&mut self, leaves: core::ops::Range<u32>, silent: &[usize]) -> Step {
        let deal = self.last(0).id();
        let mut before = 0;
        for round in self.secrets.rounds.clone() {
            if round.closed.first().is_none_or(|word| word.deal != deal) {
                continue;
            }
            if leaves.start < before + round.leaves() {
                let places: Vec<_> = (leaves.start - before..leaves.end - before).collect();
                let (sender, call) = self.settle_from(&round, &self.last(0), &places, Some(silent), None);
                return good(self, sender, call);
            }
            before += round.leaves();
        }
        panic!("the scene has closed fewer tasks");
    }

    /// The last record.
    fn record(&self) -> (DealTerms, Vec<LeftOut>) {
        let (deal, entries) = self.secrets.records.last().cloned().expect("the scene has left somebody out");
        let (_, terms) = self.deals.iter().find(|(id, _)| *id == deal).expect("it is known");
        (terms.clone(), entries)
    }

    /// What a leaf of the round without root would be.
    fn rootless(&mut self) -> (DealTerms, ClosedRound, Leaf) {
        let terms = self.last(0);
        let round = self.secrets.rounds.iter().rev().find(|round| round.root.is_zero()).cloned();
        let index = terms.first;
        let seed = self.word();
        let task = terms.id().task(index);
        let digest = super::rounds::truth(task);
        let workers = self.cast.workers;
        let mut pairs: Vec<_> = workers.iter().map(|worker| self.hide(task, *worker, digest, seed)).collect();
        pairs.sort_by_key(|pair| pair.worker);
        let leaf = Leaf { terms: terms.clone(), index, pairs };
        (terms, round.expect("the scene has closed it"), leaf)
    }
}
