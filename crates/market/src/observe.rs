//! What the order book tells of itself: one function an event.

use berth_protocol::OrderHash;
use core::{error::Error, fmt::Display, net::SocketAddr};

pub(crate) fn listening(address: SocketAddr) {
    tracing::info!(%address, "the order book listens");
}

pub(crate) fn order_published(order: OrderHash, kind: &str) {
    tracing::info!(%order, kind, "an order is in the book");
}

pub(crate) fn order_refused(kind: &str, cause: &dyn Display) {
    tracing::info!(kind, %cause, "an order was not taken");
}

pub(crate) fn call_failed(error: &dyn Error) {
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        next = cause.source();
    }
    tracing::error!(error = causes, "a call failed");
}
