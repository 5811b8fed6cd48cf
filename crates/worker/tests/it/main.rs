//! The worker against a real Docker engine (`DOCKER_HOST`, or the default socket), real virtual machines, and a real
//! journal.

mod assigned;
mod bed;
mod cached;
mod cluster;
mod confinement;
mod conformance;
mod endings;
mod engine;
mod gvisor;
mod hostile;
mod iexec;
mod journals;
mod letters;
mod machines;
mod outputs;
mod restart;
mod rounds;
mod slurm;
mod support;
mod virtualbox;
