//! Starting where something is wrong, and going on when the node is gone for a while.

use crate::support::{Market, PATIENCE, ScriptedWorker, Service, WORKER_STAKE, job};
use alloy::primitives::B256;
use berth_chain::{
    anvil::{Anvil, AnvilConfig, Mining},
    port,
    tool::tool_path,
};
use berth_protocol::Class;
use berth_scheduler::{Scheduler, SchedulerError};
use berth_wire::{problem::Problem, worker::ToScheduler};
use core::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use eyre::{ContextCompat as _, bail};
use std::sync::Arc;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

async fn fails(market: &Market, config: berth_scheduler::Config) -> eyre::Result<SchedulerError> {
    let key = market.operator.clone();
    let start = Scheduler::start(config, key, Default::default(), CancellationToken::new());
    match timeout(PATIENCE, start).await? {
        Err(error) => Ok(error),
        Ok(running) => bail!("it started: {running:?}"),
    }
}

fn refused(error: &SchedulerError, words: &str) {
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(error.class(), Class::Refused, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_at_the_start_is_told_with_a_hint() -> eyre::Result<()> {
    let market = Market::open().await?;
    let config = || market.config();
    let folder = market.folder.path();

    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let mut wrong = config();
    wrong.listen = taken.local_addr()?;
    refused(&fails(&market, wrong).await?, "can't be listened on");

    let mut wrong = config();
    wrong.deployment = folder.join("nowhere.json");
    refused(&fails(&market, wrong).await?, "nowhere.json");

    let mut wrong = config();
    wrong.pool = B256::with_last_byte(1);
    assert!(fails(&market, wrong).await?.to_string().contains("is no pool"));

    let mut wrong = config();
    std::fs::write(folder.join("file"), "not a folder")?;
    wrong.store = folder.join("file");
    refused(&fails(&market, wrong).await?, "can't be kept");

    let mut wrong = config();
    let diary = folder.join("diary.db");
    std::fs::write(&diary, "this is no database at all, and somebody's only copy of something or other".repeat(9))?;
    wrong.database = diary.clone();
    refused(&fails(&market, wrong).await?, "diary.db");
    assert!(std::fs::read_to_string(diary)?.starts_with("this is no database"));

    Service::start(&market).await?.stop().await?;
    let mut wrong = config();
    wrong.pool[0] ^= 1;
    refused(&fails(&market, wrong).await?, "is of pool");

    let other = Anvil::start(&AnvilConfig {
        chain_id: 4_711,
        mining: Mining::Every(0.1),
        ..AnvilConfig::new(tool_path("anvil")?)
    })?;
    let mut wrong = config();
    (wrong.rpc, wrong.rpc_ws) = (other.http_url(), None);
    refused(&fails(&market, wrong).await?, "is of chain 4711");

    // The same deployment's words, but another chain: the database knows its own.
    let second = Market::open().await?;
    let mut wrong = second.config();
    (wrong.database, wrong.pool) = (config().database, config().pool);
    refused(&fails(&second, wrong).await?, "the database is about");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schedulers_do_not_share_a_database() -> eyre::Result<()> {
    let market = Market::open().await?;
    let service = Service::start(&market).await?;
    let error = fails(&market, market.config()).await?;
    refused(&error, "another program sends");
    service.stop().await
}

/// Stands between a scheduler and its node, and can be cut.
struct Cable {
    address: SocketAddr,
    open: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Cable {
    async fn to(market: &Market, open: bool) -> eyre::Result<Self> {
        let node: SocketAddr = market.anvil.http_url().strip_prefix("http://").wrap_err("a URL")?.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let open = watch::Sender::new(open);
        let state = Arc::new(open.subscribe());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut wires = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = (*state).clone();
                wires.spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(node).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Ok(Self { address, open, tasks })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_for_a_while_is_waited_for() -> eyre::Result<()> {
    let market = Market::open().await?;
    let key = market.bonded(WORKER_STAKE).await?;
    let cable = Cable::to(&market, false).await?;
    let mut config = market.config();
    config.rpc = format!("http://{}", cable.address);
    config.rpc_ws = Some(format!("ws://{}", cable.address));

    // At the start: whoever asks is told that it is not ready, and why.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free(1)?[0]));
    config.listen = address;
    let open = async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let refused = loop {
            match client.get(format!("http://{address}/readyz")).send().await {
                Ok(answer) => break answer,
                // Nobody listens yet.
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        assert_eq!(refused.status(), 503);
        let problem: Problem = refused.json().await?;
        assert_eq!(problem.code, "not-ready");
        assert!(problem.detail.contains("can't be reached"), "{problem:?}");
        assert!(client.get(format!("http://{address}/healthz")).send().await?.status().is_success());
        cable.open.send_replace(true);
        eyre::Ok(())
    };
    let (service, opened) = tokio::join!(Service::with(&market, config), open);
    opened?;
    let service = service?;
    service.until_ready(true).await?;

    // In the middle: the result comes while the node is gone.
    let requester = service.signed_in(&market.own).await?;
    let job = job("patience");
    requester.put_job(job.to_bytes()).await?;
    let mut worker = ScriptedWorker::connect(&service, &market, &key).await?;
    let terms = market.matched(&job, 1, market.own.address()).await?;
    worker.assignment().await?;
    cable.open.send_replace(false);
    service.until_ready(false).await?;
    let (digest, stdout) = worker.upload("in the dark").await?;
    let report = worker.report(&terms, 0, &[(0, digest)], Some(stdout))?;
    worker.say(&ToScheduler::Report(Box::new(report))).await?;
    service.until_all(terms.id(), "settling").await?;
    cable.open.send_replace(true);
    service.until_all(terms.id(), "settled").await?;
    service.until_ready(true).await?;
    drop(cable.tasks);
    service.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waits_for_its_node_can_be_called_off() -> eyre::Result<()> {
    let market = Market::open().await?;
    let cable = Cable::to(&market, false).await?;
    let mut config = market.config();
    (config.rpc, config.rpc_ws) = (format!("http://{}", cable.address), None);
    let stop = CancellationToken::new();
    let start = Scheduler::start(config, market.operator.clone(), Default::default(), stop.clone());
    let call_off = async {
        sleep(Duration::from_millis(300)).await;
        stop.cancel();
    };
    let (started, ()) = tokio::join!(timeout(PATIENCE, start), call_off);
    let error = match started? {
        Err(error) => error,
        Ok(running) => bail!("it started: {running:?}"),
    };
    assert_eq!(error.class(), Class::Retry);
    assert!(error.hint().is_some());
    Ok(())
}
