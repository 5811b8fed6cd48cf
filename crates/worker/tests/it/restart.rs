//! A worker that dies under its jobs: its next life goes on with what still runs, and clears the rest.

use crate::support::Case;
use berth_worker::runtime::{Ended, Runtime as _, TaskFolder};
use std::{collections::HashSet, time::Duration};
use tokio_util::sync::CancellationToken;

/// Runs until the job has begun, then forgets the run as a dying process would: nothing is cleared.
async fn die(case: &Case) {
    let none = CancellationToken::new();
    tokio::select! {
        ended = case.docker.run(&case.request, &none) => panic!("ended too early: {ended:?}"),
        () = case.begun() => {}
    }
}

/// Says things that a log could spoil, before and after the death, and counts its starts.
const SCRIPT: &str = "echo start >> /iexec_out/starts; printf 'one\\ntwo \\001\\303\\244 no end'; echo begun >&2; \
                      while [ ! -e /iexec_in/go ]; do sleep 0.1; done; printf ' of line'; head -c 40000 /dev/zero | tr '\\0' z; \
                      echo; printf last; exit 7";

#[tokio::test]
async fn a_run_goes_on_in_the_workers_next_life_and_every_byte_is_there() {
    let mut case = Case::new(SCRIPT).await;
    die(&case).await;
    case.reborn().await;
    case.input("go", b"");
    let outcome = case.run().await.expect("goes on");
    assert_eq!(outcome.ended, Ended::Exited(7));
    let said = std::fs::read(case.request.folder.stdout()).expect("there");
    let wanted = [&b"one\ntwo \x01\xc3\xa4 no end of line"[..], &[b'z'; 40_000], b"\nlast"].concat();
    assert_eq!(said.len(), wanted.len());
    assert!(said == wanted, "every byte");
    assert_eq!(outcome.stdout_bytes, said.len() as u64);
    assert_eq!(std::fs::read(outcome.output.join("starts")).expect("there"), b"start\n", "it ran once");
    case.clear().await;
}

#[tokio::test]
async fn a_run_that_ended_meanwhile_is_taken_and_not_repeated() {
    let mut case = Case::new(SCRIPT).await;
    die(&case).await;
    case.input("go", b"");
    let id = case.containers().await.remove(0);
    let waiting = crate::support::engine().await.wait_container(&id, None);
    // It exits with 7, which the client library calls an error.
    drop(futures_util::StreamExt::collect::<Vec<_>>(waiting).await);
    case.reborn().await;
    assert_eq!(case.run().await.expect("is taken").ended, Ended::Exited(7));
    assert!(case.stdout().ends_with("\nlast"));
    assert_eq!(case.containers().await, [id]);
    case.clear().await;
}

#[tokio::test]
async fn a_run_whose_log_can_not_be_believed_is_repeated() {
    // The log lost its beginning; bytes that are no UTF-8 are replaced in it.
    for said in ["yes | head -c 12000000", "printf '\\377'"] {
        let script = format!(
            "if [ -e /iexec_in/go ]; then echo again; exit 0; fi; echo begun >&2; \
             while [ ! -e /iexec_in/go ]; do sleep 0.1; done; {said}"
        );
        let mut case = Case::new(&script).await;
        die(&case).await;
        case.input("go", b"");
        case.reborn().await;
        assert_eq!(case.said().await, "again\n");
        case.clear().await;
    }
}

#[tokio::test]
async fn a_run_whose_input_was_cut_short_is_repeated() {
    let script = "[ -e /iexec_in/go ] || { echo begun >&2; sleep 60; }; wc -c";
    let mut case = Case::new(script).await;
    case.input("in", &vec![b'x'; 2_000_000]);
    case.request.stdin = Some("in".into());
    die(&case).await;
    case.input("go", b"");
    case.reborn().await;
    assert_eq!(case.said().await.trim(), "2000000");
    case.clear().await;
}

#[tokio::test]
async fn time_goes_on_while_the_worker_is_dead() {
    let mut case = Case::new("echo begun >&2; sleep 60").await;
    case.request.wall = Duration::from_secs(2);
    die(&case).await;
    case.reborn().await;
    let outcome = case.run().await.expect("goes on");
    assert_eq!(outcome.ended, Ended::TimedOut);
    assert!(outcome.wall < Duration::from_secs(10), "{:?}", outcome.wall);
    case.clear().await;
}

#[tokio::test]
async fn the_next_life_clears_what_nobody_holds_and_leaves_what_somebody_does() {
    let mut case = Case::new("echo begun >&2; sleep 60").await;
    die(&case).await;
    let neighbour = Case::new("echo begun >&2; sleep 60").await;
    die(&neighbour).await;
    case.reborn().await;
    case.docker.sweep(&HashSet::from([case.request.task])).await.expect("sweeps");
    assert_eq!(case.containers().await.len(), 1, "it is held");
    case.docker.sweep(&HashSet::new()).await.expect("sweeps");
    assert_eq!(case.containers().await, Vec::<String>::new());
    assert_eq!(case.mounts(), Vec::<String>::new());
    let folder = TaskFolder::new(&case.folder.path().join("tasks"), case.request.task);
    assert!(!folder.path().exists());
    assert_eq!(neighbour.containers().await.len(), 1, "another worker's");
    case.docker.sweep(&HashSet::new()).await.expect("may be repeated");
    neighbour.clear().await;
}
