//! Deals, workers and databases for tests.

use crate::{
    plan::Policy,
    store::{Database, Stamp, deal::Deal},
};
use alloy::primitives::{Address, B256, Bytes};
use berth_chain::{BlockNumber, BlockRef};
use berth_protocol::{DealTerms, JobHash, ResultDigest, Timestamp, WorkerAddr};
use berth_wire::{
    descriptor::{Descriptor, Minimum, Runtime, Sharing},
    job::{Image, Job},
    units::{OciDigest, Sha256},
    worker::{Announced, Announcement, Capacity, Shares, Terms},
};
use std::{collections::BTreeMap, time::Duration};
use tempfile::TempDir;

pub(crate) const START: u64 = 1_000;
pub(crate) const DURATION: u32 = 100;

pub(crate) const POLICY: Policy = Policy {
    settle_batch: 3,
    settle_wait: Duration::from_secs(30),
    reconnect_grace: Duration::from_secs(3),
    silence: Duration::from_secs(6),
    job_wait_s: 60,
    unable_wait_s: 20,
    round_size: 3,
    round_wait: Duration::from_secs(5),
    confirmations: 1,
    reveal_wait: Duration::from_secs(10),
};

pub(crate) fn terms(size: u32) -> DealTerms {
    DealTerms {
        request: B256::repeat_byte(1),
        pool: B256::with_last_byte(3),
        appOwner: Address::repeat_byte(0xa1),
        datasetOwner: Address::ZERO,
        poolOwner: Address::repeat_byte(0xa3),
        operator: Address::repeat_byte(0xa4),
        payer: Address::repeat_byte(0xa5),
        callback: Address::ZERO,
        appPrice: 10,
        datasetPrice: 0,
        poolPrice: 1_000,
        poolStake: 50,
        workerStake: 100,
        operatorShareBps: 1_000,
        parallel: 4,
        duration: DURATION,
        trust: 1,
        first: 0,
        size,
        start: START,
    }
}

pub(crate) fn deal(terms: DealTerms) -> Deal {
    Deal {
        id: terms.id(),
        terms,
        app: B256::with_last_byte(1),
        dataset: B256::ZERO,
        requester: Address::repeat_byte(0xa6),
        beneficiary: Address::repeat_byte(0xa7),
        job_hash: job().hash(),
        block: BlockNumber::new(10),
        log_index: 2,
        seq: 1,
        opened: false,
        ended: false,
        given_up: None,
    }
}

pub(crate) fn image() -> Image {
    Image { reference: "render:latest".into(), config: Some(OciDigest(Sha256([7; 32]))), manifest: None }
}

pub(crate) fn job() -> Job {
    Job { image: Some(image()), args: vec!["--size".into(), "8".into()], ..Job::default() }
}

pub(crate) fn app() -> Descriptor {
    Descriptor::App {
        version: 1,
        name: "docker".into(),
        runtime: Runtime::Docker,
        sharing: Sharing::Shared,
        image: None,
        disk: None,
        env: BTreeMap::new(),
        minimum: Minimum::default(),
    }
}

pub(crate) fn capacity(slots: u32) -> Capacity {
    Capacity {
        slots,
        cpu_millis: 64_000,
        memory_bytes: 64 << 30,
        disk_bytes: 64 << 30,
        network: false,
        fetches_images: false,
    }
}

pub(crate) fn shares() -> Shares {
    Shares { engines: vec![Runtime::Docker], images: vec![image()], ..Shares::default() }
}

pub(crate) fn announced(capacity: Capacity, shares: Shares, terms: Terms) -> Announced {
    Announced { said: Announcement { capacity, shares, terms }, at_ms: 1, signature: Bytes::new() }
}

pub(crate) const fn worker(n: u8) -> WorkerAddr {
    WorkerAddr::new(Address::repeat_byte(n))
}

pub(crate) fn digest(n: u8) -> ResultDigest {
    ResultDigest::new(B256::repeat_byte(n)).expect("not zero")
}

pub(crate) const fn stamp(at: u64) -> Stamp {
    Stamp { at: Timestamp::new(at), at_ms: at * 1_000 }
}

pub(crate) const fn tip(at: u64) -> BlockRef {
    BlockRef { number: BlockNumber::new(100), hash: B256::ZERO, timestamp: Timestamp::new(at) }
}

pub(crate) const fn no_job() -> JobHash {
    JobHash::new(B256::repeat_byte(0xee))
}

/// An empty database, and the folder that it lives in.
pub(crate) async fn database() -> (TempDir, Database) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open(&folder.path().join("scheduler.db")).await.expect("opens");
    (folder, db)
}

/// All that a database holds, row by row.
pub(crate) async fn dump(db: &Database) -> Vec<String> {
    let mut tx = db.read().await.expect("reads");
    let tables: Vec<(String,)> = sqlx::query_as("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .fetch_all(&mut *tx)
        .await
        .expect("reads");
    let mut rows = Vec::new();
    for (table,) in tables.iter().filter(|(table,)| !table.contains("sqlite") && !table.contains("migrations")) {
        let columns: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info($1) ORDER BY cid")
            .bind(table)
            .fetch_all(&mut *tx)
            .await
            .expect("reads");
        let values: Vec<_> = columns.iter().map(|(column,)| format!("quote({column})")).collect();
        let query = format!("SELECT {} AS row FROM {table} ORDER BY row", values.join(" || ' ' || "));
        let found: Vec<(String,)> =
            sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(&mut *tx).await.expect("reads");
        rows.extend(found.into_iter().map(|(row,)| format!("{table}: {row}")));
    }
    rows
}
