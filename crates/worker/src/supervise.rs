//! The worker's life: opens its folder, journal and engines, clears up after its last life, then keeps two things going:
//! the connection, and as many tasks as fit. A stop takes no new tasks, lets the running ones end, tells the scheduler,
//! and only then disconnects.

use crate::{
    assignment::DeclineCode,
    cache::{Cache, CacheError},
    clock::now_s,
    config::{Config, ConfigError},
    journal::{Identity, Journal, JournalError, Phase, Row},
    observe,
    run::Bench,
    runtime::{Runtime, RuntimeError},
    session::{Session, SessionError},
    share::{Me, Shelf, Stock},
    socket::Caller,
    stance::{self, Stance},
    status::{Board, Running, Status},
    watch::{Watch, WatchError},
};
use berth_chain::{Class, Deployment, Endpoint, Rpc, past::Past, signer::Signer};
use berth_fault::Faults;
use berth_protocol::{AssetId, TaskId, WorkerAddr};
use berth_wire::{job::Job, job::Limits, units::Decimal};
use nix::fcntl::{Flock, FlockArg};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// After the last task of a stop has ended, its report is out within this, or goes out at the next start.
const FAREWELL: Duration = Duration::from_secs(5);
/// A cancelled task has cleared up within this: an engine takes up to half a minute to kill.
const CANCEL_TAKES: Duration = Duration::from_secs(60);
/// A result whose settlement is overdue by a week, whatever the clocks say, is forgotten: its scheduler was rebuilt.
const LONG_OVER_S: u64 = 7 * 24 * 60 * 60;
/// The status file is written this often at the most.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// Tasks that still need the engine, or the store: their folders stay.
const OPEN: [Phase; 7] = [
    Phase::Accepted,
    Phase::Fetched,
    Phase::Running,
    Phase::Computed,
    Phase::Committed,
    Phase::Closed,
    Phase::Revealed,
];

/// A worker that can't go on.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its folder can't be used.
    #[error("the worker's folder {path} can't be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Another worker uses its folder.
    #[error("another worker is running in {path}")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of what was fetched can't be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Nothing that it shares works.
    #[error("nothing that this worker shares works")]
    NothingShared(#[source] RuntimeError),
    /// An engine fails while clearing up.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Its journal fails.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The scheduler turns it away for good.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It can't look at the chain.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

impl WorkerError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Config(error) => error.class(),
            Self::Folder { .. } | Self::Busy { .. } | Self::NothingShared(_) | Self::Cache(_) => Class::Refused,
            Self::Runtime(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::Session(error) => error.class(),
            Self::Watch(error) => error.class(),
        }
    }

    /// What the owner can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint(),
            Self::Folder { path, .. } => {
                format!("give a folder that this user may write, or: mkdir -p {}", path.display())
            }
            Self::Cache(_) => "give the worker a `folder` that this user may write, in worker.toml".to_owned(),
            Self::Busy { .. } => {
                "stop the other one, or give this worker a `folder` of its own in worker.toml".to_owned()
            }
            Self::NothingShared(error) | Self::Runtime(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Watch(error) => error.hint(),
        }
    }
}

