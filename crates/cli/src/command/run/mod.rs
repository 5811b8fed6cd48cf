//! `berth run`: from a command line to a verified, paid result.
//!
//! In order: `image` says what is to run, `offer` which offers fit, `stage` puts job and inputs into the pool's store,
//! `request` signs and matches, `follow` waits, `ending` reads from the chain how it went and who was paid, `result`
//! downloads and verifies (`sealed` opens what is encrypted), `receipt` says it all.

pub(crate) mod ending;
mod folder;
pub(crate) mod follow;
pub(crate) mod image;
pub(super) mod live;
mod offer;
pub(crate) mod partial;
pub(super) mod receipt;
pub(crate) mod request;
pub(crate) mod result;
pub(crate) mod sealed;
pub(crate) mod stage;

pub(crate) use self::folder::{check_empty, check_free, claim, finished};
use self::{
    image::Resolved,
    offer::{Misfit, Quote, Wanted, Why},
    receipt::{Match, Receipt},
    request::{Asked, Matched},
};
use super::{account, sponsored};
use crate::{
    args,
    book::{AppOffer, Book, DatasetOffer, PoolOffer},
    chain::{Call, Chain, Spent},
    exit::Exit,
    hint::Failure,
    intent::{Encrypt, RunIntent, Sponsor},
    keys::{self, Keyring},
    render::{Progress, Report},
    scheduler,
    settings::Settings,
};
use alloy::primitives::Address;
use berth_chain::{
    Deployment,
    call::{self, Signatures},
    signer::Signer,
};
use berth_protocol::{AccountAddr, Amount, AssetId, DealId, ledger::Orders};
use berth_wire::{
    client::SchedulerClient,
    descriptor::Runtime,
    job::{Job, Limits},
};
use serde_json::json;
use std::path::PathBuf;

/// What is settled before anything is signed.
struct Plan {
    chain: Chain,
    book: Book,
    client: SchedulerClient,
    quote: Quote,
    job: Job,
    total: Amount,
    /// What the account lacks, and has outside the market.
    deposit: Amount,
}

pub(super) async fn run(settings: &Settings, args: args::Run, json: bool) -> Result<Report, Failure> {
    let intent = RunIntent::new(args)?;
    if intent.follow {
        live::check(intent.trust, intent.volume(), json)?;
    }
    if let Some(out) = &intent.out {
        check_empty(out)?;
    }
    let progress = Progress::new();
    let account = keys::account(settings)?;
    // Only the key itself says to whom its results are encrypted.
    if intent.dry_run && intent.encrypt != Some(Encrypt::ToAccount) {
        let mut plan = plan(settings, &intent, account, &progress).await?;
        sealed::address(&mut plan.job, intent.encrypt.as_ref(), None);
        return Ok(dry(&plan, &intent));
    }
    progress.step("looking for offers");
    // Opening the key takes a while on purpose; the network does not wait for it.
    let (unlocked, plan) = tokio::join!(unlock(settings), plan(settings, &intent, account, &progress));
    let (signer, mut plan) = (unlocked?, plan?);
    let keys = Keyring::new(&signer, &plan.chain.domain(), intent.identity.as_deref())?;
    sealed::address(&mut plan.job, intent.encrypt.as_ref(), Some(&keys));
    sealed::check_room(&plan.client, &plan.job).await?;
    if intent.dry_run {
        return Ok(dry(&plan, &intent));
    }
    if let Some(sponsor) = &intent.sponsor {
        let payer = payer(settings, account, sponsor)?;
        let (orders, signatures) = request(&plan, &intent, &signer, payer, &progress).await?;
        return sponsored::write(&plan.chain, &sponsor.request, &orders, &signatures);
    }
    let matched = match_offers(&plan, &intent, &signer, &progress).await?;
    let deal = matched.0.deal;
    if intent.detach {
        return Ok(detached(&matched.0, &matched.1));
    }
    tokio::select! {
        report = finish(&plan, &intent, (&signer, &keys), matched, &progress) => {
            report.map_err(|failure| failure.hint(format!("the job goes on: `berth task result {deal}` fetches its result")))
        }
        _ = tokio::signal::ctrl_c() => Err(detached_failure(deal)),
    }
}

/// A job that was matched, and who runs it.
pub(crate) struct Submitted {
    pub(crate) client: SchedulerClient,
    pub(crate) matched: Matched,
}

