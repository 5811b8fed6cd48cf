//! Where the chain and the database part.

use super::{FollowError, Follower, Sink};
use crate::{
    block::{BlockRef, Header},
    store::{self, StoreError},
};

/// A node behind a load balancer may lag, and its head then seems to go back. A head below the cursor, on the cursor's
/// branch, is believed only when it was seen this often in a row.
const BELIEVE_LOWER_HEAD: u32 = 2;

/// How the cursor and the chain stand to each other.
pub(super) enum Branch {
    /// The cursor's block is part of the chain, or nothing says otherwise yet.
    Same,
    /// It is not; the last block that both share is this one.
    Parted(BlockRef),
}

impl<E: Send + Sync, S: Sink<E>> Follower<E, S> {
    pub(super) async fn branch(&mut self, cursor: BlockRef, head: Header) -> Result<Branch, FollowError> {
        let extends = head.block.number == cursor.number.next() && head.parent == cursor.hash;
        if head.block.hash == cursor.hash || extends {
            self.lower_heads = 0;
            return Ok(Branch::Same);
        }
        if head.block.number >= cursor.number {
            self.lower_heads = 0;
            if self.is_canonical(cursor, head).await? {
                return Ok(Branch::Same);
            }
        }
        let ancestor = self.ancestor(head).await?;
        if ancestor.number == head.block.number {
            self.lower_heads += 1;
            if self.lower_heads < BELIEVE_LOWER_HEAD {
                return Ok(Branch::Same);
            }
        }
        self.lower_heads = 0;
        Ok(Branch::Parted(ancestor))
    }

    /// The highest kept block that is part of the chain which ends in `head`.
    async fn ancestor(&self, head: Header) -> Result<BlockRef, FollowError> {
        let mut conn = self.pool.acquire().await.map_err(StoreError::from)?;
        let kept = store::header::up_to(&mut conn, head.block.number).await?;
        drop(conn);
        for block in &kept {
            if self.is_canonical(*block, head).await? {
                return Ok(*block);
            }
        }
        Err(FollowError::TooDeep {
            oldest: kept.last().map_or(head.block.number, |block| block.number),
            depth: self.config.finality_depth.get(),
        })
    }

    async fn is_canonical(&self, block: BlockRef, head: Header) -> Result<bool, FollowError> {
        if block.number == head.block.number {
            return Ok(block.hash == head.block.hash);
        }
        let there = self.rpc.header(block.number).await?;
        Ok(there.is_some_and(|there| there.block.hash == block.hash))
    }
}
