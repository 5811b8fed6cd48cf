//! `xwworkers`: who works for a pool, and what each shares.

use super::{Call, apps::type_name, format::Objects};
use crate::{book::Book, chain::Chain, hint::Failure, render::Report, scheduler};
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
    let pool = call.typed.one(&["--xwpool"])?;
    let only = match pool {
        Some(pool) => Some(book.pool(Some(pool)).await?),
        None => None,
    };
    let (chain, offers) = tokio::join!(Chain::open(&call.settings), book.pools(only));
    let (chain, mut offers) = (chain?, offers?);
    offers.sort_by_key(|offer| offer.order.pool);
    offers.dedup_by_key(|offer| offer.order.pool);
    let wanted = call.uids();
    let mut rows = Vec::new();
    let mut notes = String::new();
    for offer in &offers {
        let pool = berth_protocol::AssetId::new(offer.order.pool)
            .ok_or_else(|| Failure::not_found("pool-unknown", "the order book offers a pool that is none"))?;
        // One pool that is down does not hide the others.
        let workers = match scheduler::of_pool(&book, pool).await {
            Ok(client) => client.workers().await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match workers {
            Ok(workers) => {
                let is = |worker: &&WorkerView| {
                    wanted.is_empty()
                        || wanted.iter().any(|uid| uid.parse::<Address>().is_ok_and(|address| worker.worker == address))
                };
                rows.extend(workers.iter().filter(is).map(|worker| row(&chain, &pool.to_string(), worker)));
            }
            Err(failure) => notes.push_str(&format!("pool {pool}: {}\n", failure.message)),
        }
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
    let shares = worker.shares.as_ref();
    let engines = shares.map(|shares| shares.engines.iter().map(|engine| type_name(*engine)).collect::<Vec<_>>());
    let images = shares.map(|shares| {
        let digest = |image: &berth_wire::job::Image| {
            let digest = image.manifest.or(image.config).map(|digest| digest.to_string()).unwrap_or_default();
            format!("{}@{digest}", image.reference)
        };
        shares.images.iter().map(digest).collect::<Vec<_>>().join(",")
    });
    let capacity = worker.capacity.as_ref();
    vec![
        Some(worker.worker.to_string()),
        Some(format!("worker-{:.8}", hex::encode(worker.worker))),
        Some(if worker.connected { "AVAILABLE" } else { "LOST" }.to_owned()),
        Some(pool.to_owned()),
        Some(worker.owner.to_string()),
        engines.map(|engines| engines.join(",")),
        images,
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
