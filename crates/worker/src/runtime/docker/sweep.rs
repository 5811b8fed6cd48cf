//! Clearing up what an earlier life of this worker left behind.

use super::{Docker, LABEL_TASK, LABEL_WORKER, disk, status};
use crate::runtime::{RuntimeError, TaskFolder, folder_error};
use berth_protocol::TaskId;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use std::collections::{HashMap, HashSet};

impl Docker {
    /// Removes containers and folders of tasks that the journal no longer holds.
    pub(super) async fn sweep_all(&self, held: &HashSet<TaskId>) -> Result<(), RuntimeError> {
        let label = format!("{LABEL_WORKER}={}", self.worker);
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.api.list_containers(Some(options)).await.map_err(self.failed("list its containers"))?;
        for container in listed {
            let labels = container.labels.unwrap_or_default();
            let Some(task) = labels.get(LABEL_TASK).and_then(|text| text.parse::<TaskId>().ok()) else { continue };
            let name = format!("/{}", self.name(task));
            let named = container.names.unwrap_or_default().contains(&name);
            if named && !held.contains(&task) {
                self.remove(name.trim_start_matches('/')).await?;
            }
        }
        let Ok(folders) = std::fs::read_dir(&self.tasks) else { return Ok(()) };
        for entry in folders.flatten() {
            let Some(task) = entry.file_name().to_str().and_then(|name| name.parse::<TaskId>().ok()) else { continue };
            if !held.contains(&task) {
                disk::remove(&TaskFolder::new(&self.tasks, task)).await?;
                std::fs::remove_dir_all(entry.path()).map_err(folder_error("removing", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Removes a container, running or not, with what belongs to it. One that is not there, or is being removed, is fine.
    pub(super) async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.api.remove_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(self.failed("remove a container")(error)),
        }
    }
}
