//! Calls to a node. Every call has a deadline, and every failure says whether to try again.

use crate::{
    Class,
    block::{BlockNumber, BlockRef, Header},
};
use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::Ethereum,
    primitives::{Address, B256, Bytes, U256},
    providers::{Provider, RootProvider},
    rpc::{
        client::ClientBuilder,
        types::{Filter, Log, TransactionReceipt, TransactionRequest, state::StateOverride},
    },
    transports::{
        RpcError as AlloyError, TransportError, TransportErrorKind,
        http::reqwest::{Client, Url},
    },
};
use berth_protocol::Timestamp;
use core::{error::Error, fmt, future::Future, time::Duration};
use thiserror::Error;

/// How long a node may take to accept a connection. Far more than any round trip on earth.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a node may take to answer one call, unless told otherwise: the largest page of logs takes well below this.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// The JSON-RPC error code by which nodes say that an execution reverted (go-ethereum, anvil, and those after them).
const CODE_REVERTED: i64 = 3;

/// Where a node answers. Calls go over HTTP; a WebSocket, if there is one, only tells of new heads, since sending over
/// a connection that also carries a subscription costs 25 to 41 ms a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    http: Url,
    ws: Option<Url>,
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no address of a node")]
pub struct EndpointError {
    text: String,
}

impl EndpointError {
    /// What the user can do.
    pub const fn hint(&self) -> &'static str {
        "give the node's URL, such as http://127.0.0.1:8545 or wss://node.example"
    }

    /// The class of every such error.
    pub const fn class(&self) -> Class {
        Class::Refused
    }
}

impl Endpoint {
    /// Reads a node's URL. From `ws://…` or `wss://…` the calls' URL is the same with `http` or `https`.
    ///
    /// # Errors
    /// [`EndpointError`] if it is no URL of one of these four schemes.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError { text: text.to_owned() };
        let url: Url = text.parse().map_err(|_| wrong())?;
        let calls = match url.scheme() {
            "http" | "https" => return Ok(Self { http: url, ws: None }),
            "ws" => "http",
            "wss" => "https",
            _ => return Err(wrong()),
        };
        let http = text.split_once(':').map(|(_, rest)| format!("{calls}:{rest}"));
        let http = http.and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { http, ws: Some(url) })
    }

    /// The same node, which also tells of new heads at `text`.
    ///
    /// # Errors
    /// [`EndpointError`] if it is no `ws` or `wss` URL.
    pub fn with_heads_at(self, text: &str) -> Result<Self, EndpointError> {
        let ws = Self::parse(text)?.ws.ok_or_else(|| EndpointError { text: text.to_owned() })?;
        Ok(Self { ws: Some(ws), ..self })
    }

    /// Where it tells of new heads, if anywhere.
    pub(crate) const fn heads(&self) -> Option<&Url> {
        self.ws.as_ref()
    }
}

impl fmt::Display for Endpoint {
    /// Scheme, host and port only: paths and credentials hold providers' secret keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.http.scheme(), self.http.host_str().unwrap_or("?"))?;
        match self.http.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Why a call gave nothing.
#[derive(Debug, Clone, Error)]
pub enum RpcError {
    /// No connection, a broken one, or a gateway's error.
    #[error("the node at {node} can't be reached: {cause}")]
    Unreachable {
        /// The node.
        node: String,
        /// What the transport says.
        cause: String,
    },
    /// No answer in time.
    #[error("the node at {node} did not answer {method} within {deadline_ms} ms")]
    TimedOut {
        /// The node.
        node: String,
        /// The call.
        method: &'static str,
        /// How long it had.
        deadline_ms: u128,
    },
    /// The execution that was asked for reverts.
    #[error("the contract refuses it")]
    Reverted {
        /// The bytes that it reverted with.
        data: Bytes,
    },
    /// The node refuses the call.
    #[error("the node refused {method}: {message} (code {code})")]
    Declined {
        /// The call.
        method: &'static str,
        /// The JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// The node does not have what every node should have, such as a block that it has just named.
    #[error("the node at {node} does not have {what}")]
    Missing {
        /// The node.
        node: String,
        /// What it does not have.
        what: String,
    },
    /// An answer of another form.
    #[error("the node's answer to {method} can't be read: {cause}")]
    Malformed {
        /// The call.
        method: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

impl RpcError {
    /// What to do about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Missing { .. } => Class::Retry,
            Self::Reverted { .. } | Self::Declined { .. } => Class::Refused,
            Self::Malformed { .. } => Class::Bug,
        }
    }

    /// What the user can do, where there is something.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => Some(
                "check that the node runs and that its URL is right (`--rpc`); with a ws:// URL, the node must \
                 answer http:// at the same address, or be given both",
            ),
            Self::Malformed { .. } => Some("check that the URL is that of an Ethereum node"),
            Self::Missing { .. } | Self::Reverted { .. } | Self::Declined { .. } => None,
        }
    }
}

