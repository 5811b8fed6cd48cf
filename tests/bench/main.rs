//! Measures what `docs/benchmarks.md` lists, one JSON object per line on standard output.
//!
//!     bench gas|classes|latency|footprint|runtimes
//!
//! Everything is measured on the real thing: a local chain, the real programs, a real Docker engine.

mod footprint;
mod gas;
mod latency;
mod report;
mod runtimes;

use eyre::bail;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    report::complain(&error);
    ExitCode::FAILURE
}

fn run() -> eyre::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["gas"] => runtime.block_on(gas::measure()),
        ["classes"] => runtime.block_on(gas::measure_classes()),
        ["latency"] => runtime.block_on(latency::measure()),
        ["runtimes"] => runtime.block_on(runtimes::measure()),
        ["footprint"] => runtime.block_on(footprint::measure()),
        _ => bail!("usage: bench gas|classes|latency|footprint|runtimes"),
    }
}
