//! The socket to a worker: signs it in, pushes its mail, hears its heartbeats and takes its reports.

use super::{Api, auth, live};
use crate::{
    act::{ActError, Refusal, ReportFailure},
    clock, observe,
    presence::Line,
    store::{self, bond::Bond, session::Caller},
};
use alloy::primitives::{Address, B256};
use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use berth_chain::{follow::Health, signer::recover};
use berth_protocol::{TaskId, WorkerAddr, domain::Session};
use berth_wire::worker::{Announced, Hello, MAX_FRAME_BYTES, ToScheduler, ToWorker, VERSION};
use core::time::Duration;
use rand::RngCore as _;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a worker has to sign in.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How long a worker's sign-in waits for the chain to be read.
const CATCH_UP_WAIT: Duration = Duration::from_secs(6);
/// How long it waits for a bond that may be in the next blocks of a fast chain.
const BLOCK_WAIT: Duration = Duration::from_secs(1);
/// How long a message may take to leave: a worker that takes nothing for so long is gone.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// The longest session of a worker.
const MAX_SESSION_S: u64 = 7 * 24 * 60 * 60;
/// What a connection gathers before it reads or writes: most messages are far smaller.
const BUFFER_BYTES: usize = 4 << 10;
/// Letters that are read at once.
const LETTERS: u32 = 64;

pub(super) async fn connect(State(api): State<Arc<Api>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        // The usual 128 KiB each would be gigabytes for thousands of idle workers.
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(|socket| async move { Connection { api, socket }.serve().await })
}

/// Why a connection ends.
#[derive(Debug)]
enum Over {
    /// The worker closed it, or the network did.
    Closed,
    /// Nothing was heard of it for too long.
    Silent,
    /// The same worker has connected anew.
    Displaced,
    /// Its session is over.
    Expired,
    /// The scheduler stops.
    Stopping,
    /// It says what no worker says.
    Garbled,
    /// The scheduler failed.
    Failed,
}

impl Over {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "its connection was closed",
            Self::Silent => "it was silent for too long",
            Self::Displaced => "it has connected anew",
            Self::Expired => "its session is over",
            Self::Stopping => "the scheduler stops",
            Self::Garbled => "it says what no worker says",
            Self::Failed => "the scheduler failed",
        }
    }
}

impl From<ActError> for Over {
    fn from(error: ActError) -> Self {
        observe::request_failed(&error);
        Self::Failed
    }
}

impl From<berth_chain::StoreError> for Over {
    fn from(error: berth_chain::StoreError) -> Self {
        observe::request_failed(&error);
        Self::Failed
    }
}

impl From<sqlx::Error> for Over {
    fn from(error: sqlx::Error) -> Self {
        observe::request_failed(&error);
        Self::Failed
    }
}

/// Why a worker is turned away.
struct Rejected {
    code: &'static str,
    detail: String,
    hint: &'static str,
}

struct Connection {
    api: Arc<Api>,
    socket: WebSocket,
}

impl Connection {
    async fn serve(mut self) {
        let mut nonce = B256::ZERO;
        rand::rngs::OsRng.fill_bytes(nonce.as_mut_slice());
        let Some(hello) = self.greet(nonce).await else { return };
        let worker = WorkerAddr::new(hello.worker);
        if let Err(Rejected { code, detail, hint }) = admit(&self.api, &hello, nonce).await {
            observe::worker_rejected(worker, code);
            let rejected = ToWorker::Rejected { code: code.to_owned(), detail, hint: hint.to_owned() };
            drop(self.say(&rejected).await);
            return self.close().await;
        }
        let holding = hello.holding.iter().copied().map(TaskId::new).collect();
        let line = self.api.presence.arrive(worker, hello.announced.clone(), holding);
        observe::worker_joined(worker, &hello.software, hello.announced.said.capacity.slots);
        let over = match self.talk(worker, &hello, &line).await {
            Ok(never) => match never {},
            Err(over) => over,
        };
        let silent_for = if matches!(over, Over::Silent) { self.api.silence } else { Duration::ZERO };
        self.api.presence.leave(worker, &line, silent_for);
        self.api.signals.wake();
        observe::worker_left(worker, over.reason());
        if matches!(over, Over::Displaced) {
            let rejected = ToWorker::Rejected {
                code: "duplicate".to_owned(),
                detail: "this worker has connected a second time".to_owned(),
                hint: "run one worker with one key; if another machine has this key, unbond it".to_owned(),
            };
            drop(self.say(&rejected).await);
        }
        self.close().await;
    }

