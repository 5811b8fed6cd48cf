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
        Some(Said::Exited(code)) => Ok(unpacked(request).await?.map_or(Ended::Exited(code), Ended::OutputTooLarge)),
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

/// Keeps what a machine has handed over of a job that was stopped, if it is fit to be a result; else nothing. It is no
/// reason to run the job again.
pub(crate) async fn keep(request: &Request) -> Result<(), RuntimeError> {
    let into = request.folder.output();
    if !matches!(output::said(&request.folder.machine().join(OUTPUT_FILE)), Ok(Some(_))) {
        return Ok(());
    }
    match unpacked(request).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => fs::remove_dir_all(&into).and_then(|()| fs::create_dir(&into)).map_err(part(&into)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::guest::sector;

    /// What is kept of a stopped machine's output disk with this line and these files.
    async fn kept(line: &str, files: &[(&str, &str)]) -> Vec<String> {
        let tasks = tempfile::tempdir().expect("a folder");
        let (request, _) = sector::request(tasks.path(), Duration::ZERO).expect("writable");
        for folder in [request.folder.machine(), request.folder.output()] {
            fs::create_dir(folder).expect("makes");
        }
        let mut disk = line.as_bytes().to_vec();
        disk.resize(4_096, 0);
        let mut archive = tar::Builder::new(disk);
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            archive.append(&header, content.as_bytes()).expect("into memory");
        }
        let disk = archive.into_inner().expect("into memory");
        fs::write(request.folder.machine().join(OUTPUT_FILE), disk).expect("writes");
        keep(&request).await.expect("no reason to run it again");
        let entries = fs::read_dir(request.folder.output()).expect("there").flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    #[tokio::test]
    async fn of_a_stopped_machine_all_that_is_fit_is_kept_or_nothing() {
        let line = "berth1 137 -\n";
        assert_eq!(kept(line, &[("a", "half")]).await, ["a"]);
        assert_eq!(kept("berth1 1 oom\n", &[("a", "half")]).await, ["a"]);
        assert_eq!(kept("", &[("a", "half")]).await, [""; 0], "no line, no archive");
        assert_eq!(kept(line, &[("a", "half"), ("../b", "out")]).await, [""; 0]);
        let too_much = "x".repeat(2 << 20);
        assert_eq!(kept(line, &[("a", "half"), ("b", &too_much)]).await, [""; 0]);
        assert_eq!(kept(line, &[("a", "1"), ("a", "2")]).await, [""; 0]);
    }
}
