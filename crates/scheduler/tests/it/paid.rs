//! From a deal to its money, along every road.

use crate::support::{
    DURATION, Introduction, Market, PATIENCE, POOL_PRICE, ScriptedWorker, Service, WORKER_STAKE, job, with_input,
};
use alloy::primitives::Address;
use berth_protocol::{Failure, Timestamp};
use berth_wire::worker::{Mail, Stage, ToScheduler, ToWorker};
use core::time::Duration;
use eyre::{ContextCompat as _, bail, ensure};
use std::collections::BTreeSet;
use tokio::time::{Instant, timeout};

const WORKER_POT: u128 = POOL_PRICE * 9 / 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_is_assigned_reported_settled_and_paid() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    assert_eq!(worker.bond, WORKER_STAKE);

    let beneficiary = berth_chain::signer::Signer::random();
    let job = with_input("paid", b"what to do");
    let free = market.free(market.own.address()).await?;
    let terms = market.matched(&job, 1, beneficiary.address()).await?;
    let deal = terms.id();
    let waits = service.until(deal, "the deal is seen", |view| !view.tasks.is_empty()).await?;
    assert_eq!(waits.requester, market.own.address());
    assert_eq!(waits.waiting_for.as_deref(), Some(&*format!("the job document {}", job.hash())));
    assert_eq!(waits.tasks[0].phase, "open");
    assert!(waits.tasks[0].why[0].reason.starts_with("it waits for the job document"));

    let requester = service.signed_in(&market.own).await?;
    let accepted = requester.put_job(job.to_bytes()).await?;
    assert_eq!((accepted.job_hash, accepted.missing.len()), (job.hash().get(), 1));
    service.until(deal, "the input is missed", |view| view.waiting_for.as_deref() == Some("the input `input`")).await?;
    requester.put_bytes(b"what to do".to_vec()).await?;

    let assign = worker.assignment().await?;
    assert_eq!((assign.deal, assign.index, assign.job.as_bytes()), (deal.get(), 0, &job.to_bytes()[..]));
    assert_eq!(assign.beneficiary, beneficiary.address());
    let task = deal.task(0).get();
    let input = market.folder.path().join("fetched");
    worker.client.fetch_blob(task, job.inputs[0].sha256, &input).await?;
    assert_eq!(std::fs::read(&input)?, b"what to do");
    worker.say(&ToScheduler::Progress { task, stage: Stage::Running }).await?;
    let runs = |view: &berth_wire::scheduler::DealView| view.tasks[0].stage == Some(Stage::Running);
    let view = service.until(deal, "it runs", runs).await?;
    assert_eq!((view.tasks[0].worker, view.tasks[0].attempts), (Some(key.address()), 1));

    let (digest, stdout) = worker.upload("done\n").await?;
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    let view = service.until_all(deal, "settled").await?;
    let ending = view.tasks[0].ending.clone().wrap_err("it has ended")?;
    let Mail::Settled { task: paid, earned, transaction, .. } = worker.letter(&[]).await? else { bail!("not paid") };
    assert_eq!((paid, earned.0, transaction), (task, WORKER_POT, ending.transaction));
    // One person is everybody: what the payer paid has come back to its owners, to the last wei.
    assert_eq!(market.free(market.own.address()).await?, free);
    assert_eq!(market.reader.deal(deal).await?.map(|state| state.open), Some(0));

    for who in [&market.own, &beneficiary] {
        let client = service.signed_in(who).await?;
        client.manifest(task, digest.get()).await?;
        let output = market.folder.path().join("output");
        client.fetch_blob(task, stdout.sha256, &output).await?;
        assert_eq!(std::fs::read(&output)?, b"done\n");
    }
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bag_is_shared_out_and_settled_in_few_transactions() -> eyre::Result<()> {
    let market = Market::open().await?;
    let mut config = market.config();
    config.settle_wait = Duration::from_secs(3_600);
    let service = Service::with(&market, config).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("bag");
    requester.put_job(job.to_bytes()).await?;
    let keys = [market.bonded(WORKER_STAKE).await?, market.bonded(WORKER_STAKE).await?];
    let mut workers = Vec::new();
    for key in &keys {
        let with = Introduction { slots: Some(3), ..Introduction::default() };
        workers.push(introduced(&service, &market, key, with).await?);
    }
    let terms = market.matched(&job, 6, market.own.address()).await?;
    for worker in &mut workers {
        let mut list = Vec::new();
        for _ in 0..3 {
            let assign = worker.assignment().await?;
            let (digest, stdout) = worker.upload(&format!("task {}", assign.index)).await?;
            list.push((assign.index, digest));
            list.sort_by_key(|(index, _)| *index);
            let report = worker.report(&terms, assign.index, &list, Some(stdout))?;
            worker.say(&ToScheduler::Report(Box::new(report))).await?;
        }
    }
    let view = service.until_all(terms.id(), "settled").await?;
    let transactions: BTreeSet<_> =
        view.tasks.iter().filter_map(|task| task.ending.as_ref()).map(|ending| ending.transaction).collect();
    assert_eq!(transactions.len(), 1, "all was in before the wait was over");
    service.stop().await
}

