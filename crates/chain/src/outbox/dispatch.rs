//! Bytes to the node: new intents, those that it may have lost, and better offers for those that are stuck.

use super::{
    Intent, Key, OutboxError, Sender, SenderHealth, connection,
    fees::Fees,
    reconcile::{CALLS, request},
};
use crate::{
    block::Header,
    rpc::RpcError,
    store::{self, StoreError, attempt::Attempt, outbox::Wish},
};
use alloy::{
    consensus::TxEip1559,
    eips::BlockId,
    primitives::{Bytes, TxKind, U256},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::HashSet;

/// How many intents get their nonces in one transaction.
const ROUND: usize = 32;

/// What a simulation says.
enum Quote {
    /// It would take so much gas.
    Gas(u64),
    /// It would revert.
    Reverts(Bytes),
    /// The node can't tell.
    Unknown(String),
}

impl Sender {
    /// Sees to it that the node has what is in flight, and that it is offered enough.
    pub(super) async fn keep(&mut self, head: Header) -> Result<u64, OutboxError> {
        let (mut flights, attempts) = {
            let mut conn = connection(&self.pool).await?;
            (
                store::outbox::open(&mut conn, self.signer.address()).await?,
                store::attempt::in_flight(&mut conn, self.signer.address()).await?,
            )
        };
        flights.retain(|wish| wish.nonce.is_some());
        flights.sort_by_key(|wish| wish.nonce);
        let Some(lowest) = flights.first().and_then(|wish| wish.nonce) else {
            self.gap = None;
            return Ok(0);
        };
        let used = self.rpc.nonce(self.signer.address(), BlockId::latest()).await?;
        let mut moved = self.bridge(used, lowest, head).await?;
        flights.retain(|wish| wish.nonce.is_some_and(|nonce| nonce >= used));
        for wish in &flights {
            let Some(attempt) = attempts.get(&wish.seq).and_then(|all| all.last()) else { continue };
            if !self.known.contains(&attempt.tx_hash) {
                self.submit(attempt).await?;
                if self.known.contains(&attempt.tx_hash) {
                    let mut conn = connection(&self.pool).await?;
                    store::attempt::resent(&mut conn, attempt.tx_hash, head.block.number).await?;
                    continue;
                }
            }
            let is_old = head.block.number.since(attempt.sent) >= self.config.stuck_after;
            let is_next = wish.nonce == Some(used);
            if is_old && (is_next || attempt.fees.max_fee < head.base_fee_wei) {
                moved += self.push(wish, attempt, head).await?;
            }
        }
        Ok(moved)
    }

    /// Something in flight is not mined though it could be: the node has lost it, or it offers too little.
    async fn push(&mut self, wish: &Wish, attempt: &Attempt, head: Header) -> Result<u64, OutboxError> {
        // What offers less than the base fee is dropped by some nodes and kept by others: no use in sending it again.
        if attempt.fees.max_fee >= head.base_fee_wei && !self.rpc.knows(attempt.tx_hash).await? {
            store::attempt::resent(&mut *connection(&self.pool).await?, attempt.tx_hash, head.block.number).await?;
            self.submit(attempt).await?;
            return Ok(0);
        }
        let suggested = self.fees(head).await?;
        let Some(fees) = attempt.fees.bump(suggested, self.config.max_fee_wei) else {
            self.obstacle = SenderHealth::Capped;
            store::attempt::resent(&mut *connection(&self.pool).await?, attempt.tx_hash, head.block.number).await?;
            return Ok(0);
        };
        let nonce = wish.nonce.expect("only what is in flight is pushed");
        let better = self.sign(&wish.intent, nonce, attempt.gas_limit, fees, head);
        store::attempt::add(&mut *connection(&self.pool).await?, wish.seq, &better).await?;
        tracing::info!(key = %wish.intent.key, nonce, max_fee = fees.max_fee, "replacing a stuck transaction");
        self.submit(&better).await?;
        Ok(1)
    }

    /// Fills nonces that are missing below the lowest in flight, without which nothing above is ever mined. This
    /// happens when the database is older than what was sent, or a reorg was deeper than what is final.
    async fn bridge(&mut self, used: u64, lowest: u64, head: Header) -> Result<u64, OutboxError> {
        if lowest <= used {
            self.gap = None;
            return Ok(0);
        }
        let next = self.rpc.nonce(self.signer.address(), BlockId::pending()).await?.max(used);
        if next >= lowest {
            self.gap = None;
            return Ok(0);
        }
        // A node behind a load balancer may lag: a gap counts when it is still there at a later head.
        match self.gap {
            Some((nonce, seen)) if nonce == next && head.block.number > seen.block.number => {}
            Some((nonce, _)) if nonce == next => return Ok(0),
            Some(_) | None => {
                self.gap = Some((next, head));
                return Ok(0);
            }
        }
        self.gap = None;
        let fees = self.fees(head).await?;
        let mut fillers = Vec::new();
        let mut moved = 0;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        for nonce in next..lowest {
            if store::outbox::revive(&mut tx, self.signer.address(), nonce).await? {
                moved += 1;
                continue;
            }
            let intent = self.filler(nonce);
            store::outbox::insert(&mut tx, &intent).await?;
            let seq = store::outbox::seq_of(&mut tx, &intent.key).await?.expect("just written");
            if store::outbox::assign(&mut tx, seq, nonce).await? {
                let attempt = self.sign(&intent, nonce, 21_000, fees, head);
                store::attempt::add(&mut tx, seq, &attempt).await?;
                fillers.push(attempt);
                moved += 1;
            }
        }
        tx.commit().await.map_err(StoreError::from)?;
        tracing::warn!(from = next, to = lowest, "nonces were missing; filled them");
        for attempt in &fillers {
            self.submit(attempt).await?;
        }
        Ok(moved)
    }

    /// A transaction that does nothing: nothing to the account itself.
    fn filler(&self, nonce: u64) -> Intent {
        let own = self.signer.address();
        Intent::call(Key::new(format!("filler:{own:#x}:{nonce}")), own, own, Bytes::new(), "fills a missing nonce")
    }

    /// Simulates what is queued, gives nonces to what would work, stores its bytes, and sends them.
    pub(super) async fn dispatch(&mut self, head: Header) -> Result<u64, OutboxError> {
        let mut moved = 0;
        let mut held = HashSet::new();
        loop {
            let wishes = store::outbox::open(&mut *connection(&self.pool).await?, self.signer.address()).await?;
            let in_flight = wishes.iter().filter(|wish| wish.nonce.is_some()).count();
            let room = self.config.max_in_flight.saturating_sub(in_flight).min(ROUND);
            let queued: Vec<Wish> = wishes
                .iter()
                .filter(|wish| wish.nonce.is_none() && !held.contains(&wish.seq))
                .take(room)
                .cloned()
                .collect();
            if queued.is_empty() {
                return Ok(moved);
            }
            let quotes = self.quote(&queued, in_flight > 0).await?;
            let mut ready = Vec::new();
            let mut refused = Vec::new();
            for (wish, quote) in queued.into_iter().zip(quotes) {
                match quote {
                    Quote::Gas(gas) => ready.push((wish, gas)),
                    Quote::Reverts(data) => {
                        // An earlier intent may make it work (an approval before a deposit): not before those are done.
                        let first_open = wishes.first().map_or(wish.seq, |first| first.seq);
                        if first_open == wish.seq {
                            refused.push((wish.seq, data));
                        } else {
                            held.insert(wish.seq);
                        }
                    }
                    Quote::Unknown(message) => {
                        held.insert(wish.seq);
                        self.obstacle = SenderHealth::Declined { message };
                    }
                }
            }
            let ready = self.affordable(ready, head, &mut held).await?;
            let has_progress = !ready.is_empty() || !refused.is_empty();
            moved += self.launch(ready, refused, head).await?;
            if has_progress {
                // What was held may work on top of what was just sent, or is now the first in line.
                held.clear();
            }
        }
    }

    /// Simulates on the chain as it is, and where that reverts and something is in flight, on top of that.
    async fn quote(&self, wishes: &[Wish], in_flight: bool) -> Result<Vec<Quote>, OutboxError> {
        let rpc = &self.rpc;
        // Owned items: a closure over borrowed ones makes the whole future one that can't be spawned.
        let requests: Vec<_> = wishes.iter().map(request).collect();
        let quotes = stream::iter(requests).map(|request| async move {
            match rpc.gas(request.clone(), BlockId::latest()).await {
                Err(RpcError::Reverted { .. }) if in_flight => rpc.gas(request, BlockId::pending()).await,
                answer => answer,
            }
        });
        let quotes = quotes.buffered(CALLS).map(|answer| match answer {
            Ok(gas) => Ok(Quote::Gas(gas)),
            Err(RpcError::Reverted { data }) => Ok(Quote::Reverts(data)),
            Err(RpcError::Declined { message, .. }) => Ok(Quote::Unknown(message)),
            Err(error) => Err(error.into()),
        });
        quotes.try_collect().await
    }

    /// Those that the account can pay for, with their gas and fees; the others wait.
    async fn affordable(
        &mut self,
        ready: Vec<(Wish, u64)>,
        head: Header,
        held: &mut HashSet<i64>,
    ) -> Result<Vec<(Wish, u64, Fees)>, OutboxError> {
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let fees = self.fees(head).await?;
        let has = self.rpc.balance_wei(self.signer.address()).await?;
        let mut needs = self.reserved().await?;
        let mut affordable = Vec::with_capacity(ready.len());
        for (wish, estimate) in ready {
            // State may change before it is mined: a quarter more, which is not paid unless used.
            let gas = estimate.saturating_add(estimate / 4).max(wish.intent.gas_hint.unwrap_or(0));
            let with = needs.saturating_add(cost(gas, fees, wish.intent.value_wei));
            if with <= has {
                needs = with;
                affordable.push((wish, gas, fees));
            } else {
                held.insert(wish.seq);
                self.obstacle = SenderHealth::Unfunded { has, needs: with };
            }
        }
        Ok(affordable)
    }

    /// What those in flight may still cost.
    async fn reserved(&self) -> Result<U256, OutboxError> {
        let mut conn = connection(&self.pool).await?;
        let wishes = store::outbox::open(&mut conn, self.signer.address()).await?;
        let attempts = store::attempt::in_flight(&mut conn, self.signer.address()).await?;
        Ok(wishes.iter().fold(U256::ZERO, |sum, wish| {
            let last = attempts.get(&wish.seq).and_then(|all| all.last());
            last.map_or(sum, |attempt| sum.saturating_add(cost(attempt.gas_limit, attempt.fees, wish.intent.value_wei)))
        }))
    }

    /// Stores the bytes of those that are ready and the refusals in one transaction; only then sends, in nonce order.
    async fn launch(
        &mut self,
        ready: Vec<(Wish, u64, Fees)>,
        refused: Vec<(i64, Bytes)>,
        head: Header,
    ) -> Result<u64, OutboxError> {
        let pending =
            if ready.is_empty() { 0 } else { self.rpc.nonce(self.signer.address(), BlockId::pending()).await? };
        let mut moved = 0;
        let mut attempts = Vec::with_capacity(ready.len());
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        for (seq, data) in &refused {
            moved += u64::from(store::outbox::refuse(&mut tx, *seq, data).await?);
        }
        let highest = store::outbox::highest_nonce(&mut tx, self.signer.address()).await?;
        let mut nonce = highest.map_or(pending, |highest| pending.max(highest + 1));
        for (wish, gas, fees) in &ready {
            if store::outbox::assign(&mut tx, wish.seq, nonce).await? {
                let attempt = self.sign(&wish.intent, nonce, *gas, *fees, head);
                store::attempt::add(&mut tx, wish.seq, &attempt).await?;
                attempts.push(attempt);
                nonce += 1;
                moved += 1;
            }
        }
        tx.commit().await.map_err(StoreError::from)?;
        if !attempts.is_empty() {
            self.config.faults.reach("outbox:stored");
        }
        for attempt in &attempts {
            self.submit(attempt).await?;
            self.config.faults.reach("outbox:sent");
        }
        Ok(moved)
    }

    fn sign(&self, intent: &Intent, nonce: u64, gas_limit: u64, fees: Fees, head: Header) -> Attempt {
        let (tx_hash, raw) = self.signer.sign_transaction(TxEip1559 {
            chain_id: self.config.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.tip,
            to: intent.to.map_or(TxKind::Create, TxKind::Call),
            value: intent.value_wei,
            access_list: Default::default(),
            input: intent.calldata.clone(),
        });
        Attempt { tx_hash, raw, gas_limit, fees, sent: head.block.number }
    }

    /// Gives stored bytes to the node. Nodes word their refusals as they like ("already known", "nonce too low"), so
    /// what a refusal means is asked of the chain: whether it has the transaction, now or at the next activation.
    async fn submit(&mut self, attempt: &Attempt) -> Result<(), OutboxError> {
        match self.rpc.send(&attempt.raw).await {
            Ok(()) => {
                self.known.insert(attempt.tx_hash);
            }
            Err(RpcError::Declined { message, .. }) => {
                if self.rpc.knows(attempt.tx_hash).await? {
                    self.known.insert(attempt.tx_hash);
                } else {
                    self.obstacle = SenderHealth::Declined { message };
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// The most that a transaction may cost.
fn cost(gas: u64, fees: Fees, value_wei: U256) -> U256 {
    U256::from(gas).saturating_mul(U256::from(fees.max_fee)).saturating_add(value_wei)
}
