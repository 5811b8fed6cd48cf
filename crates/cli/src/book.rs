//! The order book as commands ask it. What it says of assets is checked on chain where money depends on it.

use crate::{chain::Chain, exit::Exit, hint::Failure, settings::Settings};
use alloy::primitives::B256;
use berth_protocol::{AssetId, AssetKind};
use berth_wire::{
    client::MarketClient,
    market::{Listed, Publication, Query},
    order::{AnyOrder, AppOrder, DatasetOrder, PoolOrder, SignedOrder},
};

/// More orders than this of one kind are not looked at: the cheapest come first.
const MOST_ORDERS: usize = 1_000;

/// An offer of a pool.
#[derive(Debug, Clone)]
pub(crate) struct PoolOffer {
    pub(crate) order: PoolOrder,
    pub(crate) listed: Listed,
}

/// An offer of an app.
#[derive(Debug, Clone)]
pub(crate) struct AppOffer {
    pub(crate) order: AppOrder,
    pub(crate) listed: Listed,
}

/// An offer of data.
#[derive(Debug, Clone)]
pub(crate) struct DatasetOffer {
    pub(crate) order: DatasetOrder,
    pub(crate) listed: Listed,
}

/// An order book.
#[derive(Debug, Clone)]
pub(crate) struct Book(MarketClient);

