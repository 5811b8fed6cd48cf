//! A chain with the contracts on it, and an order book that follows it.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::ext::AnvilApi as _;
use berth_chain::{
    Deployment, Endpoint, Rpc,
    anvil::{Anvil, AnvilConfig, Mining},
    call,
    deploy::{DeployConfig, contract_set_salt, deploy},
    outbox::{self, Intent, Key, SenderConfig},
    read::Reader,
    signer::Signer,
    tool::tool_path,
};
use berth_market::{Config, Market, Running};
use berth_protocol::{
    Amount, AssetId, AssetKind,
    ledger::{Bounds, Orders},
    order::{self, UNLIMITED},
    rule::Rule,
};
use berth_wire::{
    client::{ClientError, MarketClient},
    descriptor::{Descriptor, Minimum, Runtime, Sharing},
    market::{Publication, Query},
    order::{AnyOrder, SignedOrder},
    units::Sha256,
};
use core::{net::SocketAddr, time::Duration};
use eyre::{ContextCompat as _, bail, ensure};
use std::future::Future;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// What is waited for comes within moments, or never.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const FAR: u64 = 4_000_000_000;

pub(crate) struct World {
    pub(crate) book: MarketClient,
    pub(crate) address: SocketAddr,
    pub(crate) deployment: Deployment,
    pub(crate) folder: TempDir,
    pub(crate) rpc: Rpc,
    /// Owns the assets.
    pub(crate) owner: Signer,
    /// Does not.
    pub(crate) other: Signer,
    mining: Mining,
    endpoint: String,
    stop: CancellationToken,
    running: Option<Running>,
    _anvil: Anvil,
}

impl World {
    pub(crate) async fn start(mining: Mining) -> eyre::Result<Self> {
        let anvil = Anvil::start(&AnvilConfig { mining, ..AnvilConfig::new(tool_path("anvil")?) })?;
        let endpoint = anvil.http_url().replace("http", "ws");
        let rpc = Rpc::new(Endpoint::parse(&endpoint)?)?;
        let (owner, other) = (Signer::random(), Signer::random());
        for signer in [&owner, &other] {
            rpc.provider().anvil_set_balance(signer.address(), U256::from(10).pow(U256::from(20))).await?;
        }
        let config = DeployConfig {
            token: None,
            bounds: Bounds::new(5, 1_000, 100_000)?,
            salt: contract_set_salt(),
            sender: SenderConfig::new(31_337),
        };
        let deployment = mined(&rpc, mining, Box::pin(deploy(&rpc, &owner, &config))).await??.deployment;
        let folder = tempfile::tempdir()?;
        deployment.save(&folder.path().join("deployment.json"))?;
        let stop = CancellationToken::new();
        let mut world = Self {
            book: MarketClient::new("http://nowhere"),
            address: "127.0.0.1:0".parse()?,
            deployment,
            folder,
            rpc,
            owner,
            other,
            mining,
            endpoint,
            stop,
            running: None,
            _anvil: anvil,
        };
        world.restart().await?;
        Ok(world)
    }

