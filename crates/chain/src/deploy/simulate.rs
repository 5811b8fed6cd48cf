//! What a node says would become of creation code, without any transaction.

use super::plan::Part;
use crate::rpc::{Rpc, RpcError};
use alloy::{
    eips::BlockId,
    network::TransactionBuilder as _,
    primitives::{Address, Bytes},
    rpc::types::{
        TransactionRequest,
        state::{AccountOverride, StateOverride},
    },
};

/// The code that a part's constructor leaves at its address: all immutables filled in, even those made of the address
/// itself. The constructor runs as if it were the code there.
pub(super) async fn runtime(rpc: &Rpc, part: &Part, beside: &StateOverride) -> Result<Bytes, RpcError> {
    let mut state = beside.clone();
    state.insert(part.at, code(part.creation.clone()));
    rpc.execute_over(TransactionRequest::default().to(part.at), state).await
}

/// Whether the creation would go through, with the contract's own reason if not: the proxy passes none on.
pub(super) async fn admit(rpc: &Rpc, from: Address, part: &Part) -> Result<(), RpcError> {
    let tx = TransactionRequest::default().from(from).with_deploy_code(part.creation.clone());
    rpc.execute(tx, BlockId::latest()).await.map(drop)
}

pub(super) fn code(code: Bytes) -> AccountOverride {
    AccountOverride { code: Some(code), ..AccountOverride::default() }
}
