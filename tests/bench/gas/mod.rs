//! Gas, as receipts on anvil (prague) say it. `docs/benchmarks.md` describes the fixture.

mod classes;
mod delivery;
mod fixture;
mod late;
mod node;
mod rounds;

use crate::report::Figure;
use alloy::primitives::{Address, U256};
use berth_chain::bindings::{
    assets::Assets,
    berth::IBerth::{self, WorkerResults},
};
use berth_protocol::{AssetKind, DealTerms};
use berth_wire::{
    descriptor::{Descriptor, Minimum, Runtime, Sharing},
    job::Image,
};
pub(crate) use classes::measure as measure_classes;
use eyre::ensure;
use fixture::{Fixture, PARALLEL, Volumes};
use serde_json::Map;
use std::collections::BTreeMap;

/// Tasks of the large deal.
const BAG: u32 = 100;

/// Measures every operation and prints it.
pub(crate) async fn measure() -> eyre::Result<()> {
    let fixture = Fixture::build().await?;
    register(&fixture).await?;
    accounts(&fixture).await?;
    matches(&fixture).await?;
    settlements(&fixture).await?;
    rounds::measure(&fixture).await?;
    delivery::measure(&fixture).await?;
    refunds(&fixture).await?;
    // Figures count only if every operation did all that it was to do.
    let books = fixture.audit((102, 411, 1, 100)).await?;
    ensure!(books.kept == 0, "{} was kept back, though everybody revealed", books.kept);
    late::measure().await
}

fn print(op: &'static str, gas: u64) -> eyre::Result<()> {
    Figure { bench: "gas", op, value: gas.into(), unit: "gas", beside: Map::new() }.print()
}

async fn register(fixture: &Fixture) -> eyre::Result<()> {
    let (kind, descriptor) = (AssetKind::App as u8, String::from_utf8(descriptor()?.to_bytes())?);
    let gas =
        fixture.call(&fixture.stranger, fixture.assets, &Assets::registerCall { kind, descriptor }).await?.gas_used;
    print("register_app", gas)
}

/// An app as people register it: its image by both digests, its least needs, some environment (345 bytes).
fn descriptor() -> eyre::Result<Descriptor> {
    let digest = |name: &str| Ok::<_, eyre::Report>(Some(format!("sha256:{:x}", fixture::random(name)).parse()?));
    Ok(Descriptor::App {
        version: 1,
        name: "render".into(),
        runtime: Runtime::Docker,
        sharing: Sharing::Distributed,
        image: Some(Image {
            reference: "berth/render:latest".into(),
            config: digest("image configuration")?,
            manifest: digest("image manifest")?,
        }),
        disk: None,
        env: BTreeMap::new(),
        minimum: Minimum { cpu_millis: 1000, memory_bytes: 256 << 20, disk_bytes: 64 << 20, packages: Vec::new() },
    })
}

async fn accounts(fixture: &Fixture) -> eyre::Result<()> {
    let amount = U256::from(1_000_003);
    let gas = fixture.call(&fixture.requester, fixture.berth, &IBerth::depositCall { amount }).await?.gas_used;
    print("deposit", gas)?;
    print("deposit_permit", fixture.deposit_by_permit(1_000_003).await?)?;
    let to = fixture.requester.address();
    let gas = fixture.call(&fixture.requester, fixture.berth, &IBerth::withdrawCall { to, amount }).await?.gas_used;
    print("withdraw", gas)?;
    // A worker that its pool has never seen, of an owner who has others there.
    print("bond", fixture.bond(&fixture.party("worker 11"), &fixture.owners[0]).await?)?;
    print("bond_more", fixture.bond(&fixture.workers[0], &fixture.owners[0]).await?)
}

async fn matches(fixture: &Fixture) -> eyre::Result<()> {
    for (op, size, dataset, volumes) in [
        ("match_no_dataset", BAG, false, Volumes::Limited),
        ("match_dataset", 1, true, Volumes::Limited),
        ("match_dataset_volume_100", BAG, true, Volumes::Limited),
        ("match_no_dataset_unlimited", BAG, false, Volumes::Unlimited),
    ] {
        print(op, fixture.matched(op, size, dataset, volumes).await?.gas)?;
    }
    // What nearly every match is: offers that were matched before, and a fresh request.
    for (op, offers, dataset) in
        [("match_no_dataset_standing", "match_no_dataset", false), ("match_dataset_standing", "match_dataset", true)]
    {
        print(op, fixture.matched_again(offers, op, BAG, dataset).await?.gas)?;
    }
    print("match_sponsored", fixture.sponsored("match_sponsored", BAG).await?.gas)
}

async fn settlements(fixture: &Fixture) -> eyre::Result<()> {
    let alone = fixture.matched("alone", 1, false, Volumes::Limited).await?.terms;
    print("settle_single_alone", settle(fixture, &alone).await?)?;
    let bag = fixture.matched("bag", BAG, false, Volumes::Limited).await?.terms;
    let gas = settle(fixture, &bag).await?;
    print("settle_single_x100", gas)?;
    print("settle_single_x100_per_task", gas.div_ceil(u64::from(BAG)))
}

/// The operator settles the whole deal at once: task i is worker i's, in turn.
async fn settle(fixture: &Fixture, terms: &DealTerms) -> eyre::Result<u64> {
    let workers = fixture.workers.iter().take(usize::try_from(terms.size)?);
    let lists = workers.enumerate().map(|(turn, worker)| {
        let turn = u32::try_from(turn)?;
        let indexes = terms.indexes().filter(|index| index % PARALLEL == turn);
        fixture.list(worker, terms, indexes)
    });
    let results: Vec<WorkerResults> = lists.collect::<eyre::Result<_>>()?;
    let call = IBerth::settleSinglesCall { terms: fixture::same(terms)?, results };
    let settled = fixture.call(&fixture.operator, fixture.berth, &call).await?;
    Ok(settled.gas_used)
}

async fn refunds(fixture: &Fixture) -> eyre::Result<()> {
    let declined = fixture.matched("declined", BAG, false, Volumes::Limited).await?.terms;
    let call = IBerth::declineCall { terms: fixture::same(&declined)?, indexes: vec![0] };
    print("decline", fixture.call(&fixture.operator, fixture.berth, &call).await?.gas_used)?;

    let claimed = fixture.matched("claimed", BAG, false, Volumes::Limited).await?.terms;
    fixture.node.wait_until(claimed.deadlines().settle.plus(1)).await?;
    let call = IBerth::claimCall { terms: fixture::same(&claimed)? };
    let gas = fixture.call(&fixture.stranger, fixture.berth, &call).await?.gas_used;
    print("claim", gas)
}

/// Who calls; anvil lets anybody.
trait Caller {
    fn address(&self) -> Address;
}

impl Caller for alloy::signers::local::PrivateKeySigner {
    fn address(&self) -> Address {
        self.address()
    }
}
