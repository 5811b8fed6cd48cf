//! What holds of the ledger whatever happens, and that every refusal is met.

mod world;

use alloy::primitives::{Address, U256, address, keccak256};
use berth_protocol::{
    AccountAddr, Amount, DealId, Timestamp,
    domain::Domain,
    ledger::{Bounds, Call, Event, Ledger, Refusal},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use world::{Cast, Step, World};

const START: Timestamp = Timestamp::new(1_800_000_000);

fn world(seed: u64) -> World {
    let domain = Domain { chain_id: 31_337, berth: address!("0x5FbDB2315678afecb367f032d93F642f64180aa3") };
    let cast = Cast::new(|name| Address::from_word(keccak256(name)));
    let mut world = World::new(domain, cast, seed);
    world.wait_until(START);
    world
}

fn total(amounts: impl Iterator<Item = Amount>) -> U256 {
    amounts.map(|amount| U256::from(amount.units())).sum()
}

/// All the money that the ledger counts somewhere.
fn counted(ledger: &Ledger) -> U256 {
    total(ledger.accounts().flat_map(|(_, a)| [a.free, a.locked]))
        + total(ledger.bonds().flat_map(|(_, b)| [b.bonded, b.unbonding]))
        + U256::from(ledger.kept_back().units())
        + U256::from(ledger.burnt().units())
}

/// Whose free money a call may take: its sender's, and in a match that of who signed to pay.
fn payers(step: &Step, events: &[Event]) -> BTreeSet<AccountAddr> {
    let mut payers = BTreeSet::from([AccountAddr::new(step.sender)]);
    for event in events {
        if let Event::DealMatched { terms, .. } = event {
            payers.extend([terms.payer, terms.poolOwner].map(AccountAddr::new));
        }
    }
    payers
}

/// Which tasks have ended, from events alone.
#[derive(Default)]
struct Ended {
    once: BTreeSet<(DealId, u32)>,
    claimed: BTreeMap<DealId, u32>,
}

impl Ended {
    fn learn(&mut self, event: &Event) {
        let (deal, indexes) = match event {
            Event::SinglesSettled { deal, entries, .. } => {
                let (entries, rest) = entries.as_chunks::<36>();
                assert!(rest.is_empty() && !entries.is_empty());
                let index = |e: &[u8; 36]| u32::from_be_bytes([e[0], e[1], e[2], e[3]]);
                (*deal, entries.iter().map(index).collect())
            }
            Event::TasksDeclined { deal, indexes, .. } => (*deal, indexes.clone()),
            Event::TasksSettled { deal, tasks, .. } => (*deal, tasks.iter().map(|task| task.index).collect()),
            Event::DealClaimed { deal, tasks } => {
                assert_eq!(self.claimed.insert(*deal, *tasks), None, "claimed twice");
                return;
            }
            Event::Deposited { .. }
            | Event::Withdrawn { .. }
            | Event::EpochRaised { .. }
            | Event::OrderApproved { .. }
            | Event::OrderCancelled { .. }
            | Event::DealMatched { .. }
            | Event::DealSponsored { .. }
            | Event::ListSkipped { .. }
            | Event::WorkerEnlisted { .. }
            | Event::Bonded { .. }
            | Event::Unbonded { .. }
            | Event::BondWithdrawn { .. }
            | Event::RoundClosed { .. }
            | Event::PairsAppended { .. }
            | Event::RevealPublished { .. }
            | Event::ShareOpened { .. }
            | Event::WorkerPunished { .. }
            | Event::ResultDelivered { .. }
            | Event::AssetRegistered { .. }
            | Event::AssetGiven { .. } => return,
        };
        assert!(!self.claimed.contains_key(&deal), "a task after the claim");
        for index in indexes {
            assert!(self.once.insert((deal, index)), "{deal} {index} ended twice");
        }
    }

    fn of(&self, deal: DealId) -> u32 {
        let once = self.once.iter().filter(|(of, _)| *of == deal).count();
        let claimed = self.claimed.get(&deal).copied().unwrap_or(0);
        u32::try_from(once).expect("a deal's tasks are counted in 32 bits") + claimed
    }
}

/// Takes one step, and checks what must hold after any.
fn take(world: &mut World, ended: &mut Ended) -> Result<(), Refusal> {
    let step = world.step();
    let before = world.ledger.clone();
    let answer = world.ledger.apply(&step.call, step.sender, step.now);
    assert!(step.good.is_none_or(|good| good == answer.is_ok()), "{answer:?}: {step:?}");
    let events = match answer {
        Ok(events) => events,
        Err(refusal) => {
            assert_eq!(world.ledger, before, "a refused call changes nothing");
            return Err(refusal);
        }
    };
    let ledger = &world.ledger;
    assert_eq!(counted(ledger), U256::from(ledger.held().units()), "{step:?}");
    let moved = matches!(step.call, Call::Deposit { .. } | Call::Withdraw { .. } | Call::Multicall { .. });
    assert!(moved || ledger.held() == before.held(), "{step:?}");
    let payers = payers(&step, &events);
    for (account, held) in before.accounts() {
        let fell = ledger.account(account).free < held.free;
        assert!(!fell || payers.contains(&account), "{account}: {step:?}");
    }
    for event in &events {
        ended.learn(event);
    }
    world.learn(&events);
    Ok(())
}

/// Ends everything that is open, long after all deadlines, and takes all money out.
fn wind_up(world: &mut World) {
    let later = world.deals().iter().map(|(_, terms)| terms.deadlines().punish).max().unwrap_or(START).plus(1);
    let go = |ledger: &mut Ledger, call: Call, sender: Address, now: Timestamp| {
        ledger.apply(&call, sender, now).unwrap_or_else(|refusal| panic!("{call:?}: {refusal}"));
    };
    let anyone = world.cast.stranger;
    for (_, terms) in world.deals().to_vec() {
        if world.ledger.deal(terms.id()).is_some_and(|deal| deal.open > 0) {
            let terms = Box::new(terms);
            go(&mut world.ledger, Call::Claim { terms }, anyone, later);
        }
    }
    let bonds: Vec<_> = world.ledger.bonds().collect();
    for ((pool, worker), bond) in bonds {
        let (pool, owner) = (pool.get(), bond.owner.get());
        let amount = bond.bonded.units();
        go(&mut world.ledger, Call::Unbond { pool, worker, amount }, owner, later);
        let released = later.plus(world.ledger.bounds().unbond_delay_s());
        if bond.bonded > Amount::ZERO || bond.unbonding > Amount::ZERO {
            go(&mut world.ledger, Call::WithdrawBond { pool, worker }, owner, released);
        }
    }
    let accounts: Vec<_> = world.ledger.accounts().collect();
    for (account, held) in accounts {
        assert_eq!(held.locked, Amount::ZERO, "{account}");
        let amount = U256::from(world.ledger.account(account).free.units());
        go(&mut world.ledger, Call::Withdraw { to: account.get(), amount }, account.get(), later);
    }
    let rest = U256::from(world.ledger.burnt().units()) + U256::from(world.ledger.kept_back().units());
    assert_eq!(U256::from(world.ledger.held().units()), rest);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(2),
        ..ProptestConfig::default()
    })]

    #[test]
    fn money_is_conserved_tasks_end_once_and_all_of_it_leaves(seed: u64, steps in 150_usize..400) {
        let mut world = world(seed).without_scenes();
        let mut ended = Ended::default();
        for _ in 0..steps {
            // What a refusal must leave alone is checked inside.
            let _refused = take(&mut world, &mut ended);
        }
        for (id, terms) in world.deals() {
            let deal = world.ledger.deal(*id).expect("a matched deal is known");
            prop_assert_eq!(deal.open + ended.of(*id), terms.size);
        }
        wind_up(&mut world);
    }
}

