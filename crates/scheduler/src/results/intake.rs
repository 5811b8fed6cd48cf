//! What comes into the store, and who put it. Bytes are there for whoever has sent all of them, and for nobody who only
//! knows their name: manifests' names are on chain.
//!
//! Small bytes come at once. Larger ones are gathered on this machine's disk, may stop anywhere, and go on where they
//! stopped; they are in the store once all of them are here and have the right hash.

use super::{
    BlobError, Blobs,
    staged::{self, Staged},
};
use crate::{
    clock,
    store::{Database, holding, upload},
};
use alloy::primitives::Address;
use berth_chain::StoreError;
use berth_wire::{manifest::Content, units::Sha256};
use bytes::{Bytes, BytesMut};
use core::time::Duration;
use futures_util::{Stream, StreamExt as _};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
};
use thiserror::Error;
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, timeout},
};

/// Bytes can't be taken in, or taken out.
#[derive(Debug, Error)]
pub(crate) enum IntakeError {
    /// The bytes themselves, or their place.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The account has put too much that nothing names.
    #[error("{unused} bytes of this account are in the store unused, and {size} more would be above {max}")]
    Quota {
        /// What it has there, or has announced.
        unused: u64,
        /// What it wants to put.
        size: u64,
        /// The most.
        max: u64,
    },
    /// The upload goes on elsewhere.
    #[error("{at} bytes of the upload are here: it goes on there")]
    Offset {
        /// How many bytes are here.
        at: u64,
    },
    /// More or fewer bytes than were announced.
    #[error("the upload was said to have {wanted} bytes, and has {found}")]
    Length {
        /// What was announced.
        wanted: u64,
        /// What came.
        found: u64,
    },
    /// Somebody else sends the same bytes, with the same account.
    #[error("another connection of this account sends the same bytes")]
    Busy,
}

impl From<sqlx::Error> for IntakeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What may lie in the store that nothing names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unused {
    /// The most bytes of one account.
    pub(crate) max_bytes: u64,
    /// How long.
    pub(crate) max_age: Duration,
}

/// How long a worker need not put bytes again that it has handed over with a result: it may have another like it.
const HANDED_OVER_MS: u64 = 10 * 60 * 1_000;
/// What is no larger than this comes in one piece, and is held in memory.
pub(crate) const SMALL_BYTES: u64 = 1 << 20;
/// Network reads bring small pieces: so many bytes of them are gathered before they are written.
const PIECE_BYTES: usize = 1 << 20;
/// An upload whose connection brought nothing for so long gives way to a new one: a connection may die without a word.
const STALLED: Duration = Duration::from_secs(5);
/// How long the last write of a connection that gives way may take.
const GIVES_WAY: Duration = Duration::from_secs(5);

/// Where bytes come in.
#[derive(Debug)]
pub(crate) struct Intake {
    db: Database,
    blobs: Blobs,
    unused: Unused,
    names: Turns<Sha256>,
    uploads: Turns<(Address, Sha256)>,
    /// When each upload's connection last brought something, and how it is told to give way.
    lively: Mutex<HashMap<(Address, Sha256), Lively>>,
}

#[derive(Debug, Clone)]
struct Lively {
    moved: Arc<Mutex<Instant>>,
    stop: tokio_util::sync::CancellationToken,
}

impl Intake {
    pub(crate) fn new(db: Database, blobs: Blobs, unused: Unused) -> Self {
        Self { db, blobs, unused, names: Turns::new(), uploads: Turns::new(), lively: Mutex::default() }
    }

