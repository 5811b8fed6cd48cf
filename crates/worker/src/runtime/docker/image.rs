//! Which images an engine has, and which of them a job means: by digest, never by name.

use super::{ApiError, Docker, fetched::note, status};
use crate::{runtime::RuntimeError, status::Absent};
use berth_wire::{job::Image, units::OciDigest};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder};
use futures_util::TryStreamExt as _;
use std::{collections::HashMap, sync::Mutex};

/// What was found out about images. An image never changes under its digest, so this is good until it is removed.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, Found>>);

/// An image that is there.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What the engine knows it by.
    pub(super) id: String,
    /// Folders that it declares as volumes.
    pub(super) volumes: Vec<String>,
}

/// Past this number the oldest knowledge is thrown away whole: finding out again is one call.
const KNOWN: usize = 256;

impl Known {
    fn get(&self, key: &str) -> Option<Found> {
        self.0.lock().expect("nothing panics under this lock").get(key).cloned()
    }

    fn put(&self, key: String, found: Found) {
        let mut known = self.0.lock().expect("nothing panics under this lock");
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(key, found);
    }

    pub(super) fn clear(&self) {
        self.0.lock().expect("nothing panics under this lock").clear();
    }

    fn forget(&self, id: &str) {
        self.0.lock().expect("nothing panics under this lock").retain(|_, found| found.id != id);
    }
}

impl Docker {
    /// All images of the engine.
    pub(super) async fn list(&self) -> Result<Vec<Image>, RuntimeError> {
        let options = ListImagesOptionsBuilder::default().digests(true).build();
        let listed = self.api.list_images(Some(options)).await.map_err(self.failed("list its images"))?;
        let image = |summary: bollard::models::ImageSummary| {
            let named = summary.repo_tags.iter().find(|tag| !tag.contains("<none>"));
            let reference = named.cloned().unwrap_or_else(|| summary.id.clone());
            let manifest = summary.repo_digests.iter().find_map(|digest| digest.split_once('@')?.1.parse().ok());
            Image { reference, config: summary.id.parse().ok(), manifest }
        };
        Ok(listed.into_iter().map(image).collect())
    }

    /// Those of the declared images that are there, as the owner wrote them.
    pub(super) fn declared(&self, declared: &[Image], there: &[Image]) -> Vec<Image> {
        let there = berth_wire::worker::Shares { images: there.to_vec(), ..Default::default() };
        let (found, absent): (Vec<_>, Vec<_>) = declared.iter().cloned().partition(|image| there.has(image));
        let hint = "load it into the engine, or take it off `images` in worker.toml";
        let missing = |image: Image| Absent::new("image", &image.reference, "it is not in the engine", hint);
        *self.absent.lock().expect("nothing panics under this lock") = absent.into_iter().map(missing).collect();
        found
    }

    /// Finds an image that is there, or fetches it if the owner allows.
    pub(super) async fn image(&self, wanted: &Image) -> Result<Found, RuntimeError> {
        if let Some(found) = self.find(wanted).await? {
            if let Some(from) = fetchable(wanted) {
                note(self.fetched.touch(&from));
            }
            return Ok(found);
        }
        if self.share.fetch_images && self.fetch(wanted).await? {
            self.tidy_fetched().await?;
            return self.find(wanted).await?.ok_or_else(|| RuntimeError::NoImage(wanted.reference.clone()));
        }
        Err(RuntimeError::NoImage(wanted.reference.clone()))
    }

    /// The engine said that an image is gone.
    pub(super) fn forget_image(&self, id: &str) {
        self.known.forget(id);
    }

    async fn find(&self, wanted: &Image) -> Result<Option<Found>, RuntimeError> {
        // What an engine calls the id depends on its image store: the digest of the configuration or of the manifest.
        for digest in [wanted.config, wanted.manifest].into_iter().flatten() {
            if let Some(found) = self.inspect(&digest.to_string()).await? {
                return Ok(Some(found));
            }
        }
        let Some(manifest) = wanted.manifest else { return Ok(None) };
        let there = self.list().await?;
        let same = there.into_iter().find(|image| image.manifest == Some(manifest)).and_then(|image| image.config);
        match same {
            Some(id) => self.inspect(&id.to_string()).await,
            None => Ok(None),
        }
    }

    async fn inspect(&self, id: &str) -> Result<Option<Found>, RuntimeError> {
        if let Some(found) = self.known.get(id) {
            return Ok(Some(found));
        }
        let inspected = match self.api.inspect_image(id).await {
            Ok(inspected) => inspected,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(self.failed("inspect an image")(error)),
        };
        let volumes = inspected.config.and_then(|config| config.volumes).unwrap_or_default();
        let found = Found { id: inspected.id.unwrap_or_else(|| id.to_owned()), volumes };
        self.known.put(id.to_owned(), found.clone());
        Ok(Some(found))
    }

    /// Fetches by the manifest's digest, which is all that a registry can be asked for safely. `false`: there is none,
    /// or no registry has it.
    async fn fetch(&self, wanted: &Image) -> Result<bool, RuntimeError> {
        let Some(from) = fetchable(wanted) else { return Ok(false) };
        note(self.fetched.begin(&from));
        let options = CreateImageOptionsBuilder::default().from_image(&from).build();
        let pulled: Result<Vec<_>, ApiError> = self.api.create_image(Some(options), None, None).try_collect().await;
        match pulled {
            Ok(_) => Ok(true),
            Err(
                ApiError::DockerResponseServerError { status_code: 400..=499, .. } | ApiError::DockerStreamError { .. },
            ) => Ok(false),
            Err(error) => Err(self.failed("fetch an image")(error)),
        }
    }
}

/// What a registry is asked for: repository and digest.
fn fetchable(wanted: &Image) -> Option<String> {
    Some(format!("{}@{}", repository(&wanted.reference), wanted.manifest?))
}

/// A reference without tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// The id by which a locally imported image is meant.
pub(super) fn local(reference: &str, id: &str) -> Option<Image> {
    let config: OciDigest = id.parse().ok()?;
    Some(Image { reference: reference.to_owned(), config: Some(config), manifest: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_the_reference_without_its_tag() {
        for (reference, name) in
            [("a/b:1", "a/b"), ("host:5000/a", "host:5000/a"), ("host:5000/a:1", "host:5000/a"), ("a@sha256:00", "a")]
        {
            assert_eq!(repository(reference), name);
        }
    }
}
