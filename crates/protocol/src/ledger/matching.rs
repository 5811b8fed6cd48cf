//! What makes a deal of four orders.

use super::{Consent, Deal, Event, Ledger, Orders, Refusal, Signature, Signers, event::DealSubject};
use crate::{
    AccountAddr, AssetId, AssetKind, DealId, DealTerms, OrderHash, Timestamp,
    amount::BPS,
    order::{Order as _, Sponsorship, UNLIMITED, remaining},
    rule::Rule,
};
use alloy_primitives::{Address, B256, U256};
use std::collections::BTreeSet;

/// The owners of a match's assets; the dataset's is zero when there is none.
struct Owners {
    app: Address,
    dataset: Address,
    pool: Address,
}

/// The orders' hashes; the dataset's is zero when there is none.
struct Hashes {
    app: OrderHash,
    dataset: OrderHash,
    pool: OrderHash,
    request: OrderHash,
}

impl Ledger {
    pub(super) fn match_orders(
        &mut self,
        orders: &Orders,
        signers: &Signers,
        sender: Address,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let request = &orders.request;
        if request.payer != request.requester && request.payer != sender {
            return Err(Refusal::PayerAbsent { payer: AccountAddr::new(request.payer), sender });
        }
        self.make_deal(orders, signers, now).map(|(event, ..)| vec![event])
    }

    pub(super) fn match_sponsored(
        &mut self,
        orders: &Orders,
        signers: &Signers,
        consent: &Consent,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let (event, deal, size) = self.make_deal(orders, signers, now)?;
        let sponsorship = Sponsorship {
            request: orders.request.hash(&self.domain).get(),
            poolOrder: orders.pool.hash(&self.domain).get(),
            volume: consent.volume,
            expiry: consent.expiry.seconds(),
        };
        let sponsorship = OrderHash::new(self.domain.digest(&sponsorship));
        // It has no epoch of its own, so that raising one's does not end it.
        self.require_order(sponsorship, (consent.expiry, u64::MAX), orders.request.payer, consent.signature, now)?;
        require(self.consumed(sponsorship) == 0, || Refusal::OrderConsumed { order: sponsorship })?;
        let volume = consent.volume;
        require(size == volume, || Refusal::SponsoredVolume { size, volume })?;
        self.consumed.insert(sponsorship, size);
        let payer = AccountAddr::new(orders.request.payer);
        Ok(vec![event, Event::DealSponsored { deal, payer, sponsorship }])
    }

    /// Makes the deal, whoever pays; tells its id and its size.
    fn make_deal(
        &mut self,
        orders: &Orders,
        signers: &Signers,
        now: Timestamp,
    ) -> Result<(Event, DealId, u32), Refusal> {
        require_fit(orders)?;
        self.require_policy(orders)?;
        let request = &orders.request;
        let owners = self.owners_of(orders)?;
        self.require_rules(orders, &owners)?;
        let hashes = self.require_authorised(orders, signers, &owners, now)?;
        let (first, size) = self.consume(orders, &hashes)?;
        let terms = terms_of(orders, &owners, hashes.request, (first, size), now);
        if terms.span_s() > self.bounds.max_span_s() {
            return Err(Refusal::SpanTooLong {
                span: U256::from(terms.span_s()),
                max_span: U256::from(self.bounds.max_span_s()),
            });
        }
        // Three prices may pass 2^128 together: the sum is of 256 bits, as in the contract.
        let price = [terms.appPrice, terms.datasetPrice, terms.poolPrice].into_iter().map(U256::from).sum::<U256>();
        self.lock(AccountAddr::new(terms.payer), price * U256::from(size))?;
        let stake = U256::from(terms.poolStake) * U256::from(size);
        self.lock(AccountAddr::new(terms.poolOwner), stake)?;

        let deal = terms.id();
        let fresh = Deal { open: terms.size, claimed: false, ended: BTreeSet::new(), closed: BTreeSet::new() };
        assert!(
            self.deals.insert(deal, fresh).is_none(),
            "no two matches have the same terms: the first index rises with each deal of a request"
        );
        let event = Event::DealMatched {
            deal,
            requester: AccountAddr::new(request.requester),
            terms: Box::new(terms),
            subject: Box::new(subject_of(orders, &hashes)),
        };
        Ok((event, deal, size))
    }

