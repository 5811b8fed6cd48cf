//! What the chain says goes into the tables, and out of them again when its block goes.

use super::Ledger;
use crate::{
    mailbox::earned,
    samples::{self, START, digest, worker},
    signals::Signals,
    store::{self, Database, task::Entry},
};
use alloy::primitives::{Address, B256};
use berth_chain::{
    BlockNumber, BlockRef,
    follow::{Block, Event as Seen, Sink as _},
};
use berth_fault::Faults;
use berth_protocol::{
    AccountAddr, Amount, AssetId, AssetKind, DealTerms, OperatorAddr, ResultDigest, Timestamp, WorkerAddr,
    ledger::{Event, event::DealSubject},
    task::{Answer, Event as Change, Phase, Task},
};
use berth_wire::worker::Mail;
use std::sync::Arc;

fn ledger() -> Ledger {
    let terms = samples::terms(1);
    Ledger {
        pool: AssetId::new(terms.pool).expect("a pool's id"),
        operator: OperatorAddr::new(terms.operator),
        signals: Arc::new(Signals::new()),
        faults: Faults::default(),
    }
}

fn block(number: u64, events: Vec<Event>) -> Block<Event> {
    let at = BlockRef {
        number: BlockNumber::new(number),
        hash: B256::with_last_byte(u8::try_from(number).expect("few blocks")),
        timestamp: Timestamp::new(START + number),
    };
    let seen = |(log_index, body)| Seen { body, emitter: Address::ZERO, tx: B256::repeat_byte(0xcc), log_index };
    Block { at, events: (0..).zip(events).map(seen).collect() }
}

async fn apply(ledger: &mut Ledger, db: &Database, blocks: &[Block<Event>]) {
    let mut tx = db.write().await.expect("writes");
    ledger.apply(&mut tx, blocks).await.expect("works");
    tx.commit().await.expect("commits");
}

async fn unwind(ledger: &mut Ledger, db: &Database, to: u64) {
    let mut tx = db.write().await.expect("writes");
    ledger.unwind(&mut tx, BlockNumber::new(to)).await.expect("works");
    tx.commit().await.expect("commits");
}

fn matched(terms: &DealTerms) -> Event {
    Event::DealMatched {
        deal: terms.id(),
        requester: AccountAddr::new(Address::repeat_byte(0xa6)),
        terms: Box::new(terms.clone()),
        subject: Box::new(DealSubject {
            app: B256::with_last_byte(1),
            dataset: B256::ZERO,
            beneficiary: Address::ZERO,
            tag: B256::ZERO,
            jobHash: samples::job().hash().get(),
            appOrder: B256::ZERO,
            datasetOrder: B256::ZERO,
            poolOrder: B256::ZERO,
        }),
    }
}

fn settled(terms: &DealTerms, by: WorkerAddr, entries: &[(u32, ResultDigest)]) -> Event {
    let packed = |(index, digest): &(u32, ResultDigest)| index.to_be_bytes().into_iter().chain(digest.get());
    Event::SinglesSettled { deal: terms.id(), worker: by, entries: entries.iter().flat_map(packed).collect() }
}

async fn phases(db: &Database, terms: &DealTerms) -> Vec<Phase> {
    let mut tx = db.read().await.expect("reads");
    let rows = store::task::of_deal(&mut tx, terms.id()).await.expect("reads");
    rows.iter().map(|row| row.task.phase()).collect()
}

async fn change(db: &Database, terms: &DealTerms, index: u32, event: Change) {
    let mut tx = db.write().await.expect("writes");
    let row = store::task::get(&mut tx, terms.id().task(index)).await.expect("reads").expect("is there");
    if let Change::Assign(to) = event {
        let mail = Mail::Cancel { task: row.id.get(), reason: "stands for an assignment".to_owned() };
        let seq = store::mail::put(&mut tx, to, &mail).await.expect("works");
        store::attempt::begin(&mut tx, row.id, to, seq, Timestamp::new(1)).await.expect("works");
    }
    let entry = Entry::at(samples::stamp(START));
    assert!(store::task::apply(&mut tx, &row, event, entry).await.expect("works").is_some(), "{event:?}");
    tx.commit().await.expect("commits");
}

async fn open(db: &Database, terms: &DealTerms) {
    let mut tx = db.write().await.expect("writes");
    store::task::create(&mut tx, terms.id(), terms, samples::stamp(START)).await.expect("works");
    store::deal::open(&mut tx, terms.id()).await.expect("works");
    tx.commit().await.expect("commits");
}

