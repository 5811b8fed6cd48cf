//! What a job says, and what it is told on standard input.
//!
//! While a worker lives it listens at the container itself. One that was killed meanwhile reads the engine's log from
//! its beginning. That log is not always what the job said: it drops its oldest part when it grows too long, and it
//! replaces bytes that are no UTF-8. Where either may have happened the run is lost. (The engine's `local` log keeps all
//! bytes, but 20.10 drops the ends of long lines there, which can't be noticed.)

use super::{ApiError, confine::LOG_FILE_BYTES};
use crate::runtime::{RuntimeError, STREAM_BYTES, TaskFolder, folder_error};
use bollard::container::LogOutput;
use futures_util::{Stream, StreamExt as _};
use std::{path::Path, pin::Pin};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// What the log keeps of an entry besides its bytes, at the most: JSON with the stream's name and the time.
const ENTRY_OVERHEAD_BYTES: u64 = 128;
/// What stands in the log for bytes that are no UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// What a byte takes in the log, at the most: JSON escapes it in up to six characters.
const fn log_cost(byte: u8) -> u64 {
    match byte {
        b'<' | b'>' | b'&' | 0..b' ' => 6,
        b'"' | b'\\' | 0x80.. => 2,
        _ => 1,
    }
}

/// The beginning of a stream, and its length.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) kept: Vec<u8>,
    pub(super) bytes: u64,
}

impl Head {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = usize::try_from(STREAM_BYTES).unwrap_or(usize::MAX).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }
}

/// Both streams of a job.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) stdout: Head,
    pub(super) stderr: Head,
    /// The most that the engine's log takes for all this.
    log_bytes: u64,
    /// Whether the log could not be read, or holds something that stands for bytes that are no UTF-8.
    broken: bool,
}

impl Heads {
    fn take(&mut self, output: &LogOutput) {
        match output {
            LogOutput::StdOut { message } | LogOutput::Console { message } => self.stdout.take(message),
            LogOutput::StdErr { message } => self.stderr.take(message),
            LogOutput::StdIn { .. } => {}
        }
    }

    /// Reads the engine's log of an ended container. (Followed while the container runs, it may lack the last line.)
    pub(super) async fn catch_up(&mut self, mut log: impl Stream<Item = Result<LogOutput, ApiError>> + Unpin) {
        while let Some(said) = log.next().await {
            let Ok(said) = said else {
                self.broken = true;
                return;
            };
            self.take(&said);
            let bytes = said.as_ref();
            let cost = bytes.iter().fold(ENTRY_OVERHEAD_BYTES, |sum, byte| sum + log_cost(*byte));
            self.log_bytes = self.log_bytes.saturating_add(cost);
            self.broken |= bytes.windows(REPLACEMENT.len()).any(|window| window == REPLACEMENT);
        }
    }

    /// Whether the log may have said something else than the job. If it dropped something, then one file of it was full,
    /// and is still there.
    pub(super) fn may_differ(&self) -> bool {
        self.broken || self.log_bytes >= LOG_FILE_BYTES
    }

    /// Writes both into the task's folder.
    pub(super) async fn write(&self, folder: &TaskFolder) -> Result<(), RuntimeError> {
        for (path, head) in [(folder.stdout(), &self.stdout), (folder.stderr(), &self.stderr)] {
            tokio::fs::write(&path, &head.kept).await.map_err(folder_error("writing", &path))?;
        }
        Ok(())
    }
}

/// Listens until the job has closed both streams, and keeps what is in the task's folder up to date: others follow it
/// there. What the connection says when it breaks is left to whoever waits for the job's end.
pub(super) async fn listen(
    mut output: impl Stream<Item = Result<LogOutput, ApiError>> + Unpin,
    heads: &mut Heads,
    folder: &TaskFolder,
) -> Result<(), RuntimeError> {
    heads.write(folder).await?;
    let (stdout, stderr) = (folder.stdout(), folder.stderr());
    let mut options = tokio::fs::OpenOptions::new();
    options.append(true);
    let mut files = [
        options.open(&stdout).await.map_err(folder_error("writing", &stdout))?,
        options.open(&stderr).await.map_err(folder_error("writing", &stderr))?,
    ];
    while let Some(Ok(said)) = output.next().await {
        let before = [heads.stdout.kept.len(), heads.stderr.kept.len()];
        heads.take(&said);
        let news = [&heads.stdout.kept[before[0]..], &heads.stderr.kept[before[1]..]];
        for ((file, news), path) in files.iter_mut().zip(news).zip([&stdout, &stderr]) {
            if !news.is_empty() {
                let written = async { file.write_all(news).await.and(file.flush().await) };
                written.await.map_err(folder_error("writing", path))?;
            }
        }
    }
    Ok(())
}

/// Hands over standard input, and writes down that it is done. A job that ends before it has read everything is none the
/// worse.
pub(super) async fn feed(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    from: Option<&Path>,
    done: &Path,
) -> Result<(), RuntimeError> {
    let Some(from) = from else { return Ok(()) };
    let mut file = tokio::fs::File::open(from).await.map_err(folder_error("reading", from))?;
    let given = async {
        tokio::io::copy(&mut file, &mut input).await?;
        input.shutdown().await
    };
    if given.await.is_ok() {
        tokio::fs::write(done, []).await.map_err(folder_error("writing", done))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn a_flood_keeps_its_head_and_its_length() {
        let line = || Ok(LogOutput::StdOut { message: vec![b'y'; 1_000].into() });
        let mut heads = Heads::default();
        heads.catch_up(stream::iter((0..3_000).map(|_| line()))).await;
        assert_eq!(heads.stdout.kept.len() as u64, STREAM_BYTES);
        assert_eq!(heads.stdout.bytes, 3_000_000);
        assert!(!heads.may_differ());
        heads.catch_up(stream::iter((0..6_000).map(|_| line()))).await;
        assert!(heads.may_differ());
    }

    #[tokio::test]
    async fn a_log_with_replaced_bytes_is_not_believed() {
        let mut heads = Heads::default();
        heads.catch_up(stream::iter([Ok(LogOutput::StdErr { message: "caf\u{e9}".into() })])).await;
        assert!(!heads.may_differ());
        heads.catch_up(stream::iter([Ok(LogOutput::StdErr { message: "\u{fffd}".into() })])).await;
        assert!(heads.may_differ());
    }
}
