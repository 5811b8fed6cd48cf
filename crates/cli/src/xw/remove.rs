//! `xwrm`: what can be removed, and what can't be taken back.

use super::{Call, data};
use crate::{
    book::Book,
    chain::Chain,
    command::{
        run::ending::{Endings, How},
        task::Known,
    },
    exit::Exit,
    hint::Failure,
    intent::TaskName,
    render::Report,
    scheduler,
};
use berth_chain::signer::Signer;
use berth_protocol::AssetId;
use berth_wire::client::{ClientError, SchedulerClient};
use serde_json::json;

/// What a removal leaves behind, in words.
struct Done {
    uid: String,
    what: String,
}

pub(super) async fn remove(call: &Call) -> Result<Report, Failure> {
    let uids = call.uids();
    if uids.is_empty() {
        return Err(Failure::usage("uid", "no URI provided").hint("write xwrm UID: a job's, or that of your data"));
    }
    let signer = data::unlock(call).await?;
    let mut done = Vec::new();
    for uid in uids {
        done.extend(one(call, &signer, uid).await?);
    }
    let json = done.iter().map(|done| json!({ "uid": done.uid, "what": done.what })).collect();
    let mut report = Report::new("", json);
    // As of old, nothing on standard output; what was done is said beside it.
    report.note = done.iter().map(|done| format!("{}: {}\n", done.uid, done.what)).collect();
    Ok(report)
}

async fn one(call: &Call, signer: &Signer, uid: &str) -> Result<Vec<Done>, Failure> {
    if TaskName::parse(uid).is_err() {
        return of_data(call, signer, uid).await;
    }
    if let Ok(asset) = uid.parse::<AssetId>()
        && Chain::open(&call.settings).await?.read.owner_of(asset).await?.is_some()
    {
        return Err(on_chain(asset));
    }
    let known = Known::find(&call.settings, uid).await?;
    of_job(&known, signer).await
}

fn on_chain(asset: AssetId) -> Failure {
    Failure::new(Exit::Refused, "on-chain", format!("{asset} is registered on chain, and stays there"))
        .hint("`berth account cancel-orders` takes all of your applications off offer")
}

/// Data, in every store that has it.
async fn of_data(call: &Call, signer: &Signer, uid: &str) -> Result<Vec<Done>, Failure> {
    let own = data::own(&data::stores(call, signer).await?).await?;
    if let Err(failure) = data::find(&own, uid) {
        let book = Book::of(&call.settings)?;
        return Err(match book.app_named(uid).await? {
            Some(app) => on_chain(app),
            None => failure,
        });
    }
    let mut done = Vec::new();
    for (store, data) in own.iter().filter(|(_, data)| data::is(data, uid)) {
        let removed = store.remove_data(data.sha256).await?;
        let what = if removed.removed > 0 {
            "removed, with its bytes"
        } else {
            "taken off your list; its bytes stay while a job, a result or somebody else needs them"
        };
        done.push(Done { uid: data.sha256.to_string(), what: what.to_owned() });
    }
    Ok(done)
}

/// A job: its result's bytes if it is over, the job itself if nobody has begun.
async fn of_job(known: &Known, signer: &Signer) -> Result<Vec<Done>, Failure> {
    let Known { chain, matched, client, index } = known;
    let client = scheduler::sign_in(client.clone(), chain, signer).await?;
    let endings = Endings::read(chain, matched).await?;
    let mut done = Vec::new();
    if endings.0.is_empty() {
        if index.is_some() && matched.terms.size > 1 {
            let message = format!("a deal of {} tasks is taken back whole", matched.terms.size);
            return Err(Failure::usage("task-id", message).hint(format!("write xwrm {}", matched.deal)));
        }
        client.unwant(matched.deal.get()).await?;
        let what = "given back: the pool declines it on chain, and its price returns to whoever paid; the deal itself stays \
                    on chain, for ever";
        return Ok(vec![Done { uid: matched.deal.to_string(), what: what.to_owned() }]);
    }
    for at in matched.terms.indexes().filter(|at| index.is_none_or(|index| index == *at)) {
        let uid = format!("{}:{at}", matched.deal);
        let what = match endings.0.get(&at).map(|ending| &ending.how) {
            None => return Err(going(&uid)),
            Some(How::Declined { .. } | How::Claimed) => "it has no result; how it ended stays on chain".to_owned(),
            Some(How::Settled { .. }) => erase(&client, known, at).await?,
        };
        done.push(Done { uid, what });
    }
    Ok(done)
}

fn going(uid: &str) -> Failure {
    Failure::new(Exit::Refused, "begun", format!("{uid} is being worked on, and is paid for"))
        .hint("a worker that has begun can't be stopped by you; its result can be removed when it is over")
}

/// Removes a result's bytes; once more is no failure.
pub(super) async fn erase(client: &SchedulerClient, known: &Known, index: u32) -> Result<String, Failure> {
    let task = known.matched.deal.task(index).get();
    match client.remove_result(task).await {
        Ok(removed) => Ok(format!(
            "{} files removed from the pool's store, {} stay with whoever else has them; digest and payments stay on \
             chain, for ever",
            removed.removed, removed.kept
        )),
        Err(ClientError::Refused(problem)) if problem.code == "no-result" => {
            Ok("nothing of it is in the store any more; digest and payments stay on chain, for ever".to_owned())
        }
        Err(error) => Err(error.into()),
    }
}
