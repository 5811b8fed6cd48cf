//! A worker's list of results in a single-worker deal (ADR 0001, section 4).

use crate::{DealId, DealTerms, ResultDigest, deal::OutsideDeal, domain::SingleResults};
use alloy_primitives::{B256, keccak256};
use thiserror::Error;

/// How many results a list holds at the most.
pub const MAX_ENTRIES: usize = 256;
/// Bytes of one entry: `uint32 index ‖ bytes32 digest`.
pub const ENTRY_BYTES: usize = 36;

/// Why a list is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListError {
    /// Nothing in it.
    #[error("the list is empty")]
    Empty,
    /// Too much in it.
    #[error("the list has {0} results; {MAX_ENTRIES} are the most")]
    TooLong(usize),
    /// Its bytes are no whole number of entries.
    #[error("the list's {0} bytes are no whole number of entries of {ENTRY_BYTES}")]
    Ragged(usize),
    /// Indexes must rise strictly.
    #[error("index {0} does not come after the one before it")]
    Order(u32),
    /// Zero is no digest.
    #[error("index {0} has no digest")]
    NoDigest(u32),
    /// An index of another deal.
    #[error(transparent)]
    Outside(#[from] OutsideDeal),
}

/// Results of one worker in one deal, by strictly ascending index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleList(Vec<(u32, ResultDigest)>);

impl SingleList {
    /// Checks and takes a list for a deal.
    ///
    /// # Errors
    /// [`ListError`]: empty, too long, out of order, or with an index that is not the deal's.
    pub fn new(terms: &DealTerms, entries: Vec<(u32, ResultDigest)>) -> Result<Self, ListError> {
        if entries.is_empty() {
            return Err(ListError::Empty);
        }
        if entries.len() > MAX_ENTRIES {
            return Err(ListError::TooLong(entries.len()));
        }
        for pair in entries.windows(2) {
            if pair[1].0 <= pair[0].0 {
                return Err(ListError::Order(pair[1].0));
            }
        }
        for (index, _) in &entries {
            terms.task(*index)?;
        }
        Ok(Self(entries))
    }

    /// Reads the packed form.
    ///
    /// # Errors
    /// As [`SingleList::new`], and [`ListError::Ragged`] and [`ListError::NoDigest`].
    pub fn decode(terms: &DealTerms, packed: &[u8]) -> Result<Self, ListError> {
        let (chunks, rest) = packed.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(ListError::Ragged(packed.len()));
        }
        let entry = |chunk: &[u8; ENTRY_BYTES]| {
            let (index, digest) = chunk.split_first_chunk::<4>().expect("a chunk is longer than an index");
            let index = u32::from_be_bytes(*index);
            ResultDigest::new(B256::from_slice(digest)).map(|digest| (index, digest)).ok_or(ListError::NoDigest(index))
        };
        Self::new(terms, chunks.iter().map(entry).collect::<Result<_, _>>()?)
    }

    /// The results.
    pub fn entries(&self) -> &[(u32, ResultDigest)] {
        &self.0
    }

    /// The packed form.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(index, digest)| index.to_be_bytes().into_iter().chain(digest.get())).collect()
    }

    /// What the worker signs for it.
    pub fn statement(&self, deal: DealId) -> SingleResults {
        SingleResults { deal: deal.get(), root: keccak256(self.encode()) }
    }
}
