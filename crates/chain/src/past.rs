//! What has happened in rounds, for whoever keeps no tables of it: one transaction, or a stretch of blocks, at a time.
//!
//! Nothing here is final: the caller compares the blocks that it is told with the chain that it sees later.

use crate::{
    bindings::berth::IBerth,
    block::{BlockNumber, BlockRef},
    convert,
    deploy::Deployment,
    rpc::{Rpc, RpcError},
};
use alloy::{
    primitives::{Address, B256},
    rpc::types::{Filter, Log},
    sol_types::SolEvent as _,
};
use berth_protocol::{DealId, Timestamp, ledger::Event};

/// The most blocks to ask for at once: public nodes mostly cap ranges between 1,000 and 10,000.
const RANGE: u64 = 1_000;

/// A transaction that is in the chain and did what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its block.
    pub block: BlockNumber,
    /// What `Berth` said in it.
    pub events: Vec<Event>,
}

/// An event of a stretch of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its block.
    pub block: BlockNumber,
    /// Its transaction.
    pub tx: B256,
    /// What happened.
    pub event: Event,
}

/// Events of rounds in a stretch of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its last block.
    pub last: BlockRef,
    /// What happened in it.
    pub told: Vec<Told>,
}

/// Looks at the past of one deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Past {
    rpc: Rpc,
    berth: Address,
}

impl Past {
    /// The past of `deployment`, as the node at `rpc` has it.
    pub const fn new(rpc: Rpc, deployment: &Deployment) -> Self {
        Self { rpc, berth: deployment.berth }
    }

    /// What a transaction did; `None` if it is not in the chain, or reverted.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn transaction(&self, tx: B256) -> Result<Option<Done>, RpcError> {
        let Some(receipt) = self.rpc.receipt(tx).await? else { return Ok(None) };
        let (Some(number), Some(hash), true) = (receipt.block_number, receipt.block_hash, receipt.status()) else {
            return Ok(None);
        };
        let block = BlockNumber::new(number);
        // A node may still have the receipt of a block that has left the chain.
        let canonical = self.rpc.header(block).await?.is_some_and(|header| header.block.hash == hash);
        if !canonical {
            return Ok(None);
        }
        let logs = receipt.logs().iter().filter(|log| log.address() == self.berth);
        let events = logs.filter_map(|log| decoded(log).transpose()).collect::<Result<_, _>>()?;
        Ok(Some(Done { block, events }))
    }

    /// How a deal was matched, if that was in this block.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn matched(&self, deal: DealId, block: BlockNumber) -> Result<Option<Event>, RpcError> {
        let one = Filter::new().address(self.berth).from_block(block.get()).to_block(block.get());
        let one = one.event_signature(IBerth::DealMatched::SIGNATURE_HASH).topic1(deal.get());
        self.rpc.logs(&one).await?.first().map_or(Ok(None), decoded)
    }

    /// What happened in rounds after block `after`, up to the head at the most; `None` if that is the head. The caller
    /// asks again with the stretch's last block until then.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn since(&self, after: BlockNumber) -> Result<Option<Stretch>, RpcError> {
        let head = self.rpc.head().await?.block;
        let (first, most) = (after.get() + 1, after.get() + RANGE);
        if head.number.get() < first {
            return Ok(None);
        }
        let last = if most >= head.number.get() {
            head
        } else {
            let header = self.rpc.header(BlockNumber::new(most)).await?;
            header.ok_or_else(|| self.rpc.missing(format!("block {most}")))?.block
        };
        let wanted = vec![
            IBerth::TasksSettled::SIGNATURE_HASH,
            IBerth::PairsAppended::SIGNATURE_HASH,
            IBerth::RevealPublished::SIGNATURE_HASH,
            IBerth::ShareOpened::SIGNATURE_HASH,
        ];
        let range = Filter::new().address(self.berth).from_block(first).to_block(last.number.get());
        let mut told = Vec::new();
        for log in self.rpc.logs(&range.event_signature(wanted)).await? {
            let (Some(block), Some(tx)) = (log.block_number, log.transaction_hash) else { continue };
            if let Some(event) = decoded(&log)? {
                told.push(Told { block: BlockNumber::new(block), tx, event });
            }
        }
        // What was read is of this branch only if its last block still is.
        let same = self.rpc.header(last.number).await?.is_some_and(|header| header.block.hash == last.hash);
        if !same {
            return Err(self.rpc.missing(format!("block {} any more", last.number)));
        }
        Ok(Some(Stretch { last, told }))
    }

    /// The last block before a time: what was caused at that time or later is in a later block.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn before(&self, time: Timestamp) -> Result<BlockRef, RpcError> {
        let mut late = self.rpc.head().await?.block;
        let mut step = 1;
        // Mostly it is a moment ago, so the search goes back from the head in growing strides.
        let mut early = loop {
            if late.timestamp < time || late.number.get() == 0 {
                break late;
            }
            let earlier = self.block(BlockNumber::new(late.number.get().saturating_sub(step))).await?;
            if earlier.timestamp < time || earlier.number.get() == 0 {
                break earlier;
            }
            late = earlier;
            step *= 2;
        };
        while early.number.get() + 1 < late.number.get() {
            let middle = self.block(BlockNumber::new(u64::midpoint(early.number.get(), late.number.get()))).await?;
            if middle.timestamp < time {
                early = middle;
            } else {
                late = middle;
            }
        }
        Ok(early)
    }

    async fn block(&self, number: BlockNumber) -> Result<BlockRef, RpcError> {
        let header = self.rpc.header(number).await?;
        Ok(header.ok_or_else(|| self.rpc.missing(format!("block {number}")))?.block)
    }
}

fn decoded(log: &Log) -> Result<Option<Event>, RpcError> {
    convert::event(&log.inner)
        .map_err(|error| RpcError::Malformed { method: "eth_getLogs", cause: crate::follow::chain_of(&error) })
}
