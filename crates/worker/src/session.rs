//! Staying connected: takes mail into the journal and only then acknowledges it; tells the scheduler whatever the journal
//! says that it was not told. After a break it connects again and both sides go on where they were.

use crate::{
    assignment::{DeclineCode, chain},
    clock::now_ms,
    journal::{Journal, JournalError, Phase, Received, Row},
    observe,
    share::Stock,
    socket::{Caller, Socket, SocketError, Welcome},
    status::Board,
    told::Told,
};
use berth_chain::Class;
use berth_protocol::{DealId, DealTerms, TaskId, single::ListError, single::SingleList};
use berth_wire::{
    client::SchedulerClient,
    worker::{Announced, Announcement, Hello, Report, Said, Stage, ToScheduler, ToWorker, VERSION},
};
use rand::Rng as _;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// Pauses between connections: the first is short, because most breaks are a scheduler's restart.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The code with which a scheduler refuses the result of a task that is over.
const TASK_ENDED: &str = "ended";
/// A worker that is turned away asks again this often: its owner may bond it meanwhile.
const REJECTED_PAUSE: Duration = Duration::from_secs(2);
/// So many heartbeats without a sign of life, and the connection is dead.
const SILENT_HEARTBEATS: u32 = 4;
/// Progress is for people, and lost when the scheduler is slow.
const PROGRESS_QUEUE: usize = 64;

/// What tasks know of the connection.
#[derive(Debug)]
pub(crate) struct Link {
    client: watch::Receiver<Option<SchedulerClient>>,
    progress: mpsc::Sender<ToScheduler>,
    wake: Arc<Notify>,
    board: Arc<Board>,
}

impl Link {
    /// A client with a session, as soon as there is one. `None`: cancelled.
    pub(crate) async fn client(&self, cancel: &CancellationToken) -> Option<SchedulerClient> {
        let mut client = self.client.clone();
        let found = tokio::select! {
            () = cancel.cancelled() => return None,
            found = client.wait_for(Option::is_some) => found.ok()?.clone(),
        };
        found
    }

    /// The journal holds something that the scheduler was not told.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// A result can't be put into the pool's store.
    pub(crate) fn kept(&self, task: TaskId, code: DeclineCode, detail: &str) {
        self.board.refusal(task.to_string(), code.name(), detail);
    }

    pub(crate) fn declined(&self, task: TaskId, code: DeclineCode, detail: &str) {
        self.board.refusal(task.to_string(), code.name(), detail);
        self.wake();
    }

    /// Tells people what a job prints. `false`: not now.
    pub(crate) fn says(&self, task: TaskId, said: Said) -> bool {
        self.progress.try_send(ToScheduler::Says { task: task.get(), said }).is_ok()
    }

    /// Changes with each connection.
    pub(crate) fn connection(&self) -> watch::Receiver<Option<SchedulerClient>> {
        self.client.clone()
    }

    /// Tells people where a task is.
    pub(crate) fn progress(&self, task: TaskId, stage: Stage) {
        // Lost when the queue is full, as its doc says.
        drop(self.progress.try_send(ToScheduler::Progress { task: task.get(), stage }));
    }
}

/// A session that can't go on.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Turned away for good.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The journal fails.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal's results make no list.
    #[error("the results of deal {deal} make no list")]
    List {
        /// Which deal.
        deal: DealId,
        /// Why.
        #[source]
        source: ListError,
    },
}

impl SessionError {
    /// What to do about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Socket(_) => Class::Refused,
            Self::Journal(error) => error.class(),
            Self::List { .. } => Class::Bug,
        }
    }

    /// What the owner can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Socket(SocketError::Rejected { hint, .. }) => hint.clone(),
            Self::Socket(SocketError::Elsewhere { .. }) => {
                "give the pool and the scheduler that belong together in worker.toml, and the chain's deployment"
                    .to_owned()
            }
            Self::Socket(_) => "use a worker and a scheduler of the same version".to_owned(),
            Self::Journal(error) => error.hint(),
            Self::List { .. } => "this must not happen: report it with the worker's journal".to_owned(),
        }
    }
}

/// Everything that the connection needs.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) caller: Caller,
    pub(crate) journal: Journal,
    /// What is shared.
    pub(crate) stock: watch::Receiver<Arc<Stock>>,
    /// What the scheduler was last told of it.
    said: Option<Announcement>,
    pub(crate) board: Arc<Board>,
    /// Woken when tasks came or ended.
    pub(crate) tasks: Arc<Notify>,
    /// Woken when there is something to look for on chain.
    pub(crate) look: Arc<Notify>,
    base: SchedulerClient,
    client: watch::Sender<Option<SchedulerClient>>,
    progress: mpsc::Receiver<ToScheduler>,
    pub(crate) wake: Arc<Notify>,
    told: Told,
}

/// How a connection ended.
enum Break {
    Stopped,
    Lost(SocketError),
}

