//! Orders that go together, and orders that don't.

use super::{GATE, NO_GATE, WALLET, World, with_kind};
use alloy::primitives::{Address, B256};
use berth_protocol::{
    AccountAddr, AssetKind,
    ledger::{Call, Orders, Signature, Signers},
    order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder, UNLIMITED},
    rule::Rule,
};
use rand::{Rng as _, seq::SliceRandom as _};

/// How many faults [`World::spoil`] knows.
const FAULTS: usize = 55;

impl World {
    pub(super) fn match_orders(&mut self) -> (Address, Call) {
        let again = self.rng.gen_bool(0.15);
        let matched = &self.catalogue.matched;
        let (mut orders, mut signers) = match matched.choose(&mut self.rng) {
            Some(before) if again => before.clone(),
            _ => self.fresh_orders(),
        };
        let request = &orders.request;
        let sponsored = request.payer != request.requester;
        let mut consent = (sponsored && self.rng.gen_bool(0.5)).then(|| self.consent(&orders));
        let mut sender = if sponsored && consent.is_none() { orders.request.payer } else { self.anyone() };
        if let Some(fault) = self.fault(7, FAULTS) {
            match fault {
                50.. => self.spoil_word(fault, &orders, &mut signers, &mut consent),
                _ => self.spoil(fault, &mut orders, &mut signers, &mut sender),
            }
        } else {
            self.catalogue.matched.push((orders.clone(), signers));
        }
        let orders = Box::new(orders);
        (sender, Call::Match { orders, signers, consent })
    }

    fn owner(&self, asset: B256) -> Address {
        self.ledger.owner_of(asset).map_or(Address::ZERO, AccountAddr::get)
    }

    fn epoch(&mut self, signer: Address) -> u64 {
        self.ledger.epoch_of(AccountAddr::new(signer)) + self.rng.gen_range(0..2)
    }

    fn expiry(&mut self) -> u64 {
        self.now.seconds() + self.one_of(&[0, 50, 5_000, 500_000])
    }

    fn volume(&mut self) -> u32 {
        match self.rng.gen_range(0..10) {
            0..6 => UNLIMITED,
            6..9 => self.rng.gen_range(1..9),
            _ => 700,
        }
    }

    /// A rule that admits this asset with its owner.
    fn rule(&mut self, asset: B256, owner: Address) -> B256 {
        let permitted = self.permitted.contains(&(asset, owner));
        match self.rng.gen_range(0..10) {
            0 if !asset.is_zero() => Rule::Account(owner).encode(),
            1 if !asset.is_zero() => asset,
            2 if permitted => Rule::Contract(GATE).encode(),
            _ => B256::ZERO,
        }
    }

    /// A rule that admits this requester.
    fn requester_rule(&mut self, requester: Address) -> B256 {
        let badge = self.assets.badge;
        match self.rng.gen_range(0..8) {
            0 => Rule::Account(requester).encode(),
            1 if requester == self.cast.requesters[0] => Rule::Contract(GATE).encode(),
            2 if self.owner(badge) == requester => badge,
            _ => B256::ZERO,
        }
    }

    /// A rule that admits nobody who is there.
    fn closed_rule(&mut self) -> B256 {
        let other = with_kind(self.word(), AssetKind::Pool);
        self.one_of(&[Rule::Account(self.cast.stranger).encode(), Rule::Contract(NO_GATE).encode(), other])
    }

    fn fresh_orders(&mut self) -> (Orders, Signers) {
        let [one, two] = self.cast.requesters;
        let requester = self.one_of(&[one, two, one, two, WALLET]);
        let number = self.rng.gen_range(0..2);
        let (app, pool) = (self.assets.apps[number], self.assets.pools[number]);
        let dataset = if self.rng.gen_bool(0.4) { self.assets.dataset } else { B256::ZERO };
        let parties = Parties {
            app: (app, self.owner(app)),
            dataset: (dataset, self.owner(dataset)),
            pool: (pool, self.owner(pool)),
            requester,
        };
        let (app_order, app_signer) = self.app_order(&parties);
        let (dataset_order, dataset_signer) = self.dataset_order(&parties);
        let (pool_order, pool_signer) = self.pool_order(&parties);
        let orders = Orders {
            request: self.request(&parties, &app_order, &dataset_order, &pool_order),
            app: app_order,
            dataset: dataset_order,
            pool: pool_order,
        };
        let key = if requester == WALLET { self.cast.wallet_key() } else { requester };
        let request_signer = Signature::Of(key);
        let signers = Signers { app: app_signer, dataset: dataset_signer, pool: pool_signer, request: request_signer };
        let signers = self.spare_signatures(&orders, signers);
        (orders, signers)
    }

