//! The outbox: the only way by which money leaves. Whoever wants a transaction writes an [`Intent`] in the same database
//! transaction as the state that wants it; a [`Sender`] sees to it that it is mined once, or refused.
//!
//! The states of an intent, and the only ways between them:
//!
//! | from | to | when |
//! |---|---|---|
//! | – | queued | [`enqueue`], unless the key is there |
//! | queued | refused | its simulation reverts, and no earlier intent that could change that is open |
//! | queued | in flight | it got a nonce, and its signed bytes are stored; only then are they sent |
//! | in flight | mined | a receipt of one of its signed forms is deep enough |
//! | in flight | queued | a transaction that is none of its own has its nonce for good |
//! | mined | in flight | its block left the chain |
//! | mined | final | its block is too deep to leave the chain |
//!
//! All signed forms of an intent bear one nonce, so one of them at most is ever mined; bytes are stored before they are
//! sent, so a killed sender sends the same bytes again.

mod dispatch;
pub(crate) mod fees;
mod lease;
mod reconcile;
mod sender;

pub use sender::{Activity, Sender, SenderConfig, SenderHealth, SenderWatch};

use crate::{
    Class,
    block::BlockNumber,
    identity::IdentityError,
    rpc::{Rpc, RpcError},
    signer::Signer,
    store::{self, StoreError},
};
use alloy::primitives::{Address, B256, Bytes, U256};
use core::fmt;
use sqlx::{SqliteConnection, SqlitePool, sqlite::SqlitePoolOptions};
use std::path::PathBuf;
use thiserror::Error;

/// The name of an intent: two of one name are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Takes a name, such as `claim:0x…`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A transaction that someone wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its name.
    pub key: Key,
    /// The account that sends it.
    pub from: Address,
    /// The contract that it calls; `None` creates one.
    pub to: Option<Address>,
    /// What it says.
    pub calldata: Bytes,
    /// The chain's own coin that goes with it.
    pub value_wei: U256,
    /// The gas that it needs at least, where the simulation may see a cheaper case than will be mined.
    pub gas_hint: Option<u64>,
    /// What it is for, for people.
    pub note: String,
}

impl Intent {
    /// A call without coin.
    pub fn call(key: Key, from: Address, to: Address, calldata: Bytes, note: impl Into<String>) -> Self {
        Self { key, from, to: Some(to), calldata, value_wei: U256::ZERO, gas_hint: None, note: note.into() }
    }
}

/// A mined transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mined {
    /// Its hash.
    pub tx: B256,
    /// Its block.
    pub block: BlockNumber,
    /// The gas that it used.
    pub gas_used: u64,
    /// What it paid per gas, in wei.
    pub gas_price_wei: u128,
    /// `None` if it did what it should; else the data that it reverted with, empty where nobody can tell any more.
    pub failed: Option<Bytes>,
    /// The contract that it created.
    pub created: Option<Address>,
    /// Whether its block is too deep to leave the chain.
    pub is_final: bool,
}

/// How far an intent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It waits to be sent.
    Queued,
    /// It was sent, and is not deep enough in the chain.
    InFlight {
        /// Its nonce.
        nonce: u64,
        /// The hashes of its signed forms, the first first.
        hashes: Vec<B256>,
    },
    /// It is in the chain. As long as it is not final, a reorg may take it back.
    Mined(Mined),
    /// It would revert, so it was never sent.
    Refused {
        /// The data that it would revert with.
        revert: Bytes,
    },
}

impl Outcome {
    /// Whether there is a result.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Mined(_) | Self::Refused { .. })
    }
}

/// Writes an intent in the caller's transaction; says whether it is new. Wake the sender after the commit.
///
/// # Errors
/// [`StoreError`], as every statement.
pub async fn enqueue(conn: &mut SqliteConnection, intent: &Intent) -> Result<bool, StoreError> {
    store::outbox::insert(conn, intent).await
}

/// How far the intent with that key is; `None` if there is none.
///
/// # Errors
/// [`StoreError`], as every statement.
pub async fn outcome(conn: &mut SqliteConnection, key: &Key) -> Result<Option<Outcome>, StoreError> {
    store::outbox::outcome(conn, key).await
}