/// Matches a job, and returns.
pub(crate) async fn submit(settings: &Settings, intent: &RunIntent, progress: &Progress) -> Result<Submitted, Failure> {
    let account = keys::account(settings)?;
    let (unlocked, plan) = tokio::join!(unlock(settings), plan(settings, intent, account, progress));
    let (signer, mut plan) = (unlocked?, plan?);
    let keys = Keyring::new(&signer, &plan.chain.domain(), intent.identity.as_deref())?;
    sealed::address(&mut plan.job, intent.encrypt.as_ref(), Some(&keys));
    sealed::check_room(&plan.client, &plan.job).await?;
    let (matched, _) = match_offers(&plan, intent, &signer, progress).await?;
    Ok(Submitted { client: plan.client, matched })
}

/// Ctrl-C: what was paid for goes on.
pub(crate) fn detached_failure(deal: DealId) -> Failure {
    Failure::new(Exit::Interrupted, "detached", "detached: the job goes on")
        .hint(format!("`berth task show {deal}:0` shows how it goes"))
        .hint(format!("`berth task result {deal}` fetches its result"))
}

async fn unlock(settings: &Settings) -> Result<Signer, Failure> {
    let settings = settings.clone();
    let opened = tokio::task::spawn_blocking(move || keys::unlock(&settings)).await;
    opened.expect("opening a key does not panic")
}

async fn plan(settings: &Settings, intent: &RunIntent, account: Address, progress: &Progress) -> Result<Plan, Failure> {
    let book = Book::of(settings)?;
    let only = match intent.pool.as_deref() {
        Some(pool) => Some(book.pool(Some(pool)).await?),
        None => None,
    };
    let (chain, resolved, pools) =
        tokio::try_join!(Chain::open(settings), image::resolve(settings, &book, &intent.subject), book.pools(only))?;
    for note in resolved.asks.check(&intent.job.args)? {
        progress.say(&note);
    }
    let (bounds, now, apps, same_market) =
        tokio::join!(chain.read.bounds(), chain.read.chain_time(), book.apps(Some(resolved.app)), book.check(&chain));
    let (bounds, now, apps) = (bounds?, now?, apps?);
    same_market?;
    if let Some(sponsor) = &intent.sponsor {
        payer(settings, account, sponsor)?;
    }
    if let Some(callback) = intent.callback {
        check_callback(&chain, callback).await?;
    }
    let max_price = intent.max_price.as_deref().map(|text| chain.token.parse("--max-price", text)).transpose()?;
    let wanted = Wanted {
        requester: account,
        datasets: datasets(&book, intent.dataset.as_deref()).await?,
        volume: intent.volume(),
        trust: intent.trust,
        max_price,
        timeout: intent.timeout,
        now,
        max_span: bounds.max_span_s(),
    };
    progress.step("comparing offers");
    let (quote, client, workers) = choose(&chain, &wanted, &resolved, &apps, &pools).await?;
    if workers == 0 {
        progress.say("no worker of this pool is connected now: the job will wait for one");
    }
    let total = quote.price.checked_mul(wanted.volume).ok_or_else(|| too_dear(&chain, quote.price))?;
    let deposit =
        if intent.sponsor.is_some() { Amount::ZERO } else { lacking(settings, &chain, intent, account, total).await? };
    let mut job = stage::job(intent, resolved.image).await?;
    let is_machine = apps.iter().any(|app| app.listed.runtime.is_some_and(Runtime::is_machine));
    if is_machine && !intent.counts_pids {
        job.limits.pids = Limits::ALL_PIDS;
    }
    Ok(Plan { chain, book, client, quote, job, total, deposit })
}

/// What the account lacks of this, and is to pay in.
async fn lacking(
    settings: &Settings,
    chain: &Chain,
    intent: &RunIntent,
    account: Address,
    total: Amount,
) -> Result<Amount, Failure> {
    let free = chain.balance(account).await?.free;
    let missing = total.checked_sub(free).unwrap_or_default();
    if missing > Amount::ZERO && !intent.deposit {
        return Err(short(settings, chain, total, free, missing));
    }
    account::has_tokens(chain, account, missing).await?;
    Ok(missing)
}

