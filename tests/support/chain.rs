//! The chain as a test sees it: its views, its logs, and the strings that only a local chain has.

use crate::world::until;
use alloy::{
    network::TransactionBuilder as _,
    primitives::{Address, B256, U256},
    providers::{Provider as _, ext::AnvilApi as _},
    rpc::types::{Filter, Log, TransactionRequest, anvil::ReorgOptions},
    sol_types::SolCall,
};
use berth_chain::{BlockNumber, Rpc, bindings::berth::IBerth};
use berth_protocol::Timestamp;
use eyre::OptionExt as _;

/// A local chain with the contracts on it.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Its node.
    pub rpc: Rpc,
    /// `Berth`.
    pub berth: Address,
    /// The settlement token.
    pub token: Address,
}

impl Chain {
    /// Asks a contract, as of a block.
    ///
    /// # Errors
    /// The node or the contract refuses.
    pub async fn view<C: SolCall>(&self, to: Address, call: &C, at: BlockNumber) -> eyre::Result<C::Return> {
        let tx = TransactionRequest::default().to(to).with_input(call.abi_encode());
        let answer = self.rpc.provider().call(tx).block(at.get().into()).await?;
        Ok(C::abi_decode_returns(&answer)?)
    }

    /// The number and time of the last block.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn head(&self) -> eyre::Result<(BlockNumber, Timestamp)> {
        let block = self.rpc.head().await?.block;
        Ok((block.number, block.timestamp))
    }

    /// Waits until a block is no longer the last.
    ///
    /// # Errors
    /// The node does not answer, or mines no more.
    pub async fn pass_block(&self, block: BlockNumber) -> eyre::Result<()> {
        until("a further block is mined", async || Ok((self.head().await?.0 > block).then_some(()))).await
    }

    /// Every log of `Berth` up to a block.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn logs(&self, to: BlockNumber) -> eyre::Result<Vec<Log>> {
        let filter = Filter::new().address(self.berth).from_block(0).to_block(to.get());
        Ok(self.rpc.provider().get_logs(&filter).await?)
    }

    /// The free and the locked money of an account now.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn account(&self, holder: Address) -> eyre::Result<(u128, u128)> {
        let (head, _) = self.head().await?;
        let account = self.view(self.berth, &IBerth::accountCall { holder }, head).await?;
        Ok((account.free, account.locked))
    }

    /// How many tasks of a deal are open; `None` if the chain does not know the deal.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn open_tasks(&self, deal: B256) -> eyre::Result<Option<u32>> {
        let (head, _) = self.head().await?;
        let state = self.view(self.berth, &IBerth::dealStateCall { deal }, head).await?;
        // The word of a deal whose tasks have all ended is not zero.
        let known = state.open > 0 || state.claimed || !state.ended.is_zero();
        Ok(known.then_some(state.open))
    }

    /// The gas that a transaction took, its sender, and its block.
    ///
    /// # Errors
    /// It was not mined.
    pub async fn receipt(&self, tx: B256) -> eyre::Result<(u64, Address, u64)> {
        let receipt = self.rpc.provider().get_transaction_receipt(tx).await?.ok_or_eyre("it was not mined")?;
        Ok((receipt.gas_used, receipt.from, receipt.block_number.unwrap_or_default()))
    }

    /// Lets chain time pass; the block of the new time is there at the end.
    ///
    /// # Errors
    /// The node refuses.
    pub async fn pass_s(&self, seconds: u64) -> eyre::Result<()> {
        self.rpc.provider().anvil_increase_time(seconds).await?;
        self.rpc.provider().evm_mine(None).await?;
        Ok(())
    }

    /// Replaces the last blocks by empty ones: what was in them is gone, and not back in the pool.
    ///
    /// # Errors
    /// The node refuses.
    pub async fn reorg(&self, depth: u64) -> eyre::Result<()> {
        Ok(self.rpc.provider().anvil_reorg(ReorgOptions { depth, tx_block_pairs: Vec::new() }).await?)
    }

    /// Has the chain leave out a block, all that came after it, and what was in them.
    ///
    /// # Errors
    /// The node refuses.
    pub async fn leave_out(&self, block: u64) -> eyre::Result<()> {
        let hash = async || -> eyre::Result<_> {
            let found = self.rpc.provider().get_block_by_number(block.into()).await?;
            Ok(found.map(|found| found.header.hash))
        };
        let before = hash().await?;
        // Where one is mined in between, the first attempt does not go deep enough.
        while hash().await? == before {
            let (head, _) = self.head().await?;
            self.reorg(head.get() + 1 - block).await?;
        }
        Ok(())
    }

    /// Tokens that an account holds outside of `Berth`, as of a block.
    pub(crate) async fn tokens(&self, account: Address, at: BlockNumber) -> eyre::Result<U256> {
        let call = berth_chain::bindings::token::PermitToken::balanceOfCall { account };
        self.view(self.token, &call, at).await
    }
}
