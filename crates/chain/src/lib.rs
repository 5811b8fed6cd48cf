//! All of Ethereum that Berth needs, and nothing of its policy.

pub mod anvil;
pub mod bindings;
pub mod block;
pub mod class;
pub mod convert;
pub mod follow;
mod heads;
pub mod identity;
pub mod outbox;
pub mod refusal;
pub mod rpc;
pub mod signer;
mod store;
pub mod tool;

pub use block::{BlockNumber, BlockRef};
pub use class::Class;
pub use rpc::{Endpoint, Rpc, RpcError};
pub use store::{StoreError, migrate};
