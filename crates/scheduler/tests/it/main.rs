//! A real scheduler on a real chain with the real contracts, asked over real HTTP and WebSocket. Its workers are
//! scripted: they say what a worker says, and run nothing.

mod access;
mod crash;
mod paid;
mod possession;
mod reorg;
mod replicated;
mod start;
mod support;
