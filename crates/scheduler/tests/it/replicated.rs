//! Tasks that several workers answer.

use crate::support::{
    Introduction, Market, PATIENCE, POOL_PRICE, ScriptedWorker, Service, WORKER_STAKE, job, stay, take_back,
};
use alloy::primitives::{B256, keccak256};
use berth_chain::signer::Signer;
use berth_protocol::{
    DealId, DealTerms, Failure, ResultDigest, WorkerAddr, domain,
    round::{commitment, extend, salt, tag},
};
use berth_scheduler::Config;
use berth_wire::{
    manifest::{Content, Manifest},
    scheduler::{DealView, ReplicaState, TaskView},
    worker::{Answer, Commit, Deliver, Mail, Reveal, ToScheduler, ToWorker},
};
use core::time::Duration;
use eyre::{ContextCompat as _, WrapErr as _, bail, ensure};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Three fresh workers that agree are enough.
const TRUST: u32 = 5;

/// A worker of a replicated task, step by step.
pub(crate) struct Replica {
    pub(crate) worker: ScriptedWorker,
    pub(crate) seed: B256,
}

/// What a result of this output is.
fn digest_of(output: &str) -> ResultDigest {
    Manifest::new(0, Vec::new(), Content::of(output.as_bytes())).digest()
}

impl Replica {
    async fn connect(service: &Service, market: &Market, key: &Signer) -> eyre::Result<Self> {
        Ok(Self { worker: ScriptedWorker::connect(service, market, key).await?, seed: keccak256(key.address()) })
    }

    fn address(&self) -> WorkerAddr {
        WorkerAddr::new(self.worker.key.address())
    }

    fn commitment(&self, deal: DealId, index: u32, digest: ResultDigest) -> Commit {
        let task = deal.task(index);
        let commitment = commitment(task, self.address(), digest, salt(self.seed, task));
        let statement = domain::Commitment { task: task.get(), commitment };
        Commit {
            deal: deal.get(),
            index,
            commitment,
            tag: tag(task, digest),
            seed_hash: keccak256(self.seed),
            signature: self.worker.key.sign(&self.worker.market, &statement),
        }
    }

    async fn commit(&mut self, deal: DealId, index: u32, digest: ResultDigest) -> eyre::Result<()> {
        let commit = self.commitment(deal, index, digest);
        self.worker.say(&ToScheduler::Commit(commit)).await
    }

    /// Takes an assignment, and answers it.
    async fn answer(&mut self, output: &str) -> eyre::Result<u32> {
        let assign = self.worker.assignment().await?;
        self.commit(DealId::new(assign.deal), assign.index, digest_of(output)).await?;
        Ok(assign.index)
    }

    fn opening(&self, root: B256, results: Vec<Answer>) -> Reveal {
        let statement = domain::Reveal { root, seed: self.seed };
        let signature = self.worker.key.sign(&self.worker.market, &statement);
        Reveal { root, seed: self.seed, signature, results }
    }

    /// Waits for the round to be closed, and opens it; gives its root.
    async fn open(&mut self, output: &str) -> eyre::Result<B256> {
        let letter = self.worker.letter(&[]).await?;
        let Mail::Closed(closed) = letter else { bail!("{letter:?} instead of a round") };
        let digest = digest_of(output).get();
        let answer = |leaf: &berth_wire::worker::Leaf| Answer { deal: leaf.deal, index: leaf.index, digest };
        let results: Vec<_> = closed.leaves.iter().map(answer).collect();
        let reveal = self.opening(closed.root, results.clone());
        self.worker.say(&ToScheduler::Reveal(reveal)).await?;
        self.deliver(&results, output).await?;
        Ok(closed.root)
    }

    async fn deliver(&mut self, results: &[Answer], output: &str) -> eyre::Result<()> {
        let (digest, stdout) = self.worker.upload(output).await?;
        for answer in results {
            let deliver = Deliver {
                deal: answer.deal,
                index: answer.index,
                digest: digest.get(),
                manifest: None,
                stdout: Some(stdout),
                stderr: None,
                sealed: None,
                wall_ms: 12,
                failure: None,
            };
            self.worker.say(&ToScheduler::Deliver(Box::new(deliver))).await?;
        }
        Ok(())
    }

