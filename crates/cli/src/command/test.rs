//! `berth test`: a job on the engine here, confined and judged exactly as workers do it, before anybody is paid.

use super::run::{image, stage};
use crate::{
    args,
    exit::Exit,
    hint::Failure,
    intent::{InputFile, RunIntent},
    render::{Progress, Report, fields},
};
use alloy::primitives::{Address, B256};
use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::job::{Image, Job};
use berth_worker::{
    config::DockerShare,
    digest::{Collected, DigestError, Wanted, collect},
    environment::{self, Place},
    runtime::{Ended, Request, Runtime as _, RuntimeError, TaskFolder, docker::Docker},
};
use core::time::Duration;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};
use tokio_util::sync::CancellationToken;

/// How long a job may run if that is not said: what pools usually give.
const USUAL_S: u32 = 600;

/// What one run came to.
struct Ran {
    exit: i32,
    digest: B256,
    /// All files of the output, and both streams, each with its bytes; and whether they count.
    parts: BTreeMap<String, (Vec<u8>, bool)>,
    wall: Duration,
}

pub(super) async fn test(args: args::Test) -> Result<Report, Failure> {
    let args::Test { image: named, twice, run } = args;
    let intent = RunIntent::new(run.into_run(named.clone()))?;
    if let Some(input) = intent.elsewhere.first() {
        return Err(Failure::usage("input-kind", format!("--input: {} is elsewhere", input.url))
            .hint("fetch it, and give the file: a job that is tried here has all of its inputs here"));
    }
    let progress = Progress::new();
    let image = image::pinned(&named).await?;
    let job = stage::job(&intent, Some(image.clone())).await?;
    let wall = Duration::from_secs(intent.timeout.unwrap_or(USUAL_S).into());
    // As replicas are: one task, on several workers.
    let task = TaskId::new(B256::from(rand::random::<[u8; 32]>()));
    let mut runs = Vec::new();
    for number in 1..=if twice { 2 } else { 1 } {
        progress.step(format!("run {number}"));
        runs.push(run_once(task, &job, &image, &intent.inputs, wall).await?);
    }
    drop(progress);
    Ok(told(&runs))
}

async fn run_once(
    task: TaskId,
    job: &Job,
    image: &Image,
    inputs: &[InputFile],
    wall: Duration,
) -> Result<Ran, Failure> {
    let folder = tempfile::tempdir().map_err(|error| Failure::file(&std::env::temp_dir(), "used", &error))?;
    let worker = WorkerAddr::new(Address::from(rand::random::<[u8; 20]>()));
    let docker = Docker::connect(DockerShare::default(), worker, folder.path().to_owned()).await.map_err(failed)?;
    let place = TaskFolder::new(folder.path(), task);
    let into = place.inputs();
    fs::create_dir_all(&into).map_err(|error| Failure::file(&into, "made", &error))?;
    for input in inputs {
        fs::copy(&input.path, into.join(&input.name)).map_err(|error| Failure::file(&input.path, "copied", &error))?;
    }
    let facts = Place { task: task.get(), deal: B256::ZERO, index: 0, first: 0, size: 1 };
    let request = Request {
        task,
        image: image.clone(),
        args: job.args.clone(),
        environment: environment::environment(facts, job, &BTreeMap::new(), (None, &job.args), (&[], None)),
        stdin: job.stdin.clone(),
        data: Vec::new(),
        file: None,
        limits: job.limits,
        wall,
        folder: place,
    };
    let cancel = CancellationToken::new();
    let running = docker.run(&request, &cancel);
    let ran = tokio::select! {
        ran = running => judged(ran, job, &request),
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted", "stopped: nothing was paid")),
    };
    let cleared = docker.clear(task, &request.folder).await.map_err(failed);
    let ran = ran?;
    cleared?;
    Ok(ran)
}

fn failed(error: RuntimeError) -> Failure {
    let hint = error.hint();
    let mut failure = Failure::preflight("engine", error.to_string());
    failure.causes.extend(std::error::Error::source(&error).map(ToString::to_string));
    failure.hint(hint)
}

/// What a worker would make of a run.
fn judged(
    ran: Result<berth_worker::runtime::Outcome, RuntimeError>,
    job: &Job,
    request: &Request,
) -> Result<Ran, Failure> {
    let outcome = ran.map_err(failed)?;
    let failure = |code: &str, message: String, hint: &str| {
        Err(Failure::new(Exit::TaskFailed, code, message)
            .hint(hint)
            .hint("for a paid job this is a failure that workers agree on, and costs a tenth of the pool's price"))
    };
    let exit = match outcome.ended {
        Ended::Exited(code) => code,
        Ended::TimedOut => {
            let message = format!("the job ran longer than {} s", request.wall.as_secs());
            return failure("timed-out", message, "give it longer: --timeout 30m");
        }
        Ended::OutOfMemory => {
            let message = format!("the job needs more than {} bytes of memory", request.limits.memory_bytes);
            return failure("out-of-memory", message, "give it more: --memory 1G");
        }
        Ended::OutputTooLarge(reason) => return failure("output-too-large", reason, "give it more: --disk 1G"),
        Ended::Cancelled => return Err(Failure::new(Exit::Interrupted, "interrupted", "the run was stopped")),
    };
    let wanted = Wanted { outputs: job.outputs.clone(), callback: false };
    match collect(exit, &outcome, &wanted, request.limits.disk_bytes, &request.folder) {
        Ok(collected) => parts(&collected, &outcome.output, request)
            .map(|parts| Ran { exit, digest: collected.digest.get(), parts, wall: outcome.wall })
            .map_err(|error| Failure::file(&outcome.output, "read", &error)),
        Err(DigestError::Unfit(reason)) => {
            failure("output-too-large", reason, "put regular files and folders there, within the limit")
        }
        Err(error @ DigestError::Io { .. }) => Err(Failure::new(Exit::Error, "output", error.to_string())),
    }
}

