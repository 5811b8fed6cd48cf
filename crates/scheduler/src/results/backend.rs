//! Where bytes lie: a folder of this machine, or a bucket of an S3 server. Which of them it is, nobody else knows.

use crate::config::{Config, S3};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, RetryConfig, aws::AmazonS3Builder,
    local::LocalFileSystem, path::Path as Place, prefix::PrefixStore,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::time::timeout;

/// How long a connection to the S3 server may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a call is tried again, and for how long: whoever waits for an answer hears of it within seconds.
const RETRIES: usize = 3;
const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long the store may take to say that it is there.
const THERE_WITHIN: Duration = Duration::from_secs(5);
/// What is written to see that the store takes bytes.
const PROBE: &str = "probe";
/// The region where none is given: S3 servers of one's own have none, and take this one.
const USUAL_REGION: &str = "us-east-1";

/// The store of inputs and results can't be used.
#[derive(Debug, Error)]
pub enum ResultsError {
    /// Its folder can't be used.
    #[error("inputs and results can't be kept in {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: Box<dyn core::error::Error + Send + Sync>,
    },
    /// The settings make no client.
    #[error("the S3 server at {endpoint} can't be asked")]
    Settings {
        /// The server.
        endpoint: String,
        /// What is wrong.
        #[source]
        source: object_store::Error,
    },
    /// The server does not let this scheduler in.
    #[error("the S3 server at {endpoint} refuses this scheduler's key")]
    Refused {
        /// The server.
        endpoint: String,
        /// What it says.
        #[source]
        source: object_store::Error,
    },
    /// There is no such bucket.
    #[error("the S3 server at {endpoint} has no bucket `{bucket}`")]
    NoBucket {
        /// The server.
        endpoint: String,
        /// The bucket.
        bucket: String,
        /// What it says.
        #[source]
        source: object_store::Error,
    },
    /// The store does not answer, or not as it should.
    #[error("the store of inputs and results at {place} is away")]
    Away {
        /// Folder or server.
        place: String,
        /// What is wrong.
        #[source]
        source: Box<dyn core::error::Error + Send + Sync>,
    },
}

impl ResultsError {
    /// Whether it may pass by itself.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Folder { .. } | Self::Settings { .. } | Self::Refused { .. } | Self::NoBucket { .. } => false,
        }
    }

    /// What the operator can do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "check that you may write to `store`, and that the disk is not full",
            Self::Settings { .. } => "check `endpoint`, `bucket` and `region` under `[results.s3]`",
            Self::Refused { .. } => {
                "check the key: the file that `credentials` names under `[results.s3]`, or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY; it needs to read, write, list and delete in the bucket"
            }
            Self::NoBucket { .. } => "make the bucket, or name another under `[results.s3]`",
            Self::Away { .. } => "start the S3 server, or correct `endpoint` under `[results.s3]`; nothing is lost",
        }
    }
}

/// The opened store.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(super) store: Arc<dyn ObjectStore>,
    /// A folder of this machine for uploads that are under way; beneath the store's own, where that is a folder.
    pub(super) staging: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Folder(PathBuf),
    S3 { endpoint: String, bucket: String },
}

/// The folder of uploads under way, within the store's.
pub(super) const STAGING: &str = "staging";

impl Backend {
    /// Opens what the configuration says. Speaks to nobody.
    pub(crate) fn open(config: &Config) -> Result<Self, ResultsError> {
        match config.results.s3() {
            None => Self::folder(&config.store),
            Some(s3) => Self::s3(&config.store, s3, &config.pool.to_string()),
        }
    }

