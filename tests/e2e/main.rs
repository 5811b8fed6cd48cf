//! The market from outside: the real program, a real chain, real containers.

mod bad_input;
mod called;
mod deploying;
mod detached;
mod failing;
mod machines;
mod moving;
mod owning;
mod paid;
mod replicated;
mod slurm;
mod stopping;
mod xtremweb;
