//! What the chain says about what was sent: receipts, receipts that are gone, nonces that others took.

use super::{OutboxError, Sender, connection, fees::Fees};
use crate::{
    block::Header,
    rpc::{Rpc, RpcError},
    store::{
        self, StoreError,
        attempt::Attempt,
        outbox::{Place, Receipt, Wish},
    },
};
use alloy::{
    eips::BlockId,
    network::TransactionBuilder as _,
    primitives::{Bytes, TxKind},
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// How many calls are under way at once.
pub(super) const CALLS: usize = 8;

impl Sender {
    /// Looks whether the blocks of mined intents are still there: those that are not take their intents back in flight,
    /// those that are deep enough make them final.
    pub(super) async fn recheck(&mut self, head: Header) -> Result<u64, OutboxError> {
        let mined = store::outbox::mined(&mut *connection(&self.pool).await?, self.signer.address()).await?;
        // A block's hash stands for all blocks before it: while the newest is there, so are those recorded before it.
        let Some(newest) = mined.first() else { return Ok(0) };
        let all_there = self.is_there(newest).await?;
        let mut lost = Vec::new();
        let mut settled = Vec::new();
        let mut last: Option<(Place, bool)> = None;
        for place in mined {
            let is_deep = head.block.number.since(place.block) >= self.config.finality_depth;
            if all_there && !is_deep {
                continue;
            }
            // Whatever becomes final is looked at itself once more.
            let there = match last {
                Some((seen, there)) if seen.block_hash == place.block_hash => there,
                _ => self.is_there(&place).await?,
            };
            last = Some((place, there));
            match (there, is_deep) {
                (false, _) => lost.push(place.seq),
                (true, true) => settled.push(place.seq),
                (true, false) => {}
            }
        }
        if lost.is_empty() && settled.is_empty() {
            return Ok(0);
        }
        let mut moved = 0;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        for seq in &lost {
            moved += u64::from(store::outbox::unmine(&mut tx, *seq).await?);
        }
        for seq in settled {
            moved += u64::from(store::outbox::finish(&mut tx, seq).await?);
        }
        tx.commit().await.map_err(StoreError::from)?;
        if !lost.is_empty() {
            tracing::info!(transactions = lost.len(), "a reorg took transactions out of the chain; sending them again");
            // The node may have dropped them with their blocks.
            self.known.clear();
        }
        Ok(moved)
    }

    async fn is_there(&self, place: &Place) -> Result<bool, RpcError> {
        let header = self.rpc.header(place.block).await?;
        Ok(header.is_some_and(|header| header.block.hash == place.block_hash))
    }

    /// Takes the receipts of what was mined since.
    pub(super) async fn collect(&mut self, head: Header) -> Result<u64, OutboxError> {
        let (mut flights, mut attempts) = {
            let mut conn = connection(&self.pool).await?;
            let mut wishes = store::outbox::open(&mut conn, self.signer.address()).await?;
            wishes.retain(|wish| wish.nonce.is_some());
            (wishes, store::attempt::in_flight(&mut conn, self.signer.address()).await?)
        };
        if flights.is_empty() {
            return Ok(0);
        }
        let used = self.rpc.nonce(self.signer.address(), BlockId::latest()).await?;
        flights.retain(|wish| wish.nonce.is_some_and(|nonce| nonce < used));
        let rpc = &self.rpc;
        let receipts = flights.into_iter().map(|wish| {
            let attempts = attempts.remove(&wish.seq).unwrap_or_default();
            async move { receipt_of(rpc, attempts).await.map(|receipt| (wish, receipt)) }
        });
        let found: Vec<(Wish, Option<TransactionReceipt>)> =
            stream::iter(receipts).buffered(CALLS).try_collect().await?;
        let mut mined = Vec::new();
        let mut usurped = Vec::new();
        for (wish, receipt) in found {
            match receipt {
                Some(receipt) => mined.extend(self.kept(&wish, &receipt, head).await.map(|kept| (wish.seq, kept))),
                None => usurped.push(wish),
            }
        }
        let mut moved = self.record(&mined).await?;
        moved += self.give_back(usurped, head).await?;
        Ok(moved)
    }

    /// What is kept of a receipt, if it is deep enough to count.
    async fn kept(&self, wish: &Wish, receipt: &TransactionReceipt, head: Header) -> Option<Receipt> {
        let block = crate::BlockNumber::new(receipt.block_number?);
        let confirmations = head.block.number.since(block) + 1;
        if confirmations < self.config.confirmations {
            return None;
        }
        let succeeded = receipt.status();
        Some(Receipt {
            tx_hash: receipt.transaction_hash,
            block,
            block_hash: receipt.block_hash?,
            gas_used: receipt.gas_used,
            gas_price: receipt.effective_gas_price,
            succeeded,
            revert: if succeeded { None } else { self.replay(wish, block).await },
        })
    }

    /// Why a mined transaction failed: it is executed once more on the state before its block. Close to the truth,
    /// and all there is: receipts don't say.
    async fn replay(&self, wish: &Wish, block: crate::BlockNumber) -> Option<Bytes> {
        match self.rpc.execute(request(wish), block.below(1).get().into()).await {
            Err(RpcError::Reverted { data }) => Some(data),
            Ok(_) | Err(_) => None,
        }
    }

    async fn record(&self, mined: &[(i64, Receipt)]) -> Result<u64, OutboxError> {
        if mined.is_empty() {
            return Ok(0);
        }
        let mut moved = 0;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        for (seq, receipt) in mined {
            moved += u64::from(store::outbox::mine(&mut tx, *seq, receipt).await?);
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(moved)
    }

    /// Intents whose nonce is used, though by none of their signed forms: someone else signs with this key. They get
    /// another nonce, but not before the foreign transaction is final, since until then a reorg could let both be mined.
    async fn give_back(&mut self, usurped: Vec<Wish>, head: Header) -> Result<u64, OutboxError> {
        if usurped.is_empty() {
            return Ok(0);
        }
        let settled = head.block.number.below(self.config.finality_depth);
        let used = self.rpc.nonce(self.signer.address(), settled.get().into()).await?;
        let mut moved = 0;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        for wish in usurped.iter().filter(|wish| wish.nonce.is_some_and(|nonce| nonce < used)) {
            tracing::warn!(key = %wish.intent.key, nonce = wish.nonce, "another program signs with this key");
            store::attempt::drop_of(&mut tx, wish.seq).await?;
            moved += u64::from(store::outbox::requeue(&mut tx, wish.seq).await?);
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(moved)
    }

    /// What to offer for gas now.
    pub(super) async fn fees(&self, head: Header) -> Result<Fees, RpcError> {
        let tip = self.rpc.tip_wei().await?;
        Ok(Fees::suggest(head.base_fee_wei, tip, self.config.max_fee_wei))
    }
}

/// The receipt of whichever signed form was mined.
async fn receipt_of(rpc: &Rpc, attempts: Vec<Attempt>) -> Result<Option<TransactionReceipt>, RpcError> {
    for attempt in attempts.into_iter().rev() {
        if let Some(receipt) = rpc.receipt(attempt.tx_hash).await? {
            return Ok(Some(receipt));
        }
    }
    Ok(None)
}

/// An intent as a call to simulate.
pub(super) fn request(wish: &Wish) -> TransactionRequest {
    TransactionRequest::default()
        .from(wish.intent.from)
        .with_kind(wish.intent.to.map_or(TxKind::Create, TxKind::Call))
        .with_value(wish.intent.value_wei)
        .with_input(wish.intent.calldata.clone())
}
