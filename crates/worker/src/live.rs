//! Tells the scheduler what a running job prints, from the files that its runtime writes. It is for people who follow:
//! whatever is lost on the way comes with the result.

use crate::{
    runtime::{STREAM_BYTES, TaskFolder},
    session::Link,
};
use berth_protocol::TaskId;
use berth_wire::worker::{Said, Stream};
use core::convert::Infallible;
use std::{
    io::SeekFrom,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    time::MissedTickBehavior,
};

/// How often it is looked for more: what a person calls at once, and nothing to an idle machine.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most of one message. In hexadecimal digits it is twice as long, far below a frame.
const PART_BYTES: u64 = 64 << 10;

/// A stream, and how much of it was told.
struct Tail {
    stream: Stream,
    file: PathBuf,
    told: u64,
}

/// Tells what a job prints until this is dropped.
pub(crate) async fn tell(link: &Link, task: TaskId, folder: &TaskFolder) -> Infallible {
    let tail = |stream, file| Tail { stream, file, told: 0 };
    let mut tails = [tail(Stream::Stdout, folder.stdout()), tail(Stream::Stderr, folder.stderr())];
    let mut connection = link.connection();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if connection.has_changed().unwrap_or(false) {
            // Parts that were on their way may be lost, and the scheduler may be another life of it.
            connection.mark_unchanged();
            tails.iter_mut().for_each(|tail| tail.told = 0);
        }
        if connection.borrow().is_none() {
            continue;
        }
        for tail in &mut tails {
            tail.tell(link, task).await;
        }
    }
}

impl Tail {
    /// Tells what is new, as far as the connection takes it. A file that can't be read has nothing to tell.
    async fn tell(&mut self, link: &Link, task: TaskId) {
        if tokio::fs::metadata(&self.file).await.is_ok_and(|file| file.len() < self.told) {
            // A run that was lost is done again.
            self.told = 0;
        }
        while let Ok(bytes) = read(&self.file, self.told).await {
            let length = bytes.len() as u64;
            let said = Said { stream: self.stream, from: self.told, bytes: bytes.into() };
            if length == 0 || !link.says(task, said) {
                return;
            }
            self.told += length;
        }
    }
}

async fn read(file: &Path, from: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(file).await?;
    file.seek(SeekFrom::Start(from)).await?;
    let mut bytes = Vec::new();
    file.take(PART_BYTES.min(STREAM_BYTES.saturating_sub(from))).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
