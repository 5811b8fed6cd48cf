//! A devnet in a temporary folder, of which nothing is left at the end.

mod background;
mod configured;
mod damage;
mod held;

pub use background::Background;
pub use damage::Displaced;
pub use held::HELD;

use crate::{
    binary::{Call, Outcome},
    books::Books,
    chain::Chain,
    engine::Engine,
    folder::Folder,
    process::{LOOK_EVERY, Service},
};
use alloy::primitives::Address;
use berth_chain::{Deployment, Endpoint, Rpc, signer::keystore};
use berth_protocol::WorkerAddr;
use berth_wire::{announcement::Announcement, client::SchedulerClient, scheduler::WorkerView};
use eyre::{Context as _, ContextCompat as _, ensure, eyre};
use serde::Deserialize;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

/// What a test waits for comes within seconds, or never.
const PATIENCE: Duration = Duration::from_secs(40);
/// The service that is order book and scheduler in one.
pub const SCHEDULER: &str = "services";
/// The services that are workers: `worker-1`, and so on.
const WORKER: &str = "worker-";

/// A market on this machine.
#[derive(Debug)]
pub struct World {
    folder: Folder,
    /// Whether it was stopped in good order.
    stopped: bool,
    /// The Docker engine.
    pub engine: Engine,
    /// The chain.
    pub chain: Chain,
    /// The scheduler's interface.
    pub scheduler: SchedulerClient,
    /// Where the contracts are.
    pub deployment: Deployment,
    services: BTreeMap<String, Service>,
    workers: BTreeMap<String, Address>,
}

/// What `berth devnet up` says of a process.
#[derive(Debug, Deserialize)]
struct Component {
    name: String,
    pid: i32,
}

/// What it says in all.
#[derive(Debug, Deserialize)]
struct Devnet {
    rpc: String,
    scheduler: String,
    profile: PathBuf,
    components: Vec<Component>,
}

/// Runs a test in a world of its own, and demands that nothing is left of it, whatever came of the test.
///
/// # Errors
/// The test's own, or something is left.
pub async fn within(workers: u16, test: impl AsyncFnOnce(&mut World) -> eyre::Result<()>) -> eyre::Result<()> {
    let mut world = World::up(workers).await?;
    let result = test(&mut world).await;
    let logs = if result.is_err() { world.last_words() } else { String::new() };
    let down = world.down().await;
    result.wrap_err(logs)?;
    down
}

impl World {
    /// Starts a devnet with so many workers.
    ///
    /// # Errors
    /// There is no engine, no `berth`, or the devnet does not come up.
    pub async fn up(workers: u16) -> eyre::Result<Self> {
        let engine = Engine::with_image().await?;
        let folder = Folder::new()?;
        let call = Call::new(folder.path(), &engine.host)?;
        let devnet: Devnet = call.args(["devnet", "up", "--workers", &workers.to_string()]).json().await?;
        let deployment = Deployment::load(&deployment_file(&devnet.profile)?)?;
        let rpc = Rpc::new(Endpoint::parse(&devnet.rpc)?)?;
        let chain = Chain { rpc, berth: deployment.berth, token: deployment.token };
        let scheduler = SchedulerClient::new(&devnet.scheduler);
        let services = devnet.components.into_iter().map(|found| Ok((found.name, Service::of(found.pid)?)));
        let services = services.collect::<eyre::Result<_>>()?;
        let (stopped, addresses) = (false, BTreeMap::new());
        let mut world = Self { folder, stopped, engine, chain, scheduler, deployment, services, workers: addresses };
        world.workers = (1..=workers).map(|n| world.address_of(n)).collect::<eyre::Result<_>>()?;
        Ok(world)
    }

    /// The name and the address of the n-th worker, by its key.
    fn address_of(&self, n: u16) -> eyre::Result<(String, Address)> {
        let name = Self::worker_name(n);
        let config: toml::Table =
            toml::from_str(&std::fs::read_to_string(self.devnet().join(format!("{name}.toml")))?)?;
        let key = config.get("key").and_then(toml::Value::as_str).wrap_err("a worker without a key")?;
        let address = keystore::address(&self.devnet().join(key))?.wrap_err("a key without an address")?;
        Ok((name, address))
    }