impl Session {
    pub(crate) fn new(
        caller: Caller,
        journal: Journal,
        stock: watch::Receiver<Arc<Stock>>,
        board: Arc<Board>,
    ) -> (Self, Link) {
        let (client, client_seen) = watch::channel(None);
        let (progress, progress_said) = mpsc::channel(PROGRESS_QUEUE);
        let wake = Arc::new(Notify::new());
        let base = SchedulerClient::new(&caller.scheduler);
        let link = Link { client: client_seen, progress, wake: wake.clone(), board: board.clone() };
        let (tasks, look) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let session = Self {
            caller,
            journal,
            stock,
            said: None,
            board,
            tasks,
            look,
            base,
            client,
            progress: progress_said,
            wake,
            told: Told::default(),
        };
        (session, link)
    }

    /// Stays connected until `stop`, or until the scheduler turns the worker away for good.
    pub(crate) async fn keep(mut self, stop: CancellationToken) -> Result<(), SessionError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let since = Instant::now();
            let error = match self.connected(&stop).await? {
                Break::Stopped => return Ok(()),
                Break::Lost(error) => error,
            };
            self.client.send_replace(None);
            if since.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            match &error {
                SocketError::Rejected { code, detail, hint } => {
                    if code == "bad-signature" || code == "version" {
                        return Err(error.into());
                    }
                    if self.board.rejected(code, detail, hint) {
                        observe::rejected(&self.caller.scheduler, code, detail, hint);
                    }
                    pause = pause.max(REJECTED_PAUSE);
                }
                SocketError::Elsewhere { .. } => return Err(error.into()),
                SocketError::Lost(_) | SocketError::Silent | SocketError::Closed | SocketError::Foreign(_) => {
                    let reason = chain(&error);
                    observe::disconnected(&self.caller.scheduler, &reason, pause.as_millis());
                    self.board.disconnected(&reason);
                }
            }
            self.tasks.notify_one();
            let jittered = pause.mul_f64(rand::thread_rng().gen_range(0.5..1.0));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(jittered) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection, from beginning to end.
    async fn connected(&mut self, stop: &CancellationToken) -> Result<Break, SessionError> {
        self.told = Told::default();
        let hello = self.hello().await?;
        let opened = tokio::select! {
            () = stop.cancelled() => return Ok(Break::Stopped),
            opened = Socket::open(&self.caller, hello) => opened,
        };
        let (mut socket, welcome) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Break::Lost(error)),
        };
        observe::connected(&self.caller.scheduler, welcome.bond, welcome.score);
        self.board.connected(welcome.bond, welcome.score);
        self.client.send_replace(Some(self.base.clone().with_token(welcome.token.clone())));
        self.tasks.notify_one();
        match self.talk(&mut socket, &welcome, stop).await {
            Ok(()) => {
                socket.close().await;
                Ok(Break::Stopped)
            }
            Err(SessionError::Socket(error)) => Ok(Break::Lost(error)),
            // The scheduler shows again what is missing.
            Err(SessionError::Journal(error @ JournalError::Gap { .. })) => {
                Ok(Break::Lost(SocketError::Foreign(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    async fn hello(&mut self) -> Result<Hello, SessionError> {
        let announced = self.announced();
        let holding = self.holding().await?;
        Ok(Hello {
            version: VERSION,
            worker: self.caller.key.address(),
            expiry: 0,
            signature: Default::default(),
            last_seq: self.journal.last_seq().await?,
            holding: holding.iter().map(|task| task.get()).collect(),
            announced,
            software: concat!("berth/", env!("CARGO_PKG_VERSION")).to_owned(),
        })
    }

    /// What is shared now, in the worker's own words.
    fn announced(&mut self) -> Announced {
        let said = self.stock.borrow_and_update().said.clone();
        self.said = Some(said.clone());
        let at_ms = now_ms();
        let statement = said.statement(self.caller.pool.get(), at_ms);
        let signature = self.caller.key.sign(&self.caller.domain, &statement);
        Announced { said, at_ms, signature }
    }

    /// Tells the scheduler what is shared, if that is not what it was told last.
    async fn announce(&mut self, socket: &mut Socket) -> Result<(), SessionError> {
        if self.said.as_ref() != Some(&self.stock.borrow_and_update().said) {
            let announced = self.announced();
            socket.send(&ToScheduler::Announce(Box::new(announced))).await?;
        }
        Ok(())
    }

    async fn holding(&self) -> Result<Vec<TaskId>, SessionError> {
        let held = [Phase::Accepted, Phase::Fetched, Phase::Running, Phase::Computed, Phase::Uploaded];
        let mut held = self.journal.tasks(&held).await?;
        held.extend(self.told.untold(&self.journal).await?);
        Ok(held)
    }

    /// Listens and tells until the connection breaks or is stopped.
    async fn talk(
        &mut self,
        socket: &mut Socket,
        welcome: &Welcome,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let mut heartbeat = tokio::time::interval(welcome.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        self.tell(socket, &[Phase::Uploaded, Phase::Reported]).await?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.tell(socket, &[Phase::Uploaded]).await,
                said = socket.next() => {
                    heard = Instant::now();
                    if let Some(message) = said? {
                        self.hear(socket, message).await?;
                    }
                }
                () = self.wake.notified() => self.tell(socket, &[Phase::Uploaded]).await?,
                Ok(()) = self.stock.changed() => self.announce(socket).await?,
                Some(progress) = self.progress.recv() => socket.send(&progress).await?,
                _ = heartbeat.tick() => {
                    if heard.elapsed() > welcome.heartbeat * SILENT_HEARTBEATS {
                        return Err(SocketError::Silent.into());
                    }
                    let running = self.holding().await?.into_iter().map(TaskId::get).collect();
                    socket.send(&ToScheduler::Heartbeat { running }).await?;
                    socket.ping().await?;
                }
            }
        }
    }

    async fn hear(&mut self, socket: &mut Socket, message: ToWorker) -> Result<(), SessionError> {
        match message {
            ToWorker::Mail { seq, mail } => {
                let received = self.journal.receive(seq, &mail).await?;
                socket.send(&ToScheduler::Ack { seq }).await?;
                match received {
                    Received::Assigned(task) => {
                        observe::assigned(task);
                        socket.send(&ToScheduler::Progress { task: task.get(), stage: Stage::Accepted }).await?;
                    }
                    Received::Stopped(task) => observe::stopped(task),
                    Received::Settled(task) => observe::settled(task),
                    Received::Known(_) => {
                        self.told = Told::default();
                        self.tell(socket, &[Phase::Uploaded, Phase::Reported]).await?;
                    }
                    Received::Shown(_) => self.look.notify_one(),
                    Received::Agreed(task) => {
                        observe::agreed(task);
                        self.tell(socket, &[]).await?;
                    }
                    Received::Again | Received::Nothing => {}
                }
                self.tasks.notify_one();
                Ok(())
            }
            ToWorker::Refused { task, code, detail } => {
                let about = task.map(TaskId::new);
                observe::refused(about, &code, &detail);
                self.board.refusal(about.map(|task| task.to_string()).unwrap_or_default(), &code, &detail);
                // Whoever lost a task and comes back late with its result gets no mail about it: this is the last word.
                if code == TASK_ENDED
                    && let Some(task) = about
                    && self.journal.end(task, &detail).await?
                {
                    observe::stopped(task);
                    self.tasks.notify_one();
                }
                Ok(())
            }
            ToWorker::Rejected { code, detail, hint } => Err(SocketError::Rejected { code, detail, hint }.into()),
            other @ (ToWorker::Challenge { .. } | ToWorker::Welcome { .. }) => {
                Err(SocketError::Foreign(format!("{other:?}")).into())
            }
        }
    }

    /// Tells the scheduler of declines and results that it does not know.
    async fn tell(&mut self, socket: &mut Socket, phases: &[Phase]) -> Result<(), SessionError> {
        for (task, code, detail) in self.journal.declined().await? {
            socket.send(&ToScheduler::Decline { task: task.get(), code, detail }).await?;
            self.journal.decline_told(task).await?;
        }
        let rows = if phases.is_empty() { Vec::new() } else { self.journal.rows(phases).await? };
        for row in rows {
            let Some(report) = self.report(&row).await? else { continue };
            socket.send(&ToScheduler::Report(Box::new(report))).await?;
            if self.journal.enter(row.task, Phase::Reported).await? {
                observe::reported(row.task);
                self.tasks.notify_one();
            }
        }
        for message in self.told.news(&self.journal, &self.caller).await? {
            socket.send(&message).await?;
        }
        Ok(())
    }

    /// A result with the worker's whole list of the deal, signed.
    async fn report(&self, row: &Row) -> Result<Option<Report>, SessionError> {
        let Some(computed) = row.told() else { return Ok(None) };
        let deal = DealId::new(row.assign.deal);
        let terms = DealTerms::from(row.assign.terms.clone());
        let entries = self.journal.list_of(deal, row.assign.index).await?;
        let list = SingleList::new(&terms, entries).map_err(|source| SessionError::List { deal, source })?;
        let signature = self.caller.key.sign(&self.caller.domain, &list.statement(deal));
        Ok(Some(Report {
            deal: row.assign.deal,
            index: row.assign.index,
            digest: computed.digest.get(),
            manifest: computed.bound_manifest(),
            entries: list.encode().into(),
            signature,
            stdout: computed.stdout,
            stderr: computed.stderr,
            sealed: computed.sealed,
            wall_ms: computed.wall_ms,
            failure: computed.failure,
        }))
    }
}
