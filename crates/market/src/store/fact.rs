//! What the chain says: `asset`, `asset_owner`, `account_epoch`, `consumption`, `cancellation`. Each row knows its block.

use super::{StoreError, digits20, row, signed};
use alloy::primitives::{Address, B256};
use berth_chain::BlockNumber;
use berth_protocol::AssetId;
use berth_wire::descriptor::{Descriptor, Runtime};
use sqlx::SqliteConnection;

/// Where on the chain something became true.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) block: BlockNumber,
    pub(crate) log_index: u64,
}

pub(crate) async fn asset(
    conn: &mut SqliteConnection,
    id: AssetId,
    descriptor: Option<&Descriptor>,
    at: Place,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO asset (id, name, runtime, block) VALUES ($1, $2, $3, $4)")
        .bind(id.get().to_vec())
        .bind(descriptor.map(Descriptor::name))
        .bind(descriptor.and_then(Descriptor::runtime).map(Runtime::name))
        .bind(signed(at.block.get()))
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn owner(
    conn: &mut SqliteConnection,
    asset: B256,
    owner: Address,
    at: Place,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO asset_owner (asset, owner, block, log_index) VALUES ($1, $2, $3, $4)")
        .bind(asset.to_vec())
        .bind(owner.to_vec())
        .bind(signed(at.block.get()))
        .bind(signed(at.log_index))
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn epoch(
    conn: &mut SqliteConnection,
    account: Address,
    epoch: u64,
    at: Place,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO account_epoch (account, epoch, block, log_index) VALUES ($1, $2, $3, $4)")
        .bind(account.to_vec())
        .bind(digits20(epoch))
        .bind(signed(at.block.get()))
        .bind(signed(at.log_index))
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn consumed(
    conn: &mut SqliteConnection,
    order: B256,
    tasks: u32,
    at: Place,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO consumption (order_hash, tasks, block, log_index) VALUES ($1, $2, $3, $4)")
        .bind(order.to_vec())
        .bind(tasks)
        .bind(signed(at.block.get()))
        .bind(signed(at.log_index))
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn cancelled(
    conn: &mut SqliteConnection,
    account: Address,
    order: B256,
    at: Place,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO cancellation (account, order_hash, block, log_index) VALUES ($1, $2, $3, $4)")
        .bind(account.to_vec())
        .bind(order.to_vec())
        .bind(signed(at.block.get()))
        .bind(signed(at.log_index))
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets what blocks above `to` said.
pub(crate) async fn unwind(conn: &mut SqliteConnection, to: BlockNumber) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM asset WHERE block > $1",
        "DELETE FROM asset_owner WHERE block > $1",
        "DELETE FROM account_epoch WHERE block > $1",
        "DELETE FROM consumption WHERE block > $1",
        "DELETE FROM cancellation WHERE block > $1",
    ] {
        sqlx::query(statement).bind(signed(to.get())).execute(&mut *conn).await?;
    }
    Ok(())
}

pub(crate) async fn owner_of(conn: &mut SqliteConnection, asset: B256) -> Result<Option<Address>, StoreError> {
    let owner: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT owner FROM asset_owner WHERE asset = $1 ORDER BY block DESC, log_index DESC LIMIT 1")
            .bind(asset.to_vec())
            .fetch_optional(conn)
            .await?;
    owner.map(|(bytes,)| Address::try_from(&*bytes).map_err(|_| row("an owner that is no address"))).transpose()
}

pub(crate) async fn epoch_of(conn: &mut SqliteConnection, account: Address) -> Result<u64, StoreError> {
    let epoch: Option<(String,)> = sqlx::query_as(
        "SELECT epoch FROM account_epoch WHERE account = $1 ORDER BY block DESC, log_index DESC LIMIT 1",
    )
    .bind(account.to_vec())
    .fetch_optional(conn)
    .await?;
    epoch.map_or(Ok(0), |(text,)| text.parse().map_err(|_| row("an epoch that is no number")))
}

pub(crate) async fn consumed_of(conn: &mut SqliteConnection, order: B256) -> Result<u32, StoreError> {
    let (sum,): (i64,) = sqlx::query_as("SELECT coalesce(sum(tasks), 0) FROM consumption WHERE order_hash = $1")
        .bind(order.to_vec())
        .fetch_one(conn)
        .await?;
    // An order without limit may pass 2^32 tasks, and nobody counts them.
    Ok(u32::try_from(sum).unwrap_or(u32::MAX))
}

pub(crate) async fn is_cancelled(
    conn: &mut SqliteConnection,
    account: Address,
    order: B256,
) -> Result<bool, StoreError> {
    let (cancelled,): (bool,) =
        sqlx::query_as("SELECT EXISTS (SELECT 1 FROM cancellation WHERE account = $1 AND order_hash = $2)")
            .bind(account.to_vec())
            .bind(order.to_vec())
            .fetch_one(conn)
            .await?;
    Ok(cancelled)
}
