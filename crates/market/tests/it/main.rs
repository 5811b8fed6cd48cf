//! The order book over a real chain: what it takes, what it turns away, and how it keeps in step.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names the one variant that it wants; all others fail it")]

mod support;

use alloy::primitives::{B256, U256};
use alloy::providers::ext::AnvilApi as _;
use berth_chain::{anvil::Mining, call, signer::Signer};
use berth_market::{Config, Market, MarketError, StoreError};
use berth_protocol::{AccountAddr, Amount, AssetId, AssetKind, order::UNLIMITED};
use berth_wire::{
    client::ClientError,
    job::{Image, Job},
    market::Query,
    order::{AnyOrder, SignedOrder},
};
use eyre::ensure;
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use support::{World, code_of};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn an_order_of_its_assets_owner_is_listed_cheapest_first_and_page_by_page() -> eyre::Result<()> {
    let world = World::start(Mining::Every(0.05)).await?;
    let app = world.register(&world.owner, AssetKind::App, "render").await?;
    let mut hashes = Vec::new();
    for price in [30, 10, 20] {
        hashes.push(world.book.publish(&world.publication(world.app_order(app, price))).await?.hash);
    }
    // The same again is no error, and no second order.
    world.book.publish(&world.publication(world.app_order_with_salt(app, 99, B256::repeat_byte(9)))).await?;
    world.book.publish(&world.publication(world.app_order_with_salt(app, 99, B256::repeat_byte(9)))).await?;
    let all = world.book.orders(&Query { kind: Some("app".into()), ..Query::default() }).await?;
    let prices: Vec<u128> = all.orders.iter().map(|listed| listed.order.order.price().0).collect();
    ensure!(prices == [10, 20, 30, 99] && all.cursor.is_none(), "{prices:?}");
    ensure!(all.orders.iter().all(|listed| listed.name.as_deref() == Some("render")));
    ensure!(all.orders.iter().all(|listed| listed.signer == world.owner.address() && listed.remaining == UNLIMITED));
    let mut query = Query { limit: Some(3), asset: Some(app.get()), ..Query::default() };
    let first = world.book.orders(&query).await?;
    query.cursor = first.cursor;
    ensure!(query.cursor.is_some());
    let second = world.book.orders(&query).await?;
    ensure!(first.orders.len() == 3 && second.orders.len() == 1 && second.orders[0].order.order.price().0 == 99);
    ensure!(world.book.order(hashes[0]).await?.hash == hashes[0]);
    let none = world.book.orders(&Query { owner: Some(world.other.address()), ..Query::default() }).await?;
    ensure!(none.orders.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_order_that_nobody_could_match_is_turned_away_with_its_reason() -> eyre::Result<()> {
    let world = World::start(Mining::Every(0.05)).await?;
    let app = world.register(&world.owner, AssetKind::App, "render").await?;
    let pool = world.register(&world.owner, AssetKind::Pool, "pool").await?;
    let publish = async |order: AnyOrder, signer: &Signer, url: Option<&str>| {
        let order = world.signed(order, signer);
        code_of(world.book.publish(&berth_wire::market::Publication { order, url: url.map(str::to_owned) }).await)
    };
    let owner = &world.owner;
    let good = world.app_order(app, 1);
    ensure!(publish(good.clone(), &world.other, None).await? == "order-signer");
    let edit = |change: &dyn Fn(&mut berth_wire::order::AppOrder)| match world.app_order(app, 1) {
        AnyOrder::App(mut order) => {
            change(&mut order);
            AnyOrder::App(order)
        }
        order => order,
    };
    ensure!(publish(edit(&|order| order.expiry = 1), owner, None).await? == "order-expired");
    ensure!(publish(edit(&|order| order.volume = 0), owner, None).await? == "order-policy");
    ensure!(publish(edit(&|order| order.app = pool.get()), owner, None).await? == "order-kind");
    let nobodys = AssetId::derive(AssetKind::App, world.other.address(), b"{}");
    ensure!(publish(edit(&|order| order.app = nobodys.get()), owner, None).await? == "asset-unknown");
    let pool_edit = |change: &dyn Fn(&mut berth_wire::order::PoolOrder)| match world.pool_order(pool, 1) {
        AnyOrder::Pool(mut order) => {
            change(&mut order);
            AnyOrder::Pool(order)
        }
        order => order,
    };
    ensure!(publish(pool_edit(&|order| order.parallel = 0), owner, None).await? == "order-policy");
    ensure!(publish(pool_edit(&|order| order.operator_share_bps = 10_001), owner, None).await? == "order-policy");
    ensure!(publish(pool_edit(&|order| order.max_duration = 1), owner, None).await? == "order-policy");
    ensure!(publish(pool_edit(&|_| ()), owner, Some("ftp://x")).await? == "order-url");
    ensure!(publish(pool_edit(&|_| ()), owner, Some("http://127.0.0.1:1")).await? == "published");
    // A high-s twin recovers to the same signer, and the contract refuses it.
    let mut twin = world.signed(good.clone(), owner);
    let mut bytes = twin.signature.to_vec();
    let order = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse::<U256>()?;
    let high = order - U256::from_be_slice(&bytes[32..64]);
    bytes[32..64].copy_from_slice(&high.to_be_bytes::<32>());
    bytes[64] = if bytes[64] == 27 { 28 } else { 27 };
    twin.signature = bytes.into();
    ensure!(
        code_of(world.book.publish(&berth_wire::market::Publication { order: twin, url: None }).await)?
            == "order-signer"
    );
    // All orders of an earlier epoch are cancelled at once.
    world.book.publish(&world.publication(good)).await?;
    world.send(owner, world.deployment.berth, call::raise_epoch(5)).await?;
    world.caught_up().await?;
    ensure!(world.listed(app).await? == 0, "a cancelled order is listed");
    ensure!(publish(world.app_order(app, 2), owner, None).await? == "order-cancelled");
    ensure!(publish(edit(&|order| order.epoch = 5), owner, None).await? == "published");
    Ok(())
}

#[tokio::test]
async fn a_new_owner_ends_the_old_ones_orders_until_a_reorg_takes_the_transfer_back() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    let app = world.register(&world.owner, AssetKind::App, "render").await?;
    world.book.publish(&world.publication(world.app_order(app, 1))).await?;
    ensure!(world.listed(app).await? == 1);
    let before = world.rpc.provider().anvil_snapshot().await?;
    let (from, to) = (AccountAddr::new(world.owner.address()), AccountAddr::new(world.other.address()));
    world.send(&world.owner, world.deployment.assets, call::give(app, from, to)).await?;
    world.caught_up().await?;
    ensure!(world.listed(app).await? == 0, "the former owner's order is listed");
    let mine = world.signed(world.app_order(app, 7), &world.other);
    world.book.publish(&berth_wire::market::Publication { order: mine, url: None }).await?;
    ensure!(world.listed(app).await? == 1, "the new owner's order is not");
    world.reorg(before).await?;
    let listed = world.book.orders(&Query { asset: Some(app.get()), ..Query::default() }).await?;
    ensure!(listed.orders.len() == 1 && listed.orders[0].signer == world.owner.address(), "{listed:?}");
    Ok(())
}

#[tokio::test]
async fn whatever_stands_for_an_order_on_chain_stands_for_it_in_the_book() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    let app = world.register(&world.owner, AssetKind::App, "render").await?;
    let publish = async |order: SignedOrder| {
        code_of(world.book.publish(&berth_wire::market::Publication { order, url: None }).await)
    };
    // The short form of a signature.
    let mut short = world.signed(world.app_order(app, 1), &world.owner);
    let mut bytes = short.signature.to_vec();
    if bytes.pop() == Some(28) {
        bytes[32] |= 0x80;
    }
    short.signature = bytes.clone().into();
    ensure!(publish(short.clone()).await? == "published");
    bytes[32] ^= 0x80;
    let other_point = SignedOrder { order: world.app_order(app, 1), signature: bytes.into() };
    ensure!(publish(other_point).await? == "order-signer");

    // No signature at all, and an approval on chain: of its owner, not of anybody.
    let silent = SignedOrder { order: world.app_order(app, 2), signature: alloy::primitives::Bytes::new() };
    ensure!(publish(silent.clone()).await? == "order-signer");
    let berth = world.deployment.berth;
    let hash = silent.order.hash(&world.deployment.domain());
    world.send(&world.other, berth, call::approve_order(hash)).await?;
    ensure!(publish(silent.clone()).await? == "order-signer");
    world.send(&world.owner, berth, call::approve_order(hash)).await?;
    ensure!(publish(silent.clone()).await? == "published");
    world.caught_up().await?;
    ensure!(world.listed(app).await? == 2);

    // One order is cancelled by its owner alone, and comes back with a reorg.
    let before = world.rpc.provider().anvil_snapshot().await?;
    world.send(&world.other, berth, call::cancel_order(hash)).await?;
    world.caught_up().await?;
    ensure!(world.listed(app).await? == 2, "a stranger has cancelled an order");
    world.send(&world.owner, berth, call::cancel_order(hash)).await?;
    world.caught_up().await?;
    ensure!(world.listed(app).await? == 1, "a cancelled order is listed");
    ensure!(publish(silent).await? == "order-revoked");
    world.reorg(before).await?;
    ensure!(world.listed(app).await? == 2, "a reorg does not give a cancelled order back");
    Ok(())
}

