//! Checks what a worker hands in, before anything of it is believed: the list and its signature as the contract will
//! check them, and that whoever pays for the result can have all of it from the store.

use super::{BlobError, Blobs, MAX_MANIFEST_BYTES};
use alloy::primitives::B256;
use berth_chain::signer::recover;
use berth_protocol::{
    DealId, DealTerms, ResultDigest, WorkerAddr,
    domain::Domain,
    single::{ListError, SingleList},
};
use berth_wire::{
    canonical::NotCanonical,
    manifest::{Content, MAX_CALLBACK_BYTES, Manifest},
    units::Sha256,
    worker::{Deliver, Report},
};
use thiserror::Error;

/// The longest reason for a failure that is kept.
const MAX_REASON_BYTES: usize = 2_000;

/// Why a report is not taken.
#[derive(Debug, Error)]
pub(crate) enum ReportError {
    /// The list is none.
    #[error(transparent)]
    List(#[from] ListError),
    /// The list does not answer the task.
    #[error("the list does not say {digest} for task {index}")]
    NotListed {
        /// The task.
        index: u32,
        /// What the report says.
        digest: B256,
    },
    /// Not signed by the worker.
    #[error("the list is not signed by {0}")]
    Signature(WorkerAddr),
    /// A blob is not in the store.
    #[error("{0} is not in the store: put it there first")]
    Missing(Sha256),
    /// The manifest is none.
    #[error("the manifest is none")]
    Manifest(#[source] NotCanonical),
    /// The deal has a callback, and the digest is not what the manifest and the bytes for it make.
    #[error("{0} is not bound to a manifest, with what the job left for the deal's callback")]
    Unbound(B256),
    /// A failure that has no name.
    #[error("{0} is a failure that nobody knows")]
    UnknownFailure(B256),
    /// The store fails.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl ReportError {
    /// What the worker's program goes by.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::List(_) | Self::NotListed { .. } => "bad-list",
            Self::Signature(_) => "bad-signature",
            Self::Missing(_) => "blob-missing",
            Self::Manifest(_) | Self::Unbound(_) | Self::UnknownFailure(_) => "bad-result",
            Self::Blob(BlobError::TooLarge { .. }) => "bad-result",
            Self::Blob(_) => "store-failed",
        }
    }
}

/// A report of which everything is true that can be checked without running the job.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) index: u32,
    pub(crate) digest: ResultDigest,
    pub(crate) list: SingleList,
    pub(crate) signature: Vec<u8>,
    pub(crate) stdout: Option<Content>,
    pub(crate) stderr: Option<Content>,
    pub(crate) wall_ms: u64,
    pub(crate) failure: Option<String>,
    /// All that is in the store of it.
    pub(crate) parts: Vec<Sha256>,
}

/// Checks a worker's report about a deal.
pub(crate) async fn check(
    blobs: &Blobs,
    domain: &Domain,
    (deal, terms): (DealId, &DealTerms),
    worker: WorkerAddr,
    report: &Report,
) -> Result<Checked, ReportError> {
    let list = SingleList::decode(terms, &report.entries)?;
    let listed = list.entries().iter().find(|(index, _)| *index == report.index).map(|(_, digest)| *digest);
    let digest = listed
        .filter(|digest| digest.get() == report.digest)
        .ok_or(ReportError::NotListed { index: report.index, digest: report.digest })?;
    if recover(domain.digest(&list.statement(deal)), &report.signature) != Some(worker.get()) {
        return Err(ReportError::Signature(worker));
    }
    bind(blobs, terms, digest, report.manifest).await?;
    let parts = all_there(blobs, digest, report.stdout.into_iter().chain(report.stderr)).await?;
    Ok(Checked {
        index: report.index,
        digest,
        list,
        signature: report.signature.to_vec(),
        stdout: report.stdout,
        stderr: report.stderr,
        wall_ms: report.wall_ms,
        failure: report.failure.as_deref().filter(|_| digest.is_failure()).map(shortened),
        parts,
    })
}

/// A result of a replicated task, of which everything is in the store.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) digest: ResultDigest,
    pub(crate) stdout: Option<Content>,
    pub(crate) stderr: Option<Content>,
    pub(crate) wall_ms: u64,
    pub(crate) failure: Option<String>,
    /// All that is in the store of it.
    pub(crate) parts: Vec<Sha256>,
}

/// Checks the result of a revealed task.
pub(crate) async fn check_delivery(
    blobs: &Blobs,
    terms: &DealTerms,
    deliver: &Deliver,
) -> Result<Delivered, ReportError> {
    let digest = ResultDigest::new(deliver.digest).ok_or(ReportError::UnknownFailure(deliver.digest))?;
    bind(blobs, terms, digest, deliver.manifest).await?;
    let parts = all_there(blobs, digest, deliver.stdout.into_iter().chain(deliver.stderr)).await?;
    Ok(Delivered {
        digest,
        stdout: deliver.stdout,
        stderr: deliver.stderr,
        wall_ms: deliver.wall_ms,
        failure: deliver.failure.as_deref().filter(|_| digest.is_failure()).map(shortened),
        parts,
    })
}

/// Where a deal has a callback, a result's digest is made of a manifest and the bytes for it: both are there, and the
/// digest leads to them from now on.
async fn bind(blobs: &Blobs, terms: &DealTerms, digest: ResultDigest, named: Option<B256>) -> Result<(), ReportError> {
    if terms.callback.is_zero() || digest.is_failure() {
        return Ok(());
    }
    let unbound = || ReportError::Unbound(digest.get());
    let name = Sha256(named.ok_or_else(unbound)?.0);
    let manifest = read_manifest(blobs, name).await?;
    let content = manifest.callback.ok_or_else(unbound)?;
    let bytes = blobs.read(content.sha256, MAX_CALLBACK_BYTES).await?.ok_or(ReportError::Missing(content.sha256))?;
    if manifest.bound(&bytes) != Some(digest) {
        return Err(unbound());
    }
    Ok(blobs.bind(digest, name).await?)
}

/// Whoever pays for a result can have all of it, and its logs; gives the names of all that.
async fn all_there(
    blobs: &Blobs,
    digest: ResultDigest,
    logs: impl Iterator<Item = Content>,
) -> Result<Vec<Sha256>, ReportError> {
    let mut wanted: Vec<Content> = logs.collect();
    let mut parts = Vec::new();
    if digest.is_failure() {
        digest.failure().ok_or(ReportError::UnknownFailure(digest.get()))?;
    } else {
        let name = blobs.manifest_of(digest).await?;
        wanted.extend(read_manifest(blobs, name).await?.blobs());
        parts.push(name);
    }
    for content in &wanted {
        if !blobs.has(*content).await? {
            return Err(ReportError::Missing(content.sha256));
        }
    }
    parts.extend(wanted.iter().map(|content| content.sha256));
    Ok(parts)
}

/// The manifest of a result that is no failure.
pub(crate) async fn manifest(blobs: &Blobs, digest: ResultDigest) -> Result<Manifest, ReportError> {
    read_manifest(blobs, blobs.manifest_of(digest).await?).await
}

async fn read_manifest(blobs: &Blobs, name: Sha256) -> Result<Manifest, ReportError> {
    let bytes = blobs.read(name, MAX_MANIFEST_BYTES).await?.ok_or(ReportError::Missing(name))?;
    Manifest::from_bytes(&bytes).map_err(ReportError::Manifest)
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_REASON_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "é".repeat(MAX_REASON_BYTES);
        assert!(shortened(&long).len() <= MAX_REASON_BYTES);
    }
}
