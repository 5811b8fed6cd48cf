//! What a worker remembers, and what it does not do twice.

use crate::letters::{DOMAIN, letter, mail, pool, worker};
use alloy::primitives::{Address, B256};
use berth_fault::Faults;
use berth_protocol::{DealId, Failure, ResultDigest, TaskId, WorkerAddr};
use berth_wire::{manifest::Content, sealed, units::Decimal, worker::Mail};
use berth_worker::journal::{Computed, Identity, Journal, JournalError, Phase, Received};
use std::path::Path;

fn identity() -> Identity {
    Identity { worker: worker(), pool: pool(), domain: DOMAIN }
}

async fn open(folder: &Path) -> Journal {
    Journal::open(&folder.join("journal.db"), identity(), Faults::default()).await.expect("opens")
}

fn deal() -> DealId {
    DealId::new(letter(0, |_, _, _| {}).deal)
}

fn task(index: u32) -> TaskId {
    deal().task(index)
}

fn result(byte: u8) -> Computed {
    Computed {
        digest: ResultDigest::new(B256::repeat_byte(byte)).expect("not zero"),
        manifest: Some(b"{}".to_vec()),
        stdout: Some(Content::of(b"said")),
        stderr: None,
        sealed: None,
        wall_ms: 12,
        failure: None,
    }
}

/// Takes a task up to a phase.
async fn bring(journal: &Journal, seq: u64, index: u32, to: Phase) {
    assert_eq!(journal.receive(seq, &mail(index)).await.expect("taken"), Received::Assigned(task(index)));
    for phase in [Phase::Fetched, Phase::Running, Phase::Computed, Phase::Uploaded, Phase::Reported] {
        if phase > to {
            break;
        }
        let moved = if phase == Phase::Computed {
            journal.compute(task(index), &result(1)).await
        } else {
            journal.enter(task(index), phase).await
        };
        assert!(moved.expect("writes"), "{phase}");
    }
}

fn settled(index: u32) -> Mail {
    let digest = B256::repeat_byte(1);
    Mail::Settled { task: task(index).get(), digest, earned: Decimal(950), transaction: B256::repeat_byte(8) }
}

#[tokio::test]
async fn mail_is_taken_once_and_in_order_and_survives() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    assert_eq!(journal.receive(1, &mail(0)).await.expect("taken"), Received::Assigned(task(0)));
    assert_eq!(journal.receive(1, &mail(0)).await.expect("known"), Received::Again);
    assert!(matches!(journal.receive(3, &mail(1)).await, Err(JournalError::Gap { last: 1, got: 3 })));
    drop(journal);
    let journal = open(folder.path()).await;
    assert_eq!(journal.last_seq().await.expect("reads"), 1);
    let open = journal.open_tasks().await.expect("reads");
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].task, open[0].phase), (task(0), Phase::Accepted));
}

#[tokio::test]
async fn every_step_may_be_repeated_and_is_done_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    bring(&journal, 1, 0, Phase::Computed).await;
    assert!(!journal.enter(task(0), Phase::Fetched).await.expect("writes"));
    assert!(!journal.enter(task(0), Phase::Running).await.expect("writes"));
    assert!(!journal.compute(task(0), &result(2)).await.expect("writes"), "a result is kept for good");
    assert!(journal.enter(task(0), Phase::Uploaded).await.expect("writes"));
    assert!(!journal.enter(task(0), Phase::Uploaded).await.expect("writes"));
    assert!(journal.enter(task(0), Phase::Reported).await.expect("writes"));
    assert!(journal.enter(task(0), Phase::Reported).await.expect("writes"), "a report may be repeated");
    let rows = journal.rows(&[Phase::Reported]).await.expect("reads");
    assert_eq!(rows[0].computed, Some(result(1)));
    assert!(journal.open_tasks().await.expect("reads").is_empty());
}

