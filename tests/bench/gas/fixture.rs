//! A deployment in use: every account that a call touches has money, the payer and the pool's owner have another deal
//! open, workers are bonded and of ten owners, and no two parties are the same. Keys, salts and digests are derived from
//! names, so that figures are the same each time.

use super::{Caller, node::Node};
use alloy::{
    network::TransactionBuilder as _,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider as _,
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::{SignerSync as _, local::PrivateKeySigner},
    sol_types::{SolCall, SolConstructor as _, SolEvent as _, SolStruct, SolValue},
};
use berth_chain::{
    bindings::{
        assets::Assets,
        berth::IBerth::{self, Consent, Orders, Signatures, WorkerResults},
        token::PermitToken,
    },
    call,
    read::Permit,
};
use berth_protocol::{
    Amount, AssetId, AssetKind, DealTerms, ResultDigest, Timestamp,
    domain::{Domain, Enlistment},
    order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder, Sponsorship, UNLIMITED},
    single::SingleList,
};
use berth_tests::{
    books::{Books, Ending},
    chain::Chain,
};
use eyre::{OptionExt as _, ensure};

/// What only a deployment needs.
mod code {
    pub(super) mod berth {
        alloy::sol!(Berth, "../contracts/abi/Berth.json");
    }
    pub(super) mod recourse {
        alloy::sol!(Recourse, "../contracts/abi/Recourse.json");
    }
}

/// Workers, and tasks at a time.
pub(crate) const PARALLEL: u32 = 10;

const MIN_DURATION: u32 = 10;
const MAX_DURATION: u32 = 86_400;
const MAX_SPAN: u64 = 2_592_000;

const APP_PRICE: u128 = 1_003_000_000_000_000;
const DATASET_PRICE: u128 = 507_000_000_000_000;
const POOL_PRICE: u128 = 100_019_000_000_000_000;
const POOL_STAKE: u128 = 30_011_000_000_000_000;
const WORKER_STAKE: u128 = 50_021_000_000_000_000;
const SHARE_BPS: u16 = 1_111;
const DURATION: u32 = 100;
/// Three workers without a score that agree are enough.
const TRUST: u32 = 5;
const WEALTH: u128 = 1_000_000_000_000_000_000_000_000;

/// The volumes of app, dataset and pool order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volumes {
    /// Counted by the contract: a fresh order costs a new word.
    Limited,
    /// Not counted.
    Unlimited,
}

/// A deal, and what its match cost.
#[derive(Debug)]
pub(crate) struct Matched {
    pub(crate) terms: DealTerms,
    pub(crate) gas: u64,
}

#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) node: Node,
    pub(crate) assets: Address,
    pub(crate) berth: Address,
    token: Address,
    app_owner: PrivateKeySigner,
    dataset_owner: PrivateKeySigner,
    pool_owner: PrivateKeySigner,
    pub(crate) operator: PrivateKeySigner,
    pub(crate) requester: PrivateKeySigner,
    sponsor: PrivateKeySigner,
    pub(crate) stranger: PrivateKeySigner,
    pub(crate) workers: Vec<PrivateKeySigner>,
    pub(crate) owners: Vec<PrivateKeySigner>,
    app: AssetId,
    dataset: AssetId,
    pool: AssetId,
}

/// 32 bytes without pattern, the same for the same name.
pub(crate) fn random(name: &str) -> B256 {
    keccak256(name)
}

fn key(name: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&random(name)).expect("a hash below the curve's order, as nearly all are")
}

/// The same struct in another crate's words: equal fields in equal order have equal bytes.
pub(crate) fn same<A: SolValue, B: SolValue + From<<B::SolType as alloy::sol_types::SolType>::RustType>>(
    value: &A,
) -> eyre::Result<B> {
    Ok(B::abi_decode(&value.abi_encode())?)
}

