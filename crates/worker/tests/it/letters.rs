//! Assignments as a scheduler writes them.

use alloy::{
    primitives::{Address, B256},
    signers::{SignerSync as _, local::PrivateKeySigner},
};
use berth_protocol::{AssetId, AssetKind, WorkerAddr, domain::Assignment, domain::Domain};
use berth_wire::{
    deal::DealTerms,
    descriptor::{Descriptor, Minimum, Runtime, Sharing},
    job::{Image, Job},
    units::{Decimal, OciDigest, Sha256},
    worker::{Assign, Mail},
};
use std::collections::BTreeMap;

pub(crate) const DOMAIN: Domain = Domain { chain_id: 31_337, berth: Address::repeat_byte(0xbe) };

pub(crate) fn operator() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).expect("a key")
}

pub(crate) fn worker() -> WorkerAddr {
    WorkerAddr::new(Address::repeat_byte(0x33))
}

pub(crate) fn pool() -> AssetId {
    AssetId::derive(AssetKind::Pool, Address::repeat_byte(1), b"pool")
}

pub(crate) fn image() -> Image {
    Image { reference: "x:1".into(), config: Some(OciDigest(Sha256([5; 32]))), manifest: None }
}

pub(crate) fn job() -> Job {
    Job {
        image: Some(image()),
        args: vec!["{}".into()],
        each: (0..300).map(|i| format!("e{i}")).collect(),
        ..Job::default()
    }
}

pub(crate) fn terms() -> DealTerms {
    let who = Address::repeat_byte;
    DealTerms {
        request: B256::repeat_byte(9),
        pool: pool().get(),
        app_owner: who(2),
        dataset_owner: Address::ZERO,
        pool_owner: who(3),
        operator: operator().address(),
        payer: who(4),
        callback: Address::ZERO,
        app_price: Decimal(0),
        dataset_price: Decimal(0),
        pool_price: Decimal(1_000),
        pool_stake: Decimal(0),
        worker_stake: Decimal(10),
        operator_share_bps: 500,
        parallel: 2,
        duration: 60,
        trust: 1,
        first: 0,
        size: 300,
        start: 1_000,
    }
}

pub(crate) fn descriptor() -> Descriptor {
    Descriptor::App {
        version: 1,
        name: "docker".into(),
        runtime: Runtime::Docker,
        sharing: Sharing::Shared,
        image: None,
        disk: None,
        env: BTreeMap::from([("APP".into(), "yes".into())]),
        minimum: Minimum::default(),
    }
}

/// A sound letter for `index`, after `change` to what it says but before it is hashed and signed.
pub(crate) fn letter(index: u32, change: impl FnOnce(&mut DealTerms, &mut Job, &mut Descriptor)) -> Assign {
    let (mut terms, mut job, mut app) = (terms(), job(), descriptor());
    change(&mut terms, &mut job, &mut app);
    let deal = berth_protocol::DealTerms::from(terms.clone()).id();
    let signed = Assignment { task: deal.task(index).get(), worker: worker().get() };
    let signature = operator().sign_hash_sync(&DOMAIN.digest(&signed)).expect("a key in memory signs");
    let descriptor = String::from_utf8(app.to_bytes()).expect("text");
    Assign {
        deal: deal.get(),
        terms,
        index,
        job: String::from_utf8(job.to_bytes()).expect("text"),
        job_hash: job.hash().get(),
        app: AssetId::derive(AssetKind::App, Address::repeat_byte(2), descriptor.as_bytes()).get(),
        descriptor,
        block: 7,
        requester: Address::repeat_byte(4),
        dataset: None,
        beneficiary: Address::repeat_byte(4),
        signature: signature.as_bytes().into(),
        report_by: 9_999,
    }
}

/// The same as mail.
pub(crate) fn mail(index: u32) -> Mail {
    Mail::Assign(Box::new(letter(index, |_, _, _| {})))
}
