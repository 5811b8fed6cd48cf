//! Other crates' errors as failures of a command: exit code, stable code, hints.

use crate::{exit::Exit, hint::Failure};
use alloy::{primitives::Bytes, transports::TransportError};
use berth_chain::{
    Class, RpcError,
    anvil::AnvilError,
    deploy::DeployError,
    outbox::OutboxError,
    refusal::{Revert, Unit},
    rpc::EndpointError,
    signer::keystore::KeystoreError,
    tool::ToolMissing,
};
use berth_market::{MarketError, StoreError};
use berth_wire::client::ClientError;
use core::error::Error;

/// A failure with the error's own words and hint.
pub(crate) fn told<E: Error + 'static>(exit: Exit, code: &str, error: &E, hint: Option<impl Into<String>>) -> Failure {
    let mut failure = Failure::new(exit, code, error.to_string());
    if let Some(source) = error.source() {
        failure = failure.because(source);
    }
    match hint {
        Some(hint) => failure.hint(hint),
        // What nobody foresaw a remedy for.
        None => failure.hint("if trying again does not help, report this with the whole message"),
    }
}

const fn by_class(class: Class) -> Exit {
    match class {
        Class::Refused => Exit::Refused,
        Class::Retry | Class::Bug => Exit::Error,
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        match &error {
            RpcError::Unreachable { .. } => told(Exit::Preflight, "node-unreachable", &error, error.hint()),
            RpcError::TimedOut { .. } => told(Exit::Timeout, "node-slow", &error, error.hint()),
            RpcError::Reverted { data } => reverted("the contract refuses", data),
            RpcError::Declined { .. } => told(Exit::Refused, "node-declined", &error, error.hint()),
            RpcError::Missing { .. } | RpcError::Malformed { .. } => {
                told(Exit::Error, "node-answer", &error, error.hint())
            }
        }
    }
}

/// A call that a contract refused, where the token is not known.
pub(crate) fn reverted(what: &str, data: &[u8]) -> Failure {
    let revert = Revert::decode(data);
    Failure::new(Exit::Reverted, "reverted", format!("{what}: {revert}")).hint(revert.hint())
}

/// A transaction that was not mined as it should; a contract's reasons name amounts in tokens.
pub(crate) fn unsent(error: OutboxError, unit: &Unit) -> Failure {
    let OutboxError::Reverted { revert, .. } = &error else { return error.into() };
    let (sentence, hint) = Revert::decode(revert).tell(unit);
    Failure::new(Exit::Reverted, "reverted", format!("the contract refuses the transaction: {sentence}")).hint(hint)
}

/// A call to a node that failed.
pub(crate) fn transport(node: &str, method: &str, error: &TransportError) -> Failure {
    if let Some(response) = error.as_error_resp() {
        let data: Option<Bytes> = response.data.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        // JSON-RPC's code for a reverted execution.
        if response.code == 3 || data.is_some() {
            return reverted("the contract refuses", &data.unwrap_or_default());
        }
        let message = format!("the node refused {method}: {} (code {})", response.message, response.code);
        return Failure::new(Exit::Refused, "node-declined", message).hint("give another node: --rpc URL");
    }
    Failure::preflight("node-unreachable", format!("the node at {node} can't be reached"))
        .because(error)
        .hint("check that the node runs and that its URL is right (--rpc URL)")
        .hint("for a market on this machine: `berth devnet status`")
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        told(Exit::Usage, "node-url", &error, Some(error.hint()))
    }
}

impl From<DeployError> for Failure {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Rpc(error) => error.into(),
            DeployError::Send(error) => error.into(),
            DeployError::File { .. } => told(Exit::Usage, "deployment", &error, error.hint()),
            DeployError::Chain(_) => told(Exit::Preflight, "wrong-chain", &error, error.hint()),
            DeployError::NoProxy { .. } | DeployError::ForeignProxy => {
                told(Exit::Preflight, "no-proxy", &error, error.hint())
            }
            DeployError::ProxyPending => told(Exit::Timeout, "proxy-pending", &error, error.hint()),
            DeployError::Absent { .. } | DeployError::Mixed { .. } => {
                told(Exit::Preflight, "no-contract", &error, error.hint())
            }
        }
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        let hint = Some(error.hint());
        match &error {
            KeystoreError::WrongPassword { .. } => told(Exit::Refused, "wrong-password", &error, hint),
            KeystoreError::Read { .. } => told(Exit::NotFound, "keystore", &error, hint),
            KeystoreError::Exists { .. } => told(Exit::Refused, "key-exists", &error, hint),
            KeystoreError::Foreign { .. } | KeystoreError::Write { .. } => told(Exit::Error, "keystore", &error, hint),
        }
    }
}

impl From<OutboxError> for Failure {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Rpc(error) => error.into(),
            OutboxError::Reverted { revert, .. } => reverted("the contract refuses the transaction", &revert),
            OutboxError::Unfunded { .. } => told(Exit::Preflight, "gas-too-small", &error, error.hint()),
            OutboxError::Declined { .. } => told(Exit::Refused, "node-declined", &error, error.hint()),
            OutboxError::Identity(_)
            | OutboxError::Store(_)
            | OutboxError::NotAlone { .. }
            | OutboxError::Lock { .. } => told(by_class(error.class()), "send", &error, error.hint()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Unreachable { .. } => told(
                Exit::Preflight,
                "service-unreachable",
                &error,
                Some("check that the service runs; for a market on this machine: `berth devnet status`"),
            ),
            ClientError::Refused(problem) => {
                let exit = match problem.status {
                    404 => Exit::NotFound,
                    408 | 504 => Exit::Timeout,
                    500.. => Exit::Error,
                    _ => Exit::Refused,
                };
                told(exit, &problem.code, &error, problem.hint.clone())
            }
            ClientError::Foreign { .. } => {
                told(Exit::Error, "service-foreign", &error, Some("check the URL: something else listens there"))
            }
            ClientError::Corrupt { .. } => told(
                Exit::Error,
                "corrupt",
                &error,
                Some("nothing was kept of it; the chain's digest stays: ask the pool's owner for the right bytes"),
            ),
            ClientError::File { .. } => told(Exit::Error, "file", &error, None::<String>),
        }
    }
}

impl From<MarketError> for Failure {
    fn from(error: MarketError) -> Self {
        match error {
            MarketError::Endpoint(error) => error.into(),
            MarketError::Deployment(error) => error.into(),
            MarketError::Rpc(error) => error.into(),
            MarketError::Listen { .. } => told(Exit::Preflight, "port-taken", &error, error.hint()),
            // What can't be read may be anything; what is another's is refused.
            MarketError::Store(StoreError::Open { .. } | StoreError::Migrate { .. }) => {
                told(Exit::Error, "database", &error, error.hint())
            }
            MarketError::Store(_) | MarketError::Follow(_) | MarketError::Serve(_) => {
                told(by_class(error.class()), "market", &error, error.hint())
            }
        }
    }
}

impl From<AnvilError> for Failure {
    fn from(error: AnvilError) -> Self {
        told(Exit::Preflight, "anvil", &error, error.hint())
    }
}

impl From<ToolMissing> for Failure {
    fn from(error: ToolMissing) -> Self {
        told(Exit::Preflight, "tool-missing", &error, Some(error.hint()))
    }
}
