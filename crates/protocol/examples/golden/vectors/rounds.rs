//! Hidden answers, chains, leaves and roots.

use super::{deals, who, word};
use alloy::{
    hex,
    primitives::{Address, B256, keccak256},
};
use berth_protocol::{
    Amount, DealId, OperatorAddr, ResultDigest, WorkerAddr,
    round::{
        self, BatchPair, BatchTask, ClosedRound, ClosedWord, EndedPair, EndedTask, LeftOut, Payee, packed::record_id,
    },
};
use serde_json::{Value, json};

pub(super) fn parts() -> Vec<(&'static str, Value)> {
    vec![
        ("hidden", hidden()),
        ("leaves", leaves()),
        ("roots", roots()),
        ("rounds", rounds()),
        ("proofs", proofs()),
        ("batches", batches()),
        ("settlements", settlements()),
    ]
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

fn bytes(packed: &[u8]) -> String {
    format!("0x{}", hex::encode(packed))
}

fn digest(name: &str) -> ResultDigest {
    ResultDigest::new(word(name)).expect("not zero")
}

/// Rounds of one, two and many words, with the place of each task's leaf.
fn rounds() -> Value {
    let (one, two) = (deals::plain().id(), DealId::new(word("another deal")));
    let of = |words: Vec<(DealId, u32, u128)>| {
        let closed: Vec<_> = words.into_iter().map(|(deal, word, bits)| ClosedWord { deal, word, bits }).collect();
        let round = ClosedRound { root: word("a root"), closed };
        let (deals, offsets): (Vec<_>, Vec<_>) = round.tasks().map(|(deal, at)| (deal.get(), at.to_string())).unzip();
        json!({
            "operator": who("operator"),
            "root": round.root,
            "deals": round.closed.iter().map(|word| word.deal.get()).collect::<Vec<_>>(),
            "words": round.closed.iter().map(|word| word.word.to_string()).collect::<Vec<_>>(),
            "bits": round.closed.iter().map(|word| word.bits.to_string()).collect::<Vec<_>>(),
            "leaves": round.leaves().to_string(),
            "leafDeals": deals,
            "leafOffsets": offsets,
            "round": round.id(OperatorAddr::new(who("operator"))).get(),
        })
    };
    json!(
        [
            vec![(one, 0, 1)],
            vec![(one, 0, 1 << 103 | 0b1011), (one, 1, 1 << 103 | 1)],
            vec![(two, 0, 0b110), (one, 5, 0b101), (two, 7, 1 << 50)],
        ]
        .map(of)
    )
}

/// Some leaves of a round, with the siblings that show them.
fn proofs() -> Value {
    let of = |(count, places): (u32, Vec<u32>)| {
        let leaves: Vec<_> = (0..count).map(|i| leaf(3 + i, 3)).collect();
        let known: Vec<_> = places.iter().map(|place| (*place, leaves[*place as usize])).collect();
        let proof = round::multiproof(&leaves, &places);
        json!({
            "count": count.to_string(),
            "places": places.iter().map(u32::to_string).collect::<Vec<_>>(),
            "leaves": known.iter().map(|(_, leaf)| leaf).collect::<Vec<_>>(),
            "proof": proof,
            "root": round::proven_root(count, &known, &proof).expect("the proof is good"),
        })
    };
    json!(
        [
            (1, vec![0]),
            (2, vec![1]),
            (5, vec![4]),
            (7, vec![2]),
            (7, vec![0, 3, 6]),
            (8, vec![2, 3]),
            (9, vec![1, 2, 5, 8]),
            (9, (0..9).collect()),
            (13, vec![3, 4, 7, 8, 12]),
        ]
        .map(of)
    )
}

/// Packed tasks, as `settle` takes them.
fn batches() -> Value {
    let opens = |rank| BatchPair { rank, hidden: None };
    let hides = |rank: u8| BatchPair { rank, hidden: Some(word(&format!("hidden {rank}"))) };
    let task = |index, name, pairs| BatchTask { index, digest: digest(name), pairs };
    let of =
        |tasks: Vec<BatchTask>| json!({ "tasks": tasks.len().to_string(), "packed": bytes(&BatchTask::pack(&tasks)) });
    json!(
        [
            vec![task(3, "answer 3", vec![opens(0)])],
            vec![
                task(3, "answer 3", vec![opens(0), opens(1), hides(2)]),
                task(9, "answer 9", vec![hides(0), opens(1), hides(126), opens(127)]),
                task(u32::MAX, "answer last", (0..64).map(opens).collect()),
            ],
        ]
        .map(of)
    )
}

/// What a settlement tells, and the record that it keeps.
fn settlements() -> Value {
    let all = workers(3);
    let deal = deals::plain().id();
    let left = |index: u32, worker: usize, share, total| LeftOut {
        index,
        digest: digest(&format!("answer {index}")),
        worker: all[worker],
        commitment: word(&format!("hidden {index} {worker}")),
        share,
        total,
    };
    let of = |left_out: Vec<LeftOut>| {
        let pair = |rank, paid| EndedPair { rank, paid };
        let tasks = vec![
            EndedTask {
                index: 3,
                digest: digest("answer 3"),
                pairs: vec![pair(0, true), pair(1, true), pair(2, false)],
            },
            EndedTask { index: 9, digest: digest("answer 9"), pairs: vec![pair(1, false)] },
        ];
        let paid = [0, 1, u128::MAX].map(Amount::new);
        let payees = all.iter().zip(paid).map(|(worker, paid)| Payee { worker: *worker, paid, scored: 2 });
        let packed = LeftOut::pack(&left_out);
        json!({
            "deal": deal.get(),
            "tasks": bytes(&EndedTask::pack(&tasks)),
            "workers": bytes(&Payee::pack(&payees.collect::<Vec<_>>())),
            "leftOut": bytes(&packed),
            "record": record_id(deal, &packed).get(),
        })
    };
    json!([vec![left(3, 2, 1, 3)], vec![left(3, 0, 1, 4), left(3, 2, 30, 1920), left(9, 1, 7, 300)]].map(of))
}
