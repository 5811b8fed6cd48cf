//! Replicated tasks settle: many of one round at once, or one with what was appended to it (ADR 0003, sections 3 and 4).

use super::{
    Contribution, Event, Ledger, Refusal, Shown, Signature, TableRow,
    closing::{require_after, require_after_deadline, require_leaf, require_pairs, require_replicated, require_root},
    ending::{require_inside, require_until},
};
use crate::{
    AccountAddr, Amount, DealId, DealTerms, ResultDigest, RoundId, Timestamp, WorkerAddr,
    domain::Reveal,
    payout,
    round::{
        EndedPair, EndedTask, LeftOut, Pair, Payee, Standing, Verdict, Voice, commitment, extend, leaf_of_chain,
        packed::{MAX_LEFT_OUT, MAX_TABLE, MAX_TASKS, record_id},
        salt, weigh,
    },
};
use alloy_primitives::{Address, B256, U256};

/// In a pair's byte: it opens.
const OPENS: u8 = 0x80;

/// A worker whose pairs are weighed: as it stood at the beginning of the call.
#[derive(Debug, Clone, Copy)]
struct Seat {
    worker: WorkerAddr,
    /// Its owner, if its bond covers the deal.
    owner: Option<AccountAddr>,
    score: u32,
    /// What opens its pairs, if it revealed.
    seed: Option<B256>,
    paid: Amount,
    scored: u32,
}

/// A pair that is weighed, with its worker's place in the table.
#[derive(Debug, Clone, Copy)]
struct Placed {
    rank: usize,
    commitment: B256,
    opens: bool,
}

/// A task that is shown.
#[derive(Debug, Clone)]
struct Answered {
    index: u32,
    digest: ResultDigest,
    pairs: Vec<Placed>,
}

/// What a settlement has come to so far.
struct Settlement<'a> {
    terms: &'a DealTerms,
    deal: DealId,
    round: RoundId,
    table: Vec<Seat>,
    ended: Vec<EndedTask>,
    left_out: Vec<LeftOut>,
}

impl Settlement<'_> {
    fn weigh(&self, pairs: &[Placed]) -> Verdict {
        let voice = |pair: &Placed| {
            let seat = self.table[pair.rank];
            Voice { opens: pair.opens, covered: seat.owner.is_some(), score: seat.score }
        };
        weigh(self.terms.trust, &pairs.iter().map(voice).collect::<Vec<_>>())
    }
}

impl Ledger {
    pub(super) fn settle(
        &mut self,
        shown: Shown<'_>,
        workers: &[TableRow],
        tasks: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let terms = shown.terms;
        require_replicated(terms)?;
        let deal = terms.id();
        self.known(deal)?;
        require_until(now, terms.deadlines().settle)?;
        let round = self.require_round(shown)?;
        let table = self.seat_all(terms, shown.round.root, workers)?;
        let mut batch = Batch { shown, deal, table: &table, all: tasks, rest: tasks, leaves: Vec::new(), unopened: 0 };
        let mut answered = Vec::new();
        while let Some(task) = batch.next(answered.last())? {
            answered.push(task);
        }
        if batch.unopened > MAX_LEFT_OUT {
            let (items, max) = (U256::from(batch.unopened), U256::from(MAX_LEFT_OUT));
            return Err(Refusal::BatchTooLarge { items, max });
        }
        require_root(shown, &batch.leaves)?;

        let mut settlement = Settlement { terms, deal, round, table, ended: Vec::new(), left_out: Vec::new() };
        for task in &answered {
            let verdict = settlement.weigh(&task.pairs);
            if verdict.accepted && self.end(deal, task.index - terms.first) {
                self.pay_task(&mut settlement, task, &verdict);
            }
        }
        Ok(self.finish(settlement))
    }

