//! Tasks that several workers answer: who is right is paid, whatever anybody else does.

use alloy::primitives::{Address, B256};
use berth_chain::{BlockNumber, bindings::berth::IBerth};
use berth_protocol::{DealTerms, Failure, Timestamp, round::Standing};
use berth_tests::{
    books::{Agreement, Books, Ending},
    engine::IMAGE,
    receipt::{Detached, Receipt},
    world::{Background, SCHEDULER, World, until, within},
};
use berth_wire::units::Sha256;
use eyre::{ContextCompat as _, WrapErr as _, ensure};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Long enough for a job on a busy machine; deadlines are reached by moving the chain's clock.
const TRUST: [&str; 4] = ["--trust", "5", "--timeout", "20s"];

/// The agreement on a deal's only task.
fn agreement<'a>(books: &'a Books, deal: &B256) -> eyre::Result<&'a Agreement> {
    books.deals.get(deal).and_then(|deal| deal.agreements.get(&0)).wrap_err("there is no agreement")
}

/// How many of an agreement's workers stand so.
fn count(agreement: &Agreement, standing: Standing) -> usize {
    agreement.workers.iter().filter(|(_, of)| *of == standing).count()
}

/// Starts a job of trust 5 that is not waited for.
async fn detached(world: &World, script: &str) -> eyre::Result<(Detached, DealTerms)> {
    let flags: Vec<&str> = TRUST.into_iter().chain(["--detach"]).collect();
    let detached: Detached = world.run(&flags, script)?.json().await?;
    let terms = world.books().await?.deals.remove(&detached.deal).wrap_err("no deal")?.terms;
    Ok((detached, terms))
}

async fn settled(world: &World, deal: B256) -> eyre::Result<()> {
    until("the task settles", async || Ok((world.chain.open_tasks(deal).await? == Some(0)).then_some(()))).await
}

/// Lets the chain's time pass until just after a deadline.
async fn pass(world: &World, deadline: Timestamp) -> eyre::Result<()> {
    let (_, now) = world.chain.head().await?;
    world.chain.pass_s((deadline.seconds() + 1).saturating_sub(now.seconds())).await
}

/// Has a service die at a point from its next start on; gives the file that says that it has.
async fn arm(world: &mut World, service: &str, point: &str) -> eyre::Result<PathBuf> {
    let marker = world.folder().join(format!("{service}-{}", point.replace(':', "-")));
    let further: [OsString; 4] =
        ["--kill-at".into(), point.into(), "--kill-marker".into(), marker.clone().into_os_string()];
    if world.service(service)?.is_alive() {
        world.kill(service).await?;
    }
    world.restart(service, &further)?;
    Ok(marker)
}

async fn dead(world: &mut World, service: &str, marker: &std::path::Path) -> eyre::Result<()> {
    until(&format!("{} is reached", marker.display()), async || Ok(marker.exists().then_some(()))).await?;
    world.service(service)?.ended().await
}

/// Leaves only the first three workers connected.
async fn three(world: &mut World) -> eyre::Result<()> {
    for n in [4, 5] {
        let name = World::worker_name(n);
        if world.service(&name)?.is_alive() {
            world.kill(&name).await?;
        }
    }
    world.ready().await
}

/// Brings the other two back.
async fn five(world: &mut World) -> eyre::Result<()> {
    for n in [4, 5] {
        world.restart(&World::worker_name(n), &[])?;
    }
    Ok(())
}

