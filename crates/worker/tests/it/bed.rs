//! A worker's engine with one task, whichever engine it is.

use crate::slurm;
use crate::support::{begun, busybox, containers, engine, mounts, read};
use alloy::primitives::{Address, B256};
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::{
    job::{Image, Limits},
    units::{OciDigest, Sha256},
};
use berth_worker::{
    config::{Accel, DockerShare, MachineFile, QemuShare, VirtualboxShare},
    runtime::{
        Ended, Outcome, Request, Runtime, RuntimeError, RuntimeKind, TaskFolder, docker::Docker, qemu::Qemu,
        virtualbox::VirtualBox,
    },
};
use bollard::query_parameters::KillContainerOptions;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often it is looked for what nobody tells of.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A job begins within this, on a busy machine too. (VirtualBox runs where all of it is emulated twice over.)
pub(crate) const PATIENCE: Duration = Duration::from_secs(if cfg!(feature = "virtualbox-driver") { 3_000 } else { 60 });
/// A job is done within this.
const WALL: Duration = Duration::from_secs(if cfg!(feature = "virtualbox-driver") { 3_000 } else { 120 });

pub(crate) struct Bed {
    pub(crate) kind: RuntimeKind,
    pub(crate) runtime: Box<dyn Runtime>,
    pub(crate) worker: WorkerAddr,
    pub(crate) request: Request,
    pub(crate) folder: tempfile::TempDir,
}

