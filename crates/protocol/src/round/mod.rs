//! Hidden answers and the rounds that close them (ADR 0001, section 4, and ADR 0003).
//!
//! Here is what a worker hides and what of it makes a leaf and a root; [`closed`] says which tasks a round closes and
//! where their leaves stand, [`proof`] shows some of them, [`packed`] is what a settlement is told and tells, and
//! [`verdict`] weighs what opens against what does not.

pub mod closed;
pub mod packed;
pub mod proof;
pub mod verdict;

pub use closed::{ClosedRound, ClosedWord, Closing, WORD_TASKS, WordBits};
pub use packed::{BatchPair, BatchTask, EndedPair, EndedTask, LeftOut, PackedError, Payee};
pub use proof::{multiproof, proven_root};
pub use verdict::{Standing, Verdict, Voice, weigh};

use crate::{DealId, ResultDigest, TaskId, WorkerAddr};
use alloy_primitives::{B256, keccak256};
use thiserror::Error;

/// How many pairs a task takes, leaf and appends together.
pub const MAX_PAIRS: usize = 64;

fn hash(parts: &[&[u8]]) -> B256 {
    keccak256(parts.concat())
}

/// The salt of one task under a round's seed.
pub fn salt(seed: B256, task: TaskId) -> B256 {
    hash(&[seed.as_slice(), task.get().as_slice()])
}

/// A worker's hidden answer.
pub fn commitment(task: TaskId, worker: WorkerAddr, digest: ResultDigest, salt: B256) -> B256 {
    hash(&[task.get().as_slice(), worker.get().as_slice(), digest.get().as_slice(), salt.as_slice()])
}

/// The private mark by which the operator sees agreement.
pub fn tag(task: TaskId, digest: ResultDigest) -> B256 {
    hash(&[task.get().as_slice(), digest.get().as_slice()])
}

/// A commitment with its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Whose it is.
    pub worker: WorkerAddr,
    /// The hidden answer.
    pub commitment: B256,
}

impl Pair {
    /// Whether the answer is `digest`, under this round's seed of its worker.
    pub fn opens(self, task: TaskId, digest: ResultDigest, seed: B256) -> bool {
        self.opens_by_salt(task, digest, salt(seed, task))
    }

    /// Whether the answer is `digest`, under this salt.
    pub fn opens_by_salt(self, task: TaskId, digest: ResultDigest, salt: B256) -> bool {
        self.commitment == commitment(task, self.worker, digest, salt)
    }
}

/// A task's chain, extended by one pair. The empty chain is zero.
pub fn extend(chain: B256, pair: Pair) -> B256 {
    hash(&[chain.as_slice(), pair.worker.get().as_slice(), pair.commitment.as_slice()])
}

/// Why pairs make no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LeafError {
    /// None at all.
    #[error("a leaf needs at least one pair")]
    Empty,
    /// Too many.
    #[error("a leaf of {0} pairs: {MAX_PAIRS} are the most")]
    TooMany(usize),
    /// Workers must rise strictly.
    #[error("worker {0} does not come after the one before it")]
    Order(WorkerAddr),
}

/// A task's leaf.
///
/// # Errors
/// [`LeafError`] unless there are 1 to 64 pairs, strictly ascending by worker.
pub fn leaf(deal: DealId, index: u32, pairs: &[Pair]) -> Result<B256, LeafError> {
    if pairs.is_empty() {
        return Err(LeafError::Empty);
    }
    if pairs.len() > MAX_PAIRS {
        return Err(LeafError::TooMany(pairs.len()));
    }
    if let Some(pair) = pairs.windows(2).find(|pair| pair[1].worker <= pair[0].worker) {
        return Err(LeafError::Order(pair[1].worker));
    }
    let chain = pairs.iter().copied().fold(B256::ZERO, extend);
    Ok(leaf_of_chain(deal, index, chain))
}

/// A task's leaf, from the hash of its pairs' chain.
pub fn leaf_of_chain(deal: DealId, index: u32, chain: B256) -> B256 {
    hash(&[&[0], deal.get().as_slice(), &index.to_be_bytes(), chain.as_slice()])
}

fn node(left: B256, right: B256) -> B256 {
    hash(&[&[1], left.as_slice(), right.as_slice()])
}

fn root_of_top(leaves: u32, top: B256) -> B256 {
    hash(&[&[2], &leaves.to_be_bytes(), top.as_slice()])
}

/// A round's root over its leaves, in their order; `None` if there are none or too many to count.
pub fn root(leaves: &[B256]) -> Option<B256> {
    let count = u32::try_from(leaves.len()).ok()?;
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node(*left, *right),
                [last] => *last,
                _ => unreachable!("chunks of two hold one or two"),
            })
            .collect();
    }
    level.first().map(|top| root_of_top(count, *top))
}
