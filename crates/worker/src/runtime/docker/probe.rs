//! Whether an engine really runs a job, and really confines it.
//!
//! An old engine accepts settings that it does not know, and does nothing about them. So the worker brings a tiny image
//! of its own, runs it exactly as it runs jobs, and reads what the job saw of itself. The image holds one program of 137
//! bytes, which copies `/proc/self/status` to `/iexec_out/status` and exits with 42; it is imported for the probe and
//! removed after it.

use super::{ApiError, Docker, ENGINE, confine, image};
use crate::runtime::{Ended, Request, Runtime as _, RuntimeError, TaskFolder, folder_error};
use alloy::primitives::B256;
use berth_protocol::TaskId;
use berth_wire::job::Limits;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt as _;
use std::{collections::BTreeMap, time::Duration};
use tokio_util::sync::CancellationToken;

/// The task under which the probe runs. Zero is no task's id.
const PROBE: TaskId = TaskId::new(B256::ZERO);
const REFERENCE: &str = "berth-probe:1";
/// A probe takes half a second; an engine that needs longer than this would let every job wait.
const PROBE_TAKES: Duration = Duration::from_secs(30);
const EXIT: i32 = 42;

/// The probe's machine code (x86-64, Linux), position-independent:
/// `r12 = open("/proc/self/status", O_RDONLY); r13 = open("/iexec_out/status", O_WRONLY|O_CREAT|O_TRUNC, 0644);
/// while ((n = read(r12, sp, 4096)) > 0) write(r13, sp, n); exit(42)`, then the two paths.
const CODE: [u8; 137] = [
    0x48, 0x8d, 0x3d, 0x5e, 0x00, 0x00, 0x00, 0x31, 0xf6, 0xb8, 0x02, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x41, 0x89, 0xc4,
    0x48, 0x8d, 0x3d, 0x5d, 0x00, 0x00, 0x00, 0xbe, 0x41, 0x02, 0x00, 0x00, 0xba, 0xa4, 0x01, 0x00, 0x00, 0xb8, 0x02,
    0x00, 0x00, 0x00, 0x0f, 0x05, 0x41, 0x89, 0xc5, 0x48, 0x81, 0xec, 0x00, 0x10, 0x00, 0x00, 0x44, 0x89, 0xe7, 0x48,
    0x89, 0xe6, 0xba, 0x00, 0x10, 0x00, 0x00, 0x31, 0xc0, 0x0f, 0x05, 0x85, 0xc0, 0x7e, 0x11, 0x89, 0xc2, 0x44, 0x89,
    0xef, 0x48, 0x89, 0xe6, 0xb8, 0x01, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xdc, 0xbf, 0x2a, 0x00, 0x00, 0x00, 0xb8,
    0x3c, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x2f, 0x70, 0x72, 0x6f, 0x63, 0x2f, 0x73, 0x65, 0x6c, 0x66, 0x2f, 0x73, 0x74,
    0x61, 0x74, 0x75, 0x73, 0x00, 0x2f, 0x69, 0x65, 0x78, 0x65, 0x63, 0x5f, 0x6f, 0x75, 0x74, 0x2f, 0x73, 0x74, 0x61,
    0x74, 0x75, 0x73, 0x00,
];

/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// Sizes of an ELF64 header and of one program header.
const HEADERS: u16 = 64 + 56;

