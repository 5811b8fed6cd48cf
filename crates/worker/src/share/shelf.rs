//! What is shared now, and what keeps it so: engines, images, data and packages are probed at the start and looked at again
//! and again; what fails is taken from the announcement, with the reason, until it is there again.

use super::{declare, probe};
use crate::{
    assignment::{Standing, chain},
    clock::now_ms,
    config::Config,
    dataset::Dataset,
    gate::Gate,
    observe,
    runtime::{Runtime, RuntimeError, RuntimeKind},
    stance::{self, Stance},
    status::Absent,
};
use berth_protocol::{AssetId, WorkerAddr, domain::Domain};
use berth_wire::{
    job::Image,
    name,
    worker::{Announcement, SharedDataset, Shares},
};
use jiff::Timestamp;
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The owner's file and hand are looked at so often: two questions to the file system.
const GLANCE_EVERY: Duration = Duration::from_millis(500);
/// An engine that answers and fails its probe is not bothered with the next one sooner.
const PROBE_AGAIN: Duration = Duration::from_secs(30);

/// Who a worker is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Me {
    pub(crate) domain: Domain,
    pub(crate) worker: WorkerAddr,
    pub(crate) pool: AssetId,
}

/// What is shared at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Stock {
    pub(crate) me: Me,
    pub(crate) config: Arc<Config>,
    /// All engines that have worked since the start: what runs there goes on, or is cleared.
    pub(crate) runtimes: Vec<Arc<dyn Runtime>>,
    pub(crate) datasets: Vec<Arc<Dataset>>,
    /// What the scheduler is told.
    pub(crate) said: Announcement,
    pub(crate) absent: Vec<Absent>,
    pub(crate) stance: Stance,
}

impl Stock {
    /// What assignments are checked against.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            domain: self.me.domain,
            worker: self.me.worker,
            pool: self.me.pool,
            capacity: self.said.capacity,
            only: declare::only(&self.config),
            runtimes: self.runtimes.iter().map(|runtime| (runtime.kind(), runtime.capabilities())).collect(),
            shares: self.said.shares.clone(),
            terms: self.said.terms.clone(),
        }
    }
}

/// An engine that has worked.
#[derive(Debug)]
struct Engine {
    runtime: Arc<dyn Runtime>,
    is_up: bool,
    /// After a failed probe, when the next is due.
    probe_at: Option<Instant>,
}

/// What keeps the stock.
#[derive(Debug)]
pub(crate) struct Shelf {
    me: Me,
    config: Arc<Config>,
    /// When the file was last written to, as far as is known.
    written: Option<SystemTime>,
    folder: PathBuf,
    tasks: PathBuf,
    engines: Vec<Engine>,
    /// What is where data are declared, whether it is what it should be or not.
    datasets: Vec<Arc<Dataset>>,
    stance: Stance,
    gate: Gate,
    looked: Instant,
    /// What the worker's jobs are given now, in thousandths of a core.
    given: Arc<AtomicU32>,
    told: watch::Sender<Arc<Stock>>,
}

impl Shelf {
    /// Probes everything once.
    ///
    /// # Errors
    /// The first engine's, if none works: a worker that shares nothing gets nothing.
    pub(crate) async fn open(
        config: Config,
        me: Me,
        folder: PathBuf,
        tasks: PathBuf,
    ) -> Result<(Self, watch::Receiver<Arc<Stock>>, Arc<AtomicU32>), RuntimeError> {
        let config = Arc::new(config);
        let (working, mut failed) = probe::engines(&config, me.worker, &tasks, &[]).await;
        if working.is_empty() && !failed.is_empty() {
            return Err(failed.remove(0).1);
        }
        let said = Announcement {
            capacity: declare::capacity(&config),
            shares: Shares::default(),
            terms: config.policy.terms(),
        };
        let (datasets, absent, stance) = (Vec::new(), Vec::new(), Stance::Open);
        let blank = Stock { me, config: config.clone(), runtimes: Vec::new(), datasets, said, absent, stance };
        let (told, stock) = watch::channel(Arc::new(blank));
        let up = |runtime| Engine { runtime, is_up: true, probe_at: None };
        let given = Arc::new(AtomicU32::new(0));
        let mut shelf = Self {
            me,
            written: written(&config),
            config,
            folder,
            tasks,
            engines: working.into_iter().map(up).collect(),
            datasets: Vec::new(),
            stance: Stance::Open,
            gate: Gate::default(),
            looked: Instant::now(),
            given: given.clone(),
            told,
        };
        shelf.glance();
        let failed = failed.into_iter().map(|(kind, error)| engine_absent(kind, &error)).collect();
        shelf.fill(failed).await;
        Ok((shelf, stock, given))
    }

