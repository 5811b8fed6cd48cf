//! The ground moves: the chain reorganises, the operator dies, the scheduler restarts.

use berth_tests::{
    books::Ending,
    receipt::{Detached, Receipt},
    world::{Background, HELD, SCHEDULER, World, until, within},
};
use eyre::ensure;

/// A deal that nobody can do is given back, not left to rot.
#[tokio::test]
async fn an_impossible_job_is_declined_and_its_price_returned() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        let outcome = world.run(&["--memory", "512G"], "true")?.before("--json").run().await?;
        ensure!(outcome.code == Some(8), "{outcome}");
        let after = world.books().await?;
        for (account, money) in &before.accounts {
            ensure!(after.money(*account) == *money, "{account} has {:?}, not {money:?}", after.money(*account));
        }
        let receipt: Receipt = outcome.data()?;
        ensure!(receipt.only()?.ended == "declined", "{outcome}");
        Ok(())
    })
    .await
}

/// Blocks with a match or a settlement in them go: everybody comes to the same end on the new chain.
#[tokio::test]
async fn a_reorganised_chain_leads_to_the_same_end() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        // The match goes while the job runs. What the client sent is sent again, or the deal is forgotten by all.
        let detached: Detached = world.run(&["--detach"], "sleep 1; echo first")?.json().await?;
        world.chain.reorg(4).await?;
        until("the deal is settled, or gone for everybody", async || {
            let open = world.chain.open_tasks(detached.deal).await?;
            let known = world.scheduler.deal(detached.deal, None, std::time::Duration::ZERO).await.is_ok();
            Ok((open == Some(0) || (open.is_none() && !known)).then_some(()))
        })
        .await?;

        // A settlement goes: the scheduler sends it again.
        let receipt: Receipt = world.run(&[], "echo second")?.json().await?;
        world.chain.leave_out(receipt.only()?.ending.block).await?;
        until("the task is settled again, or its deal gone", async || {
            let open = world.chain.open_tasks(receipt.deal).await?;
            Ok((open == Some(0) || open.is_none()).then_some(()))
        })
        .await?;
        let third: Receipt = world.run(&[], "echo third")?.json().await?;
        ensure!(third.only()?.stdout.as_deref() == Some("third\n"), "{third:?}");
        ensure!(world.books().await?.total() == before.total());
        Ok(())
    })
    .await
}

/// The scheduler is stopped and started in the middle of a job: nobody notices but by the time that it takes.
#[tokio::test]
async fn a_restarted_scheduler_goes_on_where_it_was() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        let running = Background::start(world.run(&[], &format!("{HELD}; echo through"))?.before("--json"))?;
        running.says("running on").await?;
        let worker = world.address(1)?;
        world.runs(worker, None).await?;
        world.kill(SCHEDULER).await?;
        world.restart(SCHEDULER, &[])?;
        world.ready().await?;
        let outcome = world.letting_go(running.outcome()).await?;
        let receipt: Receipt = outcome.data()?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("through\n"), "{outcome}");
        receipt.require_true(&world.chain, &before, &world.books().await?).await
    })
    .await
}

/// The operator dies: after the final deadline anybody's claim gives the payer all of it back.
#[tokio::test]
async fn a_dead_operators_deal_is_claimed_and_its_payer_refunded() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let before = world.books().await?;
        world.kill(&World::worker_name(1)).await?;
        let detached: Detached = world.run(&["--detach", "--timeout", "3s"], "echo never")?.json().await?;
        world.kill(SCHEDULER).await?;
        let deal = world.books().await?.deals[&detached.deal].terms.clone();
        let (_, now) = world.chain.head().await?;
        world.chain.pass_s(deal.deadlines().settle.seconds() - now.seconds() + 1).await?;
        // Back from the dead, it claims for its payer what it owes.
        world.restart(SCHEDULER, &[])?;
        until("the deal is claimed", async || {
            Ok((world.chain.open_tasks(detached.deal).await? == Some(0)).then_some(()))
        })
        .await?;
        let after = world.books().await?;
        let ended = after.deals[&detached.deal].endings.values().map(|(ending, _)| *ending).collect::<Vec<_>>();
        ensure!(ended == [Ending::Claimed], "{ended:?}");
        ensure!(after.money(deal.payer) == before.money(deal.payer), "the payer lost something");
        let (stake, burnt) = (deal.poolStake, after.burnt - before.burnt);
        ensure!(burnt == stake && after.total() == before.total(), "{burnt} of {stake} are burnt");
        let outcome = world.berth(["task", "result", &detached.deal.to_string()])?.run().await?;
        outcome.require_failure(6, &["not done in time"])
    })
    .await
}