async fn letters(db: &Database, to: WorkerAddr) -> Vec<Mail> {
    let mut tx = db.read().await.expect("reads");
    let letters = store::mail::after(&mut tx, to, 0, 99).await.expect("reads");
    letters.into_iter().map(|(_, mail)| mail).collect()
}

#[tokio::test]
async fn only_deals_of_this_pool_and_this_operator_are_taken() {
    let (_folder, db) = samples::database().await;
    let mut ledger = ledger();
    let ours = samples::terms(2);
    let other_pool = DealTerms { pool: B256::repeat_byte(3), ..ours.clone() };
    let other_operator = DealTerms { operator: Address::repeat_byte(1), ..ours.clone() };
    let events = [&other_pool, &ours, &other_operator].map(matched);
    apply(&mut ledger, &db, &[block(1, events.to_vec())]).await;
    let mut tx = db.read().await.expect("reads");
    let deals = store::deal::going(&mut tx).await.expect("reads");
    assert_eq!(deals.iter().map(|deal| deal.id).collect::<Vec<_>>(), [ours.id()]);
    assert_eq!((deals[0].log_index, deals[0].opened), (1, false));
}

#[tokio::test]
async fn a_settlement_by_anybody_ends_tasks_from_whatever_phase_and_tells_whom_it_concerns() {
    let (_folder, db) = samples::database().await;
    let mut ledger = ledger();
    let terms = samples::terms(4);
    apply(&mut ledger, &db, &[block(1, vec![matched(&terms)])]).await;
    open(&db, &terms).await;
    let answer = Answer { worker: worker(1), digest: digest(5) };
    change(&db, &terms, 1, Change::Assign(worker(2))).await;
    change(&db, &terms, 2, Change::Report(answer)).await;
    let entries = [(0, digest(5)), (1, digest(6)), (2, digest(5))];
    apply(&mut ledger, &db, &[block(2, vec![settled(&terms, worker(1), &entries)])]).await;
    assert_eq!(phases(&db, &terms).await, [Phase::Settled, Phase::Settled, Phase::Settled, Phase::Open]);
    let paid: Vec<_> = letters(&db, worker(1)).await;
    assert_eq!(paid.len(), 3);
    let Mail::Settled { task, earned: got, transaction, .. } = &paid[0] else { panic!("not paid") };
    assert_eq!((*task, got.0), (terms.id().task(0).get(), earned(&terms, digest(5)).units()));
    assert_eq!(*transaction, B256::repeat_byte(0xcc));
    assert!(matches!(&letters(&db, worker(2)).await[..], [_, Mail::Ended { .. }]), "who ran it is told to stop");
    assert_eq!(ledger.signals.take_entered(BlockNumber::new(1)), []);
    assert_eq!(ledger.signals.take_entered(BlockNumber::new(2)), [Phase::Settled]);

    // The same again, as a list that overlaps: what has ended stays.
    let before = samples::dump(&db).await;
    let tasks = |rows: &[String]| rows.iter().filter(|row| row.starts_with("task:")).cloned().collect::<Vec<_>>();
    apply(&mut ledger, &db, &[block(3, vec![settled(&terms, worker(2), &entries)])]).await;
    assert_eq!(tasks(&samples::dump(&db).await), tasks(&before));
}

#[tokio::test]
async fn declined_and_claimed_tasks_end_even_before_they_were_made_here() {
    let (_folder, db) = samples::database().await;
    let mut ledger = ledger();
    let terms = samples::terms(3);
    let declined = Event::TasksDeclined { deal: terms.id(), indexes: vec![1], stake_returned: true };
    let claimed = Event::DealClaimed { deal: terms.id(), tasks: 2 };
    apply(&mut ledger, &db, &[block(1, vec![matched(&terms), declined]), block(2, vec![claimed])]).await;
    assert_eq!(phases(&db, &terms).await, [Phase::Claimed, Phase::Declined, Phase::Claimed]);
    let mut tx = db.read().await.expect("reads");
    assert!(store::deal::going(&mut tx).await.expect("reads").is_empty());
    drop(tx);
    unwind(&mut ledger, &db, 1).await;
    assert_eq!(phases(&db, &terms).await, [Phase::Open, Phase::Declined, Phase::Open]);
    let mut tx = db.read().await.expect("reads");
    assert_eq!(store::deal::going(&mut tx).await.expect("reads").len(), 1);
}

