//! What apps and datasets have in common: each is registered once, and offered by orders of one form.

use super::pool::owned;
use crate::{
    args::OfferTerms,
    book::Book,
    chain::{Call, Chain},
    hint::Failure,
    intent::units,
    keys,
    render::{Progress, Report, fields, time},
    settings::Settings,
};
use alloy::primitives::B256;
use berth_chain::{call, outbox::Mined, signer::Signer};
use berth_protocol::{
    AccountAddr, Amount, AssetId, AssetKind, OrderHash, Timestamp, domain::Domain, order, order::Order as _,
    order::UNLIMITED,
};
use berth_wire::{
    descriptor::Descriptor,
    order::{AnyOrder, SignedOrder},
};
use serde_json::json;

/// The largest descriptor that the contract takes.
const MAX_DESCRIPTOR_BYTES: usize = 8_192;

/// What is on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goods {
    App,
    Dataset,
}

impl Goods {
    /// The command's own word for it.
    const fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Dataset => "dataset",
        }
    }

    const fn kind(self) -> AssetKind {
        match self {
            Self::App => AssetKind::App,
            Self::Dataset => AssetKind::Dataset,
        }
    }
}

/// The terms of an offer as typed.
pub(crate) struct Wish<'a> {
    pub(crate) price: &'a str,
    pub(crate) volume: Option<u32>,
    pub(crate) expires: &'a str,
}

impl<'a> From<&'a OfferTerms> for Wish<'a> {
    fn from(typed: &'a OfferTerms) -> Self {
        Self { price: &typed.price, volume: typed.volume, expires: &typed.expires }
    }
}

impl Wish<'_> {
    async fn terms(&self, settings: &Settings, chain: &Chain) -> Result<Offer, Failure> {
        let account = AccountAddr::new(keys::account(settings)?);
        let price = chain.token.parse("--price", self.price)?;
        let good_for = units::duration("--expires", self.expires)?.as_secs();
        let (now, epoch) = tokio::join!(chain.read.chain_time(), chain.read.epoch_of(account));
        let volume = self.volume.unwrap_or(UNLIMITED);
        Ok(Offer { price, volume, expiry: now?.plus(good_for).seconds(), epoch: epoch? })
    }
}

/// The terms of an offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) price: Amount,
    pub(crate) volume: u32,
    pub(crate) expiry: u64,
    pub(crate) epoch: u64,
}

/// Something that was registered and offered.
pub(crate) struct Enrolled {
    goods: Goods,
    pub(crate) chain: Chain,
    pub(crate) id: AssetId,
    pub(crate) hash: OrderHash,
    pub(crate) offer: Offer,
    pub(crate) mined: Mined,
}

