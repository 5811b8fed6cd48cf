//! Hidden answers and the rounds that close them (ADR 0001, section 4).

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
    Ok(hash(&[&[0], deal.get().as_slice(), &index.to_be_bytes(), chain.as_slice()]))
}

/// A round's root over its leaves, in their order; `None` if there are none or too many to count.
pub fn root(leaves: &[B256]) -> Option<B256> {
    let count = u32::try_from(leaves.len()).ok()?;
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => hash(&[&[1], left.as_slice(), right.as_slice()]),
                [last] => *last,
                _ => unreachable!("chunks of two hold one or two"),
            })
            .collect();
    }
    level.first().map(|top| hash(&[&[2], &count.to_be_bytes(), top.as_slice()]))
}
