//! What a callback costs: its word at the settlement, and the delivery.

use super::{
    fixture::{self, Fixture, random},
    print,
};
use alloy::primitives::Bytes;
use berth_chain::bindings::berth::IBerth::{self, WorkerResults};
use berth_protocol::{ResultDigest, single::SingleList};

/// Puts a contract there that takes everything and does nothing: the figure is Berth's own.
const DOES_NOTHING: [u8; 10] = [0x60, 0x01, 0x5f, 0x81, 0x60, 0x09, 0x5f, 0x39, 0xf3, 0x00];

pub(super) async fn measure(fixture: &Fixture) -> eyre::Result<()> {
    let callback = fixture.node.deploy(fixture.stranger.address(), Bytes::from_static(&DOES_NOTHING)).await?;
    let terms = fixture.called("called", callback).await?;
    let (manifest, result) = (random("manifest"), random("for the callback"));
    let digest = ResultDigest::bound(manifest, result.as_slice());
    let list = SingleList::new(&terms, vec![(terms.first, digest)])?;
    let worker = &fixture.workers[0];
    let results = vec![WorkerResults {
        worker: worker.address(),
        entries: list.encode().into(),
        signature: fixture.sign(worker, &list.statement(terms.id()))?,
        assignments: Bytes::new(),
    }];
    let call = IBerth::settleSinglesCall { terms: fixture::same(&terms)?, results };
    let settled = fixture.call(&fixture.operator, fixture.berth, &call).await?;
    print("settle_single_alone_callback", settled.gas_used)?;

    let terms_ = fixture::same(&terms)?;
    let call = IBerth::deliverCall { terms: terms_, index: terms.first, manifest, result: result.to_vec().into() };
    let delivered = fixture.call(&fixture.stranger, fixture.berth, &call).await?;
    print("deliver", delivered.gas_used)
}
