//! What a worker checks before it opens anything: that the round it is shown holds its own pairs, where the chain says
//! that they are, and that all of them are hidden under one seed. What the chain itself says is checked in `watch`.
//!
//! A seed is opened for good. Whatever was closed before that is safe to open with it, since nobody else could make a
//! pair under it; what came later may be forged, and is never opened.

use crate::journal::{Hidden, Journal, JournalError, Seed, chain_of, own};
use alloy::primitives::B256;
use berth_protocol::{
    DealId, DealTerms, OperatorAddr, ResultDigest, TaskId, WorkerAddr,
    round::{self, ClosedRound, ClosedWord, LeafError},
};
use berth_wire::worker::{self as wire, Appended, Closed, Leaf};
use thiserror::Error;

/// Why something that the scheduler shows is not opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Mismatch {
    /// Nothing is shown.
    #[error("it shows no leaf")]
    Empty,
    /// A task that this worker does not have.
    #[error("it shows task {index} of deal {deal}, which is not this worker's")]
    Unknown {
        /// The deal.
        deal: B256,
        /// The index.
        index: u32,
    },
    /// A leaf that can't be one.
    #[error("the leaf of task {task} is none")]
    Leaf {
        /// The task.
        task: TaskId,
        /// Why.
        #[source]
        source: LeafError,
    },
    /// The worker's pair is not there, or not as it made it.
    #[error("the pairs of task {0} do not hold this worker's answer")]
    NotOwn(TaskId),
    /// The round closes other tasks.
    #[error("the round does not close task {0}")]
    NotClosed(TaskId),
    /// The leaf is not under the root.
    #[error("the leaf of task {0} does not lead to the root")]
    Root(TaskId),
    /// Answers under several seeds: opening one of them would leave the others out.
    #[error("it holds this worker's answers under more than one seed")]
    Seeds,
    /// Deals of several operators can't be closed together.
    #[error("it holds tasks of more than one operator")]
    Operators,
    /// The seed was opened before this was closed: the pair may be anybody's.
    #[error("it was closed after its seed was opened")]
    Stale,
    /// The transaction that is named did something else.
    #[error("its transaction does not close it")]
    Elsewhere,
}

/// A round, or chain, that holds what it should, and may be opened once the chain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Its root, or the chain's hash.
    pub(crate) root: B256,
    /// The transaction that is said to have done it.
    pub(crate) transaction: B256,
    /// What to look for in that.
    pub(crate) trace: Trace,
    /// What this worker answered.
    pub(crate) answers: Vec<(TaskId, ResultDigest)>,
    /// What all of it is hidden under.
    pub(crate) seed: Seed,
}

/// What the chain must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trace {
    /// The operator closed this round.
    Round(OperatorAddr, ClosedRound),
    /// The worker's pair was appended to this task.
    Append(DealId, u32, round::Pair),
}

/// What the journal knows of a task.
pub(crate) struct Known {
    pub(crate) terms: DealTerms,
    pub(crate) task: TaskId,
    pub(crate) given: Vec<Hidden>,
}

impl Known {
    /// Looks a task up; `None` if this worker never answered it.
    pub(crate) async fn find(journal: &Journal, deal: B256, index: u32) -> Result<Option<Self>, JournalError> {
        let task = DealId::new(deal).task(index);
        let Some(row) = journal.row(task).await? else { return Ok(None) };
        let given = journal.answers_to(task).await?;
        Ok((!given.is_empty()).then(|| Self { terms: row.assign.terms.into(), task, given }))
    }

    /// The answer that a pair hides.
    fn hidden(&self, pair: round::Pair) -> Option<Hidden> {
        self.given.iter().copied().find(|hidden| hidden.commitment == pair.commitment)
    }
}

/// The round that the scheduler shows, as the protocol has it.
pub(crate) fn round_of(closed: &Closed) -> ClosedRound {
    let word = |word: &wire::ClosedWord| {
        let mut bits = [0; 16];
        bits[3..].copy_from_slice(word.bits.as_slice());
        ClosedWord { deal: DealId::new(word.deal), word: word.word, bits: u128::from_be_bytes(bits) }
    };
    ClosedRound { root: closed.root, closed: closed.closed.iter().map(word).collect() }
}

/// Checks a round: each leaf holds the worker's own pair, stands where the round says, and leads to the root.
pub(crate) fn check_closed(closed: &Closed, worker: WorkerAddr, known: &[Option<Known>]) -> Result<Checked, Mismatch> {
    let round = round_of(closed);
    let mut answers = Vec::with_capacity(closed.leaves.len());
    let mut common = None;
    for (leaf, known) in closed.leaves.iter().zip(known) {
        let Some(known) = known else { return Err(Mismatch::Unknown { deal: leaf.deal, index: leaf.index }) };
        let hidden = check_leaf(leaf, &round, worker, known)?;
        let operator = OperatorAddr::new(known.terms.operator);
        let (seed, earlier) = *common.get_or_insert((hidden.seed, operator));
        if seed.id != hidden.seed.id {
            return Err(Mismatch::Seeds);
        }
        if earlier != operator {
            return Err(Mismatch::Operators);
        }
        answers.push((known.task, hidden.digest));
    }
    let (seed, operator) = common.ok_or(Mismatch::Empty)?;
    let trace = Trace::Round(operator, round);
    Ok(Checked { root: closed.root, transaction: closed.transaction, trace, answers, seed })
}