    /// Looks again and again until `stop`.
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        // A system that gives no signals has its file watched all the same.
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut glances = tokio::time::interval(GLANCE_EVERY);
        loop {
            let is_told = tokio::select! {
                () = stop.cancelled() => return,
                _ = async { hangup.as_mut().expect("guarded").recv().await }, if hangup.is_some() => true,
                _ = glances.tick() => false,
            };
            if is_told {
                self.reload();
            }
            if self.glance() || is_told || self.looked.elapsed() >= self.config.look_every {
                self.look().await;
            }
        }
    }

    /// Whether the owner has done something.
    fn glance(&mut self) -> bool {
        let stance = stance::read(&self.folder).unwrap_or_else(|error| {
            observe::stance_unread(&error.to_string());
            self.stance
        });
        let is_moved = stance != self.stance;
        if is_moved {
            observe::stance_taken(stance);
            self.stance = stance;
        }
        let is_edited = written(&self.config) != self.written;
        if is_edited {
            self.reload();
        }
        is_moved || is_edited
    }

    /// Takes in the owner's file anew; one that is wrong changes nothing.
    fn reload(&mut self) {
        let Some(source) = self.config.source.clone() else { return };
        self.written = written(&self.config);
        let config = match Config::load(&source) {
            Ok(config) => config,
            Err(error) => return observe::config_unusable(&chain(&error), &error.hint()),
        };
        if config == *self.config {
            return;
        }
        let (old, new) = (&*self.config, &config);
        let needs_restart = (&old.scheduler, old.pool, &old.key, &old.folder, &old.rpc, old.confirmations, old.drain)
            != (&new.scheduler, new.pool, &new.key, &new.folder, &new.rpc, new.confirmations, new.drain);
        observe::config_reloaded(needs_restart);
        for (kind, is_same) in [
            (RuntimeKind::Docker, old.docker == new.docker || new.docker.is_none()),
            (RuntimeKind::Qemu, old.qemu == new.qemu || new.qemu.is_none()),
            (RuntimeKind::Slurm, old.slurm == new.slurm || new.slurm.is_none()),
            (RuntimeKind::Virtualbox, old.virtualbox == new.virtualbox || new.virtualbox.is_none()),
        ] {
            if !is_same {
                self.engines.retain(|engine| engine.runtime.kind() != kind);
            }
        }
        self.config = Arc::new(config);
    }

    /// Looks at everything.
    async fn look(&mut self) {
        let passed = self.looked.elapsed();
        self.looked = Instant::now();
        self.gate.pass(self.given.load(Ordering::Relaxed), passed);
        let here: Vec<RuntimeKind> = self.engines.iter().map(|engine| engine.runtime.kind()).collect();
        let (came, failed) = probe::engines(&self.config, self.me.worker, &self.tasks, &here).await;
        self.engines.extend(came.into_iter().map(|runtime| Engine { runtime, is_up: true, probe_at: None }));
        self.fill(failed.into_iter().map(|(kind, error)| engine_absent(kind, &error)).collect()).await;
    }

    /// Finds out what is there, and tells of it if that is news.
    async fn fill(&mut self, mut absent: Vec<Absent>) {
        let (engines, images) = self.engines_up(&mut absent).await;
        let known = self.datasets.len();
        self.forget_changed().await;
        if self.datasets.len() < known {
            // Nobody counts on them while they are read again.
            let last = self.told.borrow().absent.clone();
            self.tell(engines.clone(), images.clone(), last);
        }
        self.read_datasets(&mut absent).await;
        self.tell(engines, images, absent);
    }

    async fn engines_up(&mut self, absent: &mut Vec<Absent>) -> (Vec<RuntimeKind>, Vec<Image>) {
        let (mut up, mut there) = (Vec::new(), Vec::new());
        let shared = declare::engines(&self.config);
        for engine in self.engines.iter_mut().filter(|engine| shared.contains(&engine.runtime.kind())) {
            let kind = engine.runtime.kind();
            let images = match engine.runtime.images().await {
                Ok(images) => images,
                Err(error) => {
                    engine.is_up = false;
                    absent.push(engine_absent(kind, &error));
                    continue;
                }
            };
            let is_due = engine.probe_at.is_none_or(|at| at <= Instant::now());
            if !engine.is_up && !is_due {
                absent.push(Absent::new("engine", kind_name(kind), "it failed its last probe", "it is probed again"));
                continue;
            }
            if !engine.is_up
                && let Err(error) = engine.runtime.probe().await
            {
                engine.probe_at = Some(Instant::now() + PROBE_AGAIN);
                absent.push(engine_absent(kind, &error));
                continue;
            }
            (engine.is_up, engine.probe_at) = (true, None);
            up.push(kind);
            there.extend(images);
            absent.extend(engine.runtime.absent());
        }
        (up, there)
    }

    /// Lets go of data that are not declared any more, or do not look as they did when they were read.
    async fn forget_changed(&mut self) {
        let mut known = std::mem::take(&mut self.datasets);
        known.retain(|dataset| self.config.datasets.iter().any(|file| file.path == dataset.path));
        let looking = move || known.into_iter().filter(|dataset| dataset.is_as_read()).collect();
        self.datasets = blocking(looking).await;
    }

    /// Reads what is declared and not known, one after the other: hashing is work for a disk.
    async fn read_datasets(&mut self, absent: &mut Vec<Absent>) {
        for file in self.config.clone().datasets.clone() {
            let known = self.datasets.iter().find(|known| known.path == file.path).cloned();
            let path = file.path.clone();
            let read = match known {
                Some(known) => Ok(known),
                None => blocking(move || Dataset::read(&path)).await.map(Arc::new).inspect(|read| {
                    self.datasets.push(read.clone());
                }),
            };
            let checked = read.and_then(|read| read.is(file.digest.0));
            if let Err(error) = checked {
                absent.push(Absent::new("dataset", &file.name, &chain(&error), error.hint()));
            }
        }
    }

    fn tell(&self, engines: Vec<RuntimeKind>, images: Vec<Image>, absent: Vec<Absent>) {
        let now = i64::try_from(now_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        let closed = self.gate.closed(&self.config.policy, self.stance, now);
        let datasets = self.config.datasets.iter().filter_map(|file| {
            let is_it = |known: &&Arc<Dataset>| known.path == file.path && known.sha256 == file.digest.0;
            let known = self.datasets.iter().find(is_it)?;
            Some(SharedDataset { name: file.name.clone(), sha256: known.sha256, size: known.size })
        });
        let shares = Shares {
            engines,
            images,
            datasets: datasets.collect(),
            packages: name::folded_all(self.config.packages.iter().map(String::as_str)),
            fetches_disks: declare::fetches_disks(&self.config),
            fetches_inputs: self.config.fetch.inputs,
        };
        let terms = berth_wire::worker::Terms { closed, ..self.config.policy.terms() };
        let stock = Stock {
            me: self.me,
            config: self.config.clone(),
            runtimes: self.engines.iter().map(|engine| engine.runtime.clone()).collect(),
            datasets: self.datasets.clone(),
            said: Announcement { capacity: declare::capacity(&self.config), shares, terms },
            absent,
            stance: self.stance,
        };
        self.told.send_if_modified(|last| {
            let is_same = |a: &Arc<dyn Runtime>, b: &Arc<dyn Runtime>| Arc::ptr_eq(a, b);
            let is_news = last.said != stock.said
                || last.absent != stock.absent
                || last.stance != stock.stance
                || !Arc::ptr_eq(&last.config, &stock.config)
                || last.datasets != stock.datasets
                || last.runtimes.len() != stock.runtimes.len()
                || !last.runtimes.iter().zip(&stock.runtimes).all(|(a, b)| is_same(a, b));
            if is_news {
                say(last, &stock);
                *last = Arc::new(stock);
            }
            is_news
        });
    }
}

