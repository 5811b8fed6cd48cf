//! A scheduler's HTTP interface.
//!
//! | call | who | what |
//! |---|---|---|
//! | `GET /healthz`, `/readyz`, `/version` | anyone | is it alive, is it ready |
//! | `GET /v1/pool` | anyone | [`PoolInfo`] |
//! | `POST /v1/auth/challenge`, `/v1/auth/session` | anyone | sign in ([`crate::auth`]) |
//! | `PUT /v1/blobs/{sha256}` | signed in, or a worker | put an input, or a part of a result, into the store |
//! | `PATCH /v1/blobs/{sha256}` | the same | put it in pieces: [`UPLOAD_OFFSET`] bytes are there, [`UPLOAD_LENGTH`] it has |
//! | `HEAD /v1/blobs/{sha256}` | signed in, or a worker | is it there, put by the caller: what others have put is not told; if not (404), [`UPLOAD_OFFSET`] |
//! | `GET /v1/data` | signed in | one's own [`DataView`]s |
//! | `PUT /v1/data/{sha256}?name=N` | signed in | put bytes into the store, or none if they were put before, and list them as one's own |
//! | `GET /v1/data/{sha256}` | signed in | the bytes of one's own data |
//! | `DELETE /v1/data/{sha256}` | signed in | take data off one's list; bytes that nobody needs go; answers [`Removed`] |
//! | `POST /v1/jobs` | signed in | put a job document (body: its canonical bytes); answers [`JobAccepted`] |
//! | `GET /v1/deals/{deal}?since=N&wait_ms=M` | anyone | [`DealView`]; with `since`, waits until its `seq` is past N |
//! | `DELETE /v1/deals/{deal}` | requester, payer | ask for a deal back that nobody has begun, while that costs no stake |
//! | `GET /v1/deals?limit=N` | anyone | the latest [`DealView`]s, without tasks |
//! | `GET /v1/tasks/{task}` | anyone | [`TaskView`] |
//! | `GET /v1/tasks/{task}/live?stream=S&from=N&wait_ms=M` | requester, beneficiary, payer | the next [`LivePart`] of what a task of trust 0 or 1 prints (`stdout` or `stderr`); waits while there is none and the task runs |
//! | `GET /v1/tasks/{task}/result` | requester, beneficiary, payer | the manifest's bytes |
//! | `GET /v1/tasks/{task}/partial` | the same | the manifest of what a task left that was stopped before its end |
//! | `DELETE /v1/tasks/{task}/result` | the same | remove a settled task's result and logs; answers [`Removed`] |
//! | `GET /v1/tasks/{task}/blobs/{sha256}` | the same; inputs: its worker | a file of the result, a log, or an input |
//! | `GET /v1/workers` | anyone | [`WorkerView`]s |
//! | `GET /v1/worker` | worker | WebSocket ([`crate::worker`]) |

use crate::{
    deal::DealTerms,
    manifest::Content,
    units::{Decimal, Sha256},
    worker::{Announced, Stage},
};
use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

/// How many bytes of an upload are there: what `HEAD` says, and where `PATCH` goes on.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// How many bytes an upload has, all in all.
pub const UPLOAD_LENGTH: &str = "upload-length";

/// Whose scheduler this is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PoolInfo {
    /// The pool.
    pub pool: B256,
    /// The key that signs assignments and settles.
    pub operator: Address,
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub berth: Address,
    /// The last block that it has taken in.
    pub block: u64,
    /// Workers connected.
    pub workers: u32,
    /// The largest blob that it takes.
    pub max_blob_bytes: u64,
}

/// A job document is in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobAccepted {
    /// Its hash.
    pub job_hash: B256,
    /// Inputs without a URL that this account has not put yet, and that are no result of its own.
    pub missing: Vec<Content>,
}

/// Something of one's own in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataView {
    /// What it is known by.
    pub sha256: Sha256,
    /// What its owner calls it.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was put first, in milliseconds since 1970.
    pub put_ms: u64,
}

/// A part of what a running job prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivePart {
    /// How many bytes came before it.
    pub from: u64,
    /// The bytes; none, if the wait was over before there were any.
    pub bytes: Bytes,
    /// Nothing will follow: the task runs no longer. The result has what counts.
    pub is_over: bool,
}