/// Everything that a run left, and which of it counts.
fn parts(collected: &Collected, output: &Path, request: &Request) -> io::Result<BTreeMap<String, (Vec<u8>, bool)>> {
    let mut parts = BTreeMap::new();
    for file in &collected.manifest.files {
        parts.insert(format!("/iexec_out/{}", file.path), (fs::read(output.join(&file.path))?, true));
    }
    let counts = collected.manifest.stdout.is_some();
    parts.insert("standard output".to_owned(), (fs::read(request.folder.stdout()).unwrap_or_default(), counts));
    parts.insert("standard error".to_owned(), (fs::read(request.folder.stderr()).unwrap_or_default(), false));
    Ok(parts)
}

/// Where two runs differ, part by part: in words, and whether it counts.
fn differences(one: &Ran, other: &Ran) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    if one.exit != other.exit {
        found.push(("exit code".to_owned(), format!("{} and {}", one.exit, other.exit), true));
    }
    let names: BTreeSet<&String> = one.parts.keys().chain(other.parts.keys()).collect();
    for name in names {
        let (first, second) = (one.parts.get(name), other.parts.get(name));
        let how = match (first, second) {
            (Some((a, _)), Some((b, _))) if a == b => continue,
            (Some((a, _)), Some((b, _))) => {
                let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                format!("differs from byte {at} on ({} and {} bytes)", a.len(), b.len())
            }
            (Some(_), None) => "only the first run left it".to_owned(),
            (None, Some(_)) => "only the second run left it".to_owned(),
            (None, None) => continue,
        };
        let counts = first.or(second).is_some_and(|(_, counts)| *counts);
        found.push((name.clone(), how, counts));
    }
    found
}

fn told(runs: &[Ran]) -> Report {
    let Some(first) = runs.first() else { return Report::default() };
    let found = runs.get(1).map(|second| differences(first, second)).unwrap_or_default();
    let same = runs.iter().all(|run| run.digest == first.digest);
    let mut text = vec![
        ("exit code", first.exit.to_string()),
        ("digest", first.digest.to_string()),
        ("ran for", format!("{} ms", first.wall.as_millis())),
    ];
    text.extend(
        first
            .parts
            .iter()
            .filter(|(_, (_, counts))| *counts)
            .map(|(name, (bytes, _))| ("counts", format!("{name} ({} bytes)", bytes.len()))),
    );
    if runs.len() > 1 {
        text.push(("twice", if same { "the same result" } else { "two different results" }.to_owned()));
    }
    text.extend(found.iter().map(|(name, how, counts)| {
        (if *counts { "differs" } else { "differs, does not count" }, format!("{name}: {how}"))
    }));
    let run_json = |run: &Ran| {
        let files: Vec<Value> = run
            .parts
            .iter()
            .map(|(name, (bytes, counts))| json!({ "name": name, "bytes": bytes.len(), "counts": counts }))
            .collect();
        json!({ "exit": run.exit, "digest": run.digest, "wall_ms": u64::try_from(run.wall.as_millis()).unwrap_or(u64::MAX),
                "parts": files })
    };
    let differing: Vec<Value> =
        found.iter().map(|(name, how, counts)| json!({ "name": name, "how": how, "counts": counts })).collect();
    let json = json!({ "runs": runs.iter().map(run_json).collect::<Vec<_>>(), "same": same, "differences": differing });
    let mut report = Report::new("", json);
    report.data = first.parts.get("standard output").map(|(bytes, _)| bytes.clone()).unwrap_or_default();
    report.note = fields(&text);
    report.failure = if same {
        (first.exit != 0).then(|| {
            Failure::new(Exit::TaskFailed, "job-exit", format!("the job ended with exit code {}", first.exit))
                .hint("a result like any other: it would be paid for; its error output is above or empty")
        })
    } else {
        let failure = Failure::new(Exit::TaskFailed, "not-the-same", "two runs of the same job gave two results");
        Some(
            failure
                .hint(
                    "workers would never agree on it: leave out times, random numbers, and whatever order luck decides",
                )
                .hint("--output PATH, or `computed.json` in the output, names the files that count"),
        )
    };
    if !first.parts["standard error"].0.is_empty() {
        report
            .note
            .push_str(&format!("--- standard error\n{}", String::from_utf8_lossy(&first.parts["standard error"].0)));
    }
    report
}
