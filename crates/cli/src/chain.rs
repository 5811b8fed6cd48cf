//! The chain as commands see it: checked to be the right one, read in the market's words, written through transactions
//! that are waited for.

use crate::{exit::Exit, failures, hint::Failure, intent::units, settings::Settings};
use alloy::{
    network::TransactionBuilder as _,
    primitives::{Address, B256, Bytes},
    providers::Provider as _,
    rpc::types::{Filter, Log, TransactionReceipt, TransactionRequest},
    sol_types::SolCall as _,
    transports::TransportError,
};
use berth_chain::{
    Deployment, Endpoint, Rpc,
    bindings::berth::IBerth,
    outbox::{self, Intent, Key, Mined, SenderConfig},
    read::Reader,
    refusal::Unit,
    signer::Signer,
};
use berth_protocol::{AccountAddr, Amount, AssetId, domain::Domain, ledger::Account};

/// The settlement token, as people see its amounts.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) address: Address,
    pub(crate) symbol: String,
    pub(crate) decimals: u8,
}

impl Token {
    /// `1.5 LOCAL`.
    pub(crate) fn show(&self, amount: Amount) -> String {
        format!("{} {}", amount.in_tokens(self.decimals), self.symbol)
    }

    /// `1.5`, as on a command line.
    pub(crate) fn plain(&self, amount: Amount) -> String {
        amount.in_tokens(self.decimals)
    }

    /// What machines are told of it.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({ "address": self.address, "symbol": self.symbol, "decimals": self.decimals })
    }

    /// Reads `1.5`.
    pub(crate) fn parse(&self, what: &str, text: &str) -> Result<Amount, Failure> {
        units::tokens(what, text, self.decimals)
    }
}

/// What some transactions cost.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    pub(crate) gas: u64,
    pub(crate) wei: u128,
    pub(crate) transactions: Vec<B256>,
}

impl Spent {
    pub(crate) fn of(mined: &[Mined]) -> Self {
        let wei = |mined: &Mined| u128::from(mined.gas_used).saturating_mul(mined.gas_price_wei);
        Self {
            gas: mined.iter().map(|mined| mined.gas_used).sum(),
            wei: mined.iter().map(wei).sum(),
            transactions: mined.iter().map(|mined| mined.tx).collect(),
        }
    }
}

/// A transaction to send.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) to: Address,
    pub(crate) calldata: Bytes,
    pub(crate) note: &'static str,
}

/// A node of the right chain.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) rpc: Rpc,
    pub(crate) read: Reader,
    pub(crate) deployment: Deployment,
    pub(crate) token: Token,
}

impl Chain {
    /// Reaches the node and checks that it is of the deployment's chain.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let deployment = Deployment::load(settings.deployment()?)?;
        let rpc = Rpc::new(Endpoint::parse(settings.rpc()?)?)?;
        Self::with(rpc, deployment).await
    }

    /// The same from what is known already.
    pub(crate) async fn with(rpc: Rpc, deployment: Deployment) -> Result<Self, Failure> {
        let read = Reader::new(rpc.clone(), deployment);
        let (id, code, token) = tokio::join!(rpc.chain_id(), rpc.code(deployment.berth), read.token());
        let (found, expected) = (id?, deployment.chain_id);
        if found != expected {
            let message = format!("the node at {} is of chain {found}, not of chain {expected}", rpc.endpoint());
            return Err(Failure::preflight("wrong-chain", message)
                .hint(format!("give the URL of a node of chain {expected}: --rpc URL"))
                .hint("or the deployment of this chain: --deployment FILE"));
        }
        if code?.is_empty() {
            let message = format!("there is no contract at {} on chain {found}", deployment.berth);
            return Err(Failure::preflight("no-contract", message)
                .hint("a local chain that was started anew has lost its contracts: `berth devnet down`, then `up`"));
        }
        let token = token?;
        let token = Token { address: deployment.token, symbol: token.symbol, decimals: token.decimals };
        Ok(Self { rpc, read, deployment, token })
    }

    pub(crate) const fn domain(&self) -> Domain {
        self.deployment.domain()
    }

    /// What an account has in the market.
    pub(crate) async fn balance(&self, of: Address) -> Result<Account, Failure> {
        Ok(self.read.account(AccountAddr::new(of)).await?)
    }

    pub(crate) async fn owner_of(&self, asset: AssetId) -> Result<Address, Failure> {
        self.read.owner_of(asset).await?.map(AccountAddr::get).ok_or_else(|| {
            Failure::not_found("asset-unknown", format!("there is no asset {asset} on this chain"))
                .hint("check the id, and that the deployment is the right one")
        })
    }

    /// Sends calls in order and waits until all are mined.
    pub(crate) async fn send(&self, signer: &Signer, calls: Vec<Call>) -> Result<Vec<Mined>, Failure> {
        let intent = |(at, call): (usize, Call)| {
            Intent::call(Key::new(at.to_string()), signer.address(), call.to, call.calldata, call.note)
        };
        let intents: Vec<Intent> = calls.into_iter().enumerate().map(intent).collect();
        let config = SenderConfig::new(self.deployment.chain_id);
        let sent = outbox::send_all(&self.rpc, signer, &config, &intents).await;
        sent.map_err(|error| failures::unsent(error, &Unit::new(&self.token.symbol, self.token.decimals)))
    }

    /// A mined transaction's receipt.
    pub(crate) async fn receipt(&self, tx: B256) -> Result<TransactionReceipt, Failure> {
        let receipt = self.rpc.provider().get_transaction_receipt(tx).await;
        receipt.map_err(|error| self.failed("eth_getTransactionReceipt", &error))?.ok_or_else(|| {
            Failure::not_found("transaction", format!("the node does not know transaction {tx}"))
                .hint("the node may be behind, or the block has left the chain: try again")
        })
    }

    /// Logs since the contracts are there.
    pub(crate) async fn logs(&self, filter: Filter) -> Result<Vec<Log>, Failure> {
        let filter = filter.from_block(self.deployment.block);
        self.rpc.provider().get_logs(&filter).await.map_err(|error| self.failed("eth_getLogs", &error))
    }

    /// The owner and the score of a worker of a pool, as of a block.
    pub(crate) async fn bond_at(&self, pool: B256, worker: Address, block: u64) -> Result<(AccountAddr, u32), Failure> {
        let call = IBerth::bondOfCall { pool, worker }.abi_encode();
        let tx = TransactionRequest::default().to(self.deployment.berth).with_input(call);
        let data = self.rpc.provider().call(tx).block(block.into()).await;
        let data = data.map_err(|error| self.failed("eth_call", &error))?;
        let found = IBerth::bondOfCall::abi_decode_returns(&data).map_err(|error| {
            Failure::new(Exit::Error, "chain-answer", "the node's answer can't be read").because(&error)
        })?;
        Ok((AccountAddr::new(found.owner), found.score))
    }

    fn failed(&self, method: &str, error: &TransportError) -> Failure {
        failures::transport(&self.rpc.endpoint().to_string(), method, error)
    }
}
