//! A market with one pool, a scheduler of it, and workers that do as they are told.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    providers::ext::AnvilApi as _,
    rpc::types::anvil::ReorgOptions,
};
use berth_chain::{
    Deployment, Rpc,
    anvil::{Anvil, AnvilConfig, Mining},
    call::{self, Signatures},
    deploy::{DeployConfig, contract_set_salt, deploy},
    outbox::{Intent, Key, Mined, SenderConfig, send_all},
    read::Reader,
    signer::Signer,
    tool::tool_path,
};
use berth_protocol::{
    AccountAddr, Amount, AssetId, AssetKind, DealId, DealTerms, ResultDigest, TaskId, WorkerAddr,
    domain::{Domain, Enlistment, Session},
    ledger::{Bounds, Orders},
    order::{AppOrder, DatasetOrder, Order as _, PoolOrder, RequestOrder, UNLIMITED},
    single::SingleList,
};
use berth_scheduler::{Config, Running, Scheduler};
use berth_wire::{
    client::SchedulerClient,
    descriptor::{Descriptor, Minimum, Runtime, Sharing},
    job::{Image, Input, Job},
    manifest::{Content, Manifest},
    scheduler::DealView,
    units::{OciDigest, Sha256},
    worker::{
        Announced, Announcement, Assign, Capacity, Hello, Mail, Report, Shares, Terms, ToScheduler, ToWorker, VERSION,
    },
};
use core::{net::SocketAddr, num::NonZeroU64, time::Duration};
use eyre::{ContextCompat as _, bail, ensure, eyre};
use futures_util::{SinkExt as _, StreamExt as _};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

/// What a test waits for comes within seconds, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The duration of every task here, in seconds.
pub(crate) const DURATION: u32 = 60;
pub(crate) const POOL_PRICE: u128 = 1_000;
pub(crate) const APP_PRICE: u128 = 7;
pub(crate) const WORKER_STAKE: u128 = 100;

/// A chain with contracts, an app and a pool, and one person who owns and pays for everything but the work.
pub(crate) struct Market {
    pub(crate) anvil: Anvil,
    pub(crate) rpc: Rpc,
    /// Owner of app and pool, requester, payer, and owner of the workers' bonds.
    pub(crate) own: Signer,
    /// The operator of the pool.
    pub(crate) operator: Signer,
    pub(crate) deployment: Deployment,
    pub(crate) reader: Reader,
    pub(crate) folder: TempDir,
    send: SenderConfig,
    salt: AtomicU64,
}

fn app() -> Descriptor {
    Descriptor::App {
        version: 1,
        name: "docker".into(),
        runtime: Runtime::Docker,
        sharing: Sharing::Shared,
        image: None,
        disk: None,
        env: BTreeMap::new(),
        minimum: Minimum::default(),
    }
}

fn pool() -> Descriptor {
    Descriptor::Pool { version: 1, name: "harbour".into() }
}

fn text(descriptor: &Descriptor) -> String {
    String::from_utf8(descriptor.to_bytes()).expect("JSON is text")
}

impl Market {
    pub(crate) async fn open() -> eyre::Result<Self> {
        // The first test sets it for all; a failing test shows what was logged.
        let log = tracing_subscriber::fmt().with_ansi(false).with_test_writer();
        drop(log.with_env_filter("warn,berth_scheduler=debug,berth_chain=debug").try_init());
        let config = AnvilConfig { mining: Mining::Every(0.1), ..AnvilConfig::new(tool_path("anvil")?) };
        let anvil = Anvil::start(&config)?;
        let rpc = Rpc::new(anvil.endpoint()?)?;
        let (own, operator) = (Signer::random(), Signer::random());
        for account in [&own, &operator] {
            rpc.provider().anvil_set_balance(account.address(), U256::from(10).pow(U256::from(20))).await?;
        }
        let send = SenderConfig { poll: Duration::from_millis(20), ..SenderConfig::new(config.chain_id) };
        let bounds = Bounds::new(10, 3_600, 86_400)?;
        let plan = DeployConfig { token: None, bounds, salt: contract_set_salt(), sender: send.clone() };
        let deployment = deploy(&rpc, &own, &plan).await?.deployment;
        let reader = Reader::new(rpc.clone(), deployment);
        let folder = tempfile::tempdir()?;
        deployment.save(&folder.path().join("deployment.json"))?;
        let market = Self { anvil, rpc, own, operator, deployment, reader, folder, send, salt: AtomicU64::new(1) };
        let Deployment { token, assets, berth, .. } = deployment;
        let plenty = Amount::new(1_000_000);
        market
            .send(vec![
                (token, call::mint(market.own.address(), plenty)),
                (token, call::approve(berth, plenty)),
                (berth, call::deposit(plenty)),
                (assets, call::register(AssetKind::App, text(&app()))),
                (assets, call::register(AssetKind::Pool, text(&pool()))),
            ])
            .await?;
        Ok(market)
    }

