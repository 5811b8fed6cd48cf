//! Deals with a callback: what a job leaves for a contract arrives there, once, byte for byte.

use alloy::{
    network::TransactionBuilder as _,
    primitives::{Address, B256, Bytes, U256},
    providers::{Provider as _, ext::AnvilApi as _},
    rpc::types::TransactionRequest,
    sol_types::SolValue as _,
};
use berth_protocol::{DealId, Failure, ResultDigest};
use berth_tests::{
    engine::IMAGE,
    receipt::Receipt,
    world::{World, within},
};
use berth_wire::units::Sha256;
use eyre::{ContextCompat as _, ensure};
use serde::Deserialize;

alloy::sol!(ResultBox, "../contracts/abi/ResultBox.json");

/// What `berth task deliver --json` prints.
#[derive(Debug, Deserialize)]
struct Delivered {
    task: B256,
    callback: Address,
    bytes: usize,
    transaction: B256,
}

/// Puts a contract that keeps results on the world's chain.
async fn deploy_box(world: &World) -> eyre::Result<Address> {
    let provider = world.chain.rpc.provider();
    let deployer = Address::repeat_byte(0xde);
    provider.anvil_set_balance(deployer, U256::from(10).pow(U256::from(20))).await?;
    provider.anvil_impersonate_account(deployer).await?;
    let code = [ResultBox::BYTECODE.as_ref(), &world.chain.berth.abi_encode()].concat();
    let tx = TransactionRequest::default().from(deployer).with_deploy_code(code);
    let receipt = provider.send_transaction(tx).await?.get_receipt().await?;
    receipt.contract_address.wrap_err("a deployment has an address")
}

async fn kept(world: &World, at: Address, id: B256) -> eyre::Result<Bytes> {
    let (head, _) = world.chain.head().await?;
    world.chain.view(at, &ResultBox::resultOfCall { id }, head).await
}

async fn received(world: &World, at: Address) -> eyre::Result<u64> {
    let (head, _) = world.chain.head().await?;
    Ok(world.chain.view(at, &ResultBox::receivedCall {}, head).await?.to())
}

async fn deliver(world: &World, deal: B256, index: u32) -> eyre::Result<Delivered> {
    world.berth(["task", "deliver", &format!("{deal}:{index}")])?.json().await
}

/// That a delivery is refused, with these words.
async fn refused(world: &World, deal: B256, index: u32, words: &str) -> eyre::Result<()> {
    let outcome = world.berth(["task", "deliver", &format!("{deal}:{index}")])?.run().await?;
    ensure!(outcome.code != Some(0) && outcome.stderr.contains(words), "not refused with `{words}`: {outcome}");
    Ok(())
}

/// One worker's word, then several workers'; one job that leaves nothing, and one that leaves what nobody can read.
#[tokio::test]
async fn what_a_job_leaves_for_a_contract_arrives_there_once() -> eyre::Result<()> {
    within(3, async |world: &mut World| {
        let at = deploy_box(world).await?;
        let to = at.to_string();

        // One worker.
        let script = "echo 42 > /iexec_out/answer; echo '{\"callback-data\":\"0xcafe\"}' > /iexec_out/computed.json";
        let before = world.books().await?;
        let receipt: Receipt = world.run(&["--callback", &to, "--out", "one"], script)?.json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        let (task, deal) = (receipt.only()?, receipt.deal);
        ensure!(task.verified && task.exit == Some(0), "{task:?}");
        ensure!(std::fs::read(world.folder().join("one/answer"))? == b"42\n");
        let delivered = deliver(world, deal, 0).await?;
        ensure!(delivered.task == task.task && delivered.callback == at && delivered.bytes == 2, "{delivered:?}");
        ensure!(kept(world, at, task.task).await? == Bytes::from_static(&[0xca, 0xfe]));
        refused(world, deal, 0, "was delivered").await?;
        ensure!(received(world, at).await? == 1);
        let (gas, _, _) = world.chain.receipt(delivered.transaction).await?;
        ensure!(gas < 200_000, "a delivery of two bytes takes {gas} gas");

        // Several workers, who must agree on the bytes too; a bag of two.
        let before = world.books().await?;
        let call = world.berth(["run", IMAGE, "--trust", "5", "--callback", &to, "--each", "0a,0b", "--out", "bag"])?;
        let script = "echo '{\"callback-data\":\"0x'$BERTH_EACH'\"}' > /iexec_out/computed.json";
        let receipt: Receipt = call.args(["--", "sh", "-c", script]).json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        for (index, bytes) in [(1, [0x0b]), (0, [0x0a])] {
            deliver(world, receipt.deal, index).await?;
            let task = DealId::new(receipt.deal).task(index).get();
            ensure!(**kept(world, at, task).await? == bytes, "task {index}");
        }
        ensure!(received(world, at).await? == 3);

        // Nothing left, nothing brought: but it is brought.
        let receipt: Receipt = world.run(&["--callback", &to], "echo silent")?.json().await?;
        let task = receipt.only()?;
        ensure!(task.stdout.as_deref() == Some("silent\n"), "{task:?}");
        ensure!(deliver(world, receipt.deal, 0).await?.bytes == 0);
        ensure!(received(world, at).await? == 4);

        // What can't be read is a failure, and nothing is due.
        let script = "echo '{\"callback-data\":\"none\"}' > /iexec_out/computed.json";
        let outcome = world.run(&["--callback", &to, "--out", "none"], script)?.before("--json").run().await?;
        let receipt: Receipt = outcome.data()?;
        ensure!(receipt.only()?.digest == Some(Failure::OutputTooLarge.digest().get()), "{outcome}");
        ensure!(outcome.stderr.contains("callback-data"), "{outcome}");
        refused(world, receipt.deal, 0, "failed").await?;

        // Without a callback, the digest is the manifest's alone.
        let receipt: Receipt = world.run(&[], "echo plain")?.json().await?;
        refused(world, receipt.deal, 0, "names no callback").await?;
        let digest = receipt.only()?.digest.and_then(ResultDigest::new).wrap_err("it has a result")?;
        ensure!(!digest.is_failure() && Sha256(digest.get().0) != Sha256::of(b""));
        world.all_cleared().await
    })
    .await
}

/// A callback that nobody could call is refused before anything is paid.
#[tokio::test]
async fn a_callback_that_can_not_be_called_costs_nothing() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        let nobody = Address::repeat_byte(0x77).to_string();
        let berth = world.chain.berth.to_string();
        for (callback, words) in [
            ("somewhere", "is no address"),
            ("0x0000000000000000000000000000000000000000", "is nobody"),
            (nobody.as_str(), "there is no contract"),
            (berth.as_str(), "part of the market itself"),
        ] {
            let outcome = world.run(&["--callback", callback], "true")?.run().await?;
            ensure!(outcome.code != Some(0) && outcome.stderr.contains(words), "{callback}: {outcome}");
            ensure!(outcome.stderr.contains("hint:"), "no hint: {outcome}");
        }
        ensure!(world.books().await?.deals.len() == before.deals.len(), "something was matched");
        Ok(())
    })
    .await
}
