//! Jobs of a real cluster: what happens to them behind the worker's back.

use crate::{
    bed::Bed,
    cluster::Cluster,
    support::{containers, engine},
};
use berth_protocol::WorkerAddr;
use berth_worker::{
    config::SlurmShare,
    runtime::{Capabilities, Ended, RuntimeError, RuntimeKind, slurm::Slurm},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What Slurm, or a job that ends, has done within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What scripts/slurm-cluster.sh calls its nodes.
const NODES: &str = "node1,node2";
/// Runs until the worker's own folder says otherwise, and counts its starts.
const HELD: &str = "echo start >> /iexec_out/starts; echo begun >&2; \
                    while [ -e /iexec_in/hold ]; do sleep 0.1; done; echo last; exit 7";

#[expect(
    clippy::disallowed_methods,
    reason = "where scripts/slurm-cluster.sh and scripts/docker-engine.sh say what runs"
)]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The `slurm.conf` of the cluster that all tests share.
fn shared() -> PathBuf {
    told("SLURM_CONF").expect("a running cluster: scripts/slurm-cluster.sh run … starts one").into()
}

/// `berth`, as cargo has built it.
fn program() -> PathBuf {
    let here = std::env::current_exe().expect("this program");
    let folder = here.parent().and_then(Path::parent).expect("a test lies in deps");
    let program = folder.join("berth");
    assert!(program.is_file(), "there is no `berth` beside the tests: run `cargo build --workspace` first");
    program
}

/// The tests' cluster, for a worker with this folder of tasks.
pub(crate) fn share(tasks: &Path, network: bool) -> SlurmShare {
    let scratch = tasks.parent().expect("in the worker's folder").join("node");
    fs::create_dir_all(&scratch).expect("writable");
    let fresh = SlurmShare::default();
    let host = told("DOCKER_HOST").unwrap_or_else(|| fresh.host.clone());
    SlurmShare { conf: Some(shared()), program: Some(program()), scratch, host, network, ..fresh }
}

pub(crate) async fn connect(share: SlurmShare, worker: WorkerAddr, tasks: PathBuf) -> Slurm {
    Slurm::connect(share, worker, tasks).await.expect("a running cluster")
}

/// One of Slurm's commands, as an administrator uses it.
fn slurm(conf: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("SLURM_CONF", conf).output().expect("Slurm is installed");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ids and states of a worker's jobs, the ended ones too.
fn jobs(conf: &Path, worker: WorkerAddr) -> Vec<(String, String)> {
    let listed = slurm(conf, "squeue", &["--noheader", "--states=all", "--format=%i|%T|%j"]);
    let ours = listed.lines().filter(|line| line.contains(&worker.to_string()));
    ours.map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>())
        .map(|fields| (fields[0].clone(), fields[1].clone()))
        .collect()
}

