//! Hidden answers, chains, leaves and roots.

use super::{deals, who, word};
use alloy::primitives::{Address, B256, keccak256};
use berth_protocol::{ResultDigest, WorkerAddr, round};
use serde_json::{Value, json};

pub(super) fn parts() -> Vec<(&'static str, Value)> {
    vec![("hidden", hidden()), ("leaves", leaves()), ("roots", roots())]
}

/// `count` workers, ascending.
fn workers(count: usize) -> Vec<WorkerAddr> {
    let mut all: Vec<_> =
        (0..count).map(|i| WorkerAddr::new(Address::from_word(keccak256(format!("worker {i}"))))).collect();
    all.sort();
    all
}

fn hidden() -> Value {
    let deal = deals::plain().id();
    let of = |i: u32| {
        let task = deal.task(i);
        let worker = WorkerAddr::new(who("worker"));
        let digest = ResultDigest::new(word(&format!("answer {i}"))).expect("not zero");
        let seed = word(&format!("seed {i}"));
        let salt = round::salt(seed, task);
        json!({
            "task": task.get(),
            "worker": worker.get(),
            "digest": digest.get(),
            "seed": seed,
            "salt": salt,
            "commitment": round::commitment(task, worker, digest, salt),
            "tag": round::tag(task, digest),
        })
    };
    (3..6).map(of).collect()
}

fn pairs(index: u32, count: usize) -> Vec<round::Pair> {
    workers(count)
        .into_iter()
        .map(|worker| round::Pair { worker, commitment: keccak256(format!("commitment {index} {worker}")) })
        .collect()
}

fn leaf(index: u32, count: usize) -> B256 {
    round::leaf(deals::plain().id(), index, &pairs(index, count)).expect("the pairs are good")
}

fn leaves() -> Value {
    let of = |(index, count): (u32, usize)| {
        let pairs = pairs(index, count);
        json!({
            "deal": deals::plain().id().get(),
            "index": index.to_string(),
            "workers": pairs.iter().map(|pair| pair.worker.get()).collect::<Vec<_>>(),
            "commitments": pairs.iter().map(|pair| pair.commitment).collect::<Vec<_>>(),
            "chain": pairs.iter().copied().fold(B256::ZERO, round::extend),
            "leaf": leaf(index, count),
        })
    };
    json!([(3, 1), (4, 2), (5, 3), (15, round::MAX_PAIRS)].map(of))
}

fn roots() -> Value {
    let of = |count: u32| {
        let leaves: Vec<_> = (0..count).map(|i| leaf(3 + i, 3)).collect();
        let root = round::root(&leaves).expect("there are leaves");
        json!({ "leaves": leaves, "root": root })
    };
    (1..10).map(of).collect()
}
