//! What can be asked of the contracts.

use crate::{
    DealTerms, WorkerAddr,
    order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder},
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

/// Whose signatures over the four orders these are; `None` for bytes that are nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signers {
    /// Who signed the app's offer.
    pub app: Option<Address>,
    /// Who signed the dataset's offer; not looked at when there is none.
    pub dataset: Option<Address>,
    /// Who signed the pool's offer.
    pub pool: Option<Address>,
    /// Who signed the request.
    pub request: Option<Address>,
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
    /// `matchOrders`.
    Match {
        /// The orders.
        orders: Box<Orders>,
        /// Who signed them.
        signers: Signers,
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
}
