//! What every market begins with: calls right at, and one past, each bound. Chance alone would seldom get there.

use super::{Act, Step, World, deliveries, round_scenes, stances};
use alloy::primitives::{Address, B256, U256};
use berth_protocol::{
    AssetId, DealTerms, Timestamp, WorkerAddr,
    ledger::{Assignments, Call, List, Orders, Signature, Signers},
    order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder, UNLIMITED},
};

/// A task's duration, and in deals of one task at a time the span of one task.
pub(super) const T: u64 = 50;
pub(super) const STAKE: u128 = 1_000;
const MAX_BOND: u128 = (1 << 96) - 1;

/// All scenes, act by act.
pub(super) fn acts() -> Vec<Act> {
    let orders = [orders(), stances::acts()].concat();
    [covering(), deadlines(), bonds(), orders, sizes(), deliveries::acts(), round_scenes::acts(), money()].concat()
}

pub(super) fn good(world: &World, sender: Address, call: Call) -> Step {
    Step { sender, now: world.now, call, good: Some(true) }
}

pub(super) fn bad(world: &World, sender: Address, call: Call) -> Step {
    good(world, sender, call).refused()
}

/// A bond that is unbonding covers a deal whose last punish time comes before its release, and none that comes with it.
fn covering() -> Vec<Act> {
    vec![
        |world| world.bonds(STAKE),
        |world| world.unbonds(400),
        |world| {
            world.at(world.release().seconds() - 13 * T - 1);
            world.matches(|_| {})
        },
        |world| {
            world.at(world.release().seconds() - 13 * T);
            world.matches(|_| {})
        },
        |world| world.settles(1, 1),
        |world| world.settles(0, 1),
        |world| {
            world.at(world.release().seconds() - 1);
            world.withdraws().refused()
        },
        |world| {
            world.at(world.release().seconds());
            world.withdraws()
        },
        |world| world.bonds(400),
        |world| world.claims(),
    ]
}

/// One deal of four tasks, one at a time, each bound of which is tried.
fn deadlines() -> Vec<Act> {
    vec![
        |world| world.matches(|orders| orders.request.volume = 5),
        |world| {
            world.at(world.last(0).stake_returns_until().seconds());
            world.declines(0)
        },
        |world| {
            world.at(world.last(0).stake_returns_until().seconds() + 1);
            world.declines(1)
        },
        |world| {
            world.at(world.last(0).deadlines().close.seconds());
            world.declines(2)
        },
        |world| {
            world.at(world.last(0).deadlines().close.seconds() + 1);
            world.declines(3).refused()
        },
        |world| {
            world.at(world.last(0).deadlines().settle.seconds());
            world.claims().refused()
        },
        |world| world.settle_late(),
        |world| world.claims(),
        |world| world.claims().refused(),
        |world| world.matches(|orders| orders.request.volume = 2),
        |world| {
            world.at(world.last(0).deadlines().settle.seconds());
            world.settles(0, 1)
        },
        |world| world.claims(),
    ]
}

/// A bond as large as can be.
fn bonds() -> Vec<Act> {
    vec![
        |world| {
            let account = world.cast.bond_owners[0];
            let amount = U256::from(MAX_BOND);
            good(world, account, Call::Deposit { account, amount })
        },
        |world| world.bonds(MAX_BOND - STAKE),
        |world| world.bonds(1).refused(),
        |world| world.unbonds(MAX_BOND - STAKE),
        |world| world.bonds(1).refused(),
        |world| world.bonds(0),
        |world| {
            world.at(world.release().seconds());
            world.withdraws()
        },
        |world| {
            let sender = world.cast.bond_owners[0];
            let call = Call::Withdraw { to: sender, amount: U256::from(MAX_BOND) };
            good(world, sender, call)
        },
    ]
}