    /// Takes all `size` bytes of that name from an account, also those that somebody else has put: sending them is the
    /// proof that it has them.
    pub(crate) async fn put<E>(
        &self,
        account: Address,
        content: Content,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(), IntakeError>
    where
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        if content.size > SMALL_BYTES {
            let here = self.receive(account, content, At::Start, bytes).await?;
            return exactly(content, here);
        }
        self.allow(&mut *self.db.read().await?, account, content).await?;
        let mut bytes = std::pin::pin!(bytes);
        let mut all = BytesMut::with_capacity(usize::try_from(content.size).unwrap_or_default());
        while let Some(piece) = bytes.next().await {
            all.extend_from_slice(&piece.map_err(|error| BlobError::Broken(error.into()))?);
            if all.len() as u64 > content.size {
                break;
            }
        }
        exactly(content, all.len() as u64)?;
        is_named(content, Sha256::of(&all))?;
        let _turn = self.names.take(content.sha256).await;
        self.blobs.keep(content.sha256, all.freeze()).await?;
        let mut tx = self.db.write().await?;
        holding::put(&mut tx, account, content, clock::now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Takes the bytes of an upload from `offset` on; says how many are here. Once that is all, they are in the store.
    pub(crate) async fn append<E>(
        &self,
        account: Address,
        content: Content,
        offset: u64,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<u64, IntakeError>
    where
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        self.receive(account, content, At::Offset(offset), bytes).await
    }

    async fn receive<E>(
        &self,
        account: Address,
        content: Content,
        from: At,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<u64, IntakeError>
    where
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let Content { sha256: name, size } = content;
        if size > self.blobs.max_bytes() {
            return Err(BlobError::TooLarge { max: self.blobs.max_bytes() }.into());
        }
        let (turn, lively) = self.turn(account, name).await?;
        self.announce(account, content).await?;
        let path = self.path(account, name);
        if matches!(from, At::Start) {
            staged::forget(&path).map_err(|source| self.staging(source))?;
        }
        let mut staged = Staged::open(path, turn).await.map_err(|source| self.staging(source))?;
        if let At::Offset(offset) = from
            && offset != staged.len
        {
            return Err(IntakeError::Offset { at: staged.len });
        }
        staged = self.gather(staged, size, &lively, bytes).await?;
        if staged.len < size {
            return Ok(staged.len);
        }
        let (found, staged) = staged.finish().await.map_err(|source| self.staging(source))?;
        if let Err(error) = exactly(content, staged.len).and_then(|()| is_named(content, found)) {
            // It is not what it was said to be: the next one begins anew.
            staged::forget(&staged.path).map_err(|source| self.staging(source))?;
            self.withdraw(account, name).await?;
            return Err(error);
        }
        self.keep(account, content, &staged).await?;
        Ok(size)
    }

    /// Adds what comes to the file. What came before the connection broke is in it, too.
    async fn gather<E>(
        &self,
        mut staged: Staged,
        size: u64,
        lively: &Lively,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Staged, IntakeError>
    where
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let mut bytes = std::pin::pin!(bytes);
        let mut piece = BytesMut::new();
        loop {
            let next = tokio::select! {
                next = bytes.next() => next,
                () = lively.stop.cancelled() => return Err(IntakeError::Busy),
            };
            *lively.moved.lock().expect("nobody panics with it") = Instant::now();
            let broken = match next {
                Some(Ok(more)) => {
                    piece.extend_from_slice(&more);
                    None
                }
                Some(Err(error)) => Some(Some(BlobError::Broken(error.into()))),
                None => Some(None),
            };
            let is_over = staged.len + piece.len() as u64 > size;
            if piece.len() >= PIECE_BYTES || (broken.is_some() && !piece.is_empty()) || is_over {
                let gathered = std::mem::take(&mut piece).freeze();
                staged = staged.add(gathered).await.map_err(|source| self.staging(source))?;
            }
            match broken {
                Some(Some(error)) => return Err(error.into()),
                Some(None) => return Ok(staged),
                None if is_over => return Ok(staged),
                None => {}
            }
        }
    }

    /// A whole upload becomes a blob, and its account's.
    async fn keep(&self, account: Address, content: Content, staged: &Staged) -> Result<(), IntakeError> {
        let turn = self.names.take(content.sha256).await;
        self.blobs.keep_file(content.sha256, &staged.path, content.size).await?;
        let mut tx = self.db.write().await?;
        holding::put(&mut tx, account, content, clock::now_ms()).await?;
        upload::remove(&mut tx, account, content.sha256).await?;
        tx.commit().await?;
        drop(turn);
        Ok(staged::forget(&staged.path).map_err(|source| self.staging(source))?)
    }

    /// How many bytes of an upload are here.
    pub(crate) fn offset(&self, account: Address, name: Sha256) -> Result<u64, IntakeError> {
        Ok(staged::len(&self.path(account, name)).map_err(|source| self.staging(source))?)
    }

    fn path(&self, account: Address, name: Sha256) -> PathBuf {
        self.blobs.backend().staging.join(format!("{account:x}-{name}"))
    }

    fn staging(&self, source: std::io::Error) -> BlobError {
        self.blobs.staging(source)
    }

    /// The right to write to an upload: from nobody, or from a connection that has brought nothing for a while.
    async fn turn(&self, account: Address, name: Sha256) -> Result<(OwnedMutexGuard<()>, Lively), IntakeError> {
        let key = (account, name);
        let turn = match self.uploads.now(key) {
            Some(turn) => turn,
            None => {
                let known = self.lively.lock().expect("nobody panics with it").get(&key).cloned();
                let is_stalled =
                    |known: &Lively| known.moved.lock().expect("nobody panics with it").elapsed() >= STALLED;
                let stalled = known.filter(is_stalled).ok_or(IntakeError::Busy)?;
                stalled.stop.cancel();
                timeout(GIVES_WAY, self.uploads.take(key)).await.map_err(|_| IntakeError::Busy)?
            }
        };
        let lively = Lively { moved: Arc::new(Mutex::new(Instant::now())), stop: Default::default() };
        let mut all = self.lively.lock().expect("nobody panics with it");
        if all.len() >= MANY_TURNS {
            all.retain(|key, _| self.uploads.is_taken(key));
        }
        all.insert(key, lively.clone());
        Ok((turn, lively))
    }

    /// Whether an account may put so much more.
    async fn allow(
        &self,
        conn: &mut sqlx::SqliteConnection,
        account: Address,
        content: Content,
    ) -> Result<(), IntakeError> {
        let Content { sha256, size } = content;
        if size > self.blobs.max_bytes() {
            return Err(BlobError::TooLarge { max: self.blobs.max_bytes() }.into());
        }
        if holding::has(conn, account, content).await? {
            return Ok(());
        }
        let under_way = upload::bytes(conn, account, sha256).await?;
        let unused = holding::unused_bytes(conn, account).await?.saturating_add(under_way);
        let max = self.unused.max_bytes;
        if unused.saturating_add(size) > max {
            return Err(IntakeError::Quota { unused, size, max });
        }
        Ok(())
    }

    /// Notes that an upload begins, or goes on.
    async fn announce(&self, account: Address, content: Content) -> Result<(), IntakeError> {
        let mut tx = self.db.write().await?;
        self.allow(&mut tx, account, content).await?;
        upload::put(&mut tx, account, content, clock::now_ms()).await?;
        Ok(tx.commit().await?)
    }

    async fn withdraw(&self, account: Address, name: Sha256) -> Result<(), IntakeError> {
        let mut tx = self.db.write().await?;
        upload::remove(&mut tx, account, name).await?;
        Ok(tx.commit().await?)
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
        let _turn = self.names.take(content.sha256).await;
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

    /// Forgets, and removes, what nobody has needed for long, and uploads that nobody goes on with.
    pub(crate) async fn sweep(&self, now_ms: u64) -> Result<(), IntakeError> {
        let age_ms = u64::try_from(self.unused.max_age.as_millis()).unwrap_or(u64::MAX);
        let before = holding::Before {
            unused_ms: now_ms.saturating_sub(age_ms),
            handed_over_ms: now_ms.saturating_sub(HANDED_OVER_MS.min(age_ms)),
        };
        let mut tx = self.db.write().await?;
        let names = holding::drop_unused(&mut tx, before).await?;
        let given_up = upload::drop_old(&mut tx, before.unused_ms).await?;
        tx.commit().await?;
        for (account, name) in given_up {
            // One that has just begun again is noted again, too.
            if let Some(_turn) = self.uploads.now((account, name)) {
                staged::forget(&self.path(account, name)).map_err(|source| self.staging(source))?;
            }
        }
        self.clear(&names).await
    }

    /// Removes those of these bytes that nobody needs. May be called again, and at any time: who wants to put the same
    /// bytes meanwhile waits.
    pub(crate) async fn clear(&self, names: &[Sha256]) -> Result<(), IntakeError> {
        for name in names {
            let _turn = self.names.take(*name).await;
            if !crate::store::data::is_needed(&mut *self.db.read().await?, *name).await? {
                self.blobs.remove(*name).await?;
            }
        }
        Ok(())
    }
}

/// Where the bytes that come belong.
#[derive(Debug, Clone, Copy)]
enum At {
    /// At the beginning, whatever is here.
    Start,
    /// After so many that are here.
    Offset(u64),
}

const fn exactly(content: Content, found: u64) -> Result<(), IntakeError> {
    if found == content.size { Ok(()) } else { Err(IntakeError::Length { wanted: content.size, found }) }
}

fn is_named(content: Content, found: Sha256) -> Result<(), IntakeError> {
    let wanted = content.sha256;
    if found == wanted { Ok(()) } else { Err(BlobError::Hash { wanted, found }.into()) }
}

/// How many turns are remembered before those that nobody waits for are forgotten.
const MANY_TURNS: usize = 1_024;

/// One at a time for each: bytes that are being put are not removed, and the other way round; an upload has one writer.
#[derive(Debug)]
struct Turns<K>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>);

impl<K: core::hash::Hash + Eq> Turns<K> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn of(&self, key: K) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().expect("nobody panics with it");
        if turns.len() >= MANY_TURNS {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }

    async fn take(&self, key: K) -> OwnedMutexGuard<()> {
        self.of(key).lock_owned().await
    }

    /// If nobody has it now.
    fn now(&self, key: K) -> Option<OwnedMutexGuard<()>> {
        self.of(key).try_lock_owned().ok()
    }

    fn is_taken(&self, key: &K) -> bool {
        let turns = self.0.lock().expect("nobody panics with it");
        turns.get(key).is_some_and(|turn| turn.strong_count() > 0)
    }
}
