//! What a deployment would do and cost. Nothing is sent.

use super::{
    DeployConfig, DeployError, Plan,
    proxy::{self, PROXY},
    simulate,
};
use crate::{identity::check_chain, outbox::Key, outbox::OutboxError, rpc::Rpc, rpc::RpcError};
use alloy::{
    network::TransactionBuilder as _,
    primitives::{Address, Bytes, U256},
    rpc::types::{TransactionRequest, state::StateOverride},
};

/// A transaction that would be sent.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it does: `create Berth`.
    pub what: String,
    /// Where the contract is, or what is called.
    pub at: Address,
    /// What its constructor is given, by name.
    pub arguments: Vec<(&'static str, String)>,
    /// What it would take; `None` for what is there already.
    pub gas: Option<u64>,
}

/// A call to follow the creations.
#[derive(Debug, Clone)]
pub struct Further {
    /// What it does.
    pub what: &'static str,
    /// The contract.
    pub to: Address,
    /// What it is told.
    pub calldata: Bytes,
}

/// What a deployment would do and cost.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Whether the chain has the deployment proxy; else [`Preview::proxy_wei`] goes to its maker first.
    pub has_proxy: bool,
    /// The transactions, in order.
    pub steps: Vec<Step>,
    /// What a unit of gas costs now, in wei.
    pub gas_price_wei: u128,
    /// What the sender has, in wei.
    pub balance_wei: U256,
}

impl Preview {
    /// The gas of all of it.
    pub fn gas(&self) -> u64 {
        self.steps.iter().filter_map(|step| step.gas).sum()
    }

    /// What the maker of the proxy is given, in wei.
    pub const fn proxy_wei(&self) -> U256 {
        if self.has_proxy { U256::ZERO } else { proxy::COST_WEI }
    }

    /// What all of it would cost at the present price, in wei.
    pub fn cost_wei(&self) -> U256 {
        U256::from(self.gas()) * U256::from(self.gas_price_wei) + self.proxy_wei()
    }
}

/// What [`super::deploy`] would do and cost, and what the `further` calls would after it.
///
/// # Errors
/// As `deploy`; [`DeployError::Send`] with the reason of a creation that would be refused.
pub async fn preview(
    rpc: &Rpc,
    from: Address,
    config: &DeployConfig,
    further: &[Further],
) -> Result<Preview, DeployError> {
    check_chain(rpc, config.sender.chain_id).await?;
    let plan = Plan::new(config);
    let has_proxy = proxy::stands(rpc).await?;
    let mut state = StateOverride::default();
    if !has_proxy {
        state.insert(PROXY, simulate::code(proxy::CODE));
    }
    let mut steps = Vec::new();
    for part in &plan.parts {
        let gas = if rpc.code(part.at).await?.is_empty() {
            let left = simulate::runtime(rpc, part, &state).await.map_err(|error| refused(part.name, error))?;
            let gas = estimate(rpc, from, PROXY, part.calldata(plan.salt), &state).await?;
            state.insert(part.at, simulate::code(left));
            Some(gas)
        } else {
            None
        };
        let (what, arguments) = (format!("create {}", part.name), part.arguments.clone());
        steps.push(Step { what, at: part.at, arguments, gas });
    }
    for call in further {
        let gas = match estimate(rpc, from, call.to, call.calldata.clone(), &state).await {
            Ok(gas) => Some(gas),
            // Done by an earlier deployment: it will not be sent.
            Err(RpcError::Reverted { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        steps.push(Step { what: call.what.to_owned(), at: call.to, arguments: Vec::new(), gas });
    }
    let (head, tip, balance) = tokio::join!(rpc.head(), rpc.tip_wei(), rpc.balance_wei(from));
    Ok(Preview { has_proxy, steps, gas_price_wei: head?.base_fee_wei.saturating_add(tip?), balance_wei: balance? })
}

async fn estimate(
    rpc: &Rpc,
    from: Address,
    to: Address,
    calldata: Bytes,
    state: &StateOverride,
) -> Result<u64, RpcError> {
    let tx = TransactionRequest::default().from(from).to(to).with_input(calldata);
    rpc.gas_over(tx, state.clone()).await
}

pub(super) fn refused(name: &str, error: RpcError) -> DeployError {
    match error {
        RpcError::Reverted { data } => {
            OutboxError::Reverted { key: Key::new(format!("create {name}")), revert: data }.into()
        }
        RpcError::Unreachable { .. }
        | RpcError::TimedOut { .. }
        | RpcError::Declined { .. }
        | RpcError::Missing { .. }
        | RpcError::Malformed { .. } => error.into(),
    }
}
