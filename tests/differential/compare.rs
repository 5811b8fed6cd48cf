//! All state of the contracts, read back and compared with the ledger's.

use crate::{market::Market, world::World};
use alloy::{
    primitives::{Address, U256},
    sol_types::SolValue as _,
};
use berth_protocol::{AccountAddr, ledger::state::HEAD_TASKS};

/// Fails where ledger and contracts keep other things.
pub(crate) async fn agree(market: &Market, world: &World) {
    accounts(market, world).await;
    bonds(market, world).await;
    deals(market, world).await;
    let held = market.tokens_of(market.domain().berth).await;
    assert_eq!(held, U256::from(world.ledger.held().units()), "what the contract holds");
    for (order, count) in world.ledger.all_consumed() {
        let theirs = market.view("consumed", order.get().as_slice()).await;
        assert_eq!(U256::abi_decode(&theirs), Ok(U256::from(count)), "consumed of order {order}");
    }
    for (asset, owner) in world.ledger.assets() {
        assert_eq!(market.owner_of(asset.get()).await, owner.get(), "the owner of {asset}");
    }
}

async fn accounts(market: &Market, world: &World) {
    for holder in world.cast.all().into_iter().chain([Address::ZERO]) {
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
        let ours = (bond.owner.get(), bond.bonded.units(), bond.unbonding.units(), bond.release_at.seconds(), 0_u32);
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
        let ours = (deal.open, deal.claimed, deal.head());
        assert_eq!(<(u32, bool, U256)>::abi_decode_params(&theirs), Ok(ours), "the word of deal {id}");
        // Bits past the word are asked one by one: those around the seams, and some.
        let seams = [HEAD_TASKS - 1, HEAD_TASKS, HEAD_TASKS + 255, HEAD_TASKS + 256];
        for offset in seams.into_iter().chain((0..terms.size).step_by(53).take(8)).filter(|offset| *offset < terms.size)
        {
            let theirs = market.view("ended", &(id.get(), U256::from(offset)).abi_encode_params()).await;
            assert_eq!(bool::abi_decode(&theirs), Ok(deal.has_ended(offset)), "task {offset} of deal {id}");
        }
    }
}