    /// The next letter that is not about a round.
    async fn ending(&mut self) -> eyre::Result<Mail> {
        self.worker.letter(&[]).await
    }
}

/// How a worker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It computes what everybody computes.
    Honest,
    /// It answers this.
    Says(&'static str),
    /// It commits, and never reveals.
    Mute,
    /// It takes tasks, and goes away with the first.
    Leaves,
    /// It fails, all by itself.
    Fails(Failure),
}

impl Manner {
    fn output(self, index: u32) -> String {
        match self {
            Self::Says(output) => output.to_owned(),
            Self::Honest | Self::Mute | Self::Leaves | Self::Fails(_) => format!("output {index}"),
        }
    }
}

/// What a worker remembers, over every break of its connection.
pub(crate) struct Journal {
    manner: Manner,
    seed: B256,
    last_seq: u64,
    /// Answers that are in no round yet.
    hidden: BTreeMap<(B256, u32), ResultDigest>,
    /// Reveals that were given, to be said again.
    revealed: Vec<Reveal>,
    pub(crate) earned: u128,
    pub(crate) ended: Vec<String>,
    told: Arc<watch::Sender<u128>>,
}

impl Journal {
    pub(crate) fn new(key: &Signer, manner: Manner, told: Arc<watch::Sender<u128>>) -> Self {
        let (hidden, revealed, ended) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { manner, seed: keccak256(key.address()), last_seq: 0, hidden, revealed, earned: 0, ended, told }
    }

    async fn commit(&self, replica: &mut Replica, (deal, index): (B256, u32)) -> eyre::Result<()> {
        let Some(digest) = self.hidden.get(&(deal, index)) else { return Ok(()) };
        replica.seed = self.seed;
        replica.commit(DealId::new(deal), index, *digest).await
    }

    /// Opens what is in a round or a chain, and hides the rest anew.
    async fn open(&mut self, replica: &mut Replica, root: B256, tasks: Vec<(B256, u32)>) -> eyre::Result<()> {
        if self.manner == Manner::Mute {
            return Ok(());
        }
        let own = tasks.into_iter().filter_map(|of| Some((of, self.hidden.remove(&of)?)));
        let results: Vec<_> = own.map(|((deal, index), digest)| Answer { deal, index, digest: digest.get() }).collect();
        if results.is_empty() {
            return Ok(());
        }
        replica.seed = self.seed;
        let reveal = replica.opening(root, results);
        self.revealed.push(reveal.clone());
        self.seed = keccak256(self.seed);
        self.show(replica, &reveal).await?;
        for of in self.hidden.keys().copied().collect::<Vec<_>>() {
            self.commit(replica, of).await?;
        }
        Ok(())
    }

