//! Puts the contracts on a chain, tells where they are, and whether what is there is what should be.

mod plan;
mod preview;
mod proxy;
mod simulate;
mod verify;

pub use plan::{Part, Plan, contract_set_salt};
pub use preview::{Further, Preview, Step, preview};
pub use proxy::PROXY;
pub use verify::{Difference, Verified, verify};

use crate::{
    Class,
    block::BlockNumber,
    identity::{IdentityError, Subject, check_chain},
    outbox::{self, Intent, Key, Mined, OutboxError, SenderConfig},
    read::Reader,
    rpc::{Rpc, RpcError},
    signer::Signer,
};
use alloy::primitives::{Address, B256};
use berth_protocol::{domain::Domain, ledger::Bounds};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Where the contracts are: the content of `contracts/deployments/<chain id>.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The chain's id.
    pub chain_id: u64,
    /// The first block in which one of them was; their logs begin there.
    pub block: u64,
    /// The settlement token.
    pub token: Address,
    /// `Assets`.
    pub assets: Address,
    /// `Recourse`, reached through `Berth` only.
    pub recourse: Address,
    /// `Berth`.
    pub berth: Address,
}

/// What to deploy.
#[derive(Debug, Clone)]
pub struct DeployConfig {
    /// The settlement token; `None` deploys the local one, which only local chains take.
    pub token: Option<Address>,
    /// The bounds of durations.
    pub bounds: Bounds,
    /// What tells apart two deployments of the same token and bounds: [`contract_set_salt`] for the usual one.
    pub salt: B256,
    /// How to send.
    pub sender: SenderConfig,
}

/// The contracts can't be deployed, or are not where they should be.
#[derive(Debug, Error)]
pub enum DeployError {
    /// The node is of another chain.
    #[error(transparent)]
    Chain(#[from] IdentityError),
    /// The node fails.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A creation was not sent, or refused.
    #[error("the contracts can't be deployed")]
    Send(#[from] OutboxError),
    /// There is no contract where one should be.
    #[error("there is no contract at {at}, where {name} should be on chain {chain_id}")]
    Absent {
        /// Which.
        name: &'static str,
        /// Where.
        at: Address,
        /// On which chain.
        chain_id: u64,
    },
    /// The contracts there are not of one deployment.
    #[error("the contract at {berth} has its {name} at {found}, not at {expected}")]
    Mixed {
        /// `Berth`.
        berth: Address,
        /// Which part.
        name: &'static str,
        /// Where the deployment says.
        expected: Address,
        /// Where the contract says.
        found: Address,
    },
    /// The chain has no deployment proxy, and does not take the transaction that makes it.
    #[error("chain {chain_id} has no deployment proxy at {PROXY}, and does not take the transaction that makes it")]
    NoProxy {
        /// The chain.
        chain_id: u64,
        /// What its node says.
        #[source]
        source: RpcError,
    },
    /// Something else is where the deployment proxy should be.
    #[error("the contract at {PROXY} is not the deployment proxy")]
    ForeignProxy,
    /// The transaction that makes the deployment proxy was sent, and is not mined.
    #[error("the transaction that makes the deployment proxy at {PROXY} is not mined yet")]
    ProxyPending,
    /// The deployment's file can't be read or written.
    #[error("{} can't be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
}

impl DeployError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Chain(error) => error.class(),
            Self::Rpc(error) => error.class(),
            Self::Send(error) => error.class(),
            Self::ProxyPending => Class::Retry,
            Self::Absent { .. }
            | Self::Mixed { .. }
            | Self::NoProxy { .. }
            | Self::ForeignProxy
            | Self::File { .. } => Class::Refused,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Chain(error) => error.hint().map(Into::into),
            Self::Rpc(error) => error.hint().map(Into::into),
            Self::Send(error) => error.hint(),
            Self::Absent { .. } => Some(
                "a local chain that was started anew has no contracts: deploy again; else give the deployment of \
                 this chain"
                    .to_owned(),
            ),
            Self::Mixed { .. } => Some("give the file of one deployment, as it was written".to_owned()),
            Self::NoProxy { .. } => Some(
                "the chain wants a chain id in every signature, or its gas costs more than 100 gwei: ask its operators \
                 for the proxy, which most chains have from their first block; or wait for a lower price"
                    .to_owned(),
            ),
            Self::ForeignProxy => Some("this chain can't have the contracts at their usual addresses".to_owned()),
            Self::ProxyPending => Some("run the same again: what is done stays done".to_owned()),
            Self::File { .. } => Some("deploy first, or give the folder with the chain's deployment".to_owned()),
        }
    }
}

impl Deployment {
    /// The file of a chain's deployment in a folder of deployments.
    pub fn file(folder: &Path, chain_id: u64) -> PathBuf {
        folder.join(format!("{chain_id}.json"))
    }

    /// Reads a deployment.
    ///
    /// # Errors
    /// [`DeployError::File`] if there is none, or it is of another form.
    pub fn load(path: &Path) -> Result<Self, DeployError> {
        let failed = |source| DeployError::File { path: path.to_owned(), source };
        serde_json::from_slice(&fs::read(path).map_err(failed)?).map_err(|error| failed(error.into()))
    }

    /// Writes the deployment, whole or not at all.
    ///
    /// # Errors
    /// [`DeployError::File`] if it can't be written.
    pub fn save(&self, path: &Path) -> Result<(), DeployError> {
        let failed = |source| DeployError::File { path: path.to_owned(), source };
        let text = serde_json::to_string_pretty(self).expect("numbers and addresses are JSON") + "\n";
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let aside = path.with_extension("json.new");
        fs::write(&aside, text).and_then(|()| fs::rename(&aside, path)).map_err(failed)
    }

    /// Where signatures for it hold.
    pub const fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, berth: self.berth }
    }

    /// What a follower of it follows.
    pub const fn subject(&self) -> Subject {
        Subject { chain_id: self.chain_id, contract: self.berth, block: BlockNumber::new(self.block) }
    }

    /// The contracts whose logs tell what happens.
    pub fn emitters(&self) -> Vec<Address> {
        vec![self.berth, self.assets]
    }

    /// Checks that it is there: on the node's chain, with code at each address, and one whole.
    ///
    /// # Errors
    /// [`DeployError::Chain`], `Absent`, `Mixed` or `Rpc`.
    pub async fn check(&self, rpc: &Rpc) -> Result<(), DeployError> {
        check_chain(rpc, self.chain_id).await?;
        let parts = [("the token", self.token), ("Assets", self.assets), ("Recourse", self.recourse)];
        for (name, at) in parts.into_iter().chain([("Berth", self.berth)]) {
            if rpc.code(at).await?.is_empty() {
                return Err(DeployError::Absent { name, at, chain_id: self.chain_id });
            }
        }
        let found = Reader::new(rpc.clone(), *self).parts().await?;
        for ((name, expected), found) in parts.into_iter().zip(found) {
            if found != expected {
                return Err(DeployError::Mixed { berth: self.berth, name, expected, found });
            }
        }
        Ok(())
    }
}

/// What came of a deployment.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// Where the contracts are.
    pub deployment: Deployment,
    /// The transactions that it took: none if all stood already.
    pub mined: Vec<Mined>,
}

/// Deploys the contracts with an account that has some of the chain's coin, at addresses that follow from their code,
/// their arguments and the salt. What stands there already is left as it is: a deployment that was interrupted is finished
/// by running it again, and one that is complete changes nothing.
///
/// # Errors
/// [`DeployError::Send`] if a creation is refused or not paid for, `Chain` if the node is of another chain; `NoProxy`,
/// `ForeignProxy` or `ProxyPending` where the chain lacks the deployment proxy and does not get it.
pub async fn deploy(rpc: &Rpc, signer: &Signer, config: &DeployConfig) -> Result<Deployed, DeployError> {
    check_chain(rpc, config.sender.chain_id).await?;
    let plan = Plan::new(config);
    let mut site = Site { rpc, signer, config: &config.sender, mined: Vec::new() };
    for part in &plan.parts {
        if rpc.code(part.at).await?.is_empty() {
            // Large, for what it sends and waits for: kept off the caller's stack.
            Box::pin(site.create(part, plan.salt)).await?;
        }
    }
    // The first of them to be there; it is created first.
    let block = birth(rpc, plan.parts[0].at).await?;
    let deployment = plan.deployment(config.sender.chain_id, block.get());
    deployment.check(rpc).await?;
    Ok(Deployed { deployment, mined: site.mined })
}

/// The block in which a contract came to be; the first of the chain if the node has forgotten its past, which is early
/// enough.
async fn birth(rpc: &Rpc, at: Address) -> Result<BlockNumber, DeployError> {
    let (mut without, mut with) = (BlockNumber::new(0), rpc.head().await?.block.number);
    while with.since(without) > 1 {
        let middle = BlockNumber::new(without.get().midpoint(with.get()));
        match rpc.code_at(at, middle).await {
            Ok(code) if code.is_empty() => without = middle,
            Ok(_) => with = middle,
            Err(RpcError::Declined { .. } | RpcError::Missing { .. }) => return Ok(BlockNumber::new(0)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(with)
}

struct Site<'a> {
    rpc: &'a Rpc,
    signer: &'a Signer,
    config: &'a SenderConfig,
    mined: Vec<Mined>,
}

impl Site<'_> {
    async fn create(&mut self, part: &Part, salt: B256) -> Result<(), DeployError> {
        let from = self.signer.address();
        simulate::admit(self.rpc, from, part).await.map_err(|error| preview::refused(part.name, error))?;
        proxy::provide(self).await?;
        let key = Key::new(format!("create {}", part.name));
        let note = format!("creates {}", part.name);
        let sent = self.send(Intent::call(key, from, PROXY, part.calldata(salt), note)).await;
        // Whoever else sent the same code, an earlier run of ours above all, has done what was wanted.
        let stands = !self.rpc.code(part.at).await?.is_empty();
        match sent {
            Ok(()) if stands => Ok(()),
            Ok(()) => Err(DeployError::Absent { name: part.name, at: part.at, chain_id: self.config.chain_id }),
            Err(DeployError::Send(OutboxError::Reverted { .. })) if stands => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send(&mut self, intent: Intent) -> Result<(), DeployError> {
        self.mined.extend(outbox::send_all(self.rpc, self.signer, self.config, &[intent]).await?);
        Ok(())
    }
}
