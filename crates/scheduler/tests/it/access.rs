//! Who may ask for what, and how the interface says no.

use crate::support::{
    Introduction, Market, PATIENCE, ScriptedWorker, Service, WORKER_STAKE, announced, job, with_input,
};
use alloy::primitives::{Address, B256};
use berth_chain::signer::Signer;
use berth_wire::{
    client::ClientError,
    problem::Problem,
    units::Sha256,
    worker::{ToScheduler, ToWorker},
};
use core::time::Duration;
use eyre::{ContextCompat as _, WrapErr as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

/// The problem that a call was refused with.
pub(crate) fn problem<T: core::fmt::Debug>(answer: Result<T, ClientError>) -> eyre::Result<Problem> {
    match answer {
        Err(ClientError::Refused(problem)) => Ok(problem),
        other => bail!("{other:?} instead of a problem"),
    }
}

pub(crate) fn is(problem: &Problem, status: u16, code: &str) {
    assert_eq!((problem.status, problem.code.as_str()), (status, code), "{problem:?}");
}

/// Says this, byte for byte, and hears the whole answer.
async fn raw(service: &Service, request: &str) -> eyre::Result<String> {
    let mut stream = TcpStream::connect(service.address).await?;
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await?.wrap_err("the answer")?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_only_for_whoever_asked_benefits_or_pays_and_only_once_paid_for() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let other_key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let stranger = service.signed_in(&Signer::random()).await?;
    let job = with_input("secret", b"a secret input");
    requester.put_job(job.to_bytes()).await?;
    requester.put_bytes(b"a secret input".to_vec()).await?;
    let with = Introduction { slots: Some(0), ..Introduction::default() };
    let other = ScriptedWorker::introduce(&service, &market, &other_key, with).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    let (task, input, file) = (terms.id().task(0).get(), job.inputs[0].sha256, market.folder.path().join("file"));

    worker.client.fetch_blob(task, input, &file).await?;
    requester.fetch_blob(task, input, &file).await?;
    is(&problem(other.client.fetch_blob(task, input, &file).await)?, 403, "not-yours");
    is(&problem(stranger.fetch_blob(task, input, &file).await)?, 403, "not-yours");
    is(&problem(service.client().fetch_blob(task, input, &file).await)?, 401, "not-signed-in");
    is(&problem(stranger.manifest(task, B256::ZERO).await)?, 403, "not-yours");
    let early = problem(requester.manifest(task, B256::ZERO).await)?;
    is(&early, 409, "not-settled");
    assert!(early.hint.is_some());

    let (digest, stdout) = worker.upload("a secret result").await?;
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    service.until_all(terms.id(), "settled").await?;
    requester.manifest(task, digest.get()).await?;
    is(&problem(stranger.manifest(task, digest.get()).await)?, 403, "not-yours");
    is(&problem(worker.client.manifest(task, digest.get()).await)?, 403, "not-yours");
    is(&problem(stranger.fetch_blob(task, stdout.sha256, &file).await)?, 403, "not-yours");
    is(&problem(worker.client.fetch_blob(task, input, &file).await)?, 403, "not-yours");
    let unrelated = stranger.put_bytes(b"of another deal".to_vec()).await?;
    is(&problem(requester.fetch_blob(task, unrelated, &file).await)?, 404, "blob-unknown");
    is(&problem(requester.manifest(B256::ZERO, digest.get()).await)?, 404, "task-unknown");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_are_their_owners_alone_and_their_bytes_stay_while_a_job_needs_them() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let owner = service.signed_in(&market.own).await?;
    let stranger = service.signed_in(&Signer::random()).await?;
    let (path, name) = (market.folder.path().join("data"), Sha256::of(b"of my own"));
    std::fs::write(&path, b"of my own")?;
    owner.put_data(&path, name, "mine & mine").await?;
    owner.put_data(&path, name, "renamed").await?;
    let listed = owner.data().await?;
    assert_eq!((listed.len(), &*listed[0].name, listed[0].size), (1, "renamed", 9));
    assert_eq!(owner.fetch_data(name, &market.folder.path().join("back")).await?, 9);
    assert!(stranger.data().await?.is_empty());
    let into = market.folder.path().join("stolen");
    is(&problem(stranger.fetch_data(name, &into).await)?, 404, "data-unknown");
    is(&problem(stranger.remove_data(name).await)?, 404, "data-unknown");
    is(&problem(service.client().data().await)?, 401, "not-signed-in");
    // Who knows no more than the hash does not come to list it.
    std::fs::write(&into, b"of others")?;
    is(&problem(stranger.put_data(&into, name, "x").await)?, 422, "blob-corrupt");
    is(&problem(owner.put_data(&path, name, "").await)?, 422, "bad-name");

    owner.put_job(with_input("needs it", b"of my own").to_bytes()).await?;
    let removed = owner.remove_data(name).await?;
    assert_eq!((removed.removed, removed.kept), (0, 1));
    assert!(owner.has_blob(name).await? && owner.data().await?.is_empty());
    let other = Sha256::of(b"of others");
    owner.put_data(&into, other, "two owners").await?;
    stranger.put_data(&into, other, "two owners").await?;
    assert_eq!(owner.remove_data(other).await?.removed, 1);
    assert!(stranger.has_blob(other).await?);
    assert_eq!(stranger.remove_data(other).await?.removed, 1);
    assert!(!owner.has_blob(other).await?);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deal_that_nobody_has_begun_is_given_back_to_who_asks_for_it() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let stranger = service.signed_in(&Signer::random()).await?;
    let waiting = job("waits");
    requester.put_job(waiting.to_bytes()).await?;
    let terms = market.matched(&waiting, 2, market.own.address()).await?;
    service.until_all(terms.id(), "open").await?;
    let deal = terms.id().get();
    is(&problem(stranger.unwant(deal).await)?, 403, "not-yours");
    is(&problem(requester.unwant(B256::ZERO).await)?, 404, "deal-unknown");
    requester.unwant(deal).await?;
    // Once more is no harm.
    drop(requester.unwant(deal).await);
    service.until_all(terms.id(), "declined").await?;

    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let begun = job("begun");
    requester.put_job(begun.to_bytes()).await?;
    let terms = market.matched(&begun, 1, market.own.address()).await?;
    worker.assignment().await?;
    let begun = problem(requester.unwant(terms.id().get()).await)?;
    is(&begun, 409, "begun");
    assert!(begun.hint.is_some());
    let task = terms.id().task(0).get();
    is(&problem(requester.remove_result(task).await)?, 409, "not-settled");
    let (digest, stdout) = worker.upload("to be removed").await?;
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    service.until_all(terms.id(), "settled").await?;
    is(&problem(stranger.remove_result(task).await)?, 403, "not-yours");
    assert!(requester.remove_result(task).await?.removed > 0);
    is(&problem(requester.manifest(task, digest.get()).await)?, 404, "blob-missing");
    is(&problem(requester.remove_result(task).await)?, 404, "no-result");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_is_good_once_and_only_for_who_signed_it() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let client = service.client();
    let me = Signer::random();
    let challenge = client.challenge(me.address()).await?;
    assert!(challenge.message.starts_with(&format!("{} wants you to sign in", service.address)));

    let forged = Signer::random().sign_text(&challenge.message);
    is(&problem(client.session(challenge.message.clone(), forged).await)?, 401, "bad-sign-in");
    let changed = challenge.message.replace("moves no money", "moves money");
    let signature = me.sign_text(&changed);
    is(&problem(client.session(changed, signature).await)?, 401, "bad-sign-in");
    let foreign = challenge.message.replace(&service.address.to_string(), "evil.example");
    let signature = me.sign_text(&foreign);
    is(&problem(client.session(foreign, signature).await)?, 401, "bad-sign-in");

    let signature = me.sign_text(&challenge.message);
    let session = client.session(challenge.message.clone(), signature.clone()).await?;
    is(&problem(client.session(challenge.message, signature).await)?, 401, "bad-sign-in");
    let mine = service.client().with_token(session.token.clone());
    assert!(!mine.has_blob(Sha256::of(b"nothing")).await?);
    let wrong = service.client().with_token(session.token.replace(['a', 'b', 'c'], "d"));
    is(&problem(wrong.put_bytes(b"x".to_vec()).await)?, 401, "not-signed-in");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_documents_and_bytes_are_refused_with_a_hint() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let me = service.signed_in(&market.own).await?;
    is(&problem(service.client().put_job(job("x").to_bytes()).await)?, 401, "not-signed-in");
    let bad = problem(me.put_job(b"{}".to_vec()).await)?;
    is(&bad, 422, "bad-job");
    assert!(bad.hint.is_some());
    let spaced = serde_json::to_vec_pretty(&job("x"))?;
    is(&problem(me.put_job(spaced).await)?, 422, "bad-job");
    for n in 0..8 {
        me.put_job(job(&n.to_string()).to_bytes()).await?;
    }
    me.put_job(job("3").to_bytes()).await.wrap_err("one that is there already is no more")?;
    is(&problem(me.put_job(job("9").to_bytes()).await)?, 503, "store-full");
    let terms = market.matched(&job("9"), 1, Address::ZERO).await?;
    service.until(terms.id(), "the deal is seen", |_| true).await?;
    me.put_job(job("9").to_bytes()).await.wrap_err("a deal names it")?;

    let large = vec![7; (1 << 20) + 1];
    is(&problem(me.put_bytes(large).await)?, 413, "blob-too-large");
    let file = market.folder.path().join("lie");
    std::fs::write(&file, "something else")?;
    is(&problem(me.put_file(&file, Sha256::of(b"something")).await)?, 422, "blob-corrupt");
    assert!(!me.has_blob(Sha256::of(b"something")).await?);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_the_answer_is_one_of_ours() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let close = "Host: localhost\nConnection: close\n";
    for (request, status, code) in [
        ("GET /v1/nothing HTTP/1.1\n", 404, "no-such-call"),
        ("DELETE /v1/pool HTTP/1.1\n", 405, "no-such-call"),
        ("GET /v1/deals/0x12 HTTP/1.1\n", 400, "bad-id"),
        ("GET /v1/deals?limit=few HTTP/1.1\n", 400, "bad-request"),
        ("GET /v1/deals?unknown=1 HTTP/1.1\n", 400, "bad-request"),
        ("PUT /v1/blobs/xyz HTTP/1.1\n", 401, "not-signed-in"),
        ("POST /v1/auth/challenge HTTP/1.1\nContent-Type: application/json\nContent-Length: 2\n", 422, "bad-request"),
        ("POST /v1/auth/challenge HTTP/1.1\nContent-Length: 2\n", 415, "bad-request"),
        ("GET /v1/worker HTTP/1.1\n", 400, "bad-request"),
    ] {
        let body = if request.contains("Content-Length") { "{}" } else { "" };
        let answer = raw(&service, &format!("{request}{close}\n{body}")).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains("application/problem+json"), "{request}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{request}: {answer}");
    }
    service.until_ready(true).await?;
    for (call, wanted) in [("/healthz", "ok"), ("/readyz", "ready"), ("/version", env!("CARGO_PKG_VERSION"))] {
        let answer = raw(&service, &format!("GET {call} HTTP/1.1\n{close}\n")).await?;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(wanted), "{answer}");
    }
    let info = service.client().pool().await?;
    assert_eq!((info.pool, info.operator), (market.pool().get(), market.operator.address()));
    assert_eq!((info.chain_id, info.berth), (31_337, market.deployment.berth));
    assert_eq!((info.workers, info.max_blob_bytes), (0, 1 << 20));
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_change_hears_of_it_at_once_and_else_when_the_time_is_over() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let client = service.client();
    is(&problem(client.deal(B256::ZERO, None, Duration::ZERO).await)?, 404, "deal-unknown");
    let terms = market.matched(&job("waits"), 1, Address::ZERO).await?;
    let view = service.until_all(terms.id(), "open").await?;
    let begun = Instant::now();
    let same = client.deal(terms.id().get(), Some(view.seq), Duration::from_millis(300)).await?;
    assert_eq!(same.seq, view.seq);
    assert!(begun.elapsed() >= Duration::from_millis(300));

    let waits = async { client.deal(terms.id().get(), Some(view.seq), Duration::from_secs(30)).await };
    let passes = async { market.pass(terms.deadlines().settle.seconds() - terms.start + 1).await };
    let (news, passed) = tokio::join!(waits, passes);
    passed?;
    assert!(news?.seq > view.seq);
    let deals = client.deals(5).await?;
    assert_eq!((deals.len(), deals[0].deal, deals[0].tasks.len()), (1, terms.id().get(), 0));
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_bonded_workers_with_their_own_key_come_in() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(0).await?;
    let mut config = market.config();
    config.heartbeat = Duration::from_millis(300);
    let service = Service::with(&market, config).await?;
    let rejected = async |key: &Signer, with: Introduction| {
        let answer = ScriptedWorker::introduce(&service, &market, key, with).await;
        answer.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let usual = Introduction::default;
    assert!(rejected(&Signer::random(), usual()).await.starts_with("not-bonded"));
    assert!(rejected(&key, Introduction { wrong_key: true, ..usual() }).await.starts_with("bad-signature"));
    assert!(rejected(&key, Introduction { version: Some(9), ..usual() }).await.starts_with("version"));

    let mut first = ScriptedWorker::connect(&service, &market, &key).await?;
    let begun = Instant::now();
    let mut second = ScriptedWorker::connect(&service, &market, &key).await?;
    let ToWorker::Rejected { code, .. } = first.hear().await? else { bail!("two of one key") };
    assert_eq!(code, "duplicate");
    let workers = service.client().workers().await?;
    assert_eq!((workers.len(), workers[0].connected, workers[0].owner), (1, true, market.own.address()));

    // Silence ends it, and so does nonsense.
    ensure!(second.hear().await.is_err(), "a silent worker was kept");
    assert!(begun.elapsed() > Duration::from_millis(600));
    let mut third = ScriptedWorker::connect(&service, &market, &key).await?;
    third.say(&ToScheduler::Heartbeat { running: vec![] }).await?;
    third.nonsense().await?;
    ensure!(third.hear().await.is_err(), "nonsense was heard");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_reports_are_refused_with_their_code_and_change_nothing() -> eyre::Result<()> {
    let market = Market::open().await?;
    let keys = [market.bonded(WORKER_STAKE).await?, market.bonded(WORKER_STAKE).await?];
    let service = Service::start(&market).await?;
    let requester = service.signed_in(&market.own).await?;
    let job = job("bad reports");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &keys[0]).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    let (digest, stdout) = worker.upload("good").await?;
    let good = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    let absent = berth_protocol::ResultDigest::new(B256::repeat_byte(9)).ok_or_else(|| eyre::eyre!("not zero"))?;
    let unknown =
        berth_protocol::ResultDigest::new(B256::with_last_byte(200)).ok_or_else(|| eyre::eyre!("not zero"))?;

    let mut other = ScriptedWorker::connect(&service, &market, &keys[1]).await?;
    other.upload("good").await?;
    let uninvited = other.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    other.say(&ToScheduler::Report(Box::new(uninvited))).await?;
    refused(&mut other, "not-assigned").await?;

    let mut forged = good.clone();
    forged.signature = keys[1].sign_digest(B256::repeat_byte(1));
    let mut ragged = good.clone();
    ragged.entries = vec![0; 35].into();
    let mut elsewhere = good.clone();
    elsewhere.digest = B256::repeat_byte(8);
    let mut nowhere = good.clone();
    nowhere.deal = B256::repeat_byte(8);
    let missing = worker.report(&terms, 0, &[(0, absent)], None)?;
    let nameless = worker.report(&terms, 0, &[(0, unknown)], None)?;
    for (report, code) in [
        (forged, "bad-signature"),
        (ragged, "bad-list"),
        (elsewhere, "bad-list"),
        (nowhere, "unknown-task"),
        (missing, "blob-missing"),
        (nameless, "bad-result"),
    ] {
        worker.say(&ToScheduler::Report(Box::new(report))).await?;
        refused(&mut worker, code).await.wrap_err(code)?;
    }
    let view = service.client().task(terms.id().task(0).get()).await?;
    assert_eq!((view.phase.as_str(), view.attempts), ("assigned", 1));
    worker.say(&ToScheduler::Report(Box::new(good))).await?;
    service.until_all(terms.id(), "settled").await?;
    service.stop().await
}

