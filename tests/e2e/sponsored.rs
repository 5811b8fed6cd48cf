//! Whose money a match takes: what the requester pays in with it, or what another has agreed to pay.

use alloy::{
    primitives::{Address, B256},
    providers::Provider as _,
};
use berth_tests::{
    receipt::{Detached, Receipt},
    world::{World, within},
};
use eyre::{ContextCompat as _, ensure};
use serde_json::Value;

const TOKEN: u128 = 1_000_000_000_000_000_000;

fn text<'a>(document: &'a Value, name: &str) -> eyre::Result<&'a str> {
    document[name].as_str().wrap_err_with(|| format!("no {name} in {document}"))
}

/// The address of a key.
async fn address(world: &World, name: &str) -> eyre::Result<Address> {
    let shown: Value = world.berth(["wallet", "show", name])?.json().await?;
    Ok(text(&shown, "address")?.parse()?)
}

async fn sent(world: &World, account: Address) -> eyre::Result<u64> {
    Ok(world.chain.rpc.provider().get_transaction_count(account).await?)
}

/// Deposit and match are one transaction, and one without the other is nothing.
#[tokio::test]
async fn a_requester_pays_in_what_a_job_lacks_with_the_match_itself() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let dry: Value = world.run(&["--dry-run"], "true")?.json().await?;
        let total: u128 = text(&dry, "total")?.parse()?;
        ensure!(text(&dry, "deposit")? == "0" && total == TOKEN, "{dry}");
        let shown: Value = world.berth(["account", "show"])?.json().await?;
        let requester: Address = text(&shown, "account")?.parse()?;

        // A quarter of the price is left in the market.
        let free: u128 = text(&shown, "free")?.parse()?;
        let rest = (free - total / 4) / TOKEN;
        world.berth(["account", "withdraw", &format!("{rest}.75")])?.must().await?;
        let before = world.books().await?;
        ensure!(before.money(requester).free == total / 4, "{:?}", before.money(requester));
        let refused = world.run(&[], "true")?.run().await?;
        refused.require_failure(4, &["0.75 LOCAL are missing", "berth account deposit 0.75", "--deposit"])?;
        let dry: Value = world.run(&["--dry-run", "--deposit"], "true")?.json().await?;
        ensure!(text(&dry, "deposit")? == (total / 4 * 3).to_string(), "{dry}");

        // Nothing is paid in for a job that nobody takes.
        let count = sent(world, requester).await?;
        let unfit = world.run(&["--deposit", "--max-price", "0.5"], "true")?.run().await?;
        unfit.require_failure(8, &["no offer fits"])?;
        ensure!(sent(world, requester).await? == count, "something was sent");

        let receipt: Receipt = world.run(&["--deposit"], "echo paid in")?.json().await?;
        ensure!(sent(world, requester).await? == count + 1, "more than one transaction");
        ensure!(receipt.only()?.stdout.as_deref() == Some("paid in\n"), "{receipt:?}");
        let mut with_deposit = before;
        with_deposit.accounts.entry(requester).or_default().free += total / 4 * 3;
        let after = world.books().await?;
        receipt.require_true(&world.chain, &with_deposit, &after).await?;
        ensure!(after.money(requester).free == 0 && after.money(requester).locked == 0);

        // Again it is another deposit; and where nothing is missing, none.
        world.run(&["--deposit"], "true")?.must().await?;
        world.berth(["account", "deposit", "1.5"])?.must().await?;
        world.run(&["--deposit"], "true")?.must().await?;
        ensure!(world.books().await?.money(requester).free == TOKEN / 2);

        // What is not in the wallet either can't be paid in.
        world.file("password", b"correct horse\n")?;
        world.berth(["wallet", "new", "pauper", "--password-file", "password"])?.must().await?;
        let pauper = ["--deposit", "--account", "pauper", "--password-file", "password"];
        world.run(&pauper, "true")?.run().await?.require_failure(4, &["1 LOCAL are missing", "hint"])
    })
    .await
}

