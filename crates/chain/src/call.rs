//! What to say to the contracts: the calldata of each call, from the protocol's types.

use crate::{
    bindings::{assets::Assets, berth::IBerth, token::PermitToken},
    convert,
};
use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolCall as _,
};
use berth_protocol::{AccountAddr, Amount, AssetId, AssetKind, DealTerms, Timestamp, WorkerAddr, ledger::Orders};

/// The signatures of four orders, 65 bytes each; the dataset's is empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signatures {
    /// Over the app order.
    pub app: Bytes,
    /// Over the dataset order.
    pub dataset: Bytes,
    /// Over the pool order.
    pub pool: Bytes,
    /// Over the request.
    pub request: Bytes,
}

/// One worker's list of results of a single-worker deal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerResults {
    /// Whose it is.
    pub worker: WorkerAddr,
    /// The packed entries ([`berth_protocol::single::SingleList::encode`]).
    pub entries: Bytes,
    /// The worker's signature over the deal and the list's root.
    pub signature: Bytes,
    /// The operator's signatures over the assignments, one for each entry; empty if the operator itself sends.
    pub assignments: Bytes,
}

/// `IERC20.approve`, on the token.
pub fn approve(spender: Address, amount: Amount) -> Bytes {
    PermitToken::approveCall { spender, value: U256::from(amount.units()) }.abi_encode().into()
}

/// `IERC20.transfer`, on the token.
pub fn transfer(to: Address, amount: Amount) -> Bytes {
    PermitToken::transferCall { to, value: U256::from(amount.units()) }.abi_encode().into()
}

/// `PermitToken.mint`, on the token of a local chain.
pub fn mint(to: Address, amount: Amount) -> Bytes {
    PermitToken::mintCall { to, amount: U256::from(amount.units()) }.abi_encode().into()
}

/// `Assets.register`.
pub fn register(kind: AssetKind, descriptor: String) -> Bytes {
    Assets::registerCall { kind: kind as u8, descriptor }.abi_encode().into()
}

/// `Assets.transferFrom`.
pub fn give(asset: AssetId, from: AccountAddr, to: AccountAddr) -> Bytes {
    Assets::transferFromCall { from: from.get(), to: to.get(), tokenId: asset.get().into() }.abi_encode().into()
}

/// `Berth.deposit`: the token must have been approved for `Berth`.
pub fn deposit(amount: Amount) -> Bytes {
    IBerth::depositCall { amount: U256::from(amount.units()) }.abi_encode().into()
}

/// `Berth.depositFor`.
pub fn deposit_for(account: AccountAddr, amount: Amount) -> Bytes {
    IBerth::depositForCall { account_: account.get(), amount: U256::from(amount.units()) }.abi_encode().into()
}

/// `Berth.depositWithPermit`, with a signature over [`crate::read::Permit`] (65 bytes); `None` if it has another length.
pub fn deposit_with_permit(amount: Amount, deadline: Timestamp, signature: &[u8]) -> Option<Bytes> {
    let signature: &[u8; 65] = signature.try_into().ok()?;
    let (r, rest) = signature.split_first_chunk::<32>()?;
    let (s, v) = rest.split_first_chunk::<32>()?;
    let call = IBerth::depositWithPermitCall {
        amount: U256::from(amount.units()),
        deadline: U256::from(deadline.seconds()),
        v: *v.first()?,
        r: r.into(),
        s: s.into(),
    };
    Some(call.abi_encode().into())
}

/// `Berth.withdraw`.
pub fn withdraw(to: Address, amount: Amount) -> Bytes {
    IBerth::withdrawCall { to, amount: U256::from(amount.units()) }.abi_encode().into()
}

/// `Berth.raiseEpoch`.
pub fn raise_epoch(epoch: u64) -> Bytes {
    IBerth::raiseEpochCall { epoch }.abi_encode().into()
}

/// `Berth.matchOrders`.
pub fn match_orders(orders: &Orders, signatures: &Signatures) -> Bytes {
    let signatures = IBerth::Signatures {
        app: signatures.app.clone(),
        dataset: signatures.dataset.clone(),
        pool: signatures.pool.clone(),
        request: signatures.request.clone(),
    };
    IBerth::matchOrdersCall { orders: convert::orders(orders), signatures }.abi_encode().into()
}

/// `Berth.settleSingles`.
pub fn settle_singles(terms: &DealTerms, results: &[WorkerResults]) -> Bytes {
    let results = results.iter().map(|list| IBerth::WorkerResults {
        worker: list.worker.get(),
        entries: list.entries.clone(),
        signature: list.signature.clone(),
        assignments: list.assignments.clone(),
    });
    IBerth::settleSinglesCall { terms: convert::terms(terms), results: results.collect() }.abi_encode().into()
}

/// `Berth.decline`.
pub fn decline(terms: &DealTerms, indexes: Vec<u32>) -> Bytes {
    IBerth::declineCall { terms: convert::terms(terms), indexes }.abi_encode().into()
}

/// `Berth.claim`.
pub fn claim(terms: &DealTerms) -> Bytes {
    IBerth::claimCall { terms: convert::terms(terms) }.abi_encode().into()
}

/// `Berth.bond`, with the worker's enlistment at the first bond, and empty bytes later.
pub fn bond(pool: AssetId, worker: WorkerAddr, amount: Amount, enlistment: Bytes) -> Bytes {
    IBerth::bondCall { pool: pool.get(), worker: worker.get(), amount: amount.units(), enlistment }.abi_encode().into()
}

/// `Berth.unbond`.
pub fn unbond(pool: AssetId, worker: WorkerAddr, amount: Amount) -> Bytes {
    IBerth::unbondCall { pool: pool.get(), worker: worker.get(), amount: amount.units() }.abi_encode().into()
}

/// `Berth.withdrawBond`.
pub fn withdraw_bond(pool: AssetId, worker: WorkerAddr) -> Bytes {
    IBerth::withdrawBondCall { pool: pool.get(), worker: worker.get() }.abi_encode().into()
}
