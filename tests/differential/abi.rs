//! The contracts' committed ABIs, and the bytes that go in and come out.

use alloy::{
    json_abi::JsonAbi,
    primitives::{Address, B256, Bytes, LogData, U256},
    sol_types::SolValue as _,
};
use berth_protocol::{
    DealId, WorkerAddr,
    ledger::{Event, Orders},
    round::{ClosedRound, EndedTask, LeftOut, Pair, Payee},
};
use serde::Deserialize;
use std::path::Path;

/// One contract's artifact.
#[derive(Deserialize)]
pub(crate) struct Artifact {
    pub(crate) abi: JsonAbi,
    bytecode: Option<Bytecode>,
}

#[derive(Deserialize)]
struct Bytecode {
    object: Bytes,
}

impl Artifact {
    pub(crate) fn read(contract: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../contracts/abi/{contract}.json"));
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What deploys it with these encoded arguments.
    pub(crate) fn deployment(&self, arguments: &[u8]) -> Bytes {
        let code = self.bytecode.as_ref().expect("the artifact of a contract has its code");
        [&code.object[..], arguments].concat().into()
    }

    /// A call of the only function of this name.
    pub(crate) fn call(&self, function: &str, arguments: &[u8]) -> Bytes {
        let [function] = self.abi.function(function).map_or(&[][..], Vec::as_slice) else {
            panic!("`{function}` is not exactly one function");
        };
        [&function.selector()[..], arguments].concat().into()
    }

    fn topic(&self, event: &str) -> B256 {
        let [event] = self.abi.event(event).map_or(&[][..], Vec::as_slice) else {
            panic!("`{event}` is not exactly one event");
        };
        event.selector()
    }
}

/// All artifacts that a market needs.
pub(crate) struct Abis {
    /// Everything that is called at Berth's address.
    pub(crate) interface: Artifact,
    pub(crate) berth: Artifact,
    pub(crate) recourse: Artifact,
    pub(crate) assets: Artifact,
    pub(crate) token: Artifact,
}

impl Abis {
    pub(crate) fn read() -> Self {
        Self {
            interface: Artifact::read("IBerth"),
            berth: Artifact::read("Berth"),
            recourse: Artifact::read("Recourse"),
            assets: Artifact::read("Assets"),
            token: Artifact::read("PermitToken"),
        }
    }

    /// What the contracts log for an event.
    pub(crate) fn logs(&self, event: &Event) -> Vec<LogData> {
        let berth = |name, indexed: &[B256], data| vec![log(self.interface.topic(name), indexed, data)];
        let bond = |name, (pool, worker): (B256, Address), data| berth(name, &[pool, worker.into_word()], data);
        match event.clone() {
            Event::Deposited { account, from, amount } => {
                berth("Deposited", &[account.get().into_word(), from.into_word()], amount.units().abi_encode())
            }
            Event::Withdrawn { account, to, amount } => {
                berth("Withdrawn", &[account.get().into_word(), to.into_word()], amount.units().abi_encode())
            }
            Event::EpochRaised { .. }
            | Event::OrderApproved { .. }
            | Event::OrderCancelled { .. }
            | Event::DealSponsored { .. } => vec![self.order_log(event)],
            Event::DealMatched { deal, requester, terms, subject } => {
                let indexed = [deal.get(), terms.pool, requester.get().into_word()];
                berth("DealMatched", &indexed, (*terms, *subject).abi_encode_params())
            }
            Event::SinglesSettled { deal, worker, entries } => berth(
                "SinglesSettled",
                &[deal.get(), worker.get().into_word()],
                (Bytes::from(entries),).abi_encode_params(),
            ),
            Event::ListSkipped { deal, worker } => {
                berth("ListSkipped", &[deal.get(), worker.get().into_word()], Vec::new())
            }
            Event::TasksDeclined { deal, indexes, stake_returned } => {
                berth("TasksDeclined", &[deal.get()], (indexes, stake_returned).abi_encode_params())
            }
            Event::DealClaimed { deal, tasks } => berth("DealClaimed", &[deal.get()], tasks.abi_encode()),
            Event::RoundClosed { .. }
            | Event::PairsAppended { .. }
            | Event::TasksSettled { .. }
            | Event::RevealPublished { .. }
            | Event::ShareOpened { .. }
            | Event::WorkerPunished { .. } => vec![self.round_log(event)],
            Event::ResultDelivered { deal, index, callback } => {
                let indexed = [deal.get(), U256::from(index).into(), callback.into_word()];
                berth("ResultDelivered", &indexed, Vec::new())
            }
            Event::WorkerEnlisted { pool, worker, owner } => {
                berth("WorkerEnlisted", &[pool.get(), worker.get().into_word(), owner.get().into_word()], Vec::new())
            }
            Event::Bonded { pool, worker, amount } => {
                bond("Bonded", (pool.get(), worker.get()), amount.units().abi_encode())
            }
            Event::Unbonded { pool, worker, amount, release_at } => {
                let data = (amount.units(), release_at.seconds()).abi_encode_params();
                bond("Unbonded", (pool.get(), worker.get()), data)
            }
            Event::BondWithdrawn { pool, worker, amount } => {
                bond("BondWithdrawn", (pool.get(), worker.get()), amount.units().abi_encode())
            }
            Event::AssetRegistered { asset, creator, descriptor } => {
                let (id, creator) = (asset.get(), creator.get().into_word());
                let kind = U256::from(asset.kind() as u8).into();
                let registered = self.assets.topic("AssetRegistered");
                vec![
                    log(self.assets.topic("Transfer"), &[B256::ZERO, creator, id], Vec::new()),
                    log(registered, &[id, kind, creator], (descriptor,).abi_encode_params()),
                ]
            }
            Event::AssetGiven { asset, from, to } => {
                let indexed = [from.get().into_word(), to.get().into_word(), asset.get()];
                vec![log(self.assets.topic("Transfer"), &indexed, Vec::new())]
            }
        }
    }
}

impl Abis {
    /// What the contracts log for an event of an account's word on orders.
    fn order_log(&self, event: &Event) -> LogData {
        let berth = |name, indexed: &[B256], data| log(self.interface.topic(name), indexed, data);
        match event.clone() {
            Event::EpochRaised { account, epoch } => {
                berth("EpochRaised", &[account.get().into_word()], epoch.abi_encode())
            }
            Event::OrderApproved { account, order } => {
                berth("OrderApproved", &[account.get().into_word(), order.get()], Vec::new())
            }
            Event::OrderCancelled { account, order } => {
                berth("OrderCancelled", &[account.get().into_word(), order.get()], Vec::new())
            }
            Event::DealSponsored { deal, payer, sponsorship } => {
                berth("DealSponsored", &[deal.get(), payer.get().into_word()], sponsorship.get().abi_encode())
            }
            other => panic!("{other:?} is no event of orders"),
        }
    }