    /// What the pool's order and the contract allow.
    fn require_policy(&self, orders: &Orders) -> Result<(), Refusal> {
        let (pool, request) = (&orders.pool, &orders.request);
        let (trust, max_trust) = (request.trust, pool.maxTrust);
        require(trust <= max_trust, || Refusal::TrustTooHigh { trust, max_trust })?;
        let duration = request.duration;
        for (min, max) in
            [(pool.minDuration, pool.maxDuration), (self.bounds.min_duration_s(), self.bounds.max_duration_s())]
        {
            require(min <= duration && duration <= max, || Refusal::DurationOutOfBounds { duration, min, max })?;
        }
        let operator_share_bps = pool.operatorShareBps;
        require(operator_share_bps <= BPS, || Refusal::ShareTooLarge { operator_share_bps })?;
        require(pool.parallel > 0, || Refusal::NothingParallel { pool: pool.pool })?;
        let volume = request.volume;
        require(volume > 0 && volume != UNLIMITED, || Refusal::BadVolume { volume })
    }

    fn owners_of(&self, orders: &Orders) -> Result<Owners, Refusal> {
        let owner = |asset: B256| self.owner_of(asset).map(AccountAddr::get).ok_or(Refusal::UnknownAsset { asset });
        Ok(Owners {
            app: owner(orders.app.app)?,
            dataset: if orders.has_dataset() { owner(orders.dataset.dataset)? } else { Address::ZERO },
            pool: owner(orders.pool.pool)?,
        })
    }

    fn require_rules(&self, orders: &Orders, owners: &Owners) -> Result<(), Refusal> {
        let (app, dataset, pool) = (&orders.app, &orders.dataset, &orders.pool);
        let requester = orders.request.requester;
        require(!orders.request.poolRule.is_zero(), || Refusal::AnyPool { requester: AccountAddr::new(requester) })?;
        let (the_app, the_dataset, the_pool) =
            ((app.app, owners.app), (dataset.dataset, owners.dataset), (pool.pool, owners.pool));
        self.require_admitted(orders.request.poolRule, the_pool)?;
        self.require_admitted(app.datasetRule, the_dataset)?;
        self.require_admitted(app.poolRule, the_pool)?;
        self.require_requester(app.requesterRule, requester)?;
        self.require_admitted(pool.appRule, the_app)?;
        self.require_admitted(pool.datasetRule, the_dataset)?;
        self.require_requester(pool.requesterRule, requester)?;
        if orders.has_dataset() {
            self.require_admitted(dataset.appRule, the_app)?;
            self.require_admitted(dataset.poolRule, the_pool)?;
            self.require_requester(dataset.requesterRule, requester)?;
        }
        Ok(())
    }

    fn require_admitted(&self, rule: B256, (asset, account): (B256, Address)) -> Result<(), Refusal> {
        let admitted = match Rule::decode(rule) {
            Rule::Any => true,
            Rule::Account(named) => named == account,
            Rule::Contract(gate) => self.permits(gate, asset, account),
            Rule::Asset(named) => named == asset,
        };
        require(admitted, || Refusal::RuleRefused { rule, asset, account })
    }

    fn require_requester(&self, rule: B256, requester: Address) -> Result<(), Refusal> {
        let admitted = match Rule::decode(rule) {
            Rule::Any => true,
            Rule::Account(named) => named == requester,
            Rule::Contract(gate) => self.permits(gate, B256::ZERO, requester),
            Rule::Asset(named) => self.owner_of(named) == Some(AccountAddr::new(requester)),
        };
        require(admitted, || Refusal::RuleRefused { rule, asset: B256::ZERO, account: requester })
    }

    fn permits(&self, gate: Address, asset: B256, account: Address) -> bool {
        self.gates.get(&gate).is_some_and(|permitted| permitted.contains(&(asset, account)))
    }

    /// Each order is in time, of its signer's epoch, not cancelled, and signed.
    fn require_authorised(
        &self,
        orders: &Orders,
        signers: &Signers,
        owners: &Owners,
        now: Timestamp,
    ) -> Result<Hashes, Refusal> {
        let (app, dataset, pool, request) = (&orders.app, &orders.dataset, &orders.pool, &orders.request);
        let good = |hash: OrderHash, (expiry, epoch): (Timestamp, u64), owner, signer| {
            self.require_order(hash, (expiry, epoch), owner, signer, now).map(|()| hash)
        };
        let terms = |expiry: Timestamp, epoch: u64| (expiry, epoch);
        Ok(Hashes {
            app: good(app.hash(&self.domain), terms(app.expires(), app.epoch), owners.app, signers.app)?,
            dataset: if orders.has_dataset() {
                good(
                    dataset.hash(&self.domain),
                    terms(dataset.expires(), dataset.epoch),
                    owners.dataset,
                    signers.dataset,
                )?
            } else {
                OrderHash::new(B256::ZERO)
            },
            pool: good(pool.hash(&self.domain), terms(pool.expires(), pool.epoch), owners.pool, signers.pool)?,
            request: good(
                request.hash(&self.domain),
                terms(request.expires(), request.epoch),
                request.requester,
                signers.request,
            )?,
        })
    }