    /// Says who is here, and hears who is there.
    async fn greet(&mut self, nonce: B256) -> Option<Hello> {
        let challenge = ToWorker::Challenge {
            version: VERSION,
            pool: self.api.pool,
            operator: self.api.operator.get(),
            chain_id: self.api.domain.chain_id,
            berth: self.api.domain.berth,
            nonce,
        };
        self.say(&challenge).await.ok()?;
        match timeout(HELLO_DEADLINE, self.hear()).await {
            Ok(Ok(ToScheduler::Hello(hello))) => Some(*hello),
            Ok(Ok(_) | Err(_)) | Err(_) => None,
        }
    }

    async fn talk(
        &mut self,
        worker: WorkerAddr,
        hello: &Hello,
        line: &Line,
    ) -> Result<core::convert::Infallible, Over> {
        let now = clock::now_s();
        let expiry = hello.expiry.min(now + MAX_SESSION_S);
        let over_at = Instant::now() + Duration::from_secs(expiry.saturating_sub(now));
        self.welcome(worker, hello, expiry).await?;
        self.api.signals.wake();
        let mut sent = hello.last_seq;
        let mut heard = Instant::now();
        let mut has_mail = true;
        loop {
            if core::mem::take(&mut has_mail) {
                sent = self.deliver(worker, sent).await?;
            }
            tokio::select! {
                biased;
                () = self.api.stop.cancelled() => return Err(Over::Stopping),
                () = line.displaced.cancelled() => return Err(Over::Displaced),
                message = Self::next(&mut self.socket) => {
                    heard = Instant::now();
                    if let Some(message) = message? {
                        self.take(worker, line, message).await?;
                    }
                }
                () = line.bell.notified() => has_mail = true,
                () = sleep_until(heard + self.api.silence) => return Err(Over::Silent),
                () = sleep_until(over_at) => return Err(Over::Expired),
            }
        }
    }

    async fn welcome(&mut self, worker: WorkerAddr, hello: &Hello, expiry: u64) -> Result<(), Over> {
        let token = auth::open_for_worker(&self.api, Caller::Worker(worker.get()), expiry).await?;
        let mut tx = self.api.db.write().await?;
        store::mail::resume(&mut tx, worker, hello.last_seq).await?;
        let bond = store::bond::of(&mut tx, worker).await?;
        tx.commit().await?;
        let welcome = ToWorker::Welcome {
            token,
            heartbeat_ms: u64::try_from(self.api.heartbeat.as_millis()).unwrap_or(u64::MAX),
            bond: bond.map(|bond| bond.bonded.into()).unwrap_or_default(),
            score: bond.map(|bond| bond.score).unwrap_or_default(),
        };
        self.say(&welcome).await
    }

    /// Sends the letters after number `sent`; gives the number of the last one.
    async fn deliver(&mut self, worker: WorkerAddr, mut sent: u64) -> Result<u64, Over> {
        loop {
            let letters = {
                let mut tx = self.api.db.read().await?;
                store::mail::after(&mut tx, worker, sent, LETTERS).await?
            };
            if letters.is_empty() {
                return Ok(sent);
            }
            for (seq, mail) in letters {
                self.say(&ToWorker::Mail { seq, mail }).await?;
                sent = seq;
            }
        }
    }

    async fn take(&mut self, worker: WorkerAddr, line: &Line, message: ToScheduler) -> Result<(), Over> {
        let api = self.api.clone();
        let tip = *api.tip.borrow();
        match message {
            ToScheduler::Hello(_) => return Err(Over::Garbled),
            ToScheduler::Announce(announced) if is_own(&api, worker.get(), &announced) => {
                if api.presence.announce(worker, line, *announced) {
                    api.signals.wake();
                }
            }
            ToScheduler::Announce(_) => {
                let detail = "the announcement is not signed by the worker; the one before it counts".to_owned();
                self.say(&ToWorker::Refused { task: None, code: "bad-signature".to_owned(), detail }).await?;
            }
            ToScheduler::Heartbeat { running } => {
                api.presence.beat(worker, line, running.into_iter().map(TaskId::new).collect());
            }
            ToScheduler::Ack { seq } => {
                api.presence.acking(worker, line);
                let mut tx = api.db.write().await?;
                store::mail::ack(&mut tx, worker, seq).await?;
                tx.commit().await?;
            }
            ToScheduler::Progress { task, stage } => {
                api.actor.progress(worker, TaskId::new(task), stage).await?;
            }
            ToScheduler::Says { task, said } => {
                live::take(&api, &api.live, worker, (TaskId::new(task), &said)).await?;
            }
            ToScheduler::Decline { task, code, detail } => {
                api.actor.declined(worker, TaskId::new(task), (&code, &detail), tip).await?;
            }
            ToScheduler::Report(report) => {
                let taken = api.actor.report(&api.blobs, worker, &report, tip).await;
                self.answer(taken).await?;
            }
            ToScheduler::Commit(commit) => self.answer(api.actor.commit(worker, &commit, tip).await).await?,
            ToScheduler::Reveal(reveal) => self.answer(api.actor.reveal(worker, &reveal).await).await?,
            ToScheduler::Deliver(deliver) => {
                let taken = api.actor.deliver(&api.blobs, worker, &deliver).await;
                self.answer(taken).await?;
            }
        }
        Ok(())
    }