    async fn show(&self, replica: &mut Replica, reveal: &Reveal) -> eyre::Result<()> {
        replica.worker.say(&ToScheduler::Reveal(reveal.clone())).await?;
        for answer in &reveal.results {
            let is_failure = ResultDigest::new(answer.digest).is_some_and(ResultDigest::is_failure);
            if !is_failure {
                replica.deliver(core::slice::from_ref(answer), &self.manner.output(answer.index)).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, replica: &mut Replica, mail: Mail) -> eyre::Result<()> {
        match mail {
            Mail::Assign(assign) => {
                ensure!(self.manner != Manner::Leaves, "it leaves");
                let digest = if let Manner::Fails(failure) = self.manner {
                    failure.digest()
                } else {
                    digest_of(&self.manner.output(assign.index))
                };
                self.hidden.insert((assign.deal, assign.index), digest);
                self.commit(replica, (assign.deal, assign.index)).await
            }
            Mail::Agree { task, digest } => {
                let agreed = ResultDigest::new(digest).wrap_err("a digest")?;
                let is_meant = |(deal, index): &(B256, u32)| DealId::new(*deal).task(*index).get() == task;
                for of in self.hidden.keys().copied().filter(is_meant).collect::<Vec<_>>() {
                    self.hidden.insert(of, agreed);
                    self.commit(replica, of).await?;
                }
                Ok(())
            }
            Mail::Closed(closed) => {
                let tasks = closed.leaves.iter().map(|leaf| (leaf.deal, leaf.index)).collect();
                self.open(replica, closed.root, tasks).await
            }
            Mail::Appended(appended) => {
                let pairs = appended.pairs.iter().map(|pair| berth_protocol::round::Pair {
                    worker: WorkerAddr::new(pair.worker),
                    commitment: pair.commitment,
                });
                let chain = pairs.fold(B256::ZERO, extend);
                self.open(replica, chain, vec![(appended.deal, appended.index)]).await
            }
            Mail::Settled { earned, .. } => {
                self.earned += earned.0;
                self.told.send_modify(|sum| *sum += earned.0);
                Ok(())
            }
            Mail::Ended { task, reason } | Mail::Cancel { task, reason } => {
                self.hidden.retain(|(deal, index), _| DealId::new(*deal).task(*index).get() != task);
                self.ended.push(reason);
                Ok(())
            }
        }
    }

    /// Says everything again that the scheduler may have lost.
    async fn resume(&self, replica: &mut Replica) -> eyre::Result<()> {
        for reveal in &self.revealed {
            self.show(replica, reveal).await?;
        }
        for of in self.hidden.keys().copied().collect::<Vec<_>>() {
            self.commit(replica, of).await?;
        }
        Ok(())
    }

    /// Works until `stop`, or until the connection breaks.
    pub(crate) async fn work(
        &mut self,
        service: &Service,
        market: &Market,
        key: &Signer,
        stop: &CancellationToken,
    ) -> eyre::Result<()> {
        let with = Introduction { last_seq: self.last_seq, slots: Some(2), ..Introduction::default() };
        let worker = ScriptedWorker::introduce(service, market, key, with).await?;
        let mut replica = Replica { worker, seed: self.seed };
        self.resume(&mut replica).await?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                heard = replica.worker.hear() => match heard? {
                    ToWorker::Mail { seq, mail } => {
                        if seq > self.last_seq {
                            self.last_seq = seq;
                            self.take(&mut replica, mail).await?;
                        }
                        replica.worker.say(&ToScheduler::Ack { seq }).await?;
                    }
                    ToWorker::Refused { .. } => {}
                    other @ (ToWorker::Challenge { .. } | ToWorker::Welcome { .. } | ToWorker::Rejected { .. }) => {
                        bail!("{other:?}")
                    }
                },
                () = sleep(Duration::from_millis(300)) => {
                    let running = Vec::new();
                    replica.worker.say(&ToScheduler::Heartbeat { running }).await?;
                }
            }
        }
    }
}

/// A pool of so many workers, each of another owner; a requester, and a scheduler.
pub(crate) struct Pool {
    pub(crate) market: Market,
    pub(crate) service: Service,
    pub(crate) keys: Vec<Signer>,
}

impl Pool {
    async fn open(workers: usize) -> eyre::Result<Self> {
        Self::with(workers, |config| config).await
    }

    async fn with(workers: usize, change: impl FnOnce(Config) -> Config) -> eyre::Result<Self> {
        let market = Market::open().await?;
        let mut keys = Vec::new();
        for _ in 0..workers {
            keys.push(market.owned(2 * WORKER_STAKE).await?);
        }
        let service = Service::with(&market, change(market.config())).await?;
        Ok(Self { market, service, keys })
    }

    async fn replicas(&self) -> eyre::Result<Vec<Replica>> {
        let mut replicas = Vec::new();
        for key in &self.keys {
            replicas.push(Replica::connect(&self.service, &self.market, key).await?);
        }
        Ok(replicas)
    }