    pub(crate) async fn send(&self, calls: Vec<(Address, Bytes)>) -> eyre::Result<Vec<Mined>> {
        self.send_by(&self.own, calls).await
    }

    pub(crate) async fn send_by(&self, signer: &Signer, calls: Vec<(Address, Bytes)>) -> eyre::Result<Vec<Mined>> {
        let key = |i: usize| Key::new(format!("{i}"));
        let intent = |(i, (to, data))| Intent::call(key(i), signer.address(), to, data, "");
        let intents: Vec<Intent> = calls.into_iter().enumerate().map(intent).collect();
        Ok(send_all(&self.rpc, signer, &self.send, &intents).await?)
    }

    /// A worker key that an owner of its own has bonded with `amount`.
    pub(crate) async fn owned(&self, amount: u128) -> eyre::Result<Signer> {
        let (owner, worker) = (Signer::random(), Signer::random());
        self.rpc.provider().anvil_set_balance(owner.address(), U256::from(10).pow(U256::from(20))).await?;
        let enlistment = Enlistment { pool: self.pool().get(), owner: owner.address() };
        let enlistment = worker.sign(&self.deployment.domain(), &enlistment);
        let (address, amount) = (WorkerAddr::new(worker.address()), Amount::new(amount));
        let Deployment { token, berth, .. } = self.deployment;
        let calls = vec![
            (token, call::mint(owner.address(), amount)),
            (token, call::approve(berth, amount)),
            (berth, call::deposit(amount)),
            (berth, call::bond(self.pool(), address, amount, enlistment)),
        ];
        self.send_by(&owner, calls).await?;
        Ok(worker)
    }

    pub(crate) fn pool(&self) -> AssetId {
        AssetId::derive(AssetKind::Pool, self.own.address(), &pool().to_bytes())
    }

    fn app(&self) -> AssetId {
        AssetId::derive(AssetKind::App, self.own.address(), &app().to_bytes())
    }

    /// A worker key with a bond of `amount`.
    pub(crate) async fn bonded(&self, amount: u128) -> eyre::Result<Signer> {
        let worker = Signer::random();
        let enlistment = Enlistment { pool: self.pool().get(), owner: self.own.address() };
        let enlistment = worker.sign(&self.deployment.domain(), &enlistment);
        let address = WorkerAddr::new(worker.address());
        let data = call::bond(self.pool(), address, Amount::new(amount), enlistment);
        self.send(vec![(self.deployment.berth, data)]).await?;
        Ok(worker)
    }