/// Sealing is by chance: what was told of must be what is handed over.
#[tokio::test]
async fn a_sealed_file_is_noted_while_it_is_to_be_handed_over_and_told_of_in_place_of_all_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    let recipient = sealed::Identity::of_wallet(&[1; 65]).recipient();
    let assign = letter(0, |_, job, _| job.recipient = Some(recipient.clone()));
    let task = DealId::new(assign.deal).task(0);
    let (file, other) = (Content::of(b"sealed"), Content::of(b"sealed again"));
    journal.receive(1, &Mail::Assign(Box::new(assign))).await.expect("taken");
    assert!(!journal.seal(task, file).await.expect("writes"), "there is nothing to seal yet");
    let failed = Computed { failure: Some("it wrote `x`".into()), digest: Failure::TimedOut.digest(), ..result(1) };
    assert!(journal.compute(task, &failed).await.expect("writes"));
    for content in [file, other] {
        assert!(journal.seal(task, content).await.expect("writes"), "a file that was lost is made again");
    }
    drop(journal);
    let journal = open(folder.path()).await;
    assert!(journal.enter(task, Phase::Uploaded).await.expect("writes"));
    assert!(!journal.seal(task, file).await.expect("writes"), "it is handed over");
    let row = journal.row(task).await.expect("reads").expect("there");
    assert_eq!(row.recipient(), Some(recipient));
    assert_eq!(row.computed, Some(Computed { sealed: Some(other), ..failed.clone() }), "it forgets nothing");
    let told = Computed { manifest: None, stdout: None, stderr: None, failure: None, sealed: Some(other), ..failed };
    assert_eq!(row.told(), Some(told), "and tells nothing");

    // What never ran says why; and a job without a recipient tells all.
    bring(&journal, 2, 1, Phase::Computed).await;
    let open = journal.row(crate::journals::task(1)).await.expect("reads").expect("there");
    assert_eq!((open.recipient(), open.told()), (None, Some(result(1))));
    let reason = Computed {
        digest: Failure::FetchFailed.digest(),
        manifest: None,
        stdout: None,
        failure: Some("an input is gone".into()),
        ..result(1)
    };
    let mut never = row;
    never.computed = Some(reason.clone());
    assert_eq!(never.told(), Some(reason));
}

#[tokio::test]
async fn a_list_holds_what_is_uploaded_and_not_settled_and_never_too_much() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    bring(&journal, 1, 2, Phase::Reported).await;
    bring(&journal, 2, 0, Phase::Uploaded).await;
    bring(&journal, 3, 1, Phase::Computed).await;
    let indexes = async |index| -> Vec<u32> {
        journal.list_of(deal(), index).await.expect("reads").into_iter().map(|(index, _)| index).collect()
    };
    assert_eq!(indexes(0).await, [0, 2]);
    assert_eq!(journal.receive(4, &settled(2)).await.expect("taken"), Received::Settled(task(2)));
    assert_eq!(indexes(0).await, [0]);
    let ended = Mail::Ended { task: task(0).get(), reason: "claimed".into() };
    journal.receive(5, &ended).await.expect("taken");
    assert_eq!(indexes(0).await, Vec::<u32>::new());
    for index in 3..263 {
        bring(&journal, u64::from(index) + 3, index, Phase::Uploaded).await;
    }
    let long = indexes(3).await;
    assert_eq!(long.len(), 256);
    assert!(long.contains(&3), "its own entry is in the list that it is reported with");
    assert!(long.is_sorted());
}

#[tokio::test]
async fn what_is_paid_is_counted_once_and_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    bring(&journal, 1, 0, Phase::Reported).await;
    bring(&journal, 2, 1, Phase::Running).await;
    journal.receive(3, &settled(0)).await.expect("taken");
    assert_eq!(journal.receive(4, &settled(0)).await.expect("taken"), Received::Nothing);
    assert_eq!(journal.receive(5, &mail(0)).await.expect("taken"), Received::Nothing, "it is not done again");
    journal.receive(6, &settled(1)).await.expect("taken");
    assert!(!journal.compute(task(1), &result(3)).await.expect("writes"), "it is over");
    let totals = journal.totals().await.expect("reads");
    assert_eq!((totals.settled, totals.unsettled, totals.ended, totals.earned), (2, 0, 0, 1_900));
}