/// Runs a worker until `shutdown`, then drains it.
///
/// `key` is the worker's own; `deployment` says on which contract its signatures hold. `faults` is for tests.
///
/// # Errors
/// [`WorkerError`]: its configuration, folder, engines or journal can't be used, or the scheduler turns it away for good.
pub async fn run(
    config: Config,
    key: Signer,
    deployment: Deployment,
    faults: Faults,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    config.check()?;
    let (domain, rpc) = (deployment.domain(), node(&config)?);
    let worker = WorkerAddr::new(key.address());
    let pool = AssetId::new(config.pool).expect("the check above lets only pools pass");
    let folder = open_folder(&config.folder)?;
    let _held = lock(&folder)?;
    let identity = Identity { worker, pool, domain };
    let journal = Journal::open(&folder.join("journal.db"), identity, faults).await?;
    let tasks = folder.join("tasks");
    fs::create_dir_all(&tasks).map_err(|source| WorkerError::Folder { path: tasks.clone(), source })?;
    let cache = Cache::open(folder.join("cache"))?;
    let me = Me { domain, worker, pool };
    let (shelf, stock, given) =
        Shelf::open(config.clone(), me, folder.clone(), tasks.clone()).await.map_err(WorkerError::NothingShared)?;
    sweep(&journal, &stock.borrow().clone().runtimes).await?;
    let board = Arc::new(Board::new(&folder, Status::new(&stock.borrow())));
    let caller = Caller { scheduler: config.scheduler.clone(), pool, domain, key: key.clone() };
    let past = Past::new(rpc.clone(), &deployment);
    let (session, link) = Session::new(caller, journal.clone(), stock.clone(), board.clone());
    let news = session.tasks.clone();
    let watch = Watch {
        journal: journal.clone(),
        rpc,
        deployment,
        key,
        confirmations: config.confirmations.get(),
        board: board.clone(),
        look: session.look.clone(),
        tell: session.wake.clone(),
        news: news.clone(),
    };
    let look = watch.look.clone();
    let stopping = CancellationToken::new();
    let bench = Arc::new(Bench { journal, stock: stock.clone(), cache, past, tasks, link, look, stopping });
    let (at_work, work) = (HashMap::new(), JoinSet::new());
    let (drain, shown) = (config.drain, None);
    let floor = Floor { bench, board, folder, news, stock, given, drain, at_work, work, shown, stale: true };
    let stop = CancellationToken::new();
    let (session, watch, shelf) = (session.keep(stop.clone()), watch.keep(stop.clone()), shelf.keep(stop.clone()));
    let outside = async {
        // Each ends only by `stop`, or with an error that ends the worker.
        tokio::try_join!(async { Ok(Box::pin(session).await?) }, async { Ok(Box::pin(watch).await?) }, async {
            Box::pin(shelf).await;
            Ok(())
        })
        .map(drop)
    };
    supervise(floor, Box::pin(outside), shutdown, stop).await
}

/// The node that the worker believes. It need not answer yet.
fn node(config: &Config) -> Result<Rpc, WorkerError> {
    let endpoint = Endpoint::parse(&config.rpc).expect("the configuration's check has parsed it");
    Ok(Rpc::new(endpoint).map_err(WatchError::from)?)
}

/// Keeps the connection and the tasks going; whichever ends first ends the other.
async fn supervise(
    mut floor: Floor,
    mut connection: impl Future<Output = Result<(), WorkerError>> + Unpin,
    shutdown: CancellationToken,
    stop: CancellationToken,
) -> Result<(), WorkerError> {
    let ended = {
        let mut tasks = Box::pin(floor.work(shutdown));
        tokio::select! {
            ended = &mut connection => Err(ended),
            drained = &mut tasks => Ok(drained),
        }
    };
    match ended {
        Ok(drained) => {
            stop.cancel();
            // What could not be told now is in the journal.
            drop(tokio::time::timeout(FAREWELL, connection).await);
            drained
        }
        Err(ended) => {
            floor.abandon().await?;
            ended
        }
    }
}

fn open_folder(path: &Path) -> Result<PathBuf, WorkerError> {
    let failed = |source| WorkerError::Folder { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(failed)?;
    // Engines need whole paths.
    fs::canonicalize(path).map_err(failed)
}

/// Held as long as the worker runs; the system lets go of it with the process.
fn lock(folder: &Path) -> Result<Flock<fs::File>, WorkerError> {
    let failed = |source| WorkerError::Folder { path: folder.to_owned(), source };
    let file = fs::File::create(folder.join("lock")).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| WorkerError::Busy { path: folder.to_owned() })
}

/// Clears up after an earlier life: whatever belongs to no task that goes on.
async fn sweep(journal: &Journal, runtimes: &[Arc<dyn Runtime>]) -> Result<(), WorkerError> {
    let held: HashSet<TaskId> = journal.tasks(&OPEN).await?.into_iter().collect();
    for row in journal.rows(&[Phase::Uploaded, Phase::Reported]).await? {
        let settled_by = berth_protocol::DealTerms::from(row.assign.terms).deadlines().settle;
        if settled_by.plus(LONG_OVER_S).seconds() < now_s() {
            journal
                .give_up(row.task, "the time to settle it is long over, and the scheduler does not know of it")
                .await?;
        }
    }
    for runtime in runtimes {
        runtime.sweep(&held).await?;
    }
    Ok(())
}