    fn orders(&self, job: &Job, volume: u32, beneficiary: Address, trust: u32) -> Orders {
        let (app, pool, own) = (self.app().get(), self.pool().get(), self.own.address());
        let (any, expiry) = (B256::ZERO, u64::MAX);
        let salt = B256::from(U256::from(self.salt.fetch_add(1, Ordering::Relaxed)));
        Orders {
            app: AppOrder {
                app,
                price: APP_PRICE,
                volume: UNLIMITED,
                tag: any,
                datasetRule: any,
                poolRule: any,
                requesterRule: any,
                expiry,
                epoch: 0,
                salt: any,
            },
            dataset: DatasetOrder {
                dataset: any,
                price: 0,
                volume: 0,
                tag: any,
                appRule: any,
                poolRule: any,
                requesterRule: any,
                expiry: 0,
                epoch: 0,
                salt: any,
            },
            pool: PoolOrder {
                pool,
                price: POOL_PRICE,
                volume: UNLIMITED,
                tag: any,
                operator: self.operator.address(),
                parallel: 4,
                workerStake: WORKER_STAKE,
                poolStake: 50,
                operatorShareBps: 1_000,
                minDuration: 10,
                maxDuration: 600,
                maxTrust: 100,
                appRule: any,
                datasetRule: any,
                requesterRule: any,
                expiry,
                epoch: 0,
                salt: any,
            },
            request: RequestOrder {
                app,
                appMaxPrice: APP_PRICE,
                dataset: any,
                datasetMaxPrice: 0,
                poolRule: pool,
                poolMaxPrice: POOL_PRICE,
                requester: own,
                payer: own,
                beneficiary,
                callback: Address::ZERO,
                jobHash: job.hash().get(),
                volume,
                tag: any,
                duration: DURATION,
                trust,
                expiry,
                epoch: 0,
                salt,
            },
        }
    }

    /// Matches a deal of `volume` tasks of this job; gives its terms.
    pub(crate) async fn matched(&self, job: &Job, volume: u32, beneficiary: Address) -> eyre::Result<DealTerms> {
        self.trusted(job, volume, beneficiary, 1).await
    }

    /// The same, with so much trust.
    pub(crate) async fn trusted(
        &self,
        job: &Job,
        volume: u32,
        beneficiary: Address,
        trust: u32,
    ) -> eyre::Result<DealTerms> {
        let orders = self.orders(job, volume, beneficiary, trust);
        let domain = self.deployment.domain();
        let signatures = Signatures {
            app: self.own.sign(&domain, &orders.app),
            dataset: Bytes::new(),
            pool: self.own.sign(&domain, &orders.pool),
            request: self.own.sign(&domain, &orders.request),
        };
        let mined = self.send(vec![(self.deployment.berth, call::match_orders(&orders, &signatures))]).await?;
        let block = mined.first().wrap_err("one call, one receipt")?.block;
        let header = self.rpc.header(block).await?.wrap_err("a block that was mined")?;
        let (request, own) = (orders.request.clone(), self.own.address());
        let terms = DealTerms {
            request: orders.request.hash(&domain).get(),
            pool: self.pool().get(),
            appOwner: own,
            datasetOwner: Address::ZERO,
            poolOwner: own,
            operator: self.operator.address(),
            payer: own,
            callback: Address::ZERO,
            appPrice: APP_PRICE,
            datasetPrice: 0,
            poolPrice: POOL_PRICE,
            poolStake: 50,
            workerStake: WORKER_STAKE,
            operatorShareBps: 1_000,
            parallel: 4,
            duration: request.duration,
            trust,
            first: 0,
            size: volume,
            start: header.block.timestamp.seconds(),
        };
        ensure!(self.reader.deal(terms.id()).await?.is_some(), "the deal has other terms");
        Ok(terms)
    }

    /// Lets the chain's clock jump.
    pub(crate) async fn pass(&self, seconds: u64) -> eyre::Result<()> {
        let provider = self.rpc.provider();
        provider.anvil_increase_time(seconds).await?;
        provider.evm_mine(None).await?;
        Ok(())
    }

    pub(crate) async fn free(&self, account: Address) -> eyre::Result<u128> {
        Ok(self.reader.account(AccountAddr::new(account)).await?.free.units())
    }

    pub(crate) fn config(&self) -> Config {
        self.config_in(self.folder.path())
    }

