//! x
use crate::{args, hint::Failure, render::Report};
pub(super) async fn up(_: args::Up) -> Result<Report, Failure> { Err(Failure::usage("x", "x")) }
pub(super) async fn down(_: &args::Down) -> Result<Report, Failure> { Err(Failure::usage("x", "x")) }
pub(super) async fn status(_: &args::Status) -> Result<Report, Failure> { Err(Failure::usage("x", "x")) }