impl Fixture {
    pub(crate) async fn build() -> eyre::Result<Self> {
        let node = Node::start().await?;
        let deployer = key("deployer").address();
        node.endow(deployer).await?;
        let token = node.deploy(deployer, PermitToken::BYTECODE.clone()).await?;
        let assets = node.deploy(deployer, Assets::BYTECODE.clone()).await?;
        let recourse = node.deploy(deployer, recourse_code(assets)).await?;
        let berth = node.deploy(deployer, berth_code(token, assets, recourse)).await?;

        let names = |what: &str| (1..=PARALLEL).map(|n| key(&format!("{what} {n}"))).collect::<Vec<_>>();
        let (app_owner, dataset_owner, pool_owner) = (key("app owner"), key("dataset owner"), key("pool owner"));
        let fixture = Self {
            app: AssetId::derive(AssetKind::App, app_owner.address(), b"{\"name\":\"app\"}"),
            dataset: AssetId::derive(AssetKind::Dataset, dataset_owner.address(), b"{\"name\":\"dataset\"}"),
            pool: AssetId::derive(AssetKind::Pool, pool_owner.address(), b"{\"name\":\"pool\"}"),
            operator: key("operator"),
            requester: key("requester"),
            sponsor: key("sponsor"),
            stranger: key("stranger"),
            workers: names("worker"),
            owners: names("worker owner"),
            node,
            assets,
            berth,
            token,
            app_owner,
            dataset_owner,
            pool_owner,
        };
        fixture.populate().await?;
        Ok(fixture)
    }

    async fn populate(&self) -> eyre::Result<()> {
        let rich = [&self.app_owner, &self.dataset_owner, &self.pool_owner, &self.requester, &self.sponsor];
        for holder in rich.into_iter().chain(&self.owners) {
            self.fund(holder).await?;
        }
        for caller in [&self.operator, &self.stranger] {
            self.node.endow(caller.address()).await?;
        }
        for (kind, owner, descriptor) in [
            (AssetKind::App, &self.app_owner, "{\"name\":\"app\"}"),
            (AssetKind::Dataset, &self.dataset_owner, "{\"name\":\"dataset\"}"),
            (AssetKind::Pool, &self.pool_owner, "{\"name\":\"pool\"}"),
        ] {
            let call = Assets::registerCall { kind: kind as u8, descriptor: descriptor.into() };
            self.call(owner, self.assets, &call).await?;
        }
        for (worker, owner) in self.workers.iter().zip(&self.owners) {
            self.bond(worker, owner).await?;
        }
        // Left open to the end, so that the payer and the pool's owner always have something locked.
        self.matched("another deal", 7, true, Volumes::Limited).await?;
        Ok(())
    }

    async fn fund(&self, holder: &PrivateKeySigner) -> eyre::Result<()> {
        self.node.endow(holder.address()).await?;
        let (to, amount) = (holder.address(), U256::from(WEALTH));
        self.call(holder, self.token, &PermitToken::mintCall { to, amount: amount * U256::from(2) }).await?;
        self.call(holder, self.token, &PermitToken::approveCall { spender: self.berth, value: U256::MAX }).await?;
        self.call(holder, self.berth, &IBerth::depositCall { amount }).await?;
        Ok(())
    }

    /// A key of that name.
    pub(crate) fn party(&self, name: &str) -> PrivateKeySigner {
        key(name)
    }

    pub(crate) async fn call<C: SolCall>(
        &self,
        from: &impl Caller,
        to: Address,
        call: &C,
    ) -> eyre::Result<TransactionReceipt> {
        self.node.send(from.address(), Some(to), call.abi_encode().into()).await
    }

    /// The operator calls the contract; gives the gas.
    pub(crate) async fn operate(&self, input: Bytes) -> eyre::Result<u64> {
        Ok(self.node.send(self.operator.address(), Some(self.berth), input).await?.gas_used)
    }

