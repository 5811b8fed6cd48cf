//! What a job prints is seen while it prints it, by whom it is for, where that gives no answer away.

use berth_tests::{
    engine::IMAGE,
    receipt::Detached,
    world::{Background, HELD, SCHEDULER, World, until, within},
};
use eyre::{ContextCompat as _, ensure};

#[tokio::test]
async fn a_job_is_followed_while_it_runs_and_nothing_is_shown_twice() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let script = format!("echo one; echo begun >&2; {HELD}; echo two; echo over >&2; printf three");
        let following = Background::start(world.run(&["--follow"], &script)?)?;
        following.says("begun").await?;
        let deal = world.scheduler.deals(1).await?.pop().wrap_err("there is a deal")?.deal;
        let view = world.scheduler.deal(deal, None, std::time::Duration::ZERO).await?;
        ensure!(view.tasks[0].phase == "assigned", "it was seen when it had ended: {view:?}");
        let task = view.tasks[0].task.to_string();

        // From elsewhere, too, in the middle; but not by everybody.
        let other = Background::start(world.berth(["task", "logs", &task, "--follow"])?)?;
        other.says("begun").await?;
        let stranger = world.berth(["task", "logs", &task, "--follow", "--account", "worker-1"])?.run().await?;
        ensure!(stranger.code != Some(0) && stranger.stderr.contains("only for"), "{stranger}");

        let outcome = world.letting_go(following.outcome()).await?;
        ensure!(outcome.code == Some(0) && outcome.stdout == "one\ntwo\nthree", "{outcome}");
        ensure!(outcome.stderr.matches("begun\n").count() == 1 && outcome.stderr.contains("over\n"), "{outcome}");
        let outcome = other.outcome().await?;
        ensure!(outcome.code == Some(0) && outcome.stdout == "one\ntwo\nthree", "{outcome}");
        ensure!(outcome.stderr.matches("begun\n").count() == 1 && outcome.stderr.contains("over\n"), "{outcome}");

        // What has ended is shown whole, and at once.
        let late = world.berth(["task", "logs", &task, "--follow"])?.must().await?;
        ensure!(late.stdout == "one\ntwo\nthree" && late.stderr.contains("begun\nover\n"), "{late}");
        Ok(())
    })
    .await
}

/// The scheduler keeps what is told in memory only: after its death the worker tells it again.
#[tokio::test]
async fn who_follows_goes_on_after_the_scheduler_was_killed() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        world.be_patient().await?;
        let script = format!("echo one; echo begun >&2; {HELD}; echo two");
        let following = Background::start(world.run(&["--follow"], &script)?)?;
        following.says("begun").await?;
        world.kill(SCHEDULER).await?;
        world.restart(SCHEDULER, &[])?;
        world.ready().await?;
        let outcome = world.letting_go(following.outcome()).await?;
        ensure!(outcome.code == Some(0) && outcome.stdout == "one\ntwo\n", "{outcome}");
        ensure!(outcome.stderr.matches("begun\n").count() == 1, "{outcome}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_replicated_task_prints_is_hidden_until_it_is_opened() -> eyre::Result<()> {
    within(3, async |world: &mut World| {
        world
            .berth(["run", IMAGE, "--trust", "3", "--follow", "--", "true"])?
            .run()
            .await?
            .require_failure(2, &["--follow", "give its answer away", "--trust 1"])?;
        let detached: Detached =
            world.run(&["--detach", "--trust", "3"], &format!("echo secret; {HELD}"))?.json().await?;
        let task = detached.tasks[0];
        let replicas = until("several workers run it", async || {
            let view = world.scheduler.task(task).await.ok();
            Ok(view.map(|view| view.replicas).filter(|replicas| replicas.len() > 1))
        })
        .await?;
        for replica in &replicas {
            world.runs(replica.worker, None).await?;
        }
        let task = task.to_string();
        let refused = world.berth(["task", "logs", &task, "--follow"])?.run().await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains("give its answer away"), "{refused}");
        let result = world.berth(["task", "result", &task])?;
        world.letting_go(result.must()).await?;
        let logs = world.berth(["task", "logs", &task])?.must().await?;
        ensure!(logs.stdout == "secret\n", "{logs}");
        Ok(())
    })
    .await
}
