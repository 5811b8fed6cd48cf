//! The chain adapter on a real anvil.

mod follow;
mod outbox;
mod signer;
mod support;
