//! Whatever the chain does, and wherever the follower dies, the consumer's rows are what the chain holds.

use crate::support::{Emitter, Moody, Ping, Verdict, World, cut, decode, open};
use alloy::{
    primitives::{B256, U256},
    providers::ext::AnvilApi as _,
    rpc::types::anvil::ReorgOptions,
};
use berth_chain::{
    BlockNumber, Class, Endpoint, Rpc,
    anvil::{Anvil, AnvilConfig, Mining},
    follow::{Block, FollowConfig, FollowError, Follower, Health, Progress, Sink, SinkError},
    identity::{IdentityError, Subject},
    tool::tool_path,
};
use core::{num::NonZeroU64, time::Duration};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::{SqliteConnection, SqlitePool};
use std::{
    sync::{Arc, Mutex},
    time::Instant,
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

const DEPTH: u64 = 24;

/// Writes pings and heads to two tables.
struct Recorder;

impl Sink<Ping> for Recorder {
    async fn apply(&mut self, conn: &mut SqliteConnection, blocks: &[Block<Ping>]) -> Result<(), SinkError> {
        for block in blocks {
            sqlx::query("INSERT INTO head (block, hash, time) VALUES ($1, $2, $3)")
                .bind(i64::try_from(block.at.number.get())?)
                .bind(block.at.hash.as_slice())
                .bind(i64::try_from(block.at.timestamp.seconds())?)
                .execute(&mut *conn)
                .await?;
            for event in &block.events {
                sqlx::query("INSERT INTO ping (block, hash, log, number) VALUES ($1, $2, $3, $4)")
                    .bind(i64::try_from(block.at.number.get())?)
                    .bind(block.at.hash.as_slice())
                    .bind(i64::try_from(event.log_index)?)
                    .bind(event.body.0.to_string())
                    .execute(&mut *conn)
                    .await?;
            }
        }
        Ok(())
    }

    async fn unwind(&mut self, conn: &mut SqliteConnection, to: BlockNumber) -> Result<(), SinkError> {
        for delete in ["DELETE FROM head WHERE block > $1", "DELETE FROM ping WHERE block > $1"] {
            sqlx::query(delete).bind(i64::try_from(to.get())?).execute(&mut *conn).await?;
        }
        Ok(())
    }
}

async fn database(path: &std::path::Path) -> eyre::Result<SqlitePool> {
    let pool = open(path).await?;
    for table in [
        "CREATE TABLE IF NOT EXISTS head (block INTEGER PRIMARY KEY, hash BLOB, time INTEGER)",
        "CREATE TABLE IF NOT EXISTS ping (block INTEGER, hash BLOB, log INTEGER, number TEXT, PRIMARY KEY (block, log))",
    ] {
        sqlx::query(table).execute(&pool).await?;
    }
    Ok(pool)
}

fn config(subject: Subject) -> FollowConfig {
    FollowConfig {
        finality_depth: NonZeroU64::new(DEPTH).expect("not zero"),
        max_range: NonZeroU64::new(7).expect("not zero"),
        poll: Duration::from_millis(20),
        ..FollowConfig::new(subject, vec![subject.contract])
    }
}

async fn follower(world: &World, pool: &SqlitePool) -> Result<Follower<Ping, Recorder>, FollowError> {
    Follower::open(world.rpc.clone(), pool.clone(), config(world.subject), decode, Recorder).await
}

async fn fresh() -> eyre::Result<(TempDir, SqlitePool)> {
    let folder = tempfile::tempdir()?;
    let pool = database(&folder.path().join("follow.db")).await?;
    Ok((folder, pool))
}

/// Waits, up to a deadline far beyond what it should take.
async fn until<T>(receiver: &mut watch::Receiver<T>, is: impl FnMut(&T) -> bool) -> eyre::Result<()> {
    tokio::time::timeout(Duration::from_secs(15), receiver.wait_for(is)).await??;
    Ok(())
}

async fn catch_up(world: &World, follower: &mut Follower<Ping, Recorder>) -> eyre::Result<()> {
    loop {
        let progress = follower.step().await?;
        let head = world.rpc.head().await?.block;
        if progress == Progress::AtHead && *follower.watch().tip.borrow() == head {
            return Ok(());
        }
    }
}

/// The rows, in the form of [`World::scan`].
async fn rows(pool: &SqlitePool) -> eyre::Result<Vec<(u64, B256, u64, U256)>> {
    let rows: Vec<(i64, Vec<u8>, i64, String)> =
        sqlx::query_as("SELECT block, hash, log, number FROM ping ORDER BY block, log").fetch_all(pool).await?;
    rows.into_iter()
        .map(|(block, hash, log, number)| {
            Ok((u64::try_from(block)?, B256::try_from(hash.as_slice())?, u64::try_from(log)?, number.parse()?))
        })
        .collect()
}

async fn head_row(pool: &SqlitePool) -> eyre::Result<(i64, i64)> {
    Ok(sqlx::query_as("SELECT block, time FROM head ORDER BY block DESC LIMIT 1").fetch_one(pool).await?)
}

/// One random thing that a chain may do. What is final by the highest tip that the follower had stays.
async fn disturb(world: &World, highest: u64, random: &mut StdRng) -> eyre::Result<()> {
    let height = world.rpc.head().await?.block.number.get();
    let floor = highest.saturating_sub(DEPTH).max(world.subject.block.get());
    let depth = random.gen_range(1..DEPTH).min(height.saturating_sub(floor));
    match random.gen_range(0..8) {
        4..=5 if depth == 0 => {}
        0..=2 => {
            for _ in 0..random.gen_range(1..4) {
                world
                    .call(random.gen_range(0..9), &Emitter::pingCall { count: U256::from(random.gen_range(0..4)) })
                    .await?;
            }
            world.mine(1).await?;
        }
        3 => world.mine(random.gen_range(1..60)).await?,
        4 => world.rpc.provider().anvil_reorg(ReorgOptions { depth, tx_block_pairs: vec![] }).await?,
        5 => world.rpc.provider().anvil_rollback(Some(depth)).await?,
        // Back to a snapshot and on: the same heights, other blocks.
        6 => {
            let snapshot = world.rpc.provider().anvil_snapshot().await?;
            for _ in 0..random.gen_range(1..5) {
                world.call(0, &Emitter::pingCall { count: U256::from(1) }).await?;
                world.mine(1).await?;
            }
            world.rpc.provider().anvil_revert(snapshot).await?;
            if random.gen_bool(0.7) {
                world.call(1, &Emitter::pingCall { count: U256::from(2) }).await?;
                world.mine(random.gen_range(1..6)).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_equal_a_fresh_scan_after_any_reorg_and_any_crash() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    world.mine(DEPTH + 6).await?;
    let folder = tempfile::tempdir()?;
    for seed in 0..4 {
        let mut random = StdRng::seed_from_u64(seed);
        let path = folder.path().join(format!("{seed}.db"));
        let mut pool = database(&path).await?;
        let mut alive = follower(&world, &pool).await?;
        let mut highest = 0;
        for round in 0..40 {
            highest = highest.max(alive.watch().tip.borrow().number.get());
            disturb(&world, highest, &mut random).await?;
            if random.gen_bool(0.5) {
                // Dies at some await, and comes back to what it left.
                let _ = cut(random.gen_range(0..60), alive.step()).await;
                drop(alive);
                pool.close().await;
                pool = database(&path).await?;
                alive = follower(&world, &pool).await?;
            } else if random.gen_bool(0.6) {
                alive.step().await?;
            }
            if round % 5 == 4 {
                catch_up(&world, &mut alive).await?;
                assert_eq!(rows(&pool).await?, world.scan().await?, "seed {seed}, round {round}");
                let head = world.rpc.head().await?.block;
                let told = (i64::try_from(head.number.get())?, i64::try_from(head.timestamp.seconds())?);
                assert_eq!(head_row(&pool).await?, told, "seed {seed}, round {round}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_refuses_wide_pages_and_breaks_connections_loses_nothing() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    for _ in 0..60 {
        world.call(0, &Emitter::pingCall { count: U256::from(2) }).await?;
        world.mine(1).await?;
    }
    let random = Arc::new(Mutex::new(StdRng::seed_from_u64(3)));
    let mood = move |call: &serde_json::Value| {
        let height = |name: &str| {
            let text = call["params"][0][name].as_str().and_then(|text| text.strip_prefix("0x"));
            text.and_then(|digits| u64::from_str_radix(digits, 16).ok())
        };
        let span = height("toBlock").zip(height("fromBlock")).map_or(0, |(to, from)| to - from);
        let draw = random.lock().map_or(0, |mut random| random.gen_range(0..40));
        match draw {
            _ if call["method"] == "eth_getLogs" && span > 2 => Verdict::Refuse,
            0 => Verdict::Refuse,
            1 => Verdict::Break,
            _ => Verdict::Answer,
        }
    };
    let moody = Moody::start(world.anvil.http_url(), mood).await?;
    let rpc = Rpc::new(Endpoint::parse(&moody.url)?)?;
    let (_folder, pool) = fresh().await?;
    let config = FollowConfig { max_range: NonZeroU64::new(1_000).expect("not zero"), ..config(world.subject) };
    let follower = loop {
        match Follower::open(rpc.clone(), pool.clone(), config.clone(), decode, Recorder).await {
            Ok(follower) => break follower,
            // A refused first call is an answer to whoever starts the follower; here it is the node's mood.
            Err(FollowError::Identity(IdentityError::Rpc(_))) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut tip = follower.watch().tip;
    let head = world.rpc.head().await?.block;
    let stop = CancellationToken::new();
    let work = async {
        let _stops = stop.clone().drop_guard();
        until(&mut tip, |tip| *tip == head).await
    };
    let (ran, worked) = tokio::join!(follower.run(stop.clone()), work);
    ran?;
    worked?;
    assert_eq!(rows(&pool).await?, world.scan().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_head_is_taken_when_the_node_tells_of_it() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    let (_folder, pool) = fresh().await?;
    // Polling alone would take an hour.
    let config = FollowConfig { poll: Duration::from_secs(3_600), ..config(world.subject) };
    let follower = Follower::open(world.rpc.clone(), pool.clone(), config, decode, Recorder).await?;
    let watch = follower.watch();
    let (mut tip, mut health) = (watch.tip, watch.health);
    let stop = CancellationToken::new();
    let work = async {
        let _stops = stop.clone().drop_guard();
        until(&mut health, |health| *health == Health::Following).await?;
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            world.call(0, &Emitter::pingCall { count: U256::from(1) }).await?;
            let before = Instant::now();
            world.mine(1).await?;
            let head = world.rpc.head().await?.block;
            until(&mut tip, |tip| *tip == head).await?;
            slowest = slowest.max(before.elapsed());
        }
        eyre::Ok(slowest)
    };
    // As services run it: on a task of its own.
    let mut services = JoinSet::new();
    services.spawn(follower.run(stop.clone()));
    let slowest = work.await?;
    while let Some(ran) = services.join_next().await {
        ran??;
    }
    assert!(slowest < Duration::from_secs(5));
    assert_eq!(rows(&pool).await?, world.scan().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_is_told_and_taken_up_again() -> eyre::Result<()> {
    let world = World::start(Mining::Every(0.25)).await?;
    let (_folder, pool) = fresh().await?;
    let rpc = Rpc::with_deadline(world.anvil.endpoint()?, Duration::from_millis(300))?;
    let follower = Follower::open(rpc, pool.clone(), config(world.subject), decode, Recorder).await?;
    let watch = follower.watch();
    let (mut tip, mut health) = (watch.tip, watch.health);
    let stop = CancellationToken::new();
    let anvil = Pid::from_raw(i32::try_from(world.anvil.pid())?);
    let work = async {
        let _stops = stop.clone().drop_guard();
        until(&mut health, |health| *health == Health::Following).await?;
        kill(anvil, Signal::SIGSTOP)?;
        let told = until(&mut health, |health| matches!(health, Health::Retrying { .. })).await;
        kill(anvil, Signal::SIGCONT)?;
        told?;
        until(&mut health, |health| *health == Health::Following).await?;
        world.call(0, &Emitter::pingCall { count: U256::from(3) }).await?;
        let goal = world.rpc.head().await?.block.number.next();
        until(&mut tip, |tip| tip.number > goal).await?;
        eyre::Ok(())
    };
    let (ran, worked) = tokio::join!(follower.run(stop.clone()), work);
    ran?;
    worked?;
    assert_eq!(rows(&pool).await?, world.scan().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_was_started_anew_is_refused_by_an_old_database() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    let (_folder, pool) = fresh().await?;
    let mut alive = follower(&world, &pool).await?;
    catch_up(&world, &mut alive).await?;
    let port = world.anvil.http_url().rsplit(':').next().unwrap_or_default().parse()?;
    let subject = world.subject;
    let rpc = world.rpc.clone();
    drop(world);
    assert_eq!(alive.step().await.expect_err("there is no node").class(), Class::Retry);
    // Started within the same second, the two would even share their first block.
    let arguments = vec!["--timestamp".to_owned(), "1000000000".to_owned()];
    let config = AnvilConfig { port, mining: Mining::OnDemand, arguments, ..AnvilConfig::new(tool_path("anvil")?) };
    let _anvil = Anvil::start(&config)?;
    // In the middle of following, whatever number of blocks it has …
    let short = alive.step().await;
    assert!(matches!(short, Err(FollowError::TooDeep { .. })), "{short:?}");
    let short = Follower::open(rpc.clone(), pool.clone(), self::config(subject), decode, Recorder).await;
    assert!(matches!(short, Err(FollowError::Identity(IdentityError::TooShort { .. }))), "{short:?}");
    rpc.provider().anvil_mine(Some(5), None).await?;
    let parted = alive.step().await;
    assert!(matches!(parted, Err(FollowError::TooDeep { .. })), "{parted:?}");
    // … and at the start.
    let foreign = Follower::open(rpc.clone(), pool.clone(), self::config(subject), decode, Recorder).await;
    let Err(FollowError::Identity(IdentityError::ForeignDatabase { .. })) = &foreign else {
        eyre::bail!("{foreign:?}")
    };
    let error = foreign.expect_err("just seen");
    assert!(error.hint().is_some() && error.class() == Class::Refused);
    let elsewhere = self::config(Subject { chain_id: 1, ..subject });
    let wrong = Follower::open(rpc, pool, elsewhere, decode, Recorder).await;
    assert!(matches!(wrong, Err(FollowError::Identity(IdentityError::WrongChain { expected: 1, .. }))), "{wrong:?}");
    Ok(())
}

#[tokio::test]
async fn a_head_that_goes_back_is_believed_the_second_time() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    let (_folder, pool) = fresh().await?;
    world.call(0, &Emitter::pingCall { count: U256::from(1) }).await?;
    world.mine(3).await?;
    let mut alive = follower(&world, &pool).await?;
    catch_up(&world, &mut alive).await?;
    let before = *alive.watch().tip.borrow();
    world.rpc.provider().anvil_rollback(Some(2)).await?;
    // A node behind a load balancer may lag; one answer proves nothing.
    assert_eq!(alive.step().await?, Progress::AtHead);
    assert_eq!(*alive.watch().tip.borrow(), before);
    assert_eq!(alive.step().await?, Progress::More);
    assert_eq!(alive.watch().tip.borrow().number, before.number.below(2));
    assert_eq!(rows(&pool).await?, world.scan().await?);
    Ok(())
}
