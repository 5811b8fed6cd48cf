//! Approvals, cancellations, sponsors, contracts that sign, and several calls in one.

use super::{
    Act, Step, WALLET, World,
    scenes::{bad, good},
};
use alloy::primitives::{Address, B256, U256};
use berth_protocol::{
    AccountAddr, OrderHash,
    ledger::{Call, Consent, Orders, Signature, Signers, Stance},
    order::{Order as _, Sponsorship, UNLIMITED, remaining},
};
use rand::{Rng as _, seq::SliceRandom as _};

/// All of it, act by act.
pub(super) fn acts() -> Vec<Act> {
    [approvals(), wallets(), sponsors(), several()].concat()
}

/// What an order's signer says on chain counts, and nobody else's word does.
fn approvals() -> Vec<Act> {
    vec![
        |world| {
            world.sets_aside(|orders| (orders.app.volume, orders.pool.volume) = (UNLIMITED, 3));
            let (app, _) = world.aside_hashes();
            good(world, world.cast.app_owners[0], Call::ApproveOrder { order: app })
        },
        |world| {
            world
                .matches_aside(|signers| (signers.app, signers.request) = (Signature::Empty, Signature::Empty))
                .refused()
        },
        |world| {
            let (_, request) = world.aside_hashes();
            good(world, world.cast.stranger, Call::ApproveOrder { order: request })
        },
        |world| world.matches_aside(|signers| signers.request = Signature::Empty).refused(),
        |world| {
            let (_, request) = world.aside_hashes();
            good(world, world.cast.requesters[0], Call::ApproveOrder { order: request })
        },
        |world| world.matches_aside(|signers| (signers.app, signers.request) = (Signature::Empty, Signature::Empty)),
        |world| {
            let (app, _) = world.aside_hashes();
            good(world, world.cast.stranger, Call::CancelOrder { order: app })
        },
        |world| {
            world.renews_the_pool();
            world.matches_aside(|_| {})
        },
        |world| {
            let (app, _) = world.aside_hashes();
            good(world, world.cast.app_owners[0], Call::CancelOrder { order: app })
        },
        |world| world.matches_aside(|_| {}).refused(),
        |world| world.matches_aside(|signers| signers.app = Signature::Empty).refused(),
        |world| {
            let (app, _) = world.aside_hashes();
            bad(world, world.cast.app_owners[0], Call::ApproveOrder { order: app })
        },
        |world| world.matches(|_| {}),
    ]
}

/// A contract's own word counts where its key's does not.
fn wallets() -> Vec<Act> {
    vec![
        |world| {
            world.sets_aside(|orders| (orders.request.requester, orders.request.payer) = (WALLET, WALLET));
            let key = world.cast.wallet_key();
            world.matches_aside(|signers| signers.request = Signature::Of(key))
        },
        |world| world.matches_aside(|_| {}).refused(),
        |world| world.matches_aside(|signers| signers.request = Signature::Nobodys).refused(),
        |world| world.matches_aside(|signers| signers.request = Signature::Empty).refused(),
    ]
}

/// A consent is for one match of its volume.
fn sponsors() -> Vec<Act> {
    vec![
        |world| {
            world.sets_aside(|orders| orders.request.volume = 30);
            world.asks_the_sponsor();
            world.sponsored(|_| {})
        },
        |world| {
            // Another app order, so that there is something left.
            world.renews_the_app();
            world.sponsored(|_| {}).refused()
        },
        |world| world.sponsored(|consent| consent.volume = 2).refused(),
        |world| world.sponsored(|consent| consent.volume = 4).refused(),
        |world| {
            let past = world.now.seconds() - 1;
            world.sponsored(|consent| consent.expiry = berth_protocol::Timestamp::new(past)).refused()
        },
        |world| {
            let now = world.now;
            world.sponsored(|consent| consent.expiry = now)
        },
        |world| {
            world.renews_the_app();
            world.sponsored(|consent| consent.signature = Signature::Nobodys).refused()
        },
        |world| world.sponsored(|consent| consent.signature = Signature::Empty).refused(),
        |world| {
            let order = world.aside_sponsorship(|consent| consent.expiry = FAR);
            good(world, world.cast.sponsor, Call::ApproveOrder { order })
        },
        |world| world.sponsored(|consent| (consent.expiry, consent.signature) = (FAR, Signature::Empty)),
        |world| {
            world.renews_the_app();
            let order = world.aside_sponsorship(|consent| consent.expiry = FARTHER);
            good(world, world.cast.sponsor, Call::CancelOrder { order })
        },
        |world| world.sponsored(|consent| consent.expiry = FARTHER).refused(),
        |world| {
            // Without its word it has to come itself.
            let step = world.matches_aside(|_| {});
            bad(world, world.cast.stranger, step.call)
        },
    ]
}

