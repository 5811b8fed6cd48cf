//! Names of bytes are on chain, for everybody to read: whoever knows no more than a name must come to no bytes by it, nor
//! learn that they are there.

use crate::{
    access::{is, problem, refused},
    support::{Market, ScriptedWorker, Service, WORKER_STAKE, job, with_input},
};
use alloy::primitives::Address;
use berth_chain::{call, signer::Signer};
use berth_protocol::{WorkerAddr, single::SingleList};
use berth_wire::{
    client::SchedulerClient,
    manifest::{Content, File, Manifest},
    units::Sha256,
    worker::ToScheduler,
};
use eyre::ContextCompat as _;

const SECRET: &[u8] = b"what only its owner and its worker may read";

/// A store in which somebody has put a secret and a manifest of it, and a worker with an accomplice who would have it.
struct Coveted {
    market: Market,
    key: Signer,
    service: Service,
    accomplice: SchedulerClient,
    secret: Content,
    theirs: Manifest,
}

impl Coveted {
    async fn open() -> eyre::Result<Self> {
        let market = Market::open().await?;
        let key = market.bonded(WORKER_STAKE).await?;
        let service = Service::start(&market).await?;
        let victim = service.signed_in(&Signer::random()).await?;
        let accomplice = service.signed_in(&market.own).await?;
        let secret = Content { sha256: victim.put_bytes(SECRET.to_vec()).await?, size: SECRET.len() as u64 };
        let theirs = Manifest::new(0, Vec::new(), secret);
        victim.put_bytes(theirs.to_bytes()).await?;
        Ok(Self { market, key, service, accomplice, secret, theirs })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_others_bytes_as_an_input_of_his_own_gets_nothing_of_them() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let victim = service.signed_in(&Signer::random()).await?;
    // The thief pays for its deals as anybody else.
    let thief = service.signed_in(&market.own).await?;
    let name = victim.put_bytes(SECRET.to_vec()).await?;
    assert!(victim.has_blob(name).await?);
    assert!(!thief.has_blob(name).await?, "it would know that somebody has them");

    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let named = with_input("named", SECRET);
    let accepted = thief.put_job(named.to_bytes()).await?;
    assert_eq!(accepted.missing, [Content::of(SECRET)], "as if nobody had them");
    let mut elsewhere = named.clone();
    elsewhere.args = vec!["elsewhere".to_owned()];
    elsewhere.inputs[0].url = Some("https://example.org/input".to_owned());
    thief.put_job(elsewhere.to_bytes()).await?;

    let terms = market.matched(&named, 1, Address::ZERO).await?;
    let view = service.until_all(terms.id(), "open").await?;
    assert_eq!(view.waiting_for.as_deref(), Some("the input `input`"));
    let (task, into) = (terms.id().task(0).get(), market.folder.path().join("stolen"));
    is(&problem(thief.fetch_blob(task, name, &into).await)?, 409, "not-settled");
    is(&problem(worker.client.fetch_blob(task, name, &into).await)?, 403, "not-yours");

    // A worker that is given a job whose input is said to be elsewhere finds nothing here by its name either.
    let terms = market.matched(&elsewhere, 1, Address::ZERO).await?;
    let given = worker.assignment().await?;
    assert_eq!(given.deal, terms.id().get());
    let task = terms.id().task(0).get();
    is(&problem(worker.client.fetch_blob(task, name, &into).await)?, 404, "blob-missing");
    is(&problem(thief.fetch_blob(task, name, &into).await)?, 409, "not-settled");

    // Bytes that are others are no proof; the bytes themselves are.
    std::fs::write(&into, b"a guess")?;
    is(&problem(thief.put_file(&into, name).await)?, 422, "blob-corrupt");
    assert!(!thief.has_blob(name).await?);
    thief.put_bytes(SECRET.to_vec()).await?;
    assert!(thief.has_blob(name).await? && victim.has_blob(name).await?);
    assert!(thief.put_job(named.to_bytes()).await?.missing.is_empty());
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_others_jobs_in_a_deal_of_his_own_gets_nothing_of_them() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let victim = service.signed_in(&Signer::random()).await?;
    let thief = service.signed_in(&market.own).await?;
    let private = with_input("with a password among its arguments", SECRET);
    victim.put_job(private.to_bytes()).await?;
    let name = victim.put_bytes(SECRET.to_vec()).await?;

    let worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&private, 1, Address::ZERO).await?;
    let view = service.until_all(terms.id(), "open").await?;
    assert_eq!(view.waiting_for, Some(format!("the job document {}", private.hash())));
    let (task, into) = (terms.id().task(0).get(), market.folder.path().join("stolen"));
    is(&problem(thief.fetch_blob(task, name, &into).await)?, 409, "not-settled");
    assert!(!into.exists());
    // It is no more than that: whoever has the document may put it, and still lacks the input.
    assert_eq!(thief.put_job(private.to_bytes()).await?.missing.len(), 1);
    let lacks = |view: &berth_wire::scheduler::DealView| view.waiting_for.as_deref() == Some("the input `input`");
    service.until(terms.id(), "the input is missing", lacks).await?;
    drop(worker);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_hands_in_nothing_that_it_has_not_put_itself() -> eyre::Result<()> {
    let Coveted { market, key, service, accomplice, secret, theirs } = Coveted::open().await?;
    let job = job("accomplices");
    accomplice.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, Address::ZERO).await?;
    worker.assignment().await?;
    // Another's manifest; a manifest of its own that names another's file, or nobody's; another's bytes as its log.
    let file = |content: Content| File { path: "file".to_owned(), sha256: content.sha256, size: content.size };
    let naming = Manifest::new(0, vec![file(secret)], secret);
    let naming_none = Manifest::new(0, vec![file(Content::of(b"nobody's"))], secret);
    for manifest in [&naming, &naming_none] {
        worker.client.put_bytes(manifest.to_bytes()).await?;
    }
    let (own, _) = worker.upload("its own").await?;
    for (digest, log) in
        [(theirs.digest(), None), (naming.digest(), None), (naming_none.digest(), None), (own, Some(secret))]
    {
        let report = worker.report(&terms, 0, &[(0, digest)], log)?;
        worker.say(&ToScheduler::Report(Box::new(report))).await?;
        refused(&mut worker, "blob-missing").await?;
    }
    let honest = worker.report(&terms, 0, &[(0, own)], None)?;
    worker.say(&ToScheduler::Report(Box::new(honest))).await?;
    service.until_all(terms.id(), "settled").await?;
    accomplice.manifest(terms.id().task(0).get(), own.get()).await?;
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_others_settle_to_a_digest_seen_on_chain_hands_out_nothing_of_it() -> eyre::Result<()> {
    let Coveted { market, key, service, accomplice, secret, theirs } = Coveted::open().await?;
    let job = job("settled elsewhere");
    accomplice.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, Address::ZERO).await?;
    let assign = worker.assignment().await?;
    // The worker goes to the chain itself, with the operator's word that the task is its own.
    let list = SingleList::new(&terms, vec![(0, theirs.digest())])?;
    let results = call::WorkerResults {
        worker: WorkerAddr::new(key.address()),
        entries: list.encode().into(),
        signature: key.sign(&market.deployment.domain(), &list.statement(terms.id())),
        assignments: assign.signature.clone(),
    };
    market.send(vec![(market.deployment.berth, call::settle_singles(&terms, &[results]))]).await?;
    let view = service.until_all(terms.id(), "settled").await?;
    assert_eq!(view.tasks[0].digest, Some(theirs.digest().get()), "the chain believes it");
    let (task, into) = (terms.id().task(0).get(), market.folder.path().join("stolen"));
    is(&problem(accomplice.manifest(task, theirs.digest().get()).await)?, 404, "blob-missing");
    for name in [secret.sha256, Sha256(theirs.digest().get().0)] {
        is(&problem(accomplice.fetch_blob(task, name, &into).await)?, 404, "blob-unknown");
    }
    // Nor does it become a result that may be used as an input.
    assert_eq!(accomplice.put_job(with_input("uses it", SECRET).to_bytes()).await?.missing.len(), 1);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_may_be_an_input_for_whom_it_is_and_stays_while_that_job_needs_it() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let friend = Signer::random();
    let beneficiary = service.signed_in(&friend).await?;
    let stranger = service.signed_in(&Signer::random()).await?;
    let first = job("first");
    requester.put_job(first.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&first, 1, friend.address()).await?;
    worker.assignment().await?;
    let (digest, stdout) = worker.upload("an intermediate result").await?;
    let second = with_input("second", b"an intermediate result");
    assert_eq!(requester.put_job(second.to_bytes()).await?.missing, [stdout], "not before it is paid for");
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    service.until_all(terms.id(), "settled").await?;

