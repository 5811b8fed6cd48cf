//! Workers as requesters see them (`berth worker list`), and as their owner does on their machine: `berth worker status
//! --config`, `pause`, `resume`, `drain`.

use crate::{
    args::{WorkerHand, WorkerList},
    book::Book,
    chain::Chain,
    exit::Exit,
    hint::Failure,
    render::{Report, fields, table},
    scheduler,
    settings::Settings,
};
use berth_chain::signer::recover;
use berth_protocol::AssetId;
use berth_wire::{descriptor::Runtime, job::Image, scheduler::WorkerView};
use berth_worker::{
    Config, Status,
    stance::{self, Stance},
    status,
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

/// A running worker has taken notice within this.
const NOTICE_TAKES: Duration = Duration::from_secs(10);
/// How often its status is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A pool's workers.
pub(crate) struct Staff {
    pub(crate) pool: AssetId,
    pub(crate) workers: Vec<WorkerView>,
}

/// The workers of one pool, or of all that are on offer; pools that don't answer are told of.
pub(crate) async fn staff(book: &Book, pool: Option<&str>) -> Result<(Vec<Staff>, String), Failure> {
    let only = match pool {
        Some(pool) => Some(book.pool(Some(pool)).await?),
        None => None,
    };
    let mut offers = book.pools(only).await?;
    offers.sort_by_key(|offer| offer.order.pool);
    offers.dedup_by_key(|offer| offer.order.pool);
    let (mut all, mut notes) = (Vec::new(), String::new());
    for offer in &offers {
        let pool = AssetId::new(offer.order.pool)
            .ok_or_else(|| Failure::not_found("pool-unknown", "the order book offers a pool that is none"))?;
        // One pool that is down does not hide the others.
        let workers = match scheduler::of_pool(book, pool).await {
            Ok(client) => client.workers().await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match workers {
            Ok(workers) => all.push(Staff { pool, workers }),
            Err(failure) => notes.push_str(&format!("pool {pool}: {}\n", failure.message)),
        }
    }
    Ok((all, notes))
}

/// Whether the worker itself has signed what its scheduler says that it shares.
pub(crate) fn is_own_word(chain: &Chain, pool: AssetId, worker: &WorkerView) -> bool {
    worker.announced.as_ref().is_some_and(|announced| {
        let statement = announced.said.statement(pool.get(), announced.at_ms);
        recover(chain.domain().digest(&statement), &announced.signature) == Some(worker.worker)
    })
}

/// `berth worker list`
pub(super) async fn list(settings: &Settings, args: &WorkerList) -> Result<Report, Failure> {
    let book = Book::of(settings)?;
    let (chain, staff) = tokio::join!(Chain::open(settings), staff(&book, args.pool.as_deref()));
    let (chain, (staff, note)) = (chain?, staff?);
    let (mut text, mut json) = (String::new(), Vec::new());
    for Staff { pool, workers } in &staff {
        for worker in workers {
            let is_signed = is_own_word(&chain, *pool, worker);
            text.push_str(&fields(&facts(&chain, *pool, worker, is_signed)));
            text.push_str("\n\n");
            let mut document = json!(worker);
            document["pool"] = pool.to_string().into();
            document["signed"] = is_signed.into();
            json.push(document);
        }
    }
    let json = json!({ "token": chain.token.json(), "workers": json });
    let mut report = Report::new(text.trim_end().to_owned(), json);
    report.note = note;
    Ok(report)
}

fn facts(chain: &Chain, pool: AssetId, worker: &WorkerView, is_signed: bool) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("worker", worker.worker.to_string()),
        ("pool", pool.to_string()),
        ("owner", worker.owner.to_string()),
        ("bonded", chain.token.show(worker.bonded.into())),
        ("score", worker.score.to_string()),
    ];
    let Some(announced) = &worker.announced else {
        facts.push(("socket", "away".to_owned()));
        return facts;
    };
    let (capacity, shares, terms) = (&announced.said.capacity, &announced.said.shares, &announced.said.terms);
    let takes = terms.closed.clone().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
    facts.push(("socket", "connected".to_owned()));
    facts.push(("takes tasks", takes));
    facts.push(("running", format!("{} of {}", worker.running, capacity.slots)));
    facts.push(("cpu", format!("{} thousandths of a core", capacity.cpu_millis)));
    facts.push(("memory", format!("{} bytes", capacity.memory_bytes)));
    facts.push(("disk", format!("{} bytes", capacity.disk_bytes)));
    facts.push(("network", if capacity.network { "yes" } else { "no" }.to_owned()));
    facts.push(("engines", joined(shares.engines.iter().map(|engine| engine_name(*engine).to_owned()))));
    facts.push(("images", joined(shares.images.iter().map(image_name))));
    let fetches = shares.engines.iter().filter(|engine| shares.fetches(**engine, capacity));
    facts.push(("fetches images of", joined(fetches.map(|engine| engine_name(*engine).to_owned()))));
    facts.push(("fetches inputs", if shares.fetches_inputs { "yes" } else { "no" }.to_owned()));
    let datasets = shares.datasets.iter().map(|dataset| format!("{}@sha256:{}", dataset.name, dataset.sha256));
    facts.push(("datasets", joined(datasets)));
    facts.push(("packages", joined(shares.packages.iter().cloned())));
    let lists = [
        ("only apps", joined(terms.apps.iter().map(ToString::to_string))),
        ("no apps", joined(terms.refused_apps.iter().map(ToString::to_string))),
        ("only requesters", joined(terms.requesters.iter().map(ToString::to_string))),
        ("no requesters", joined(terms.refused_requesters.iter().map(ToString::to_string))),
    ];
    facts.extend(lists.into_iter().filter(|(_, list)| list != NONE));
    if terms.min_price.0 > 0 {
        facts.push(("least price", chain.token.show(terms.min_price.into())));
    }
    facts.push(("in its own words", if is_signed { "yes, signed" } else { "no: don't believe it" }.to_owned()));
    facts
}

