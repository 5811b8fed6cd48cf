//! The worker against a real Docker engine (`DOCKER_HOST`, or the default socket).

mod confinement;
mod endings;
mod outputs;
mod restart;
mod support;
