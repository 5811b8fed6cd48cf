//! What can be asked of the contracts.

use crate::{
    DealTerms, OrderHash, Timestamp, WorkerAddr,
    order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder},
    round::{ClosedRound, Closing, Pair},
};
use alloy_primitives::{Address, B256, U256};

/// The four orders of a match. A dataset order whose dataset is zero stands for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// The app's offer.
    pub app: AppOrder,
    /// The dataset's offer, if its dataset is not zero.
    pub dataset: DatasetOrder,
    /// The pool's offer.
    pub pool: PoolOrder,
    /// What is asked for.
    pub request: RequestOrder,
}

impl Orders {
    /// Whether there is a dataset order.
    pub fn has_dataset(&self) -> bool {
        !self.dataset.dataset.is_zero()
    }
}

/// Whose signatures over the four orders these are; an empty one refers to an approval on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signers {
    /// Who signed the app's offer.
    pub app: Signature,
    /// Who signed the dataset's offer; not looked at when there is none.
    pub dataset: Signature,
    /// Who signed the pool's offer.
    pub pool: Signature,
    /// Who signed the request.
    pub request: Signature,
}

/// A sponsor's word that it pays for one match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// For exactly so many tasks.
    pub volume: u32,
    /// Until when.
    pub expiry: Timestamp,
    /// Over both and the hashes of the request and the pool's offer; empty for an approval on chain.
    pub signature: Signature,
}

/// The operator's assignments that come with a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignments {
    /// How many bytes they are; right are 65 for each entry of the list.
    pub bytes: usize,
    /// Who signed each, over the task of the entry in the same place and the list's worker.
    pub signers: Vec<Option<Address>>,
}

/// One worker's list of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Whose it is.
    pub worker: WorkerAddr,
    /// The packed entries, as they come: possibly none at all (see [`crate::single`]).
    pub entries: Vec<u8>,
    /// Who signed the deal and the root over these entries.
    pub signer: Option<Address>,
    /// Looked at only when the sender is not the operator.
    pub assignments: Assignments,
}

/// The signature that stands where one may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signature {
    /// No bytes at all.
    #[default]
    Empty,
    /// This account's, over what it should be over.
    Of(Address),
    /// Bytes that are nobody's.
    Nobodys,
}

impl Signature {
    /// Whether it is this account's.
    pub fn is_of(self, account: Address) -> bool {
        self == Self::Of(account)
    }
}

/// A worker in the table of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRow {
    /// The worker.
    pub worker: WorkerAddr,
    /// What its commitments are salted with; not looked at without a signature.
    pub seed: B256,
    /// Over the round's root and the seed; empty if the worker opens nothing.
    pub signature: Signature,
}

/// A pair in the settlement of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contribution {
    /// Its worker.
    pub worker: WorkerAddr,
    /// Looked at only if the pair does not open.
    pub commitment: B256,
    /// What the commitment is salted with; not looked at without a signature.
    pub seed: B256,
    /// Over the round's root, or the hash of the chain that ends in an appended pair, and the seed; empty if the pair
    /// does not open.
    pub signature: Signature,
}

