//! A match that another pays for, from desk to desk: the requester's `berth run --payer` writes the request, the payer's
//! `berth account sponsor` a consent, and `berth task match` makes the deal of both.

use super::run::{detached, made, request::no_dataset};
use crate::{
    args::TaskMatch,
    chain::{Call, Chain},
    exit::Exit,
    hint::Failure,
    keys,
    render::{Progress, Report, fields, time},
    settings::Settings,
};
use alloy::primitives::{Address, B256, Bytes};
use berth_chain::call::{self, Consent, Signatures};
use berth_protocol::{Amount, OrderHash, Timestamp, domain::Domain, ledger::Orders, order::Order as _};
use berth_wire::order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{fs, io::Write as _, path::Path};

/// An order with its signature.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed<O> {
    order: O,
    signature: Bytes,
}

/// A request that names another payer, with the offers that it takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestFile {
    chain_id: u64,
    berth: Address,
    app: Signed<AppOrder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset: Option<Signed<DatasetOrder>>,
    pool: Signed<PoolOrder>,
    request: Signed<RequestOrder>,
}

impl RequestFile {
    fn new(domain: &Domain, orders: &Orders, signatures: &Signatures) -> Self {
        Self {
            chain_id: domain.chain_id,
            berth: domain.berth,
            app: Signed { order: orders.app.clone().into(), signature: signatures.app.clone() },
            dataset: (!orders.dataset.dataset.is_zero())
                .then(|| Signed { order: orders.dataset.clone().into(), signature: signatures.dataset.clone() }),
            pool: Signed { order: orders.pool.clone().into(), signature: signatures.pool.clone() },
            request: Signed { order: orders.request.clone().into(), signature: signatures.request.clone() },
        }
    }

    /// Reads one of this market.
    pub(super) fn read(path: &Path, chain: &Chain) -> Result<Self, Failure> {
        let file: Self = read(path, "a request", "`berth run --payer ACCOUNT --request FILE` writes one")?;
        let domain = chain.domain();
        if (file.chain_id, file.berth) == (domain.chain_id, domain.berth) {
            return Ok(file);
        }
        let message = format!("{} is for contract {} on chain {}", path.display(), file.berth, file.chain_id);
        Err(Failure::preflight("wrong-market", message)
            .hint(format!("this is about {} on chain {}: --deployment FILE", domain.berth, domain.chain_id)))
    }

    fn parts(&self) -> (Orders, Signatures) {
        let (app, pool) = (self.app.order.clone().into(), self.pool.order.clone().into());
        let dataset = self.dataset.as_ref().map_or_else(no_dataset, |dataset| dataset.order.clone().into());
        let orders = Orders { app, dataset, pool, request: self.request.order.clone().into() };
        let signatures = Signatures {
            app: self.app.signature.clone(),
            dataset: self.dataset.as_ref().map(|dataset| dataset.signature.clone()).unwrap_or_default(),
            pool: self.pool.signature.clone(),
            request: self.request.signature.clone(),
        };
        (orders, signatures)
    }

    /// The hashes of request and pool order: what a sponsor agrees to.
    pub(super) fn hashes(&self, domain: &Domain) -> (OrderHash, OrderHash) {
        let (orders, _) = self.parts();
        (orders.request.hash(domain), orders.pool.hash(domain))
    }

    pub(super) const fn tasks(&self) -> u32 {
        self.request.order.volume
    }

    pub(super) const fn payer(&self) -> Address {
        self.request.order.payer
    }

    pub(super) const fn requester(&self) -> Address {
        self.request.order.requester
    }

    pub(super) const fn expiry(&self) -> Timestamp {
        Timestamp::new(self.request.order.expiry)
    }

    /// What all of its tasks cost: the offers' prices, or nothing that one could pay.
    pub(super) fn total(&self) -> Amount {
        let dataset = self.dataset.as_ref().map_or(0, |dataset| dataset.order.price.0);
        let prices = [self.app.order.price.0, dataset, self.pool.order.price.0].map(Amount::new);
        let price = prices.into_iter().try_fold(Amount::ZERO, Amount::checked_add);
        price.and_then(|price| price.checked_mul(self.tasks())).unwrap_or(Amount::new(u128::MAX))
    }
}

/// A payer's word, as `berth account sponsor` gives it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentFile {
    pub(super) payer: Address,
    pub(super) request: B256,
    pub(super) pool_order: B256,
    pub(super) volume: u32,
    pub(super) expiry: u64,
    pub(super) sponsorship: B256,
    pub(super) signature: Bytes,
}

