//! What to say to the contracts: the calldata of each call, from the protocol's types.

use crate::{
    bindings::{assets::Assets, berth::IBerth, token::PermitToken},
    convert,
};
use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolCall as _,
};
use berth_protocol::{
    AccountAddr, Amount, AssetId, AssetKind, DealTerms, OrderHash, ResultDigest, Timestamp, WorkerAddr,
    ledger::Orders,
    round::{BatchTask, ClosedRound, Closing, LeftOut, Pair},
};

/// The signatures of four orders: 65 or 64 bytes of a key, whatever a contract takes for its own, or none where the order
/// was approved on chain; the dataset's is empty where there is none.
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

impl From<Signatures> for IBerth::Signatures {
    fn from(Signatures { app, dataset, pool, request }: Signatures) -> Self {
        Self { app, dataset, pool, request }
    }
}

/// A sponsor's word that it pays for one match of exactly so many tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// How many tasks.
    pub volume: u32,
    /// Until when.
    pub expiry: Timestamp,
    /// Over [`berth_protocol::order::Sponsorship`]; empty where its digest was approved on chain.
    pub signature: Bytes,
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

/// A worker in the table of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// The worker.
    pub worker: WorkerAddr,
    /// What its commitments of this round are salted with; not looked at without a signature.
    pub seed: B256,
    /// The worker's, over `Reveal(root, seed)`; empty if it opens nothing.
    pub signature: Bytes,
}

/// A pair in the settlement of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contribution {
    /// Whose it is.
    pub worker: WorkerAddr,
    /// Looked at only if the pair does not open.
    pub commitment: B256,
    /// What the commitment is salted with; not looked at without a signature.
    pub seed: B256,
    /// The worker's, over `Reveal(root, seed)` for a pair of the leaf, over `Reveal(chain, seed)` for an appended one,
    /// with the hash of the chain that ends in it; empty if it does not open.
    pub signature: Bytes,
}

/// What opens a pair that a settlement left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Its place in the record.
    pub entry: u8,
    /// Its salt ([`berth_protocol::round::salt`]).
    pub salt: B256,
}

/// What shows that a worker made a pair that nobody opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Its place in the record.
    pub entry: u8,
    /// The worker's, over `Commitment(task, commitment)`.
    pub signature: Bytes,
}

/// A closed round with the proof of some of its leaves ([`berth_protocol::round::multiproof`]).
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The round.
    pub round: &'a ClosedRound,
    /// The siblings that are missing.
    pub proof: &'a [B256],
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
    IBerth::matchOrdersCall { orders: convert::orders(orders), signatures: signatures.clone().into() }
        .abi_encode()
        .into()
}

/// `Berth.matchSponsored`, with the payer's word ([`berth_protocol::order::Sponsorship`]) for it.
pub fn match_sponsored(orders: &Orders, signatures: &Signatures, consent: &Consent) -> Bytes {
    let consent = IBerth::Consent {
        volume: consent.volume,
        expiry: consent.expiry.seconds(),
        signature: consent.signature.clone(),
    };
    let signatures = signatures.clone().into();
    IBerth::matchSponsoredCall { orders: convert::orders(orders), signatures, consent }.abi_encode().into()
}

/// `Berth.approveOrder`: as good as signing it, for whoever can't sign.
pub fn approve_order(order: OrderHash) -> Bytes {
    IBerth::approveOrderCall { order: order.get() }.abi_encode().into()
}

/// `Berth.cancelOrder`.
pub fn cancel_order(order: OrderHash) -> Bytes {
    IBerth::cancelOrderCall { order: order.get() }.abi_encode().into()
}

