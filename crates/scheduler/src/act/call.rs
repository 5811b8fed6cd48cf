//! What a scheduler sends, as intents for the outbox.

use crate::store::{list::List, sending::Kind};
use alloy::primitives::{Address, B256, Bytes, keccak256};
use berth_chain::{
    call::{self, Contribution, Evidence, Shown, TableRow, WorkerResults},
    outbox::{Intent, Key},
};
use berth_protocol::{
    DealId, DealTerms, ResultDigest,
    round::{BatchTask, Closing, LeftOut, Pair},
};

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

/// Closes a round; `first` is the first of its deals.
pub(super) fn close(route: Route, first: DealId, root: B256, deals: &[Closing], failed: u32) -> Intent {
    let tasks: u32 = deals.iter().flat_map(|deal| &deal.words).map(|word| word.bits.count_ones()).sum();
    let note = format!("close {tasks} tasks of {} deals", deals.len());
    let key = key(Kind::Close, first, root.as_slice(), failed);
    Intent::call(key, route.from, route.berth, call::close(root, deals), note)
}

/// Adds pairs to a closed task.
pub(super) fn append(
    route: Route,
    (deal, terms): (DealId, &DealTerms),
    index: u32,
    shown: Shown<'_>,
    (leaf, added): (&[Pair], &[Pair]),
    failed: u32,
) -> Intent {
    let pairs = added.iter().flat_map(|pair| pair.worker.get().into_iter().chain(pair.commitment));
    let about: Vec<u8> = index.to_be_bytes().into_iter().chain(pairs).collect();
    let note = format!("append {} pairs to task {index} of deal {deal}", added.len());
    let calldata = call::append(terms, index, shown, leaf, added);
    Intent::call(key(Kind::Append, deal, &about, failed), route.from, route.berth, calldata, note)
}

/// Settles a round's tasks of one deal.
pub(super) fn settle_round(
    route: Route,
    (deal, terms): (DealId, &DealTerms),
    shown: Shown<'_>,
    (table, tasks): (&[TableRow], &[BatchTask]),
    failed: u32,
) -> Intent {
    let about = [shown.round.root.to_vec(), BatchTask::pack(tasks)].concat();
    let note = format!("settle {} tasks of deal {deal}", tasks.len());
    let calldata = call::settle(terms, shown, table, tasks);
    Intent::call(key(Kind::Settle, deal, &about, failed), route.from, route.berth, calldata, note)
}

/// Settles one task with its appended pairs.
pub(super) fn settle_one(
    route: Route,
    (deal, terms): (DealId, &DealTerms),
    (index, digest): (u32, ResultDigest),
    shown: Shown<'_>,
    (leaf, appended): (&[Contribution], &[Contribution]),
    failed: u32,
) -> Intent {
    let opens = leaf.iter().chain(appended).map(|of| u8::from(!of.signature.is_empty()));
    let about: Vec<u8> = index.to_be_bytes().into_iter().chain(digest.get()).chain(opens).collect();
    let note = format!("settle task {index} of deal {deal}");
    let calldata = call::settle_one(terms, (index, digest), shown, leaf, appended);
    Intent::call(key(Kind::Settle, deal, &about, failed), route.from, route.berth, calldata, note)
}

/// Punishes workers for pairs that a settlement left out, and that they never opened.
pub(super) fn punish(
    route: Route,
    (deal, terms): (DealId, &DealTerms),
    left_out: &[LeftOut],
    evidence: &[(u8, Bytes)],
    failed: u32,
) -> Intent {
    let entries = evidence.iter().map(|(entry, _)| *entry);
    let about: Vec<u8> = LeftOut::pack(left_out).into_iter().chain(entries).collect();
    let one = |(entry, signature): &(u8, Bytes)| Evidence { entry: *entry, signature: signature.clone() };
    let evidence: Vec<Evidence> = evidence.iter().map(one).collect();
    let note = format!("punish {} workers of deal {deal}", evidence.len());
    let calldata = call::punish(terms, left_out, &evidence);
    Intent::call(key(Kind::Punish, deal, &about, failed), route.from, route.berth, calldata, note)
}
