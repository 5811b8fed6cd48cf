//! `berth task`.

use super::run::{
    ending::{Ending, Endings, How},
    follow, live, partial,
    receipt::Receipt,
    request::Matched,
    result::{self, Access, Source},
    sealed,
};
use crate::{
    args::{ExitFrom, TaskDeliver, TaskList, TaskLogs, TaskResult, TaskShow},
    book::Book,
    chain::{Call, Chain},
    exit::Exit,
    hint::Failure,
    intent::TaskName,
    keys::{self, Keyring},
    render::{Progress, Report, fields, table, time},
    scheduler,
    settings::Settings,
};
use alloy::{primitives::B256, rpc::types::Filter, sol_types::SolEvent as _};
use berth_chain::{bindings::berth::IBerth, call};
use berth_protocol::{DealId, ResultDigest};
use berth_wire::{
    client::SchedulerClient,
    scheduler::{ReplicaView, TaskView},
};
use serde_json::{Value, json};

/// A deal, with whoever can tell of its tasks.
pub(crate) struct Known {
    pub(crate) chain: Chain,
    pub(crate) matched: Matched,
    pub(crate) client: SchedulerClient,
    /// One task of it, if one was meant.
    pub(crate) index: Option<u32>,
}

/// Deals of this market, in the order of the chain.
pub(crate) async fn matches(
    chain: &Chain,
    deal: Option<DealId>,
    requester: Option<B256>,
) -> Result<Vec<Matched>, Failure> {
    let mut filter = Filter::new().address(chain.deployment.berth).event_signature(IBerth::DealMatched::SIGNATURE_HASH);
    if let Some(deal) = deal {
        filter = filter.topic1(deal.get());
    }
    if let Some(requester) = requester {
        filter = filter.topic3(requester);
    }
    Ok(chain.logs(filter).await?.iter().filter_map(Matched::read).collect())
}

impl Known {
    /// Finds the deal of what was typed. A bare id may be a task's, and the chain knows tasks by their deals only: then
    /// the schedulers are asked, and what they say is checked.
    pub(crate) async fn find(settings: &Settings, text: &str) -> Result<Self, Failure> {
        let name = TaskName::parse(text)?;
        let book = Book::of(settings)?;
        let chain = Chain::open(settings).await?;
        let (deal, index) = match name {
            TaskName::At(deal, index) => (deal, Some(index)),
            TaskName::Id(task, deal) => {
                let mut found = matches(&chain, Some(deal), None).await?.pop().map(|_| (deal, None));
                for client in scheduler::all(&book).await? {
                    if found.is_some() {
                        break;
                    }
                    if let Ok(view) = client.task(task.get()).await {
                        let deal = DealId::new(view.deal);
                        found = (deal.task(view.index) == task).then_some((deal, Some(view.index)));
                    }
                }
                found.ok_or_else(|| unknown(text))?
            }
        };
        let matched = matches(&chain, Some(deal), None).await?.pop().ok_or_else(|| unknown(text))?;
        if let Some(index) = index {
            matched.terms.task(index).map_err(|error| Failure::not_found("task-unknown", error.to_string()))?;
        }
        let client = scheduler::of_pool(&book, super::run::pool_of(&matched)?).await?;
        Ok(Self { chain, matched, client, index })
    }

    /// The one task that is meant.
    fn index(&self) -> Result<u32, Failure> {
        match (self.index, self.matched.terms.size) {
            (Some(index), _) => Ok(index),
            (None, 1) => Ok(self.matched.terms.first),
            (None, size) => {
                let deal = self.matched.deal;
                let message = format!("deal {deal} has {size} tasks");
                Err(Failure::usage("task-id", message).hint(format!("say which: {deal}:{}", self.matched.terms.first)))
            }
        }
    }

    async fn view(&self) -> Result<TaskView, Failure> {
        let task = self.matched.deal.task(self.index()?);
        Ok(self.client.task(task.get()).await?)
    }
}

fn unknown(text: &str) -> Failure {
    Failure::not_found("task-unknown", format!("there is no task or deal {text} on this chain"))
        .hint("`berth task list` shows the account's")
}

