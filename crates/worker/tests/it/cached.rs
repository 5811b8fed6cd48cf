//! What is fetched: whole and right or not at all, gone on with after a break, and within its room.

use crate::support::{engine, import};
use alloy::primitives::Address;
use berth_protocol::WorkerAddr;
use berth_wire::{job::Image, units::Sha256};
use berth_worker::{
    cache::{Cache, CacheError, Source, Wanted},
    config::{ByteSize, DockerShare, FetchedSize},
    reach::Reach,
    runtime::{Runtime as _, docker::Docker},
};
use bollard::query_parameters::RemoveImageOptions;
use std::{
    collections::HashSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

/// A server that breaks off after so many bytes of each answer, and knows ranges or not.
struct Server {
    url: String,
    /// Where each answer began.
    asked: Arc<Mutex<Vec<usize>>>,
    breaks_after: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(bytes: Vec<u8>, knows_ranges: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/disk", listener.local_addr().expect("it listens"));
        let (asked, breaks_after) = (Arc::<Mutex<Vec<usize>>>::default(), Arc::new(AtomicUsize::new(usize::MAX)));
        let mut tasks = JoinSet::new();
        let (notes, limit) = (asked.clone(), breaks_after.clone());
        tasks.spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut request = vec![0; 4_096];
                let mut read = 0;
                while !request[..read].ends_with(b"\r\n\r\n") {
                    read += stream.read(&mut request[read..]).await.expect("a request");
                }
                let text = String::from_utf8_lossy(&request[..read]).to_lowercase();
                let range = text.split_once("range: bytes=").and_then(|(_, rest)| rest.split_once('-')?.0.parse().ok());
                let from = range.filter(|_| knows_ranges).unwrap_or(0);
                notes.lock().expect("no panic").push(from);
                let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                let rest = &bytes[from..];
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", rest.len());
                let end = rest.len().min(limit.load(Ordering::SeqCst));
                drop(stream.write_all(head.as_bytes()).await);
                drop(stream.write_all(&rest[..end]).await);
                drop(stream.shutdown().await);
            }
        });
        Self { url, asked, breaks_after, _tasks: tasks }
    }

    fn source(&self) -> Source {
        Source::Store { url: self.url.clone(), token: None }
    }

    fn asked(&self) -> Vec<usize> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn wanted(bytes: &[u8]) -> Wanted {
    Wanted { sha256: Sha256::of(bytes), size: bytes.len() as u64, ending: "raw".into() }
}

#[tokio::test]
async fn fetching_goes_on_where_it_broke_off_also_in_another_life() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let server = Server::start(bytes.clone(), true).await;
    server.breaks_after.store(300_000, Ordering::SeqCst);
    let cache = Cache::open(folder.path().join("cache")).expect("opens");
    let first = cache.have(&wanted(&bytes), 2 << 20, &server.source()).await;
    assert!(matches!(first, Err(CacheError::Later(..))), "{first:?}");
    drop(cache);
    let cache = Cache::open(folder.path().join("cache")).expect("opens again");
    server.breaks_after.store(usize::MAX, Ordering::SeqCst);
    let held = cache.have(&wanted(&bytes), 2 << 20, &server.source()).await.expect("the rest comes");
    assert_eq!(fs::read(held.path()).expect("there"), bytes);
    let again = cache.have(&wanted(&bytes), 2 << 20, &server.source()).await.expect("it is here");
    assert_eq!(again.path(), held.path());
    let asked = server.asked();
    assert!(asked.len() == 2 && asked[0] == 0 && asked[1] > 0, "what came before is not fetched again: {asked:?}");
}

#[tokio::test]
async fn a_server_without_ranges_begins_anew_and_other_bytes_are_thrown_away() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = vec![7; 400_000];
    let server = Server::start(bytes.clone(), false).await;
    let cache = Cache::open(folder.path().to_owned()).expect("opens");
    server.breaks_after.store(100_000, Ordering::SeqCst);
    assert!(cache.have(&wanted(&bytes), 1 << 20, &server.source()).await.is_err());
    server.breaks_after.store(usize::MAX, Ordering::SeqCst);
    cache.have(&wanted(&bytes), 1 << 20, &server.source()).await.expect("all of it comes");
    assert_eq!(server.asked(), [0, 0]);

    let other = Wanted { sha256: Sha256::of(b"something else"), ..wanted(&bytes) };
    let corrupt = cache.have(&other, 1 << 20, &server.source()).await;
    assert!(matches!(corrupt, Err(CacheError::Corrupt(_))), "{corrupt:?}");
    let longer = Wanted { size: 300_000, ..other };
    assert!(matches!(cache.have(&longer, 1 << 20, &server.source()).await, Err(CacheError::Corrupt(_))));
    let names: Vec<_> = fs::read_dir(folder.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert!(!names.iter().any(|name| name == &*format!("{}.raw", other.sha256)), "{names:?}");
}

