use super::{ClientError, http::Http};
use crate::market::{Info, Listed, Page, Publication, Published, PublishedJob, Query};
use alloy::primitives::B256;

/// Calls an order book.
#[derive(Debug, Clone)]
pub struct MarketClient(Http);

impl MarketClient {
    /// The book at this URL.
    pub fn new(url: &str) -> Self {
        Self(Http::new(url))
    }

    /// Where its orders are good.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.0.get("/v1/info").await
    }

    /// Publishes an order.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` with what is wrong with the order.
    pub async fn publish(&self, order: &Publication) -> Result<Published, ClientError> {
        self.0.post("/v1/orders", order).await
    }

    /// Lists orders.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn orders(&self, query: &Query) -> Result<Page, ClientError> {
        self.0.query("/v1/orders", query).await
    }

    /// One order.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn order(&self, hash: B256) -> Result<Listed, ClientError> {
        self.0.get(&format!("/v1/orders/{hash}")).await
    }

    /// Publishes a job document.
    ///
    /// # Errors
    /// [`ClientError`]; `Refused` with what is wrong with the job.
    pub async fn publish_job(&self, canonical: Vec<u8>) -> Result<PublishedJob, ClientError> {
        self.0.post_bytes("/v1/jobs", canonical).await
    }
}