fn is_over(state: &str) -> bool {
    !matches!(state, "PENDING" | "CONFIGURING" | "RUNNING" | "COMPLETING" | "SUSPENDED")
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Checks that neither the cluster nor the node's folder, nor the worker's, has anything of a worker.
pub(crate) async fn nothing_left(bed: &Bed) {
    let node = bed.folder.path().join("node").join(format!("berth-{}", bed.worker));
    let claims = bed.folder.path().join("tasks/slurm/claims");
    assert_eq!((entries(&node), entries(&claims)), (0, 0), "of the node's folder, and claims");
    assert!(!bed.request.folder.path().join("slurm").exists(), "the order is left");
    if let Some(conf) = told("SLURM_CONF") {
        // Slurm takes a moment to see that a job has ended.
        until("its jobs are over", async || jobs(conf.as_ref(), bed.worker).iter().all(|(_, state)| is_over(state)))
            .await;
    }
}

impl Cluster {
    /// The node of a job that runs.
    fn node_of(&self, worker: WorkerAddr) -> String {
        let listed = slurm(&self.conf(), "squeue", &["--noheader", "--states=RUNNING", "--format=%N|%j"]);
        let ours = listed.lines().find(|line| line.contains(&worker.to_string())).expect("it runs");
        ours.split('|').next().unwrap_or_default().to_owned()
    }

    fn set(&self, nodes: &str, state: &str) {
        let (nodes, state) = (format!("nodename={nodes}"), format!("state={state}"));
        slurm(&self.conf(), "scontrol", &["update", &nodes, &state, "reason=test"]);
    }

    /// Takes the nodes back, which may have come back by themselves.
    async fn resume(&self) {
        until("the nodes are back", async || {
            let told = Command::new("scontrol")
                .args(["update", &format!("nodename={NODES}"), "state=resume"])
                .env("SLURM_CONF", self.conf())
                .output()
                .expect("Slurm is installed");
            let state = slurm(&self.conf(), "sinfo", &["--noheader", "--partition=long", "--format=%T"]);
            told.status.success() || state.trim() == "idle"
        })
        .await;
    }

    async fn bed(&self, script: &str, wait: Duration) -> Bed {
        let mut bed = Bed::new(RuntimeKind::Slurm, script).await;
        let tasks = bed.folder.path().join("tasks");
        let share = SlurmShare { conf: Some(self.conf()), wait, ..share(&tasks, false) };
        bed.runtime = Box::new(connect(share, bed.worker, tasks).await);
        bed
    }
}

async fn shared_bed(script: &str, change: impl FnOnce(&mut SlurmShare)) -> Bed {
    let mut bed = Bed::new(RuntimeKind::Slurm, script).await;
    let tasks = bed.folder.path().join("tasks");
    let mut share = share(&tasks, false);
    change(&mut share);
    bed.runtime = Box::new(connect(share, bed.worker, tasks).await);
    bed
}

#[tokio::test]
async fn a_job_that_an_administrator_cancels_is_lost_and_its_container_gone() {
    let bed = Bed::new(RuntimeKind::Slurm, "[ -e /iexec_in/again ] || { echo begun >&2; sleep 600; }; echo done").await;
    let cancel = async {
        bed.begun().await;
        let (id, _) = jobs(&shared(), bed.worker).into_iter().find(|(_, state)| !is_over(state)).expect("it runs");
        slurm(&shared(), "scancel", &[&id]);
    };
    let (lost, ()) = tokio::join!(bed.run(), cancel);
    assert!(matches!(&lost, Err(RuntimeError::Lost(said)) if said.contains("cancelled")), "{lost:?}");
    until("no container is left", async || containers(&engine().await, bed.worker).await.is_empty()).await;
    bed.input("again", b"");
    assert_eq!(bed.said().await, "done\n");
    bed.clear().await;
}

#[tokio::test]
async fn a_job_goes_on_and_ends_while_the_controller_is_away() {
    let cluster = Cluster::start(&[]);
    let bed = cluster.bed(HELD, PATIENCE).await;
    bed.input("hold", b"");
    let restart = async {
        bed.begun().await;
        cluster.script(&["stop", "slurmctld"]);
        // Long enough for the worker to ask, and to get no answer.
        tokio::time::sleep(Duration::from_secs(3)).await;
        fs::remove_file(bed.request.folder.inputs().join("hold")).expect("removes");
    };
    let (outcome, ()) = tokio::join!(bed.run(), restart);
    assert_eq!(outcome.expect("its report needs no controller").ended, Ended::Exited(7));
    assert_eq!(bed.stdout(), "last\n");
    bed.runtime.clear(bed.request.task, &bed.request.folder).await.expect("clears");
    let refused = bed.run().await;
    assert!(matches!(refused, Err(RuntimeError::Unreachable { .. })), "nobody takes a job: {refused:?}");
    cluster.script(&["start", "slurmctld"]);
    // Until it answers, the same is said again.
    let mut outcome = bed.run().await;
    while matches!(outcome, Err(RuntimeError::Unreachable { .. })) {
        tokio::time::sleep(LOOK_EVERY).await;
        outcome = bed.run().await;
    }
    assert_eq!(outcome.expect("runs").ended, Ended::Exited(7));
    bed.clear().await;
}

#[tokio::test]
async fn a_controller_that_restarts_under_a_job_is_asked_again() {
    let cluster = Cluster::start(&[]);
    let bed = cluster.bed(HELD, PATIENCE).await;
    bed.input("hold", b"");
    let restart = async {
        bed.begun().await;
        cluster.script(&["stop", "slurmctld"]);
        cluster.script(&["start", "slurmctld"]);
        until("it knows the job", async || {
            let listed = Command::new("squeue").arg("--noheader").env("SLURM_CONF", cluster.conf()).output();
            listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains(" R "))
        })
        .await;
        fs::remove_file(bed.request.folder.inputs().join("hold")).expect("removes");
    };
    let (outcome, ()) = tokio::join!(bed.run(), restart);
    let outcome = outcome.expect("runs on");
    assert_eq!((outcome.ended, bed.stdout().as_str()), (Ended::Exited(7), "last\n"));
    assert_eq!(fs::read(outcome.output.join("starts")).expect("there"), b"start\n");
    assert_eq!(jobs(&cluster.conf(), bed.worker).len(), 1, "it was submitted once");
    bed.clear().await;
}

