//! Puts the scheduler together and keeps it together: the only place that starts tasks. When one of them ends, all do,
//! in order: intake first, then what bears money, then the rest.

use crate::{
    act::Actor,
    api::{self, Api},
    config::{Config, ConfigError, Results},
    follow::Ledger,
    live::Live,
    observe,
    presence::Presence,
    reconcile::{ReconcileError, Reconciler},
    results::{
        Backend, Blobs, ResultsError,
        intake::{Intake, Unused},
        strays::Strays,
    },
    signals::Signals,
    store::Database,
    view::{Library, View, Viewer},
};
use axum::serve::ListenerExt as _;
use berth_chain::{
    Deployment, Rpc, RpcError, StoreError, convert,
    deploy::DeployError,
    follow::{FollowConfig, FollowError, Follower},
    outbox::{OutboxError, Sender, SenderConfig},
    signer::Signer,
};
use berth_fault::Faults;
use berth_protocol::{AssetId, Class, OperatorAddr};
use core::{
    future::{Future, IntoFuture as _},
    net::SocketAddr,
    time::Duration,
};
use std::{io, path::PathBuf, sync::Arc};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

/// The first pause when the node can't be reached at the start; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long calls that are under way may take when the scheduler stops.
const DRAIN: Duration = Duration::from_secs(10);

/// The scheduler can't start, or can't go on.
#[derive(Debug, Error)]
pub enum SchedulerError {
    /// Its configuration is no good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The contracts are not where the deployment says.
    #[error(transparent)]
    Deployment(#[from] DeployError),
    /// The node can't be used at all.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The database can't be opened.
    #[error("the database {} can't be used", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: StoreError,
    },
    /// The database is of another pool.
    #[error("the database {} is of pool {found}, not of pool {wanted}", path.display())]
    OtherPool {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: AssetId,
        /// Who asked.
        wanted: AssetId,
    },
    /// The store of inputs and results can't be used.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The address is taken, or not this machine's.
    #[error("{address} can't be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The follower ended.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The outbox ended.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The reconciler ended.
    #[error("the deals can't be looked after: {0}")]
    Reconcile(String),
    /// A part ended that should not.
    #[error("the part `{0}` has ended by itself")]
    Ended(&'static str),
}

impl SchedulerError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Config(error) => error.class(),
            Self::Deployment(error) => error.class(),
            Self::Rpc(error) => error.class(),
            // At the start, a file that is no database of ours is its owner's mistake, not ours.
            Self::Database { source, .. } if source.class() == Class::Retry => Class::Retry,
            Self::Database { .. } => Class::Refused,
            Self::Results(error) if error.is_transient() => Class::Retry,
            Self::OtherPool { .. } | Self::Results(_) | Self::Listen { .. } => Class::Refused,
            Self::Follow(error) => error.class(),
            Self::Outbox(error) => error.class(),
            Self::Reconcile(_) | Self::Ended(_) => Class::Bug,
        }
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint().map(Into::into),
            Self::Deployment(error) => error.hint(),
            Self::Rpc(error) => error.hint().map(Into::into),
            Self::Database { source, .. } => {
                let usual = "check that the folder is there and that you may write to it; a file that is no database \
                             of a scheduler is not touched: give another `database`";
                Some(source.hint().unwrap_or(usual).to_owned())
            }
            Self::OtherPool { .. } => Some("give each pool a `database` of its own".to_owned()),
            Self::Results(error) => Some(error.hint().to_owned()),
            Self::Listen { .. } => {
                Some("another program may have the port: end it, or give another `listen`".to_owned())
            }
            Self::Follow(error) => error.hint().map(Into::into),
            Self::Outbox(error) => error.hint(),
            Self::Reconcile(_) | Self::Ended(_) => None,
        }
    }
}

/// The daemon of a pool's operator.
#[derive(Debug)]
pub struct Scheduler;

/// A scheduler that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it serves.
    pub address: SocketAddr,
    parts: JoinSet<(&'static str, Result<(), SchedulerError>)>,
    stages: Stages,
    db: Database,
}

/// The drain order.
#[derive(Debug, Clone)]
struct Stages {
    /// What takes in: the interface.
    intake: CancellationToken,
    /// What bears money: reconciler and outbox.
    money: CancellationToken,
    /// The rest: the follower.
    rest: CancellationToken,
}

