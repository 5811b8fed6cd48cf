//! Whether an order could be matched: the checks of `Berth.matchOrders` that need no counterparty. Pure: the facts are
//! looked up by the caller.

use alloy::primitives::{Address, B256};
use berth_protocol::{
    AssetId, AssetKind, OrderHash, Timestamp,
    amount::BPS,
    domain::Domain,
    ledger::Bounds,
    order::{UNLIMITED, remaining},
    rule::Rule,
};
use berth_wire::{
    order::{AnyOrder, PoolOrder, RequestOrder, SignedOrder},
    problem::Problem,
};
use thiserror::Error;

/// What the chain says that concerns one order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Who owns the order's asset; `None` if there is no such asset.
    pub(crate) owner: Option<Address>,
    /// The least epoch that is still good for whoever has to have signed.
    pub(crate) epoch: u64,
    /// Whether that account has cancelled this one order.
    pub(crate) cancelled: bool,
    /// The account of which the contracts themselves have said that it stands for this order: a contract's own word, or
    /// an approval on chain, which nobody else can judge.
    pub(crate) vouched: Option<Address>,
    /// Tasks of the order that were matched already.
    pub(crate) consumed: u32,
    /// The chain's time.
    pub(crate) now: Timestamp,
}

/// An order that may stand in the book.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) hash: OrderHash,
    pub(crate) signer: Address,
    pub(crate) epoch: u64,
}

/// Why an order is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("{asset} is no {wanted}: the kind of an asset is in the last byte of its id")]
    Kind { asset: B256, wanted: &'static str },
    #[error("there is no asset {0} on this chain")]
    UnknownAsset(B256),
    #[error("the signature is not {signer}'s, and {signer} has not approved the order on chain either")]
    Signer { signer: Address },
    #[error("the order was good until {expiry}, and the chain's time is {now}")]
    Expired { expiry: u64, now: Timestamp },
    #[error("the order is of epoch {epoch}, and its signer has cancelled all before {current}")]
    Cancelled { epoch: u64, current: u64 },
    #[error("{signer} has cancelled this order")]
    Revoked { signer: Address },
    #[error("nothing is left of the order's volume")]
    Consumed,
    #[error("{0}")]
    Policy(String),
    #[error("`{0}` is no URL of a scheduler: http:// or https:// is needed")]
    Url(String),
}

impl Refusal {
    /// Whether a fact that may be about to change stands in the way, so that a later block is worth waiting for.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(self, Self::UnknownAsset(_) | Self::Signer { .. })
    }

    pub(crate) fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::Kind { .. } => ("order-kind", "give the id of the right asset"),
            Self::UnknownAsset(_) => ("asset-unknown", "register the asset first, and wait for its block"),
            Self::Signer { .. } => (
                "order-signer",
                "sign with the key of the asset's present owner (or the requester), or approve it on chain",
            ),
            Self::Expired { .. } => ("order-expired", "sign a new order with a later expiry"),
            Self::Cancelled { .. } => ("order-cancelled", "sign a new order of the present epoch"),
            Self::Revoked { .. } => ("order-revoked", "sign a new order: another salt makes it another one"),
            Self::Consumed => ("order-consumed", "sign a new order: another salt makes it another one"),
            Self::Policy(_) => ("order-policy", "no match could ever use this order: correct it and sign it again"),
            Self::Url(_) => ("order-url", "publish the pool order with the URL of its scheduler"),
        };
        Problem::new(422, code, self.to_string()).hint(hint)
    }
}

/// Who has to have signed an order: its requester, or else the owner of its asset.
pub(crate) fn signer_of(order: &AnyOrder, owner: Option<Address>) -> Result<Address, Refusal> {
    match order {
        AnyOrder::Request(request) => Ok(request.requester),
        AnyOrder::App(_) | AnyOrder::Dataset(_) | AnyOrder::Pool(_) => {
            owner.ok_or_else(|| Refusal::UnknownAsset(order.asset()))
        }
    }
}