    /// The folder from which commands are run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The devnet's own folder.
    pub fn devnet(&self) -> PathBuf {
        self.folder.path().join(".berth")
    }

    /// A file of the test's own, for a job.
    ///
    /// # Errors
    /// It can't be written.
    pub fn file(&self, name: &str, bytes: &[u8]) -> eyre::Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// A call of `berth` in this world.
    ///
    /// # Errors
    /// There is no `berth`.
    pub fn berth<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> eyre::Result<Call> {
        Ok(Call::new(self.folder.path(), &self.engine.host)?.args(arguments))
    }

    /// `berth run` of the tests' image with a shell script as its command, and flags before it.
    ///
    /// # Errors
    /// There is no `berth`.
    pub fn run(&self, flags: &[&str], script: &str) -> eyre::Result<Call> {
        let command = ["--", "sh", "-c", script];
        Ok(self.berth(["run", crate::engine::IMAGE])?.args(flags).args(command))
    }

    /// All money, every wei of it checked.
    ///
    /// # Errors
    /// As [`Books::audited`].
    pub async fn books(&self) -> eyre::Result<Books> {
        Books::audited(&self.chain).await
    }

    /// A service, by the name that `devnet status` has for it.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn service(&mut self, name: &str) -> eyre::Result<&mut Service> {
        let names = self.services.keys().cloned().collect::<Vec<_>>().join(", ");
        self.services.get_mut(name).wrap_err_with(|| format!("no service is called {name}; there are {names}"))
    }

    /// The name of the n-th worker, from 1.
    pub fn worker_name(n: u16) -> String {
        format!("{WORKER}{n}")
    }

    /// `kill -9`. Of a worker the scheduler knows it, too, afterwards: what it says of who is connected is true.
    ///
    /// # Errors
    /// It stays.
    pub async fn kill(&mut self, name: &str) -> eyre::Result<()> {
        self.service(name)?.kill().await?;
        let worker = self.workers.get(name).copied();
        let Some(worker) = worker.filter(|_| self.services.get(SCHEDULER).is_some_and(Service::is_alive)) else {
            return Ok(());
        };
        until(&format!("the scheduler knows that {name} is gone"), async || {
            let Ok(workers) = self.scheduler.workers().await else { return Ok(None) };
            Ok((!workers.iter().any(|view| view.worker == worker && view.connected)).then_some(()))
        })
        .await
    }

    /// Starts a service that has ended, with the arguments that it had first and these further ones.
    ///
    /// # Errors
    /// It runs, or can't be started.
    pub fn restart(&mut self, name: &str, further: &[OsString]) -> eyre::Result<()> {
        let log = self.folder.path().join(format!("{name}.again.log"));
        self.service(name)?.restart(further, &log)
    }

    /// What the scheduler says of all workers.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn workers(&self) -> eyre::Result<Vec<WorkerView>> {
        Ok(self.scheduler.workers().await?)
    }

    /// Waits until so many workers are connected, exactly.
    ///
    /// # Errors
    /// It does not come about.
    pub async fn connected(&self, count: usize) -> eyre::Result<()> {
        until(&format!("{count} workers are connected"), async || {
            // One that does not answer has nobody connected, and says nothing of it.
            let Ok(workers) = self.scheduler.workers().await else { return Ok(None) };
            Ok((workers.iter().filter(|worker| worker.connected).count() == count).then_some(()))
        })
        .await
    }

    /// Waits until the scheduler answers, and every worker whose process runs is connected.
    ///
    /// # Errors
    /// It does not come about.
    pub async fn ready(&self) -> eyre::Result<()> {
        let workers = self.services.iter().filter(|(name, service)| name.starts_with(WORKER) && service.is_alive());
        self.connected(workers.count()).await
    }

    /// The address of the n-th worker.
    ///
    /// # Errors
    /// There is none.
    pub fn address(&self, n: u16) -> eyre::Result<Address> {
        self.workers.get(&Self::worker_name(n)).copied().wrap_err_with(|| format!("there is no worker {n}"))
    }

    /// The name of the service that is this worker.
    ///
    /// # Errors
    /// No service is.
    pub fn name_of_worker(&self, worker: Address) -> eyre::Result<String> {
        let found = self.workers.iter().find(|(_, address)| **address == worker).map(|(name, _)| name.clone());
        found.wrap_err_with(|| format!("no service is worker {worker}"))
    }

    /// A worker's containers, running or not.
    ///
    /// # Errors
    /// The engine does not say.
    pub async fn containers_of(&self, worker: Address) -> eyre::Result<Vec<String>> {
        self.engine.containers_of(&WorkerAddr::new(worker).to_string()).await
    }

    /// Waits until nothing of this worker's is left in the engine, as it should be when its tasks have ended.
    ///
    /// # Errors
    /// It does not come about.
    pub async fn cleared(&self, worker: Address) -> eyre::Result<()> {
        until("its containers are gone", async || Ok(self.containers_of(worker).await?.is_empty().then_some(()))).await
    }

    /// The same for all workers.
    ///
    /// # Errors
    /// It does not come about.
    pub async fn all_cleared(&self) -> eyre::Result<()> {
        for worker in self.workers.values() {
            self.cleared(*worker).await?;
        }
        Ok(())
    }

    /// How many tasks stand in the workers' journals that are neither settled nor ended.
    ///
    /// # Errors
    /// A journal can't be read.
    pub async fn open_in_journals(&self) -> eyre::Result<i64> {
        self.count_in_journals("SELECT count(*) FROM tasks WHERE phase NOT IN ('settled', 'ended')").await
    }

    /// How many tasks stand in this phase in the workers' journals.
    ///
    /// # Errors
    /// A journal can't be read.
    pub async fn in_journals(&self, phase: &str) -> eyre::Result<i64> {
        ensure!(phase.bytes().all(|byte| byte.is_ascii_lowercase()), "{phase} is no phase");
        self.count_in_journals(&format!("SELECT count(*) FROM tasks WHERE phase = '{phase}'")).await
    }

    async fn count_in_journals(&self, statement: &str) -> eyre::Result<i64> {
        let mut open = 0;
        for name in self.workers.keys() {
            let journal = self.devnet().join("data").join(name).join("journal.db");
            let options = SqliteConnectOptions::new().filename(journal).read_only(true);
            let mut connection = SqliteConnection::connect_with(&options).await?;
            let counted = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(statement.to_owned()));
            open += counted.fetch_one(&mut connection).await?;
            connection.close().await?;
        }
        Ok(open)
    }

    /// Where the scheduler listens.
    ///
    /// # Errors
    /// Its URL names no address.
    pub fn scheduler_address(&self) -> eyre::Result<SocketAddr> {
        Ok(self.scheduler.url().trim_start_matches("http://").trim_end_matches('/').parse()?)
    }

    /// Where the node listens.
    ///
    /// # Errors
    /// Its URL names no address.
    pub fn node_address(&self) -> eyre::Result<SocketAddr> {
        Ok(self.chain.rpc.endpoint().to_string().trim_start_matches("http://").parse()?)
    }

    /// Has a worker reach the scheduler by another address from now on.
    ///
    /// # Errors
    /// It does not come up again.
    pub async fn route_worker(&mut self, n: u16, by: SocketAddr) -> eyre::Result<()> {
        let name = Self::worker_name(n);
        let config = self.devnet().join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&config)?;
        let routed = text.replace(&self.scheduler_address()?.to_string(), &by.to_string());
        ensure!(routed != text, "{} does not say where the scheduler is", config.display());
        self.kill(&name).await?;
        std::fs::write(&config, routed)?;
        self.restart(&name, &[])?;
        self.ready().await
    }

    /// Waits until the scheduler has heard this from a worker. Before that, a task would go by what it said last.
    ///
    /// # Errors
    /// It does not come about.
    pub async fn announced(&self, n: u16, what: &str, is: impl Fn(&Announcement) -> bool) -> eyre::Result<()> {
        let worker = self.address(n)?;
        until(&format!("worker {n} announces {what}"), async || {
            let workers = self.workers().await?;
            let said = workers.iter().find(|view| view.worker == worker).and_then(|view| view.announced.as_ref());
            Ok(said.is_some_and(|announced| is(&announced.said)).then_some(()))
        })
        .await
    }

    /// Starts a service that can't start, and gives what it said.
    ///
    /// # Errors
    /// It runs, or starts.
    pub async fn start_to_fail(&mut self, name: &str, environment: &[(&str, &str)]) -> eyre::Result<Outcome> {
        self.service(name)?.run_to_end(environment).await
    }

    /// What is left of the workers' containers and mounts.
    async fn remains(&self) -> eyre::Result<Vec<String>> {
        let mut remains = Vec::new();
        for worker in self.workers.values() {
            let containers = self.containers_of(*worker).await?;
            remains.extend(containers.into_iter().map(|id| format!("container {id}")));
        }
        remains.extend(self.folder.mounts()?.iter().map(|at| format!("mount {}", at.display())));
        Ok(remains)
    }

    /// Stops everything.
    ///
    /// # Errors
    /// `berth devnet down` fails, or leaves something: a process, a container, a mount.
    pub async fn down(mut self) -> eyre::Result<()> {
        // Those that the test started are its own children, unknown to `devnet down` by their new pids.
        for service in self.services.values_mut().filter(|service| service.is_child()) {
            service.signal(nix::sys::signal::Signal::SIGCONT);
            service.signal(nix::sys::signal::Signal::SIGTERM);
            service.ended().await?;
        }
        let down = self.berth(["devnet", "down"])?.run().await?;
        ensure!(down.code == Some(0), "{down}");
        self.stopped = true;
        for (name, service) in &self.services {
            ensure!(!service.is_alive(), "{name} outlives `devnet down`");
        }
        let remains = self.remains().await?;
        ensure!(remains.is_empty(), "the world leaves {}", remains.join(", "));
        Ok(())
    }

    /// The ends of all services' logs, for the report of a failed test.
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        let logs = [self.folder.path().to_owned(), self.devnet(), self.devnet().join("logs")];
        let files = logs.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        for path in files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "log")) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(25)..].join("\n");
            words.push_str(&format!("--- the end of {}\n{end}\n", path.display()));
        }
        words
    }
}

