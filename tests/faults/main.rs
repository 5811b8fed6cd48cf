//! Everything is lost once: processes at every point of a task's life, containers, networks.

mod killed;
mod lost;
