//! The statements about rounds, their pairs and what opens them, on a real SQLite.

use super::{
    Database, deal,
    pair::{self, Pair},
    reveal::{self, Reveal},
    round, task,
};
use crate::{act::published, samples};
use alloy::primitives::{B256, keccak256};
use berth_chain::BlockNumber;
use berth_protocol::{
    DealTerms, TaskId, WorkerAddr,
    round::{ClosedRound, ClosedWord, commitment, salt, tag},
};
use sqlx::{Sqlite, Transaction};

const ROOT: B256 = B256::repeat_byte(0x77);
const TX: B256 = B256::repeat_byte(0xcc);

fn seed(worker: WorkerAddr) -> B256 {
    keccak256(worker.get())
}

/// A worker's pair of a task, hiding a digest; in the leaf, or of the append with that key.
fn hidden(task: TaskId, nth: u32, n: u8, value: u8, append: Option<&str>) -> Pair {
    let (worker, digest) = (samples::worker(n), samples::digest(value));
    Pair {
        task,
        nth,
        worker,
        commitment: commitment(task, worker, digest, salt(seed(worker), task)),
        tag: tag(task, digest),
        seed_hash: keccak256(seed(worker)),
        signature: vec![n; 65],
        chain: B256::repeat_byte(0x40 + n),
        append: append.map(str::to_owned),
        appended: None,
        shown_ms: None,
        digest: None,
    }
}

/// A deal of three replicated tasks, of which a round closes the first two with the pairs of workers 1 and 2.
async fn with_round() -> (tempfile::TempDir, Transaction<'static, Sqlite>, deal::Deal) {
    let (folder, db): (_, Database) = samples::database().await;
    let mut tx = db.write().await.expect("writes");
    let deal = samples::deal(DealTerms { trust: 5, ..samples::terms(3) });
    deal::insert(&mut tx, &deal).await.expect("inserts");
    task::create(&mut tx, deal.id, &deal.terms, samples::stamp(7)).await.expect("creates");
    let closed = ClosedRound { root: ROOT, closed: vec![ClosedWord { deal: deal.id, word: 0, bits: 0b11 }] };
    let tasks = [deal.id.task(0), deal.id.task(1)];
    round::insert(&mut tx, "close", &closed, &tasks).await.expect("inserts");
    for task in tasks {
        for n in [1, 2] {
            pair::insert(&mut tx, &hidden(task, u32::from(n), n, 5, None)).await.expect("inserts");
        }
    }
    (folder, tx, deal)
}

#[tokio::test]
async fn a_round_is_found_by_key_root_and_task_and_forgets_its_block_when_that_goes() {
    let (_folder, mut tx, deal) = with_round().await;
    let first = round::get(&mut tx, "close").await.expect("reads").expect("is there");
    assert_eq!((first.round.root, first.closed, first.shown_ms), (ROOT, None, None));
    assert_eq!(round::of_task(&mut tx, deal.id.task(1)).await.expect("reads").map(|of| of.key), Some("close".into()));
    assert!(round::of_task(&mut tx, deal.id.task(2)).await.expect("reads").is_none());
    assert_eq!(round::leaves(&mut tx, "close").await.expect("reads"), [(0, deal.id.task(0)), (1, deal.id.task(1))]);
    assert_eq!(round::members(&mut tx).await.expect("reads").len(), 2);
    assert_eq!(round::going(&mut tx).await.expect("reads").len(), 1);

    assert!(!round::show(&mut tx, "close", 5).await.expect("writes"), "nobody is shown what is not on chain");
    round::close(&mut tx, "close", (TX, BlockNumber::new(20))).await.expect("writes");
    assert!(round::show(&mut tx, "close", 5).await.expect("writes"));
    assert!(!round::show(&mut tx, "close", 6).await.expect("writes"), "once");
    let closed = round::with_root(&mut tx, ROOT).await.expect("reads").remove(0);
    assert_eq!((closed.closed, closed.shown_ms), (Some((TX, BlockNumber::new(20))), Some(5)));
    assert_eq!(round::unwind(&mut tx, BlockNumber::new(20)).await.expect("writes"), Vec::<String>::new());
    assert_eq!(round::unwind(&mut tx, BlockNumber::new(19)).await.expect("writes"), ["close"]);
    assert_eq!(round::get(&mut tx, "close").await.expect("reads"), Some(first));
}

