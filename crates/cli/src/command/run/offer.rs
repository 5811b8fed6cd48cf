//! Which offers a request fits, and why it does not fit the others. Pure.

use crate::book::{AppOffer, DatasetOffer, PoolOffer};
use alloy::primitives::{Address, B256};
use berth_protocol::{Amount, AssetId, Timestamp, rule::Rule};

/// An order that ends sooner than this could be over when the match is mined.
const MARGIN_S: u64 = 30;
/// The longest that a task may run where the user does not say.
const USUAL_DURATION_S: u32 = 600;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) requester: Address,
    /// Offers of the dataset that is wanted, cheapest first; none: there is no dataset.
    pub(crate) datasets: Vec<DatasetOffer>,
    pub(crate) volume: u32,
    pub(crate) trust: u32,
    /// Per task, app, dataset and pool together.
    pub(crate) max_price: Option<Amount>,
    /// Seconds.
    pub(crate) timeout: Option<u32>,
    pub(crate) now: Timestamp,
    /// The contract's bound on a deal, in seconds.
    pub(crate) max_span: u64,
}

/// Offers that fit.
#[derive(Debug, Clone)]
pub(crate) struct Quote {
    pub(crate) app: AppOffer,
    pub(crate) pool: PoolOffer,
    pub(crate) dataset: Option<DatasetOffer>,
    /// Per task.
    pub(crate) price: Amount,
    /// Seconds.
    pub(crate) duration: u32,
}

/// An offer that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) order: B256,
    pub(crate) name: Option<String>,
    pub(crate) why: Why,
}

/// Why an offer does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    Price {
        price: Amount,
        max: Amount,
    },
    Trust(u32),
    TooShort {
        min: u32,
    },
    TooLong {
        max: u32,
    },
    Span {
        span: u64,
        max: u64,
    },
    Left(u32),
    Expires,
    Tag,
    Rule(&'static str),
    NoUrl,
    /// Found out by asking: its scheduler does not answer, or is another's; its owner can't stake.
    Asked(String),
}

/// All fitting pairs, cheapest first, and why each other offer fits not.
pub(crate) fn choose(wanted: &Wanted, apps: &[AppOffer], pools: &[PoolOffer]) -> (Vec<Quote>, Vec<Misfit>) {
    let mut quotes: Vec<Quote> = Vec::new();
    let mut misfits = Vec::new();
    let mut open = Vec::new();
    for app in apps {
        match app_fits(wanted, app) {
            Ok(()) => open.push(app),
            Err(why) => misfits.push(Misfit { order: app.listed.hash, name: app.listed.name.clone(), why }),
        }
    }
    for pool in pools {
        let mut first = None;
        for app in &open {
            match pair(wanted, app, pool) {
                Ok(quote) => quotes.push(quote),
                Err(why) => first = first.or(Some(why)),
            }
        }
        if let Some(why) = first.filter(|_| !quotes.iter().any(|quote| quote.pool.listed.hash == pool.listed.hash)) {
            misfits.push(Misfit { order: pool.listed.hash, name: pool.listed.name.clone(), why });
        }
    }
    quotes.sort_by_key(|quote| (quote.price, quote.pool.listed.hash));
    (quotes, misfits)
}

fn app_fits(wanted: &Wanted, app: &AppOffer) -> Result<(), Why> {
    lasts(wanted, app.order.expiry, app.listed.remaining)?;
    admits(app.order.requester_rule, None, wanted.requester, "its app serves other requesters only")?;
    about_data(wanted, app.order.dataset_rule, "its app runs with certain datasets only")
}

/// Where there is no dataset, whoever wants a certain one, or a certain owner's, is not served.
fn about_data(wanted: &Wanted, rule: B256, why: &'static str) -> Result<(), Why> {
    if let Some(dataset) = wanted.datasets.first() {
        return admits(rule, AssetId::new(dataset.order.dataset), dataset.listed.signer, why);
    }
    match Rule::decode(rule) {
        Rule::Any | Rule::Contract(_) => Ok(()),
        Rule::Account(_) | Rule::Asset(_) => Err(Why::Rule(why)),
    }
}