    for party in [&requester, &beneficiary] {
        assert!(party.put_job(second.to_bytes()).await?.missing.is_empty());
    }
    assert_eq!(stranger.put_job(second.to_bytes()).await?.missing, [stdout]);
    let task = terms.id().task(0).get();
    let removed = requester.remove_result(task).await?;
    assert_eq!((removed.removed, removed.kept), (1, 1), "the manifest goes, the input stays");
    worker.letter(&[]).await?;
    let terms = market.matched(&second, 1, Address::ZERO).await?;
    let given = worker.assignment().await?;
    assert_eq!(given.deal, terms.id().get());
    let into = market.folder.path().join("input");
    worker.client.fetch_blob(terms.id().task(0).get(), stdout.sha256, &into).await?;
    assert_eq!(std::fs::read(&into)?, b"an intermediate result");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_back_ones_own_bytes_does_not_say_whether_others_have_them() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let owner = service.signed_in(&market.own).await?;
    let stranger = service.signed_in(&Signer::random()).await?;
    let path = market.folder.path().join("data");
    std::fs::write(&path, SECRET)?;
    let name = Sha256::of(SECRET);
    // A job that names them, of somebody who does not have them, keeps nothing.
    stranger.put_job(with_input("holds on to it", SECRET).to_bytes()).await?;
    owner.put_data(&path, name, "own").await?;
    assert_eq!(owner.remove_data(name).await?.removed, 1);
    assert!(!blob_file(&market, name).exists());
    owner.put_data(&path, name, "own").await?;
    stranger.put_data(&path, name, "also").await?;
    let removed = owner.remove_data(name).await?;
    assert_eq!((removed.removed, removed.kept), (1, 0), "the same answer as if nobody had them");
    assert!(!owner.has_blob(name).await? && stranger.has_blob(name).await?);
    service.stop().await
}