    fn app_order(&mut self, parties: &Parties) -> (AppOrder, Signature) {
        let known = self.catalogue.apps.clone();
        if let Some(order) = known.choose(&mut self.rng)
            && self.rng.gen_bool(0.3)
            && order.0.app == parties.app.0
        {
            return order.clone();
        }
        let (app, owner) = parties.app;
        let order = AppOrder {
            app,
            price: self.rng.gen_range(0..300),
            volume: self.volume(),
            tag: B256::with_last_byte(self.rng.gen_range(0..2)),
            datasetRule: self.rule(parties.dataset.0, parties.dataset.1),
            poolRule: self.rule(parties.pool.0, parties.pool.1),
            requesterRule: self.requester_rule(parties.requester),
            expiry: self.expiry(),
            epoch: self.epoch(owner),
            salt: self.word(),
        };
        self.catalogue.apps.push((order.clone(), Signature::Of(owner)));
        (order, Signature::Of(owner))
    }

    fn dataset_order(&mut self, parties: &Parties) -> (DatasetOrder, Signature) {
        let known = self.catalogue.datasets.clone();
        if let Some(order) = known.choose(&mut self.rng)
            && self.rng.gen_bool(0.3)
            && order.0.dataset == parties.dataset.0
        {
            return order.clone();
        }
        let (dataset, owner) = parties.dataset;
        // Without a dataset the rest stands there for nothing, and is not looked at.
        let signer = if dataset.is_zero() { Signature::Nobodys } else { Signature::Of(owner) };
        let order = DatasetOrder {
            dataset,
            price: self.rng.gen_range(0..50),
            volume: self.volume(),
            tag: B256::with_last_byte(self.rng.gen_range(0..2) << 1),
            appRule: self.rule(parties.app.0, parties.app.1),
            poolRule: self.rule(parties.pool.0, parties.pool.1),
            requesterRule: self.requester_rule(parties.requester),
            expiry: self.expiry(),
            epoch: self.epoch(owner),
            salt: self.word(),
        };
        if !dataset.is_zero() {
            self.catalogue.datasets.push((order.clone(), signer));
        }
        (order, signer)
    }

    fn pool_order(&mut self, parties: &Parties) -> (PoolOrder, Signature) {
        let known = self.catalogue.pools.clone();
        if let Some(order) = known.choose(&mut self.rng)
            && self.rng.gen_bool(0.3)
            && order.0.pool == parties.pool.0
        {
            return order.clone();
        }
        let (pool, owner) = parties.pool;
        let order = PoolOrder {
            pool,
            price: self.rng.gen_range(0..3_000),
            volume: self.volume(),
            tag: B256::repeat_byte(0xff),
            operator: self.one_of(&self.cast.operators.clone()),
            parallel: self.rng.gen_range(1..60),
            workerStake: self.one_of(&[0, 1, 50_000, 200_000]),
            poolStake: self.rng.gen_range(0..500),
            operatorShareBps: self.one_of(&[0, 1, 777, 3_333, 10_000]),
            minDuration: self.rng.gen_range(0..12),
            maxDuration: self.rng.gen_range(50..2_000),
            maxTrust: self.one_of(&[1, 40, 40]),
            appRule: self.rule(parties.app.0, parties.app.1),
            datasetRule: self.rule(parties.dataset.0, parties.dataset.1),
            requesterRule: self.requester_rule(parties.requester),
            expiry: self.expiry(),
            epoch: self.epoch(owner),
            salt: self.word(),
        };
        self.catalogue.pools.push((order.clone(), Signature::Of(owner)));
        (order, Signature::Of(owner))
    }

    /// A request that these offers satisfy.
    fn request(&mut self, parties: &Parties, app: &AppOrder, dataset: &DatasetOrder, pool: &PoolOrder) -> RequestOrder {
        let requester = parties.requester;
        let payer = if self.rng.gen_bool(0.8) { requester } else { self.cast.sponsor };
        let spare = self.rng.gen_range(0..2);
        let pool_rule = self.rule(parties.pool.0, parties.pool.1);
        let trust = if self.rng.gen_bool(0.4) { self.rng.gen_range(0..2) } else { self.one_of(&[2, 2, 5, 40]) };
        let trust = trust.min(pool.maxTrust);
        RequestOrder {
            app: app.app,
            appMaxPrice: app.price + spare,
            dataset: dataset.dataset,
            datasetMaxPrice: dataset.price + spare,
            poolRule: if pool_rule.is_zero() { pool.pool } else { pool_rule },
            poolMaxPrice: pool.price + spare,
            requester,
            payer,
            beneficiary: self.anyone(),
            callback: self.some_callback(),
            jobHash: self.word(),
            volume: match self.rng.gen_range(0..10) {
                0..8 => self.rng.gen_range(1..12),
                _ => self.rng.gen_range(180..600),
            },
            tag: B256::with_last_byte(self.rng.gen_range(0..2) << 2),
            duration: self.rng.gen_range(12..50),
            trust,
            expiry: self.expiry(),
            epoch: self.epoch(requester),
            salt: self.word(),
        }
    }