fn pair(wanted: &Wanted, app: &AppOffer, pool: &PoolOffer) -> Result<Quote, Why> {
    let order = &pool.order;
    lasts(wanted, order.expiry, pool.listed.remaining)?;
    if wanted.trust > order.max_trust {
        return Err(Why::Trust(order.max_trust));
    }
    let usual = USUAL_DURATION_S.clamp(order.min_duration, order.max_duration.max(order.min_duration));
    let duration = wanted.timeout.unwrap_or(usual);
    if duration < order.min_duration {
        return Err(Why::TooShort { min: order.min_duration });
    }
    if duration > order.max_duration {
        return Err(Why::TooLong { max: order.max_duration });
    }
    let span = u64::from(duration) * u64::from(wanted.volume.div_ceil(order.parallel.max(1)));
    if span > wanted.max_span {
        return Err(Why::Span { span, max: wanted.max_span });
    }
    if app.order.tag & !order.tag != B256::ZERO {
        return Err(Why::Tag);
    }
    let app_id = AssetId::new(app.order.app);
    admits(order.requester_rule, None, wanted.requester, "the pool serves other requesters only")?;
    about_data(wanted, order.dataset_rule, "the pool runs with certain datasets only")?;
    let dataset = data(wanted, app, pool)?;
    admits(order.app_rule, app_id, app.listed.signer, "the pool runs other apps only")?;
    admits(app.order.pool_rule, AssetId::new(order.pool), pool.listed.signer, "the app runs in other pools only")?;
    if pool.listed.url.is_none() {
        return Err(Why::NoUrl);
    }
    let of_data = Amount::new(dataset.map_or(0, |dataset| dataset.order.price.0));
    let price = Amount::new(app.order.price.0).checked_add(Amount::new(order.price.0));
    let price = price.and_then(|price| price.checked_add(of_data));
    let price = price.ok_or(Why::Price { price: Amount::new(u128::MAX), max: wanted.max_price.unwrap_or_default() })?;
    match wanted.max_price {
        Some(max) if price > max => Err(Why::Price { price, max }),
        _ => Ok(Quote { app: app.clone(), pool: pool.clone(), dataset: dataset.cloned(), price, duration }),
    }
}

/// The cheapest offer of the dataset that serves this requester, app and pool.
fn data<'a>(wanted: &'a Wanted, app: &AppOffer, pool: &PoolOffer) -> Result<Option<&'a DatasetOffer>, Why> {
    let mut first = None;
    for dataset in &wanted.datasets {
        let order = &dataset.order;
        let fits = lasts(wanted, order.expiry, dataset.listed.remaining)
            .and_then(|()| {
                admits(order.requester_rule, None, wanted.requester, "its dataset serves other requesters only")
            })
            .and_then(|()| {
                let id = AssetId::new(app.order.app);
                admits(order.app_rule, id, app.listed.signer, "its dataset goes with other apps only")
            })
            .and_then(|()| {
                let id = AssetId::new(pool.order.pool);
                admits(order.pool_rule, id, pool.listed.signer, "its dataset goes into other pools only")
            })
            .and_then(|()| if order.tag & !pool.order.tag == B256::ZERO { Ok(()) } else { Err(Why::Tag) });
        match fits {
            Ok(()) => return Ok(Some(dataset)),
            Err(why) => first = first.or(Some(why)),
        }
    }
    first.map_or(Ok(None), Err)
}

fn lasts(wanted: &Wanted, expiry: u64, remaining: u32) -> Result<(), Why> {
    if Timestamp::new(expiry) < wanted.now.plus(MARGIN_S) {
        return Err(Why::Expires);
    }
    if remaining < wanted.volume {
        return Err(Why::Left(remaining));
    }
    Ok(())
}

