//! What a job says, and what it is told on standard input.
//!
//! While a worker lives it listens at the container itself. One that was killed meanwhile reads the engine's log from
//! its beginning: that log keeps bytes exactly as they were, but drops its oldest part when it grows too long, and then
//! the run is lost.

use super::{ApiError, confine::LOG_FILE_BYTES};
use crate::runtime::{RuntimeError, STREAM_BYTES, TaskFolder, folder_error};
use bollard::container::LogOutput;
use futures_util::{Stream, StreamExt as _};
use std::{path::Path, pin::Pin};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// What the log keeps of an entry besides its bytes, at the most: stream, time, lengths, marks of a divided line.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

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
    /// The least that the engine's log would take for all this.
    log_bytes: u64,
}

impl Heads {
    fn take(&mut self, output: &LogOutput) {
        match output {
            LogOutput::StdOut { message } | LogOutput::Console { message } => self.stdout.take(message),
            LogOutput::StdErr { message } => self.stderr.take(message),
            LogOutput::StdIn { .. } => {}
        }
        self.log_bytes = self.log_bytes.saturating_add(output.as_ref().len() as u64 + ENTRY_OVERHEAD_BYTES);
    }

    /// Whether an engine's log that says all this may have dropped what came before. One file of it was full then, and
    /// is still there.
    pub(super) fn may_be_cut(&self) -> bool {
        self.log_bytes >= LOG_FILE_BYTES
    }

    /// Writes both into the task's folder.
    pub(super) async fn write(&self, folder: &TaskFolder) -> Result<(), RuntimeError> {
        for (path, head) in [(folder.stdout(), &self.stdout), (folder.stderr(), &self.stderr)] {
            tokio::fs::write(&path, &head.kept).await.map_err(folder_error("writing", &path))?;
        }
        Ok(())
    }
}

/// Listens until the job has closed both streams. What the connection says when it breaks is left to whoever waits for
/// the job's end.
pub(super) async fn listen(mut output: impl Stream<Item = Result<LogOutput, ApiError>> + Unpin, heads: &mut Heads) {
    while let Some(Ok(said)) = output.next().await {
        heads.take(&said);
    }
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

    #[test]
    fn a_flood_keeps_its_head_and_its_length() {
        let mut heads = Heads::default();
        let line = LogOutput::StdOut { message: vec![b'y'; 1_000].into() };
        for _ in 0..3_000 {
            heads.take(&line);
        }
        assert_eq!(heads.stdout.kept.len() as u64, STREAM_BYTES);
        assert_eq!(heads.stdout.bytes, 3_000_000);
        assert!(!heads.may_be_cut());
        for _ in 0..3_000 {
            heads.take(&line);
        }
        assert!(heads.may_be_cut());
    }
}