/// The other who pays.
fn payer(settings: &Settings, account: Address, sponsor: &Sponsor) -> Result<Address, Failure> {
    let payer = keys::address(settings, &sponsor.payer)?;
    let wrong = |what: &str| Failure::usage("payer", format!("--payer: `{}` {what}", sponsor.payer));
    if payer.is_zero() {
        return Err(wrong("is nobody, and nobody pays").hint("name the account that has agreed to pay"));
    }
    if payer == account {
        return Err(wrong("is the account itself, which pays anyway").hint("leave --payer and --request out"));
    }
    if sponsor.request.exists() {
        return Err(Failure::usage("request", format!("{} is there already", sponsor.request.display()))
            .hint("give --request another file: nothing is overwritten"));
    }
    Ok(payer)
}

/// Offers of the dataset that is wanted.
async fn datasets(book: &Book, wanted: Option<&str>) -> Result<Vec<DatasetOffer>, Failure> {
    let Some(text) = wanted else { return Ok(Vec::new()) };
    let id = book.dataset(text).await?;
    let offers = book.datasets(Some(id)).await?;
    if offers.is_empty() {
        return Err(Failure::not_found("dataset-unoffered", format!("dataset {id} is not on offer"))
            .hint("its order is over, used up or cancelled: ask its owner for a new one")
            .hint("`berth dataset list` shows the data that are on offer"));
    }
    Ok(offers)
}

/// That somebody is there whom Berth would call.
async fn check_callback(chain: &Chain, callback: Address) -> Result<(), Failure> {
    let Deployment { berth, assets, token, .. } = chain.deployment;
    if [berth, assets, token].contains(&callback) {
        let message = format!("{callback} is part of the market itself, and is never called with a result");
        return Err(Failure::preflight("callback", message).hint("name a contract of your own: --callback ADDRESS"));
    }
    if chain.rpc.code(callback).await?.is_empty() {
        let message = format!("there is no contract at {callback} that could receive a result");
        return Err(Failure::preflight("callback", message)
            .hint("deploy it first: it needs `receiveResult(bytes32 task, bytes result)`"));
    }
    Ok(())
}

fn too_dear(chain: &Chain, price: Amount) -> Failure {
    Failure::preflight(
        "balance-too-small",
        format!("so many tasks of {} cost more than there is", chain.token.show(price)),
    )
}

fn short(settings: &Settings, chain: &Chain, total: Amount, free: Amount, missing: Amount) -> Failure {
    let token = &chain.token;
    let account = settings.account().unwrap_or("?");
    let message = format!(
        "this costs {}, and {account} has {} free: {} are missing",
        token.show(total),
        token.show(free),
        token.show(missing)
    );
    Failure::preflight("balance-too-small", message)
        .hint(format!("`berth account deposit {} --account {account}` pays them in", token.plain(missing)))
        .hint("or let the match do so, in one transaction: --deposit")
}

/// The cheapest fitting offer whose scheduler answers and whose owner can stake, with how many workers are connected.
async fn choose(
    chain: &Chain,
    wanted: &Wanted,
    resolved: &Resolved,
    apps: &[AppOffer],
    pools: &[PoolOffer],
) -> Result<(Quote, SchedulerClient, u32), Failure> {
    if apps.is_empty() {
        let message = format!("app {} is not on offer", resolved.app);
        return Err(Failure::not_found("app-unoffered", message)
            .hint("its order is over, used up or cancelled: ask its owner for a new one")
            .hint("`berth app list` shows the apps that are on offer"));
    }
    let (quotes, mut misfits) = offer::choose(wanted, apps, pools);
    for quote in quotes {
        let pool = &quote.pool;
        let url = pool.listed.url.as_deref().unwrap_or_default();
        let client = SchedulerClient::new(url);
        let stake = Amount::new(pool.order.pool_stake.0).checked_mul(wanted.volume).unwrap_or(Amount::new(u128::MAX));
        let (answer, owner) = tokio::join!(
            scheduler::check(&client, chain, pool.order.pool, pool.order.operator),
            chain.balance(pool.listed.signer)
        );
        let why = match answer {
            Ok(_) if owner?.free < stake => {
                Why::Asked(format!("its owner has less free than the stake of {}", chain.token.show(stake)))
            }
            Ok(workers) => return Ok((quote, client, workers)),
            Err(why) => Why::Asked(why),
        };
        misfits.push(Misfit { order: pool.listed.hash, name: pool.listed.name.clone(), why });
    }
    Err(none_fits(chain, wanted, &misfits))
}

