//! The worker against a real Docker engine (`DOCKER_HOST`, or the default socket) and a real journal.

mod assigned;
mod confinement;
mod endings;
mod engine;
mod journals;
mod letters;
mod outputs;
mod restart;
mod rounds;
mod support;
