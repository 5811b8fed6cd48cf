//! What a settlement is told, tells and keeps, as packed bytes (ADR 0003, sections 1, 3 and 5).

use super::MAX_PAIRS;
use crate::{Amount, DealId, RecordId, ResultDigest, WorkerAddr};
use alloy_primitives::{Address, B256, keccak256};
use thiserror::Error;

/// How many tasks a batch has at the most.
pub const MAX_TASKS: usize = 256;
/// How many workers the table of a batch has at the most.
pub const MAX_TABLE: usize = 128;
/// How many left-out pairs a record has at the most.
pub const MAX_LEFT_OUT: usize = 255;
/// Bytes of one left-out pair.
pub const LEFT_OUT_BYTES: usize = 91;
/// Bytes of one worker of a settlement's event.
pub const PAYEE_BYTES: usize = 40;

/// In a pair's byte: it opens, or was paid.
const MARK: u8 = 0x80;

/// Why bytes are none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PackedError {
    /// They end in the middle.
    #[error("the bytes end in the middle of an item, at byte {0}")]
    Short(usize),
    /// Zero is no digest.
    #[error("task {0} has no digest")]
    NoDigest(u32),
    /// A task has 1 to 64 pairs.
    #[error("task {index} has {pairs} pairs: 1 to {MAX_PAIRS} are right")]
    Pairs {
        /// The task's index.
        index: u32,
        /// How many pairs it says.
        pairs: u8,
    },
    /// Ranks rise within a task, and name a worker of the table.
    #[error("the pairs' ranks of task {0} do not rise, or are beyond a table")]
    Rank(u32),
}

/// A pair of a task in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPair {
    /// Its worker's place in the batch's table; below 128.
    pub rank: u8,
    /// Its commitment, if it does not open; nothing if it does.
    pub hidden: Option<B256>,
}

/// A task of a batch, as `settle` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchTask {
    /// Its index.
    pub index: u32,
    /// What it settles to.
    pub digest: ResultDigest,
    /// The pairs of its leaf.
    pub pairs: Vec<BatchPair>,
}

impl BatchTask {
    /// Packs a batch.
    pub fn pack(tasks: &[Self]) -> Vec<u8> {
        let mut packed = Vec::new();
        for task in tasks {
            let pairs = task.pairs.iter().map(|pair| (pair.rank, pair.hidden.is_none()));
            pack_head(&mut packed, task.index, task.digest, pairs);
            packed.extend(task.pairs.iter().filter_map(|pair| pair.hidden).flat_map(|hidden| hidden.0));
        }
        packed
    }

    /// Reads a batch. What it does not look at, the contract does: size, order, and whether table and round fit.
    ///
    /// # Errors
    /// [`PackedError`] if the bytes are no batch.
    pub fn parse(packed: &[u8]) -> Result<Vec<Self>, PackedError> {
        each(packed, |bytes| {
            let (index, digest, marks) = bytes.head()?;
            let mut pairs = Vec::with_capacity(marks.len());
            for (rank, opens) in marks {
                let hidden = if opens { None } else { Some(B256::from(bytes.take::<32>()?)) };
                pairs.push(BatchPair { rank, hidden });
            }
            Ok(Self { index, digest, pairs })
        })
    }
}

/// A pair of a task that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedPair {
    /// Its worker's place among the event's workers.
    pub rank: u8,
    /// Whether it was paid: it opened, and its worker's bond covers the deal.
    pub paid: bool,
}

/// A task that a settlement ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTask {
    /// Its index.
    pub index: u32,
    /// What it settled to.
    pub digest: ResultDigest,
    /// The pairs that were weighed.
    pub pairs: Vec<EndedPair>,
}

impl EndedTask {
    /// Packs them.
    pub fn pack(tasks: &[Self]) -> Vec<u8> {
        let mut packed = Vec::new();
        for task in tasks {
            pack_head(&mut packed, task.index, task.digest, task.pairs.iter().map(|pair| (pair.rank, pair.paid)));
        }
        packed
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`PackedError`] if the bytes are no such tasks.
    pub fn parse(packed: &[u8]) -> Result<Vec<Self>, PackedError> {
        each(packed, |bytes| {
            let (index, digest, marks) = bytes.head()?;
            let pairs = marks.into_iter().map(|(rank, paid)| EndedPair { rank, paid }).collect();
            Ok(Self { index, digest, pairs })
        })
    }
}