fn none_fits(chain: &Chain, wanted: &Wanted, misfits: &[Misfit]) -> Failure {
    let mut failure = Failure::new(Exit::Refused, "no-offer", "no offer fits");
    for Misfit { order, name, why } in misfits {
        let why = why.describe(|amount| chain.token.show(amount));
        failure.causes.push(format!("{} ({order}): {why}", name.as_deref().unwrap_or("an offer")));
    }
    let prices =
        misfits.iter().filter_map(|misfit| if let Why::Price { price, .. } = misfit.why { Some(price) } else { None });
    if misfits.is_empty() {
        return failure.hint("no pool has an offer in the order book: see `berth pool show`, or try later");
    }
    if misfits.iter().all(|misfit| matches!(misfit.why, Why::Price { .. })) {
        failure.code = "price-above-maximum".to_owned();
    }
    match prices.min() {
        Some(price) => failure.hint(format!("the cheapest takes --max-price {}", chain.token.plain(price))),
        None if wanted.timeout.is_some() => failure.hint("another --timeout may fit"),
        None => failure.hint("ask for less (--each, --trust, --timeout), or try later"),
    }
}

/// Uploads the job, and signs the request for it.
async fn request(
    plan: &Plan,
    intent: &RunIntent,
    signer: &Signer,
    payer: Address,
    progress: &Progress,
) -> Result<(Orders, Signatures), Failure> {
    let Plan { chain, book, quote, job, .. } = plan;
    progress.step("uploading the job");
    let signed_in = scheduler::sign_in(plan.client.clone(), chain, signer);
    let upload = async { stage::upload(&signed_in.await?, job, &intent.inputs).await };
    let (epoch, now, uploaded, published) = tokio::join!(
        chain.read.epoch_of(AccountAddr::new(signer.address())),
        chain.read.chain_time(),
        upload,
        book.publish_job(job.to_bytes())
    );
    let (epoch, now) = (epoch?, now?);
    uploaded.and(published)?;
    let asked = Asked {
        requester: signer.address(),
        payer,
        callback: intent.callback.unwrap_or_default(),
        job: job.hash(),
        volume: intent.volume(),
        trust: intent.trust,
        epoch,
        now,
    };
    Ok(request::signed(quote, request::order(&asked, quote), signer, &chain.domain()))
}

/// Uploads, signs, and makes the deal.
async fn match_offers(
    plan: &Plan,
    intent: &RunIntent,
    signer: &Signer,
    progress: &Progress,
) -> Result<(Matched, Match), Failure> {
    let Plan { chain, total, deposit, .. } = plan;
    let (orders, signatures) = request(plan, intent, signer, signer.address(), progress).await?;
    let volume = orders.request.volume;
    progress.step(format!(
        "matching {volume} task{} for {}",
        if volume == 1 { "" } else { "s" },
        chain.token.show(*total)
    ));
    let calldata = call::match_orders(&orders, &signatures);
    let call = Call { to: chain.deployment.berth, calldata, note: "match" };
    let calls =
        if *deposit > Amount::ZERO { account::paying_in_for(chain, signer, *deposit, call).await? } else { vec![call] };
    let (matched, cost) = made(chain, signer, calls).await?;
    progress.say(&format!("deal {} matched in block {}", matched.deal, matched.block));
    Ok((matched, cost))
}

/// Sends calls of which the last makes a deal.
pub(super) async fn made(chain: &Chain, signer: &Signer, calls: Vec<Call>) -> Result<(Matched, Match), Failure> {
    // Between sending and hearing of it a node may go away: then only the chain can tell.
    let mined = chain.send(signer, calls).await.map_err(|failure| match &*failure.code {
        "node-unreachable" | "node-slow" => failure.hint("`berth task list` shows whether the deal was made"),
        _ => failure,
    })?;
    let last = mined.last().map(core::slice::from_ref).unwrap_or_default();
    let spent = Spent::of(last);
    let transaction = last.first().map(|mined| mined.tx).unwrap_or_default();
    let matched = Matched::of(chain, &chain.receipt(transaction).await?)?;
    Ok((matched, Match { gas: spent.gas, wei: spent.wei }))
}

