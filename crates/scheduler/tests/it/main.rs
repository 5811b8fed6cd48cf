//! A real scheduler on a real chain with the real contracts, asked over real HTTP and WebSocket. Its workers are
//! scripted: they say what a worker says, and run nothing.

mod access;
mod crash;
mod paid;
mod possession;
mod reorg;
mod replicated;
mod resume;
mod s3;
mod sealed;
mod seaweed;
/// What the S3 server is configured by.
mod settings {
    pub(crate) use berth_scheduler::{Results, S3, S3Key, StoreKind};
}
mod start;
mod support;
