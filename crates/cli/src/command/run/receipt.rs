//! What a user gets at the end: the result, verified, and a receipt.

#[cfg(test)]
mod tests;

use super::{
    claim,
    ending::{By, Ending, Endings, How, Part},
    finished,
    request::Matched,
    result::{self, Access, Outcome},
    usual_folder,
};
use crate::{
    chain::Chain,
    exit::Exit,
    hint::Failure,
    keys::Keyring,
    render::{Progress, Report, fields, table},
    scheduler,
};
use alloy::hex;
use berth_chain::signer::Signer;
use berth_protocol::{Amount, TaskId, round::Standing};
use berth_wire::{client::SchedulerClient, scheduler::TaskView, worker::failure_code};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What the match cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match {
    pub(crate) gas: u64,
    pub(crate) wei: u128,
}

/// A deal whose tasks have ended.
#[derive(Debug)]
pub(crate) struct Receipt<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) matched: &'a Matched,
    pub(crate) endings: &'a Endings,
    /// Known to whoever made the match.
    pub(crate) cost: Option<Match>,
    /// What opens encrypted results; `None`: they stay as they are.
    pub(crate) keys: Option<&'a Keyring>,
}

/// A task with all that is known of it.
struct Done<'a> {
    index: u32,
    task: TaskId,
    ending: &'a Ending,
    outcome: Outcome,
    gas: u64,
    close_gas: Option<u64>,
}