    /// Seats the workers of a batch: each by its reveal, if it has one, its bond and its score.
    fn seat_all(&self, terms: &DealTerms, root: B256, workers: &[TableRow]) -> Result<Vec<Seat>, Refusal> {
        if workers.len() > MAX_TABLE {
            return Err(Refusal::BatchTooLarge { items: U256::from(workers.len()), max: U256::from(MAX_TABLE) });
        }
        let mut previous = Address::ZERO;
        let mut table = Vec::with_capacity(workers.len());
        for row in workers {
            previous = require_after(previous, row.worker.get())?;
            self.require_reveal(row.worker, row.signature, root, row.seed)?;
            let seed = (row.signature != Signature::Empty).then_some(row.seed);
            table.push(self.seat(terms, row.worker, seed));
        }
        Ok(table)
    }

    fn seat(&self, terms: &DealTerms, worker: WorkerAddr, seed: Option<B256>) -> Seat {
        let (owner, score) = self.standing_of(terms, worker);
        Seat { worker, owner, score, seed, paid: Amount::ZERO, scored: 0 }
    }

    /// A signature that is there is the worker's, over this root or chain and the seed.
    fn require_reveal(&self, worker: WorkerAddr, signature: Signature, root: B256, seed: B256) -> Result<(), Refusal> {
        if signature == Signature::Empty || signature.is_of(worker.get()) {
            return Ok(());
        }
        let digest = self.domain.digest(&Reveal { root, seed });
        Err(Refusal::BadSignature { signer: worker.get(), digest })
    }

    /// Pays for a task that ended now.
    fn pay_task(&mut self, settlement: &mut Settlement<'_>, task: &Answered, verdict: &Verdict) {
        let (terms, digest) = (settlement.terms, task.digest);
        let owners: Vec<_> = task.pairs.iter().map(|pair| settlement.table[pair.rank].owner).collect();
        self.pay(terms, &payout::replicated(terms, digest, verdict, &owners), 1);
        let scored = u32::from(verdict.scores(digest.is_failure()));
        let mut pairs = Vec::with_capacity(task.pairs.len());
        for (pair, (standing, share)) in task.pairs.iter().zip(&verdict.pairs) {
            let (share, total) = (*share, verdict.total);
            let seat = &mut settlement.table[pair.rank];
            let paid = *standing == Standing::Opened;
            if paid {
                let due = payout::share(terms, digest, share, total);
                seat.paid = seat.paid.checked_add(due).expect("a deal's prices are below 2^128 together");
                seat.scored += scored;
            }
            if *standing == Standing::LeftOut {
                let (worker, commitment) = (seat.worker, pair.commitment);
                settlement.left_out.push(LeftOut { index: task.index, digest, worker, commitment, share, total });
            }
            pairs.push(EndedPair { rank: u8::try_from(pair.rank).expect("a table has at most 128 rows"), paid });
        }
        self.owe(terms, settlement.deal.task(task.index), digest);
        settlement.ended.push(EndedTask { index: task.index, digest, pairs });
    }

    /// Raises the scores and keeps the record; tells it, if anything ended.
    fn finish(&mut self, settlement: Settlement<'_>) -> Vec<Event> {
        let Settlement { terms, deal, round, table, ended: tasks, left_out } = settlement;
        if tasks.is_empty() {
            return Vec::new();
        }
        for seat in &table {
            self.raise_score(terms.pool, seat.worker, seat.scored);
        }
        if !left_out.is_empty() {
            self.records.insert(record_id(deal, &LeftOut::pack(&left_out)), U256::ONE << 255);
        }
        let payee = |seat: Seat| Payee { worker: seat.worker, paid: seat.paid, scored: seat.scored };
        let workers = table.into_iter().map(payee).collect();
        vec![Event::TasksSettled { deal, round, tasks, workers, left_out }]
    }

