//! Blocks that go again.

use crate::support::{Market, ScriptedWorker, Service, WORKER_STAKE, job, stay, take_back};
use berth_wire::{
    scheduler::DealView,
    worker::{Mail, ToScheduler},
};
use eyre::{ContextCompat as _, ensure};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_whose_block_goes_is_settled_again_and_paid_once() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let free = market.free(market.own.address()).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("comes and goes");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    stay(&market).await?;
    worker.work(&terms, "good for ever").await?;
    let settled = service.until_all(terms.id(), "settled").await?;
    let ending = settled.tasks[0].ending.clone().wrap_err("it has ended")?;
    ensure!(matches!(worker.letter(&[]).await?, Mail::Settled { .. }), "the worker is told");

    take_back(&market, ending.block).await?;
    let again = |view: &DealView| view.seq > settled.seq && view.tasks[0].phase == "settled";
    let view = service.until(terms.id(), "it is settled again", again).await?;
    assert_eq!(view.tasks[0].digest, settled.tasks[0].digest);
    assert_eq!(market.reader.deal(terms.id()).await?.map(|state| state.open), Some(0));
    assert_eq!(market.free(market.own.address()).await?, free, "everybody here is one person");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_whose_block_goes_is_forgotten_and_its_worker_is_told() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("never was");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    stay(&market).await?;
    let before = market.rpc.head().await?.block.number.get();
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    take_back(&market, before + 1).await?;
    let task = terms.id().task(0).get();
    let told = worker.letter(&[task]).await?;
    ensure!(matches!(&told, Mail::Ended { task: ended, .. } if *ended == task), "{told:?}");
    let (digest, stdout) = worker.upload("of no use").await?;
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    crate::access::refused(&mut worker, "unknown-task").await?;
    assert!(service.client().deals(9).await?.is_empty());
    service.stop().await
}
