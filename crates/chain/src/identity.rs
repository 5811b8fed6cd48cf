//! A database belongs to one contract on one chain. Following another into it would mix two histories.

use crate::{
    Class,
    block::{BlockNumber, Header},
    rpc::{Rpc, RpcError},
    store::{self, StoreError},
};
use alloy::primitives::{Address, B256};
use sqlx::SqlitePool;
use thiserror::Error;

/// What a chain is told by. The hash tells apart two local chains, which share id and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The chain's id.
    pub chain_id: u64,
    /// The contract that is followed.
    pub contract: Address,
    /// A block at or before the contract's first log: that of its deployment.
    pub block: BlockNumber,
    /// That block's hash.
    pub block_hash: B256,
}

/// What to follow, as its deployment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The chain's id.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// The block of its deployment.
    pub block: BlockNumber,
}

/// Database, node and deployment don't fit together.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The node is of another chain.
    #[error("the node at {node} is of chain {found}, not of chain {expected}")]
    WrongChain {
        /// The node.
        node: String,
        /// The chain of the deployment.
        expected: u64,
        /// The chain of the node.
        found: u64,
    },
    /// The chain is too short to be the one of the deployment.
    #[error("the chain at {node} ends before block {block}, in which the contracts were deployed")]
    TooShort {
        /// The node.
        node: String,
        /// The block of the deployment.
        block: BlockNumber,
    },
    /// The database is about another chain or contract.
    #[error(
        "the database is about contract {} on chain {} (block {} is {}), not about {} on chain {} (block {} is {})",
        database.contract, database.chain_id, database.block, database.block_hash,
        node.contract, node.chain_id, node.block, node.block_hash
    )]
    ForeignDatabase {
        /// What the database is about.
        database: Box<Identity>,
        /// What the node and the deployment say.
        node: Box<Identity>,
    },
    /// The node fails.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IdentityError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::WrongChain { .. } | Self::TooShort { .. } | Self::ForeignDatabase { .. } => Class::Refused,
            Self::Rpc(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WrongChain { .. } => Some("give the URL of a node of the deployment's chain (`--rpc`)"),
            Self::TooShort { .. } => Some(
                "the local chain was started anew, or the node is still syncing: deploy again, or wait for the node",
            ),
            Self::ForeignDatabase { .. } => Some(
                "give another data folder, or remove this one if its chain is gone (a local chain that was started \
                 anew is another chain)",
            ),
            Self::Rpc(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// Checks that the node is of the subject's chain.
///
/// # Errors
/// [`IdentityError::WrongChain`], or [`IdentityError::Rpc`].
pub(crate) async fn check_chain(rpc: &Rpc, expected: u64) -> Result<(), IdentityError> {
    let found = rpc.chain_id().await?;
    if found == expected {
        return Ok(());
    }
    Err(IdentityError::WrongChain { node: rpc.endpoint().to_string(), expected, found })
}

/// Makes the database the subject's if it is still nobody's, and puts the cursor before the subject's first block.
pub(crate) async fn claim(rpc: &Rpc, pool: &SqlitePool, subject: Subject) -> Result<(), IdentityError> {
    check_chain(rpc, subject.chain_id).await?;
    let first = rpc
        .header(subject.block)
        .await?
        .ok_or_else(|| IdentityError::TooShort { node: rpc.endpoint().to_string(), block: subject.block })?;
    let before = before(rpc, first).await?;
    let node = Identity {
        chain_id: subject.chain_id,
        contract: subject.contract,
        block: subject.block,
        block_hash: first.block.hash,
    };
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
    match store::identity::read(&mut tx).await? {
        None => {
            store::identity::write(&mut tx, &node).await?;
            store::cursor::start(&mut tx, before.block).await?;
            store::header::put(&mut tx, before.block).await?;
        }
        Some(database) if database == node => {}
        Some(database) => {
            return Err(IdentityError::ForeignDatabase { database: Box::new(database), node: Box::new(node) });
        }
    }
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// The block before the first, where the cursor starts. Genesis has no logs, so following from it loses none.
async fn before(rpc: &Rpc, first: Header) -> Result<Header, RpcError> {
    let number = first.block.number.below(1);
    if number == first.block.number {
        return Ok(first);
    }
    rpc.header(number)
        .await?
        .ok_or_else(|| RpcError::Missing { node: rpc.endpoint().to_string(), what: format!("block {number}") })
}