/// Checks one order.
pub(crate) fn order(
    signed: &SignedOrder,
    url: Option<&str>,
    facts: &Facts,
    bounds: Bounds,
    domain: &Domain,
) -> Result<Checked, Refusal> {
    let order = &signed.order;
    kind(order)?;
    policy(order, bounds)?;
    if let Some(url) = url
        && !(url.starts_with("http://") || url.starts_with("https://"))
    {
        return Err(Refusal::Url(url.to_owned()));
    }
    if facts.owner.is_none() {
        return Err(Refusal::UnknownAsset(order.asset()));
    }
    let now = facts.now;
    if Timestamp::new(order.expiry()) < now {
        return Err(Refusal::Expired { expiry: order.expiry(), now });
    }
    let hash = order.hash(domain);
    let signer = signer_of(order, facts.owner)?;
    if facts.cancelled {
        return Err(Refusal::Revoked { signer });
    }
    if !is_key_of(signer, &signed.signature, hash) && facts.vouched != Some(signer) {
        return Err(Refusal::Signer { signer });
    }
    let epoch = epoch_of(order);
    if epoch < facts.epoch {
        return Err(Refusal::Cancelled { epoch, current: facts.epoch });
    }
    if remaining(order.volume(), facts.consumed) == 0 {
        return Err(Refusal::Consumed);
    }
    Ok(Checked { hash, signer, epoch })
}

const fn epoch_of(order: &AnyOrder) -> u64 {
    match order {
        AnyOrder::App(order) => order.epoch,
        AnyOrder::Dataset(order) => order.epoch,
        AnyOrder::Pool(order) => order.epoch,
        AnyOrder::Request(order) => order.epoch,
    }
}

fn kind(order: &AnyOrder) -> Result<(), Refusal> {
    let is = |asset: B256, kind: AssetKind| AssetId::new(asset).is_some_and(|asset| asset.kind() == kind);
    let wrong = |asset, wanted| Err(Refusal::Kind { asset, wanted });
    match order {
        AnyOrder::App(order) if !is(order.app, AssetKind::App) => wrong(order.app, "app"),
        AnyOrder::Dataset(order) if !is(order.dataset, AssetKind::Dataset) => wrong(order.dataset, "dataset"),
        AnyOrder::Pool(order) if !is(order.pool, AssetKind::Pool) => wrong(order.pool, "pool"),
        AnyOrder::Request(order) if !is(order.app, AssetKind::App) => wrong(order.app, "app"),
        AnyOrder::Request(order) if !order.dataset.is_zero() && !is(order.dataset, AssetKind::Dataset) => {
            wrong(order.dataset, "dataset")
        }
        AnyOrder::App(_) | AnyOrder::Dataset(_) | AnyOrder::Pool(_) | AnyOrder::Request(_) => Ok(()),
    }
}

fn policy(order: &AnyOrder, bounds: Bounds) -> Result<(), Refusal> {
    if order.volume() == 0 {
        return Err(Refusal::Policy("the volume is 0".to_owned()));
    }
    match order {
        AnyOrder::Pool(pool) => pool_policy(pool, bounds),
        AnyOrder::Request(request) => request_policy(request, bounds),
        AnyOrder::App(_) | AnyOrder::Dataset(_) => Ok(()),
    }
}

fn pool_policy(pool: &PoolOrder, bounds: Bounds) -> Result<(), Refusal> {
    let (min_duration, max_duration) = (bounds.min_duration_s(), bounds.max_duration_s());
    let no = |what: String| Err(Refusal::Policy(what));
    if pool.operator.is_zero() {
        return no("the operator is nobody".to_owned());
    }
    if pool.parallel == 0 {
        return no("the pool runs no task at all: `parallel` is 0".to_owned());
    }
    if pool.operator_share_bps > BPS {
        return no(format!("the operator's share is {} of {BPS} basis points", pool.operator_share_bps));
    }
    let (min, max) = (pool.min_duration, pool.max_duration);
    if min > max || max < min_duration || min > max_duration {
        return no(format!("durations from {min} to {max} s: the contract allows {min_duration} to {max_duration} s"));
    }
    Ok(())
}

fn request_policy(request: &RequestOrder, bounds: Bounds) -> Result<(), Refusal> {
    let (min_duration, max_duration) = (bounds.min_duration_s(), bounds.max_duration_s());
    let no = |what: String| Err(Refusal::Policy(what));
    if request.volume == UNLIMITED {
        return no("a request's volume must be finite".to_owned());
    }
    if Rule::decode(request.pool_rule) == Rule::Any {
        return no("a request must say which pools it trusts".to_owned());
    }
    if request.duration < min_duration || request.duration > max_duration {
        return no(format!(
            "a duration of {} s: the contract allows {min_duration} to {max_duration} s",
            request.duration
        ));
    }
    if request.payer.is_zero() {
        return no("the payer is nobody".to_owned());
    }
    Ok(())
}

/// Whether it is a plain signature of the account's own key; whatever else may stand for the account, the contracts have
/// to say.
fn is_key_of(signer: Address, bytes: &[u8], hash: OrderHash) -> bool {
    berth_chain::signer::recover_order(hash.get(), bytes) == Some(signer)
}
