//! Puts the contracts on a chain, and tells where they are.

use crate::{
    Class,
    bindings::{assets::Assets, code::Berth, recourse::Recourse, token::PermitToken},
    block::BlockNumber,
    identity::{IdentityError, Subject, check_chain},
    outbox::{self, Intent, Key, OutboxError, SenderConfig},
    read::Reader,
    rpc::{Rpc, RpcError},
    signer::Signer,
};
use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolConstructor as _,
};
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
            Self::Absent { .. } | Self::Mixed { .. } | Self::File { .. } => Class::Refused,
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

/// Deploys the contracts with an account that has some of the chain's coin.
///
/// # Errors
/// [`DeployError::Send`] if a creation is refused or not paid for, `Chain` if the node is of another chain.
pub async fn deploy(rpc: &Rpc, signer: &Signer, config: &DeployConfig) -> Result<Deployment, DeployError> {
    let bounds = &config.bounds;
    let (min, max, span) = (bounds.min_duration_s(), bounds.max_duration_s(), bounds.max_span_s());
    let mut site = Site { rpc, signer, config: &config.sender, block: None };
    let assets = site.create("Assets", &Assets::BYTECODE, Vec::new()).await?;
    let token = match config.token {
        Some(token) => token,
        None => site.create("PermitToken", &PermitToken::BYTECODE, Vec::new()).await?,
    };
    let arguments = Recourse::constructorCall { assets_: assets, minDuration: min, maxDuration: max, maxSpan: span };
    let recourse = site.create("Recourse", &Recourse::BYTECODE, arguments.abi_encode()).await?;
    let arguments = Berth::constructorCall {
        token_: token,
        assets_: assets,
        recourse_: recourse,
        minDuration: min,
        maxDuration: max,
        maxSpan: span,
    };
    let berth = site.create("Berth", &Berth::BYTECODE, arguments.abi_encode()).await?;
    let block = site.block.expect("a creation has returned").get();
    let deployment = Deployment { chain_id: config.sender.chain_id, block, token, assets, recourse, berth };
    deployment.check(rpc).await?;
    Ok(deployment)
}

struct Site<'a> {
    rpc: &'a Rpc,
    signer: &'a Signer,
    config: &'a SenderConfig,
    /// The block of the first creation.
    block: Option<BlockNumber>,
}

impl Site<'_> {
    async fn create(&mut self, name: &str, code: &Bytes, arguments: Vec<u8>) -> Result<Address, DeployError> {
        let intent = Intent {
            key: Key::new(format!("create {name}")),
            from: self.signer.address(),
            to: None,
            calldata: [code.as_ref(), &arguments].concat().into(),
            value_wei: U256::ZERO,
            gas_hint: None,
            note: format!("creates {name}"),
        };
        let mined = outbox::send_all(self.rpc, self.signer, self.config, &[intent]).await?;
        let mined = mined.first().expect("one intent, one receipt");
        self.block.get_or_insert(mined.block);
        Ok(mined.created.expect("an intent without a target creates a contract"))
    }
}
