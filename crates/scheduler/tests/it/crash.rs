//! A scheduler that dies again and again in the middle of its work, and workers that come back each time.

use crate::{
    replicated::{Journal as Replica, Manner},
    support::{Introduction, Market, PATIENCE, POOL_PRICE, ScriptedWorker, Service, WORKER_STAKE, job},
};
use alloy::primitives::B256;
use berth_chain::{port, signer::Signer};
use berth_protocol::{DealId, DealTerms, ResultDigest};
use berth_scheduler::{Config, Scheduler};
use berth_wire::worker::{Mail, ToScheduler, ToWorker};
use core::{net::Ipv4Addr, time::Duration};
use eyre::{WrapErr as _, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The chance of this test. A failure is repeated with it.
const SEED: u64 = 4_711;
const TASKS: u32 = 24;
const DEATHS: u32 = 12;
const REPLICATED: u32 = 8;

/// A scheduler in a runtime of its own, so that all of it can die at once.
async fn begin(config: Config, key: Signer) -> eyre::Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let start = Scheduler::start(config, key, Default::default(), CancellationToken::new());
    let running = runtime.spawn(start);
    let running = timeout(PATIENCE, running).await???;
    runtime.spawn(running.wait());
    Ok(runtime)
}

/// Nothing is finished, nothing is closed: what was not committed is gone.
async fn die(runtime: Runtime) -> eyre::Result<()> {
    Ok(tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await?)
}

/// What a worker remembers.
#[derive(Default)]
struct Journal {
    last_seq: u64,
    /// Assigned and not answered.
    held: BTreeMap<B256, (DealTerms, u32)>,
    /// Answered and not known to be settled.
    answers: BTreeMap<DealId, (DealTerms, BTreeMap<u32, ResultDigest>)>,
    paid: u128,
    /// What all workers were told that they earned.
    told: Option<Arc<watch::Sender<u128>>>,
}

impl Journal {
    fn forget(&mut self, task: B256) {
        self.held.remove(&task);
        for (deal, (_, answers)) in &mut self.answers {
            answers.retain(|index, _| deal.task(*index).get() != task);
        }
    }

    fn take(&mut self, seq: u64, mail: Mail) -> eyre::Result<()> {
        ensure!(seq <= self.last_seq + 1, "letter {seq} after {}", self.last_seq);
        if seq <= self.last_seq {
            return Ok(());
        }
        self.last_seq = seq;
        match mail {
            Mail::Assign(assign) => {
                let terms = DealTerms::from(assign.terms.clone());
                self.held.insert(terms.id().task(assign.index).get(), (terms, assign.index));
            }
            Mail::Settled { task, earned, .. } => {
                self.paid += earned.0;
                if let Some(told) = &self.told {
                    told.send_modify(|sum| *sum += earned.0);
                }
                self.forget(task);
            }
            Mail::Cancel { task, .. } => drop(self.held.remove(&task)),
            Mail::Ended { task, .. } => self.forget(task),
            Mail::Closed(_) | Mail::Appended(_) | Mail::Agree { .. } => eyre::bail!("a round for a lone worker"),
        }
        Ok(())
    }
}