fn check_leaf(leaf: &Leaf, round: &ClosedRound, worker: WorkerAddr, known: &Known) -> Result<Hidden, Mismatch> {
    let task = known.task;
    let pairs: Vec<round::Pair> = leaf.pairs.iter().map(own).collect();
    let deal = DealId::new(leaf.deal);
    let hash = round::leaf(deal, leaf.index, &pairs).map_err(|source| Mismatch::Leaf { task, source })?;
    let mine = pairs.iter().find(|pair| pair.worker == worker).ok_or(Mismatch::NotOwn(task))?;
    let hidden = known.hidden(*mine).ok_or(Mismatch::NotOwn(task))?;
    let offset = leaf.index.checked_sub(known.terms.first).ok_or(Mismatch::NotClosed(task))?;
    let place = round.place(deal, offset).ok_or(Mismatch::NotClosed(task))?;
    match round::proven_root(round.leaves(), &[(place, hash)], &leaf.proof) {
        Some(root) if root == round.root => Ok(hidden),
        Some(_) | None => Err(Mismatch::Root(task)),
    }
}

/// Checks an append: the worker's own pair is the last of the chain.
pub(crate) fn check_appended(
    appended: &Appended,
    worker: WorkerAddr,
    known: Option<&Known>,
) -> Result<Checked, Mismatch> {
    let Some(known) = known else { return Err(Mismatch::Unknown { deal: appended.deal, index: appended.index }) };
    let mine = appended.pairs.last().map(own).ok_or(Mismatch::Empty)?;
    let hidden = known.hidden(mine).filter(|_| mine.worker == worker).ok_or(Mismatch::NotOwn(known.task))?;
    // Only a worker's first pair in a task counts: another one before it would be somebody's forgery.
    let first = appended.pairs.iter().filter(|pair| pair.worker == worker.get()).count() == 1;
    if !first {
        return Err(Mismatch::NotOwn(known.task));
    }
    Ok(Checked {
        root: chain_of(&appended.pairs),
        transaction: appended.transaction,
        trace: Trace::Append(DealId::new(appended.deal), appended.index, mine),
        answers: vec![(known.task, hidden.digest)],
        seed: hidden.seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, FixedBytes};
    use berth_protocol::round::{Pair, WordBits, leaf, multiproof, root};

    const ME: WorkerAddr = WorkerAddr::new(Address::repeat_byte(5));

    fn seed(id: i64) -> Seed {
        Seed { id, seed: B256::repeat_byte(u8::try_from(id).expect("small")), revealed_at: None }
    }

    fn terms() -> DealTerms {
        let who = Address::repeat_byte;
        DealTerms {
            request: B256::repeat_byte(9),
            pool: B256::repeat_byte(3),
            appOwner: who(2),
            datasetOwner: Address::ZERO,
            poolOwner: who(3),
            operator: who(7),
            payer: who(4),
            callback: Address::ZERO,
            appPrice: 0,
            datasetPrice: 0,
            poolPrice: 1_000,
            poolStake: 0,
            workerStake: 10,
            operatorShareBps: 500,
            parallel: 2,
            duration: 60,
            trust: 5,
            first: 10,
            size: 200,
            start: 1_000,
        }
    }

    fn digest() -> ResultDigest {
        ResultDigest::new(B256::repeat_byte(1)).expect("not zero")
    }

    fn known(index: u32, of: Seed) -> Known {
        let (terms, deal) = (terms(), terms().id());
        let task = deal.task(index);
        let commitment = round::commitment(task, ME, digest(), round::salt(of.seed, task));
        let given = vec![Hidden { task, deal, index, commitment, digest: digest(), seed: of }];
        Known { terms, task, given }
    }

    fn pairs(known: &Known) -> Vec<wire::Pair> {
        let other = |byte| wire::Pair { worker: Address::repeat_byte(byte), commitment: B256::repeat_byte(byte) };
        vec![other(1), wire::Pair { worker: ME.get(), commitment: known.given[0].commitment }, other(9)]
    }

    /// A round of tasks 10, 11, 12, ... of which the worker is shown its own two.
    fn shown(of: [Seed; 2]) -> (Closed, Vec<Option<Known>>) {
        let deal = terms().id();
        let mine = [known(11, of[0]), known(115, of[1])];
        let offsets = [0, 1, 2, 105];
        let leaves: Vec<B256> = offsets
            .into_iter()
            .map(|offset| {
                let index = terms().first + offset;
                let found = mine.iter().find(|known| known.given[0].index == index);
                let pairs: Vec<Pair> = found.map_or_else(
                    || vec![Pair { worker: ME, commitment: B256::repeat_byte(8) }],
                    |known| pairs(known).iter().map(own).collect(),
                );
                leaf(deal, index, &pairs).expect("a leaf")
            })
            .collect();
        let closed = WordBits::of(offsets).into_iter().map(|word| wire::ClosedWord {
            deal: deal.get(),
            word: word.word,
            bits: FixedBytes::from_slice(&word.bits.to_be_bytes()[3..]),
        });
        let own_leaves = [(1, &mine[0]), (3, &mine[1])].map(|(place, known)| Leaf {
            deal: deal.get(),
            index: known.given[0].index,
            pairs: pairs(known),
            proof: multiproof(&leaves, &[place]),
        });
        let closed = Closed {
            root: root(&leaves).expect("four leaves"),
            closed: closed.collect(),
            transaction: B256::repeat_byte(2),
            leaves: own_leaves.to_vec(),
        };
        (closed, mine.into_iter().map(Some).collect())
    }

    fn checked(change: impl FnOnce(&mut Closed, &mut Vec<Option<Known>>)) -> Result<Checked, Mismatch> {
        let (mut closed, mut known) = shown([seed(1), seed(1)]);
        change(&mut closed, &mut known);
        check_closed(&closed, ME, &known)
    }

    #[test]
    fn a_round_that_holds_the_workers_pairs_may_be_opened() {
        let checked = checked(|_, _| {}).expect("sound");
        assert_eq!(checked.seed, seed(1));
        assert_eq!(checked.answers.len(), 2);
        assert!(checked.answers.iter().all(|(_, answer)| *answer == digest()));
        let (closed, _) = shown([seed(1), seed(1)]);
        assert_eq!(checked.trace, Trace::Round(OperatorAddr::new(terms().operator), round_of(&closed)));
    }

    #[test]
    fn a_round_that_does_not_hold_is_never_opened() {
        let task = |index| terms().id().task(index);
        assert_eq!(checked(|closed, _| closed.leaves.clear()), Err(Mismatch::Empty));
        assert!(matches!(checked(|_, known| known[1] = None), Err(Mismatch::Unknown { index: 115, .. })));
        assert_eq!(checked(|closed, _| _ = closed.leaves[0].pairs.remove(1)), Err(Mismatch::NotOwn(task(11))));
        let forged = checked(|closed, _| closed.leaves[0].pairs[1].commitment = B256::repeat_byte(6));
        assert_eq!(forged, Err(Mismatch::NotOwn(task(11))), "a pair in its name that it did not make");
        let fewer = checked(|closed, _| _ = closed.leaves[0].pairs.pop());
        assert_eq!(fewer, Err(Mismatch::Root(task(11))));
        assert!(matches!(checked(|closed, _| closed.leaves[0].pairs.reverse()), Err(Mismatch::Leaf { .. })));
        assert_eq!(checked(|closed, _| closed.root = B256::ZERO), Err(Mismatch::Root(task(11))));
        assert_eq!(checked(|closed, _| _ = closed.leaves[1].proof.pop()), Err(Mismatch::Root(task(115))));
        assert_eq!(checked(|closed, _| _ = closed.closed.pop()), Err(Mismatch::Root(task(11))), "of another size");
        let elsewhere = checked(|closed, _| closed.closed[0].bits = FixedBytes::with_last_byte(0b101));
        assert_eq!(elsewhere, Err(Mismatch::NotClosed(task(11))));
        let (closed, known) = shown([seed(1), seed(2)]);
        assert_eq!(check_closed(&closed, ME, &known), Err(Mismatch::Seeds));
    }

    #[test]
    fn an_appended_pair_ends_its_chain_and_is_the_only_one_of_its_worker() {
        let known = known(11, seed(1));
        let mut appended = Appended {
            deal: terms().id().get(),
            index: 11,
            transaction: B256::repeat_byte(2),
            pairs: pairs(&known)[..2].to_vec(),
        };
        let checked = check_appended(&appended, ME, Some(&known)).expect("sound");
        assert_eq!(checked.root, chain_of(&appended.pairs));
        assert!(matches!(check_appended(&appended, ME, None), Err(Mismatch::Unknown { .. })));
        appended.pairs.push(wire::Pair { worker: Address::repeat_byte(9), commitment: B256::ZERO });
        assert_eq!(check_appended(&appended, ME, Some(&known)), Err(Mismatch::NotOwn(known.task)));
        appended.pairs = vec![pairs(&known)[1], pairs(&known)[1]];
        assert_eq!(check_appended(&appended, ME, Some(&known)), Err(Mismatch::NotOwn(known.task)));
        appended.pairs.clear();
        assert_eq!(check_appended(&appended, ME, Some(&known)), Err(Mismatch::Empty));
    }
}
