//! All state of the contracts, read back and compared with the ledger's.

use crate::{
    market::Market,
    world::{WALLET, World},
};
use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolValue as _,
};
use berth_protocol::{AccountAddr, ledger::Stance, round::WORD_TASKS};

/// Fails where ledger and contracts keep other things.
pub(crate) async fn agree(market: &Market, world: &World) {
    accounts(market, world).await;
    bonds(market, world).await;
    deals(market, world).await;
    rounds(market, world).await;
    deliveries(market, world).await;
    let held = market.tokens_of(market.domain().berth).await;
    assert_eq!(held, U256::from(world.ledger.held().units()), "what the contract holds");
    for (order, count) in world.ledger.all_consumed() {
        let theirs = market.view("consumed", order.get().as_slice()).await;
        assert_eq!(U256::abi_decode(&theirs), Ok(U256::from(count)), "consumed of order {order}");
    }
    for ((signer, order), stance) in world.ledger.stances() {
        let theirs = market.view("stanceOf", &(signer.get(), order.get()).abi_encode_params()).await;
        let ours = match stance {
            Stance::Approved => 1,
            Stance::Cancelled => 2,
        };
        assert_eq!(U256::abi_decode(&theirs), Ok(U256::from(ours)), "what {signer} says of order {order}");
    }
    for (asset, owner) in world.ledger.assets() {
        assert_eq!(market.owner_of(asset.get()).await, owner.get(), "the owner of {asset}");
    }
}

async fn accounts(market: &Market, world: &World) {
    for holder in world.cast.all().into_iter().chain([Address::ZERO, WALLET]) {
        let account = world.ledger.account(AccountAddr::new(holder));
        let theirs = market.view("account", &holder.abi_encode()).await;
        let ours = (account.free.units(), account.locked.units());
        assert_eq!(<(u128, u128)>::abi_decode_params(&theirs), Ok(ours), "the account of {holder}");
        let epoch = market.view("epochOf", &holder.abi_encode()).await;
        let ours = world.ledger.epoch_of(AccountAddr::new(holder));
        assert_eq!(u64::abi_decode(&epoch), Ok(ours), "the epoch of {holder}");
    }
}

async fn bonds(market: &Market, world: &World) {
    for ((pool, worker), bond) in world.ledger.bonds() {
        let key = (pool.get(), worker.get()).abi_encode_params();
        let theirs = market.view("bondOf", &key).await;
        let ours =
            (bond.owner.get(), bond.bonded.units(), bond.unbonding.units(), bond.release_at.seconds(), bond.score);
        let theirs = <(Address, u128, u128, u64, u32)>::abi_decode_params(&theirs);
        assert_eq!(theirs, Ok(ours), "the bond of {worker} in {pool}");
        for (deal, terms) in world.deals().iter().rev().take(5).filter(|(_, terms)| terms.pool == pool.get()) {
            let theirs = market.view("covers", &(terms.clone(), worker.get()).abi_encode_params()).await;
            assert_eq!(bool::abi_decode(&theirs), Ok(bond.covers(terms)), "{worker} covers {deal}");
        }
    }
    let theirs = market.view("unbondDelay", &[]).await;
    assert_eq!(u64::abi_decode(&theirs), Ok(world.ledger.bounds().unbond_delay_s()));
}

async fn deals(market: &Market, world: &World) {
    for (id, terms) in world.deals() {
        let deal = world.ledger.deal(*id).expect("a matched deal is known");
        let theirs = market.view("dealState", id.get().as_slice()).await;
        let (ended, closed) = deal.word(0);
        let ours = (deal.open, deal.claimed, ended, closed);
        assert_eq!(<(u32, bool, u128, u128)>::abi_decode_params(&theirs), Ok(ours), "the word of deal {id}");
        // Bits past the word are asked one by one: those around the seams, and some.
        let seams = [WORD_TASKS - 1, WORD_TASKS, 2 * WORD_TASKS - 1, 2 * WORD_TASKS];
        for offset in seams.into_iter().chain((0..terms.size).step_by(53).take(8)).filter(|offset| *offset < terms.size)
        {
            let place = (id.get(), U256::from(offset)).abi_encode_params();
            let theirs = market.view("ended", &place).await;
            assert_eq!(bool::abi_decode(&theirs), Ok(deal.has_ended(offset)), "task {offset} of deal {id}");
            let theirs = market.view("closed", &place).await;
            let ours = deal.closed.contains(&offset);
            assert_eq!(bool::abi_decode(&theirs), Ok(ours), "whether task {offset} of deal {id} is closed");
        }
    }
}

async fn rounds(market: &Market, world: &World) {
    for round in world.ledger.rounds() {
        let theirs = market.view("isRound", round.get().as_slice()).await;
        assert_eq!(bool::abi_decode(&theirs), Ok(true), "round {round}");
    }
    let none = market.view("isRound", B256::repeat_byte(1).as_slice()).await;
    assert_eq!(bool::abi_decode(&none), Ok(false));
    for ((deal, index), appends) in world.ledger.appends() {
        let theirs = market.view("appendsOf", &(deal.get(), index).abi_encode_params()).await;
        let ours = (appends.chain, u16::from(appends.pairs));
        assert_eq!(<(B256, u16)>::abi_decode_params(&theirs), Ok(ours), "appends of task {index} of deal {deal}");
    }
    for (record, bits) in world.ledger.records() {
        let theirs = market.view("recordOf", record.get().as_slice()).await;
        assert_eq!(U256::abi_decode(&theirs), Ok(bits), "record {record}");
    }
}

/// Of the last deals' tasks, the ones that callbacks wait for, and that they wait for no others.
async fn deliveries(market: &Market, world: &World) {
    for (deal, terms) in world.deals().iter().rev().take(8) {
        for index in terms.first..terms.first + terms.size.min(4) {
            let theirs = market.view("dueOf", &(deal.get(), index).abi_encode_params()).await;
            let ours = world.ledger.due_of(deal.task(index)).map_or(B256::ZERO, |digest| digest.get());
            assert_eq!(B256::abi_decode(&theirs), Ok(ours), "what is due of task {index} of deal {deal}");
        }
    }
}
