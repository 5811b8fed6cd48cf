//! Whatever happens to sender, node and chain, each intent is mined exactly once, or refused.

use crate::support::{Emitter, World, cut, open};
use alloy::{
    primitives::{Address, B256, U256, keccak256},
    providers::{Provider as _, ext::AnvilApi as _},
    rpc::types::{TransactionRequest, anvil::ReorgOptions},
    sol_types::SolError as _,
};
use berth_chain::{
    BlockNumber,
    anvil::Mining,
    outbox::{self, Intent, Key, Mined, OutboxError, Outcome, Sender, SenderConfig, SenderHealth},
    signer::Signer,
};
use core::time::Duration;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

struct Desk {
    world: World,
    signer: Signer,
    folder: TempDir,
    pool: SqlitePool,
    config: SenderConfig,
}

impl Desk {
    async fn open(mining: Mining) -> eyre::Result<Self> {
        let world = World::start(mining).await?;
        let signer = Signer::random();
        let ether = U256::from(10).pow(U256::from(18));
        world.rpc.provider().anvil_set_balance(signer.address(), ether).await?;
        let folder = tempfile::tempdir()?;
        let pool = open(&folder.path().join("outbox.db")).await?;
        let config = SenderConfig {
            finality_depth: 12,
            max_in_flight: 256,
            poll: Duration::from_millis(20),
            ..SenderConfig::new(world.subject.chain_id)
        };
        Ok(Self { world, signer, folder, pool, config })
    }

    async fn sender(&self) -> Result<Sender, OutboxError> {
        Sender::open(self.world.rpc.clone(), self.pool.clone(), self.signer.clone(), self.config.clone()).await
    }

    async fn reopen(&mut self) -> eyre::Result<()> {
        self.pool.close().await;
        self.pool = open(&self.folder.path().join("outbox.db")).await?;
        Ok(())
    }

    fn intent(&self, key: &str, call: &impl alloy::sol_types::SolCall) -> Intent {
        Intent::call(Key::new(key), self.signer.address(), self.world.emitter, call.abi_encode().into(), key)
    }

    async fn enqueue(&self, intent: &Intent) -> eyre::Result<bool> {
        Ok(outbox::enqueue(&mut *self.pool.acquire().await?, intent).await?)
    }

    async fn mark(&self, key: &str) -> eyre::Result<Key> {
        let intent = self.intent(key, &Emitter::markCall { key: name(key) });
        self.enqueue(&intent).await?;
        Ok(intent.key)
    }

    async fn outcome(&self, key: &Key) -> eyre::Result<Outcome> {
        let outcome = outbox::outcome(&mut *self.pool.acquire().await?, key).await?;
        outcome.ok_or_else(|| eyre::eyre!("{key} is unknown"))
    }

    async fn mined(&self, key: &Key) -> eyre::Result<Mined> {
        let outcome = self.outcome(key).await?;
        let Outcome::Mined(mined) = outcome else { eyre::bail!("{key} is {outcome:?}") };
        Ok(mined)
    }

    async fn marks(&self, key: &str) -> eyre::Result<u64> {
        Ok(self.world.view(&Emitter::marksCall { key: name(key) }).await?.to())
    }

    async fn hashes(&self, key: &Key) -> eyre::Result<Vec<B256>> {
        let outcome = self.outcome(key).await?;
        let Outcome::InFlight { hashes, .. } = outcome else { eyre::bail!("{key} is {outcome:?}") };
        Ok(hashes)
    }
}