    pub(super) fn settle_one(
        &mut self,
        shown: Shown<'_>,
        (index, digest): (u32, B256),
        (leaf, appended): (&[Contribution], &[Contribution]),
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let (terms, deadlines) = (shown.terms, shown.terms.deadlines());
        require_replicated(terms)?;
        let deal = terms.id();
        self.known(deal)?;
        require_until(now, deadlines.settle)?;
        require_inside(terms, index)?;
        let digest = ResultDigest::new(digest).ok_or(Refusal::NoDigest { index })?;
        let closed = self.require_open(terms, deal, index)?;
        let (round, leaf) = if shown.round.closed.is_empty() {
            if closed {
                return Err(Refusal::TaskClosed { index });
            }
            require_after_deadline(now, deadlines.append)?;
            require_pairs(index, appended.len().min(1))?;
            (RoundId::new(B256::ZERO), &[][..])
        } else {
            (self.require_in_round(shown, deal, index, leaf.len())?, leaf)
        };
        let mut walk =
            Walk { ledger: self, terms, deal, answer: (index, digest), chain: B256::ZERO, seats: Vec::new() };
        if !leaf.is_empty() {
            walk.leaf(leaf, shown.round.root)?;
            require_leaf(shown, deal, index, walk.chain)?;
        }
        if !appended.is_empty() {
            require_pairs(index, leaf.len() + appended.len())?;
            walk.appended(appended)?;
        }
        let (table, mut pairs): (Vec<_>, Vec<_>) = walk.seats.into_iter().unzip();
        let mut settlement = Settlement { terms, deal, round, table, ended: Vec::new(), left_out: Vec::new() };
        // The leaf is weighed alone first, so that no append waters down a share of those who were there before.
        let mut verdict = settlement.weigh(&pairs[..leaf.len()]);
        if verdict.accepted {
            pairs.truncate(leaf.len());
            settlement.table.truncate(leaf.len());
        } else {
            verdict = settlement.weigh(&pairs);
        }
        if !verdict.accepted {
            let (group, dissent, trust) = (verdict.group, verdict.dissent, terms.trust);
            return Err(Refusal::TooLittleWeight { index, group, dissent, trust });
        }
        assert!(self.end(deal, index - terms.first), "it is open");
        self.pay_task(&mut settlement, &Answered { index, digest, pairs }, &verdict);
        Ok(self.finish(settlement))
    }
}

/// What is left of a batch's packed tasks, checked in the contract's order.
struct Batch<'a> {
    shown: Shown<'a>,
    deal: DealId,
    table: &'a [Seat],
    all: &'a [u8],
    rest: &'a [u8],
    leaves: Vec<(u32, B256)>,
    unopened: usize,
}

