//! A small market of people who trade, work, cheat and err, drawn from one seed: the same calls run through the ledger
//! alone and, in the differential test, through the contracts on Anvil.
//!
//! Most calls are good. The others have exactly one fault put in, and the faults of each kind of call take turns, so
//! that a trace of some hundred calls meets every one of them.

mod deliveries;
mod endings;
mod late;
mod offers;
mod round_scenes;
mod rounds;
mod scenes;
mod settlements;
mod stances;

use alloy::primitives::{Address, B256, U256};
use berth_protocol::{
    AccountAddr, AssetId, AssetKind, DealId, DealTerms, Timestamp, WorkerAddr,
    domain::Domain,
    ledger::{Bounds, Call, Event, Ledger, Orders, Receiver, Signature, Signers},
    order::{AppOrder, DatasetOrder, PoolOrder},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rounds::Secrets;
use std::collections::BTreeSet;

/// The bounds of every market: short, so that a trace outlives many deals.
pub(crate) const BOUNDS: (u32, u32, u64) = (10, 100, 2_000);
/// A contract that permits what [`World::permitted`] lists.
pub(crate) const GATE: Address = Address::repeat_byte(0x67);
/// An address without code, which permits nobody.
const NO_GATE: Address = Address::repeat_byte(0x68);

/// A callback that takes whatever it is given.
pub(crate) const TAKER: Address = Address::repeat_byte(0xcb);
/// A callback that reverts.
pub(crate) const REFUSER: Address = Address::repeat_byte(0xcc);
/// A callback without code.
const NOBODY: Address = Address::repeat_byte(0xcd);
/// A contract that signs: it takes the signatures of [`Cast::wallet_key`] for its own (ERC-1271).
pub(crate) const WALLET: Address = Address::repeat_byte(0x71);

/// Who is there.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    pub(crate) requesters: [Address; 2],
    pub(crate) app_owners: [Address; 2],
    pub(crate) dataset_owner: Address,
    pub(crate) pool_owners: [Address; 2],
    pub(crate) operators: [Address; 2],
    pub(crate) bond_owners: [Address; 2],
    pub(crate) workers: [Address; 6],
    pub(crate) sponsor: Address,
    pub(crate) stranger: Address,
}

impl Cast {
    /// Whose key signs for [`WALLET`].
    pub(crate) const fn wallet_key(&self) -> Address {
        self.requesters[1]
    }

    /// One address for each role, by its name.
    pub(crate) fn new(mut of: impl FnMut(String) -> Address) -> Self {
        Self {
            requesters: [0, 1].map(|i| of(format!("requester {i}"))),
            app_owners: [0, 1].map(|i| of(format!("app owner {i}"))),
            dataset_owner: of("dataset owner".to_owned()),
            pool_owners: [0, 1].map(|i| of(format!("pool owner {i}"))),
            operators: [0, 1].map(|i| of(format!("operator {i}"))),
            bond_owners: [0, 1].map(|i| of(format!("bond owner {i}"))),
            workers: [0, 1, 2, 3, 4, 5].map(|i| of(format!("worker {i}"))),
            sponsor: of("sponsor".to_owned()),
            stranger: of("stranger".to_owned()),
        }
    }

    /// Everybody.
    pub(crate) fn all(&self) -> Vec<Address> {
        [
            &self.requesters[..],
            &self.app_owners,
            &[self.dataset_owner],
            &self.pool_owners,
            &self.operators,
            &self.bond_owners,
            &self.workers,
            &[self.sponsor, self.stranger],
        ]
        .concat()
    }
}

/// One call, by whom and when.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) sender: Address,
    pub(crate) now: Timestamp,
    pub(crate) call: Call,
    /// Whether the ledger must take it, where that is meant to be so.
    pub(crate) good: Option<bool>,
}

impl Step {
    fn refused(self) -> Self {
        Self { good: Some(false), ..self }
    }
}