/// Does what takes a disk its time. A panic in there is one of this program's, and goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Writes down what came and went.
fn say(last: &Stock, stock: &Stock) {
    for absent in stock.absent.iter().filter(|absent| !last.absent.contains(absent)) {
        observe::share_failed(&absent.kind, &absent.name, &absent.reason, &absent.hint);
    }
    let (old, new) = (&last.said.shares, &stock.said.shares);
    if old != new {
        observe::shares_announced(new.engines.len(), new.images.len(), new.datasets.len(), new.packages.len());
    }
    if last.said.terms.closed != stock.said.terms.closed {
        observe::gate_moved(stock.said.terms.closed.as_deref());
    }
}

fn engine_absent(kind: RuntimeKind, error: &RuntimeError) -> Absent {
    Absent::new("engine", kind_name(kind), &chain(error), &error.hint())
}

/// As people call an engine.
const fn kind_name(kind: RuntimeKind) -> &'static str {
    match kind {
        RuntimeKind::Docker => "docker",
        RuntimeKind::Qemu => "qemu",
        RuntimeKind::Virtualbox => "virtualbox",
        RuntimeKind::Slurm => "slurm",
    }
}

fn written(config: &Config) -> Option<SystemTime> {
    fs::metadata(config.source.as_ref()?).and_then(|found| found.modified()).ok()
}
