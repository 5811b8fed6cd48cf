//! The worker's own eyes on the chain, so that it needs nobody's word.
//!
//! Two things are looked after here, each time that something is shown, and by a clock while the chain may owe something:
//! `confirm` opens the rounds that the scheduler shows, once the chain has them deep enough; `recourse` sees to it that
//! answers are paid where the scheduler is silent or leaves them out. Timers only say when to look: what is due is
//! decided by the time of the chain's head.

mod confirm;
mod follow;
mod plan;
mod recourse;

use crate::{
    assignment::chain,
    journal::{Journal, JournalError},
    observe,
    status::Board,
};
use berth_chain::{
    Class, Deployment, Rpc, RpcError, StoreError,
    outbox::{OutboxError, Sender, SenderConfig, SenderHealth, SenderWatch},
    past::Past,
    read::Reader,
    signer::Signer,
};
use berth_protocol::{TaskId, WorkerAddr, domain::Domain};
use std::{collections::HashMap, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How soon to look again for a round that the chain does not have deep enough: well below any block's time.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);
/// How soon to look again while a task waits for its settlement. A deadline is missed by no more than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Without anything to look for, the next reason to look comes from the scheduler.
const IDLE: Duration = Duration::from_secs(3_600);
/// A node that fails is asked again after this.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Why the watch can't go on.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The journal fails.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The node fails.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The outbox's tables fail.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Transactions can't be sent.
    #[error("the worker can't send transactions")]
    Outbox(#[from] OutboxError),
}

impl WatchError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Journal(error) => error.class(),
            // Whatever the node refuses while the chain changes under the question, it may answer next time.
            Self::Rpc(_) => Class::Retry,
            Self::Store(error) => error.class(),
            Self::Outbox(error) => error.class(),
        }
    }

    /// What the owner can do.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Journal(error) => return error.hint(),
            Self::Rpc(error) => error.hint().map(str::to_owned),
            Self::Store(error) => error.hint().map(str::to_owned),
            Self::Outbox(error) => error.hint(),
        };
        hint.unwrap_or_else(|| "check `rpc` in worker.toml: it must be a node of the deployment's chain".to_owned())
    }
}

/// Everything that watching needs.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) journal: Journal,
    pub(crate) rpc: Rpc,
    pub(crate) deployment: Deployment,
    pub(crate) key: Signer,
    pub(crate) confirmations: u64,
    pub(crate) board: Arc<Board>,
    /// Woken when there is something to look for.
    pub(crate) look: Arc<Notify>,
    /// To wake the connection: there is something to tell.
    pub(crate) tell: Arc<Notify>,
    /// To wake the floor: there is something to upload.
    pub(crate) news: Arc<Notify>,
}

/// A watch at work.
struct Watching {
    journal: Journal,
    rpc: Rpc,
    reader: Reader,
    past: Past,
    key: Signer,
    worker: WorkerAddr,
    domain: Domain,
    deployment: Deployment,
    confirmations: u64,
    board: Arc<Board>,
    tell: Arc<Notify>,
    news: Arc<Notify>,
    /// Runs from the first transaction on.
    sender: Option<SenderWatch>,
    sending: JoinSet<Result<(), OutboxError>>,
    /// Since when a task could be settled with so many openings: workers go one after another.
    settleable: HashMap<(TaskId, usize), Instant>,
}

impl Watch {
    /// Watches until `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) -> Result<(), WatchError> {
        let Self { journal, rpc, deployment, key, confirmations, board, look, tell, news } = self;
        let mut watching = Watching {
            reader: Reader::new(rpc.clone(), deployment),
            past: Past::new(rpc.clone(), &deployment),
            worker: WorkerAddr::new(key.address()),
            domain: deployment.domain(),
            journal,
            rpc,
            key,
            deployment,
            confirmations,
            board,
            tell,
            news,
            sender: None,
            sending: JoinSet::new(),
            settleable: HashMap::new(),
        };
        loop {
            let again = match watching.activate(&stop).await {
                Ok(again) => {
                    watching.board.trouble(watching.obstacle());
                    again
                }
                Err(error) if error.class() == Class::Retry => {
                    let reason = chain(&error);
                    if watching.board.trouble(Some(format!("{reason}; {}", error.hint()))) {
                        observe::watch_failed(&reason);
                    }
                    RETRY_EVERY
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = look.notified() => {}
                Some(ended) = watching.sending.join_next() => watching.sender_ended(ended)?,
                () = tokio::time::sleep(again) => {}
            }
        }
        while let Some(ended) = watching.sending.join_next().await {
            watching.sender_ended(ended)?;
        }
        Ok(())
    }
}

impl Watching {
    /// Looks at everything once; says how soon to look again.
    async fn activate(&mut self, stop: &CancellationToken) -> Result<Duration, WatchError> {
        let waits = self.confirm().await?;
        let watched = self.recourse(stop).await?;
        Ok(match (waits, watched) {
            (true, _) => CONFIRM_EVERY,
            (false, true) => LOOK_EVERY,
            (false, false) => IDLE,
        })
    }

    /// What is in the way of this worker's transactions, with what to do about it.
    fn obstacle(&self) -> Option<String> {
        match &*self.sender.as_ref()?.health.borrow() {
            SenderHealth::Sending => None,
            SenderHealth::Retrying { cause } => Some(cause.clone()),
            SenderHealth::Unfunded { has, needs } => Some(format!(
                "it has no money for gas, to claim what its scheduler does not settle; send {} wei of the chain's coin \
                 to {}",
                needs.saturating_sub(*has),
                self.worker
            )),
            SenderHealth::Declined { message } => Some(format!("the node refuses its transaction: {message}")),
            SenderHealth::Capped => Some("gas is dearer than it may pay".to_owned()),
        }
    }

    /// Starts to send, if that has not begun.
    async fn sender(&mut self, stop: &CancellationToken) -> Result<SenderWatch, WatchError> {
        if let Some(sender) = &self.sender {
            return Ok(sender.clone());
        }
        let config = SenderConfig::new(self.domain.chain_id);
        let pool = self.journal.pool().clone();
        let sender = Sender::open(self.rpc.clone(), pool, self.key.clone(), config).await?;
        let watch = sender.watch();
        let stop = stop.clone();
        self.sending.spawn(async move { Box::pin(sender.run(stop)).await });
        self.sender = Some(watch.clone());
        Ok(watch)
    }

    fn sender_ended(&mut self, ended: Result<Result<(), OutboxError>, JoinError>) -> Result<(), WatchError> {
        self.sender = None;
        // A panic in there is one of this program's, and goes on here.
        Ok(ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
    }
}
