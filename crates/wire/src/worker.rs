//! The socket between a scheduler and a worker (`GET /v1/worker`, WebSocket, one JSON message a text frame).
//!
//! The server greets with [`ToWorker::Challenge`], the worker answers [`ToScheduler::Hello`], the server says
//! [`ToWorker::Welcome`] or [`ToWorker::Rejected`]. After that, everything of consequence that the scheduler says is a
//! [`ToWorker::Mail`] with a number: it is kept until acknowledged, and shown again after a reconnection.

pub use crate::announcement::{Announced, Announcement, Capacity, SharedDataset, Shares, Terms};
use crate::{deal::DealTerms, units::Decimal};
use alloy::primitives::{Address, B256, Bytes, FixedBytes};
use berth_protocol::Failure;
use serde::{Deserialize, Serialize};

/// The version of these messages.
pub const VERSION: u32 = 1;
/// The largest frame that either side takes.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// From the scheduler.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker {
    /// Who is there, and what to sign: `Session(pool, operator, nonce, expiry)` in this domain.
    Challenge {
        /// [`VERSION`].
        version: u32,
        /// The pool.
        pool: B256,
        /// The key that signs assignments.
        operator: Address,
        /// The chain.
        chain_id: u64,
        /// The contract.
        berth: Address,
        /// Fresh for this connection.
        nonce: B256,
    },
    /// Signed in.
    Welcome {
        /// Bearer token for the blobs of assigned tasks.
        token: String,
        /// How often to say [`ToScheduler::Heartbeat`].
        heartbeat_ms: u64,
        /// The worker's bond in the pool, as the chain has it.
        bond: Decimal,
        /// Its score there.
        score: u32,
    },
    /// Turned away; the connection closes.
    Rejected {
        /// Stable: `bad-signature`, `not-bonded`, `version`, `duplicate`.
        code: String,
        /// For the owner.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// A numbered message.
    Mail {
        /// Rising by one for each worker.
        seq: u64,
        /// What it says.
        mail: Mail,
    },
    /// The answer to a message that was not taken; nothing has changed.
    Refused {
        /// The task that it was about, if any.
        task: Option<B256>,
        /// Stable.
        code: String,
        /// For the owner.
        detail: String,
    },
}

/// Numbered messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "mail", rename_all = "snake_case")]
pub enum Mail {
    /// Run a task.
    Assign(Box<Assign>),
    /// Stop it: it went elsewhere, or the deal is over. What was reported stays reported.
    Cancel {
        /// Which.
        task: B256,
        /// Why.
        reason: String,
    },
    /// A round is on chain that holds the worker's commitments (ADR 0003). It checks that, and reveals.
    Closed(Box<Closed>),
    /// The worker's pair was appended to a task on chain. It checks that, and reveals.
    Appended(Box<Appended>),
    /// Nobody agrees, or everybody fails: the pool asks for commitments to this failure instead. Whoever computed the
    /// task commits to it anew, unless its commitment is closed.
    Agree {
        /// Which.
        task: B256,
        /// A failure's digest.
        digest: B256,
    },
    /// The chain has it: paid.
    Settled {
        /// Which.
        task: B256,
        /// To what.
        digest: B256,
        /// Credited to the worker's owner.
        earned: Decimal,
        /// In which transaction.
        transaction: B256,
    },
    /// The task ended without pay: declined, claimed, or settled to somebody else.
    Ended {
        /// Which.
        task: B256,
        /// How.
        reason: String,
    },
}

/// A closed round, as one worker is shown it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Closed {
    /// What the leaves hash to.
    pub root: B256,
    /// The tasks that it closes, in the order of its leaves.
    pub closed: Vec<ClosedWord>,
    /// The transaction that closed it.
    pub transaction: B256,
    /// The leaves with the worker's pairs.
    pub leaves: Vec<Leaf>,
}

