//! Slurm's own commands, and what they say. Nothing of a requester's is ever on their command lines.

use super::ENGINE;
use crate::{config::SlurmShare, runtime::RuntimeError};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{process::Command, sync::Mutex, time::timeout};

/// A command has its answer within this, or the controller is away: its own patience is shorter.
const ANSWER_TAKES: Duration = Duration::from_secs(60);
/// What commands, and the jobs that they submit, find programs in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of a job: its id, name, state, node, and why it does not run. None but the last may hold a bar.
const FORMAT: &str = "%i|%j|%T|%N|%r";
/// Reasons for which a job waits that will not go by themselves.
const NEVER: [&str; 9] = [
    "PartitionTimeLimit",
    "PartitionNodeLimit",
    "PartitionInactive",
    "BadConstraints",
    "AssocMaxWallDurationPerJobLimit",
    "QOSMaxWallDurationPerJobLimit",
    "InvalidAccount",
    "InvalidQOS",
    "DependencyNeverSatisfied",
];

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has not begun, or is to begin again.
    Waiting,
    /// It has begun.
    Running,
    /// Its end has begun.
    Ending,
    /// It is over.
    Over,
}

/// A job, as Slurm tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) name: String,
    /// In Slurm's word.
    pub(super) word: String,
    pub(super) reason: String,
}

impl Job {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.splitn(5, '|').map(str::to_owned);
        let (id, name, word) = (fields.next()?, fields.next()?, fields.next()?);
        let (_node, reason) = (fields.next()?, fields.next()?);
        Some(Self { id, name, word, reason })
    }

    pub(super) fn state(&self) -> State {
        match self.word.as_str() {
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
                State::Waiting
            }
            "RUNNING" | "CONFIGURING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
                State::Running
            }
            "COMPLETING" => State::Ending,
            _ => State::Over,
        }
    }

    /// Whether it waits for what will not come.
    pub(super) fn is_hopeless(&self) -> bool {
        NEVER.contains(&self.reason.as_str())
    }
}

/// A time as Slurm writes one: `1-02:00:00`, `2:00:00`, `5:00`. Nothing where it means that there is no end.
fn limit(text: &str) -> Option<Duration> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let parts =
        clock.split(':').map(str::parse).collect::<Result<Vec<u64>, _>>().ok().filter(|parts| parts.len() <= 3)?;
    let seconds = parts.iter().fold(0, |seconds, part| seconds * 60 + part);
    Some(Duration::from_secs(days.parse::<u64>().ok()? * 86_400 + seconds))
}

/// What a job asks of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs<'a> {
    pub(super) cpus: u32,
    pub(super) memory_mib: u64,
    pub(super) time: Duration,
    /// Which node it must be.
    pub(super) node: Option<&'a str>,
}

/// The answer to the last question about all jobs, and when it was asked.
type Seen = Option<(Instant, Result<Arc<Vec<Job>>, String>)>;

/// The cluster, through its commands.
#[derive(Debug)]
pub(super) struct Cluster {
    commands: PathBuf,
    conf: Option<PathBuf>,
    partition: Option<String>,
    options: Vec<String>,
    /// All tasks of a worker ask one question.
    seen: Mutex<Seen>,
}

impl Cluster {
    pub(super) fn new(share: &SlurmShare) -> Self {
        let options = [("partition", &share.partition), ("account", &share.account), ("qos", &share.qos)];
        let option = |(name, value): (&str, &Option<String>)| Some(format!("--{name}={}", value.as_ref()?));
        Self {
            commands: share.commands.clone(),
            conf: share.conf.clone(),
            partition: share.partition.clone(),
            options: options.into_iter().filter_map(option).collect(),
            seen: Mutex::default(),
        }
    }

    /// Nothing of this program's environment goes along: it would end up in the cluster's records.
    fn command(&self, name: &'static str) -> Command {
        let mut command = Command::new(self.commands.join(name));
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").kill_on_drop(true);
        if let Some(conf) = &self.conf {
            command.env("SLURM_CONF", conf);
        }
        command
    }

