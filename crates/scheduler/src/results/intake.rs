//! What comes into the store, and who put it. Bytes are there for whoever has sent all of them, and for nobody who only
//! knows their name: manifests' names are on chain.

use super::{BlobError, Blobs};
use crate::{
    clock,
    store::{Database, holding},
};
use alloy::primitives::Address;
use berth_chain::StoreError;
use berth_wire::{manifest::Content, units::Sha256};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};
use thiserror::Error;

/// Bytes can't be taken in, or taken out.
#[derive(Debug, Error)]
pub(crate) enum IntakeError {
    /// The bytes themselves, or their place.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for IntakeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How long bytes are kept that nobody needs.
const UNUSED_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long a worker need not put bytes again that it has handed over with a result: it may have another like it.
const HANDED_OVER_MS: u64 = 10 * 60 * 1_000;

/// Where bytes come in.
#[derive(Debug)]
pub(crate) struct Intake {
    db: Database,
    blobs: Blobs,
    turns: Turns,
}

impl Intake {
    pub(crate) fn new(db: Database, blobs: Blobs) -> Self {
        Self { db, blobs, turns: Turns::default() }
    }

    /// Takes all the bytes of that name from an account, also those that somebody else has put: sending them is the
    /// proof that it has them. Gives their number.
    pub(crate) async fn put<E>(
        &self,
        account: Address,
        name: Sha256,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<u64, IntakeError>
    where
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let _turn = self.turns.take(name).await;
        let size = self.blobs.put(name, bytes).await?;
        let mut tx = self.db.write().await?;
        holding::put(&mut tx, account, Content { sha256: name, size }, clock::now_ms()).await?;
        tx.commit().await?;
        Ok(size)
    }

    /// Whether these bytes are there for an account: it has put them itself, and they are still in the store.
    pub(crate) async fn has(&self, account: Address, content: Content) -> Result<bool, IntakeError> {
        Ok(self.size(account, content.sha256).await? == Some(content.size))
    }

    /// How many bytes are there for an account under this name.
    pub(crate) async fn size(&self, account: Address, name: Sha256) -> Result<Option<u64>, IntakeError> {
        let put = holding::size(&mut *self.db.read().await?, account, name).await?;
        let Some(size) = put else { return Ok(None) };
        Ok(self.blobs.has(Content { sha256: name, size }).await?.then_some(size))
    }

    /// Makes those bytes of a result of the account's own as good as put.
    pub(crate) async fn take_over(&self, account: Address, content: Content) -> Result<bool, IntakeError> {
        if !holding::is_result_for(&mut *self.db.read().await?, account, content.sha256).await? {
            return Ok(false);
        }
        let _turn = self.turns.take(content.sha256).await;
        if !self.blobs.has(content).await? {
            return Ok(false);
        }
        let mut tx = self.db.write().await?;
        // The result may have been removed meanwhile.
        if !holding::is_result_for(&mut tx, account, content.sha256).await? {
            return Ok(false);
        }
        holding::put(&mut tx, account, content, clock::now_ms()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets, and removes, what nobody has needed for long.
    pub(crate) async fn sweep(&self, now_ms: u64) -> Result<(), IntakeError> {
        let before = holding::Before {
            unused_ms: now_ms.saturating_sub(UNUSED_MS),
            handed_over_ms: now_ms.saturating_sub(HANDED_OVER_MS),
        };
        let mut tx = self.db.write().await?;
        let names = holding::drop_unused(&mut tx, before).await?;
        tx.commit().await?;
        self.clear(&names).await
    }

    /// Removes those of these bytes that nobody needs. May be called again, and at any time: who wants to put the same
    /// bytes meanwhile waits.
    pub(crate) async fn clear(&self, names: &[Sha256]) -> Result<(), IntakeError> {
        for name in names {
            let _turn = self.turns.take(*name).await;
            if !crate::store::data::is_needed(&mut *self.db.read().await?, *name).await? {
                self.blobs.remove(*name).await?;
            }
        }
        Ok(())
    }
}

/// How many names are remembered before those that nobody waits for are forgotten.
const MANY_TURNS: usize = 1_024;

/// One at a time for each name: bytes that are being put are not removed, and the other way round.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<Sha256, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn take(&self, name: Sha256) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().expect("nobody panics with it");
            if turns.len() >= MANY_TURNS {
                turns.retain(|_, turn| turn.strong_count() > 0);
            }
            let known = turns.get(&name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(tokio::sync::Mutex::new(()));
                turns.insert(name, Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}
