//! The task that brings an account's intents onto the chain: a reconciler, woken by writers and by new heads.

use super::{Key, OutboxError, Outcome, connection, lease::Lease};
use crate::{
    Class,
    block::Header,
    follow::chain_of,
    heads::Heads,
    identity,
    rpc::Rpc,
    signer::Signer,
    store::{self, StoreError},
};
use alloy::primitives::{B256, U256};
use berth_fault::Faults;
use core::{fmt, time::Duration};
use sqlx::SqlitePool;
use std::{collections::HashSet, sync::Arc};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often an idle sender looks at its queue though nobody woke it.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);

/// How to send.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// The chain for which transactions are signed.
    pub chain_id: u64,
    /// How many blocks deep a receipt must be to count; 1 counts the head.
    pub confirmations: u64,
    /// How deep a block must be to be final. As the follower's.
    pub finality_depth: u64,
    /// After how many blocks an unmined transaction is replaced by a better offer.
    pub stuck_after: u64,
    /// How many transactions may be in flight: nodes keep only so many of one account.
    pub max_in_flight: usize,
    /// The most to pay per gas, in wei.
    pub max_fee_wei: u128,
    /// How often to look where the node does not tell of heads.
    pub poll: Duration,
    /// Where a test has the process killed: at `outbox:stored` (bytes are stored, not sent) and `outbox:sent`.
    pub faults: Faults,
}

impl SenderConfig {
    /// The usual numbers for a chain.
    pub fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            confirmations: 1,
            finality_depth: 64,
            stuck_after: 6,
            // What go-ethereum's pool keeps queued of one account.
            max_in_flight: 64,
            // 500 gwei: dearer gas than this is a mistake more often than a need.
            max_fee_wei: 500_000_000_000,
            poll: Duration::from_millis(250),
            faults: Faults::default(),
        }
    }
}

/// How a sender fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderHealth {
    /// Nothing is in its way.
    Sending,
    /// The node can't be reached, or fails; it tries again.
    Retrying {
        /// Why.
        cause: String,
    },
    /// The account can't pay for what is queued; it goes on once it can.
    Unfunded {
        /// What the account has, in wei.
        has: U256,
        /// What it needs, in wei.
        needs: U256,
    },
    /// The node refuses a transaction; it is offered again with each block.
    Declined {
        /// The node's words.
        message: String,
    },
    /// A stuck transaction would need a dearer offer than the configuration allows.
    Capped,
}

/// What others may watch of a sender, and how they wake it.
#[derive(Debug, Clone)]
pub struct SenderWatch {
    wake: Arc<Notify>,
    /// Changes whenever some intent has moved on.
    pub moved: watch::Receiver<u64>,
    /// How the sender fares.
    pub health: watch::Receiver<SenderHealth>,
}

impl SenderWatch {
    /// Makes the sender look at its queue. Call it after the commit.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the intent is mined or refused. Give the wait a deadline: a chain may stand still.
    ///
    /// # Errors
    /// [`StoreError`], as every statement.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn done(&mut self, pool: &SqlitePool, key: &Key) -> Result<Option<Outcome>, StoreError> {
        loop {
            self.moved.mark_unchanged();
            let outcome = store::outbox::outcome(&mut *connection(pool).await?, key).await?;
            if outcome.as_ref().is_none_or(Outcome::is_done) || self.moved.changed().await.is_err() {
                return Ok(outcome);
            }
        }
    }
}

/// What one activation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// How many intents have moved on.
    pub moved: u64,
    /// How many are not done.
    pub open: usize,
    /// How many are mined but not final.
    pub watched: usize,
}