/// Writes the request, and says what to do with it.
pub(super) fn write(chain: &Chain, path: &Path, orders: &Orders, signatures: &Signatures) -> Result<Report, Failure> {
    let domain = chain.domain();
    let file = RequestFile::new(&domain, orders, signatures);
    save(path, &file)?;
    let (request, pool_order) = file.hashes(&domain);
    let shown = path.display().to_string();
    let text = fields(&[
        ("request", request.to_string()),
        ("pool order", pool_order.to_string()),
        ("payer", file.payer().to_string()),
        ("tasks", file.tasks().to_string()),
        ("price", chain.token.show(file.total())),
        ("until", time(file.expiry())),
        ("file", shown.clone()),
    ]);
    let json = json!({ "request": request.to_string(), "pool_order": pool_order.to_string(), "payer": file.payer(),
                       "tasks": file.tasks(), "total": file.total().to_string(), "token": chain.token.json(),
                       "expiry": file.expiry().seconds(), "file": shown });
    let mut report = Report::new(text, json);
    report.note = format!(
        "`berth account sponsor {shown} --out CONSENT --account {}` agrees to pay; \
         `berth task match {shown} --consent CONSENT` makes the deal",
        file.payer()
    );
    Ok(report)
}

/// `berth task match`.
pub(super) async fn task_match(settings: &Settings, args: &TaskMatch) -> Result<Report, Failure> {
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    let file = RequestFile::read(&args.request, &chain)?;
    let consent = args.consent.as_deref().map(|path| consent(path, &chain, &file)).transpose()?;
    let now = chain.read.chain_time().await?;
    if now > file.expiry() {
        let message = format!("{} was good until {}", args.request.display(), time(file.expiry()));
        return Err(Failure::preflight("request-over", message).hint("have its requester make a new one: `berth run`"));
    }
    let (orders, signatures) = file.parts();
    let calldata = match consent {
        Some(consent) if now > consent.expiry => {
            let message = format!("the consent was good until {}", time(consent.expiry));
            return Err(Failure::preflight("consent-over", message).hint("ask the payer for a new one"));
        }
        Some(consent) => call::match_sponsored(&orders, &signatures, &consent),
        None if account == file.payer() => call::match_orders(&orders, &signatures),
        None => {
            let message = format!("{} pays, and {account} is not it", file.payer());
            return Err(Failure::preflight("payer-absent", message)
                .hint("show what it has agreed to: --consent FILE (`berth account sponsor --out FILE`)")
                .hint("or send the match from the payer's own account: --account"));
        }
    };
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step(format!("matching at the cost of {}", file.payer()));
    let calls = vec![Call { to: chain.deployment.berth, calldata, note: "match" }];
    let (matched, cost) = made(&chain, &signer, calls).await?;
    drop(progress);
    Ok(detached(&matched, &cost))
}

/// A consent to this request.
fn consent(path: &Path, chain: &Chain, file: &RequestFile) -> Result<Consent, Failure> {
    let given: ConsentFile = read(path, "a consent", "`berth account sponsor REQUEST --out FILE` writes one")?;
    let (request, pool_order) = file.hashes(&chain.domain());
    let unfit = |what: String| {
        Failure::usage("consent", format!("{} {what}", path.display()))
            .hint("ask the payer to agree to this very request")
    };
    if given.request != request.get() || given.pool_order != pool_order.get() {
        return Err(unfit(format!("is for request {} with pool order {}", given.request, given.pool_order)));
    }
    if (given.payer, given.volume) != (file.payer(), file.tasks()) {
        let (payer, tasks) = (file.payer(), file.tasks());
        return Err(unfit(format!(
            "is of {} for {} tasks, and {payer} is to pay for {tasks}",
            given.payer, given.volume
        )));
    }
    Ok(Consent { volume: given.volume, expiry: Timestamp::new(given.expiry), signature: given.signature })
}

/// Writes a new file: what is there is never overwritten.
pub(super) fn save(path: &Path, document: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(document).expect("texts and numbers are JSON");
    text.push('\n');
    let written = fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            let message = format!("{} is there already, and nothing is overwritten", path.display());
            return Failure::usage("file-exists", message).hint("give another file");
        }
        Failure::file(path, "written", &error)
    })
}

fn read<D: DeserializeOwned>(path: &Path, what: &str, hint: &str) -> Result<D, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(Exit::Usage, "document", format!("{} is not {what}", path.display())).because(&error).hint(hint)
    })
}
