//! Typed callers of the HTTP interfaces. Each call has a deadline and retries nothing, but those that move
//! files (`transfer`).

mod http;
mod market;
mod scheduler;
mod transfer;

pub use http::ClientError;
pub use market::MarketClient;
pub use scheduler::{Proven, SchedulerClient};
pub use transfer::measure;