    /// The owner bonds enough for one deal; gives the gas.
    pub(crate) async fn bond(&self, worker: &PrivateKeySigner, owner: &PrivateKeySigner) -> eyre::Result<u64> {
        let statement = Enlistment { pool: self.pool.get(), owner: owner.address() };
        let call = IBerth::bondCall {
            pool: self.pool.get(),
            worker: worker.address(),
            amount: 4 * WORKER_STAKE,
            enlistment: self.sign(worker, &statement)?,
        };
        Ok(self.call(owner, self.berth, &call).await?.gas_used)
    }

    fn domain(&self) -> Domain {
        Domain { chain_id: 31_337, berth: self.berth }
    }

    pub(crate) fn sign<M: SolStruct>(&self, signer: &PrivateKeySigner, message: &M) -> eyre::Result<Bytes> {
        Ok(signer.sign_hash_sync(&self.domain().digest(message))?.as_bytes().into())
    }

    /// The requester signs fresh orders of `size` tasks, everybody else theirs, and the requester matches them.
    pub(crate) async fn matched(
        &self,
        name: &str,
        size: u32,
        dataset: bool,
        volumes: Volumes,
    ) -> eyre::Result<Matched> {
        let volume = if volumes == Volumes::Limited { 1_000 } else { UNLIMITED };
        let (app, pool) = (self.app_order(name, volume), self.pool_order(name, volume));
        let dataset = if dataset { self.dataset_order(name, volume) } else { no_dataset() };
        let request = self.request_order(name, size, dataset.dataset);
        self.meet(app, dataset, pool, request).await
    }

    /// A fresh request meets the limited orders of `offers`, of which something is used up already.
    pub(crate) async fn matched_again(
        &self,
        offers: &str,
        name: &str,
        size: u32,
        dataset: bool,
    ) -> eyre::Result<Matched> {
        let dataset = if dataset { self.dataset_order(offers, 1_000) } else { no_dataset() };
        let request = self.request_order(name, size, dataset.dataset);
        self.meet(self.app_order(offers, 1_000), dataset, self.pool_order(offers, 1_000), request).await
    }

    /// Fresh limited orders without a dataset, at the cost of a sponsor that has agreed to it; a stranger sends them.
    pub(crate) async fn sponsored(&self, name: &str, size: u32) -> eyre::Result<Matched> {
        let (app, pool) = (self.app_order(name, 1_000), self.pool_order(name, 1_000));
        let payer = self.sponsor.address();
        let request = RequestOrder { payer, ..self.request_order(name, size, B256::ZERO) };
        let (domain, expiry) = (self.domain(), u64::MAX);
        let (request_, pool_) = (domain.digest(&request), domain.digest(&pool));
        let sponsorship = Sponsorship { request: request_, poolOrder: pool_, volume: size, expiry };
        let consent = Consent { volume: size, expiry, signature: self.sign(&self.sponsor, &sponsorship)? };
        let (orders, signatures) = self.signed(&app, &no_dataset(), &pool, &request)?;
        let call = IBerth::matchSponsoredCall { orders, signatures, consent };
        made(&self.call(&self.stranger, self.berth, &call).await?, size)
    }

    /// A deal of replicated tasks, with a dataset, of limited orders.
    pub(crate) async fn replicated(&self, name: &str, size: u32) -> eyre::Result<DealTerms> {
        let dataset = self.dataset_order(name, 1_000);
        let pool = PoolOrder { maxTrust: TRUST, ..self.pool_order(name, 1_000) };
        let request = RequestOrder { trust: TRUST, ..self.request_order(name, size, dataset.dataset) };
        Ok(self.meet(self.app_order(name, 1_000), dataset, pool, request).await?.terms)
    }

    /// A deal of one task, without dataset, of limited orders, whose result this contract wants.
    pub(crate) async fn called(&self, name: &str, callback: Address) -> eyre::Result<DealTerms> {
        let request = RequestOrder { callback, ..self.request_order(name, 1, B256::ZERO) };
        let (app, pool) = (self.app_order(name, 1_000), self.pool_order(name, 1_000));
        Ok(self.meet(app, no_dataset(), pool, request).await?.terms)
    }

