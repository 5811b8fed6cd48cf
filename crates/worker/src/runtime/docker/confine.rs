//! The container that a job gets, and everything that is withheld from it.

use super::{Docker, LABEL_ENDS, LABEL_TASK, LABEL_WORKER, signed};
use crate::{
    environment::{IN, OUT, SCRATCH},
    runtime::Request,
};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits,
};
use nix::unistd::{getegid, geteuid};
use std::collections::HashMap;

/// Nobody, on every system.
const NOBODY: u32 = 65_534;
/// Open files of one process: enough for any single program, too few to exhaust the machine's table.
const OPEN_FILES: i64 = 1_024;
/// Of a job's memory, what /tmp and the scratch folder may take each: both live in memory, which they are counted
/// against, so that together they leave it half.
const SCRATCH_SHARE: u64 = 4;
/// The engine's own log of a container, from which a restarted worker takes what it missed: two files of this size, so
/// that as long as the log is smaller than one of them nothing was dropped from it.
pub(super) const LOG_FILE_BYTES: u64 = 8 << 20;
/// What a job with a kernel of its own may take of the machine's processes, that kernel's threads among them.
const KERNEL_THREADS: i64 = 4_096;
/// The engine kills a job before anything of the owner's when memory runs out.
const FIRST_TO_GO: i64 = 500;

impl Docker {
    /// The container of a job. `volumes` are the folders that its image declares as volumes: each would be a place to
    /// write without limit.
    pub(super) fn container(
        &self,
        request: &Request,
        image: String,
        volumes: &[String],
        ends_ms: u64,
    ) -> ContainerCreateBody {
        let labels = [
            (LABEL_WORKER, self.worker.to_string()),
            (LABEL_TASK, request.task.to_string()),
            (LABEL_ENDS, ends_ms.to_string()),
        ];
        let home = [("HOME".to_owned(), SCRATCH.to_owned())];
        let with_home = home.iter().filter(|(name, _)| !request.environment.contains_key(name));
        let stdin = request.stdin.is_some();
        ContainerCreateBody {
            image: Some(image),
            cmd: Some(request.args.clone()),
            env: Some(
                request
                    .environment
                    .iter()
                    .chain(with_home.map(|(n, v)| (n, v)))
                    .map(|(n, v)| format!("{n}={v}"))
                    .collect(),
            ),
            // The same for every worker, so that no replica's answer tells which machine it ran on.
            hostname: Some("berth".to_owned()),
            user: Some(user()),
            working_dir: Some(SCRATCH.to_owned()),
            attach_stdin: Some(stdin),
            open_stdin: Some(stdin),
            stdin_once: Some(stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            // An image's health check would run beside the job, as often as it likes.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
            host_config: Some(self.confinement(request, volumes)),
            ..ContainerCreateBody::default()
        }
    }

    fn confinement(&self, request: &Request, volumes: &[String]) -> HostConfig {
        let limits = &request.limits;
        let memory = signed(limits.memory_bytes);
        let scratch_bytes = limits.memory_bytes / SCRATCH_SHARE;
        let (user, group) = owner();
        let scratch = format!("size={scratch_bytes},mode=0700,uid={user},gid={group},nosuid,nodev,exec");
        let temporary = format!("size={scratch_bytes},mode=1777,nosuid,nodev,noexec");
        let mut tmpfs: HashMap<_, _> = volumes.iter().map(|path| (path.clone(), temporary.clone())).collect();
        tmpfs.extend([("/tmp".to_owned(), temporary), (SCRATCH.to_owned(), scratch)]);
        let mut ulimits = vec![ulimit("nofile", OPEN_FILES), ulimit("core", 0)];
        if self.disks.is_watched() {
            ulimits.push(ulimit("fsize", signed(limits.disk_bytes)));
        }
        HostConfig {
            network_mode: Some(if limits.network && self.share.network { "default" } else { "none" }.to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            runtime: self.share.runtime.clone(),
            pids_limit: Some(match self.share.has_own_kernel() {
                true => KERNEL_THREADS,
                // One more for the init process, which is not the job's.
                false => i64::from(limits.pids) + 1,
            }),
            memory: Some(memory),
            memory_swap: Some(memory),
            nano_cpus: Some(i64::from(limits.cpu_millis) * 1_000_000),
            tmpfs: Some(tmpfs),
            ulimits: Some(ulimits),
            init: Some(true),
            ipc_mode: Some("none".to_owned()),
            oom_score_adj: Some(FIRST_TO_GO),
            mounts: Some(mounts(request)),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), LOG_FILE_BYTES.to_string()),
                    ("max-file".to_owned(), "2".to_owned()),
                ])),
            }),
            ..HostConfig::default()
        }
    }
}

/// The job's folders, and the machine's own data in them.
fn mounts(request: &Request) -> Vec<Mount> {
    let mut mounts = vec![
        bind(request.folder.inputs().display().to_string(), IN, true),
        bind(request.folder.output().display().to_string(), OUT, false),
    ];
    mounts.extend(
        request
            .data
            .iter()
            .map(|data| bind(data.dataset.path.display().to_string(), &format!("{IN}/{}", data.name), true)),
    );
    mounts
}

/// Who a job is: nobody, or, where the worker is not root and could not read or remove nobody's files, the worker.
pub(super) fn owner() -> (u32, u32) {
    let user = geteuid();
    if user.is_root() { (NOBODY, NOBODY) } else { (user.as_raw(), getegid().as_raw()) }
}

fn user() -> String {
    let (user, group) = owner();
    format!("{user}:{group}")
}

fn ulimit(name: &str, limit: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(limit), hard: Some(limit) }
}

fn bind(source: String, target: &str, read_only: bool) -> Mount {
    Mount {
        source: Some(source),
        target: Some(target.to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(read_only),
        ..Mount::default()
    }
}