/// `Berth.multicall`: calls of `Berth`, one after the other, all of them or none.
pub fn several(calls: Vec<Bytes>) -> Bytes {
    IBerth::multicallCall { calls }.abi_encode().into()
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

/// `Berth.deliver`: a task's bytes for its deal's callback, with its manifest's sha256.
pub fn deliver(terms: &DealTerms, index: u32, manifest: B256, result: Bytes) -> Bytes {
    IBerth::deliverCall { terms: convert::terms(terms), index, manifest, result }.abi_encode().into()
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

/// `Berth.close`.
pub fn close(root: B256, deals: &[Closing]) -> Bytes {
    IBerth::closeCall { root, deals: deals.iter().map(convert::closing).collect() }.abi_encode().into()
}

/// `Berth.append`. After the first append of a task, nothing of round, leaf and proof is looked at.
pub fn append(terms: &DealTerms, index: u32, shown: Shown<'_>, leaf: &[Pair], added: &[Pair]) -> Bytes {
    let call = IBerth::appendCall {
        terms: convert::terms(terms),
        index,
        round: convert::round(shown.round),
        leaf: convert::pairs(leaf),
        proof: shown.proof.to_vec(),
        added: convert::pairs(added),
    };
    call.abi_encode().into()
}

/// `Berth.appendAssigned`, with the operator's signature over the assignment and the worker's over its commitment.
pub fn append_assigned(terms: &DealTerms, index: u32, pair: Pair, assignment: Bytes, signature: Bytes) -> Bytes {
    let (worker, commitment) = (pair.worker.get(), pair.commitment);
    let terms = convert::terms(terms);
    IBerth::appendAssignedCall { terms, index, worker, commitment, assignment, signature }.abi_encode().into()
}

/// `Berth.settle`: tasks of one deal and round, with the table of their workers by rising address.
pub fn settle(terms: &DealTerms, shown: Shown<'_>, workers: &[TableRow], tasks: &[BatchTask]) -> Bytes {
    let row =
        |of: &TableRow| IBerth::Reveal { worker: of.worker.get(), seed: of.seed, signature: of.signature.clone() };
    let call = IBerth::settleCall {
        terms: convert::terms(terms),
        round: convert::round(shown.round),
        workers: workers.iter().map(row).collect(),
        tasks: BatchTask::pack(tasks).into(),
        proof: shown.proof.to_vec(),
    };
    call.abi_encode().into()
}

/// `Berth.settleOne`: one task, with the pairs that were appended to it. One that was never closed shows an empty round
/// and leaf.
pub fn settle_one(
    terms: &DealTerms,
    (index, digest): (u32, ResultDigest),
    shown: Shown<'_>,
    leaf: &[Contribution],
    appended: &[Contribution],
) -> Bytes {
    let one = |of: &Contribution| IBerth::Contribution {
        worker: of.worker.get(),
        commitment: of.commitment,
        seed: of.seed,
        signature: of.signature.clone(),
    };
    let call = IBerth::settleOneCall {
        terms: convert::terms(terms),
        index,
        digest: digest.get(),
        round: convert::round(shown.round),
        leaf: leaf.iter().map(one).collect(),
        proof: shown.proof.to_vec(),
        appended: appended.iter().map(one).collect(),
    };
    call.abi_encode().into()
}

/// `Berth.publish`: a worker's reveal of a round's root, or of a chain's hash.
pub fn publish(root: B256, worker: WorkerAddr, seed: B256, signature: Bytes) -> Bytes {
    IBerth::publishCall { root, worker: worker.get(), seed, signature }.abi_encode().into()
}

/// `Berth.open`, with the record of a settlement.
pub fn open(terms: &DealTerms, left_out: &[LeftOut], openings: &[Opening]) -> Bytes {
    let openings = openings.iter().map(|of| IBerth::Opening { entry: of.entry, salt: of.salt }).collect();
    let left_out = LeftOut::pack(left_out).into();
    IBerth::openCall { terms: convert::terms(terms), leftOut: left_out, openings }.abi_encode().into()
}

/// `Berth.punish`, with the record of a settlement.
pub fn punish(terms: &DealTerms, left_out: &[LeftOut], evidence: &[Evidence]) -> Bytes {
    let one = |of: &Evidence| IBerth::Evidence { entry: of.entry, signature: of.signature.clone() };
    let left_out = LeftOut::pack(left_out).into();
    let evidence = evidence.iter().map(one).collect();
    IBerth::punishCall { terms: convert::terms(terms), leftOut: left_out, evidence }.abi_encode().into()
}