#[tokio::test]
async fn pairs_stand_in_their_order_and_those_appended_come_and_go_with_their_block() {
    let (_folder, mut tx, deal) = with_round().await;
    let task = deal.id.task(0);
    for (nth, n, key) in [(3, 3, "one"), (4, 4, "two")] {
        pair::insert(&mut tx, &hidden(task, nth, n, 5, Some(key))).await.expect("inserts");
    }
    let workers = |pairs: Vec<Pair>| pairs.into_iter().map(|pair| pair.worker).collect::<Vec<_>>();
    let of = pair::of_task(&mut tx, task).await.expect("reads");
    assert_eq!(workers(of), [1, 2, 3, 4].map(samples::worker));
    let in_round = pair::in_round(&mut tx, "close", samples::worker(2)).await.expect("reads");
    assert_eq!(in_round.iter().map(|pair| pair.task).collect::<Vec<_>>(), [task, deal.id.task(1)]);
    let two = [1, 2].map(samples::worker);
    assert_eq!(pair::workers_of_round(&mut tx, "close").await.expect("reads"), two, "appended ones are of no leaf");

    let (third, fourth) = (B256::repeat_byte(0x43), B256::repeat_byte(0x44));
    assert!(pair::ending(&mut tx, third, samples::worker(3)).await.expect("reads").is_none(), "not on chain");
    assert!(pair::appended(&mut tx, task, fourth, (TX, BlockNumber::new(21))).await.expect("writes"));
    assert!(!pair::appended(&mut tx, task, third, (TX, BlockNumber::new(21))).await.expect("writes"), "it was before");
    assert!(pair::ending(&mut tx, third, samples::worker(3)).await.expect("reads").is_some());
    assert!(pair::show(&mut tx, task, samples::worker(4), 9).await.expect("writes"));
    pair::unwind(&mut tx, BlockNumber::new(20)).await.expect("writes");
    let back = pair::of_task(&mut tx, task).await.expect("reads");
    assert!(back.iter().all(|pair| pair.appended.is_none() && pair.shown_ms.is_none()), "{back:?}");
    pair::drop_append(&mut tx, "two").await.expect("writes");
    pair::drop_round(&mut tx, "close").await.expect("writes");
    assert_eq!(workers(pair::of_deal(&mut tx, deal.id).await.expect("reads")), [samples::worker(3)]);
}

#[tokio::test]
async fn a_reveal_is_kept_once_and_known_by_the_hash_of_its_seed() {
    let (_folder, mut tx, _) = with_round().await;
    let worker = samples::worker(1);
    let new = Reveal { root: ROOT, worker, seed: seed(worker), signature: vec![1; 65] };
    assert!(!reveal::is_known(&mut tx, worker, keccak256(new.seed)).await.expect("reads"));
    reveal::put(&mut tx, &new).await.expect("writes");
    reveal::put(&mut tx, &Reveal { signature: vec![2; 65], ..new.clone() }).await.expect("writes");
    assert_eq!(reveal::of(&mut tx, ROOT).await.expect("reads"), std::slice::from_ref(&new));
    assert!(reveal::is_known(&mut tx, worker, keccak256(new.seed)).await.expect("reads"));
    assert!(!reveal::is_known(&mut tx, samples::worker(2), keccak256(new.seed)).await.expect("reads"));
}

/// What a worker published on chain says no results: they are those of another pair with the same tag.
#[tokio::test]
async fn a_published_seed_opens_what_answers_as_an_open_pair_does_and_nothing_else() {
    let (_folder, mut tx, deal) = with_round().await;
    let task = deal.id.task(0);
    pair::insert(&mut tx, &hidden(task, 3, 3, 6, Some("other answer"))).await.expect("inserts");
    pair::appended(&mut tx, task, B256::repeat_byte(0x43), (TX, BlockNumber::new(21))).await.expect("writes");
    let [one, two, three] = [1, 2, 3].map(samples::worker);
    assert!(published::closed_pairs(&mut tx, ROOT, one).await.expect("reads").is_empty(), "not closed yet");
    round::close(&mut tx, "close", (TX, BlockNumber::new(20))).await.expect("writes");
    assert_eq!(published::closed_pairs(&mut tx, ROOT, one).await.expect("reads").len(), 2);
    for (root, worker) in [(ROOT, two), (B256::repeat_byte(0x43), three)] {
        let new = Reveal { root, worker, seed: seed(worker), signature: vec![1; 65] };
        reveal::put(&mut tx, &new).await.expect("writes");
    }
    assert!(!published::open_alike(&mut tx, task).await.expect("works"), "nobody has said the answer");
    assert!(pair::open(&mut tx, task, one, samples::digest(5)).await.expect("writes"));
    assert!(published::open_alike(&mut tx, task).await.expect("works"));
    assert!(!published::open_alike(&mut tx, task).await.expect("works"), "once");
    let open: Vec<_> = pair::of_task(&mut tx, task).await.expect("reads").into_iter().map(|pair| pair.digest).collect();
    let answer = Some(samples::digest(5));
    assert_eq!(open, [answer, answer, None]);
}
