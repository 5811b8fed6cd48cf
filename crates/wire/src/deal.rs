//! A deal's terms as JSON.

use crate::{order::mirror, units::Decimal};
use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

mirror!(
    /// The terms of a deal.
    DealTerms = berth_protocol::DealTerms {
        request = request: B256, pool = pool: B256, app_owner = appOwner: Address,
        dataset_owner = datasetOwner: Address, pool_owner = poolOwner: Address, operator = operator: Address,
        payer = payer: Address, callback = callback: Address, app_price = appPrice: Decimal,
        dataset_price = datasetPrice: Decimal, pool_price = poolPrice: Decimal, pool_stake = poolStake: Decimal,
        worker_stake = workerStake: Decimal, operator_share_bps = operatorShareBps: u16, parallel = parallel: u32,
        duration = duration: u32, trust = trust: u32, first = first: u32, size = size: u32, start = start: u64,
    }
);