#[test]
fn every_refusal_is_met_and_survives_its_encoding() {
    let mut met = BTreeSet::new();
    let mut accepted = 0;
    for seed in 0..3 {
        let mut world = world(seed);
        let mut ended = Ended::default();
        for _ in 0..800 {
            match take(&mut world, &mut ended) {
                Ok(()) => accepted += 1,
                Err(refusal) => {
                    assert_eq!(Refusal::decode(&refusal.encode()), Some(refusal));
                    met.insert(refusal.signature());
                }
            }
        }
    }
    let bounds = Bounds::new(2, 1, 1).expect_err("the shortest is longer than the longest");
    met.insert(bounds.signature());
    assert!(accepted > 1_000, "only {accepted} of 2400 calls were good");
    // The ledger counts no gas, and a Recourse is another's.
    let outside = ["Berth_GasTooLow(uint256,uint256)", "Berth_RecourseMismatch(address)"];
    let missing: Vec<_> = Refusal::SIGNATURES
        .iter()
        .filter(|signature| !met.contains(*signature) && !outside.contains(signature))
        .collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

/// How many events there were that need luck: closes, appends, settlements, reveals, openings, punishments, deliveries.
fn count(events: &mut [u32; 7], event: &Event) {
    let place = match event {
        Event::RoundClosed { .. } => 0,
        Event::PairsAppended { .. } => 1,
        Event::TasksSettled { .. } => 2,
        Event::RevealPublished { .. } => 3,
        Event::ShareOpened { .. } => 4,
        Event::WorkerPunished { .. } => 5,
        Event::ResultDelivered { .. } => 6,
        Event::Deposited { .. }
        | Event::Withdrawn { .. }
        | Event::EpochRaised { .. }
        | Event::OrderApproved { .. }
        | Event::OrderCancelled { .. }
        | Event::DealMatched { .. }
        | Event::DealSponsored { .. }
        | Event::SinglesSettled { .. }
        | Event::ListSkipped { .. }
        | Event::TasksDeclined { .. }
        | Event::DealClaimed { .. }
        | Event::WorkerEnlisted { .. }
        | Event::Bonded { .. }
        | Event::Unbonded { .. }
        | Event::BondWithdrawn { .. }
        | Event::AssetRegistered { .. }
        | Event::AssetGiven { .. } => return,
    };
    events[place] += 1;
}

#[test]
fn chance_alone_brings_about_every_event_of_rounds_and_deliveries() {
    let mut events = [0; 7];
    for seed in 0..12 {
        let mut world = world(seed).without_scenes();
        for _ in 0..500 {
            let step = world.step();
            if let Ok(told) = world.ledger.apply(&step.call, step.sender, step.now) {
                told.iter().for_each(|event| count(&mut events, event));
                world.learn(&told);
            }
        }
    }
    assert!(events.iter().all(|count| *count >= 3), "{events:?}");
}
