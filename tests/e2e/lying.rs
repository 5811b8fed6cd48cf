//! A scheduler that gives out what is on nobody's order: a worker whose owner asks whose jobs it runs looks with its own
//! node, runs nothing that is not so, and says why.

use crate::sharing::{add, own_status, printed};
use alloy::primitives::{Address, B256};
use berth_chain::signer::{Secret, Signer, keystore};
use berth_protocol::{AssetId, AssetKind, DealTerms as Terms, TaskId, domain::Assignment};
use berth_tests::{
    engine::IMAGE,
    receipt::Detached,
    world::{World, until, within},
};
use berth_wire::{
    deal::DealTerms,
    descriptor::{Descriptor, Minimum, Runtime, Sharing},
    job::{Image, Job},
    scheduler::DealView,
    units::Decimal,
    worker::{Assign, Mail, ToScheduler, ToWorker, VERSION},
};
use eyre::{ContextCompat as _, WrapErr as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use std::{fs, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

/// The worker asks its node for half a minute before it gives a deal up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A scheduler that says what it likes.
struct Liar {
    socket: WebSocketStream<TcpStream>,
    seq: u64,
    worker: Address,
}

impl Liar {
    /// Takes the next worker in.
    async fn greet(world: &World, listener: &TcpListener, pool: B256, operator: Address) -> eyre::Result<Self> {
        let (stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.wrap_err("no worker comes")??;
        let mut liar = Self { socket: accept_async(stream).await?, seq: 0, worker: Address::ZERO };
        let (chain_id, berth) = (world.deployment.chain_id, world.deployment.berth);
        let nonce = B256::repeat_byte(1);
        liar.say(&ToWorker::Challenge { version: VERSION, pool, operator, chain_id, berth, nonce }).await?;
        let ToScheduler::Hello(hello) = liar.hear().await? else { bail!("no hello") };
        (liar.seq, liar.worker) = (hello.last_seq, hello.worker);
        let token = "a token".to_owned();
        liar.say(&ToWorker::Welcome { token, heartbeat_ms: 30_000, bond: Decimal(1), score: 0 }).await?;
        Ok(liar)
    }

    async fn say(&mut self, what: &ToWorker) -> eyre::Result<()> {
        Ok(self.socket.send(Message::text(serde_json::to_string(what)?)).await?)
    }

    async fn hear(&mut self) -> eyre::Result<ToScheduler> {
        let heard = async {
            loop {
                if let Message::Text(text) = self.socket.next().await.wrap_err("it went away")?? {
                    return Ok(serde_json::from_str(&text)?);
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.wrap_err("it says nothing")?
    }

    /// Gives a task out, and hears why it is not run.
    async fn lie(&mut self, assign: Assign) -> eyre::Result<(String, String)> {
        let about = Terms::from(assign.terms.clone()).id().task(assign.index);
        self.seq += 1;
        self.say(&ToWorker::Mail { seq: self.seq, mail: Mail::Assign(Box::new(assign)) }).await?;
        loop {
            let said = self.hear().await?;
            ensure!(!matches!(said, ToScheduler::Report(_) | ToScheduler::Says { .. }), "it was run: {said:?}");
            if let ToScheduler::Decline { task, code, detail } = said
                && TaskId::new(task) == about
            {
                return Ok((code, detail));
            }
        }
    }
}

/// What a lie is made of: a deal as the chain has it, and who signs.
struct Truth {
    view: DealView,
    block: u64,
    descriptor: String,
    operator: Signer,
}

impl Truth {
    /// An assignment of the deal's first task to a worker, with another job if one is given, and after `change`.
    fn bent(&self, world: &World, worker: Address, job: &Job, change: impl FnOnce(&mut Assign)) -> Assign {
        let mut assign = Assign {
            deal: self.view.deal,
            terms: self.view.terms.clone(),
            index: 0,
            job: String::from_utf8(job.to_bytes()).expect("JSON is text"),
            job_hash: job.hash().get(),
            app: self.view.app,
            descriptor: self.descriptor.clone(),
            requester: self.view.requester,
            block: self.block,
            dataset: None,
            beneficiary: self.view.requester,
            signature: Default::default(),
            report_by: u64::MAX >> 11,
        };
        change(&mut assign);
        assign.deal = Terms::from(assign.terms.clone()).id().get();
        let task = Terms::from(assign.terms.clone()).id().task(0).get();
        assign.signature = self.operator.sign(&world.deployment.domain(), &Assignment { task, worker });
        assign
    }
}

fn job(image: &str) -> eyre::Result<Job> {
    let image = Image { reference: IMAGE.to_owned(), config: Some(image.parse()?), manifest: None };
    let args = ["sh", "-c", "echo stolen"].map(str::to_owned).to_vec();
    Ok(Job { image: Some(image), args, ..Job::default() })
}

#[tokio::test]
async fn a_worker_looks_with_its_own_node_before_it_runs_what_its_scheduler_says() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        // Its owner refuses somebody, and so it asks whose each job is.
        let somebody = Address::repeat_byte(0x99);
        add(world, "", &format!("\n[policy]\nrefused_requesters = [\"{somebody}\"]\n"))?;
        world.be_patient().await?;
        let name = World::worker_name(1);
        world.service(&name)?.kill().await?;
        world.connected(0).await?;
        let matched: Detached = world.run(&["--detach"], "echo mine")?.json().await?;
        let view = until("the scheduler has the deal", async || {
            Ok(world.scheduler.deal(matched.deal, None, Duration::ZERO).await.ok())
        })
        .await?;
        let app = Descriptor::App {
            version: 1,
            name: "docker".to_owned(),
            runtime: Runtime::Docker,
            sharing: Sharing::Shared,
            image: None,
            disk: None,
            env: Default::default(),
            minimum: Minimum::default(),
        };
        let descriptor = String::from_utf8(app.to_bytes())?;
        let operator = keystore::open(&world.devnet().join("keys/operator.json"), &Secret::new("devnet".to_owned()))?;
        let logs = world.chain.logs(world.chain.head().await?.0).await?;
        let block = logs.iter().find(|log| log.topics().contains(&matched.deal)).and_then(|log| log.block_number);
        let block = block.wrap_err("the deal is on chain")?;
        let truth = Truth { view, block, descriptor, operator };
        let inspected = world.engine.docker.inspect_image(IMAGE).await?;
        let other = job(&inspected.id.wrap_err("an id")?)?;

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let config = world.devnet().join(format!("{name}.toml"));
        let honest = fs::read_to_string(&config)?;
        let (true_place, false_place) = (world.scheduler_address()?.to_string(), listener.local_addr()?.to_string());
        fs::write(&config, honest.replace(&true_place, &false_place))?;
        world.restart(&name, &[])?;
        let operator = truth.operator.address();
        let mut liar = Liar::greet(world, &listener, truth.view.terms.pool, operator).await?;
        let worker = liar.worker;
        let own_hash = truth.view.job_hash;
        let none: DealTerms = DealTerms { request: B256::repeat_byte(7), ..truth.view.terms.clone() };
        let elsewhere = AssetId::derive(AssetKind::Pool, Address::repeat_byte(1), b"another").get();
        let lies: [(&str, Assign); 6] = [
            // The deal is there, and for another job.
            ("does not", truth.bent(world, worker, &other, |_| {})),
            ("is not the one that its hash names", truth.bent(world, worker, &other, |a| a.job_hash = own_hash)),
            // It is another's than the one it is said to be.
            ("does not", truth.bent(world, worker, &other, |a| a.requester = Address::repeat_byte(0x98))),
            ("takes no jobs of requester", truth.bent(world, worker, &other, |a| a.requester = somebody)),
            ("is another pool's", truth.bent(world, worker, &other, |a| a.terms.pool = elsewhere)),
            // There is no such deal at all.
            ("knows of no such deal", truth.bent(world, worker, &other, |a| a.terms = none)),
        ];
        for (words, lie) in lies {
            let (code, detail) = liar.lie(lie).await?;
            ensure!(code == "policy" && detail.contains(words), "{code}: {detail}, and not: {words}");
        }
        ensure!(world.containers_of(worker).await?.is_empty());
        ensure!(fs::read_dir(world.devnet().join(format!("data/{name}/tasks")))?.count() == 0, "something was begun");
        until("its own status says why", async || {
            Ok(own_status(world).await?.to_string().contains("knows of no such deal").then_some(()))
        })
        .await?;

        // Under the true scheduler it does the job that the deal is for.
        drop(liar);
        world.service(&name)?.kill().await?;
        fs::write(&config, &honest)?;
        world.restart(&name, &[])?;
        world.ready().await?;
        ensure!(printed(world, &matched, "mine").await? == "mine\n");
        world.all_cleared().await
    })
    .await
}
