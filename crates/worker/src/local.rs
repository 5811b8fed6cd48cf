//! What a task needs of this machine before it runs: its data, its app's own disk, inputs that are elsewhere, and, where
//! the owner takes only some people's jobs, the chain's word for whose job it is. The scheduler's is not enough: it earns
//! by what it gives out.

use crate::{
    assignment::{Accepted, DeclineCode, chain},
    cache::{CacheError, Held, Source, Wanted},
    config::ByteSize,
    fetch,
    journal::Row,
    observe,
    reach::Reach,
    run::{Bench, FIRST_PAUSE, Step, rest},
    runtime::{Data, TaskFolder},
    share::Stock,
};
use alloy::primitives::{Address, B256};
use berth_chain::BlockNumber;
use berth_protocol::{DealId, Failure, TaskId, ledger::Event};
use berth_wire::{
    descriptor::DiskFormat,
    job::Job,
    worker::{Assign, Terms},
};
use tokio_util::sync::CancellationToken;

/// A file of which nothing more comes is asked for so often, some 20 seconds in all.
const FETCH_TRIES: u32 = 8;
/// The worker's node is asked so often, half a minute in all: it may be some blocks behind the scheduler's.
const NODE_TRIES: u32 = 10;

/// Why a file is not here.
enum Lacking {
    /// It is not asked for there.
    Barred(String),
    /// There is no room for it.
    Room(String),
    /// It does not come, or is something else.
    Gone(String),
    /// It is not wanted any more.
    Over,
}

impl Bench {
    /// An app's own disk, fetched if it is neither shared nor here, and kept here as long as it is held. Of a container's
    /// image, which the engine fetches: whether it may.
    pub(crate) async fn disk(
        &self,
        stock: &Stock,
        accepted: &Accepted,
        cancel: &CancellationToken,
    ) -> Step<Option<Held>> {
        let Some(disk) = accepted.disk.as_ref().filter(|_| !stock.said.shares.has(&accepted.image)) else {
            return match self.registry(stock, accepted).await {
                Ok(()) => Step::On(None),
                Err(detail) => Step::Declined(DeclineCode::NoImage, detail),
            };
        };
        if !stock.said.shares.fetches(accepted.runtime, &stock.said.capacity) {
            return Step::Declined(DeclineCode::NoImage, format!("disk {} is not here, and is not fetched", disk.name));
        }
        if disk.format == DiskFormat::Machine {
            let detail = format!("{} names further files: such a machine is shared, never fetched", disk.name);
            return Step::Declined(DeclineCode::NoImage, detail);
        }
        let wanted = Wanted { sha256: disk.sha256, size: disk.size, ending: disk.format.name().to_owned() };
        match self.bring(stock, accepted.task, &wanted, disk.url.as_deref(), cancel).await {
            Ok(held) => Step::On(Some(held)),
            Err(Lacking::Over) => Step::Over,
            Err(Lacking::Room(why)) => Step::Declined(DeclineCode::NoRoom, format!("disk {}: {why}", disk.name)),
            Err(Lacking::Barred(why) | Lacking::Gone(why)) => {
                Step::Declined(DeclineCode::NoImage, format!("disk {} can't be fetched: {why}", disk.name))
            }
        }
    }

    /// Fetches the inputs of a job that are elsewhere, as far as they are not here yet. May be repeated.
    pub(crate) async fn inputs(
        &self,
        stock: &Stock,
        row: &Row,
        job: &Job,
        folder: &TaskFolder,
        cancel: &CancellationToken,
    ) -> Step<()> {
        for input in &job.inputs {
            let Some(url) = &input.url else { continue };
            if fetch::is_here(folder, input).await {
                continue;
            }
            let wanted = Wanted { sha256: input.sha256, size: input.size, ending: "input".to_owned() };
            let held = match self.bring(stock, row.task, &wanted, Some(url), cancel).await {
                Ok(held) => held,
                Err(Lacking::Over) => return Step::Over,
                Err(Lacking::Room(why)) => {
                    return Step::Declined(DeclineCode::NoRoom, format!("input `{}`: {why}", input.name));
                }
                // Whoever serves the address chooses who gets what: where others answer too, a failure could be made to
                // cost this worker its stake.
                Err(Lacking::Gone(why)) if row.assign.terms.trust <= 1 => {
                    return Step::Failed(Failure::FetchFailed, format!("input `{}`: {why}", input.name));
                }
                Err(Lacking::Barred(why) | Lacking::Gone(why)) => {
                    return Step::Declined(DeclineCode::NoData, format!("input `{}`: {why}", input.name));
                }
            };
            if let Err(error) = fetch::place(held.path(), folder, input).await {
                return Step::Declined(DeclineCode::NoRoom, chain(&error));
            }
        }
        Step::On(())
    }

