//! Orders as JSON, mirror images of `protocol`'s, and signed.

use crate::units::Decimal;
use alloy::primitives::{Address, B256, Bytes};
use berth_protocol::{OrderHash, domain::Domain, order, order::Order as _};
use serde::{Deserialize, Serialize};

macro_rules! mirror {
    ($(#[$doc:meta])* $name:ident = $domain:path { $($field:ident = $from:ident : $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[expect(missing_docs, reason = "each field is the order's of the same name, documented in ADR 0001")]
        pub struct $name { $(pub $field: $ty),* }

        impl From<$domain> for $name {
            fn from(order: $domain) -> Self {
                Self { $($field: order.$from.into()),* }
            }
        }
        impl From<$name> for $domain {
            fn from(order: $name) -> Self {
                Self { $($from: order.$field.into()),* }
            }
        }
    };
}
pub(crate) use mirror;

mirror!(
    /// An app order.
    AppOrder = order::AppOrder {
        app = app: B256, price = price: Decimal, volume = volume: u32, tag = tag: B256,
        dataset_rule = datasetRule: B256, pool_rule = poolRule: B256, requester_rule = requesterRule: B256,
        expiry = expiry: u64, epoch = epoch: u64, salt = salt: B256,
    }
);
mirror!(
    /// A dataset order.
    DatasetOrder = order::DatasetOrder {
        dataset = dataset: B256, price = price: Decimal, volume = volume: u32, tag = tag: B256,
        app_rule = appRule: B256, pool_rule = poolRule: B256, requester_rule = requesterRule: B256,
        expiry = expiry: u64, epoch = epoch: u64, salt = salt: B256,
    }
);
mirror!(
    /// A pool order.
    PoolOrder = order::PoolOrder {
        pool = pool: B256, price = price: Decimal, volume = volume: u32, tag = tag: B256,
        operator = operator: Address, parallel = parallel: u32, worker_stake = workerStake: Decimal,
        pool_stake = poolStake: Decimal, operator_share_bps = operatorShareBps: u16,
        min_duration = minDuration: u32, max_duration = maxDuration: u32, max_trust = maxTrust: u32,
        app_rule = appRule: B256, dataset_rule = datasetRule: B256, requester_rule = requesterRule: B256,
        expiry = expiry: u64, epoch = epoch: u64, salt = salt: B256,
    }
);
mirror!(
    /// A request order.
    RequestOrder = order::RequestOrder {
        app = app: B256, app_max_price = appMaxPrice: Decimal, dataset = dataset: B256,
        dataset_max_price = datasetMaxPrice: Decimal, pool_rule = poolRule: B256,
        pool_max_price = poolMaxPrice: Decimal, requester = requester: Address, payer = payer: Address,
        beneficiary = beneficiary: Address, callback = callback: Address, job_hash = jobHash: B256,
        volume = volume: u32, tag = tag: B256, duration = duration: u32, trust = trust: u32,
        expiry = expiry: u64, epoch = epoch: u64, salt = salt: B256,
    }
);

/// One of the four orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "order", rename_all = "lowercase")]
pub enum AnyOrder {
    /// An app's.
    App(AppOrder),
    /// A dataset's.
    Dataset(DatasetOrder),
    /// A pool's.
    Pool(PoolOrder),
    /// A requester's.
    Request(RequestOrder),
}

impl AnyOrder {
    /// The order's hash in a domain.
    pub fn hash(&self, domain: &Domain) -> OrderHash {
        match self.clone() {
            Self::App(order) => order::AppOrder::from(order).hash(domain),
            Self::Dataset(order) => order::DatasetOrder::from(order).hash(domain),
            Self::Pool(order) => order::PoolOrder::from(order).hash(domain),
            Self::Request(order) => order::RequestOrder::from(order).hash(domain),
        }
    }

    /// `app`, `dataset`, `pool` or `request`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::App(_) => "app",
            Self::Dataset(_) => "dataset",
            Self::Pool(_) => "pool",
            Self::Request(_) => "request",
        }
    }

    /// The asset that it is about; for a request, its app.
    pub const fn asset(&self) -> B256 {
        match self {
            Self::App(order) => order.app,
            Self::Dataset(order) => order.dataset,
            Self::Pool(order) => order.pool,
            Self::Request(order) => order.app,
        }
    }

    /// The last second at which it is good.
    pub const fn expiry(&self) -> u64 {
        match self {
            Self::App(order) => order.expiry,
            Self::Dataset(order) => order.expiry,
            Self::Pool(order) => order.expiry,
            Self::Request(order) => order.expiry,
        }
    }

    /// For how many tasks it is good.
    pub const fn volume(&self) -> u32 {
        match self {
            Self::App(order) => order.volume,
            Self::Dataset(order) => order.volume,
            Self::Pool(order) => order.volume,
            Self::Request(order) => order.volume,
        }
    }

    /// The price of a task; a request's is the most that it pays in all.
    pub fn price(&self) -> Decimal {
        match self {
            Self::App(order) => order.price,
            Self::Dataset(order) => order.price,
            Self::Pool(order) => order.price,
            Self::Request(order) => Decimal(
                order.app_max_price.0.saturating_add(order.dataset_max_price.0).saturating_add(order.pool_max_price.0),
            ),
        }
    }
}

/// An order with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    /// The order.
    #[serde(flatten)]
    pub order: AnyOrder,
    /// 65 bytes `r ‖ s ‖ v`.
    pub signature: Bytes,
}