#[tokio::test]
async fn what_was_used_longest_ago_goes_first_and_never_what_is_in_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::open(folder.path().to_owned()).expect("opens");
    let most = 250_000;
    let disks: Vec<Vec<u8>> = (1..=4_u8).map(|byte| vec![byte; 100_000]).collect();
    let get = async |nth: usize| {
        let server = Server::start(disks[nth].clone(), true).await;
        cache.have(&wanted(&disks[nth]), most, &server.source()).await
    };
    let path = |nth: usize| folder.path().join(format!("{}.raw", Sha256::of(&disks[nth])));
    let used_at = |nth: usize, second: u64| {
        let file = fs::File::options().append(true).open(path(nth)).expect("there");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).expect("a time");
    };
    let first = get(0).await.expect("there is room");
    drop(get(1).await.expect("there is room"));
    // The first was used before the second, but it is held.
    used_at(0, 1);
    used_at(1, 2);
    let third = get(2).await.expect("there is room");
    assert!(path(0).exists() && !path(1).exists() && path(2).exists());
    let none = get(3).await;
    assert!(matches!(none, Err(CacheError::NoRoom { size: 100_000, room: 50_000 })), "{none:?}");
    drop(first);
    drop(get(3).await.expect("the first is not in use any more"));
    assert!(!path(0).exists() && third.path().exists() && path(3).exists());
}

#[tokio::test]
async fn what_many_want_at_one_time_comes_once_and_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let server = Server::start(bytes.clone(), true).await;
    let cache = Cache::open(folder.path().to_owned()).expect("opens");
    let (wanted, source) = (wanted(&bytes), server.source());
    let having = (0..8).map(|_| cache.have(&wanted, 4 << 20, &source));
    for held in futures_util::future::join_all(having).await {
        assert_eq!(fs::read(held.expect("it comes").path()).expect("there"), bytes);
    }
    assert_eq!(server.asked(), [0]);
}

#[tokio::test]
async fn what_comes_at_one_time_has_room_together_or_waits_for_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::open(folder.path().to_owned()).expect("opens");
    let disks = [vec![1; 100_000], vec![2; 100_000]];
    let servers = [Server::start(disks[0].clone(), true).await, Server::start(disks[1].clone(), true).await];
    let (one, other) = (wanted(&disks[0]), wanted(&disks[1]));
    let (first, second) = (servers[0].source(), servers[1].source());
    let both = tokio::join!(cache.have(&one, 150_000, &first), cache.have(&other, 150_000, &second));
    let no_room = |had: &Result<_, CacheError>| matches!(had, Err(CacheError::NoRoom { size: 100_000, room: 50_000 }));
    assert!(both.0.is_ok() && no_room(&both.1) || both.1.is_ok() && no_room(&both.0), "{both:?}");
}

#[tokio::test]
async fn an_empty_file_needs_no_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::open(folder.path().to_owned()).expect("opens");
    let server = Server::start(Vec::new(), true).await;
    let held = cache.have(&wanted(b""), 1, &server.source()).await.expect("there is nothing to fetch");
    assert_eq!(fs::read(held.path()).expect("there"), b"");
}

#[tokio::test]
async fn whoever_says_where_a_file_is_has_no_worker_ask_inside() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::open(folder.path().to_owned()).expect("opens");
    let server = Server::start(vec![7; 1_000], true).await;
    let wanted = wanted(&[7; 1_000]);
    let from = |url: &str, open: &[&str]| {
        let open: Vec<_> = open.iter().map(|block| block.parse().expect("a block")).collect();
        Source::Elsewhere { url: url.to_owned(), reach: Reach::new(&open) }
    };
    let by_name = server.url.replace("127.0.0.1", "localhost");
    for url in [&*server.url, &by_name, "ftp://a.example/x", "http://me:secret@a.example/x", "/etc/passwd"] {
        let barred = cache.have(&wanted, 1 << 20, &from(url, &["10.0.0.0/8"])).await;
        assert!(matches!(barred, Err(CacheError::Barred(..))), "{url}: {barred:?}");
    }
    assert_eq!(server.asked(), Vec::<usize>::new());
    cache.have(&wanted, 1 << 20, &from(&server.url, &["127.0.0.1/32"])).await.expect("the owner has opened it");
}

#[tokio::test]
async fn fetched_images_go_when_there_are_too_many_and_others_stay() {
    let engine = engine().await;
    let (old, own) = (import(&engine, "fetched-long-ago", &[]).await, import(&engine, "never-fetched", &[]).await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tasks = folder.path().join("tasks");
    fs::create_dir_all(&tasks).expect("writable");
    let notes = serde_json::json!({ (old.reference.clone()): 1, "not a name": 2 });
    fs::write(folder.path().join("fetched-images.json"), notes.to_string()).expect("writable");
    let worker = WorkerAddr::new(Address::from(rand::random::<[u8; 20]>()));
    let there = async |image: &Image| engine.inspect_image(&image.reference).await.is_ok();
    let with = async |size| {
        let share = DockerShare { fetched_size: FetchedSize(ByteSize(size)), ..DockerShare::default() };
        let docker = Docker::connect(share, worker, tasks.clone()).await.expect("an engine");
        docker.sweep(&HashSet::new()).await.expect("clears up");
    };
    with(1 << 40).await;
    assert!(there(&old).await, "there is room for it");
    with(1).await;
    assert!(!there(&old).await && there(&own).await);
    let left = fs::read_to_string(folder.path().join("fetched-images.json")).expect("there");
    assert_eq!(left, "{}");
    engine.remove_image(&own.reference, None::<RemoveImageOptions>, None).await.expect("removes");
}
