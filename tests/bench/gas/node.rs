//! A chain that mines what it is given and lets anybody send.

use super::classes::Step;
use alloy::{
    network::TransactionBuilder as _,
    primitives::{Address, B256, Bytes, U256},
    providers::{Provider as _, ext::AnvilApi as _},
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use berth_chain::{
    Rpc,
    anvil::{Anvil, AnvilConfig, Mining},
    tool::tool_path,
};
use berth_protocol::Timestamp;
use eyre::{OptionExt as _, ensure};
use serde_json::json;

/// The time of the first block, so that figures don't depend on today's bytes.
const GENESIS: &str = "1700000000";
/// Above any transaction measured, below a block's limit.
const GAS_LIMIT: u64 = 16_000_000;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) rpc: Rpc,
    _anvil: Anvil,
}

impl Node {
    pub(crate) async fn start() -> eyre::Result<Self> {
        let arguments = ["--timestamp", GENESIS, "--auto-impersonate", "--steps-tracing"];
        let config = AnvilConfig {
            mining: Mining::OnDemand,
            arguments: arguments.map(str::to_owned).to_vec(),
            ..AnvilConfig::new(tool_path("anvil")?)
        };
        let anvil = Anvil::start(&config)?;
        let rpc = Rpc::new(anvil.endpoint()?)?;
        rpc.provider().anvil_set_block_timestamp_interval(1).await?;
        Ok(Self { rpc, _anvil: anvil })
    }

    /// Gives an account coin for gas.
    pub(crate) async fn endow(&self, account: Address) -> eyre::Result<()> {
        Ok(self.rpc.provider().anvil_set_balance(account, U256::from(10).pow(U256::from(24))).await?)
    }

    /// Sends one transaction, alone in its block; creates a contract if `to` is nobody.
    pub(crate) async fn send(
        &self,
        from: Address,
        to: Option<Address>,
        input: Bytes,
    ) -> eyre::Result<TransactionReceipt> {
        let tx = TransactionRequest::default().from(from).gas_limit(GAS_LIMIT);
        let tx = match to {
            Some(to) => tx.to(to).with_input(input),
            None => tx.with_deploy_code(input),
        };
        let hash = *self.rpc.provider().send_transaction(tx).await?.tx_hash();
        self.rpc.provider().evm_mine(None).await?;
        let receipt = self.rpc.provider().get_transaction_receipt(hash).await?.ok_or_eyre("the node mined nothing")?;
        ensure!(receipt.status(), "the transaction {hash} reverted");
        Ok(receipt)
    }

    /// The last `count` transactions, each alone in its block.
    pub(super) async fn last(&self, count: u64) -> eyre::Result<Vec<B256>> {
        let head = self.rpc.provider().get_block_number().await?;
        let mut transactions = Vec::new();
        for number in head.saturating_sub(count - 1)..=head {
            let block = self.rpc.provider().get_block_by_number(number.into()).await?.ok_or_eyre("no such block")?;
            transactions.extend(block.transactions.hashes());
        }
        ensure!(transactions.len() as u64 == count, "a block has not one transaction");
        Ok(transactions)
    }

    /// What a transaction cost by its receipt, and its steps.
    pub(super) async fn trace(&self, transaction: B256) -> eyre::Result<(u64, Vec<Step>)> {
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Trace {
            struct_logs: Vec<Step>,
        }
        let provider = self.rpc.provider();
        let receipt = provider.get_transaction_receipt(transaction).await?.ok_or_eyre("no such transaction")?;
        let short = json!({ "disableStorage": true, "disableStack": true, "disableMemory": true });
        let trace: Trace = provider.raw_request("debug_traceTransaction".into(), (transaction, short)).await?;
        Ok((receipt.gas_used, trace.struct_logs))
    }

    pub(crate) async fn deploy(&self, from: Address, code: Bytes) -> eyre::Result<Address> {
        self.send(from, None, code).await?.contract_address.ok_or_eyre("no contract came of it")
    }

    /// Lets chain time pass.
    pub(crate) async fn wait_until(&self, time: Timestamp) -> eyre::Result<()> {
        self.rpc.provider().anvil_set_next_block_timestamp(time.seconds()).await?;
        self.rpc.provider().evm_mine(None).await?;
        Ok(())
    }
}
