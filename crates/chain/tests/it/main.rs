//! The chain adapter on a real anvil.

mod contracts;
mod deploying;
mod follow;
mod interop;
mod outbox;
mod signer;
mod support;
