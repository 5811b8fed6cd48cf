//! The follower: every log of some contracts reaches the consumer's tables exactly once, in order, and leaves them again
//! when its block leaves the chain.
//!
//! One step looks at the head and takes the next blocks after the cursor, or, if the chain has left the cursor's
//! branch, goes back to where they part ([`fork`]). What it takes is contiguous and checked against the parent hashes
//! ([`fetch`]). The consumer's rows and the cursor move in one database transaction: whatever kills the process, the
//! two agree.

mod fetch;
mod fork;

use crate::{
    Class,
    block::{BlockNumber, BlockRef},
    convert::DecodeError,
    heads::Heads,
    identity::{self, IdentityError, Subject},
    rpc::{Rpc, RpcError},
    store::{self, StoreError},
};
use alloy::primitives::{Address, B256, Log};
use core::{error::Error, fmt, future::Future, num::NonZeroU64, time::Duration};
use sqlx::{SqliteConnection, SqlitePool};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: how long a node may be back before the follower notices.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An event of a followed contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<E> {
    /// What happened.
    pub body: E,
    /// The contract that says so.
    pub emitter: Address,
    /// The transaction in which it happened.
    pub tx: B256,
    /// Its place among all logs of the block.
    pub log_index: u64,
}

/// A block that is now part of the chain, with the events that it holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<E> {
    /// The block.
    pub at: BlockRef,
    /// Its events. Often none: each head is told, since its time is the chain's time.
    pub events: Vec<Event<E>>,
}

/// What a consumer's write failed with.
pub type SinkError = Box<dyn Error + Send + Sync>;

/// A consumer of events. Both functions write through `conn`, whose transaction the follower owns, and nowhere else.
pub trait Sink<E>: Send {
    /// Writes what these blocks say. Blocks come in ascending order, each once. Far from the head, blocks without
    /// events are left out.
    fn apply(
        &mut self,
        conn: &mut SqliteConnection,
        blocks: &[Block<E>],
    ) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Takes back all that blocks above `to` said: they are not part of the chain any more.
    fn unwind(
        &mut self,
        conn: &mut SqliteConnection,
        to: BlockNumber,
    ) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Reads a log; `None` for one that the consumer does not care about.
pub type Decoder<E> = fn(&Log) -> Result<Option<E>, DecodeError>;

/// What to follow, and how.
#[derive(Debug, Clone)]
pub struct FollowConfig {
    /// The chain, the contract by which the database is known, and the block of its deployment.
    pub subject: Subject,
    /// The contracts whose logs are wanted.
    pub contracts: Vec<Address>,
    /// How deep a reorg may be and still be undone.
    pub finality_depth: NonZeroU64,
    /// How many blocks to ask for at once at the most, where they are final.
    pub max_range: NonZeroU64,
    /// How often to look for a new head where the node does not tell.
    pub poll: Duration,
}

impl FollowConfig {
    /// The usual numbers for following `contracts`.
    pub const fn new(subject: Subject, contracts: Vec<Address>) -> Self {
        Self {
            subject,
            contracts,
            // Two epochs: after these, Ethereum's blocks are final.
            finality_depth: NonZeroU64::new(64).expect("not zero"),
            // Public nodes mostly cap ranges between 1,000 and 10,000 blocks; a refusal halves it anyway.
            max_range: NonZeroU64::new(2_000).expect("not zero"),
            poll: Duration::from_millis(250),
        }
    }
}

/// How the follower fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It has not yet reached the head.
    Starting,
    /// It follows the head.
    Following,
    /// It can't go on at the moment, and tries again.
    Retrying {
        /// Why.
        cause: String,
    },
}

/// How far one step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The consumer's tables are at the head that was seen.
    AtHead,
    /// There is more to do.
    More,
}

/// What others may watch of a follower.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The block up to which the consumer's tables are written.
    pub tip: watch::Receiver<BlockRef>,
    /// How the follower fares.
    pub health: watch::Receiver<Health>,
}

/// Why the follower can't go on.
#[derive(Debug, Error)]
pub enum FollowError {
    /// Database, node and deployment don't fit together.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The node fails.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log is not what its contract's ABI says.
    #[error("a log in block {block} can't be read")]
    Decode {
        /// Its block.
        block: BlockNumber,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The consumer could not write.
    #[error("the events can't be written")]
    Sink(#[source] SinkError),
    /// The chain has left the branch that the database is on, and parted from it before the oldest block kept.
    #[error(
        "the chain has parted from the database before block {oldest}, deeper than the {depth} blocks that can be undone"
    )]
    TooDeep {
        /// The oldest block kept.
        oldest: BlockNumber,
        /// The configured depth.
        depth: u64,
    },
    /// Someone else moved the cursor.
    #[error("another follower writes to this database")]
    NotAlone,
}

impl FollowError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Identity(error) => error.class(),
            // Whatever the node refuses while the chain changes under the question, it may answer next time.
            Self::Rpc(error) if error.class() == Class::Refused => Class::Retry,
            Self::Rpc(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::TooDeep { .. } | Self::NotAlone => Class::Refused,
            Self::Decode { .. } | Self::Sink(_) => Class::Bug,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Identity(error) => error.hint(),
            Self::Rpc(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::TooDeep { .. } => Some(
                "if the local chain was started anew, give a new data folder; else the node may be on a wrong branch: \
                 ask another node, or remove the database to read the chain again",
            ),
            Self::NotAlone => Some("end the other program that uses this data folder"),
            Self::Decode { .. } | Self::Sink(_) => None,
        }
    }
}