/// What a settlement gave one worker, over all its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payee {
    /// The worker; its owner was paid.
    pub worker: WorkerAddr,
    /// How much.
    pub paid: Amount,
    /// By how much its score rose.
    pub scored: u32,
}

impl Payee {
    /// Packs them.
    pub fn pack(payees: &[Self]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(payees.len() * PAYEE_BYTES);
        for payee in payees {
            packed.extend(payee.worker.get());
            packed.extend(payee.paid.units().to_be_bytes());
            packed.extend(payee.scored.to_be_bytes());
        }
        packed
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`PackedError::Short`] if the bytes are no whole number of them.
    pub fn parse(packed: &[u8]) -> Result<Vec<Self>, PackedError> {
        each(packed, |bytes| {
            let worker = bytes.worker()?;
            let paid = Amount::new(u128::from_be_bytes(bytes.take()?));
            Ok(Self { worker, paid, scored: u32::from_be_bytes(bytes.take()?) })
        })
    }
}

/// A pair that a settlement left out: what `open` and `punish` are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Its task's index.
    pub index: u32,
    /// What the task settled to.
    pub digest: ResultDigest,
    /// Whose pair it is.
    pub worker: WorkerAddr,
    /// The hidden answer.
    pub commitment: B256,
    /// Its share of the workers' pot.
    pub share: u8,
    /// The sum of the task's shares.
    pub total: u16,
}

impl LeftOut {
    /// Packs them.
    pub fn pack(entries: &[Self]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(entries.len() * LEFT_OUT_BYTES);
        for entry in entries {
            packed.extend(entry.index.to_be_bytes());
            packed.extend(entry.digest.get());
            packed.extend(entry.worker.get());
            packed.extend(entry.commitment);
            packed.push(entry.share);
            packed.extend(entry.total.to_be_bytes());
        }
        packed
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`PackedError`] if the bytes are no such entries.
    pub fn parse(packed: &[u8]) -> Result<Vec<Self>, PackedError> {
        each(packed, |bytes| {
            let (index, digest) = bytes.answer()?;
            let (worker, commitment) = (bytes.worker()?, B256::from(bytes.take()?));
            let [share] = bytes.take()?;
            Ok(Self { index, digest, worker, commitment, share, total: u16::from_be_bytes(bytes.take()?) })
        })
    }

    /// The pair.
    pub const fn pair(&self) -> super::Pair {
        super::Pair { worker: self.worker, commitment: self.commitment }
    }
}

/// The id of the record that a settlement keeps of these packed entries.
pub fn record_id(deal: DealId, left_out: &[u8]) -> RecordId {
    RecordId::new(keccak256([deal.get().as_slice(), left_out].concat()))
}

fn pack_head(packed: &mut Vec<u8>, index: u32, digest: ResultDigest, pairs: impl ExactSizeIterator<Item = (u8, bool)>) {
    packed.extend(index.to_be_bytes());
    packed.extend(digest.get());
    packed.push(u8::try_from(pairs.len()).expect("a task has at most 64 pairs"));
    packed.extend(pairs.map(|(rank, marked)| if marked { rank | MARK } else { rank }));
}

/// Ranks, and whether they are marked.
type Marks = Vec<(u8, bool)>;

