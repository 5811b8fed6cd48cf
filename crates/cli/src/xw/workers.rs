//! `xwworkers`: who works for a pool, and what each shares.

use super::{Call, apps::type_name, format::Objects};
use crate::{
    book::Book,
    chain::Chain,
    command::owner::{self, Staff, image_name},
    hint::Failure,
    render::Report,
};
use alloy::primitives::Address;
use berth_wire::scheduler::WorkerView;

pub(super) const COLUMNS: &[&str] = &[
    "UID",
    "NAME",
    "STATUS",
    "POOLUID",
    "OWNERUID",
    "SHAREDAPPS",
    "SHAREDIMAGES",
    "SHAREDPACKAGES",
    "SHAREDDATAS",
    "ACCEPTBIN",
    "NETWORK",
    "POOLWORKSIZE",
    "RUNNING",
    "CPUSPEED",
    "TOTALMEM",
    "TOTALTMP",
    "BONDED",
    "SCORE",
];
pub(super) const SHORT: &[&str] = &["UID", "NAME", "STATUS", "SHAREDAPPS"];

pub(super) async fn list(call: &Call) -> Result<Report, Failure> {
    let book = Book::of(&call.settings)?;
    let (chain, staff) = tokio::join!(Chain::open(&call.settings), owner::staff(&book, call.typed.one(&["--xwpool"])?));
    let (chain, (staff, notes)) = (chain?, staff?);
    let wanted = call.uids();
    let is = |worker: &&WorkerView| {
        wanted.is_empty()
            || wanted.iter().any(|uid| uid.parse::<Address>().is_ok_and(|address| worker.worker == address))
    };
    let mut rows = Vec::new();
    for Staff { pool, workers } in &staff {
        rows.extend(workers.iter().filter(is).map(|worker| row(&chain, &pool.to_string(), worker)));
    }
    if rows.is_empty() && !wanted.is_empty() {
        return Err(Failure::not_found("worker-unknown", format!("no worker is {}", wanted.join(", ")))
            .hint("`xwworkers` shows those that there are"));
    }
    let mut report = call.show(&Objects { element: "host", columns: COLUMNS, short: SHORT, rows });
    report.note = notes;
    Ok(report)
}

fn row(chain: &Chain, pool: &str, worker: &WorkerView) -> Vec<Option<String>> {
    let said = worker.announced.as_ref().map(|announced| &announced.said);
    let shares = said.map(|said| &said.shares);
    let engines = shares.map(|shares| shares.engines.iter().map(|engine| type_name(*engine)).collect::<Vec<_>>());
    let images = shares.map(|shares| shares.images.iter().map(image_name).collect::<Vec<_>>().join(","));
    let datasets = shares.map(|shares| {
        let named = shares.datasets.iter().map(|dataset| format!("{}@sha256:{}", dataset.name, dataset.sha256));
        named.collect::<Vec<_>>().join(",")
    });
    let capacity = said.map(|said| &said.capacity);
    let is_open = said.is_some_and(|said| said.terms.closed.is_none());
    vec![
        Some(worker.worker.to_string()),
        Some(format!("worker-{:.8}", hex::encode(worker.worker))),
        Some(
            if !worker.connected {
                "LOST"
            } else if is_open {
                "AVAILABLE"
            } else {
                "UNAVAILABLE"
            }
            .to_owned(),
        ),
        Some(pool.to_owned()),
        Some(worker.owner.to_string()),
        engines.map(|engines| engines.join(",")),
        images,
        shares.map(|shares| shares.packages.join(",")),
        datasets,
        capacity.map(|capacity| capacity.fetches_images.to_string()),
        capacity.map(|capacity| capacity.network.to_string()),
        capacity.map(|capacity| capacity.slots.to_string()),
        Some(worker.running.to_string()),
        capacity.map(|capacity| capacity.cpu_millis.to_string()),
        capacity.map(|capacity| capacity.memory_bytes.to_string()),
        capacity.map(|capacity| capacity.disk_bytes.to_string()),
        Some(chain.token.show(worker.bonded.into())),
        Some(worker.score.to_string()),
    ]
}