/// Follows the logs of some contracts into one consumer's tables.
pub struct Follower<E, S> {
    rpc: Rpc,
    pool: SqlitePool,
    config: FollowConfig,
    decode: Decoder<E>,
    sink: S,
    /// How many blocks the next page of logs spans.
    range: u64,
    /// How many blocks near the head the next piece has.
    piece: u64,
    /// How often in a row the head was below the cursor on the cursor's own branch.
    lower_heads: u32,
    tip: watch::Sender<BlockRef>,
    health: watch::Sender<Health>,
}

impl<E, S> fmt::Debug for Follower<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("rpc", &self.rpc).field("tip", &*self.tip.borrow()).finish_non_exhaustive()
    }
}

impl<E: Send + Sync, S: Sink<E>> Follower<E, S> {
    /// Takes up the database where it stands, or makes it the subject's if it is new ([`crate::migrate`] comes first).
    ///
    /// # Errors
    /// [`FollowError::Identity`] if node, deployment and database don't fit together, or one of them fails.
    pub async fn open(
        rpc: Rpc,
        pool: SqlitePool,
        config: FollowConfig,
        decode: Decoder<E>,
        sink: S,
    ) -> Result<Self, FollowError> {
        identity::claim(&rpc, &pool, config.subject).await?;
        let cursor = read_cursor(&pool).await?;
        Ok(Self {
            rpc,
            pool,
            range: config.max_range.get(),
            piece: fetch::NEAR_BLOCKS,
            config,
            decode,
            sink,
            lower_heads: 0,
            tip: watch::Sender::new(cursor),
            health: watch::Sender::new(Health::Starting),
        })
    }

    /// What others may watch.
    pub fn watch(&self) -> Watch {
        Watch { tip: self.tip.subscribe(), health: self.health.subscribe() }
    }

    /// Follows until `stop`, over every failure that may pass.
    ///
    /// # Errors
    /// [`FollowError`] of class `Refused` or `Bug`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), FollowError> {
        let mut heads = Heads::new(self.rpc.endpoint().clone(), self.config.poll);
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            match self.step().await {
                Ok(Progress::More) => pause = FIRST_PAUSE,
                Ok(Progress::AtHead) => {
                    pause = FIRST_PAUSE;
                    self.health.send_if_modified(|health| set(health, Health::Following));
                    tokio::select! {
                        () = heads.changed() => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) if error.class() == Class::Retry => {
                    let cause = error.to_string();
                    if self.health.send_if_modified(|health| set(health, Health::Retrying { cause })) {
                        tracing::warn!(error = chain_of(&error), "following the chain fails; trying again");
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

    /// Looks at the head, and takes or takes back the next blocks.
    ///
    /// # Errors
    /// [`FollowError`]; nothing is written then.
    ///
    /// # Cancel safety
    /// Safe: what a dropped step wrote is a whole transaction or nothing.
    pub async fn step(&mut self) -> Result<Progress, FollowError> {
        let cursor = read_cursor(&self.pool).await?;
        let head = self.rpc.head().await?;
        match self.branch(cursor, head).await? {
            fork::Branch::Same if head.block.number <= cursor.number => Ok(Progress::AtHead),
            fork::Branch::Same => match self.fetch(cursor, head).await? {
                Some(span) => {
                    self.apply(cursor, &span).await?;
                    let at_head = span.last == head.block;
                    Ok(if at_head { Progress::AtHead } else { Progress::More })
                }
                None => Ok(Progress::More),
            },
            fork::Branch::Parted(ancestor) => {
                self.unwind(cursor, ancestor).await?;
                Ok(Progress::More)
            }
        }
    }

    async fn apply(&mut self, cursor: BlockRef, span: &fetch::Span<E>) -> Result<(), FollowError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        self.sink.apply(&mut tx, &span.blocks).await.map_err(FollowError::Sink)?;
        for block in &span.kept {
            store::header::put(&mut tx, *block).await?;
        }
        let oldest = span.last.number.below(self.config.finality_depth.get());
        store::header::drop_below(&mut tx, oldest).await?;
        self.commit(tx, cursor, span.last).await
    }

    async fn unwind(&mut self, cursor: BlockRef, to: BlockRef) -> Result<(), FollowError> {
        tracing::info!(from = %cursor.number, to = %to.number, "the chain left a branch");
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        self.sink.unwind(&mut tx, to.number).await.map_err(FollowError::Sink)?;
        store::header::drop_above(&mut tx, to.number).await?;
        self.commit(tx, cursor, to).await
    }

    async fn commit(
        &self,
        mut tx: sqlx::Transaction<'static, sqlx::Sqlite>,
        from: BlockRef,
        to: BlockRef,
    ) -> Result<(), FollowError> {
        if !store::cursor::advance(&mut tx, from, to).await? {
            return Err(FollowError::NotAlone);
        }
        tx.commit().await.map_err(StoreError::from)?;
        self.tip.send_replace(to);
        Ok(())
    }
}

async fn read_cursor(pool: &SqlitePool) -> Result<BlockRef, FollowError> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let cursor = store::cursor::read(&mut conn).await?;
    Ok(cursor.ok_or_else(|| StoreError::Foreign { table: "chain_cursor", what: "no row".to_owned() })?)
}

fn set(health: &mut Health, to: Health) -> bool {
    let changed = *health != to;
    *health = to;
    changed
}

/// An error with all its causes, for the one line that tells of it.
pub(crate) fn chain_of(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
