//! What a scheduler sends, as intents for the outbox.

use crate::store::{list::List, sending::Kind};
use alloy::primitives::{Address, Bytes, keccak256};
use berth_chain::{
    call::{self, WorkerResults},
    outbox::{Intent, Key},
};
use berth_protocol::{DealId, DealTerms, ResultDigest};

/// Who calls what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The operator.
    pub(crate) from: Address,
    /// The contract.
    pub(crate) berth: Address,
}

/// The name of an intent. The same want has the same name, so that it is written once; what came to nothing is not
/// wanted again under its old name.
fn key(kind: Kind, deal: DealId, about: &[u8], failed: u32) -> Key {
    Key::new(format!("{}:{deal}:{:x}:{failed}", kind.name(), keccak256(about)))
}

/// Settles tasks by their workers' lists.
pub(super) fn settle(
    route: Route,
    (deal, terms): (DealId, &DealTerms),
    tasks: &[(u32, ResultDigest)],
    lists: &[List],
    failed: u32,
) -> Intent {
    let about: Vec<u8> =
        tasks.iter().flat_map(|(index, digest)| index.to_be_bytes().into_iter().chain(digest.get())).collect();
    let results = lists.iter().map(|list| WorkerResults {
        worker: list.worker,
        entries: Bytes::copy_from_slice(&list.entries),
        signature: Bytes::copy_from_slice(&list.signature),
        assignments: Bytes::new(),
    });
    let calldata = call::settle_singles(terms, &results.collect::<Vec<_>>());
    let note = format!("settle {} tasks of deal {deal}", tasks.len());
    Intent::call(key(Kind::Settle, deal, &about, failed), route.from, route.berth, calldata, note)
}

/// Gives tasks back.
pub(super) fn decline(route: Route, (deal, terms): (DealId, &DealTerms), indexes: &[u32], failed: u32) -> Intent {
    let about: Vec<u8> = indexes.iter().flat_map(|index| index.to_be_bytes()).collect();
    let calldata = call::decline(terms, indexes.to_vec());
    let note = format!("decline {} tasks of deal {deal}", indexes.len());
    Intent::call(key(Kind::Decline, deal, &about, failed), route.from, route.berth, calldata, note)
}

/// Ends what is open after the final deadline.
pub(super) fn claim(route: Route, (deal, terms): (DealId, &DealTerms), failed: u32) -> Intent {
    let note = format!("claim deal {deal}");
    Intent::call(key(Kind::Claim, deal, &[], failed), route.from, route.berth, call::claim(terms), note)
}