/// Forgets an intent that is final or was refused; says whether there was one. Its key may then be used again.
///
/// # Errors
/// [`StoreError`], as every statement.
pub async fn forget(conn: &mut SqliteConnection, key: &Key) -> Result<bool, StoreError> {
    store::outbox::forget(conn, key).await
}

/// Why the outbox can't go on.
#[derive(Debug, Error)]
pub enum OutboxError {
    /// The node is of another chain, or fails.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The node fails.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process sends for this account from this database.
    #[error("another program sends for {sender} from this data folder (it holds {})", path.display())]
    NotAlone {
        /// The account.
        sender: Address,
        /// The lock.
        path: PathBuf,
    },
    /// The lease can't be taken.
    #[error("{} can't be locked", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The account can't pay for gas and value.
    #[error("{account} has {has} wei of the chain's coin, and needs {needs} wei")]
    Unfunded {
        /// The account.
        account: Address,
        /// What it has.
        has: U256,
        /// What it needs.
        needs: U256,
    },
    /// The node takes a transaction neither now nor, it seems, later.
    #[error("the node does not take the transaction: {message}")]
    Declined {
        /// The node's words.
        message: String,
    },
    /// A transaction would revert, or did.
    #[error("{key}: {}", crate::refusal::Revert::decode(revert))]
    Reverted {
        /// The intent.
        key: Key,
        /// The data that it reverts with.
        revert: Bytes,
    },
}

impl OutboxError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Identity(error) => error.class(),
            Self::Rpc(error) if error.class() == Class::Refused => Class::Retry,
            Self::Rpc(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::NotAlone { .. } | Self::Lock { .. } | Self::Unfunded { .. } | Self::Declined { .. } => Class::Refused,
            Self::Reverted { revert, .. } => crate::refusal::Revert::decode(revert).class(),
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Identity(error) => error.hint().map(Into::into),
            Self::Rpc(error) => error.hint().map(Into::into),
            Self::Store(error) => error.hint().map(Into::into),
            Self::NotAlone { .. } => Some("end the other program, or give another data folder".to_owned()),
            Self::Lock { .. } => Some("check that you may write to the data folder".to_owned()),
            Self::Unfunded { account, has, needs } => Some(format!(
                "send {} wei of the chain's coin to {account}: gas is paid with it",
                needs.saturating_sub(*has)
            )),
            Self::Declined { .. } => None,
            Self::Reverted { revert, .. } => Some(crate::refusal::Revert::decode(revert).hint()),
        }
    }
}

/// Sends transactions for someone who keeps no database: all at once, in order, each waited for. A crash in between
/// forgets them, so callers can tell from the chain what was done.
///
/// # Errors
/// [`OutboxError`]; `Reverted` with the first that would revert, or did.
pub async fn send_all(
    rpc: &Rpc,
    signer: &Signer,
    config: &SenderConfig,
    intents: &[Intent],
) -> Result<Vec<Mined>, OutboxError> {
    let pool =
        SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.map_err(StoreError::from)?;
    store::migrate(&pool).await?;
    let mut sender = Sender::open(rpc.clone(), pool.clone(), signer.clone(), config.clone()).await?;
    for intent in intents {
        enqueue(&mut *connection(&pool).await?, intent).await?;
    }
    sender.finish().await?;
    let mut mined = Vec::with_capacity(intents.len());
    for Intent { key, .. } in intents {
        match outcome(&mut *connection(&pool).await?, key).await? {
            Some(Outcome::Mined(Mined { failed: Some(revert), .. }) | Outcome::Refused { revert }) => {
                return Err(OutboxError::Reverted { key: key.clone(), revert });
            }
            Some(Outcome::Mined(receipt)) => mined.push(receipt),
            Some(Outcome::Queued | Outcome::InFlight { .. }) | None => {
                unreachable!("finish returns only when every intent is done, and nothing deletes one")
            }
        }
    }
    Ok(mined)
}

async fn connection(pool: &SqlitePool) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, StoreError> {
    Ok(pool.acquire().await?)
}
