//! Application images made for iExec: they run unchanged, and their answers are compared as they are there.

use crate::{letters::letter, support::Case, support::import};
use berth_wire::{job::Input, units::Sha256};
use berth_worker::{
    assignment::{Standing, check},
    digest::{Collected, Wanted, collect},
    runtime::{Ended, Runtime as _},
};

/// What such an image does: it reads the input that a variable names, writes its result beside a log that is never the
/// same twice, and says which of the two counts.
const PROGRAM: &str = r#"ENTRYPOINT ["/bin/sh", "-c", "set -e; cd $IEXEC_OUT; tr a-z A-Z < $IEXEC_IN/$IEXEC_INPUT_FILE_NAME_1 > result.txt; echo $IEXEC_INPUT_FILES_NUMBER $IEXEC_BOT_TASK_INDEX of $IEXEC_BOT_SIZE: $1 >> result.txt; date +%s%N > log.txt; echo {\\\"deterministic-output-path\\\": \\\"$IEXEC_OUT/result.txt\\\"} > computed.json", "app"]"#;

/// One run of a task, by a worker of its own.
async fn ran(standing: &dyn Fn(&Case) -> Standing) -> Collected {
    let mut case = Case::new("").await;
    // As images for iExec are: they say no user, and have a folder of their own.
    case.request.image = import(&case.engine, "iexec", &[PROGRAM, "WORKDIR /app"]).await;
    let image = case.request.image.clone();
    let assign = letter(3, |_, job, _| {
        job.image = Some(image);
        job.inputs = vec![Input { name: "words.txt".into(), size: 6, sha256: Sha256::of(b"hello\n"), url: None }];
    });
    let accepted = check(&assign, &standing(&case)).expect("sound");
    (case.request.args, case.request.environment) = (accepted.args, accepted.environment);
    case.input("words.txt", b"hello\n");
    let outcome = case.run().await.expect("runs");
    assert_eq!(outcome.ended, Ended::Exited(0), "{}", case.stderr());
    let folder = &case.request.folder;
    let collected = collect(0, &outcome, &Wanted::default(), case.request.limits.disk_bytes, folder).expect("a result");
    let [file] = &*collected.manifest.files else { panic!("one file counts: {:?}", collected.manifest) };
    let kept = std::fs::read_to_string(folder.result().join(file.sha256.to_string())).expect("it is kept");
    assert_eq!((file.path.as_str(), kept.as_str()), ("result.txt", "HELLO\n1 3 of 300: e3\n"));
    case.clear().await;
    collected
}

#[tokio::test]
async fn an_image_made_for_iexec_runs_unchanged_and_two_workers_agree() {
    let standing = |case: &Case| Standing {
        runtimes: vec![(berth_wire::descriptor::Runtime::Docker, case.docker.capabilities())],
        ..crate::assigned::standing()
    };
    let (one, other) = tokio::join!(ran(&standing), ran(&standing));
    assert_eq!(one.digest, other.digest);
}
