//! The devnet's people and their play money: keys, contracts, deposits, the pool, the shared app, the workers' bonds.
//!
//! The keys are thrown away with the devnet, so their files are sealed lightly: opening one takes milliseconds, where a
//! real one takes a fraction of a second on purpose.

use super::state::State;
use crate::{
    args::Up,
    book::Book,
    chain::{Call, Chain},
    command::{
        asset::{self, Goods},
        deploy, pool,
    },
    exit::Exit,
    hint::Failure,
    intent::units,
    keys,
    settings::{Profile, Settings},
};
use alloy::primitives::{B256, U256};
use alloy::providers::ext::AnvilApi as _;
use berth_chain::{
    Rpc, call,
    deploy::{DeployConfig, contract_set_salt},
    outbox::SenderConfig,
    signer::{Secret, Signer, keystore::Cost},
};
use berth_protocol::{
    Amount, AssetId, AssetKind, WorkerAddr, domain::Enlistment, ledger::Bounds, order, order::UNLIMITED,
};
use berth_wire::descriptor::Descriptor;
use std::{fs, path::Path};

/// What everybody can pay gas with, in whole coins.
const COINS: u64 = 1_000;
/// What everybody pays into the market, in tokens; as much again stays in the wallet.
const TOKENS: u128 = 10_000;
/// What a worker stakes on a task, in tokens.
const WORKER_STAKE: u128 = 5;
/// What stands behind a worker, in tokens: enough for forty tasks that wait for their settlement at once.
const BOND: u128 = 40 * WORKER_STAKE;
/// The most trust that the pool gives: what five fresh workers that agree come to.
const MAX_TRUST: u32 = 32;
/// Tasks that the pool runs at one time, per worker.
const PARALLEL_PER_WORKER: u32 = 2;
/// A tenth goes to the pool's owner.
const OPERATOR_SHARE_BPS: u16 = 1_000;
/// How long the offers are good: longer than anybody leaves a devnet running.
const GOOD_FOR_S: u64 = 365 * 86_400;
/// The contract's bounds, in seconds: long enough for any demonstration, short enough to see a deadline pass.
const BOUNDS: (u32, u32, u64) = (2, 86_400, 864_000);
/// The keys' password; the devnet's folder holds it in a file.
const PASSWORD: &str = "devnet";

/// A market that stands.
pub(super) struct Founded {
    pub(super) chain: Chain,
    pub(super) pool: AssetId,
    pub(super) app: AssetId,
    pub(super) workers: u16,
    people: People,
}

/// Who is who.
struct People {
    /// Pays for jobs.
    requester: Signer,
    /// Owns the pool, and the shared app.
    owner: Signer,
    /// Runs the scheduler.
    operator: Signer,
    /// Own a worker each.
    owners: Vec<Signer>,
    workers: Vec<Signer>,
}

impl People {
    fn new(workers: u16) -> Self {
        let some = || (0..workers).map(|_| Signer::random()).collect();
        Self {
            requester: Signer::random(),
            owner: Signer::random(),
            operator: Signer::random(),
            owners: some(),
            workers: some(),
        }
    }

    fn named(&self) -> Vec<(String, &Signer)> {
        let mut named = vec![
            ("requester".to_owned(), &self.requester),
            ("pool-owner".to_owned(), &self.owner),
            ("operator".to_owned(), &self.operator),
        ];
        for (at, (owner, worker)) in self.owners.iter().zip(&self.workers).enumerate() {
            named.push((format!("owner-{}", at + 1), owner));
            named.push((format!("worker-{}", at + 1), worker));
        }
        named
    }

    /// Those who send transactions. A worker does where its operator is silent.
    fn senders(&self) -> impl Iterator<Item = &Signer> {
        [&self.requester, &self.owner, &self.operator].into_iter().chain(&self.owners).chain(&self.workers)
    }

    /// Those who have an account in the market.
    fn payers(&self) -> impl Iterator<Item = &Signer> {
        [&self.requester, &self.owner].into_iter().chain(&self.owners)
    }
}

