//! What the journal holds of replicated tasks: hidden answers, under which seeds, and which rounds open them.

use crate::letters::{DOMAIN, letter, pool, worker};
use alloy::primitives::B256;
use berth_chain::BlockNumber;
use berth_fault::Faults;
use berth_protocol::{DealId, Failure, ResultDigest, TaskId, round};
use berth_wire::{
    manifest::Content,
    worker::{Closed, Mail},
};
use berth_worker::journal::{Computed, Hidden, Identity, Journal, Phase, Received};
use std::path::Path;

async fn open(folder: &Path) -> Journal {
    let identity = Identity { worker: worker(), pool: pool(), domain: DOMAIN };
    Journal::open(&folder.join("journal.db"), identity, Faults::default()).await.expect("opens")
}

fn assign(index: u32) -> Mail {
    Mail::Assign(Box::new(letter(index, |terms, _, _| terms.trust = 5)))
}

fn task(index: u32) -> TaskId {
    DealId::new(letter(0, |terms, _, _| terms.trust = 5).deal).task(index)
}

fn digest(byte: u8) -> ResultDigest {
    ResultDigest::new(B256::repeat_byte(byte)).expect("not zero")
}

/// Takes a task up to its hidden answer.
async fn committed(journal: &Journal, seq: u64, index: u32) -> Hidden {
    assert_eq!(journal.receive(seq, &assign(index)).await.expect("taken"), Received::Assigned(task(index)));
    let computed = Computed {
        digest: digest(1),
        manifest: Some(b"{}".to_vec()),
        stdout: Some(Content::of(b"said")),
        stderr: None,
        sealed: None,
        wall_ms: 12,
        failure: None,
    };
    for phase in [Phase::Fetched, Phase::Running] {
        assert!(journal.enter(task(index), phase).await.expect("writes"));
    }
    assert!(journal.compute(task(index), &computed).await.expect("writes"));
    assert!(journal.commit(task(index), digest(1)).await.expect("writes"));
    standing(journal, index).await.expect("it stands")
}

async fn standing(journal: &Journal, index: u32) -> Option<Hidden> {
    journal.answers().await.expect("reads").into_iter().find(|hidden| hidden.task == task(index))
}

async fn show(journal: &Journal, seq: u64, root: B256) -> Received {
    let closed = Closed { root, closed: vec![], transaction: B256::repeat_byte(2), leaves: vec![] };
    journal.receive(seq, &Mail::Closed(Box::new(closed))).await.expect("taken")
}

#[tokio::test]
async fn answers_share_a_seed_that_survives_until_it_is_revealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    let first = committed(&journal, 1, 0).await;
    drop(journal);
    let journal = open(folder.path()).await;
    assert_eq!(standing(&journal, 0).await, Some(first), "after a crash it says the same again");
    let second = committed(&journal, 2, 1).await;
    assert_eq!(first.seed, second.seed);
    assert!(!first.seed.seed.is_zero());
    let salted = round::commitment(task(1), worker(), digest(1), round::salt(second.seed.seed, task(1)));
    assert_eq!(second.commitment, salted);
    assert!(journal.open_tasks().await.expect("reads").is_empty(), "no work is left to do");
}

