//! The real contracts: deployed, called, read and followed in the protocol's types.

use crate::support::open;
use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::ext::AnvilApi as _,
};
use berth_chain::{
    BlockNumber, Class, Deployment, Rpc,
    anvil::{Anvil, AnvilConfig},
    call::{self, Signatures, WorkerResults},
    convert,
    deploy::{DeployConfig, DeployError, contract_set_salt, deploy},
    follow::{Block, FollowConfig, Follower, Sink, SinkError},
    identity::IdentityError,
    outbox::{Intent, Key, Mined, OutboxError, SenderConfig, send_all},
    read::Reader,
    refusal::Revert,
    signer::{Secret, Signer},
    tool::tool_path,
};
use berth_protocol::{
    AccountAddr, Amount, AssetId, AssetKind, DealTerms, ResultDigest, Timestamp, WorkerAddr,
    domain::Enlistment,
    ledger::{Account, Bounds, Event, Orders, Refusal},
    order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder, UNLIMITED},
    single::SingleList,
};
use core::time::Duration;
use sqlx::SqliteConnection;
use std::sync::{Arc, Mutex};

/// A local chain with the contracts, and one person who is everybody: owner, operator, requester.
pub(crate) struct Market {
    _anvil: Anvil,
    rpc: Rpc,
    pub(crate) own: Signer,
    worker: Signer,
    pub(crate) deployment: Deployment,
    config: SenderConfig,
    pub(crate) reader: Reader,
}

/// The key of that name, in hexadecimals: other programs sign with it, too.
pub(crate) fn key(name: &str) -> String {
    keccak256(name).to_string()
}

pub(crate) fn signer(name: &str) -> Signer {
    Signer::from_hex(&Secret::new(key(name))).expect("a hash below the curve's order, as nearly all are")
}

fn bounds() -> Bounds {
    Bounds::new(10, 3_600, 86_400).expect("good bounds")
}

impl Market {
    pub(crate) async fn open() -> eyre::Result<Self> {
        let config = AnvilConfig::new(tool_path("anvil")?);
        let anvil = Anvil::start(&config)?;
        let rpc = Rpc::new(anvil.endpoint()?)?;
        let own = signer("own");
        rpc.provider().anvil_set_balance(own.address(), U256::from(10).pow(U256::from(20))).await?;
        let config = SenderConfig { poll: Duration::from_millis(20), ..SenderConfig::new(config.chain_id) };
        let plan = DeployConfig { token: None, bounds: bounds(), salt: contract_set_salt(), sender: config.clone() };
        let deployment = deploy(&rpc, &own, &plan).await?.deployment;
        let reader = Reader::new(rpc.clone(), deployment);
        Ok(Self { _anvil: anvil, rpc, own, worker: signer("worker"), deployment, config, reader })
    }

    pub(crate) async fn send(&self, calls: Vec<(Address, Bytes)>) -> Result<Vec<Mined>, OutboxError> {
        let intents: Vec<Intent> = calls
            .into_iter()
            .enumerate()
            .map(|(i, (to, data))| Intent::call(Key::new(format!("{i}")), self.own.address(), to, data, ""))
            .collect();
        send_all(&self.rpc, &self.own, &self.config, &intents).await
    }

    fn asset(&self, kind: AssetKind) -> AssetId {
        AssetId::derive(kind, self.own.address(), format!("{{\"kind\":{}}}", kind as u8).as_bytes())
    }

    /// Money in, an app and a pool registered, the worker bonded.
    pub(crate) async fn furnish(&self) -> eyre::Result<()> {
        let Deployment { token, assets, berth, .. } = self.deployment;
        let register = |kind: AssetKind| (assets, call::register(kind, format!("{{\"kind\":{}}}", kind as u8)));
        let pool = self.asset(AssetKind::Pool);
        let enlistment = Enlistment { pool: pool.get(), owner: self.own.address() };
        let enlistment = self.worker.sign(&self.deployment.domain(), &enlistment);
        self.send(vec![
            (token, call::mint(self.own.address(), Amount::new(5_000))),
            (token, call::approve(berth, Amount::new(1_000))),
            (berth, call::deposit(Amount::new(1_000))),
            register(AssetKind::App),
            register(AssetKind::Pool),
            (berth, call::bond(pool, self.worker_addr(), Amount::new(50), enlistment)),
        ])
        .await?;
        Ok(())
    }

