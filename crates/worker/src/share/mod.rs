//! What is local to a worker: declared by its owner, probed before it is announced.

mod declare;
mod probe;

pub(crate) use declare::{capacity, only};
pub(crate) use probe::engines;
