//! What the scheduler is told of replicated tasks, over one connection: hidden answers, reveals, results. All of it is
//! made of the journal each time, and said again over the next connection.

use crate::{
    journal::{Hidden, Journal, JournalError, Phase, Row},
    observe,
    socket::Caller,
};
use alloy::primitives::{B256, keccak256};
use berth_protocol::{TaskId, domain, round};
use berth_wire::worker::{Answer, Commit, Deliver, Reveal, ToScheduler};
use std::collections::HashSet;

/// What was said over this connection.
#[derive(Debug, Default)]
pub(crate) struct Told {
    answers: HashSet<B256>,
    /// By root, with how many answers.
    reveals: HashSet<(B256, usize)>,
    results: HashSet<TaskId>,
}

impl Told {
    /// Tasks whose answer was not told yet.
    pub(crate) async fn untold(&self, journal: &Journal) -> Result<Vec<TaskId>, JournalError> {
        let answers = journal.answers().await?;
        Ok(answers.into_iter().filter(|hidden| !self.answers.contains(&hidden.commitment)).map(|h| h.task).collect())
    }

    /// What there is to say now.
    pub(crate) async fn news(&mut self, journal: &Journal, caller: &Caller) -> Result<Vec<ToScheduler>, JournalError> {
        let mut news = Vec::new();
        let answers = journal.answers().await?;
        // What no longer stands need not be remembered.
        let standing: HashSet<B256> = answers.iter().map(|hidden| hidden.commitment).collect();
        self.answers.retain(|commitment| standing.contains(commitment));
        for hidden in answers {
            if self.answers.insert(hidden.commitment) {
                news.push(ToScheduler::Commit(commit(&hidden, caller)));
            }
        }
        let opened = journal.opened().await?;
        self.reveals.retain(|(root, _)| opened.iter().any(|opened| opened.root == *root));
        for opened in opened {
            if !self.reveals.insert((opened.root, opened.answers.len())) {
                continue;
            }
            let (root, seed) = (opened.root, opened.seed);
            let signature = caller.key.sign(&caller.domain, &domain::Reveal { root, seed });
            let results = opened.answers.into_iter();
            let results = results.map(|(deal, index, digest)| Answer { deal: deal.get(), index, digest: digest.get() });
            news.push(ToScheduler::Reveal(Reveal { root, seed, signature, results: results.collect() }));
        }
        let delivered = journal.tasks(&[Phase::Delivered]).await?;
        self.results.retain(|task| delivered.contains(task));
        for task in delivered {
            if !self.results.contains(&task)
                && let Some(result) = journal.row(task).await?.as_ref().and_then(deliver)
            {
                self.results.insert(task);
                observe::delivered(task);
                news.push(ToScheduler::Deliver(Box::new(result)));
            }
        }
        Ok(news)
    }
}

fn commit(hidden: &Hidden, caller: &Caller) -> Commit {
    let Hidden { task, deal, index, commitment, digest, seed } = *hidden;
    let signature = caller.key.sign(&caller.domain, &domain::Commitment { task: task.get(), commitment });
    Commit {
        deal: deal.get(),
        index,
        commitment,
        tag: round::tag(task, digest),
        seed_hash: keccak256(seed.seed),
        signature,
    }
}

fn deliver(row: &Row) -> Option<Deliver> {
    let (answer, computed) = (row.answer?, row.told()?);
    let own = computed.digest == answer;
    let failure = match answer.failure() {
        Some(failure) if !own => Some(failure.describe().to_owned()),
        Some(_) | None => computed.failure.clone().filter(|_| own),
    };
    Some(Deliver {
        deal: row.assign.deal,
        index: row.assign.index,
        digest: answer.get(),
        manifest: computed.bound_manifest().filter(|_| own),
        stdout: computed.stdout.filter(|_| own),
        stderr: computed.stderr.filter(|_| own),
        sealed: computed.sealed.filter(|_| own),
        wall_ms: computed.wall_ms,
        failure,
    })
}
