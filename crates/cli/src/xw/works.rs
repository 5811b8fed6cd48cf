//! `xwworks`: one's jobs, in XtremWeb-HEP's words for how they go.

use super::{
    Call,
    format::{Format, Objects},
    labels,
};
use crate::{
    book::Book,
    chain::Chain,
    command::{
        run::{
            self,
            ending::{Ending, Endings, How},
            request::Matched,
        },
        task::{Known, matches},
    },
    hint::Failure,
    keys,
    render::Report,
    scheduler,
};
use alloy::primitives::U256;
use berth_chain::BlockNumber;
use berth_protocol::{Timestamp, task::Phase};
use berth_wire::scheduler::{DealView, TaskView};
use std::collections::{BTreeMap, HashMap};

/// The most deals that are looked at where none is named: XtremWeb-HEP gave a thousand rows at the most.
const MOST_DEALS: usize = 1_000;

pub(super) const COLUMNS: &[&str] = &[
    "UID",
    "STATUS",
    "COMPLETEDDATE",
    "LABEL",
    "ARRIVALDATE",
    "OWNERUID",
    "APPUID",
    "HOSTUID",
    "REPLICATIONS",
    "WALLCLOCKTIME",
    "PRICE",
    "RETRY",
    "RESULT",
    "TASKUID",
    "SGID",
    "ERRORMSG",
];
pub(super) const SHORT: &[&str] = &["UID", "STATUS", "COMPLETEDDATE", "LABEL"];

/// The statuses that a job may have here, as XtremWeb-HEP called them.
pub(super) const STATUSES: &[&str] = &[
    "WAITING",
    "UNAVAILABLE",
    "PENDING",
    "RUNNING",
    "CONTRIBUTED",
    "REVEALING",
    "REVEALED",
    "FINALIZING",
    "COMPLETED",
    "ERROR",
    "ABORTED",
];

/// A job.
pub(super) struct Work {
    pub(super) uid: String,
    pub(super) index: u32,
    pub(super) status: &'static str,
    pub(super) label: Option<String>,
    pub(super) ending: Option<Ending>,
    pub(super) told: Option<TaskView>,
    /// Why it waits, or how it failed.
    pub(super) message: Option<String>,
}

/// What a task's state is called.
pub(super) fn status(ending: Option<&How>, told: Option<&TaskView>, is_missing: bool) -> &'static str {
    match ending {
        Some(How::Settled { digest, .. }) if digest.is_failure() => return "ERROR",
        Some(How::Settled { .. }) => return "COMPLETED",
        Some(How::Declined { .. } | How::Claimed) => return "ABORTED",
        None => {}
    }
    let Some(told) = told else { return "WAITING" };
    match told.phase.parse::<Phase>() {
        Ok(Phase::Open) if is_missing => "UNAVAILABLE",
        Ok(Phase::Open) => "PENDING",
        Ok(Phase::Assigned) => "RUNNING",
        Ok(Phase::Committed | Phase::Closing) => "CONTRIBUTED",
        Ok(Phase::Closed) => "REVEALING",
        Ok(Phase::Revealed) => "REVEALED",
        // What the chain has not said is not over.
        Ok(Phase::Reported | Phase::Settling | Phase::Settled | Phase::Declined | Phase::Claimed) => "FINALIZING",
        // A phase of a later version.
        Err(_) => "RUNNING",
    }
}

/// A status as typed.
fn wanted(text: &str) -> Result<Option<&'static str>, Failure> {
    let text = text.to_ascii_uppercase();
    if text == "ANY" {
        return Ok(None);
    }
    STATUSES.iter().find(|status| **status == text).map(|status| Some(*status)).ok_or_else(|| {
        Failure::usage("status", format!("`{text}` is no status of a job"))
            .hint(format!("there are ANY, {}", STATUSES.join(", ")))
    })
}

pub(super) async fn list(call: &Call, always: Option<&'static str>) -> Result<Report, Failure> {
    let status = match (always, call.typed.one(&["--xwstatus"])?) {
        (None, Some(text)) => wanted(text)?,
        (Some(_), Some(_)) => {
            return Err(Failure::usage("status", "this name has a status of its own").hint("xwworks takes --xwstatus"));
        }
        (always, None) => always,
    };
    let account = keys::account(&call.settings)?;
    let labels = labels::all(&call.profile)?;
    let mut rows = Vec::new();
    let mut notes = String::new();
    let mut dates = Dates::default();
    let uids = call.uids();
    if uids.is_empty() {
        let chain = Chain::open(&call.settings).await?;
        let book = Book::of(&call.settings)?;
        let mut deals = matches(&chain, None, Some(account.into_word())).await?;
        deals.reverse();
        deals.truncate(MOST_DEALS);
        for matched in &deals {
            let works = of_deal(&chain, &book, matched, &labels).await?;
            for work in works.iter().filter(|work| status.is_none_or(|status| work.status == status)) {
                rows.push(row(&chain, matched, work, &mut dates).await?);
            }
        }
    }
    for uid in uids {
        let known = Known::find(&call.settings, uid).await?;
        let works = of_deal(&known.chain, &Book::of(&call.settings)?, &known.matched, &labels).await?;
        let is_meant = |work: &&Work| {
            known.index.is_none_or(|index| work.index == index) && status.is_none_or(|status| work.status == status)
        };
        for work in works.iter().filter(is_meant) {
            rows.push(row(&known.chain, &known.matched, work, &mut dates).await?);
            let why = work.told.iter().flat_map(|told| &told.why);
            for why in why {
                let who = why.worker.map_or_else(|| "everybody".to_owned(), |worker| worker.to_string());
                notes.push_str(&format!("{} waits; {who}: {}\n", work.uid, why.reason));
            }
        }
    }
    let is_empty = rows.is_empty();
    let mut report = call.show(&Objects { element: "work", columns: COLUMNS, short: SHORT, rows });
    report.note = notes;
    if is_empty && call.format == Format::Short {
        report.note = format!("{account} has no such job");
    }
    Ok(report)
}