/// The request goes to the payer, its consent comes back, and the requester, or whoever, makes the deal.
#[tokio::test]
async fn a_sponsor_agrees_and_the_deal_is_made_at_its_cost() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        world.berth(["account", "deposit", "3", "--to", "owner-1"])?.must().await?;
        let payer = address(world, "owner-1").await?;
        let asked = ["--payer", "owner-1", "--request", "request.json"];
        let made: Value = world.run(&asked, "echo at their cost")?.json().await?;
        ensure!(text(&made, "payer")?.parse::<Address>()? == payer, "{made}");
        let before = world.books().await?;

        nobody_else_pays(world).await?;
        let sponsor = ["account", "sponsor", "request.json", "--out", "consent.json", "--account", "owner-1"];
        let consent: Value = world.berth(sponsor)?.json().await?;
        ensure!(text(&consent, "request")? == text(&made, "request")?, "{consent}");
        ensure!(text(&consent, "pool_order")? == text(&made, "pool_order")?, "{consent}");
        world.berth(sponsor)?.run().await?.require_failure(2, &["already", "another file"])?;
        what_does_not_fit(world).await?;
        ensure!(world.books().await?.accounts == before.accounts, "money moved");

        let call = world.berth(["task", "match", "request.json", "--consent", "consent.json"])?;
        let deal: Detached = call.json().await?;
        let again = call.run().await?;
        again.require_failure(5, &["the contract refuses", "hint"])?;
        let result = world.berth(["task", "result", &deal.deal.to_string()])?;
        let receipt: Receipt = result.json().await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("at their cost\n"), "{receipt:?}");
        let after = world.books().await?;
        let terms = &after.deals.get(&deal.deal).wrap_err("the deal is on chain")?.terms;
        ensure!(terms.payer == payer, "{terms:?}");

        // The payer itself needs no word but its own transaction.
        let asked = ["--payer", &payer.to_string(), "--request", "second.json"];
        world.run(&asked, "true")?.must().await?;
        let match_ = world.berth(["task", "match", "second.json", "--account", "owner-1"])?;
        let second: Detached = match_.json().await?;
        let terms = &world.books().await?.deals.remove(&second.deal).wrap_err("the deal is on chain")?.terms;
        ensure!(terms.payer == payer && second.deal != B256::ZERO, "{terms:?}");
        Ok(())
    })
    .await
}

/// Before the payer has agreed.
async fn nobody_else_pays(world: &World) -> eyre::Result<()> {
    let alone = world.berth(["task", "match", "request.json"])?.run().await?;
    alone.require_failure(4, &["pays", "--consent", "--account"])?;
    let other = world.berth(["account", "sponsor", "request.json", "--out", "consent.json"])?.run().await?;
    other.require_failure(4, &["names", "as its payer", "--account"])?;
    for (flags, words) in [
        (["--payer", "nobody-here", "--request", "x.json"], "nobody-here"),
        (["--payer", "0x0000000000000000000000000000000000000000", "--request", "x.json"], "is nobody"),
        (["--payer", "requester", "--request", "x.json"], "pays anyway"),
        (["--payer", "owner-1", "--request", "request.json"], "is there already"),
    ] {
        let outcome = world.run(&flags, "true")?.run().await?;
        ensure!(outcome.code != Some(0) && outcome.stderr.contains(words), "{flags:?}: {outcome}");
        ensure!(outcome.stderr.contains("hint:"), "no hint: {outcome}");
    }
    for (flags, words) in [
        (&["--payer", "owner-1"][..], "--request <FILE>"),
        (&["--payer", "owner-1", "--request", "x.json", "--deposit"], "cannot be used with '--deposit'"),
    ] {
        let outcome = world.run(flags, "true")?.run().await?;
        ensure!(outcome.code == Some(2) && outcome.stderr.contains(words), "{outcome}");
    }
    Ok(())
}

/// Files that are not what they should be, and a consent to something else.
async fn what_does_not_fit(world: &World) -> eyre::Result<()> {
    world.file("no.json", b"{}\n")?;
    let call = world.berth(["task", "match", "missing.json"])?.run().await?;
    call.require_failure(3, &["missing.json", "hint"])?;
    let call = world.berth(["task", "match", "no.json"])?.run().await?;
    call.require_failure(2, &["not a request", "berth run --payer"])?;
    let call = world.berth(["task", "match", "request.json", "--consent", "no.json"])?.run().await?;
    call.require_failure(2, &["not a consent", "berth account sponsor"])?;
    let bare = world.berth(["account", "sponsor", &B256::repeat_byte(1).to_string()])?.run().await?;
    bare.require_failure(2, &["--pool-order", "--tasks"])?;

    let other = B256::repeat_byte(1).to_string();
    let other = ["account", "sponsor", &other, "--pool-order", &other, "--tasks", "1", "--out", "other.json"];
    world.berth(other)?.args(["--account", "owner-1"]).must().await?;
    let call = world.berth(["task", "match", "request.json", "--consent", "other.json"])?.run().await?;
    call.require_failure(2, &["is for request", "this very request"])?;

    // Somebody else's signature under the right words is the chain's to refuse.
    let consent = std::fs::read_to_string(world.folder().join("consent.json"))?;
    let mut consent: Value = serde_json::from_str(&consent)?;
    let foreign: Value = serde_json::from_str(&std::fs::read_to_string(world.folder().join("other.json"))?)?;
    consent["signature"] = foreign["signature"].clone();
    world.file("forged.json", consent.to_string().as_bytes())?;
    let call = world.berth(["task", "match", "request.json", "--consent", "forged.json"])?.run().await?;
    call.require_failure(5, &["the contract refuses", "hint"])
}
