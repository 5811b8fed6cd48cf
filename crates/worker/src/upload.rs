//! Puts what a result names into the pool's store.

use crate::{journal::Computed, runtime::TaskFolder, seal::Form};
use berth_wire::{
    client::{ClientError, SchedulerClient},
    manifest::{Content, Manifest},
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use std::path::Path;

/// Blobs of one result that go up at the same time.
const UPLOADS_AT_ONCE: usize = 4;

/// Puts all of a result, in the form in which it may leave.
pub(crate) async fn upload_all(
    client: &SchedulerClient,
    computed: &Computed,
    form: Form,
    folder: &TaskFolder,
) -> Result<(), ClientError> {
    let sealed = match form {
        Form::Open => return upload_open(client, computed, &folder.result()).await,
        Form::Nothing => return Ok(()),
        Form::Sealed(content) => client.put_file(&folder.sealed(), content.sha256).await,
    };
    if computed.digest.is_failure() { spared(sealed) } else { sealed }
}

/// A failure is one without what the job left, too: a store that does not want that keeps nobody from being paid.
fn spared(uploaded: Result<(), ClientError>) -> Result<(), ClientError> {
    match uploaded {
        Err(ClientError::Refused(problem)) if (400..500).contains(&problem.status) && problem.status != 401 => Ok(()),
        uploaded => uploaded,
    }
}

async fn upload_open(client: &SchedulerClient, computed: &Computed, from: &Path) -> Result<(), ClientError> {
    let logs: Vec<Content> = computed.stdout.into_iter().chain(computed.stderr).collect();
    if !computed.digest.is_failure() {
        return upload_files(client, logs, computed.manifest.as_deref(), from).await;
    }
    upload_files(client, logs, None, from).await?;
    spared(upload_files(client, Vec::new(), computed.manifest.as_deref(), from).await)
}

async fn upload_files(
    client: &SchedulerClient,
    mut blobs: Vec<Content>,
    manifest: Option<&[u8]>,
    from: &Path,
) -> Result<(), ClientError> {
    if let Some(bytes) = manifest {
        let manifest = Manifest::from_bytes(bytes).expect("the journal keeps what this program made");
        blobs.extend(manifest.blobs());
    }
    blobs.sort_unstable_by_key(|content| content.sha256);
    blobs.dedup();
    let uploads: Vec<_> = blobs.into_iter().map(|content| upload_one(client, content, from).boxed()).collect();
    let files = stream::iter(uploads).buffer_unordered(UPLOADS_AT_ONCE).try_collect::<()>();
    let document = async {
        match manifest {
            Some(bytes) => client.put_bytes(bytes.to_vec()).await.map(drop),
            None => Ok(()),
        }
    };
    tokio::try_join!(files, document).map(drop)
}

async fn upload_one(client: &SchedulerClient, content: Content, from: &Path) -> Result<(), ClientError> {
    client.put_file(&from.join(content.sha256.to_string()), content.sha256).await
}