/// A rule that only the chain can answer is left to the chain: the match is simulated before it is sent.
fn admits(rule: B256, asset: Option<AssetId>, account: Address, why: &'static str) -> Result<(), Why> {
    match Rule::decode(rule).admits(asset, account) {
        Some(false) => Err(Why::Rule(why)),
        Some(true) | None => Ok(()),
    }
}

impl Why {
    /// In words; `show` writes an amount with its token.
    pub(crate) fn describe(&self, show: impl Fn(Amount) -> String) -> String {
        match self {
            Self::Price { price, max } => format!("a task costs {}, and the most is {}", show(*price), show(*max)),
            Self::Trust(max) => format!("it gives trust {max} at most"),
            Self::TooShort { min } => format!("a task may not be shorter than {min} s"),
            Self::TooLong { max } => format!("a task may not be longer than {max} s"),
            Self::Span { span, max } => format!("so many tasks would take it {span} s, and {max} s are the most"),
            Self::Left(tasks) => format!("only {tasks} tasks are left of it"),
            Self::Expires => "it is over, or nearly".to_owned(),
            Self::Tag => "it lacks what the app needs (its tag)".to_owned(),
            Self::Rule(why) => (*why).to_owned(),
            Self::NoUrl => "it does not say where its scheduler is".to_owned(),
            Self::Asked(why) => why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_protocol::order::UNLIMITED;
    use berth_wire::{
        market::Listed,
        order::{AnyOrder, AppOrder, PoolOrder, SignedOrder},
    };

    fn id(byte: u8, kind: u8) -> B256 {
        let mut id = B256::repeat_byte(byte);
        id[31] = kind;
        id
    }

    fn listed(hash: u8, order: AnyOrder, url: Option<&str>) -> Listed {
        let order = SignedOrder { order, signature: vec![0; 65].into() };
        Listed {
            hash: B256::repeat_byte(hash),
            signer: Address::repeat_byte(hash),
            remaining: UNLIMITED,
            url: url.map(str::to_owned),
            name: None,
            runtime: None,
            order,
        }
    }

    fn app(hash: u8, price: u128) -> AppOffer {
        let order = AppOrder {
            app: id(1, 1),
            price: price.into(),
            volume: UNLIMITED,
            tag: B256::ZERO,
            dataset_rule: B256::ZERO,
            pool_rule: B256::ZERO,
            requester_rule: B256::ZERO,
            expiry: 10_000,
            epoch: 0,
            salt: B256::ZERO,
        };
        AppOffer { listed: listed(hash, AnyOrder::App(order.clone()), None), order }
    }

    fn pool(hash: u8, price: u128) -> PoolOffer {
        let order = PoolOrder {
            pool: id(hash, 3),
            price: price.into(),
            volume: UNLIMITED,
            tag: B256::ZERO,
            operator: Address::repeat_byte(9),
            parallel: 2,
            worker_stake: 0.into(),
            pool_stake: 0.into(),
            operator_share_bps: 0,
            min_duration: 10,
            max_duration: 1_000,
            max_trust: 1,
            app_rule: B256::ZERO,
            dataset_rule: B256::ZERO,
            requester_rule: B256::ZERO,
            expiry: 10_000,
            epoch: 0,
            salt: B256::ZERO,
        };
        PoolOffer { listed: listed(hash, AnyOrder::Pool(order.clone()), Some("http://here")), order }
    }

    fn wanted() -> Wanted {
        Wanted {
            requester: Address::repeat_byte(5),
            datasets: Vec::new(),
            volume: 4,
            trust: 1,
            max_price: None,
            timeout: None,
            now: Timestamp::new(1_000),
            max_span: 100_000,
        }
    }

    fn why(wanted: &Wanted, app: AppOffer, pool: PoolOffer) -> Option<Why> {
        let (quotes, mut misfits) = choose(wanted, &[app], &[pool]);
        assert!(quotes.is_empty() != misfits.is_empty(), "an offer fits, or says why not");
        misfits.pop().map(|misfit| misfit.why)
    }

    #[test]
    fn the_cheapest_pair_comes_first() {
        let (quotes, misfits) = choose(&wanted(), &[app(20, 7), app(21, 3)], &[pool(30, 5), pool(31, 1)]);
        let prices: Vec<u128> = quotes.iter().map(|quote| quote.price.units()).collect();
        assert_eq!(prices, [4, 8, 8, 12]);
        assert!(misfits.is_empty());
        assert_eq!(quotes[0].duration, 600, "ten minutes, unless the pool or the user says otherwise");
    }

    #[test]
    fn every_offer_that_does_not_fit_says_why() {
        let base = wanted();
        assert_eq!(why(&base, app(20, 1), pool(30, 1)), None);
        let poor = Wanted { max_price: Some(Amount::new(1)), ..base.clone() };
        let price = Why::Price { price: Amount::new(2), max: Amount::new(1) };
        assert_eq!(why(&poor, app(20, 1), pool(30, 1)), Some(price));
        let sure = Wanted { trust: 5, ..base.clone() };
        assert_eq!(why(&sure, app(20, 1), pool(30, 1)), Some(Why::Trust(1)));
        let short = Wanted { timeout: Some(3), ..base.clone() };
        assert_eq!(why(&short, app(20, 1), pool(30, 1)), Some(Why::TooShort { min: 10 }));
        let long = Wanted { timeout: Some(2_000), ..base.clone() };
        assert_eq!(why(&long, app(20, 1), pool(30, 1)), Some(Why::TooLong { max: 1_000 }));
        let many = Wanted { volume: 1_000, ..base.clone() };
        assert_eq!(why(&many, app(20, 1), pool(30, 1)), Some(Why::Span { span: 300_000, max: 100_000 }));
        let late = Wanted { now: Timestamp::new(9_990), ..base.clone() };
        assert_eq!(why(&late, app(20, 1), pool(30, 1)), Some(Why::Expires));
        let mut few = pool(30, 1);
        few.listed.remaining = 3;
        assert_eq!(why(&base, app(20, 1), few), Some(Why::Left(3)));
        let mut needy = app(20, 1);
        needy.order.tag = B256::with_last_byte(1);
        assert_eq!(why(&base, needy, pool(30, 1)), Some(Why::Tag));
        let mut nowhere = pool(30, 1);
        nowhere.listed.url = None;
        assert_eq!(why(&base, app(20, 1), nowhere), Some(Why::NoUrl));
    }

    #[test]
    fn rules_admit_accounts_and_assets_and_leave_contracts_to_the_chain() {
        let base = wanted();
        let mut pools = pool(30, 1);
        pools.order.requester_rule = Rule::Account(Address::repeat_byte(6)).encode();
        assert!(matches!(why(&base, app(20, 1), pools.clone()), Some(Why::Rule(_))));
        pools.order.requester_rule = Rule::Account(base.requester).encode();
        assert_eq!(why(&base, app(20, 1), pools.clone()), None);
        pools.order.app_rule = Rule::Asset(id(2, 1)).encode();
        assert!(matches!(why(&base, app(20, 1), pools.clone()), Some(Why::Rule(_))));
        pools.order.app_rule = Rule::Contract(Address::repeat_byte(8)).encode();
        assert_eq!(why(&base, app(20, 1), pools.clone()), None);
        pools.order.dataset_rule = Rule::Asset(id(4, 2)).encode();
        assert!(matches!(why(&base, app(20, 1), pools.clone()), Some(Why::Rule(_))));
        pools.order.dataset_rule = B256::ZERO;
        let mut apps = app(20, 1);
        apps.order.pool_rule = Rule::Asset(id(31, 3)).encode();
        assert!(matches!(why(&base, apps, pools), Some(Why::Rule(_))));
    }
}