    async fn meet(
        &self,
        app: AppOrder,
        dataset: DatasetOrder,
        pool: PoolOrder,
        request: RequestOrder,
    ) -> eyre::Result<Matched> {
        let (orders, signatures) = self.signed(&app, &dataset, &pool, &request)?;
        let call = IBerth::matchOrdersCall { orders, signatures };
        made(&self.call(&self.requester, self.berth, &call).await?, request.volume)
    }

    /// The orders, signed by those whose they are.
    fn signed(
        &self,
        app: &AppOrder,
        dataset: &DatasetOrder,
        pool: &PoolOrder,
        request: &RequestOrder,
    ) -> eyre::Result<(Orders, Signatures)> {
        let signatures = Signatures {
            app: self.sign(&self.app_owner, app)?,
            dataset: if dataset.dataset.is_zero() { Bytes::new() } else { self.sign(&self.dataset_owner, dataset)? },
            pool: self.sign(&self.pool_owner, pool)?,
            request: self.sign(&self.requester, request)?,
        };
        let orders = Orders { app: same(app)?, dataset: same(dataset)?, pool: same(pool)?, request: same(request)? };
        Ok((orders, signatures))
    }

    /// A worker's list of results for these tasks.
    pub(crate) fn list(
        &self,
        worker: &PrivateKeySigner,
        terms: &DealTerms,
        indexes: impl Iterator<Item = u32>,
    ) -> eyre::Result<WorkerResults> {
        let digest = |index| ResultDigest::new(random(&format!("result {index}"))).expect("not zero");
        let list = SingleList::new(terms, indexes.map(|index| (index, digest(index))).collect())?;
        Ok(WorkerResults {
            worker: worker.address(),
            entries: list.encode().into(),
            signature: self.sign(worker, &list.statement(terms.id()))?,
            assignments: Bytes::new(),
        })
    }

    /// The requester deposits by a permit that it signs; gives the gas.
    pub(crate) async fn deposit_by_permit(&self, amount: u64) -> eyre::Result<u64> {
        let (owner, value) = (self.requester.address(), U256::from(amount));
        let ask = TransactionRequest::default().to(self.token);
        let nonce = ask.clone().with_input(PermitToken::noncesCall { owner }.abi_encode());
        let nonce = U256::from_be_slice(&self.node.rpc.provider().call(nonce).await?);
        let separator = ask.with_input(PermitToken::DOMAIN_SEPARATORCall {}.abi_encode());
        let separator = self.node.rpc.provider().call(separator).await?;
        let permit = Permit { owner, spender: self.berth, value, nonce, deadline: U256::from(u64::MAX) };
        let digest = keccak256([&[0x19, 0x01], separator.as_ref(), permit.eip712_hash_struct().as_slice()].concat());
        let signature = self.requester.sign_hash_sync(&digest)?.as_bytes();
        let amount = Amount::new(u128::from(amount));
        let call = call::deposit_with_permit(amount, Timestamp::new(u64::MAX), &signature).ok_or_eyre("65 bytes")?;
        Ok(self.node.send(owner, Some(self.berth), call).await?.gas_used)
    }

    /// Checks that so many tasks were settled, agreed on, declined and claimed, and that all money is where the rules say.
    pub(crate) async fn audit(&self, wanted: (usize, usize, usize, usize)) -> eyre::Result<Books> {
        let chain = Chain { rpc: self.node.rpc.clone(), berth: self.berth, token: self.token };
        let books = Books::audited(&chain).await?;
        let count = |wanted: fn(&Ending) -> bool| {
            books.deals.values().flat_map(|deal| deal.endings.values()).filter(|(ending, _)| wanted(ending)).count()
        };
        let settled = count(|ending| matches!(ending, Ending::Settled { .. }));
        let agreed = count(|ending| matches!(ending, Ending::Agreed { .. }));
        let (declined, claimed) = (count(|e| *e == Ending::Declined), count(|e| *e == Ending::Claimed));
        ensure!(
            (settled, agreed, declined, claimed) == wanted,
            "settled {settled}, agreed {agreed}, declined {declined}, claimed {claimed}"
        );
        Ok(books)
    }

