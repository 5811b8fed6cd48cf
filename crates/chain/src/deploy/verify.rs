//! Whether what stands on a chain is what a deployment says, made from this program's code.

use super::{
    DeployError, Deployment,
    plan::{self, Part, Terms},
    simulate,
};
use crate::{
    bindings::berth::IBerth,
    identity::check_chain,
    refusal::Revert,
    rpc::{Rpc, RpcError},
};
use alloy::{
    eips::BlockId,
    network::TransactionBuilder as _,
    primitives::{Address, Bytes},
    rpc::types::{TransactionRequest, state::StateOverride},
    sol_types::SolCall,
};
use thiserror::Error;

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Difference {
    /// Nothing is there.
    #[error("there is no contract at {at}, where {name} should be")]
    Absent {
        /// Which.
        name: &'static str,
        /// Where.
        at: Address,
    },
    /// A constructor's argument is another, or the contract does not know it.
    #[error("{name} of {at} is {found}, not {expected}")]
    Argument {
        /// The contract and its getter: `Berth.token()`.
        name: &'static str,
        /// Where the contract is.
        at: Address,
        /// What the deployment says.
        expected: String,
        /// What the contract says.
        found: String,
    },
    /// No contract of this program's code can have these arguments.
    #[error("{name} at {at} can't have been built with the arguments above: {revert}")]
    Impossible {
        /// Which.
        name: &'static str,
        /// Where.
        at: Address,
        /// What its constructor says to them.
        revert: String,
    },
    /// The code is another.
    #[error(
        "the code of {name} at {at} is another: {found} bytes, {expected} expected, {differing} of them differ, the \
             first at byte {first}"
    )]
    Code {
        /// Which.
        name: &'static str,
        /// Where.
        at: Address,
        /// How long it is.
        found: usize,
        /// How long it should be.
        expected: usize,
        /// In how many places they differ, as far as both reach.
        differing: usize,
        /// The first of them, or the end of the shorter one.
        first: usize,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What was compared, by name: the contracts with their code's length, the arguments with their values.
    pub seen: Vec<(&'static str, String)>,
    /// Whether the addresses are those that the set's own salt gives.
    pub usual_addresses: bool,
    /// All that differs; empty if all is as it should be.
    pub differences: Vec<Difference>,
}

/// Reads code and constructor arguments back from the chain, and compares them with the deployment and with the code that
/// this program would deploy.
///
/// The token is somebody else's contract: that it is there is all that is asked of it.
///
/// # Errors
/// [`DeployError::Chain`] if the node is of another chain, `Rpc` if it fails or can't simulate.
pub async fn verify(rpc: &Rpc, deployment: &Deployment) -> Result<Verified, DeployError> {
    check_chain(rpc, deployment.chain_id).await?;
    let Deployment { token, assets, recourse, berth, .. } = *deployment;
    let mut check = Check { rpc, seen: Vec::new(), differences: Vec::new() };
    let mut codes = Vec::new();
    for (name, at) in [("token", token), ("Assets", assets), ("Recourse", recourse), ("Berth", berth)] {
        codes.push(check.code(name, at).await?);
    }
    let mut terms = None;
    if !codes[3].is_empty() {
        check.address("Berth.token()", berth, token, &IBerth::tokenCall {}).await?;
        check.address("Berth.assets()", berth, assets, &IBerth::assetsCall {}).await?;
        check.address("Berth.recourse()", berth, recourse, &IBerth::recourseCall {}).await?;
        terms = check.bounds("Berth.bounds()", berth, None).await?;
    }
    if !codes[2].is_empty() {
        check.address("Recourse.assets()", recourse, assets, &IBerth::assetsCall {}).await?;
        let own = check.bounds("Recourse.bounds()", recourse, terms).await?;
        terms = terms.or(own);
    }
    let salt = plan::contract_set_salt();
    let mut wanted = vec![(plan::assets(salt), assets, &codes[1])];
    if let Some(terms) = terms {
        wanted.push((plan::recourse(salt, assets, terms), recourse, &codes[2]));
        wanted.push((plan::berth(salt, token, assets, recourse, terms), berth, &codes[3]));
    }
    let usual_addresses = wanted.len() == 3 && wanted.iter().all(|(part, at, _)| part.at == *at);
    for (part, at, found) in wanted.into_iter().filter(|(_, _, found)| !found.is_empty()) {
        check.compare(Part { at, ..part }, found).await?;
    }
    Ok(Verified { seen: check.seen, usual_addresses, differences: check.differences })
}

struct Check<'a> {
    rpc: &'a Rpc,
    seen: Vec<(&'static str, String)>,
    differences: Vec<Difference>,
}

impl Check<'_> {
    async fn code(&mut self, name: &'static str, at: Address) -> Result<Bytes, RpcError> {
        let code = self.rpc.code(at).await?;
        if code.is_empty() {
            self.differences.push(Difference::Absent { name, at });
        } else {
            self.seen.push((name, format!("{at}, {} bytes of code", code.len())));
        }
        Ok(code)
    }

    /// What a getter gives; `None` if the contract has none of this kind, which is told as a difference.
    async fn ask<C: SolCall>(
        &mut self,
        name: &'static str,
        at: Address,
        call: &C,
    ) -> Result<Option<C::Return>, RpcError> {
        let tx = TransactionRequest::default().to(at).with_input(call.abi_encode());
        let found = match self.rpc.execute(tx, BlockId::latest()).await {
            Ok(data) => C::abi_decode_returns(&data).ok(),
            Err(RpcError::Reverted { .. }) => None,
            Err(error) => return Err(error),
        };
        if found.is_none() {
            let (expected, found) = ("a value".to_owned(), "not known to that contract".to_owned());
            self.differences.push(Difference::Argument { name, at, expected, found });
        }
        Ok(found)
    }

    async fn address<C: SolCall<Return = Address>>(
        &mut self,
        name: &'static str,
        at: Address,
        expected: Address,
        call: &C,
    ) -> Result<(), RpcError> {
        let Some(found) = self.ask(name, at, call).await? else { return Ok(()) };
        self.seen.push((name, found.to_string()));
        if found != expected {
            let (expected, found) = (expected.to_string(), found.to_string());
            self.differences.push(Difference::Argument { name, at, expected, found });
        }
        Ok(())
    }

    async fn bounds(
        &mut self,
        name: &'static str,
        at: Address,
        expected: Option<Terms>,
    ) -> Result<Option<Terms>, RpcError> {
        let Some(found) = self.ask(name, at, &IBerth::boundsCall {}).await? else { return Ok(None) };
        let found = Terms { min: found.minDuration, max: found.maxDuration, span: found.maxSpan };
        let show = |Terms { min, max, span }: Terms| format!("{min} s to {max} s, span {span} s");
        self.seen.push((name, show(found)));
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let (expected, found) = (show(expected), show(found));
            self.differences.push(Difference::Argument { name, at, expected, found });
        }
        Ok(Some(found))
    }

    /// Compares what is there with what the constructor would leave there.
    async fn compare(&mut self, part: Part, found: &Bytes) -> Result<(), RpcError> {
        let Part { name, at, .. } = part;
        match simulate::runtime(self.rpc, &part, &StateOverride::default()).await {
            Ok(expected) if expected == *found => Ok(()),
            Ok(expected) => {
                let differs = |place: &usize| expected[*place] != found[*place];
                let shared = expected.len().min(found.len());
                let differing = (0..shared).filter(differs).count();
                let first = (0..shared).find(differs).unwrap_or(shared);
                let (expected, found) = (expected.len(), found.len());
                self.differences.push(Difference::Code { name, at, found, expected, differing, first });
                Ok(())
            }
            Err(RpcError::Reverted { data }) => {
                let revert = Revert::decode(&data).to_string();
                self.differences.push(Difference::Impossible { name, at, revert });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