/// What became of bytes that were to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// How many files are gone.
    pub removed: u32,
    /// How many stay, because a job or another result of the same account has the same bytes.
    pub kept: u32,
}

/// A deal and its tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DealView {
    /// Rises with each change to the deal or its tasks.
    pub seq: u64,
    /// Its id.
    pub deal: B256,
    /// Its terms.
    pub terms: DealTerms,
    /// Its app.
    pub app: B256,
    /// Who asked.
    pub requester: Address,
    /// What was asked.
    pub job_hash: B256,
    /// Whether job and inputs are in the store; if not, what is missing.
    pub waiting_for: Option<String>,
    /// Why no worker can ever run it: it is about to be given back.
    #[serde(default)]
    pub impossible: Option<String>,
    /// Its tasks, by index.
    pub tasks: Vec<TaskView>,
}

/// A task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskView {
    /// Its id.
    pub task: B256,
    /// Its deal.
    pub deal: B256,
    /// Its index.
    pub index: u32,
    /// A name of [`berth_protocol::task::Phase`].
    pub phase: String,
    /// How it goes on its worker.
    pub stage: Option<Stage>,
    /// Who runs or ran it.
    pub worker: Option<Address>,
    /// Its result.
    pub digest: Option<B256>,
    /// A failure's code ([`crate::worker::failure_code`]), for a failure digest.
    pub failure: Option<String>,
    /// A failure's reason in words.
    pub detail: Option<String>,
    /// Standard output.
    pub stdout: Option<Content>,
    /// Standard error.
    pub stderr: Option<Content>,
    /// The manifest of what it left when it was stopped before its end: no result, and nothing that was agreed on.
    #[serde(default)]
    pub partial: Option<Content>,
    /// The sealed result, for a job with a recipient: one of each worker that answered so.
    #[serde(default)]
    pub sealed: Vec<SealedView>,
    /// How long the job ran.
    pub wall_ms: Option<u64>,
    /// How it ended on chain.
    pub ending: Option<Ending>,
    /// How its answers were closed on chain, for a replicated task.
    #[serde(default)]
    pub close: Option<Ending>,
    /// The workers that have part in it, for a replicated task.
    #[serde(default)]
    pub replicas: Vec<ReplicaView>,
    /// Workers that were given it, in turn.
    pub attempts: u32,
    /// For a task that waits: why, worker by worker.
    pub why: Vec<Why>,
}

/// A sealed result ([`crate::sealed`]). What is in it only the job's recipient can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedView {
    /// Whose.
    pub worker: Address,
    /// The file.
    pub content: Content,
}

/// One worker's part in a replicated task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// The worker.
    pub worker: Address,
    /// Its bond's owner, who is paid.
    pub owner: Option<Address>,
    /// Where it stands.
    pub state: ReplicaState,
    /// What it answered, once that is revealed.
    pub digest: Option<B256>,
    /// Whether that is what the task is settled to, or is about to be; nothing as long as that is open.
    pub agrees: Option<bool>,
    /// What its owner was credited.
    pub paid: Option<Decimal>,
}

/// How far a worker is with a replicated task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// It runs the task.
    Running,
    /// It has handed in a hidden answer.
    Committed,
    /// Its answer is on chain.
    Closed,
    /// It has opened its answer.
    Revealed,
    /// It was paid.
    Paid,
    /// The task ended without its answer.
    LeftOut,
}

impl ReplicaState {
    /// In words, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Running => "runs it",
            Self::Committed => "has committed",
            Self::Closed => "is closed, and has not revealed",
            Self::Revealed => "has revealed",
            Self::Paid => "was paid",
            Self::LeftOut => "was left out",
        }
    }
}

/// A transaction that ended a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Its hash.
    pub transaction: B256,
    /// Its block.
    pub block: u64,
}

/// Why a worker does not take a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which worker; `None`: there is none at all.
    pub worker: Option<Address>,
    /// The condition that fails.
    pub reason: String,
}

/// A worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its address.
    pub worker: Address,
    /// Its bond's owner.
    pub owner: Address,
    /// Its bond that counts.
    pub bonded: Decimal,
    /// Its score.
    pub score: u32,
    /// Whether its socket is open.
    pub connected: bool,
    /// What it shares and on what terms, in its own signed words.
    pub announced: Option<Announced>,
    /// Tasks it runs.
    pub running: u32,
}