/// A deal's tasks.
pub(super) async fn of_deal(
    chain: &Chain,
    book: &Book,
    matched: &Matched,
    labels: &HashMap<String, String>,
) -> Result<Vec<Work>, Failure> {
    let mut endings = Endings::read(chain, matched).await?;
    // The scheduler may be gone; then there is what the chain says.
    let view: Option<DealView> = match scheduler::of_pool(book, run::pool_of(matched)?).await {
        Ok(client) => scheduler::deal(&client, matched.deal.get()).await.ok().flatten(),
        Err(_) => None,
    };
    let deal = matched.deal.to_string();
    let impossible = view.as_ref().and_then(|view| view.impossible.clone());
    let missing = view.as_ref().and_then(|view| view.waiting_for.clone()).filter(|_| impossible.is_none());
    let mut told: BTreeMap<u32, TaskView> =
        view.into_iter().flat_map(|view| view.tasks).map(|task| (task.index, task)).collect();
    let work = |index| {
        let (ending, told) = (endings.0.remove(&index), told.remove(&index));
        let status = status(ending.as_ref().map(|ending| &ending.how), told.as_ref(), missing.is_some());
        Work {
            uid: format!("{deal}:{index}"),
            index,
            status,
            label: labels.get(&deal).cloned(),
            message: message(status, ending.as_ref(), told.as_ref(), missing.as_deref())
                .or_else(|| impossible.clone().filter(|_| ending.is_none())),
            ending,
            told,
        }
    };
    Ok(matched.terms.indexes().map(work).collect())
}

fn message(status: &str, ending: Option<&Ending>, told: Option<&TaskView>, missing: Option<&str>) -> Option<String> {
    let detail = told.and_then(|told| told.detail.clone());
    match ending.map(|ending| &ending.how) {
        Some(How::Settled { digest, .. }) => {
            digest.failure().map(|failure| detail.unwrap_or_else(|| failure.describe().to_owned()))
        }
        Some(How::Declined { .. }) => {
            Some(detail.unwrap_or_else(|| "the pool gave it back: the price is returned".to_owned()))
        }
        Some(How::Claimed) => Some("nobody did it in time: the price is returned".to_owned()),
        None if status == "UNAVAILABLE" => missing.map(|missing| format!("it waits for {missing}")),
        None => {
            let why = told.iter().flat_map(|told| &told.why);
            let why: Vec<String> = why
                .map(|why| match why.worker {
                    Some(worker) => format!("{worker}: {}", why.reason),
                    None => why.reason.clone(),
                })
                .collect();
            (!why.is_empty()).then(|| why.join("; "))
        }
    }
}

/// When blocks were mined, each asked for once.
#[derive(Default)]
pub(super) struct Dates(HashMap<u64, Option<String>>);

impl Dates {
    pub(super) async fn of(&mut self, chain: &Chain, block: u64) -> Result<Option<String>, Failure> {
        if let Some(known) = self.0.get(&block) {
            return Ok(known.clone());
        }
        let header = chain.rpc.header(BlockNumber::new(block)).await?;
        let date = header.map(|header| date(header.block.timestamp));
        Ok(self.0.entry(block).or_insert(date).clone())
    }
}

/// A time as XtremWeb-HEP's database wrote it, in UTC.
pub(super) fn date(at: Timestamp) -> String {
    crate::render::time(at).replace('T', " ").trim_end_matches('Z').to_owned()
}

async fn row(chain: &Chain, matched: &Matched, work: &Work, dates: &mut Dates) -> Result<Vec<Option<String>>, Failure> {
    let completed = match &work.ending {
        Some(ending) => dates.of(chain, ending.at.block).await?,
        None => None,
    };
    let digest = work.ending.as_ref().and_then(|ending| match &ending.how {
        How::Settled { digest, .. } if !digest.is_failure() => Some(digest.to_string()),
        How::Settled { .. } | How::Declined { .. } | How::Claimed => None,
    });
    let told = work.told.as_ref();
    Ok(vec![
        Some(work.uid.clone()),
        Some(work.status.to_owned()),
        completed,
        work.label.clone(),
        Some(date(Timestamp::new(matched.terms.start))),
        Some(matched.requester.to_string()),
        Some(matched.app.to_string()),
        told.and_then(|told| told.worker).map(|worker| worker.to_string()),
        Some(U256::from(matched.terms.trust).max(U256::from(1)).to_string()),
        Some(matched.terms.duration.to_string()),
        Some(chain.token.show(matched.terms.price())),
        told.map(|told| told.attempts.saturating_sub(1).to_string()),
        digest,
        Some(matched.deal.task(work.index).to_string()),
        Some(matched.transaction.to_string()),
        work.message.clone(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_status_of_old() {
        for phase in Phase::ALL {
            let told = super::super::snapshots::task(phase.name());
            assert!(STATUSES.contains(&status(None, Some(&told), false)), "{phase:?}");
        }
        let open = super::super::snapshots::task("open");
        assert_eq!(status(None, Some(&open), true), "UNAVAILABLE");
        assert_eq!(status(None, Some(&open), false), "PENDING");
        assert_eq!(status(None, None, false), "WAITING");
        assert_eq!(status(Some(&How::Claimed), None, false), "ABORTED");
        assert_eq!(wanted("any"), Ok(None));
        assert_eq!(wanted("completed"), Ok(Some("COMPLETED")));
        assert!(wanted("?").is_err());
    }
}