#[tokio::test]
async fn a_match_consumes_its_orders_and_its_reorg_gives_them_back() -> eyre::Result<()> {
    let world = World::start(Mining::OnDemand).await?;
    let app = world.register(&world.owner, AssetKind::App, "render").await?;
    let pool = world.register(&world.owner, AssetKind::Pool, "pool").await?;
    world.fund(&world.other, Amount::new(1_000)).await?;
    let app_order = world.signed(world.app_order_of_volume(app, 1, 5), &world.owner);
    let pool_order = world.signed(world.pool_order(pool, 1), &world.owner);
    let app_hash =
        world.book.publish(&berth_wire::market::Publication { order: app_order.clone(), url: None }).await?.hash;
    world.book.publish(&berth_wire::market::Publication { order: pool_order.clone(), url: None }).await?;
    let before = world.rpc.provider().anvil_snapshot().await?;
    world.match_orders(&app_order, &pool_order, 3).await?;
    world.caught_up().await?;
    ensure!(world.book.order(app_hash).await?.remaining == 2);
    world.match_orders(&app_order, &pool_order, 2).await?;
    world.caught_up().await?;
    ensure!(world.book.order(app_hash).await?.remaining == 0 && world.listed(app).await? == 0);
    world.reorg(before).await?;
    ensure!(world.book.order(app_hash).await?.remaining == 5 && world.listed(app).await? == 1);
    Ok(())
}