    fn app_order(&self, name: &str, volume: u32) -> AppOrder {
        AppOrder {
            app: self.app.get(),
            price: APP_PRICE,
            volume,
            tag: B256::ZERO,
            datasetRule: B256::ZERO,
            poolRule: B256::ZERO,
            requesterRule: B256::ZERO,
            expiry: u64::MAX,
            epoch: 0,
            salt: random(&format!("{name}: app order")),
        }
    }

    fn dataset_order(&self, name: &str, volume: u32) -> DatasetOrder {
        DatasetOrder {
            dataset: self.dataset.get(),
            price: DATASET_PRICE,
            volume,
            expiry: u64::MAX,
            salt: random(&format!("{name}: dataset order")),
            ..no_dataset()
        }
    }

    fn pool_order(&self, name: &str, volume: u32) -> PoolOrder {
        PoolOrder {
            pool: self.pool.get(),
            price: POOL_PRICE,
            volume,
            tag: B256::ZERO,
            operator: self.operator.address(),
            parallel: PARALLEL,
            workerStake: WORKER_STAKE,
            poolStake: POOL_STAKE,
            operatorShareBps: SHARE_BPS,
            minDuration: MIN_DURATION,
            maxDuration: MAX_DURATION,
            maxTrust: 1,
            appRule: B256::ZERO,
            datasetRule: B256::ZERO,
            requesterRule: B256::ZERO,
            expiry: u64::MAX,
            epoch: 0,
            salt: random(&format!("{name}: pool order")),
        }
    }

    fn request_order(&self, name: &str, volume: u32, dataset: B256) -> RequestOrder {
        let requester = self.requester.address();
        RequestOrder {
            app: self.app.get(),
            appMaxPrice: APP_PRICE,
            dataset,
            datasetMaxPrice: DATASET_PRICE,
            poolRule: self.pool.get(),
            poolMaxPrice: POOL_PRICE,
            requester,
            payer: requester,
            beneficiary: requester,
            callback: Address::ZERO,
            jobHash: random(&format!("{name}: job")),
            volume,
            tag: B256::ZERO,
            duration: DURATION,
            trust: 1,
            expiry: u64::MAX,
            epoch: 0,
            salt: random(&format!("{name}: request order")),
        }
    }
}

/// The deal of a match's log, and its gas.
fn made(receipt: &TransactionReceipt, size: u32) -> eyre::Result<Matched> {
    let mut logs = receipt.logs().iter();
    let event = logs.find_map(|log| IBerth::DealMatched::decode_log(&log.inner).ok()).ok_or_eyre("no deal")?;
    let terms: DealTerms = same(&event.terms)?;
    ensure!(terms.id().get() == event.deal && terms.size == size, "the deal is not the one that was meant");
    Ok(Matched { terms, gas: receipt.gas_used })
}

fn no_dataset() -> DatasetOrder {
    DatasetOrder {
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
    }
}

fn recourse_code(assets: Address) -> Bytes {
    use code::recourse::Recourse;
    let arguments = Recourse::constructorCall {
        assets_: assets,
        minDuration: MIN_DURATION,
        maxDuration: MAX_DURATION,
        maxSpan: MAX_SPAN,
    };
    [Recourse::BYTECODE.to_vec(), arguments.abi_encode()].concat().into()
}

fn berth_code(token: Address, assets: Address, recourse: Address) -> Bytes {
    use code::berth::Berth;
    let arguments = Berth::constructorCall {
        token_: token,
        assets_: assets,
        recourse_: recourse,
        minDuration: MIN_DURATION,
        maxDuration: MAX_DURATION,
        maxSpan: MAX_SPAN,
    };
    [Berth::BYTECODE.to_vec(), arguments.abi_encode()].concat().into()
}
