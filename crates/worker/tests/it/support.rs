//! An engine, a busybox image made from nothing, and a task to run in it.

use alloy::primitives::{Address, B256};
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::{
    job::{Image, Limits},
    units::OciDigest,
};
use berth_worker::{
    config::{DockerShare, Quota},
    runtime::{Ended, Outcome, Request, Runtime as _, RuntimeError, TaskFolder, docker::Docker},
};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::{collections::BTreeMap, collections::HashMap, fs, path::Path, process::Command, time::Duration};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// Debian's busybox-static, which scripts/setup.sh installs.
const BUSYBOX: &str = "/bin/busybox";
const REPOSITORY: &str = "berth-test-busybox";

/// The engine as a user has it, to look behind the worker's back.
pub(crate) async fn engine() -> bollard::Docker {
    engine_at(None).await
}

async fn engine_at(host: Option<&str>) -> bollard::Docker {
    let engine = match host {
        Some(host) => bollard::Docker::connect_with_host(host),
        None => bollard::Docker::connect_with_defaults(),
    };
    let engine = engine.expect("the share's host, DOCKER_HOST or the default socket");
    engine.negotiate_version().await.expect("a running Docker engine: scripts/docker-engine.sh starts one")
}

/// A busybox image, imported once, by its config digest.
pub(crate) async fn busybox() -> Image {
    static IMAGE: OnceCell<Image> = OnceCell::const_new();
    IMAGE.get_or_init(|| async { import(&engine().await, "1", &["ENV FROM_IMAGE=yes"]).await }).await.clone()
}

/// Imports busybox with changes to its configuration. An image of that tag is taken as it is.
pub(crate) async fn import(engine: &bollard::Docker, tag: &str, changes: &[&str]) -> Image {
    let reference = format!("{REPOSITORY}:{tag}");
    if let Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) =
        engine.inspect_image(&reference).await
    {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(REPOSITORY)
            .tag(tag)
            .changes(changes.iter().map(|change| (*change).to_owned()).collect());
        let body = bollard::body_full(root_filesystem().into());
        let imported: Vec<_> =
            engine.create_image(Some(options.build()), Some(body), None).try_collect().await.expect("imports");
        assert!(!imported.is_empty());
    }
    let inspected = engine.inspect_image(&reference).await.expect("was just imported");
    let config: OciDigest = inspected.id.expect("an image has an id").parse().expect("an id is a digest");
    Image { reference, config: Some(config), manifest: None }
}

fn root_filesystem() -> Vec<u8> {
    let listed = Command::new(BUSYBOX).arg("--list").output().expect("busybox-static is installed");
    let applets = String::from_utf8(listed.stdout).expect("names are text");
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    let program = fs::read(BUSYBOX).expect("busybox is readable");
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "bin/busybox", program.as_slice()).expect("into memory");
    // A link called busybox would link to itself.
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox").expect("into memory");
    }
    archive.into_inner().expect("into memory")
}

/// A worker's engine with one task.
pub(crate) struct Case {
    pub(crate) engine: bollard::Docker,
    pub(crate) worker: WorkerAddr,
    pub(crate) docker: Docker,
    pub(crate) request: Request,
    pub(crate) folder: tempfile::TempDir,
}

impl Case {
    /// A shell script to run in busybox.
    pub(crate) async fn new(script: &str) -> Self {
        Self::with(script, DockerShare::default()).await
    }