#[tokio::test]
async fn a_worker_that_died_submits_nothing_twice_and_a_second_job_of_one_order_does_nothing() {
    let mut bed = Bed::new(RuntimeKind::Slurm, HELD).await;
    bed.input("hold", b"");
    let none = CancellationToken::new();
    tokio::select! {
        ended = bed.runtime.run(&bed.request, &none) => panic!("ended too early: {ended:?}"),
        () = bed.begun() => {}
    }
    // As if the worker's death had left the question whether Slurm has the order.
    let errand = bed.request.folder.path().join("slurm");
    let name = format!("--job-name=berth-{}-{}", bed.worker, bed.request.task);
    let script = errand.join("script").display().to_string();
    let second = slurm(&shared(), "sbatch", &["--parsable", "--mem=64M", &name, "--output=/dev/null", &script]);
    let second = second.trim().to_owned();
    until("the second job is over", async || {
        jobs(&shared(), bed.worker).iter().any(|(id, state)| *id == second && state == "COMPLETED")
    })
    .await;
    bed.reborn().await;
    fs::remove_file(bed.request.folder.inputs().join("hold")).expect("removes");
    let outcome = bed.run().await.expect("goes on");
    assert_eq!(outcome.ended, Ended::Exited(7));
    assert_eq!(fs::read(outcome.output.join("starts")).expect("there"), b"start\n");
    assert_eq!(jobs(&shared(), bed.worker).len(), 2, "the worker submitted one");
    bed.clear().await;
}

#[tokio::test]
async fn an_order_that_slurm_never_got_is_given_to_it_by_the_next_life() {
    let mut bed = Bed::new(RuntimeKind::Slurm, "echo done").await;
    let tasks = bed.folder.path().join("tasks");
    // It dies with the order written, before Slurm has it.
    let broken = SlurmShare { partition: Some("nowhere".into()), ..share(&tasks, false) };
    bed.runtime = Box::new(connect(broken, bed.worker, tasks).await);
    let refused = bed.run().await;
    assert!(matches!(refused, Err(RuntimeError::Engine { .. })), "{refused:?}");
    bed.reborn().await;
    assert_eq!(bed.said().await, "done\n");
    bed.clear().await;
}

/// Processes that Slurm has started for a worker's tasks.
fn steps(bed: &Bed) -> Vec<i32> {
    let folder = bed.request.folder.path().display().to_string();
    let pids = fs::read_dir("/proc").expect("Linux").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let line = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| String::from_utf8_lossy(&line(*pid)).contains(&folder)).collect()
}

#[tokio::test]
async fn what_a_killed_step_leaves_on_its_node_is_cleared_there() {
    let bed = Bed::new(RuntimeKind::Slurm, "[ -e /iexec_in/again ] || { echo begun >&2; sleep 600; }; echo done").await;
    let kill_it = async {
        bed.begun().await;
        for pid in steps(&bed) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
        }
    };
    let (lost, ()) = tokio::join!(bed.run(), kill_it);
    assert!(matches!(lost, Err(RuntimeError::Lost(_))), "{lost:?}");
    assert_eq!(containers(&engine().await, bed.worker).await.len(), 1, "nobody was left to stop it");
    bed.input("again", b"");
    assert_eq!(bed.said().await, "done\n");
    bed.clear().await;
}

