//! The machines that an owner shares with one hypervisor, and which of them are there and whole.

use super::file::{ImageError, Seen, same};
use crate::{config::MachineFile, runtime::RuntimeError, status::Absent};
use berth_wire::{job::Image, units::OciDigest};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

/// Reads and hashes a file, and what it names: what it is, and how all of it looked.
pub(crate) type Reading<T> = fn(&Path, OciDigest) -> Result<(T, Vec<Seen>), ImageError>;

/// Machines' files, each of which is a `T` for its hypervisor.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    declared: Vec<MachineFile>,
    read: Reading<T>,
    /// What was hashed, and was what it should be.
    known: Mutex<Vec<Known<T>>>,
    /// What was declared and was not there when it was last looked.
    absent: Mutex<Vec<Absent>>,
}

#[derive(Debug)]
struct Known<T> {
    digest: OciDigest,
    seen: Vec<Seen>,
    what: Arc<T>,
}

impl<T: Send + Sync + 'static> Shared<T> {
    pub(crate) fn new(declared: Vec<MachineFile>, read: Reading<T>) -> Self {
        Self { declared, read, known: Mutex::default(), absent: Mutex::default() }
    }

    /// What an owner shares, whether it is there or not.
    pub(crate) fn declared(&self) -> &[MachineFile] {
        &self.declared
    }

    /// The machine that an image means, if it is shared or was fetched, there and whole. What was hashed before and looks
    /// the same is not hashed again.
    pub(crate) async fn find(&self, wanted: &Image, fetched: Option<&MachineFile>) -> Result<Arc<T>, RuntimeError> {
        let digests = [wanted.config, wanted.manifest];
        let mut all = self.declared.iter().chain(fetched);
        let Some(found) = all.find(|declared| digests.contains(&Some(declared.digest))).cloned() else {
            return Err(RuntimeError::NoImage(wanted.reference.clone()));
        };
        let (read, digest) = (self.read, found.digest);
        if let Some(what) = self.known(digest) {
            return Ok(what);
        }
        let (what, seen) = blocking(move || read(&found.file, digest)).await?;
        let what = Arc::new(what);
        let mut known = self.known.lock().expect("nothing panics under this lock");
        known.retain(|other| other.digest != digest);
        known.push(Known { digest, seen, what: what.clone() });
        Ok(what)
    }

    fn known(&self, digest: OciDigest) -> Option<Arc<T>> {
        let known = self.known.lock().expect("nothing panics under this lock");
        let known = known.iter().find(|known| known.digest == digest)?;
        known.seen.iter().all(same).then(|| known.what.clone())
    }

    /// Those that are there, now.
    pub(crate) async fn images(&self) -> Vec<Image> {
        let (mut there, mut absent) = (Vec::new(), Vec::new());
        for declared in &self.declared {
            match self.find(&declared.image(), None).await {
                Ok(_) => there.push(declared.image()),
                Err(error) => {
                    let reason = crate::assignment::chain(&error);
                    let hint = "put the right file there; `sha256sum` says what is there now";
                    absent.push(Absent::new("image", &declared.reference, &reason, hint));
                }
            }
        }
        *self.absent.lock().expect("nothing panics under this lock") = absent;
        there
    }

    /// Those that were not there when [`Shared::images`] last looked, and why.
    pub(crate) fn absent(&self) -> Vec<Absent> {
        self.absent.lock().expect("nothing panics under this lock").clone()
    }
}

/// Reads files off the threads that must not wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, RuntimeError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    done.map_err(RuntimeError::from)
}
