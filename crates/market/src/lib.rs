//! The order book: where signed orders and jobs are published and found. It checks an order when it is published, as far
//! as that is possible without a counterparty, and keeps what is left of it in step with the chain.
//!
//! It holds no money and no keys, and nobody has to trust it: orders are signed, and a match is checked by the contract.
//!
//! [`config`] what it is told; `check` what an order must be; `follow` what the chain says; `store` all SQL; `book` the
//! calls; `api` their HTTP form; `observe` what it logs.

mod api;
mod book;
mod check;
pub mod config;
mod follow;
mod observe;
mod store;

pub use config::{Config, ConfigError};
pub use store::StoreError;

use crate::book::{Book, Market as Place};
use berth_chain::{
    Class, Deployment, Endpoint, Rpc, RpcError, convert,
    deploy::DeployError,
    follow::{FollowConfig, FollowError, Follower},
    read::Reader,
    rpc::EndpointError,
};
use core::net::SocketAddr;
use std::{future::Future, sync::Arc};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// The order book can't start, or can't go on.
#[derive(Debug, Error)]
pub enum MarketError {
    /// The node's URL is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The file that says where the contracts are is none, or they are not there.
    #[error(transparent)]
    Deployment(#[from] DeployError),
    /// The node fails.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Following the chain fails for good.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The port is taken, or not ours.
    #[error("the order book can't listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the order book's server failed")]
    Serve(#[source] std::io::Error),
}

impl MarketError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Endpoint(error) => error.class(),
            Self::Deployment(error) => error.class(),
            Self::Rpc(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Follow(error) => error.class(),
            Self::Listen { .. } => Class::Refused,
            Self::Serve(_) => Class::Bug,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Endpoint(error) => Some(error.hint().into()),
            Self::Deployment(error) => error.hint(),
            Self::Rpc(error) => error.hint().map(Into::into),
            Self::Store(error) => error.hint().map(Into::into),
            Self::Follow(error) => error.hint().map(Into::into),
            Self::Listen { .. } => Some("end what uses the port, or set another `listen`".to_owned()),
            Self::Serve(_) => None,
        }
    }
}

/// The order book.
#[derive(Debug)]
pub struct Market;

/// A running order book.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    tasks: JoinSet<Result<(), MarketError>>,
    shutdown: CancellationToken,
}

impl Market {
    /// Opens the database, checks node and deployment, and serves until `shutdown`.
    ///
    /// # Errors
    /// [`MarketError`]: something that it needs is missing, foreign or taken.
    pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Running, MarketError> {
        let deployment = Deployment::load(&config.deployment)?;
        let rpc = Rpc::new(Endpoint::parse(&config.rpc)?)?;
        let address = config.listen;
        let listen = |source| MarketError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let pool = store::open(&config.database).await?;
        berth_chain::migrate(&pool).await.map_err(FollowError::Store)?;
        let follow = FollowConfig::new(deployment.subject(), deployment.emitters());
        let follower = Follower::open(rpc.clone(), pool.clone(), follow, convert::event, follow::Facts).await?;
        deployment.check(&rpc).await?;
        let read = Reader::new(rpc.clone(), deployment);
        let bounds = read.bounds().await?;
        let market = Place { domain: deployment.domain(), assets: deployment.assets, token: deployment.token, bounds };
        let book = Arc::new(Book { pool, rpc, read, watch: follower.watch(), market });
        // One task's end ends the other: a book that does not follow the chain must not look alive.
        let stop = shutdown.child_token();
        let mut tasks = JoinSet::new();
        tasks.spawn(until(stop.clone(), follower.run(stop.clone())));
        let server = axum::serve(listener, api::router(book)).with_graceful_shutdown(stop.clone().cancelled_owned());
        tasks.spawn(until(stop.clone(), async { server.await.map_err(MarketError::Serve) }));
        observe::listening(address);
        Ok(Running { address, tasks, shutdown: stop })
    }
}

async fn until<E: Into<MarketError>>(
    stop: CancellationToken,
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), MarketError> {
    let done = work.await;
    stop.cancel();
    done.map_err(Into::into)
}

impl Running {
    /// Waits until it has ended, which it does after the shutdown, or when it can't go on.
    ///
    /// # Errors
    /// [`MarketError`]: why it could not go on.
    pub async fn wait(mut self) -> Result<(), MarketError> {
        let mut result = Ok(());
        while let Some(done) = self.tasks.join_next().await {
            let done = done.expect("the book's tasks are never aborted, and don't panic");
            result = result.and(done);
            self.shutdown.cancel();
        }
        result
    }
}