    fn require_order(
        &self,
        order: OrderHash,
        (expiry, epoch): (Timestamp, u64),
        signer: Address,
        signature: Signature,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        require(now <= expiry, || Refusal::OrderExpired { order, expiry })?;
        let current = self.epoch_of(AccountAddr::new(signer));
        require(epoch >= current, || Refusal::OrderCancelled { order, epoch, current })?;
        self.require_vouched(order, signer, signature)
    }

    /// Takes as many tasks as all orders have left: `size`, after the `first` that the request had used.
    fn consume(&mut self, orders: &Orders, hashes: &Hashes) -> Result<(u32, u32), Refusal> {
        let mut used = vec![(hashes.request, orders.request.volume), (hashes.app, orders.app.volume)];
        if orders.has_dataset() {
            used.push((hashes.dataset, orders.dataset.volume));
        }
        used.push((hashes.pool, orders.pool.volume));
        let first = self.consumed(hashes.request);
        let mut size = UNLIMITED;
        for (order, volume) in &used {
            let left = remaining(*volume, self.consumed(*order));
            require(left > 0, || Refusal::OrderConsumed { order: *order })?;
            size = size.min(left);
        }
        for (order, volume) in used {
            if volume != UNLIMITED {
                *self.consumed.entry(order).or_insert(0) += size;
            }
        }
        Ok((first, size))
    }
}

/// What the orders say of each other: assets, prices, tag.
fn require_fit(orders: &Orders) -> Result<(), Refusal> {
    let (app, dataset, pool, request) = (&orders.app, &orders.dataset, &orders.pool, &orders.request);
    require_asset(request.app, app.app, AssetKind::App)?;
    require_price(app.app, app.price, request.appMaxPrice)?;
    let mut needed = app.tag | request.tag;
    if orders.has_dataset() {
        require_asset(request.dataset, dataset.dataset, AssetKind::Dataset)?;
        require_price(dataset.dataset, dataset.price, request.datasetMaxPrice)?;
        needed |= dataset.tag;
    } else {
        require(request.dataset.is_zero(), || Refusal::AssetMismatch { asked: request.dataset, offered: B256::ZERO })?;
    }
    require_kind(pool.pool, AssetKind::Pool)?;
    require_price(pool.pool, pool.price, request.poolMaxPrice)?;
    let missing = needed & !pool.tag;
    require(missing.is_zero(), || Refusal::TagMissing { missing })
}

fn require(holds: bool, refusal: impl FnOnce() -> Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal()) }
}

fn require_kind(asset: B256, kind: AssetKind) -> Result<(), Refusal> {
    let good = AssetId::new(asset).is_some_and(|asset| asset.kind() == kind);
    require(good, || Refusal::WrongKind { asset, wanted: kind as u8 })
}

fn require_asset(asked: B256, offered: B256, kind: AssetKind) -> Result<(), Refusal> {
    require_kind(offered, kind)?;
    require(asked == offered, || Refusal::AssetMismatch { asked, offered })
}

fn require_price(asset: B256, price: u128, max_price: u128) -> Result<(), Refusal> {
    require(price <= max_price, || Refusal::PriceTooHigh { asset, price, max_price })
}

fn terms_of(
    orders: &Orders,
    owners: &Owners,
    request_hash: OrderHash,
    (first, size): (u32, u32),
    now: Timestamp,
) -> DealTerms {
    let (pool, request) = (&orders.pool, &orders.request);
    DealTerms {
        request: request_hash.get(),
        pool: pool.pool,
        appOwner: owners.app,
        datasetOwner: owners.dataset,
        poolOwner: owners.pool,
        operator: pool.operator,
        payer: request.payer,
        callback: request.callback,
        appPrice: orders.app.price,
        // Without a dataset nobody would be paid its price.
        datasetPrice: if orders.has_dataset() { orders.dataset.price } else { 0 },
        poolPrice: pool.price,
        poolStake: pool.poolStake,
        workerStake: pool.workerStake,
        operatorShareBps: pool.operatorShareBps,
        parallel: pool.parallel,
        duration: request.duration,
        trust: request.trust,
        first,
        size,
        start: now.seconds(),
    }
}

fn subject_of(orders: &Orders, hashes: &Hashes) -> DealSubject {
    DealSubject {
        app: orders.app.app,
        dataset: orders.dataset.dataset,
        beneficiary: orders.request.beneficiary,
        tag: orders.request.tag,
        jobHash: orders.request.jobHash,
        appOrder: hashes.app.get(),
        datasetOrder: hashes.dataset.get(),
        poolOrder: hashes.pool.get(),
    }
}
