//! A whole market of real parts for tests and benchmarks: the `berth` binary, anvil, the Docker engine.
//!
//! It mocks nothing, and knows the programs only from outside: command lines, exit codes, documents, signals, the
//! chain and the engine. [`world`] is a devnet that leaves nothing behind; [`binary`] runs the program, [`process`] kills
//! and restarts services, [`engine`] and [`chain`] look at what they did, [`dockerd`] is an engine of a test's own and
//! [`registry`] where images come from, [`books`] adds up every wei, [`proxy`] is a network that can be cut, and
//! [`files`] a server that is none of ours. What they make is in a [`folder`] that takes along what is mounted in it.

pub mod binary;
pub mod books;
pub mod chain;
pub mod dockerd;
pub mod engine;
pub mod files;
pub mod folder;
pub mod process;
pub mod proxy;
pub mod receipt;
pub mod registry;
pub mod world;