/// Makes keys, deploys, funds, registers, bonds.
pub(super) async fn found(dir: &Path, args: &Up, rpc: &Rpc) -> Result<Founded, Failure> {
    let people = People::new(args.workers);
    write_keys(dir, &people)?;
    for sender in people.senders() {
        let coins = U256::from(COINS) * U256::from(10).pow(U256::from(18));
        rpc.provider()
            .anvil_set_balance(sender.address(), coins)
            .await
            .map_err(|error| Failure::new(Exit::Error, "anvil", "the local chain gives no coins").because(&error))?;
    }
    let (min, max, span) = BOUNDS;
    let bounds = Bounds::new(min, max, span).expect("constants in order");
    let sender = SenderConfig::new(rpc.chain_id().await?);
    let config = DeployConfig { token: None, bounds, salt: contract_set_salt(), sender };
    let (chain, _) = deploy::put(rpc, &people.owner, &config, &dir.join("deployment.json")).await?;
    let deployment = chain.deployment;
    let (app, docker) = deploy::shared_app(&chain, &people.owner);
    let descriptor = Descriptor::Pool { version: 1, name: "devnet".to_owned() }.to_bytes();
    let pool = AssetId::derive(AssetKind::Pool, people.owner.address(), &descriptor);
    let tokens = |whole: u128| Amount::new(whole * 10_u128.pow(u32::from(chain.token.decimals)));
    let text = String::from_utf8(descriptor).expect("JSON is UTF-8");
    let calldata = call::register(AssetKind::Pool, text);
    let mut calls = vec![Call { to: deployment.assets, calldata, note: "register" }, docker];
    let double = tokens(2 * TOKENS);
    let mints = people.payers().map(|payer| Call {
        to: deployment.token,
        calldata: call::mint(payer.address(), double),
        note: "mint",
    });
    calls.extend(mints);
    chain.send(&people.owner, calls).await?;
    let each = people.payers().map(|payer| async {
        let mut calls = vec![
            Call { to: deployment.token, calldata: call::approve(deployment.berth, tokens(TOKENS)), note: "approve" },
            Call { to: deployment.berth, calldata: call::deposit(tokens(TOKENS)), note: "deposit" },
        ];
        if let Some(at) = people.owners.iter().position(|owner| owner.address() == payer.address()) {
            let worker = &people.workers[at];
            let word = Enlistment { pool: pool.get(), owner: payer.address() };
            let word = worker.sign(&chain.domain(), &word);
            let calldata = call::bond(pool, WorkerAddr::new(worker.address()), tokens(BOND), word);
            calls.push(Call { to: deployment.berth, calldata, note: "bond" });
        }
        chain.send(payer, calls).await
    });
    for sent in futures_util::future::join_all(each).await {
        sent?;
    }
    Ok(Founded { chain, pool, app, workers: args.workers, people })
}

fn write_keys(dir: &Path, people: &People) -> Result<(), Failure> {
    let path = dir.join("password.txt");
    fs::write(&path, format!("{PASSWORD}\n")).map_err(|error| Failure::file(&path, "written", &error))?;
    let folder = dir.join("keys");
    let password = Secret::new(PASSWORD.to_owned());
    for (name, signer) in people.named() {
        // An earlier devnet's key of that name: its chain is gone, and all that it had with it.
        let old = folder.join(format!("{name}.json"));
        if old.exists() {
            fs::remove_file(&old).map_err(|error| Failure::file(&old, "removed", &error))?;
        }
        keys::create(&folder, &name, signer, &password, Cost::LIGHT)?;
    }
    Ok(())
}

/// Publishes the offers of pool and app.
pub(super) async fn offer(args: &Up, market: &Founded, state: &State) -> Result<(), Failure> {
    let Founded { chain, people, .. } = market;
    let profile = Profile { market: Some(state.market.clone()), ..Profile::default() };
    let book = Book::of(&Settings::from_profile(profile, "profile.toml".into()))?;
    let now = chain.read.chain_time().await?;
    let price = units::tokens("--price", &args.price, chain.token.decimals)?;
    let stake = 10_u128.pow(u32::from(chain.token.decimals)) * WORKER_STAKE;
    let free =
        asset::Offer { price: Amount::ZERO, volume: UNLIMITED, expiry: now.plus(GOOD_FOR_S).seconds(), epoch: 0 };
    let (_, app_order) = asset::sign(&people.owner, &chain.domain(), (Goods::App, market.app), &free);
    let pool_order = order::PoolOrder {
        pool: market.pool.get(),
        price: price.units(),
        volume: UNLIMITED,
        tag: B256::ZERO,
        operator: people.operator.address(),
        parallel: u32::from(market.workers.max(1)) * PARALLEL_PER_WORKER,
        workerStake: stake,
        // A tenth of the price is at stake for a task that the pool does not bring home.
        poolStake: price.tenth().units(),
        operatorShareBps: OPERATOR_SHARE_BPS,
        minDuration: BOUNDS.0,
        maxDuration: BOUNDS.1,
        maxTrust: MAX_TRUST,
        appRule: B256::ZERO,
        datasetRule: B256::ZERO,
        requesterRule: B256::ZERO,
        expiry: now.plus(GOOD_FOR_S).seconds(),
        epoch: 0,
        salt: B256::new(rand::random()),
    };
    let (_, pool_order) = pool::sign(&people.owner, &chain.domain(), pool_order);
    let (app, pool) =
        tokio::join!(book.publish(app_order, None), book.publish(pool_order, Some(state.scheduler.clone())));
    app.and(pool).map(drop)
}