/// Sends one account's intents out of one database.
pub struct Sender {
    pub(super) rpc: Rpc,
    pub(super) pool: SqlitePool,
    pub(super) signer: Signer,
    pub(super) config: SenderConfig,
    _lease: Lease,
    /// What this process has given to the node, so that only what a crash or a reorg may have lost is sent again.
    pub(super) known: HashSet<B256>,
    /// The first missing nonce, and when it was first seen missing.
    pub(super) gap: Option<(u64, Header)>,
    /// What is in the way; gathered during an activation.
    pub(super) obstacle: SenderHealth,
    wake: Arc<Notify>,
    moved: watch::Sender<u64>,
    health: watch::Sender<SenderHealth>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("rpc", &self.rpc).field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl Sender {
    /// Takes the lease of the signer's account in this database ([`crate::migrate`] comes first).
    ///
    /// # Errors
    /// [`OutboxError::NotAlone`] if another process has it; [`OutboxError::Identity`] if the node is of another chain.
    pub async fn open(rpc: Rpc, pool: SqlitePool, signer: Signer, config: SenderConfig) -> Result<Self, OutboxError> {
        let lease = Lease::take(&pool, signer.address()).await?;
        identity::check_chain(&rpc, config.chain_id).await?;
        Ok(Self {
            rpc,
            pool,
            signer,
            config,
            _lease: lease,
            known: HashSet::new(),
            gap: None,
            obstacle: SenderHealth::Sending,
            wake: Arc::new(Notify::new()),
            moved: watch::Sender::new(0),
            health: watch::Sender::new(SenderHealth::Sending),
        })
    }

    /// What others may watch, and how they wake it.
    pub fn watch(&self) -> SenderWatch {
        SenderWatch { wake: self.wake.clone(), moved: self.moved.subscribe(), health: self.health.subscribe() }
    }

    /// Sends until `stop`, over every failure that may pass. What is in flight at the stop is taken up at the next start.
    ///
    /// # Errors
    /// [`OutboxError`] of class `Refused` or `Bug`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), OutboxError> {
        let mut heads = Heads::new(self.rpc.endpoint().clone(), self.config.poll);
        let wake = self.wake.clone();
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            match self.activate().await {
                Ok(activity) => {
                    pause = FIRST_PAUSE;
                    let idle = activity.open == 0 && activity.watched == 0;
                    tokio::select! {
                        () = wake.notified() => {}
                        () = heads.changed(), if !idle => {}
                        () = tokio::time::sleep(LOOK_ANYWAY), if idle => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) if error.class() == Class::Retry => {
                    let cause = error.to_string();
                    if self.tell(SenderHealth::Retrying { cause }) {
                        tracing::warn!(error = chain_of(&error), "sending fails; trying again");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends until nothing is open: for those who wait for what they sent.
    ///
    /// # Errors
    /// [`OutboxError`]; here whatever is in the way is an error too, since nobody may come to mend it.
    pub(super) async fn finish(&mut self) -> Result<(), OutboxError> {
        let mut heads = Heads::new(self.rpc.endpoint().clone(), self.config.poll);
        while self.activate().await?.open > 0 {
            match &self.obstacle {
                SenderHealth::Unfunded { has, needs } => {
                    let account = self.signer.address();
                    return Err(OutboxError::Unfunded { account, has: *has, needs: *needs });
                }
                SenderHealth::Declined { message } => {
                    return Err(OutboxError::Declined { message: message.clone() });
                }
                SenderHealth::Sending | SenderHealth::Retrying { .. } | SenderHealth::Capped => heads.changed().await,
            }
        }
        Ok(())
    }

    /// Compares what is wanted with what the chain has, and closes the gap: takes receipts and takes them back, sends,
    /// sends again, replaces.
    ///
    /// # Errors
    /// [`OutboxError`]; what was done before the failure is kept.
    ///
    /// # Cancel safety
    /// Safe at every await: that is what a crash does to it.
    pub async fn activate(&mut self) -> Result<Activity, OutboxError> {
        let mut activity = self.load().await?;
        if activity.open == 0 && activity.watched == 0 {
            self.tell(SenderHealth::Sending);
            return Ok(activity);
        }
        self.obstacle = SenderHealth::Sending;
        let reconciled = self.reconcile().await;
        // A step may have written before a later one failed: whoever waits looks again in either case.
        if !matches!(reconciled, Ok(0)) {
            self.moved.send_modify(|count| *count = count.wrapping_add(1));
        }
        let moved = reconciled?;
        self.tell(self.obstacle.clone());
        activity = self.load().await?;
        activity.moved = moved;
        Ok(activity)
    }

    async fn reconcile(&mut self) -> Result<u64, OutboxError> {
        let head = self.rpc.head().await?;
        let mut moved = self.recheck(head).await?;
        moved += self.collect(head).await?;
        moved += self.keep(head).await?;
        moved += self.dispatch(head).await?;
        Ok(moved)
    }

    async fn load(&self) -> Result<Activity, OutboxError> {
        let mut conn = connection(&self.pool).await?;
        let open = store::outbox::open(&mut conn, self.signer.address()).await?.len();
        let watched = store::outbox::mined(&mut conn, self.signer.address()).await?.len();
        Ok(Activity { moved: 0, open, watched })
    }

    fn tell(&self, health: SenderHealth) -> bool {
        self.health.send_if_modified(|now| {
            let changed = *now != health;
            *now = health;
            changed
        })
    }
}
