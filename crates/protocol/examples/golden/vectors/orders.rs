//! Assets, rules, orders, and whatever else is signed field by field.

use super::{signed, who, word};
use alloy::primitives::{Address, B256};
use berth_protocol::{
    AssetId, AssetKind,
    domain::{Assignment, Commitment, Enlistment, Reveal, Session, SingleResults},
    order::{AppOrder, DatasetOrder, PoolOrder, RequestOrder, Sponsorship, TAG_GPU, TAG_TEE, UNLIMITED},
    rule::Rule,
};
use serde_json::{Value, json};

const DESCRIPTORS: [(AssetKind, &str, &str); 4] = [
    (AssetKind::App, "app owner", r#"{"runtime":"docker","version":1}"#),
    (AssetKind::Dataset, "dataset owner", r#"{"name":"a corpus","version":1}"#),
    (AssetKind::Pool, "pool owner", r#"{"name":"a pool","version":1}"#),
    (AssetKind::App, "app owner", ""),
];

pub(super) fn asset(number: usize) -> B256 {
    let (kind, creator, descriptor) = DESCRIPTORS[number];
    AssetId::derive(kind, who(creator), descriptor.as_bytes()).get()
}

pub(super) fn parts() -> Vec<(&'static str, Value)> {
    vec![
        ("assets", assets()),
        ("rules", rules()),
        ("appOrders", app_orders()),
        ("datasetOrders", dataset_orders()),
        ("poolOrders", pool_orders()),
        ("requestOrders", request_orders()),
        ("sponsorships", sponsorships()),
        ("statements", statements()),
    ]
}

fn assets() -> Value {
    let of = |i: usize| {
        let (kind, creator, descriptor) = DESCRIPTORS[i];
        json!({
            "kind": (kind as u8).to_string(),
            "creator": who(creator),
            "descriptor": format!("0x{}", alloy::hex::encode(descriptor)),
            "id": asset(i),
        })
    };
    (0..DESCRIPTORS.len()).map(of).collect()
}

fn rules() -> Value {
    let account = who("requester");
    json!({
        "any": Rule::Any.encode(),
        "account": Rule::Account(account).encode(),
        "contract": Rule::Contract(account).encode(),
        "asset": Rule::Asset(asset(2)).encode(),
        "of": account,
    })
}

fn tag(bits: &[u8]) -> B256 {
    let mut word = B256::ZERO;
    for bit in bits {
        word[31 - usize::from(bit / 8)] |= 1 << (bit % 8);
    }
    word
}

fn app_orders() -> Value {
    let plain = AppOrder {
        app: asset(0),
        price: 1_000,
        volume: UNLIMITED,
        tag: tag(&[TAG_TEE]),
        datasetRule: B256::ZERO,
        poolRule: asset(2),
        requesterRule: who("requester").into_word(),
        expiry: 1_900_000_000,
        epoch: 1,
        salt: word("app salt"),
    };
    let least = AppOrder {
        app: B256::ZERO,
        price: 0,
        volume: 0,
        tag: B256::ZERO,
        poolRule: B256::ZERO,
        requesterRule: B256::ZERO,
        expiry: 0,
        epoch: 0,
        salt: B256::ZERO,
        ..plain.clone()
    };
    let full = B256::repeat_byte(0xff);
    let most = AppOrder {
        app: full,
        price: u128::MAX,
        volume: u32::MAX,
        tag: full,
        datasetRule: full,
        poolRule: full,
        requesterRule: full,
        expiry: u64::MAX,
        epoch: u64::MAX,
        salt: full,
    };
    json!([plain, least, most].map(|order| signed(&order, "app owner")))
}

fn dataset_orders() -> Value {
    let plain = DatasetOrder {
        dataset: asset(1),
        price: 7,
        volume: 16,
        tag: tag(&[]),
        appRule: asset(0),
        poolRule: Rule::Contract(who("operator")).encode(),
        requesterRule: B256::ZERO,
        expiry: 1_900_000_001,
        epoch: 0,
        salt: word("dataset salt"),
    };
    let most = DatasetOrder { price: u128::MAX, volume: u32::MAX, expiry: u64::MAX, epoch: u64::MAX, ..plain.clone() };
    json!([plain, most].map(|order| signed(&order, "dataset owner")))
}

pub(super) fn pool_order() -> PoolOrder {
    PoolOrder {
        pool: asset(2),
        price: 30_000,
        volume: UNLIMITED,
        tag: tag(&[TAG_TEE, TAG_GPU]),
        operator: who("operator"),
        parallel: 4,
        workerStake: 5_000,
        poolStake: 9_000,
        operatorShareBps: 500,
        minDuration: 60,
        maxDuration: 3_600,
        maxTrust: 32,
        appRule: B256::ZERO,
        datasetRule: B256::ZERO,
        requesterRule: B256::ZERO,
        expiry: 1_900_000_002,
        epoch: 2,
        salt: word("pool salt"),
    }
}

fn pool_orders() -> Value {
    let most = PoolOrder {
        price: u128::MAX,
        parallel: u32::MAX,
        workerStake: u128::MAX,
        poolStake: u128::MAX,
        operatorShareBps: u16::MAX,
        minDuration: u32::MAX,
        maxDuration: u32::MAX,
        maxTrust: u32::MAX,
        expiry: u64::MAX,
        epoch: u64::MAX,
        ..pool_order()
    };
    json!([pool_order(), most].map(|order| signed(&order, "pool owner")))
}

pub(super) fn request_order() -> RequestOrder {
    RequestOrder {
        app: asset(0),
        appMaxPrice: 1_000,
        dataset: asset(1),
        datasetMaxPrice: 8,
        poolRule: asset(2),
        poolMaxPrice: 31_000,
        requester: who("requester"),
        payer: who("payer"),
        beneficiary: who("requester"),
        callback: Address::ZERO,
        jobHash: word("job"),
        volume: 16,
        tag: tag(&[TAG_GPU]),
        duration: 600,
        trust: 1,
        expiry: 1_900_000_003,
        epoch: 3,
        salt: word("request salt"),
    }
}

fn request_orders() -> Value {
    let alone = RequestOrder {
        dataset: B256::ZERO,
        datasetMaxPrice: 0,
        payer: who("requester"),
        beneficiary: Address::ZERO,
        volume: 1,
        tag: B256::ZERO,
        trust: 0,
        ..request_order()
    };
    let most = RequestOrder {
        appMaxPrice: u128::MAX,
        datasetMaxPrice: u128::MAX,
        poolMaxPrice: u128::MAX,
        callback: Address::repeat_byte(0xff),
        volume: u32::MAX,
        tag: B256::repeat_byte(0xff),
        duration: u32::MAX,
        trust: u32::MAX,
        expiry: u64::MAX,
        epoch: u64::MAX,
        ..request_order()
    };
    json!([request_order(), alone, most].map(|order| signed(&order, "requester")))
}

fn sponsorships() -> Value {
    let plain = Sponsorship {
        request: super::DOMAIN.digest(&request_order()),
        poolOrder: super::DOMAIN.digest(&pool_order()),
        volume: 16,
        expiry: 1_900_000_004,
    };
    let most = Sponsorship { volume: u32::MAX, expiry: u64::MAX, ..plain.clone() };
    json!([plain, most].map(|sponsorship| signed(&sponsorship, "payer")))
}

/// Sections 4 and 6: one of each, under keys that say which.
fn statements() -> Value {
    let statement = Session { pool: asset(2), operator: who("operator"), nonce: word("nonce"), expiry: 1_900_000_005 };
    json!({
        "enlistment": signed(&Enlistment { pool: asset(2), owner: who("owner") }, "worker"),
        "assignment": signed(&Assignment { task: word("task"), worker: who("worker") }, "operator"),
        "singleResults": signed(&SingleResults { deal: word("deal"), root: word("root") }, "worker"),
        "commitment": signed(&Commitment { task: word("task"), commitment: word("commitment") }, "worker"),
        "reveal": signed(&Reveal { root: word("root"), seed: word("seed") }, "worker"),
        "session": signed(&statement, "worker"),
    })
}
