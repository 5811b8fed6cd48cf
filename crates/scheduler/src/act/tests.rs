//! What the actions do, and that doing them twice does no more.

use super::{Actor, KILL_POINTS, Refusal, ReportFailure};
use crate::{
    plan::{self, Action, Policy},
    presence::Presence,
    results::{
        Blobs,
        intake::{Intake, Unused},
    },
    samples::{self, DURATION, START, digest, tip},
    signals::Signals,
    store::{
        self, Database,
        attempt::Outcome,
        bond::{Bond, Place},
        deal::Deal,
    },
    view::{Library, View, Viewer},
};
use alloy::primitives::{Address, B256};
use berth_chain::{
    BlockNumber, Rpc,
    anvil::{Anvil, AnvilConfig, Mining},
    outbox::{self, Key, Sender, SenderConfig},
    signer::Signer,
    tool::tool_path,
};
use berth_fault::Faults;
use berth_protocol::{
    AccountAddr, Amount, AssetId, DealTerms, Failure, ResultDigest, Timestamp, WorkerAddr,
    domain::Domain,
    single::SingleList,
    task::{Phase, Task},
};
use berth_wire::{
    manifest::{Content, Manifest},
    worker::{Mail, Report, Stage},
};
use bytes::Bytes;
use core::time::Duration;
use futures_util::stream;
use std::sync::Arc;
use tempfile::TempDir;

const POLICY: Policy = Policy { settle_batch: 100, settle_wait: Duration::ZERO, ..samples::POLICY };

/// A scheduler's hands and eyes, one deal that can be worked on, and two bonded workers that are connected. Its outbox
/// is looked at and never sent: nothing here changes the chain.
struct Desk {
    _folder: TempDir,
    _anvil: Anvil,
    actor: Actor,
    viewer: Viewer,
    blobs: Blobs,
    deal: Deal,
    keys: [Signer; 2],
    now: u64,
}

const UNUSED: Unused = Unused { max_bytes: 1 << 20, max_age: Duration::from_secs(3_600) };

impl Desk {
    async fn with(size: u32) -> Self {
        let (folder, db) = samples::database().await;
        let program = tool_path("anvil").expect("anvil is installed");
        let config = AnvilConfig { mining: Mining::OnDemand, ..AnvilConfig::new(program) };
        let anvil = Anvil::start(&config).expect("anvil starts");
        let rpc = Rpc::new(anvil.endpoint().expect("a URL")).expect("a client");
        let signer = Signer::random();
        let sender = Sender::open(rpc, db.chain().clone(), signer.clone(), SenderConfig::new(config.chain_id));
        let sender = sender.await.expect("opens").watch();
        let blobs = Blobs::open(&folder.path().join("blobs"), 1 << 20).expect("opens");
        let presence = Arc::new(Presence::new());
        let domain = Domain { chain_id: config.chain_id, berth: Address::repeat_byte(0xbe) };
        let deal = samples::deal(DealTerms { operator: signer.address(), ..samples::terms(size) });
        let keys = [Signer::random(), Signer::random()];
        furnish(&db, &deal, &keys).await;
        for key in &keys {
            let worker = WorkerAddr::new(key.address());
            let announced = samples::announced(samples::capacity(size), samples::shares(), Default::default());
            presence.arrive(worker, announced, Default::default());
        }
        let viewer = Viewer { db: db.clone(), presence: presence.clone(), library: Arc::new(Library::default()) };
        let signals = Arc::new(Signals::new());
        let actor = Actor { db, signer, domain, sender, presence, signals, faults: Faults::default() };
        Self { _folder: folder, _anvil: anvil, actor, viewer, blobs, deal, keys, now: START + 1 }
    }

    fn worker(&self, n: usize) -> WorkerAddr {
        WorkerAddr::new(self.keys[n].address())
    }

    async fn view(&self) -> View {
        self.viewer.view(tip(self.now)).await.expect("reads")
    }

    async fn run(&self, actions: &[Action]) -> bool {
        self.actor.run(actions, tip(self.now)).await.expect("works")
    }