    /// Has them all work by themselves, each in its manner.
    fn work(self: &Arc<Self>, keys: &[Signer], manners: &[Manner]) -> Crew {
        let (stop, told) = (CancellationToken::new(), Arc::new(watch::Sender::new(0)));
        let mut workers = JoinSet::new();
        for (key, manner) in keys.iter().cloned().zip(manners) {
            let (pool, stop) = (self.clone(), stop.clone());
            let mut journal = Journal::new(&key, *manner, told.clone());
            workers.spawn(async move {
                // Whoever leaves, leaves for good.
                while !stop.is_cancelled() {
                    let worked = journal.work(&pool.service, &pool.market, &key, &stop).await;
                    if worked.is_err() && journal.manner == Manner::Leaves {
                        break;
                    }
                    if worked.is_err() {
                        sleep(Duration::from_millis(20)).await;
                    }
                }
                journal
            });
        }
        Crew { workers, stop, told }
    }

    async fn close(self: Arc<Self>) -> eyre::Result<()> {
        let pool = Arc::into_inner(self).wrap_err("nobody works any more")?;
        pool.service.stop().await
    }

    async fn deal(&self, name: &str, size: u32) -> eyre::Result<DealTerms> {
        let job = job(name);
        self.service.signed_in(&self.market.own).await?.put_job(job.to_bytes()).await?;
        self.market.trusted(&job, size, self.market.own.address(), TRUST).await
    }

    async fn until_worker(
        &self,
        worker: alloy::primitives::Address,
        what: &str,
        is_so: impl Fn(&berth_wire::scheduler::WorkerView) -> bool,
    ) -> eyre::Result<()> {
        let client = self.service.client();
        let poll = async {
            while !client.workers().await?.iter().any(|of| of.worker == worker && is_so(of)) {
                // Nobody is told when a bond changes.
                sleep(Duration::from_millis(50)).await;
            }
            Ok::<_, eyre::Report>(())
        };
        timeout(PATIENCE, poll).await.wrap_err_with(|| what.to_owned())?
    }

    async fn until(&self, deal: DealId, what: &str, is_so: impl Fn(&TaskView) -> bool) -> eyre::Result<TaskView> {
        let view = self.service.until(deal, what, |view: &DealView| view.tasks.first().is_some_and(&is_so)).await?;
        view.tasks.into_iter().next().wrap_err("a task")
    }
}

/// Workers that work by themselves.
struct Crew {
    workers: JoinSet<Journal>,
    stop: CancellationToken,
    told: Arc<watch::Sender<u128>>,
}

impl Crew {
    /// Waits until all together were told of so much pay, and sends them home.
    async fn paid(mut self, all: u128) -> eyre::Result<Vec<Journal>> {
        let mut told = self.told.subscribe();
        timeout(PATIENCE, told.wait_for(|paid| *paid >= all)).await??;
        self.stop.cancel();
        let mut journals = Vec::new();
        while let Some(journal) = self.workers.join_next().await {
            journals.push(journal?);
        }
        let earned: u128 = journals.iter().map(|journal| journal.earned).sum();
        ensure!(earned == all, "{earned} were earned, not {all}");
        Ok(journals)
    }
}

/// What all workers of a task earn that settles to a result, if `opened` of `all` pairs open.
const fn pay(opened: u128, all: u128) -> u128 {
    POOL_PRICE * 9 / 10 / all * opened
}

