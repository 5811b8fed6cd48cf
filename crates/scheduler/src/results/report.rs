//! Checks what a worker hands in, before anything of it is believed: the list and its signature as the contract will
//! check them, and that whoever pays for the result can have all of it from the store.

use super::{BlobError, Blobs, MAX_MANIFEST_BYTES};
use crate::store::{self, Database};
use alloy::primitives::B256;
use berth_chain::{StoreError, signer::recover};
use berth_protocol::{
    DealId, DealTerms, ResultDigest, TaskId, WorkerAddr,
    domain::Domain,
    single::{ListError, SingleList},
};
use berth_wire::{
    canonical::NotCanonical,
    manifest::{Content, MAX_CALLBACK_BYTES, Manifest},
    units::Sha256,
    worker::{Deliver, Report},
};
use bytes::Bytes;
use sqlx::SqliteConnection;
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
    /// A blob that this worker has not put.
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
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
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
            Self::Blob(_) | Self::Store(_) => "store-failed",
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
    /// The manifest of what a failure left, if all of that was put.
    pub(crate) partial: Option<Content>,
    /// All that the worker has to have put of it.
    pub(crate) parts: Vec<Content>,
}

/// Where what a worker hands in is looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shelf<'a> {
    pub(crate) db: &'a Database,
    pub(crate) blobs: &'a Blobs,
}

/// Checks a worker's report about a deal.
pub(crate) async fn check(
    shelf: Shelf<'_>,
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
    let own = Own { shelf, worker, task: deal.task(report.index) };
    own.bind(terms, digest, report.manifest).await?;
    let mut parts = own.parts(digest, report.stdout.into_iter().chain(report.stderr)).await?;
    let partial = own.partial(digest, report.manifest, &mut parts).await?;
    Ok(Checked {
        index: report.index,
        digest,
        list,
        signature: report.signature.to_vec(),
        stdout: report.stdout,
        stderr: report.stderr,
        wall_ms: report.wall_ms,
        failure: report.failure.as_deref().filter(|_| digest.is_failure()).map(shortened),
        partial,
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
    /// The manifest of what a failure left, if all of that was put.
    pub(crate) partial: Option<Content>,
    /// All that the worker has to have put of it.
    pub(crate) parts: Vec<Content>,
}

/// Checks the result of a revealed task.
pub(crate) async fn check_delivery(
    shelf: Shelf<'_>,
    terms: &DealTerms,
    worker: WorkerAddr,
    deliver: &Deliver,
) -> Result<Delivered, ReportError> {
    let digest = ResultDigest::new(deliver.digest).ok_or(ReportError::UnknownFailure(deliver.digest))?;
    let own = Own { shelf, worker, task: DealId::new(deliver.deal).task(deliver.index) };
    own.bind(terms, digest, deliver.manifest).await?;
    let mut parts = own.parts(digest, deliver.stdout.into_iter().chain(deliver.stderr)).await?;
    let partial = own.partial(digest, deliver.manifest, &mut parts).await?;
    Ok(Delivered {
        digest,
        stdout: deliver.stdout,
        stderr: deliver.stderr,
        wall_ms: deliver.wall_ms,
        failure: deliver.failure.as_deref().filter(|_| digest.is_failure()).map(shortened),
        partial,
        parts,
    })
}

/// What a worker has put itself, or has made a part of its task before. Nothing else is looked at: who knows the name of
/// somebody else's manifest must not come to know, or to be asked for, what stands in it.
struct Own<'a> {
    shelf: Shelf<'a>,
    worker: WorkerAddr,
    task: TaskId,
}

impl Own<'_> {
    async fn read(&self, name: Sha256, max: u64) -> Result<Bytes, ReportError> {
        let mut tx = self.shelf.db.read().await?;
        let is_own = store::holding::size(&mut tx, self.worker.get(), name).await?.is_some()
            || store::data::is_part(&mut tx, self.task.get(), name).await?;
        drop(tx);
        if !is_own {
            return Err(ReportError::Missing(name));
        }
        self.shelf.blobs.read(name, max).await?.ok_or(ReportError::Missing(name))
    }

    async fn manifest(&self, name: Sha256) -> Result<(Content, Manifest), ReportError> {
        let bytes = self.read(name, MAX_MANIFEST_BYTES).await?;
        let content = Content { sha256: name, size: bytes.len() as u64 };
        Ok((content, Manifest::from_bytes(&bytes).map_err(ReportError::Manifest)?))
    }

    /// Where a deal has a callback, a result's digest is made of a manifest and the bytes for it: both are there, and the
    /// digest leads to them from now on.
    async fn bind(&self, terms: &DealTerms, digest: ResultDigest, named: Option<B256>) -> Result<(), ReportError> {
        if terms.callback.is_zero() || digest.is_failure() {
            return Ok(());
        }
        let unbound = || ReportError::Unbound(digest.get());
        let name = Sha256(named.ok_or_else(unbound)?.0);
        let (_, manifest) = self.manifest(name).await?;
        let content = manifest.callback.ok_or_else(unbound)?;
        let bytes = self.read(content.sha256, MAX_CALLBACK_BYTES).await?;
        if manifest.bound(&bytes) != Some(digest) {
            return Err(unbound());
        }
        Ok(self.shelf.blobs.bind(digest, name).await?)
    }

    /// All that whoever pays for a result is to have of it, and its logs.
    async fn parts(
        &self,
        digest: ResultDigest,
        logs: impl Iterator<Item = Content>,
    ) -> Result<Vec<Content>, ReportError> {
        let mut parts = Vec::new();
        if digest.is_failure() {
            digest.failure().ok_or(ReportError::UnknownFailure(digest.get()))?;
        } else {
            let name = self.shelf.blobs.manifest_of(digest).await?;
            let (content, manifest) = self.manifest(name).await?;
            parts.push(content);
            parts.extend(manifest.blobs());
        }
        parts.extend(logs);
        Ok(parts)
    }
}

impl Own<'_> {
    /// What a failure left; it is told where all of it was put. That it is not, is no reason to refuse the failure.
    async fn partial(
        &self,
        digest: ResultDigest,
        named: Option<B256>,
        parts: &mut Vec<Content>,
    ) -> Result<Option<Content>, ReportError> {
        let Some(name) = named.filter(|_| digest.is_failure()) else { return Ok(None) };
        let (content, manifest) = match self.manifest(Sha256(name.0)).await {
            Ok(found) => found,
            Err(ReportError::Missing(_) | ReportError::Manifest(_) | ReportError::Blob(BlobError::TooLarge { .. })) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let left: Vec<Content> = manifest.blobs().chain([content]).collect();
        let mut tx = self.shelf.db.read().await?;
        for part in &left {
            if !store::holding::has(&mut tx, self.worker.get(), *part).await?
                && !store::data::is_part(&mut tx, self.task.get(), part.sha256).await?
            {
                return Ok(None);
            }
        }
        parts.extend(left);
        Ok(Some(content))
    }
}

/// Makes all of a result a part of its task, in the transaction that takes the result: of each, the worker has put it.
pub(crate) async fn hand_over(
    conn: &mut SqliteConnection,
    task: TaskId,
    worker: WorkerAddr,
    parts: &[Content],
) -> Result<(), ReportError> {
    for part in parts {
        if !store::holding::hand_over(conn, worker.get(), task.get(), *part).await? {
            return Err(ReportError::Missing(part.sha256));
        }
    }
    Ok(())
}

/// A manifest that is here.
pub(crate) async fn read_manifest(blobs: &Blobs, name: Sha256) -> Result<Manifest, ReportError> {
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