/// Orders at their bounds.
fn orders() -> Vec<Act> {
    vec![
        |world| {
            let now = world.now.seconds();
            world.matches(|orders| {
                (orders.app.expiry, orders.pool.expiry, orders.request.expiry) = (now, now, now);
            })
        },
        |world| {
            let now = world.now.seconds();
            world.matches(|orders| orders.pool.expiry = now - 1).refused()
        },
        |world| world.matches(|orders| orders.request.duration = 10),
        |world| world.matches(|orders| orders.request.duration = 100),
        |world| world.matches(|orders| (orders.request.duration, orders.request.volume) = (40, 50)),
        |world| world.matches(|orders| (orders.request.duration, orders.request.volume) = (40, 51)).refused(),
        |world| world.matches(|orders| (orders.request.trust, orders.pool.maxTrust) = (u32::MAX, u32::MAX)),
        |world| world.matches(|orders| orders.pool.operatorShareBps = 10_000),
        |world| {
            let sender = world.cast.pool_owners[0];
            good(world, sender, Call::RaiseEpoch { epoch: 7 })
        },
        |world| world.matches(|orders| orders.pool.epoch = 6).refused(),
        |world| world.matches(|orders| orders.pool.epoch = 7),
        // Nearly as many tasks as a request can have, all at a time.
        |world| {
            world.matches(|orders| {
                (orders.pool.epoch, orders.pool.parallel) = (7, u32::MAX);
                (orders.pool.price, orders.pool.poolStake, orders.app.price) = (0, 0, 0);
                orders.request.volume = UNLIMITED - 1;
            })
        },
        |world| world.declines(u32::MAX - 2),
        |world| world.declines(u32::MAX - 1).refused(),
    ]
}

/// The longest lists.
fn sizes() -> Vec<Act> {
    vec![
        |world| {
            world.matches(|orders| {
                (orders.pool.epoch, orders.pool.parallel, orders.request.volume) = (7, 300, 600);
            })
        },
        |world| world.settles(0, 256),
        |world| {
            let (terms, one) = (world.last(0), world.list_of(300, 1));
            let call = Call::SettleSingles { terms: Box::new(terms.clone()), lists: vec![one; 256] };
            good(world, terms.operator, call)
        },
        |world| {
            let terms = world.last(0);
            let indexes = (200..456).rev().collect();
            let call = Call::Decline { terms: Box::new(terms.clone()), indexes };
            good(world, terms.operator, call)
        },
    ]
}

/// All that the contract can hold, and all that somebody has.
fn money() -> Vec<Act> {
    vec![
        |world| {
            let account = world.cast.stranger;
            let amount = U256::from(u128::MAX - world.ledger.held().units());
            good(world, account, Call::Deposit { account, amount })
        },
        |world| {
            let account = world.cast.stranger;
            let amount = U256::ONE;
            bad(world, account, Call::Deposit { account, amount })
        },
        |world| {
            let to = world.cast.stranger;
            let amount = U256::from(world.free(to));
            good(world, to, Call::Withdraw { to, amount })
        },
        |world| {
            let to = world.cast.stranger;
            let amount = U256::ONE;
            bad(world, to, Call::Withdraw { to, amount })
        },
    ]
}

impl World {
    pub(super) fn at(&mut self, seconds: u64) {
        let now = Timestamp::new(seconds);
        assert!(now >= self.now, "the scene comes too late");
        self.now = now;
    }

    /// The last deal but so many.
    pub(super) fn last(&self, back: usize) -> DealTerms {
        let (_, terms) = self.deals.iter().rev().nth(back).expect("the scene has had its matches");
        terms.clone()
    }

    fn actor(&self) -> (B256, WorkerAddr) {
        (self.assets.pools[0], WorkerAddr::new(self.cast.workers[3]))
    }

    fn release(&self) -> Timestamp {
        let (pool, worker) = self.actor();
        let pool = AssetId::new(pool).expect("a pool's id");
        self.ledger.bond_of(pool, worker).expect("the scene's worker is bonded").release_at
    }

    fn bonds(&self, amount: u128) -> Step {
        let (pool, worker) = self.actor();
        let call = Call::Bond { pool, worker, amount, enlistment: Some(worker.get()) };
        good(self, self.cast.bond_owners[0], call)
    }

