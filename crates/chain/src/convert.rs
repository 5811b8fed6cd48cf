//! From the contracts' ABI to the protocol's types, and back. The two sides declare the same structs, field for field,
//! so one converts into the other by its ABI encoding; a test holds them together.

use crate::bindings::{
    assets::Assets::{AssetsEvents, Transfer},
    berth::IBerth::{self, IBerthEvents},
};
use alloy::{
    primitives::{Address, B256, Log, U256, aliases::U104},
    sol_types::{SolEventInterface as _, SolValue},
};
use berth_protocol::{
    AccountAddr, Amount, AssetId, DealId, DealTerms, OperatorAddr, OrderHash, ResultDigest, RoundId, Timestamp,
    WorkerAddr,
    ledger::{Event, Orders, event::DealSubject},
    round::{ClosedRound, ClosedWord, Closing, EndedTask, LeftOut, PackedError, Pair, Payee},
    single::ENTRY_BYTES,
};
use thiserror::Error;

/// A log is not what its contract's ABI says.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Its bytes don't fit its event.
    #[error("the log does not fit its event")]
    Abi(#[from] alloy::sol_types::Error),
    /// Its packed bytes are none that the contract emits.
    #[error("the log's packed bytes are not what its event says")]
    Packed(#[from] PackedError),
    /// A value in it is none that the contract can emit.
    #[error("{what} can't be {value}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What it is.
        value: String,
    },
}

/// Reads a log of `Berth` or `Assets`. `None` for what the protocol has no name for: approvals, and the transfer that
/// comes with each registration.
///
/// # Errors
/// [`DecodeError`] if the log is none that the contracts emit.
pub fn event(log: &Log) -> Result<Option<Event>, DecodeError> {
    let topic = log.topics().first();
    if topic.is_some_and(|topic| IBerthEvents::SELECTORS.contains(&topic.0)) {
        return of_berth(IBerthEvents::decode_log(log)?.data);
    }
    if topic.is_some_and(|topic| AssetsEvents::SELECTORS.contains(&topic.0)) {
        return of_assets(AssetsEvents::decode_log(log)?.data);
    }
    Ok(None)
}