impl Book {
    /// The one that the settings name. Nothing is sent yet.
    pub(crate) fn of(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self(MarketClient::new(settings.market()?)))
    }

    /// That its orders are good on this chain.
    pub(crate) async fn check(&self, chain: &Chain) -> Result<(), Failure> {
        let info = self.0.info().await?;
        let domain = chain.domain();
        if info.chain_id == domain.chain_id && info.berth == domain.berth {
            return Ok(());
        }
        let message = format!(
            "the order book is about contract {} on chain {}, not about {} on chain {}",
            info.berth, info.chain_id, domain.berth, domain.chain_id
        );
        Err(Failure::preflight("wrong-market", message).hint("give the order book of this market: --market URL"))
    }

    async fn orders(&self, kind: &str, asset: Option<AssetId>) -> Result<Vec<Listed>, Failure> {
        let asset = asset.map(AssetId::get);
        let mut query = Query { kind: Some(kind.to_owned()), asset, ..Query::default() };
        let mut orders = Vec::new();
        loop {
            let page = self.0.orders(&query).await?;
            orders.extend(page.orders);
            query.cursor = page.cursor;
            if query.cursor.is_none() || orders.len() >= MOST_ORDERS {
                return Ok(orders);
            }
        }
    }

    /// Offers of pools, cheapest first.
    pub(crate) async fn pools(&self, pool: Option<AssetId>) -> Result<Vec<PoolOffer>, Failure> {
        let orders = self.orders("pool", pool).await?.into_iter();
        Ok(orders
            .filter_map(|listed| match listed.order.order.clone() {
                AnyOrder::Pool(order) => Some(PoolOffer { order, listed }),
                AnyOrder::App(_) | AnyOrder::Dataset(_) | AnyOrder::Request(_) => None,
            })
            .collect())
    }

    /// Offers of apps, cheapest first.
    pub(crate) async fn apps(&self, app: Option<AssetId>) -> Result<Vec<AppOffer>, Failure> {
        let orders = self.orders("app", app).await?.into_iter();
        Ok(orders
            .filter_map(|listed| match listed.order.order.clone() {
                AnyOrder::App(order) => Some(AppOffer { order, listed }),
                AnyOrder::Pool(_) | AnyOrder::Dataset(_) | AnyOrder::Request(_) => None,
            })
            .collect())
    }

    /// Offers of data, cheapest first.
    pub(crate) async fn datasets(&self, dataset: Option<AssetId>) -> Result<Vec<DatasetOffer>, Failure> {
        let orders = self.orders("dataset", dataset).await?.into_iter();
        Ok(orders
            .filter_map(|listed| match listed.order.order.clone() {
                AnyOrder::Dataset(order) => Some(DatasetOffer { order, listed }),
                AnyOrder::App(_) | AnyOrder::Pool(_) | AnyOrder::Request(_) => None,
            })
            .collect())
    }

    /// The dataset that is meant: by id, or by its name.
    pub(crate) async fn dataset(&self, text: &str) -> Result<AssetId, Failure> {
        let shown = "`berth dataset list` shows those that are on offer";
        if text.starts_with("0x") {
            let id: AssetId =
                text.parse().map_err(|error| Failure::usage("dataset-id", format!("{error}")).hint(shown))?;
            if id.kind() == AssetKind::Dataset {
                return Ok(id);
            }
            let message = format!("{id} is no dataset: its last byte says that it is a {:?}", id.kind());
            return Err(Failure::usage("dataset-id", message).hint(shown));
        }
        let offers = self.datasets(None).await?;
        let named = offers.iter().filter(|offer| offer.listed.name.as_deref() == Some(text));
        one("dataset", "in place of the name", Some(text), named.map(|o| (o.order.dataset, o.listed.name.clone())))
    }

    /// The pool that is meant: by id, by name, or the only one.
    pub(crate) async fn pool(&self, text: Option<&str>) -> Result<AssetId, Failure> {
        if let Some(text) = text.filter(|text| text.starts_with("0x")) {
            return parse_pool(text);
        }
        let offers = self.pools(None).await?;
        let named = offers.iter().filter(|offer| text.is_none() || offer.listed.name.as_deref() == text);
        let ids = named.map(|offer| (offer.order.pool, offer.listed.name.clone()));
        one("pool", "--pool", text, ids)
    }

    /// The app that is meant: by id, or by its name.
    pub(crate) async fn app(&self, text: &str) -> Result<AssetId, Failure> {
        if text.starts_with("0x") {
            let parsed = text.parse();
            return parsed.map_err(|error| {
                Failure::usage("app-id", format!("{error}")).hint("`berth app list` shows those that are on offer")
            });
        }
        let hint = "give its id: `berth app register` or `berth deploy` has told it";
        self.app_named(text)
            .await?
            .ok_or_else(|| Failure::not_found("app-unknown", format!("no app `{text}` is on offer")).hint(hint))
    }

    /// The app of that name, if one is on offer.
    pub(crate) async fn app_named(&self, name: &str) -> Result<Option<AssetId>, Failure> {
        let offers = self.apps(None).await?;
        let named = offers.iter().filter(|offer| offer.listed.name.as_deref() == Some(name));
        let ids = named.map(|offer| (offer.order.app, offer.listed.name.clone()));
        match one("app", "in place of the name", Some(name), ids) {
            Ok(id) => Ok(Some(id)),
            Err(failure) if failure.exit == Exit::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Publishes an order.
    pub(crate) async fn publish(&self, order: SignedOrder, url: Option<String>) -> Result<B256, Failure> {
        Ok(self.0.publish(&Publication { order, url }).await?.hash)
    }

    /// Publishes a job document.
    pub(crate) async fn publish_job(&self, canonical: Vec<u8>) -> Result<(), Failure> {
        self.0.publish_job(canonical).await?;
        Ok(())
    }
}

/// A pool's id as typed.
pub(crate) fn parse_pool(text: &str) -> Result<AssetId, Failure> {
    text.parse().map_err(|error| Failure::usage("pool-id", format!("{error}")).hint("`berth pool show` shows it"))
}

fn one(
    what: &str,
    flag: &str,
    text: Option<&str>,
    ids: impl Iterator<Item = (B256, Option<String>)>,
) -> Result<AssetId, Failure> {
    let mut ids: Vec<(B256, Option<String>)> = ids.collect();
    ids.sort();
    ids.dedup();
    match (&*ids, text) {
        ([(id, _)], _) => AssetId::new(*id)
            .ok_or_else(|| Failure::new(Exit::Error, "market-answer", format!("the order book calls {id} a {what}"))),
        ([], Some(text)) => {
            Err(Failure::not_found(&format!("{what}-unknown"), format!("no {what} `{text}` is on offer"))
                .hint(format!("give its id, or see `berth {what} {}`", if what == "pool" { "show" } else { "list" })))
        }
        ([], None) => Err(Failure::not_found(&format!("{what}-unknown"), format!("no {what} is on offer"))
            .hint(format!("`berth {what} --help` tells how to offer one"))),
        (several, _) => {
            let message = match text {
                Some(text) => format!("{} {what}s are called `{text}`", several.len()),
                None => format!("there are {} {what}s", several.len()),
            };
            let failure =
                Failure::usage(&format!("{what}-ambiguous"), message).hint(format!("say which by its id ({flag}):"));
            Err(several.iter().fold(failure, |failure, (id, name)| {
                failure.hint(format!("  {id} {}", name.as_deref().unwrap_or("(no name)")))
            }))
        }
    }
}