    pub(crate) fn config_in(&self, folder: &Path) -> Config {
        Config {
            rpc: self.anvil.http_url(),
            rpc_ws: Some(self.anvil.http_url().replace("http", "ws")),
            deployment: self.folder.path().join("deployment.json"),
            pool: self.pool().get(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: folder.join("scheduler.db"),
            store: folder.join("blobs"),
            results: berth_scheduler::Results::default(),
            settle_batch: 100,
            settle_wait: Duration::ZERO,
            // Scripted workers say nothing while the script is about others.
            heartbeat: Duration::from_secs(2),
            missed_heartbeats: 3,
            reconnect_grace: Duration::from_millis(500),
            job_wait: Duration::from_secs(600),
            unable_wait: Duration::from_secs(30),
            round_size: 100,
            round_wait: Duration::ZERO,
            confirmations: NonZeroU64::MIN,
            reveal_wait: Duration::from_secs(2),
            finality_depth: NonZeroU64::new(64).expect("not zero"),
            poll: Duration::from_millis(50),
            max_blob_bytes: 1 << 20,
            max_jobs: 8,
        }
    }
}

/// What a scripted worker says of itself.
pub(crate) fn announced(signer: &Signer, domain: &Domain, pool: B256, slots: u32, at_ms: u64) -> Announced {
    let capacity = Capacity {
        slots,
        cpu_millis: 64_000,
        memory_bytes: 64 << 30,
        disk_bytes: 64 << 30,
        network: false,
        fetches_images: false,
    };
    let shares =
        Shares { engines: vec![Runtime::Docker], images: vec![image()], fetches_inputs: true, ..Shares::default() };
    let said = Announcement { capacity, shares, terms: Terms::default() };
    let signature = signer.sign(domain, &said.statement(pool, at_ms));
    Announced { said, at_ms, signature }
}

/// A job whose image the scripted workers have.
pub(crate) fn job(name: &str) -> Job {
    Job { image: Some(image()), args: vec![name.to_owned()], ..Job::default() }
}

pub(crate) fn with_input(name: &str, bytes: &[u8]) -> Job {
    let Content { sha256, size } = Content::of(bytes);
    Job { inputs: vec![Input { name: "input".to_owned(), size, sha256, url: None }], ..job(name) }
}

fn image() -> Image {
    Image { reference: "render:latest".into(), config: Some(OciDigest(Sha256([7; 32]))), manifest: None }
}

/// A scheduler that runs in this process.
pub(crate) struct Service {
    pub(crate) running: Option<Running>,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
}

impl Service {
    pub(crate) async fn start(market: &Market) -> eyre::Result<Self> {
        Self::with(market, market.config()).await
    }

    pub(crate) async fn with(market: &Market, config: Config) -> eyre::Result<Self> {
        let stop = CancellationToken::new();
        let running = Scheduler::start(config, market.operator.clone(), Default::default(), stop.clone()).await?;
        Ok(Self { address: running.address, running: Some(running), stop })
    }

