//! The chain adapter on a real anvil.

mod contracts;
mod follow;
mod outbox;
mod signer;
mod support;