    /// Says why something was not taken.
    async fn answer(&mut self, taken: Result<(), ReportFailure>) -> Result<(), Over> {
        match taken {
            Ok(()) => Ok(()),
            Err(ReportFailure::Act(error)) => Err(error.into()),
            Err(ReportFailure::Refused(Refusal { task, code, detail })) => {
                self.say(&ToWorker::Refused { task, code: code.to_owned(), detail }).await
            }
        }
    }

    async fn say(&mut self, message: &ToWorker) -> Result<(), Over> {
        let text = serde_json::to_string(message).expect("our messages have string keys and always serialise");
        // Whoever is cut off in the middle of a frame is not talked to again.
        match timeout(SEND_DEADLINE, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Over::Closed),
            Err(_) => Err(Over::Silent),
        }
    }

    async fn hear(&mut self) -> Result<ToScheduler, Over> {
        loop {
            if let Some(message) = Self::next(&mut self.socket).await? {
                return Ok(message);
            }
        }
    }

    /// The next frame; `None` for one that says nothing.
    ///
    /// # Cancel safety
    /// Safe: the socket keeps what it has read of a frame.
    async fn next(socket: &mut WebSocket) -> Result<Option<ToScheduler>, Over> {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).map(Some).map_err(|_| Over::Garbled),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
            Some(Ok(Message::Binary(_))) => Err(Over::Garbled),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Over::Closed),
        }
    }

    async fn close(mut self) {
        // The other side may be gone.
        drop(timeout(SEND_DEADLINE, self.socket.send(Message::Close(None))).await);
    }
}

/// Whether a worker stands for what is said of it.
fn is_own(api: &Api, worker: Address, announced: &Announced) -> bool {
    let statement = announced.said.statement(api.pool, announced.at_ms);
    recover(api.domain.digest(&statement), &announced.signature) == Some(worker)
}

/// Whether a worker may come in.
async fn admit(api: &Api, hello: &Hello, nonce: B256) -> Result<(), Rejected> {
    if hello.version != VERSION {
        let detail = format!("the worker speaks version {}, this scheduler version {VERSION}", hello.version);
        return Err(Rejected { code: "version", detail, hint: "install the version that the pool's operator runs" });
    }
    let now = clock::now_s();
    let session = Session { pool: api.pool, operator: api.operator.get(), nonce, expiry: hello.expiry };
    let signer = recover(api.domain.digest(&session), &hello.signature);
    if signer != Some(hello.worker) || hello.expiry <= now || !is_own(api, hello.worker, &hello.announced) {
        let detail = format!("the sign-in, or what is announced with it, is not {}'s, or is over", hello.worker);
        let hint = "check the worker's key, its clock, and that pool, chain and contract are the right ones";
        return Err(Rejected { code: "bad-signature", detail, hint });
    }
    match bond(api, WorkerAddr::new(hello.worker)).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Rejected {
            code: "not-bonded",
            detail: format!("{} has no bond in pool {}", hello.worker, api.pool),
            hint: "its owner bonds it first: berth worker bond",
        }),
        Err(error) => {
            observe::request_failed(&error);
            let detail = "the scheduler can't read its database".to_owned();
            Err(Rejected { code: "unavailable", detail, hint: "try again" })
        }
    }
}

/// A worker's bond. One that is not known yet may stand in a block that is just being read, so the next blocks are
/// waited for; at the start, until the chain's head is reached.
async fn bond(api: &Api, worker: WorkerAddr) -> Result<Option<Bond>, berth_chain::StoreError> {
    let (mut tip, mut follower) = (api.tip.clone(), api.follower.clone());
    // Whoever waits in vain is told that there is no bond, as far as is known.
    drop(timeout(CATCH_UP_WAIT, follower.wait_for(|health| *health != Health::Starting)).await);
    let deadline = Instant::now() + BLOCK_WAIT;
    loop {
        tip.mark_unchanged();
        let mut tx = api.db.read().await?;
        let bond = store::bond::of(&mut tx, worker).await?;
        drop(tx);
        let is_over = bond.is_some() || tokio::time::timeout_at(deadline, tip.changed()).await.is_err();
        if is_over {
            return Ok(bond);
        }
    }
}
