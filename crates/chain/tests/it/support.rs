//! A local chain, a small contract to talk to, and a database to write to.

use alloy::{
    network::TransactionBuilder as _,
    primitives::{Address, B256, Log, U256},
    providers::{Provider as _, ext::AnvilApi as _},
    rpc::types::{Filter, TransactionRequest},
    sol_types::{SolCall, SolEvent as _},
};
use berth_chain::{
    BlockNumber, Rpc,
    anvil::{Anvil, AnvilConfig, Mining},
    convert::DecodeError,
    identity::Subject,
    tool::tool_path,
};
use core::{future::Future, pin::pin, task::Poll, time::Duration};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use std::path::Path;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

alloy::sol! {
    // The source is Emitter.sol beside this file: solc 0.8.37, optimised, no metadata.
    #[sol(bytecode = "6080604052348015600e575f5ffd5b506102cd8061001c5f395ff3fe60806040526004361061006e575f3560e01c8063a69df4b51161004c578063a69df4b5146100cd578063bb734757146100eb578063ee02438e14610116578063fcfff16f14610135575f5ffd5b80634c8fe52614610072578063568ab21e14610099578063773acdef146100ae575b5f5ffd5b34801561007d575f5ffd5b506100865f5481565b6040519081526020015b60405180910390f35b6100ac6100a7366004610271565b61015e565b005b3480156100b9575f5ffd5b506100ac6100c8366004610271565b6101cc565b3480156100d8575f5ffd5b506100ac6002805460ff19166001179055565b3480156100f6575f5ffd5b50610086610105366004610271565b60016020525f908152604090205481565b348015610121575f5ffd5b506100ac610130366004610271565b61021d565b348015610140575f5ffd5b5060025461014e9060ff1681565b6040519015158152602001610090565b60025460ff166101a4575f818152600160205260409081902054905163d387778160e01b815261019b918391600401918252602082015260400190565b60405180910390fd5b6001805f8381526020019081526020015f205f8282546101c4919061029c565b909155505050565b5f5b81811015610219575f80543391806101e5836102b5565b909155506040517fc05b373e05c47417d9c7204807552389e512c0e21cbc01a03d1554561080ac6e905f90a36001016101ce565b5050565b6001805f8381526020019081526020015f205f82825461023d919061029c565b9091555050604051339082907fc05b373e05c47417d9c7204807552389e512c0e21cbc01a03d1554561080ac6e905f90a350565b5f60208284031215610281575f5ffd5b5035919050565b634e487b7160e01b5f52601160045260245ffd5b808201808211156102af576102af610288565b92915050565b5f600182016102c6576102c6610288565b506001019056")]
    contract Emitter {
        event Ping(uint256 indexed number, address indexed sender);
        error Emitter_Already(bytes32 key, uint256 count);
        function marks(bytes32 key) external view returns (uint256);
        function open() external view returns (bool);
        function ping(uint256 count) external;
        function mark(bytes32 key) external;
        function unlock() external;
        function enter(bytes32 key) external payable;
    }
}

/// A ping, as the tests keep it.
pub(crate) type Ping = (U256, Address);

pub(crate) fn decode(log: &Log) -> Result<Option<Ping>, DecodeError> {
    if log.topics().first() != Some(&Emitter::Ping::SIGNATURE_HASH) {
        return Ok(None);
    }
    let ping = Emitter::Ping::decode_log(log)?;
    Ok(Some((ping.number, ping.sender)))
}

/// A local chain with the small contract on it.
pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) rpc: Rpc,
    pub(crate) accounts: Vec<Address>,
    pub(crate) emitter: Address,
    pub(crate) subject: Subject,
}

