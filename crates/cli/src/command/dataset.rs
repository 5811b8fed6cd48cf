//! `berth dataset`: data that stay on the machines that share them.

use super::asset::{self, Goods, Wish};
use crate::{
    args::{DatasetDigest, DatasetOrder, DatasetRegister},
    book::Book,
    chain::Chain,
    hint::Failure,
    render::{Report, table},
    settings::Settings,
};
use berth_wire::{descriptor::Descriptor, job::is_component};
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
    let enrolled = asset::enrol(settings, Goods::Dataset, &descriptor, &Wish::from(&args.offer)).await?;
    let mut report = enrolled.report(&args.name, &descriptor, Some(("digest", format!("sha256:{sha256}"))));
    report.note = "The data stay where they are: a worker shares them by [[datasets]] in its worker.toml.".to_owned();
    Ok(report)
}

pub(super) async fn order(settings: &Settings, args: &DatasetOrder) -> Result<Report, Failure> {
    asset::order(settings, Goods::Dataset, &args.dataset, &Wish::from(&args.offer)).await
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