/// What an upload uses of what jobs share.
const NOTHING: Limits = Limits { cpu_millis: 0, memory_bytes: 0, disk_bytes: 0, pids: 0, network: false };

/// A task that is being worked on.
struct AtWork {
    /// By which mail it was given.
    assigned_seq: u64,
    cancel: CancellationToken,
    limits: Limits,
}

/// Where tasks are worked on. What is to be done is read from the journal each time; a wake-up carries nothing.
struct Floor {
    bench: Arc<Bench>,
    board: Arc<Board>,
    /// The worker's own.
    folder: PathBuf,
    news: Arc<Notify>,
    stock: watch::Receiver<Arc<Stock>>,
    /// What the jobs are given, in thousandths of a core.
    given: Arc<AtomicU32>,
    drain: Duration,
    at_work: HashMap<TaskId, AtWork>,
    work: JoinSet<(TaskId, Result<(), JournalError>)>,
    /// When the status file was last written.
    shown: Option<Instant>,
    /// Whether something has changed since.
    stale: bool,
}

impl Floor {
    /// Works on tasks until `shutdown`, then lets them end.
    async fn work(&mut self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        while !shutdown.is_cancelled() {
            self.activate(false).await?;
            if self.is_drained().await? {
                stance::write(&self.folder, Stance::Open)
                    .map_err(|source| WorkerError::Folder { path: self.folder.clone(), source })?;
                break;
            }
            self.wait(&shutdown).await?;
        }
        observe::draining(self.at_work.len());
        let (never, patience) = (CancellationToken::new(), self.drain);
        let drained = async {
            loop {
                self.activate(true).await?;
                if self.at_work.is_empty() {
                    return self.show(true).await;
                }
                self.wait(&never).await?;
            }
        };
        match tokio::time::timeout(patience, drained).await {
            Ok(drained) => drained,
            Err(_) => self.abandon().await,
        }
    }

    /// Whether the owner has had the worker drained, and nothing is left to do or to hand over.
    async fn is_drained(&self) -> Result<bool, WorkerError> {
        if self.stock.borrow().stance != Stance::Draining || !self.at_work.is_empty() {
            return Ok(false);
        }
        let left = [&OPEN[..], &[Phase::Uploaded]].concat();
        Ok(self.bench.journal.tasks(&left).await?.is_empty() && self.bench.journal.declined().await?.is_empty())
    }

