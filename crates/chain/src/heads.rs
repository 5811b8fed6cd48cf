//! Tells when to look at the chain again: at each new head where the node tells of them, else by the clock.

use crate::rpc::Endpoint;
use alloy::{
    network::Ethereum,
    providers::{Provider, RootProvider},
    pubsub::RawSubscription,
    rpc::client::ClientBuilder,
    transports::{TransportError, ws::WsConnect},
};
use core::{fmt, time::Duration};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, timeout},
};

/// How long a node may take to accept a subscription before polling goes on without it.
const SUBSCRIBE_DEADLINE: Duration = Duration::from_secs(5);
/// How long to poll after a subscription failed before the next attempt.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(5);
/// With a subscription, how often to look all the same: a node tells nothing when its head goes back.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// A source of reasons to look at the chain.
pub(crate) struct Heads {
    endpoint: Endpoint,
    poll: Duration,
    live: Option<Live>,
    next_attempt: Instant,
}

struct Live {
    /// The subscription ends when its connection is dropped.
    _connection: RootProvider<Ethereum>,
    heads: RawSubscription,
}

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heads").field("live", &self.live.is_some()).finish_non_exhaustive()
    }
}

impl Heads {
    pub(crate) fn new(endpoint: Endpoint, poll: Duration) -> Self {
        Self { endpoint, poll, live: None, next_attempt: Instant::now() }
    }

    /// Waits until there may be a new head.
    ///
    /// # Cancel safety
    /// Safe: what is dropped is a reason to look, and the next call soon has another.
    pub(crate) async fn changed(&mut self) {
        if self.live.is_none() && self.endpoint.heads().is_some() && Instant::now() >= self.next_attempt {
            self.next_attempt = Instant::now() + RESUBSCRIBE_AFTER;
            self.live = self.subscribe().await;
            if self.live.is_some() {
                // A head may have come before the subscription began.
                return;
            }
        }
        let Some(live) = &mut self.live else {
            tokio::time::sleep(self.poll).await;
            return;
        };
        match timeout(self.poll.max(LOOK_ANYWAY), live.heads.recv()).await {
            Ok(Ok(_) | Err(RecvError::Lagged(_))) => while live.heads.try_recv().is_ok() {},
            Ok(Err(RecvError::Closed)) => {
                tracing::warn!(node = %self.endpoint, "the node's subscription to heads ended; polling");
                self.live = None;
            }
            Err(_) => {}
        }
    }

    async fn subscribe(&self) -> Option<Live> {
        let attempt = async {
            // No retries beneath: polling goes on meanwhile, and the next attempt is made here.
            let url = self.endpoint.heads().expect("asked only where there is one").as_str();
            let connect = WsConnect::new(url).with_max_retries(0);
            let client = ClientBuilder::default().ws(connect).await?;
            let connection = RootProvider::<Ethereum>::new(client);
            let heads = connection.subscribe_blocks().await?.into_raw();
            Ok::<_, TransportError>(Live { _connection: connection, heads })
        };
        // Dropping the attempt half-way only drops a connection.
        match timeout(SUBSCRIBE_DEADLINE, Box::pin(attempt)).await {
            Ok(Ok(live)) => Some(live),
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(node = %self.endpoint, "the node tells of no heads; polling");
                None
            }
        }
    }
}
