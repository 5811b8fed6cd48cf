//! Inputs and results with an S3 server that dies, comes back, and does not let everybody in.

use crate::{
    access::{is, problem},
    seaweed::{SECRET, Seaweed},
    settings::S3Key,
    support::{Market, PATIENCE, ScriptedWorker, Service, WORKER_STAKE, with_input},
};
use berth_scheduler::{Scheduler, SchedulerError};
use berth_wire::{units::Sha256, worker::ToScheduler};
use eyre::{ContextCompat as _, bail};
use std::{net::Ipv4Addr, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_is_paid_with_results_on_an_s3_server_that_dies_meanwhile() -> eyre::Result<()> {
    let (market, mut s3) = (Market::open().await?, Seaweed::start().await?);
    let key = market.bonded(WORKER_STAKE).await?;
    let mut config = market.config();
    (config.results, config.max_blob_bytes) = (s3.results(), 32 << 20);
    let service = Service::with(&market, config.clone()).await?;
    let requester = service.signed_in(&market.own).await?;
    let input = vec![7; 12 << 20];
    let job = with_input("large", &input);
    requester.put_job(job.to_bytes()).await?;
    requester.put_bytes(input.clone()).await?;
    service.until_ready(true).await?;
    s3.kill()?;
    service.until_ready(false).await?;
    let away = problem(requester.put_bytes(b"a result".to_vec()).await)?;
    is(&away, 503, "store-away");
    assert!(away.hint.is_some());
    s3.again().await?;
    service.until_ready(true).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    let (task, into) = (terms.id().task(0).get(), market.folder.path().join("input"));
    assert_eq!(worker.client.fetch_blob(task, job.inputs[0].sha256, &into).await?, input.len() as u64);

    let (digest, stdout) = worker.upload("a result").await?;
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    service.until_all(terms.id(), "settled").await?;
    requester.manifest(task, digest.get()).await?;
    assert_eq!(requester.read_blob(task, stdout.sha256).await?, b"a result");
    let local =
        std::fs::read_dir(&config.store)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    assert_eq!(local, ["staging"], "nothing of it is on this machine");
    assert_eq!(std::fs::read_dir(config.store.join("staging"))?.count(), 0);
    assert!(requester.remove_result(task).await?.removed > 0);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_waits_for_its_s3_server_and_says_who_is_not_let_in() -> eyre::Result<()> {
    let (market, mut s3) = (Market::open().await?, Seaweed::start().await?);
    let mut config = market.config();
    config.results = s3.results();
    let start = async |config| {
        Scheduler::start(config, market.operator.clone(), Default::default(), CancellationToken::new()).await
    };
    let mut wrong = config.clone();
    let server = wrong.results.s3.as_mut().wrap_err("a server")?;
    server.key = Some(S3Key::new("berth".to_owned(), "no secret".to_owned()));
    let Err(error @ SchedulerError::Results(_)) = start(wrong).await else { bail!("it was let in") };
    assert!(error.hint().is_some_and(|hint| hint.contains("AWS_SECRET_ACCESS_KEY")), "{error:?}");
    assert!(!format!("{error:?}").contains("no secret"));
    let mut nowhere = config.clone();
    nowhere.results.s3.as_mut().wrap_err("a server")?.bucket = "nowhere".to_owned();
    let Err(error @ SchedulerError::Results(_)) = start(nowhere).await else { bail!("there is no such bucket") };
    assert!(error.hint().is_some_and(|hint| hint.contains("bucket")), "{error:?}");

    s3.kill()?;
    // Whoever asks while it waits is told for what.
    config.listen = (Ipv4Addr::LOCALHOST, berth_chain::port::free(1)?[0]).into();
    let (service, starting) = (Service::elsewhere(config.listen), start(config.clone()));
    let waited_for = async {
        service.until_ready(false).await?;
        let told = reqwest::Client::builder().timeout(PATIENCE).build()?.get(format!("{}/readyz", service.url()));
        let told = told.send().await?.text().await?;
        assert!(told.contains("is away") && !told.contains(SECRET), "{told}");
        Ok::<_, eyre::Report>(s3.again().await?)
    };
    let (running, told) = tokio::join!(timeout(PATIENCE + Duration::from_secs(60), starting), waited_for);
    told?;
    let running = running??;
    service.until_ready(true).await?;
    let requester = service.signed_in(&market.own).await?;
    requester.put_bytes(b"kept".to_vec()).await?;
    assert!(requester.has_blob(Sha256::of(b"kept")).await?);
    drop(running);
    Ok(())
}
