//! What this worker and its jobs on the nodes say to each other, through files of a folder that both see.
//!
//! `order.json` says what is to be done, `script` is what Slurm starts, `report.json` says what came of it, `stop` that it
//! is to end. Files are whole when they have their names. Each order has a `run`, drawn at random: a job does nothing that
//! is not the present order's, and a *claim* makes sure that of all jobs with one order only one does it, whatever Slurm
//! or a crash in mid-submission has multiplied. A claim lies outside of the task's folder, names the node, is locked as
//! long as the job that took it lives, and is removed when nothing of the run is left on that node.

use super::cluster::Needs;
use crate::{
    config::DockerShare,
    runtime::{Ended, RuntimeError, TaskFolder, folder_error},
};
use alloy::primitives::Address;
use berth_wire::job::{Image, Limits};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Somebody else who submits the same order has done so within this.
const SUBMIT_TAKES: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a job on a node is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// Which attempt this is.
    pub(super) run: String,
    /// When it was given, in milliseconds since 1970.
    pub(super) given_ms: u64,
    pub(super) worker: Address,
    /// The folder that all nodes share.
    pub(super) tasks: PathBuf,
    /// A folder of the node's own.
    pub(super) scratch: PathBuf,
    /// The node's engine.
    pub(super) docker: DockerShare,
    pub(super) what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum What {
    /// Run a task.
    Run(Box<Work>),
    /// See whether the engine confines jobs, and what images it has.
    Probe,
    /// See what images it has.
    Images,
    /// Clear what dead jobs of this worker have left on this node.
    Clear,
}

/// A [`crate::runtime::Request`], but for its folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Work {
    pub(super) task: alloy::primitives::B256,
    pub(super) image: Image,
    pub(super) args: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) stdin: Option<String>,
    pub(super) limits: Limits,
    pub(super) wall_ms: u64,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Said {
    Ended { ended: Ended, wall_ms: u64, stdout_bytes: u64, stderr_bytes: u64 },
    NoImage(String),
    Lost(String),
    Unconfined(String),
    Images(Vec<Image>),
    Cleared,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    run: String,
    said: Said,
}

/// The folder of an order.
#[derive(Debug, Clone)]
pub(super) struct Errand(PathBuf);

impl Errand {
    pub(super) fn of(folder: &TaskFolder) -> Self {
        Self::at(&folder.path().join("slurm"))
    }

    pub(super) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn script(&self) -> PathBuf {
        self.0.join("script")
    }

    /// Gives an order, and writes the script that takes it. No word of the script is anybody's but the owner's.
    pub(super) fn give(&self, order: &Order, program: &Path) -> Result<(), RuntimeError> {
        // A job's environment is nobody's affair on a file system that many see.
        let made =
            fs::create_dir_all(&self.0).and_then(|()| fs::set_permissions(&self.0, Permissions::from_mode(0o700)));
        made.map_err(folder_error("making", &self.0))?;
        let (program, folder) = (quoted(program), quoted(&self.0));
        let script = format!(
            "#!/bin/sh\nexec {program} worker step --folder {folder} --run {} --node \"$SLURMD_NODENAME\"\n",
            order.run
        );
        let path = self.script();
        fs::write(&path, script).map_err(folder_error("writing", &path))?;
        // The last: an order that is there is whole.
        write(&self.0.join("order.json"), order)
    }

    pub(super) fn order(&self) -> Option<Order> {
        read(&self.0.join("order.json"))
    }

    pub(super) fn report(&self, run: &str, said: Said) -> Result<(), RuntimeError> {
        write(&self.0.join("report.json"), &Report { run: run.to_owned(), said })
    }

    pub(super) fn said(&self, run: &str) -> Option<Said> {
        read::<Report>(&self.0.join("report.json")).filter(|report| report.run == run).map(|report| report.said)
    }

    /// Tells a job to end, whether Slurm's controller is there or not.
    pub(super) fn stop(&self) {
        // Without a folder there is nobody to be told.
        let _told = fs::write(self.0.join("stop"), []);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.join("stop").exists()
    }

