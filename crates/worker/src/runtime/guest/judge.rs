//! What the end of a machine means that turned itself off.

use super::{
    OUTPUT_FILE,
    output::{self, Said},
    part,
    stream::Streams,
};
use crate::runtime::{Ended, Request, RuntimeError};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often the layer over the system disk is measured: what a machine can write in that time is what it can be over.
const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// A layer has this much beyond the job's disk: maps, and what a system writes while it starts.
const LAYER_BEYOND_BYTES: u64 = 64 << 20;
/// The unit in which the system counts what a file takes.
const BLOCK_BYTES: u64 = 512;
/// The exit code of a machine that ended without any.
const NO_RESULT: i32 = 125;
/// How Linux says that it has no memory for anything.
const OUT_OF_MEMORY: [&str; 2] = ["deadlocked on memory", "Out of memory"];

/// * It turned itself off with a result: that is believed, since a machine can only speak for itself.
/// * It turned itself off without: a result, too, since the same image does the same everywhere; what it last said on its
///   console goes to standard error. A Linux that ran out of memory for everything ends so.
pub(crate) async fn judge(request: &Request, streams: &mut Streams) -> Result<Ended, RuntimeError> {
    let file = request.folder.machine().join(OUTPUT_FILE);
    let limit = request.limits.disk_bytes;
    match output::said(&file).map_err(part(&file))? {
        Some(Said::OutOfMemory) => {
            keep(request).await?;
            Ok(Ended::OutOfMemory)
        }
        Some(Said::Full(code)) => {
            Ok(Ended::OutputTooLarge(format!("exit {code} with the output folder full: its limit is {limit} bytes")))
        }
        Some(Said::Exited(code)) => {
            Ok(unpacked(request).await?.map_or(Ended::Exited(code), Ended::OutputTooLarge))
        }
        None => {
            let words = streams.last_words();
            if OUT_OF_MEMORY.iter().any(|said| words.contains(said)) {
                return Ok(Ended::OutOfMemory);
            }
            let stderr = request.folder.stderr();
            let text = format!("the machine turned itself off without a result; on its console it said:\n{words}\n");
            streams.complain(&text).map_err(part(&stderr))?;
            Ok(Ended::Exited(NO_RESULT))
        }
    }
}

/// Keeps what a machine has handed over of a job that was stopped, if it is fit to be a result; else nothing. It is no reason
/// to run the job again.
pub(crate) async fn keep(request: &Request) -> Result<(), RuntimeError> {
    let into = request.folder.output();
    if !matches!(output::said(&request.folder.machine().join(OUTPUT_FILE)), Ok(Some(_))) {
        return Ok(());
    }
    match unpacked(request).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => {
            fs::remove_dir_all(&into).and_then(|()| fs::create_dir(&into)).map_err(part(&into))
        }
    }
}

/// Unpacks what a machine has handed over. `Some`: it is not fit to be a result, and why.
async fn unpacked(request: &Request) -> Result<Option<String>, RuntimeError> {
    let (file, into) = (request.folder.machine().join(OUTPUT_FILE), request.folder.output());
    let limit = request.limits.disk_bytes;
    let unpacking = tokio::task::spawn_blocking(move || output::unpack(&file, &into, limit)).await;
    unpacking.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Ends when a machine has written too much to the layer over its system disk (a file, or a folder's files), and says by
/// how much; else never.
///
/// # Cancel safety
/// Cancel-safe.
pub(crate) async fn overrun(layer: &Path, bytes: u64) -> String {
    let limit = bytes.saturating_add(LAYER_BEYOND_BYTES);
    loop {
        tokio::time::sleep(MEASURE_EVERY).await;
        let used = files(layer).iter().map(|file| taken(file)).sum::<u64>();
        if used > limit {
            return format!("the machine wrote {used} bytes to its system disk; the limit is {limit}");
        }
    }
}

fn files(layer: &Path) -> Vec<PathBuf> {
    fs::read_dir(layer)
        .map_or_else(|_| vec![layer.to_owned()], |entries| entries.flatten().map(|entry| entry.path()).collect())
}

fn taken(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |found| found.blocks() * BLOCK_BYTES)
}
