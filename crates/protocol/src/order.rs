//! The four orders and the sponsorship, field for field as people sign them (ADR 0001, section 2).

use crate::{Amount, OrderHash, Timestamp, domain::Domain};
use alloy_sol_types::{SolStruct, sol};

/// An app, dataset or pool order of this volume is good for any number of tasks.
pub const UNLIMITED: u32 = u32::MAX;
/// Tag bit: a trusted execution environment.
pub const TAG_TEE: u8 = 0;
/// Tag bit: a GPU.
pub const TAG_GPU: u8 = 8;

sol! {
    /// The owner of an app offers it.
    #[derive(Debug, PartialEq, Eq)]
    struct AppOrder {
        bytes32 app; uint128 price; uint32 volume; bytes32 tag;
        bytes32 datasetRule; bytes32 poolRule; bytes32 requesterRule;
        uint64 expiry; uint64 epoch; bytes32 salt;
    }
    /// The owner of a dataset offers it.
    #[derive(Debug, PartialEq, Eq)]
    struct DatasetOrder {
        bytes32 dataset; uint128 price; uint32 volume; bytes32 tag;
        bytes32 appRule; bytes32 poolRule; bytes32 requesterRule;
        uint64 expiry; uint64 epoch; bytes32 salt;
    }
    /// The owner of a pool offers its workers, under the policy that stands in the order.
    #[derive(Debug, PartialEq, Eq)]
    struct PoolOrder {
        bytes32 pool; uint128 price; uint32 volume; bytes32 tag;
        address operator; uint32 parallel; uint128 workerStake; uint128 poolStake; uint16 operatorShareBps;
        uint32 minDuration; uint32 maxDuration; uint32 maxTrust;
        bytes32 appRule; bytes32 datasetRule; bytes32 requesterRule;
        uint64 expiry; uint64 epoch; bytes32 salt;
    }
    /// A requester asks for tasks.
    #[derive(Debug, PartialEq, Eq)]
    struct RequestOrder {
        bytes32 app; uint128 appMaxPrice; bytes32 dataset; uint128 datasetMaxPrice;
        bytes32 poolRule; uint128 poolMaxPrice;
        address requester; address payer; address beneficiary; address callback;
        bytes32 jobHash; uint32 volume; bytes32 tag; uint32 duration; uint32 trust;
        uint64 expiry; uint64 epoch; bytes32 salt;
    }
    /// A sponsor pays for one match.
    #[derive(Debug, PartialEq, Eq)]
    struct Sponsorship { bytes32 request; bytes32 poolOrder; uint32 volume; uint64 expiry; }
}

/// What all orders have.
pub trait Order: SolStruct {
    /// The hash by which the order is known, consumed and cancelled: its EIP-712 digest.
    fn hash(&self, domain: &Domain) -> OrderHash {
        OrderHash::new(domain.digest(self))
    }
    /// The last second at which it is good.
    fn expires(&self) -> Timestamp;
}

impl Order for AppOrder {
    fn expires(&self) -> Timestamp {
        Timestamp::new(self.expiry)
    }
}
impl Order for DatasetOrder {
    fn expires(&self) -> Timestamp {
        Timestamp::new(self.expiry)
    }
}
impl Order for PoolOrder {
    fn expires(&self) -> Timestamp {
        Timestamp::new(self.expiry)
    }
}
impl Order for RequestOrder {
    fn expires(&self) -> Timestamp {
        Timestamp::new(self.expiry)
    }
}

/// How many tasks of an order of `volume` are left when `consumed` are gone.
pub const fn remaining(volume: u32, consumed: u32) -> u32 {
    if volume == UNLIMITED { UNLIMITED } else { volume.saturating_sub(consumed) }
}

/// The price of one task under these orders; `None` past 2^128.
pub fn price_per_task(app: &AppOrder, dataset: Option<&DatasetOrder>, pool: &PoolOrder) -> Option<Amount> {
    Amount::new(app.price)
        .checked_add(Amount::new(dataset.map_or(0, |d| d.price)))?
        .checked_add(Amount::new(pool.price))
}
