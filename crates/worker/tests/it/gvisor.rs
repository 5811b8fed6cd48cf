//! Containers on a kernel of their own: gVisor, which scripts/docker-engine.sh gives to the engine that it starts.

use crate::{hostile::ESCAPES, support::Case};
use berth_wire::job::Limits;
use berth_worker::{
    config::DockerShare,
    runtime::{Ended, Runtime as _},
};
use std::time::Duration;

async fn case(script: &str) -> Case {
    let share = DockerShare { runtime: Some("runsc".into()), ..DockerShare::default() };
    let mut case = Case::with(script, share).await;
    case.request.limits = Limits { memory_bytes: 128 << 20, pids: Limits::ALL_PIDS, ..case.request.limits };
    case
}

#[tokio::test]
async fn a_job_runs_on_a_kernel_of_its_own() {
    let script = "uname -r; cat /iexec_in/a.txt; cat; echo told >&2; echo kept > /iexec_out/file; id -u; \
                  ls /sys/class/net; for f in /x /iexec_in/x; do touch $f && echo wrote $f; done; exit 42";
    let mut case = case(script).await;
    case.input("a.txt", b"input\n");
    case.request.stdin = Some("a.txt".into());
    let outcome = case.run().await.expect("runs");
    assert_eq!(outcome.ended, Ended::Exited(42), "{}", case.stderr());
    let said = case.stdout();
    let (release, rest) = said.split_once('\n').expect("several lines");
    let own = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    assert_ne!(release, own.trim(), "it is the host's kernel");
    assert_eq!(rest, "input\ninput\n65534\nlo\n");
    assert!(case.stderr().starts_with("told\n"), "{}", case.stderr());
    assert_eq!(std::fs::read(outcome.output.join("file")).expect("there"), b"kept\n");
    case.clear().await;
}

#[tokio::test]
async fn its_limits_hold_and_its_endings_are_told_apart() {
    let large = case("exec dd if=/dev/zero of=/dev/null bs=200M count=1").await;
    assert_eq!(large.run().await.expect("runs").ended, Ended::OutOfMemory);
    large.clear().await;
    let mut long = case("trap '' TERM; echo begun; while true; do sleep 1; done").await;
    long.request.wall = Duration::from_secs(8);
    assert_eq!(long.run().await.expect("runs").ended, Ended::TimedOut);
    assert_eq!(long.stdout(), "begun\n");
    long.clear().await;
    let full = case("dd if=/dev/zero of=/iexec_out/x bs=64k count=1000").await;
    let outcome = full.run().await.expect("runs");
    assert!(matches!(outcome.ended, Ended::OutputTooLarge(_)), "{outcome:?}");
    full.clear().await;
}

#[tokio::test]
async fn no_way_out_is_found() {
    let case = case(ESCAPES).await;
    case.input("module", b"\x7fELF");
    // What its own kernel gives a job within its own sandbox is nothing of the host's.
    let own = ["makes-devices", "makes-user-namespaces", "is-spared", "tried"];
    let said = case.said().await;
    assert!(said.ends_with("tried\n") && said.lines().all(|line| own.contains(&line)), "{said}");
    case.clear().await;
}

#[tokio::test]
async fn its_probe_passes_and_what_it_can_not_do_is_refused() {
    let case = case("true").await;
    case.docker.probe().await.expect("a sound engine");
    let few = Limits { pids: 64, ..case.request.limits };
    assert!(case.docker.capabilities().missing(&few).is_some_and(|said| said.contains("processes")));
    let small = Limits { memory_bytes: 16 << 20, ..case.request.limits };
    assert!(case.docker.capabilities().missing(&small).is_some_and(|said| said.contains("memory")));
    assert_eq!(case.docker.capabilities().missing(&case.request.limits), None);
    case.clear().await;
}

#[tokio::test]
async fn an_engine_without_the_runtime_is_not_shared() {
    let share = DockerShare { runtime: Some("kata".into()), ..DockerShare::default() };
    let case = Case::with("true", share).await;
    let error = case.docker.probe().await.expect_err("there is no such runtime");
    assert!(error.to_string().contains("no runtime `kata`"), "{error}");
    assert!(error.to_string().contains("daemon.json"), "{error}");
    case.clear().await;
}