impl Drop for World {
    /// For tests that panic, and worlds that can't be stopped: whatever of the services still runs is killed, by its id,
    /// and what they had in the engine is cleared.
    fn drop(&mut self) {
        for service in self.services.values() {
            service.signal(nix::sys::signal::Signal::SIGKILL);
        }
        if let (false, Ok(down)) = (self.stopped, self.berth(["devnet", "down"])) {
            let mut down = down.command();
            // Nobody is left to tell of a failure: the test has one of its own.
            drop(down.as_std_mut().stdout(Stdio::null()).stderr(Stdio::null()).status());
        }
    }
}

/// Waits for something that nobody tells of, looking again and again until it gives a value.
///
/// # Errors
/// Looking fails, or patience ends.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> eyre::Result<Option<T>>) -> eyre::Result<T> {
    let waited = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.map_err(|_| eyre!("it does not come about that {what}"))?
}

/// The file that says where the contracts are, by the profile.
fn deployment_file(profile: &Path) -> eyre::Result<PathBuf> {
    let settings: toml::Table = toml::from_str(&std::fs::read_to_string(profile)?)?;
    let file = settings.get("deployment").and_then(toml::Value::as_str).wrap_err("the profile names no deployment")?;
    Ok(profile.parent().wrap_err("a profile is in a folder")?.join(file))
}
