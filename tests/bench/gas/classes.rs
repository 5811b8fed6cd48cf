//! Where the gas of an operation goes, by classes of opcodes, from the trace of its transaction.

use super::{
    BAG, PARALLEL,
    fixture::{Fixture, Volumes},
    rounds, settle,
};
use crate::report::Figure;
use alloy::primitives::B256;
use eyre::{OptionExt as _, ensure};
use serde::Deserialize;
use serde_json::Map;
use std::collections::BTreeMap;

/// What opcodes have in common, as the table of `docs/benchmarks.md` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Storage,
    Signatures,
    /// Entering another contract's code; what that does counts as what it is.
    Calls,
    Log,
    Hashing,
    Control,
}

impl Class {
    const ALL: [Self; 6] = [Self::Storage, Self::Signatures, Self::Calls, Self::Log, Self::Hashing, Self::Control];

    const fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Signatures => "signatures",
            Self::Calls => "calls",
            Self::Log => "log",
            Self::Hashing => "hashing",
            Self::Control => "control",
        }
    }

    /// `entered`: whether the step goes into other code.
    fn of(op: &str, entered: bool) -> Self {
        match op {
            "SLOAD" | "SSTORE" | "TLOAD" | "TSTORE" => Self::Storage,
            // What has no code is asked for nothing but signers here.
            "STATICCALL" if !entered => Self::Signatures,
            "CALL" | "STATICCALL" | "DELEGATECALL" | "EXTCODESIZE" => Self::Calls,
            "KECCAK256" | "SHA3" => Self::Hashing,
            _ if op.starts_with("LOG") => Self::Log,
            _ => Self::Control,
        }
    }
}

/// One step of a trace.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    op: String,
    /// Before it.
    gas: u64,
    /// Its own, which for a call may or may not have what it hands on.
    gas_cost: u64,
    depth: u64,
}

/// Gas by class.
type Shares = BTreeMap<Class, u64>;

/// What each class has of a trace.
///
/// A step costs what is less after it in the same frame, without what the frames that it entered have used.
fn shares(steps: &[Step]) -> eyre::Result<Shares> {
    let mut shares = Shares::new();
    frame(steps, &mut 0, &mut shares)?;
    Ok(shares)
}

/// One frame from `at` on; gives the gas that it used, and leaves `at` behind it.
fn frame(steps: &[Step], at: &mut usize, shares: &mut Shares) -> eyre::Result<u64> {
    let depth = steps.get(*at).ok_or_eyre("a trace without steps")?.depth;
    let mut used = 0;
    while let Some(step) = steps.get(*at).filter(|step| step.depth == depth) {
        *at += 1;
        let entered = steps.get(*at).is_some_and(|next| next.depth > depth);
        let inner = if entered { frame(steps, at, shares)? } else { 0 };
        // The last step of a frame has no next; it is no call, so that its cost is its own.
        let next = steps.get(*at).filter(|next| next.depth == depth);
        let spent = next.map_or(Some(step.gas_cost), |next| step.gas.checked_sub(next.gas)).ok_or_eyre("gas rose")?;
        let own = spent.checked_sub(inner).ok_or_eyre("a frame cost more than the call of it")?;
        *shares.entry(Class::of(&step.op, entered)).or_default() += own;
        used += spent;
    }
    Ok(used)
}

/// Prints where the gas of the rows goes that miss their target, or missed it.
pub(crate) async fn measure() -> eyre::Result<()> {
    let fixture = Fixture::build().await?;
    for (op, size, dataset) in [("match_no_dataset", BAG, false), ("match_dataset", 1, true)] {
        fixture.matched(op, size, dataset, Volumes::Limited).await?;
        print(&fixture, op, 1).await?;
    }
    fixture.matched_again("match_no_dataset", "match_no_dataset_standing", BAG, false).await?;
    print(&fixture, "match_no_dataset_standing", 1).await?;
    fixture.sponsored("match_sponsored", BAG).await?;
    print(&fixture, "match_sponsored", 1).await?;
    let alone = fixture.matched("alone", 1, false, Volumes::Limited).await?.terms;
    settle(&fixture, &alone).await?;
    print(&fixture, "settle_single_alone", 1).await?;
    // Every worker has a score, as where its cost is measured.
    rounds::settled(&fixture, "earlier round", PARALLEL, 3).await?;
    rounds::settled(&fixture, "round of 100", BAG, 3).await?;
    print(&fixture, "settle_round_3x100", 2).await?;
    rounds::settled(&fixture, "round of one", 1, 3).await?;
    print(&fixture, "settle_3_workers_alone_total", 2).await
}

/// Prints the classes of the last `count` transactions together.
async fn print(fixture: &Fixture, op: &'static str, count: u64) -> eyre::Result<()> {
    let (mut total, mut together) = (0, Shares::new());
    for transaction in fixture.node.last(count).await? {
        total += gas_of(fixture, transaction, &mut together).await?;
    }
    let spent: u64 = together.values().sum();
    let intrinsic = total.checked_sub(spent).ok_or_eyre("there was a refund, which has no class")?;
    let mut beside = Map::new();
    beside.insert("base_and_calldata".to_owned(), intrinsic.into());
    for class in Class::ALL {
        beside.insert(class.name().to_owned(), together.get(&class).copied().unwrap_or_default().into());
    }
    Figure { bench: "classes", op, value: total.into(), unit: "gas", beside }.print()
}

/// Adds one transaction's classes; gives the gas of its receipt.
async fn gas_of(fixture: &Fixture, transaction: B256, together: &mut Shares) -> eyre::Result<u64> {
    let (gas, steps) = fixture.node.trace(transaction).await?;
    ensure!(!steps.is_empty(), "the node traced nothing");
    for (class, share) in shares(&steps)? {
        *together.entry(class).or_default() += share;
    }
    Ok(gas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(op: &str, gas: u64, gas_cost: u64, depth: u64) -> Step {
        Step { op: op.to_owned(), gas, gas_cost, depth }
    }

    #[test]
    fn a_call_costs_what_its_frame_did_not_use() -> eyre::Result<()> {
        let steps = [
            step("PUSH1", 1_000, 3, 1),
            // 100 of its own, 97 handed on and not given back: 50 and 40 and 7.
            step("STATICCALL", 997, 700, 1),
            step("SLOAD", 600, 50, 2),
            step("KECCAK256", 550, 40, 2),
            step("RETURN", 510, 7, 2),
            // A precompile has no steps.
            step("STATICCALL", 800, 800, 1),
            step("LOG2", 300, 200, 1),
            step("STOP", 100, 0, 1),
        ];
        let expected = [
            (Class::Storage, 50),
            (Class::Signatures, 500),
            (Class::Calls, 100),
            (Class::Log, 200),
            (Class::Hashing, 40),
            (Class::Control, 10),
        ];
        assert_eq!(shares(&steps)?, Shares::from(expected));
        Ok(())
    }
}