impl Scheduler {
    /// Starts a scheduler with the operator's key. Waits for a node that can't be reached, until `shutdown`; whatever
    /// else is wrong is an error at once.
    ///
    /// # Errors
    /// [`SchedulerError`]: configuration, deployment, database, folder or address are no good, or the node is of
    /// another chain.
    pub async fn start(
        config: Config,
        key: Signer,
        faults: Faults,
        shutdown: CancellationToken,
    ) -> Result<Running, SchedulerError> {
        config.check()?;
        let pool = config.pool_id()?;
        let deployment = Deployment::load(&config.deployment)?;
        let blobs = Blobs::new(Backend::open(&config)?, config.max_blob_bytes);
        let listen = |source| SchedulerError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let db = open_database(&config, pool).await?;
        let rpc = Rpc::new(config.endpoint()?)?;
        let signals = Arc::new(Signals::new());
        let operator = OperatorAddr::new(key.address());
        let ledger = Ledger { pool, operator, signals: signals.clone(), faults: faults.clone() };
        let mut door = Door { listener, waiting: None };
        let connecting = async || {
            blobs.backend().check().await?;
            connect(&config, &deployment, &rpc, &db, &key, &ledger).await
        };
        let (follower, sender) = patiently(&shutdown, &mut door, connecting).await?;
        let listener = door.open().await;
        let parts = Parts { config, deployment, key, faults, blobs, db, signals, operator, pool: pool.get() };
        Ok(parts.run(follower, sender, listener, address, shutdown))
    }
}

async fn open_database(config: &Config, pool: AssetId) -> Result<Database, SchedulerError> {
    let path = config.database.clone();
    let failed = |source| SchedulerError::Database { path: config.database.clone(), source };
    let db = Database::open(&path).await.map_err(failed)?;
    let found = db.claim(pool).await.map_err(failed)?;
    if found == pool { Ok(db) } else { Err(SchedulerError::OtherPool { path, found, wanted: pool }) }
}

type Following = Follower<berth_protocol::ledger::Event, Ledger>;

async fn connect(
    config: &Config,
    deployment: &Deployment,
    rpc: &Rpc,
    db: &Database,
    key: &Signer,
    ledger: &Ledger,
) -> Result<(Following, Sender), SchedulerError> {
    deployment.check(rpc).await?;
    let follow = FollowConfig {
        finality_depth: config.finality_depth,
        poll: config.poll,
        ..FollowConfig::new(deployment.subject(), deployment.emitters())
    };
    let follower = Follower::open(rpc.clone(), db.chain().clone(), follow, convert::event, ledger.clone()).await?;
    let send = SenderConfig {
        finality_depth: config.finality_depth.get(),
        poll: config.poll,
        ..SenderConfig::new(deployment.chain_id)
    };
    let sender = Sender::open(rpc.clone(), db.chain().clone(), key.clone(), send).await?;
    Ok((follower, sender))
}

/// Tries until it works, or is refused, or `shutdown`: a node, or a store, may come up after its scheduler.
async fn patiently<T, F: Future<Output = Result<T, SchedulerError>>>(
    shutdown: &CancellationToken,
    door: &mut Door,
    attempt: impl Fn() -> F,
) -> Result<T, SchedulerError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Err(error) if error.class() == Class::Retry && !shutdown.is_cancelled() => {
                observe::waits_for_node(&error, pause);
                door.keep_waiting(observe::chain(&error))?;
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shutdown.cancelled() => return Err(error),
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}

/// Where the scheduler will serve. While it can't, whoever comes is told why.
struct Door {
    listener: TcpListener,
    waiting: Option<(watch::Sender<String>, CancellationToken, JoinSet<io::Result<()>>)>,
}

impl Door {
    fn keep_waiting(&mut self, cause: String) -> Result<(), SchedulerError> {
        if let Some((told, _, _)) = &self.waiting {
            told.send_replace(cause);
            return Ok(());
        }
        let address = self.listener.local_addr();
        let (told, heard) = watch::channel(cause);
        let stop = CancellationToken::new();
        let mut parts = JoinSet::new();
        let second = same_socket(&self.listener).map_err(|source| SchedulerError::Listen {
            address: address.unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0))),
            source,
        })?;
        let serving =
            axum::serve(second, api::waiting_room(heard)).with_graceful_shutdown(stop.clone().cancelled_owned());
        parts.spawn(async move { serving.await });
        self.waiting = Some((told, stop, parts));
        Ok(())
    }

    async fn open(self) -> TcpListener {
        if let Some((_, stop, mut parts)) = self.waiting {
            stop.cancel();
            // Its answers take no time; one that hangs is cut off when the parts are dropped.
            drop(timeout(DRAIN, parts.join_next()).await);
        }
        self.listener
    }
}

#[cfg(unix)]
fn same_socket(listener: &TcpListener) -> io::Result<TcpListener> {
    use std::os::fd::AsFd as _;
    let copy = listener.as_fd().try_clone_to_owned()?;
    TcpListener::from_std(copy.into())
}

struct Parts {
    config: Config,
    deployment: Deployment,
    key: Signer,
    faults: Faults,
    blobs: Blobs,
    db: Database,
    signals: Arc<Signals>,
    operator: OperatorAddr,
    pool: alloy::primitives::B256,
}

