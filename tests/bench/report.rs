//! What is printed: data on standard output, one JSON object a line; complaints on standard error.

use serde::Serialize;
use serde_json::{Map, Value};
use std::io::Write as _;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) bench: &'static str,
    pub(crate) op: &'static str,
    pub(crate) value: Value,
    pub(crate) unit: &'static str,
    /// Circumstances that a reader needs to judge it, such as the machine's load.
    #[serde(flatten)]
    pub(crate) beside: Map<String, Value>,
}

impl Figure {
    /// Prints it.
    pub(crate) fn print(&self) -> eyre::Result<()> {
        let line = serde_json::to_string(self)?;
        Ok(writeln!(std::io::stdout().lock(), "{line}")?)
    }
}

/// Says why there is no figure.
pub(crate) fn complain(error: &eyre::Report) {
    // Nobody is left to tell if standard error is gone.
    drop(writeln!(std::io::stderr().lock(), "error: {error:#}"));
}

/// The machine's load over the last minute, as the kernel says it.
pub(crate) fn load() -> eyre::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
