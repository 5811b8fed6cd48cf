//! All of Ethereum that Berth needs, and nothing of its policy.
//!
//! It never decides what to match, settle or claim, and knows no HTTP but the node's. In the order in which a consumer
//! meets them:
//!
//! * where: [`rpc`] calls a node, with a deadline on each call; [`deploy`] puts the contracts on a chain and checks that
//!   they are there; [`anvil`] runs a local chain, [`tool`] finds the program, [`port`] a place for it;
//!   [`identity`] ties a database to one chain;
//! * in: [`follow`] brings every log into the consumer's tables exactly once and takes it back with its block;
//!   [`convert`] makes the protocol's events of logs, [`read`] its state of calls, [`refusal`] its refusals of reverts;
//!   [`past`] looks back without any tables;
//! * out: [`signer`] keeps keys and signs, [`typed`] is what other wallets sign; [`call`] says what to send; [`outbox`] sees to it that it is mined once;
//! * [`clock`] tells the chain's time from the machine's.
//!
//! [`bindings`] are the contracts as their ABIs have them; beyond this crate nobody needs them. Both the follower and the
//! outbox keep tables in the consumer's SQLite database, beside its own: call [`migrate`] on it first.

pub mod anvil;
pub mod bindings;
pub mod block;
pub mod call;
pub mod clock;
pub mod convert;
pub mod deploy;
pub mod follow;
mod heads;
pub mod identity;
pub mod outbox;
pub mod past;
pub mod port;
pub mod read;
pub mod refusal;
pub mod rpc;
pub mod signer;
mod store;
pub mod tool;
pub mod typed;

pub use berth_protocol::Class;
pub use block::{BlockNumber, BlockRef};
pub use deploy::Deployment;
pub use rpc::{Endpoint, Rpc, RpcError};
pub use store::{StoreError, migrate};