    async fn answer(&self, name: &'static str, command: &mut Command) -> Result<String, RuntimeError> {
        let failed = |said: String| RuntimeError::Program { program: name, said };
        let answered = timeout(ANSWER_TAKES, command.output()).await;
        let Output { status, stdout, stderr } = answered
            .map_err(|_| failed(format!("no answer within {} s", ANSWER_TAKES.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(String::from_utf8_lossy(&stderr).trim().to_owned()));
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// This user's jobs, those that are over not long ago among them, as they were at `since` or later.
    pub(super) async fn jobs(&self, since: Instant) -> Result<Arc<Vec<Job>>, RuntimeError> {
        let mut seen = self.seen.lock().await;
        let known = seen.clone().filter(|(at, _)| *at >= since);
        let jobs = match known {
            Some((_, jobs)) => jobs,
            None => {
                let at = Instant::now();
                let mut command = self.command("squeue");
                command.args(["--noheader", "--me", "--states=all", &format!("--format={FORMAT}")]);
                let answer = self.answer("squeue", command.stdin(Stdio::null())).await;
                let jobs = match answer {
                    Ok(said) => Ok(Arc::new(said.lines().filter_map(Job::read).collect())),
                    // It can't be started at all.
                    Err(RuntimeError::Program { said, .. }) if !self.commands.join("squeue").exists() => {
                        return Err(RuntimeError::Program { program: "squeue", said });
                    }
                    Err(error) => Err(error.to_string()),
                };
                *seen = Some((at, jobs.clone()));
                jobs
            }
        };
        jobs.map_err(|said| self.unreachable(said))
    }

    /// How long the partition lets a job run; nothing where it sets no limit. Of several, a job goes where it may.
    pub(super) async fn longest(&self) -> Result<Option<Duration>, RuntimeError> {
        let mut command = self.command("sinfo");
        command.args(["--noheader", "--format=%P|%l"]);
        command.args(self.partition.as_ref().map(|partition| format!("--partition={partition}")));
        let said = self.answer("sinfo", command.stdin(Stdio::null())).await?;
        // A star stands behind the name of the one that counts where none is named.
        let partitions = said.lines().filter_map(|line| line.split_once('|'));
        let ours = partitions.filter(|(name, _)| self.partition.is_some() || name.ends_with('*'));
        let limits: Option<Vec<Duration>> = ours.map(|(_, longest)| limit(longest.trim())).collect();
        Ok(limits.and_then(|limits| limits.into_iter().max()))
    }

    fn unreachable(&self, said: String) -> RuntimeError {
        let address = self.conf.as_ref().map_or("its slurm.conf".to_owned(), |conf| conf.display().to_string());
        RuntimeError::Unreachable { engine: ENGINE, address, source: said.into() }
    }

    /// Submits a script. While this goes on `lock` is held, also by a command that outlives this program.
    pub(super) async fn submit(
        &self,
        name: &str,
        needs: &Needs<'_>,
        script: &Path,
        log: &Path,
        lock: File,
    ) -> Result<(), RuntimeError> {
        let mut command = self.command("sbatch");
        let seconds = needs.time.as_secs();
        // A per cent sign begins one of Slurm's own fields.
        let log = log.display().to_string().replace('%', "%%");
        // Run again it would be by this worker only, which knows what came of the first time.
        command.args(["--parsable", "--no-requeue", "--export=ALL", "--chdir=/", "--nodes=1", "--ntasks=1"]);
        command.args(&self.options).arg(format!("--job-name={name}")).arg(format!("--output={log}"));
        command.arg(format!("--cpus-per-task={}", needs.cpus)).arg(format!("--mem={}M", needs.memory_mib));
        command.arg(format!("--time={}:{:02}", seconds / 60, seconds % 60));
        command.args(needs.node.map(|node| format!("--nodelist={node}"))).arg(script);
        let submitted = self.answer("sbatch", command.stdin(lock)).await;
        let Err(error) = submitted else { return Ok(()) };
        // Refused, or not heard: who still answers other questions has refused.
        self.jobs(Instant::now()).await?;
        Err(RuntimeError::Engine { engine: ENGINE, action: "take a job", source: Box::new(error) })
    }

    /// Cancels jobs. One that is over is none the worse.
    pub(super) async fn cancel(&self, ids: &[&str]) -> Result<(), RuntimeError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = self.command("scancel");
        self.answer("scancel", command.arg("--quiet").args(ids).stdin(Stdio::null())).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partitions_limit_is_a_time_or_none() {
        let seconds = |text: &str| limit(text).map(|limit| limit.as_secs());
        assert_eq!(["1:00", "2:00:00", "1-02:00:30"].map(seconds), [Some(60), Some(7_200), Some(93_630)]);
        assert_eq!(["infinite", "n/a", ""].map(seconds), [None; 3]);
    }

    #[test]
    fn a_line_of_the_queue_is_a_job() {
        let job = Job::read("17|berth-x|PENDING||Nodes required for job are DOWN, DRAINED | reserved").expect("a job");
        assert_eq!((job.id.as_str(), job.name.as_str(), job.state()), ("17", "berth-x", State::Waiting));
        assert!(job.reason.ends_with("| reserved") && !job.is_hopeless());
        let state = |line: &str| Job::read(line).expect("a job").state();
        assert_eq!(state("17|x|RUNNING|n1|None"), State::Running);
        assert_eq!(state("17|x|COMPLETING|n1|None"), State::Ending);
        for over in ["COMPLETED", "NODE_FAIL", "CANCELLED", "PREEMPTED", "TIMEOUT", "OUT_OF_MEMORY"] {
            assert_eq!(state(&format!("17|x|{over}|n1|None")), State::Over);
        }
        assert!(Job::read("17|x|PENDING||PartitionTimeLimit").is_some_and(|job| job.is_hopeless()));
        assert_eq!(Job::read("slurm_load_jobs error"), None);
    }
}