impl World {
    pub(crate) async fn start(mining: Mining) -> eyre::Result<Self> {
        let config = AnvilConfig { mining, ..AnvilConfig::new(tool_path("anvil")?) };
        let anvil = Anvil::start(&config)?;
        let rpc = Rpc::new(anvil.endpoint()?)?;
        let accounts = rpc.provider().get_accounts().await?;
        let creation = TransactionRequest::default().from(accounts[9]).with_deploy_code(Emitter::BYTECODE.clone());
        let pending = rpc.provider().send_transaction(creation).await?;
        rpc.provider().evm_mine(None).await?;
        let receipt = pending.get_receipt().await?;
        let emitter = receipt.contract_address.ok_or_else(|| eyre::eyre!("no contract"))?;
        let block = BlockNumber::new(receipt.block_number.unwrap_or_default());
        let subject = Subject { chain_id: config.chain_id, contract: emitter, block };
        Ok(Self { anvil, rpc, accounts, emitter, subject })
    }

    /// Lets one of anvil's own accounts call the contract; it is mined with the next block.
    pub(crate) async fn call<C: SolCall>(&self, from: usize, call: &C) -> eyre::Result<B256> {
        let tx = TransactionRequest::default()
            .from(self.accounts[from])
            .to(self.emitter)
            .gas_limit(1_000_000)
            .with_input(call.abi_encode());
        Ok(*self.rpc.provider().send_transaction(tx).await?.tx_hash())
    }

    pub(crate) async fn mine(&self, blocks: u64) -> eyre::Result<()> {
        for _ in 0..blocks {
            self.rpc.provider().evm_mine(None).await?;
        }
        Ok(())
    }

    pub(crate) async fn view<C: SolCall>(&self, call: &C) -> eyre::Result<C::Return> {
        let tx = TransactionRequest::default().to(self.emitter).with_input(call.abi_encode());
        Ok(C::abi_decode_returns(&self.rpc.provider().call(tx).await?)?)
    }

    /// All pings that the chain has now: (block, block hash, log index, number).
    pub(crate) async fn scan(&self) -> eyre::Result<Vec<(u64, B256, u64, U256)>> {
        let filter = Filter::new().address(self.emitter).from_block(0);
        let logs = self.rpc.provider().get_logs(&filter).await?;
        logs.iter()
            .map(|log| {
                let ping = log.log_decode::<Emitter::Ping>()?;
                Ok((
                    log.block_number.unwrap_or_default(),
                    log.block_hash.unwrap_or_default(),
                    log.log_index.unwrap_or_default(),
                    ping.inner.number,
                ))
            })
            .collect()
    }
}

/// A database file, opened as the services open theirs.
pub(crate) async fn open(path: &Path) -> eyre::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Normal);
    let pool = SqlitePool::connect_with(options).await?;
    berth_chain::migrate(&pool).await?;
    Ok(pool)
}

/// Runs a future for that many turns and then drops it wherever it waits: `kill -9` at each await, in one process.
pub(crate) async fn cut<F: Future>(turns: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = turns;
    core::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// What a node does with a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// It answers.
    Answer,
    /// It refuses.
    Refuse,
    /// It breaks the connection.
    Break,
}

/// A node in front of anvil that does not always do what it is asked.
pub(crate) struct Moody {
    pub(crate) url: String,
    _serving: JoinSet<()>,
}

impl Moody {
    pub(crate) async fn start<F>(anvil: String, mood: F) -> eyre::Result<Self>
    where
        F: Fn(&serde_json::Value) -> Verdict + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (anvil, client, mood) = (anvil.clone(), client.clone(), mood.clone());
                connections.spawn(async move { serve(stream, &anvil, &client, mood).await });
            }
        });
        Ok(Self { url, _serving: serving })
    }
}

async fn serve(
    stream: TcpStream,
    anvil: &str,
    client: &reqwest::Client,
    mood: impl Fn(&serde_json::Value) -> Verdict,
) -> eyre::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let call: serde_json::Value = serde_json::from_slice(&body)?;
        let answer = match mood(&call) {
            Verdict::Answer => {
                let request = client.post(anvil).header("content-type", "application/json").body(body);
                request.send().await?.bytes().await?.to_vec()
            }
            Verdict::Refuse => {
                let error = serde_json::json!({ "code": -32005, "message": "not today" });
                serde_json::to_vec(&serde_json::json!({ "jsonrpc": "2.0", "id": call["id"], "error": error }))?
            }
            Verdict::Break => return Ok(()),
        };
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.get_mut().write_all(&[head.as_bytes(), &answer].concat()).await?;
    }
}