    /// Does this twice: the second time, nothing changes.
    async fn run_twice(&self, action: Action) {
        let actions = [action];
        assert!(self.run(&actions).await, "{actions:?}");
        let after = samples::dump(&self.actor.db).await;
        assert!(!self.run(&actions).await, "{actions:?}");
        assert_eq!(samples::dump(&self.actor.db).await, after, "{actions:?}");
    }

    async fn planned(&self) -> Vec<Action> {
        plan::plan(&self.view().await, &POLICY).actions
    }

    async fn task(&self, index: u32) -> store::task::Row {
        let mut tx = self.actor.db.read().await.expect("reads");
        store::task::get(&mut tx, self.deal.id.task(index)).await.expect("reads").expect("is there")
    }

    async fn letters(&self, n: usize) -> Vec<Mail> {
        let mut tx = self.actor.db.read().await.expect("reads");
        let letters = store::mail::after(&mut tx, self.worker(n), 0, 99).await.expect("reads");
        letters.into_iter().map(|(_, mail)| mail).collect()
    }

    async fn upload(&self, output: &[u8]) -> ResultDigest {
        let manifest = Manifest::new(0, Vec::new(), Content::of(output));
        for bytes in [output.to_vec(), manifest.to_bytes()] {
            let name = Content::of(&bytes).sha256;
            let intake = Intake::new(self.actor.db.clone(), self.blobs.clone(), UNUSED);
            for key in &self.keys {
                let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes.clone()))]);
                intake
                    .put(key.address(), Content { sha256: name, size: bytes.len() as u64 }, body)
                    .await
                    .expect("kept");
            }
        }
        manifest.digest()
    }

    /// Worker `n` reports the task at `index` by a list of these entries.
    async fn report(&self, n: usize, index: u32, entries: &[(u32, ResultDigest)]) -> Result<(), String> {
        let list = SingleList::new(&self.deal.terms, entries.to_vec()).expect("a list");
        let digest = entries.iter().find(|(at, _)| *at == index).expect("in the list").1;
        let report = Report {
            deal: self.deal.id.get(),
            index,
            digest: digest.get(),
            manifest: None,
            entries: list.encode().into(),
            signature: self.keys[n].sign(&self.actor.domain, &list.statement(self.deal.id)),
            stdout: None,
            stderr: None,
            sealed: None,
            wall_ms: 1,
            failure: None,
        };
        match self.actor.report(&self.blobs, self.worker(n), &report, tip(self.now)).await {
            Ok(()) => Ok(()),
            Err(ReportFailure::Refused(Refusal { code, .. })) => Err(code.to_owned()),
            Err(error @ ReportFailure::Act(_)) => panic!("{error}"),
        }
    }

    fn assign(&self, index: u32, n: usize) -> Action {
        Action::Assign { task: self.deal.id.task(index), worker: self.worker(n) }
    }
}

async fn furnish(db: &Database, deal: &Deal, keys: &[Signer]) {
    let mut tx = db.write().await.expect("writes");
    store::deal::insert(&mut tx, deal).await.expect("works");
    let job = samples::job();
    store::job::insert(&mut tx, job.hash(), &job.to_bytes(), deal.requester, 1).await.expect("works");
    let app = AssetId::new(deal.app).expect("an app's id");
    let text = String::from_utf8(samples::app().to_bytes()).expect("JSON is text");
    store::app::insert(&mut tx, app, &text, BlockNumber::new(1)).await.expect("works");
    for (n, key) in (0..).zip(keys) {
        let bond = Bond {
            worker: WorkerAddr::new(key.address()),
            owner: AccountAddr::new(key.address()),
            bonded: Amount::new(deal.terms.workerStake),
            unbonding: Amount::ZERO,
            release_at: Timestamp::new(0),
            score: 0,
        };
        let place = Place { block: BlockNumber::new(1), log_index: n };
        store::bond::put(&mut tx, &bond, place).await.expect("works");
    }
    tx.commit().await.expect("commits");
}