    pub(crate) fn config(&self, database: &str) -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: self.folder.path().join(database),
            rpc: self.endpoint.clone(),
            deployment: self.folder.path().join("deployment.json"),
        }
    }

    pub(crate) async fn restart(&mut self) -> eyre::Result<()> {
        if let Some(running) = self.running.take() {
            self.stop.cancel();
            running.wait().await?;
        }
        self.stop = CancellationToken::new();
        let running = Market::start(self.config("market.db"), self.stop.clone()).await?;
        self.address = running.address;
        self.book = MarketClient::new(&format!("http://{}", running.address));
        self.running = Some(running);
        self.caught_up().await
    }

    /// The chain forgets all since the snapshot, and goes on past where it was; so does the book.
    pub(crate) async fn reorg(&self, snapshot: U256) -> eyre::Result<()> {
        let was = self.rpc.head().await?.block.number;
        ensure!(self.rpc.provider().anvil_revert(snapshot).await?, "no such snapshot");
        let is = self.rpc.head().await?.block.number;
        self.rpc.provider().anvil_mine(Some(was.since(is) + 2), None).await?;
        self.caught_up().await
    }

    /// Waits until the book is where the chain is.
    pub(crate) async fn caught_up(&self) -> eyre::Result<()> {
        let reached = async {
            loop {
                // The head moves on by itself where blocks come by the clock.
                let head = self.rpc.head().await?.block.number.get();
                if self.book.info().await?.block.abs_diff(head) <= u64::from(self.mining != Mining::OnDemand) {
                    return eyre::Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await?
    }

    pub(crate) async fn send(&self, from: &Signer, to: Address, calldata: Bytes) -> eyre::Result<()> {
        let intent = Intent::call(Key::new("test"), from.address(), to, calldata, "test");
        let config = SenderConfig::new(31_337);
        mined(&self.rpc, self.mining, outbox::send_all(&self.rpc, from, &config, &[intent])).await??;
        Ok(())
    }

    pub(crate) async fn register(&self, from: &Signer, kind: AssetKind, name: &str) -> eyre::Result<AssetId> {
        let descriptor = descriptor(kind, name).to_bytes();
        let text = String::from_utf8(descriptor.clone())?;
        self.send(from, self.deployment.assets, call::register(kind, text)).await?;
        Ok(AssetId::derive(kind, from.address(), &descriptor))
    }

    /// Free money in the market.
    pub(crate) async fn fund(&self, who: &Signer, amount: Amount) -> eyre::Result<()> {
        let Deployment { token, berth, .. } = self.deployment;
        self.send(who, token, call::mint(who.address(), amount)).await?;
        self.send(who, token, call::approve(berth, amount)).await?;
        self.send(who, berth, call::deposit(amount)).await
    }

    pub(crate) fn signed(&self, order: AnyOrder, signer: &Signer) -> SignedOrder {
        let signature = signer.sign_digest(order.hash(&self.deployment.domain()).get());
        SignedOrder { order, signature }
    }

    /// The owner's.
    pub(crate) fn publication(&self, order: AnyOrder) -> Publication {
        Publication { order: self.signed(order, &self.owner), url: None }
    }

    pub(crate) fn app_order(&self, app: AssetId, price: u128) -> AnyOrder {
        self.app_order_with_salt(app, price, B256::new(rand::random()))
    }

    pub(crate) fn app_order_of_volume(&self, app: AssetId, price: u128, volume: u32) -> AnyOrder {
        match self.app_order(app, price) {
            AnyOrder::App(order) => AnyOrder::App(berth_wire::order::AppOrder { volume, ..order }),
            order => order,
        }
    }

    pub(crate) fn app_order_with_salt(&self, app: AssetId, price: u128, salt: B256) -> AnyOrder {
        let AnyOrder::App(order) = any_app_order() else { unreachable!("it makes no other") };
        AnyOrder::App(berth_wire::order::AppOrder { app: app.get(), price: price.into(), salt, ..order })
    }

    pub(crate) fn pool_order(&self, pool: AssetId, price: u128) -> AnyOrder {
        AnyOrder::Pool(
            order::PoolOrder {
                pool: pool.get(),
                price,
                volume: UNLIMITED,
                tag: B256::ZERO,
                operator: self.other.address(),
                parallel: 4,
                workerStake: 0,
                poolStake: 0,
                operatorShareBps: 1_000,
                minDuration: 5,
                maxDuration: 1_000,
                maxTrust: 1,
                appRule: B256::ZERO,
                datasetRule: B256::ZERO,
                requesterRule: B256::ZERO,
                expiry: FAR,
                epoch: 0,
                salt: B256::new(rand::random()),
            }
            .into(),
        )
    }

    /// `other` has `volume` tasks done.
    pub(crate) async fn match_orders(&self, app: &SignedOrder, pool: &SignedOrder, volume: u32) -> eyre::Result<()> {
        let (AnyOrder::App(app_order), AnyOrder::Pool(pool_order)) = (app.order.clone(), pool.order.clone()) else {
            bail!("an app's order and a pool's are needed")
        };
        let now = Reader::new(self.rpc.clone(), self.deployment).chain_time().await?;
        let request = order::RequestOrder {
            app: app_order.app,
            appMaxPrice: 10,
            dataset: B256::ZERO,
            datasetMaxPrice: 0,
            poolRule: Rule::Asset(pool_order.pool).encode(),
            poolMaxPrice: 10,
            requester: self.other.address(),
            payer: self.other.address(),
            beneficiary: self.other.address(),
            callback: Address::ZERO,
            jobHash: B256::repeat_byte(7),
            volume,
            tag: B256::ZERO,
            duration: 10,
            trust: 1,
            expiry: now.plus(1_000).seconds(),
            epoch: 0,
            salt: B256::new(rand::random()),
        };
        let signatures = call::Signatures {
            app: app.signature.clone(),
            dataset: Bytes::new(),
            pool: pool.signature.clone(),
            request: self.other.sign(&self.deployment.domain(), &request),
        };
        let none = order::DatasetOrder {
            dataset: B256::ZERO,
            price: 0,
            volume: 0,
            tag: B256::ZERO,
            appRule: B256::ZERO,
            poolRule: B256::ZERO,
            requesterRule: B256::ZERO,
            expiry: 0,
            epoch: 0,
            salt: B256::ZERO,
        };
        let orders = Orders { app: app_order.into(), dataset: none, pool: pool_order.into(), request };
        self.send(&self.other, self.deployment.berth, call::match_orders(&orders, &signatures)).await
    }

    pub(crate) async fn listed(&self, asset: AssetId) -> eyre::Result<usize> {
        let query = Query { asset: Some(asset.get()), ..Query::default() };
        Ok(self.book.orders(&query).await?.orders.len())
    }
}

/// Where blocks come only when asked, asks for them until the work is done.
async fn mined<T>(rpc: &Rpc, mining: Mining, work: impl Future<Output = T>) -> eyre::Result<T> {
    let blocks = async {
        if mining != Mining::OnDemand {
            return std::future::pending::<eyre::Result<()>>().await;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            rpc.provider().anvil_mine(Some(1), None).await?;
        }
    };
    tokio::select! {
        done = tokio::time::timeout(PATIENCE, work) => Ok(done?),
        failed = blocks => failed.map(|()| unreachable!("it never ends well")),
    }
}

pub(crate) fn any_app_order() -> AnyOrder {
    AnyOrder::App(berth_wire::order::AppOrder {
        app: B256::ZERO,
        price: 1.into(),
        volume: UNLIMITED,
        tag: B256::ZERO,
        dataset_rule: B256::ZERO,
        pool_rule: B256::ZERO,
        requester_rule: B256::ZERO,
        expiry: FAR,
        epoch: 0,
        salt: B256::ZERO,
    })
}

fn descriptor(kind: AssetKind, name: &str) -> Descriptor {
    match kind {
        AssetKind::App => Descriptor::App {
            version: 1,
            name: name.to_owned(),
            runtime: Runtime::Docker,
            sharing: Sharing::Shared,
            image: None,
            disk: None,
            env: std::collections::BTreeMap::new(),
            minimum: Minimum::default(),
        },
        AssetKind::Dataset => {
            Descriptor::Dataset { version: 1, name: name.to_owned(), sha256: Sha256::of(b"data"), size: 4 }
        }
        AssetKind::Pool => Descriptor::Pool { version: 1, name: name.to_owned() },
    }
}

/// The code of a refusal, or `published`.
pub(crate) fn code_of<T: core::fmt::Debug>(answer: Result<T, ClientError>) -> eyre::Result<String> {
    match answer {
        Ok(_) => Ok("published".to_owned()),
        Err(ClientError::Refused(problem)) => {
            problem.hint.as_ref().wrap_err("a refusal without a hint")?;
            Ok(problem.code)
        }
        Err(other) => bail!("{other:?}"),
    }
}
