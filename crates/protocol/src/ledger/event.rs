//! What the contracts tell.

use crate::{
    AccountAddr, Amount, AssetId, DealId, DealTerms, OperatorAddr, OrderHash, RoundId, Timestamp, WorkerAddr,
    round::{ClosedRound, EndedTask, LeftOut, Pair, Payee},
};
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::sol;

sol! {
    /// What a deal is about; only in the event, since no money follows from it.
    #[derive(Debug, PartialEq, Eq)]
    struct DealSubject {
        bytes32 app;
        bytes32 dataset;
        address beneficiary;
        bytes32 tag;
        bytes32 jobHash;
        bytes32 appOrder;
        bytes32 datasetOrder;
        bytes32 poolOrder;
    }
}

/// One event of `Berth` or `Assets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Tokens came in.
    Deposited {
        /// Who has them now.
        account: AccountAddr,
        /// Who paid.
        from: Address,
        /// What arrived.
        amount: Amount,
    },
    /// Tokens went out.
    Withdrawn {
        /// Whose they were.
        account: AccountAddr,
        /// Who has them now.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// All orders of an earlier epoch are cancelled.
    EpochRaised {
        /// Whose.
        account: AccountAddr,
        /// The epoch from now on.
        epoch: u64,
    },
    /// An account stands for an order, or a sponsorship, as if it had signed it.
    OrderApproved {
        /// Who.
        account: AccountAddr,
        /// For what.
        order: OrderHash,
    },
    /// One order, or one sponsorship, is cancelled.
    OrderCancelled {
        /// Whose.
        account: AccountAddr,
        /// Which.
        order: OrderHash,
    },
    /// Four orders became a deal.
    DealMatched {
        /// The deal.
        deal: DealId,
        /// Who asked.
        requester: AccountAddr,
        /// Its terms.
        terms: Box<DealTerms>,
        /// What it is about.
        subject: Box<DealSubject>,
    },
    /// A deal's payer had agreed to it, and its word is used up.
    DealSponsored {
        /// The deal.
        deal: DealId,
        /// Who pays.
        payer: AccountAddr,
        /// The sponsorship's digest.
        sponsorship: OrderHash,
    },
    /// Tasks of a single-worker deal ended.
    SinglesSettled {
        /// The deal.
        deal: DealId,
        /// Whose results they are.
        worker: WorkerAddr,
        /// The entries that ended a task, packed (see [`crate::single`]).
        entries: Vec<u8>,
    },
    /// A list was left out, since its worker's bond does not cover the deal.
    ListSkipped {
        /// The deal.
        deal: DealId,
        /// Whose list.
        worker: WorkerAddr,
    },
    /// The operator gave tasks back.
    TasksDeclined {
        /// The deal.
        deal: DealId,
        /// The tasks that ended.
        indexes: Vec<u32>,
        /// Whether the pool's owner got their stake back.
        stake_returned: bool,
    },
    /// What was open after the final deadline ended.
    DealClaimed {
        /// The deal.
        deal: DealId,
        /// How many tasks.
        tasks: u32,
    },
    /// An operator closed a round.
    RoundClosed {
        /// The round.
        id: RoundId,
        /// Who closed it.
        operator: OperatorAddr,
        /// Its root, and the tasks that settle from it alone.
        round: ClosedRound,
    },
    /// Pairs were added to a task's chain.
    PairsAppended {
        /// The deal.
        deal: DealId,
        /// The task.
        index: u32,
        /// The hash of its pairs' chain, with these.
        chain: B256,
        /// How many pairs it has now, those of the leaf included.
        pairs: u8,
        /// The new ones.
        added: Vec<Pair>,
    },
    /// Replicated tasks ended.
    TasksSettled {
        /// The deal.
        deal: DealId,
        /// The round that they settled from; zero for a task that was never closed.
        round: RoundId,
        /// The tasks that ended.
        tasks: Vec<EndedTask>,
        /// What their workers got, by rank.
        workers: Vec<Payee>,
        /// The pairs that did not open: the record that is kept of them is [`crate::round::packed::record_id`]'s.
        left_out: Vec<LeftOut>,
    },
    /// A worker's reveal is there for anybody to settle with.
    RevealPublished {
        /// The round's root, or the hash of the chain that ends in the worker's pair.
        root: B256,
        /// The worker.
        worker: WorkerAddr,
        /// The seed.
        seed: B256,
        /// The worker's signature over both.
        signature: Bytes,
    },
    /// A pair that a settlement had left out was opened.
    ShareOpened {
        /// The deal.
        deal: DealId,
        /// The task.
        index: u32,
        /// Whose pair it is.
        worker: WorkerAddr,
        /// What its worker's owner got.
        paid: Amount,
        /// Whether its score rose.
        scored: bool,
    },
    /// A pair that its worker had signed was never opened.
    WorkerPunished {
        /// The deal.
        deal: DealId,
        /// The task.
        index: u32,
        /// The worker.
        worker: WorkerAddr,
        /// What was burnt of its bond.
        slashed: Amount,
        /// What is left of its score.
        score: u32,
    },
    /// A deal's callback has received a task's result.
    ResultDelivered {
        /// The deal.
        deal: DealId,
        /// The task.
        index: u32,
        /// Who received it.
        callback: Address,
    },
    /// A worker has an owner in a pool, for ever.
    WorkerEnlisted {
        /// The pool.
        pool: AssetId,
        /// The worker.
        worker: WorkerAddr,
        /// Its owner.
        owner: AccountAddr,
    },
    /// More money stands behind a worker.
    Bonded {
        /// The pool.
        pool: AssetId,
        /// The worker.
        worker: WorkerAddr,
        /// How much more.
        amount: Amount,
    },
    /// Money is on its way back from behind a worker.
    Unbonded {
        /// The pool.
        pool: AssetId,
        /// The worker.
        worker: WorkerAddr,
        /// How much more.
        amount: Amount,
        /// When all that is on its way may be withdrawn.
        release_at: Timestamp,
    },
    /// All that was on its way is free again.
    BondWithdrawn {
        /// The pool.
        pool: AssetId,
        /// The worker.
        worker: WorkerAddr,
        /// How much.
        amount: Amount,
    },
    /// There is a new asset. The contract tells its ERC-721 transfer from the zero address besides.
    AssetRegistered {
        /// The asset.
        asset: AssetId,
        /// Its first owner.
        creator: AccountAddr,
        /// What it is.
        descriptor: String,
    },
    /// An asset has another owner (ERC-721 `Transfer`).
    AssetGiven {
        /// The asset.
        asset: AssetId,
        /// Who had it.
        from: AccountAddr,
        /// Who has it.
        to: AccountAddr,
    },
}