/// Reads one item after the other, to the end.
fn each<T>(packed: &[u8], read: impl Fn(&mut Bytes<'_>) -> Result<T, PackedError>) -> Result<Vec<T>, PackedError> {
    let mut bytes = Bytes { all: packed.len(), rest: packed };
    let mut items = Vec::new();
    while !bytes.rest.is_empty() {
        items.push(read(&mut bytes)?);
    }
    Ok(items)
}

/// What is left to read.
struct Bytes<'a> {
    all: usize,
    rest: &'a [u8],
}

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], PackedError> {
        let short = PackedError::Short(self.all - self.rest.len());
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        Ok(*first)
    }

    fn worker(&mut self) -> Result<WorkerAddr, PackedError> {
        self.take().map(|bytes| WorkerAddr::new(Address::new(bytes)))
    }

    fn answer(&mut self) -> Result<(u32, ResultDigest), PackedError> {
        let index = u32::from_be_bytes(self.take()?);
        let digest = ResultDigest::new(B256::from(self.take::<32>()?)).ok_or(PackedError::NoDigest(index))?;
        Ok((index, digest))
    }

    /// A task with its pairs' ranks and marks.
    fn head(&mut self) -> Result<(u32, ResultDigest, Marks), PackedError> {
        let (index, digest) = self.answer()?;
        let [pairs] = self.take()?;
        if !(1..=MAX_PAIRS).contains(&usize::from(pairs)) {
            return Err(PackedError::Pairs { index, pairs });
        }
        let mut marks: Marks = Vec::with_capacity(usize::from(pairs));
        for _ in 0..pairs {
            let [byte] = self.take()?;
            let rank = byte & !MARK;
            if marks.last().is_some_and(|(before, _)| rank <= *before) {
                return Err(PackedError::Rank(index));
            }
            marks.push((rank, byte & MARK != 0));
        }
        Ok((index, digest, marks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> ResultDigest {
        ResultDigest::new(B256::repeat_byte(byte)).expect("not zero")
    }

    #[test]
    fn batches_survive_packing_and_broken_ones_are_refused() {
        let open = BatchPair { rank: 0, hidden: None };
        let shut = BatchPair { rank: 5, hidden: Some(B256::repeat_byte(9)) };
        let tasks = vec![
            BatchTask { index: 7, digest: digest(1), pairs: vec![open, shut] },
            BatchTask { index: 9, digest: digest(2), pairs: vec![BatchPair { rank: 127, hidden: None }] },
        ];
        let packed = BatchTask::pack(&tasks);
        assert_eq!(packed.len(), 37 + 2 + 32 + 37 + 1);
        assert_eq!(packed[36..39], [2, 0x80, 5]);
        assert_eq!(BatchTask::parse(&packed), Ok(tasks));
        assert_eq!(BatchTask::parse(&packed[..60]), Err(PackedError::Short(39)));
        let mut none = packed.clone();
        none[36] = 0;
        assert_eq!(BatchTask::parse(&none), Err(PackedError::Pairs { index: 7, pairs: 0 }));
        let mut equal = packed.clone();
        equal[38] = 0;
        assert_eq!(BatchTask::parse(&equal), Err(PackedError::Rank(7)));
        let mut empty = packed;
        empty[4..36].fill(0);
        assert_eq!(BatchTask::parse(&empty), Err(PackedError::NoDigest(7)));
    }

    #[test]
    fn what_a_settlement_tells_survives_packing() {
        let worker = WorkerAddr::new(Address::repeat_byte(3));
        let pairs = vec![EndedPair { rank: 1, paid: true }, EndedPair { rank: 2, paid: false }];
        let tasks = vec![EndedTask { index: 4, digest: digest(1), pairs }];
        assert_eq!(EndedTask::parse(&EndedTask::pack(&tasks)), Ok(tasks));
        let payees = vec![Payee { worker, paid: Amount::new(u128::MAX), scored: 2 }];
        assert_eq!(Payee::pack(&payees).len(), PAYEE_BYTES);
        assert_eq!(Payee::parse(&Payee::pack(&payees)), Ok(payees));
        let commitment = B256::repeat_byte(8);
        let entries = vec![LeftOut { index: 4, digest: digest(1), worker, commitment, share: 1, total: 300 }];
        let packed = LeftOut::pack(&entries);
        assert_eq!(packed.len(), LEFT_OUT_BYTES);
        assert_eq!(LeftOut::parse(&packed), Ok(entries));
        assert!(LeftOut::parse(&packed[..90]).is_err());
    }
}