/// A node. Cheap to clone.
#[derive(Clone)]
pub struct Rpc {
    endpoint: Endpoint,
    provider: RootProvider<Ethereum>,
    deadline: Duration,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({})", self.endpoint)
    }
}

impl Rpc {
    /// The node at `endpoint`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`RpcError::Unreachable`] if this machine has no working TLS.
    pub fn new(endpoint: Endpoint) -> Result<Self, RpcError> {
        Self::with_deadline(endpoint, CALL_DEADLINE)
    }

    /// The node at `endpoint`, with `deadline` for each call.
    ///
    /// # Errors
    /// [`RpcError::Unreachable`] if this machine has no working TLS.
    pub fn with_deadline(endpoint: Endpoint, deadline: Duration) -> Result<Self, RpcError> {
        let client = Client::builder().connect_timeout(CONNECT_DEADLINE).timeout(deadline).build();
        let client = client.map_err(|e| RpcError::Unreachable { node: endpoint.to_string(), cause: innermost(&e) })?;
        let provider = RootProvider::new(ClientBuilder::default().http_with_client(client, endpoint.http.clone()));
        Ok(Self { endpoint, provider, deadline })
    }

    /// Where it answers.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The provider beneath, for calls that this crate has no name for. It has the same deadline.
    pub const fn provider(&self) -> &RootProvider<Ethereum> {
        &self.provider
    }

    /// Makes one call with the deadline, and sorts its failure.
    pub(crate) async fn call<T, F>(&self, method: &'static str, call: F) -> Result<T, RpcError>
    where
        F: IntoFuture<Output = Result<T, TransportError>>,
        F::IntoFuture: Future,
    {
        // Dropping a call half-way loses only its answer: whoever sends has written down what it sends.
        match tokio::time::timeout(self.deadline, call.into_future()).await {
            Ok(answer) => answer.map_err(|e| self.sort(method, e)),
            Err(_) => Err(RpcError::TimedOut {
                node: self.endpoint.to_string(),
                method,
                deadline_ms: self.deadline.as_millis(),
            }),
        }
    }

    fn sort(&self, method: &'static str, error: TransportError) -> RpcError {
        match error {
            AlloyError::ErrorResp(payload) => {
                match revert_data(payload.code, payload.data.as_ref().map(|raw| raw.get())) {
                    Some(data) => RpcError::Reverted { data },
                    None => RpcError::Declined { method, code: payload.code, message: payload.message.into_owned() },
                }
            }
            AlloyError::Transport(TransportErrorKind::Custom(source)) => {
                RpcError::Unreachable { node: self.endpoint.to_string(), cause: innermost(&*source) }
            }
            AlloyError::Transport(kind) => {
                RpcError::Unreachable { node: self.endpoint.to_string(), cause: kind.to_string() }
            }
            AlloyError::NullResp => {
                RpcError::Missing { node: self.endpoint.to_string(), what: format!("an answer to {method}") }
            }
            AlloyError::UnsupportedFeature(_)
            | AlloyError::LocalUsageError(_)
            | AlloyError::SerError(_)
            | AlloyError::DeserError { .. } => RpcError::Malformed { method, cause: innermost(&error) },
        }
    }

    /// The node left something out that may be there next time.
    pub(crate) fn missing(&self, what: impl Into<String>) -> RpcError {
        RpcError::Missing { node: self.endpoint.to_string(), what: what.into() }
    }

    /// The chain's id.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        self.call("eth_chainId", self.provider.get_chain_id()).await
    }

