//! The order book's HTTP interface.
//!
//! | call | what |
//! |---|---|
//! | `GET /healthz`, `/readyz`, `/version` | is it alive, is it ready |
//! | `GET /v1/info` | [`Info`] |
//! | `POST /v1/orders` | publish a [`Publication`]; answers [`Published`]; the same again is no error |
//! | `GET /v1/orders?kind=&asset=&owner=&cursor=&limit=` | [`Page`] of orders that can still be matched, cheapest first |
//! | `GET /v1/orders/{hash}` | one [`Listed`] |
//! | `POST /v1/jobs` | publish a job document (body: its canonical bytes); answers [`PublishedJob`] |
//! | `GET /v1/jobs/{hash}` | its bytes |

use crate::{descriptor::Runtime, order::SignedOrder};
use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// Where the book's orders are good.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Info {
    /// The chain.
    pub chain_id: u64,
    /// `Berth`.
    pub berth: Address,
    /// `Assets`.
    pub assets: Address,
    /// The settlement token.
    pub token: Address,
    /// The last block that it has taken in.
    pub block: u64,
}

/// An order to publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publication {
    /// The order, signed.
    #[serde(flatten)]
    pub order: SignedOrder,
    /// A pool's scheduler. A hint: what it serves is checked against the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// An order is in the book.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// Its hash.
    pub hash: B256,
}

/// A job is in the book.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedJob {
    /// Its hash.
    pub job_hash: B256,
}

/// An order of the book.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// Its hash.
    pub hash: B256,
    /// The order, signed.
    #[serde(flatten)]
    pub order: SignedOrder,
    /// Who signed it.
    pub signer: Address,
    /// Tasks that are left of it.
    pub remaining: u32,
    /// A pool's scheduler.
    pub url: Option<String>,
    /// The name in its asset's descriptor.
    pub name: Option<String>,
    /// How its app runs, by that descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
}

/// What to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Query {
    /// `app`, `dataset`, `pool` or `request`.
    pub kind: Option<String>,
    /// Only this asset's.
    pub asset: Option<B256>,
    /// Only this signer's.
    pub owner: Option<Address>,
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// How many, at most 200.
    pub limit: Option<u32>,
}

/// Orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// By price, then hash.
    pub orders: Vec<Listed>,
    /// For the next page, if there is one.
    pub cursor: Option<String>,
}
