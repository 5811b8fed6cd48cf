//! An engine of one's own, to be restarted under a job.

use crate::support::Case;
use berth_worker::{config::DockerShare, runtime::Ended, runtime::RuntimeError};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs::File, path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A dockerd that serves one socket and touches no network.
struct Engine {
    process: Child,
}

impl Engine {
    /// Starts one, and waits until it says that it listens.
    async fn start(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut process = Command::new("dockerd")
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false"])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["--host", &address(folder)])
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("out")).expect("writes"))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("dockerd is installed: scripts/setup.sh");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.contains("API listen on") {
                // Its further words must go somewhere.
                process.stderr = Some(lines.into_inner().into_inner());
                return Self { process };
            }
        }
        panic!("dockerd did not start");
    }

    /// Shuts it down as an operator would, which ends its containers.
    async fn stop(mut self) {
        let pid = self.process.id().expect("it runs");
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGTERM).expect("it is ours");
        self.process.wait().await.expect("it ends");
    }
}

fn address(folder: &Path) -> String {
    format!("unix://{}", folder.join("docker.sock").display())
}

#[tokio::test]
async fn a_job_whose_engine_was_restarted_is_run_again_even_if_it_ended_politely() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path()).await;
    let share = DockerShare { host: Some(address(folder.path())), ..DockerShare::default() };
    // Asked to end, it says that all is well.
    let script = "[ -e /iexec_in/again ] && { echo whole; exit 0; }; trap 'exit 0' TERM; echo begun >&2; echo half; \
                  while true; do sleep 0.1; done";
    let case = Case::with(script, share).await;
    let restart = async {
        case.begun().await;
        engine.stop().await;
        Engine::start(folder.path()).await
    };
    let (lost, engine) = tokio::join!(case.run(), restart);
    assert!(matches!(lost, Err(RuntimeError::Lost(_) | RuntimeError::Unreachable { .. })), "{lost:?}");
    case.input("again", b"");
    let outcome = case.run().await.expect("runs again");
    assert_eq!((outcome.ended, case.stdout().as_str()), (Ended::Exited(0), "whole\n"));
    case.clear().await;
    engine.stop().await;
}