/// Waits, downloads, verifies, and says how it went.
async fn finish(
    plan: &Plan,
    intent: &RunIntent,
    (signer, keys): (&Signer, &Keyring),
    (matched, cost): (Matched, Match),
    progress: &Progress,
) -> Result<Report, Failure> {
    let following = follow::follow(&plan.chain, &plan.client, &matched, progress);
    let recipient = plan.job.recipient.as_ref();
    if intent.follow && recipient.is_some() {
        progress.say(live::SEALED);
    }
    let task = matched.deal.task(matched.terms.first);
    let mut shown = None;
    let endings = if intent.follow && recipient.is_none() {
        let client = scheduler::sign_in(plan.client.clone(), &plan.chain, signer).await?;
        let (endings, live) = tokio::try_join!(following, live::show(&client, task.get()))?;
        shown = Some((client, live));
        endings
    } else {
        following.await?
    };
    // What is for somebody else's key is left as it is.
    let keys = Some(keys).filter(|keys| recipient.is_none_or(|recipient| keys.opens(recipient)));
    let receipt = Receipt { chain: &plan.chain, matched: &matched, endings: &endings, cost: Some(cost), keys };
    let folder = intent.out.clone();
    let mut report = receipt.deliver(plan.client.clone(), signer, folder, intent.job_exit, progress).await?;
    if let Some((client, live)) = shown {
        // Where standard output is the result, the report begins with what was shown of it.
        if report.shows_stdout {
            report.data.drain(..live.stdout.min(report.data.len()));
        }
        live::show_rest(&client, task, live, !report.shows_stdout).await;
    }
    Ok(report)
}

/// A deal that was made and is not waited for.
pub(super) fn detached(matched: &Matched, cost: &Match) -> Report {
    let deal = matched.deal;
    let tasks: Vec<String> = matched.terms.indexes().map(|index| deal.task(index).to_string()).collect();
    let json = json!({
        "deal": deal.to_string(),
        "tasks": tasks,
        "match": { "transaction": matched.transaction, "block": matched.block, "gas": cost.gas,
                   "gas_wei": cost.wei.to_string() },
    });
    let mut report = Report::new(deal.to_string(), json);
    report.note =
        format!("`berth task show {deal}:0` shows how it goes; `berth task result {deal}` fetches the result");
    report
}

fn dry(plan: &Plan, intent: &RunIntent) -> Report {
    let Plan { chain, quote, job, total, deposit, .. } = plan;
    let (app, pool) = (&quote.app, &quote.pool);
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "(no name)".to_owned());
    let volume = intent.volume();
    let mut text = vec![
        ("app", format!("{} {}", name(&app.listed.name), app.order.app)),
        ("pool", format!("{} {}", name(&pool.listed.name), pool.order.pool)),
        ("image", job.image.as_ref().map_or_else(|| "the app's".to_owned(), |image| image.reference.clone())),
        ("dataset", quote.dataset.as_ref().map_or_else(|| "none".to_owned(), |it| it.order.dataset.to_string())),
        ("job", job.hash().to_string()),
        ("tasks", volume.to_string()),
        ("price", format!("{} a task, {} in all", chain.token.show(quote.price), chain.token.show(*total))),
        ("deposit", format!("{} with the match", chain.token.show(*deposit))),
        ("time", format!("{} s a task at the most", quote.duration)),
        ("callback", intent.callback.map_or_else(|| "none".to_owned(), |callback| callback.to_string())),
    ];
    text.extend(job.recipient.iter().map(|recipient| ("encrypted to", recipient.to_string())));
    let json = json!({
        "app": app.order.app, "app_order": app.listed.hash,
        "pool": pool.order.pool, "pool_order": pool.listed.hash,
        "job_hash": job.hash().to_string(), "job": job,
        "tasks": volume,
        "price": quote.price.to_string(), "total": total.to_string(), "deposit": deposit.to_string(), "token": chain.token.json(),
        "duration": quote.duration,
        "callback": intent.callback,
        "dataset": quote.dataset.as_ref().map(|dataset| dataset.order.dataset),
    });
    let mut report = Report::new(crate::render::fields(&text), json);
    report.note = "Nothing was signed or sent.".to_owned();
    report
}

/// Where a result goes if the user does not say.
pub(super) fn usual_folder(matched: &Matched) -> PathBuf {
    let deal = matched.deal.to_string();
    PathBuf::from(format!("berth-{}", &deal[2..10]))
}

/// The pool of a deal.
pub(crate) fn pool_of(matched: &Matched) -> Result<AssetId, Failure> {
    AssetId::new(matched.terms.pool)
        .ok_or_else(|| Failure::new(Exit::Error, "chain-log", format!("deal {} has no pool", matched.deal)))
}
