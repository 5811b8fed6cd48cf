//! Results on their way to callbacks.

use super::{
    Act, NOBODY, REFUSER, Step, TAKER, World,
    scenes::{bad, good},
};
use alloy::primitives::{Address, B256, keccak256};
use berth_protocol::{
    DealTerms, ResultDigest, TaskId, WorkerAddr,
    ledger::{Assignments, Call, List},
};
use rand::{Rng as _, seq::SliceRandom as _};

/// How many faults [`World::deliver_of`] knows.
const DELIVER_FAULTS: usize = 6;

/// What a task's job leaves for a callback: its manifest's sha256 and the bytes, of any length.
fn left_by(task: TaskId) -> (B256, Vec<u8>) {
    let hash = keccak256(task.get());
    (keccak256(hash), hash.repeat(3)[..usize::from(hash[2]) % 97].to_vec())
}

/// What that settles to.
pub(super) fn bound(task: TaskId) -> ResultDigest {
    let (manifest, bytes) = left_by(task);
    ResultDigest::bound(manifest, &bytes)
}

/// Deals with each kind of callback, settled and delivered, or not.
pub(super) fn acts() -> Vec<Act> {
    [
        vec![(|world| world.matches_called(TAKER)) as Act, |world| world.delivers(0).refused(), |world| {
            world.settles_called()
        }],
        vec![spoiled; DELIVER_FAULTS],
        vec![
            |world| world.delivers(0),
            |world| world.delivers(0).refused(),
            // The second task failed.
            |world| world.delivers(1).refused(),
            |world| world.delivers(2),
            |world| world.matches_called(REFUSER),
            |world| world.settles_called(),
            |world| world.delivers(0).refused(),
            |world| world.matches_called(NOBODY),
            |world| world.settles_called(),
            |world| world.delivers(0).refused(),
            |world| world.matches_called(world.ledger.domain().berth),
            |world| world.settles_called(),
            |world| world.delivers(0).refused(),
            |world| world.matches_called(Address::ZERO),
            |world| world.settles_called(),
            |world| world.delivers(0).refused(),
        ],
    ]
    .concat()
}

fn spoiled(world: &mut World) -> Step {
    let (terms, fault) = (world.last(0), world.scene_fault);
    world.scene_fault = (fault + 1) % DELIVER_FAULTS;
    let index = terms.first;
    let (sender, call) = world.deliver_of(terms, index, Some(fault));
    bad(world, sender, call)
}

impl World {
    /// Whom a request wants its results brought to: nobody, or somebody who takes them, mostly.
    pub(super) fn some_callback(&mut self) -> Address {
        let berth = self.ledger.domain().berth;
        self.one_of(&[Address::ZERO, Address::ZERO, TAKER, TAKER, TAKER, REFUSER, NOBODY, berth])
    }

    pub(super) fn deliver(&mut self) -> (Address, Call) {
        let settled = self.secrets.settled.iter().rev().take(60).copied().collect::<Vec<_>>();
        let due: Vec<_> =
            settled.iter().filter(|(deal, index)| self.ledger.due_of(deal.task(*index)).is_some()).copied().collect();
        let chosen = if self.rng.gen_bool(0.1) { settled.choose(&mut self.rng) } else { due.choose(&mut self.rng) };
        let Some((deal, index)) = chosen.or_else(|| settled.last()) else { return self.settle() };
        let (deal, index) = (*deal, *index);
        let terms = self.deals().iter().find(|(id, _)| *id == deal).map(|(_, terms)| terms.clone());
        let fault = self.fault(18, DELIVER_FAULTS);
        self.deliver_of(terms.expect("what settled was matched"), index, fault)
    }

    fn deliver_of(&mut self, mut terms: DealTerms, mut index: u32, fault: Option<usize>) -> (Address, Call) {
        let (mut manifest, mut result) = left_by(terms.id().task(index));
        match fault {
            Some(0) => manifest = self.word(),
            Some(1) => result.push(0),
            Some(2) => result.insert(0, 1),
            Some(3) => index = terms.first.wrapping_add(terms.size),
            Some(4) => terms.poolPrice += 1,
            Some(_) => terms.callback = REFUSER,
            None => {}
        }
        (self.anyone(), Call::Deliver { terms: Box::new(terms), index, manifest, result })
    }

    fn matches_called(&mut self, callback: Address) -> Step {
        self.matches(|orders| {
            (orders.pool.epoch, orders.pool.parallel, orders.request.volume) = (7, 3, 3);
            orders.request.callback = callback;
        })
    }

    /// The operator settles three tasks of the last deal, the second to a failure.
    fn settles_called(&mut self) -> Step {
        let terms = self.last(0);
        let (deal, worker) = (terms.id(), WorkerAddr::new(self.cast.workers[3]));
        let failed = B256::with_last_byte(2);
        let entry = |index: u32| {
            let digest = if index == terms.first + 1 { failed } else { bound(deal.task(index)).get() };
            [&index.to_be_bytes()[..], digest.as_slice()].concat()
        };
        let entries = (terms.first..terms.first + 3).flat_map(entry).collect();
        let list = List { worker, entries, signer: Some(worker.get()), assignments: Assignments::default() };
        let operator = terms.operator;
        good(self, operator, Call::SettleSingles { terms: Box::new(terms), lists: vec![list] })
    }

    fn delivers(&mut self, offset: u32) -> Step {
        let terms = self.last(0);
        let index = terms.first + offset;
        let (sender, call) = self.deliver_of(terms, index, None);
        good(self, sender, call)
    }
}
