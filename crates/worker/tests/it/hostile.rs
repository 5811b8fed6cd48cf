//! Jobs that mean harm: what they try, that they fail, and that the host is whole afterwards. Each case is tried under
//! each runtime; `conformance` has what every job, hostile or not, finds.

use crate::{bed::Bed, support::engine};
use berth_worker::{
    digest::{DigestError, Wanted, collect},
    runtime::{Ended, RuntimeKind},
};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How long a bomb is let go off: it takes all there is within a fraction of this.
const RAGE: Duration = Duration::from_secs(3);

/// Each case is a test of each runtime.
macro_rules! withstand {
    ($($case:ident),+ $(,)?) => {
        mod docker {
            $(#[tokio::test] async fn $case() { super::$case(super::RuntimeKind::Docker).await })+
        }
        mod qemu {
            $(#[tokio::test] async fn $case() { super::$case(super::RuntimeKind::Qemu).await })+
        }
    };
}

withstand!(
    no_way_out_is_found,
    a_fork_bomb_ends_with_its_job,
    what_is_left_running_ends_with_its_job,
    a_flood_of_files_stays_in_its_folder,
    outputs_that_lead_elsewhere_are_refused,
    nobody_is_reached_on_the_network,
    nothing_of_the_worker_is_seen,
);

/// The files that a job's output comes to, or why it is none: found when the runtime hands it over, or when it is read.
async fn collected(bed: &Bed) -> Result<Vec<String>, String> {
    let outcome = bed.run().await.expect("runs");
    if let Ended::OutputTooLarge(reason) = outcome.ended {
        return Err(reason);
    }
    assert_eq!(outcome.ended, Ended::Exited(0), "{}", bed.stderr());
    let limit = bed.request.limits.disk_bytes;
    match collect(0, &outcome, &Wanted::default(), limit, &bed.request.folder) {
        Ok(collected) => Ok(collected.manifest.files.into_iter().map(|file| file.path).collect()),
        Err(DigestError::Unfit(reason)) => Err(reason),
        Err(error) => panic!("the job's fault is taken for the worker's: {error:?}"),
    }
}

/// Tries that a confined job has no rights for. Each tells on standard output if it went well.
pub(crate) const ESCAPES: &str = r#"
tried() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name"; fi; }
tried mounts mount -t proc proc /iexec
tried binds mount -o bind / /iexec
tried makes-devices mknod /tmp/disk b 8 0
tried makes-devices-in-the-output mknod /iexec_out/disk c 1 1
tried changes-root chroot / /bin/true
tried enters-the-first-process nsenter -t 1 -m -n -p true
tried makes-namespaces unshare -m true
tried makes-user-namespaces unshare -U true
tried asks-the-kernel sh -c 'echo b > /proc/sysrq-trigger'
tried sets-the-core-pattern sh -c 'echo "|/bin/sh" > /proc/sys/kernel/core_pattern'
tried sets-a-helper sh -c 'echo /bin/sh > /sys/kernel/uevent_helper'
tried makes-a-control-group mkdir /sys/fs/cgroup/mine
tried makes-an-old-control-group mkdir /sys/fs/cgroup/memory/mine
tried is-spared sh -c 'echo -1000 > /proc/self/oom_score_adj'
tried loads-modules insmod /iexec_in/module
tried restarts reboot -f
tried sets-the-clock sh -c 'date -s 2001-01-01; [ "$(date +%Y)" = 2001 ]'
tried sets-the-name hostname elsewhere
tried opens-raw-sockets ping -c 1 -W 1 127.0.0.1
tried sees-an-engine ls /var/run/docker.sock /run/docker.sock /run/containerd
tried reads-disks dd if=/dev/sda of=/dev/null count=1
tried reads-this-disk dd if=/dev/vda of=/dev/null count=1
tried reads-memory dd if=/dev/mem of=/dev/null bs=1 count=1
tried reads-the-kernels-memory dd if=/proc/kcore of=/dev/null bs=1 count=1
tried becomes-root su -c true
cp /bin/busybox /iexec/root && chmod 4755 /iexec/root && tried owns-a-program-of-root sh -c '[ "$(/iexec/root id -u)" = 0 ]'
cp /bin/busybox /tmp/program && tried runs-from-the-temporary-folder /tmp/program true
tried writes-the-inputs sh -c 'echo > /iexec_in/module'
tried removes-the-inputs rm /iexec_in/module
echo tried
"#;

async fn no_way_out_is_found(kind: RuntimeKind) {
    let bed = Bed::new(kind, ESCAPES).await;
    bed.input("module", b"\x7fELF");
    // A machine's own kernel may give its user what it likes: the machine ends with the job.
    let own = if kind == RuntimeKind::Docker { "" } else { "makes-user-namespaces\n" };
    assert_eq!(bed.said().await, format!("{own}tried\n"));
    assert_eq!(fs::read(bed.request.folder.inputs().join("module")).expect("there"), b"\x7fELF");
    bed.clear().await;
}

async fn a_fork_bomb_ends_with_its_job(kind: RuntimeKind) {
    let mut bed = Bed::new(kind, "echo begun >&2; b() { b | b & }; b; while :; do sleep 1; done").await;
    let cancel = CancellationToken::new();
    let rage = async {
        bed.begun().await;
        tokio::time::sleep(RAGE).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(bed.runtime.run(&bed.request, &cancel), rage);
    // Whatever gives out first, it is this job's.
    let ended = ended.expect("ends").ended;
    assert!(matches!(ended, Ended::Cancelled | Ended::OutOfMemory | Ended::Exited(_)), "{ended:?}");
    assert_eq!(bed.processes(), []);
    bed.request.args[2] = "echo next".into();
    bed.runtime.clear(bed.request.task, &bed.request.folder).await.expect("clears");
    assert_eq!(bed.said().await, "next\n");
    bed.clear().await;
}

async fn what_is_left_running_ends_with_its_job(kind: RuntimeKind) {
    let script = "(trap '' HUP TERM; setsid sh -c 'while :; do sleep 1; echo still >> /iexec_out/x; done' >/dev/null 2>&1 </dev/null &); echo first";
    let bed = Bed::new(kind, script).await;
    assert_eq!(bed.said().await, "first\n");
    let left = bed.processes();
    assert!(left.iter().all(|(_, name)| !name.starts_with("qemu-system")), "{left:?}");
    if kind == RuntimeKind::Docker {
        let name = bed.request.task.to_string();
        let all = bed.remains().await;
        for id in all.iter().filter(|line| line.len() == 64) {
            let state = engine().await.inspect_container(id, None).await.expect("there").state;
            assert_eq!(state.and_then(|state| state.running), Some(false), "{name} runs on");
        }
    }
    bed.clear().await;
}

async fn a_flood_of_files_stays_in_its_folder(kind: RuntimeKind) {
    let script = "cd /iexec_out; i=0; while mkdir d$i 2>/dev/null && : > d$i/f 2>/dev/null; do i=$((i+1)); done; \
                  [ $i -gt 10 ] && echo ended";
    let mut bed = Bed::new(kind, script).await;
    bed.request.limits.disk_bytes = 1 << 20;
    let outcome = bed.run().await.expect("runs");
    assert_eq!(bed.stdout(), "ended\n", "the disk has no end: {}", bed.stderr());
    // So many files are a full disk, or a result: never the worker's own trouble.
    assert!(matches!(outcome.ended, Ended::Exited(0) | Ended::OutputTooLarge(_)), "{outcome:?}");
    bed.clear().await;
}

async fn outputs_that_lead_elsewhere_are_refused(kind: RuntimeKind) {
    let name = "n".repeat(250);
    let deep = format!(
        "cd /iexec_out; i=0; while [ $i -lt 10 ]; do mkdir {name} && cd {name} || exit 9; i=$((i+1)); done; echo x > f"
    );
    let cases = [
        ("ln -s /etc/shadow /iexec_out/a", "`a` is a link"),
        ("ln -s ../../../../etc /iexec_out/a", "`a` is a link"),
        ("ln -s /proc/self/environ /iexec_out/a", "`a` is a link"),
        ("mkdir /iexec_out/d; ln -s .. /iexec_out/d/a", "`d/a` is a link"),
        ("mkfifo /iexec_out/a", "`a` is a pipe"),
        (r#"touch "/iexec_out/$(printf 'a\tb')""#, "has a name"),
        (r#"touch "/iexec_out/$(printf '\377')""#, "has a name"),
        (r#"touch "/iexec_out/$(printf '\033[2J')""#, "has a name"),
        ("truncate -s 3G /iexec_out/a", "hold 3221225472 bytes"),
        (deep.as_str(), "too long a path"),
    ];
    // A machine boots for some seconds, and its output is read as a container's is, but for the archive that it comes in.
    let tried = if kind == RuntimeKind::Docker { cases.to_vec() } else { vec![cases[0], cases[9]] };
    for (script, named) in tried {
        let bed = Bed::new(kind, script).await;
        let refused = collected(&bed).await.expect_err(script);
        assert!(refused.contains(named), "{script}: {refused}");
        bed.clear().await;
    }
    let odd = "cd /iexec_out; : > '...'; : > ' '; : > '-rf'; : > \"a'b\"; : > 'a\"b'; : > '*'; : > CON; : > \"$(head -c 255 /dev/zero | tr '\\0' n)\"";
    let bed = Bed::new(kind, odd).await;
    let names = collected(&bed).await.expect("odd, and fit");
    assert_eq!(names, [" ", "*", "-rf", "...", "CON", "a\"b", "a'b", &"n".repeat(255)]);
    bed.clear().await;
}

async fn nobody_is_reached_on_the_network(kind: RuntimeKind) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let talk = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let (tcp, udp) = (listener.local_addr().expect("bound").port(), talk.local_addr().expect("bound").port());
    let script = format!(
        "for a in 127.0.0.1 10.0.2.2 10.0.2.3 172.17.0.1 192.168.0.1 169.254.169.254 8.8.8.8 host.docker.internal; do \
         timeout 2 nc -w 1 $a {tcp} </dev/null && echo tcp $a; echo x | timeout 2 nc -u -w 1 $a {udp}; \
         timeout 2 wget -q -T 1 -O - http://$a:{tcp}/ && echo web $a; done; nslookup example.org >/dev/null 2>&1 && echo names; \
         ip route; echo tried"
    );
    let bed = Bed::new(kind, &script).await;
    assert_eq!(bed.said().await, "tried\n");
    listener.set_nonblocking(true).expect("can be");
    talk.set_nonblocking(true).expect("can be");
    assert!(listener.accept().is_err(), "somebody has called");
    assert!(talk.recv_from(&mut [0; 9]).is_err(), "somebody has written");
    bed.clear().await;
}

async fn nothing_of_the_worker_is_seen(kind: RuntimeKind) {
    let script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' > /tmp/seen; \
                  grep -c -e 'CARG[O]' -e 'canary-o[f]' /tmp/seen; find / -name '*canary*' 2>/dev/null; \
                  id -G; env | sort";
    let bed = Bed::new(kind, script).await;
    // As a key lies in a worker's folder, and its password in its environment: this process has such variables too.
    let canary = bed.folder.path().join("canary-of-the-key");
    fs::write(&canary, "secret").expect("writable");
    let own = fs::read("/proc/self/environ").expect("Linux");
    assert!(own.windows(5).any(|window| window == b"CARGO"), "the worker has variables of its own");
    let said = bed.said().await;
    let mut lines = said.lines();
    assert_eq!((lines.next(), lines.next()), (Some("0"), Some("65534")), "{said}");
    let variables: Vec<&str> = lines.filter_map(|line| line.split('=').next()).collect();
    let known = ["FROM_IMAGE", "HOME", "HOSTNAME", "OLDPWD", "PATH", "PWD", "SHLVL", "TERM", "USER"];
    assert!(variables.iter().all(|name| known.contains(name)), "{variables:?}");
    assert_eq!(fs::read_to_string(&canary).expect("there"), "secret");
    bed.clear().await;
}
