//! Replicated tasks of one deal: closed in one round, and settled in one transaction.

use super::{
    fixture::{Fixture, PARALLEL, random},
    print,
};
use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use berth_chain::call::{self, Shown, TableRow};
use berth_protocol::{
    DealTerms, ResultDigest, WorkerAddr,
    domain::Reveal,
    round::{self, BatchPair, BatchTask, ClosedRound, Closing, Pair, WordBits},
};
use eyre::OptionExt as _;

/// What the two transactions of a round cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    close: u64,
    settle: u64,
}

impl Cost {
    const fn total(self) -> u64 {
        self.close + self.settle
    }

    fn per_task(self, tasks: u32) -> u64 {
        self.total().div_ceil(u64::from(tasks))
    }
}

/// Measures rounds of several sizes.
pub(super) async fn measure(fixture: &Fixture) -> eyre::Result<()> {
    // Every worker has a score from here on, as all but the newest do.
    settled(fixture, "earlier round", PARALLEL, 3).await?;
    let bag = settled(fixture, "round of 100", 100, 3).await?;
    print("close_round_x100", bag.close)?;
    let alone = settled(fixture, "round of one", 1, 3).await?;
    print("settle_3_workers_alone_total", alone.total())?;
    print("settle_round_3x100_per_task", bag.per_task(100))?;
    let large = settled(fixture, "round of 200", 200, 3).await?;
    print("settle_round_3x200_per_task", large.per_task(200))?;
    let five = settled(fixture, "round of five each", 100, 5).await?;
    print("settle_round_5x100_per_task", five.per_task(100))
}

/// A fresh deal of `tasks`, each done by `each` of the workers in turn, who all agree and all reveal.
pub(super) async fn settled(fixture: &Fixture, name: &str, tasks: u32, each: u32) -> eyre::Result<Cost> {
    let terms = fixture.replicated(name, tasks).await?;
    let crew = Crew::of(fixture, name);
    let answers: Vec<Answer> =
        terms.indexes().map(|index| crew.answer(&terms, index, each)).collect::<Result<_, _>>()?;
    let leaves: Vec<B256> =
        answers.iter().map(|of| round::leaf(terms.id(), of.index, &of.pairs)).collect::<Result<_, _>>()?;
    let root = round::root(&leaves).ok_or_eyre("a round without tasks")?;
    let deals = [Closing { words: WordBits::of(terms.indexes().map(|index| index - terms.first)), terms }];
    let close = fixture.operate(call::close(root, &deals)).await?;

    let [Closing { terms, .. }] = &deals;
    let closed = ClosedRound::new(root, &deals);
    let table = crew.table(fixture, root, &answers)?;
    let batch: Vec<BatchTask> = answers.iter().map(|of| of.opened(&table)).collect::<Result<_, _>>()?;
    // All leaves are shown: nothing is missing.
    let shown = Shown { round: &closed, proof: &[] };
    Ok(Cost { close, settle: fixture.operate(call::settle(terms, shown, &table, &batch)).await? })
}

/// What the workers of one task hid.
pub(super) struct Answer {
    pub(super) index: u32,
    pub(super) digest: ResultDigest,
    pub(super) pairs: Vec<Pair>,
}

impl Answer {
    pub(super) fn opened(&self, table: &[TableRow]) -> eyre::Result<BatchTask> {
        let rank = |pair: &Pair| {
            let rank = table.iter().position(|row| row.worker == pair.worker).ok_or_eyre("not in the table")?;
            Ok(BatchPair { rank: u8::try_from(rank)?, hidden: None })
        };
        let pairs = self.pairs.iter().map(rank).collect::<eyre::Result<_>>()?;
        Ok(BatchTask { index: self.index, digest: self.digest, pairs })
    }
}

/// All workers by rising address, each with its seed of the round.
pub(super) struct Crew<'a> {
    members: Vec<(&'a PrivateKeySigner, B256)>,
}

impl<'a> Crew<'a> {
    pub(super) fn of(fixture: &'a Fixture, round: &str) -> Self {
        let seed = |worker: &PrivateKeySigner| random(&format!("{round}: seed of {}", worker.address()));
        let mut members: Vec<_> = fixture.workers.iter().map(|worker| (worker, seed(worker))).collect();
        members.sort_by_key(|(worker, _)| worker.address());
        Self { members }
    }

    /// Task i is done by the workers from `i * each` on, in turn.
    pub(super) fn answer(&self, terms: &DealTerms, index: u32, each: u32) -> eyre::Result<Answer> {
        let digest = ResultDigest::new(random(&format!("result {index}"))).ok_or_eyre("a digest of zero")?;
        let task = terms.task(index)?;
        let has_turn = |place: u32| (place + PARALLEL - index * each % PARALLEL) % PARALLEL < each;
        let pairs = (0..).zip(&self.members).filter(|(place, _)| has_turn(*place)).map(|(_, (worker, seed))| {
            let worker = WorkerAddr::new(worker.address());
            Pair { worker, commitment: round::commitment(task, worker, digest, round::salt(*seed, task)) }
        });
        Ok(Answer { index, digest, pairs: pairs.collect() })
    }

    /// A worker's key, and its seed of the round.
    pub(super) fn member(&self, worker: WorkerAddr) -> eyre::Result<(&'a PrivateKeySigner, B256)> {
        let found = self.members.iter().find(|(signer, _)| signer.address() == worker.get());
        found.copied().ok_or_eyre("not of the crew")
    }

    /// The reveals of those who have a pair.
    pub(super) fn table(&self, fixture: &Fixture, root: B256, answers: &[Answer]) -> eyre::Result<Vec<TableRow>> {
        let answered = |worker: WorkerAddr| answers.iter().any(|of| of.pairs.iter().any(|pair| pair.worker == worker));
        let reveal = |(signer, seed): &(&PrivateKeySigner, B256)| {
            let (worker, seed) = (WorkerAddr::new(signer.address()), *seed);
            Ok(TableRow { worker, seed, signature: fixture.sign(signer, &Reveal { root, seed })? })
        };
        let rows = self.members.iter().filter(|(worker, _)| answered(WorkerAddr::new(worker.address())));
        rows.map(reveal).collect()
    }
}
