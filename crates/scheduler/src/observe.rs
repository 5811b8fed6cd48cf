//! One function for each thing that happens: its line in the log. Errors are told where they are handled, once.

use crate::store::attempt::Outcome;
use alloy::primitives::B256;
use berth_chain::BlockNumber;
use berth_protocol::{DealId, ResultDigest, TaskId, WorkerAddr, task::Phase};
use core::{error::Error, net::SocketAddr, time::Duration};
use tracing::{error, info, warn};

pub(crate) fn started(address: SocketAddr, pool: B256) {
    info!(%address, %pool, "the scheduler serves its pool");
}

pub(crate) fn stopped() {
    info!("the scheduler has stopped");
}

pub(crate) fn deal_seen(deal: DealId, block: BlockNumber) {
    info!(%deal, %block, "a deal was matched");
}

pub(crate) fn deal_gone(deal: DealId, block: BlockNumber) {
    warn!(%deal, %block, "the block of a deal has left the chain");
}

pub(crate) fn deal_opened(deal: DealId, tasks: u32) {
    info!(%deal, tasks, "the deal's tasks are open");
}

pub(crate) fn task_assigned(task: TaskId, worker: WorkerAddr) {
    info!(%task, %worker, "the task is assigned");
}

pub(crate) fn task_released(task: TaskId, worker: WorkerAddr, outcome: Outcome, detail: Option<&str>) {
    info!(%task, %worker, ?outcome, detail, "the task is taken back");
}

pub(crate) fn task_reported(task: TaskId, worker: WorkerAddr, digest: ResultDigest, wall_ms: u64) {
    info!(%task, %worker, %digest, wall_ms, "the task is reported");
}

pub(crate) fn task_stepped(task: TaskId, phase: Phase) {
    info!(%task, %phase, "the task goes on");
}

pub(crate) fn task_disputed(task: TaskId) {
    warn!(%task, "the task's workers do not agree, and are asked to agree on that");
}

pub(crate) fn answer_hidden(task: TaskId, worker: WorkerAddr) {
    info!(%task, %worker, "a worker has committed to its answer");
}

pub(crate) fn round_sent(root: B256, tasks: usize, key: &str) {
    info!(%root, tasks, key, "a round is on its way");
}

pub(crate) fn round_shown(root: B256, key: &str) {
    info!(%root, key, "the round's workers are shown its leaves");
}

pub(crate) fn round_closed(root: B256, tasks: usize, block: BlockNumber) {
    info!(%root, tasks, %block, "the round is closed");
}

pub(crate) fn round_unknown(root: B256, block: BlockNumber) {
    warn!(%root, %block, "a round was closed with our key that we know nothing of");
}

pub(crate) fn round_reopened(key: &str) {
    warn!(key, "the block that closed a round has left the chain");
}

pub(crate) fn round_revealed(root: B256, worker: WorkerAddr) {
    info!(%root, %worker, "a worker has revealed");
}

pub(crate) fn pairs_sent(task: TaskId, pairs: usize, key: &str) {
    info!(%task, pairs, key, "further pairs are on their way");
}

pub(crate) fn pairs_appended(task: TaskId, block: BlockNumber) {
    info!(%task, %block, "further pairs are appended");
}

pub(crate) fn punishment_sent(deal: DealId, workers: usize, key: &str) {
    warn!(%deal, workers, key, "workers that never opened their pairs are punished");
}

pub(crate) fn worker_punished(task: TaskId, worker: WorkerAddr) {
    warn!(%task, %worker, "a worker has lost its stake: it never opened its pair");
}

pub(crate) fn task_ended(task: TaskId, phase: Phase, tx: B256) {
    info!(%task, %phase, %tx, "the task has ended");
}

pub(crate) fn task_revived(task: TaskId, phase: Phase) {
    warn!(%task, %phase, "the block that ended the task has left the chain");
}

pub(crate) fn settlement_sent(deal: DealId, tasks: usize, key: &str) {
    info!(%deal, tasks, key, "a settlement is on its way");
}

pub(crate) fn sending_failed(key: &str, reason: &str) {
    warn!(key, reason, "a transaction came to nothing");
}

pub(crate) fn tasks_given_back(deal: DealId, tasks: usize, reason: &str) {
    warn!(%deal, tasks, reason, "tasks are given back");
}

pub(crate) fn deal_expired(deal: DealId) {
    warn!(%deal, "the deal's final deadline is over: what is open is claimed");
}

pub(crate) fn worker_joined(worker: WorkerAddr, software: &str, slots: u32) {
    info!(%worker, software, slots, "a worker has connected");
}

pub(crate) fn worker_left(worker: WorkerAddr, reason: &str) {
    info!(%worker, reason, "a worker has gone");
}

pub(crate) fn worker_rejected(worker: WorkerAddr, code: &str) {
    info!(%worker, code, "a worker was turned away");
}

pub(crate) fn waits_for_node(cause: &dyn Error, pause: Duration) {
    warn!(error = chain(cause), ?pause, "the node, or the store of results, can't be reached; trying again");
}

pub(crate) fn reconcile_failed(cause: &dyn Error) {
    warn!(error = chain(cause), "looking after the deals failed; trying again");
}

pub(crate) fn store_failed(cause: &dyn Error) {
    warn!(error = chain(cause), "the store of inputs and results fails");
}

pub(crate) fn sweep_failed(cause: &dyn Error) {
    warn!(error = chain(cause), "clearing the store failed; trying again");
}

pub(crate) fn request_failed(cause: &dyn Error) {
    error!(error = chain(cause), "a request failed");
}

pub(crate) fn task_of_program_ended(name: &str, cause: Option<&dyn Error>) {
    match cause {
        Some(cause) => error!(part = name, error = chain(cause), "a part of the scheduler can't go on"),
        None => error!(part = name, "a part of the scheduler has ended by itself"),
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
