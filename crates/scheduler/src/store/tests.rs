//! The statements on a real SQLite.

use super::{
    Database, app, attempt,
    bond::{self, Bond, Place},
    deal, job, list, mail, report,
    sending::{self, Failures, Kind, Sent},
    session::{self, Caller},
    task::{self, End, Entry},
};
use crate::samples;
use alloy::primitives::{Address, B256};
use berth_chain::{BlockNumber, StoreError};
use berth_protocol::{
    AccountAddr, Amount, AssetId, TaskId, Timestamp, WorkerAddr,
    task::{Answer, Event, Task},
};
use berth_wire::{
    units::Sha256,
    worker::{Mail, Stage},
};
use sqlx::{Sqlite, Transaction};

fn pool(n: u8) -> AssetId {
    let mut id = B256::repeat_byte(n);
    id[31] = 3;
    AssetId::new(id).expect("a pool's id")
}

/// A database with one opened deal of `size` tasks, and a transaction on it.
async fn with_deal(size: u32) -> (tempfile::TempDir, Transaction<'static, Sqlite>, deal::Deal) {
    let (folder, db) = samples::database().await;
    let mut tx = db.write().await.expect("writes");
    let deal = samples::deal(samples::terms(size));
    deal::insert(&mut tx, &deal).await.expect("inserts");
    task::create(&mut tx, deal.id, &deal.terms, samples::stamp(7)).await.expect("creates");
    assert!(deal::open(&mut tx, deal.id).await.expect("opens"));
    (folder, tx, deal)
}

async fn row(tx: &mut Transaction<'static, Sqlite>, id: TaskId) -> task::Row {
    task::get(tx, id).await.expect("reads").expect("is there")
}

fn at(time: u64) -> Entry<'static> {
    Entry::at(samples::stamp(time))
}

const END: End = End { tx: B256::repeat_byte(0xbb), block: BlockNumber::new(20) };

#[tokio::test]
async fn another_programs_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("diary.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let diary = sqlx::SqlitePool::connect_with(options).await.expect("opens");
    sqlx::query("CREATE TABLE days (text TEXT)").execute(&diary).await.expect("creates");
    assert!(matches!(Database::open(&path).await, Err(StoreError::Foreign { .. })));
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master").fetch_all(&diary).await.expect("reads");
    assert_eq!(tables, ["days"]);
}

#[tokio::test]
async fn a_database_is_made_from_nothing_opened_again_and_belongs_to_one_pool() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("scheduler.db");
    let db = Database::open(&path).await.expect("made");
    assert_eq!(db.claim(pool(1)).await.expect("claimed"), pool(1));
    db.close().await;
    let db = Database::open(&path).await.expect("opened again");
    assert_eq!(db.claim(pool(2)).await.expect("asked"), pool(1));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("scheduler.db");
    std::fs::write(&path, "my diary, which is longer than a database's header would be, and means much to me\n")
        .expect("writable");
    let error = Database::open(&path).await.expect_err("no database");
    assert_eq!(error.class(), berth_protocol::Class::Bug);
    assert!(std::fs::read_to_string(&path).expect("still there").starts_with("my diary"));
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused() {
    let (_folder, db) = samples::database().await;
    let mut tx = db.write().await.expect("writes");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'the future', 1, x'00', 0)",
    )
    .execute(&mut *tx)
    .await
    .expect("writes");
    tx.commit().await.expect("commits");
    db.close().await;
    let path = _folder.path().join("scheduler.db");
    let error = Database::open(&path).await.expect_err("of the future");
    assert!(matches!(error, StoreError::Migrate(_)));
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_task_survives_every_phase_of_its_life() {
    let (_folder, mut tx, deal) = with_deal(2).await;
    let id = deal.id.task(1);
    let answer = Answer { worker: samples::worker(1), digest: samples::digest(2) };
    let steps = [
        (Event::Assign(answer.worker), at(10), Task::Assigned(answer.worker)),
        (Event::Report(answer), at(11), Task::Reported(answer)),
        (Event::Send, Entry { settlement: Some("key"), ..at(12) }, Task::Settling(answer)),
        (Event::Recall, Entry { reason: Some("no luck"), ..at(13) }, Task::Reported(answer)),
        (Event::Send, Entry { settlement: Some("key 2"), ..at(14) }, Task::Settling(answer)),
        (Event::Settle(answer), Entry { end: Some(END), ..at(15) }, Task::Settled(answer)),
        (Event::Unwind, at(16), Task::Reported(answer)),
        (Event::Claim, Entry { end: Some(END), ..at(17) }, Task::Claimed),
        (Event::Unwind, at(18), Task::Open),
        (Event::Decline, Entry { end: Some(END), ..at(19) }, Task::Declined),
    ];
    for (event, entry, wanted) in steps {
        let before = row(&mut tx, id).await;
        assert_eq!(task::apply(&mut tx, &before, event, entry).await.expect("works"), Some(wanted));
        let after = row(&mut tx, id).await;
        assert_eq!((after.task, after.since), (wanted, entry.since));
        assert_eq!(after.settlement.as_deref(), entry.settlement);
        assert_eq!(after.reason.as_deref(), entry.reason);
        assert_eq!(after.end, entry.end);
        // What the caller has seen is over: the same again changes nothing.
        assert_eq!(task::apply(&mut tx, &before, event, entry).await.expect("works"), None);
        assert_eq!(row(&mut tx, id).await, after);
    }
    assert_eq!(row(&mut tx, deal.id.task(0)).await.task, Task::Open, "the other task is untouched");
}

