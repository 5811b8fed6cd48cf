//! Tasks that several workers answer.

use crate::support::{DURATION, Market, PATIENCE, POOL_PRICE, ScriptedWorker, Service, WORKER_STAKE, job};
use alloy::primitives::{B256, keccak256};
use berth_chain::signer::Signer;
use berth_protocol::{
    DealId, DealTerms, Failure, ResultDigest, TaskId, WorkerAddr, domain,
    round::{commitment, extend, salt, tag},
};
use berth_wire::{
    manifest::{Content, Manifest},
    scheduler::{DealView, ReplicaState, TaskView},
    worker::{Answer, Commit, Deliver, Mail, Reveal, ToScheduler, ToWorker},
};
use core::time::Duration;
use eyre::{ContextCompat as _, bail, ensure};
use tokio::time::timeout;

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
        let (root, results) = loop {
            match self.worker.letter(&[]).await? {
                Mail::Closed(closed) => {
                    let answer = |leaf: &berth_wire::worker::Leaf| Answer {
                        deal: leaf.deal,
                        index: leaf.index,
                        digest: digest_of(output).get(),
                    };
                    break (closed.root, closed.leaves.iter().map(answer).collect::<Vec<_>>());
                }
                Mail::Appended(appended) => {
                    let pairs = appended.pairs.iter().map(|pair| berth_protocol::round::Pair {
                        worker: WorkerAddr::new(pair.worker),
                        commitment: pair.commitment,
                    });
                    let chain = pairs.fold(B256::ZERO, extend);
                    let Appended { deal, index, .. } = *appended;
                    break (chain, vec![Answer { deal, index, digest: digest_of(output).get() }]);
                }
                other => bail!("{other:?} instead of a round"),
            }
        };
        let reveal = self.opening(root, results.clone());
        self.worker.say(&ToScheduler::Reveal(reveal)).await?;
        self.deliver(&results, output).await?;
        Ok(root)
    }

    async fn deliver(&mut self, results: &[Answer], output: &str) -> eyre::Result<()> {
        let (digest, stdout) = self.worker.upload(output).await?;
        for answer in results {
            let deliver = Deliver {
                deal: answer.deal,
                index: answer.index,
                digest: digest.get(),
                stdout: Some(stdout),
                stderr: None,
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
use berth_wire::worker::Appended;

/// A pool of so many workers, each of another owner; a requester, and a scheduler.
pub(crate) struct Pool {
    pub(crate) market: Market,
    pub(crate) service: Service,
    pub(crate) keys: Vec<Signer>,
}

impl Pool {
    async fn open(workers: usize) -> eyre::Result<Self> {
        let market = Market::open().await?;
        let mut keys = Vec::new();
        for _ in 0..workers {
            keys.push(market.owned(2 * WORKER_STAKE).await?);
        }
        let service = Service::start(&market).await?;
        Ok(Self { market, service, keys })
    }

    async fn replicas(&self) -> eyre::Result<Vec<Replica>> {
        let mut replicas = Vec::new();
        for key in &self.keys {
            replicas.push(Replica::connect(&self.service, &self.market, key).await?);
        }
        Ok(replicas)
    }

    async fn deal(&self, name: &str, size: u32) -> eyre::Result<DealTerms> {
        let job = job(name);
        self.service.signed_in(&self.market.own).await?.put_job(job.to_bytes()).await?;
        self.market.trusted(&job, size, self.market.own.address(), TRUST).await
    }

    async fn until(&self, deal: DealId, what: &str, is_so: impl Fn(&TaskView) -> bool) -> eyre::Result<TaskView> {
        let view = self.service.until(deal, what, |view: &DealView| view.tasks.first().is_some_and(&is_so)).await?;
        view.tasks.into_iter().next().wrap_err("a task")
    }
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
    assert_eq!(Manifest::from_bytes(&manifest)?.digest(), digest_of("the same"));
    pool.service.stop().await
}