#[tokio::test]
async fn a_drained_node_is_waited_for_and_a_failed_one_loses_its_jobs() {
    let cluster = Cluster::start(&[]);
    cluster.set(NODES, "drain");
    let bed =
        cluster.bed("[ -e /iexec_in/again ] || { echo begun >&2; sleep 600; }; echo done", Duration::from_secs(2));
    let bed = bed.await;
    let late = bed.run().await;
    assert!(matches!(&late, Err(RuntimeError::Lost(said)) if said.contains("did not start it")), "{late:?}");
    assert!(jobs(&cluster.conf(), bed.worker).iter().all(|(_, state)| is_over(state)), "it no longer waits");
    cluster.resume().await;
    let fail = async {
        bed.begun().await;
        cluster.set(NODES, "down");
    };
    let (lost, ()) = tokio::join!(bed.run(), fail);
    assert!(matches!(lost, Err(RuntimeError::Lost(_))), "{lost:?}");
    until("no container is left", async || containers(&engine().await, bed.worker).await.is_empty()).await;
    cluster.resume().await;
    bed.input("again", b"");
    let mut outcome = bed.run().await;
    while matches!(&outcome, Err(RuntimeError::Lost(said)) if said.contains("did not start")) {
        outcome = bed.run().await;
    }
    assert_eq!(outcome.expect("runs again").ended, Ended::Exited(0));
    bed.clear().await;
}

/// A node that is drained ends what it has and gets nothing more; what a step that was killed has left on a node is
/// cleared there, though the next run is another node's.
#[tokio::test]
async fn each_node_keeps_and_clears_its_own() {
    let cluster = Cluster::start(&[]);
    let bed = cluster.bed(HELD, PATIENCE).await;
    bed.input("hold", b"");
    let mut nodes = Vec::new();
    let drain = async {
        bed.begun().await;
        nodes.push(cluster.node_of(bed.worker));
        cluster.set(&nodes[0], "drain");
        fs::remove_file(bed.request.folder.inputs().join("hold")).expect("removes");
    };
    let (outcome, ()) = tokio::join!(bed.run(), drain);
    assert_eq!(outcome.expect("a drained node ends its jobs").ended, Ended::Exited(7));
    bed.runtime.clear(bed.request.task, &bed.request.folder).await.expect("clears");

    bed.input("hold", b"");
    // What the first run said is kept: it is no sign of the second.
    fs::remove_file(bed.request.folder.stderr()).expect("removes");
    let kill_it = async {
        until("it has begun", async || bed.stderr().contains("begun")).await;
        nodes.push(cluster.node_of(bed.worker));
        for pid in steps(&bed) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
        }
    };
    let (lost, ()) = tokio::join!(bed.run(), kill_it);
    assert!(matches!(lost, Err(RuntimeError::Lost(_))), "{lost:?}");
    assert_ne!(nodes[0], nodes[1], "the first is drained");
    // Back is the first alone: only the second can clear what the second has.
    cluster.resume().await;
    fs::remove_file(bed.request.folder.inputs().join("hold")).expect("removes");
    assert_eq!(bed.run().await.expect("runs").ended, Ended::Exited(7));
    bed.clear().await;
}

#[tokio::test]
async fn what_is_longer_than_the_partition_allows_is_refused_before_anything_is_submitted() {
    let long = shared_bed("true", |_| {}).await;
    let Capabilities { longest, .. } = long.runtime.capabilities();
    assert_eq!(longest, Some(Duration::from_secs(115 * 60)), "two hours, less what a job takes besides");
    let short = shared_bed("true", |share| share.partition = Some("short".into())).await;
    let said = short.runtime.capabilities().withheld(&short.request.limits, short.request.wall);
    assert!(said.is_some_and(|said| said.contains("0 s at the most")));
    // Of several partitions Slurm takes one that allows it.
    let either = shared_bed("true", |share| share.partition = Some("short,long".into())).await;
    assert_eq!(either.runtime.capabilities().longest, longest);
    let limits = &either.request.limits;
    assert_eq!(either.runtime.capabilities().withheld(limits, Duration::from_secs(115 * 60)), None);
    assert!(either.runtime.capabilities().withheld(limits, Duration::from_secs(115 * 60 + 1)).is_some());
    for bed in [long, short, either] {
        bed.clear().await;
    }
}

