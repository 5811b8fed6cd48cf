//! Results that are for one reader: the pool takes them sealed and in no other form, and can't tell what is in them.

use crate::{
    access::{is, problem, refused},
    support::{Market, ScriptedWorker, Service, WORKER_STAKE, job},
};
use berth_chain::signer::Signer;
use berth_protocol::{Failure, ResultDigest};
use berth_wire::{
    job::Job,
    manifest::{Content, Manifest},
    sealed::{Identity, Parts},
    worker::{Report, Said, Stream, ToScheduler},
};
use std::time::Duration;

fn reader() -> Identity {
    Identity::of_wallet(&[1; 65])
}

fn for_reader(name: &str) -> Job {
    Job { recipient: Some(reader().recipient()), ..job(name) }
}

/// A result of this standard output: its digest, and the sealed file.
fn sealed(output: &str) -> eyre::Result<(ResultDigest, Vec<u8>)> {
    let folder = tempfile::tempdir()?;
    let stdout = Content::of(output.as_bytes());
    std::fs::write(folder.path().join(stdout.sha256.to_string()), output)?;
    let manifest = Manifest::new(0, Vec::new(), stdout);
    let bytes = manifest.to_bytes();
    let parts =
        Parts { manifest: Some(&bytes), stdout: Some(stdout), stderr: None, failure: None, folder: folder.path() };
    let mut file = Vec::new();
    parts.seal(&reader().recipient(), &mut file)?;
    Ok((manifest.digest(), file))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_with_a_recipient_is_answered_in_one_sealed_file_and_in_no_other_way() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let victim = service.signed_in(&Signer::random()).await?;
    let job = for_reader("sealed");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    let assign = worker.assignment().await?;
    assert_eq!(Job::from_bytes(assign.job.as_bytes())?.recipient, Some(reader().recipient()));
    let task = terms.id().task(0).get();

    // A worker that says what the job prints says it to nobody.
    let said = Said { stream: Stream::Stdout, from: 0, bytes: b"in the clear".to_vec().into() };
    worker.say(&ToScheduler::Says { task, said }).await?;
    is(&problem(requester.live(task, (Stream::Stdout, 0), Duration::ZERO).await)?, 409, "sealed");

    let (digest, file) = sealed("what only its reader knows")?;
    let (open, stdout) = worker.upload("what only its reader knows").await?;
    assert_eq!(open, digest);
    let content = Content::of(&file);
    let theirs = Content { sha256: victim.put_bytes(b"somebody else's".to_vec()).await?, size: 15 };
    let honest = worker.report(&terms, 0, &[(0, digest)], None)?;
    let with = |change: &dyn Fn(&mut Report)| {
        let mut report = Report { sealed: Some(content), ..honest.clone() };
        change(&mut report);
        ToScheduler::Report(Box::new(report))
    };
    worker.client.put_bytes(file.clone()).await?;
    let wrong: [(&str, ToScheduler); 7] = [
        ("bad-result", with(&|report| report.sealed = None)),
        ("bad-result", with(&|report| (report.sealed, report.stdout) = (None, Some(stdout)))),
        ("bad-result", with(&|report| report.stdout = Some(stdout))),
        ("bad-result", with(&|report| report.stderr = Some(stdout))),
        ("bad-result", with(&|report| report.manifest = Some(digest.get()))),
        ("blob-missing", with(&|report| report.sealed = Some(theirs))),
        ("blob-missing", with(&|report| report.sealed = Some(Content { size: content.size + 1, ..content }))),
    ];
    for (code, message) in &wrong {
        worker.say(message).await?;
        refused(&mut worker, code).await?;
    }
    worker.say(&with(&|_| {})).await?;
    let view = service.until_all(terms.id(), "settled").await?.tasks.remove(0);
    assert_eq!((view.digest, view.sealed.len()), (Some(digest.get()), 1), "{view:?}");
    assert_eq!((view.sealed[0].worker, view.sealed[0].content), (key.address(), content));
    assert_eq!((view.stdout, view.stderr, view.partial), (None, None, None));

    // The plain parts that this worker has put, too, are nobody's.
    is(&problem(requester.manifest(task, digest.get()).await)?, 409, "sealed");
    is(&problem(requester.read_blob(task, stdout.sha256).await)?, 404, "blob-unknown");
    is(&problem(victim.read_blob(task, content.sha256).await)?, 403, "not-yours");
    assert_eq!(requester.read_blob(task, content.sha256).await?, file);
    assert_eq!(requester.remove_result(task).await?.removed, 1);
    is(&problem(requester.read_blob(task, content.sha256).await)?, 404, "blob-unknown");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_failure_says_nothing_of_the_job_and_one_that_never_ran_says_why() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let (_, file) = sealed("half of it")?;
    let content = Content::of(&file);
    let digest = Failure::TimedOut.digest();
    for (name, is_put, words, told) in [
        ("sealed", true, None, Failure::TimedOut.describe()),
        ("not put", false, None, Failure::TimedOut.describe()),
        ("never ran", false, Some("an input is gone"), "an input is gone"),
    ] {
        let job = for_reader(name);
        requester.put_job(job.to_bytes()).await?;
        let terms = market.matched(&job, 1, market.own.address()).await?;
        worker.assignment().await?;
        let mut report = worker.report(&terms, 0, &[(0, digest)], None)?;
        // Another file than before, since a worker keeps what it has put.
        let (_, other) = sealed(name)?;
        report.sealed = match (words, is_put) {
            (None, true) => Some(content),
            (None, false) => Some(Content::of(&other)),
            (Some(_), _) => None,
        };
        if words.is_none() {
            report.failure = Some("it wrote `secret`".to_owned());
            worker.say(&ToScheduler::Report(Box::new(report.clone()))).await?;
            refused(&mut worker, "bad-result").await?;
        }
        report.failure = words.map(str::to_owned);
        if is_put {
            worker.client.put_bytes(file.clone()).await?;
        }
        worker.say(&ToScheduler::Report(Box::new(report))).await?;
        let view = service.until_all(terms.id(), "settled").await?.tasks.remove(0);
        assert_eq!((view.digest, view.sealed.len()), (Some(digest.get()), usize::from(is_put)), "{name}: {view:?}");
        assert_eq!(view.detail.as_deref(), Some(told), "{name}");
        worker.letter(&[]).await?;
    }
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_sealed_that_nobody_has_asked_to_be() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("open");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    let (digest, stdout) = worker.upload("open").await?;
    let (_, file) = sealed("open")?;
    worker.client.put_bytes(file.clone()).await?;
    let honest = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    for stdout in [None, Some(stdout)] {
        let report = Report { sealed: Some(Content::of(&file)), stdout, ..honest.clone() };
        worker.say(&ToScheduler::Report(Box::new(report))).await?;
        refused(&mut worker, "bad-result").await?;
    }
    worker.say(&ToScheduler::Report(Box::new(honest))).await?;
    let view = service.until_all(terms.id(), "settled").await?.tasks.remove(0);
    assert!(view.sealed.is_empty() && view.stdout.is_some());
    service.stop().await
}
