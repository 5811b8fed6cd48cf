//! What every runtime must do, whatever it is. A case that a runtime can't pass is a row of its table of capabilities, and
//! a job that needs it is refused: that is checked instead.

use crate::bed::{Bed, PATIENCE, is_container};
use berth_wire::{job::Limits, units::Sha256};
use berth_worker::{
    dataset::Dataset,
    fetch::make_places,
    runtime::{Data, Ended, RuntimeError, RuntimeKind, STREAM_BYTES},
};
use std::{
    collections::HashSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Each case is a test of each runtime.
macro_rules! conform {
    ($($case:ident),+ $(,)?) => {
        mod docker {
            $(#[tokio::test] async fn $case() { super::$case(super::RuntimeKind::Docker).await })+
        }
        mod qemu {
            $(#[tokio::test] async fn $case() { super::$case(super::RuntimeKind::Qemu).await })+
        }
        mod slurm {
            $(#[tokio::test] async fn $case() { super::$case(super::RuntimeKind::Slurm).await })+
        }
        // Where there is VirtualBox's kernel driver: scripts/test-virtualbox.sh.
        #[cfg(feature = "virtualbox-driver")]
        mod virtualbox {
            $(#[tokio::test] async fn $case() { super::$case(super::RuntimeKind::Virtualbox).await })+
        }
    };
}

conform!(
    inputs_streams_environment_and_exit_code,
    the_machines_own_data_are_there_and_stay_as_they_are,
    standard_input_is_handed_over_whole,
    a_flood_of_words_is_counted_and_its_head_kept,
    what_a_job_says_is_there_while_it_runs,
    a_job_has_no_rights_and_no_network,
    the_network_is_there_for_who_may_have_it,
    memory_and_cores_are_the_jobs_own,
    out_of_memory_is_named,
    a_full_disk_is_seen_and_named,
    all_of_the_disk_is_the_jobs,
    processes_are_limited_or_the_job_refused,
    time_ends_and_what_was_said_and_written_is_kept,
    a_cancelled_job_ends,
    what_somebody_else_killed_is_lost_and_run_again,
    a_worker_that_died_has_its_run_resumed_or_repeated,
    the_next_life_clears_what_nobody_holds,
    an_absent_image_is_absent,
    no_run_changes_the_image,
    links_and_odd_names_come_out_to_be_refused,
    the_probe_passes_and_leaves_nothing,
);

async fn inputs_streams_environment_and_exit_code(kind: RuntimeKind) {
    let script = "cat /iexec_in/a.txt; echo told >&2; mkdir -p /iexec_out/d/e; cp /iexec_in/a.txt /iexec_out/d/e/b; \
                  : > /iexec_out/empty; pwd; echo $A-$HOME; hostname; id -u; echo x > here; exit 42";
    let mut bed = Bed::new(kind, script).await;
    bed.request.environment.insert("A".into(), "it's \"with\" $blanks\n".into());
    bed.input("a.txt", b"input\n");
    let outcome = bed.run().await.expect("runs");
    assert_eq!(outcome.ended, Ended::Exited(42), "{}", bed.stderr());
    assert_eq!(bed.stdout(), "input\n/iexec\nit's \"with\" $blanks -/iexec\nberth\n65534\n");
    assert_eq!(bed.stderr(), "told\n");
    assert_eq!((outcome.stdout_bytes, outcome.stderr_bytes), (bed.stdout().len() as u64, 5));
    assert_eq!(fs::read(outcome.output.join("d/e/b")).expect("there"), b"input\n");
    assert_eq!(fs::read(outcome.output.join("empty")).expect("there"), b"");
    assert_eq!(fs::read_dir(&outcome.output).expect("there").count(), 2, "nothing else is in the output");
    bed.clear().await;
}

async fn the_machines_own_data_are_there_and_stay_as_they_are(kind: RuntimeKind) {
    let script = "cat /iexec_in/a.txt /iexec_in/one /iexec_in/many/d/two; ls /iexec_in; \
                  for f in one many/new many/d/two; do echo x > /iexec_in/$f || echo kept; done 2>/dev/null; exit 0";
    let mut bed = Bed::new(kind, script).await;
    bed.input("a.txt", b"input\n");
    let own = bed.folder.path().join("own");
    fs::create_dir_all(own.join("many/d")).expect("writable");
    fs::write(own.join("one"), b"one\n").expect("writable");
    fs::write(own.join("many/d/two"), b"two\n").expect("writable");
    let data = |name: &str| {
        let dataset = Dataset::read(&own.join(name)).expect("readable");
        Data { name: name.to_owned(), dataset: Arc::new(dataset) }
    };
    if bed.runtime.capabilities().most_data_bytes == 0 {
        // A row of the table: the worker refuses such a job (tests/it/assigned.rs).
        return bed.clear().await;
    }
    bed.request.data = vec![data("one"), data("many")];
    make_places(&bed.request.folder, &bed.request.data).expect("writable");
    assert_eq!(bed.said().await, "input\none\ntwo\na.txt\nmany\none\nkept\nkept\nkept\n");
    assert!(bed.request.data.iter().all(|data| data.dataset.is_as_read()), "they were touched");
    bed.clear().await;
}

async fn standard_input_is_handed_over_whole(kind: RuntimeKind) {
    let mut bed =
        Bed::new(kind, "sha256sum; echo end; [ -t 0 ] || [ -t 1 ] || [ -t 2 ] && echo terminal; exit 0").await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    bed.input("in put", &bytes);
    bed.request.stdin = Some("in put".into());
    assert_eq!(bed.said().await, format!("{}  -\nend\n", Sha256::of(&bytes)));
    bed.clear().await;
}

async fn a_flood_of_words_is_counted_and_its_head_kept(kind: RuntimeKind) {
    // In lines as short as they come, each a message of its own to an engine, and, where there are more, in one longer than
    // any buffer. (A serial port is slow, and one emulated twice slower still: it stays below what is kept.)
    let (stdout, stderr) = if kind == RuntimeKind::Virtualbox { (60_000, 1_000) } else { (20_000_000, 3_000_000) };
    let (lines, words) = (stdout.min(2_000_000), stderr.min(1_000_000));
    let script = format!(
        "echo head; yes | head -c {lines}; head -c {} /dev/zero | tr '\\0' x; \
         {{ yes e | head -c {words}; head -c {} /dev/zero | tr '\\0' e; }} >&2",
        stdout - lines,
        stderr - words
    );
    let bed = Bed::new(kind, &script).await;
    let outcome = bed.run().await.expect("runs");
    let counted = (outcome.ended, outcome.stdout_bytes, outcome.stderr_bytes);
    assert_eq!(counted, (Ended::Exited(0), stdout + 5, stderr), "{:.400}", bed.stderr());
    assert_eq!(bed.stdout().len() as u64, STREAM_BYTES.min(stdout + 5));
    assert!(bed.stdout().starts_with("head\ny\ny\n"));
    assert_eq!(bed.stderr().len() as u64, STREAM_BYTES.min(stderr));
    bed.clear().await;
}

async fn what_a_job_says_is_there_while_it_runs(kind: RuntimeKind) {
    let bed = Bed::new(kind, "echo begun >&2; echo first; sleep 600").await;
    let cancel = CancellationToken::new();
    let watch = async {
        let said = async {
            while (bed.stdout().as_str(), bed.stderr().as_str()) != ("first\n", "begun\n") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.expect("both streams are followed in the files");
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(bed.runtime.run(&bed.request, &cancel), watch);
    assert_eq!(outcome.expect("ends").ended, Ended::Cancelled);
    bed.clear().await;
}

async fn a_job_has_no_rights_and_no_network(kind: RuntimeKind) {
    let script = "grep -E '^(CapEff|NoNewPrivs):' /proc/self/status | tr -s '\\t ' ' '; ls /sys/class/net; \
                  for f in /iexec_in/x /etc/x /bin/x /sys/x; do touch $f && echo wrote $f; done; \
                  mount -t tmpfs x /tmp && echo mounted; id -u; exit 0";
    let bed = Bed::new(kind, script).await;
    assert_eq!(bed.said().await, "CapEff: 0000000000000000\nNoNewPrivs: 1\nlo\n65534\n");
    let mut asking = Bed::new(kind, script).await;
    // Asked for, and not allowed by the owner: the runtime withholds it, whatever else was forgotten.
    asking.request.limits.network = true;
    assert!(asking.runtime.capabilities().withheld(&asking.request.limits, asking.request.wall).is_some());
    if !is_container(kind) {
        assert!(asking.said().await.contains("\nlo\n"));
    }
    asking.clear().await;
    bed.clear().await;
}

async fn the_network_is_there_for_who_may_have_it(kind: RuntimeKind) {
    let bed = Bed::networked(kind, "ls /sys/class/net; cat /proc/net/route | wc -l").await;
    let capabilities = bed.runtime.capabilities();
    let (limits, wall) = (&bed.request.limits, bed.request.wall);
    assert_eq!((capabilities.missing(limits), capabilities.withheld(limits, wall)), (None, None));
    let said = bed.said().await;
    // What an engine's own network is, is the engine's affair: those of the tests have none.
    assert!(is_container(kind) || said == "eth0\nlo\n3\n", "{said}");
    bed.clear().await;
}

async fn memory_and_cores_are_the_jobs_own(kind: RuntimeKind) {
    let mut bed = Bed::new(kind, "awk '/MemTotal/ {print $2 < 160000}' /proc/meminfo; nproc").await;
    if is_container(kind) {
        // A container sees the whole machine: tests/it/confinement.rs reads its limits.
        return bed.clear().await;
    }
    if kind == RuntimeKind::Virtualbox {
        // Two processors of a machine inside an emulated one come to a standstill; and how VirtualBox gives three quarters of
        // a core is its own affair: tests/it/virtualbox.rs reads that it was asked for both.
        assert_eq!(bed.said().await, "1\n1\n");
        return bed.clear().await;
    }
    bed.request.limits.cpu_millis = 1_500;
    assert_eq!(bed.said().await, "1\n2\n", "a core and a half is two cores, three quarters of each");
    bed.request.args[2] = "echo begun >&2; sleep 60".into();
    let cancel = CancellationToken::new();
    let watch = async {
        bed.begun().await;
        let engine = bed.processes().into_iter().find(|(_, name)| name.starts_with("qemu-system")).expect("it runs").0;
        let status = fs::read_to_string(format!("/proc/{engine}/status")).expect("there");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!(field("Seccomp:"), Some("2"), "QEMU is in its own sandbox");
        assert_eq!(field("Uid:"), Some("65534\t65534\t65534\t65534"), "and nobody");
        assert_eq!(field("CapEff:"), Some("0000000000000000"));
        let groups = fs::read_to_string(format!("/proc/{engine}/cgroup")).expect("there");
        let group = groups.lines().find(|line| line.contains(&bed.worker.to_string())).expect("it has a group");
        let path = group.rsplit(':').next().expect("has a path");
        let quota = fs::read_to_string(format!("/sys/fs/cgroup/cpu{path}/cpu.cfs_quota_us"))
            .or_else(|_| fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.max")))
            .expect("readable");
        assert_eq!(quota.split_whitespace().next(), Some("150000"));
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(bed.runtime.run(&bed.request, &cancel), watch);
    assert_eq!(outcome.expect("ends").ended, Ended::Cancelled);
    bed.clear().await;
}

async fn out_of_memory_is_named(kind: RuntimeKind) {
    let bed = Bed::new(kind, "echo half > /iexec_out/x; exec dd if=/dev/zero of=/dev/null bs=200M count=1").await;
    let outcome = bed.run().await.expect("runs");
    assert_eq!(outcome.ended, Ended::OutOfMemory);
    assert_eq!(fs::read(outcome.output.join("x")).expect("what it had written is there"), b"half\n");
    let mut small = Bed::new(kind, "true").await;
    small.request.limits.memory_bytes = 1 << 20;
    assert!(small.runtime.capabilities().missing(&small.request.limits).is_some_and(|said| said.contains("memory")));
    small.clear().await;
    bed.clear().await;
}

async fn a_full_disk_is_seen_and_named(kind: RuntimeKind) {
    let bed = Bed::new(kind, "dd if=/dev/zero of=/iexec_out/x bs=64k count=1000").await;
    let outcome = bed.run().await.expect("runs");
    assert!(matches!(outcome.ended, Ended::OutputTooLarge(_)), "{outcome:?}");
    assert!(bed.stderr().contains("No space left"), "{}", bed.stderr());
    bed.clear().await;
}

async fn all_of_the_disk_is_the_jobs(kind: RuntimeKind) {
    // Limits small and large: what the file system takes for itself is not taken from the job. (A machine boots for some
    // seconds each time.)
    let sizes: &[u64] = if is_container(kind) { &[1, 4, 64, 300] } else { &[1, 64] };
    for mib in sizes {
        let mut bed =
            Bed::new(kind, "dd if=/dev/zero of=/iexec_out/x bs=4k count=$N 2>/dev/null; stat -c %s /iexec_out/x").await;
        bed.request.limits.disk_bytes = mib << 20;
        bed.request.environment.insert("N".into(), (mib * 256).to_string());
        assert_eq!(bed.said().await, format!("{}\n", mib << 20));
        assert_eq!(fs::metadata(bed.request.folder.output().join("x")).expect("there").len(), mib << 20);
        bed.clear().await;
    }
}

async fn processes_are_limited_or_the_job_refused(kind: RuntimeKind) {
    let mut bed = Bed::new(kind, "i=0; while [ $i -lt 40 ]; do sleep 20 & i=$((i+1)); done; echo all").await;
    bed.request.limits.pids = 10;
    let missing = bed.runtime.capabilities().missing(&bed.request.limits);
    if bed.runtime.capabilities().pids {
        assert_eq!(missing, None);
        assert_ne!(bed.run().await.expect("runs").ended, Ended::Exited(0));
        assert_eq!(bed.stdout(), "");
    } else {
        assert!(missing.is_some_and(|said| said.contains("processes")));
        let all = Limits { pids: u16::MAX.into(), ..bed.request.limits };
        assert_eq!(bed.runtime.capabilities().missing(&all), None);
    }
    bed.clear().await;
}

async fn time_ends_and_what_was_said_and_written_is_kept(kind: RuntimeKind) {
    let script = "trap '' TERM; echo half > /iexec_out/x; echo begun; while true; do sleep 1; done";
    let mut bed = Bed::new(kind, script).await;
    // A machine's time begins before it has booted, and it is asked to hand over what there is.
    let (wall, lingers) = match kind {
        RuntimeKind::Docker | RuntimeKind::Slurm => (1, 10),
        RuntimeKind::Qemu => (45, 40),
        RuntimeKind::Virtualbox => (300, 60),
    };
    bed.request.wall = Duration::from_secs(wall);
    let started = Instant::now();
    let outcome = bed.run().await.expect("runs");
    assert_eq!(outcome.ended, Ended::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(wall + lingers), "a killed job does not linger");
    assert_eq!(bed.stdout(), "begun\n");
    assert_eq!(fs::read(outcome.output.join("x")).expect("what it had written is there"), b"half\n");
    bed.clear().await;
}

async fn a_cancelled_job_ends(kind: RuntimeKind) {
    let bed = Bed::new(kind, "echo begun >&2; sleep 60").await;
    let cancel = CancellationToken::new();
    let watch = async {
        bed.begun().await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(bed.runtime.run(&bed.request, &cancel), watch);
    assert_eq!(outcome.expect("ends").ended, Ended::Cancelled);
    bed.clear().await;
}

async fn what_somebody_else_killed_is_lost_and_run_again(kind: RuntimeKind) {
    let bed = Bed::new(kind, "[ -e /iexec_in/again ] || { echo begun >&2; sleep 60; }; echo done").await;
    let kill = async {
        bed.begun().await;
        bed.kill().await;
    };
    let (lost, ()) = tokio::join!(bed.run(), kill);
    assert!(matches!(lost, Err(RuntimeError::Lost(_))), "{lost:?}");
    bed.input("again", b"");
    assert_eq!(bed.said().await, "done\n");
    bed.clear().await;
}

/// Runs until the job has begun, then forgets the run as a dying process would: nothing is cleared.
async fn die(bed: &Bed) {
    let none = CancellationToken::new();
    tokio::select! {
        ended = bed.runtime.run(&bed.request, &none) => panic!("ended too early: {ended:?}"),
        () = bed.begun() => {}
    }
}

async fn a_worker_that_died_has_its_run_resumed_or_repeated(kind: RuntimeKind) {
    let script =
        "echo start >> /iexec_out/starts; echo begun >&2; [ ! -e /iexec_in/hold ] || sleep 600; echo last; exit 7";
    let mut bed = Bed::new(kind, script).await;
    if bed.runtime.capabilities().resumes {
        bed.request.args[2] = script.replace("sleep 600", "while [ -e /iexec_in/hold ]; do sleep 0.1; done");
    }
    bed.input("hold", b"");
    die(&bed).await;
    assert_ne!(bed.remains().await, Vec::<String>::new(), "the job outlives its worker");
    bed.reborn().await;
    fs::remove_file(bed.request.folder.inputs().join("hold")).expect("removes");
    let outcome = bed.run().await.expect("goes on, or starts anew");
    assert_eq!((outcome.ended, bed.stdout().as_str()), (Ended::Exited(7), "last\n"));
    assert_eq!(fs::read(outcome.output.join("starts")).expect("there"), b"start\n", "one run's output, not two runs'");
    bed.clear().await;
}

async fn the_next_life_clears_what_nobody_holds(kind: RuntimeKind) {
    let mut bed = Bed::new(kind, "echo begun >&2; sleep 60").await;
    let neighbour = Bed::new(kind, "echo begun >&2; sleep 60").await;
    tokio::join!(die(&bed), die(&neighbour));
    bed.reborn().await;
    bed.runtime.sweep(&HashSet::from([bed.request.task])).await.expect("sweeps");
    assert_ne!(bed.remains().await, Vec::<String>::new(), "it is held");
    bed.runtime.sweep(&HashSet::new()).await.expect("sweeps");
    assert_eq!(bed.remains().await, Vec::<String>::new());
    assert!(!bed.request.folder.path().exists());
    assert_ne!(neighbour.remains().await, Vec::<String>::new(), "another worker's");
    bed.runtime.sweep(&HashSet::new()).await.expect("may be repeated");
    neighbour.clear().await;
}

async fn an_absent_image_is_absent(kind: RuntimeKind) {
    let mut bed = Bed::new(kind, "true").await;
    assert!(bed.runtime.images().await.expect("lists").iter().any(|image| image.config == bed.request.image.config));
    bed.request.image.config = Some(berth_wire::units::OciDigest(Sha256([0xab; 32])));
    assert!(matches!(bed.run().await, Err(RuntimeError::NoImage(_))));
    bed.clear().await;
}

async fn no_run_changes_the_image(kind: RuntimeKind) {
    let bed = Bed::new(kind, "rm -rf /bin; echo x > /bin/sh; echo still here").await;
    let before = bed.base().await;
    assert_eq!(bed.said().await, "still here\n");
    assert_eq!(bed.base().await, before);
    bed.clear().await;
}

async fn links_and_odd_names_come_out_to_be_refused(kind: RuntimeKind) {
    let script = "cd /iexec_out; ln -s /etc/passwd link; mkfifo pipe; echo a > one; ln one two; \
                  echo x > $(printf 'odd\\nname'); echo long > $(head -c 200 /dev/zero | tr '\\0' n)";
    let bed = Bed::new(kind, script).await;
    let outcome = bed.run().await.expect("runs");
    assert_eq!(outcome.ended, Ended::Exited(0), "{}", bed.stderr());
    let found = |name: &str| fs::symlink_metadata(outcome.output.join(name)).expect("there");
    assert!(found("link").is_symlink());
    assert!(!found("pipe").is_file());
    assert_eq!(fs::read(outcome.output.join("two")).expect("there"), b"a\n");
    assert!(found("odd\nname").is_file() && found(&"n".repeat(200)).is_file());
    bed.clear().await;
}

async fn the_probe_passes_and_leaves_nothing(kind: RuntimeKind) {
    let bed = Bed::new(kind, "true").await;
    bed.runtime.probe().await.expect("a sound engine");
    bed.clear().await;
}
