//! Transfers over connections that break, between servers and clients that die.

use crate::{
    access::{is, problem},
    support::{Market, PATIENCE, ScriptedWorker, Service, WORKER_STAKE, job},
};
use alloy::primitives::Address;
use berth_chain::signer::Signer;
use berth_wire::{
    client::SchedulerClient,
    manifest::{Content, File, Manifest},
    scheduler::{UPLOAD_LENGTH, UPLOAD_OFFSET},
    units::Sha256,
    worker::ToScheduler,
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const MIB: u64 = 1 << 20;

/// A line that breaks whenever so many bytes have gone one way, and counts them.
struct Line {
    address: SocketAddr,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Line {
    async fn to(service: SocketAddr, breaks_after: u64) -> eyre::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (up, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (sent, came) = (up.clone(), down.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (sent, came) = (sent.clone(), came.clone());
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(service).await else { return };
                    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
                    // Whichever way ends first takes the other with it.
                    tokio::select! {
                        () = pass(client_in, server_out, breaks_after, &sent) => {}
                        () = pass(server_in, client_out, breaks_after, &came) => {}
                    }
                });
            }
        });
        Ok(Self { address, up, down, _task: task })
    }

    fn client(&self) -> SchedulerClient {
        SchedulerClient::new(&format!("http://{}", self.address))
    }

    /// A session over this line.
    async fn signed_in(&self, account: &Signer) -> eyre::Result<SchedulerClient> {
        let client = self.client();
        let challenge = client.challenge(account.address()).await?;
        let signature = account.sign_text(&challenge.message);
        let session = client.session(challenge.message, signature).await?;
        Ok(client.with_token(session.token))
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, breaks_after: u64, count: &AtomicU64) {
    let (mut passed, mut chunk) = (0, vec![0; 64 << 10]);
    while passed < breaks_after {
        let Ok(read @ 1..) = from.read(&mut chunk).await else { return };
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
        passed += read as u64;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// A file of bytes that no two parts of have in common.
fn file(market: &Market, name: &str, size: u64) -> eyre::Result<(std::path::PathBuf, Content)> {
    let mut state = size;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(usize::try_from(size)?);
    let path = market.folder.path().join(name);
    std::fs::write(&path, &bytes)?;
    Ok((path, Content::of(&bytes)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_over_a_line_that_breaks_without_going_twice() -> eyre::Result<()> {
    let market = Market::open().await?;
    let mut config = market.config();
    config.max_blob_bytes = 64 * MIB;
    let service = Service::with(&market, config).await?;
    let line = Line::to(service.address, 5 * MIB).await?;
    let client = line.signed_in(&market.own).await?;
    let (path, content) = file(&market, "large", 23 * MIB + 17)?;
    client.put_data(&path, content.sha256, "large").await?;
    assert!(client.has_blob(content.sha256).await?);
    let sent = line.up.load(Ordering::Relaxed);
    // What was in the sockets when they broke is lost, and no more.
    assert!(sent < content.size * 3 / 2, "{sent} bytes were sent of {}", content.size);
    let back = market.folder.path().join("back");
    assert_eq!(client.fetch_data(content.sha256, &back).await?, content.size);
    assert!(std::fs::read(&back)? == std::fs::read(&path)?);
    let came = line.down.load(Ordering::Relaxed);
    assert!(came < content.size * 3 / 2, "{came} bytes came of {}", content.size);
    assert!(!market.folder.path().join(".back.berth-part").exists());
    // Once more sends nothing.
    client.put_file(&path, content.sha256).await?;
    assert!(line.up.load(Ordering::Relaxed) < sent + MIB);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_survives_its_client_and_its_server() -> eyre::Result<()> {
    let market = Market::open().await?;
    let mut config = market.config();
    config.max_blob_bytes = 64 * MIB;
    let service = Service::with(&market, config.clone()).await?;
    let (path, content) = file(&market, "large", 9 * MIB)?;
    let bytes = std::fs::read(&path)?;
    // A client that gave up after some of it.
    let session = service.signed_in(&market.own).await?;
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let token = token(&service, &market.own).await?;
    let url = format!("{}/v1/blobs/{}", service.url(), content.sha256);
    let patch = http.patch(&url).bearer_auth(&token).header(UPLOAD_OFFSET, 0).header(UPLOAD_LENGTH, content.size);
    let said = patch.body(bytes[..4_000_000].to_vec()).send().await?;
    assert_eq!((said.status().as_u16(), said.headers()[UPLOAD_OFFSET].to_str()?), (202, "4000000"));
    assert!(!session.has_blob(content.sha256).await?);
    service.stop().await?;

    let service = Service::with(&market, config).await?;
    let line = Line::to(service.address, u64::MAX).await?;
    let client = line.client().with_token(token.clone());
    client.put_file(&path, content.sha256).await?;
    assert!(line.up.load(Ordering::Relaxed) < content.size - 4_000_000 + MIB, "only the rest is sent");
    assert!(client.has_blob(content.sha256).await?);
    // A half that is here from another file of that name is no use, and no harm.
    let (into, part) = (market.folder.path().join("back"), market.folder.path().join(".back.berth-part"));
    client.put_data(&path, content.sha256, "large").await?;
    std::fs::write(&part, b"of something else")?;
    assert_eq!(client.fetch_data(content.sha256, &into).await?, content.size);
    std::fs::write(&part, &bytes[..8_000_000])?;
    let before = line.down.load(Ordering::Relaxed);
    assert_eq!(client.fetch_data(content.sha256, &into).await?, content.size);
    assert!(line.down.load(Ordering::Relaxed) - before < 2 * MIB, "only the rest comes");
    assert!(std::fs::read(&into)? == bytes && !part.exists());

    let get = |range: &str| {
        http.get(format!("{}/v1/data/{}", service.url(), content.sha256)).header("range", range.to_owned())
    };
    for (range, status, said) in [
        ("bytes=0-", 206, "bytes 0-9437183/9437184"),
        ("bytes=9437183-9999999", 206, "bytes 9437183-9437183/9437184"),
        ("bytes=9437184-", 416, ""),
        ("bytes=7-6", 416, ""),
        ("bytes=-5", 200, ""),
        ("lines=1-", 200, ""),
    ] {
        let answer = get(range).bearer_auth(&token).send().await?;
        let told = answer.headers().get("content-range").map_or("", |value| value.to_str().unwrap_or("?"));
        assert_eq!((answer.status().as_u16(), told), (status, said), "{range}");
    }
    service.stop().await
}

async fn token(service: &Service, account: &Signer) -> eyre::Result<String> {
    let client = service.client();
    let challenge = client.challenge(account.address()).await?;
    let signature = account.sign_text(&challenge.message);
    Ok(client.session(challenge.message, signature).await?.token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_puts_too_much_that_nothing_names_is_told_what_to_do() -> eyre::Result<()> {
    let market = Market::open().await?;
    let mut config = market.config();
    config.max_blob_bytes = 64 * MIB;
    config.results.unused_bytes = 8 * MIB;
    let service = Service::with(&market, config).await?;
    let client = service.signed_in(&market.own).await?;
    let (first, one) = file(&market, "first", 6 * MIB)?;
    let (second, two) = file(&market, "second", 32 * MIB)?;
    client.put_file(&first, one.sha256).await?;
    let refused = problem(client.put_file(&second, two.sha256).await)?;
    is(&refused, 409, "quota");
    assert!(refused.detail.contains(&one.size.to_string()) && refused.hint.is_some(), "{refused:?}");
    is(&problem(service.signed_in(&market.own).await?.put_file(&second, two.sha256).await)?, 409, "quota");
    // A job that names it makes room: it is of use now.
    let mut uses = job("uses it");
    uses.inputs =
        vec![berth_wire::job::Input { name: "input".to_owned(), size: one.size, sha256: one.sha256, url: None }];
    assert!(client.put_job(uses.to_bytes()).await?.missing.is_empty());
    let (third, three) = file(&market, "third", 7 * MIB)?;
    client.put_file(&third, three.sha256).await?;
    assert!(!client.has_blob(two.sha256).await? && client.has_blob(three.sha256).await?);
    let large = problem(client.put_file(&file(&market, "large", 65 * MIB)?.0, Sha256::of(b"large")).await)?;
    is(&large, 413, "blob-too-large");
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_and_a_requester_move_a_large_result_over_lines_that_break() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let mut config = market.config();
    config.max_blob_bytes = 64 * MIB;
    let service = Service::with(&market, config).await?;
    let line = Line::to(service.address, 3 * MIB).await?;
    let requester = line.signed_in(&market.own).await?;
    let job = job("large result");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&Service::elsewhere(line.address), &market, &key).await?;
    let terms = market.matched(&job, 1, Address::ZERO).await?;
    worker.assignment().await?;
    let (path, content) = file(&market, "out", 11 * MIB)?;
    let manifest = Manifest::new(
        0,
        vec![File { path: "out".to_owned(), sha256: content.sha256, size: content.size }],
        Content::of(b""),
    );
    worker.client.put_file(&path, content.sha256).await?;
    worker.client.put_bytes(manifest.to_bytes()).await?;
    let report = worker.report(&terms, 0, &[(0, manifest.digest())], None)?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    service.until_all(terms.id(), "settled").await?;
    let (task, into) = (terms.id().task(0).get(), market.folder.path().join("back"));
    requester.manifest(task, manifest.digest().get()).await?;
    assert_eq!(requester.fetch_blob(task, content.sha256, &into).await?, content.size);
    assert!(std::fs::read(&into)? == std::fs::read(&path)?);
    tokio::time::timeout(Duration::from_secs(20), service.stop()).await?
}