/// Some of a deal's tasks: bit b of word w is the task `first + 104 * w + b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedWord {
    /// The deal.
    pub deal: B256,
    /// Which 104 tasks.
    pub word: u32,
    /// Which of these, as 13 bytes, the highest first.
    pub bits: FixedBytes<13>,
}

/// A worker's hidden answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Whose it is.
    pub worker: Address,
    /// The commitment.
    pub commitment: B256,
}

/// One task of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The deal.
    pub deal: B256,
    /// The task's index.
    pub index: u32,
    /// Its pairs, by rising worker.
    pub pairs: Vec<Pair>,
    /// Its path to the root (ADR 0003, section 2).
    pub proof: Vec<B256>,
}

/// A worker's pair in a task's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The deal.
    pub deal: B256,
    /// The task's index.
    pub index: u32,
    /// The transaction that appended it.
    pub transaction: B256,
    /// All pairs of the chain up to the worker's own, those of the leaf first.
    pub pairs: Vec<Pair>,
}

/// All that a worker needs to run a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assign {
    /// The deal.
    pub deal: B256,
    /// Its terms; their hash is `deal`.
    pub terms: DealTerms,
    /// The task's index.
    pub index: u32,
    /// The job document's canonical bytes, as text. Their sha256 is the request's job hash.
    pub job: String,
    /// The job hash of the request order. The worker checks `job` against it.
    pub job_hash: B256,
    /// The app's id.
    pub app: B256,
    /// The app's descriptor, canonical, as its registration's event carries it.
    pub descriptor: String,
    /// Who asked.
    pub requester: Address,
    /// The block in which the deal was matched, as the scheduler has it.
    pub block: u64,
    /// The deal's dataset, if it has one: its descriptor, canonical, as its registration's event carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Who gets the result.
    pub beneficiary: Address,
    /// The operator's signature over `Assignment(task, worker)`.
    pub signature: Bytes,
    /// The chain's time at which the result must be here for the settlement to make it; of a replicated task, the
    /// commitment, for the close.
    pub report_by: u64,
}

/// From a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToScheduler {
    /// The first message.
    Hello(Box<Hello>),
    /// What the worker shares is another now, or its terms are.
    Announce(Box<Announced>),
    /// Still here.
    Heartbeat {
        /// Tasks that it holds and has not reported.
        running: Vec<B256>,
    },
    /// All mail up to `seq` is in the worker's journal.
    Ack {
        /// The highest number.
        seq: u64,
    },
    /// How a task goes. For people; may be lost.
    Progress {
        /// Which.
        task: B256,
        /// Where it is.
        stage: Stage,
    },
    /// What the job of a task of one worker prints. For people; may be lost.
    Says {
        /// Which.
        task: B256,
        /// A part of a stream.
        said: Said,
    },
    /// The worker will not run it: another should.
    Decline {
        /// Which.
        task: B256,
        /// Stable: `no-image`, `no-data`, `no-package`, `no-room`, `policy`, `engine`.
        code: String,
        /// For the operator.
        detail: String,
    },
    /// A result of a single-worker task. Its blobs are in the store already.
    Report(Box<Report>),
    /// A hidden answer to a replicated task. Said again until the task is closed or over; another one takes its place.
    Commit(Commit),
    /// Opens a closed round, or a chain. Said again until its tasks are over.
    Reveal(Reveal),
    /// The result of a revealed task. Its blobs are in the store already.
    Deliver(Box<Deliver>),
}

/// What is kept and told of each stream of a job, in bytes: its beginning.
pub const LIVE_BYTES: usize = 1 << 20;

/// A stream of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A part of what a running job prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Where.
    pub stream: Stream,
    /// How many bytes came before it. 0 begins anew: whatever was told of the stream before is void.
    pub from: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// A hidden answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The deal.
    pub deal: B256,
    /// The task's index.
    pub index: u32,
    /// `keccak(task, worker, digest, keccak(seed, task))`.
    pub commitment: B256,
    /// `keccak(task, digest)`, for the operator alone: it shows who agrees, and nothing else.
    pub tag: B256,
    /// keccak of the seed: commitments with the same one open by the same reveal.
    pub seed_hash: B256,
    /// The worker's, over `Commitment(task, commitment)`.
    pub signature: Bytes,
}