    /// The last line of what the job itself said, for the owner.
    pub(super) fn last_words(&self) -> String {
        let said = fs::read(self.log()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().chars().take(300).collect()
    }

    /// Waits until nobody else submits this order, an earlier life's command included.
    pub(super) async fn lock(&self) -> Result<(Flock<fs::File>, fs::File), RuntimeError> {
        let path = self.0.join("lock");
        let failed = folder_error("locking", &path);
        let mut file = fs::File::create(&path).map_err(&failed)?;
        // The same lock by another descriptor, for the command to hold.
        let for_command = file.try_clone().map_err(&failed)?;
        let begun = Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok((held, for_command)),
                Err((back, _)) if begun.elapsed() < SUBMIT_TAKES => file = back,
                Err((_, error)) => return Err(failed(error.into())),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(super) fn remove(&self) -> Result<(), RuntimeError> {
        gone(fs::remove_dir_all(&self.0)).map_err(folder_error("removing", &self.0))
    }
}

/// Needs of an order that runs nothing of a requester's.
pub(super) const fn small(node: Option<&str>) -> Needs<'_> {
    Needs { cpus: 1, memory_mib: 96, time: Duration::from_secs(60), node }
}

/// Who holds something on which node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Holder {
    pub(super) node: String,
    pub(super) begun_ms: u64,
}

/// All claims of a worker.
#[derive(Debug)]
pub(super) struct Claims(PathBuf);

/// A claim that this process holds.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    _held: Flock<fs::File>,
}

impl Claims {
    pub(super) fn of(tasks: &Path) -> Self {
        Self(tasks.join(super::COMMON).join("claims"))
    }

    fn path(&self, task: &str, run: &str) -> PathBuf {
        self.0.join(format!("{task}.{run}"))
    }

    /// Takes an order for this process; `None` if another has taken it.
    pub(super) fn take(&self, task: &str, run: &str, holder: &Holder) -> Result<Option<Claim>, RuntimeError> {
        fs::create_dir_all(&self.0).map_err(folder_error("making", &self.0))?;
        let path = self.path(task, run);
        let mut file = match fs::File::create_new(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(folder_error("making", &path)(error)),
        };
        let text = serde_json::to_vec(holder).expect("texts and numbers are JSON");
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(folder_error("writing", &path))?;
        let held = Flock::lock(file, FlockArg::LockExclusive);
        held.map(|held| Some(Claim { path: path.clone(), _held: held }))
            .map_err(|(_, error)| folder_error("locking", &path)(error.into()))
    }

    /// Who has taken an order.
    pub(super) fn holder(&self, task: &str, run: &str) -> Option<Holder> {
        read(&self.path(task, run))
    }

    /// All of them: task, run, and who holds it (nobody, if that could not be written down).
    pub(super) fn all(&self) -> Vec<(String, String, Option<Holder>)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let claim = |name: String| {
            let (task, run) = name.split_once('.')?;
            Some((task.to_owned(), run.to_owned(), self.holder(task, run)))
        };
        names.filter_map(claim).collect()
    }

    /// A claim whose holder, a process of this node, is dead; taken over.
    pub(super) fn abandoned(&self, task: &str, run: &str) -> Option<Claim> {
        let path = self.path(task, run);
        let file = fs::File::options().read(true).write(true).open(&path).ok()?;
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
        Some(Claim { path, _held: held })
    }
}

impl Claim {
    /// Nothing is left of it.
    pub(super) fn release(self) -> Result<(), RuntimeError> {
        gone(fs::remove_file(&self.path)).map_err(folder_error("removing", &self.path))
    }
}

pub(super) fn write(path: &Path, document: &impl Serialize) -> Result<(), RuntimeError> {
    let text = serde_json::to_vec(document).expect("texts, numbers and lists are JSON");
    let partial = path.with_extension("partial");
    let done = || {
        let mut file = fs::File::create(&partial)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    done().map_err(folder_error("writing", path))
}

pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// What is not there need not be removed.
pub(super) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One word of a shell's, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_taken_once_and_a_dead_ones_claim_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let claims = Claims::of(folder.path());
        let holder = Holder { node: "n1".into(), begun_ms: 7 };
        let claim = claims.take("0x1", "a", &holder).expect("writes").expect("nobody else's");
        assert!(claims.take("0x1", "a", &holder).expect("looks").is_none());
        assert!(claims.abandoned("0x1", "a").is_none(), "its holder lives");
        assert_eq!(claims.holder("0x1", "a").expect("there").node, "n1");
        drop(claim);
        assert!(claims.take("0x1", "a", &holder).expect("looks").is_none(), "dead, it is still taken");
        claims.abandoned("0x1", "a").expect("nobody's").release().expect("removes");
        assert!(claims.all().is_empty());
    }

    #[test]
    fn a_report_is_for_its_own_order_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let errand = Errand::at(folder.path());
        assert_eq!(errand.said("a"), None);
        errand.report("a", Said::Cleared).expect("writes");
        assert_eq!((errand.said("a"), errand.said("b")), (Some(Said::Cleared), None));
    }

    #[test]
    fn a_path_is_one_word_of_the_script() {
        assert_eq!(quoted(Path::new("/a b/it's $(x)")), r"'/a b/it'\''s $(x)'");
    }
}
