//! Clearing up: jobs are known by their names, and what they hold on which nodes by their claims. What a dead job has left
//! on a node can be cleared only there: a small job is sent after it. Where that can't be (the node is down or drained)
//! the claim stays, and goes with the next job of this worker's that runs there, or with its next start.

use super::{
    COMMON, Slurm,
    cluster::State,
    errand::{Claims, Errand, Said, What, gone},
};
use crate::runtime::{RuntimeError, TaskFolder, folder_error};
use berth_protocol::TaskId;
use futures_util::future::join_all;
use std::{
    collections::{BTreeSet, HashSet},
    fs,
    time::{Duration, Instant},
};

/// A job that has reported has cleared up within this, or is dead.
const CLEARING_TAKES: Duration = Duration::from_secs(30);
/// A node that does not clear within this is left for later.
const CLEANING_TAKES: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Slurm {
    /// Ends a task's jobs, and removes what they left, on nodes and here.
    pub(super) async fn clear_task(&self, task: TaskId, folder: &TaskFolder) -> Result<(), RuntimeError> {
        let (errand, id) = (Errand::of(folder), task.to_string());
        let is_claimed = || Claims::of(&self.tasks).all().iter().any(|(of, _, _)| *of == id);
        if !errand.path().exists() && !is_claimed() {
            return Ok(());
        }
        // A job that has reported clears up by itself, at this moment.
        let reported = errand.order().is_some_and(|order| errand.said(&order.run).is_some());
        let begun = Instant::now();
        while reported && is_claimed() && begun.elapsed() < CLEARING_TAKES {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if !reported || is_claimed() {
            self.end(&self.name(task), &id, &errand).await;
            self.clean_nodes(|of| of == id).await;
        }
        for path in [folder.output(), errand.path().to_owned()] {
            gone(fs::remove_dir_all(&path)).map_err(folder_error("removing", &path))?;
        }
        Ok(())
    }

    /// Ends jobs and removes folders of tasks that the journal no longer holds.
    pub(super) async fn sweep_all(&self, held: &HashSet<TaskId>) -> Result<(), RuntimeError> {
        let ours = self.name_of_all();
        let unheld = |id: &str| id.parse::<TaskId>().is_ok_and(|task| !held.contains(&task));
        let jobs = self.cluster.jobs(Instant::now()).await?;
        let living = jobs.iter().filter(|job| job.state() != State::Over);
        let names: BTreeSet<&str> = living.filter_map(|job| job.name.strip_prefix(ours.as_str())).collect();
        let ends = names.into_iter().filter(|id| unheld(id) || id.starts_with("errand-")).map(|id| async move {
            let (folder, task) = match id.parse::<TaskId>() {
                Ok(task) => (Errand::of(&TaskFolder::new(&self.tasks, task)), id),
                Err(_) => (Errand::at(&self.common().join(id.trim_start_matches("errand-"))), "errand"),
            };
            self.end(&format!("{}{id}", self.name_of_all()), task, &folder).await;
        });
        join_all(ends).await;
        self.clean_nodes(unheld).await;
        for (folder, name) in folders(&self.tasks) {
            // Other folders are other runtimes'.
            if unheld(&name) && folder.join(COMMON).exists() {
                gone(fs::remove_dir_all(&folder)).map_err(folder_error("removing", &folder))?;
            }
        }
        for (folder, name) in folders(&self.common()) {
            if name != "claims" {
                gone(fs::remove_dir_all(&folder)).map_err(folder_error("removing", &folder))?;
            }
        }
        Ok(())
    }

    /// Has nodes clear what dead jobs of certain tasks hold there. A node that can't be reached is told of, and left.
    async fn clean_nodes(&self, wanted: impl Fn(&str) -> bool) {
        let claims = Claims::of(&self.tasks);
        let mut nodes = BTreeSet::new();
        for (task, run, holder) in claims.all().into_iter().filter(|(task, _, _)| wanted(task)) {
            match holder {
                Some(holder) => drop(nodes.insert(holder.node)),
                // It was not even written down: nothing came after it.
                None => drop(claims.abandoned(&task, &run).map(super::errand::Claim::release)),
            }
        }
        for node in nodes {
            let reason = match self.errand(What::Clear, Some(&node), CLEANING_TAKES).await {
                Ok(Said::Cleared) => continue,
                Ok(Said::Lost(reason) | Said::Unconfined(reason)) => reason,
                Ok(Said::Ended { .. } | Said::NoImage(_) | Said::Images(_)) => {
                    "it answered another question".to_owned()
                }
                Err(error) => crate::assignment::chain(&error),
            };
            crate::observe::node_not_cleared(&node, &reason);
        }
    }
}

/// Folders in a folder, with their names.
fn folders(within: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let entries = fs::read_dir(within).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?))).collect()
}