#[tokio::test]
async fn a_job_is_kept_under_its_hash_and_a_malformed_one_is_turned_away() -> eyre::Result<()> {
    let world = World::start(Mining::Every(0.05)).await?;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let job = Job {
        image: Some(Image { reference: "busybox".into(), config: Some(digest.parse()?), manifest: None }),
        args: vec!["true".into()],
        env: std::collections::BTreeMap::new(),
        ..Job::default()
    };
    let published = world.book.publish_job(job.to_bytes()).await?;
    ensure!(published.job_hash == job.hash().get());
    let mut spaced = job.to_bytes();
    spaced.insert(1, b' ');
    ensure!(code_of(world.book.publish_job(spaced).await)? == "job-form");
    match world.book.order(B256::repeat_byte(1)).await {
        Err(ClientError::Refused(problem)) => ensure!((problem.status, &*problem.code) == (404, "not-found")),
        other => eyre::bail!("{other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_database_or_a_taken_port_ends_the_start_and_is_left_alone() -> eyre::Result<()> {
    let world = World::start(Mining::Every(0.05)).await?;
    let start = async |config: Config| Market::start(config, CancellationToken::new()).await;
    let taken = Config { listen: world.address, ..world.config("other.db") };
    ensure!(matches!(start(taken).await, Err(MarketError::Listen { .. })));
    let text = world.folder.path().join("notes.db");
    std::fs::write(&text, "this is no database at all, but somebody's notes")?;
    let refused = start(world.config("notes.db")).await;
    ensure!(matches!(refused, Err(MarketError::Store(StoreError::Open { .. }))), "{refused:?}");
    ensure!(std::fs::read_to_string(&text)?.starts_with("this is no database"));
    let options = SqliteConnectOptions::new().filename(world.folder.path().join("songs.db")).create_if_missing(true);
    let songs = SqlitePool::connect_with(options).await?;
    sqlx::query("CREATE TABLE songs (title TEXT)").execute(&songs).await?;
    songs.close().await;
    let refused = start(world.config("songs.db")).await;
    ensure!(matches!(refused, Err(MarketError::Store(StoreError::Foreign { .. }))), "{refused:?}");
    // A book of another chain: its own name is in it.
    let elsewhere = World::start(Mining::Every(0.05)).await?;
    let config = elsewhere.config("moved.db");
    // Not a copy of the file: the book is running, and part of it may still be in its log.
    let book = SqlitePool::connect_with(SqliteConnectOptions::new().filename(world.folder.path().join("market.db")));
    let book = book.await?;
    sqlx::query("VACUUM INTO $1").bind(config.database.display().to_string()).execute(&book).await?;
    book.close().await;
    ensure!(matches!(start(config).await, Err(MarketError::Follow(_))));
    Ok(())
}

#[tokio::test]
async fn what_was_published_is_there_after_a_restart() -> eyre::Result<()> {
    let mut world = World::start(Mining::Every(0.05)).await?;
    let app = world.register(&world.owner, AssetKind::App, "render").await?;
    world.book.publish(&world.publication(world.app_order(app, 1))).await?;
    world.restart().await?;
    ensure!(world.listed(app).await? == 1);
    Ok(())
}

/// Both are the order with its signature.
#[test]
fn an_order_survives_its_journey_as_json() -> eyre::Result<()> {
    let order = support::any_app_order();
    let signed = SignedOrder { order, signature: vec![1; 65].into() };
    ensure!(serde_json::from_str::<SignedOrder>(&serde_json::to_string(&signed)?)? == signed);
    Ok(())
}