impl Batch<'_> {
    fn bad_length(&self) -> Refusal {
        Refusal::BadTasksLength { length: U256::from(self.all.len()) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.bad_length())?;
        self.rest = rest;
        Ok(*first)
    }

    /// The next task, if there is one; the first is always wanted.
    fn next(&mut self, before: Option<&Answered>) -> Result<Option<Answered>, Refusal> {
        if before.is_some() && self.rest.is_empty() {
            return Ok(None);
        }
        let [i0, i1, i2, i3, answer @ .., count] = self.take::<37>()?;
        let (index, terms) = (u32::from_be_bytes([i0, i1, i2, i3]), self.shown.terms);
        if self.leaves.len() == MAX_TASKS {
            return Err(Refusal::BatchTooLarge { items: U256::from(MAX_TASKS + 1), max: U256::from(MAX_TASKS) });
        }
        require_inside(terms, index)?;
        let place = self.shown.round.place(self.deal, index - terms.first).ok_or(Refusal::NotInRound { index })?;
        if let (Some(before), Some((last, _))) = (before, self.leaves.last())
            && place <= *last
        {
            return Err(Refusal::IndexNotAscending { previous: before.index, index });
        }
        let digest = ResultDigest::new(B256::from(answer)).ok_or(Refusal::NoDigest { index })?;
        require_pairs(index, usize::from(count))?;
        let (marks, rest) = self.rest.split_at_checked(usize::from(count)).ok_or_else(|| self.bad_length())?;
        self.rest = rest;
        let task = Answered { index, digest, pairs: self.pairs(index, digest, marks)? };
        let pair = |pair: &Placed| Pair { worker: self.table[pair.rank].worker, commitment: pair.commitment };
        let chain = task.pairs.iter().map(pair).fold(B256::ZERO, extend);
        self.leaves.push((place, leaf_of_chain(self.deal, index, chain)));
        Ok(Some(task))
    }

    fn pairs(&mut self, index: u32, digest: ResultDigest, marks: &[u8]) -> Result<Vec<Placed>, Refusal> {
        let task = self.deal.task(index);
        let mut pairs: Vec<Placed> = Vec::with_capacity(marks.len());
        for mark in marks {
            let (rank, opens) = (usize::from(mark & !OPENS), mark & OPENS != 0);
            let rises = pairs.last().is_none_or(|before| rank > before.rank);
            let seat = self.table.get(rank).filter(|_| rises);
            let seat = *seat.ok_or(Refusal::BadRank { index, rank: U256::from(rank) })?;
            let commitment = if opens {
                let seed = seat.seed.ok_or(Refusal::NotRevealed { index, worker: seat.worker })?;
                commitment(task, seat.worker, digest, salt(seed, task))
            } else {
                self.unopened += 1;
                B256::from(self.take::<32>()?)
            };
            pairs.push(Placed { rank, commitment, opens });
        }
        Ok(pairs)
    }
}

/// One task's pairs, walked in their order.
struct Walk<'a> {
    ledger: &'a Ledger,
    terms: &'a DealTerms,
    deal: DealId,
    answer: (u32, ResultDigest),
    chain: B256,
    /// Those that may be weighed: each worker's first.
    seats: Vec<(Seat, Placed)>,
}

impl Walk<'_> {
    fn leaf(&mut self, leaf: &[Contribution], root: B256) -> Result<(), Refusal> {
        let mut previous = Address::ZERO;
        for pair in leaf {
            previous = require_after(previous, pair.worker.get())?;
            let commitment = self.walk(pair, Some(root))?;
            self.sit(pair, commitment);
        }
        Ok(())
    }

    fn appended(&mut self, appended: &[Contribution]) -> Result<(), Refusal> {
        for pair in appended {
            let commitment = self.walk(pair, None)?;
            if !self.seats.iter().any(|(seat, _)| seat.worker == pair.worker) {
                self.sit(pair, commitment);
            }
        }
        let kept = self.ledger.appends_of(self.deal, self.answer.0).map_or(B256::ZERO, |kept| kept.chain);
        if kept == self.chain {
            return Ok(());
        }
        Err(Refusal::ChainMismatch { kept, shown: self.chain })
    }

    /// Goes on by one pair, and checks its reveal: of the root or, without one, of the chain that ends in it.
    fn walk(&mut self, pair: &Contribution, root: Option<B256>) -> Result<B256, Refusal> {
        let (index, digest) = self.answer;
        let task = self.deal.task(index);
        let commitment = if pair.signature == Signature::Empty {
            pair.commitment
        } else {
            commitment(task, pair.worker, digest, salt(pair.seed, task))
        };
        self.chain = extend(self.chain, Pair { worker: pair.worker, commitment });
        self.ledger.require_reveal(pair.worker, pair.signature, root.unwrap_or(self.chain), pair.seed)?;
        Ok(commitment)
    }

    fn sit(&mut self, pair: &Contribution, commitment: B256) {
        let (rank, opens) = (self.seats.len(), pair.signature != Signature::Empty);
        let seat = self.ledger.seat(self.terms, pair.worker, opens.then_some(pair.seed));
        self.seats.push((seat, Placed { rank, commitment, opens }));
    }
}