const NONE: &str = "none";

fn joined(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() { NONE.to_owned() } else { names.join(", ") }
}

/// An engine as worker.toml calls it.
pub(crate) const fn engine_name(engine: Runtime) -> &'static str {
    match engine {
        Runtime::Docker => "docker",
        Runtime::Qemu => "qemu",
        Runtime::Virtualbox => "virtualbox",
        Runtime::Slurm => "slurm",
    }
}

/// An image by name and digest.
pub(crate) fn image_name(image: &Image) -> String {
    let digest = image.manifest.or(image.config).map(|digest| digest.to_string()).unwrap_or_default();
    format!("{}@{digest}", image.reference)
}

fn own_status(config: &Config) -> Result<Status, Failure> {
    status::read(&config.folder).map_err(|error| {
        Failure::not_found("worker-never-ran", format!("{} has no status of a worker", config.folder.display()))
            .because(&error)
            .hint("`berth worker run` starts it; --config names its settings")
    })
}

/// `berth worker status --config`
pub(super) fn status(path: &Path) -> Result<Report, Failure> {
    let config = Config::load(path)?;
    let status = own_status(&config)?;
    let is_running = is_alive(status.pid);
    let idle = match is_running {
        true => status.why_idle().unwrap_or_else(|| "it runs tasks".to_owned()),
        false => "it is not running; the rest is how it last was".to_owned(),
    };
    let mut text = vec![
        ("worker", status.worker.to_string()),
        ("pool", status.pool.to_string()),
        ("now", idle.clone()),
        ("running", status.running.len().to_string()),
        ("paid", status.settled.to_string()),
        ("engines", joined(status.engines.iter().map(|engine| engine_name(*engine).to_owned()))),
        ("images", status.images.to_string()),
        ("datasets", joined(status.datasets.iter().cloned())),
        ("packages", joined(status.packages.iter().cloned())),
    ];
    if let Some(trouble) = &status.trouble {
        text.push(("trouble", trouble.clone()));
    }
    let mut said = fields(&text);
    if !status.absent.is_empty() {
        let row = |absent: &status::Absent| {
            [absent.kind.clone(), absent.name.clone(), absent.reason.clone(), absent.hint.clone()]
        };
        let rows: Vec<[String; 4]> = status.absent.iter().map(row).collect();
        said.push_str("\n\nnot announced:\n");
        said.push_str(&table(["share", "name", "why", "what to do"], &rows));
    }
    let mut json = json!(status);
    json["alive"] = is_running.into();
    json["why_idle"] = status.why_idle().map_or(Value::Null, Value::from);
    Ok(Report::new(said, json))
}

/// Whether the process is there, and not only its number.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("worker"))
}

/// `berth worker pause`, `resume`, `drain`
pub(super) async fn take(args: &WorkerHand, wanted: Stance) -> Result<Report, Failure> {
    let config = Config::load(&args.config)?;
    let folder = &config.folder;
    if !folder.is_dir() {
        let message = format!("{} is not there: this worker never ran", folder.display());
        return Err(Failure::not_found("worker-never-ran", message).hint("--config names the worker's settings"));
    }
    let is_running = status::read(folder).is_ok_and(|status| is_alive(status.pid));
    if wanted == Stance::Draining && !is_running {
        let message = "this worker is not running, so there is nothing to end";
        return Err(Failure::preflight("worker-stopped", message).hint("`berth worker pause` outlives its next start"));
    }
    stance::write(folder, wanted).map_err(|error| Failure::file(folder, "written", &error))?;
    let taken = is_running && tokio::time::timeout(NOTICE_TAKES, noticed(folder, wanted)).await.is_ok();
    if is_running && !taken {
        let message = "the worker has not taken notice of it yet";
        return Err(Failure::new(Exit::Error, "worker-silent", message).hint("look into its log; it will when it can"));
    }
    let text = match (wanted, is_running) {
        (Stance::Open, true) => "it takes tasks again, if its policy lets it",
        (Stance::Open, false) => "it will take tasks when it is started",
        (Stance::Paused, true) => "it takes no new tasks; what runs goes on. `berth worker resume` lets them in again",
        (Stance::Paused, false) => "it will take no tasks when it is started, until `berth worker resume`",
        (Stance::Draining, _) => "it takes no new tasks, ends what it runs, and then stops",
    };
    Ok(Report::new(text.to_owned(), json!({ "stance": wanted, "running": is_running })))
}

/// Waits until the worker's own status says it, or the worker is gone, as a drained one soon is.
async fn noticed(folder: &Path, wanted: Stance) {
    loop {
        match status::read(folder) {
            Ok(status) if status.stance == wanted || !is_alive(status.pid) => return,
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
