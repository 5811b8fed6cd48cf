//! Named points at which a test may have a process killed with SIGKILL: no destructor runs, nothing is flushed, as when
//! the power goes. A process that nobody armed passes them at the cost of one comparison.
//!
//! The points of a task's life are named after its phases (`assigned:before`, `assigned:after`, …: before and after the
//! transaction that enters the phase), so that a test can demand one for each phase that the code knows.

use nix::{
    sys::signal::{Signal, kill},
    unistd::getpid,
};
use std::{fs::OpenOptions, path::PathBuf, sync::Arc};

/// The point at which this process dies, if any.
#[derive(Debug, Clone, Default)]
pub struct Faults(Option<Arc<Armed>>);

#[derive(Debug)]
struct Armed {
    point: String,
    marker: PathBuf,
}

impl Faults {
    /// Dies when `point` is first reached. `marker` is created just before; while it is there, the point is passed, so
    /// that the restarted process with the same arguments lives.
    pub fn kill_at(point: String, marker: PathBuf) -> Self {
        Self(Some(Arc::new(Armed { point, marker })))
    }

    /// Says that `point` is reached. Does not return if it is the one to die at.
    pub fn reach(&self, point: &str) {
        let Some(armed) = self.0.as_deref().filter(|armed| armed.point == point) else { return };
        if OpenOptions::new().write(true).create_new(true).open(&armed.marker).is_ok() {
            // A process can always signal itself; were it otherwise, the test would see that it lives.
            let _ = kill(getpid(), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_points_and_used_markers_are_passed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let marker = folder.path().join("died");
        let faults = Faults::kill_at("settling:after".into(), marker.clone());
        faults.reach("settling:before");
        Faults::default().reach("settling:after");
        assert!(!marker.exists());
        std::fs::write(&marker, "").expect("writable");
        faults.reach("settling:after");
    }
}
