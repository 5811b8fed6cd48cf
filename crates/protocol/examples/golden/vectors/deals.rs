//! Deals, tasks, deadlines, single lists and payouts.

use super::{DOMAIN, fields, orders, signed, who, word};
use alloy::primitives::{Address, B256};
use alloy::sol_types::SolValue as _;
use berth_protocol::{
    AccountAddr, DealTerms, Failure, ResultDigest, Timestamp,
    payout::{self, Payout},
    single::{MAX_ENTRIES, SingleList},
};
use serde_json::{Value, json};

pub(super) fn parts() -> Vec<(&'static str, Value)> {
    vec![("deals", deals()), ("tasks", tasks()), ("lists", lists()), ("payouts", payouts()), ("callbacks", callbacks())]
}

pub(super) fn plain() -> DealTerms {
    let (request, pool) = (orders::request_order(), orders::pool_order());
    DealTerms {
        request: DOMAIN.digest(&request),
        pool: pool.pool,
        appOwner: who("app owner"),
        datasetOwner: who("dataset owner"),
        poolOwner: who("pool owner"),
        operator: pool.operator,
        payer: request.payer,
        callback: request.callback,
        appPrice: 1_000,
        datasetPrice: 7,
        poolPrice: pool.price,
        poolStake: pool.poolStake,
        workerStake: pool.workerStake,
        operatorShareBps: pool.operatorShareBps,
        parallel: pool.parallel,
        duration: request.duration,
        trust: request.trust,
        first: 3,
        size: 13,
        start: 1_800_000_000,
    }
}

/// The plain one, one without dataset, one that divides nowhere, and the largest that a match could make.
fn all() -> [DealTerms; 4] {
    let alone = DealTerms { datasetOwner: Address::ZERO, datasetPrice: 0, first: 0, size: 1, trust: 0, ..plain() };
    let odd = DealTerms {
        appPrice: 0,
        datasetPrice: 1,
        poolPrice: 99_999,
        poolStake: 1,
        operatorShareBps: 3_333,
        parallel: 5,
        duration: 61,
        trust: 17,
        first: 1,
        size: 6,
        ..plain()
    };
    let most = DealTerms {
        appPrice: 0,
        datasetPrice: 0,
        poolPrice: u128::MAX,
        poolStake: u128::MAX,
        workerStake: u128::MAX,
        operatorShareBps: 1,
        parallel: 1,
        duration: u32::MAX,
        trust: u32::MAX,
        callback: Address::repeat_byte(0xff),
        first: u32::MAX - 1,
        size: 1,
        start: u64::from(u32::MAX),
        ..plain()
    };
    [plain(), alone, odd, most]
}

fn deals() -> Value {
    let of = |terms: DealTerms| {
        let deadlines = terms.deadlines();
        json!({
            "terms": fields(&terms),
            "encoded": format!("0x{}", alloy::hex::encode(terms.abi_encode())),
            "id": terms.id().get(),
            "price": terms.price().to_string(),
            "span": terms.span_s().to_string(),
            "stakeReturnsUntil": terms.stake_returns_until().to_string(),
            "close": deadlines.close.to_string(),
            "append": deadlines.append.to_string(),
            "settle": deadlines.settle.to_string(),
            "open": deadlines.open.to_string(),
            "punish": deadlines.punish.to_string(),
        })
    };
    json!(all().map(of))
}

fn tasks() -> Value {
    let listed: Vec<_> = all()
        .iter()
        .map(DealTerms::id)
        .flat_map(|deal| [0, 1, 3, 255, 256, u32::MAX].map(|index| (deal, index)))
        .collect();
    json!({
        "deal": listed.iter().map(|(deal, _)| deal.get()).collect::<Vec<_>>(),
        "index": listed.iter().map(|(_, index)| index.to_string()).collect::<Vec<_>>(),
        "id": listed.iter().map(|(deal, index)| deal.task(*index).get()).collect::<Vec<_>>(),
    })
}

fn digest(name: &str) -> ResultDigest {
    ResultDigest::new(word(name)).expect("a hash is not zero")
}

fn lists() -> Value {
    let long = DealTerms { first: 0, size: 300, ..plain() };
    let of = |(terms, indexes): (DealTerms, Vec<u32>)| {
        let entries = indexes.iter().map(|index| (*index, digest(&format!("result {index}")))).collect::<Vec<_>>();
        let list = SingleList::new(&terms, entries.clone()).expect("the list is good");
        let statement = list.statement(terms.id());
        json!({
            "terms": fields(&terms),
            "deal": terms.id().get(),
            "indexes": indexes.iter().map(u32::to_string).collect::<Vec<_>>(),
            "digests": entries.iter().map(|(_, digest)| digest.get()).collect::<Vec<_>>(),
            "entries": format!("0x{}", alloy::hex::encode(list.encode())),
            "root": statement.root,
            "statement": signed(&statement, "worker"),
        })
    };
    let most = u32::try_from(MAX_ENTRIES).expect("a small number");
    json!([(plain(), vec![3]), (plain(), vec![3, 4, 9, 15]), (long, (10..10 + most).collect()),].map(of))
}

fn payouts() -> Value {
    let owner = AccountAddr::new(who("owner"));
    let mut listed = Vec::new();
    for terms in all() {
        let until = terms.stake_returns_until();
        let late = until.plus(1);
        let good = digest("a result");
        let failed = Failure::TimedOut.digest();
        let lowest = ResultDigest::new(B256::with_last_byte(255)).expect("not zero");
        let mut add = |way: &str, digest: B256, now: Timestamp, payout: Payout| {
            listed.push(json!({
                "way": way,
                "terms": fields(&terms),
                "deal": terms.id().get(),
                "digest": digest,
                "now": now.to_string(),
                "workerOwner": owner.get(),
                "accounts": payout.credits.iter().map(|(who, _)| who.get()).collect::<Vec<_>>(),
                "amounts": payout.credits.iter().map(|(_, amount)| amount.to_string()).collect::<Vec<_>>(),
                "stakeReturned": payout.stake_returned.to_string(),
                "stakeBurnt": payout.stake_burnt.to_string(),
            }));
        };
        for digest in [good, failed, lowest] {
            let way = if digest.is_failure() { "failed" } else { "settled" };
            add(way, digest.get(), until, payout::single(&terms, digest, owner));
        }
        add("declined", B256::ZERO, until, payout::declined(&terms, until));
        add("declined", B256::ZERO, late, payout::declined(&terms, late));
        let after = terms.deadlines().settle.plus(1);
        add("claimed", B256::ZERO, after, payout::claimed(&terms));
    }
    json!(listed)
}

/// Digests of results for a callback: of no bytes, of few, and of more than a word.
fn callbacks() -> Value {
    let of = |bytes: &[u8]| {
        let manifest = word(&format!("manifest of {} bytes", bytes.len()));
        json!({
            "manifest": manifest,
            "result": format!("0x{}", alloy::hex::encode(bytes)),
            "digest": ResultDigest::bound(manifest, bytes).get(),
        })
    };
    json!([of(b""), of(b"42"), of(&[0xa5; 100])])
}