fn name(key: &str) -> B256 {
    keccak256(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_intent_is_mined_exactly_once_wherever_the_sender_dies() -> eyre::Result<()> {
    let mut desk = Desk::open(Mining::OnDemand).await?;
    let mut random = StdRng::seed_from_u64(7);
    let mut keys = Vec::new();
    for turns in 0..150 {
        let key = format!("mark-{turns}");
        desk.mark(&key).await?;
        keys.push(key);
        let mut sender = desk.sender().await?;
        let _ = cut(turns % 75, sender.activate()).await;
        drop(sender);
        if random.gen_bool(0.3) {
            desk.reopen().await?;
        }
        if random.gen_bool(0.4) {
            desk.world.mine(1).await?;
        }
        if random.gen_bool(0.1) {
            desk.world.rpc.provider().anvil_reorg(ReorgOptions { depth: 2, tx_block_pairs: vec![] }).await?;
        }
    }
    let mut sender = desk.sender().await?;
    while sender.activate().await?.open > 0 {
        desk.world.mine(1).await?;
    }
    for key in keys {
        assert_eq!(desk.mined(&Key::new(key.as_str())).await?.failed, None, "{key}");
        assert_eq!(desk.marks(&key).await?, 1, "{key}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_intents_are_pipelined() -> eyre::Result<()> {
    let desk = Desk::open(Mining::Every(0.25)).await?;
    let sender = desk.sender().await?;
    let mut watch = sender.watch();
    let stop = CancellationToken::new();
    let mut keys = Vec::new();
    let mut tx = desk.pool.begin().await?;
    for i in 0..200 {
        let intent = desk.intent(&format!("mark-{i}"), &Emitter::markCall { key: name(&format!("mark-{i}")) });
        outbox::enqueue(&mut tx, &intent).await?;
        keys.push(intent.key);
    }
    tx.commit().await?;
    watch.wake();
    let work = async {
        let _stops = stop.clone().drop_guard();
        let mut blocks = Vec::new();
        for key in &keys {
            let outcome = watch.done(&desk.pool, key).await?;
            let Some(Outcome::Mined(mined)) = outcome else { eyre::bail!("{key}: {outcome:?}") };
            blocks.push(mined.block);
            assert_eq!(mined.failed, None);
        }
        Ok(blocks)
    };
    // As services run it: on a task of its own.
    let mut services = JoinSet::new();
    services.spawn(sender.run(stop.clone()));
    let blocks = work.await?;
    while let Some(ran) = services.join_next().await {
        ran??;
    }
    let span = blocks.iter().max().map_or(0, |last| last.since(blocks[0])) + 1;
    assert!(span < 40, "{span} blocks for 200 intents: they were sent one by one");
    for i in [0, 99, 199] {
        assert_eq!(desk.marks(&format!("mark-{i}")).await?, 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_stuck_intent_is_replaced_by_a_better_offer_and_mined_once() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let mut sender = desk.sender().await?;
    let key = desk.mark("stuck").await?;
    sender.activate().await?;
    let first = desk.hashes(&key).await?;
    // Gas becomes dearer than it offered.
    for _ in 0..=desk.config.stuck_after {
        desk.world.rpc.provider().anvil_set_next_block_base_fee_per_gas(30_000_000_000).await?;
        desk.world.mine(1).await?;
    }
    sender.activate().await?;
    let both = desk.hashes(&key).await?;
    assert_eq!((both.len(), both[0]), (2, first[0]));
    // A restart sends the better offer again, not a third.
    drop(sender);
    let mut sender = desk.sender().await?;
    sender.activate().await?;
    assert_eq!(desk.hashes(&key).await?, both);
    desk.world.mine(1).await?;
    sender.activate().await?;
    assert_eq!(desk.mined(&key).await?.tx, both[1]);
    assert_eq!(desk.marks("stuck").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_reorg_puts_a_mined_intent_back_in_flight_until_it_is_final() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    desk.world.mine(5).await?;
    let mut sender = desk.sender().await?;
    let (first, second) = (desk.mark("first").await?, desk.mark("second").await?);
    sender.activate().await?;
    desk.world.mine(1).await?;
    sender.activate().await?;
    let before = desk.mined(&first).await?;
    desk.world.rpc.provider().anvil_reorg(ReorgOptions { depth: 3, tx_block_pairs: vec![] }).await?;
    sender.activate().await?;
    assert_eq!(desk.hashes(&first).await?, vec![before.tx]);
    assert_eq!(desk.hashes(&second).await?.len(), 1);
    desk.world.mine(1).await?;
    sender.activate().await?;
    let after = desk.mined(&first).await?;
    assert_eq!((after.tx, after.is_final), (before.tx, false));
    assert_eq!((desk.marks("first").await?, desk.marks("second").await?), (1, 1));
    desk.world.mine(desk.config.finality_depth).await?;
    let activity = sender.activate().await?;
    assert_eq!((activity.open, activity.watched), (0, 0));
    assert!(desk.mined(&second).await?.is_final);
    Ok(())
}

#[tokio::test]
async fn what_would_revert_is_refused_unsent_and_blocks_nothing() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let mut sender = desk.sender().await?;
    let enter = desk.intent("enter", &Emitter::enterCall { key: name("enter") });
    assert!(desk.enqueue(&enter).await?);
    let mark = desk.mark("mark").await?;
    let again = desk.intent("again", &Emitter::enterCall { key: name("enter") });
    desk.enqueue(&again).await?;
    sender.activate().await?;
    let Outcome::Refused { revert } = desk.outcome(&enter.key).await? else { eyre::bail!("not refused") };
    let error = Emitter::Emitter_Already::abi_decode(&revert)?;
    assert_eq!((error.key, error.count), (name("enter"), U256::ZERO));
    assert!(matches!(desk.outcome(&mark).await?, Outcome::InFlight { nonce: 0, .. }));
    // The mark before it might have mattered: it is refused only once that is mined.
    assert_eq!(desk.outcome(&again.key).await?, Outcome::Queued);
    desk.world.mine(1).await?;
    sender.activate().await?;
    assert!(matches!(desk.outcome(&again.key).await?, Outcome::Refused { .. }));
    // A second writing is none, a forgotten key is free.
    assert!(!desk.enqueue(&enter).await?);
    assert!(outbox::forget(&mut *desk.pool.acquire().await?, &enter.key).await?);
    assert!(desk.enqueue(&enter).await?);
    assert_eq!(desk.marks("enter").await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_intent_that_needs_an_earlier_one_goes_with_it() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let mut sender = desk.sender().await?;
    desk.enqueue(&desk.intent("unlock", &Emitter::unlockCall {})).await?;
    let enter = desk.intent("enter", &Emitter::enterCall { key: name("enter") });
    desk.enqueue(&enter).await?;
    while sender.activate().await?.open > 0 {
        desk.world.mine(1).await?;
    }
    assert_eq!(desk.mined(&enter.key).await?.failed, None);
    assert_eq!(desk.marks("enter").await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_intent_that_fails_on_chain_says_why() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let mut sender = desk.sender().await?;
    desk.enqueue(&desk.intent("unlock", &Emitter::unlockCall {})).await?;
    let enter = desk.intent("enter", &Emitter::enterCall { key: name("enter") });
    desk.enqueue(&enter).await?;
    sender.activate().await?;
    let unlock = desk.hashes(&Key::new("unlock")).await?;
    // The one that it needs leaves the node, and its nonce goes to something else of the same account.
    desk.world.rpc.provider().anvil_drop_transaction(unlock[0]).await?;
    foreign(&desk).await?;
    // Anvil drops what came after it too: the sender notices after some blocks, and sends it again.
    while sender.activate().await?.open > 0 {
        desk.world.mine(1).await?;
    }
    let failed = desk.mined(&enter.key).await?.failed;
    let error = Emitter::Emitter_Already::abi_decode(&failed.unwrap_or_default())?;
    assert_eq!(error.key, name("enter"));
    Ok(())
}

/// A transaction of the desk's account that its outbox does not know of.
async fn foreign(desk: &Desk) -> eyre::Result<()> {
    let own = desk.signer.address();
    let provider = desk.world.rpc.provider();
    provider.anvil_impersonate_account(own).await?;
    let used = provider.get_transaction_count(own).await?;
    let tx = TransactionRequest::default().from(own).to(Address::ZERO).nonce(used).gas_limit(21_000);
    let _ =
        provider.send_transaction(tx.max_fee_per_gas(60_000_000_000).max_priority_fee_per_gas(9_000_000_000)).await?;
    Ok(())
}

#[tokio::test]
async fn a_nonce_that_another_program_took_is_replaced_once_that_is_final() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let mut sender = desk.sender().await?;
    let key = desk.mark("mark").await?;
    sender.activate().await?;
    let lost = desk.hashes(&key).await?;
    desk.world.rpc.provider().anvil_drop_transaction(lost[0]).await?;
    foreign(&desk).await?;
    desk.world.mine(1).await?;
    sender.activate().await?;
    assert_eq!(desk.hashes(&key).await?, lost, "while a reorg could still let it be mined, it keeps its nonce");
    desk.world.mine(desk.config.finality_depth).await?;
    while sender.activate().await?.open > 0 {
        desk.world.mine(1).await?;
    }
    assert_ne!(desk.mined(&key).await?.tx, lost[0]);
    assert_eq!(desk.marks("mark").await?, 1);
    Ok(())
}

#[tokio::test]
async fn missing_nonces_are_filled() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let mut sender = desk.sender().await?;
    let (gone, kept) = (desk.mark("gone").await?, desk.mark("kept").await?);
    sender.activate().await?;
    // The database is an older one, and the node has lost what the database does not know.
    desk.world.rpc.provider().anvil_drop_transaction(desk.hashes(&gone).await?[0]).await?;
    sqlx::query("DELETE FROM outbox WHERE key = 'gone'").execute(&desk.pool).await?;
    while sender.activate().await?.open > 0 {
        desk.world.mine(1).await?;
    }
    assert_eq!(desk.mined(&kept).await?.failed, None);
    assert_eq!((desk.marks("gone").await?, desk.marks("kept").await?), (0, 1));
    Ok(())
}

#[tokio::test]
async fn an_account_without_coin_waits_and_says_what_is_missing() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let provider = desk.world.rpc.provider();
    provider.anvil_set_balance(desk.signer.address(), U256::from(1)).await?;
    let mut sender = desk.sender().await?;
    let key = desk.mark("mark").await?;
    sender.activate().await?;
    let SenderHealth::Unfunded { has, needs } = sender.watch().health.borrow().clone() else {
        eyre::bail!("not unfunded")
    };
    assert_eq!((has, desk.outcome(&key).await?), (U256::from(1), Outcome::Queued));
    let refused = outbox::send_all(
        &desk.world.rpc,
        &desk.signer,
        &desk.config,
        &[desk.intent("once", &Emitter::markCall { key: name("once") })],
    )
    .await;
    assert!(matches!(refused, Err(OutboxError::Unfunded { .. })), "{refused:?}");
    provider.anvil_set_balance(desk.signer.address(), needs).await?;
    sender.activate().await?;
    desk.world.mine(1).await?;
    sender.activate().await?;
    assert_eq!(desk.mined(&key).await?.failed, None);
    Ok(())
}

#[tokio::test]
async fn one_sender_at_a_time_sends_for_an_account() -> eyre::Result<()> {
    let desk = Desk::open(Mining::OnDemand).await?;
    let first = desk.sender().await?;
    let second = desk.sender().await;
    assert!(matches!(second, Err(OutboxError::NotAlone { .. })), "{second:?}");
    drop(first);
    desk.sender().await?;
    Ok(())
}

#[tokio::test]
async fn confirmations_are_waited_for() -> eyre::Result<()> {
    let mut desk = Desk::open(Mining::OnDemand).await?;
    desk.config.confirmations = 3;
    let mut sender = desk.sender().await?;
    let key = desk.mark("mark").await?;
    sender.activate().await?;
    for _ in 0..2 {
        desk.world.mine(1).await?;
        sender.activate().await?;
        assert!(matches!(desk.outcome(&key).await?, Outcome::InFlight { .. }));
    }
    desk.world.mine(1).await?;
    sender.activate().await?;
    assert_ne!(desk.mined(&key).await?.block, BlockNumber::new(0));
    Ok(())
}