    /// Opens a folder, or makes it, and clears what a crash left half-written.
    pub(crate) fn folder(folder: &Path) -> Result<Self, ResultsError> {
        let failed = |source: Box<dyn core::error::Error + Send + Sync>| ResultsError::Folder {
            folder: folder.to_owned(),
            source,
        };
        let staging = staging(folder)?;
        clear_staged(folder).map_err(|error| failed(error.into()))?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(error.into()))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)), staging, kind: Kind::Folder(folder.to_owned()) })
    }

    /// Opens a bucket: everything is beneath `prefix/pool`, so that schedulers may share it.
    pub(super) fn s3(folder: &Path, s3: &S3, pool: &str) -> Result<Self, ResultsError> {
        let staging = staging(folder)?;
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
        // A blob may take its time, as long as it moves.
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENCE)
            .with_allow_http(s3.endpoint.starts_with("http://"));
        let builder = AmazonS3Builder::new()
            .with_endpoint(&s3.endpoint)
            .with_bucket_name(&s3.bucket)
            .with_region(s3.region.as_deref().unwrap_or(USUAL_REGION))
            .with_retry(retry)
            .with_client_options(client)
            .with_disable_bulk_delete(true);
        let builder = match &s3.key {
            Some(key) => builder.with_access_key_id(key.id()).with_secret_access_key(key.secret()),
            None => builder.with_skip_signature(true),
        };
        let settings = |source| ResultsError::Settings { endpoint: s3.endpoint.clone(), source };
        let bucket = builder.build().map_err(settings)?;
        let prefix = Place::from(format!("{}/{pool}", s3.prefix.trim_matches('/')));
        Ok(Self {
            store: Arc::new(PrefixStore::new(bucket, prefix)),
            staging,
            kind: Kind::S3 { endpoint: s3.endpoint.clone(), bucket: s3.bucket.clone() },
        })
    }

    /// Whether a file of this machine becomes a blob by being renamed.
    pub(super) const fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    /// Sees that the store is there and takes bytes, for the start.
    pub(crate) async fn check(&self) -> Result<(), ResultsError> {
        let there = async {
            let payload = PutPayload::from_static(b"berth");
            match self.store.put_opts(&Place::from(PROBE), payload, PutMode::Create.into()).await {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.told(timeout(THERE_WITHIN + RETRY_FOR, there).await)
    }

    /// Sees that the store is there.
    pub(crate) async fn reach(&self) -> Result<(), ResultsError> {
        let there = async { self.store.head(&Place::from(PROBE)).await.map(drop) };
        self.told(timeout(THERE_WITHIN, there).await)
    }

    fn told<E>(&self, answer: Result<object_store::Result<()>, E>) -> Result<(), ResultsError>
    where
        E: core::error::Error + Send + Sync + 'static,
    {
        let away = |source: Box<dyn core::error::Error + Send + Sync>| match &self.kind {
            Kind::Folder(folder) => ResultsError::Folder { folder: folder.clone(), source },
            Kind::S3 { endpoint, .. } => ResultsError::Away { place: endpoint.clone(), source },
        };
        let source = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(source)) => source,
            Err(late) => return Err(away(late.into())),
        };
        match (&self.kind, source) {
            (
                Kind::S3 { endpoint, .. },
                source @ (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }),
            ) => Err(ResultsError::Refused { endpoint: endpoint.clone(), source }),
            (Kind::S3 { endpoint, bucket }, source @ object_store::Error::NotFound { .. }) => {
                Err(ResultsError::NoBucket { endpoint: endpoint.clone(), bucket: bucket.clone(), source })
            }
            (Kind::S3 { .. } | Kind::Folder(_), source) => Err(away(source.into())),
        }
    }
}

fn staging(folder: &Path) -> Result<PathBuf, ResultsError> {
    let staging = folder.join(STAGING);
    let failed = |error: io::Error| ResultsError::Folder { folder: folder.to_owned(), source: error.into() };
    std::fs::create_dir_all(&staging).map_err(failed)?;
    Ok(staging)
}

/// Removes what writes that a crash broke off have left: the file store stages them as `name#number`.
fn clear_staged(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear_staged(&entry.path())?;
        } else if entry.file_name().to_string_lossy().contains('#') {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