    /// One that runs elsewhere, at this address.
    pub(crate) fn elsewhere(address: SocketAddr) -> Self {
        Self { running: None, address, stop: CancellationToken::new() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn client(&self) -> SchedulerClient {
        SchedulerClient::new(&self.url())
    }

    /// A session of this account.
    pub(crate) async fn signed_in(&self, account: &Signer) -> eyre::Result<SchedulerClient> {
        let client = self.client();
        let challenge = client.challenge(account.address()).await?;
        let signature = account.sign_text(&challenge.message);
        let session = client.session(challenge.message, signature).await?;
        Ok(client.with_token(session.token))
    }

    pub(crate) async fn stop(mut self) -> eyre::Result<()> {
        self.stop.cancel();
        let running = self.running.take().wrap_err("it runs")?;
        Ok(timeout(PATIENCE, running.wait()).await??)
    }

    /// Waits until a deal is as wanted.
    pub(crate) async fn until(
        &self,
        deal: DealId,
        what: &str,
        is_so: impl Fn(&DealView) -> bool,
    ) -> eyre::Result<DealView> {
        let client = self.client();
        let mut last = None;
        let wait = async {
            let mut seq = 0;
            loop {
                match client.deal(deal.get(), Some(seq), Duration::from_secs(5)).await {
                    Ok(view) if is_so(&view) => return Ok::<_, eyre::Report>(view),
                    Ok(view) => {
                        seq = view.seq;
                        last = Some(view);
                    }
                    Err(berth_wire::client::ClientError::Refused(problem)) if problem.code == "deal-unknown" => {}
                    Err(error) => return Err(error.into()),
                }
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(view) => view,
            Err(_) => bail!("{what} did not come about: {last:#?}"),
        }
    }

    async fn is_ready(&self) -> eyre::Result<bool> {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(client.get(format!("{}/readyz", self.url())).send().await?.status().is_success())
    }

    pub(crate) async fn until_ready(&self, wanted: bool) -> eyre::Result<()> {
        let poll = async {
            while self.is_ready().await? != wanted {
                // Readiness is polled by whoever deploys: there is nothing to wait on.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        timeout(PATIENCE, poll).await?
    }

    pub(crate) async fn until_all(&self, deal: DealId, phase: &str) -> eyre::Result<DealView> {
        let all = |view: &DealView| !view.tasks.is_empty() && view.tasks.iter().all(|task| task.phase == phase);
        self.until(deal, &format!("all tasks are {phase}"), all).await
    }
}

/// A worker's side of a connection, one message at a time.
pub(crate) struct ScriptedWorker {
    pub(crate) key: Signer,
    pub(crate) market: berth_protocol::domain::Domain,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// With the worker's session.
    pub(crate) client: SchedulerClient,
    pub(crate) last_seq: u64,
    pub(crate) bond: u128,
}

/// How a worker introduces itself.
#[derive(Clone, Default)]
pub(crate) struct Introduction {
    pub(crate) last_seq: u64,
    pub(crate) holding: Vec<B256>,
    pub(crate) slots: Option<u32>,
    pub(crate) version: Option<u32>,
    pub(crate) wrong_key: bool,
}

impl ScriptedWorker {
    pub(crate) async fn connect(service: &Service, market: &Market, key: &Signer) -> eyre::Result<Self> {
        Self::introduce(service, market, key, Introduction::default()).await
    }

    pub(crate) async fn introduce(
        service: &Service,
        market: &Market,
        key: &Signer,
        with: Introduction,
    ) -> eyre::Result<Self> {
        let (socket, _) = connect_async(format!("ws://{}/v1/worker", service.address)).await?;
        let mut worker = Self {
            key: key.clone(),
            market: market.deployment.domain(),
            socket,
            client: service.client(),
            last_seq: with.last_seq,
            bond: 0,
        };
        let ToWorker::Challenge { pool, operator, nonce, berth, .. } = worker.hear().await? else {
            bail!("no challenge");
        };
        ensure!(berth == market.deployment.berth && pool == market.pool().get(), "another market");
        let expiry = 1 << 40;
        let signer = if with.wrong_key { Signer::random() } else { key.clone() };
        let hello = Hello {
            version: with.version.unwrap_or(VERSION),
            worker: key.address(),
            expiry,
            signature: signer.sign(&worker.market, &Session { pool, operator, nonce, expiry }),
            last_seq: with.last_seq,
            holding: with.holding,
            announced: announced(&signer, &worker.market, pool, with.slots.unwrap_or(1), 1),
            software: "scripted".into(),
        };
        worker.say(&ToScheduler::Hello(Box::new(hello))).await?;
        match worker.hear().await? {
            ToWorker::Welcome { token, bond, .. } => {
                worker.client = worker.client.with_token(token);
                worker.bond = bond.0;
                Ok(worker)
            }
            ToWorker::Rejected { code, detail, hint } => Err(eyre!("{code}: {detail} ({hint})")),
            other @ (ToWorker::Challenge { .. } | ToWorker::Mail { .. } | ToWorker::Refused { .. }) => {
                bail!("{other:?} instead of a welcome")
            }
        }
    }

    pub(crate) async fn say(&mut self, message: &ToScheduler) -> eyre::Result<()> {
        Ok(self.socket.send(Message::text(serde_json::to_string(message)?)).await?)
    }

    pub(crate) async fn hear(&mut self) -> eyre::Result<ToWorker> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => bail!("{other:?} instead of a message"),
                }
            }
        };
        timeout(PATIENCE, next).await?
    }

    /// The next letter, acknowledged. Heartbeats go on meanwhile.
    pub(crate) async fn letter(&mut self, running: &[B256]) -> eyre::Result<Mail> {
        loop {
            let beat = ToScheduler::Heartbeat { running: running.to_vec() };
            match timeout(Duration::from_millis(300), self.hear()).await {
                Err(_) => self.say(&beat).await?,
                Ok(Ok(ToWorker::Mail { seq, mail })) => {
                    ensure!(seq == self.last_seq + 1, "letter {seq} after {}", self.last_seq);
                    self.last_seq = seq;
                    self.say(&ToScheduler::Ack { seq }).await?;
                    return Ok(mail);
                }
                Ok(other) => bail!("{:?} instead of mail", other?),
            }
        }
    }

    pub(crate) async fn assignment(&mut self) -> eyre::Result<Assign> {
        let letter = self.letter(&[]).await?;
        let Mail::Assign(assign) = letter else { bail!("{letter:?} instead of an assignment") };
        Ok(*assign)
    }

    /// Puts a result with this standard output into the store.
    pub(crate) async fn upload(&self, output: &str) -> eyre::Result<(ResultDigest, Content)> {
        let stdout = Content::of(output.as_bytes());
        let manifest = Manifest::new(0, Vec::new(), stdout);
        self.client.put_bytes(output.as_bytes().to_vec()).await?;
        self.client.put_bytes(manifest.to_bytes()).await?;
        Ok((manifest.digest(), stdout))
    }

    /// A report of the entry of `list` at `index`.
    pub(crate) fn report(
        &self,
        terms: &DealTerms,
        index: u32,
        list: &[(u32, ResultDigest)],
        stdout: Option<Content>,
    ) -> eyre::Result<Report> {
        let all = SingleList::new(terms, list.to_vec())?;
        let (_, digest) = list.iter().find(|(at, _)| *at == index).wrap_err("in the list")?;
        Ok(Report {
            deal: terms.id().get(),
            index,
            digest: digest.get(),
            manifest: None,
            entries: all.encode().into(),
            signature: self.key.sign(&self.market, &all.statement(terms.id())),
            stdout,
            stderr: None,
            sealed: None,
            wall_ms: 12,
            failure: digest.is_failure().then(|| "as the script says".to_owned()),
        })
    }

    /// Takes one assignment, and does it.
    pub(crate) async fn work(&mut self, terms: &DealTerms, output: &str) -> eyre::Result<(TaskId, ResultDigest)> {
        let assign = self.assignment().await?;
        ensure!(DealTerms::from(assign.terms.clone()) == *terms, "another deal");
        let (digest, stdout) = self.upload(output).await?;
        let report = self.report(terms, assign.index, &[(assign.index, digest)], Some(stdout))?;
        self.say(&ToScheduler::Report(Box::new(report))).await?;
        Ok((terms.id().task(assign.index), digest))
    }
}

impl ScriptedWorker {
    /// Closes the connection; whatever was said before is heard.
    pub(crate) async fn leave(mut self) -> eyre::Result<()> {
        self.socket.close(None).await?;
        while self.socket.next().await.is_some_and(|said| said.is_ok()) {}
        Ok(())
    }

    /// Says what no worker says.
    pub(crate) async fn nonsense(&mut self) -> eyre::Result<()> {
        Ok(self.socket.send(Message::text("{\"type\":\"sing\"}")).await?)
    }
}

/// Blocks that stay, and that blocks may come by while a reorg is asked for.
const BETWEEN: u64 = 6;

/// Puts blocks between what stays and what goes.
pub(crate) async fn stay(market: &Market) -> eyre::Result<()> {
    for _ in 0..BETWEEN {
        market.pass(0).await?;
    }
    Ok(())
}

/// Takes back all blocks from `block` on, and some before it: the chain grows while it is asked.
pub(crate) async fn take_back(market: &Market, block: u64) -> eyre::Result<()> {
    let head = market.rpc.head().await?.block.number.get();
    let depth = head.checked_sub(block).wrap_err("a block of the chain")? + BETWEEN / 2;
    market.rpc.provider().anvil_reorg(ReorgOptions { depth, tx_block_pairs: vec![] }).await?;
    Ok(())
}