fn of_berth(event: IBerthEvents) -> Result<Option<Event>, DecodeError> {
    let worker = WorkerAddr::new;
    let account = AccountAddr::new;
    let deal = DealId::new;
    Ok(Some(match event {
        IBerthEvents::Deposited(e) => {
            Event::Deposited { account: account(e.account), from: e.from, amount: amount(e.amount)? }
        }
        IBerthEvents::Withdrawn(e) => {
            Event::Withdrawn { account: account(e.account), to: e.to, amount: amount(e.amount)? }
        }
        IBerthEvents::EpochRaised(e) => Event::EpochRaised { account: account(e.account), epoch: e.epoch },
        IBerthEvents::OrderApproved(e) => {
            Event::OrderApproved { account: account(e.account), order: OrderHash::new(e.order) }
        }
        IBerthEvents::OrderCancelled(e) => {
            Event::OrderCancelled { account: account(e.account), order: OrderHash::new(e.order) }
        }
        IBerthEvents::DealSponsored(e) => Event::DealSponsored {
            deal: deal(e.deal),
            payer: account(e.payer),
            sponsorship: OrderHash::new(e.sponsorship),
        },
        IBerthEvents::DealMatched(e) => Event::DealMatched {
            deal: deal(e.deal),
            requester: account(e.requester),
            terms: Box::new(recode::<_, DealTerms>(&e.terms)?),
            subject: Box::new(recode::<_, DealSubject>(&e.subject)?),
        },
        IBerthEvents::SinglesSettled(e) => {
            Event::SinglesSettled { deal: deal(e.deal), worker: worker(e.worker), entries: e.entries.to_vec() }
        }
        IBerthEvents::ListSkipped(e) => Event::ListSkipped { deal: deal(e.deal), worker: worker(e.worker) },
        IBerthEvents::TasksDeclined(e) => {
            Event::TasksDeclined { deal: deal(e.deal), indexes: e.indexes, stake_returned: e.stakeReturned }
        }
        IBerthEvents::DealClaimed(e) => Event::DealClaimed { deal: deal(e.deal), tasks: e.tasks },
        IBerthEvents::RoundClosed(e) => round_closed(&e),
        IBerthEvents::PairsAppended(e) => pairs_appended(&e),
        IBerthEvents::TasksSettled(e) => tasks_settled(&e)?,
        IBerthEvents::RevealPublished(e) => {
            Event::RevealPublished { root: e.root, worker: worker(e.worker), seed: e.seed, signature: e.signature }
        }
        IBerthEvents::ShareOpened(e) => share_opened(&e),
        IBerthEvents::WorkerPunished(e) => worker_punished(&e),
        IBerthEvents::ResultDelivered(e) => {
            Event::ResultDelivered { deal: deal(e.deal), index: e.index, callback: e.callback }
        }
        IBerthEvents::WorkerEnlisted(e) => {
            Event::WorkerEnlisted { pool: asset(e.pool)?, worker: worker(e.worker), owner: account(e.owner) }
        }
        IBerthEvents::Bonded(e) => {
            Event::Bonded { pool: asset(e.pool)?, worker: worker(e.worker), amount: Amount::new(e.amount) }
        }
        IBerthEvents::Unbonded(e) => Event::Unbonded {
            pool: asset(e.pool)?,
            worker: worker(e.worker),
            amount: Amount::new(e.amount),
            release_at: Timestamp::new(e.releaseAt),
        },
        IBerthEvents::BondWithdrawn(e) => {
            Event::BondWithdrawn { pool: asset(e.pool)?, worker: worker(e.worker), amount: Amount::new(e.amount) }
        }
        IBerthEvents::EIP712DomainChanged(_) => return Ok(None),
    }))
}

fn round_closed(e: &IBerth::RoundClosed) -> Event {
    let round = ClosedRound { root: e.root, closed: e.closed.iter().map(closed_word).collect() };
    Event::RoundClosed { id: RoundId::new(e.round), operator: OperatorAddr::new(e.operator), round }
}

fn pairs_appended(e: &IBerth::PairsAppended) -> Event {
    let added = e.added.iter().map(pair).collect();
    Event::PairsAppended { deal: DealId::new(e.deal), index: e.index, chain: e.chain, pairs: e.pairs, added }
}

fn tasks_settled(e: &IBerth::TasksSettled) -> Result<Event, DecodeError> {
    Ok(Event::TasksSettled {
        deal: DealId::new(e.deal),
        round: RoundId::new(e.round),
        tasks: EndedTask::parse(&e.tasks)?,
        workers: Payee::parse(&e.workers)?,
        left_out: LeftOut::parse(&e.leftOut)?,
    })
}

const fn share_opened(e: &IBerth::ShareOpened) -> Event {
    let (deal, worker) = (DealId::new(e.deal), WorkerAddr::new(e.worker));
    Event::ShareOpened { deal, index: e.index, worker, paid: Amount::new(e.paid), scored: e.scored }
}

const fn worker_punished(e: &IBerth::WorkerPunished) -> Event {
    let (deal, worker) = (DealId::new(e.deal), WorkerAddr::new(e.worker));
    Event::WorkerPunished { deal, index: e.index, worker, slashed: Amount::new(e.slashed), score: e.score }
}

fn of_assets(event: AssetsEvents) -> Result<Option<Event>, DecodeError> {
    Ok(match event {
        AssetsEvents::AssetRegistered(e) => Some(Event::AssetRegistered {
            asset: asset(e.asset)?,
            creator: AccountAddr::new(e.creator),
            descriptor: e.descriptor,
        }),
        AssetsEvents::Transfer(Transfer { from: Address::ZERO, .. }) => None,
        AssetsEvents::Transfer(e) => Some(Event::AssetGiven {
            asset: asset(e.tokenId.into())?,
            from: AccountAddr::new(e.from),
            to: AccountAddr::new(e.to),
        }),
        AssetsEvents::Approval(_) | AssetsEvents::ApprovalForAll(_) => None,
    })
}