/// What opens commitments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// The round's root, or the chain hash that ends in the worker's appended pair.
    pub root: B256,
    /// What the commitments are salted with.
    pub seed: B256,
    /// The worker's, over `Reveal(root, seed)`.
    pub signature: Bytes,
    /// What it answered.
    pub results: Vec<Answer>,
}

/// A worker's answer to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The deal.
    pub deal: B256,
    /// The task's index.
    pub index: u32,
    /// The result's digest: the manifest's sha256, or a failure.
    pub digest: B256,
}

/// The result of a revealed task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deliver {
    /// The deal.
    pub deal: B256,
    /// The task's index.
    pub index: u32,
    /// The result's digest, as revealed.
    pub digest: B256,
    /// A manifest's sha256, where the digest is none: it is bound to what the job left for a callback (ADR 0004), or is a
    /// failure, and these files are what the job had written when it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<B256>,
    /// Standard output, in the store.
    pub stdout: Option<crate::manifest::Content>,
    /// Standard error, in the store.
    pub stderr: Option<crate::manifest::Content>,
    /// For a job with a recipient: all of the result in one file ([`crate::sealed`]), in the store. Then there is neither
    /// manifest nor stream nor word of a failure: their hashes would tell what is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<crate::manifest::Content>,
    /// How long the job ran.
    pub wall_ms: u64,
    /// Why it failed, in words, for a failure digest.
    pub failure: Option<String>,
}

/// Signing in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// The worker key's address.
    pub worker: Address,
    /// When the session ends at the latest.
    pub expiry: u64,
    /// Over the challenge's `Session`.
    pub signature: Bytes,
    /// The last mail that its journal holds.
    pub last_seq: u64,
    /// Tasks that it holds and has not reported.
    pub holding: Vec<B256>,
    /// What it shares, and on what terms.
    pub announced: Announced,
    /// Its program's version.
    pub software: String,
}

/// Where a running task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// In the journal.
    Accepted,
    /// Fetching inputs or image.
    Fetching,
    /// The job runs.
    Running,
    /// The result goes up.
    Uploading,
}

/// A result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The deal.
    pub deal: B256,
    /// The task's index.
    pub index: u32,
    /// The result's digest: the manifest's sha256, or a failure.
    pub digest: B256,
    /// A manifest's sha256, where the digest is none: it is bound to what the job left for a callback (ADR 0004), or is a
    /// failure, and these files are what the job had written when it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<B256>,
    /// The worker's whole list of results of this deal that it was not told are settled (ADR 0001, section 4), packed.
    pub entries: Bytes,
    /// Over `SingleResults(deal, keccak(entries))`.
    pub signature: Bytes,
    /// Standard output, in the store.
    pub stdout: Option<crate::manifest::Content>,
    /// Standard error, in the store.
    pub stderr: Option<crate::manifest::Content>,
    /// For a job with a recipient: all of the result in one file ([`crate::sealed`]), in the store. Then there is neither
    /// manifest nor stream nor word of a failure: their hashes would tell what is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<crate::manifest::Content>,
    /// How long the job ran.
    pub wall_ms: u64,
    /// Why it failed, in words, for a failure digest.
    pub failure: Option<String>,
}

/// The stable code of a failure.
pub const fn failure_code(failure: Failure) -> &'static str {
    match failure {
        Failure::FetchFailed => "fetch-failed",
        Failure::TimedOut => "timed-out",
        Failure::Refused => "refused",
        Failure::NoAgreement => "no-agreement",
        Failure::OutOfMemory => "out-of-memory",
        Failure::OutputTooLarge => "output-too-large",
    }
}
