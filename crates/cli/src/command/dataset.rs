//! `berth dataset`: data that stay on the machines that share them.

use super::{
    app::{Offer, Wish, register},
    pool::owned,
};
use crate::{
    args::{DatasetDigest, DatasetOrder, DatasetRegister},
    book::Book,
    chain::Chain,
    hint::Failure,
    keys,
    render::{Progress, Report, fields, table, time},
    settings::Settings,
};
use alloy::primitives::B256;
use berth_chain::signer::Signer;
use berth_protocol::{
    AssetId, AssetKind, OrderHash, Timestamp,
    domain::Domain,
    order::{self, Order as _},
};
use berth_wire::{
    descriptor::Descriptor,
    job::is_component,
    order::{AnyOrder, SignedOrder},
};
use berth_worker::dataset::Dataset;
use serde_json::json;
use std::path::Path;

async fn read(path: &Path) -> Result<Dataset, Failure> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || Dataset::read(&path)).await;
    read.expect("reading files does not panic")
        .map_err(|error| Failure::usage("dataset", error.to_string()).because(&error).hint(error.hint()))
}

pub(super) async fn digest(args: &DatasetDigest) -> Result<Report, Failure> {
    let Dataset { sha256, size, .. } = read(&args.path).await?;
    let digest = format!("sha256:{sha256}");
    let json = json!({ "digest": digest, "size": size, "path": args.path });
    Ok(Report::new(digest, json))
}

pub(super) async fn register_dataset(settings: &Settings, args: &DatasetRegister) -> Result<Report, Failure> {
    if !is_component(&args.name) {
        let message = format!("`{}` is no plain file name, and jobs find the data under it", args.name);
        return Err(Failure::usage("dataset-name", message).hint("give a name without `/`"));
    }
    let Dataset { sha256, size, .. } = read(&args.path).await?;
    let descriptor = Descriptor::Dataset { version: 1, name: args.name.clone(), sha256, size };
    let book = Book::of(settings)?;
    let chain = Chain::open(settings).await?;
    book.check(&chain).await?;
    let terms = &args.offer;
    let wish = Wish { price: &terms.price, volume: terms.volume, expires: &terms.expires };
    let offer = wish.terms(settings, &chain).await?;
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step("registering the dataset");
    let (id, mined) = register(&chain, &signer, AssetKind::Dataset, &descriptor).await?;
    progress.step("publishing its order");
    let (hash, signed) = sign(&signer, &chain.domain(), id, &offer);
    book.publish(signed, None).await.map_err(|failure| {
        failure
            .hint(format!("the dataset is registered as {id}, which can't be taken back, but it is not on offer"))
            .hint(format!("`berth dataset order {id} --price {}` offers it", terms.price))
    })?;
    drop(progress);
    let text = fields(&[
        ("dataset", id.to_string()),
        ("name", args.name.clone()),
        ("digest", format!("sha256:{sha256}")),
        ("order", hash.to_string()),
        ("price", format!("{} a task", chain.token.show(offer.price))),
        ("gas", mined.gas_used.to_string()),
    ]);
    let json = json!({ "dataset": id.to_string(), "name": args.name, "order": hash.to_string(),
                       "price": offer.price.to_string(), "descriptor": descriptor,
                       "transaction": mined.tx, "block": mined.block.get(), "gas": mined.gas_used });
    let mut report = Report::new(text, json);
    report.note = "The data stay where they are: a worker shares them by [[datasets]] in its worker.toml.".to_owned();
    Ok(report)
}

pub(super) async fn order(settings: &Settings, args: &DatasetOrder) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let account = keys::account(settings)?;
    let chain = Chain::open(settings).await?;
    book.check(&chain).await?;
    let id = book.dataset(&args.dataset).await?;
    owned(&chain, id, account).await?;
    let terms = &args.offer;
    let wish = Wish { price: &terms.price, volume: terms.volume, expires: &terms.expires };
    let offer = wish.terms(settings, &chain).await?;
    let signer = keys::unlock(settings)?;
    let (hash, signed) = sign(&signer, &chain.domain(), id, &offer);
    let progress = Progress::new();
    progress.step("publishing the order");
    book.publish(signed, None).await?;
    drop(progress);
    let text = fields(&[
        ("order", hash.to_string()),
        ("dataset", id.to_string()),
        ("price", format!("{} a task", chain.token.show(offer.price))),
        ("good until", time(Timestamp::new(offer.expiry))),
    ]);
    let json = json!({ "order": hash.to_string(), "dataset": id.to_string(), "price": offer.price.to_string(),
                       "expiry": offer.expiry });
    Ok(Report::new(text, json))
}

/// A dataset order with its signature and its hash.
fn sign(signer: &Signer, domain: &Domain, dataset: AssetId, offer: &Offer) -> (OrderHash, SignedOrder) {
    let order = order::DatasetOrder {
        dataset: dataset.get(),
        price: offer.price.units(),
        volume: offer.volume,
        tag: B256::ZERO,
        appRule: B256::ZERO,
        poolRule: B256::ZERO,
        requesterRule: B256::ZERO,
        expiry: offer.expiry,
        epoch: offer.epoch,
        salt: B256::new(rand::random()),
    };
    let (hash, signature) = (order.hash(domain), signer.sign(domain, &order));
    (hash, SignedOrder { order: AnyOrder::Dataset(order.into()), signature })
}

pub(super) async fn list(settings: &Settings) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let (chain, datasets) = tokio::join!(Chain::open(settings), book.datasets(None));
    let (chain, datasets) = (chain?, datasets?);
    let rows: Vec<[String; 4]> = datasets
        .iter()
        .map(|offer| {
            let name = offer.listed.name.clone().unwrap_or_else(|| "-".to_owned());
            let (id, price) = (offer.order.dataset.to_string(), chain.token.show(offer.order.price.into()));
            [name, id, price, offer.listed.signer.to_string()]
        })
        .collect();
    let json = json!(datasets.iter().map(|offer| &offer.listed).collect::<Vec<_>>());
    Ok(Report::new(table(["name", "dataset", "price", "owner"], &rows), json))
}