    /// Puts one fault into orders that were good.
    fn spoil(&mut self, fault: usize, orders: &mut Orders, signers: &mut Signers, sender: &mut Address) {
        match fault {
            0..=9 => self.spoil_assets(fault, orders),
            10..=20 => spoil_policy(fault, orders),
            21..=31 => self.spoil_rule(fault, orders),
            32..=35 => {
                let past = self.now.seconds() - 1;
                *[
                    &mut orders.app.expiry,
                    &mut orders.dataset.expiry,
                    &mut orders.pool.expiry,
                    &mut orders.request.expiry,
                ][fault - 32] = past;
            }
            36..=39 => {
                *[
                    &mut orders.app.epoch,
                    &mut orders.dataset.epoch,
                    &mut orders.pool.epoch,
                    &mut orders.request.epoch,
                ][fault - 36] = 0;
            }
            40..=43 => {
                let other = self.one_of(&[Signature::Nobodys, Signature::Of(self.cast.stranger)]);
                *[&mut signers.app, &mut signers.dataset, &mut signers.pool, &mut signers.request][fault - 40] = other;
            }
            44 => (orders.request.payer, *sender) = (self.cast.sponsor, self.cast.stranger),
            45 => {
                orders.app.volume = UNLIMITED;
                orders.dataset.volume = UNLIMITED;
                (orders.pool.volume, orders.pool.parallel) = (UNLIMITED, 1);
                (orders.request.volume, orders.request.salt) = (500, self.word());
            }
            46 => {
                (orders.app.price, orders.request.appMaxPrice) = (u128::MAX, u128::MAX);
                (orders.pool.price, orders.request.poolMaxPrice) = (u128::MAX, u128::MAX);
            }
            47 => orders.pool.poolStake = u128::MAX,
            48 => orders.app.volume = 0,
            _ => orders.pool.volume = 0,
        }
    }

    fn spoil_assets(&mut self, fault: usize, orders: &mut Orders) {
        let unknown = self.word();
        match fault {
            0 => (orders.app.app, orders.request.app) = (orders.pool.pool, orders.pool.pool),
            1 => orders.dataset.dataset = orders.app.app,
            2 => orders.pool.pool = orders.app.app,
            3 => {
                orders.app.app = with_kind(unknown, AssetKind::App);
                orders.request.app = orders.app.app;
            }
            4 => {
                orders.dataset.dataset = with_kind(unknown, AssetKind::Dataset);
                orders.request.dataset = orders.dataset.dataset;
            }
            5 => orders.pool.pool = with_kind(unknown, AssetKind::Pool),
            6 => orders.request.app = self.assets.badge,
            7 if orders.has_dataset() => orders.request.dataset = B256::ZERO,
            7 => orders.request.dataset = self.assets.dataset,
            8 => (orders.app.price, orders.request.appMaxPrice) = (1, 0),
            _ => (orders.pool.price, orders.request.poolMaxPrice) = (u128::MAX, u128::MAX - 1),
        }
    }

    fn spoil_rule(&mut self, fault: usize, orders: &mut Orders) {
        let closed = self.closed_rule();
        let rules = [
            &mut orders.request.poolRule,
            &mut orders.app.datasetRule,
            &mut orders.app.poolRule,
            &mut orders.app.requesterRule,
            &mut orders.pool.appRule,
            &mut orders.pool.datasetRule,
            &mut orders.pool.requesterRule,
            &mut orders.dataset.appRule,
            &mut orders.dataset.poolRule,
            &mut orders.dataset.requesterRule,
        ];
        match fault {
            21 => orders.request.poolRule = B256::ZERO,
            _ => *rules[fault - 22] = closed,
        }
    }
}

fn spoil_policy(fault: usize, orders: &mut Orders) {
    let (pool, request) = (&mut orders.pool, &mut orders.request);
    match fault {
        10 => (orders.dataset.price, request.datasetMaxPrice) = (2, 1),
        11 => (pool.tag, request.tag) = (B256::with_last_byte(3), B256::with_last_byte(9)),
        12 => (request.trust, pool.maxTrust) = (u32::MAX, 40),
        13 => (request.duration, pool.minDuration) = (20, 21),
        14 => (request.duration, pool.maxDuration) = (51, 50),
        15 => (request.duration, pool.minDuration) = (9, 0),
        16 => (request.duration, pool.maxDuration) = (101, u32::MAX),
        17 => pool.operatorShareBps = 10_001,
        18 => pool.parallel = 0,
        19 => request.volume = 0,
        _ => request.volume = UNLIMITED,
    }
}

/// Whose orders are to go together: each asset with its owner.
struct Parties {
    app: (B256, Address),
    dataset: (B256, Address),
    pool: (B256, Address),
    requester: Address,
}