    pub(crate) fn worker_addr(&self) -> WorkerAddr {
        WorkerAddr::new(self.worker.address())
    }

    pub(crate) fn orders(&self) -> Orders {
        let (app, pool) = (self.asset(AssetKind::App).get(), self.asset(AssetKind::Pool).get());
        let own = self.own.address();
        let any = B256::ZERO;
        let common = (UNLIMITED, B256::ZERO, u64::MAX, 0_u64, keccak256("salt"));
        Orders {
            app: AppOrder {
                app,
                price: 1,
                volume: common.0,
                tag: common.1,
                datasetRule: any,
                poolRule: any,
                requesterRule: any,
                expiry: common.2,
                epoch: common.3,
                salt: common.4,
            },
            dataset: DatasetOrder {
                dataset: B256::ZERO,
                price: 0,
                volume: 0,
                tag: B256::ZERO,
                appRule: any,
                poolRule: any,
                requesterRule: any,
                expiry: 0,
                epoch: 0,
                salt: B256::ZERO,
            },
            pool: PoolOrder {
                pool,
                price: 10,
                volume: common.0,
                tag: common.1,
                operator: own,
                parallel: 2,
                workerStake: 20,
                poolStake: 5,
                operatorShareBps: 1_000,
                minDuration: 10,
                maxDuration: 600,
                maxTrust: 0,
                appRule: any,
                datasetRule: any,
                requesterRule: any,
                expiry: common.2,
                epoch: common.3,
                salt: common.4,
            },
            request: RequestOrder {
                app,
                appMaxPrice: 1,
                dataset: B256::ZERO,
                datasetMaxPrice: 0,
                poolRule: pool,
                poolMaxPrice: 10,
                requester: own,
                payer: own,
                beneficiary: own,
                callback: Address::ZERO,
                jobHash: keccak256("job"),
                volume: 3,
                tag: common.1,
                duration: 60,
                trust: 0,
                expiry: common.2,
                epoch: common.3,
                salt: common.4,
            },
        }
    }

    fn signatures(&self, orders: &Orders) -> Signatures {
        let domain = self.deployment.domain();
        Signatures {
            app: self.own.sign(&domain, &orders.app),
            dataset: Bytes::new(),
            pool: self.own.sign(&domain, &orders.pool),
            request: self.own.sign(&domain, &orders.request),
        }
    }
}

/// Keeps events in memory: what is written to a database is tested elsewhere.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<Event>>>);

impl Sink<Event> for Ears {
    async fn apply(&mut self, _: &mut SqliteConnection, blocks: &[Block<Event>]) -> Result<(), SinkError> {
        let events = blocks.iter().flat_map(|block| &block.events).map(|event| event.body.clone());
        self.0.lock().map_err(|error| error.to_string())?.extend(events);
        Ok(())
    }

