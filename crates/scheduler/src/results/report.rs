//! Checks what a worker hands in, before anything of it is believed: the list and its signature as the contract will
//! check them, and that whoever pays for the result can have all of it from the store.

use super::{BlobError, Blobs, MAX_MANIFEST_BYTES};
use crate::store::{self, Database, deal::Deal, report::Report as Kept};
use alloy::primitives::B256;
use berth_chain::{StoreError, signer::recover};
use berth_protocol::{
    DealTerms, JobHash, ResultDigest, TaskId, WorkerAddr,
    domain::Domain,
    single::{ListError, SingleList},
};
use berth_wire::{
    canonical::NotCanonical,
    job::Job,
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
    /// The job's result is for its recipient, and lies open.
    #[error("the job names a recipient: what it left is handed over in one sealed file, and nothing beside that")]
    Open,
    /// Nobody could open it.
    #[error("the job names no recipient: its result is handed over open")]
    Sealed,
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
            Self::Manifest(_) | Self::Unbound(_) | Self::Open | Self::Sealed | Self::UnknownFailure(_) => "bad-result",
            Self::Blob(BlobError::TooLarge { .. }) => "bad-result",
            Self::Blob(_) | Self::Store(_) => "store-failed",
        }
    }
}

/// A report of which everything is true that can be checked without running the job.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) index: u32,
    pub(crate) list: SingleList,
    pub(crate) signature: Vec<u8>,
    pub(crate) handed: Handed,
}

/// What a worker has handed in, and all of what belongs to it that it has to have put.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) kept: Kept,
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
    deal: &Deal,
    worker: WorkerAddr,
    report: &Report,
) -> Result<Checked, ReportError> {
    let list = SingleList::decode(&deal.terms, &report.entries)?;
    let listed = list.entries().iter().find(|(index, _)| *index == report.index).map(|(_, digest)| *digest);
    let digest = listed
        .filter(|digest| digest.get() == report.digest)
        .ok_or(ReportError::NotListed { index: report.index, digest: report.digest })?;
    if recover(domain.digest(&list.statement(deal.id)), &report.signature) != Some(worker.get()) {
        return Err(ReportError::Signature(worker));
    }
    let Report { manifest, stdout, stderr, sealed, wall_ms, failure, .. } = report;
    let (manifest, failure) = (*manifest, failure.clone());
    let kept = Kept {
        worker,
        digest,
        stdout: *stdout,
        stderr: *stderr,
        sealed: *sealed,
        wall_ms: *wall_ms,
        failure,
        partial: None,
    };
    let own = Own { shelf, worker, task: deal.id.task(report.index) };
    let handed = own.take(deal, manifest, kept).await?;
    Ok(Checked { index: report.index, list, signature: report.signature.to_vec(), handed })
}

/// Checks the result of a revealed task.
pub(crate) async fn check_delivery(
    shelf: Shelf<'_>,
    deal: &Deal,
    worker: WorkerAddr,
    deliver: &Deliver,
) -> Result<Handed, ReportError> {
    let digest = ResultDigest::new(deliver.digest).ok_or(ReportError::UnknownFailure(deliver.digest))?;
    let Deliver { manifest, stdout, stderr, sealed, wall_ms, failure, .. } = deliver;
    let (manifest, failure) = (*manifest, failure.clone());
    let kept = Kept {
        worker,
        digest,
        stdout: *stdout,
        stderr: *stderr,
        sealed: *sealed,
        wall_ms: *wall_ms,
        failure,
        partial: None,
    };
    Own { shelf, worker, task: deal.id.task(deliver.index) }.take(deal, manifest, kept).await
}

/// Whether a deal's job names who alone can open its results.
pub(crate) async fn is_sealed(conn: &mut SqliteConnection, job: JobHash) -> Result<bool, StoreError> {
    let document = store::job::document(conn, job).await?;
    Ok(document.and_then(|document| Job::from_bytes(&document).ok()).is_some_and(|job| job.recipient.is_some()))
}

/// What a worker has put itself, or has made a part of its task before. Nothing else is looked at: who knows the name of
/// somebody else's manifest must not come to know, or to be asked for, what stands in it.
struct Own<'a> {
    shelf: Shelf<'a>,
    worker: WorkerAddr,
    task: TaskId,
}

impl Own<'_> {
    /// Takes what is handed in, open or sealed, as the job asks.
    async fn take(&self, deal: &Deal, manifest: Option<B256>, mut kept: Kept) -> Result<Handed, ReportError> {
        let digest = kept.digest;
        if digest.is_failure() {
            digest.failure().ok_or(ReportError::UnknownFailure(digest.get()))?;
        }
        kept.failure = kept.failure.as_deref().filter(|_| digest.is_failure()).map(shortened);
        let is_sealed = is_sealed(&mut *self.shelf.db.read().await?, deal.job_hash).await?;
        if is_sealed {
            return self.take_sealed(manifest, kept).await;
        }
        if kept.sealed.is_some() {
            return Err(ReportError::Sealed);
        }
        self.bind(&deal.terms, digest, manifest).await?;
        let mut parts = self.parts(digest, kept.stdout.into_iter().chain(kept.stderr)).await?;
        kept.partial = self.partial(digest, manifest, &mut parts).await?;
        Ok(Handed { kept, parts })
    }

    /// What is sealed can't be looked into: that its worker has put it, and has left nothing beside it, is all there is to
    /// check. Of a failure it is told where it was put; a job that never ran has none, but a reason in words.
    async fn take_sealed(&self, manifest: Option<B256>, mut kept: Kept) -> Result<Handed, ReportError> {
        let is_open = manifest.is_some() || kept.stdout.is_some() || kept.stderr.is_some();
        let is_told = kept.sealed.is_some() && kept.failure.is_some();
        if is_open || is_told || (kept.sealed.is_none() && !kept.digest.is_failure()) {
            return Err(ReportError::Open);
        }
        if kept.digest.is_failure()
            && let Some(sealed) = kept.sealed
            && !self.has(&mut *self.shelf.db.read().await?, sealed).await?
        {
            kept.sealed = None;
        }
        Ok(Handed { parts: kept.sealed.into_iter().collect(), kept })
    }

    /// Whether the worker has put exactly this, or has made it a part of its task before.
    async fn has(&self, conn: &mut SqliteConnection, part: Content) -> Result<bool, ReportError> {
        Ok(store::holding::has(conn, self.worker.get(), part).await?
            || store::data::is_part(conn, self.task.get(), part.sha256).await?)
    }

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
        if !digest.is_failure() {
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
            if !self.has(&mut tx, *part).await? {
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
