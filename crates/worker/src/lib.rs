//! A worker: what a provider runs on its machine. It shares what is there (a Docker engine, its images) with one pool,
//! takes the tasks that the pool's scheduler assigns to it, runs each in a sandbox, and stands for the results with its
//! signature.
//!
//! ```no_run
//! # async fn example(key: berth_chain::signer::Signer, deployment: berth_chain::Deployment)
//! # -> Result<(), berth_worker::WorkerError> {
//! let config = berth_worker::Config::load("worker.toml".as_ref())?;
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! berth_worker::run(config, key, deployment, berth_fault::Faults::default(), shutdown).await
//! # }
//! ```
//!
//! Where several workers answer a task, nothing of the answer leaves it before a round on chain holds it, which it checks
//! with a node of its own; where its scheduler is silent, it sees to its pay itself. It opens no port, executes nothing of
//! a requester's or an app owner's outside a sandbox, and passes nothing of its own environment into one.
//!
//! In the order in which a task meets them: [`config`] what the owner allows, [`stance`] and `gate` whether now, `share`
//! what really works, [`dataset`] data that stay, [`cache`] what was fetched, [`reach`] from where, `session`, `socket`
//! and `told` the scheduler, [`assignment`] is it sound and wanted, [`fetch`] its inputs, [`runtime`] the sandbox with
//! [`environment`] in it, [`digest`] what came out, `seal` the same for one reader, `local` what else a task needs here,
//! `run` these steps in turn, [`journal`] how far each task is, `reveal` what of a closed round may be opened, `watch`
//! what the chain says of it, `supervise` all of it, [`status`] what the owner is told.

pub mod assignment;
pub mod cache;
mod clock;
pub mod config;
pub mod dataset;
pub mod digest;
pub mod environment;
pub mod fetch;
mod gate;
pub mod journal;
mod live;
mod local;
mod observe;
pub mod reach;
mod reveal;
mod run;
pub mod runtime;
mod seal;
mod session;
mod share;
mod socket;
pub mod stance;
pub mod status;
mod supervise;
mod told;
mod upload;
mod watch;

pub use config::{Config, ConfigError};
pub use journal::{KILL_POINTS, Phase, SEAL_POINTS};
pub use session::SessionError;
pub use socket::SocketError;
pub use status::Status;
pub use supervise::{WorkerError, run};
pub use watch::WatchError;