/// Works until `stop`, over every break of the connection.
async fn work(
    service: Arc<Service>,
    market: Arc<Market>,
    key: Signer,
    stop: CancellationToken,
    told: Arc<watch::Sender<u128>>,
) -> eyre::Result<Journal> {
    let mut journal = Journal { told: Some(told), ..Journal::default() };
    while !stop.is_cancelled() {
        // A connection that breaks is what this is about.
        if connected(&service, &market, &key, &mut journal, &stop).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(journal)
}

async fn connected(
    service: &Service,
    market: &Market,
    key: &Signer,
    journal: &mut Journal,
    stop: &CancellationToken,
) -> eyre::Result<()> {
    let with = Introduction {
        last_seq: journal.last_seq,
        holding: journal.held.keys().copied().collect(),
        slots: Some(3),
        ..Introduction::default()
    };
    let mut worker = ScriptedWorker::introduce(service, market, key, with).await?;
    for (terms, answers) in journal.answers.values().cloned().collect::<Vec<_>>() {
        for index in answers.keys() {
            tell(&mut worker, &terms, *index, &answers).await?;
        }
    }
    loop {
        while let Some((task, (terms, index))) = journal.held.iter().next().map(|(task, what)| (*task, what.clone())) {
            let (digest, _) = worker.upload(&format!("output {index}")).await?;
            let (_, answers) = journal.answers.entry(terms.id()).or_insert((terms.clone(), BTreeMap::new()));
            answers.insert(index, digest);
            let answers = answers.clone();
            journal.held.remove(&task);
            tell(&mut worker, &terms, index, &answers).await?;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            heard = worker.hear() => match heard? {
                ToWorker::Mail { seq, mail } => {
                    journal.take(seq, mail)?;
                    worker.say(&ToScheduler::Ack { seq }).await?;
                }
                ToWorker::Refused { .. } => {}
                other @ (ToWorker::Challenge { .. } | ToWorker::Welcome { .. } | ToWorker::Rejected { .. }) => {
                    eyre::bail!("{other:?}")
                }
            },
            () = sleep(Duration::from_millis(200)) => {
                let running = journal.held.keys().copied().collect();
                worker.say(&ToScheduler::Heartbeat { running }).await?;
            }
        }
    }
}

async fn tell(
    worker: &mut ScriptedWorker,
    terms: &DealTerms,
    index: u32,
    answers: &BTreeMap<u32, ResultDigest>,
) -> eyre::Result<()> {
    let list: Vec<_> = answers.iter().map(|(index, digest)| (*index, *digest)).collect();
    let report = worker.report(terms, index, &list, None)?;
    worker.say(&ToScheduler::Report(Box::new(report))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_dies_again_and_again_settles_each_task_once() -> eyre::Result<()> {
    let market = Arc::new(Market::open().await?);
    let mut config = market.config();
    config.listen = (Ipv4Addr::LOCALHOST, port::free(1)?[0]).into();
    let service = Arc::new(Service::elsewhere(config.listen));
    let keys = [market.bonded(WORKER_STAKE).await?, market.bonded(WORKER_STAKE).await?];
    let mut runtime = begin(config.clone(), market.operator.clone()).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("dies");
    requester.put_job(job.to_bytes()).await?;

    let stop = CancellationToken::new();
    let sum = Arc::new(watch::Sender::new(0));
    let mut told = sum.subscribe();
    let mut workers = JoinSet::new();
    for key in &keys {
        workers.spawn(work(service.clone(), market.clone(), key.clone(), stop.clone(), sum.clone()));
    }
    let free = market.free(market.own.address()).await?;
    let terms = market.matched(&job, TASKS, market.own.address()).await?;
    let mut chance = StdRng::seed_from_u64(SEED);
    for _ in 0..DEATHS {
        // How far it comes before it dies is the chance that is meant.
        sleep(Duration::from_millis(chance.gen_range(20..250))).await;
        die(runtime).await?;
        runtime = begin(config.clone(), market.operator.clone()).await.wrap_err("after a death")?;
    }
    let view = service.until_all(terms.id(), "settled").await?;
    let digests: BTreeSet<_> = view.tasks.iter().filter_map(|task| task.digest).collect();
    assert_eq!(digests.len(), view.tasks.len(), "each has its own result");
    assert_eq!(market.reader.deal(terms.id()).await?.map(|state| state.open), Some(0));
    assert_eq!(market.free(market.own.address()).await?, free, "all money is with its owner, who is one person here");

    // Each is told of its pay, once.
    let all = u128::from(TASKS) * POOL_PRICE * 9 / 10;
    timeout(PATIENCE, told.wait_for(|paid| *paid == all)).await??;
    stop.cancel();
    let mut paid = 0;
    while let Some(journal) = workers.join_next().await {
        paid += journal??.paid;
    }
    assert_eq!(paid, all);
    die(runtime).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_dies_again_and_again_settles_each_replicated_task_once() -> eyre::Result<()> {
    let market = Arc::new(Market::open().await?);
    let mut config = market.config();
    config.listen = (Ipv4Addr::LOCALHOST, port::free(1)?[0]).into();
    let service = Arc::new(Service::elsewhere(config.listen));
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(market.owned(20 * WORKER_STAKE).await?);
    }
    let mut runtime = begin(config.clone(), market.operator.clone()).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("dies, and many answer");
    requester.put_job(job.to_bytes()).await?;

    let stop = CancellationToken::new();
    let sum = Arc::new(watch::Sender::new(0));
    let mut told = sum.subscribe();
    let mut workers = JoinSet::new();
    for key in keys {
        let (service, market, stop) = (service.clone(), market.clone(), stop.clone());
        let mut journal = Replica::new(&key, Manner::Honest, sum.clone());
        workers.spawn(async move {
            while !stop.is_cancelled() {
                // A connection that breaks is what this is about.
                if journal.work(&service, &market, &key, &stop).await.is_err() {
                    sleep(Duration::from_millis(20)).await;
                }
            }
            journal
        });
    }
    let terms = market.trusted(&job, REPLICATED, market.own.address(), 5).await?;
    let mut chance = StdRng::seed_from_u64(SEED);
    for _ in 0..DEATHS {
        // How far it comes before it dies is the chance that is meant.
        sleep(Duration::from_millis(chance.gen_range(50..350))).await;
        die(runtime).await?;
        runtime = begin(config.clone(), market.operator.clone()).await.wrap_err("after a death")?;
    }
    let view = service.until_all(terms.id(), "settled").await?;
    assert!(view.tasks.iter().all(|task| task.close.is_some()), "{view:#?}");
    assert_eq!(market.reader.deal(terms.id()).await?.map(|state| state.open), Some(0));

    // Each is told of its pay, once; whoever was cut off from a settlement has its share left out.
    let of_chain: u128 =
        view.tasks.iter().flat_map(|task| &task.replicas).filter_map(|of| of.paid).map(|of| of.0).sum();
    timeout(PATIENCE, told.wait_for(|paid| *paid >= of_chain)).await??;
    stop.cancel();
    let mut paid = 0;
    while let Some(journal) = workers.join_next().await {
        paid += journal?.earned;
    }
    assert_eq!(paid, of_chain);
    die(runtime).await
}
