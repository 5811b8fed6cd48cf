//! What a machine says, as it says it: through pipes that this program reads, counts, and keeps the head of.

use super::{CONSOLE_PIPE, STDERR_PIPE, STDOUT_PIPE, part};
use crate::runtime::{RuntimeError, STREAM_BYTES, TaskFolder};
use std::{
    collections::VecDeque,
    fs::File,
    io::{ErrorKind, Write as _},
    path::Path,
};
use tokio::net::unix::pipe::{OpenOptions, Receiver};

const CHUNK_BYTES: usize = 64 << 10;
/// How much of a machine's console is kept, from its end: for whoever must find out why it gave no result.
const CONSOLE_BYTES: usize = 16 << 10;

/// The head of one stream, on disk as soon as it is here.
#[derive(Debug)]
struct Head {
    pipe: Receiver,
    file: File,
    bytes: u64,
}

/// All that a machine says.
#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Head,
    stderr: Head,
    console: Receiver,
    end: VecDeque<u8>,
}

impl Head {
    fn new(pipe: &Path, file: &Path) -> Result<Self, RuntimeError> {
        let file = File::create(file).map_err(part(file))?;
        Ok(Self { pipe: open(pipe)?, file, bytes: 0 })
    }

    fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let room = usize::try_from(STREAM_BYTES.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        self.bytes += bytes.len() as u64;
        self.file.write_all(&bytes[..bytes.len().min(room)])
    }

    /// Takes what is in the pipe now.
    fn drain(&mut self) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Some(read) = now(&self.pipe, &mut chunk)? {
            self.take(&chunk[..read])?;
        }
        Ok(())
    }
}

/// Opened for both ways, so that it neither waits for a writer nor ends with one.
fn open(path: &Path) -> Result<Receiver, RuntimeError> {
    OpenOptions::new().read_write(true).open_receiver(path).map_err(part(path))
}

/// What is there to read; `None` if nothing is.
fn now(pipe: &Receiver, chunk: &mut [u8]) -> std::io::Result<Option<usize>> {
    match pipe.try_read(chunk) {
        Ok(0) => Ok(None),
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Streams {
    pub(crate) fn open(folder: &TaskFolder) -> Result<Self, RuntimeError> {
        let pipe = |name: &str| folder.machine().join(name);
        Ok(Self {
            stdout: Head::new(&pipe(STDOUT_PIPE), &folder.stdout())?,
            stderr: Head::new(&pipe(STDERR_PIPE), &folder.stderr())?,
            console: open(&pipe(CONSOLE_PIPE))?,
            end: VecDeque::new(),
        })
    }

    /// Takes what comes, for ever.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing that was read is lost.
    pub(crate) async fn listen(&mut self) -> std::io::Result<()> {
        loop {
            tokio::select! {
                ready = self.stdout.pipe.readable() => ready?,
                ready = self.stderr.pipe.readable() => ready?,
                ready = self.console.readable() => ready?,
            }
            self.drain()?;
        }
    }

    /// Takes what is here now. After the machine's end that is all there will be.
    pub(crate) fn drain(&mut self) -> std::io::Result<()> {
        self.stdout.drain()?;
        self.stderr.drain()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Some(read) = now(&self.console, &mut chunk)? {
            self.end.extend(&chunk[..read]);
            self.end.drain(..self.end.len().saturating_sub(CONSOLE_BYTES));
        }
        Ok(())
    }

    /// Adds to standard error.
    pub(crate) fn complain(&mut self, text: &str) -> std::io::Result<()> {
        self.stderr.take(text.as_bytes())
    }

    /// How much was said on standard output and on standard error.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.stdout.bytes, self.stderr.bytes)
    }

    /// The end of what was said on the console.
    pub(crate) fn last_words(&mut self) -> String {
        String::from_utf8_lossy(self.end.make_contiguous()).into_owned()
    }
}