impl Parts {
    fn run(
        self,
        follower: Following,
        sender: Sender,
        listener: TcpListener,
        address: SocketAddr,
        shutdown: CancellationToken,
    ) -> Running {
        let Self { config, deployment, key, faults, blobs, db, signals, operator, pool } = self;
        let (following, sending) = (follower.watch(), sender.watch());
        let stages = Stages { intake: shutdown, money: CancellationToken::new(), rest: CancellationToken::new() };
        let presence = Arc::new(Presence::new());
        let library = Arc::new(Library::default());
        let seen = watch::Sender::new(Arc::new(View::default()));
        let Results { unused_bytes, unused_age, .. } = config.results;
        let unused = Unused { max_bytes: unused_bytes, max_age: unused_age };
        let intake = Arc::new(Intake::new(db.clone(), blobs.clone(), unused));
        let actor = Arc::new(Actor {
            db: db.clone(),
            signer: key,
            domain: deployment.domain(),
            sender: sending.clone(),
            presence: presence.clone(),
            signals: signals.clone(),
            faults,
        });
        let api = Api {
            db: db.clone(),
            blobs: blobs.clone(),
            intake: intake.clone(),
            library: library.clone(),
            actor: actor.clone(),
            presence: presence.clone(),
            live: Live::new(),
            signals,
            seen: seen.subscribe(),
            tip: following.tip.clone(),
            follower: following.health,
            sender: sending.health,
            stop: stages.intake.clone(),
            pool,
            operator,
            domain: deployment.domain(),
            heartbeat: config.heartbeat,
            silence: config.silence(),
            max_jobs: config.max_jobs,
        };
        let strays = Strays { intake: intake.clone(), blobs: blobs.clone() };
        let reconciler = Reconciler {
            viewer: Viewer { db: db.clone(), presence, library },
            actor,
            intake,
            policy: config.policy(),
            tip: following.tip,
            moved: sending.moved,
            seen,
            told: None,
        };
        let mut parts = JoinSet::new();
        let (intake, money, rest) = (stages.intake.clone(), stages.money.clone(), stages.rest.clone());
        let (send, look) = (money.clone(), money.clone());
        parts.spawn(async move { ("api", serve(listener, api, intake).await) });
        parts.spawn(async move { ("reconcile", reconciler.run(money).await.map_err(SchedulerError::from)) });
        parts.spawn(async move {
            strays.run(look).await;
            ("strays", Ok(()))
        });
        parts.spawn(async move { ("outbox", sender.run(send).await.map_err(SchedulerError::from)) });
        parts.spawn(async move { ("follow", follower.run(rest).await.map_err(SchedulerError::from)) });
        observe::started(address, pool);
        Running { address, parts, stages, db }
    }
}

impl From<ReconcileError> for SchedulerError {
    fn from(error: ReconcileError) -> Self {
        Self::Reconcile(observe::chain(&error))
    }
}

async fn serve(listener: TcpListener, api: Api, stop: CancellationToken) -> Result<(), SchedulerError> {
    let at = listener.local_addr();
    // Messages are small and answers are waited for.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let drained = stop.clone();
    let serving = axum::serve(listener, api::routes(Arc::new(api))).with_graceful_shutdown(stop.cancelled_owned());
    let failed =
        |source| SchedulerError::Listen { address: at.unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0))), source };
    tokio::select! {
        served = serving.into_future() => served.map_err(failed),
        // An upload that is still under way is cut off, and tried again by whoever sends it.
        () = async { drained.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

impl Running {
    /// Waits until the scheduler has stopped: after the shutdown, or because a part of it can't go on.
    ///
    /// # Errors
    /// [`SchedulerError`] of the part that ended first.
    pub async fn wait(mut self) -> Result<(), SchedulerError> {
        let mut first = None;
        while let Some(ended) = self.parts.join_next().await {
            let (name, result) = match ended {
                Ok(ended) => ended,
                Err(_) => ("a part that panicked", Err(SchedulerError::Ended("a part that panicked"))),
            };
            let was_asked = self.stages.intake.is_cancelled();
            let result = if was_asked { result } else { result.and(Err(SchedulerError::Ended(name))) };
            if let Err(error) = result {
                observe::task_of_program_ended(name, Some(&error));
                first.get_or_insert(error);
            }
            // Each stage stops once the one before has: what the interface took in is still looked after.
            match name {
                "api" => self.stages.money.cancel(),
                _ if self.parts.len() <= 1 => self.stages.rest.cancel(),
                _ => {}
            }
            self.stages.intake.cancel();
            if name != "api" {
                self.stages.money.cancel();
            }
        }
        self.db.close().await;
        observe::stopped();
        first.map_or(Ok(()), Err)
    }
}