#[tokio::test]
async fn a_block_that_goes_takes_all_that_it_said_with_it() {
    let (_folder, db) = samples::database().await;
    let mut ledger = ledger();
    let (first, second) = (samples::terms(2), DealTerms { request: B256::repeat_byte(2), ..samples::terms(1) });
    let pool = ledger.pool;
    let bonded = |n: u8, amount: u128| Event::Bonded { pool, worker: worker(n), amount: Amount::new(amount) };
    let owner = AccountAddr::new(Address::repeat_byte(9));
    let enlisted = |n: u8| Event::WorkerEnlisted { pool, worker: worker(n), owner };
    apply(&mut ledger, &db, &[block(1, vec![matched(&first), enlisted(1), bonded(1, 100)])]).await;
    open(&db, &first).await;
    change(&db, &first, 0, Change::Assign(worker(1))).await;
    change(&db, &first, 0, Change::Report(Answer { worker: worker(1), digest: digest(5) })).await;
    let before = samples::dump(&db).await;

    let app = AssetId::derive(AssetKind::App, Address::ZERO, b"{}");
    let registered = Event::AssetRegistered { asset: app, creator: owner, descriptor: "{}".to_owned() };
    let release_at = Timestamp::new(5_000);
    let unbonded = Event::Unbonded { pool, worker: worker(1), amount: Amount::new(60), release_at };
    let branch = [
        block(2, vec![matched(&second), registered, enlisted(2), bonded(2, 7), unbonded]),
        block(3, vec![settled(&first, worker(1), &[(0, digest(5))]), bonded(1, 1)]),
        block(4, vec![Event::BondWithdrawn { pool, worker: worker(1), amount: Amount::new(60) }]),
    ];
    apply(&mut ledger, &db, &branch).await;
    open(&db, &second).await;
    change(&db, &second, 0, Change::Assign(worker(2))).await;
    let bond = {
        let mut tx = db.read().await.expect("reads");
        store::bond::of(&mut tx, worker(1)).await.expect("reads").expect("is there")
    };
    assert_eq!((bond.owner, bond.bonded, bond.unbonding), (owner, Amount::new(41), Amount::ZERO));
    assert_eq!(bond.release_at, release_at);

    unwind(&mut ledger, &db, 1).await;
    assert_eq!(phases(&db, &first).await, [Phase::Reported, Phase::Open]);
    // Letters are not unwritten; everything that the chain said is.
    let said = |rows: Vec<String>| {
        let tables = ["app:", "bond:"];
        rows.into_iter().filter(|row| tables.iter().any(|table| row.starts_with(table))).collect::<Vec<_>>()
    };
    assert_eq!(said(samples::dump(&db).await), said(before));
    assert_eq!(phases(&db, &second).await, []);
    assert!(matches!(letters(&db, worker(2)).await.last(), Some(Mail::Ended { .. })), "the worker is told to stop");
    let task = {
        let mut tx = db.read().await.expect("reads");
        store::task::get(&mut tx, first.id().task(0)).await.expect("reads").expect("is there")
    };
    assert_eq!(task.task, Task::Reported(Answer { worker: worker(1), digest: digest(5) }));
    assert_eq!(task.reason.as_deref(), Some("the block that settled it has left the chain"));

    // The other branch says it again, elsewhere.
    apply(&mut ledger, &db, &branch).await;
    assert_eq!(phases(&db, &first).await, [Phase::Settled, Phase::Open]);
}

#[tokio::test]
async fn bonds_of_other_pools_and_assets_that_are_no_apps_are_passed_over() {
    let (_folder, db) = samples::database().await;
    let mut ledger = ledger();
    let elsewhere = AssetId::derive(AssetKind::Pool, Address::ZERO, b"other");
    let owner = AccountAddr::new(Address::repeat_byte(9));
    let before = samples::dump(&db).await;
    let events = vec![
        Event::WorkerEnlisted { pool: elsewhere, worker: worker(1), owner },
        Event::Bonded { pool: elsewhere, worker: worker(1), amount: Amount::new(5) },
        Event::BondWithdrawn { pool: elsewhere, worker: worker(1), amount: Amount::new(5) },
        Event::AssetRegistered { asset: elsewhere, creator: owner, descriptor: "{}".to_owned() },
        Event::AssetGiven { asset: elsewhere, from: owner, to: owner },
        Event::Deposited { account: owner, from: owner.get(), amount: Amount::new(1) },
        settled(&samples::terms(1), worker(1), &[(0, digest(1))]),
        Event::DealClaimed { deal: samples::terms(1).id(), tasks: 1 },
    ];
    apply(&mut ledger, &db, &[block(1, events)]).await;
    assert_eq!(samples::dump(&db).await, before);
}
