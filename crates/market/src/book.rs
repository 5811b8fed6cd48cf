//! The book itself: publish, list, fetch.

use crate::{
    check::{self, Facts, Refusal},
    observe,
    store::{self, StoreError, order::Entry, order::Wanted},
};
use alloy::primitives::Address;
use berth_chain::{BlockRef, Rpc, follow::Health, follow::Watch, read::Reader};
use berth_protocol::{AccountAddr, JobHash, OrderHash, domain::Domain, ledger::Bounds};
use berth_wire::{
    market::{Info, Listed, Publication},
    order::{AnyOrder, SignedOrder},
};
use core::time::Duration;
use sqlx::{SqliteConnection, SqlitePool};
use thiserror::Error;

/// How long a publication waits for the book to reach the chain's head: an order often comes right after the
/// transaction that it rests on.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Where the book's orders are good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Market {
    pub(crate) domain: Domain,
    pub(crate) assets: Address,
    pub(crate) token: Address,
    pub(crate) bounds: Bounds,
}

/// The order book.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) pool: SqlitePool,
    pub(crate) rpc: Rpc,
    pub(crate) read: Reader,
    pub(crate) watch: Watch,
    pub(crate) market: Market,
}

/// A call that failed.
#[derive(Debug, Error)]
pub(crate) enum BookError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for BookError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Book {
    pub(crate) fn is_following(&self) -> bool {
        *self.watch.health.borrow() == Health::Following
    }

    pub(crate) fn info(&self) -> Info {
        Info {
            chain_id: self.market.domain.chain_id,
            berth: self.market.domain.berth,
            assets: self.market.assets,
            token: self.market.token,
            block: self.tip().number.get(),
        }
    }

    fn tip(&self) -> BlockRef {
        *self.watch.tip.borrow()
    }

    /// Checks an order and puts it in.
    pub(crate) async fn publish(&self, publication: &Publication) -> Result<OrderHash, BookError> {
        match self.try_publish(publication, None).await {
            Err(BookError::Refused(refusal)) if refusal.may_pass() => {
                self.catch_up().await;
                let vouched = self.vouched(&publication.order).await?;
                self.try_publish(publication, vouched).await
            }
            done => done,
        }
        .inspect(|hash| observe::order_published(*hash, publication.order.order.kind()))
        .inspect_err(|error| observe::order_refused(publication.order.order.kind(), error))
    }

    /// The account that has to stand for an order, if the contracts say that it does.
    async fn vouched(&self, signed: &SignedOrder) -> Result<Option<Address>, BookError> {
        let owner = store::fact::owner_of(&mut *self.pool.acquire().await?, signed.order.asset()).await?;
        let Ok(signer) = check::signer_of(&signed.order, owner) else { return Ok(None) };
        let hash = signed.order.hash(&self.market.domain);
        let asked = self.read.is_order_signed(AccountAddr::new(signer), hash, signed.signature.clone()).await;
        // No answer is no yes.
        Ok(asked.is_ok_and(|yes| yes).then_some(signer))
    }

    async fn try_publish(&self, publication: &Publication, vouched: Option<Address>) -> Result<OrderHash, BookError> {
        // Immediate: a transaction that has read before it writes fails at once, without waiting, if another wrote meanwhile.
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let order = &publication.order.order;
        let facts = Facts { vouched, ..self.facts(&mut tx, order).await? };
        let url = publication.url.as_deref();
        let checked = check::order(&publication.order, url, &facts, self.market.bounds, &self.market.domain)?;
        let entry =
            Entry { hash: checked.hash, signed: &publication.order, signer: checked.signer, epoch: checked.epoch, url };
        store::order::put(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(checked.hash)
    }

    async fn facts(&self, conn: &mut SqliteConnection, order: &AnyOrder) -> Result<Facts, BookError> {
        let owner = store::fact::owner_of(conn, order.asset()).await?;
        let hash = order.hash(&self.market.domain).get();
        let (epoch, cancelled) = match check::signer_of(order, owner) {
            Ok(signer) => {
                (store::fact::epoch_of(conn, signer).await?, store::fact::is_cancelled(conn, signer, hash).await?)
            }
            // Nobody could have signed; the check says so.
            Err(_) => (0, false),
        };
        let consumed = store::fact::consumed_of(conn, hash).await?;
        Ok(Facts { owner, epoch, cancelled, vouched: None, consumed, now: self.tip().timestamp })
    }

    /// Waits until the book has seen what is the chain's head now, or [`CATCH_UP`] is over: what is checked then is
    /// checked against the older state, and says so by the same refusal.
    async fn catch_up(&self) {
        let Ok(head) = self.rpc.head().await else { return };
        let mut tip = self.watch.tip.clone();
        let reached = tip.wait_for(|tip| tip.number >= head.block.number);
        drop(tokio::time::timeout(CATCH_UP, reached).await);
    }

    pub(crate) async fn list(&self, wanted: &Wanted) -> Result<Vec<Listed>, BookError> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::order::list(&mut conn, wanted, self.tip().timestamp).await?)
    }

    pub(crate) async fn order(&self, hash: OrderHash) -> Result<Option<Listed>, BookError> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::order::get(&mut conn, hash).await?)
    }

    pub(crate) async fn put_job(&self, hash: JobHash, document: &[u8]) -> Result<(), BookError> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::job::put(&mut conn, hash, document).await?)
    }

    pub(crate) async fn job(&self, hash: JobHash) -> Result<Option<Vec<u8>>, BookError> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::job::get(&mut conn, hash).await?)
    }
}