    /// The same with another share.
    pub(crate) async fn with(script: &str, share: DockerShare) -> Self {
        let engine = engine_at(share.host.as_deref()).await;
        let image = match share.host {
            Some(_) => import(&engine, "1", &[]).await,
            None => busybox().await,
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let worker = WorkerAddr::new(Address::from(rand::random::<[u8; 20]>()));
        let tasks = folder.path().join("tasks");
        let task = TaskId::new(B256::from(rand::random::<[u8; 32]>()));
        let request = Request {
            task,
            image,
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: BTreeMap::new(),
            stdin: None,
            data: Vec::new(),
            file: None,
            limits: Limits { memory_bytes: 64 << 20, disk_bytes: 4 << 20, cpu_millis: 2_000, ..Limits::default() },
            wall: Duration::from_secs(60),
            folder: TaskFolder::new(&tasks, task),
        };
        fs::create_dir_all(request.folder.inputs()).expect("writable");
        Self { engine, docker: connect(share, worker, &tasks).await, worker, request, folder }
    }

    pub(crate) fn input(&self, name: &str, bytes: &[u8]) {
        fs::write(self.request.folder.inputs().join(name), bytes).expect("writable");
    }

    pub(crate) async fn run(&self) -> Result<Outcome, RuntimeError> {
        self.docker.run(&self.request, &CancellationToken::new()).await
    }

    /// Runs, expects exit 0 and gives standard output.
    pub(crate) async fn said(&self) -> String {
        let outcome = self.run().await.expect("runs");
        assert_eq!(outcome.ended, Ended::Exited(0), "{}", self.stderr());
        self.stdout()
    }

    pub(crate) fn stdout(&self) -> String {
        read(&self.request.folder.stdout())
    }

    pub(crate) fn stderr(&self) -> String {
        read(&self.request.folder.stderr())
    }

    /// Waits until the job says `begun` on standard error.
    pub(crate) async fn begun(&self) {
        begun(&self.engine, self.request.task).await;
    }

    /// Another life of the same worker.
    pub(crate) async fn reborn(&mut self) {
        self.docker = connect(DockerShare::default(), self.worker, &self.folder.path().join("tasks")).await;
    }

    /// Containers of this worker, as the engine has them.
    pub(crate) async fn containers(&self) -> Vec<String> {
        containers(&self.engine, self.worker).await
    }

    /// Mounts below this worker's folder.
    pub(crate) fn mounts(&self) -> Vec<String> {
        mounts(self.folder.path())
    }

    /// Clears the task, and checks that nothing is left.
    pub(crate) async fn clear(self) {
        self.docker.clear(self.request.task, &self.request.folder).await.expect("clears");
        assert_eq!(self.containers().await, Vec::<String>::new());
        assert_eq!(self.mounts(), Vec::<String>::new());
    }
}

/// Waits until a task's job says `begun` on standard error.
pub(crate) async fn begun(engine: &bollard::Docker, task: TaskId) {
    let label = format!("berth.task={task}");
    let filters = HashMap::from([("label", vec![label.as_str()]), ("event", vec!["start"])]);
    // From the beginning: it may have started before this question.
    let options = EventsOptionsBuilder::default().since("0").filters(&filters).build();
    let started = engine.events(Some(options)).next().await.expect("the engine lives").expect("an event");
    let id = started.actor.and_then(|actor| actor.id).expect("a container");
    let options = LogsOptionsBuilder::default().follow(true).stderr(true).build();
    let said = engine.logs(&id, Some(options)).next().await.expect("says something").expect("a log");
    assert_eq!(said.to_string(), "begun\n");
}

/// A worker's containers, as the engine has them.
pub(crate) async fn containers(engine: &bollard::Docker, worker: WorkerAddr) -> Vec<String> {
    let label = format!("berth.worker={worker}");
    let filters = HashMap::from([("label", vec![label.as_str()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let listed = engine.list_containers(Some(options)).await.expect("lists");
    listed.into_iter().filter_map(|container| container.id).collect()
}

/// Mounts below a folder.
pub(crate) fn mounts(below: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mounts").expect("Linux");
    let below = below.display().to_string();
    table.lines().filter(|line| line.contains(&below)).map(str::to_owned).collect()
}

async fn connect(share: DockerShare, worker: WorkerAddr, tasks: &Path) -> Docker {
    fs::create_dir_all(tasks).expect("writable");
    Docker::connect(share, worker, tasks.to_owned()).await.expect("a running Docker engine")
}

/// A share whose output folders are only watched.
pub(crate) fn watched() -> DockerShare {
    DockerShare { quota: Quota::Watched, ..DockerShare::default() }
}

pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