/// A bond is known once its block is read.
async fn introduced(
    service: &Service,
    market: &Market,
    key: &berth_chain::signer::Signer,
    with: Introduction,
) -> eyre::Result<ScriptedWorker> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ScriptedWorker::introduce(service, market, key, with.clone()).await {
            Err(error) if error.to_string().starts_with("not-bonded") && Instant::now() < deadline => {}
            done => return done,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_workers_task_goes_elsewhere_and_its_late_report_changes_nothing() -> eyre::Result<()> {
    let market = Market::open().await?;
    let keys = [market.bonded(WORKER_STAKE).await?, market.bonded(WORKER_STAKE).await?];
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("lost");
    requester.put_job(job.to_bytes()).await?;
    let mut first = ScriptedWorker::connect(&service, &market, &keys[0]).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    let assign = first.assignment().await?;
    let (digest, stdout) = first.upload("by the first").await?;
    let late = first.report(&terms, assign.index, &[(0, digest)], Some(stdout))?;
    let mut second = ScriptedWorker::connect(&service, &market, &keys[1]).await?;
    let (last_seq, lost_at) = (first.last_seq, Instant::now());
    drop(first);

    let assign = second.assignment().await?;
    assert!(lost_at.elapsed() < Duration::from_secs(3), "{:?}", lost_at.elapsed());
    assert_eq!(assign.index, 0);
    let with = Introduction { last_seq, ..Introduction::default() };
    let mut first = ScriptedWorker::introduce(&service, &market, &keys[0], with).await?;
    ensure!(matches!(first.letter(&[]).await?, Mail::Cancel { .. }), "it is told that the task is gone");
    first.say(&ToScheduler::Report(Box::new(late))).await?;
    let ToWorker::Refused { code, .. } = first.hear().await? else { bail!("the late report was taken") };
    assert_eq!(code, "superseded");

    let (digest, stdout) = second.upload("by the second").await?;
    let report = second.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    second.say(&ToScheduler::Report(Box::new(report))).await?;
    let view = service.until_all(terms.id(), "settled").await?;
    assert_eq!((view.tasks[0].worker, view.tasks[0].attempts), (Some(keys[1].address()), 2));
    assert_eq!(view.tasks[0].digest, Some(digest.get()));
    ensure!(matches!(second.letter(&[]).await?, Mail::Settled { .. }), "the second is paid");
    ensure!(matches!(first.letter(&[]).await?, Mail::Ended { .. }), "the first is told");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_report_is_taken_while_nobody_else_has_the_task() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("late");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    let (digest, stdout) = worker.upload("late, but good").await?;
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    let last_seq = worker.last_seq;
    drop(worker);
    service.until_all(terms.id(), "open").await?;
    // It can take nothing new, so that the task stays open.
    let with = Introduction { last_seq, slots: Some(0), ..Introduction::default() };
    let mut worker = ScriptedWorker::introduce(&service, &market, &key, with).await?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    service.until_all(terms.id(), "settled").await?;
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_declined_goes_to_another_and_waits_with_a_reason_when_there_is_none() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let poor = market.bonded(WORKER_STAKE - 1).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("declined");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let _poor = ScriptedWorker::connect(&service, &market, &poor).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    let decline = ToScheduler::Decline {
        task: terms.id().task(0).get(),
        code: "no-room".to_owned(),
        detail: "the disk is full".to_owned(),
    };
    worker.say(&decline).await?;
    let told = |view: &berth_wire::scheduler::DealView| view.tasks[0].why.len() == 2;
    let view = service.until(terms.id(), "both say why", told).await?;
    let reasons: BTreeSet<_> = view.tasks[0].why.iter().map(|why| (why.worker, why.reason.as_str())).collect();
    let wanted = [
        (Some(key.address()), "it does not want this task: no-room: the disk is full"),
        (Some(poor.address()), "its bond of 99 does not cover the 100 that the deal asks for"),
    ];
    assert_eq!(reasons, BTreeSet::from(wanted));
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_started_again_goes_on_where_it_was() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("again");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 2, market.own.address()).await?;
    let assign = worker.assignment().await?;
    service.stop().await?;
    ensure!(timeout(PATIENCE, worker.hear()).await?.is_err(), "the socket was closed");

    let service = Service::start(&market).await?;
    let task = terms.id().task(assign.index).get();
    let with = Introduction { last_seq: worker.last_seq, holding: vec![task], ..Introduction::default() };
    let mut worker = ScriptedWorker::introduce(&service, &market, &key, with).await?;
    let (digest, stdout) = worker.upload("survived").await?;
    let first = worker.report(&terms, assign.index, &[(assign.index, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(first.clone()))).await?;
    // Handing in again what is there already is harmless.
    worker.say(&ToScheduler::Report(Box::new(first))).await?;
    let other = loop {
        match worker.letter(&[]).await? {
            Mail::Assign(assign) => break assign.index,
            Mail::Settled { .. } => {}
            mail @ (Mail::Cancel { .. }
            | Mail::Ended { .. }
            | Mail::Closed(_)
            | Mail::Appended(_)
            | Mail::Agree { .. }) => bail!("{mail:?}"),
        }
    };
    assert_eq!(other, 1 - assign.index, "the task was not given out twice");
    let mut list = vec![(assign.index, digest), (other, digest)];
    list.sort_by_key(|(index, _)| *index);
    let second = worker.report(&terms, other, &list, Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(second))).await?;
    let view = service.until_all(terms.id(), "settled").await?;
    assert!(view.tasks.iter().all(|task| task.attempts == 1), "{view:#?}");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_settled_for_a_tenth() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("fails");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    let report = worker.report(&terms, 0, &[(0, Failure::TimedOut.digest())], None)?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    let view = service.until_all(terms.id(), "settled").await?;
    assert_eq!(view.tasks[0].failure.as_deref(), Some("timed-out"));
    assert_eq!(view.tasks[0].detail.as_deref(), Some("as the script says"));
    let Mail::Settled { earned, .. } = worker.letter(&[]).await? else { bail!("not paid") };
    assert_eq!(earned.0, WORKER_POT / 10);
    let refused = requester.manifest(terms.id().task(0).get(), Failure::TimedOut.digest().get()).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("ran out of time")));
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_settled_is_claimed_after_the_final_deadline() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let free = market.free(market.own.address()).await?;
    let job = job("claimed");
    let requester = service.signed_in(&market.own).await?;
    requester.put_job(job.to_bytes()).await?;
    let terms = market.matched(&job, 2, market.own.address()).await?;
    service.until_all(terms.id(), "open").await?;
    market.pass(terms.deadlines().settle.seconds() - terms.start + 1).await?;
    let view = service.until_all(terms.id(), "claimed").await?;
    assert!(view.tasks.iter().all(|task| task.ending.is_some() && task.why.is_empty()));
    // Only the stake is burnt.
    assert_eq!(market.free(market.own.address()).await?, free - 100);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_run_is_given_back_with_its_stake() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let free = market.free(market.own.address()).await?;
    let requester = service.signed_in(&market.own).await?;
    let mut job = job("impossible");
    job.image = None;
    requester.put_job(job.to_bytes()).await?;
    let terms = market.matched(&job, 3, market.own.address()).await?;
    let view = service.until_all(terms.id(), "declined").await?;
    assert_eq!(view.tasks[0].detail.as_deref(), Some("the app is shared, and the job names no image"));
    assert_eq!(market.free(market.own.address()).await?, free);

    // The job that never comes: after a while, its deal is given back, too.
    let mut config = market.config();
    service.stop().await?;
    config.job_wait = Duration::from_secs(5);
    let service = Service::with(&market, config).await?;
    let terms = market.matched(&crate::support::job("never comes"), 1, Address::ZERO).await?;
    service.until_all(terms.id(), "open").await?;
    market.pass(6).await?;
    service.until_all(terms.id(), "declined").await?;
    assert!(Timestamp::new(terms.start).plus(u64::from(DURATION)) == terms.stake_returns_until());
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_lost_its_journal_has_its_task_taken_back_and_given_again() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("journal");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    worker.leave().await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    ensure!(matches!(worker.letter(&[]).await?, Mail::Cancel { .. }), "it is not held any more");
    worker.work(&terms, "at last").await?;
    let view = service.until_all(terms.id(), "settled").await?;
    assert_eq!(view.tasks[0].attempts, 2);
    service.stop().await
}