#[test]
fn every_phase_has_its_two_kill_points() {
    for phase in Phase::ALL {
        for moment in ["before", "after"] {
            assert!(KILL_POINTS.contains(&format!("{phase}:{moment}").as_str()), "{phase}:{moment}");
        }
    }
}

#[tokio::test]
async fn every_action_done_twice_is_done_once() {
    let desk = Desk::with(2).await;
    let (deal, task) = (desk.deal.id, desk.deal.id.task(0));
    desk.run_twice(Action::Open(deal)).await;
    desk.run_twice(desk.assign(0, 0)).await;
    let release = |outcome| Action::Release { task, worker: desk.worker(0), outcome };
    desk.run_twice(release(Outcome::Lost)).await;
    desk.run_twice(desk.assign(0, 0)).await;

    let answer = desk.upload(b"result").await;
    desk.report(0, 0, &[(0, answer)]).await.expect("good");
    let after = samples::dump(&desk.actor.db).await;
    desk.report(0, 0, &[(0, answer)]).await.expect("good again");
    assert_eq!(samples::dump(&desk.actor.db).await, after);
    let lists = vec![(desk.worker(0), 1)];
    desk.run_twice(Action::Settle { deal, tasks: vec![task], lists: lists.clone() }).await;
    let key = desk.task(0).await.settlement.expect("it is settling");
    desk.run_twice(Action::Fail { key: key.clone(), reason: "no luck".to_owned() }).await;
    assert_eq!(desk.task(0).await.reason.as_deref(), Some("no luck"));

    // What came to nothing is wanted again under another name.
    desk.run_twice(Action::Settle { deal, tasks: vec![task], lists }).await;
    let second = desk.task(0).await.settlement.expect("it is settling");
    assert_ne!(second, key);
    desk.run_twice(Action::Finish { key: second }).await;
    desk.run_twice(Action::Decline { deal, indexes: vec![1], reason: "no way".to_owned() }).await;
    desk.run_twice(Action::Claim(deal)).await;
    let mut tx = desk.actor.db.read().await.expect("reads");
    let (intents,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM outbox").fetch_one(&mut *tx).await.expect("reads");
    assert_eq!(intents, 4);
    let outcome = outbox::outcome(&mut tx, &Key::new(key)).await.expect("reads");
    assert_eq!(outcome, Some(outbox::Outcome::Queued));
}

#[tokio::test]
async fn actions_of_an_old_plan_change_nothing_that_has_moved_on() {
    let desk = Desk::with(1).await;
    let (deal, task) = (desk.deal.id, desk.deal.id.task(0));
    desk.run(&[Action::Open(deal), desk.assign(0, 0)]).await;
    let before = samples::dump(&desk.actor.db).await;
    for stale in [
        desk.assign(0, 1),
        Action::Release { task, worker: desk.worker(1), outcome: Outcome::Lost },
        Action::Settle { deal, tasks: vec![task], lists: vec![(desk.worker(0), 1)] },
        Action::Fail { key: "never sent".to_owned(), reason: String::new() },
        Action::Finish { key: "never sent".to_owned() },
        Action::Open(samples::terms(9).id()),
        Action::Claim(samples::terms(9).id()),
        Action::Assign { task: samples::terms(9).id().task(0), worker: desk.worker(0) },
    ] {
        assert!(!desk.run(&[stale]).await);
    }
    assert_eq!(samples::dump(&desk.actor.db).await, before);
}

#[tokio::test]
async fn plan_and_act_bring_a_bag_from_the_match_to_its_settlement_and_then_rest() {
    let desk = Desk::with(5).await;
    for _ in 0..2 {
        desk.run(&desk.planned().await).await;
    }
    assert_eq!(desk.planned().await, [], "everything that can be done is done");
    let shared = [desk.letters(0).await.len(), desk.letters(1).await.len()];
    assert!(shared == [2, 3] || shared == [3, 2], "{shared:?}");
    let answer = desk.upload(b"the same for all").await;
    let mut lists = [Vec::new(), Vec::new()];
    for index in 0..5 {
        let Task::Assigned(worker) = desk.task(index).await.task else { panic!("not assigned") };
        let n = usize::from(worker != desk.worker(0));
        lists[n].push((index, answer));
        desk.report(n, index, &lists[n]).await.expect("good");
        // While nothing is in the outbox's way, each is settled as it comes; later ones wait for the one before.
        desk.run(&desk.planned().await).await;
    }
    for index in 0..5 {
        assert_eq!(desk.task(index).await.task.phase(), Phase::Settling, "the last one is sent with all that wait");
    }
    let mut tx = desk.actor.db.read().await.expect("reads");
    assert_eq!(store::sending::sent(&mut tx).await.expect("reads").len(), 2);
    assert_eq!(desk.planned().await, []);
}

#[tokio::test]
async fn a_list_waits_until_each_of_its_results_is_here() {
    let desk = Desk::with(2).await;
    desk.run(&[Action::Open(desk.deal.id), desk.assign(0, 0), desk.assign(1, 0)]).await;
    let answer = desk.upload(b"result").await;
    let both = [(0, answer), (1, answer)];
    // Both were computed before the worker could reach the scheduler; the second is still to be told.
    desk.report(0, 0, &both).await.expect("good");
    assert_eq!(desk.planned().await, [], "the contract would settle a result that nobody has");
    desk.report(0, 1, &both).await.expect("good");
    let [Action::Settle { tasks, lists, .. }] = &desk.planned().await[..] else { panic!("nothing to settle") };
    assert_eq!((tasks.len(), lists.len()), (2, 1));
}

#[tokio::test]
async fn lists_that_a_later_one_replaces_are_forgotten_and_no_others() {
    let desk = Desk::with(3).await;
    let assign = [0, 1, 2].map(|index| desk.assign(index, 0));
    desk.run(&[&[Action::Open(desk.deal.id)][..], &assign].concat()).await;
    let answer = desk.upload(b"result").await;
    let numbers = async || {
        let mut tx = desk.actor.db.read().await.expect("reads");
        let lists = store::list::of_worker(&mut tx, desk.deal.id, desk.worker(0)).await.expect("reads");
        lists.iter().map(|list| list.nth).collect::<Vec<_>>()
    };
    desk.report(0, 0, &[(0, answer)]).await.expect("good");
    desk.report(0, 1, &[(0, answer), (1, answer)]).await.expect("good");
    assert_eq!(numbers().await, [2]);
    // The worker was told that 0 is settled and leaves it out, but a block may still go.
    desk.report(0, 2, &[(1, answer), (2, answer)]).await.expect("good");
    assert_eq!(numbers().await, [2, 3]);
}

#[tokio::test]
async fn a_worker_answers_a_task_once_and_only_if_it_was_given_it() {
    let desk = Desk::with(1).await;
    desk.run(&[Action::Open(desk.deal.id), desk.assign(0, 0)]).await;
    let (answer, other) = (desk.upload(b"result").await, desk.upload(b"another").await);
    assert_eq!(desk.report(1, 0, &[(0, answer)]).await, Err("not-assigned".to_owned()));
    desk.report(0, 0, &[(0, answer)]).await.expect("good");
    assert_eq!(desk.report(0, 0, &[(0, other)]).await, Err("bad-result".to_owned()));
    assert_eq!(desk.report(0, 0, &[(0, digest(9))]).await, Err("blob-missing".to_owned()));
    let failure = Failure::TimedOut.digest();
    assert_eq!(desk.report(0, 0, &[(0, failure)]).await, Err("bad-result".to_owned()));
    let Task::Reported(kept) = desk.task(0).await.task else { panic!("not reported") };
    assert_eq!(kept.digest, answer);
}

#[tokio::test]
async fn an_answer_that_comes_second_is_kept_for_the_chain_to_choose() {
    let desk = Desk::with(1).await;
    let task = desk.deal.id.task(0);
    let lost = Action::Release { task, worker: desk.worker(0), outcome: Outcome::Lost };
    desk.run(&[Action::Open(desk.deal.id), desk.assign(0, 0)]).await;
    desk.run(&[lost]).await;
    desk.run(&[desk.assign(0, 1)]).await;
    let (first, second) = (desk.upload(b"first").await, desk.upload(b"second").await);
    assert_eq!(desk.report(0, 0, &[(0, first)]).await, Err("superseded".to_owned()));
    desk.report(1, 0, &[(0, second)]).await.expect("good");
    let mut tx = desk.actor.db.read().await.expect("reads");
    for (n, wanted) in [(0, first), (1, second)] {
        let report = store::report::get(&mut tx, task, desk.worker(n)).await.expect("reads").expect("kept");
        assert_eq!(report.digest, wanted);
    }
    assert!(matches!(desk.letters(0).await[1], Mail::Cancel { .. }));
}

#[tokio::test]
async fn of_two_lists_that_answer_one_task_the_one_whose_answer_counts_comes_first() {
    let desk = Desk::with(2).await;
    let lost =
        |index: u32| Action::Release { task: desk.deal.id.task(index), worker: desk.worker(0), outcome: Outcome::Lost };
    desk.run(&[Action::Open(desk.deal.id), desk.assign(0, 0), desk.assign(1, 0)]).await;
    desk.run(&[lost(0), desk.assign(0, 1)]).await;
    let (first, second) = (desk.upload(b"first").await, desk.upload(b"second").await);
    assert_eq!(desk.report(0, 0, &[(0, first)]).await, Err("superseded".to_owned()));
    desk.report(0, 1, &[(0, first), (1, first)]).await.expect("good");
    desk.report(1, 0, &[(0, second)]).await.expect("good");
    desk.run(&desk.planned().await).await;
    let key = desk.task(0).await.settlement.expect("it is settling");
    let mut tx = desk.actor.db.read().await.expect("reads");
    let (calldata,): (Vec<u8>,) = sqlx::query_as("SELECT calldata FROM outbox WHERE key = $1")
        .bind(key)
        .fetch_one(&mut *tx)
        .await
        .expect("reads");
    let place = |n: usize| {
        let address = desk.worker(n).get();
        calldata.windows(20).position(|bytes| bytes == address.as_slice()).expect("its list is there")
    };
    assert!(place(1) < place(0));
}

#[tokio::test]
async fn progress_and_decline_count_only_from_the_worker_that_has_the_task() {
    let desk = Desk::with(1).await;
    let task = desk.deal.id.task(0);
    desk.run(&[Action::Open(desk.deal.id), desk.assign(0, 0)]).await;
    let before = samples::dump(&desk.actor.db).await;
    desk.actor.progress(desk.worker(1), task, Stage::Running).await.expect("works");
    desk.actor.declined(desk.worker(1), task, ("no-room", "x"), tip(START)).await.expect("works");
    assert_eq!(samples::dump(&desk.actor.db).await, before);
    desk.actor.progress(desk.worker(0), task, Stage::Running).await.expect("works");
    assert_eq!(desk.task(0).await.stage, Some(Stage::Running));
    let long = "é".repeat(10_000);
    desk.actor.declined(desk.worker(0), task, ("no-room", &long), tip(START)).await.expect("works");
    assert_eq!(desk.task(0).await.task, Task::Open);
    assert_eq!(desk.planned().await, [desk.assign(0, 1)], "another gets it");
}

#[tokio::test]
async fn a_deal_that_names_no_job_waits_and_is_then_given_back() {
    let mut desk = Desk::with(1).await;
    let terms = DealTerms { request: B256::repeat_byte(2), ..desk.deal.terms.clone() };
    let other = Deal { job_hash: samples::no_job(), ..samples::deal(terms) };
    let mut tx = desk.actor.db.write().await.expect("writes");
    store::deal::insert(&mut tx, &other).await.expect("works");
    tx.commit().await.expect("commits");
    desk.run(&desk.planned().await).await;
    let about = |actions: Vec<Action>| {
        actions.into_iter().any(|a| matches!(a, Action::Decline { deal, .. } if deal == other.id))
    };
    assert!(!about(desk.planned().await));
    desk.now = START + POLICY.job_wait_s + 1;
    assert!(about(desk.planned().await));
    assert!(u64::from(DURATION) > POLICY.job_wait_s);
}
