//! Berth's rules, and nothing else: ids, amounts, orders, deals, results, rounds, weights, payouts and the phases of a
//! task. This crate is the reference model that `Berth.sol` is tested against; ADR 0001 is its text.
//!
//! It never does IO, never reads a clock, never draws a random number and knows no outside format: callers pass times
//! in, and `wire` owns every JSON document.
//!
//! In the order in which a paid result meets them: [`ids`] and [`amount`] name things, [`order`] is what people sign,
//! [`deal`] what a match makes of it, [`task`] how one run of it lives and ends, [`single`] and [`round`] what workers
//! sign about results, [`consensus`] how results are weighed, [`payout`] who gets what,
//! and [`ledger`] puts it all together: accounts, bonds and deals, call by call, as the contracts keep them.

pub mod amount;
pub mod class;
pub mod consensus;
pub mod deal;
pub mod digest;
pub mod domain;
pub mod ids;
pub mod ledger;
pub mod order;
pub mod payout;
pub mod round;
pub mod rule;
pub mod single;
pub mod task;
pub mod time;

pub use amount::Amount;
pub use class::Class;
pub use deal::{Deadlines, DealTerms};
pub use digest::{Failure, ResultDigest};
pub use ids::{
    AccountAddr, AssetId, AssetKind, DealId, JobHash, OperatorAddr, OrderHash, RecordId, RoundId, TaskId, WorkerAddr,
};
pub use time::Timestamp;
