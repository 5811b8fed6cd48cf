//! What owners do: keys, money in and out, apps and pools of their own, bonds.

use alloy::primitives::{Address, B256};
use berth_tests::{
    engine::IMAGE,
    receipt::Receipt,
    world::{World, until, within},
};
use eyre::{ContextCompat as _, ensure};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

/// A member of a document as text.
fn text<'a>(document: &'a Value, name: &str) -> eyre::Result<&'a str> {
    document[name].as_str().wrap_err_with(|| format!("no {name} in {document}"))
}

#[tokio::test]
async fn an_owner_sets_up_shop_by_commands_alone() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        keys_and_money(world).await?;
        let app = app_of_ones_own(world).await?;
        second_thoughts(world, &app).await?;
        bonds(world).await
    })
    .await
}

async fn keys_and_money(world: &World) -> eyre::Result<()> {
    world.file("secret", b"open sesame\n")?;
    let made: Value = world.berth(["wallet", "new", "alice", "--password-file", "secret"])?.json().await?;
    let file = std::fs::metadata(world.folder().join(text(&made, "file")?))?;
    ensure!(file.permissions().mode() & 0o777 == 0o600, "others may read the key");
    let again = world.berth(["wallet", "new", "alice", "--password-file", "secret"])?.run().await?;
    again.require_failure(8, &["exists"])?;
    let listed: Value = world.berth(["wallet", "list"])?.json().await?;
    ensure!(listed.to_string().contains(text(&made, "address")?), "{listed}");

    let before = world.books().await?;
    let alice: Address = text(&made, "address")?.parse()?;
    // By permit: one transaction; for another: an approval first.
    let own: Value = world.berth(["account", "deposit", "1.5"])?.json().await?;
    ensure!(own["transactions"].as_array().is_some_and(|all| all.len() == 1), "{own}");
    let gift: Value = world.berth(["account", "deposit", "2", "--to", "alice"])?.json().await?;
    ensure!(text(&gift, "account")?.parse::<Address>()? == alice, "{gift}");
    let back: Value = world.berth(["account", "withdraw", "0.5"])?.json().await?;
    ensure!(text(&back, "withdrawn")? == "500000000000000000", "{back}");
    let after = world.books().await?;
    let token = 1_000_000_000_000_000_000_u128;
    ensure!(after.money(alice).free == 2 * token, "{:?}", after.money(alice));
    ensure!(after.total() == before.total() + 3 * token, "the market holds {} more", after.total() - before.total());
    let shown: Value = world.berth(["account", "show", "alice"])?.json().await?;
    ensure!(text(&shown, "free")? == (2 * token).to_string(), "{shown}");
    Ok(())
}

/// An app with its image and its price: people run it by name, and its owner is paid.
async fn app_of_ones_own(world: &World) -> eyre::Result<String> {
    let register = ["app", "register", "shop", "--image", IMAGE, "--price", "0.25", "--account", "owner-1"];
    let app: Value = world.berth(register)?.json().await?;
    let again = world.berth(register)?.run().await?;
    again.require_failure(4, &["before"])?;
    let listed: Value = world.berth(["app", "list"])?.json().await?;
    ensure!(listed.to_string().contains(text(&app, "app")?), "{listed}");
    let dry: Value = world.berth(["run", "shop", "--dry-run", "--", "true"])?.json().await?;
    ensure!(text(&dry, "total")? == "1250000000000000000", "{dry}");

    let before = world.books().await?;
    let receipt: Receipt = world.berth(["run", "shop", "--", "echo", "sold"])?.json().await?;
    receipt.require_true(&world.chain, &before, &world.books().await?).await?;
    let task = receipt.only()?;
    ensure!(task.stdout.as_deref() == Some("sold\n"), "{receipt:?}");
    let owner = task.paid.iter().find(|paid| paid.roles.iter().any(|role| role == "app owner"));
    ensure!(owner.is_some_and(|paid| paid.amount == "250000000000000000"), "{receipt:?}");
    Ok(text(&app, "app")?.to_owned())
}

