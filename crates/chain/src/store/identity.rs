//! `chain_identity`: which chain and contract the database is about.

use super::{StoreError, address, hash, signed, unsigned};
use crate::{block::BlockNumber, identity::Identity};
use sqlx::SqliteConnection;

pub(crate) async fn read(conn: &mut SqliteConnection) -> Result<Option<Identity>, StoreError> {
    const TABLE: &str = "chain_identity";
    let row: Option<(i64, Vec<u8>, i64, Vec<u8>)> =
        sqlx::query_as("SELECT chain_id, contract, block, block_hash FROM chain_identity").fetch_optional(conn).await?;
    row.map(|(chain_id, contract, number, block_hash)| {
        Ok(Identity {
            chain_id: unsigned(TABLE, chain_id)?,
            contract: address(TABLE, &contract)?,
            block: BlockNumber::new(unsigned(TABLE, number)?),
            block_hash: hash(TABLE, &block_hash)?,
        })
    })
    .transpose()
}

pub(crate) async fn write(conn: &mut SqliteConnection, identity: &Identity) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO chain_identity (one, chain_id, contract, block, block_hash) VALUES (1, $1, $2, $3, $4)")
        .bind(signed(identity.chain_id))
        .bind(identity.contract.as_slice())
        .bind(signed(identity.block.get()))
        .bind(identity.block_hash.as_slice())
        .execute(conn)
        .await?;
    Ok(())
}
