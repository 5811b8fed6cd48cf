//! The chain as commands see it: checked to be the right one, read in the market's words, written through transactions
//! that are waited for.

use crate::{exit::Exit, hint::Failure, intent::units, settings::Settings};
use alloy::{
    primitives::{Address, B256, Bytes, U256},
    providers::Provider as _,
    rpc::types::{Filter, Log, TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
};
use berth_chain::{
    Endpoint, Rpc,
    bindings::{assets::Assets, berth::IBerth, token::PermitToken},
    deploy::Deployment,
    outbox::{self, Intent, Key, Mined, SenderConfig},
    signer::Signer,
};
use berth_protocol::{AccountAddr, Amount, AssetId, Timestamp, WorkerAddr, domain::Domain};

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

    /// Reads `1.5`.
    pub(crate) fn parse(&self, what: &str, text: &str) -> Result<Amount, Failure> {
        units::tokens(what, text, self.decimals)
    }
}

/// What an account has in the market.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Balance {
    pub(crate) free: Amount,
    pub(crate) locked: Amount,
}

/// What stands behind a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BondView {
    /// Nobody, if it was never bonded.
    pub(crate) owner: Option<AccountAddr>,
    pub(crate) bonded: Amount,
    pub(crate) unbonding: Amount,
    pub(crate) release_at: Timestamp,
    pub(crate) score: u32,
}

/// A node of the right chain.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) rpc: Rpc,
    pub(crate) deployment: Deployment,
    pub(crate) token: Token,
}

impl Chain {
    /// Reaches the node and checks that it is of the deployment's chain.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let deployment = Deployment::read(settings.deployment()?)?;
        let rpc = Rpc::new(Endpoint::parse(settings.rpc()?)?)?;
        Self::with(rpc, deployment).await
    }

    /// The same from what is known already.
    pub(crate) async fn with(rpc: Rpc, deployment: Deployment) -> Result<Self, Failure> {
        let token = Token { address: deployment.token, symbol: String::new(), decimals: 0 };
        let mut chain = Self { rpc, deployment, token };
        let (id, code, symbol, decimals) = tokio::join!(
            chain.rpc.chain_id(),
            chain.rpc.code(chain.deployment.berth),
            chain.call(chain.token.address, PermitToken::symbolCall {}),
            chain.call(chain.token.address, PermitToken::decimalsCall {}),
        );
        let (found, expected) = (id?, chain.deployment.chain_id);
        if found != expected {
            let node = chain.rpc.endpoint();
            let message = format!("the node at {node} is of chain {found}, not of chain {expected}");
            return Err(Failure::preflight("wrong-chain", message)
                .hint(format!("give the URL of a node of chain {expected}: --rpc URL"))
                .hint("or the deployment of this chain: --deployment FILE"));
        }
        if code?.is_empty() {
            let message = format!("there is no contract at {} on chain {found}", chain.deployment.berth);
            return Err(Failure::preflight("no-contract", message)
                .hint("a local chain that was started anew has lost its contracts: `berth devnet down`, then `up`"));
        }
        chain.token.symbol = symbol?;
        chain.token.decimals = decimals?;
        Ok(chain)
    }

    pub(crate) fn domain(&self) -> Domain {
        Domain { chain_id: self.deployment.chain_id, berth: self.deployment.berth }
    }

    /// Asks a contract.
    pub(crate) async fn call<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, Failure> {
        let request = TransactionRequest::default().to(to).input(Bytes::from(call.abi_encode()).into());
        let answer = self.rpc.provider().call(request).await.map_err(|error| self.failed("eth_call", &error))?;
        C::abi_decode_returns(&answer).map_err(|error| {
            Failure::new(Exit::Error, "contract-answer", format!("the contract at {to} answers what Berth does not know"))
                .because(&error)
                .hint("check that the deployment file is of this chain")
        })
    }

    async fn berth<C: SolCall>(&self, call: C) -> Result<C::Return, Failure> {
        self.call(self.deployment.berth, call).await
    }

    pub(crate) async fn balance(&self, of: Address) -> Result<Balance, Failure> {
        let account = self.berth(IBerth::accountCall { holder: of }).await?;
        Ok(Balance { free: Amount::new(account.free), locked: Amount::new(account.locked) })
    }

    /// Tokens outside of the market.
    pub(crate) async fn tokens(&self, of: Address) -> Result<Amount, Failure> {
        let balance = self.call(self.token.address, PermitToken::balanceOfCall { account: of }).await?;
        Ok(Amount::new(balance.saturating_to()))
    }

    pub(crate) async fn allowance(&self, of: Address) -> Result<U256, Failure> {
        let spender = self.deployment.berth;
        self.call(self.token.address, PermitToken::allowanceCall { owner: of, spender }).await
    }

    pub(crate) async fn bond(&self, pool: AssetId, worker: WorkerAddr) -> Result<BondView, Failure> {
        let bond = self.berth(IBerth::bondOfCall { pool: pool.get(), worker: worker.get() }).await?;
        Ok(BondView {
            owner: (!bond.owner.is_zero()).then(|| AccountAddr::new(bond.owner)),
            bonded: Amount::new(bond.bonded),
            unbonding: Amount::new(bond.unbonding),
            release_at: Timestamp::new(bond.releaseAt),
            score: bond.score,
        })
    }

    pub(crate) async fn epoch(&self, of: Address) -> Result<u64, Failure> {
        self.berth(IBerth::epochOfCall { signer: of }).await
    }

    pub(crate) async fn bounds(&self) -> Result<(u32, u32, u64), Failure> {
        let bounds = self.berth(IBerth::boundsCall {}).await?;
        Ok((bounds.minDuration, bounds.maxDuration, bounds.maxSpan))
    }

    pub(crate) async fn owner_of(&self, asset: AssetId) -> Result<Address, Failure> {
        let id = U256::from_be_bytes(asset.get().0);
        self.call(self.deployment.assets, Assets::ownerOfCall { tokenId: id }).await.map_err(|failure| {
            if failure.exit == Exit::Reverted {
                return Failure::not_found("asset-unknown", format!("there is no asset {asset} on this chain"))
                    .hint("check the id, and that the deployment is the right one");
            }
            failure
        })
    }

    /// Sends calls in order and waits until all are mined.
    pub(crate) async fn send(&self, signer: &Signer, calls: Vec<(Address, Bytes, String)>) -> Result<Vec<Mined>, Failure> {
        let intents: Vec<Intent> = calls
            .into_iter()
            .enumerate()
            .map(|(at, (to, calldata, note))| Intent::call(Key::new(at.to_string()), signer.address(), to, calldata, note))
            .collect();
        let config = SenderConfig::new(self.deployment.chain_id);
        Ok(outbox::send_all(&self.rpc, signer, &config, &intents).await?)
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
}
