//! `berth pool`.

use super::asset::register;
use crate::{
    args::{PoolCreate, PoolOrder, PoolShow},
    book::Book,
    chain::Chain,
    hint::Failure,
    intent::units,
    keys,
    render::{Progress, Report, fields, table, time},
    scheduler,
    settings::Settings,
};
use alloy::primitives::B256;
use berth_chain::signer::Signer;
use berth_protocol::{
    AccountAddr, AssetId, AssetKind, OrderHash, Timestamp, domain::Domain, order, order::Order as _, order::UNLIMITED,
};
use berth_wire::{descriptor::Descriptor, order::AnyOrder, order::SignedOrder};
use serde_json::json;

pub(super) async fn create(settings: &Settings, args: &PoolCreate) -> Result<Report, Failure> {
    let descriptor = Descriptor::Pool { version: 1, name: args.name.clone() };
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step("registering the pool");
    let (id, mined) = register(&chain, &signer, AssetKind::Pool, &descriptor).await?;
    let text = fields(&[("pool", id.to_string()), ("owner", account.to_string()), ("block", mined.block.to_string())]);
    let json = json!({ "pool": id.to_string(), "owner": account, "name": args.name,
                       "transaction": mined.tx, "block": mined.block.get(), "gas": mined.gas_used });
    let mut report = Report::new(text, json);
    report.note = format!("Next: `berth pool order {id} --price … --operator … --url …` offers it.");
    Ok(report)
}

pub(super) async fn order(settings: &Settings, args: PoolOrder) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    book.check(&chain).await?;
    let pool = book.pool(Some(&args.pool)).await?;
    owned(&chain, pool, account).await?;
    let order = policy(settings, &chain, pool, account, &args).await?;
    let signer = keys::unlock(settings)?;
    let (hash, signed) = sign(&signer, &chain.domain(), order.clone());
    let progress = Progress::new();
    progress.step("publishing the order");
    book.publish(signed, Some(args.url.clone())).await?;
    drop(progress);
    let price = chain.token.parse("--price", &args.price)?;
    let text = fields(&[
        ("order", hash.to_string()),
        ("pool", pool.to_string()),
        ("price", format!("{} a task", chain.token.show(price))),
        ("good until", time(Timestamp::new(order.expiry))),
    ]);
    let document = berth_wire::order::PoolOrder::from(order);
    Ok(Report::new(
        text,
        json!({ "order": hash.to_string(), "pool": pool.to_string(), "terms": document, "url": args.url }),
    ))
}

async fn policy(
    settings: &Settings,
    chain: &Chain,
    pool: AssetId,
    owner: alloy::primitives::Address,
    args: &PoolOrder,
) -> Result<order::PoolOrder, Failure> {
    let operator = keys::address(settings, &args.operator)?;
    let (bounds, now, epoch) =
        tokio::join!(chain.read.bounds(), chain.read.chain_time(), chain.read.epoch_of(AccountAddr::new(owner)));
    let (bounds, now, epoch) = (bounds?, now?, epoch?);
    let token = &chain.token;
    let seconds =
        |flag, text: &Option<String>, usual| text.as_deref().map_or(Ok(usual), |text| units::seconds(flag, text));
    Ok(order::PoolOrder {
        pool: pool.get(),
        price: token.parse("--price", &args.price)?.units(),
        volume: args.volume.unwrap_or(UNLIMITED),
        tag: B256::ZERO,
        operator,
        parallel: args.parallel,
        workerStake: token.parse("--worker-stake", &args.worker_stake)?.units(),
        poolStake: token.parse("--pool-stake", &args.pool_stake)?.units(),
        operatorShareBps: units::percent_bps("--operator-share", &args.operator_share)?,
        minDuration: seconds("--min-duration", &args.min_duration, bounds.min_duration_s())?,
        maxDuration: seconds("--max-duration", &args.max_duration, bounds.max_duration_s())?,
        // One worker a task, until tasks are replicated.
        maxTrust: 1,
        appRule: B256::ZERO,
        datasetRule: B256::ZERO,
        requesterRule: B256::ZERO,
        expiry: now.plus(units::duration("--expires", &args.expires)?.as_secs()).seconds(),
        epoch,
        salt: B256::new(rand::random()),
    })
}

/// A pool order with its signature and its hash.
pub(super) fn sign(signer: &Signer, domain: &Domain, order: order::PoolOrder) -> (OrderHash, SignedOrder) {
    let (hash, signature) = (order.hash(domain), signer.sign(domain, &order));
    (hash, SignedOrder { order: AnyOrder::Pool(order.into()), signature })
}

/// That the account owns the asset: nobody else's order of it is worth anything.
pub(super) async fn owned(chain: &Chain, asset: AssetId, account: alloy::primitives::Address) -> Result<(), Failure> {
    let owner = chain.owner_of(asset).await?;
    if owner == account {
        return Ok(());
    }
    let message = format!("{asset} is {owner}'s, not {account}'s");
    Err(Failure::preflight("not-owner", message).hint("give the owner's key: --account NAME"))
}

pub(super) async fn show(settings: &Settings, args: &PoolShow) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let chain = Chain::open(settings).await?;
    let pool = book.pool(args.pool.as_deref()).await?;
    let (owner, offers) = tokio::join!(chain.owner_of(pool), book.pools(Some(pool)));
    let (owner, offers) = (owner?, offers?);
    let name = offers.iter().find_map(|offer| offer.listed.name.clone());
    let mut head = vec![("pool", pool.to_string())];
    head.extend(name.iter().map(|name| ("name", name.clone())));
    head.push(("owner", owner.to_string()));
    let mut json = json!({ "pool": pool.to_string(), "name": name, "owner": owner, "orders": [], "scheduler": null });
    if let Ok(client) = scheduler::of_pool(&book, pool).await {
        let state = match client.pool().await {
            Ok(info) => {
                json["scheduler"] = json!(info);
                format!("{} ({} workers, at block {})", client.url(), info.workers, info.block)
            }
            Err(error) => format!("{} ({error})", client.url()),
        };
        head.push(("scheduler", state));
    }
    json["orders"] = json!(offers.iter().map(|offer| &offer.listed).collect::<Vec<_>>());
    let rows: Vec<[String; 6]> = offers
        .iter()
        .map(|offer| {
            let order = &offer.order;
            let left = offer.listed.remaining;
            [
                offer.listed.hash.to_string(),
                chain.token.show(order.price.into()),
                if left == UNLIMITED { "no limit".to_owned() } else { left.to_string() },
                format!("{}-{} s", order.min_duration, order.max_duration),
                chain.token.show(order.worker_stake.into()),
                chain.token.show(order.pool_stake.into()),
            ]
        })
        .collect();
    let table = table(["order", "price", "tasks left", "duration", "worker stake", "pool stake"], &rows);
    Ok(Report::new(format!("{}\n{table}", fields(&head)), json))
}
