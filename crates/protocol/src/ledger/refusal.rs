//! Why the contracts refuse: one variant for each of their custom errors, with the same values.

use super::wording::{Bits, Kind, Side, Tag, Whose};
use crate::{
    AccountAddr, Class, DealId, OperatorAddr, OrderHash, RecordId, RoundId, TaskId, Timestamp, WorkerAddr, rule::Rule,
};
use alloy_primitives::{Address, B256, U256, keccak256};
use thiserror::Error;

/// A value of one ABI word.
trait Word: Sized {
    fn word(self) -> B256;
    fn read(word: B256) -> Option<Self>;
}

macro_rules! word_of_number {
    ($($number:ty),*) => {$(
        impl Word for $number {
            fn word(self) -> B256 {
                U256::from(self).into()
            }

            fn read(word: B256) -> Option<Self> {
                U256::from_be_bytes(word.0).try_into().ok()
            }
        }
    )*};
}
word_of_number!(u8, u16, u32, u64, u128);

impl Word for U256 {
    fn word(self) -> B256 {
        self.into()
    }

    fn read(word: B256) -> Option<Self> {
        Some(Self::from_be_bytes(word.0))
    }
}

impl Word for B256 {
    fn word(self) -> B256 {
        self
    }

    fn read(word: B256) -> Option<Self> {
        Some(word)
    }
}

impl Word for Address {
    fn word(self) -> B256 {
        self.into_word()
    }

    fn read(word: B256) -> Option<Self> {
        (word[..12] == [0; 12]).then(|| Self::from_word(word))
    }
}

impl Word for Timestamp {
    fn word(self) -> B256 {
        self.seconds().word()
    }

    fn read(word: B256) -> Option<Self> {
        u64::read(word).map(Self::new)
    }
}

macro_rules! word_of_id {
    ($($id:ty),*) => {$(
        impl Word for $id {
            fn word(self) -> B256 {
                self.get().word()
            }

            fn read(word: B256) -> Option<Self> {
                Word::read(word).map(Self::new)
            }
        }
    )*};
}
word_of_id!(AccountAddr, WorkerAddr, OperatorAddr, DealId, TaskId, OrderHash, RoundId, RecordId);

macro_rules! refusals {
    ($(
        $(#[$attribute:meta])*
        $name:ident { $($field:ident: $kind:ty),* } = $signature:literal;
    )*) => {
        /// Why a call is refused. Amounts are in base units of the settlement token.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
        pub enum Refusal {$(
            $(#[$attribute])*
            $name {$(
                #[doc = concat!("`", stringify!($field), "`, as the contract gives it.")]
                $field: $kind,
            )*},
        )*}

        impl Refusal {
            /// The contracts' errors that these are, as Solidity writes them: `Name(types)`.
            pub const SIGNATURES: &[&str] = &[$($signature),*];

            /// The contract's error that this is, as Solidity writes it.
            pub const fn signature(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $signature,)*
                }
            }

            /// The data that the contract reverts with.
            pub fn encode(&self) -> Vec<u8> {
                let mut data = selector(self.signature()).to_vec();
                match *self {
                    $(Self::$name { $($field),* } => {
                        $(data.extend_from_slice($field.word().as_slice());)*
                    })*
                }
                data
            }

            /// Reads what a contract reverted with; `None` if it is none of these.
            pub fn decode(data: &[u8]) -> Option<Self> {
                let (name, data) = data.split_first_chunk::<4>()?;
                let (words, rest) = data.as_chunks::<32>();
                if !rest.is_empty() {
                    return None;
                }
                let mut words = words.iter().copied().map(B256::new);
                $(if *name == selector($signature) {
                    let refusal = Self::$name { $($field: Word::read(words.next()?)?),* };
                    return words.next().is_none().then_some(refusal);
                })*
                None
            }
        }
    };
}

fn selector(signature: &str) -> [u8; 4] {
    let hash = keccak256(signature);
    [hash[0], hash[1], hash[2], hash[3]]
}

