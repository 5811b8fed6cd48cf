//! `berth deploy`: the contracts, and the shared app that images run under, on any chain.

mod preview;
mod verify;

use super::app;
use crate::{
    args::Deploy,
    chain::{Call, Chain, Spent, Token},
    exit::Exit,
    hint::Failure,
    intent::units,
    keys,
    render::{Progress, Report, fields},
    settings::Settings,
};
use alloy::primitives::{Address, U256, keccak256};
use berth_chain::{
    Deployment, Endpoint, Rpc, RpcError, call,
    deploy::{DeployConfig, Deployed, Plan, contract_set_salt},
    outbox::{Mined, SenderConfig},
    read::Reader,
    signer::Signer,
};
use berth_protocol::{AssetId, AssetKind, ledger::Bounds};
use berth_wire::descriptor::Runtime;
use serde_json::json;
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The chain whose tokens are worth nothing: anvil's own id.
const PLAY_CHAIN: u64 = 31_337;
/// Where deployments are kept, by chain.
const FOLDER: &str = "contracts/deployments";

pub(super) async fn deploy(settings: &Settings, args: &Deploy) -> Result<Report, Failure> {
    if args.verify {
        return verify::verify(settings).await;
    }
    let bounds = bounds(args)?;
    let rpc = Rpc::new(Endpoint::parse(settings.rpc()?)?)?;
    let chain_id = rpc.chain_id().await?;
    let path = args.out.clone().unwrap_or_else(|| Deployment::file(Path::new(FOLDER), chain_id));
    let kept = kept(chain_id, &path)?;
    let token = token(&rpc, chain_id, args).await?;
    let salt = args.salt.as_ref().map_or_else(contract_set_salt, keccak256);
    let config = DeployConfig { token, bounds, salt, sender: SenderConfig::new(chain_id) };
    if args.dry_run {
        return preview::preview(&rpc, keys::account(settings)?, &config).await;
    }
    vacant(&rpc, &config, kept, &path).await?;
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step("deploying the contracts");
    let (chain, mut mined) = put(&rpc, &signer, &config, &path).await?;
    progress.step("registering the shared app");
    let (app, registered) = register(&chain, &signer).await;
    drop(progress);
    let failure = match registered {
        Ok(receipts) => {
            mined.extend(receipts);
            None
        }
        // The contracts are there and written down: that much is told, whatever came of the rest.
        Err(failure) => {
            let again = format!("berth app register docker --deployment {}", path.display());
            Some(failure.hint(format!("the contracts are there: `{again}`, or the same command again")))
        }
    };
    let mut report = shown(&chain, &path, app, &Spent::of(&mined));
    report.failure = failure;
    Ok(report)
}

/// Deploys what is not there yet, and writes down where, so that money spent on contracts is never lost to a crash after it.
pub(super) async fn put(
    rpc: &Rpc,
    owner: &Signer,
    config: &DeployConfig,
    path: &Path,
) -> Result<(Chain, Vec<Mined>), Failure> {
    let Deployed { deployment, mined } = berth_chain::deploy::deploy(rpc, owner, config).await?;
    deployment.save(path).map_err(|error| {
        let written = serde_json::to_string(&deployment).expect("numbers and addresses are JSON");
        Failure::from(error).hint(format!("the contracts are there; write this file by hand: {written}"))
    })?;
    Ok((Chain::with(rpc.clone(), deployment).await?, mined))
}

/// The app under which images run: each job names its own.
pub(super) fn shared_app(chain: &Chain, owner: &Signer) -> (AssetId, Call) {
    let descriptor = shared_descriptor();
    let id = AssetId::derive(AssetKind::App, owner.address(), descriptor.as_bytes());
    let calldata = call::register(AssetKind::App, descriptor);
    (id, Call { to: chain.deployment.assets, calldata, note: "register" })
}

fn shared_descriptor() -> String {
    String::from_utf8(app::descriptor("docker", Runtime::Docker, None, None).to_bytes()).expect("JSON is UTF-8")
}

/// Registers it, unless an earlier deployment has.
async fn register(chain: &Chain, owner: &Signer) -> (AssetId, Result<Vec<Mined>, Failure>) {
    let (app, call) = shared_app(chain, owner);
    let registered = match chain.read.owner_of(app).await {
        Ok(Some(_)) => Ok(Vec::new()),
        Ok(None) => chain.send(owner, vec![call]).await,
        Err(error) => Err(error.into()),
    };
    (app, registered)
}

fn bounds(args: &Deploy) -> Result<Bounds, Failure> {
    let min = units::seconds("--min-duration", &args.min_duration)?;
    let max = units::seconds("--max-duration", &args.max_duration)?;
    let span = units::duration("--max-span", &args.max_span)?.as_secs();
    Bounds::new(min, max, span).map_err(|refusal| {
        Failure::usage("bounds", "these bounds are not in order")
            .because(&refusal)
            .hint("the shortest duration is at most the longest, and that is at most the span, of 100 years at most")
    })
}