fn count(task: &TaskView, state: ReplicaState) -> usize {
    task.replicas.iter().filter(|replica| replica.state == state).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_workers_of_three_owners_agree_and_are_paid_alike() -> eyre::Result<()> {
    let pool = Pool::open(3).await?;
    let mut replicas = pool.replicas().await?;
    let terms = pool.deal("agreed", 1).await?;
    for replica in &mut replicas {
        replica.answer("the same").await?;
    }
    let mut roots = Vec::new();
    for replica in &mut replicas {
        roots.push(replica.open("the same").await?);
    }
    ensure!(roots.windows(2).all(|pair| pair[0] == pair[1]), "one round");
    let view = pool.service.until_all(terms.id(), "settled").await?;
    let task = &view.tasks[0];
    assert_eq!(task.digest, Some(digest_of("the same").get()));
    assert_eq!(count(task, ReplicaState::Paid), 3, "{task:#?}");
    assert!(task.replicas.iter().all(|replica| replica.agrees == Some(true)), "{task:#?}");
    assert!(task.close.is_some() && task.ending.is_some() && task.close != task.ending, "{task:#?}");
    for replica in &mut replicas {
        let letter = replica.ending().await?;
        let earned = POOL_PRICE * 9 / 10 / 3;
        ensure!(matches!(&letter, Mail::Settled { earned: of, .. } if of.0 == earned), "{letter:?}");
    }
    assert_eq!(pool.market.reader.deal(terms.id()).await?.map(|state| state.open), Some(0));
    let workers = pool.service.client().workers().await?;
    assert!(workers.iter().all(|worker| worker.score == 1), "{workers:?}");
    let requester = pool.service.signed_in(&pool.market.own).await?;
    let manifest = requester.manifest(task.task, digest_of("the same").get()).await?;
    assert_eq!(Manifest::from_bytes(&manifest.manifest)?.digest(), digest_of("the same"));
    pool.service.stop().await
}

/// Its socket was down, say: the chain tells the scheduler, whether the others reveal before or after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reveal_that_is_published_on_chain_counts_as_handed_over() -> eyre::Result<()> {
    for (name, turn) in [("published first", 0), ("published last", 2)] {
        let pool = Pool::open(3).await?;
        let mut replicas = pool.replicas().await?;
        let terms = pool.deal(name, 1).await?;
        for replica in &mut replicas {
            replica.answer("the same").await?;
        }
        for (place, replica) in replicas.iter_mut().enumerate() {
            if place != turn {
                replica.open("the same").await?;
                continue;
            }
            let letter = replica.worker.letter(&[]).await?;
            let Mail::Closed(closed) = letter else { bail!("{letter:?} instead of a round") };
            let Reveal { root, seed, signature, .. } = replica.opening(closed.root, Vec::new());
            let publish = berth_chain::call::publish(root, replica.address(), seed, signature);
            pool.market.send(vec![(pool.market.deployment.berth, publish)]).await?;
        }
        let view = pool.service.until_all(terms.id(), "settled").await?;
        assert_eq!(count(&view.tasks[0], ReplicaState::Paid), 3, "{view:#?}");
        pool.service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_outvoted_by_workers_called_in_before_the_close_and_punished_at_the_end() -> eyre::Result<()> {
    let pool = Arc::new(Pool::open(5).await?);
    let first = pool.work(&pool.keys[..3], &[Manner::Says("a lie"), Manner::Honest, Manner::Honest]);
    let terms = pool.deal("one lies", 1).await?;
    let waiting = |task: &TaskView| count(task, ReplicaState::Committed) == 3 && !task.why.is_empty();
    let task = pool.until(terms.id(), "three have answered", waiting).await?;
    assert_eq!(task.phase, "assigned", "they do not agree: {task:#?}");
    let reason = task.why[0].reason.as_str();
    ensure!(reason.starts_with("3 of 5 owners needed"), "{reason}");
    let second = pool.work(&pool.keys[3..], &[Manner::Honest; 2]);
    let view = pool.service.until_all(terms.id(), "settled").await?;
    let task = &view.tasks[0];
    assert_eq!(task.digest, Some(digest_of("output 0").get()));
    let liar = pool.keys[0].address();
    let lied = task.replicas.iter().find(|replica| replica.worker == liar).wrap_err("it had part")?;
    assert_eq!((lied.state, lied.agrees), (ReplicaState::LeftOut, Some(false)), "{task:#?}");
    assert_eq!(count(task, ReplicaState::Paid), 4, "{task:#?}");
    first.paid(pay(2, 5)).await?;
    second.paid(pay(2, 5)).await?;
    let now = pool.market.rpc.head().await?.block.timestamp.seconds();
    pool.market.pass(terms.deadlines().open.seconds() - now + 1).await?;
    pool.until_worker(liar, "the liar is punished", |worker| worker.bonded.0 == WORKER_STAKE).await?;
    pool.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_before_the_close_is_replaced() -> eyre::Result<()> {
    let pool = Arc::new(Pool::open(4).await?);
    let crew = pool.work(&pool.keys, &[Manner::Honest, Manner::Leaves, Manner::Honest, Manner::Honest]);
    let terms = pool.deal("one leaves", 3).await?;
    let view = pool.service.until_all(terms.id(), "settled").await?;
    assert!(view.tasks.iter().all(|task| count(task, ReplicaState::Paid) == 3), "{view:#?}");
    crew.paid(3 * pay(3, 3)).await?;
    pool.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_silent_after_the_close_is_made_good_by_further_pairs_and_punished() -> eyre::Result<()> {
    let pool = Arc::new(Pool::open(5).await?);
    let first = pool.work(&pool.keys[..3], &[Manner::Mute, Manner::Honest, Manner::Honest]);
    let terms = pool.deal("one is silent", 1).await?;
    pool.until(terms.id(), "it is closed", |task| task.close.is_some()).await?;
    let second = pool.work(&pool.keys[3..], &[Manner::Honest; 2]);
    let view = pool.service.until_all(terms.id(), "settled").await?;
    let task = &view.tasks[0];
    assert_eq!(task.digest, Some(digest_of("output 0").get()), "{task:#?}");
    assert_eq!(count(task, ReplicaState::Paid), 4, "{task:#?}");
    first.paid(pay(2, 5)).await?;
    second.paid(pay(2, 5)).await?;
    let now = pool.market.rpc.head().await?.block.timestamp.seconds();
    pool.market.pass(terms.deadlines().open.seconds() - now + 1).await?;
    let mute = pool.keys[0].address();
    pool.until_worker(mute, "the silent one is punished", |worker| worker.bonded.0 == WORKER_STAKE).await?;
    pool.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_are_closed_in_rounds_and_each_is_paid_once() -> eyre::Result<()> {
    let pool = Arc::new(Pool::open(4).await?);
    let crew = pool.work(&pool.keys, &[Manner::Honest; 4]);
    let terms = pool.deal("many", 8).await?;
    let view = pool.service.until_all(terms.id(), "settled").await?;
    let closes: std::collections::BTreeSet<_> =
        view.tasks.iter().filter_map(|task| task.close.as_ref()).map(|close| close.transaction).collect();
    ensure!(!closes.is_empty() && view.tasks.iter().all(|task| task.close.is_some()), "{view:#?}");
    crew.paid(8 * pay(3, 3)).await?;
    pool.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_answers_differ_the_workers_agree_on_that_and_are_paid_a_tenth() -> eyre::Result<()> {
    let impatient = |config| Config { unable_wait: Duration::from_secs(1), ..config };
    let pool = Arc::new(Pool::with(3, impatient).await?);
    let crew = pool.work(&pool.keys, &[Manner::Says("one"), Manner::Says("two"), Manner::Says("three")]);
    let terms = pool.deal("random", 1).await?;
    let view = pool.service.until_all(terms.id(), "settled").await?;
    assert_eq!(view.tasks[0].failure.as_deref(), Some("no-agreement"), "{view:#?}");
    crew.paid(POOL_PRICE / 10 * 9 / 10 / 3 * 3).await?;
    pool.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_all_have_is_settled_as_one() -> eyre::Result<()> {
    let pool = Arc::new(Pool::open(3).await?);
    let crew = pool.work(&pool.keys, &[Manner::Fails(Failure::FetchFailed); 3]);
    let terms = pool.deal("no such image", 1).await?;
    let view = pool.service.until_all(terms.id(), "settled").await?;
    assert_eq!(view.tasks[0].failure.as_deref(), Some("fetch-failed"), "{view:#?}");
    crew.paid(POOL_PRICE / 10 * 9 / 10 / 3 * 3).await?;
    pool.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_whose_block_goes_is_closed_again_and_paid_once() -> eyre::Result<()> {
    let pool = Arc::new(Pool::open(3).await?);
    let mut replicas = pool.replicas().await?;
    let terms = pool.deal("comes and goes", 1).await?;
    stay(&pool.market).await?;
    for replica in &mut replicas {
        replica.answer("the same").await?;
    }
    let closed = pool.until(terms.id(), "it is closed", |task| task.close.is_some()).await?;
    let block = closed.close.wrap_err("closed")?.block;
    take_back(&pool.market, block).await?;
    let again = |task: &TaskView| task.close.as_ref().is_some_and(|close| close.block != block);
    pool.until(terms.id(), "it is closed again", again).await?;
    for replica in &mut replicas {
        replica.open("the same").await?;
    }
    pool.service.until_all(terms.id(), "settled").await?;
    assert_eq!(pool.market.reader.deal(terms.id()).await?.map(|state| state.open), Some(0));
    pool.close().await
}

#[expect(clippy::too_many_lines, reason = "a list of bad messages, in the order of a task's life")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_out_of_phase_of_another_deal_or_not_its_own_is_refused_and_changes_nothing() -> eyre::Result<()> {
    let pool = Arc::new(Pool::open(4).await?);
    let mut replicas = pool.replicas().await?;
    let terms = pool.deal("bad messages", 1).await?;
    let (id, digest) = (terms.id(), digest_of("the same"));
    let waiting = pool.until(id, "three have it", |task| task.replicas.len() == 3).await?;
    let has = |replica: &Replica| waiting.replicas.iter().any(|of| of.worker == replica.address().get());
    let stranger = replicas.iter().position(|replica| !has(replica)).wrap_err("one has nothing to do")?;
    let mut stranger = replicas.remove(stranger);
    for replica in &mut replicas {
        replica.worker.assignment().await?;
    }
    let seq = |view: &DealView| view.seq;
    let before = seq(&pool.service.client().deal(id.get(), None, Duration::ZERO).await?);

    let good = replicas[0].commitment(id, 0, digest);
    let other = replicas[1].commitment(id, 0, digest);
    let own = stranger.commitment(id, 0, digest);
    let elsewhere = domain::Commitment { task: id.task(0).get(), commitment: good.commitment };
    let other_chain = berth_protocol::domain::Domain { chain_id: 1, ..replicas[0].worker.market };
    let signature = replicas[0].worker.key.sign(&other_chain, &elsewhere);
    let single = pool.market.matched(&job("bad messages"), 1, pool.market.own.address()).await?;
    pool.service.until(single.id(), "the other deal is there", |_| true).await?;
    let bad = [
        ("unknown-deal", Commit { deal: B256::repeat_byte(1), ..good.clone() }),
        ("not-replicated", Commit { deal: single.id().get(), ..good.clone() }),
        ("not-of-deal", Commit { index: 1, ..good.clone() }),
        ("bad-signature", Commit { signature: other.signature.clone(), ..good.clone() }),
        ("bad-signature", Commit { signature, ..good.clone() }),
        ("bad-signature", Commit { signature: good.signature[..64].to_vec().into(), ..good.clone() }),
        ("bad-signature", Commit { commitment: other.commitment, ..good.clone() }),
        ("bad-commitment", Commit { tag: B256::ZERO, ..good.clone() }),
    ];
    for (code, commit) in bad {
        replicas[0].worker.say(&ToScheduler::Commit(commit)).await?;
        refused(&mut replicas[0], code).await?;
    }
    stranger.worker.say(&ToScheduler::Commit(own.clone())).await?;
    refused(&mut stranger, "not-assigned").await?;
    let answers = vec![Answer { deal: id.get(), index: 0, digest: digest.get() }];
    let early = replicas[0].opening(B256::repeat_byte(3), answers.clone());
    replicas[0].worker.say(&ToScheduler::Reveal(early)).await?;
    refused(&mut replicas[0], "unknown-round").await?;
    replicas[0].deliver(&answers, "the same").await?;
    refused(&mut replicas[0], "not-assigned").await?;
    let after = seq(&pool.service.client().deal(id.get(), None, Duration::ZERO).await?);
    assert_eq!(after, before, "nothing has changed");

    for replica in &mut replicas {
        replica.commit(id, 0, digest).await?;
    }
    let closed = loop {
        if let Mail::Closed(closed) = replicas[0].worker.letter(&[]).await? {
            break closed;
        }
    };
    let (root, seed) = (closed.root, replicas[0].seed);
    let good = replicas[0].opening(root, answers.clone());
    replicas[0].seed = B256::repeat_byte(9);
    let changed = replicas[0].commitment(id, 0, digest);
    let wrong_seed = replicas[0].opening(root, answers.clone());
    replicas[0].seed = seed;
    let lie = Answer { digest: digest_of("a lie").get(), ..answers[0] };
    let not_there = Answer { index: 7, ..answers[0] };
    let bad = [
        ("closed", ToScheduler::Commit(changed)),
        ("not-revealed", delivery(&answers[0])),
        ("unknown-round", ToScheduler::Reveal(Reveal { root: B256::repeat_byte(4), ..good.clone() })),
        ("bad-signature", ToScheduler::Reveal(Reveal { seed: B256::repeat_byte(9), ..good.clone() })),
        ("bad-seed", ToScheduler::Reveal(wrong_seed)),
        ("bad-opening", ToScheduler::Reveal(Reveal { results: vec![lie], ..good.clone() })),
        ("not-in-round", ToScheduler::Reveal(Reveal { results: vec![answers[0], not_there], ..good.clone() })),
    ];
    for (code, message) in bad {
        replicas[0].worker.say(&message).await?;
        refused(&mut replicas[0], code).await.map_err(|error| error.wrap_err(code))?;
    }
    let theirs = stranger.opening(root, answers.clone());
    stranger.worker.say(&ToScheduler::Reveal(theirs)).await?;
    refused(&mut stranger, "unknown-round").await?;
    stranger.worker.say(&ToScheduler::Commit(own)).await?;
    refused(&mut stranger, "not-assigned").await?;

    replicas[0].worker.say(&ToScheduler::Reveal(good)).await?;
    replicas[0].worker.say(&delivery(&lie)).await?;
    refused(&mut replicas[0], "bad-result").await?;
    replicas[0].deliver(&answers, "the same").await?;
    for replica in &mut replicas[1..] {
        replica.open("the same").await?;
    }
    pool.service.until(id, "settled", |view| view.tasks[0].phase == "settled").await?;
    replicas[0].commit(id, 0, digest).await?;
    refused(&mut replicas[0], "ended").await?;
    pool.close().await
}

fn delivery(answer: &Answer) -> ToScheduler {
    let Answer { deal, index, digest } = *answer;
    let (stdout, stderr, failure) = (None, None, None);
    ToScheduler::Deliver(Box::new(Deliver {
        deal,
        index,
        digest,
        manifest: None,
        stdout,
        stderr,
        sealed: None,
        wall_ms: 1,
        failure,
    }))
}

async fn refused(replica: &mut Replica, wanted: &str) -> eyre::Result<()> {
    loop {
        match replica.worker.hear().await? {
            ToWorker::Refused { code, .. } if code == wanted => return Ok(()),
            // Letters come when they come.
            ToWorker::Mail { .. } => {}
            other @ (ToWorker::Refused { .. }
            | ToWorker::Challenge { .. }
            | ToWorker::Welcome { .. }
            | ToWorker::Rejected { .. }) => bail!("{other:?} instead of {wanted}"),
        }
    }
}