#[tokio::test]
async fn a_reveal_hides_anew_what_was_left_out_and_is_given_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    let (inside, outside) = (committed(&journal, 1, 0).await, committed(&journal, 2, 1).await);
    let root = B256::repeat_byte(6);
    assert_eq!(show(&journal, 3, root).await, Received::Shown(root));
    journal.close(root, &[task(0)]).await.expect("writes");
    assert!(standing(&journal, 0).await.is_none(), "a round holds it");
    let head = BlockNumber::new(7);
    let answers = [(task(0), digest(1))];
    assert!(journal.reveal(root, inside.seed, head, &answers).await.expect("writes"));
    assert!(!journal.reveal(root, inside.seed, head, &answers).await.expect("writes"), "once");
    assert_eq!(show(&journal, 4, root).await, Received::Nothing, "it is open");
    let renewed = standing(&journal, 1).await.expect("it still waits");
    assert_ne!(renewed.seed.id, outside.seed.id);
    assert_eq!(renewed.digest, outside.digest);
    let opened = journal.opened().await.expect("reads");
    assert_eq!(opened.len(), 1);
    assert_eq!((opened[0].root, opened[0].seed), (root, inside.seed.seed));
    assert_eq!(opened[0].answers, [(inside.deal, 0, digest(1))]);
    let given = journal.answers_to(task(1)).await.expect("reads");
    assert_eq!(given.iter().map(|hidden| hidden.seed.revealed_at).collect::<Vec<_>>(), [Some(head), None]);
    assert!(journal.enter(task(0), Phase::Delivered).await.expect("writes"));
    let settled = Mail::Settled {
        task: task(0).get(),
        digest: digest(1).get(),
        earned: berth_wire::units::Decimal(5),
        transaction: B256::ZERO,
    };
    journal.receive(5, &settled).await.expect("taken");
    assert!(journal.opened().await.expect("reads").is_empty(), "it is over");
    assert_eq!(journal.watched().await.expect("reads").len(), 2, "the scheduler's word is not the chain's");
}

#[tokio::test]
async fn a_refused_round_is_never_opened_and_its_tasks_wait_for_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    let hidden = committed(&journal, 1, 0).await;
    let root = B256::repeat_byte(6);
    show(&journal, 2, root).await;
    journal.close(root, &[task(0)]).await.expect("writes");
    assert!(journal.refuse(root, "it lies").await.expect("writes"));
    assert!(!journal.refuse(root, "it lies").await.expect("writes"));
    assert!(!journal.reveal(root, hidden.seed, BlockNumber::new(7), &[(task(0), digest(1))]).await.expect("writes"));
    assert_eq!(show(&journal, 3, root).await, Received::Nothing);
    assert_eq!(standing(&journal, 0).await, Some(hidden), "its seed is as good as new");
    assert!(journal.shown().await.expect("reads").is_empty());
}

#[tokio::test]
async fn an_agreed_failure_takes_an_answers_place_until_that_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    let hidden = committed(&journal, 1, 0).await;
    let agree = |digest| Mail::Agree { task: task(0).get(), digest };
    let failure = Failure::NoAgreement.digest();
    let result = journal.receive(2, &agree(B256::repeat_byte(3))).await.expect("taken");
    assert_eq!(result, Received::Nothing, "a result is nobody's to choose");
    assert_eq!(journal.receive(3, &agree(failure.get())).await.expect("taken"), Received::Agreed(task(0)));
    let agreed = standing(&journal, 0).await.expect("it stands");
    assert_eq!((agreed.digest, agreed.seed), (failure, hidden.seed));
    show(&journal, 4, B256::repeat_byte(6)).await;
    let answers = [(task(0), failure)];
    assert!(journal.reveal(B256::repeat_byte(6), hidden.seed, BlockNumber::new(7), &answers).await.expect("writes"));
    assert_eq!(journal.receive(5, &agree(failure.get())).await.expect("taken"), Received::Nothing);
}

#[tokio::test]
async fn the_pair_that_a_worker_appends_itself_has_a_seed_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = open(folder.path()).await;
    let hidden = committed(&journal, 1, 0).await;
    let appended = journal.own_append(task(0), digest(1)).await.expect("writes");
    assert_eq!(journal.own_append(task(0), digest(1)).await.expect("writes"), appended, "made once");
    let given = journal.answers_to(task(0)).await.expect("reads");
    assert_eq!(given.len(), 2);
    assert_ne!(given[1].seed.id, hidden.seed.id);
    assert_eq!(committed(&journal, 2, 1).await.seed, hidden.seed, "nothing else is hidden under it");
}