    async fn unwind(&mut self, _: &mut SqliteConnection, _: BlockNumber) -> Result<(), SinkError> {
        Err("nothing leaves this chain".into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_from_deposit_to_settlement_is_told_in_the_protocols_types() -> eyre::Result<()> {
    let market = Market::open().await?;
    market.furnish().await?;
    let own = AccountAddr::new(market.own.address());
    let token = market.reader.token().await?;
    assert_eq!((token.symbol.as_str(), token.decimals), ("LOCAL", 18));
    assert_eq!(market.reader.token_balance(own.get()).await?, Amount::new(4_000));
    assert_eq!(market.reader.account(own).await?, Account { free: Amount::new(950), locked: Amount::ZERO });
    assert_eq!(market.reader.owner_of(market.asset(AssetKind::App)).await?, Some(own));
    assert_eq!(market.reader.owner_of(market.asset(AssetKind::Dataset)).await?, None);
    assert_eq!(market.reader.bounds().await?, bounds());
    let bond = market.reader.bond(market.asset(AssetKind::Pool), market.worker_addr()).await?;
    assert_eq!(bond.map(|bond| (bond.owner, bond.bonded)), Some((own, Amount::new(50))));

    let orders = market.orders();
    let berth = market.deployment.berth;
    market.send(vec![(berth, call::match_orders(&orders, &market.signatures(&orders)))]).await?;
    let terms = listen(&market)
        .await?
        .into_iter()
        .find_map(|event| if let Event::DealMatched { terms, .. } = event { Some(*terms) } else { None });
    let terms: DealTerms = terms.ok_or_else(|| eyre::eyre!("no deal"))?;
    assert_eq!((terms.size, terms.poolPrice, terms.operator), (3, 10, own.get()));
    let deal = terms.id();
    assert_eq!(market.reader.deal(deal).await?.map(|state| state.open), Some(3));
    assert!(market.reader.covers(&terms, market.worker_addr()).await?);
    let account = market.reader.account(own).await?;
    assert_eq!(account.locked, Amount::new(3 * (11 + 5)));

    let digest = ResultDigest::new(keccak256("result")).ok_or_else(|| eyre::eyre!("a digest"))?;
    let list = SingleList::new(&terms, vec![(0, digest), (2, digest)])?;
    let results = WorkerResults {
        worker: market.worker_addr(),
        entries: list.encode().into(),
        signature: market.worker.sign(&market.deployment.domain(), &list.statement(deal)),
        assignments: Bytes::new(),
    };
    market
        .send(vec![
            (berth, call::settle_singles(&terms, &[results])),
            (berth, call::decline(&terms, vec![1])),
            (berth, call::raise_epoch(7)),
            (berth, call::unbond(market.asset(AssetKind::Pool), market.worker_addr(), Amount::new(10))),
            (berth, call::withdraw(own.get(), Amount::new(100))),
            (market.deployment.assets, call::give(market.asset(AssetKind::App), own, AccountAddr::new(berth))),
        ])
        .await?;
    let events = listen(&market).await?;
    let settled = events.iter().find_map(|event| {
        if let Event::SinglesSettled { entries, .. } = event { Some(convert::entries(entries)) } else { None }
    });
    assert_eq!(settled.transpose()?, Some(vec![(0, digest), (2, digest)]));
    assert!(events.contains(&Event::TasksDeclined { deal, indexes: vec![1], stake_returned: true }));
    assert!(events.contains(&Event::AssetGiven {
        asset: market.asset(AssetKind::App),
        from: own,
        to: AccountAddr::new(berth)
    }));
    assert_eq!(market.reader.epoch_of(own).await?, 7);
    assert_eq!(market.reader.deal(deal).await?.map(|state| state.open), Some(0));
    assert!(market.reader.has_ended(deal, 1).await?);
    Ok(())
}

/// All events up to now, by a follower of its own.
pub(crate) async fn listen(market: &Market) -> eyre::Result<Vec<Event>> {
    let folder = tempfile::tempdir()?;
    let pool = open(&folder.path().join("x.db")).await?;
    let config = FollowConfig::new(market.deployment.subject(), market.deployment.emitters());
    let ears = Ears::default();
    let mut follower = Follower::open(market.rpc.clone(), pool, config, convert::event, ears.clone()).await?;
    let head = market.rpc.head().await?.block.number;
    while follower.watch().tip.borrow().number < head {
        follower.step().await?;
    }
    let events = ears.0.lock().map_err(|error| eyre::eyre!("{error}"))?.clone();
    Ok(events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_come_typed_with_what_is_missing() -> eyre::Result<()> {
    let market = Market::open().await?;
    let own = market.own.address();
    let Deployment { token, berth, .. } = market.deployment;
    let refused = market.send(vec![(berth, call::withdraw(own, Amount::new(7)))]).await;
    let Err(OutboxError::Reverted { revert, .. }) = &refused else { eyre::bail!("{refused:?}") };
    let free_too_small =
        Refusal::FreeTooSmall { account: AccountAddr::new(own), free: U256::ZERO, needed: U256::from(7) };
    assert_eq!(Revert::decode(revert), Revert::Contract(free_too_small));
    let error = refused.expect_err("just seen");
    assert_eq!(error.hint().as_deref(), Some("deposit 7 base units more: `berth account deposit`"));
    assert_eq!(error.class(), Class::Retry);

    market.send(vec![(token, call::approve(berth, Amount::new(9)))]).await?;
    let refused = market.send(vec![(berth, call::deposit(Amount::new(9)))]).await;
    let Err(OutboxError::Reverted { revert, .. }) = refused else { eyre::bail!("{refused:?}") };
    let nothing = Revert::TokenBalance { account: own, has: U256::ZERO, needed: U256::from(9) };
    assert_eq!(Revert::decode(&revert), nothing);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_spares_the_approval() -> eyre::Result<()> {
    let market = Market::open().await?;
    let Deployment { token, berth, .. } = market.deployment;
    let own = market.own.address();
    market.send(vec![(token, call::mint(own, Amount::new(30)))]).await?;
    let deadline = Timestamp::new(u64::MAX);
    let digest = market.reader.permit_digest(own, Amount::new(30), deadline).await?;
    let deposit = call::deposit_with_permit(Amount::new(30), deadline, &market.own.sign_digest(digest));
    market.send(vec![(berth, deposit.ok_or_else(|| eyre::eyre!("65 bytes"))?)]).await?;
    assert_eq!(market.reader.account(AccountAddr::new(own)).await?.free, Amount::new(30));
    assert_eq!(market.reader.allowance(own).await?, Amount::ZERO);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_is_not_there_is_told_from_one_on_another_chain() -> eyre::Result<()> {
    let market = Market::open().await?;
    let folder = tempfile::tempdir()?;
    let file = Deployment::file(&folder.path().join("deployments"), market.deployment.chain_id);
    assert!(matches!(Deployment::load(&file), Err(DeployError::File { .. })));
    market.deployment.save(&file)?;
    let loaded = Deployment::load(&file)?;
    assert_eq!(loaded, market.deployment);
    loaded.check(&market.rpc).await?;

    let elsewhere = Deployment { chain_id: 1, ..loaded };
    let error = elsewhere.check(&market.rpc).await;
    let wrong = matches!(error, Err(DeployError::Chain(IdentityError::WrongChain { expected: 1, found: 31_337, .. })));
    assert!(wrong, "{error:?}");
    let absent = Deployment { recourse: Address::repeat_byte(9), ..loaded };
    let error = absent.check(&market.rpc).await;
    assert!(matches!(error, Err(DeployError::Absent { name: "Recourse", .. })), "{error:?}");
    let mixed = Deployment { token: loaded.assets, ..loaded };
    let error = mixed.check(&market.rpc).await;
    assert!(matches!(error, Err(DeployError::Mixed { name: "the token", .. })), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_token_is_not_deployed_to_other_chains() -> eyre::Result<()> {
    let config = AnvilConfig { chain_id: 424_242, ..AnvilConfig::new(tool_path("anvil")?) };
    let anvil = Anvil::start(&config)?;
    let rpc = Rpc::new(anvil.endpoint()?)?;
    let own = Signer::random();
    rpc.provider().anvil_set_balance(own.address(), U256::from(10).pow(U256::from(20))).await?;
    let plan = DeployConfig {
        token: None,
        bounds: bounds(),
        salt: contract_set_salt(),
        sender: SenderConfig::new(config.chain_id),
    };
    let refused = deploy(&rpc, &own, &plan).await;
    let Err(DeployError::Send(OutboxError::Reverted { revert, .. })) = refused else { eyre::bail!("{refused:?}") };
    assert_eq!(Revert::decode(&revert), Revert::NotLocal { chain_id: U256::from(424_242) });
    Ok(())
}
