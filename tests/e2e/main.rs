//! The market from outside: the real program, a real chain, real containers.

mod bad_input;
mod called;
#[path = "../../crates/worker/tests/it/cluster.rs"]
mod cluster;
mod deploying;
mod detached;
mod elsewhere;
mod engines;
mod failing;
mod following;
mod lying;
mod machines;
mod moving;
mod owning;
mod paid;
mod replicated;
#[path = "../../crates/scheduler/tests/it/seaweed.rs"]
mod seaweed;
/// What the S3 server is configured by.
mod settings {
    pub(crate) use berth_scheduler::{Results, S3, S3Key, StoreKind};
}
mod sealed;
mod sharing;
mod slurm;
mod sponsored;
mod stopping;
mod stored;
mod trying;
mod xtremweb;