/// All of several calls, or none.
fn several() -> Vec<Act> {
    vec![
        |world| {
            let (sender, match_) = (world.cast.requesters[0], world.matches(|_| {}).call);
            let deposit = Call::Deposit { account: sender, amount: U256::from(100) };
            good(world, sender, Call::Multicall { calls: vec![deposit, match_] })
        },
        |world| {
            let sender = world.cast.requesters[0];
            let deposit = Call::Deposit { account: sender, amount: U256::from(100) };
            let nested = Call::Multicall { calls: vec![deposit.clone(), deposit] };
            good(world, sender, Call::Multicall { calls: vec![nested, Call::Multicall { calls: Vec::new() }] })
        },
        |world| {
            let sender = world.cast.requesters[0];
            let deposit = Call::Deposit { account: sender, amount: U256::from(100) };
            let withdrawal = Call::Withdraw { to: sender, amount: U256::MAX };
            bad(world, sender, Call::Multicall { calls: vec![deposit, withdrawal] })
        },
    ]
}

const FAR: berth_protocol::Timestamp = berth_protocol::Timestamp::new(1 << 40);
const FARTHER: berth_protocol::Timestamp = berth_protocol::Timestamp::new(1 << 41);

impl World {
    /// Plain orders, with a change, to come back to.
    fn sets_aside(&mut self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.plain_orders();
        orders.request.volume = 9;
        orders.app.volume = 3;
        change(&mut orders);
        let step = self.matches(|_| {});
        let Call::Match { signers, .. } = step.call else { panic!("a match is one") };
        self.catalogue.aside = Some((orders, signers));
    }

    fn aside(&self) -> (Orders, Signers) {
        self.catalogue.aside.clone().expect("a scene has set something aside")
    }

    fn asks_the_sponsor(&mut self) {
        let sponsor = self.cast.sponsor;
        let (orders, _) = self.catalogue.aside.as_mut().expect("a scene has set something aside");
        orders.request.payer = sponsor;
    }

    fn renews_the_pool(&mut self) {
        let salt = self.word();
        let (orders, _) = self.catalogue.aside.as_mut().expect("a scene has set something aside");
        orders.pool.salt = salt;
    }

    fn renews_the_app(&mut self) {
        let salt = self.word();
        let (orders, _) = self.catalogue.aside.as_mut().expect("a scene has set something aside");
        orders.app.salt = salt;
    }

    /// The hashes of the app's offer and of the request.
    fn aside_hashes(&self) -> (OrderHash, OrderHash) {
        let domain = self.ledger.domain();
        let (orders, _) = self.aside();
        (orders.app.hash(&domain), orders.request.hash(&domain))
    }

    fn matches_aside(&mut self, change: impl FnOnce(&mut Signers)) -> Step {
        let (orders, mut signers) = self.aside();
        change(&mut signers);
        good(self, self.cast.stranger, Call::Match { orders: Box::new(orders), signers, consent: None })
    }

    /// What was set aside, with the sponsor's word for three tasks, with a change.
    fn sponsored(&mut self, change: impl FnOnce(&mut Consent)) -> Step {
        let (orders, signers) = self.aside();
        let mut consent = self.aside_consent();
        change(&mut consent);
        good(self, self.cast.stranger, Call::Match { orders: Box::new(orders), signers, consent: Some(consent) })
    }

