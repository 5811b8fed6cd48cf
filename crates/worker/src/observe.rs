//! One function for each thing that happens on a worker; each writes its log line. The rest of the crate logs nothing.

use crate::{assignment::DeclineCode, stance::Stance};
use alloy::primitives::B256;
use berth_protocol::TaskId;
use core::fmt::Display;
use tracing::{debug, info, warn};

pub(crate) fn share_failed(kind: &str, name: &str, reason: &str, hint: &str) {
    warn!(kind, name, reason, hint, "a share failed its probe and is not announced");
}

pub(crate) fn node_not_cleared(node: &str, reason: &str) {
    warn!(node, reason, "what a dead job left on a node of the cluster is still there; it is cleared later");
}

pub(crate) fn shares_announced(engines: usize, images: usize, datasets: usize, packages: usize) {
    info!(engines, images, datasets, packages, "shares passed their probe");
}

pub(crate) fn image_removed(reference: &str, bytes: u64) {
    info!(reference, bytes, "a fetched image was removed, to make room");
}

pub(crate) fn gate_moved(closed: Option<&str>) {
    match closed {
        Some(why) => info!(why, "takes no tasks"),
        None => info!("takes tasks"),
    }
}

pub(crate) fn stance_taken(stance: Stance) {
    info!(?stance, "the owner's hand");
}

pub(crate) fn stance_unread(reason: &str) {
    debug!(reason, "the owner's hand can't be read; the one before it counts");
}

pub(crate) fn config_reloaded(needs_restart: bool) {
    info!(
        needs_restart,
        "the configuration was read anew; keys of connection, key and folder count from the next start"
    );
}

pub(crate) fn config_unusable(reason: &str, hint: &str) {
    warn!(reason, hint, "the configuration was changed to one that can't be used; the one before it counts");
}

pub(crate) fn connected(scheduler: &str, bond: u128, score: u32) {
    info!(scheduler, %bond, score, "connected");
}

pub(crate) fn disconnected(scheduler: &str, reason: &dyn Display, again_ms: u128) {
    info!(scheduler, %reason, again_ms, "not connected");
}

pub(crate) fn rejected(scheduler: &str, code: &str, detail: &str, hint: &str) {
    warn!(scheduler, code, detail, hint, "the scheduler turns this worker away");
}

pub(crate) fn refused(task: Option<TaskId>, code: &str, detail: &str) {
    let task = task.map(|task| task.to_string());
    warn!(task, code, detail, "the scheduler refused a message");
}

pub(crate) fn assigned(task: TaskId) {
    info!(%task, "assigned");
}

pub(crate) fn declined(task: TaskId, code: DeclineCode, detail: &str) {
    info!(%task, code = code.name(), detail, "declined");
}

pub(crate) fn resumed(task: TaskId) {
    info!(%task, "went on with the run of an earlier life");
}

pub(crate) fn run_lost(task: TaskId, attempts: u32, reason: &str) {
    info!(%task, attempts, reason, "a run was lost");
}

pub(crate) fn retried(task: TaskId, step: &str, reason: &str) {
    debug!(%task, step, reason, "tried again");
}

pub(crate) fn computed(task: TaskId, digest: &dyn Display, wall_ms: u64, failure: Option<&str>) {
    info!(%task, %digest, wall_ms, failure, "computed");
}

pub(crate) fn committed(task: TaskId) {
    info!(%task, "answered, hidden");
}

pub(crate) fn agreed(task: TaskId) {
    info!(%task, "answered anew, with the failure that the pool asks for");
}

pub(crate) fn revealed(root: B256, tasks: usize) {
    info!(%root, tasks, "the chain holds the answers: opened");
}

pub(crate) fn round_refused(root: B256, reason: &str) {
    warn!(%root, reason, "a round that was shown is not opened");
}

pub(crate) fn recourse(key: &str, note: &str) {
    info!(key, note, "wants a transaction");
}

pub(crate) fn paid_on_chain(task: TaskId) {
    info!(%task, "the chain has paid");
}

pub(crate) fn unpaid(task: TaskId, reason: &str) {
    info!(%task, reason, "over, unpaid");
}

pub(crate) fn watch_failed(reason: &str) {
    info!(reason, "looking at the chain fails; trying again");
}

pub(crate) fn delivered(task: TaskId) {
    info!(%task, "delivered");
}

pub(crate) fn reported(task: TaskId) {
    info!(%task, "reported");
}

pub(crate) fn stopped(task: TaskId) {
    info!(%task, "stopped: it ended elsewhere");
}

pub(crate) fn settled(task: TaskId) {
    info!(%task, "settled");
}

pub(crate) fn clearing_failed(task: TaskId, reason: &str) {
    warn!(%task, reason, "could not clear up after a task; the next start tries again");
}

pub(crate) fn draining(running: usize) {
    info!(running, "stopping: no new tasks");
}

pub(crate) fn status_unwritten(reason: &str) {
    debug!(reason, "the status file could not be written");
}