/// The entries of a `SinglesSettled` event: (index, digest).
///
/// # Errors
/// [`DecodeError::Value`] if the bytes are no whole entries, or an entry has no digest.
pub fn entries(packed: &[u8]) -> Result<Vec<(u32, ResultDigest)>, DecodeError> {
    let wrong = || DecodeError::Value { what: "a list of results", value: format!("{} bytes", packed.len()) };
    if !packed.len().is_multiple_of(ENTRY_BYTES) {
        return Err(wrong());
    }
    packed
        .chunks_exact(ENTRY_BYTES)
        .map(|entry| {
            let (index, digest) = entry.split_first_chunk::<4>().ok_or_else(wrong)?;
            let digest = ResultDigest::new(B256::from_slice(digest)).ok_or_else(wrong)?;
            Ok((u32::from_be_bytes(*index), digest))
        })
        .collect()
}

fn closed_word(word: &IBerth::ClosedWord) -> ClosedWord {
    ClosedWord { deal: DealId::new(word.deal), word: word.word, bits: word.bits.to() }
}

const fn pair(pair: &IBerth::Pair) -> Pair {
    Pair { worker: WorkerAddr::new(pair.worker), commitment: pair.commitment }
}

/// A word's bits, as calls take them. Bits past the 104th name no task, so none of a round has them.
fn bits(bits: u128) -> U104 {
    U104::from(bits & (u128::MAX >> 24))
}

/// A round, as calls show it.
pub(crate) fn round(round: &ClosedRound) -> IBerth::Round {
    let closed = round.closed.iter();
    let word = |of: &ClosedWord| IBerth::ClosedWord { deal: of.deal.get(), word: of.word, bits: bits(of.bits) };
    IBerth::Round { root: round.root, closed: closed.map(word).collect() }
}

/// What a round closes of one deal, as `close` takes it.
pub(crate) fn closing(closing: &Closing) -> IBerth::Closing {
    let words = closing.words.iter().map(|of| IBerth::WordBits { word: of.word, bits: bits(of.bits) });
    IBerth::Closing { terms: terms(&closing.terms), words: words.collect() }
}

/// Pairs, as calls take them.
pub(crate) fn pairs(pairs: &[Pair]) -> Vec<IBerth::Pair> {
    pairs.iter().map(|pair| IBerth::Pair { worker: pair.worker.get(), commitment: pair.commitment }).collect()
}

pub(crate) fn amount(units: U256) -> Result<Amount, DecodeError> {
    let units = units.try_into();
    units.map(Amount::new).map_err(|_| DecodeError::Value { what: "an amount", value: "above 2^128".to_owned() })
}

pub(crate) fn asset(id: B256) -> Result<AssetId, DecodeError> {
    AssetId::new(id).ok_or_else(|| DecodeError::Value { what: "an asset", value: id.to_string() })
}

/// The same struct as the other side declares it.
fn recode<A: SolValue, B>(from: &A) -> Result<B, DecodeError>
where
    B: SolValue + From<<<B as SolValue>::SolType as alloy::sol_types::SolType>::RustType>,
{
    Ok(B::abi_decode(&from.abi_encode())?)
}

/// A deal's terms, as calls take them.
pub(crate) fn terms(terms: &DealTerms) -> IBerth::DealTerms {
    recode(terms).expect("the protocol's terms have the ABI's fields")
}

/// Four orders, as calls take them.
pub(crate) fn orders(orders: &Orders) -> IBerth::Orders {
    const SAME: &str = "the protocol's orders have the ABI's fields";
    IBerth::Orders {
        app: recode(&orders.app).expect(SAME),
        dataset: recode(&orders.dataset).expect(SAME),
        pool: recode(&orders.pool).expect(SAME),
        request: recode(&orders.request).expect(SAME),
    }
}
