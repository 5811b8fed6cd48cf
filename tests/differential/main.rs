//! The same calls through the ledger of the protocol crate and through the real contracts on Anvil: same answers, same
//! events, same balances. What the ABIs know and no trace has met fails the test.
#![expect(clippy::wildcard_enum_match_arm, reason = "a call or event that a translator does not know panics")]

mod abi;
mod compare;
mod keys;
mod market;
mod rounds;
#[path = "../../crates/protocol/tests/ledger/world/mod.rs"]
mod world;

use abi::Abis;
use alloy::{
    primitives::{Address, Bytes},
    providers::{ProviderBuilder, RootProvider},
    sol_types::SolValue as _,
};
use berth_chain::{
    anvil::{Anvil, AnvilConfig, Mining},
    tool::tool_path,
};
use berth_protocol::ledger::{Call, Refusal};
use compare::agree;
use market::{Answer, Market};
use std::collections::BTreeSet;
use world::{Cast, Step, World};

/// Each is a market of its own.
const SEEDS: [u64; 3] = [1, 2, 3];
/// The market of this seed has no scenes: what it meets, chance brings about.
const LEFT_TO_CHANCE: u64 = 3;
/// How many calls a market makes.
const STEPS: usize = 800;
/// After so many calls all state is compared.
const COMPARED_EVERY: usize = 100;

/// Errors in the ABIs that no call of this test can bring about, and why.
const ERRORS_OUT_OF_REACH: &[(&str, &str)] = &[
    ("AddressEmptyCode", "the constructor refuses a Recourse without code"),
    (
        "ReentrancyGuardReentrantCall",
        "the settlement token of a local chain does not call back; forge has one that does",
    ),
    ("SafeERC20FailedOperation", "the settlement token of a local chain reverts instead of answering false"),
    ("ERC721IncorrectOwner", "OpenZeppelin's own, of a transfer: the ledger models gifts by owners only"),
    ("ERC721InsufficientApproval", "as above"),
    ("ERC721InvalidApprover", "as above"),
    ("ERC721InvalidOperator", "as above"),
    ("ERC721InvalidOwner", "as above"),
    ("ERC721InvalidReceiver", "as above"),
    ("ERC721InvalidSender", "as above"),
    ("ERC721NonexistentToken", "Berth reads it as an owner of zero"),
];
/// Events in the ABIs that no call of this test can bring about, and why.
const EVENTS_OUT_OF_REACH: &[(&str, &str)] = &[
    ("EIP712DomainChanged", "ERC-5267 declares it; the domain of an immutable contract never changes"),
    ("Approval", "OpenZeppelin's own, of ERC-721; nobody here approves anybody"),
    ("ApprovalForAll", "as above"),
];

/// What was met on the way: error and event signatures.
#[derive(Debug, Default)]
struct Met {
    errors: BTreeSet<[u8; 4]>,
    events: BTreeSet<[u8; 32]>,
}

