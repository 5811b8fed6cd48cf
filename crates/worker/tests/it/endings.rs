//! How runs end, and that no two endings are taken for one another: half of them exit with 137.

use crate::support::{Case, busybox, engine, watched};
use berth_wire::units::{OciDigest, Sha256};
use berth_worker::runtime::{Ended, Runtime as _, RuntimeError, STREAM_BYTES};
use bollard::query_parameters::KillContainerOptions;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_job_that_kills_itself_has_that_exit_code() {
    for script in ["kill -9 $$", "exit 137"] {
        let case = Case::new(script).await;
        assert_eq!(case.run().await.expect("runs").ended, Ended::Exited(137), "{script}");
        case.clear().await;
    }
}

#[tokio::test]
async fn a_job_without_memory_ends_out_of_memory() {
    // Twice the memory in one string.
    let case = Case::new("x=$(head -c 130000000 /dev/zero | tr '\\0' a); echo ${#x}").await;
    assert_eq!(case.run().await.expect("runs").ended, Ended::OutOfMemory);
    case.clear().await;
}

#[tokio::test]
async fn a_job_whose_child_ran_out_of_memory_may_live_with_it() {
    let case = Case::new("(x=$(head -c 130000000 /dev/zero | tr '\\0' a); echo ${#x}) 2>/dev/null; echo fine").await;
    assert_eq!(case.said().await, "fine\n");
    case.clear().await;
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_ended_and_its_words_are_kept() {
    let mut case = Case::new("trap '' TERM; echo begun; while true; do sleep 1; done").await;
    case.request.wall = Duration::from_secs(1);
    let started = Instant::now();
    assert_eq!(case.run().await.expect("runs").ended, Ended::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(10), "a killed job does not linger");
    assert_eq!(case.stdout(), "begun\n");
    case.clear().await;
}

#[tokio::test]
async fn a_cancelled_job_ends() {
    let case = Case::new("echo begun >&2; sleep 60").await;
    let cancel = CancellationToken::new();
    let watch = async {
        case.begun().await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(case.docker.run(&case.request, &cancel), watch);
    assert_eq!(outcome.expect("ends").ended, Ended::Cancelled);
    case.clear().await;
}

#[tokio::test]
async fn a_full_disk_is_seen_by_the_job_and_named_as_the_reason() {
    let case = Case::new("dd if=/dev/zero of=/iexec_out/x bs=64k count=1000").await;
    let outcome = case.run().await.expect("runs");
    assert!(matches!(outcome.ended, Ended::OutputTooLarge(_)), "{outcome:?}");
    assert!(case.stderr().contains("No space left"), "{}", case.stderr());
    case.clear().await;
}

#[tokio::test]
async fn all_of_the_disk_is_the_jobs() {
    // Limits small and large: what the file system takes for itself is not taken from the job.
    for mib in [1, 4, 64, 300] {
        let mut case =
            Case::new("dd if=/dev/zero of=/iexec_out/x bs=4k count=$N 2>/dev/null; stat -c %s /iexec_out/x").await;
        case.request.limits.disk_bytes = mib << 20;
        case.request.environment.insert("N".into(), (mib * 256).to_string());
        assert_eq!(case.said().await, format!("{}\n", mib << 20));
        case.clear().await;
    }
}

#[tokio::test]
async fn a_watched_folder_ends_a_job_that_outgrows_it() {
    let script = "i=0; while true; do i=$((i+1)); dd if=/dev/zero of=/iexec_out/$i bs=64k count=8 2>/dev/null; done";
    let case = Case::with(script, watched()).await;
    let outcome = case.run().await.expect("runs");
    assert!(matches!(outcome.ended, Ended::OutputTooLarge(_)), "{outcome:?}");
    case.clear().await;
    let one =
        Case::with("dd if=/dev/zero of=/iexec_out/x bs=64k count=1000; stat -c %s /iexec_out/x; exit 0", watched())
            .await;
    assert_eq!(one.said().await, format!("{}\n", 4 << 20), "no file is larger than the limit");
    one.clear().await;
}

#[tokio::test]
async fn a_flood_of_words_is_counted_and_its_head_kept() {
    let case = Case::new("echo head; yes | head -c 20000000; yes e | head -c 3000000 >&2").await;
    let outcome = case.run().await.expect("runs");
    assert_eq!((outcome.ended, outcome.stdout_bytes, outcome.stderr_bytes), (Ended::Exited(0), 20_000_005, 3_000_000));
    assert_eq!(case.stdout().len() as u64, STREAM_BYTES);
    assert!(case.stdout().starts_with("head\ny\ny\n"));
    assert_eq!(case.stderr().len() as u64, STREAM_BYTES);
    case.clear().await;
}

#[tokio::test]
async fn standard_input_is_handed_over_whole_and_then_ends() {
    let mut case = Case::new("sha256sum; echo end").await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    case.input("in", &bytes);
    case.request.stdin = Some("in".into());
    assert_eq!(case.said().await, format!("{}  -\nend\n", Sha256::of(&bytes)));
    case.clear().await;
}

#[tokio::test]
async fn a_job_may_leave_its_input_unread() {
    let mut case = Case::new("head -c 1; exit 3").await;
    case.input("in", &vec![b'x'; 5_000_000]);
    case.request.stdin = Some("in".into());
    assert_eq!(case.run().await.expect("runs").ended, Ended::Exited(3));
    assert_eq!(case.stdout(), "x");
    case.clear().await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_the_jobs_affair() {
    let mut case = Case::new("").await;
    case.request.args = vec!["/no/such/program".into()];
    assert_eq!(case.run().await.expect("runs").ended, Ended::Exited(127));
    assert!(case.stderr().contains("/no/such/program"), "{}", case.stderr());
    case.clear().await;
}

#[tokio::test]
async fn an_absent_image_is_said_to_be_absent_and_nothing_is_left() {
    let mut case = Case::new("true").await;
    case.request.image.config = Some(OciDigest(Sha256([0xab; 32])));
    assert!(matches!(case.run().await, Err(RuntimeError::NoImage(_))));
    case.clear().await;
}

#[tokio::test]
async fn an_image_is_found_by_either_digest_and_never_by_its_name() {
    let mut case = Case::new("echo ran").await;
    // What an engine calls the id depends on its image store.
    case.request.image.manifest = case.request.image.config.take();
    case.request.image.reference = "no/such/name:9".into();
    assert_eq!(case.said().await, "ran\n");
    case.clear().await;
}

#[tokio::test]
async fn a_container_killed_by_somebody_else_is_lost_and_run_again() {
    let case = Case::new("[ -e /iexec_in/again ] || { echo begun >&2; sleep 60; }; echo done").await;
    let kill = async {
        case.begun().await;
        let ids = case.containers().await;
        engine().await.kill_container(&ids[0], None::<KillContainerOptions>).await.expect("kills");
    };
    let (lost, ()) = tokio::join!(case.run(), kill);
    assert!(matches!(lost, Err(RuntimeError::Lost(_))), "{lost:?}");
    case.input("again", b"");
    assert_eq!(case.said().await, "done\n");
    case.clear().await;
}

#[tokio::test]
async fn a_container_removed_by_somebody_else_is_lost() {
    let case = Case::new("echo begun >&2; sleep 60").await;
    let remove = async {
        case.begun().await;
        let options = bollard::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
        engine().await.remove_container(&case.containers().await[0], Some(options)).await.expect("removes");
    };
    let (lost, ()) = tokio::join!(case.run(), remove);
    assert!(matches!(lost, Err(RuntimeError::Lost(_))), "{lost:?}");
    case.clear().await;
}

#[tokio::test]
async fn no_run_changes_the_image() {
    let digest = busybox().await.config.expect("has one").to_string();
    let layers = || async { engine().await.inspect_image(&digest).await.expect("there").root_fs };
    let before = layers().await;
    let case = Case::new("rm -rf /bin; echo x > /bin/sh; echo still here").await;
    assert_eq!(case.said().await, "still here\n");
    assert_eq!(layers().await, before);
    case.clear().await;
}
