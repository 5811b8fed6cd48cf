//! The request order, and the match of it with the chosen offers.

use super::offer::Quote;
use crate::{chain::Chain, exit::Exit, hint::Failure};
use alloy::{
    primitives::{Address, B256},
    rpc::types::TransactionReceipt,
};
use berth_chain::{call::Signatures, convert, signer::Signer};
use berth_protocol::{
    AssetId, DealId, DealTerms, JobHash, Timestamp,
    domain::Domain,
    ledger::{Event, Orders},
    order,
    rule::Rule,
};

/// How long a signed request may still be matched: enough for a few blocks of a slow chain.
const GOOD_FOR_S: u64 = 600;
/// The same where another has to agree first: a day, for people to read what they pay for.
const SPONSORED_GOOD_FOR_S: u64 = 86_400;

/// What a request adds to its quote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) requester: Address,
    pub(super) payer: Address,
    /// Zero: none.
    pub(super) callback: Address,
    pub(super) job: JobHash,
    pub(super) volume: u32,
    pub(super) trust: u32,
    pub(super) epoch: u64,
    pub(super) now: Timestamp,
}

/// The request that takes exactly these offers, at exactly their prices.
pub(super) fn order(asked: &Asked, quote: &Quote) -> order::RequestOrder {
    let good_for_s = if asked.payer == asked.requester { GOOD_FOR_S } else { SPONSORED_GOOD_FOR_S };
    order::RequestOrder {
        app: quote.app.order.app,
        appMaxPrice: quote.app.order.price.0,
        dataset: quote.dataset.as_ref().map(|dataset| dataset.order.dataset).unwrap_or_default(),
        datasetMaxPrice: quote.dataset.as_ref().map(|dataset| dataset.order.price.0).unwrap_or_default(),
        poolRule: Rule::Asset(quote.pool.order.pool).encode(),
        poolMaxPrice: quote.pool.order.price.0,
        requester: asked.requester,
        payer: asked.payer,
        beneficiary: asked.requester,
        callback: asked.callback,
        jobHash: asked.job.get(),
        volume: asked.volume,
        tag: B256::ZERO,
        duration: quote.duration,
        trust: asked.trust,
        expiry: asked.now.plus(good_for_s).seconds(),
        epoch: asked.epoch,
        salt: B256::new(rand::random()),
    }
}

/// It, with the offers that it takes, all of them signed.
pub(super) fn signed(
    quote: &Quote,
    request: order::RequestOrder,
    signer: &Signer,
    domain: &Domain,
) -> (Orders, Signatures) {
    let signatures = Signatures {
        app: quote.app.listed.order.signature.clone(),
        dataset: quote.dataset.as_ref().map(|dataset| dataset.listed.order.signature.clone()).unwrap_or_default(),
        pool: quote.pool.listed.order.signature.clone(),
        request: signer.sign(domain, &request),
    };
    let (app, pool) = (quote.app.order.clone().into(), quote.pool.order.clone().into());
    let dataset = quote.dataset.as_ref().map_or_else(no_dataset, |dataset| dataset.order.clone().into());
    (Orders { app, dataset, pool, request }, signatures)
}

/// What stands in the place of a dataset's order where there is none.
pub(crate) const fn no_dataset() -> order::DatasetOrder {
    order::DatasetOrder {
        dataset: B256::ZERO,
        price: 0,
        volume: 0,
        tag: B256::ZERO,
        appRule: B256::ZERO,
        poolRule: B256::ZERO,
        requesterRule: B256::ZERO,
        expiry: 0,
        epoch: 0,
        salt: B256::ZERO,
    }
}

/// The deal that a match made, by its own log.
#[derive(Debug, Clone)]
pub(crate) struct Matched {
    pub(crate) deal: DealId,
    pub(crate) terms: DealTerms,
    pub(crate) job: JobHash,
    pub(crate) app: AssetId,
    pub(crate) requester: Address,
    pub(crate) transaction: B256,
    pub(crate) block: u64,
}

impl Matched {
    /// Reads a `DealMatched` of this market.
    pub(crate) fn read(log: &alloy::rpc::types::Log) -> Option<Self> {
        let Event::DealMatched { deal, requester, terms, subject } = convert::event(&log.inner).ok()?? else {
            return None;
        };
        // Terms whose hash is not the deal's would be no terms of it.
        (terms.id() == deal).then_some(Self {
            deal,
            terms: *terms,
            job: JobHash::new(subject.jobHash),
            app: AssetId::new(subject.app)?,
            requester: requester.get(),
            transaction: log.transaction_hash?,
            block: log.block_number?,
        })
    }

    /// The deal that this transaction made.
    pub(crate) fn of(chain: &Chain, receipt: &TransactionReceipt) -> Result<Self, Failure> {
        let berth = chain.deployment.berth;
        let mut logs = receipt.logs().iter().filter(|log| log.address() == berth);
        logs.find_map(Self::read).ok_or_else(|| {
            let message = format!("transaction {} made no deal", receipt.transaction_hash);
            Failure::new(Exit::Error, "no-deal", message).hint("look at it with `cast receipt`, and tell us")
        })
    }
}