/// All that was signed is cancelled at once; what is signed afterwards is good.
async fn second_thoughts(world: &World, app: &str) -> eyre::Result<()> {
    let run = world.berth(["run", "app:shop", "--", "echo", "sold"])?;
    world.berth(["account", "cancel-orders", "--account", "owner-1"])?.must().await?;
    until("the book drops the offer", async || Ok((run.run().await?.code == Some(3)).then_some(()))).await?;
    let order = world.berth(["app", "order", app, "--price", "0.5"])?;
    order.run().await?.require_failure(4, &["--account"])?;
    order.args(["--account", "owner-1"]).must().await?;
    let dry: Value = world.berth(["run", "app:shop", "--dry-run", "--", "true"])?.json().await?;
    ensure!(text(&dry, "total")? == "1500000000000000000", "{dry}");
    run.must().await.map(drop)
}

async fn bonds(world: &World) -> eyre::Result<()> {
    let pool: Value = world.berth(["pool", "create", "attic", "--account", "owner-1"])?.json().await?;
    let id: B256 = text(&pool, "pool")?.parse()?;
    let id = id.to_string();
    let other =
        world.berth(["pool", "order", &id, "--price", "3", "--operator", "operator", "--url", "http://127.0.0.1:9"])?;
    other.run().await?.require_failure(4, &["--account"])?;
    let offer = other.args(["--account", "owner-1"]).json::<Value>().await?;
    let shown: Value = world.berth(["pool", "show", "attic"])?.json().await?;
    ensure!(shown.to_string().contains(text(&offer, "order")?), "{shown}");
    // Two pools: nobody guesses which is meant, but a run takes the one that answers.
    world.berth(["pool", "show"])?.run().await?.require_failure(2, &["2 pools"])?;
    world.run(&[], "true")?.must().await?;
    world.run(&["--pool", "attic"], "true")?.run().await?.require_failure(8, &["no offer fits"])?;

    // A worker's key on another machine signs for its owner there.
    let owner = world.berth(["wallet", "show", "owner-1"])?.json::<Value>().await?;
    let alice = ["--account", "alice", "--password-file", "secret"];
    let enlist = world.berth(["worker", "enlist", "--pool", &id, "--owner", text(&owner, "address")?])?.args(alice);
    let word: Value = enlist.json().await?;
    let bond = ["worker", "bond", "2", "--pool", &id, "--worker", text(&word, "worker")?, "--account", "owner-1"];
    let bonded: Value = world.berth(bond)?.args(["--enlistment", text(&word, "enlistment")?]).json().await?;
    ensure!(text(&bonded, "bonded")? == "2000000000000000000", "{bonded}");
    let thief = world.berth(["worker", "unbond", "1", "--pool", &id, "--worker", "alice"])?.run().await?;
    thief.require_failure(4, &["owner"])?;
    let unbond = ["worker", "unbond", "1", "--pool", &id, "--worker", "alice", "--account", "owner-1"];
    let leaving: Value = world.berth(unbond)?.json().await?;
    ensure!(text(&leaving, "unbonding")? == "1000000000000000000", "{leaving}");
    let withdraw = ["worker", "withdraw-bond", "--pool", &id, "--worker", "alice", "--account", "owner-1"];
    world.berth(withdraw)?.run().await?.require_failure(4, &["released"])?;
    let too_much = ["worker", "unbond", "9", "--pool", &id, "--worker", "alice", "--account", "owner-1"];
    world.berth(too_much)?.run().await?.require_failure(4, &["bonded"])?;
    let released = leaving["release_at"].as_u64().wrap_err("no time of release")?;
    let (_, now) = world.chain.head().await?;
    world.chain.pass_s(released - now.seconds() + 1).await?;
    let gone: Value = world.berth(withdraw)?.json().await?;
    ensure!(text(&gone, "unbonding")? == "0" && text(&gone, "bonded")? == "1000000000000000000", "{gone}");
    world.books().await.map(drop)
}