    /// What the contracts log for an event of rounds. The ledger knows a reveal's signer and not its bytes, so that
    /// whoever sent it puts these into the event.
    fn round_log(&self, event: &Event) -> LogData {
        let berth = |name, indexed: &[B256], data| log(self.interface.topic(name), indexed, data);
        let task = |deal: DealId, index: u32, worker: WorkerAddr| {
            [deal.get(), U256::from(index).into(), worker.get().into_word()]
        };
        match event.clone() {
            Event::RoundClosed { id, operator, round } => {
                let indexed = [id.get(), operator.get().into_word()];
                berth("RoundClosed", &indexed, (round.root, closed_words(&round)).abi_encode_params())
            }
            Event::PairsAppended { deal, index, chain, pairs: count, added } => {
                let data = (chain, U256::from(count), pairs(&added)).abi_encode_params();
                berth("PairsAppended", &[deal.get(), U256::from(index).into()], data)
            }
            Event::TasksSettled { deal, round, tasks, workers, left_out } => {
                let packed = [EndedTask::pack(&tasks), Payee::pack(&workers), LeftOut::pack(&left_out)];
                let [tasks, workers, left_out] = packed.map(Bytes::from);
                berth("TasksSettled", &[deal.get(), round.get()], (tasks, workers, left_out).abi_encode_params())
            }
            Event::RevealPublished { root, worker, seed, signature } => {
                berth("RevealPublished", &[root, worker.get().into_word()], (seed, signature).abi_encode_params())
            }
            Event::ShareOpened { deal, index, worker, paid, scored } => {
                berth("ShareOpened", &task(deal, index, worker), (paid.units(), scored).abi_encode_params())
            }
            Event::WorkerPunished { deal, index, worker, slashed, score } => {
                berth("WorkerPunished", &task(deal, index, worker), (slashed.units(), score).abi_encode_params())
            }
            other => panic!("{other:?} is no event of rounds"),
        }
    }
}

/// A round's words, each of three words of the ABI.
pub(crate) fn closed_words(round: &ClosedRound) -> Vec<(B256, u32, u128)> {
    round.closed.iter().map(|of| (of.deal.get(), of.word, of.bits)).collect()
}

/// Pairs, as the ABI has them.
pub(crate) fn pairs(pairs: &[Pair]) -> Vec<(Address, B256)> {
    pairs.iter().map(|pair| (pair.worker.get(), pair.commitment)).collect()
}

fn log(topic: B256, indexed: &[B256], data: Vec<u8>) -> LogData {
    let topics = [&[topic], indexed].concat();
    LogData::new(topics, data.into()).expect("an event has at most four topics")
}

/// The arguments of a match, and of one with the payer's consent.
pub(crate) fn match_arguments(orders: &Orders, signatures: [Bytes; 4], consent: Option<(u32, u64, Bytes)>) -> Vec<u8> {
    let orders = orders.clone();
    let orders = (orders.app, orders.dataset, orders.pool, orders.request);
    let [app, dataset, pool, request] = signatures;
    let signatures = (app, dataset, pool, request);
    match consent {
        None => (orders, signatures).abi_encode_params(),
        Some(consent) => (orders, signatures, consent).abi_encode_params(),
    }
}
