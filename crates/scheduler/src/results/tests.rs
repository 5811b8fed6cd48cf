//! What a store of blobs has to do, wherever it keeps them.

use super::{
    intake::{Intake, IntakeError, SMALL_BYTES, Unused},
    strays::Strays,
    *,
};
use crate::{
    config::Results,
    samples,
    store::{Database, upload},
};
use alloy::primitives::Address;
use berth_protocol::{AssetId, AssetKind};
use berth_wire::descriptor::{Descriptor, Disk, DiskFormat};
use core::time::Duration;
use futures_util::{Stream, stream};
use seaweed::Seaweed;
use std::sync::Arc;

#[path = "../../tests/it/seaweed.rs"]
mod seaweed;
/// What the S3 server is configured by.
mod settings {
    pub(super) use crate::config::{Results, S3, S3Key, StoreKind};
}

const UNUSED: Unused = Unused { max_bytes: 64 << 20, max_age: Duration::from_secs(60) };
const MINE: Address = Address::repeat_byte(1);
const OTHERS: Address = Address::repeat_byte(2);

/// A store with its intake; the folders go with it.
struct Stored {
    intake: Intake,
    blobs: Blobs,
    db: Database,
    folder: tempfile::TempDir,
    _database: tempfile::TempDir,
}

impl Stored {
    async fn with(open: impl AsyncFnOnce(&std::path::Path) -> Backend, unused: Unused) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (_database, db) = samples::database().await;
        let blobs = Blobs::new(open(folder.path()).await, 32 << 20);
        Self { intake: Intake::new(db.clone(), blobs.clone(), unused), blobs, db, folder, _database }
    }

    async fn in_a_folder() -> Self {
        Self::with(async |folder| Backend::folder(folder).expect("opens"), UNUSED).await
    }

    async fn with_s3(results: &Results, pool: &str) -> Self {
        let open = async |folder: &std::path::Path| {
            let backend = Backend::s3(folder, results.s3().expect("a server"), pool).expect("opens");
            backend.check().await.expect("lets us in");
            backend
        };
        Self::with(open, UNUSED).await
    }

    fn staged(&self) -> usize {
        std::fs::read_dir(self.folder.path().join(backend::STAGING)).expect("a folder").count()
    }
}

