//! The deterministic deployment proxy: a contract of some thirty bytes that creates by CREATE2 what it is sent, at the
//! same address on every chain that has it. Most have; on others one transaction makes it, which was signed once for all
//! chains by a key that nobody has.

use super::{DeployError, Site};
use crate::outbox::{Intent, Key};
use alloy::primitives::{Address, Bytes, U256, address, bytes};
use std::time::Instant;

/// Where it is.
pub const PROXY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// Its code.
pub(super) const CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);
/// Who makes it: the account that the signature below recovers to, with its first transaction.
const MAKER: Address = address!("3fab184622dc19b6109349b94811493bf2a45362");
/// Its transaction, of 100,000 gas at 100 gwei.
const MAKING: Bytes = bytes!(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba02222222222222222222222222222222222222222222222222222222222222222a02222222222222222222222222222222222222222222222222222222222222222"
);
/// What the maker needs for it.
pub(super) const COST_WEI: U256 = U256::from_limbs([10_000_000_000_000_000, 0, 0, 0]);
/// How long it may take to be mined.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(180);

/// Whether the chain has it.
///
/// # Errors
/// [`DeployError::ForeignProxy`] if something else is there, `Rpc` if the node fails.
pub(super) async fn stands(rpc: &crate::Rpc) -> Result<bool, DeployError> {
    let code = rpc.code(PROXY).await?;
    if code.is_empty() {
        return Ok(false);
    }
    if code == CODE { Ok(true) } else { Err(DeployError::ForeignProxy) }
}

/// Sees to it that the chain has it.
pub(super) async fn provide(site: &mut Site<'_>) -> Result<(), DeployError> {
    if stands(site.rpc).await? {
        return Ok(());
    }
    let has = site.rpc.balance_wei(MAKER).await?;
    if has < COST_WEI {
        let intent = Intent {
            value_wei: COST_WEI - has,
            ..Intent::call(
                Key::new("fund the proxy's maker"),
                site.signer.address(),
                MAKER,
                Bytes::new(),
                "funds the maker of the deployment proxy",
            )
        };
        site.send(intent).await?;
    }
    if let Err(source) = site.rpc.send(&MAKING).await {
        // Somebody else may have sent it just now.
        if !stands(site.rpc).await? {
            return Err(DeployError::NoProxy { chain_id: site.config.chain_id, source });
        }
    }
    let began = Instant::now();
    while !stands(site.rpc).await? {
        if began.elapsed() > PATIENCE {
            return Err(DeployError::ProxyPending);
        }
        tokio::time::sleep(site.config.poll).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::{
        consensus::{Transaction as _, TxEnvelope},
        eips::eip2718::Decodable2718 as _,
    };

    #[test]
    fn the_kept_transaction_makes_the_proxy_where_it_is_known_to_be() -> eyre::Result<()> {
        let tx = TxEnvelope::decode_2718(&mut MAKING.as_ref())?;
        let maker = tx.signature().recover_address_from_prehash(&tx.signature_hash())?;
        assert_eq!((maker, tx.nonce(), tx.chain_id()), (MAKER, 0, None));
        assert_eq!(maker.create(0), PROXY);
        assert_eq!(U256::from(tx.gas_limit()) * U256::from(tx.gas_price().unwrap_or_default()), COST_WEI);
        assert!(tx.input().ends_with(&CODE));
        Ok(())
    }
}