pub(crate) async fn refused(worker: &mut ScriptedWorker, wanted: &str) -> eyre::Result<()> {
    let heard = worker.hear().await?;
    let is_wanted = matches!(&heard, ToWorker::Refused { code, .. } if code == wanted);
    ensure!(is_wanted, "{heard:?} instead of a refusal");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_shares_is_its_own_signed_word() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(0).await?;
    let service = Service::start(&market).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let (domain, pool) = (market.deployment.domain(), market.pool().get());
    let say =
        |signer: &Signer, slots, at_ms| ToScheduler::Announce(Box::new(announced(signer, &domain, pool, slots, at_ms)));
    let slots = async || -> eyre::Result<u32> {
        let workers = service.client().workers().await?;
        let said = workers[0].announced.clone().wrap_err("it is connected")?;
        let statement = said.said.statement(pool, said.at_ms);
        ensure!(berth_chain::signer::recover(domain.digest(&statement), &said.signature) == Some(key.address()));
        Ok(said.said.capacity.slots)
    };
    ensure!(slots().await? == 1);
    // Another's word changes nothing, and neither does one that is older.
    worker.say(&say(&Signer::random(), 9, 5)).await?;
    let ToWorker::Refused { code, .. } = worker.hear().await? else { bail!("a forged announcement was taken") };
    ensure!(code == "bad-signature" && slots().await? == 1);
    worker.say(&say(&key, 7, 5)).await?;
    worker.say(&say(&key, 8, 4)).await?;
    // What was said before this was heard before its answer.
    worker.say(&say(&Signer::random(), 9, 6)).await?;
    worker.hear().await?;
    ensure!(slots().await? == 7);
    service.stop().await
}
