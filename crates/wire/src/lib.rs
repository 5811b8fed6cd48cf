//! Everything that passes between two of Berth's programs, and the documents that are hashed: one module a format, each
//! converting to and from `protocol`'s types, and a typed client.
//!
//! It decides nothing and keeps nothing. All JSON is versioned by the `/v1/` of its path, or by its `version` member.
//!
//! [`job`] what a requester wants run, with the [`name`]s of what it needs and the [`address`]es of its inputs,
//! [`descriptor`] what an asset is, with its [`disk`], [`manifest`] what came out, and [`sealed`] the same for one
//! reader; [`order`] and [`deal`] the signed and agreed terms; [`auth`] who is asking; [`worker`] the scheduler's socket
//! to its workers, with the [`announcement`] of what each shares; [`scheduler`] and [`market`] the HTTP interfaces;
//! [`problem`] how all of them say no; [`client`] calls them.

pub mod address;
pub mod announcement;
pub mod auth;
pub mod canonical;
pub mod client;
pub mod deal;
pub mod descriptor;
pub mod disk;
pub mod job;
pub mod manifest;
pub mod market;
pub mod name;
pub mod order;
pub mod problem;
pub mod scheduler;
pub mod sealed;
pub mod units;
pub mod worker;
