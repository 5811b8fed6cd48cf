//! `xwresult`: results, downloaded, compared with the chain, and left where they are unless they are to be erased.

use super::{
    Call, data, exits,
    format::Objects,
    labels, remove,
    works::{self, Dates, Work},
};
use crate::{
    book::Book,
    chain::Chain,
    command::{
        run::{
            self, check_empty,
            follow::follow,
            request::Matched,
            result::{self, Access, Outcome},
        },
        task::{Known, matches},
    },
    exit::Exit,
    hint::Failure,
    keys::{self, Keyring},
    render::{Progress, Report},
    scheduler,
};
use berth_chain::signer::Signer;
use berth_wire::{client::SchedulerClient, worker::failure_code};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

pub(super) const COLUMNS: &[&str] =
    &["UID", "STATUS", "COMPLETEDDATE", "LABEL", "RETURNCODE", "PATH", "FILES", "RESULT", "ERRORMSG"];
pub(super) const SHORT: &[&str] = &["UID", "STATUS", "RETURNCODE", "PATH"];

/// What is needed to fetch.
struct Desk<'a> {
    call: &'a Call,
    signer: Signer,
    labels: HashMap<String, String>,
    dates: Dates,
    rows: Vec<Vec<Option<String>>>,
    notes: String,
    /// The first thing that went wrong, or is not over.
    failure: Option<Failure>,
}

pub(super) async fn fetch(call: &Call) -> Result<Report, Failure> {
    let uids: Vec<String> = call.uids().into_iter().map(str::to_owned).collect();
    if uids.is_empty() {
        if call.typed.has("--xwerase") {
            return Err(Failure::usage("uid", "--xwerase erases nothing that is not named").hint("name the jobs"));
        }
        return all(call).await;
    }
    of(call, &uids, call.typed.has("--xwwait")).await
}

/// Waits for jobs, and fetches their results.
pub(super) async fn wait(call: &Call, uids: &[String]) -> Result<Report, Failure> {
    of(call, uids, true).await
}

impl<'a> Desk<'a> {
    async fn open(call: &'a Call) -> Result<Self, Failure> {
        let signer = data::unlock(call).await?;
        let labels = labels::all(&call.profile)?;
        Ok(Self {
            call,
            signer,
            labels,
            dates: Dates::default(),
            rows: Vec::new(),
            notes: String::new(),
            failure: None,
        })
    }

    /// Fetches one result, if there is one.
    async fn take(
        &mut self,
        (chain, matched, client): (&Chain, &Matched, &SchedulerClient),
        work: &Work,
        folder: &Path,
    ) -> Result<(), Failure> {
        let date = match &work.ending {
            Some(ending) => self.dates.of(chain, ending.at.block).await?,
            None => None,
        };
        let mut row = Fetched { code: None, path: None, files: None, result: None, message: work.message.clone() };
        match &work.ending {
            None => self.fail(
                exits::with(exits::WARNING, "unfinished", format!("{} is not over: it is {}", work.uid, work.status))
                    .hint(format!("`xwworks {}` shows how it goes; --xwwait waits for it", work.uid)),
            ),
            Some(ending) => {
                check_empty(folder)?;
                let task = matched.deal.task(work.index);
                let keys = Keyring::new(&self.signer, &chain.domain(), None)?;
                let access = Access { client, keys: Some(&keys) };
                match result::fetch(access, task, ending, work.told.as_ref(), folder).await? {
                    Outcome::Verified { manifest, folder, .. } => {
                        row.code = Some(manifest.exit.to_string());
                        row.path = Some(folder.display().to_string());
                        row.files = Some(manifest.files.len().to_string());
                        row.result = Some(manifest.digest().to_string());
                    }
                    Outcome::Sealed(path) => row.path = Some(path.display().to_string()),
                    Outcome::Failed { digest, detail, stderr, .. } => {
                        let code = digest.failure().map_or("failed", failure_code);
                        row.path = stderr.and_then(|path| Some(path.parent()?.display().to_string()));
                        let why = detail.clone().or_else(|| work.message.clone()).unwrap_or_else(|| code.to_owned());
                        self.fail(
                            Failure::new(Exit::TaskFailed, code, format!("{} failed: {why}", work.uid))
                                .hint(format!("`berth task show {}` tells more", work.uid)),
                        );
                    }
                    Outcome::GivenBack => {
                        let why = work.message.clone().unwrap_or_default();
                        self.fail(
                            Failure::new(Exit::TaskFailed, "given-back", format!("{} has no result: {why}", work.uid))
                                .hint("submit it again, perhaps to another pool (--xwpool)"),
                        );
                    }
                }
            }
        }
        self.rows.push(row.cells(work, date));
        Ok(())
    }