/// Five honest workers: enough of them answer each task, all who did are paid, and everything adds up.
#[tokio::test]
async fn those_who_agree_share_the_pay_and_no_task_ends_twice() -> eyre::Result<()> {
    within(5, async |world: &mut World| {
        let before = world.books().await?;
        let receipt: Receipt = world.run(&["--trust", "5"], "echo agreed")?.json().await?;
        let after = world.books().await?;
        receipt.require_true(&world.chain, &before, &after).await?;
        ensure!(receipt.only()?.stdout.as_deref() == Some("agreed\n"), "{receipt:?}");
        let agreement = agreement(&after, &receipt.deal)?;
        ensure!(agreement.workers.len() >= 3, "{agreement:?}");
        ensure!(count(agreement, Standing::Opened) == agreement.workers.len(), "{agreement:?}");
        // The scheduler says who had part in it, and the same as the chain.
        let view = world.scheduler.deal(receipt.deal, None, Duration::ZERO).await?;
        let agreeing = view.tasks[0].replicas.iter().filter(|replica| replica.agrees == Some(true)).count();
        ensure!(agreeing == agreement.workers.len(), "{:?}", view.tasks[0].replicas);

        // A bag: each task by its own workers, none ends twice, each result is whole.
        let before = world.books().await?;
        let call = world.berth(["run", IMAGE, "--trust", "5", "--each", "0..8", "--out", "bag"])?;
        let receipt: Receipt = call.args(["--", "sh", "-c", "echo $BERTH_EACH > /iexec_out/answer"]).json().await?;
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

/// A job that says something else each time, and one whose input nobody can fetch: both end as failures that all agree
/// on, for a tenth of the price, and nobody loses a stake.
#[tokio::test]
async fn what_can_not_be_agreed_on_is_settled_as_a_failure() -> eyre::Result<()> {
    within(5, async |world: &mut World| {
        let before = world.books().await?;
        let call = world.run(&["--trust", "5"], "cat /proc/sys/kernel/random/uuid")?.before("--json");
        let outcome = call.run().await?;
        ensure!(outcome.code == Some(7), "{outcome}");
        let receipt: Receipt = outcome.data()?;
        ensure!(receipt.only()?.digest == Some(Failure::NoAgreement.digest().get()), "{outcome}");
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;

        // The workers are away while the pool's store loses an input.
        for n in 1..=5 {
            world.kill(&World::worker_name(n)).await?;
        }
        world.be_patient().await?;
        let book = world.file("book.txt", b"nobody will read this\n")?;
        let input = book.to_string_lossy().into_owned();
        let flags = ["--trust", "5", "--detach", "--input", &input];
        let detached: Detached = world.run(&flags, "cat /iexec_in/book.txt")?.json().await?;
        until("the deal is open", async || {
            let view = world.scheduler.deal(detached.deal, None, Duration::ZERO).await;
            Ok(view.is_ok_and(|view| !view.tasks.is_empty()).then_some(()))
        })
        .await?;
        world.lose_blob(Sha256::of(b"nobody will read this\n"))?;
        for n in 1..=5 {
            world.restart(&World::worker_name(n), &[])?;
        }
        settled(world, detached.deal).await?;
        let after = world.books().await?;
        let (ending, _) = after.deals[&detached.deal].endings[&0];
        ensure!(ending == Ending::Agreed { digest: Failure::FetchFailed.digest() }, "{ending:?}");
        ensure!(after.total() == before.total(), "something was lost");
        world.all_cleared().await
    })
    .await
}

/// A worker dies in the middle of its job, and is not back: others take its place, and it loses nothing.
#[tokio::test]
async fn a_worker_that_dies_before_the_close_is_replaced() -> eyre::Result<()> {
    within(5, async |world: &mut World| {
        three(world).await?;
        let before = world.books().await?;
        let flags: Vec<&str> = TRUST.to_vec();
        let running = Background::start(world.run(&flags, "sleep 3; echo through")?.before("--json"))?;
        let name = World::worker_name(1);
        let worker = world.address(1)?;
        world.runs(worker, None).await?;
        world.kill(&name).await?;
        five(world).await?;
        let outcome = running.outcome().await?;
        let receipt: Receipt = outcome.data()?;
        let after = world.books().await?;
        receipt.require_true(&world.chain, &before, &after).await?;
        let agreement = agreement(&after, &receipt.deal)?;
        ensure!(agreement.workers.iter().all(|(of, _)| *of != worker), "{agreement:?}");
        ensure!(after.bonds == with_scores(&before, agreement, &after), "a bond was touched");
        world.restart(&name, &[])?;
        world.ready().await?;
        world.all_cleared().await
    })
    .await
}

/// The bonds as they were, with the scores as they are: money behind workers has not moved.
fn with_scores(
    before: &Books,
    agreement: &Agreement,
    after: &Books,
) -> std::collections::BTreeMap<(B256, Address), berth_tests::books::Bond> {
    let mut bonds = before.bonds.clone();
    for ((pool, worker), bond) in &mut bonds {
        if agreement.workers.iter().any(|(of, _)| of == worker) {
            bond.score = after.bonds[&(*pool, *worker)].score;
        }
    }
    bonds
}

/// A worker falls silent after the close: others are appended in its place, it is left out, and punished at the end.
/// The next time it comes back before that, finds its answer left out, and opens its share itself.
#[tokio::test]
async fn who_is_silent_after_the_close_is_punished_and_who_comes_back_opens_its_share() -> eyre::Result<()> {
    within(5, async |world: &mut World| {
        let name = World::worker_name(1);
        let worker = world.address(1)?;
        for comes_back in [true, false] {
            three(world).await?;
            let marker = arm(world, &name, "closed:before").await?;
            world.ready().await?;
            let (detached, terms) = detached(world, "echo well").await?;
            dead(world, &name, &marker).await?;
            std::fs::remove_file(&marker)?;
            five(world).await?;
            settled(world, detached.deal).await?;
            let books = world.books().await?;
            let left = agreement(&books, &detached.deal)?;
            ensure!(left.workers.contains(&(worker, Standing::LeftOut)), "{left:?}");
            ensure!(count(left, Standing::Opened) == 4, "{left:?}");
            if comes_back {
                world.restart(&name, &[])?;
                until("its share is opened", async || {
                    let books = world.books().await?;
                    Ok(agreement(&books, &detached.deal)?.opened.contains(&worker).then_some(()))
                })
                .await?;
                pass(world, terms.deadlines().open).await?;
            } else {
                pass(world, terms.deadlines().open).await?;
                until("it is punished", async || {
                    let books = world.books().await?;
                    Ok((agreement(&books, &detached.deal)?.punished == [worker]).then_some(()))
                })
                .await?;
            }
            let after = world.books().await?;
            let last = agreement(&after, &detached.deal)?;
            let (kept, lost) = (last.opened.contains(&worker), last.punished.contains(&worker));
            ensure!((kept, lost) == (comes_back, !comes_back), "{last:?}");
            let stake = terms.workerStake;
            for (key, bond) in &after.bonds {
                let was = books.bonds[key].bonded;
                let slashed = if key.1 == worker && lost { stake } else { 0 };
                ensure!(bond.bonded == was - slashed, "{} had {was}, and has {}", key.1, bond.bonded);
            }
            ensure!(after.total() == books.total(), "something was lost");
        }
        world.restart(&name, &[])?;
        world.ready().await?;
        world.all_cleared().await
    })
    .await
}

/// One of five lies (its journal is tampered with): the right result settles, the liar is unpaid, and then punished.
#[tokio::test]
async fn a_liar_is_outvoted_unpaid_and_punished() -> eyre::Result<()> {
    within(5, async |world: &mut World| {
        three(world).await?;
        let name = World::worker_name(1);
        let worker = world.address(1)?;
        let marker = arm(world, &name, "computed:after").await?;
        world.ready().await?;
        let before = world.books().await?;
        let (detached, terms) = detached(world, "echo true").await?;
        dead(world, &name, &marker).await?;
        world.falsify(1, B256::repeat_byte(0x11)).await?;
        world.restart(&name, &[])?;
        five(world).await?;
        settled(world, detached.deal).await?;
        let books = world.books().await?;
        let agreed = agreement(&books, &detached.deal)?;
        ensure!(count(agreed, Standing::Opened) == 4, "{agreed:?}");
        ensure!(agreed.workers.contains(&(worker, Standing::LeftOut)), "{agreed:?}");
        let (ending, _) = books.deals[&detached.deal].endings[&0];
        ensure!(!matches!(ending, Ending::Agreed { digest } if digest.get() == B256::repeat_byte(0x11)));
        let owner = books.bonds[&(B256::from(terms.pool), worker)].owner;
        ensure!(books.money(owner) == before.money(owner), "the liar was paid");
        pass(world, terms.deadlines().open).await?;
        until("the liar is punished", async || {
            let books = world.books().await?;
            Ok((agreement(&books, &detached.deal)?.punished == [worker]).then_some(()))
        })
        .await?;
        let after = world.books().await?;
        for (key, bond) in &after.bonds {
            let slashed = if key.1 == worker { terms.workerStake } else { 0 };
            ensure!(bond.bonded == before.bonds[key].bonded - slashed, "{bond:?}");
        }
        ensure!(after.total() == before.total(), "something was lost");
        let out: Receipt = world.berth(["task", "result", &detached.deal.to_string(), "--out", "true"])?.json().await?;
        ensure!(out.only()?.verified, "{out:?}");
        world.all_cleared().await
    })
    .await
}

/// The operator dies before the close, after it, and after the reveals, and is not back: its workers append, publish and
/// settle by themselves, each task once, and all that agree are paid.
#[tokio::test]
async fn workers_finish_alone_when_their_operator_is_dead() -> eyre::Result<()> {
    within(3, async |world: &mut World| {
        for point in ["closing:before", "revealed:before", "settling:before"] {
            alone(world, point).await.wrap_err_with(|| format!("the operator died at {point}"))?;
        }
        Ok(())
    })
    .await
}

async fn alone(world: &mut World, point: &str) -> eyre::Result<()> {
    let marker = arm(world, SCHEDULER, point).await?;
    world.ready().await?;
    let before = world.books().await?;
    let (detached, terms) = detached(world, "echo alone").await?;
    dead(world, SCHEDULER, &marker).await?;
    let deadlines = terms.deadlines();
    pass(world, deadlines.close).await?;
    let (head, _) = world.chain.head().await?;
    let closed = IBerth::closedCall { deal: detached.deal, offset: alloy::primitives::U256::ZERO };
    if !world.chain.view(world.chain.berth, &closed, head).await? {
        ensure!(point == "closing:before", "the task was never closed");
        until("all three are appended", async || {
            let head: BlockNumber = world.chain.head().await?.0;
            let call = IBerth::appendsOfCall { deal: detached.deal, index: 0 };
            let appended = world.chain.view(world.chain.berth, &call, head).await?;
            Ok((appended.pairs == 3).then_some(()))
        })
        .await?;
        pass(world, deadlines.append).await?;
    }
    settled(world, detached.deal).await?;
    let after = world.books().await?;
    let agreed = agreement(&after, &detached.deal)?;
    ensure!(count(agreed, Standing::Opened) == 3, "{agreed:?}");
    ensure!(after.total() == before.total(), "something was lost");
    for (key, bond) in &after.bonds {
        ensure!(bond.bonded == before.bonds[key].bonded, "an honest bond was touched");
    }
    // Back from the dead, it learns what has happened.
    world.restart(SCHEDULER, &[])?;
    world.ready().await?;
    until("no worker has anything open", async || Ok((world.open_in_journals().await? == 0).then_some(()))).await?;
    world.all_cleared().await
}

/// A reorg drops a close before it is deep enough for the workers: they open nothing of it, the round comes again, and
/// the task is settled once.
#[tokio::test]
async fn a_close_that_a_reorg_drops_is_not_opened_and_comes_again() -> eyre::Result<()> {
    within(3, async |world: &mut World| {
        for n in 1..=3 {
            let name = World::worker_name(n);
            world.kill(&name).await?;
            world.configure_worker(n, &world.worker_config(n)?.replace("confirmations = 1", "confirmations = 40"))?;
            world.restart(&name, &[])?;
        }
        world.ready().await?;
        let before = world.books().await?;
        let (detached, _) = detached(world, "echo again").await?;
        let is_closed = async |world: &World| {
            let (head, _) = world.chain.head().await?;
            let call = IBerth::closedCall { deal: detached.deal, offset: alloy::primitives::U256::ZERO };
            world.chain.view(world.chain.berth, &call, head).await
        };
        until("the round is closed", async || Ok(is_closed(world).await?.then_some(()))).await?;
        until("a worker has its leaf", async || Ok((world.in_journals("closed").await? > 0).then_some(()))).await?;
        // As deep as the match is not.
        let mut depth = 1;
        while is_closed(world).await? {
            ensure!(depth <= 16, "the close stays");
            world.chain.reorg(depth).await?;
            depth += 1;
        }
        ensure!(world.in_journals("revealed").await? == 0, "a worker has opened what was never deep enough");
        settled(world, detached.deal).await?;
        let after = world.books().await?;
        let agreed = agreement(&after, &detached.deal)?;
        ensure!(count(agreed, Standing::Opened) == 3, "{agreed:?}");
        ensure!(after.total() == before.total(), "something was lost");
        world.all_cleared().await
    })
    .await
}
