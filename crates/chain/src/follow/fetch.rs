//! The next blocks after the cursor: contiguous, on the cursor's branch, with all logs of the followed contracts.
//!
//! Near the head each block is asked for by its hash, so that logs and header can't be of two branches. Where blocks are
//! final already, logs come in pages over a range of heights.

use super::{Block, Event, FollowError, Follower, Sink};
use crate::{
    block::{BlockNumber, BlockRef, Header},
    rpc::RpcError,
};
use alloy::{
    primitives::B256,
    rpc::types::{Filter, Log},
};
use berth_protocol::Timestamp;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::BTreeMap;

/// How many blocks near the head one transaction takes at the most: bounds what a crash repeats.
pub(super) const NEAR_BLOCKS: u64 = 32;
/// How many calls are under way at once.
const CALLS: usize = 8;
/// A page with more logs than this shrinks the next one: an answer of 100,000 logs is 69 MB.
const PAGE_LOGS: u64 = 10_000;

/// A checked piece of the chain, the first block of which comes right after the cursor.
pub(super) struct Span<E> {
    /// The blocks to tell the consumer of. The last one is always among them.
    pub(super) blocks: Vec<Block<E>>,
    /// The blocks whose hashes are kept.
    pub(super) kept: Vec<BlockRef>,
    /// Where the cursor goes.
    pub(super) last: BlockRef,
}

impl<E: Send + Sync, S: Sink<E>> Follower<E, S> {
    /// The next span, or `None` if the chain changed meanwhile or the page was too large: ask again.
    pub(super) async fn fetch(&mut self, cursor: BlockRef, head: Header) -> Result<Option<Span<E>>, FollowError> {
        let settled = head.block.number.below(self.config.finality_depth.get());
        if cursor.number < settled { self.page(cursor, settled).await } else { self.near(cursor, head).await }
    }

    async fn near(&self, cursor: BlockRef, head: Header) -> Result<Option<Span<E>>, FollowError> {
        let end = head.block.number.get().min(cursor.number.get().saturating_add(self.piece));
        let headers: Vec<Option<Header>> = stream::iter(cursor.number.get() + 1..=end)
            .map(|number| async move {
                if number == head.block.number.get() {
                    return Ok(Some(head));
                }
                self.rpc.header(BlockNumber::new(number)).await
            })
            .buffered(CALLS)
            .try_collect()
            .await?;
        let mut parent = cursor.hash;
        let mut kept = Vec::with_capacity(headers.len());
        for header in headers {
            match header {
                Some(header) if header.parent == parent => {
                    parent = header.block.hash;
                    kept.push(header.block);
                }
                // The branch changed between two calls.
                Some(_) | None => return Ok(None),
            }
        }
        let blocks: Vec<Block<E>> = stream::iter(kept.clone())
            .map(|block| async move {
                let filter = Filter::new().address(self.config.contracts.clone()).at_block_hash(block.hash);
                let logs = self.rpc.logs(&filter).await?;
                self.block(block, logs)
            })
            .buffered(CALLS)
            .try_collect()
            .await?;
        Ok(kept.last().copied().map(|last| Span { blocks, kept, last }))
    }

    async fn page(&mut self, cursor: BlockRef, settled: BlockNumber) -> Result<Option<Span<E>>, FollowError> {
        let from = cursor.number.next();
        let to = BlockNumber::new(settled.get().min(cursor.number.get().saturating_add(self.range)));
        if self.rpc.header(from).await?.is_none_or(|first| first.parent != cursor.hash) {
            return Ok(None);
        }
        let filter = Filter::new().address(self.config.contracts.clone()).from_block(from.get()).to_block(to.get());
        let logs = match self.rpc.logs(&filter).await {
            Ok(logs) => logs,
            Err(error) => return self.shrink(error).map(|()| None),
        };
        // The header of the last block comes after the logs: had the chain changed before, its hash would not fit.
        let Some(last) = self.rpc.header(to).await? else { return Ok(None) };
        self.resize(logs.len());
        let mut by_block: BTreeMap<BlockNumber, Vec<Log>> = BTreeMap::new();
        for log in logs {
            let number = log.block_number.ok_or_else(|| self.rpc.missing("a log's block"))?;
            by_block.entry(BlockNumber::new(number)).or_default().push(log);
        }
        by_block.entry(to).or_default();
        let mut blocks = Vec::with_capacity(by_block.len());
        for (number, logs) in by_block {
            let at = if number == to { last.block } else { self.stamp(number, &logs).await? };
            blocks.push(self.block(at, logs)?);
        }
        Ok(Some(Span { blocks, kept: vec![last.block], last: last.block }))
    }

    /// The block of some logs; asks the node for its time where the logs don't have it.
    async fn stamp(&self, number: BlockNumber, logs: &[Log]) -> Result<BlockRef, FollowError> {
        let log = logs.first();
        let hash = log.and_then(|log| log.block_hash).ok_or_else(|| self.rpc.missing("a log's block hash"))?;
        let timestamp = match log.and_then(|log| log.block_timestamp) {
            Some(seconds) => Timestamp::new(seconds),
            None => {
                let header = self.rpc.header(number).await?;
                header.ok_or_else(|| self.rpc.missing("the block of a log"))?.block.timestamp
            }
        };
        Ok(BlockRef { number, hash, timestamp })
    }

    fn block(&self, at: BlockRef, mut logs: Vec<Log>) -> Result<Block<E>, FollowError> {
        logs.sort_by_key(|log| log.log_index);
        let mut events = Vec::with_capacity(logs.len());
        for log in logs {
            if log.removed || log.block_hash != Some(at.hash) {
                return Err(self.rpc.missing("logs and headers of one branch").into());
            }
            let body = (self.decode)(&log.inner);
            if let Some(body) = body.map_err(|source| FollowError::Decode { block: at.number, source })? {
                events.push(Event {
                    body,
                    emitter: log.inner.address,
                    tx: log.transaction_hash.unwrap_or(B256::ZERO),
                    log_index: log.log_index.ok_or_else(|| self.rpc.missing("a log's index"))?,
                });
            }
        }
        Ok(Block { at, events })
    }

    /// Halves the page after a failure; gives the error back where the node is at fault or there is nothing to halve.
    fn shrink(&mut self, error: RpcError) -> Result<(), FollowError> {
        let was = self.range;
        self.range = (was / 2).max(1);
        match error {
            // An answer that breaks off may have been too large as well.
            RpcError::Unreachable { .. } | RpcError::Missing { .. } => Err(error.into()),
            RpcError::TimedOut { .. }
            | RpcError::Reverted { .. }
            | RpcError::Declined { .. }
            | RpcError::Malformed { .. }
                if was > 1 =>
            {
                tracing::debug!(range = self.range, %error, "a page of logs was refused; asking for fewer blocks");
                Ok(())
            }
            RpcError::TimedOut { .. }
            | RpcError::Reverted { .. }
            | RpcError::Declined { .. }
            | RpcError::Malformed { .. } => Err(error.into()),
        }
    }

    fn resize(&mut self, logs: usize) {
        let logs = u64::try_from(logs).unwrap_or(u64::MAX);
        self.range = if logs > PAGE_LOGS {
            (self.range / 2).max(1)
        } else {
            (self.range.saturating_mul(2)).min(self.config.max_range.get())
        };
    }
}