fn pieces(bytes: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + use<> {
    let all: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(all)
}

/// The same, but the connection breaks after them.
fn torn(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + use<> {
    let gone = Err(io::Error::other("gone"));
    pieces(bytes, 100_000).chain(stream::iter([gone]))
}

/// Bytes that no two parts of have in common.
fn many(size: u64) -> Vec<u8> {
    (0..size).map(|i| u8::try_from((i.wrapping_mul(2_654_435_761) >> 13) & 0xff).expect("a byte")).collect()
}

async fn all(blobs: &Blobs, name: Sha256, range: Option<GetRange>) -> Vec<u8> {
    let found = blobs.get(name, range).await.expect("works").expect("is there");
    let all: Vec<Bytes> = found.bytes.try_collect().await.expect("comes");
    assert_eq!(all.iter().map(|piece| piece.len() as u64).sum::<u64>(), found.range.end - found.range.start);
    all.concat()
}

async fn small_bytes_are_there_whole_or_not_at_all(stored: &Stored) {
    let Stored { intake, blobs, .. } = stored;
    let hello = Content::of(b"hello world");
    assert_eq!(blobs.size(hello.sha256).await.expect("works"), None);
    let wrong = intake.put(MINE, hello, pieces(b"hello w0rld", 3)).await;
    assert!(
        matches!(wrong, Err(IntakeError::Blob(BlobError::Hash { found, .. })) if found == Sha256::of(b"hello w0rld"))
    );
    for bytes in [&b"hello"[..], b"hello world and more"] {
        let wrong = intake.put(MINE, hello, pieces(bytes, 3)).await;
        assert!(matches!(wrong, Err(IntakeError::Length { wanted: 11, .. })), "{wrong:?}");
    }
    let broken = intake.put(MINE, hello, torn(b"hello")).await;
    assert!(matches!(broken, Err(IntakeError::Blob(BlobError::Broken(_)))));
    let large = Content { size: (32 << 20) + 1, ..hello };
    let large = intake.put(MINE, large, pieces(b"hello", 3)).await;
    assert!(matches!(large, Err(IntakeError::Blob(BlobError::TooLarge { .. }))));
    assert_eq!(blobs.size(hello.sha256).await.expect("works"), None, "nothing half-written stays");

    for account in [MINE, MINE, OTHERS] {
        intake.put(account, hello, pieces(b"hello world", 3)).await.expect("right");
        assert_eq!(intake.size(account, hello.sha256).await.expect("works"), Some(11));
    }
    assert!(blobs.has(hello).await.expect("works"));
    assert!(!blobs.has(Content { size: 12, ..hello }).await.expect("works"));
    assert_eq!(blobs.read(hello.sha256, 64).await.expect("works").as_deref(), Some(&b"hello world"[..]));
    assert!(matches!(blobs.read(hello.sha256, 5).await, Err(BlobError::TooLarge { .. })));
    assert_eq!(all(blobs, hello.sha256, Some(GetRange::Bounded(6..11))).await, b"world");
    let empty = Content::of(b"");
    intake.put(MINE, empty, pieces(b"", 3)).await.expect("an empty blob is a blob");
    assert_eq!(blobs.size(empty.sha256).await.expect("works"), Some(0));
    blobs.remove(hello.sha256).await.expect("works");
    blobs.remove(hello.sha256).await.expect("a second time");
    assert!(blobs.get(hello.sha256, None).await.expect("works").is_none());
    assert_eq!(intake.size(MINE, hello.sha256).await.expect("works"), None, "a record alone is nothing");
    intake.put(MINE, hello, pieces(b"hello world", 3)).await.expect("may be put again");
    assert!(blobs.has(hello).await.expect("works"));
}

async fn a_digest_leads_to_the_manifest_that_it_is_bound_to_or_is_its_name(stored: &Stored) {
    let manifest = Sha256::of(b"a manifest");
    let digest = ResultDigest::bound(manifest.0.into(), b"42");
    assert_eq!(stored.blobs.manifest_of(digest).await.expect("works"), Sha256(digest.get().0));
    stored.blobs.bind(digest, manifest).await.expect("works");
    stored.blobs.bind(digest, manifest).await.expect("a second time");
    assert_eq!(stored.blobs.manifest_of(digest).await.expect("works"), manifest);
}

async fn an_upload_goes_on_where_it_stopped(stored: &Stored) {
    let Stored { intake, blobs, .. } = stored;
    // More than two parts of an S3 upload, and no round number.
    let bytes = many(17 * SMALL_BYTES + 12_345);
    let content = Content::of(&bytes);
    let (name, at) = (content.sha256, 5_000_000);
    let stopped = intake.append(MINE, content, 0, torn(&bytes[..at])).await;
    assert!(matches!(stopped, Err(IntakeError::Blob(BlobError::Broken(_)))), "{stopped:?}");
    assert_eq!(intake.offset(MINE, name).expect("works"), at as u64);
    assert_eq!(intake.offset(OTHERS, name).expect("works"), 0, "what others send is theirs");
    assert_eq!(intake.size(MINE, name).await.expect("works"), None);
    let wrong = intake.append(MINE, content, 1, pieces(&bytes[1..], 100_000)).await;
    assert!(matches!(wrong, Err(IntakeError::Offset { at: 5_000_000 })), "{wrong:?}");
    // Whoever stops in order is told how far it is.
    let next = at + 3 * 1_048_576;
    let less = intake.append(MINE, content, at as u64, pieces(&bytes[at..next], 70_000)).await;
    assert_eq!(less.expect("a part"), next as u64);
    assert_eq!(intake.offset(MINE, name).expect("works"), next as u64);
    // Another process, after kill -9.
    let again = Intake::new(stored.db.clone(), blobs.clone(), UNUSED);
    again.append(MINE, content, next as u64, pieces(&bytes[next..], 70_000)).await.expect("whole");
    assert_eq!(again.size(MINE, name).await.expect("works"), Some(content.size));
    assert_eq!(again.size(OTHERS, name).await.expect("works"), None);
    assert_eq!((stored.staged(), again.offset(MINE, name).expect("works")), (0, 0));
    assert!(all(blobs, name, None).await == bytes);
    let (from, to) = (9_000_000, 9_000_100);
    assert_eq!(all(blobs, name, Some(GetRange::Bounded(from..to))).await, bytes[9_000_000..9_000_100]);
    // Who sends them, too, all of them, has them, too; a half proves nothing.
    let half = again.append(OTHERS, content, 0, torn(&bytes[..at])).await;
    assert!(half.is_err() && again.size(OTHERS, name).await.expect("works").is_none());
    again.put(OTHERS, content, pieces(&bytes, 1 << 20)).await.expect("whole, from the start");
    assert_eq!(again.size(OTHERS, name).await.expect("works"), Some(content.size));
    assert_eq!(stored.staged(), 0);
}

async fn bytes_that_are_others_than_their_name_are_forgotten(stored: &Stored) {
    let Stored { intake, .. } = stored;
    let bytes = many(2 * SMALL_BYTES);
    let content = Content { sha256: Sha256::of(b"others"), size: bytes.len() as u64 };
    for _ in 0..2 {
        let wrong = intake.append(MINE, content, 0, pieces(&bytes, 100_000)).await;
        assert!(matches!(wrong, Err(IntakeError::Blob(BlobError::Hash { .. }))), "{wrong:?}");
        assert_eq!((stored.staged(), intake.offset(MINE, content.sha256).expect("works")), (0, 0));
    }
    let longer = Content { size: content.size - 1, ..content };
    let wrong = intake.append(MINE, longer, 0, pieces(&bytes, 100_000)).await;
    assert!(matches!(wrong, Err(IntakeError::Length { .. })), "{wrong:?}");
    assert_eq!((stored.staged(), intake.offset(MINE, content.sha256).expect("works")), (0, 0));
    let mut tx = stored.db.read().await.expect("reads");
    assert_eq!(upload::bytes(&mut tx, MINE, Sha256::of(b"")).await.expect("reads"), 0);
}

async fn suite(stored: Stored) {
    small_bytes_are_there_whole_or_not_at_all(&stored).await;
    a_digest_leads_to_the_manifest_that_it_is_bound_to_or_is_its_name(&stored).await;
    an_upload_goes_on_where_it_stopped(&stored).await;
    bytes_that_are_others_than_their_name_are_forgotten(&stored).await;
}

#[tokio::test]
async fn a_folder_keeps_blobs() {
    suite(Stored::in_a_folder().await).await;
}

#[tokio::test]
async fn an_s3_server_keeps_blobs_and_is_told_apart_from_one_that_does_not() {
    let mut server = Seaweed::start().await.expect("starts");
    let results = server.results();
    suite(Stored::with_s3(&results, "one").await).await;
    let other = Stored::with_s3(&results, "two").await;
    assert_eq!(other.blobs.size(Sha256::of(b"hello world")).await.expect("works"), None, "pools are apart");

    let folder = other.folder.path();
    let check = async |change: &dyn Fn(&mut crate::config::S3)| {
        let mut s3 = results.s3().expect("a server").clone();
        change(&mut s3);
        Backend::s3(folder, &s3, "one").expect("opens").check().await.expect_err("not let in")
    };
    let refused = check(&|s3| s3.key = Some(crate::config::S3Key::new("berth".to_owned(), "wrong".to_owned()))).await;
    assert!(matches!(refused, ResultsError::Refused { .. }), "{refused:?}");
    assert!(refused.hint().contains("credentials"));
    let told = format!("{refused:?} {}", crate::observe::chain(&refused));
    assert!(!told.contains(seaweed::SECRET) && !told.contains("wrong"), "{told}");
    let stranger = check(&|s3| s3.key = Some(crate::config::S3Key::new("who".to_owned(), "hush".to_owned()))).await;
    assert!(matches!(stranger, ResultsError::Refused { .. }), "{stranger:?}");
    let nowhere = check(&|s3| s3.bucket = "nowhere".to_owned()).await;
    assert!(matches!(nowhere, ResultsError::NoBucket { .. }), "{nowhere:?}");

    // It dies in the middle of what it is given, and comes back.
    let bytes = many(12 * SMALL_BYTES);
    let content = Content::of(&bytes);
    server.kill().expect("killed");
    let away = other.intake.append(MINE, content, 0, pieces(&bytes, 1 << 20)).await;
    assert!(matches!(away, Err(IntakeError::Blob(BlobError::Store(_)))), "{away:?}");
    assert_eq!(other.intake.offset(MINE, content.sha256).expect("works"), content.size, "all of it is kept here");
    let away = other.blobs.backend().reach().await.expect_err("it is away");
    assert!(away.is_transient() && away.hint().contains("start the S3 server"), "{away:?}");
    server.again().await.expect("starts");
    other.blobs.backend().check().await.expect("it is back");
    other.intake.append(MINE, content, content.size, pieces(b"", 1)).await.expect("nothing is sent again");
    assert!(all(&other.blobs, content.sha256, None).await == bytes);
}

#[tokio::test]
async fn what_nobody_names_has_a_bound_and_an_end() {
    let tight = Unused { max_bytes: 3 * SMALL_BYTES, ..UNUSED };
    let stored = Stored::with(async |folder| Backend::folder(folder).expect("opens"), tight).await;
    let Stored { intake, blobs, db, .. } = &stored;
    let (first, second) = (many(2 * SMALL_BYTES), many(2 * SMALL_BYTES - 1));
    let (one, two) = (Content::of(&first), Content::of(&second));
    intake.put(MINE, one, pieces(&first, 1 << 20)).await.expect("there is room");
    intake.put(MINE, one, pieces(&first, 1 << 20)).await.expect("the same takes no more");
    for content in [two, Content::of(&first[..1_048_577])] {
        let refused = intake.append(MINE, content, 0, pieces(&second, 1 << 20)).await;
        assert!(matches!(refused, Err(IntakeError::Quota { max, .. }) if max == tight.max_bytes), "{refused:?}");
    }
    intake.put(OTHERS, two, pieces(&second, 1 << 20)).await.expect("others have room of their own");
    // An upload takes the room of all that it says it will have.
    drop(intake.append(OTHERS, Content { size: SMALL_BYTES, ..one }, 0, torn(&first[..100])).await);
    let refused = intake.put(OTHERS, Content::of(b"one more byte."), pieces(b"one more byte.", 3)).await;
    assert!(matches!(refused, Err(IntakeError::Quota { .. })), "{refused:?}");

    let now = crate::clock::now_ms();
    intake.sweep(now).await.expect("works");
    assert!(blobs.has(one).await.expect("works") && stored.staged() == 1, "not old enough");
    intake.sweep(now + 61_000).await.expect("works");
    assert!(!blobs.has(one).await.expect("works") && !blobs.has(two).await.expect("works"));
    assert_eq!(stored.staged(), 0);
    intake.sweep(now + 61_000).await.expect("a second time");
    assert_eq!(
        crate::store::holding::unused_bytes(&mut db.read().await.expect("reads"), MINE).await.expect("reads"),
        0
    );
    intake.put(MINE, two, pieces(&second, 1 << 20)).await.expect("there is room again");
}

#[tokio::test]
async fn an_apps_disk_stays_while_a_deal_under_the_app_has_not_ended() {
    let stored = Stored::in_a_folder().await;
    let Stored { intake, blobs, db, .. } = &stored;
    let disk = Content::of(b"a disk that boots");
    let mut app = samples::app();
    if let Descriptor::App { disk: own, .. } = &mut app {
        let (name, format) = ("small.raw".to_owned(), DiskFormat::Raw);
        *own = Some(Box::new(Disk { name, format, size: disk.size, sha256: disk.sha256, url: None }));
    }
    let deal = samples::deal(samples::terms(1));
    let descriptor = String::from_utf8(app.to_bytes()).expect("JSON is text");
    let mut tx = db.write().await.expect("writes");
    let id = AssetId::new(deal.app).expect("an app's id");
    crate::store::app::insert(&mut tx, id, &descriptor, deal.block).await.expect("works");
    let odd = AssetId::derive(AssetKind::App, MINE, b"odd");
    crate::store::app::insert(&mut tx, odd, "no JSON", deal.block).await.expect("works");
    crate::store::deal::insert(&mut tx, &deal).await.expect("works");
    let other = crate::store::deal::Deal { app: odd.get(), ..samples::deal(samples::terms(2)) };
    crate::store::deal::insert(&mut tx, &other).await.expect("works");
    tx.commit().await.expect("commits");
    let owner = deal.terms.appOwner;
    for account in [owner, OTHERS] {
        intake.put(account, disk, pieces(b"a disk that boots", 5)).await.expect("right");
    }
    let later = crate::clock::now_ms() + 61_000;
    intake.sweep(later).await.expect("works");
    assert_eq!(intake.size(owner, disk.sha256).await.expect("works"), Some(disk.size));
    assert_eq!(intake.size(OTHERS, disk.sha256).await.expect("works"), None, "it is not theirs to offer");
    let mut tx = db.write().await.expect("writes");
    sqlx::query("UPDATE deal SET ended = 1").execute(&mut *tx).await.expect("works");
    tx.commit().await.expect("commits");
    intake.sweep(later).await.expect("works");
    assert!(!blobs.has(disk).await.expect("works"));
}

/// Bytes that somebody kept and died, and nothing else, are found among all that is there.
async fn strays_go_and_all_else_stays(stored: &Stored) {
    let Stored { intake, blobs, .. } = stored;
    let (stray, own) = (Content::of(b"nobody's"), Content::of(b"somebody's"));
    let many: Vec<Vec<u8>> = (0..300_u32).map(|i| i.to_le_bytes().to_vec()).collect();
    for bytes in &many {
        blobs.keep(Sha256::of(bytes), bytes.clone().into()).await.expect("works");
    }
    blobs.keep(stray.sha256, Bytes::from_static(b"nobody's")).await.expect("works");
    intake.put(MINE, own, pieces(b"somebody's", 4)).await.expect("right");
    let bytes = self::many(2 * SMALL_BYTES);
    let half = Content::of(&bytes);
    drop(intake.append(MINE, half, 0, torn(&bytes[..300_000])).await);
    let digest = ResultDigest::new(alloy::primitives::B256::repeat_byte(9)).expect("not zero");
    blobs.bind(digest, own.sha256).await.expect("works");

    let intake = Arc::new(Intake::new(stored.db.clone(), blobs.clone(), UNUSED));
    let strays = Strays { intake: intake.clone(), blobs: blobs.clone() };
    strays.clear().await.expect("works");
    assert!(!blobs.has(stray).await.expect("works") && blobs.has(own).await.expect("works"));
    for bytes in &many {
        assert_eq!(blobs.size(Sha256::of(bytes)).await.expect("works"), None);
    }
    assert_eq!(blobs.manifest_of(digest).await.expect("works"), own.sha256, "names that digests are bound to stay");
    assert_eq!(intake.offset(MINE, half.sha256).expect("works"), 300_000, "uploads under way go on");
    strays.clear().await.expect("a second time");
    blobs.backend().check().await.expect("the store's own files stay");
}

#[tokio::test]
async fn bytes_that_no_table_knows_are_found_in_a_folder() {
    strays_go_and_all_else_stays(&Stored::in_a_folder().await).await;
}

#[tokio::test]
async fn bytes_that_no_table_knows_are_found_on_an_s3_server() {
    let server = Seaweed::start().await.expect("starts");
    let results = server.results();
    let (stored, other) = (Stored::with_s3(&results, "one").await, Stored::with_s3(&results, "other").await);
    let theirs = Content::of(b"another pool's");
    other.intake.put(MINE, theirs, pieces(b"another pool's", 4)).await.expect("right");
    strays_go_and_all_else_stays(&stored).await;
    assert!(other.blobs.has(theirs).await.expect("works"), "it is another pool's");
}

#[tokio::test]
async fn one_connection_sends_an_upload_and_one_that_brings_nothing_gives_way() {
    let stored = Stored::in_a_folder().await;
    let bytes = many(3 * SMALL_BYTES);
    let content = Content::of(&bytes);
    // A connection that died without a word: it has brought something, and is silent.
    let first = pieces(&bytes[..1_500_000], 100_000).chain(stream::pending());
    let silent = stored.intake.append(MINE, content, 0, first);
    let other = async {
        // Until the first is at work, the second would be it.
        while stored.intake.offset(MINE, content.sha256).expect("works") == 0 {
            tokio::task::yield_now().await;
        }
        let busy = stored.intake.append(MINE, content, 0, pieces(&bytes, 100_000)).await;
        assert!(matches!(busy, Err(IntakeError::Busy)), "{busy:?}");
        let stalled = tokio::time::Instant::now();
        loop {
            let offset = stored.intake.offset(MINE, content.sha256).expect("works");
            let rest = &bytes[usize::try_from(offset).expect("small")..];
            match stored.intake.append(MINE, content, offset, pieces(rest, 100_000)).await {
                Ok(_) => return,
                Err(IntakeError::Busy) if stalled.elapsed() < Duration::from_secs(30) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(IntakeError::Offset { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let (silent, ()) = tokio::join!(silent, other);
    assert!(matches!(silent, Err(IntakeError::Busy)), "{silent:?}");
    assert_eq!(stored.intake.size(MINE, content.sha256).await.expect("works"), Some(content.size));
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_cleared_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(Backend::folder(folder.path()).expect("opens"));
    let staged = folder.path().join("ab");
    std::fs::create_dir_all(&staged).expect("a folder");
    std::fs::write(staged.join("abcd#1"), b"ha").expect("writable");
    let upload = folder.path().join(backend::STAGING).join("kept");
    std::fs::write(&upload, b"half").expect("writable");
    drop(Backend::folder(folder.path()).expect("opens again"));
    assert!(!staged.join("abcd#1").exists() && upload.exists(), "uploads go on");
}