#[tokio::test]
async fn a_task_that_went_elsewhere_is_not_taken_back_from_its_new_worker() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    let id = deal.id.task(0);
    let (first, second) = (samples::worker(1), samples::worker(2));
    let open = row(&mut tx, id).await;
    task::apply(&mut tx, &open, Event::Assign(first), at(1)).await.expect("works");
    let stale = row(&mut tx, id).await;
    task::apply(&mut tx, &stale, Event::Release(first), at(2)).await.expect("works");
    task::apply(&mut tx, &open, Event::Assign(second), at(3)).await.expect("works");
    assert_eq!(task::apply(&mut tx, &stale, Event::Release(first), at(4)).await.expect("works"), None);
    assert_eq!(row(&mut tx, id).await.task, Task::Assigned(second));
}

#[tokio::test]
async fn the_database_itself_refuses_impossible_tasks() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    for broken in [
        "UPDATE task SET phase = 'done'",
        "UPDATE task SET phase = 'assigned'",
        "UPDATE task SET worker = x'1111111111111111111111111111111111111111'",
        "UPDATE task SET phase = 'settled', worker = x'1111111111111111111111111111111111111111'",
        "UPDATE task SET settlement = 'key'",
        "UPDATE task SET end_block = 3",
        "UPDATE task SET stage = 'running'",
        "UPDATE deal SET seq = 'many'",
    ] {
        assert!(sqlx::query(broken).execute(&mut *tx).await.is_err(), "{broken}");
    }
    assert_eq!(row(&mut tx, deal.id.task(0)).await.task, Task::Open);
}

#[tokio::test]
async fn stages_are_those_of_the_worker_that_runs_the_task() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    let (id, worker) = (deal.id.task(0), samples::worker(1));
    let stage = Stage::Running;
    assert_eq!(task::set_stage(&mut tx, id, worker, stage).await.expect("works"), None, "nobody has it");
    let open = row(&mut tx, id).await;
    task::apply(&mut tx, &open, Event::Assign(worker), at(1)).await.expect("works");
    assert_eq!(task::set_stage(&mut tx, id, samples::worker(2), stage).await.expect("works"), None, "another has it");
    assert_eq!(task::set_stage(&mut tx, id, worker, stage).await.expect("works"), Some(deal.id));
    assert_eq!(task::set_stage(&mut tx, id, worker, stage).await.expect("works"), None, "nothing new");
    assert_eq!(row(&mut tx, id).await.stage, Some(stage));
}