    /// Waits for something to do, and writes down for the owner what was done.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    async fn wait(&mut self, stop: &CancellationToken) -> Result<(), WorkerError> {
        loop {
            let due = self.shown.map_or_else(Instant::now, |shown| shown + STATUS_EVERY);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.news.notified() => break,
                Ok(()) = self.stock.changed() => break,
                Some(ended) = self.work.join_next() => {
                    self.ended(ended)?;
                    break;
                }
                () = tokio::time::sleep_until(due), if self.stale => self.show(false).await?,
            }
        }
        self.stale = true;
        Ok(())
    }

    /// Compares what the journal holds with what is being worked on, and closes the gap.
    async fn activate(&mut self, draining: bool) -> Result<(), WorkerError> {
        let open = self.bench.journal.open_tasks().await?;
        let opened = self.bench.journal.rows(&[Phase::Revealed]).await?;
        let wanted: HashMap<TaskId, u64> = open.iter().chain(&opened).map(|row| (row.task, row.assigned_seq)).collect();
        for (task, at_work) in &self.at_work {
            // Also where it has been given again already: that run begins when this one has ended.
            if wanted.get(task) != Some(&at_work.assigned_seq) {
                at_work.cancel.cancel();
            }
        }
        self.bench.tidy(&OPEN, |task| self.at_work.contains_key(&task)).await?;
        for row in opened {
            if !self.at_work.contains_key(&row.task) {
                self.start(row, NOTHING);
            }
        }
        let closed = self.stock.borrow_and_update().said.terms.closed.clone();
        for row in &open {
            if self.at_work.contains_key(&row.task) {
                continue;
            }
            // A result that is here goes up, whatever else: its pay is earned.
            let why = match &closed {
                _ if draining && row.phase != Phase::Computed => Some("the worker is being stopped"),
                Some(why) if row.phase == Phase::Accepted => Some(why.as_str()),
                Some(_) | None => None,
            };
            if let Some(detail) = why {
                if self.bench.journal.decline(row.task, DeclineCode::Policy.name(), detail).await? {
                    observe::declined(row.task, DeclineCode::Policy, detail);
                    self.bench.link.wake();
                }
            } else if let Some(limits) = self.fits(row) {
                self.start(row.clone(), limits);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// The limits of a task, if there is room for it now.
    fn fits(&self, row: &Row) -> Option<Limits> {
        // A job that can't be read is refused by its check, and uses nothing.
        let limits = Job::from_bytes(row.assign.job.as_bytes()).map_or(NOTHING, |job| job.limits);
        if self.at_work.is_empty() {
            return Some(limits);
        }
        let used = |of: fn(&Limits) -> u64| {
            self.at_work.values().map(|at_work| of(&at_work.limits)).fold(of(&limits), u64::saturating_add)
        };
        let capacity = self.stock.borrow().said.capacity;
        let room = self.at_work.len() < usize::try_from(capacity.slots).unwrap_or(usize::MAX)
            && used(|limits| limits.cpu_millis.into()) <= capacity.cpu_millis.into()
            && used(|limits| limits.memory_bytes) <= capacity.memory_bytes
            && used(|limits| limits.disk_bytes) <= capacity.disk_bytes;
        room.then_some(limits)
    }

    fn start(&mut self, row: Row, limits: Limits) {
        let (task, cancel, bench) = (row.task, CancellationToken::new(), self.bench.clone());
        self.at_work.insert(task, AtWork { assigned_seq: row.assigned_seq, cancel: cancel.clone(), limits });
        self.note_given();
        self.work.spawn(async move {
            let is_open = row.phase == Phase::Revealed;
            let ended = if is_open { bench.deliver(&row, &cancel).await } else { bench.advance(&row, &cancel).await };
            (task, ended)
        });
    }

    fn ended(&mut self, ended: Result<(TaskId, Result<(), JournalError>), JoinError>) -> Result<(), WorkerError> {
        // A panic in a task is this program's, and goes on here.
        let (task, ended) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.at_work.remove(&task);
        self.note_given();
        Ok(ended?)
    }

    fn note_given(&self) {
        let given = self.at_work.values().map(|at_work| at_work.limits.cpu_millis).fold(0, u32::saturating_add);
        self.given.store(given, Ordering::Relaxed);
    }

    /// Ends all tasks at once; they clear up after themselves.
    async fn abandon(&mut self) -> Result<(), WorkerError> {
        self.bench.stopping.cancel();
        for at_work in self.at_work.values() {
            at_work.cancel.cancel();
        }
        let all = async {
            while let Some(ended) = self.work.join_next().await {
                self.ended(ended)?;
            }
            Ok(())
        };
        // What is left then is cleared at the next start.
        tokio::time::timeout(CANCEL_TAKES, all).await.unwrap_or(Ok(()))
    }

    /// Tells the owner.
    async fn show(&mut self, draining: bool) -> Result<(), WorkerError> {
        let open = self.bench.journal.open_tasks().await?;
        let totals = self.bench.journal.totals().await?;
        let running =
            |row: &Row| Running { task: row.task.get(), phase: row.phase.name().to_owned(), since_ms: row.changed_ms };
        let stock = self.stock.borrow().clone();
        let seen = Status::new(&stock);
        let written = self.board.write(|status| {
            status.capacity = seen.capacity;
            (status.engines, status.images) = (seen.engines, seen.images);
            (status.datasets, status.packages) = (seen.datasets, seen.packages);
            (status.absent, status.stance, status.closed) = (seen.absent, seen.stance, seen.closed);
            status.running = open.iter().map(running).collect();
            status.settled = totals.settled;
            status.ended = totals.ended;
            status.unsettled = totals.unsettled;
            status.earned = Decimal(totals.earned);
            status.draining = draining || seen.stance == Stance::Draining;
        });
        if let Err(error) = written {
            observe::status_unwritten(&error.to_string());
        }
        self.shown = Some(Instant::now());
        self.stale = false;
        Ok(())
    }
}
