//! Typed callers of the HTTP interfaces. Each call has a deadline and retries nothing.

mod http;
mod market;
mod scheduler;

pub use http::ClientError;
pub use market::MarketClient;
pub use scheduler::{Proven, SchedulerClient};
