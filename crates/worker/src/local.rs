//! What a task needs of this machine before it runs: its data, its app's own disk, and, where the owner takes only some
//! people's jobs, the chain's word for whose job it is. The scheduler's is not enough: it earns by what it gives out.

use crate::{
    assignment::{Accepted, DeclineCode, chain},
    cache::{CacheError, Held, Source, Wanted},
    config::ByteSize,
    observe,
    run::{Bench, FIRST_PAUSE, Step, rest},
    runtime::Data,
    share::Stock,
};
use alloy::primitives::{Address, B256};
use berth_chain::BlockNumber;
use berth_protocol::{DealId, ledger::Event};
use berth_wire::{
    descriptor::DiskFormat,
    worker::{Assign, Terms},
};
use tokio_util::sync::CancellationToken;

/// A disk is asked for so often before another machine is left to try.
const DISK_TRIES: u32 = 8;
/// The worker's node is asked so often, half a minute in all: it may be some blocks behind the scheduler's.
const NODE_TRIES: u32 = 10;

impl Bench {
    /// An app's own disk, fetched if it is neither shared nor here, and kept here as long as it is held.
    pub(crate) async fn disk(
        &self,
        stock: &Stock,
        accepted: &Accepted,
        cancel: &CancellationToken,
    ) -> Step<Option<Held>> {
        let Some(disk) = accepted.disk.as_ref().filter(|_| !stock.said.shares.has(&accepted.image)) else {
            return Step::On(None);
        };
        if !stock.said.shares.fetches(accepted.runtime, &stock.said.capacity) {
            return Step::Declined(DeclineCode::NoImage, format!("disk {} is not here, and is not fetched", disk.name));
        }
        if disk.format == DiskFormat::Machine {
            let detail = format!("{} names further files: such a machine is shared, never fetched", disk.name);
            return Step::Declined(DeclineCode::NoImage, detail);
        }
        let ByteSize(most) = stock.config.cache.size;
        let wanted = Wanted { sha256: disk.sha256, size: disk.size, ending: disk.format.name().to_owned() };
        let mut pause = FIRST_PAUSE;
        for _ in 0..DISK_TRIES {
            let source = match &disk.url {
                Some(url) => Source { url: url.clone(), token: None },
                None => match self.link.client(cancel).await {
                    Some(client) => Source::from(client.place_of(accepted.task.get(), disk.sha256)),
                    None => return Step::Over,
                },
            };
            let had = tokio::select! {
                () = cancel.cancelled() => return Step::Over,
                had = self.cache.have(&wanted, most, &source) => had,
            };
            match had {
                Ok(held) => return Step::On(Some(held)),
                Err(error @ (CacheError::Later(..) | CacheError::Corrupt(_))) => {
                    observe::retried(accepted.task, "fetch", &chain(&error));
                }
                Err(error @ (CacheError::NoRoom { .. } | CacheError::Folder(..))) => {
                    return Step::Declined(DeclineCode::NoRoom, format!("disk {}: {}", disk.name, chain(&error)));
                }
            }
            if rest(&mut pause, cancel).await.is_none() {
                return Step::Over;
            }
        }
        Step::Declined(DeclineCode::NoImage, format!("disk {} can't be fetched", disk.name))
    }

    /// Whether the deal is whose the scheduler says, where the owner's policy asks whose it is.
    pub(crate) async fn vouch(&self, assign: &Assign, cancel: &CancellationToken) -> Step<()> {
        if !asks_whose(&self.stock().said.terms) {
            return Step::On(());
        }
        let (deal, block) = (DealId::new(assign.deal), BlockNumber::new(assign.block));
        let mut pause = FIRST_PAUSE;
        for _ in 0..NODE_TRIES {
            match self.past.matched(deal, block).await {
                Ok(Some(Event::DealMatched { requester, subject, .. })) => {
                    return compare(assign, requester.get(), subject.app);
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

fn compare(assign: &Assign, requester: Address, app: B256) -> Step<()> {
    if (assign.requester, assign.app) == (requester, app) {
        return Step::On(());
    }
    let detail = format!("the chain says that the deal is {requester}'s, under app {app}, and the assignment does not");
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