/// One call of `Berth` or `Assets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `deposit`, `depositFor`, `depositWithPermit`: so much arrives from the sender.
    Deposit {
        /// Whose account it is for.
        account: Address,
        /// What arrives.
        amount: U256,
    },
    /// `withdraw`.
    Withdraw {
        /// Where to.
        to: Address,
        /// How much.
        amount: U256,
    },
    /// `Assets.register`.
    Register {
        /// The kind's byte.
        kind: u8,
        /// The descriptor.
        descriptor: String,
    },
    /// `Assets.transferFrom` by the owner to another account.
    Give {
        /// What.
        asset: B256,
        /// To whom.
        to: Address,
    },
    /// `matchOrders`, or `matchSponsored` where there is a consent.
    Match {
        /// The orders.
        orders: Box<Orders>,
        /// Who signed them.
        signers: Signers,
        /// The payer's, if it does not send the match itself.
        consent: Option<Consent>,
    },
    /// `approveOrder`.
    ApproveOrder {
        /// The order, or the sponsorship.
        order: OrderHash,
    },
    /// `cancelOrder`.
    CancelOrder {
        /// The order, or the sponsorship.
        order: OrderHash,
    },
    /// `multicall`: calls of `Berth` alone.
    Multicall {
        /// One after the other; all of them, or none.
        calls: Vec<Call>,
    },
    /// `raiseEpoch`.
    RaiseEpoch {
        /// The new epoch.
        epoch: u64,
    },
    /// `bond`.
    Bond {
        /// The pool.
        pool: B256,
        /// The worker.
        worker: WorkerAddr,
        /// How much.
        amount: u128,
        /// Who signed the enlistment of the worker under the sender; looked at only at the first bond.
        enlistment: Option<Address>,
    },
    /// `unbond`.
    Unbond {
        /// The pool.
        pool: B256,
        /// The worker.
        worker: WorkerAddr,
        /// How much.
        amount: u128,
    },
    /// `withdrawBond`.
    WithdrawBond {
        /// The pool.
        pool: B256,
        /// The worker.
        worker: WorkerAddr,
    },
    /// `settleSingles`.
    SettleSingles {
        /// The deal.
        terms: Box<DealTerms>,
        /// The workers' lists.
        lists: Vec<List>,
    },
    /// `decline`.
    Decline {
        /// The deal.
        terms: Box<DealTerms>,
        /// The tasks, by index.
        indexes: Vec<u32>,
    },
    /// `claim`.
    Claim {
        /// The deal.
        terms: Box<DealTerms>,
    },
    /// `close`.
    Close {
        /// The round's root.
        root: B256,
        /// What it closes, deal by deal.
        deals: Vec<Closing>,
    },
    /// `append`.
    Append {
        /// The deal.
        terms: Box<DealTerms>,
        /// The task.
        index: u32,
        /// The round that closed it. As leaf and proof, looked at only at the first append.
        round: ClosedRound,
        /// The pairs of its leaf.
        leaf: Vec<Pair>,
        /// The siblings on the way from its leaf to the root.
        proof: Vec<B256>,
        /// The new pairs.
        added: Vec<Pair>,
    },
    /// `appendAssigned`.
    AppendAssigned {
        /// The deal.
        terms: Box<DealTerms>,
        /// The task.
        index: u32,
        /// The new pair.
        pair: Pair,
        /// Who signed the assignment of the task to the pair's worker.
        assignment: Option<Address>,
        /// Who signed the task and the commitment.
        signer: Option<Address>,
    },
    /// `settle`.
    Settle {
        /// The deal.
        terms: Box<DealTerms>,
        /// The round that closed the tasks.
        round: ClosedRound,
        /// The table of workers.
        workers: Vec<TableRow>,
        /// The packed tasks, as they come (see [`crate::round::BatchTask`]).
        tasks: Vec<u8>,
        /// The siblings that are missing to the root.
        proof: Vec<B256>,
    },
    /// `settleOne`.
    SettleOne {
        /// The deal.
        terms: Box<DealTerms>,
        /// The task.
        index: u32,
        /// What it settles to.
        digest: B256,
        /// The round that closed it, without words if none did.
        round: ClosedRound,
        /// The pairs of its leaf.
        leaf: Vec<Contribution>,
        /// The siblings on the way from its leaf to the root.
        proof: Vec<B256>,
        /// The appended pairs.
        appended: Vec<Contribution>,
    },
    /// `publish`.
    Publish {
        /// The round's root, or the hash of a chain.
        root: B256,
        /// The worker.
        worker: WorkerAddr,
        /// The seed.
        seed: B256,
        /// Who signed both.
        signer: Option<Address>,
    },
    /// `open`.
    Open {
        /// The deal.
        terms: Box<DealTerms>,
        /// The packed record, as it comes (see [`crate::round::LeftOut`]).
        left_out: Vec<u8>,
        /// Entries, each with its salt.
        openings: Vec<(u8, B256)>,
    },
    /// `punish`.
    Punish {
        /// The deal.
        terms: Box<DealTerms>,
        /// The packed record, as it comes.
        left_out: Vec<u8>,
        /// Entries, each with who signed its task and commitment.
        evidence: Vec<(u8, Option<Address>)>,
    },
    /// `deliver`.
    Deliver {
        /// The deal.
        terms: Box<DealTerms>,
        /// The task.
        index: u32,
        /// The sha256 of its manifest.
        manifest: B256,
        /// What its job left for the callback.
        result: Vec<u8>,
    },
}