    /// The head of the chain.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn head(&self) -> Result<Header, RpcError> {
        self.header_at(BlockNumberOrTag::Latest).await?.ok_or_else(|| self.missing("a head"))
    }

    /// The header at a height, or `None` past the head.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn header(&self, number: BlockNumber) -> Result<Option<Header>, RpcError> {
        self.header_at(BlockNumberOrTag::Number(number.get())).await
    }

    async fn header_at(&self, at: BlockNumberOrTag) -> Result<Option<Header>, RpcError> {
        let block = self.call("eth_getBlockByNumber", self.provider.get_block_by_number(at)).await?;
        Ok(block.map(|block| Header {
            block: BlockRef {
                number: BlockNumber::new(block.header.number),
                hash: block.header.hash,
                timestamp: Timestamp::new(block.header.timestamp),
            },
            parent: block.header.parent_hash,
            base_fee_wei: block.header.base_fee_per_gas.map_or(0, u128::from),
        }))
    }

    pub(crate) async fn logs(&self, filter: &Filter) -> Result<Vec<Log>, RpcError> {
        self.call("eth_getLogs", self.provider.get_logs(filter)).await
    }

    /// The code at an address; empty where there is no contract.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn code(&self, at: Address) -> Result<Bytes, RpcError> {
        self.call("eth_getCode", self.provider.get_code_at(at)).await
    }

    /// The code at an address as of a block.
    pub(crate) async fn code_at(&self, at: Address, block: BlockNumber) -> Result<Bytes, RpcError> {
        let call = self.provider.get_code_at(at).block_id(BlockId::number(block.get()));
        self.call("eth_getCode", call).await
    }

    /// An account's balance of the chain's own coin, in wei.
    ///
    /// # Errors
    /// [`RpcError`], as every call.
    pub async fn balance_wei(&self, of: Address) -> Result<U256, RpcError> {
        self.call("eth_getBalance", self.provider.get_balance(of)).await
    }

    /// How many transactions of an account are in the chain up to `at`.
    pub(crate) async fn nonce(&self, of: Address, at: BlockId) -> Result<u64, RpcError> {
        let call = self.provider.get_transaction_count(of).block_id(at);
        self.call("eth_getTransactionCount", call).await
    }

    pub(crate) async fn gas(&self, tx: TransactionRequest, at: BlockId) -> Result<u64, RpcError> {
        self.call("eth_estimateGas", self.provider.estimate_gas(tx).block(at)).await
    }

    pub(crate) async fn execute(&self, tx: TransactionRequest, at: BlockId) -> Result<Bytes, RpcError> {
        self.call("eth_call", self.provider.call(tx).block(at)).await
    }

    /// What a call gives at the head, if accounts were as `state` says.
    pub(crate) async fn execute_over(&self, tx: TransactionRequest, state: StateOverride) -> Result<Bytes, RpcError> {
        self.call("eth_call", self.provider.call(tx).overrides(state)).await
    }

    /// The gas of a transaction at the head, if accounts were as `state` says.
    pub(crate) async fn gas_over(&self, tx: TransactionRequest, state: StateOverride) -> Result<u64, RpcError> {
        self.call("eth_estimateGas", self.provider.estimate_gas(tx).overrides(state)).await
    }

    pub(crate) async fn tip_wei(&self) -> Result<u128, RpcError> {
        self.call("eth_maxPriorityFeePerGas", self.provider.get_max_priority_fee_per_gas()).await
    }

    pub(crate) async fn send(&self, raw: &[u8]) -> Result<(), RpcError> {
        let call = async { self.provider.send_raw_transaction(raw).await.map(drop) };
        self.call("eth_sendRawTransaction", Box::pin(call)).await
    }

    pub(crate) async fn receipt(&self, tx: B256) -> Result<Option<TransactionReceipt>, RpcError> {
        self.call("eth_getTransactionReceipt", self.provider.get_transaction_receipt(tx)).await
    }

    /// Whether the node knows a transaction, mined or not.
    pub(crate) async fn knows(&self, tx: B256) -> Result<bool, RpcError> {
        let known = self.call("eth_getTransactionByHash", self.provider.get_transaction_by_hash(tx));
        Ok(known.await?.is_some())
    }
}

/// The data of a revert, if an error of this code and data (JSON) is one.
fn revert_data(code: i64, data: Option<&str>) -> Option<Bytes> {
    let data: Option<Bytes> = data.and_then(|json| serde_json::from_str(json).ok());
    match data {
        Some(data) if code == CODE_REVERTED || data.len() >= 4 => Some(data),
        None if code == CODE_REVERTED => Some(Bytes::new()),
        _ => None,
    }
}

/// The end of an error's chain of causes: the outer ones print the whole URL, with the keys in it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_url_names_both_and_shows_no_keys() {
        let both = Endpoint::parse("wss://user:pw@node.example/v3/secret").expect("a URL");
        assert_eq!(both.http.as_str(), "https://user:pw@node.example/v3/secret");
        assert_eq!(both.to_string(), "https://node.example");
        assert!(!format!("{both:?}").contains("secret"));
        assert!(Endpoint::parse("http://127.0.0.1:8545").expect("a URL").ws.is_none());
        assert!(Endpoint::parse("ftp://x").is_err());
        assert!(Endpoint::parse("localhost").is_err());
    }
}