/// A file of the machine that scripts/build-vm-image.sh has made.
pub(crate) fn machine(name: &str) -> MachineFile {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/vm/image").join(name);
    let file = fs::canonicalize(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/build-vm-image.sh", file.display()));
    let digest = OciDigest(Sha256::of(&fs::read(&file).expect("readable")));
    MachineFile { reference: name.to_owned(), file, digest }
}

/// Many times slower than KVM, and the same everywhere.
pub(crate) fn emulated(images: Vec<MachineFile>) -> QemuShare {
    QemuShare { accel: Accel::Tcg, images, ..QemuShare::default() }
}

/// Whether jobs of a runtime are containers, of the engine that tests look into.
pub(crate) const fn is_container(kind: RuntimeKind) -> bool {
    matches!(kind, RuntimeKind::Docker | RuntimeKind::Slurm)
}

/// The VirtualBox that scripts/virtualbox.sh has unpacked.
pub(crate) fn virtualbox(images: Vec<MachineFile>) -> VirtualboxShare {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/virtualbox/VBoxManage");
    VirtualboxShare { program, network: false, images }
}

impl Bed {
    /// A shell script to run in busybox.
    pub(crate) async fn new(kind: RuntimeKind, script: &str) -> Self {
        let image = match kind {
            RuntimeKind::Docker | RuntimeKind::Slurm => busybox().await,
            RuntimeKind::Qemu => machine("machine.json").image(),
            RuntimeKind::Virtualbox => machine("disk.vdi").image(),
        };
        Self::with(kind, script, image, false).await
    }

    /// The same with a network that the owner allows.
    pub(crate) async fn networked(kind: RuntimeKind, script: &str) -> Self {
        let bed = Self::new(kind, script).await;
        let image = bed.request.image;
        let mut bed = Self::with(kind, script, image, true).await;
        bed.request.limits.network = true;
        bed
    }

    async fn with(kind: RuntimeKind, script: &str, image: Image, network: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let worker = WorkerAddr::new(Address::from(rand::random::<[u8; 20]>()));
        let tasks = folder.path().join("tasks");
        let task = TaskId::new(B256::from(rand::random::<[u8; 32]>()));
        let runtime = runtime(kind, worker, tasks.clone(), network).await;
        let pids = if runtime.capabilities().pids { 64 } else { u16::MAX.into() };
        let limits =
            Limits { memory_bytes: 128 << 20, disk_bytes: 4 << 20, cpu_millis: 1_000, pids, ..Limits::default() };
        let request = Request {
            task,
            image,
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: BTreeMap::new(),
            stdin: None,
            data: Vec::new(),
            file: None,
            limits,
            wall: WALL,
            folder: TaskFolder::new(&tasks, task),
        };
        fs::create_dir_all(request.folder.inputs()).expect("writable");
        Self { kind, runtime, worker, request, folder }
    }

    pub(crate) fn input(&self, name: &str, bytes: &[u8]) {
        fs::write(self.request.folder.inputs().join(name), bytes).expect("writable");
    }

    pub(crate) async fn run(&self) -> Result<Outcome, RuntimeError> {
        self.runtime.run(&self.request, &CancellationToken::new()).await
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
        if is_container(self.kind) {
            return begun(&engine().await, self.request.task).await;
        }
        let said = async {
            while !self.stderr().starts_with("begun\n") {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.expect("begins");
    }

    /// Another life of the same worker.
    pub(crate) async fn reborn(&mut self) {
        self.runtime = runtime(self.kind, self.worker, self.folder.path().join("tasks"), false).await;
    }

    /// Ends the job's container or machine as somebody else would.
    pub(crate) async fn kill(&self) {
        match self.kind {
            RuntimeKind::Docker | RuntimeKind::Slurm => {
                let (engine, none) = (engine().await, None::<KillContainerOptions>);
                let ids = containers(&engine, self.worker).await;
                engine.kill_container(&ids[0], none).await.expect("kills");
            }
            RuntimeKind::Qemu | RuntimeKind::Virtualbox => {
                for (pid, program) in self.processes() {
                    if program.starts_with("qemu-system") || program.starts_with("VBoxHeadless") {
                        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
                    }
                }
            }
        }
    }

    /// Processes with this worker's label on their command line, and what they are called.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let label = format!("berth-{}-", self.worker);
        let entries = fs::read_dir("/proc").expect("Linux").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            String::from_utf8_lossy(&line).contains(&label).then_some((pid, name.trim().to_owned()))
        };
        pids.filter_map(ours).collect()
    }

    /// All that the engine has of this worker's.
    pub(crate) async fn remains(&self) -> Vec<String> {
        let mut remains = mounts(self.folder.path());
        remains.extend(self.processes().into_iter().map(|(pid, name)| format!("process {pid} {name}")));
        for groups in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"] {
            let entries =
                fs::read_dir(groups).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| Vec::new());
            let names = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
            remains.extend(names.filter(|name| name.contains(&self.worker.to_string())));
        }
        if is_container(self.kind) {
            remains.extend(containers(&engine().await, self.worker).await);
        }
        if self.kind == RuntimeKind::Virtualbox {
            remains.extend(self.services());
        }
        remains
    }

    /// Processes and sockets of this worker's VirtualBoxes.
    pub(crate) fn services(&self) -> Vec<String> {
        let label = format!("berth-{}-", &self.worker.to_string()[2..18]);
        let entries = |folder| fs::read_dir(folder).expect("Linux").flatten();
        let environment = |pid: &String| fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let processes = entries("/proc").filter_map(|entry| entry.file_name().into_string().ok());
        let processes = processes.filter(|pid| {
            pid.starts_with(|digit: char| digit.is_ascii_digit())
                && String::from_utf8_lossy(&environment(pid)).contains(&format!("VBOX_IPC_SOCKETID={label}"))
        });
        let sockets = entries("/tmp").filter_map(|entry| entry.file_name().into_string().ok());
        processes.chain(sockets.filter(|name| name.starts_with(&format!(".vbox-{label}")))).collect()
    }

    /// What must be the same after a run as before it: the image's own files or layers.
    pub(crate) async fn base(&self) -> String {
        match self.kind {
            RuntimeKind::Docker | RuntimeKind::Slurm => {
                let id = self.request.image.config.expect("has one").to_string();
                format!("{:?}", engine().await.inspect_image(&id).await.expect("there").root_fs)
            }
            RuntimeKind::Qemu | RuntimeKind::Virtualbox => {
                let folder = machine("machine.json").file.parent().map(PathBuf::from).expect("in a folder");
                let mut files: Vec<_> =
                    fs::read_dir(folder).expect("there").flatten().map(|file| file.path()).collect();
                files.sort();
                let hash = |file: &PathBuf| Sha256::of(&fs::read(file).expect("readable")).to_string();
                files.iter().map(hash).collect()
            }
        }
    }

    /// Clears the task, and checks that nothing is left of it but its folder with inputs and streams.
    pub(crate) async fn clear(self) {
        self.runtime.clear(self.request.task, &self.request.folder).await.expect("clears");
        assert_eq!(self.remains().await, Vec::<String>::new());
        if self.kind == RuntimeKind::Slurm {
            slurm::nothing_left(&self).await;
        }
        let folder = &self.request.folder;
        for path in [folder.output(), folder.disk_image(), folder.machine(), folder.stdin_given()] {
            assert!(!path.exists(), "{} is left", path.display());
        }
    }
}

async fn runtime(kind: RuntimeKind, worker: WorkerAddr, tasks: PathBuf, network: bool) -> Box<dyn Runtime> {
    fs::create_dir_all(&tasks).expect("writable");
    match kind {
        RuntimeKind::Docker => {
            let share = DockerShare { network, ..DockerShare::default() };
            Box::new(Docker::connect(share, worker, tasks).await.expect("a running Docker engine"))
        }
        RuntimeKind::Qemu => {
            let share = QemuShare { network, ..emulated(vec![machine("machine.json")]) };
            Box::new(Qemu::connect(share, worker, tasks).await.expect("QEMU is installed: scripts/setup.sh"))
        }
        RuntimeKind::Slurm => Box::new(slurm::connect(slurm::share(&tasks, network), worker, tasks).await),
        RuntimeKind::Virtualbox => {
            let share = VirtualboxShare { network, ..virtualbox(vec![machine("disk.vdi")]) };
            let connected = VirtualBox::connect(share, worker, tasks).await;
            Box::new(connected.expect("VirtualBox is there: scripts/virtualbox.sh"))
        }
    }
}
