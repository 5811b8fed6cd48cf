//! How runs of containers end, and that no two endings are taken for one another: half of them exit with 137. What every
//! runtime must do is in `conformance`.

use crate::support::{Case, engine, watched};
use berth_worker::runtime::{Ended, RuntimeError};

#[tokio::test]
async fn a_job_that_kills_itself_has_that_exit_code() {
    for script in ["kill -9 $$", "exit 137"] {
        let case = Case::new(script).await;
        assert_eq!(case.run().await.expect("runs").ended, Ended::Exited(137), "{script}");
        case.clear().await;
    }
}

#[tokio::test]
async fn a_job_whose_child_ran_out_of_memory_may_live_with_it() {
    let case = Case::new("(x=$(head -c 130000000 /dev/zero | tr '\\0' a); echo ${#x}) 2>/dev/null; echo fine").await;
    assert_eq!(case.said().await, "fine\n");
    case.clear().await;
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
async fn an_image_is_found_by_either_digest_and_never_by_its_name() {
    let mut case = Case::new("echo ran").await;
    // What an engine calls the id depends on its image store.
    case.request.image.manifest = case.request.image.config.take();
    case.request.image.reference = "no/such/name:9".into();
    assert_eq!(case.said().await, "ran\n");
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
