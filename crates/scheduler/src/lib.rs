//! The daemon of a pool's operator: deals of its pool become tasks, tasks become assignments pushed to connected
//! workers, their reports are checked, kept and settled in batches, and what nobody settled in time is claimed. Where a
//! deal asks for more trust, workers of several owners answer a task: hidden at first, closed in rounds, revealed, weighed.
//!
//! It never runs anything that a requester or an app owner supplies, never believes anybody but the chain about how a
//! task ended, and moves no money but through the outbox.
//!
//! In the order of the data: `follow` writes what the chain says; `reconcile` takes a `view` of the tables and of who is
//! connected (`presence`), has `plan` decide, and lets `act` do it, with `mailbox` for what workers are told; `results`
//! keeps and checks what comes in through `api`; `supervise` holds it together. All SQL is in `store`.
//!
//! ```no_run
//! # async fn run(config: berth_scheduler::Config, key: berth_chain::signer::Signer) -> Result<(), berth_scheduler::SchedulerError> {
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! let running = berth_scheduler::Scheduler::start(config, key, Default::default(), shutdown.clone()).await?;
//! println!("serving at http://{}", running.address);
//! // …until somebody calls shutdown.cancel():
//! running.wait().await
//! # }
//! ```
//!
//! What a worker should know beyond [`berth_wire::worker`]: a report is not acknowledged; it is done with when its task
//! is settled or has ended, by mail. Until then a reconnecting worker hands in again what it has not seen settled, which
//! is harmless. [`ToWorker::Refused`](berth_wire::worker::ToWorker::Refused) has these codes: `superseded` (the task went
//! elsewhere: leave it out of the list from now on, though it may still be paid if the chain says so), `ended` (the same,
//! for good), `not-assigned`, `unknown-task`, `bad-list`, `bad-signature`, `bad-result` (the report can't be right),
//! `blob-missing` (put the blob that is named, then report again), `store-failed` (report again later).
//!
//! Of replicated tasks, neither commitment nor reveal nor result is acknowledged: they are said again until the task is
//! over, by mail. A commitment under a seed that another round takes stays unused until its worker makes it anew. Further
//! codes: `unknown-deal`, `not-replicated` (the deal has one worker a task), `not-of-deal` (no such index),
//! `bad-commitment`, `closed` (a round has taken this worker's commitment, or goes without it), `too-late` (the close
//! deadline is over), `seed-revealed` (draw a fresh one); of reveals `unknown-round` (no round or chain on chain with this
//! root has a pair of this worker), `bad-seed`, `not-in-round`, `bad-opening`, `bad-tag`; of results `not-revealed`.

mod act;
mod api;
mod clock;
mod config;
mod follow;
mod live;
mod mailbox;
mod observe;
mod plan;
mod presence;
mod reconcile;
mod results;
#[cfg(test)]
mod samples;
mod signals;
mod store;
mod supervise;
mod view;

pub use act::KILL_POINTS;
pub use config::{Config, ConfigError, Results, S3, S3Key, StoreKind};
pub use results::ResultsError;
pub use supervise::{Running, Scheduler, SchedulerError};