impl Enrolled {
    /// What is shown of it. `more`: what else there is to say of what it is.
    pub(super) fn report(&self, name: &str, descriptor: &Descriptor, more: Option<(&'static str, String)>) -> Report {
        let Self { goods, chain, id, hash, offer, mined } = self;
        let (id, hash, name) = (id.to_string(), hash.to_string(), name.to_owned());
        let mut rows = vec![(goods.word(), id.clone()), ("name", name.clone())];
        rows.extend(more);
        rows.extend([
            ("order", hash.clone()),
            ("price", format!("{} a task", chain.token.show(offer.price))),
            ("gas", mined.gas_used.to_string()),
        ]);
        let json = json!({ (goods.word()): id, "name": name, "order": hash, "price": offer.price.to_string(),
                           "descriptor": descriptor, "transaction": mined.tx, "block": mined.block.get(),
                           "gas": mined.gas_used });
        Report::new(fields(&rows), json)
    }
}

/// Registers something, and publishes an offer of it.
pub(crate) async fn enrol(
    settings: &Settings,
    goods: Goods,
    descriptor: &Descriptor,
    wish: &Wish<'_>,
) -> Result<Enrolled, Failure> {
    let (book, word) = (Book::of(settings)?, goods.word());
    let chain = Chain::open(settings).await?;
    book.check(&chain).await?;
    let offer = wish.terms(settings, &chain).await?;
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step(format!("registering the {word}"));
    let (id, mined) = register(&chain, &signer, goods.kind(), descriptor).await?;
    progress.step("publishing its order");
    let (hash, signed) = sign(&signer, &chain.domain(), (goods, id), &offer);
    book.publish(signed, None).await.map_err(|failure| {
        failure
            .hint(format!("the {word} is registered as {id}, which can't be taken back, but it is not on offer"))
            .hint(format!("`berth {word} order {id} --price {}` offers it", wish.price))
    })?;
    Ok(Enrolled { goods, chain, id, hash, offer, mined })
}

/// Offers what is there, by its id or its name in the order book.
pub(super) async fn order(settings: &Settings, goods: Goods, named: &str, wish: &Wish<'_>) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    book.check(&chain).await?;
    let id = match goods {
        Goods::App => book.app(named).await?,
        Goods::Dataset => book.dataset(named).await?,
    };
    owned(&chain, id, account).await?;
    let offer = wish.terms(settings, &chain).await?;
    let signer = keys::unlock(settings)?;
    let (hash, signed) = sign(&signer, &chain.domain(), (goods, id), &offer);
    let progress = Progress::new();
    progress.step("publishing the order");
    book.publish(signed, None).await?;
    drop(progress);
    let text = fields(&[
        ("order", hash.to_string()),
        (goods.word(), id.to_string()),
        ("price", format!("{} a task", chain.token.show(offer.price))),
        ("good until", time(Timestamp::new(offer.expiry))),
    ]);
    let json = json!({ "order": hash.to_string(), (goods.word()): id.to_string(), "price": offer.price.to_string(),
                       "expiry": offer.expiry });
    Ok(Report::new(text, json))
}

/// An order of something, with its signature and its hash.
pub(super) fn sign(
    signer: &Signer,
    domain: &Domain,
    (goods, id): (Goods, AssetId),
    offer: &Offer,
) -> (OrderHash, SignedOrder) {
    let (price, volume, expiry, epoch) = (offer.price.units(), offer.volume, offer.expiry, offer.epoch);
    let (anybody, salt) = (B256::ZERO, B256::new(rand::random()));
    let (hash, signature, order) = match goods {
        Goods::App => {
            let order = order::AppOrder {
                app: id.get(),
                price,
                volume,
                tag: B256::ZERO,
                datasetRule: anybody,
                poolRule: anybody,
                requesterRule: anybody,
                expiry,
                epoch,
                salt,
            };
            (order.hash(domain), signer.sign(domain, &order), AnyOrder::App(order.into()))
        }
        Goods::Dataset => {
            let order = order::DatasetOrder {
                dataset: id.get(),
                price,
                volume,
                tag: B256::ZERO,
                appRule: anybody,
                poolRule: anybody,
                requesterRule: anybody,
                expiry,
                epoch,
                salt,
            };
            (order.hash(domain), signer.sign(domain, &order), AnyOrder::Dataset(order.into()))
        }
    };
    (hash, SignedOrder { order, signature })
}

/// Registers an asset, and gives its id with the transaction.
pub(super) async fn register(
    chain: &Chain,
    signer: &Signer,
    kind: AssetKind,
    descriptor: &Descriptor,
) -> Result<(AssetId, Mined), Failure> {
    let bytes = descriptor.to_bytes();
    if bytes.len() > MAX_DESCRIPTOR_BYTES {
        let message = format!("the descriptor has {} bytes; {MAX_DESCRIPTOR_BYTES} are the most", bytes.len());
        return Err(Failure::usage("descriptor", message).hint("give a shorter name"));
    }
    let id = AssetId::derive(kind, signer.address(), &bytes);
    if chain.read.owner_of(id).await?.is_some() {
        let message = format!("{} has registered exactly this before: {id}", signer.address());
        return Err(Failure::preflight("asset-exists", message).hint("use that one, or give another name"));
    }
    let text = String::from_utf8(bytes).expect("JSON is UTF-8");
    let calls = vec![Call { to: chain.deployment.assets, calldata: call::register(kind, text), note: "register" }];
    let mined = chain.send(signer, calls).await?.remove(0);
    Ok((id, mined))
}