    fn aside_consent(&self) -> Consent {
        let signature = Signature::Of(self.cast.sponsor);
        Consent { volume: 3, expiry: berth_protocol::Timestamp::new(1 << 39), signature }
    }

    fn aside_sponsorship(&self, change: impl FnOnce(&mut Consent)) -> OrderHash {
        let mut consent = self.aside_consent();
        change(&mut consent);
        let (domain, (orders, _)) = (self.ledger.domain(), self.aside());
        OrderHash::new(domain.digest(&Sponsorship {
            request: orders.request.hash(&domain).get(),
            poolOrder: orders.pool.hash(&domain).get(),
            volume: consent.volume,
            expiry: consent.expiry.seconds(),
        }))
    }

    /// The payer's word for what a match of these orders would take.
    pub(super) fn consent(&mut self, orders: &Orders) -> Consent {
        let domain = self.ledger.domain();
        let left = |order, volume| remaining(volume, self.ledger.consumed(order));
        let mut volume = left(orders.request.hash(&domain), orders.request.volume)
            .min(left(orders.app.hash(&domain), orders.app.volume))
            .min(left(orders.pool.hash(&domain), orders.pool.volume));
        if orders.has_dataset() {
            volume = volume.min(left(orders.dataset.hash(&domain), orders.dataset.volume));
        }
        let expiry = self.now.plus(self.rng.gen_range(0..100));
        let payer = orders.request.payer;
        let key = if payer == WALLET { self.cast.wallet_key() } else { payer };
        Consent { volume, expiry, signature: Signature::Of(key) }
    }

    /// Where an order was approved, its signature is at times not given.
    pub(super) fn spare_signatures(&mut self, orders: &Orders, mut signers: Signers) -> Signers {
        let domain = self.ledger.domain();
        for (order, signature) in
            [(orders.app.hash(&domain), &mut signers.app), (orders.pool.hash(&domain), &mut signers.pool)]
        {
            if let Signature::Of(owner) = *signature
                && self.ledger.stance_of(AccountAddr::new(owner), order) == Some(Stance::Approved)
                && self.rng.gen_bool(0.5)
            {
                *signature = Signature::Empty;
            }
        }
        signers
    }

    /// Puts one fault into somebody's word.
    pub(super) fn spoil_word(
        &mut self,
        fault: usize,
        orders: &Orders,
        signers: &mut Signers,
        consent: &mut Option<Consent>,
    ) {
        let mut given = consent.unwrap_or_else(|| self.consent(orders));
        match fault {
            50 => signers.app = Signature::Empty,
            51 => signers.request = Signature::Empty,
            52 => given.volume += 1,
            53 => given.expiry = berth_protocol::Timestamp::new(self.now.seconds() - 1),
            _ => given.signature = self.one_of(&[Signature::Nobodys, Signature::Of(self.cast.stranger)]),
        }
        if fault >= 52 {
            *consent = Some(given);
        }
    }

    /// Somebody approves or cancels an offer of his, or of another.
    pub(super) fn takes_a_stance(&mut self) -> (Address, Call) {
        let domain = self.ledger.domain();
        let apps = self.catalogue.apps.iter().map(|(order, signer)| (order.hash(&domain), *signer));
        let pools = self.catalogue.pools.iter().map(|(order, signer)| (order.hash(&domain), *signer));
        let offers: Vec<_> = apps.chain(pools).collect();
        let stranger = self.cast.stranger;
        let nothing = (OrderHash::new(B256::ZERO), Signature::Nobodys);
        let (order, signer) = offers.choose(&mut self.rng).copied().unwrap_or(nothing);
        let sender = match signer {
            Signature::Of(owner) if self.rng.gen_bool(0.8) => owner,
            Signature::Of(_) | Signature::Empty | Signature::Nobodys => stranger,
        };
        let call = if self.rng.gen_bool(0.8) { Call::ApproveOrder { order } } else { Call::CancelOrder { order } };
        (sender, call)
    }
}
