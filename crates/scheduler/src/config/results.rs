//! `[results]`: where inputs and results are kept, and how much of what nothing names.

use super::ConfigError;
use core::time::Duration;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where inputs and results are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Results {
    /// In the folder that `store` names, or with an S3 server.
    pub store: Kind,
    /// The S3 server.
    pub s3: Option<S3>,
    /// The most bytes that one account may have in the store, or have announced, that no job, list or result names.
    pub unused_bytes: u64,
    /// How long such bytes are kept, and uploads with which nobody goes on.
    #[serde(with = "humantime_serde")]
    pub unused_age: Duration,
}

/// Which kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A folder of this machine.
    #[default]
    Folder,
    /// A bucket of an S3 server.
    S3,
}

/// An S3 server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// Its URL.
    pub endpoint: String,
    /// The bucket, which has to be there.
    pub bucket: String,
    /// The region, where the server has some.
    #[serde(default)]
    pub region: Option<String>,
    /// What everything in the bucket is beneath, before the pool's id.
    #[serde(default)]
    pub prefix: String,
    /// A file with `access_key_id` and `secret_access_key`; without, the environment has them.
    #[serde(default)]
    pub credentials: Option<PathBuf>,
    /// The key that was found there.
    #[serde(skip)]
    pub key: Option<S3Key>,
}

/// What opens a bucket. Says nothing of itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Key {
    access_key_id: String,
    secret_access_key: String,
}

impl core::fmt::Debug for S3Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("S3Key")
    }
}

impl S3Key {
    /// A key of this name and secret.
    pub const fn new(access_key_id: String, secret_access_key: String) -> Self {
        Self { access_key_id, secret_access_key }
    }

    pub(crate) fn id(&self) -> &str {
        &self.access_key_id
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret_access_key
    }
}

impl Default for Results {
    fn default() -> Self {
        Self { store: Kind::Folder, s3: None, unused_bytes: 16 << 30, unused_age: Duration::from_secs(24 * 60 * 60) }
    }
}

impl Results {
    /// The S3 server, if that is where they are kept.
    pub(crate) const fn s3(&self) -> Option<&S3> {
        match self.store {
            Kind::Folder => None,
            Kind::S3 => self.s3.as_ref(),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.to_owned() });
        if self.unused_age < Duration::from_secs(60) {
            return wrong("results.unused_age", "has to be at least 60s: whoever uploads needs time to match a deal");
        }
        if self.unused_bytes == 0 {
            return wrong("results.unused_bytes", "has to be above 0");
        }
        let Some(s3) = self.s3() else {
            return match self.store {
                Kind::Folder => Ok(()),
                Kind::S3 => wrong("results.s3", "is missing: `store = \"s3\"` needs `endpoint` and `bucket` there"),
            };
        };
        if !s3.endpoint.starts_with("http://") && !s3.endpoint.starts_with("https://") {
            return wrong("results.s3.endpoint", "has to be an http:// or https:// URL");
        }
        if s3.bucket.is_empty() || s3.bucket.contains('/') {
            return wrong("results.s3.bucket", "has to be a bucket's name");
        }
        match s3.key {
            Some(_) => Ok(()),
            None => Err(ConfigError::Key { problem: "neither a file nor the environment has one".to_owned() }),
        }
    }
}

impl S3 {
    /// Finds the key.
    pub(super) fn unlock(&mut self, folder: &Path) -> Result<(), ConfigError> {
        let Some(file) = &self.credentials else {
            self.key = from_environment();
            return Ok(());
        };
        let path = folder.join(file);
        let failed = |problem: String| ConfigError::Key { problem: format!("{} {problem}", path.display()) };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(format!("can't be read: {error}")))?;
        // What the parser says would show the line.
        let key =
            toml::from_str(&text).map_err(|_| failed("has other keys than these two, or is no TOML".to_owned()))?;
        self.key = Some(key);
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the scheduler takes a secret from the environment")]
fn from_environment() -> Option<S3Key> {
    let secret = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(S3Key::new(secret("AWS_ACCESS_KEY_ID")?, secret("AWS_SECRET_ACCESS_KEY")?))
}
