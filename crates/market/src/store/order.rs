//! `signed_order`, and the view `book` of it with what the chain says.

use super::{StoreError, digits20, digits39, row};
use alloy::primitives::{Address, B256};
use berth_protocol::{OrderHash, Timestamp};
use berth_wire::{descriptor::Runtime, market::Listed, order::SignedOrder};
use sqlx::SqliteConnection;

/// A checked order.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) hash: OrderHash,
    pub(crate) signed: &'a SignedOrder,
    pub(crate) signer: Address,
    pub(crate) epoch: u64,
    pub(crate) url: Option<&'a str>,
}

/// Which orders are wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) kind: Option<String>,
    pub(crate) asset: Option<B256>,
    pub(crate) owner: Option<Address>,
    pub(crate) after: Option<After>,
    pub(crate) limit: u32,
}

/// Where a page of the list ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) price: u128,
    pub(crate) hash: B256,
}

/// Puts an order in. The same again changes nothing: whoever published first knows the URL, and it is not signed.
pub(crate) async fn put(conn: &mut SqliteConnection, entry: &Entry<'_>) -> Result<(), StoreError> {
    let order = &entry.signed.order;
    let document = serde_json::to_string(entry.signed).map_err(|error| row(error.to_string()))?;
    sqlx::query(
        "INSERT INTO signed_order (hash, kind, asset, signer, price, volume, expiry, epoch, document, url)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (hash) DO NOTHING",
    )
    .bind(entry.hash.get().to_vec())
    .bind(order.kind())
    .bind(order.asset().to_vec())
    .bind(entry.signer.to_vec())
    .bind(digits39(order.price().0))
    .bind(order.volume())
    .bind(digits20(order.expiry()))
    .bind(digits20(entry.epoch))
    .bind(document)
    .bind(entry.url)
    .execute(conn)
    .await?;
    Ok(())
}

/// A row of the book: document, hash, signer, remaining, url, name, runtime.
type BookRow = (String, Vec<u8>, Vec<u8>, i64, Option<String>, Option<String>, Option<String>);

fn listed((document, hash, signer, remaining, url, name, runtime): BookRow) -> Result<Listed, StoreError> {
    Ok(Listed {
        hash: B256::try_from(&*hash).map_err(|_| row("an order hash that is none"))?,
        order: serde_json::from_str(&document).map_err(|error| row(format!("an order that is none: {error}")))?,
        signer: Address::try_from(&*signer).map_err(|_| row("a signer that is no address"))?,
        remaining: u32::try_from(remaining).map_err(|_| row("a volume past 2^32"))?,
        url,
        name,
        runtime: runtime.as_deref().and_then(Runtime::named),
    })
}

pub(crate) async fn get(conn: &mut SqliteConnection, hash: OrderHash) -> Result<Option<Listed>, StoreError> {
    let row: Option<BookRow> =
        sqlx::query_as("SELECT document, hash, signer, remaining, url, name, runtime FROM book WHERE hash = $1")
            .bind(hash.get().to_vec())
            .fetch_optional(conn)
            .await?;
    row.map(listed).transpose()
}

/// The wanted orders that can be matched at `now`, cheapest first.
pub(crate) async fn list(
    conn: &mut SqliteConnection,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Vec<Listed>, StoreError> {
    let (price, hash) = match &wanted.after {
        Some(after) => (digits39(after.price), after.hash.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let rows: Vec<BookRow> = sqlx::query_as(
        "SELECT document, hash, signer, remaining, url, name, runtime FROM book
          WHERE remaining > 0 AND expiry >= $1 AND epoch >= least_epoch AND (kind = 'request' OR owner = signer)
            AND NOT EXISTS (SELECT 1 FROM cancellation c WHERE c.account = signer AND c.order_hash = book.hash)
            AND ($2 IS NULL OR kind = $2) AND ($3 IS NULL OR asset = $3) AND ($4 IS NULL OR signer = $4)
            AND (price, hash) > ($5, $6)
          ORDER BY price, hash LIMIT $7",
    )
    .bind(digits20(now.seconds()))
    .bind(wanted.kind.as_deref())
    .bind(wanted.asset.map(|asset| asset.to_vec()))
    .bind(wanted.owner.map(|owner| owner.to_vec()))
    .bind(price)
    .bind(hash)
    .bind(wanted.limit)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(listed).collect()
}
