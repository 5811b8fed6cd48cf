//! A Slurm cluster of a test's own, for what others would not live with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What scripts/slurm-cluster.sh starts. It ends with this.
pub(crate) struct Cluster(tempfile::TempDir);

impl Cluster {
    /// Starts one with further lines in its `slurm.conf`.
    pub(crate) fn start(lines: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("berth-slurm-").tempdir_in("/tmp").expect("a folder");
        let cluster = Self(folder);
        cluster.script(&[&["up"], lines].concat());
        cluster
    }

    /// Where its settings are.
    pub(crate) fn conf(&self) -> PathBuf {
        self.0.path().join("slurm.conf")
    }

    /// Has the script do something with this cluster: a verb, and what comes behind its folder.
    pub(crate) fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|at| at.join("scripts/slurm-cluster.sh"));
        let script = script.into_iter().find(|at| at.is_file()).expect("a folder of the workspace");
        let folder = self.0.path().display().to_string();
        let (verb, rest) = arguments.split_first().expect("a verb");
        // To a file: its daemons keep what they are given.
        let said = fs::File::create(self.0.path().join("said")).expect("writable");
        let status = Command::new(script)
            .arg(verb)
            .arg(folder)
            .args(rest)
            .stdout(said.try_clone().expect("a file"))
            .stderr(said)
            .status()
            .expect("the script runs");
        assert!(status.success(), "{arguments:?}: {}", fs::read_to_string(self.0.path().join("said")).expect("text"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script(&["down"]);
    }
}