fn blob_file(market: &Market, name: Sha256) -> std::path::PathBuf {
    let text = name.to_string();
    market.folder.path().join("blobs").join(&text[..2]).join(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_dies_between_the_bytes_and_their_record_asks_for_them_again() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    // As the crash leaves it: bytes in their place, and nobody's.
    let name = Sha256::of(SECRET);
    let file = blob_file(&market, name);
    std::fs::create_dir_all(file.parent().wrap_err("a folder")?)?;
    std::fs::write(&file, SECRET)?;
    assert!(!requester.has_blob(name).await?);
    assert_eq!(requester.put_job(with_input("again", SECRET).to_bytes()).await?.missing.len(), 1);
    requester.put_bytes(SECRET.to_vec()).await?;
    assert!(requester.has_blob(name).await?);
    assert!(requester.put_job(with_input("again", SECRET).to_bytes()).await?.missing.is_empty());
    // And the other way: a record of bytes that are gone does not stand in the way of putting them again.
    std::fs::remove_file(&file)?;
    assert!(!requester.has_blob(name).await?);
    requester.put_bytes(SECRET.to_vec()).await?;
    assert!(requester.has_blob(name).await? && file.exists());
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_task_left_is_kept_beside_its_failure_if_its_worker_has_put_it() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let victim = service.signed_in(&Signer::random()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let secret = Content { sha256: victim.put_bytes(SECRET.to_vec()).await?, size: SECRET.len() as u64 };
    let half = Content::of(b"half of it");
    let into = market.folder.path().join("left");
    for (content, is_kept) in [(half, true), (secret, false), (Content::of(b"nobody's"), false)] {
        let job = job(&content.sha256.to_string());
        requester.put_job(job.to_bytes()).await?;
        let terms = market.matched(&job, 1, market.own.address()).await?;
        worker.assignment().await?;
        let left = Manifest::new(
            137,
            vec![File { path: "left".to_owned(), sha256: content.sha256, size: content.size }],
            Content::of(b""),
        );
        worker.client.put_bytes(b"half of it".to_vec()).await?;
        let name = worker.client.put_bytes(left.to_bytes()).await?;
        let digest = berth_protocol::Failure::TimedOut.digest();
        let mut report = worker.report(&terms, 0, &[(0, digest)], None)?;
        report.manifest = Some(name.0.into());
        worker.say(&ToScheduler::Report(Box::new(report))).await?;
        let view = service.until_all(terms.id(), "settled").await?;
        let (task, told) = (terms.id().task(0).get(), &view.tasks[0]);
        assert_eq!((told.digest, told.partial.is_some()), (Some(digest.get()), is_kept), "{told:?}");
        is(&problem(requester.manifest(task, digest.get()).await)?, 409, "no-result");
        is(&problem(victim.partial(task, name).await)?, 403, "not-yours");
        if is_kept {
            assert_eq!(requester.partial(task, name).await?, left.to_bytes());
            assert_eq!(requester.read_blob(task, content.sha256).await?, b"half of it");
            assert!(requester.remove_result(task).await?.removed > 0);
        }
        is(&problem(requester.partial(task, name).await)?, 404, "no-partial");
        is(&problem(requester.fetch_blob(task, content.sha256, &into).await)?, 404, "blob-unknown");
        worker.letter(&[]).await?;
    }
    service.stop().await
}
