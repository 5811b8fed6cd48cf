//! The worker against a real Docker engine (`DOCKER_HOST`, or the default socket) and a real journal.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the one variant that it wants; all others fail it")]

mod assigned;
mod confinement;
mod endings;
mod engine;
mod journals;
mod letters;
mod outputs;
mod restart;
mod support;