/// The deployment that the file tells of, if there is one; it has to be of this chain.
fn kept(chain_id: u64, path: &Path) -> Result<Option<Deployment>, Failure> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file(path, "read", &error)),
        Ok(_) => {}
    }
    let kept = Deployment::load(path)
        .map_err(|error| Failure::from(error).hint("or give another file for the new one: --out FILE"))?;
    if kept.chain_id != chain_id {
        let message = format!("{} is of chain {}, not of chain {chain_id}", path.display(), kept.chain_id);
        return Err(exists(path, message));
    }
    Ok(Some(kept))
}

fn exists(path: &Path, message: String) -> Failure {
    Failure::new(Exit::Refused, "deployment-exists", message)
        .hint("give another file for a new one: --out FILE")
        .hint(format!("or use the one that is there: --deployment {}", path.display()))
}

/// That no deployment of this chain, which may hold people's money, is forgotten; and that the file can be written.
async fn vacant(rpc: &Rpc, config: &DeployConfig, kept: Option<Deployment>, path: &Path) -> Result<(), Failure> {
    let Some(kept) = kept else {
        let failed = |error: std::io::Error| Failure::file(path, "written", &error);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return fs::create_dir_all(folder).and_then(|()| tempfile_in(folder)).map_err(failed);
    };
    // The same deployment: whatever is missing of it is added.
    if Plan::new(config).deployment(kept.chain_id, kept.block) == kept {
        return Ok(());
    }
    for (name, at) in [("Berth", kept.berth), ("Assets", kept.assets), ("Recourse", kept.recourse)] {
        if !rpc.code(at).await?.is_empty() {
            let message = format!("{} has a deployment that stands: {name} is at {at}", path.display());
            return Err(exists(path, message));
        }
    }
    Ok(())
}

/// Whether files can be made there.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let probe: PathBuf = folder.join(format!(".berth-{}.new", std::process::id()));
    fs::write(&probe, "")?;
    fs::remove_file(probe)
}

/// The settlement token, if it is one; `None` for one that is to be made.
async fn token(rpc: &Rpc, chain_id: u64, args: &Deploy) -> Result<Option<Address>, Failure> {
    let Some(text) = &args.token else {
        if chain_id == PLAY_CHAIN {
            return Ok(None);
        }
        let message = format!("chain {chain_id} takes no token that anyone may mint: it is for chain {PLAY_CHAIN}");
        return Err(Failure::usage("play-token", message).hint("name the token that people pay with: --token ADDRESS"));
    };
    let at: Address = text.parse().map_err(|_| {
        Failure::usage("address", format!("--token: `{text}` is no address")).hint("write 0x and 40 hexadecimal digits")
    })?;
    let hint = "check the token's address, and that --rpc is a node of its chain";
    if rpc.code(at).await?.is_empty() {
        let message = format!("there is no contract at {at} on chain {chain_id}");
        return Err(Failure::preflight("no-token", message).hint(hint));
    }
    // Only the token's own questions are asked: of the contracts nothing is there yet.
    let probe = Deployment { chain_id, block: 0, token: at, assets: at, recourse: at, berth: at };
    let read = Reader::new(rpc.clone(), probe);
    let (info, balance) = tokio::join!(read.token(), read.token_balance(at));
    match info.and(balance) {
        Ok(_) => Ok(Some(at)),
        Err(RpcError::Reverted { .. } | RpcError::Malformed { .. }) => {
            let message = format!("the contract at {at} is no ERC-20 token with a symbol and decimals");
            Err(Failure::preflight("no-token", message).hint(hint))
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(chain: &Chain, path: &Path, app: AssetId, spent: &Spent) -> Report {
    let Deployment { chain_id, block, token, assets, recourse, berth } = chain.deployment;
    let Token { symbol, .. } = &chain.token;
    let text = fields(&[
        ("chain", chain_id.to_string()),
        ("block", block.to_string()),
        ("token", format!("{token} ({symbol})")),
        ("Assets", assets.to_string()),
        ("Recourse", recourse.to_string()),
        ("Berth", berth.to_string()),
        ("app `docker`", app.to_string()),
        ("written to", path.display().to_string()),
        ("gas spent", gas_spent(spent)),
    ]);
    let json = json!({ "chain_id": chain_id, "block": block, "token": chain.token.json(), "assets": assets,
                       "recourse": recourse, "berth": berth, "docker_app": app.to_string(), "file": path,
                       "gas": spent.gas, "gas_wei": spent.wei.to_string(), "transactions": spent.transactions });
    let mut report = Report::new(text, json);
    report.note = format!(
        "Next: an order book (`berth market`) with this deployment; then `berth app order {app}` offers the shared app."
    );
    report
}

fn gas_spent(spent: &Spent) -> String {
    match spent.transactions.len() {
        0 => "none: all of it stood already".to_owned(),
        count => format!("{} in {count} transactions, {}", spent.gas, preview::coins(U256::from(spent.wei))),
    }
}