/// One call of a scene, as the world stands then.
type Act = fn(&mut World) -> Step;

/// Offers that were made before, to be matched again.
#[derive(Debug, Default)]
struct Catalogue {
    apps: Vec<(AppOrder, Signature)>,
    datasets: Vec<(DatasetOrder, Signature)>,
    pools: Vec<(PoolOrder, Signature)>,
    matched: Vec<(Orders, Signers)>,
    /// What a scene comes back to.
    aside: Option<(Orders, Signers)>,
}

/// The assets that are registered first.
#[derive(Debug)]
struct Known {
    apps: [B256; 2],
    /// Owned by a requester.
    badge: B256,
    dataset: B256,
    pools: [B256; 2],
}

impl Known {
    fn new(cast: &Cast) -> Self {
        Self {
            apps: cast.app_owners.map(|owner| derive(AssetKind::App, owner)),
            badge: derive(AssetKind::App, cast.requesters[0]),
            dataset: derive(AssetKind::Dataset, cast.dataset_owner),
            pools: cast.pool_owners.map(|owner| derive(AssetKind::Pool, owner)),
        }
    }
}

/// The market.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) cast: Cast,
    assets: Known,
    permitted: BTreeSet<(B256, Address)>,
    rng: StdRng,
    now: Timestamp,
    /// What comes first, the next one last.
    opening: Vec<Step>,
    scenes: Vec<Act>,
    catalogue: Catalogue,
    deals: Vec<(DealId, DealTerms)>,
    secrets: Secrets,
    /// The next fault of a scene.
    scene_fault: usize,
    turns: [usize; 19],
    salt: u64,
}

const PAST_MONEY: u128 = 1 << 96;

impl World {
    /// A market of this seed in which nothing has happened yet.
    pub(crate) fn new(domain: Domain, cast: Cast, seed: u64) -> Self {
        let (min, max, span) = BOUNDS;
        let bounds = Bounds::new(min, max, span).expect("the bounds are good");
        let assets = Known::new(&cast);
        let permitted = BTreeSet::from([
            (assets.apps[0], cast.app_owners[0]),
            (assets.dataset, cast.dataset_owner),
            (assets.pools[0], cast.pool_owners[0]),
            (B256::ZERO, cast.requesters[0]),
            (B256::ZERO, Address::ZERO),
        ]);
        let mut world = Self {
            ledger: Ledger::new(domain, bounds),
            cast,
            assets,
            permitted,
            rng: StdRng::seed_from_u64(seed),
            now: Timestamp::new(0),
            opening: Vec::new(),
            scenes: scenes::acts().into_iter().rev().collect(),
            catalogue: Catalogue::default(),
            deals: Vec::new(),
            // Other markets begin with other faults.
            turns: [usize::try_from(seed % 7).expect("a small number") * 8; 19],
            secrets: Secrets::default(),
            scene_fault: 0,
            salt: 0,
        };
        world.ledger.set_gate(GATE, world.permitted().clone());
        let receivers = [(TAKER, Receiver::Takes), (REFUSER, Receiver::Fails), (domain.berth, Receiver::Own)];
        for (callback, receiver) in receivers {
            world.ledger.set_receiver(callback, receiver);
        }
        world.ledger.set_wallet(WALLET, world.cast.wallet_key());
        world.opening = world.opening_calls();
        world
    }

    /// Whom the contract at [`GATE`] permits.
    pub(crate) fn permitted(&self) -> &BTreeSet<(B256, Address)> {
        &self.permitted
    }