pub(super) async fn list(settings: &Settings, args: &TaskList) -> Result<Report, Failure> {
    let account = keys::account(settings)?;
    let book = Book::of(settings)?;
    let chain = Chain::open(settings).await?;
    let mut deals = matches(&chain, None, Some(account.into_word())).await?;
    deals.reverse();
    deals.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    let mut rows: Vec<[String; 5]> = Vec::new();
    let mut json = Vec::new();
    for matched in &deals {
        let endings = Endings::read(&chain, matched).await?;
        let client = scheduler::of_pool(&book, super::run::pool_of(matched)?).await;
        let view = match &client {
            Ok(client) => scheduler::deal(client, matched.deal.get()).await.ok().flatten(),
            Err(_) => None,
        };
        for index in matched.terms.indexes() {
            let told = view.as_ref().and_then(|view| view.tasks.iter().find(|task| task.index == index));
            let ending = endings.0.get(&index);
            let state = state(ending, told);
            let digest = ending.and_then(|ending| match ending.how {
                How::Settled { digest, .. } => Some(digest.to_string()),
                How::Declined { .. } | How::Claimed => None,
            });
            rows.push([
                format!("{}:{index}", matched.deal),
                state.clone(),
                chain.token.show(matched.terms.price()),
                matched.block.to_string(),
                digest.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
            json.push(json!({
                "deal": matched.deal.to_string(), "index": index, "task": matched.deal.task(index).to_string(),
                "state": state, "price": matched.terms.price().to_string(), "matched_block": matched.block,
                "digest": digest,
            }));
        }
    }
    let mut report = Report::new(table(["task", "state", "price", "matched in", "digest"], &rows), Value::Array(json));
    if rows.is_empty() {
        report.data.clear();
        report.note = format!("{account} has asked for nothing yet: `berth run IMAGE -- CMD` does.");
    }
    Ok(report)
}

/// Where a task is: what the chain says, else what the scheduler says.
fn state(ending: Option<&Ending>, told: Option<&TaskView>) -> String {
    match (ending.map(|ending| &ending.how), told) {
        (Some(How::Settled { digest, .. }), _) if digest.is_failure() => {
            format!("failed: {}", digest.failure().map_or("unknown", berth_wire::worker::failure_code))
        }
        (Some(How::Settled { .. }), _) => "settled".to_owned(),
        (Some(How::Declined { .. }), _) => "declined".to_owned(),
        (Some(How::Claimed), _) => "claimed".to_owned(),
        (None, Some(task)) => task.phase.clone(),
        (None, None) => "matched".to_owned(),
    }
}

pub(super) async fn show(settings: &Settings, args: &TaskShow) -> Result<Report, Failure> {
    let known = Known::find(settings, &args.task).await?;
    let index = known.index()?;
    let Known { chain, matched, client, .. } = &known;
    let (endings, view) = tokio::join!(Endings::read(chain, matched), known.view());
    let endings = endings?;
    let ending = endings.0.get(&index);
    // The scheduler may be gone; the chain still tells how the task ended.
    let view = view.ok();
    let terms = &matched.terms;
    let deadlines = terms.deadlines();
    let mut text = vec![
        ("task", matched.deal.task(index).to_string()),
        ("deal", format!("{}:{index}", matched.deal)),
        ("state", state(ending, view.as_ref())),
        ("requester", matched.requester.to_string()),
        ("pool", terms.pool.to_string()),
        ("app", matched.app.to_string()),
        ("job", matched.job.to_string()),
        ("price", chain.token.show(terms.price())),
        ("final deadline", time(deadlines.settle)),
    ];
    if let Some(view) = &view {
        text.extend(view.worker.map(|worker| ("worker", worker.to_string())));
        text.extend(view.stage.map(|stage| ("stage", format!("{stage:?}").to_lowercase())));
        text.extend(view.wall_ms.map(|ms| ("ran for", format!("{ms} ms"))));
        text.extend(view.detail.clone().map(|detail| ("detail", detail)));
        text.extend(view.replicas.iter().map(|replica| ("replica", part(replica, chain))));
        text.extend(
            view.close
                .as_ref()
                .map(|close| ("closed in", format!("block {}, transaction {}", close.block, close.transaction))),
        );
        text.extend(view.why.iter().map(|why| {
            let who = why.worker.map_or_else(|| "nobody".to_owned(), |worker| worker.to_string());
            ("waits", format!("{who}: {}", why.reason))
        }));
    }
    if let Some(ending) = ending {
        if let How::Settled { digest, .. } = &ending.how {
            text.push(("digest", digest.to_string()));
        }
        text.push(("ended in", format!("block {}, transaction {}", ending.at.block, ending.at.transaction)));
        for paid in ending.paid(terms) {
            let roles = paid.roles.join(", ");
            let account = paid.account.get();
            text.push(("paid", format!("{} to {account} ({roles})", chain.token.show(paid.amount))));
        }
    }
    let json = json!({
        "task": matched.deal.task(index).to_string(), "deal": matched.deal.to_string(), "index": index,
        "state": state(ending, view.as_ref()),
        "terms": berth_wire::deal::DealTerms::from(terms.clone()),
        "job_hash": matched.job.to_string(), "app": matched.app.to_string(), "requester": matched.requester,
        "match": { "transaction": matched.transaction, "block": matched.block },
        "ending": ending.map(|ending| json!({ "transaction": ending.at.transaction, "block": ending.at.block })),
        "scheduler": { "url": client.url(), "task": view },
    });
    Ok(Report::new(fields(&text), json))
}

/// A worker's part in a replicated task.
fn part(replica: &ReplicaView, chain: &Chain) -> String {
    let said = match replica.agrees {
        Some(true) => ", and agrees",
        Some(false) => ", and answers otherwise",
        None => "",
    };
    let paid = replica.paid.map(|paid| format!(": {}", chain.token.show(paid.into()))).unwrap_or_default();
    format!("{} {}{said}{paid}", replica.worker, replica.state.describe())
}

pub(super) async fn logs(settings: &Settings, args: &TaskLogs, json: bool) -> Result<Report, Failure> {
    let known = Known::find(settings, &args.task).await?;
    let index = known.index()?;
    let task = known.matched.deal.task(index);
    if args.follow {
        live::check(known.matched.terms.trust, 1, json)?;
    }
    let signer = keys::unlock(settings)?;
    let keys = Keyring::new(&signer, &known.chain.domain(), args.identity.as_deref())?;
    let client = scheduler::sign_in(known.client.clone(), &known.chain, &signer).await?;
    let mut shown = live::Shown::default();
    if args.follow {
        shown = live::show(&client, task.get()).await?;
        // The rest is handed out once it is paid for.
        follow::until_over(&client, known.matched.deal, index).await?;
    }
    let view = client.task(task.get()).await?;
    if view.stdout.is_none() && view.stderr.is_none() && view.sealed.is_empty() && !args.follow {
        return Err(Failure::not_found("logs", format!("task {task} has printed nothing yet: it is {}", view.phase))
            .hint(format!("`berth task show {task}` shows how it goes")));
    }
    let opened = tempfile::tempdir().map_err(|error| Failure::file(&std::env::temp_dir(), "used", &error))?;
    let source = match view.digest.and_then(ResultDigest::new) {
        Some(digest) if !view.sealed.is_empty() => {
            Source::Opened(sealed::open(&client, (task, digest), &keys, &view.sealed, opened.path()).await?)
        }
        Some(_) | None => Source::Store(&client),
    };
    let mut stdout = source.read(task, source.stdout(Some(&view))).await?;
    let mut stderr = source.read(task, source.stderr(Some(&view))).await?;
    let json = json!({
        "task": task.to_string(), "stdout": String::from_utf8_lossy(&stdout), "stderr": String::from_utf8_lossy(&stderr),
    });
    stdout.drain(..shown.stdout.min(stdout.len()));
    stderr.drain(..shown.stderr.min(stderr.len()));
    Ok(Report { data: stdout, note: String::from_utf8_lossy(&stderr).into_owned(), json, ..Report::default() })
}

pub(super) async fn fetch(settings: &Settings, args: TaskResult) -> Result<Report, Failure> {
    let known = Known::find(settings, &args.task).await?;
    if let Some(out) = &args.out {
        super::run::check_free(out, known.matched.deal)?;
    }
    if args.partial {
        let signer = keys::unlock(settings)?;
        let view = known.view().await?;
        let keys = Keyring::new(&signer, &known.chain.domain(), args.identity.as_deref())?;
        let client = scheduler::sign_in(known.client.clone(), &known.chain, &signer).await?;
        let access = Access { client: &client, keys: Some(&keys) };
        return partial::fetch(access, &known.matched, &view, args.out).await;
    }
    let progress = Progress::new();
    let Known { chain, matched, client, index } = &known;
    let mut endings = match index {
        Some(index) => {
            let mut endings = Endings::read(chain, matched).await?;
            endings.0.retain(|at, _| at == index);
            endings
        }
        None => Endings::default(),
    };
    if endings.0.is_empty() {
        endings = tokio::select! {
            endings = follow::follow(chain, client, matched, &progress) => endings?,
            _ = tokio::signal::ctrl_c() => return Err(super::run::detached_failure(matched.deal)),
        };
        if let Some(index) = index {
            endings.0.retain(|at, _| at == index);
        }
    }
    let signer = keys::unlock(settings)?;
    let keys = Keyring::new(&signer, &chain.domain(), args.identity.as_deref())?;
    let receipt = Receipt { chain, matched, endings: &endings, cost: None, keys: Some(&keys) };
    receipt.deliver(client.clone(), &signer, args.out, args.exit_code == ExitFrom::Task, &progress).await
}

/// What is to be delivered, and whether it is still wanted.
async fn wanted(known: &Known, index: u32) -> Result<ResultDigest, Failure> {
    let Known { chain, matched, .. } = known;
    let task = matched.deal.task(index);
    let callback = matched.terms.callback;
    if callback.is_zero() {
        return Err(Failure::preflight("no-callback", format!("the deal of task {task} names no callback"))
            .hint("`berth run --callback ADDRESS` names one"));
    }
    if let Some(digest) = chain.read.due_of(matched.deal, index).await? {
        return Ok(digest);
    }
    let failure = |code: &str, message: String| Failure::preflight(code, message);
    Err(match Endings::read(chain, matched).await?.0.get(&index).map(|ending| &ending.how) {
        None => failure("not-settled", format!("task {task} has not been settled yet"))
            .hint(format!("`berth task result {task}` waits for it")),
        Some(How::Settled { digest, .. }) if digest.is_failure() => {
            failure("no-result", format!("task {task} failed, so that there is nothing for {callback}"))
                .hint(format!("`berth task show {task}` says why"))
        }
        Some(How::Settled { .. }) => {
            failure("delivered", format!("the result of task {task} was delivered to {callback} before"))
                .hint("each is delivered once: nothing is left to do")
        }
        Some(How::Declined { .. } | How::Claimed) => {
            failure("no-result", format!("task {task} was given back, so that there is nothing for {callback}"))
        }
    })
}

pub(super) async fn deliver(settings: &Settings, args: &TaskDeliver) -> Result<Report, Failure> {
    let known = Known::find(settings, &args.task).await?;
    let index = known.index()?;
    let digest = wanted(&known, index).await?;
    let Known { chain, matched, client, .. } = &known;
    let task = matched.deal.task(index);
    let signer = keys::unlock(settings)?;
    let progress = Progress::new();
    progress.step("downloading what is to be delivered");
    let client = scheduler::sign_in(client.clone(), chain, &signer).await?;
    let (manifest, bytes) = result::proven(&client, task, digest).await?;
    let bytes = bytes.ok_or_else(|| {
        Failure::new(Exit::Error, "verification", format!("task {task} was settled without anything for its callback"))
            .hint("no bytes give its digest, so that nobody can deliver it: tell the pool's owner")
    })?;
    let callback = matched.terms.callback;
    let size = bytes.len();
    progress.step(format!("delivering {size} bytes to {callback}"));
    let calldata = call::deliver(&matched.terms, index, manifest.digest().get(), bytes.into());
    let calls = vec![Call { to: chain.deployment.berth, calldata, note: "deliver" }];
    let mined = chain.send(&signer, calls).await?.remove(0);
    drop(progress);
    let text = fields(&[
        ("task", task.to_string()),
        ("callback", callback.to_string()),
        ("delivered", format!("{size} bytes")),
        ("gas", format!("{}, block {}", mined.gas_used, mined.block)),
    ]);
    let json = json!({
        "task": task.to_string(), "deal": matched.deal.to_string(), "index": index, "callback": callback,
        "bytes": size, "digest": digest.to_string(), "transaction": mined.tx, "block": mined.block.get(),
        "gas": mined.gas_used,
    });
    Ok(Report::new(text, json))
}