    /// Has a file here: from an address, or without one from the pool's store.
    async fn bring(
        &self,
        stock: &Stock,
        task: TaskId,
        wanted: &Wanted,
        url: Option<&str>,
        cancel: &CancellationToken,
    ) -> Result<Held, Lacking> {
        let ByteSize(most) = stock.config.cache.size;
        let (mut pause, mut tries, mut came) = (FIRST_PAUSE, 0, 0);
        loop {
            let source = match url {
                Some(url) => Source::Elsewhere { url: url.to_owned(), reach: Reach::new(&stock.config.fetch.from) },
                None => {
                    let client = self.link.client(cancel).await.ok_or(Lacking::Over)?;
                    let (url, token) = client.place_of(task.get(), wanted.sha256);
                    Source::Store { url, token }
                }
            };
            let had = tokio::select! {
                () = cancel.cancelled() => return Err(Lacking::Over),
                had = self.cache.have(wanted, most, &source) => had,
            };
            let (cost, why) = match had {
                Ok(held) => return Ok(held),
                Err(error @ CacheError::Barred(..)) => return Err(Lacking::Barred(chain(&error))),
                Err(error @ (CacheError::NoRoom { .. } | CacheError::Folder(..))) => {
                    return Err(Lacking::Room(chain(&error)));
                }
                Err(error @ CacheError::Later(..)) => (1, chain(&error)),
                // Part of it may have been of something else: a second time it is the server's.
                Err(error @ CacheError::Corrupt(_)) => (FETCH_TRIES / 2, chain(&error)),
            };
            observe::retried(task, "fetch", &why);
            let so_far = self.cache.came(wanted);
            tries = if so_far > came { 0 } else { tries + cost };
            came = came.max(so_far);
            if tries >= FETCH_TRIES {
                return Err(Lacking::Gone(why));
            }
            rest(&mut pause, cancel).await.ok_or(Lacking::Over)?;
        }
    }

    /// Whether an image that is not here may be asked for where its name says: the engine would, whoever chose the name.
    async fn registry(&self, stock: &Stock, accepted: &Accepted) -> Result<(), String> {
        let image = &accepted.image;
        let shares = &stock.said.shares;
        let fetches =
            accepted.disk.is_none() && !shares.has(image) && shares.fetches(accepted.runtime, &stock.said.capacity);
        let Some(place) = image.registry().filter(|_| fetches) else { return Ok(()) };
        match Reach::new(&stock.config.fetch.from).server(place).await {
            Ok(()) => Ok(()),
            Err(barred) => Err(format!("image {} is not here, and not asked for: {barred}", image.reference)),
        }
    }

    /// Whether the deal is on chain, and whose and for what the scheduler says, where the owner's policy asks whose it is.
    pub(crate) async fn vouch(&self, assign: &Assign, cancel: &CancellationToken) -> Step<()> {
        if !asks_whose(&self.stock().said.terms) {
            return Step::On(());
        }
        let (deal, block) = (DealId::new(assign.deal), BlockNumber::new(assign.block));
        let mut pause = FIRST_PAUSE;
        for _ in 0..NODE_TRIES {
            match self.past.matched(deal, block).await {
                Ok(Some(Event::DealMatched { requester, subject, .. })) => {
                    return compare(assign, requester.get(), subject.app, subject.jobHash);
                }
                Ok(_) => {}
                Err(error) => observe::retried(deal.task(assign.index), "ask the node", &chain(&error)),
            }
            if rest(&mut pause, cancel).await.is_none() {
                return Step::Over;
            }
        }
        let detail = format!("its own node knows of no such deal in block {block}, and its owner takes only some jobs");
        Step::Declined(DeclineCode::Policy, detail)
    }
}

fn asks_whose(terms: &Terms) -> bool {
    let (apps, people) = (terms.apps.len() + terms.refused_apps.len(), terms.requesters.len());
    apps + people + terms.refused_requesters.len() > 0
}

fn compare(assign: &Assign, requester: Address, app: B256, job: B256) -> Step<()> {
    if (assign.requester, assign.app, assign.job_hash) == (requester, app, job) {
        return Step::On(());
    }
    let detail = format!(
        "the chain says that the deal is {requester}'s, under app {app}, for job {job}; the assignment does not"
    );
    Step::Declined(DeclineCode::Policy, detail)
}

/// The machine's own data that a task needs, as they were when they were read.
pub(crate) async fn data(stock: &Stock, accepted: &Accepted) -> Result<Vec<Data>, String> {
    let mut all = Vec::new();
    for wanted in &accepted.datasets {
        let found = stock.datasets.iter().find(|dataset| dataset.sha256 == wanted.sha256).cloned();
        let dataset = found.ok_or_else(|| format!("dataset {} is not here any more", wanted.name))?;
        all.push(Data { name: wanted.name.clone(), dataset });
    }
    let looking = move || match all.iter().find(|data| !data.dataset.is_as_read()) {
        Some(changed) => Err(format!("dataset {} has changed since it was announced", changed.name)),
        None => Ok(all),
    };
    // A panic in there is one of this program's, and goes on here.
    tokio::task::spawn_blocking(looking).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
