//! What is local to a worker: declared by its owner, probed before it is announced, and looked at again and again.

mod declare;
mod probe;
mod shelf;

pub(crate) use shelf::{Me, Shelf, Stock};