#[tokio::test]
async fn a_deal_ends_with_its_last_task_and_goes_on_when_a_block_goes() {
    let (_folder, mut tx, deal) = with_deal(2).await;
    let entry = Entry { end: Some(END), ..at(1) };
    for index in 0..2 {
        let ended = deal::get(&mut tx, deal.id).await.expect("reads").expect("is there").ended;
        assert!(!ended);
        let open = row(&mut tx, deal.id.task(index)).await;
        task::apply(&mut tx, &open, Event::Claim, entry).await.expect("works");
        deal::touch(&mut tx, deal.id).await.expect("works");
    }
    let after = deal::get(&mut tx, deal.id).await.expect("reads").expect("is there");
    assert!(after.ended && after.seq == 4, "{after:?}");
    assert!(deal::going(&mut tx).await.expect("reads").is_empty());
    assert!(task::going(&mut tx).await.expect("reads").is_empty());

    let gone = task::ended_above(&mut tx, BlockNumber::new(19)).await.expect("reads");
    assert_eq!(gone.len(), 2);
    assert!(task::ended_above(&mut tx, BlockNumber::new(20)).await.expect("reads").is_empty());
    task::apply(&mut tx, &gone[0], Event::Unwind, at(2)).await.expect("works");
    deal::touch(&mut tx, deal.id).await.expect("works");
    assert_eq!(deal::going(&mut tx).await.expect("reads").len(), 1);
}

#[tokio::test]
async fn a_deal_is_taken_once_and_goes_with_all_that_hangs_on_it() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    let (id, worker) = (deal.id.task(0), samples::worker(1));
    deal::insert(&mut tx, &deal).await.expect("a second time is nothing");
    assert!(!deal::open(&mut tx, deal.id).await.expect("works"), "it is opened already");
    let stored = deal::get(&mut tx, deal.id).await.expect("reads").expect("is there");
    assert_eq!(stored, deal::Deal { opened: true, seq: 2, ..deal.clone() });

    attempt::begin(&mut tx, id, worker, 1, Timestamp::new(1)).await.expect("works");
    let checked = report::Report {
        worker,
        digest: samples::digest(1),
        stdout: None,
        stderr: Some(berth_wire::manifest::Content::of(b"oh")),
        sealed: None,
        wall_ms: 12,
        failure: Some("because".into()),
        partial: Some(berth_wire::manifest::Content::of(b"left")),
    };
    report::put(&mut tx, id, &checked).await.expect("works");
    assert_eq!(report::get(&mut tx, id, worker).await.expect("reads"), Some(checked.clone()));
    assert_eq!(report::of_deal(&mut tx, deal.id).await.expect("reads"), [(0, checked)]);
    list::add(&mut tx, deal.id, worker, &[1; 36], &[2; 65]).await.expect("works");
    sending::insert(&mut tx, &Sent { key: "k".into(), deal: deal.id, kind: Kind::Settle }).await.expect("works");

    assert!(deal::above(&mut tx, deal.block).await.expect("reads").is_empty());
    assert_eq!(deal::above(&mut tx, deal.block.below(1)).await.expect("reads").len(), 1);
    deal::delete(&mut tx, deal.id).await.expect("works");
    assert_eq!(task::get(&mut tx, id).await.expect("reads"), None);
    assert!(list::of_deal(&mut tx, deal.id).await.expect("reads").is_empty());
    assert!(sending::sent(&mut tx).await.expect("reads").is_empty());
    assert_eq!(attempt::count(&mut tx, id).await.expect("reads"), 0);
}

#[tokio::test]
async fn tries_are_counted_in_turn_and_known_as_received_once_acknowledged() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    let (id, first, second) = (deal.id.task(0), samples::worker(1), samples::worker(2));
    let letter = Mail::Cancel { task: B256::ZERO, reason: String::new() };
    let seq = mail::put(&mut tx, first, &letter).await.expect("works");
    attempt::begin(&mut tx, id, first, seq, Timestamp::new(1)).await.expect("works");
    assert!(!attempt::going(&mut tx).await.expect("reads")[0].received);
    mail::ack(&mut tx, first, seq).await.expect("works");
    assert!(attempt::going(&mut tx).await.expect("reads")[0].received);
    attempt::end(&mut tx, id, first, attempt::Outcome::Declined, Some("no-room")).await.expect("works");
    attempt::begin(&mut tx, id, second, 1, Timestamp::new(1)).await.expect("works");
    attempt::end(&mut tx, id, first, attempt::Outcome::Lost, None).await.expect("an ended try stays as it is");
    let tries = attempt::of_task(&mut tx, id).await.expect("reads");
    let outcomes: Vec<_> = tries.iter().map(|attempt| (attempt.worker, attempt.outcome)).collect();
    assert_eq!(outcomes, [(first, Some(attempt::Outcome::Declined)), (second, None)]);
    assert_eq!(tries[0].detail.as_deref(), Some("no-room"));
    assert!(attempt::was_given(&mut tx, id, first).await.expect("reads"));
    assert!(!attempt::was_given(&mut tx, id, samples::worker(3)).await.expect("reads"));
    assert_eq!(attempt::counts(&mut tx, deal.id).await.expect("reads"), [(id, 2)]);
    assert_eq!(attempt::concerned(&mut tx, id).await.expect("reads"), [second]);
}