refusals! {
    // Accounts.

    /// The account has less free money than this needs.
    #[error("account {account} has {free} base units free and needs {needed} base units")]
    FreeTooSmall { account: AccountAddr, free: U256, needed: U256 } = "Berth_FreeTooSmall(address,uint256,uint256)";
    /// Nobody could ever use what is sent there.
    #[error("nobody could use money at {recipient}: name another account")]
    BadRecipient { recipient: Address } = "Berth_BadRecipient(address)";
    /// The contract would hold more than 2^128 - 1 base units.
    #[error("the contract would hold {held} base units, which is more than it can count")]
    HeldTooLarge { held: U256 } = "Berth_HeldTooLarge(uint256)";

    // Construction.

    /// The bounds contradict each other.
    #[error("durations from {min_duration} to {max_duration} s and a span of {max_span} s are no bounds")]
    BadBounds { min_duration: u32, max_duration: u32, max_span: u64 } = "Berth_BadBounds(uint32,uint32,uint64)";
    /// There is no contract at this address.
    #[error("there is no contract at {at}")]
    NoContract { at: Address } = "Berth_NoContract(address)";
    /// Recourse was built for other assets or bounds.
    #[error("the contract at {recourse} was built for other assets or bounds")]
    RecourseMismatch { recourse: Address } = "Berth_RecourseMismatch(address)";

    // Assets.

    /// No such kind of asset.
    #[error("{kind} is no kind of asset: app is 1, dataset 2, pool 3")]
    UnknownKind { kind: u8 } = "Assets_UnknownKind(uint8)";
    /// The descriptor is empty or too long.
    #[error("a descriptor has 1 to 8192 bytes, not {length}")]
    BadDescriptorLength { length: U256 } = "Assets_BadDescriptorLength(uint256)";
    /// This creator has registered this very descriptor before.
    #[error("asset {asset} is registered already")]
    AlreadyRegistered { asset: B256 } = "Assets_AlreadyRegistered(bytes32)";

    // A match.

    /// An order names an asset of another kind than it has to.
    #[error("asset {asset} is of another kind than {}, which is needed", Kind(*wanted))]
    WrongKind { asset: B256, wanted: u8 } = "Berth_WrongKind(bytes32,uint8)";
    /// There is no such asset.
    #[error("there is no asset {asset}")]
    UnknownAsset { asset: B256 } = "Berth_UnknownAsset(bytes32)";
    /// The request asks for another asset.
    #[error("the request asks for asset {asked} and is offered {offered}")]
    AssetMismatch { asked: B256, offered: B256 } = "Berth_AssetMismatch(bytes32,bytes32)";
    /// The request pays less than the asset asks, per task.
    #[error("asset {asset} costs {price} base units a task and the request pays at most {max_price} base units")]
    PriceTooHigh { asset: B256, price: u128, max_price: u128 } = "Berth_PriceTooHigh(bytes32,uint128,uint128)";
    /// The pool lacks these bits of the tag.
    #[error("the pool does not offer what the tag asks for: {}", Tag(*missing))]
    TagMissing { missing: B256 } = "Berth_TagMissing(bytes32)";
    /// The duration is not allowed by the pool or the contract.
    #[error("a duration of {duration} s is not between {min} and {max} s")]
    DurationOutOfBounds { duration: u32, min: u32, max: u32 } = "Berth_DurationOutOfBounds(uint32,uint32,uint32)";
    /// The pool gives less trust.
    #[error("the request asks for trust {trust} and the pool gives at most {max_trust}")]
    TrustTooHigh { trust: u32, max_trust: u32 } = "Berth_TrustTooHigh(uint32,uint32)";
    /// The operator's share is more than the whole.
    #[error("an operator's share of {operator_share_bps} basis points is more than the whole")]
    ShareTooLarge { operator_share_bps: u16 } = "Berth_ShareTooLarge(uint16)";
    /// The pool runs no task at all.
    #[error("pool {pool} runs no task at a time")]
    NothingParallel { pool: B256 } = "Berth_NothingParallel(bytes32)";
    /// A request's volume must be at least 1 and finite.
    #[error("a request can't be for {volume} tasks")]
    BadVolume { volume: u32 } = "Berth_BadVolume(uint32)";
    /// A request must say which pools it trusts.
    #[error("the request of {requester} names no pool")]
    AnyPool { requester: AccountAddr } = "Berth_AnyPool(address)";
    /// A rule of one order refuses the other side.
    #[error("{} refuses {}", Rule::decode(*rule), Side { asset: *asset, account: *account })]
    RuleRefused { rule: B256, asset: B256, account: Address } = "Berth_RuleRefused(bytes32,bytes32,address)";
    /// The order's time is over.
    #[error("order {order} was good until {}", expiry.utc())]
    OrderExpired { order: OrderHash, expiry: Timestamp } = "Berth_OrderExpired(bytes32,uint64)";
    /// Its signer has cancelled the order.
    #[error("order {order} of epoch {epoch} is cancelled: its signer's epoch is {current}")]
    OrderCancelled { order: OrderHash, epoch: u64, current: u64 } = "Berth_OrderCancelled(bytes32,uint64,uint64)";
    /// Nothing is left of the order's volume.
    #[error("nothing is left of order {order}")]
    OrderConsumed { order: OrderHash } = "Berth_OrderConsumed(bytes32)";
    /// Its signer has cancelled this one order.
    #[error("order {order} is cancelled by {signer}")]
    OrderRevoked { order: OrderHash, signer: Address } = "Berth_OrderRevoked(bytes32,address)";
    /// There is neither a signature nor an approval.
    #[error("order {order} has no signature, and {signer} has not approved it on chain")]
    NotApproved { order: OrderHash, signer: Address } = "Berth_NotApproved(bytes32,address)";
    /// The signature is not the one needed.
    #[error("the signature over {digest} is not {signer}'s")]
    BadSignature { signer: Address, digest: B256 } = "Berth_BadSignature(address,bytes32)";
    /// A payer other than the requester has to send the match itself, or to agree to it.
    #[error("{payer} pays, and has neither sent the match (that was {sender}) nor signed a sponsorship for it")]
    PayerAbsent { payer: AccountAddr, sender: Address } = "Berth_PayerAbsent(address,address)";
    /// The sponsor agreed to another volume.
    #[error("the sponsor pays for a match of exactly {volume} tasks, and this one would be of {size}")]
    SponsoredVolume { size: u32, volume: u32 } = "Berth_SponsoredVolume(uint32,uint32)";
    /// The pool would take too long.
    #[error("so many tasks would take the pool {span} s, and {max_span} s are the most")]
    SpanTooLong { span: U256, max_span: U256 } = "Berth_SpanTooLong(uint256,uint256)";
    /// An epoch only rises.
    #[error("the epoch is {current} and can't become {given}")]
    EpochNotRaised { current: u64, given: u64 } = "Berth_EpochNotRaised(uint64,uint64)";

    // Deals.

    /// No deal with these terms was ever matched.
    #[error("there is no deal {deal}")]
    UnknownDeal { deal: DealId } = "Berth_UnknownDeal(bytes32)";
    /// It is over.
    #[error("this was possible until {}", deadline.utc())]
    TooLate { deadline: Timestamp } = "Berth_TooLate(uint256)";
    /// It has not begun.
    #[error("this is possible only after {}", deadline.utc())]
    TooEarly { deadline: Timestamp } = "Berth_TooEarly(uint256)";
    /// A deal of this trust is not settled by lists of single workers.
    #[error("a deal of trust {trust} is not settled by one worker's word")]
    NotSingle { trust: u32 } = "Berth_NotSingle(uint32)";
    /// The deal has no task of this index.
    #[error("the deal has {size} tasks from {first} on, so none of index {index}")]
    IndexOutside { index: u32, first: u32, size: u32 } = "Berth_IndexOutside(uint256,uint256,uint256)";
    /// Indexes of a list must rise.
    #[error("index {index} does not come after {previous}")]
    IndexNotAscending { previous: u32, index: u32 } = "Berth_IndexNotAscending(uint256,uint256)";
    /// Zero is no result.
    #[error("index {index} has no digest")]
    NoDigest { index: u32 } = "Berth_NoDigest(uint256)";
    /// A list has 1 to 256 entries of 36 bytes.
    #[error("{length} bytes are no list of 1 to 256 results")]
    BadListLength { length: U256 } = "Berth_BadListLength(uint256)";
    /// More than one call may have.
    #[error("{items} are too many for one call: {max} are the most")]
    BatchTooLarge { items: U256, max: U256 } = "Berth_BatchTooLarge(uint256,uint256)";
    /// Each entry needs its assignment.
    #[error("the assignments have {length} bytes and need {needed}")]
    BadAssignmentsLength { length: U256, needed: U256 } = "Berth_BadAssignmentsLength(uint256,uint256)";
    /// Only the deal's operator may do this.
    #[error("only the operator {operator} may do this, not {sender}")]
    NotOperator { sender: Address, operator: OperatorAddr } = "Berth_NotOperator(address,address)";
    /// All tasks of the deal have ended.
    #[error("no task of deal {deal} is open")]
    NothingOpen { deal: DealId } = "Berth_NothingOpen(bytes32)";

    // Rounds.

    /// One worker's word settles the deal.
    #[error("a deal of trust {trust} has no rounds: it is settled by one worker's word")]
    NotReplicated { trust: u32 } = "Berth_NotReplicated(uint32)";
    /// A round has 1 to 64 words, rising within a deal, each with some bits of tasks that the deal has.
    #[error("word {word} of deal {deal} can't be closed with {}", Bits(*bits))]
    BadBits { deal: DealId, word: u32, bits: u128 } = "Berth_BadBits(bytes32,uint32,uint104)";
    /// A task is closed once, and not after its end.
    #[error("of word {word} of deal {deal} these are closed, or have ended, already: {}", Bits(*bits))]
    AlreadyClosed { deal: DealId, word: u32, bits: u128 } = "Berth_AlreadyClosed(bytes32,uint32,uint104)";
    /// No such round was closed by the deal's operator.
    #[error("there is no round {round}")]
    UnknownRound { round: RoundId } = "Berth_UnknownRound(bytes32)";
    /// The round that is shown closed other tasks.
    #[error("the round that is shown did not close task {index}")]
    NotInRound { index: u32 } = "Berth_NotInRound(uint256)";
    /// A closed task settles from its round alone.
    #[error("task {index} was closed: it settles from its round alone")]
    TaskClosed { index: u32 } = "Berth_TaskClosed(uint256)";
    /// It has ended.
    #[error("task {index} has ended")]
    TaskEnded { index: u32 } = "Berth_TaskEnded(uint256)";
    /// The leaves that are shown are not the round's.
    #[error("the leaves that are shown give the root {shown}, not {root}")]
    RootMismatch { root: B256, shown: B256 } = "Berth_RootMismatch(bytes32,bytes32)";
    /// The pairs that are shown are not the task's.
    #[error("the pairs that are shown give the chain {shown}, not {kept}")]
    ChainMismatch { kept: B256, shown: B256 } = "Berth_ChainMismatch(bytes32,bytes32)";
    /// A task has 1 to 64 pairs, and an append at least one more.
    #[error("{pairs} pairs are none or too many for task {index}")]
    BadPairCount { index: u32, pairs: U256 } = "Berth_BadPairCount(uint256,uint256)";
    /// Workers of a leaf, and of a table, rise.
    #[error("worker {worker} does not come after {}", Whose(*previous))]
    WorkerNotAscending { previous: Address, worker: Address } = "Berth_WorkerNotAscending(address,address)";
    /// The packed tasks end in the middle of one, or there is none.
    #[error("{length} bytes are no packed tasks")]
    BadTasksLength { length: U256 } = "Berth_BadTasksLength(uint256)";
    /// Ranks rise, and name workers of the table.
    #[error("rank {rank} of task {index} is not in the table, or does not rise")]
    BadRank { index: u32, rank: U256 } = "Berth_BadRank(uint256,uint256)";
    /// A pair opens only by a reveal.
    #[error("the table has no reveal of {worker} for task {index}")]
    NotRevealed { index: u32, worker: WorkerAddr } = "Berth_NotRevealed(uint256,address)";
    /// Those that opened don't outweigh the others far enough.
    #[error("task {index} needs more: {group} against {dissent} does not reach trust {trust}")]
    TooLittleWeight { index: u32, group: U256, dissent: U256, trust: u32 } =
        "Berth_TooLittleWeight(uint256,uint256,uint256,uint32)";
    /// No settlement of this deal left these pairs out.
    #[error("there is no record {record}")]
    UnknownRecord { record: RecordId } = "Berth_UnknownRecord(bytes32)";
    /// The record is shorter.
    #[error("the record has {entries} entries, so none in place {entry}")]
    BadEntry { entry: U256, entries: U256 } = "Berth_BadEntry(uint256,uint256)";
    /// The pair answers otherwise, or the salt is another's.
    #[error("the salt does not open entry {entry} to the settled digest")]
    WrongSalt { entry: U256 } = "Berth_WrongSalt(uint256)";

    // Deliveries.

    /// No callback waits for the task's result.
    #[error("no callback waits for the result of task {task}")]
    NothingDue { task: TaskId } = "Berth_NothingDue(bytes32)";
    /// The task was settled to something else.
    #[error("manifest and bytes give {shown}, and the task was settled to {digest}")]
    WrongResult { digest: B256, shown: B256 } = "Berth_WrongResult(bytes32,bytes32)";
    /// Berth never calls itself, Assets or the token with a result.
    #[error("{callback} is part of the market itself, and is never called with a result")]
    BadCallback { callback: Address } = "Berth_BadCallback(address)";
    /// The callback has a right to more.
    #[error("{left} gas is left for the callback and {needed} needed")]
    GasTooLow { left: U256, needed: U256 } = "Berth_GasTooLow(uint256,uint256)";
    /// It reverted, or used up its gas.
    #[error("the callback {callback} failed")]
    CallbackFailed { callback: Address } = "Berth_CallbackFailed(address)";

    // Bonds.

    /// The worker belongs to somebody else, or to nobody.
    #[error("the worker belongs to {}, not to {sender}", Whose(*owner))]
    NotBondOwner { sender: Address, owner: Address } = "Berth_NotBondOwner(address,address)";
    /// Less is bonded than this takes away.
    #[error("{bonded} base units are bonded and {needed} base units needed")]
    BondTooSmall { bonded: U256, needed: U256 } = "Berth_BondTooSmall(uint256,uint256)";
    /// A bond holds at most 2^96 - 1 base units.
    #[error("a bond of {bond} base units is more than the contract can count")]
    BondTooLarge { bond: U256 } = "Berth_BondTooLarge(uint256)";
    /// What is unbonding is not released yet.
    #[error("what is unbonding is held until {}", release_at.utc())]
    BondHeld { release_at: Timestamp } = "Berth_BondHeld(uint64)";
    /// Nothing is unbonding.
    #[error("nothing of worker {worker} is unbonding in pool {pool}")]
    NothingUnbonding { pool: B256, worker: WorkerAddr } = "Berth_NothingUnbonding(bytes32,address)";
}

impl Refusal {
    /// What to do about it: only what waits for a time, for money, or for a callback that behaves, may pass later.
    pub const fn class(&self) -> Class {
        if matches!(
            self,
            Self::TooEarly { .. }
                | Self::BondHeld { .. }
                | Self::FreeTooSmall { .. }
                | Self::GasTooLow { .. }
                | Self::CallbackFailed { .. }
        ) {
            Class::Retry
        } else {
            Class::Refused
        }
    }
}
