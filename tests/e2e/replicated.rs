//! Tasks that several workers answer: who is right is paid, whatever anybody else does.

use berth_protocol::round::Standing;
use berth_tests::{
    receipt::Receipt,
    world::{World, within},
};
use eyre::{ContextCompat as _, ensure};
use std::time::Duration;

/// Five honest workers: enough of them answer each task, all who did are paid, and everything adds up.
#[tokio::test]
async fn those_who_agree_share_the_pay_and_no_task_ends_twice() -> eyre::Result<()> {
    within(5, async |world: &mut World| {
        let before = world.books().await?;
        let receipt: Receipt = world.run(&["--trust", "5"], "echo agreed")?.json().await?;
        let after = world.books().await?;
        receipt.require_true(&world.chain, &before, &after).await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("agreed\n"), "{receipt:?}");
        let agreement = after.deals.get(&receipt.deal).and_then(|deal| deal.agreements.get(&0)).wrap_err("none")?;
        ensure!(agreement.workers.len() >= 3, "{agreement:?}");
        ensure!(agreement.workers.iter().all(|(_, standing)| *standing == Standing::Opened), "{agreement:?}");
        // The scheduler says who had part in it, and the same as the chain.
        let view = world.scheduler.deal(receipt.deal, None, Duration::ZERO).await?;
        let agreeing = view.tasks[0].replicas.iter().filter(|replica| replica.agrees == Some(true)).count();
        ensure!(agreeing == agreement.workers.len(), "{:?}", view.tasks[0].replicas);

        // A bag: each task by its own workers, none ends twice, each result is whole.
        let before = world.books().await?;
        let call = world.berth(["run", berth_tests::engine::IMAGE, "--trust", "5", "--each", "0..8", "--out", "bag"])?;
        let receipt: Receipt =
            call.args(["--", "sh", "-c", "echo $BERTH_EACH > /iexec_out/answer"]).json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        ensure!(receipt.tasks.len() == 8, "{receipt:?}");
        for index in 0..8 {
            let answer = std::fs::read_to_string(world.folder().join(format!("bag/{index}/answer")))?;
            ensure!(answer == format!("{index}\n"), "task {index} says {answer}");
        }
        world.all_cleared().await
    })
    .await
}
