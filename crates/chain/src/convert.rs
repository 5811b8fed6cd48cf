//! From the contracts' ABI to the protocol's types.

use thiserror::Error;

/// A log is not what its contract's ABI says.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Its bytes don't fit its event.
    #[error("the log does not fit its event")]
    Abi(#[from] alloy::sol_types::Error),
    /// A value in it is none that the contract can emit.
    #[error("{what} can't be {value}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What it is.
        value: String,
    },
}