fn bond(worker: WorkerAddr, bonded: u128) -> Bond {
    Bond {
        worker,
        owner: AccountAddr::new(Address::repeat_byte(9)),
        bonded: Amount::new(bonded),
        unbonding: Amount::new(u128::MAX),
        release_at: Timestamp::new(u64::MAX >> 1),
        score: 7,
    }
}

#[tokio::test]
async fn the_last_change_of_a_bond_counts_and_goes_with_its_block() {
    let (_folder, db) = samples::database().await;
    let mut tx = db.write().await.expect("writes");
    let (first, second) = (samples::worker(1), samples::worker(2));
    for (worker, bonded, block, log_index) in [(first, 1, 5, 3), (first, 2, 5, 4), (second, 9, 6, 0), (first, 3, 7, 1)]
    {
        let place = Place { block: BlockNumber::new(block), log_index };
        bond::put(&mut tx, &bond(worker, bonded), place).await.expect("writes");
    }
    assert_eq!(bond::all(&mut tx).await.expect("reads"), [bond(first, 3), bond(second, 9)]);
    bond::drop_above(&mut tx, BlockNumber::new(5)).await.expect("works");
    assert_eq!(bond::all(&mut tx).await.expect("reads"), [bond(first, 2)]);
    assert_eq!(bond::of(&mut tx, second).await.expect("reads"), None);
}

fn letter(n: u8) -> Mail {
    Mail::Ended { task: B256::repeat_byte(n), reason: String::new() }
}

async fn waiting(tx: &mut Transaction<'static, Sqlite>, worker: WorkerAddr, after: u64) -> Vec<(u64, u8)> {
    let letters = mail::after(tx, worker, after, 100).await.expect("reads");
    let number = |mail: &Mail| match mail {
        Mail::Ended { task, .. } => task[0],
        Mail::Assign(_)
        | Mail::Cancel { .. }
        | Mail::Settled { .. }
        | Mail::Closed(_)
        | Mail::Appended(_)
        | Mail::Agree { .. } => 0,
    };
    letters.iter().map(|(seq, mail)| (*seq, number(mail))).collect()
}

#[tokio::test]
async fn letters_are_numbered_kept_until_acknowledged_and_shown_again() {
    let (_folder, db) = samples::database().await;
    let mut tx = db.write().await.expect("writes");
    let (worker, other) = (samples::worker(1), samples::worker(2));
    for n in 1..=3 {
        assert_eq!(mail::put(&mut tx, worker, &letter(n)).await.expect("works"), u64::from(n));
    }
    assert_eq!(mail::put(&mut tx, other, &letter(9)).await.expect("works"), 1, "each worker has its own numbers");
    assert_eq!(mail::waiting(&mut tx).await.expect("reads"), [(worker, 3), (other, 1)]);
    assert_eq!(waiting(&mut tx, worker, 1).await, [(2, 2), (3, 3)]);
    mail::ack(&mut tx, worker, 2).await.expect("works");
    mail::ack(&mut tx, worker, 1).await.expect("an old one changes nothing");
    mail::ack(&mut tx, worker, 99).await.expect("one that was never sent changes nothing");
    assert_eq!(waiting(&mut tx, worker, 0).await, [(3, 3)]);
    mail::resume(&mut tx, worker, 3).await.expect("works");
    assert!(waiting(&mut tx, worker, 0).await.is_empty());
    assert_eq!(mail::put(&mut tx, worker, &letter(4)).await.expect("works"), 4, "numbers are never used twice");
    assert_eq!(mail::waiting(&mut tx).await.expect("reads"), [(worker, 4), (other, 1)]);
}

