//! Images that this worker has fetched, so that they don't fill the engine: when there is too much of them, what was used
//! longest ago goes first. Only what is written down here is ever removed, it is written down before it is fetched, and an
//! image that a container needs, or that was used just now, stays.

use super::{Docker, status};
use crate::{
    clock::now_ms,
    config::{ByteSize, FetchedSize},
    observe,
    runtime::RuntimeError,
};
use bollard::query_parameters::RemoveImageOptionsBuilder;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// An image is held for so long after its last use was noted: its container is made within that.
const HELD_MS: u64 = 10 * 60 * 1_000;

/// What was fetched, by repository and digest, and when each was used last, in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Fetched {
    file: PathBuf,
    used: Mutex<BTreeMap<String, u64>>,
}

impl Fetched {
    /// As an earlier life has left it; a file that can't be read is taken for none, and nothing of it is removed.
    pub(super) fn open(file: PathBuf) -> Self {
        let used = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, used: Mutex::new(used) }
    }

    /// Notes that an image is about to be fetched.
    pub(super) fn begin(&self, reference: &str) -> io::Result<()> {
        self.change(|used| {
            used.insert(reference.to_owned(), now_ms());
        })
    }

    /// Notes that an image is used, if it was fetched.
    pub(super) fn touch(&self, reference: &str) -> io::Result<()> {
        if !self.used.lock().expect("nothing panics under this lock").contains_key(reference) {
            return Ok(());
        }
        self.begin(reference)
    }

    fn forget(&self, reference: &str) -> io::Result<()> {
        self.change(|used| {
            used.remove(reference);
        })
    }

    /// All of them, what was used longest ago first.
    fn oldest_first(&self) -> Vec<(String, u64)> {
        let used = self.used.lock().expect("nothing panics under this lock");
        let mut all: Vec<_> = used.iter().map(|(reference, at)| (reference.clone(), *at)).collect();
        all.sort_by_key(|(_, at)| *at);
        all
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, u64>)) -> io::Result<()> {
        let mut used = self.used.lock().expect("nothing panics under this lock");
        change(&mut used);
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new(".")))?;
        let part = self.file.with_extension("part");
        fs::write(&part, serde_json::to_vec(&*used)?)?;
        fs::rename(&part, &self.file)
    }
}

impl Docker {
    /// Removes what was used longest ago, until what was fetched takes no more than the owner gives.
    pub(super) async fn tidy_fetched(&self) -> Result<(), RuntimeError> {
        let FetchedSize(ByteSize(most)) = self.share.fetched_size;
        let mut there = Vec::new();
        for (reference, used_ms) in self.fetched.oldest_first() {
            match self.api.inspect_image(&reference).await {
                Ok(found) => {
                    there.push((reference, used_ms, found.size.and_then(|s| u64::try_from(s).ok()).unwrap_or(0)))
                }
                // Gone, or no name at all.
                Err(error) if matches!(status(&error), Some(400 | 404)) => note(self.fetched.forget(&reference)),
                Err(error) => return Err(self.failed("inspect an image")(error)),
            }
        }
        let mut all: u64 = there.iter().map(|(_, _, size)| size).sum();
        for (reference, used_ms, size) in there {
            if all <= most || used_ms.saturating_add(HELD_MS) > now_ms() {
                break;
            }
            let options = RemoveImageOptionsBuilder::default().force(false).build();
            match self.api.remove_image(&reference, Some(options), None).await {
                Ok(_) => {}
                // A container needs it.
                Err(error) if status(&error) == Some(409) => continue,
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => return Err(self.failed("remove an image")(error)),
            }
            all -= size;
            self.known.clear();
            note(self.fetched.forget(&reference));
            observe::image_removed(&reference, size);
        }
        Ok(())
    }
}

/// That an image was used, or is gone, is found out again where it could not be written down.
pub(super) fn note(written: io::Result<()>) {
    if let Err(error) = written {
        observe::status_unwritten(&error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_outlives_a_crash_and_is_known_by_its_last_use() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("cache/images.json");
        let fetched = Fetched::open(file.clone());
        for name in ["a@sha256:1", "b@sha256:2"] {
            fetched.begin(name).expect("writable");
        }
        fetched.change(|used| used.values_mut().for_each(|at| *at -= 1_000)).expect("writable");
        fetched.touch("a@sha256:1").expect("writable");
        fetched.touch("somebody's own").expect("nothing to write");
        let next = Fetched::open(file);
        let order: Vec<_> = next.oldest_first().into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["b@sha256:2", "a@sha256:1"]);
        next.forget("b@sha256:2").expect("writable");
        assert_eq!(next.oldest_first().len(), 1);
    }
}
