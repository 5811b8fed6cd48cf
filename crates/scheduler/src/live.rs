//! What running jobs of one worker each have printed so far: in memory only, for whoever follows them. It may be lost; a
//! worker that connects anew says it again from the beginning. What counts comes with the result.

use berth_protocol::{TaskId, WorkerAddr};
use berth_wire::worker::{LIVE_BYTES, Said, Stream};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};
use tokio::sync::watch;

/// What is kept of all jobs: whoever was heard of last stays.
const MAX_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Job {
    worker: WorkerAddr,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// When it was heard of last, in the order of all that was heard.
    heard: u64,
}

#[derive(Debug, Default)]
struct Heard {
    jobs: HashMap<TaskId, Job>,
    bytes: usize,
    count: u64,
}

/// What is heard of running jobs.
#[derive(Debug)]
pub(crate) struct Live {
    heard: Mutex<Heard>,
    news: watch::Sender<u64>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { heard: Mutex::default(), news: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nobody panics while holding this lock")
    }

    /// Whether this worker has been heard of this task: it was found then that the task is its own.
    pub(crate) fn knows(&self, task: TaskId, worker: WorkerAddr) -> bool {
        self.lock().jobs.get(&task).is_some_and(|job| job.worker == worker)
    }

    /// Takes what a task's own worker says. A part that begins at 0 begins anew; one that leaves a gap is passed over.
    pub(crate) fn take(&self, task: TaskId, worker: WorkerAddr, said: &Said) {
        let mut heard = self.lock();
        heard.count += 1;
        let count = heard.count;
        if heard.jobs.get(&task).is_some_and(|job| job.worker != worker) {
            heard.forget(task);
        }
        let job = heard.jobs.entry(task).or_insert_with(|| Job {
            worker,
            stdout: Vec::new(),
            stderr: Vec::new(),
            heard: count,
        });
        job.heard = count;
        let stream = job.stream(said.stream);
        let before = stream.len();
        if said.from == 0 {
            stream.clear();
        }
        if said.from == stream.len() as u64 {
            let room = LIVE_BYTES.saturating_sub(stream.len());
            stream.extend_from_slice(&said.bytes[..said.bytes.len().min(room)]);
        }
        let after = stream.len();
        heard.bytes = heard.bytes - before + after;
        while heard.bytes > MAX_BYTES
            && let Some(oldest) = heard.jobs.iter().min_by_key(|(_, job)| job.heard).map(|(task, _)| *task)
        {
            heard.forget(oldest);
        }
        drop(heard);
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What a task has printed past the first `from` bytes of a stream.
    pub(crate) fn since(&self, task: TaskId, stream: Stream, from: u64) -> Vec<u8> {
        let mut heard = self.lock();
        let Some(job) = heard.jobs.get_mut(&task) else { return Vec::new() };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        job.stream(stream).get(from..).unwrap_or_default().to_vec()
    }

    /// Watches for anything new of any task.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

impl Job {
    const fn stream(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Heard {
    fn forget(&mut self, task: TaskId) {
        if let Some(job) = self.jobs.remove(&task) {
            self.bytes -= job.stdout.len() + job.stderr.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, B256};

    const fn task(byte: u8) -> TaskId {
        TaskId::new(B256::repeat_byte(byte))
    }

    const fn worker(byte: u8) -> WorkerAddr {
        WorkerAddr::new(Address::repeat_byte(byte))
    }

    fn part(from: u64, bytes: &[u8]) -> Said {
        Said { stream: Stream::Stdout, from, bytes: bytes.to_vec().into() }
    }

    fn all(live: &Live, of: u8) -> Vec<u8> {
        live.since(task(of), Stream::Stdout, 0)
    }

    #[test]
    fn parts_come_in_order_and_none_counts_twice() {
        let live = Live::new();
        live.take(task(1), worker(1), &part(0, b"one "));
        live.take(task(1), worker(1), &part(4, b"two "));
        live.take(task(1), worker(1), &part(4, b"two "));
        live.take(task(1), worker(1), &part(99, b"late"));
        assert_eq!(all(&live, 1), b"one two ");
        assert_eq!(live.since(task(1), Stream::Stdout, 4), b"two ");
        assert_eq!(live.since(task(1), Stream::Stdout, 400), b"");
        assert_eq!(live.since(task(1), Stream::Stderr, 0), b"");
        // Said again from the beginning, after a break of the connection.
        live.take(task(1), worker(1), &part(0, b"one two three"));
        assert_eq!(all(&live, 1), b"one two three");
    }

    #[test]
    fn another_worker_begins_anew_and_is_not_taken_for_the_first() {
        let live = Live::new();
        live.take(task(1), worker(1), &part(0, b"first"));
        assert!(live.knows(task(1), worker(1)) && !live.knows(task(1), worker(2)) && !live.knows(task(2), worker(1)));
        live.take(task(1), worker(2), &part(5, b" and more"));
        assert_eq!(all(&live, 1), b"", "it does not go on where the other stopped");
    }

    #[test]
    fn no_flood_takes_more_than_its_share() {
        let live = Live::new();
        let flood = vec![b'y'; LIVE_BYTES + 1];
        let jobs = MAX_BYTES / LIVE_BYTES + 3;
        for byte in 0..jobs {
            let byte = u8::try_from(byte).expect("few");
            live.take(task(byte), worker(1), &part(0, &flood));
        }
        assert_eq!(live.lock().bytes, MAX_BYTES);
        assert_eq!(all(&live, 0), b"", "the oldest went");
        assert_eq!(all(&live, 3).len(), LIVE_BYTES);
        let kept: usize = live.lock().jobs.values().map(|job| job.stdout.len() + job.stderr.len()).sum();
        assert_eq!(kept, MAX_BYTES);
    }
}