#[tokio::test]
async fn where_database_and_journal_disagree_the_letters_follow_the_journal_without_a_gap() {
    let (_folder, mut tx, deal) = with_deal(2).await;
    let worker = samples::worker(1);
    for n in 1..=3 {
        let seq = mail::put(&mut tx, worker, &letter(n)).await.expect("works");
        if n < 3 {
            attempt::begin(&mut tx, deal.id.task(u32::from(n) - 1), worker, seq, Timestamp::new(1))
                .await
                .expect("works");
        }
    }
    mail::ack(&mut tx, worker, 1).await.expect("works");
    let received = async |tx: &mut Transaction<'static, Sqlite>| {
        let tries = attempt::going(tx).await.expect("reads");
        tries.iter().filter(|attempt| attempt.received).count()
    };
    // The database was lost, and the journal knows of more than was ever written here; then the journal was lost.
    for (known, wanted) in [(40, [(41, 2), (42, 3)]), (0, [(1, 2), (2, 3)]), (7, [(8, 2), (9, 3)])] {
        mail::resume(&mut tx, worker, known).await.expect("works");
        assert_eq!(waiting(&mut tx, worker, known).await, wanted);
        assert_eq!(received(&mut tx).await, 1, "what was acknowledged stays so, and what was not does, too");
    }
    mail::resume(&mut tx, worker, 8).await.expect("works");
    assert_eq!(waiting(&mut tx, worker, 0).await, [(9, 3)]);
    assert_eq!(received(&mut tx).await, 2);
    assert_eq!(mail::put(&mut tx, worker, &letter(4)).await.expect("works"), 10);
}

#[tokio::test]
async fn a_list_is_kept_once_and_the_latest_comes_last() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    let worker = samples::worker(1);
    for entries in [&[1; 36][..], &[1; 36], &[2; 72], &[1; 36]] {
        list::add(&mut tx, deal.id, worker, entries, &[0; 65]).await.expect("works");
    }
    let lists = list::of_worker(&mut tx, deal.id, worker).await.expect("reads");
    let sizes: Vec<_> = lists.iter().map(|list| (list.nth, list.entries.len())).collect();
    assert_eq!(sizes, [(1, 36), (2, 72), (3, 36)]);
    list::delete(&mut tx, deal.id, worker, 2).await.expect("works");
    assert_eq!(list::of_deal(&mut tx, deal.id).await.expect("reads").len(), 2);
}

#[tokio::test]
async fn what_came_to_nothing_is_counted() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    let sent = |key: &str| Sent { key: key.to_owned(), deal: deal.id, kind: Kind::Settle };
    sending::insert(&mut tx, &sent("a")).await.expect("works");
    sending::insert(&mut tx, &sent("b")).await.expect("works");
    assert_eq!(sending::sent(&mut tx).await.expect("reads"), [sent("a"), sent("b")]);
    assert!(sending::fail(&mut tx, "a", Timestamp::new(5)).await.expect("works"));
    assert!(!sending::fail(&mut tx, "a", Timestamp::new(6)).await.expect("works"), "once is enough");
    assert!(sending::finish(&mut tx, "b").await.expect("works"));
    assert!(sending::sent(&mut tx).await.expect("reads").is_empty());
    let failures = Failures { deal: deal.id, kind: Kind::Settle, count: 1, last: Timestamp::new(5) };
    assert_eq!(sending::failures(&mut tx).await.expect("reads"), [failures]);
    assert_eq!(sending::count_failed(&mut tx, deal.id, Kind::Settle).await.expect("reads"), 1);
    assert_eq!(sending::count_failed(&mut tx, deal.id, Kind::Claim).await.expect("reads"), 0);
}