    fn unbonds(&self, amount: u128) -> Step {
        let (pool, worker) = self.actor();
        good(self, self.cast.bond_owners[0], Call::Unbond { pool, worker, amount })
    }

    fn withdraws(&self) -> Step {
        let (pool, worker) = self.actor();
        good(self, self.cast.bond_owners[0], Call::WithdrawBond { pool, worker })
    }

    /// A match of plain orders, with a change.
    pub(super) fn matches(&mut self, change: impl FnOnce(&mut Orders)) -> Step {
        let mut orders = self.plain_orders();
        change(&mut orders);
        let signers = Signers {
            app: Signature::Of(self.cast.app_owners[0]),
            dataset: Signature::Nobodys,
            pool: Signature::Of(self.cast.pool_owners[0]),
            request: Signature::Of(self.cast.requesters[0]),
        };
        good(self, self.cast.stranger, Call::Match { orders: Box::new(orders), signers, consent: None })
    }

    pub(super) fn plain_orders(&mut self) -> Orders {
        let far = self.now.seconds() + 1_000_000;
        let (app, pool) = (self.assets.apps[0], self.assets.pools[0]);
        let zero = B256::ZERO;
        Orders {
            app: AppOrder {
                app,
                price: 100,
                volume: UNLIMITED,
                tag: zero,
                datasetRule: zero,
                poolRule: zero,
                requesterRule: zero,
                expiry: far,
                epoch: 0,
                salt: self.word(),
            },
            dataset: DatasetOrder {
                dataset: zero,
                price: 0,
                volume: 0,
                tag: zero,
                appRule: zero,
                poolRule: zero,
                requesterRule: zero,
                expiry: 0,
                epoch: 0,
                salt: zero,
            },
            pool: PoolOrder {
                pool,
                price: 999,
                volume: UNLIMITED,
                tag: zero,
                operator: self.cast.operators[0],
                parallel: 1,
                workerStake: STAKE,
                poolStake: 10,
                operatorShareBps: 333,
                minDuration: 10,
                maxDuration: 100,
                maxTrust: 1,
                appRule: zero,
                datasetRule: zero,
                requesterRule: zero,
                expiry: far,
                epoch: 7,
                salt: self.word(),
            },
            request: RequestOrder {
                app,
                appMaxPrice: 100,
                dataset: zero,
                datasetMaxPrice: 0,
                poolRule: pool,
                poolMaxPrice: 999,
                requester: self.cast.requesters[0],
                payer: self.cast.requesters[0],
                beneficiary: Address::ZERO,
                callback: Address::ZERO,
                jobHash: self.word(),
                volume: 1,
                tag: zero,
                duration: 50,
                trust: 0,
                expiry: far,
                epoch: 0,
                salt: self.word(),
            },
        }
    }

    /// The scene's worker's list of so many results from this index on.
    fn list_of(&mut self, from: u32, count: u32) -> List {
        let (_, worker) = self.actor();
        let entries =
            (from..from + count).flat_map(|index| index.to_be_bytes().into_iter().chain(self.digest().0)).collect();
        List { worker, entries, signer: Some(worker.get()), assignments: Assignments::default() }
    }

    /// The operator settles the first tasks of the last deal but so many.
    fn settles(&mut self, back: usize, count: u32) -> Step {
        let terms = self.last(back);
        let lists = vec![self.list_of(terms.first, count)];
        let operator = terms.operator;
        good(self, operator, Call::SettleSingles { terms: Box::new(terms), lists })
    }

    fn settle_late(&mut self) -> Step {
        self.at(self.last(0).deadlines().settle.seconds() + 1);
        self.settles(0, 1).refused()
    }

    pub(super) fn declines(&self, index: u32) -> Step {
        let terms = Box::new(self.last(0));
        good(self, terms.operator, Call::Decline { terms, indexes: vec![index] })
    }

    pub(super) fn claims(&self) -> Step {
        let terms = Box::new(self.last(0));
        good(self, self.cast.stranger, Call::Claim { terms })
    }
}