    /// The assets that are registered first, and money for everybody.
    fn opening_calls(&self) -> Vec<Step> {
        let cast = &self.cast;
        let registered = [
            (AssetKind::App, cast.app_owners[0]),
            (AssetKind::App, cast.app_owners[1]),
            (AssetKind::App, cast.requesters[0]),
            (AssetKind::Dataset, cast.dataset_owner),
            (AssetKind::Pool, cast.pool_owners[0]),
            (AssetKind::Pool, cast.pool_owners[1]),
        ]
        .map(|(kind, owner)| {
            let call = Call::Register { kind: kind as u8, descriptor: DESCRIPTOR.to_owned() };
            (owner, call)
        });
        let funded = cast.all().into_iter().map(|account| {
            let amount = U256::from(50_000_000);
            (account, Call::Deposit { account, amount })
        });
        let wallet = Call::Deposit { account: WALLET, amount: U256::from(50_000_000) };
        registered
            .into_iter()
            .chain(funded)
            .chain([(cast.sponsor, wallet)])
            .map(|(sender, call)| Step { sender, now: self.now, call, good: Some(true) })
            .rev()
            .collect()
    }

    /// What happens next.
    pub(crate) fn step(&mut self) -> Step {
        self.now = self.now.plus(1);
        if let Some(step) = self.opening.pop() {
            return Step { now: self.now, ..step };
        }
        if let Some(act) = self.scenes.pop() {
            return act(self);
        }
        self.pass_time();
        let (sender, call) = match self.rng.gen_range(0..104) {
            0..8 => self.pay_in(),
            8..12 => self.take_out(),
            12..14 => self.register(),
            14..16 => self.give(),
            16..17 => self.raise_epoch(),
            17..18 => self.takes_a_stance(),
            18..26 => self.bond(),
            26..30 => self.unbond(),
            30..34 => self.withdraw_bond(),
            34..52 => self.match_orders(),
            52..60 => self.settle(),
            60..64 => self.decline(),
            64..66 => self.claim(),
            66..74 => self.close(),
            74..77 => self.append(),
            77..80 => self.append_assigned(),
            80..89 => self.settle_batch(),
            89..92 => self.settle_one(),
            92..93 => self.publish(),
            93..96 => self.open(),
            96..100 => self.punish(),
            _ => self.deliver(),
        };
        Step { sender, now: self.now, call, good: None }
    }

    /// The same market without the scenes that every market begins with: once everybody is bonded, all is left to
    /// chance.
    pub(crate) fn without_scenes(mut self) -> Self {
        self.scenes = vec![|world| world.bonds_well(); 2 * self.cast.workers.len()];
        self
    }

    /// Nothing happens before this time.
    pub(crate) fn wait_until(&mut self, time: Timestamp) {
        self.now = self.now.max(time);
    }

    /// Remembers what a call did.
    pub(crate) fn learn(&mut self, events: &[Event]) {
        for event in events {
            if let Event::DealMatched { deal, terms, .. } = event {
                self.deals.push((*deal, (**terms).clone()));
            }
            self.secrets.learn(event);
        }
    }

    /// All deals so far.
    pub(crate) fn deals(&self) -> &[(DealId, DealTerms)] {
        &self.deals
    }

    /// Mostly a second or some, at times right to a deadline, or one past it.
    fn pass_time(&mut self) {
        let seconds = match self.rng.gen_range(0..100) {
            0..80 => self.rng.gen_range(1..4),
            80..94 => self.rng.gen_range(1..60),
            _ => {
                let mut ends: Vec<_> = self.ledger.bonds().map(|(_, bond)| bond.release_at).collect();
                for (_, terms) in self.deals.iter().rev().take(6) {
                    let deadlines = terms.deadlines();
                    ends.extend([
                        deadlines.close,
                        deadlines.append,
                        deadlines.settle,
                        deadlines.open,
                        deadlines.punish,
                    ]);
                    ends.extend([terms.stake_returns_until(); 2]);
                }
                ends.extend(self.secrets.records.iter().rev().take(3).flat_map(|(deal, _)| {
                    let of = self.deals.iter().find(|(id, _)| id == deal);
                    of.map(|(_, terms)| [terms.deadlines().open; 4]).into_iter().flatten()
                }));
                let late = self.rng.gen_range(0..2);
                ends.choose(&mut self.rng).map_or(1, |end| {
                    let end = end.seconds() + late;
                    end.saturating_sub(self.now.seconds()).max(1)
                })
            }
        };
        self.now = self.now.plus(seconds);
    }