/// The probe as an ELF file: one header, one segment, [`CODE`].
fn elf() -> Vec<u8> {
    let size = u64::from(HEADERS) + CODE.len() as u64;
    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // ELF, 64 bits, little-endian, version 1, System V; an executable for x86-64.
    put(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put(&[2, 0, 62, 0, 1, 0, 0, 0]);
    put(&(BASE + u64::from(HEADERS)).to_le_bytes());
    put(&64_u64.to_le_bytes());
    put(&0_u64.to_le_bytes());
    put(&0_u32.to_le_bytes());
    // Header sizes: this one, a program header (of which there is one), a section header (none).
    for half in [64_u16, 56, 1, 64, 0, 0] {
        put(&half.to_le_bytes());
    }
    // Loaded whole, to be read and executed.
    put(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 4_096] {
        put(&word.to_le_bytes());
    }
    put(&CODE);
    file
}

fn archive() -> std::io::Result<Vec<u8>> {
    let elf = elf();
    let mut header = tar::Header::new_ustar();
    header.set_size(elf.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "probe", elf.as_slice())?;
    archive.into_inner()
}

impl Docker {
    /// Runs the probe and looks at what it saw.
    pub(super) async fn probe_confinement(&self) -> Result<(), RuntimeError> {
        let info = self.api.info().await.map_err(self.failed("say what it is"))?;
        let needed = [
            ("memory", info.memory_limit),
            ("swap", info.swap_limit),
            ("cpu quota", info.cpu_cfs_quota),
            ("process", info.pids_limit),
        ];
        if let Some((name, _)) = needed.iter().find(|(_, there)| *there != Some(true)) {
            return unconfined(format!("its kernel has no {name} limits"));
        }
        if info.os_type.as_deref() != Some("linux") {
            return unconfined("it runs no Linux containers".to_owned());
        }
        if let Some(runtime) = &self.share.runtime
            && !info.runtimes.is_some_and(|runtimes| runtimes.contains_key(runtime))
        {
            return unconfined(format!(
                "it has no runtime `{runtime}`: add it to the engine's daemon.json, or leave it out"
            ));
        }
        // The probe's program is of this processor; elsewhere the engine's word must do.
        if info.architecture.as_deref() != Some("x86_64") {
            return Ok(());
        }
        let folder = TaskFolder::new(&self.tasks, PROBE);
        self.clear_probe(&folder).await?;
        let id = self.import().await?;
        let probed = self.run_probe(&id, &folder).await;
        let cleared = self.clear_probe(&folder).await;
        self.forget_image(&id);
        let removed = self.api.remove_image(&id, None::<bollard::query_parameters::RemoveImageOptions>, None).await;
        probed?;
        cleared?;
        removed.map(drop).map_err(self.failed("remove an image"))
    }

    async fn import(&self) -> Result<String, RuntimeError> {
        let archive = archive().map_err(folder_error("making", std::path::Path::new("the probe")))?;
        let (repository, tag) = REFERENCE.split_once(':').expect("the reference above has a tag");
        // Another worker may probe this engine at the same moment: each has a tag of its own.
        let tag = format!("{tag}-{}", &self.worker.to_string()[2..10]);
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(&tag).build();
        let imported: Vec<_> = self
            .api
            .create_image(Some(options), Some(bollard::body_full(archive.into())), None)
            .try_collect()
            .await
            .map_err(self.failed("import an image"))?;
        let id = imported.iter().rev().find_map(|info| info.status.clone().filter(|said| said.starts_with("sha256:")));
        let nothing = || ApiError::DockerStreamError { error: "it names no image".to_owned() };
        id.ok_or_else(nothing).map_err(self.failed("import an image"))
    }

    async fn run_probe(&self, id: &str, folder: &TaskFolder) -> Result<(), RuntimeError> {
        let nothing = || RuntimeError::NoImage(REFERENCE.to_owned());
        let memory_bytes = self.capabilities().least_memory_bytes.max(16 << 20);
        let limits = Limits { memory_bytes, disk_bytes: 1 << 20, pids: 8, ..Limits::default() };
        let request = Request {
            task: PROBE,
            image: image::local(REFERENCE, id).ok_or_else(nothing)?,
            args: vec!["/probe".to_owned()],
            environment: BTreeMap::new(),
            stdin: None,
            data: Vec::new(),
            file: None,
            limits,
            wall: PROBE_TAKES,
            folder: folder.clone(),
        };
        let inputs = folder.inputs();
        std::fs::create_dir_all(&inputs).map_err(folder_error("making", &inputs))?;
        let outcome = self.run_job(&request, &CancellationToken::new()).await?;
        if outcome.ended != Ended::Exited(EXIT) {
            return unconfined(format!("a trivial job ended with {:?} instead of exit {EXIT}", outcome.ended));
        }
        let seen = folder.output().join("status");
        let seen = std::fs::read_to_string(&seen).map_err(folder_error("reading", &seen))?;
        confined(&seen, self.share.has_own_kernel()).or_else(unconfined)
    }

    async fn clear_probe(&self, folder: &TaskFolder) -> Result<(), RuntimeError> {
        self.clear_task(PROBE, folder).await?;
        match std::fs::remove_dir_all(folder.path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(folder_error("removing", folder.path())(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn unconfined<T>(reason: String) -> Result<T, RuntimeError> {
    Err(RuntimeError::Unconfined { engine: ENGINE, reason })
}

/// Whether a process that sees itself so is confined as jobs must be. A kernel of the job's own has no filter in front of
/// it: it is the filter.
fn confined(status: &str, has_own_kernel: bool) -> Result<(), String> {
    let (user, _) = confine::owner();
    let user = user.to_string();
    let nothing = "0000000000000000";
    let wanted = [
        ("Uid", user.as_str(), "jobs do not run as an unprivileged user"),
        ("CapEff", nothing, "jobs have capabilities"),
        ("CapBnd", nothing, "jobs can gain capabilities"),
        ("NoNewPrivs", "1", "jobs can gain privileges"),
        ("Seccomp", "2", "system calls are not filtered"),
    ];
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|values| values.split_whitespace().next())
    };
    let ends = if has_own_kernel { 3 } else { wanted.len() };
    match wanted.into_iter().take(ends).find(|(name, value, _)| field(name) != Some(*value)) {
        Some((name, value, what)) => {
            Err(format!("{what} ({name} is {}, not {value})", field(name).unwrap_or("not there")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_capability_is_not_confined() {
        let (user, _) = confine::owner();
        let good = format!(
            "Name:\tprobe\nUid:\t{user}\t{user}\nCapEff:\t{:016}\nCapBnd:\t{:016}\nNoNewPrivs:\t1\nSeccomp:\t2\n",
            0, 0
        );
        assert_eq!(confined(&good, false), Ok(()));
        let bad = good.replace(&format!("CapEff:\t{:016}", 0), "CapEff:\t00000000a80425fb");
        assert!(confined(&bad, false).is_err_and(|reason| reason.contains("capabilities")));
        assert!(confined("", false).is_err(), "what says nothing is not confined");
    }
}