#[tokio::test]
async fn a_cancelled_task_stops_but_what_was_computed_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    bring(&journal, 1, 0, Phase::Running).await;
    bring(&journal, 2, 1, Phase::Computed).await;
    let cancel = |index| Mail::Cancel { task: task(index).get(), reason: "elsewhere".into() };
    assert_eq!(journal.receive(3, &cancel(0)).await.expect("taken"), Received::Stopped(task(0)));
    assert_eq!(journal.receive(4, &cancel(1)).await.expect("taken"), Received::Nothing);
    assert!(!journal.compute(task(0), &result(1)).await.expect("writes"));
    assert!(journal.enter(task(1), Phase::Uploaded).await.expect("writes"));
    assert!(!journal.decline(task(0), "policy", "stopped").await.expect("writes"), "nobody is told twice");

    // Given again it is another assignment; told of twice it is the same.
    assert_eq!(journal.receive(5, &mail(0)).await.expect("taken"), Received::Assigned(task(0)));
    assert_eq!(journal.receive(6, &mail(0)).await.expect("taken"), Received::Assigned(task(0)));
    let again = journal.row(task(0)).await.expect("reads").expect("there");
    assert_eq!((again.phase, again.assigned_seq), (Phase::Accepted, 5));
}

#[tokio::test]
async fn a_declined_task_is_told_and_may_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    bring(&journal, 1, 0, Phase::Running).await;
    assert_eq!(journal.lost(task(0)).await.expect("writes"), 1);
    assert!(journal.decline(task(0), "engine", "it is gone").await.expect("writes"));
    let told = journal.declined().await.expect("reads");
    assert_eq!(told, [(task(0), "engine".to_owned(), "it is gone".to_owned())]);
    journal.decline_told(task(0)).await.expect("writes");
    assert!(journal.declined().await.expect("reads").is_empty());
    assert_eq!(journal.receive(2, &mail(0)).await.expect("taken"), Received::Assigned(task(0)));
    let again = journal.open_tasks().await.expect("reads");
    assert_eq!((again[0].phase, again[0].attempts), (Phase::Accepted, 0), "it starts anew");
}

#[tokio::test]
async fn a_result_that_the_scheduler_forgot_is_told_again_not_computed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    bring(&journal, 1, 0, Phase::Reported).await;
    assert_eq!(journal.receive(2, &mail(0)).await.expect("taken"), Received::Known(task(0)));
    assert!(journal.open_tasks().await.expect("reads").is_empty());
}

#[tokio::test]
async fn a_failure_is_a_result_without_manifest() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    bring(&journal, 1, 0, Phase::Accepted).await;
    let failed = Computed {
        digest: Failure::Refused.digest(),
        manifest: None,
        stdout: None,
        failure: Some("no such element".into()),
        ..result(1)
    };
    assert!(journal.compute(task(0), &failed).await.expect("writes"), "without ever running");
    assert_eq!(journal.rows(&[Phase::Computed]).await.expect("reads")[0].computed, Some(failed));
}

#[tokio::test]
async fn anothers_journal_and_no_journal_at_all_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()).await);
    let path = folder.path().join("journal.db");
    let other = Identity { worker: WorkerAddr::new(Address::ZERO), ..identity() };
    let error = Journal::open(&path, other, Faults::default()).await.expect_err("another worker's");
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is no database, but long enough to look like a file with something in it\n".repeat(20))
        .expect("writes");
    let error = Journal::open(&text, identity(), Faults::default()).await.expect_err("no database");
    assert!(matches!(error, JournalError::Open { .. } | JournalError::Migrate { .. }), "{error}");
    assert!(!error.hint().is_empty());
}