    /// The number of the fault to put into a call of this kind, if any: they take turns.
    fn fault(&mut self, kind: usize, faults: usize) -> Option<usize> {
        if !self.rng.gen_bool(0.35) {
            return None;
        }
        let turn = self.turns[kind] % faults;
        self.turns[kind] += 1;
        Some(turn)
    }

    fn anyone(&mut self) -> Address {
        let all = self.cast.all();
        *all.choose(&mut self.rng).expect("somebody is there")
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.rng).expect("there is a choice")
    }

    fn word(&mut self) -> B256 {
        B256::from(self.rng.r#gen::<[u8; 32]>())
    }

    fn free(&self, holder: Address) -> u128 {
        self.ledger.account(AccountAddr::new(holder)).free.units()
    }

    fn pay_in(&mut self) -> (Address, Call) {
        let sender = self.anyone();
        let (account, amount) = match self.fault(0, 2) {
            Some(0) => (Address::ZERO, U256::from(1)),
            Some(_) => (sender, U256::from(u128::MAX)),
            None => {
                let account = if self.rng.gen_bool(0.5) { sender } else { self.anyone() };
                (account, U256::from(self.rng.gen_range(0..5_000_000_u128)))
            }
        };
        (sender, Call::Deposit { account, amount })
    }

    fn take_out(&mut self) -> (Address, Call) {
        let sender = self.anyone();
        let free = self.free(sender);
        let (to, amount) = match self.fault(1, 4) {
            Some(0) => (Address::ZERO, U256::ZERO),
            Some(1) => (self.ledger.domain().berth, U256::ZERO),
            Some(2) => (sender, U256::from(free) + U256::ONE),
            Some(_) => (sender, U256::MAX),
            None => {
                let amount = self.rng.gen_range(0..=free / 16);
                (self.anyone(), U256::from(amount))
            }
        };
        (sender, Call::Withdraw { to, amount })
    }

    fn register(&mut self) -> (Address, Call) {
        let sender = self.anyone();
        let (sender, kind, descriptor) = match self.fault(2, 5) {
            Some(0) => (sender, 0, DESCRIPTOR.to_owned()),
            Some(1) => (sender, 4, DESCRIPTOR.to_owned()),
            Some(2) => (sender, 1, String::new()),
            Some(3) => (sender, 1, "x".repeat(8_193)),
            Some(_) => (self.cast.requesters[0], 1, DESCRIPTOR.to_owned()),
            None => {
                self.salt += 1;
                let length = self.one_of(&[1, 30, 8_192]);
                let mut descriptor = format!("{}{}", self.salt, "é".repeat(length));
                descriptor.truncate(descriptor.floor_char_boundary(length));
                (sender, self.rng.gen_range(1..=3), descriptor)
            }
        };
        (sender, Call::Register { kind, descriptor })
    }

    /// Assets change hands, and mostly come back to who trades them.
    fn give(&mut self) -> (Address, Call) {
        let asset = self.rng.gen_range(0..2);
        let asset = self.one_of(&[self.assets.apps[asset], self.assets.dataset, self.assets.badge]);
        let from = self.ledger.owner_of(asset).map_or(Address::ZERO, AccountAddr::get);
        let to = if self.rng.gen_bool(0.5) { self.cast.app_owners[0] } else { self.cast.requesters[0] };
        (from, Call::Give { asset, to })
    }

    fn raise_epoch(&mut self) -> (Address, Call) {
        let sender = self.anyone();
        let current = self.ledger.epoch_of(AccountAddr::new(sender));
        let epoch = match self.fault(3, 2) {
            Some(0) => current,
            Some(_) => current.saturating_sub(1),
            None => current + self.rng.gen_range(1..3),
        };
        (sender, Call::RaiseEpoch { epoch })
    }

    fn bond(&mut self) -> (Address, Call) {
        let number = self.rng.gen_range(0..2);
        let mut pool = self.assets.pools[number];
        let worker = self.one_of(&self.cast.workers.clone());
        let mut sender = self.bond_owner(pool, worker);
        let mut enlistment = Some(worker);
        let mut amount = self.rng.gen_range(0..200_000);
        match self.fault(4, 7) {
            Some(0) => pool = self.assets.apps[0],
            Some(1) => pool = with_kind(self.word(), AssetKind::Pool),
            Some(2) => (pool, enlistment) = (self.fresh_pool(), None),
            Some(3) => (pool, enlistment) = (self.fresh_pool(), Some(sender)),
            Some(4) => sender = self.cast.stranger,
            Some(5) => amount = self.free(sender) + 1,
            Some(_) => amount = PAST_MONEY,
            None => {}
        }
        (sender, Call::Bond { pool, worker: WorkerAddr::new(worker), amount, enlistment })
    }

    /// The owner of a worker, or who will be.
    fn bond_owner(&mut self, pool: B256, worker: Address) -> Address {
        let owners = self.cast.bond_owners;
        AssetId::new(pool)
            .and_then(|pool| self.ledger.bond_of(pool, WorkerAddr::new(worker)))
            .map_or_else(|| self.one_of(&owners), |bond| bond.owner.get())
    }

    /// A registered pool for which nobody has bonded, if there is one.
    fn fresh_pool(&mut self) -> B256 {
        let bonded: BTreeSet<_> = self.ledger.bonds().map(|((pool, _), _)| pool.get()).collect();
        let pools: Vec<_> = (0..2)
            .map(|number| self.assets.pools[number])
            .chain(self.ledger.assets().map(|(asset, _)| asset.get()))
            .filter(|pool| pool[31] == AssetKind::Pool as u8 && !bonded.contains(pool))
            .collect();
        pools.choose(&mut self.rng).copied().unwrap_or_else(|| self.assets.pools[0])
    }

    fn some_bond(&mut self) -> (B256, WorkerAddr, Address, u128) {
        let bonds: Vec<_> = self.ledger.bonds().collect();
        bonds.choose(&mut self.rng).map_or_else(
            || {
                let worker = WorkerAddr::new(self.cast.workers[0]);
                (self.assets.pools[0], worker, self.cast.bond_owners[0], 0)
            },
            |((pool, worker), bond)| {
                let bonded = bond.bonded.units();
                (pool.get(), *worker, bond.owner.get(), bonded)
            },
        )
    }

    fn unbond(&mut self) -> (Address, Call) {
        let (mut pool, worker, mut sender, bonded) = self.some_bond();
        let mut amount = self.rng.gen_range(0..=bonded);
        match self.fault(5, 4) {
            Some(0) => sender = self.cast.stranger,
            Some(1) => amount = bonded + 1,
            Some(2) => amount = u128::MAX,
            Some(_) => pool = self.assets.apps[0],
            None => {}
        }
        (sender, Call::Unbond { pool, worker, amount })
    }

    fn withdraw_bond(&mut self) -> (Address, Call) {
        let (pool, worker, mut sender, _) = self.some_bond();
        if self.fault(6, 1).is_some() {
            sender = self.cast.stranger;
        }
        (sender, Call::WithdrawBond { pool, worker })
    }
}

const DESCRIPTOR: &str = r#"{"version":1}"#;

fn derive(kind: AssetKind, creator: Address) -> B256 {
    AssetId::derive(kind, creator, DESCRIPTOR.as_bytes()).get()
}

fn with_kind(mut word: B256, kind: AssetKind) -> B256 {
    word[31] = kind as u8;
    word
}