/// As where its limit was lowered after the job was taken.
#[tokio::test]
async fn a_job_that_the_partition_will_never_run_is_lost_at_once_with_the_reason() {
    let bed = shared_bed("true", |share| share.partition = Some("short".into())).await;
    let lost = bed.run().await;
    assert!(matches!(&lost, Err(RuntimeError::Lost(said)) if said.contains("PartitionTimeLimit")), "{lost:?}");
    bed.clear().await;
}

#[tokio::test]
async fn slurm_is_told_what_a_job_takes_and_whose_it_is_but_nothing_of_a_requesters() {
    let mut bed = Bed::new(RuntimeKind::Slurm, "echo begun >&2; sleep 600").await;
    bed.request.limits.cpu_millis = 1_500;
    bed.request.environment.insert("SECRET".into(), "'; touch /tmp/pwned; '".into());
    let cancel = CancellationToken::new();
    let watch = async {
        bed.begun().await;
        let (id, _) = jobs(&shared(), bed.worker).remove(0);
        let said = slurm(&shared(), "scontrol", &["show", "job", "--details", &id]);
        let name = format!("JobName=berth-{}-{}", bed.worker, bed.request.task);
        for wanted in [name.as_str(), "NumCPUs=2", "MinMemoryNode=192M", "TimeLimit=00:07:00", "Requeue=0"] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        let script = fs::read_to_string(bed.request.folder.path().join("slurm/script")).expect("there");
        assert!(!said.contains("SECRET") && !script.contains("SECRET") && !script.contains("sleep 600"));
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(bed.runtime.run(&bed.request, &cancel), watch);
    assert_eq!(outcome.expect("ends").ended, Ended::Cancelled);
    bed.clear().await;
}

#[tokio::test]
async fn what_a_probe_has_shown_holds_for_the_next_life_and_for_no_other_settings() {
    let mut bed = Bed::new(RuntimeKind::Slurm, "true").await;
    bed.runtime.probe().await.expect("a sound cluster");
    let probes = jobs(&shared(), bed.worker).len();
    bed.reborn().await;
    bed.runtime.probe().await.expect("as it was");
    let images = bed.runtime.images().await.expect("known");
    assert!(images.iter().any(|image| image.config == bed.request.image.config));
    assert_eq!(jobs(&shared(), bed.worker).len(), probes, "nothing is run for it");
    let tasks = bed.folder.path().join("tasks");
    bed.runtime = Box::new(connect(share(&tasks, true), bed.worker, tasks).await);
    bed.runtime.probe().await.expect("a sound cluster");
    assert_eq!(jobs(&shared(), bed.worker).len(), probes + 1, "other settings are another cluster");
    bed.clear().await;
}

#[tokio::test]
async fn a_job_that_waits_for_its_turn_is_cancelled_there() {
    let cluster = Cluster::start(&[]);
    cluster.set(NODES, "drain");
    let bed = cluster.bed("true", PATIENCE).await;
    let cancel = CancellationToken::new();
    let watch = async {
        until("it waits", async || jobs(&cluster.conf(), bed.worker).iter().any(|(_, state)| state == "PENDING")).await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(bed.runtime.run(&bed.request, &cancel), watch);
    assert_eq!(outcome.expect("ends").ended, Ended::Cancelled);
    assert!(jobs(&cluster.conf(), bed.worker).iter().all(|(_, state)| is_over(state)));
    bed.runtime.sweep(&HashSet::new()).await.expect("sweeps");
    assert_eq!(containers(&engine().await, bed.worker).await, Vec::<String>::new());
    bed.clear().await;
}