#[tokio::test]
async fn a_sign_in_text_is_good_once_and_a_session_until_it_ends() {
    let (_folder, db) = samples::database().await;
    let mut tx = db.write().await.expect("writes");
    session::challenge(&mut tx, "n", "text", 100).await.expect("works");
    assert!(!session::redeem(&mut tx, "n", "other text", 50).await.expect("works"));
    assert!(!session::redeem(&mut tx, "n", "text", 101).await.expect("works"), "too late");
    assert!(session::redeem(&mut tx, "n", "text", 100).await.expect("works"));
    assert!(!session::redeem(&mut tx, "n", "text", 100).await.expect("works"), "used");

    let (person, worker) = (Caller::Person(Address::repeat_byte(1)), Caller::Worker(Address::repeat_byte(2)));
    session::open(&mut tx, Sha256([1; 32]), person, 10).await.expect("works");
    session::open(&mut tx, Sha256([2; 32]), worker, 20).await.expect("works");
    assert_eq!(session::caller(&mut tx, Sha256([1; 32]), 10).await.expect("reads"), Some(person));
    assert_eq!(session::caller(&mut tx, Sha256([2; 32]), 10).await.expect("reads"), Some(worker));
    assert_eq!(session::caller(&mut tx, Sha256([3; 32]), 10).await.expect("reads"), None);
    assert_eq!(session::caller(&mut tx, Sha256([1; 32]), 11).await.expect("reads"), None, "over");
    session::drop_expired(&mut tx, 15).await.expect("works");
    assert_eq!(session::caller(&mut tx, Sha256([1; 32]), 1).await.expect("reads"), None, "forgotten");
}

#[tokio::test]
async fn jobs_without_a_deal_are_counted_and_forgotten_in_time() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    let by = deal.requester;
    assert!(job::insert(&mut tx, deal.job_hash, b"{}", by, 5).await.expect("works"));
    assert!(!job::insert(&mut tx, deal.job_hash, b"{}", by, 6).await.expect("works"));
    assert!(job::insert(&mut tx, samples::no_job(), b"[]", by, 7).await.expect("works"));
    assert!(deal::names_job(&mut tx, deal.job_hash, by).await.expect("reads"));
    assert!(!deal::names_job(&mut tx, samples::no_job(), by).await.expect("reads"));
    let stranger = Address::repeat_byte(1);
    assert!(!deal::names_job(&mut tx, deal.job_hash, stranger).await.expect("reads"));
    assert!(!job::is_by(&mut tx, deal.job_hash, stranger).await.expect("reads"));
    assert!(!job::insert(&mut tx, deal.job_hash, b"{}", stranger, 4).await.expect("works"), "it is there");
    assert_eq!(job::count_unused(&mut tx).await.expect("reads"), 2, "the deal is not the stranger's");
    assert_eq!(job::drop_unused(&mut tx, 5).await.expect("works"), 0, "the requester has put it, too");
    assert!(job::is_by(&mut tx, deal.job_hash, by).await.expect("reads"));
    assert_eq!(job::count_unused(&mut tx).await.expect("reads"), 1);
    assert_eq!(job::drop_unused(&mut tx, 7).await.expect("works"), 0, "not old enough");
    assert_eq!(job::drop_unused(&mut tx, 8).await.expect("works"), 1);
    assert_eq!(job::document(&mut tx, deal.job_hash).await.expect("reads").as_deref(), Some(&b"{}"[..]));
    assert_eq!(job::document(&mut tx, samples::no_job()).await.expect("reads"), None);
}

#[tokio::test]
async fn an_app_goes_with_the_block_that_registered_it() {
    let (_folder, db) = samples::database().await;
    let mut tx = db.write().await.expect("writes");
    let id = AssetId::new(B256::with_last_byte(1)).expect("an app's id");
    app::insert(&mut tx, id, "{}", BlockNumber::new(5)).await.expect("works");
    app::drop_above(&mut tx, BlockNumber::new(5)).await.expect("works");
    assert_eq!(app::descriptor(&mut tx, id.get()).await.expect("reads").as_deref(), Some("{}"));
    app::drop_above(&mut tx, BlockNumber::new(4)).await.expect("works");
    assert_eq!(app::descriptor(&mut tx, id.get()).await.expect("reads"), None);
}

#[tokio::test]
async fn terms_that_are_not_the_deals_are_found_out() {
    let (_folder, mut tx, deal) = with_deal(1).await;
    sqlx::query("UPDATE deal SET id = x'0000000000000000000000000000000000000000000000000000000000000001'")
        .execute(&mut *tx)
        .await
        .expect_err("its tasks hang on it");
    sqlx::query("DELETE FROM task").execute(&mut *tx).await.expect("works");
    sqlx::query("UPDATE deal SET id = x'0000000000000000000000000000000000000000000000000000000000000001'")
        .execute(&mut *tx)
        .await
        .expect("works");
    assert!(matches!(deal::going(&mut tx).await, Err(StoreError::Foreign { table: "deal", .. })));
    assert_eq!(deal.terms.id(), deal.id);
}