fn anvil() -> Anvil {
    let program = tool_path("anvil").unwrap_or_else(|missing| panic!("{missing}: {}", missing.hint()));
    let mut config = AnvilConfig::new(program);
    config.mining = Mining::OnDemand;
    let free = ["--auto-impersonate", "--base-fee", "0", "--gas-price", "0", "--gas-limit", "10000000000"];
    config.arguments = free.map(str::to_owned).to_vec();
    Anvil::start(&config).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn the_ledger_and_the_contracts_agree_on_every_call() {
    let anvil = anvil();
    let url = anvil.http_url().parse().expect("anvil's address is a URL");
    let provider = ProviderBuilder::default().connect_http(url);
    let mut met = Met::default();
    for seed in SEEDS {
        trace(provider.clone(), seed, &mut met).await;
    }
    require_all_met(&Abis::read(), &met);
}

/// Runs one market to its end.
async fn trace(provider: RootProvider, seed: u64, met: &mut Met) {
    let mut market = Market::deploy(provider).await;
    let cast = Cast::new(|name| market.keys.add(&name));
    let mut world = World::new(market.domain(), cast, seed);
    if seed == LEFT_TO_CHANCE {
        world = world.without_scenes();
    }
    market.furnish(&world).await;
    world.wait_until(market.now().await);
    for number in 1..=STEPS {
        let step = world.step();
        let place = || format!("seed {seed}, call {number}: {step:#?}");
        let data = market.encode(&step, &world);
        let answer = market.ask(&step, &data).await;
        let ours = world.ledger.apply(&step.call, step.sender, step.now);
        assert!(step.good.is_none_or(|good| good == ours.is_ok()), "{ours:?}; {}", place());
        match (ours, answer) {
            (Ok(events), Answer::Good) => {
                if matches!(step.call, Call::Deliver { .. }) {
                    starve(&market, &step, &data, met).await;
                }
                let logs = market.send(&step, &data).await;
                assert_eq!(logs, market.expected(&events), "other events; {}", place());
                met.events.extend(logs.iter().filter_map(|log| log.topics().first()).map(|topic| topic.0));
                world.learn(&events);
            }
            (Err(refusal), Answer::Refused(data)) => {
                let theirs = Refusal::decode(&data);
                assert_eq!(theirs, Some(refusal), "refused otherwise ({data}); {}", place());
                met.errors.extend(data.first_chunk::<4>());
            }
            (Ok(events), Answer::Refused(data)) => {
                let theirs = Refusal::decode(&data);
                panic!("the contracts refuse ({data}, {theirs:?}), the ledger says {events:#?}; {}", place());
            }
            (Err(refusal), Answer::Good) => panic!("only the ledger refuses: {refusal:?}; {}", place()),
        }
        if number % COMPARED_EVERY == 0 {
            agree(&market, &world).await;
        }
    }
    agree(&market, &world).await;
    odd_calls(&market, met).await;
}

/// The ledger counts no gas: a delivery that it takes is refused by the contracts without enough.
async fn starve(market: &Market, step: &Step, data: &Bytes, met: &mut Met) {
    let Answer::Refused(data) = market.ask_with_little_gas(step, data).await else {
        panic!("delivered with too little gas: {step:#?}")
    };
    assert!(matches!(Refusal::decode(&data), Some(Refusal::GasTooLow { left, needed }) if left < needed), "{data}");
    met.errors.extend(data.first_chunk::<4>());
}

/// What no market does: contracts built wrongly, and selectors that nobody knows.
async fn odd_calls(market: &Market, met: &mut Met) {
    let recourse = market.view("recourse", &[]).await;
    let recourse = Address::abi_decode(&recourse).expect("it is an address");
    for (answer, refusal) in market.bad_constructions(recourse).await {
        let Answer::Refused(data) = answer else { panic!("built in spite of {refusal}") };
        assert_eq!(Refusal::decode(&data), Some(refusal));
        met.errors.extend(data.first_chunk::<4>());
    }
    met.errors.extend(market.unknown_selector().await.first_chunk::<4>());
}

fn require_all_met(abis: &Abis, met: &Met) {
    let all = [&abis.interface, &abis.berth, &abis.recourse, &abis.assets].map(|artifact| &artifact.abi);
    let errors = all.iter().flat_map(|abi| abi.errors());
    let unmet_errors: BTreeSet<_> =
        errors.filter(|error| !met.errors.contains(&error.selector().0)).map(|error| error.name.as_str()).collect();
    let events = all.iter().flat_map(|abi| abi.events());
    let unmet_events: BTreeSet<_> =
        events.filter(|event| !met.events.contains(&event.selector().0)).map(|event| event.name.as_str()).collect();
    let argued = |list: &[(&'static str, &str)]| list.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>();
    assert_eq!(unmet_errors, argued(ERRORS_OUT_OF_REACH), "errors never met, and those that can't be");
    assert_eq!(unmet_events, argued(EVENTS_OUT_OF_REACH), "events never met, and those that can't be");

    let ours: BTreeSet<_> = Refusal::SIGNATURES.iter().map(|signature| (*signature).to_owned()).collect();
    let own = |name: &str| name.starts_with("Berth_") || name.starts_with("Assets_");
    let errors = all.iter().flat_map(|abi| abi.errors()).filter(|error| own(&error.name));
    let theirs: BTreeSet<_> = errors.map(|error| error.signature()).collect();
    assert_eq!(ours, theirs, "the ledger's refusals and the contracts' own errors");
}