impl Receipt<'_> {
    /// Downloads, verifies and reports.
    pub(crate) async fn deliver(
        &self,
        client: SchedulerClient,
        signer: &Signer,
        out: Option<PathBuf>,
        job_exit: bool,
        progress: &Progress,
    ) -> Result<Report, Failure> {
        let settled = self.endings.0.values().any(|ending| matches!(ending.how, How::Settled { .. }));
        let mut tasks = Vec::new();
        if settled {
            progress.step("downloading and verifying the result");
            let (signed_in, gas, close_gas) = tokio::join!(
                scheduler::sign_in_patiently(client, self.chain, signer),
                self.endings.gas(self.chain),
                self.endings.close_gas(self.chain),
            );
            let (client, gas, close_gas) = (signed_in?, gas?, close_gas?);
            let views = views(&client, self.matched).await;
            let folder = out.clone().unwrap_or_else(|| usual_folder(self.matched));
            claim(&folder, self.matched.deal)?;
            for (index, ending) in &self.endings.0 {
                let task = self.matched.deal.task(*index);
                let into = if self.matched.terms.size == 1 { folder.clone() } else { folder.join(index.to_string()) };
                let access = Access { client: &client, keys: self.keys };
                let outcome = result::fetch(access, task, ending, views.get(index), &into).await?;
                let (gas, close_gas) = (gas.get(index).copied().unwrap_or(0), close_gas.get(index).copied());
                tasks.push(Done { index: *index, task, ending, outcome, gas, close_gas });
            }
            finished(&folder)?;
        } else {
            for (index, ending) in &self.endings.0 {
                let task = self.matched.deal.task(*index);
                tasks.push(Done { index: *index, task, ending, outcome: Outcome::GivenBack, gas: 0, close_gas: None });
            }
        }
        self.report(&tasks, out.as_deref(), job_exit)
    }

    fn report(&self, tasks: &[Done<'_>], out: Option<&Path>, job_exit: bool) -> Result<Report, Failure> {
        let folder = out.map_or_else(|| usual_folder(self.matched), Path::to_owned);
        let mut report = Report::new("", self.json(tasks, &folder));
        report.note = self.text(tasks);
        match tasks {
            // A result that is nothing but text is shown, and kept only where that was asked for.
            [Done { outcome: Outcome::Verified { manifest, stdout: Some(path), .. }, .. }]
                if manifest.stdout.is_some() =>
            {
                report.data = std::fs::read(path).map_err(|error| Failure::file(path, "read", &error))?;
                report.shows_stdout = true;
                let text = String::from_utf8_lossy(&report.data);
                report.json["tasks"][0]["stdout"] = Value::String(text.into_owned());
            }
            _ => {
                for task in tasks {
                    if let Outcome::Sealed(path) = &task.outcome {
                        report.data.extend_from_slice(format!("{}\n", path.display()).as_bytes());
                    }
                    if let Outcome::Verified { manifest, folder, stdout, .. } = &task.outcome {
                        let files = manifest.files.iter().map(|file| folder.join(&file.path));
                        let stdout = stdout.iter().filter(|_| manifest.files.is_empty()).cloned();
                        for path in files.chain(stdout) {
                            report.data.extend_from_slice(format!("{}\n", path.display()).as_bytes());
                        }
                    }
                }
            }
        }
        report.failure = self.failure(tasks, job_exit);
        let shown =
            matches!(tasks, [Done { outcome: Outcome::Verified { manifest, .. }, .. }] if manifest.stdout.is_some());
        if out.is_none() && shown && report.failure.is_none() {
            // It was just printed; that it stays is no harm.
            drop(std::fs::remove_dir_all(&folder));
            report.json["out"] = Value::Null;
            if let Some(task) = report.json["tasks"].get_mut(0).and_then(Value::as_object_mut) {
                task.remove("folder");
            }
        } else if folder.exists() {
            report.note.push_str(&fields(&[("kept in", folder.display().to_string())]));
        }
        Ok(report)
    }

    /// Whether any task is no success, and how the command then ends.
    fn failure(&self, tasks: &[Done<'_>], job_exit: bool) -> Option<Failure> {
        let many = tasks.len() > 1;
        let name = |task: &Done<'_>| if many { format!("task {}: ", task.index) } else { String::new() };
        let mut failure: Option<Failure> = None;
        for task in tasks {
            let this = match &task.outcome {
                Outcome::Verified { manifest, .. } if manifest.exit == 0 => continue,
                Outcome::Sealed(_) => continue,
                Outcome::Verified { manifest, stderr, .. } => {
                    let message = format!("{}the job ended with exit code {}", name(task), manifest.exit);
                    let exit = match u8::try_from(manifest.exit & 0xff) {
                        Ok(code) if job_exit && code != 0 => Exit::Job(code),
                        _ => Exit::TaskFailed,
                    };
                    let failure = Failure::new(exit, "job-exit", message);
                    match stderr {
                        Some(path) => failure.hint(format!("its error output is in {}", path.display())),
                        None => failure.hint("it wrote nothing to its error output"),
                    }
                }
                Outcome::Failed { digest, detail, stderr, has_partial } => {
                    let known = digest.failure();
                    let code = known.map_or("failure", failure_code);
                    let what =
                        known.map_or("the task failed in a way that this program does not know", |f| f.describe());
                    let failure = Failure::new(Exit::TaskFailed, code, format!("{}{what}", name(task)));
                    let failure = detail.iter().fold(failure, |mut failure, detail| {
                        failure.causes.push(detail.clone());
                        failure
                    });
                    let failure = match stderr {
                        Some(path) => failure.hint(format!("its error output is in {}", path.display())),
                        None => failure,
                    };
                    let failure = match has_partial {
                        true => failure.hint(format!(
                            "`berth task result {} --partial` fetches the files that it had written by then",
                            task.task
                        )),
                        false => failure,
                    };
                    failure
                        .hint(advice(code))
                        .hint("nine tenths of the pool's price, and the app's, went back to the payer")
                }
                Outcome::GivenBack => match task.ending.how {
                    How::Claimed => {
                        Failure::new(Exit::Timeout, "deal-expired", format!("{}not done in time", name(task)))
                            .hint("the price went back to the payer; the pool lost its stake")
                    }
                    How::Declined { .. } | How::Settled { .. } => {
                        Failure::new(Exit::Refused, "declined", format!("{}the pool gave it back", name(task)))
                            .hint("the price went back to the payer; try again, or another --pool")
                    }
                },
            };
            failure = Some(match failure {
                None => this,
                Some(mut first) => {
                    first.causes.push(this.message);
                    first
                }
            });
        }
        failure
    }

    fn text(&self, tasks: &[Done<'_>]) -> String {
        let token = &self.chain.token;
        let deal = self.matched.deal;
        let mut head = vec![("deal", deal.to_string())];
        if let [task] = tasks {
            head.push(("task", task.task.to_string()));
            if let How::Settled { digest, by, .. } = &task.ending.how {
                head.push(("digest", digest.to_string()));
                head.push(("verified", verified(&task.outcome)));
                head.push((if by.parts().is_empty() { "worker" } else { "workers" }, by.describe()));
            }
        }
        let mut tail: Vec<(&str, String)> = Vec::new();
        for task in tasks {
            if let Outcome::Verified { callback: Some(bytes), .. } = &task.outcome {
                let (size, to, index) = (bytes.len(), self.matched.terms.callback, task.index);
                tail.push((
                    "callback",
                    format!("{size} bytes for {to}: `berth task deliver {deal}:{index}` brings them"),
                ));
            }
        }
        for ((account, roles), amount) in self.totals(tasks) {
            tail.push(("paid", format!("{} to {account} ({roles})", token.show(amount))));
        }
        if let Some(cost) = self.cost {
            tail.push(("match", format!("{} gas, block {}", cost.gas, self.matched.block)));
        }
        if let [task] = tasks {
            if let (How::Settled { close: Some(close), .. }, Some(gas)) = (&task.ending.how, task.close_gas) {
                tail.push(("closed", format!("{gas} gas, block {}", close.at.block)));
            }
            tail.push((ended(task.ending), format!("{} gas, block {}", task.gas, task.ending.at.block)));
            head.extend(tail);
            return format!("{}{}", fields(&head), self.agreement(tasks));
        }
        let rows: Vec<[String; 6]> = tasks.iter().map(row).collect();
        let table = table(["task", "ended", "worker", "verified", "gas", "block"], &rows);
        format!("{}\n{table}\n{}{}", fields(&head), fields(&tail), self.agreement(tasks))
    }

    /// What each account got of all the tasks.
    fn totals(&self, tasks: &[Done<'_>]) -> BTreeMap<(String, String), Amount> {
        let mut totals = BTreeMap::new();
        for paid in tasks.iter().flat_map(|task| task.ending.paid(&self.matched.terms)) {
            let total = totals.entry((paid.account.get().to_string(), paid.roles.join(", "))).or_insert(Amount::ZERO);
            *total = total.checked_add(paid.amount).unwrap_or(*total);
        }
        totals
    }

    fn json(&self, tasks: &[Done<'_>], folder: &Path) -> Value {
        let tasks: Vec<Value> = tasks.iter().map(|task| self.task_json(task)).collect();
        let mut json = json!({
            "deal": self.matched.deal.to_string(),
            "job_hash": self.matched.job.to_string(),
            "app": self.matched.app.to_string(),
            "pool": self.matched.terms.pool,
            "token": self.chain.token.json(),
            "match": { "transaction": self.matched.transaction, "block": self.matched.block },
            "out": folder,
            "tasks": tasks,
        });
        if let Some(cost) = self.cost {
            json["match"]["gas"] = cost.gas.into();
            json["match"]["gas_wei"] = cost.wei.to_string().into();
        }
        json
    }

    fn task_json(&self, task: &Done<'_>) -> Value {
        let paid = task.ending.paid(&self.matched.terms);
        let paid: Vec<Value> = paid
            .iter()
            .map(|paid| json!({ "account": paid.account.to_string(), "roles": paid.roles, "amount": paid.amount.to_string() }))
            .collect();
        let mut json = json!({
            "task": task.task.to_string(),
            "index": task.index,
            "ended": ended(task.ending),
            "paid": paid,
            "ending": { "transaction": task.ending.at.transaction, "block": task.ending.at.block, "gas": task.gas },
        });
        if let How::Settled { digest, by, close } = &task.ending.how {
            json["close"] = json!(close.as_ref().map(|close| {
                json!({ "transaction": close.at.transaction, "block": close.at.block, "gas": task.close_gas })
            }));
            json["digest"] = digest.to_string().into();
            match by {
                By::One { worker, owner } => {
                    json["worker"] = worker.to_string().into();
                    json["worker_owner"] = owner.to_string().into();
                }
                By::Many(parts) => {
                    let paid = |part: &Part| part.earned(&self.matched.terms, *digest, by.shares());
                    let part = |part: &Part| {
                        json!({ "worker": part.worker.to_string(), "owner": part.owner.to_string(),
                                "standing": part.describe(), "paid": paid(part).to_string() })
                    };
                    json["workers"] = parts.iter().map(part).collect();
                }
            }
        }
        match &task.outcome {
            Outcome::Verified { manifest, folder, callback, .. } => {
                json["verified"] = true.into();
                json["exit"] = manifest.exit.into();
                json["files"] = json!(manifest.files);
                json["folder"] = json!(folder);
                if let Some(bytes) = callback {
                    json["callback"] =
                        json!({ "address": self.matched.terms.callback, "data": hex::encode_prefixed(bytes) });
                }
            }
            Outcome::Sealed(path) => {
                json["verified"] = false.into();
                json["sealed"] = json!(path);
            }
            Outcome::Failed { digest, detail, .. } => {
                json["failure"] = digest.failure().map_or("unknown", failure_code).into();
                json["detail"] = json!(detail);
            }
            Outcome::GivenBack => {}
        }
        json
    }
}

const fn ended(ending: &Ending) -> &'static str {
    match ending.how {
        How::Settled { .. } => "settled",
        How::Declined { .. } => "declined",
        How::Claimed => "claimed",
    }
}

fn verified(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Verified { manifest, .. } => {
            let size: u64 = manifest.blobs().map(|content| content.size).sum();
            let what = match manifest.files.len() {
                0 => "standard output".to_owned(),
                1 => "1 file".to_owned(),
                count => format!("{count} files"),
            };
            format!("{what}, {size} bytes, exit code {}: all hashes are those of the chain", manifest.exit)
        }
        Outcome::Sealed(path) => {
            format!("not here: it is encrypted to another key, and kept as it is in {}", path.display())
        }
        Outcome::Failed { digest, .. } => {
            format!("a failure: {}", digest.failure().map_or("unknown", |failure| failure.describe()))
        }
        Outcome::GivenBack => "no result".to_owned(),
    }
}

/// What a worker did for a deal's tasks, in all.
#[derive(Default)]
struct Sum {
    owner: String,
    agreed: usize,
    left_out: usize,
    unbonded: usize,
    paid: Amount,
}

impl Receipt<'_> {
    /// Who agreed with the results, worker by worker; nothing where one worker's word was enough.
    fn agreement(&self, tasks: &[Done<'_>]) -> String {
        let mut workers: BTreeMap<String, Sum> = BTreeMap::new();
        for task in tasks {
            let How::Settled { digest, by, .. } = &task.ending.how else { continue };
            for part in by.parts() {
                let sum = workers.entry(part.worker.get().to_string()).or_default();
                sum.owner = part.owner.get().to_string();
                match part.standing {
                    Standing::Opened => sum.agreed += 1,
                    Standing::LeftOut => sum.left_out += 1,
                    Standing::Refused => sum.unbonded += 1,
                }
                let earned = part.earned(&self.matched.terms, *digest, by.shares());
                sum.paid = sum.paid.checked_add(earned).unwrap_or(sum.paid);
            }
        }
        if workers.is_empty() {
            return String::new();
        }
        let row = |(worker, sum): (String, Sum)| {
            let counts = [sum.agreed, sum.left_out, sum.unbonded].map(|count| count.to_string());
            let [agreed, left_out, unbonded] = counts;
            [worker, sum.owner, agreed, left_out, unbonded, self.chain.token.show(sum.paid)]
        };
        let rows: Vec<[String; 6]> = workers.into_iter().map(row).collect();
        format!("\n{}", table(["worker", "owner", "agreed", "left out", "unbonded", "paid to its owner"], &rows))
    }
}

fn row(task: &Done<'_>) -> [String; 6] {
    let worker = match &task.ending.how {
        How::Settled { by, .. } => by.describe(),
        How::Declined { .. } | How::Claimed => "-".to_owned(),
    };
    let verified = match &task.outcome {
        Outcome::Verified { manifest, .. } if manifest.exit == 0 => "yes".to_owned(),
        Outcome::Verified { manifest, .. } => format!("yes, exit {}", manifest.exit),
        Outcome::Sealed(_) => "not here: encrypted".to_owned(),
        Outcome::Failed { digest, .. } => digest.failure().map_or("failed", failure_code).to_owned(),
        Outcome::GivenBack => "-".to_owned(),
    };
    let Done { index, ending, gas, close_gas, .. } = task;
    let gas = close_gas.map_or_else(|| gas.to_string(), |close| format!("{close} + {gas}"));
    [index.to_string(), ended(ending).to_owned(), worker, verified, gas, ending.at.block.to_string()]
}

fn advice(code: &str) -> &'static str {
    match code {
        "timed-out" => "give it longer: --timeout 30m",
        "out-of-memory" => "give it more: --memory 1G",
        "output-too-large" => "give it more: --disk 1G; links and special files can't be results at all",
        "fetch-failed" => {
            "check that the image is where the worker can get it, and that inputs with a URL can be fetched"
        }
        "refused" => "check the limits against the app's minimum, and ask for less",
        _ => "see `berth task show` and `berth task logs`",
    }
}

/// What the scheduler says of each task: logs and details, nothing that decides.
async fn views(client: &SchedulerClient, matched: &Matched) -> BTreeMap<u32, TaskView> {
    match scheduler::patiently(async || scheduler::deal(client, matched.deal.get()).await).await {
        Ok(Some(view)) => view.tasks.into_iter().map(|task| (task.index, task)).collect(),
        Ok(None) | Err(_) => BTreeMap::new(),
    }
}
