//! One connection to a scheduler: opening it, signing in, and messages one by one.

use crate::clock::now_s;
use berth_chain::signer::Signer;
use berth_protocol::{AssetId, domain::Domain, domain::Session};
use berth_wire::worker::{Hello, MAX_FRAME_BYTES, ToScheduler, ToWorker, VERSION};
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};

/// A scheduler that does not answer within this is not there.
const ANSWER_TAKES: Duration = Duration::from_secs(10);
/// A session ends after a day: a stolen one is worth no more than that.
const SESSION_S: u64 = 24 * 60 * 60;
/// Read buffer of a connection. The library's own, 128 KiB, is more than an idle worker needs.
const BUFFER_BYTES: usize = 8 << 10;

/// A connection that can't be made or has ended.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Nobody there, or no longer.
    #[error("the scheduler can't be reached")]
    Lost(#[source] Box<tungstenite::Error>),
    /// Silence.
    #[error("the scheduler does not answer")]
    Silent,
    /// It closed the connection.
    #[error("the scheduler closed the connection")]
    Closed,
    /// It says what no scheduler says.
    #[error("the scheduler says what this worker does not understand: {0}")]
    Foreign(String),
    /// It is another pool's, or of another chain.
    #[error("the scheduler is of {found}, not of {wanted}")]
    Elsewhere {
        /// Where it is.
        found: String,
        /// Where the worker is.
        wanted: String,
    },
    /// It turns the worker away.
    #[error("the scheduler turns this worker away ({code}): {detail}")]
    Rejected {
        /// Stable.
        code: String,
        /// For the owner.
        detail: String,
        /// What to do.
        hint: String,
    },
}

impl From<tungstenite::Error> for SocketError {
    fn from(error: tungstenite::Error) -> Self {
        if matches!(error, tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) {
            Self::Closed
        } else {
            Self::Lost(Box::new(error))
        }
    }
}

/// What the scheduler said at the sign-in.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) token: String,
    pub(crate) heartbeat: Duration,
    pub(crate) bond: u128,
    pub(crate) score: u32,
}

/// Who signs in, and where.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) scheduler: String,
    pub(crate) pool: AssetId,
    pub(crate) domain: Domain,
    pub(crate) key: Signer,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects and signs in. `hello` has everything but version, expiry and signature.
    pub(crate) async fn open(caller: &Caller, hello: Hello) -> Result<(Self, Welcome), SocketError> {
        let base = caller.scheduler.trim_end_matches('/');
        // http becomes ws, https becomes wss.
        let url = format!("ws{}/v1/worker", base.strip_prefix("http").unwrap_or(base));
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES))
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0);
        let connecting = connect_async_with_config(url, Some(config), true);
        let (stream, _) = timeout(ANSWER_TAKES, connecting).await.map_err(|_| SocketError::Silent)??;
        let mut socket = Self(stream);
        let hello = caller.answer(socket.expect().await?, hello)?;
        socket.send(&ToScheduler::Hello(Box::new(hello))).await?;
        match socket.expect().await? {
            ToWorker::Welcome { token, heartbeat_ms, bond, score } => {
                let heartbeat = Duration::from_millis(heartbeat_ms.max(1));
                Ok((socket, Welcome { token, heartbeat, bond: bond.0, score }))
            }
            ToWorker::Rejected { code, detail, hint } => Err(SocketError::Rejected { code, detail, hint }),
            other @ (ToWorker::Challenge { .. } | ToWorker::Mail { .. } | ToWorker::Refused { .. }) => {
                Err(SocketError::Foreign(format!("{other:?}")))
            }
        }
    }

    async fn expect(&mut self) -> Result<ToWorker, SocketError> {
        loop {
            let said = timeout(ANSWER_TAKES, self.next()).await.map_err(|_| SocketError::Silent)??;
            if let Some(message) = said {
                return Ok(message);
            }
        }
    }

    /// The next thing that the scheduler says; `None` for a sign of life without words.
    ///
    /// # Cancel safety
    /// Cancel-safe: no message is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<ToWorker>, SocketError> {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => {
                serde_json::from_str(&text).map(Some).map_err(|error| SocketError::Foreign(error.to_string()))
            }
            Some(Ok(Message::Close(_))) | None => Err(SocketError::Closed),
            Some(Ok(Message::Binary(_))) => Err(SocketError::Foreign("bytes that are no text".to_owned())),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Says something.
    pub(crate) async fn send(&mut self, message: &ToScheduler) -> Result<(), SocketError> {
        let text = serde_json::to_string(message).expect("messages have string keys and whole numbers");
        self.deliver(Message::text(text)).await
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&mut self) -> Result<(), SocketError> {
        self.deliver(Message::Ping(tungstenite::Bytes::new())).await
    }

    async fn deliver(&mut self, message: Message) -> Result<(), SocketError> {
        timeout(ANSWER_TAKES, self.0.send(message)).await.map_err(|_| SocketError::Silent)?.map_err(SocketError::from)
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        // A connection that can't even be closed is closed.
        drop(timeout(ANSWER_TAKES, self.0.close(None)).await);
    }
}

impl Caller {
    /// Checks who is asking, and signs.
    fn answer(&self, challenge: ToWorker, mut hello: Hello) -> Result<Hello, SocketError> {
        let (version, pool, operator, chain_id, berth, nonce) = match challenge {
            ToWorker::Challenge { version, pool, operator, chain_id, berth, nonce } => {
                (version, pool, operator, chain_id, berth, nonce)
            }
            ToWorker::Rejected { code, detail, hint } => return Err(SocketError::Rejected { code, detail, hint }),
            other @ (ToWorker::Welcome { .. } | ToWorker::Mail { .. } | ToWorker::Refused { .. }) => {
                return Err(SocketError::Foreign(format!("{other:?}")));
            }
        };
        if version != VERSION {
            return Err(SocketError::Rejected {
                code: "version".to_owned(),
                detail: format!("the scheduler speaks version {version}, this worker version {VERSION}"),
                hint: "install the version that the pool's operator runs".to_owned(),
            });
        }
        let words = |pool, berth, chain| format!("pool {pool} (contract {berth}, chain {chain})");
        let found = words(pool, berth, chain_id);
        let wanted = words(self.pool.get(), self.domain.berth, self.domain.chain_id);
        if found != wanted {
            return Err(SocketError::Elsewhere { found, wanted });
        }
        hello.version = VERSION;
        hello.expiry = now_s() + SESSION_S;
        let session = Session { pool, operator, nonce, expiry: hello.expiry };
        hello.signature = self.key.sign(&self.domain, &session);
        Ok(hello)
    }
}
