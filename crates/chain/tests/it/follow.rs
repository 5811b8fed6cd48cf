//! Whatever the chain does, and wherever the follower dies, the consumer's rows are what the chain holds.

use crate::support::{Emitter, Ping, World, cut, decode, open};
use alloy::{
    primitives::{B256, U256},
    providers::{Provider as _, ext::AnvilApi as _},
    rpc::types::anvil::ReorgOptions,
};
use berth_chain::{
    BlockNumber, Class, Endpoint, Rpc,
    anvil::Mining,
    follow::{Block, FollowConfig, FollowError, Follower, Health, Progress, Sink, SinkError},
    identity::{IdentityError, Subject},
};
use core::{num::NonZeroU64, time::Duration};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::{SqliteConnection, SqlitePool};
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
