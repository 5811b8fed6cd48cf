//! What a job gets, and what is withheld from it, as seen from inside: an engine that does not know a setting accepts it
//! and does nothing.

use crate::support::{Case, engine, import};
use berth_worker::{config::DockerShare, runtime::Ended, runtime::Runtime as _};

#[tokio::test]
async fn a_job_reads_its_inputs_and_writes_outputs_streams_and_exit_code() {
    let script = "cat /iexec_in/a.txt; echo told >&2; mkdir /iexec_out/d; cp /iexec_in/a.txt /iexec_out/d/b; pwd; \
                  echo $A-$FROM_IMAGE-$HOME; hostname; echo x > here; exit 42";
    let mut case = Case::new(script).await;
    case.request.environment.insert("A".into(), "with blanks".into());
    case.input("a.txt", b"input\n");
    let outcome = case.run().await.expect("runs");
    assert_eq!(outcome.ended, Ended::Exited(42), "{}", case.stderr());
    assert_eq!(case.stdout(), "input\n/iexec\nwith blanks-yes-/iexec\nberth\n");
    assert_eq!(case.stderr(), "told\n");
    assert_eq!(std::fs::read(outcome.output.join("d/b")).expect("there"), b"input\n");
    case.clear().await;
}

#[tokio::test]
async fn a_job_has_no_rights_no_network_and_nowhere_else_to_write() {
    let script = "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t ' ' '; \
                  ls /sys/class/net; for f in /x /bin/x /iexec_in/x /etc/x /dev/x /sys/x; do touch $f && echo wrote $f; done; \
                  mount -t tmpfs x /tmp && echo mounted; unshare -U -r id && echo unshared; ls /dev/shm; \
                  kill -0 1 && echo sees init; ulimit -c; ulimit -n; ls -A /iexec /tmp /iexec_out; exit 0";
    let case = Case::new(script).await;
    let said = case.said().await;
    let zeros = "0000000000000000";
    let rights = format!("Uid: 65534 65534 65534 65534\nCapBnd: {zeros}\nCapEff: {zeros}\nNoNewPrivs: 1\nSeccomp: 2\n");
    for line in rights.lines() {
        assert!(said.lines().any(|said| said == line), "{line} in {said}");
    }
    for gained in ["wrote", "mounted", "unshared", "eth0"] {
        assert!(!said.contains(gained), "{gained}: {said}");
    }
    assert!(said.lines().any(|line| line == "lo"), "{said}");
    assert!(case.stderr().contains("/dev/shm"), "there is no shared memory: {}", case.stderr());
    assert!(said.contains("0\n1024\n"), "{said}");
    case.clear().await;
}

#[tokio::test]
async fn limits_are_the_containers_own() {
    let script = "cd /sys/fs/cgroup; if [ -e memory ]; then \
                  cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us; \
                  else cat memory.max; echo $(($(cat memory.max) + $(cat memory.swap.max))); cat pids.max; tr ' ' '\\n' < cpu.max; fi";
    let mut case = Case::new(script).await;
    case.request.limits.memory_bytes = 32 << 20;
    case.request.limits.pids = 20;
    case.request.limits.cpu_millis = 500;
    let said = case.said().await;
    let said: Vec<u64> = said.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(said[..3], [32 << 20, 32 << 20, 21], "memory, with swap, and processes with the init");
    assert_eq!(said[3] * 2, said[4], "half a core");
    case.clear().await;
}

#[tokio::test]
async fn a_job_can_not_start_more_processes_than_it_may() {
    let mut case = Case::new("i=0; while [ $i -lt 40 ]; do sleep 20 & i=$((i+1)); done; echo all").await;
    case.request.limits.pids = 10;
    let outcome = case.run().await.expect("runs");
    assert_ne!(outcome.ended, Ended::Exited(0));
    assert!(case.stderr().contains("fork"), "{}", case.stderr());
    assert_eq!(case.stdout(), "");
    case.clear().await;
}

#[tokio::test]
async fn scratch_space_ends() {
    let script = "for d in /tmp /iexec; do dd if=/dev/zero of=$d/x bs=1M count=40 2>/dev/null && echo $d has no end; \
                  stat -c %s $d/x; done; exit 0";
    let case = Case::new(script).await;
    assert_eq!(case.said().await, format!("{0}\n{0}\n", 16 << 20), "a quarter of the memory each");
    case.clear().await;
}

#[tokio::test]
async fn an_images_volume_is_no_way_out_and_its_health_check_does_not_run() {
    let mut case = Case::new("dd if=/dev/zero of=/data/x bs=1M count=40; stat -c %s /data/x; sleep 2; ls /data").await;
    let changes = ["VOLUME /data", "HEALTHCHECK --interval=1s CMD touch /data/checked", "USER 0"];
    case.request.image = import(&case.engine, "volume", &changes).await;
    let said = case.said().await;
    assert_eq!(said, format!("{}\nx\n", 16 << 20));
    let volumes = engine()
        .await
        .list_volumes(None::<bollard::query_parameters::ListVolumesOptions>)
        .await
        .expect("lists")
        .volumes
        .unwrap_or_default();
    let mounted = |volume: &bollard::models::Volume| volume.mountpoint.contains(&case.request.task.to_string());
    assert!(!volumes.iter().any(mounted));
    case.clear().await;
}

#[tokio::test]
async fn an_engine_passes_the_probe_and_keeps_nothing_of_it() {
    let case = Case::new("true").await;
    case.docker.probe().await.expect("a sound engine");
    let images = engine().await.list_images(None::<bollard::query_parameters::ListImagesOptions>).await.expect("lists");
    let tag = format!("berth-probe:1-{}", &case.worker.to_string()[2..10]);
    assert!(!images.iter().any(|image| image.repo_tags.contains(&tag)));
    let listed = case.docker.images().await.expect("lists");
    assert!(listed.iter().any(|image| image.config == case.request.image.config), "{listed:?}");
    case.clear().await;
}

#[tokio::test]
async fn nobody_answers_at_a_wrong_address() {
    let share = DockerShare { host: Some("unix:///nowhere/docker.sock".into()), ..DockerShare::default() };
    let worker = berth_protocol::WorkerAddr::new(alloy::primitives::Address::ZERO);
    let error =
        berth_worker::runtime::docker::Docker::connect(share, worker, "/nowhere".into()).await.expect_err("nobody");
    assert!(error.hint().contains("start the Docker engine"), "{}", error.hint());
}