    /// Keeps the first failure; the others are in the rows.
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn report(self) -> Report {
        let objects = Objects { element: "work", columns: COLUMNS, short: SHORT, rows: self.rows };
        let mut report = self.call.show(&objects);
        report.note = self.notes;
        report.failure = self.failure;
        report
    }
}

/// What was fetched of a job.
struct Fetched {
    code: Option<String>,
    path: Option<String>,
    files: Option<String>,
    result: Option<String>,
    message: Option<String>,
}

impl Fetched {
    fn cells(self, work: &Work, date: Option<String>) -> Vec<Option<String>> {
        let (uid, status, label) = (Some(work.uid.clone()), Some(work.status.to_owned()), work.label.clone());
        vec![uid, status, date, label, self.code, self.path, self.files, self.result, self.message]
    }
}

/// The named jobs' results.
async fn of(call: &Call, uids: &[String], is_patient: bool) -> Result<Report, Failure> {
    let mut desk = Desk::open(call).await?;
    let out = call.typed.one(&["--xwout"])?.map(PathBuf::from);
    let progress = Progress::new();
    for uid in uids {
        let known = Known::find(&call.settings, uid).await?;
        let Known { chain, matched, client, index } = &known;
        if is_patient {
            tokio::select! {
                endings = follow(chain, client, matched, &progress) => { endings?; }
                _ = tokio::signal::ctrl_c() => return Err(run::detached_failure(matched.deal)),
            }
        }
        let signed_in = scheduler::sign_in(client.clone(), chain, &desk.signer).await?;
        let works = works::of_deal(chain, &Book::of(&call.settings)?, matched, &desk.labels).await?;
        let meant: Vec<&Work> = works.iter().filter(|work| index.is_none_or(|index| work.index == index)).collect();
        let is_only = uids.len() == 1 && meant.len() == 1;
        for work in meant {
            let folder = match &out {
                Some(out) if is_only => out.clone(),
                Some(out) => out.join(name(work)),
                None => PathBuf::from(name(work)),
            };
            desk.take((chain, matched, &signed_in), work, &folder).await?;
            if call.typed.has("--xwerase") && work.status == "COMPLETED" {
                let what = remove::erase(&signed_in, &known, work.index).await?;
                desk.notes.push_str(&format!("{}: {what}\n", work.uid));
            }
        }
    }
    drop(progress);
    Ok(desk.report())
}

/// All results of the account that are not here yet.
async fn all(call: &Call) -> Result<Report, Failure> {
    let mut desk = Desk::open(call).await?;
    let account = keys::account(&call.settings)?;
    let chain = Chain::open(&call.settings).await?;
    let book = Book::of(&call.settings)?;
    let out = call.typed.one(&["--xwout"])?.map_or_else(PathBuf::new, PathBuf::from);
    let mut here = 0_usize;
    for matched in matches(&chain, None, Some(account.into_word())).await? {
        let works = works::of_deal(&chain, &book, &matched, &desk.labels).await?;
        let mut fetched = works.iter().filter(|work| work.status == "COMPLETED").peekable();
        if fetched.peek().is_none() {
            continue;
        }
        let client = scheduler::of_pool(&book, run::pool_of(&matched)?).await?;
        let client = scheduler::sign_in(client, &chain, &desk.signer).await?;
        for work in fetched {
            let folder = out.join(name(work));
            if check_empty(&folder).is_err() {
                here += 1;
                continue;
            }
            desk.take((&chain, &matched, &client), work, &folder).await?;
        }
    }
    let mut report = desk.report();
    if here > 0 {
        report.note = format!("{here} results are here already, and were left alone");
    }
    Ok(report)
}

/// The folder of a result: the first of its UID, and its label.
fn name(work: &Work) -> String {
    let deal: String = work.uid.chars().skip(2).take(8).collect();
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let label: String = work.label.iter().flat_map(|label| label.chars()).take(60).collect();
    let label: String = label.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    let index = work.index;
    if label.is_empty() { format!("{deal}_{index}") } else { format!("{deal}_{index}_{label}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_lies_in_a_folder_with_a_plain_name() {
        let mut work = super::super::snapshots::work("COMPLETED");
        assert_eq!(name(&work), "5c5c5c5c_3");
        work.label = Some("../two  words/é".to_owned());
        assert_eq!(name(&work), "5c5c5c5c_3_.._two__words_é");
    }
}
